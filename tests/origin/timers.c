#include "timers.h"

#include <assert.h>
#include <stdlib.h>

int timers_reserve(struct timers *timers, size_t count)
{
    if (count <= timers->room)
        return 0;
    size_t room = 2 * count;
    struct timer **heap = realloc(timers->heap, room * sizeof(*heap));
    if (heap == NULL)
        return -1;
    timers->heap = heap;
    timers->room = room;
    return 0;
}

static void put(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void sift_up(struct timers *timers, struct timer *timer, size_t place)
{
    while (place > 0 && timers->heap[(place - 1) / 2]->due_ms > timer->due_ms) {
        put(timers, place, timers->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(timers, place, timer);
}

static void sift_down(struct timers *timers, struct timer *timer, size_t place)
{
    for (size_t child; (child = 2 * place + 1) < timers->count; place = child) {
        struct timer **heap = timers->heap;
        if (child + 1 < timers->count && heap[child + 1]->due_ms < heap[child]->due_ms)
            child++;
        if (heap[child]->due_ms >= timer->due_ms)
            break;
        put(timers, place, heap[child]);
    }
    put(timers, place, timer);
}

static void settle(struct timers *timers, struct timer *timer, size_t place)
{
    sift_up(timers, timer, place);
    sift_down(timers, timer, timer->place);
}

static void remove_timer(struct timers *timers, struct timer *timer)
{
    struct timer *last = timers->heap[--timers->count];
    timer->due_ms = 0;
    if (last != timer)
        settle(timers, last, timer->place);
}

void timers_set(struct timers *timers, struct timer *timer, int64_t due_ms)
{
    if (timer->due_ms == due_ms)
        return;
    if (due_ms == 0) {
        remove_timer(timers, timer);
        return;
    }
    if (timer->due_ms == 0) {
        assert(timers->count < timers->room);
        timer->place = timers->count++;
    }
    timer->due_ms = due_ms;
    settle(timers, timer, timer->place);
}

struct timer *timers_first(const struct timers *timers)
{
    return timers->count > 0 ? timers->heap[0] : NULL;
}

void timers_close(struct timers *timers)
{
    free(timers->heap);
    *timers = (struct timers){ 0 };
}

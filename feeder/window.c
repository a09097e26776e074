#include "feeder/window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { WAKE_MS = 20 };

void window_open(struct window *w, unsigned most)
{
    *w = (struct window){.most = most, .next_due_ms = INT64_MAX};
}

struct task *window_add(struct window *w, uint64_t id, const char *url, size_t url_len)
{
    struct task *t = calloc(1, sizeof *t + url_len + 1);
    if (!t)
        return NULL;
    t->id = id;
    t->url_len = url_len;
    memcpy(t->url, url, url_len);
    key_of(url, url_len, t->key);
    HASH_ADD(by_id, w->by_id, id, sizeof t->id, t);
    DL_APPEND(w->ready, t);
    w->size++;
    return t;
}

/* Out of the state it is in, into none. */
static void leave(struct window *w, struct task *t)
{
    assert(w->waiting + w->in_flight <= w->size);
    if (t->state == TASK_READY)
        DL_DELETE(w->ready, t);
    else if (t->state == TASK_WAITING)
        w->waiting--;
    else {
        assert(!t->fetcher); /* the crew has taken it off the fetcher's list */
        HASH_DELETE(by_d, w->by_d, t);
        w->in_flight--;
    }
}

void window_settle(struct window *w, struct task *t)
{
    leave(w, t);
    HASH_DELETE(by_id, w->by_id, t);
    w->size--;
    w->begun -= t->d != 0;
    free(t);
}

void window_close(struct window *w)
{
    struct task *t, *tmp;
    HASH_ITER(by_id, w->by_id, t, tmp)
        window_settle(w, t);
}

struct task *window_task(struct window *w, uint64_t id)
{
    struct task *t;
    HASH_FIND(by_id, w->by_id, &id, sizeof id, t);
    return t;
}

struct task *window_dispatch(struct window *w, uint64_t d)
{
    struct task *t;
    HASH_FIND(by_d, w->by_d, &d, sizeof d, t);
    return t;
}

void window_fly(struct window *w, struct task *t, uint64_t d)
{
    assert(t->state == TASK_READY && d > t->d);
    leave(w, t);
    w->begun += t->d == 0;
    w->begun_ever += t->d == 0;
    t->state = TASK_IN_FLIGHT;
    t->d = d;
    HASH_ADD(by_d, w->by_d, d, sizeof t->d, t);
    if (++w->in_flight > w->peak_in_flight)
        w->peak_in_flight = w->in_flight;
}

void window_land(struct window *w, struct task *t)
{
    leave(w, t);
    t->state = TASK_READY;
    DL_PREPEND(w->ready, t);
}

void window_wait(struct window *w, struct task *t, int64_t due_ms)
{
    assert(t->state == TASK_IN_FLIGHT);
    leave(w, t);
    t->state = TASK_WAITING;
    t->due_ms = due_ms;
    w->waiting++;
    if (due_ms < w->next_due_ms)
        w->next_due_ms = due_ms;
}

/* Looking costs the whole window, so it is done at most every WAKE_MS. */
void window_wake(struct window *w, int64_t now_ms)
{
    if (!w->waiting || now_ms < w->next_due_ms)
        return;
    struct task *t, *tmp;
    w->next_due_ms = INT64_MAX;
    HASH_ITER(by_id, w->by_id, t, tmp) {
        if (t->state != TASK_WAITING)
            continue;
        if (t->due_ms <= now_ms) {
            leave(w, t);
            t->state = TASK_READY;
            DL_PREPEND(w->ready, t);
        } else if (t->due_ms < w->next_due_ms) {
            w->next_due_ms = t->due_ms;
        }
    }
    if (w->next_due_ms < now_ms + WAKE_MS)
        w->next_due_ms = now_ms + WAKE_MS;
}

#include "fetcher/sent.h"

#include <assert.h>
#include <stdlib.h>

#include "lib/say.h"

enum { ROOM_FIRST = 64 };

void sent_free(struct sent *s)
{
    free(s->items);
    *s = (struct sent){0};
}

const struct sent_item *sent_at(const struct sent *s, uint32_t i)
{
    assert(i < s->count);
    return &s->items[(s->head + i) & (s->room - 1)];
}

static void grow(struct sent *s)
{
    struct sent bigger = {.room = s->room ? s->room * 2 : ROOM_FIRST, .count = s->count};
    bigger.items = malloc(bigger.room * sizeof *bigger.items);
    if (!bigger.items)
        say_die(EXIT_TEMP, "out of memory");
    for (uint32_t i = 0; i < s->count; i++)
        bigger.items[i] = *sent_at(s, i);
    free(s->items);
    *s = bigger;
}

void sent_add(struct sent *s, struct sent_item item)
{
    assert(s->count == 0 || sent_at(s, s->count - 1)->n <= item.n);
    if (s->count == s->room)
        grow(s);
    s->items[(s->head + s->count++) & (s->room - 1)] = item;
}

void sent_read(struct sent *s, uint64_t mark)
{
    while (s->count && s->items[s->head].n <= mark) {
        s->head = (s->head + 1) & (s->room - 1);
        s->count--;
    }
}

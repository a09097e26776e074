/* slots.h - memory blocks of one size that come and go all the time: the last one given back is
 * the next one taken, so few of their pages are ever touched and those stay in the cache.
 *
 * Memory: what is touched of `count` blocks, mapped once.
 * Threads: slots_own() any; the rest one. */
#ifndef SLUICE_SLOTS_H
#define SLUICE_SLOTS_H
#include <stdbool.h>
#include <stddef.h>

struct slots {
    char *start, *end;   /* the mapping; owned */
    size_t bytes;        /* of a block, rounded up to cache lines */
    void *free;          /* the last one given back; each begins with a pointer to the next */
    char *fresh;         /* from here on none was ever taken */
};

/* 0, or -1 with errno. */
int slots_open(struct slots *s, size_t bytes, size_t count);
void slots_close(struct slots *s);

/* A block, NULL if all are taken. */
void *slots_take(struct slots *s);
void slots_give(struct slots *s, void *block);
/* Whether `p` is one of these blocks. */
static inline bool slots_own(const struct slots *s, const void *p)
{
    return (const char *)p >= s->start && (const char *)p < s->end;
}
#endif

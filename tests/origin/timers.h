/* timers.h - which deadline comes first: a binary heap.
 *
 * A timer lives inside its owner and is in at most one heap. An owner removes
 * its timer before it goes away.
 */
#ifndef ORIGIN_TIMERS_H
#define ORIGIN_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    int64_t due_ms; /* monotonic; 0: not set */
    size_t place;   /* index in the heap */
};

struct timers {
    struct timer **heap; /* timers borrowed, array owned */
    size_t count;
    size_t room;
};

/* Make sure that `count` timers can be set. Returns 0, or -1 (no memory). */
int timers_reserve(struct timers *timers, size_t count);

/* Set, move, or (due_ms 0) remove `timer`. The room must have been reserved. */
void timers_set(struct timers *timers, struct timer *timer, int64_t due_ms);

/* The earliest timer, or NULL. */
struct timer *timers_first(const struct timers *timers);

/* Free the heap, not the timers. */
void timers_close(struct timers *timers);

#endif

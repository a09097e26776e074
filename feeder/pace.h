/* pace.h - when tasks are read and handed out: --pace, each classic way to limit concurrency as a
 * rule of the same loop. docs/techniques.md compares them.
 *
 *   queue         bounded queues: window, credit, high-water marks (the default)
 *   unbounded     the whole list is read into memory, then handed out without window or credit
 *   sleep:PAUSE   so long between two dispatches
 *   batch:N       the next N when the last of the batch is settled; its retries belong to it
 *   semaphore:N   N in flight in the whole run
 *   pool:N        N fixed slots. They are divided among the fetchers that are there when the first
 *                 task is handed out; one that goes leaves its slots to the next that comes
 *
 * All but `unbounded` stay within window and credit too: the smaller limit holds.
 *
 * Hides:   what each word means.
 * Threads: one. */
#ifndef SLUICE_PACE_H
#define SLUICE_PACE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feeder/crew.h"
#include "feeder/window.h"

enum pace_kind { PACE_QUEUE, PACE_UNBOUNDED, PACE_SLEEP, PACE_BATCH, PACE_SEMAPHORE, PACE_POOL };

enum { PACE_MOST = 1000000, PACE_LONGEST_MS = 86400000, PACE_GATHER_MS = 500 };

/* What was asked for. */
struct pace_rule {
    enum pace_kind kind;
    uint32_t most;         /* batch, semaphore, pool: N */
    int64_t pause_ms;      /* sleep */
};

/* "batch:100". 0, or -1 and in `why` the end of a sentence that begins with `text`. */
int pace_read(struct pace_rule *rule, const char *text, char *why, size_t size);

struct pace {
    struct pace_rule rule;
    struct window *window; /* borrowed */
    struct crew *crew;     /* borrowed */
    int64_t next_ms;       /* clock; nothing goes before; unbounded, pool: 0: no fetcher seen yet */
    bool gathered;         /* unbounded, pool: next_ms is over */
    uint64_t begun_before; /* batch: tasks begun before its first */
    unsigned places;       /* pool: fetchers that the slots were divided among; 0: not yet */
    bool said;             /* pool: that a fetcher has no slot */
};

/* Sets what the window holds, and what a fetcher may have. Both are open. */
void pace_open(struct pace *p, const struct pace_rule *rule, struct window *w, struct crew *c);

/* How many of the ready tasks may be handed out now, from the head, whoever has room for them.
 * `list_ended`: all lines are read. */
uint64_t pace_now(struct pace *p, bool list_ended);
/* Some have been. */
void pace_sent(struct pace *p);
/* Until when nothing else than the time changes pace_now(), INT32_MAX: nothing does. */
int64_t pace_sleep_ms(const struct pace *p);
#endif

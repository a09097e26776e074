/* outbox.h - a worker's outcomes, numbered from 1, each kept until the feeder has it in the
 * manifest. docs/protocol.md, "Two counters make loss visible".
 *
 * Hides:   the list, the numbers.
 * Threads: one. */
#ifndef SLUICE_OUTBOX_H
#define SLUICE_OUTBOX_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/msg.h"

struct kept;

struct outbox {
    struct kept *first, **end;  /* owned; in order */
    struct kept *unsent;        /* first of them not sent since the last repeat; NULL: none */
    uint64_t first_o, unsent_o, next_o;  /* numbers of first, of unsent, of the next to come */
    uint32_t count;
    int64_t unsent_ms;          /* clock; since when there are unsent ones */
    int64_t moved_ms;           /* clock; when the oldest was last sent, or became the oldest */
};

void outbox_open(struct outbox *b);

/* Keeps a copy, texts and all; ends the process without memory (safe: the feeder still owns the
 * task). */
void outbox_add(struct outbox *b, bool stored, const struct msg_outcome *o);
/* Forgets those up to number `o`. */
void outbox_forget(struct outbox *b, uint64_t o);
/* All that are kept are to be sent again. */
void outbox_repeat(struct outbox *b);

/* The next unsent ones of one kind, `most` at most: copied into `items` (texts borrowed until
 * forgotten), their kind into *stored; returns how many. */
uint32_t outbox_peek(const struct outbox *b, struct msg_outcome *items, uint32_t most,
                     bool *stored);
/* The `count` that were peeked at have been sent. */
void outbox_sent(struct outbox *b, uint32_t count);
#endif

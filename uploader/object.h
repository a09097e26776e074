/* object.h - bodies being put together from chunks, by dispatch d and never by task.
 *
 * A chunk goes to the store as soon as it is here; nothing waits for a whole body. Per object
 * one job is with the pool at a time, so its chunks are written in order.
 *
 * Hides:   the jobs. Threads: the loop's. Invariant: chunks of two dispatches never meet. */
#ifndef SLUICE_OBJECT_H
#define SLUICE_OBJECT_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/msg.h"
#include "lib/wire.h"
#include "lib/worker.h"
#include "uploader/pool.h"
#include "uploader/store.h"

struct object;

struct objects {
    const struct store_ops *ops;
    void *store;             /* borrowed */
    struct pool *pool;       /* borrowed */
    struct worker *worker;   /* borrowed; outcomes go there */
    struct object *table;    /* by d; owned */
    unsigned count;
    uint64_t buffered_bytes; /* received and not written yet */
};

/* Takes the chunks of a message. `m` was read from *f, which is taken. */
void objects_chunks(struct objects *o, struct frame *f, const struct msg *m);
/* Takes back what the pool has done: receipts, failures. */
void objects_collect(struct objects *o);
/* The feeder says nobody waits for d any more. */
void objects_cancel(struct objects *o, uint64_t d);
/* Drops all but what a thread is at (that goes when it comes back). */
void objects_cancel_all(struct objects *o);

/* Lists d's into `held` (complete) and `open` (not), each with room for `most`. Only what is
 * older than `age_ms` is listed. */
void objects_list(const struct objects *o, int64_t age_ms, uint64_t *held, uint32_t *helds,
                  uint64_t *open, uint32_t *opens, uint32_t most);
#endif

/* object.h - bodies being put together from chunks, by dispatch d and never by task.
 *
 * A chunk goes to the store as soon as it is here; nothing waits for a whole body. Per object
 * one job is with the pool at a time, so its chunks are written in order. With --fsync, and where
 * the store asks for it, whole objects are committed in groups. Every call into the store is made
 * by the pool.
 *
 * Hides:   the jobs. Threads: the loop's. Invariant: chunks of two dispatches never meet. */
#ifndef SLUICE_OBJECT_H
#define SLUICE_OBJECT_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/msg.h"
#include "lib/pool.h"
#include "lib/wire.h"
#include "lib/worker.h"
#include "uploader/space.h"
#include "uploader/store.h"

struct object;
struct guest;
struct group;

struct objects {
    const struct store_ops *ops;
    void *store;             /* borrowed */
    struct pool *pool;       /* borrowed */
    struct worker *worker;   /* borrowed; outcomes go there */
    struct space *space;     /* borrowed; hears of a full disk */
    bool grouped;            /* commit in groups: --fsync, or the store's wish */
    bool closing;            /* the pool has stopped */
    struct object *table;    /* by d; owned */
    struct object *spare;    /* owned; calloc() has no quick way for blocks of their size */
    struct group *group;     /* owned */
    unsigned count;
    uint64_t begun;          /* objects so far */
    uint64_t foreign;        /* objects so far that a thread was at when their run ended */
    unsigned waiting;        /* written and not committed; each holds a descriptor */
    uint64_t buffered_bytes; /* received and not written yet */
};

/* The caller has set the borrowed parts and `grouped`. */
void objects_open(struct objects *o);
/* Stops the pool, once it has done what it is at, and drops what is left. */
void objects_close(struct objects *o);

/* Takes the chunks of a message. `m` was read from *f, which is taken; what it does not carry is in
 * `guest`, the sender's memory (NULL: none that we can read). */
void objects_chunks(struct objects *o, struct frame *f, const struct msg *m, struct guest *guest);
/* Takes back what the pool has done: receipts, failures. */
void objects_collect(struct objects *o);
/* How long the loop may sleep before it should collect again. */
int64_t objects_sleep_ms(const struct objects *o);
/* The feeder says nobody waits for d any more. */
void objects_cancel(struct objects *o, uint64_t d);
/* Another run: drops all but what a thread is at, which goes without a word when it is back. */
void objects_reset(struct objects *o);

/* Lists d's into `held` (complete; its task into `tasks`) and `open` (not), each with room for
 * `most`. Only what is older than `age_ms` is listed. */
void objects_list(const struct objects *o, int64_t age_ms, uint64_t *held, uint64_t *tasks,
                  uint32_t *helds, uint64_t *open, uint32_t *opens, uint32_t most);
#endif

/* pool.h - threads for calls that can take seconds, so that the loop keeps beating.
 *
 * One thread does the work while it keeps up; another is woken only when jobs have waited for
 * PATIENCE_MS: waking costs more than a write into a fast store.
 *
 * Hides:   the threads.
 * Threads: pool_* from the loop's thread; job->run from a pool thread; a job that was handed
 *          in is untouched by the loop until it comes back. */
#ifndef SLUICE_POOL_H
#define SLUICE_POOL_H
#include <stdint.h>

struct job {
    void (*run)(struct job *job);
    struct job *next;  /* the pool's */
};

struct pool;

/* Gives a pool of `threads`, or NULL with errno. */
struct pool *pool_open(int threads);
/* Waits for all jobs handed in and ends the threads; pool_done() still gives what came back. */
void pool_stop(struct pool *p);
void pool_close(struct pool *p);

/* Hands jobs in (borrowed until they come back). Collected until pool_go(), once a turn. */
void pool_add(struct pool *p, struct job *job);
void pool_go(struct pool *p);
/* How long the loop may sleep before it should call pool_done() and pool_go() again. */
int64_t pool_sleep_ms(struct pool *p);

/* Readable when jobs have come back. */
int pool_fd(const struct pool *p);
/* The jobs that have come back, a list by next, in the order they ended; NULL if none. */
struct job *pool_done(struct pool *p);
#endif

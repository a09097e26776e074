/* worker.h - what every worker owes the feeder: beats, outcomes kept until they are covered,
 * leaving in order. docs/protocol.md, "A worker's side".
 *
 * Hides:   the inbox, the wire to the feeder, runs and epochs, numbering of outcomes.
 * Threads: one. */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/opt.h"
#include "lib/place.h"

/* Options of both workers. */
struct worker_settings {
    const char *at, *inbox, *advertise;
    bool insecure, stay, quiet, verbose;
    const char *log_format;
    int64_t ready_fd, wait_ms;
};
extern struct worker_settings worker_settings;
extern const struct opt worker_options[];

/* What a role adds. All are called from worker_listen() or worker_tell(). */
struct worker_role {
    const char *name;   /* "fetcher" or "uploader" */
    void *arg;          /* borrowed, handed back */
    void (*task)(void *arg, const struct msg_task *t);    /* NULL: tasks are dropped */
    void (*news)(void *arg, const struct msg_news *n);    /* after the worker's own part */
    void (*reset)(void *arg);                             /* another run: drop everything */
    void (*fill_beat)(void *arg, struct msg_beat *b);     /* lists borrowed until the next call */
};

struct worker;

/* Reads the common options (say_setup included), binds the inbox, connects to the feeder.
 * `intake`: NULL, or what others are told of it; `dest`: NULL, or the DEST. Ends the process in
 * words on failure. worker_close() ends it. */
struct worker *worker_open(const struct worker_role *role, struct loop *loop, uint64_t member,
                           const char *intake, const char *dest);
void worker_close(struct worker *w);

/* Where the feeder is (resolved --at). */
const char *worker_at(const struct worker *w);

/* Takes in news and tasks, for at most 5 ms. */
void worker_listen(struct worker *w);
/* Sends outcomes and, when one is due, a beat. */
void worker_tell(struct worker *w);
/* Something changed that the feeder should hear before the next beat; `now`: at once. */
void worker_beat_soon(struct worker *w, bool now);

/* Keeps and sends an outcome. Copies. `stored`: a receipt. */
void worker_outcome(struct worker *w, bool stored, const struct msg_outcome *o);
/* Outcomes that `done` does not cover yet. */
uint32_t worker_uncovered(const struct worker *w);

/* The user asked to stop: the beat says so from now on. */
void worker_leave(struct worker *w);
bool worker_leaving(const struct worker *w);
/* Call when everything is given back and covered: the last beat goes out, then we end. */
void worker_empty(struct worker *w);

/* -1: go on; else the exit status to end with. */
int worker_finished(struct worker *w);
/* How long the loop may sleep. */
int64_t worker_sleep_ms(struct worker *w);

/* Facts the roles need. */
uint64_t worker_member(const struct worker *w);
const uint8_t *worker_run(const struct worker *w);   /* ID_RUN_BYTES; all zero: none yet */
int64_t worker_now_ms(const struct worker *w);       /* patience, for silence */
int64_t worker_beat_ms(const struct worker *w);
int64_t worker_lease_ms(const struct worker *w);
void worker_count_dropped(struct worker *w);
void worker_count_object(struct worker *w, uint64_t bytes);
#endif

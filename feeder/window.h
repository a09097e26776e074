/* window.h - the tasks read and not settled: each is ready, waiting for a retry, or in flight.
 *
 * Bounded by --window, whatever the list's length. Invariant: a task in the window has no line
 * in the manifest, and one that leaves it gets exactly one.
 *
 * Hides: the tables. Threads: one. */
#ifndef SLUICE_WINDOW_H
#define SLUICE_WINDOW_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/key.h"
#include "lib/table.h"

struct member;

enum task_state { TASK_READY, TASK_WAITING, TASK_IN_FLIGHT };

struct task {
    uint64_t id;               /* the line's number */
    uint64_t d, n;             /* in flight: dispatch, and the message that carried it */
    struct member *fetcher;    /* in flight: who was given it; NULL once that one is gone */
    struct task *prev, *next;  /* ready: the queue; in flight: its fetcher's, in order of n */
    int64_t due_ms;            /* waiting: clock */
    int64_t seen_ms;           /* in flight: patience time of the last evidence */
    unsigned failures;         /* tries that counted against --retry */
    unsigned losses;           /* times lost after it had begun */
    unsigned returns;          /* times given back for no fault of the URL's */
    enum task_state state;
    char key[KEY_BYTES];
    size_t url_len;
    UT_hash_handle by_id, by_d;
    char url[];                /* url_len bytes and a NUL */
};

struct window {
    struct task *by_id, *by_d;  /* owned; by_d: those in flight */
    struct task *ready;         /* queue, head first: those that have begun, then the others */
    unsigned size;
    unsigned most;              /* lines are read while there are fewer; a journal may bring more */
    unsigned waiting, in_flight;
    unsigned begun;             /* handed out once, at least: in flight, waiting, some ready */
    uint64_t begun_ever;        /* those that were settled since, too */
    unsigned peak_in_flight;
    int64_t next_due_ms;        /* no task that waits is due before */
};

void window_open(struct window *w, unsigned most);
void window_close(struct window *w);

/* Takes a line in as a ready task; whether there is room is the caller's to ask. NULL when memory
 * is out. */
struct task *window_add(struct window *w, uint64_t id, const char *url, size_t url_len);
/* The task is settled: frees it. It must not be on a fetcher's list any more. */
void window_settle(struct window *w, struct task *t);

/* NULL if not there. */
struct task *window_task(struct window *w, uint64_t id);
struct task *window_dispatch(struct window *w, uint64_t d);

/* Moves between states. */
void window_fly(struct window *w, struct task *t, uint64_t d);    /* ready -> in flight */
void window_land(struct window *w, struct task *t);               /* in flight -> ready, at the head */
void window_wait(struct window *w, struct task *t, int64_t due_ms); /* in flight -> waiting */

/* Makes ready what is due, ahead of what has not begun: its time has come. */
void window_wake(struct window *w, int64_t now_ms);
#endif

/* crew.h - the workers as the feeder knows them: who is there, what each has read, how much
 * room it has, what it was told. docs/protocol.md, "Credit" and "Evidence".
 *
 * Hides:   inbox, wires, message numbers, news.
 * Threads: one. */
#ifndef SLUICE_CREW_H
#define SLUICE_CREW_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/window.h"
#include "lib/clock.h"
#include "lib/loop.h"
#include "lib/msg.h"
#include "lib/place.h"
#include "lib/wire.h"

enum {
    CREW_MOST = 8192,
    CREW_NAME = 96,
    CREW_GONE_KEPT = 64,
    CREW_TASKS = 32,
    CREW_HELD_MOST = 1000000, /* of one fetcher: its beats have to name them */
};

/* One worker. */
struct member {
    uint64_t id;
    bool fetcher;              /* else an uploader */
    char name[CREW_NAME];      /* "host:pid" */
    char intake[PLACE_MAX];
    struct wire *wire;         /* to its inbox; owned */
    uint64_t mark;             /* last n it has read from us */
    int64_t mark_moved_ms;     /* patience */
    int64_t heard_ms;          /* patience; its last beat */
    uint64_t taken, done;      /* its outcomes: taken in; in the manifest */
    uint64_t told;             /* `done` as the last news said */
    uint64_t noted;            /* between the two: in the manifest once crew.noted_lines are */
    bool leaving, reading, refused;
    bool on_our_run;           /* its last beat was of our run */
    bool over_heard;           /* its last beat came */
    char refusal[256];
    int64_t next_news_ms, last_news_ms;  /* clock */
    struct msg_numbers cancel;  /* owned; what it names that is not current */
    /* a fetcher */
    uint64_t room;             /* tasks it could take beyond those it holds, as of mark */
    int64_t shut_ms;           /* clock; when its wire last took no tasks */
    struct task *tasks;        /* given to it, in order of n */
    unsigned given;            /* how many these are */
    unsigned most;             /* and may be, by --pace */
    unsigned unread;           /* of them, those above mark */
    unsigned suspects;         /* of them, suspects */
    /* an uploader */
    bool heads;                /* wants the responses' heads */
    struct msg_mark *read;     /* owned; last n it has read from each fetcher */
    uint32_t reads;
    UT_hash_handle hh;
};

struct crew {
    struct loop *loop;              /* borrowed */
    struct wire *inbox;
    struct msg_reader *reader;
    struct buf out;
    uint8_t run[ID_RUN_BYTES];
    uint64_t id, epoch, next_n, next_d;
    uint64_t noted_lines;           /* of the manifest, when each member's `noted` was taken down */
    int64_t lease_ms, beat_ms;
    int64_t claims_until_ms;        /* patience; crew_is_claiming() */
    struct patience patience;
    struct member *members;         /* by id; owned */
    unsigned fetchers, uploaders;   /* that stay */
    bool heeds_room;                /* a fetcher gets no more than it has room for */
    unsigned newcomer_most;         /* a member's `most` when it joins */
    char dest[PLACE_MAX];           /* of the run: the first uploader's; "" before */
    uint64_t gone[CREW_GONE_KEPT];  /* uploaders that left or fell silent, a ring */
    unsigned gone_count;
    struct window *window;          /* borrowed */
    char over[256];                 /* why the run has ended; "": it has not */
    uint64_t dropped;               /* messages of no use */
    /* Called for an outcome in its order; borrowed texts. */
    void (*stored)(void *arg, const struct member *from, const struct msg_outcome *o);
    void (*failed)(void *arg, const struct member *from, const struct msg_outcome *o);
    void *arg;
};

/* Binds `at`; ends the process in words on failure. The caller sets stored, failed, arg. An epoch
 * above 1: workers of the one before may live, and what they hold claims its task first. */
void crew_open(struct crew *c, struct loop *loop, struct window *w, const char *at,
               int64_t lease_ms, const uint8_t run[ID_RUN_BYTES], uint64_t epoch);
void crew_close(struct crew *c);

/* Takes in beats and outcomes, for at most 5 ms. */
void crew_listen(struct crew *c);
/* Sends the news that are due; forgets who fell silent. */
void crew_tell(struct crew *c);
/* Of the manifest's `made` lines, which are those of all outcomes taken so far, `written` are in
 * it: the outcomes of these are covered. */
void crew_covered(struct crew *c, uint64_t made, uint64_t written);

/* Whether to wait still for what workers hold of an earlier epoch: nothing is to be handed out. */
bool crew_is_claiming(const struct crew *c);

/* Takes part in this run, and neither leaves nor was refused. */
bool crew_stays(const struct member *m);
/* The fetcher with the most credit (*credit tasks), NULL if none has any. `suspect`: one without
 * a suspect. */
struct member *crew_free_fetcher(struct crew *c, bool suspect, uint64_t *credit);
/* Sends `count` ready tasks (at most CREW_TASKS) in one message to `m`. False: not now; it counts
 * as without credit for a moment, and nothing else has changed. */
bool crew_send_tasks(struct crew *c, struct member *m, struct task *const *ts, uint32_t count);
/* Takes a task in flight off its fetcher's list; call before it leaves the state. */
void crew_forget_task(struct task *t);
/* Whether the fetcher of a task in flight has read it. */
bool crew_begun(const struct task *t);

/* The run has ended (or could not start): say so to all until they have gone. */
void crew_over(struct crew *c, const char *why);
bool crew_all_gone(const struct crew *c);

const struct member *crew_member(const struct crew *c, uint64_t id);
int64_t crew_sleep_ms(struct crew *c);

/* A task is a suspect after so many losses; after so many it has failed. */
enum { CREW_SUSPECT_LOSSES = 5, CREW_FATAL_LOSSES = 8 };
bool crew_suspects(const struct task *t);
#endif

/* transfer.h - a task's way from being read to being sent whole to an uploader: queued, running.
 * What comes after is the outlet's (sent.h).
 *
 * Memory: a running transfer holds one chunk at most, and what one call of libcurl brought
 * while it waits for room. Room goes to the oldest that waits for it; nothing new starts while there
 * is none anywhere.
 *
 * Hides: chunks, decoding, digests. */
#ifndef SLUICE_TRANSFER_H
#define SLUICE_TRANSFER_H
#include <stdbool.h>
#include <stdint.h>

#include "fetcher/body.h"
#include "fetcher/outlet.h"
#include "lib/msg.h"
#include "lib/worker.h"
#include "lib/xfer.h"

struct transfer;

struct transfers {
    struct worker *worker;     /* borrowed */
    struct outlets *outlets;   /* borrowed */
    struct xfers *xfers;       /* borrowed */
    int64_t slots, prefetch;   /* transfers at once, and tasks that wait for one of these: the more, the
                                * fewer beats ask for others, the longer the last ones wait here, and
                                * the higher peaks of memory are */
    struct bodies bodies;      /* of those that run; each is its transfer */

    struct transfer *by_d;               /* all; owned */
    struct transfer *queued, *running;   /* each in order of arrival */
    unsigned queued_count, running_count;
    unsigned blocked_count;    /* those that wait for room; */
    unsigned homeless;         /* of them, those that have no outlet yet */
    unsigned freed;            /* slots that came free since the last beat */
    bool serving;              /* room is being given to those that wait */
    int64_t odd_ms;            /* clock; since the odd one would else have ended */
};

/* The caller has set the borrowed parts and the settings. 0, or -1 with errno. */
int transfers_open(struct transfers *ts);
/* Drops all without a word. */
void transfers_close(struct transfers *ts);

/* What xfers_open() calls for our transfers. */
extern const struct xfer_calls transfer_calls;

void transfers_task(struct transfers *ts, const struct msg_task *t);
/* Uses room and slots: those that wait first, then new ones. */
void transfers_turn(struct transfers *ts);
/* How long the loop may sleep before it should do so again. */
int64_t transfers_sleep_ms(const struct transfers *ts);
void transfers_cancel(struct transfers *ts, uint64_t d);
/* Fails, as lost, what was given to `o` or is being. */
void transfers_lost(struct transfers *ts, struct outlet *o);
/* Gives back what has not begun, and what has while no uploader would take it. */
void transfers_give_back(struct transfers *ts);
/* Drops all without a word. */
void transfers_reset(struct transfers *ts);

/* Lists what is older than `age_ms`, sent objects too, at most `most`: each one's d and its task;
 * returns how many. */
uint32_t transfers_list(const struct transfers *ts, int64_t age_ms, uint64_t *ds, uint64_t *tasks,
                        uint32_t most);
#endif

/* outlet.h - the uploaders as one fetcher sees them: a PUSH socket to each.
 *
 * An object stays with the outlet its first chunk went to. HWM in messages of a chunk each, or in
 * chunks that are lent, is the bound, so "no room" is the normal way to be told to wait. Small whole objects share messages:
 * they are sent when enough have come together, or a few milliseconds have passed. To an uploader
 * that has mapped our memory the bodies in it are lent (share.h), not sent.
 *
 * Hides: wires to uploaders, message numbers, marks. */
#ifndef SLUICE_OUTLET_H
#define SLUICE_OUTLET_H
#include <stdbool.h>
#include <stdint.h>

#include "fetcher/batch.h"
#include "fetcher/sent.h"
#include "lib/msg.h"
#include "lib/worker.h"

struct outlet {
    uint64_t member;
    char intake[PLACE_MAX];
    struct wire *wire;        /* owned; NULL: unreachable */
    bool unreachable;         /* said; tried again each beat */
    int64_t dialed_ms;        /* clock; when it was tried */
    bool leaving, reading, heads;  /* as the news say */
    bool listed;              /* in the news just read */
    bool full;                /* refused a message this turn */
    bool near;                /* of this machine: it is told of our memory */
    bool guest;               /* it has mapped our memory */
    uint32_t lent;            /* blocks of it */
    uint64_t mark;            /* last n it has read from us */
    uint64_t last_n;          /* last n sent to it */
    struct batch batch;       /* small objects not sent yet */
    uint64_t batch_n;         /* the number of the message they will be */
    int64_t flush_at_ms;      /* clock; when they have waited long enough */
    unsigned open;            /* objects begun there and not ended */
    unsigned waiting;         /* of them, those that wait for room; the transfers' */
    struct sent sent;         /* objects sent whole; after a `lost`, none */
    int64_t mark_moved_ms, listed_ms;  /* patience */
    int64_t sent_ms;          /* clock; last message to it */
    struct outlet *prev, *next;
};

struct outlets {
    struct loop *loop;        /* borrowed */
    struct worker *worker;    /* borrowed */
    struct share *share;      /* borrowed; what is taken of it may be given to outlet_send() */
    int hwm;
    struct outlet *list;      /* owned */
    int64_t news_ms;          /* patience; of the last news */
    uint64_t next_n;          /* one count for all: it rises for each, whatever is forgotten */
    struct buf head;          /* a message's map being written */
    /* Objects given to `o`, in `sent` too, are lost (it is gone, or its link was cut). */
    void (*lost)(void *arg, struct outlet *o);
    void *arg;
};

enum { OUTLET_HEAD_ROOM = 1024 };  /* bytes left free before a block's body, for the map */

void outlets_close(struct outlets *os);

/* Takes in what the news say of uploaders. */
void outlets_news(struct outlets *os, const struct msg_news *n);
/* Closes all without a word: another run. The caller has dropped its transfers. */
void outlets_reset(struct outlets *os);

/* Whether there is an uploader that is not about to leave. */
bool outlets_any_stays(const struct outlets *os);
/* Whether an uploader reads our memory. */
bool outlets_any_guest(const struct outlets *os);
/* Whether one of them wants the responses' heads, or none is known yet. */
bool outlets_want_heads(const struct outlets *os);
/* The next outlet in turn that may take a new object, one that reads if there is one; NULL if none
 * has room. `first`: before those that wait there, too. */
struct outlet *outlets_pick(struct outlets *os, bool first);
/* Whether there is one for a new object, whoever it will be. */
bool outlets_any_room(const struct outlets *os);

/* Sends a chunk whose body is the c->len bytes at *block + OUTLET_HEAD_ROOM; the block is of
 * malloc(), of slots that nobody else frees, or of the share. The number of the message that
 * carries it (*block is taken and NULL, or was copied), or 0: no room now. */
uint64_t outlet_send(struct outlets *os, struct outlet *o, struct msg_chunk *c, char **block);
/* Sends the small objects that have waited for company long enough; call at the end of a turn. */
void outlets_flush(struct outlets *os);
/* How long the loop may sleep before it should do so again. */
int64_t outlets_sleep_ms(const struct outlets *os);

/* Once a turn: idle pipes get a message a beat, so that marks move; stuck ones and those that could
 * not be had a new socket. */
void outlets_turn(struct outlets *os);
/* Objects sent whole and not known to be read. */
uint32_t outlets_sent(const struct outlets *os);
#endif

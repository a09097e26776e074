/* answer.h - one answer on its way: turns head, body, coding and framing into wire bytes.
 *
 * compose.c decides what an answer is; this carries it out, one buffer at a
 * time, and never touches a socket.
 *
 * Source: RFC 9112 section 7.1 (chunked coding).
 */
#ifndef ORIGIN_ANSWER_H
#define ORIGIN_ANSWER_H

#include "buffer.h"
#include "coder.h"
#include "rude.h"

/* What happens where the body is cut. */
enum answer_cut {
    ANSWER_WHOLE,
    ANSWER_STALL,
    ANSWER_RESET,
    ANSWER_TRUNCATE,
};

enum answer_stage {
    STAGE_FLOOD,    /* useless header lines, then the head's empty line */
    STAGE_BODY,
    STAGE_TAIL,     /* the last chunk */
    STAGE_DONE,
};

struct answer {
    enum answer_stage stage;
    int64_t wait_ms;          /* before the first byte */
    char until[RUDE_UNTIL_BYTES + 1]; /* nor before there is this file; empty: none */
    int64_t flood_bytes;      /* of header lines still to come */
    struct source source;     /* owned */
    struct coder *coder;      /* owned; NULL: send the source as it is */
    bool no_body;             /* HEAD, 204, 304: the head is all */
    bool chunked;
    bool close;               /* close the connection afterwards */
    bool watching;            /* /-/stats or /-/count: not in the stats */
    enum answer_cut cut;
    int64_t cut_bytes;        /* body bytes before the cut; RUDE_AT_HEAD: not even the head */
    int64_t rate_bytes_per_s; /* 0: as fast as it goes */
    int64_t body_start_ms;    /* when the first body byte was due; 0: not yet */
    int64_t body_bytes;       /* given so far, coded, without framing */
};

enum answer_news {
    ANSWER_MORE,  /* the buffer is full */
    ANSWER_PACED, /* nothing more before answer_due_ms() */
    ANSWER_FILE,  /* the rest is the file in answer->source */
    ANSWER_CUT,   /* do what answer->cut says */
    ANSWER_DONE,
};

/* Add wire bytes to `out` until there is news. What is in `out` comes before the news. */
enum answer_news answer_fill(struct answer *answer, struct buffer *out, int64_t now_ms);

/* After ANSWER_PACED: when the next bytes may go. */
int64_t answer_due_ms(const struct answer *answer);

/* Free what the answer holds; it is empty then. */
void answer_close(struct answer *answer);

#endif

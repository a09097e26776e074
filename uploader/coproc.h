/* coproc.h - a long-lived command that is asked over its stdin and answers on its stdout, one
 * object at a time: a line of JSON and the body go in, a line comes out.
 *
 * One that ends, or has to be killed, is started again for the next object: at once, or, if it has
 * not answered since it was last started again, after 0.1 s, then twice as long each time, 5 s at
 * most.
 *
 * Threads: one at a time. */
#ifndef SLUICE_COPROC_H
#define SLUICE_COPROC_H
#include "lib/buf.h"
#include "uploader/runner.h"
#include "uploader/spool.h"

struct coproc {
    struct child child;  /* pid 0: does not run */
    int to, from;        /* its stdin and stdout; do not block */
    struct buf said;     /* of its stdout, and not read yet */
    int deaths;          /* since it has last answered */
    int64_t rest_ms;     /* clock; not started again before */
};

enum coproc_answer {
    COPROC_ANSWERED,    /* the line is `said`'s first *line_len bytes and a newline; all was sent,
                         * or it is no JSON object */
    COPROC_DIED,        /* ended, or closed its stdin or stdout, before it had answered */
    COPROC_NOT_ANSWERED /* `c` says why */
};

/* All closed and nothing running. */
void coproc_setup(struct coproc *c);
/* Asks it, starting it where it does not run. */
enum coproc_answer coproc_ask(struct coproc *c, struct runner *r, const struct buf *head,
                              struct spool *body, struct store_commit *v, size_t *line_len);
/* Takes the answer away. */
void coproc_answered(struct coproc *c, size_t line_len);
/* Kills it; how it had ended, if by itself, in words (room for COPROC_HOW). */
enum { COPROC_HOW = 48 };
void coproc_kill(struct coproc *c, char *how);
/* Closes its stdin, so that it ends by itself; and waits for that until `until_ms`. */
void coproc_finish(struct coproc *c);
void coproc_wait(struct coproc *c, int64_t until_ms);
#endif

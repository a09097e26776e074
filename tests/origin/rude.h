/* rude.h - the query options that make an answer misbehave. Pure.
 *
 * One table entry per option (rude.c); README.md says what each does.
 * Names that are not in the table are ignored: a test may use them to make targets differ.
 */
#ifndef ORIGIN_RUDE_H
#define ORIGIN_RUDE_H

#include "url.h"

/* A number that may be absent. */
struct rude_option {
    bool given;
    int64_t n;
};

/* The longest value of until. */
#define RUDE_UNTIL_BYTES 200

/* As the value of stall, reset and truncate: before the first byte of the answer. */
#define RUDE_AT_HEAD (-1)

struct rude {
    struct rude_option wait_ms;
    struct rude_option rate_bytes_per_s;
    struct rude_option stall;         /* RUDE_AT_HEAD or body bytes sent before it */
    struct rude_option reset;         /* same */
    struct rude_option truncate;      /* same */
    struct rude_option length_bytes;  /* the Content-Length to claim */
    struct rude_option chunked;       /* flags are 0 or 1 */
    struct rude_option nolength;
    struct rude_option gzip;
    struct rude_option deflate;
    struct rude_option badgzip;
    struct rude_option status;
    struct rude_option retry_after_s;
    struct rude_option times;
    struct rude_option hop;
    struct rude_option loop;
    struct rude_option headers_bytes;
    struct rude_option close;
    struct rude_option endless;
    struct span to;              /* still percent-coded, borrowed; at NULL: absent */
    struct span until;           /* as sent, borrowed; at NULL: absent */
};

/* Read the options in `query` (without '?'), 0 for all is well.
 * -1: an option has a value it cannot have; *bad_option is that "name=value". */
int rude_parse(struct span query, struct rude *rude, struct span *bad_option);

/* The requests that `times` covers are over: forget what it governs (README.md lists it). */
void rude_behave(struct rude *rude);

/* Write `target` with the value of option `name` replaced by `value` to `out`, NUL-terminated.
 * Returns 0, or -1 when `size` is too little. */
int rude_retarget(struct span target, const char *name, int64_t value, char *out, size_t size);

#endif

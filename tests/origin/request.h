/* request.h - the head of one HTTP/1.x request. Pure.
 *
 * Reads only what an answer depends on; everything else in the head is skipped.
 *
 * Source: RFC 9112 sections 2.2, 3 and 9.3.
 */
#ifndef ORIGIN_REQUEST_H
#define ORIGIN_REQUEST_H

#include "url.h"

/* No head may be longer than this: more is refused with 431. */
enum { REQUEST_HEAD_BYTES = 16 * 1024 };

struct request {
    struct span target;  /* path and query; borrowed from the input */
    size_t head_bytes;   /* length of the head with its empty line */
    bool head_only;      /* HEAD */
    bool http10;
    bool close;          /* the client wants, or we need, the connection closed after the answer */
    int status;          /* 0, or the status that refuses this request: 400, 405, 431, 505 */
};

/* Read the head at the start of `input`.
 * Returns 1, or 0 when the head is not complete yet. */
int request_parse(struct span input, struct request *request);

#endif

/* head.h - write the head of an answer.
 *
 * Source: RFC 9110 sections 6.4.1 (answers without content), 8.4, 8.6, 10.2.2, 10.2.3, 15.
 */
#ifndef ORIGIN_HEAD_H
#define ORIGIN_HEAD_H

#include "buffer.h"
#include "rude.h"

#define HEAD_NO_LENGTH (-1)

struct head {
    int status;
    int64_t length_bytes;        /* HEAD_NO_LENGTH: no Content-Length */
    const char *type;            /* NULL: no Content-Type */
    const char *coding;          /* NULL: no Content-Encoding */
    const char *location;        /* NULL: no Location */
    struct rude_option retry_after_s;
    bool chunked;
    bool close;
    bool http10;                 /* the request was HTTP/1.0 */
};

/* True for a status whose answer has no body and says nothing about one. */
bool head_forbids_body(int status);

/* Add the status line and the headers, but not the empty line, to the empty `out`. */
void head_write(const struct head *head, struct buffer *out);

#endif

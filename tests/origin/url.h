/* url.h - borrowed text, request targets and percent-coding.
 *
 * Everything here is pure: no state, no allocation.
 *
 * Source: RFC 3986 sections 2.1 (percent-encoding) and 3.3 (path characters).
 */
#ifndef ORIGIN_URL_H
#define ORIGIN_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Text inside somebody else's buffer; not NUL-terminated. */
struct span {
    const char *at;
    size_t len;
};

/* `word` (borrowed, NUL-terminated) as a span. */
struct span span_of(const char *word);

bool span_is(struct span text, const char *word);

/* When `text` starts with `prefix`, step over it and say true; else leave it and say false. */
bool span_skip(struct span *text, const char *prefix);

/* Cut `text` at the first `mark`: returns what stood before it; `text` keeps what stood after
 * it. Without a mark all is returned and `text` becomes empty. */
struct span span_until(struct span *text, char mark);

/* Read all of `text` as a decimal number of at most INT64_MAX. Returns 0, or -1 when it is not. */
int span_number(struct span text, int64_t *number);

/* The path and query of `url`: without "http://host:port" when that is there. At least "/". */
struct span url_target(struct span url);

/* Undo percent-coding into `out` (`size` bytes, NUL-terminated on success).
 * Returns the length, or -1 for a bad escape, a NUL byte, or too little room. */
ssize_t url_decode(struct span text, char *out, size_t size);

/* Print `name`, one path segment, with everything but RFC 3986's unreserved characters escaped. */
void url_print_segment(FILE *to, const char *name);

#endif

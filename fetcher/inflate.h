/* inflate.h - decoding gzip and deflate bodies bit by bit, because libcurl 7.88 would decode a
 * whole buffer into memory (up to 64 MB) for a paused transfer. Source: RFC 9110, 8.4.1. */
#ifndef SLUICE_INFLATE_H
#define SLUICE_INFLATE_H
#include <stddef.h>

struct inflate;

/* Gives a decoder for a Content-Encoding, or NULL: not one of ours (then the body is kept as it
 * is). Without memory the process ends in words. */
struct inflate *inflate_open(const char *encoding);
void inflate_close(struct inflate *z);

/* Decodes from *in (*in_len bytes; both are moved on) into `out`. Returns the bytes written,
 * or -1 when the data is bad. */
long inflate_some(struct inflate *z, const char **in, size_t *in_len, char *out, size_t out_len);

/* 1 when the stream has come to its proper end. */
int inflate_ended(const struct inflate *z);
#endif

/* coder.h - a source, compressed while it is read.
 *
 * Hides:  zlib's deflate stream (about 256 KiB each).
 * Source: RFC 9110 section 8.4.1: "gzip" is RFC 1952, "deflate" is the zlib format of RFC 1950.
 */
#ifndef ORIGIN_CODER_H
#define ORIGIN_CODER_H

#include "source.h"

struct coder;

enum coder_format {
    CODER_GZIP,
    CODER_DEFLATE,
};

/* Gives a coder, or NULL (no memory). End it with coder_free. */
struct coder *coder_open(enum coder_format format);

/* Read from `source` as needed and write up to `size` coded bytes to `out`.
 * Returns how many; 0 once the source has ended and all its bytes have been given. */
size_t coder_read(struct coder *coder, struct source *source, unsigned char *out, size_t size);

void coder_free(struct coder **coder);

#endif

/* header_block.h - the header block of an HTTP message, put together from what comes of it: the last
 * response's as it was received, its request's as it was sent.
 *
 * Memory: HEADER_BLOCK_MOST; a longer one is not kept. Threads: one owner at a time. */
#ifndef SLUICE_HEADER_BLOCK_H
#define SLUICE_HEADER_BLOCK_H
#include <stdbool.h>
#include <stddef.h>

#include "lib/buf.h"

enum { HEADER_BLOCK_MOST = 65536 };

/* All zero: nothing came yet. */
struct header_block {
    struct buf text;
    bool whole;  /* its empty line is here */
};

/* Adds a line of a response: of an interim one, of one that redirects, of the last; each begins the
 * block anew. Trailers come here, too, and are none of it. */
void header_block_received(struct header_block *b, const char *line, size_t len);
/* Adds a piece of what is sent of requests' blocks. One that was cut off is begun again. */
void header_block_sent(struct header_block *b, const char *piece, size_t len);

/* The block, to its empty line, borrowed; NULL if it is not whole, or too long. */
const char *header_block_text(const struct header_block *b, size_t *len);
void header_block_free(struct header_block *b);
#endif

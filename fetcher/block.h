/* block.h - the memory that chunks are put together in: OUTLET_HEAD_ROOM bytes, then those of a body.
 * Of the shared memory where an uploader reads it, of slots for small bodies, which are copied into a
 * batch anyway, else of malloc().
 *
 * Hides: which of the three a block is. */
#ifndef SLUICE_BLOCK_H
#define SLUICE_BLOCK_H
#include <stdbool.h>
#include <stddef.h>

#include "fetcher/outlet.h"
#include "lib/slots.h"

struct blocks {
    const struct outlets *outlets;  /* borrowed; who reads the shared memory */
    size_t chunk_bytes;             /* longest chunk */
    struct slots small;
};

/* For `count` transfers. 0, or -1 with errno. */
int blocks_open(struct blocks *b, const struct outlets *outlets, size_t chunk_bytes, size_t count);
void blocks_close(struct blocks *b);

/* A block with room for *bytes of a body, which may come to be more; NULL without memory. `whole`:
 * that is all of it. */
char *blocks_take(struct blocks *b, size_t *bytes, bool whole);
/* The block with room for `bytes`, of which `fill` are there; NULL without memory. */
char *blocks_grow(struct blocks *b, char *block, size_t fill, size_t bytes);
void blocks_give(struct blocks *b, char *block);
#endif

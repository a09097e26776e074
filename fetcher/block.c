#include "fetcher/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/share.h"

enum { COPIED_MOST = 16384 };  /* longer bodies are lent where they can be */

int blocks_open(struct blocks *b, const struct outlets *outlets, size_t chunk_bytes, size_t count)
{
    *b = (struct blocks){.outlets = outlets, .chunk_bytes = chunk_bytes};
    return slots_open(&b->small, OUTLET_HEAD_ROOM + BATCH_SMALL, count);
}

void blocks_close(struct blocks *b)
{
    slots_close(&b->small);
}

char *blocks_take(struct blocks *b, size_t *bytes, bool whole)
{
    char *block = NULL;
    if (whole && *bytes <= COPIED_MOST)
        block = slots_take(&b->small);
    else if (outlets_any_guest(b->outlets) && (block = share_take(b->outlets->share)))
        *bytes = b->chunk_bytes;
    else if (whole && *bytes <= BATCH_SMALL)
        block = slots_take(&b->small);
    return block ? block : malloc(OUTLET_HEAD_ROOM + *bytes);
}

char *blocks_grow(struct blocks *b, char *block, size_t fill, size_t bytes)
{
    assert(!share_own(b->outlets->share, block)); /* these have room for the longest chunk */
    if (!slots_own(&b->small, block))
        return realloc(block, OUTLET_HEAD_ROOM + bytes);
    char *grown = malloc(OUTLET_HEAD_ROOM + bytes);
    if (grown)
        memcpy(grown, block, OUTLET_HEAD_ROOM + fill);
    slots_give(&b->small, block);
    return grown;
}

void blocks_give(struct blocks *b, char *block)
{
    if (share_own(b->outlets->share, block))
        share_give(b->outlets->share, block);
    else if (slots_own(&b->small, block))
        slots_give(&b->small, block);
    else
        free(block);
}

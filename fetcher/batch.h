/* batch.h - small bodies, and lent ones, put together, so that one message carries many: a message
 * costs more than the bytes of a small body do.
 *
 * Memory: BATCH_BLOCK per batch, whatever is added. */
#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/msg.h"

enum {
    BATCH_SMALL = 65536,       /* longer bodies go alone, without being copied */
    BATCH_FULL = 200 << 10,    /* bytes of bodies, lent ones too, after which it should be sent */
    BATCH_ITEMS = 64,
    BATCH_HEAD_ROOM = 32 << 10, /* before the bodies, for the message's map */
    BATCH_BODIES = 256 << 10,
    BATCH_TEXTS = 64 << 10,
    BATCH_BLOCK = BATCH_HEAD_ROOM + BATCH_BODIES + BATCH_TEXTS,
    BATCH_WORTH = BATCH_BLOCK / 2, /* bytes of bodies for which the block itself is sent; fewer are
                                  copied, so that a queued message holds what it needs */
};

struct batch {
    struct msg_chunk items[BATCH_ITEMS];
    uint32_t count;
    char *block;          /* owned; room for the map, bodies, texts; NULL before the first */
    size_t bodies, texts; /* bytes of each */
    size_t lent;          /* bytes that are lent and so not in it */
};

/* Whether there is ever room for a chunk's texts. */
bool batch_suits(const struct msg_chunk *c);
/* Whether there is room for a chunk. */
bool batch_fits(const struct batch *b, const struct msg_chunk *c);
/* Copies a chunk that fits, texts and all, and its c->len bytes unless they are lent. */
void batch_add(struct batch *b, const struct msg_chunk *c, const void *body);
bool batch_is_full(const struct batch *b);
/* The bodies, one after the other; BATCH_HEAD_ROOM bytes before them are free. */
char *batch_bodies(const struct batch *b);
/* Drops what is in it. The block may have been taken (b->block NULL then). */
void batch_empty(struct batch *b);
void batch_free(struct batch *b);
#endif

/* batch.h - small bodies put together, so that one message carries many: a message costs more
 * than the bytes of a small body do.
 *
 * Memory: BATCH_BYTES per batch, whatever is added. */
#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/msg.h"

enum {
    BATCH_SMALL = 16384,  /* longer bodies go alone, without being copied */
    BATCH_FULL = 32768,   /* bytes of bodies after which it should be sent */
    BATCH_BYTES = 65536,  /* of bodies and texts */
    BATCH_ITEMS = 128,
};

struct batch {
    struct msg_chunk items[BATCH_ITEMS];
    uint32_t count;
    char *room;           /* owned; bodies from the front, their texts from the back */
    size_t bodies, texts; /* bytes of each */
};

/* Copies a chunk of c->len bytes, texts and all. False: no room, or no memory. */
bool batch_add(struct batch *b, const struct msg_chunk *c, const void *body);
bool batch_is_full(const struct batch *b);
void batch_empty(struct batch *b);
void batch_free(struct batch *b);
#endif

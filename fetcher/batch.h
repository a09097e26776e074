/* batch.h - small bodies, and lent ones, put together, so that one message carries many: a message
 * costs more than the bytes of a small body do.
 *
 * Memory: BATCH_TEXTS and a block per batch, whatever is added. */
#ifndef SLUICE_BATCH_H
#define SLUICE_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/msg.h"

enum {
    BATCH_SMALL = 65536,        /* longer bodies go alone, without being copied */
    BATCH_FULL = 248 << 10,     /* bytes of bodies after which it should be sent, */
    BATCH_LENT_FULL = 1 << 20,  /* and of those that are lent by themselves */
    BATCH_ITEMS = 64,
    BATCH_HEAD_ROOM = 32 << 10, /* before the bodies of a block of our own, for the message's map */
    BATCH_BODIES = 256 << 10,   /* of it */
    BATCH_TEXTS = 64 << 10,
    BATCH_WORTH = BATCH_BODIES / 2, /* bytes of bodies for which our own block is sent; fewer are
                                   copied, so that a queued message holds what it needs */
};

struct batch {
    struct msg_chunk items[BATCH_ITEMS];
    uint32_t count;
    char *texts;           /* owned; BATCH_TEXTS bytes, NULL before the first chunk */
    size_t texts_len;
    char *block;           /* owned; where bodies are copied to, NULL before the first of them */
    char *bodies;          /* in the block; one after the other */
    size_t room, bodies_len;
    bool shared;           /* the block is of the share */
    uint64_t seq;          /* the loan it is, once it is lent; else 0 */
    size_t lent;           /* bytes of bodies that are lent by themselves */
};

/* Whether there is ever room for a chunk's texts. */
bool batch_suits(const struct msg_chunk *c);
/* Whether there is room for a chunk. */
bool batch_fits(const struct batch *b, const struct msg_chunk *c);
/* Takes a block whose bytes from `bodies` on, `room` of them, are for bodies. */
void batch_give_block(struct batch *b, char *block, char *bodies, size_t room, bool shared);
/* Copies a chunk that fits, texts and all, and its c->len bytes unless they are lent. */
void batch_add(struct batch *b, const struct msg_chunk *c, const void *body);
bool batch_is_full(const struct batch *b);
/* The bodies are lent as `seq`, the first of them at `at`. */
void batch_lend(struct batch *b, uint64_t seq, uint64_t at);
/* Drops what is in it but the block: the caller has dealt with one that is shared. */
void batch_empty(struct batch *b);
void batch_free(struct batch *b);
#endif

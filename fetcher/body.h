/* body.h - a body on its way through: decoded, digested, and put together to chunks.
 *
 * Two bodies digested at once take the time of one, so new bytes wait for those of another: at most
 * one body, the odd one, has bytes that are not digested.
 *
 * Hides: the decoder, the digests, the blocks. Threads: one. Without memory the process ends in words:
 * safe, the feeder owns the task. */
#ifndef SLUICE_BODY_H
#define SLUICE_BODY_H
#include <stdbool.h>
#include <stdint.h>

#include "fetcher/block.h"
#include "lib/digest.h"

struct inflate;

struct bodies {
    size_t chunk_bytes;         /* longest chunk */
    int64_t max_bytes;          /* of a decoded body; 0: no limit */
    enum digest_kind kind;

    bool pairs;                 /* two bodies are digested at once */
    struct body *odd;           /* the one that waits for another's bytes, or NULL */
    struct body *met;           /* the one that did, and does no more: taken by whoever looks */
    struct blocks blocks;
};

struct body {
    struct bodies *all;         /* borrowed; NULL: not open */
    char *block;                /* OUTLET_HEAD_ROOM bytes, then the chunk being filled; owned */
    size_t block_bytes, fill;   /* its room for the body, and what is in it */
    size_t digested;            /* of that; all of it but in all->odd */
    uint64_t offset;            /* bytes in chunks before it */
    int64_t length;             /* of all, as the origin says; -1: unknown */
    struct inflate *inflate;    /* NULL: as it comes */
    struct digest *digest;      /* NULL once `digest_text` has it */
    char digest_text[DIGEST_TEXT];
};

enum body_got {
    BODY_TOOK,
    BODY_FULL,                  /* the chunk is to be sent first */
    BODY_DAMAGED,               /* the encoded bytes are not what they should be */
    BODY_TOO_LARGE,             /* longer than max_bytes */
};

/* The caller has set the limits and `kind`. For `count` bodies at once, whose chunks go to `outlets`
 * (borrowed). 0, or -1 with errno. */
int bodies_open(struct bodies *all, const struct outlets *outlets, size_t count);
void bodies_close(struct bodies *all);

void body_open(struct body *b, struct bodies *all);
void body_close(struct body *b);

/* What the head of the response says. `encoding` NULL, or not one of ours: kept as it comes. */
void body_expect(struct body *b, int64_t length, const char *encoding);
/* Takes bytes as they came (both are moved on) until they are used up, also those that the decoder
 * holds. `alone`: no other body is touched; else all->met may be set. */
enum body_got body_add(struct body *b, const char **data, size_t *len, bool alone);
/* False: the encoded bytes were to go on. */
bool body_ends_well(const struct body *b);

/* Gets the chunk ready to be sent: digested, and in a block even if it is empty. */
void body_make_chunk(struct body *b);
/* The chunk has been sent; whoever did took the block, or left it for the next one. */
void body_sent_chunk(struct body *b);
/* The digest of all of it, after which nothing can be added; "" of none. */
const char *body_digest(struct body *b);
#endif

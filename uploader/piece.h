/* piece.h - the bytes of chunks, kept until the store has them: in the message they came in, or in
 * memory that was lent (lib/share.h). Pieces share these; each goes when its last piece does.
 *
 * Threads: the loop's; piece_holds() any. */
#ifndef SLUICE_PIECE_H
#define SLUICE_PIECE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/msg.h"
#include "lib/share.h"
#include "lib/wire.h"

struct loan;
struct parcel;

/* One chunk's bytes. */
struct piece {
    const uint8_t *bytes;
    size_t len;
    struct piece *next;     /* the owner's */
    struct parcel *parcel;  /* ours: the message, */
    struct loan *loan;      /* and the loan, NULL: none */
};

/* Takes a message's frame. What it does not carry is in `guest`, the sender's memory (borrowed; NULL:
 * none that we can read). *buffered counts the bytes that are kept, and must live as long. */
struct parcel *parcel_open(struct frame *f, struct guest *guest, uint64_t *buffered);
/* The caller takes no more pieces of it. */
void parcel_close(struct parcel *p);

/* Finds the bytes of a chunk of this message that were at c->bytes in the frame when it was read;
 * c->bytes is NULL if they are not lent any more. */
void parcel_find(struct parcel *p, struct msg_chunk *c);
/* Keeps the chunk that was found last. */
struct piece *parcel_keep(struct parcel *p, const struct msg_chunk *c);

/* Whether what was read of it up to now is what was sent: from one that is taken for gone a fetcher
 * takes its memory back. */
bool piece_holds(const struct piece *p);
/* Frees a list. */
void pieces_free(struct piece **list);
#endif

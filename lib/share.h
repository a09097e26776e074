/* share.h - memory of one process that others of its machine read, so that bodies pass between
 * them without being sent: docs/protocol.md, "Shared memory".
 *
 * The owner lends a block by telling where it lies and a number never used before; the guest gives
 * it back by putting 0 where that number stands. From a guest that is gone the owner takes a block
 * back itself, and the number with it: if that guest is not gone after all, guest_holds() tells it
 * that what it has read may be somebody else's by now.
 *
 * Hides:   where blocks and numbers lie, and how the memory is found: /proc/PID/fd/N of an
 *          unnamed file, so nothing is left behind whoever is killed.
 * Memory:  what is touched of `count` blocks; the last one back is the next one taken.
 * Threads: the owner's functions one; guest_holds() and guest_return() any.
 * Source:  memfd_create(2), "File sealing"; Boehm, "Can seqlocks get along with programming
 *          language memory models?" (2012) for the order of a reader's loads. */
#ifndef SLUICE_SHARE_H
#define SLUICE_SHARE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARE_NAME = 64 };

struct share {
    int fd;                /* owned; -1: there is no memory to share, and none is ever taken */
    char name[SHARE_NAME]; /* where others find it */
    char *map;             /* owned */
    size_t bytes;          /* of the mapping */
    size_t block_bytes;
    uint32_t count, fresh; /* blocks; those ever taken */
    uint64_t next_seq;
    struct share_note *notes;  /* one a block; owned */
    uint32_t free, lent;       /* first of each list, NONE at its end */
};

/* Memory of `count` blocks of `bytes` each, for others that know the owner's member number. 0, or
 * -1 with errno: then share_take() gives nothing. */
int share_open(struct share *s, uint64_t owner, size_t bytes, uint32_t count);
void share_close(struct share *s);

/* Whether `member` has mapped it. */
bool share_has_guest(const struct share *s, uint64_t member);

/* A block, NULL if all are taken. */
void *share_take(struct share *s);
void share_give(struct share *s, void *block);
/* Whether `p` is one of these blocks. */
bool share_own(const struct share *s, const void *p);

/* Lends a taken block to the guest whose loans are counted in *count, which must live as long as they
 * do. The number, never 0; *at is where `bytes`, which is in the block, lies for the guest. */
uint64_t share_lend(struct share *s, void *block, const void *bytes, uint32_t *count, uint64_t *at);
/* Finds the blocks that have been given back; call once a turn. */
void share_collect(struct share *s);
/* Takes back whatever is counted in *count. */
void share_reclaim(struct share *s, const uint32_t *count);

/* Another's memory. */
struct guest;

/* Maps what `owner` has at `name`, and says so there as `self`. NULL with errno: no such memory, or
 * not within our reach. The caller has one hold of it. */
struct guest *guest_open(const char *name, size_t name_len, uint64_t owner, uint64_t self);
void guest_hold(struct guest *g);
void guest_drop(struct guest *g);  /* the last one unmaps it, and says so there */

/* The `len` bytes at `at`, NULL if there is no such place or it is not lent as `seq` now. */
const void *guest_bytes(const struct guest *g, uint64_t at, uint64_t len, uint64_t seq);
/* Whether all that was read there up to now is what was lent. */
bool guest_holds(const struct guest *g, uint64_t at, uint64_t seq);
void guest_return(const struct guest *g, uint64_t at, uint64_t seq);
#endif

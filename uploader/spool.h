/* spool.h - a body that must be whole before its store can begin with it (its length goes first, or
 * it may have to be sent twice).
 *
 * In memory while it is small (SPOOL_SMALL bytes) and all spools together are below their budget,
 * a half of the uploader's --buffer; else in a file without a name, in $TMPDIR or /var/tmp. The
 * intake is read while what it brought and the spools' memory are below --buffer together: the other
 * half is always there for chunks, so objects that wait for their ends can't keep these out.
 *
 * Errors:  -1 with errno; ENOSPC: no room for the file, which is class "full" like a full store.
 * Threads: a spool one at a time, any; the budget is for all. */
#ifndef SLUICE_SPOOL_H
#define SLUICE_SPOOL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SPOOL_SMALL = 1 << 20 };

/* What the spools of a process share. */
struct spools {
    uint64_t budget_bytes;         /* of memory, for all */
    _Atomic uint64_t used_bytes;
    atomic_bool full_said;
    const char *dir;               /* for files; borrowed */
};

struct spool;

/* `dir`: where files go; NULL: $TMPDIR, else /var/tmp. */
void spools_open(struct spools *all, uint64_t budget_bytes, const char *dir);
/* Bytes of memory that they have now, at most the budget. */
uint64_t spools_bytes(struct spools *all);

/* Gives an empty spool (spool_close ends it), or NULL with errno. */
struct spool *spool_open(struct spools *all);
void spool_close(struct spool *s);

/* Appends. 0, or -1 with errno: the spool is of no more use. */
int spool_write(struct spool *s, const void *data, size_t len);
uint64_t spool_bytes(const struct spool *s);
/* Copies bytes from `offset` on: how many (fewer than `len` only at the end), or -1 with errno. */
ssize_t spool_read(struct spool *s, uint64_t offset, void *out, size_t len);
/* The bytes themselves where they are in memory, borrowed until the next write; else NULL. */
const void *spool_memory(const struct spool *s);
/* A descriptor of all of it, borrowed, its offset at 0: what is in memory moves into a file. -1
 * with errno. */
int spool_fd(struct spool *s);
#endif

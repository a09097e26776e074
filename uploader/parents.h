/* parents.h - the directories that objects are put into, each opened once and made where it is
 * missing.
 *
 * Nothing outside the root is reached: no link is followed on the way (openat2, RESOLVE_BENEATH).
 * What others do to directories meanwhile is not looked for: one that was moved elsewhere is used
 * there, and one that was removed is found by its user, who can put nothing into it (ENOENT).
 * Memory: PARENTS_KEPT descriptors, and those in use; when there are more, all are opened anew.
 * Threads: any. */
#ifndef SLUICE_PARENTS_H
#define SLUICE_PARENTS_H
#include <stdatomic.h>
#include <stddef.h>

#include "lib/table.h"

enum {
    PARENTS_KEPT = 512,
    PARENTS_TRIES = 8,  /* somebody removes empty directories, and each time this one too */
};

struct parents;

/* One directory; good until parents_put(). */
struct parent {
    int fd;       /* O_PATH */
    int users;    /* the table's */
    struct parent *up;     /* what holds its name, good as long as this is; NULL: it is the root */
    atomic_bool durable;   /* the caller's: whether its own name is known to be */
    UT_hash_handle hh;
    char path[];  /* below the root */
};

/* Gives a table (parents_close ends it) for the directory `root` (borrowed), NULL: no memory. */
struct parents *parents_open(int root);
void parents_close(struct parents *ps);

/* The directory `len` bytes of `path` name ("" is the root); NULL with errno. */
struct parent *parents_get(struct parents *ps, const char *path, size_t len);
/* Makes *p, which was removed, and what is above it anew: 0 and another *p in its place, or -1 with
 * errno and *p as it was. */
int parents_renew(struct parents *ps, struct parent **p);
void parents_put(struct parents *ps, struct parent *p);
#endif

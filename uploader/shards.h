/* shards.h - files that hold many objects, in a directory that several uploaders write into: each
 * has its name only once it is finished, and what a killed uploader left is finished by another.
 *
 * While it is written it is called NAME.open and locked (flock). It gets its name with link(2), so
 * nothing is ever replaced. An owner that died leaves a NAME.open that nobody locks: it is cut
 * after what is whole in it, which the kind of file knows, and finished under that name.
 *
 * Hides:   the suffix, the lock, the races. Errors: -1 with errno.
 * Threads: any; a file one at a time. Source: flock(2), link(2). */
#ifndef SLUICE_SHARDS_H
#define SLUICE_SHARDS_H
#include <stdbool.h>
#include <stdint.h>

enum { SHARDS_NAME = 220 };  /* room for a name without its suffix */

struct shards {
    const char *dest;  /* borrowed; for what is said */
    int dir;           /* borrowed */
    bool fsync;        /* names, and what is finished, are durable before a call returns */
    bool (*is_ours)(const char *name);  /* whether a file so called is of this kind */
    /* How many bytes from its beginning are whole and worth keeping; 0: none, so it is removed; -1
     * with errno: it can't be read, or, EILSEQ, is not of this kind. */
    int64_t (*whole)(int fd, const char *name);
};

/* Makes NAME.open and gives its descriptor, empty and locked; EEXIST: the name is taken. End it
 * with one of the next three, which close it. */
int shards_create(const struct shards *s, const char *name);
/* Gives it its name. -1: it stays as one that was killed leaves it, for shards_recover(). */
int shards_finish(const struct shards *s, int fd, const char *name);
/* Removes it. */
void shards_remove(const struct shards *s, int fd, const char *name);
/* Leaves it to shards_recover(). */
void shards_leave(int fd);

/* Finishes what uploaders that are dead have left, and says so. What can't be read or finished, or
 * is somebody else's, is left alone, and said. */
void shards_recover(const struct shards *s);
#endif

/* shard.h - tar files in one directory, numbered without collisions, each of which has its name only
 * when it is finished; and what uploaders that were killed have left of them.
 *
 * shard-000007.lock   the number is taken; locked (flock) while its owner lives. Says twice how many
 *                     bytes of the file below are whole, now and one time before (each receipt was
 *                     sent after they were noted). The first of its names to come, the last to go.
 * shard-000007.tar.part   members so far: a tar without an end
 * shard-000007.tar    finished: linked, so that nothing is ever replaced; then the others go
 *
 * An owner that died leaves a lock that nobody holds: whoever finds it cuts the file to the bytes
 * noted, and goes on with it or finishes it. One that is damaged becomes shard-000007.tar.damaged;
 * one that can't be read, or opened, is left, and said.
 *
 * Threads: a shard one at a time; shards_look() any. Errors: -1 or NULL with errno.
 * Hides:   the files, the lock, the notes. Source: flock(2), link(2). */
#ifndef SLUICE_SHARD_H
#define SLUICE_SHARD_H
#include <stdbool.h>
#include <stdint.h>

#include "uploader/tar_member.h"

enum { SHARD_NAME = 44 };  /* with ".damaged", and 20 digits */

struct shards {
    int dir;              /* borrowed */
    enum tar_pack pack;
    bool fsync;
    uint64_t solid;       /* lower numbers are used, all of them */
};

struct shard {
    struct shards *all;
    uint64_t number;
    enum tar_pack pack;
    int lock_fd, fd;      /* owned */
    struct tar *tar;      /* owned; to be written to, then kept or undone */
    uint64_t kept_at;     /* bytes of tar that are whole */
    uint64_t kept_bytes;  /* of the file: the same, as they are packed */
    uint64_t notes;       /* the number of the last note of that */
};

/* A shard of a number that nobody has. */
struct shard *shard_new(struct shards *all);
/* Finishes what killed uploaders have left. `adopt`: but for one shard of our packing, which is given
 * to go on with; NULL if there is none. */
struct shard *shards_look(struct shards *all, bool adopt);
/* Tells of the members that were kept: tar_scan(). */
void shard_members(const struct shard *s, void (*found)(void *arg, const struct tar_found *f),
                   void *arg);

/* The name it will have. */
void shard_name(const struct shard *s, char out[SHARD_NAME]);

/* What was written is whole: from now on it survives us; with fsync, the machine. -1: it is undone. */
int shard_keep(struct shard *s);
/* Back to what was kept. -1: the file can't be used any more (but what was kept is there). */
int shard_undo(struct shard *s);

/* Ends it and gives it its name, takes *s. An empty one goes without a trace. -1: it is left as one
 * that was killed leaves it, to be tried again by whoever finds it; said. */
int shard_finish(struct shard **s);
/* Leaves it as it is, for the next uploader. */
void shard_leave(struct shard **s);
#endif

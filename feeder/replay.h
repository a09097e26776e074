/* replay.h - what the manifest knows beyond the checkpoint: each whole, valid line settles its
 * task; the file is cut at the first that is not one.
 *
 * Memory: 4 bytes for each line of the list from the checkpoint's place on, up to the last that
 * is settled: a second's work, or, where there is no checkpoint, the whole list. */
#ifndef SLUICE_REPLAY_H
#define SLUICE_REPLAY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feeder/checkpoint.h"
#include "feeder/sink.h"

struct replay {
    uint64_t base;      /* lines up to it are the checkpoint's */
    uint32_t *marks;    /* owned; of line base + 1 + i: 0 not settled, else a sum of its URL */
    size_t count;
    uint64_t highest;   /* line that is settled and beyond base; 0: none */
    uint64_t settled;   /* lines of the manifest that were read */
};

/* Ends the process in words where the manifest `fd` can't be the checkpoint's. `path` is for
 * messages. */
void replay_check(int fd, const struct checkpoint *c, const char *path);

/* Reads the manifest `fd` from c->manifest_bytes on. Counts in c->ledger what it finds, takes the
 * settled ones out of c->tasks, puts failed URLs into `failed`. Precondition: replay_check(). */
void replay_open(struct replay *r, int fd, struct checkpoint *c, struct sink *failed,
                 const char *path);
void replay_close(struct replay *r);

/* Whether line `id` of the list is settled already: 1, 0, or -1: the manifest has another URL
 * under that number. */
int replay_knows(const struct replay *r, uint64_t id, const char *url, size_t url_len);
#endif

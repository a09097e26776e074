/* checkpoint.h - what a feeder writes down each second, so that the next one goes on from there:
 * O(window), whatever the list's length. docs/journal.md has the format.
 *
 * Pure: from a struct to text and back. The last line is a digest of all before it, so a torn,
 * zeroed or altered checkpoint is told from a whole one. */
#ifndef SLUICE_CHECKPOINT_H
#define SLUICE_CHECKPOINT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feeder/input.h"
#include "feeder/manifest.h"
#include "lib/buf.h"
#include "lib/id.h"
#include "lib/place.h"

enum { CHECKPOINT_VERSION = 1 };

/* A task that was read and not settled. */
struct unsettled {
    uint64_t id;
    unsigned failures, losses;
    const char *url;       /* borrowed; url_len bytes */
    size_t url_len;
};

struct checkpoint {
    uint8_t run[ID_RUN_BYTES];
    uint64_t epoch;
    char dest[PLACE_MAX];             /* "": no uploader has come yet */
    bool complete;                    /* every line is settled */
    struct ledger ledger;
    uint64_t manifest_bytes;          /* of whole lines: those counted in the ledger */
    uint64_t failed_bytes;
    struct input_place place;
    struct input_identity *lists;     /* owned by whoever made it */
    uint32_t list_count;
    struct unsettled *tasks;          /* likewise; by rising id */
    size_t task_count;
};

/* Appends the text. 0, or -1 (buf_add). */
int checkpoint_write(struct buf *out, const struct checkpoint *c);

enum checkpoint_verdict { CHECKPOINT_GOOD, CHECKPOINT_BAD, CHECKPOINT_NEWER };

/* Reads `len` bytes; texts point into them, lists and tasks are malloced (checkpoint_free).
 * NEWER: of a later version of the format; *why says what is wrong otherwise. */
enum checkpoint_verdict checkpoint_read(struct checkpoint *out, const char *text, size_t len,
                                        const char **why);
void checkpoint_free(struct checkpoint *c);
#endif

/* journal.h - a run that outlives its feeder: a directory with
 *
 *   manifest.jsonl  what became of each line, appended
 *   failed          the URLs of failed lines, appended; a list, as it is
 *   checkpoint      what is read and not settled (checkpoint.h), replaced each second
 *   lock            held by the feeder that uses it
 *
 * The order that loses nothing, power included: manifest and failed reach the disk before the
 * checkpoint that counts on them takes the old one's place. docs/journal.md.
 *
 * Hides:   the files, fsync, the thread that waits for the disk.
 * Threads: all calls from one; a checkpoint is written by a thread of its own.
 * Powers:  writes below DIR. */
#ifndef SLUICE_JOURNAL_H
#define SLUICE_JOURNAL_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/checkpoint.h"
#include "feeder/input.h"
#include "feeder/manifest.h"
#include "feeder/replay.h"
#include "feeder/window.h"
#include "lib/pool.h"

/* What a checkpoint is made of; all borrowed. */
struct journal_of {
    struct input *input;
    struct window *window;
    struct manifest *manifest;
    const char *dest;             /* of the run; "": not known yet */
};

struct journal {
    const char *path;             /* borrowed; NULL: there is none, and all calls do nothing */
    int dir_fd, lock_fd, manifest_fd, failed_fd;  /* owned */
    uint8_t run[ID_RUN_BYTES];
    uint64_t epoch;               /* of this feeder */
    bool finished;                /* nothing was left to do when it was opened */
    char dest[PLACE_MAX];         /* as the checkpoint has it */
    struct replay replay;         /* what is settled beyond it */

    struct pool *pool;            /* one thread; owned */
    struct job job;
    bool busy;                    /* the job is with the thread */
    struct buf text;              /* the checkpoint it writes, */
    char text_dest[PLACE_MAX];    /* and its DEST */
    uint64_t text_sum, saved_sum; /* of text; of the one on disk */
    int err;                      /* the job's: errno */
    bool final;                   /* of err: what was written may be lost, so we must stop */
    bool complained, broken;      /* broken: the disk lost something; nothing is saved any more */
    int64_t next_ms, began_ms;    /* clock */
    uint64_t manifest_base, failed_base;  /* bytes in the files when they were opened */
};

/* Opens DIR, or makes it, and takes its lock. What it says of the list is given to the others:
 * `of->input` goes on from its place, `of->window` gets the tasks that are not settled, and
 * `of->manifest` is opened on it (`joblog_fd` as there). Then the new epoch is on disk. Ends the
 * process in words where DIR can't be used: another feeder's, another list's, a newer format. */
void journal_open(struct journal *j, const char *path, const struct journal_of *of,
                  int joblog_fd);

/* Whether line `id` was settled before and is to be passed over. Ends the process in words if
 * the manifest has another URL under that number. */
bool journal_has(struct journal *j, uint64_t id, const char *url, size_t url_len);

/* Once a turn: a checkpoint, if one is due (and the manifest can be written). False: the disk lost
 * what was written (said). */
bool journal_turn(struct journal *j, const struct journal_of *of);
/* Whether `dest` is on disk; nothing may be handed out before, or a later feeder could go on into
 * another. Where the checkpoint was lost, and it with it, the run goes on regardless. */
bool journal_has_dest(const struct journal *j, const char *dest);
/* Readable when a checkpoint has been written; -1 without a journal. */
int journal_fd(const struct journal *j);
/* How long the loop may sleep before the next turn. */
int64_t journal_sleep_ms(const struct journal *j);

/* The last checkpoint, waited for; `complete`: every line is settled. False: as above. */
bool journal_close(struct journal *j, const struct journal_of *of, bool complete);
#endif

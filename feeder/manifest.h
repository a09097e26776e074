/* manifest.h - what became of each line: JSON Lines on stdout, and the ledger.
 *
 * Whole lines only. A pipe whose reader is slow is never waited for: lines stay in the buffer
 * (their tasks stay in the window, so it is bounded) until there is room.
 *
 * Source: field names are curl's (-w '%{json}') where curl has one. */
#ifndef SLUICE_MANIFEST_H
#define SLUICE_MANIFEST_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/msg.h"

struct ledger {
    uint64_t fed, delivered, failed, open;  /* fed = delivered + failed + open, at the end */
    uint64_t existing;                      /* of delivered: the key was there before */
    uint64_t bytes;                         /* of delivered */
};

struct manifest {
    int fd;
    bool pipe;          /* may block: ask before each write */
    struct buf lines;
    uint64_t made;      /* lines so far */
    uint64_t pending;   /* of them, those in the buffer (the first may be written in part) */
    int64_t oldest_ms;  /* clock; when the oldest of them came */
    struct ledger ledger;
};

void manifest_open(struct manifest *m, int fd);
void manifest_close(struct manifest *m);

struct manifest_entry {
    uint64_t id;
    const char *url;
    size_t url_len;
    unsigned tries;
    const char *fetcher, *uploader;  /* names; NULL: unknown */
};

/* One line each; counted in the ledger. */
void manifest_delivered(struct manifest *m, const struct manifest_entry *e,
                        const struct msg_outcome *o);
void manifest_failed(struct manifest *m, const struct manifest_entry *e,
                     const struct msg_outcome *o);
void manifest_open_task(struct manifest *m, const struct manifest_entry *e);

/* Writes what can be written without waiting. 1 all is out, 0 some is left, -1 errno: the rest
 * can't be written. A file is then cut after its last whole line. */
int manifest_flush(struct manifest *m);

/* Says the ledger. Returns false when it does not add up. */
bool manifest_say_ledger(const struct manifest *m);
#endif

/* manifest.h - what became of each line: JSON Lines on stdout or in the journal, and the ledger.
 *
 * Beside it, where asked for: the failed lines' URLs, in the list's format, and a job log. A line
 * that can't be written yet counts against the window, so what waits here is bounded.
 *
 * Source: field names are curl's (-w '%{json}') where curl has one; the job log's columns are GNU
 * parallel's (--joblog). */
#ifndef SLUICE_MANIFEST_H
#define SLUICE_MANIFEST_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/sink.h"
#include "lib/msg.h"

struct ledger {
    uint64_t fed, delivered, failed, open;  /* fed = delivered + failed + open, at the end */
    uint64_t existing;                      /* of delivered: the key was there before */
    uint64_t bytes;                         /* of delivered */
};

struct manifest {
    struct sink lines;
    struct sink failed;   /* URLs of failed lines */
    struct sink joblog;
    struct ledger ledger;
};

/* Descriptors are borrowed; `failed` and `joblog` -1: none. Ends the process in words if one
 * can't be used. */
void manifest_open(struct manifest *m, int fd, int failed_fd, int joblog_fd);
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

/* Lines of the manifest that are not in it yet, and since when (clock) there are any. */
uint64_t manifest_pending(const struct manifest *m);
/* All lines are out, those beside the manifest too. */
bool manifest_is_out(const struct manifest *m);

/* Writes what can be written without waiting. 1 all is out, 0 some is left, -1 errno: the rest
 * can't be written now. */
int manifest_flush(struct manifest *m);
/* Nothing will be flushed again: files end with their last whole line. */
void manifest_cut_torn(struct manifest *m);

/* Says the ledger. Returns false when it does not add up. */
bool manifest_say_ledger(const struct manifest *m);
#endif

/* custody.h - what becomes of a task that was handed out: delivered, failed, tried again, lost.
 * docs/protocol.md, "A task's life".
 *
 * Invariants: a task gets one line in the manifest, and gets it as it leaves the window; what is
 * in flight has a lease, what waits has a time; a receipt of any attempt settles, a failure counts
 * only if its dispatch is the current one. */
#ifndef SLUICE_CUSTODY_H
#define SLUICE_CUSTODY_H
#include <stdint.h>

#include "feeder/crew.h"
#include "feeder/input.h"
#include "feeder/manifest.h"
#include "feeder/window.h"

/* So often a task may be given back for no fault of its URL's; then each time costs a try. */
enum { CUSTODY_RETURNS_MOST = 16 };

struct custody {
    struct window *window;      /* borrowed, like the next two */
    struct crew *crew;
    struct manifest *manifest;
    int64_t retry, retry_delay_ms;
    int64_t looked_ms;          /* patience; when leases were last looked at */
};

/* Makes `c` hear what the crew is told. */
void custody_open(struct custody *c);
/* Tasks of which nobody has given evidence for a lease are lost: ready again. */
void custody_expire(struct custody *c);
/* A line that is no URL of ours fails at once. */
void custody_refuse(struct custody *c, const struct input_line *line);
/* A stopped run without a journal: says of each task left that it is open. */
void custody_leave_open(struct custody *c);
#endif

/* progress.h - how far the run is: one line that is rewritten on a terminal, else a plain line
 * every --stats seconds. Percent and ETA come from the byte offset in the list, so nothing has
 * to be counted first. */
#ifndef SLUICE_PROGRESS_H
#define SLUICE_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/manifest.h"

struct progress {
    bool terminal, shown;
    int64_t every_ms;            /* 0: never */
    int64_t started_ms, last_ms; /* clock */
    uint64_t last_done;
};

/* `quiet`: says nothing at all. `stats_ms`: --stats. */
void progress_open(struct progress *p, bool quiet, int64_t stats_ms);
/* Says a line if one is due. `size` -1: unknown. `in_flight`: tasks with the workers. */
void progress_tick(struct progress *p, const struct ledger *l, unsigned in_flight,
                   int64_t offset, int64_t size);
/* Ends the terminal's line, so that what follows begins a new one. */
void progress_close(struct progress *p);
#endif

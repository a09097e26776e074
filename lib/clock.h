/* clock.h - monotonic time in milliseconds, and time as patience counts it.
 *
 * Source: clock_gettime(2), CLOCK_MONOTONIC (does not run while the machine sleeps). */
#ifndef SLUICE_CLOCK_H
#define SLUICE_CLOCK_H
#include <stdint.h>

/* Monotonic milliseconds. Tests replace it through clock_source. */
int64_t clock_ms(void);
extern int64_t (*clock_source)(void);

/* Time that only passes while we listen: the sum of min(dt, beat) over turns that have
 * drained the inbox. Leases and silence are measured in it, so a process that was suspended
 * or busy declares nobody dead (docs/protocol.md, "Patience"). */
struct patience {
    int64_t now_ms;   /* what silence is measured in; starts at 0 */
    int64_t last_ms;  /* clock_ms() of the last turn; 0 before the first */
};

/* One turn of the loop has drained the inbox; `beat_ms` caps what it may count. */
void patience_turn(struct patience *p, int64_t beat_ms);
#endif

/* counts.h - how often each request target was asked for.
 *
 * A target is known by its 64-bit hash only: at a million targets the chance
 * that any two are mixed up is about 3 in 100 million.
 * Full means stop counting new ones; nothing is ever forgotten.
 */
#ifndef ORIGIN_COUNTS_H
#define ORIGIN_COUNTS_H

#include "url.h"

struct counts;

/* Gives a table for at most `max_targets`, or NULL (no memory). End it with counts_free. */
struct counts *counts_open(size_t max_targets);

/* Count one more request of `target`. Returns its count with this one, 0 when the table is full. */
int64_t counts_add(struct counts *counts, struct span target);

/* Requests of `target` so far. */
int64_t counts_get(const struct counts *counts, struct span target);

void counts_free(struct counts **counts);

#endif

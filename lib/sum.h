/* sum.h - the sum of a chunk's bytes: XXH3-64, seed 0.
 *
 * Hides: which of the library's versions fits this processor. Source: the xxHash specification. */
#ifndef SLUICE_SUM_H
#define SLUICE_SUM_H
#include <stddef.h>
#include <stdint.h>

uint64_t sum_of(const void *data, size_t len);
#endif

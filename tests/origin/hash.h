/* hash.h - a 64-bit hash of some text, the same on every machine and in every run.
 *
 * Source: FNV-1a (draft-eastlake-fnv), finished with MurmurHash3's fmix64.
 */
#ifndef ORIGIN_HASH_H
#define ORIGIN_HASH_H

#include "url.h"

/* Never 0, so that 0 can mean "nothing". */
uint64_t hash_text(struct span text);

#endif

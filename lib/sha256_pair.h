/* sha256_pair.h - two SHA-256 at once on one core. The processor's instructions for it wait for each
 * other within a body; those of a second body fill the gaps, and both are done in the time of one.
 *
 * Hides:  the instructions (x86 SHA extensions). Everything else about SHA-256 is libcrypto's.
 * Source: FIPS 180-4; Intel, "Intel SHA Extensions" (2013). */
#ifndef SLUICE_SHA256_PAIR_H
#define SLUICE_SHA256_PAIR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHA256_BLOCK = 64 };

/* Whether this processor can. */
bool sha256_pair_works(void);
/* Takes `blocks` whole blocks at `a` and `b` into the states (8 words each, a to h). */
void sha256_pair(uint32_t *state_a, const uint8_t *a, uint32_t *state_b, const uint8_t *b,
                 size_t blocks);
#endif

/* gen.h - an endless stream of bytes that is a function of a path.
 *
 * The same path gives the same bytes in every run and on every machine, so a
 * test can compare what arrived with `origin --print PATH`. The bytes do not
 * compress.
 *
 * Source: xorshift64*, S. Vigna, "An experimental exploration of Marsaglia's
 *         xorshift generators, scrambled" (2016).
 */
#ifndef ORIGIN_GEN_H
#define ORIGIN_GEN_H

#include "url.h"

struct gen {
    uint64_t state;     /* never 0 */
    unsigned char word[8];
    unsigned word_left; /* bytes of word, at its end, not yet given */
};

void gen_start(struct gen *gen, struct span path);

/* Write the next `size` bytes of the stream to `out`. */
void gen_read(struct gen *gen, unsigned char *out, size_t size);

#endif

#include "gen.h"

#include <endian.h>
#include <string.h>

#include "hash.h"

void gen_start(struct gen *gen, struct span path)
{
    *gen = (struct gen){ .state = hash_text(path) };
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return htole64(*state * 0x2545F4914F6CDD1DULL);
}

static size_t give_rest_of_word(struct gen *gen, unsigned char *out, size_t size)
{
    size_t count = size < gen->word_left ? size : gen->word_left;
    memcpy(out, gen->word + sizeof(gen->word) - gen->word_left, count);
    gen->word_left -= (unsigned)count;
    return count;
}

void gen_read(struct gen *gen, unsigned char *out, size_t size)
{
    size_t done = give_rest_of_word(gen, out, size);
    uint64_t state = gen->state;
    for (; size - done >= 8; done += 8) {
        uint64_t word = next(&state);
        memcpy(out + done, &word, 8);
    }
    if (done < size) {
        uint64_t word = next(&state);
        memcpy(gen->word, &word, 8);
        gen->word_left = 8;
        give_rest_of_word(gen, out + done, size - done);
    }
    gen->state = state;
}

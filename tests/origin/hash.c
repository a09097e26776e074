#include "hash.h"

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 33;
}

uint64_t hash_text(struct span text)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < text.len; i++) {
        h ^= (unsigned char)text.at[i];
        h *= 0x100000001b3ULL;
    }
    h = mix(h);
    return h != 0 ? h : 1;
}

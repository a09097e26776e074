#include "lib/sha256_pair.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

enum { LANES = 2, GROUPS = 16 /* of four rounds */ };

static const uint32_t K[4 * GROUPS] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static bool has_instructions(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) &&
           __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}

bool sha256_pair_works(void)
{
    static enum { UNKNOWN, NO, YES } works; /* asked once: under a hypervisor that takes long */
    if (works == UNKNOWN)
        works = has_instructions() ? YES : NO;
    return works == YES;
}

/* Each step is done for both lanes before the next: that is the whole point. The instructions want
 * the state as ABEF and CDGH. */
__attribute__((target("sha,sse4.1,ssse3"))) void
sha256_pair(uint32_t *state_a, const uint8_t *a, uint32_t *state_b, const uint8_t *b, size_t blocks)
{
    const __m128i flip = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    uint32_t *const state[LANES] = {state_a, state_b};
    const uint8_t *const data[LANES] = {a, b};
    __m128i abef[LANES], cdgh[LANES], abef_was[LANES], cdgh_was[LANES], w[LANES][4], t[LANES];
    for (int i = 0; i < LANES; i++) {
        __m128i dcba = _mm_loadu_si128((const void *)state[i]);
        __m128i hgfe = _mm_loadu_si128((const void *)(state[i] + 4));
        __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
        abef[i] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[i] = _mm_blend_epi16(efgh, cdab, 0xf0);
    }
    for (size_t block = 0; block < blocks; block++) {
        for (int i = 0; i < LANES; i++) {
            const uint8_t *at = data[i] + block * SHA256_BLOCK;
            abef_was[i] = abef[i];
            cdgh_was[i] = cdgh[i];
            for (int j = 0; j < 4; j++)
                w[i][j] = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(at + 16 * j)), flip);
        }
#pragma GCC unroll 16
        for (int g = 0; g < GROUPS; g++) {
            const __m128i k = _mm_load_si128((const void *)(K + 4 * g));
            for (int i = 0; i < LANES; i++) {
                t[i] = _mm_add_epi32(w[i][g & 3], k);
                cdgh[i] = _mm_sha256rnds2_epu32(cdgh[i], abef[i], t[i]);
            }
            for (int i = 0; g < GROUPS - 4 && i < LANES; i++) { /* the words of four groups on */
                __m128i *next = &w[i][g & 3], last = w[i][(g + 3) & 3];
                *next = _mm_add_epi32(_mm_sha256msg1_epu32(*next, w[i][(g + 1) & 3]),
                                      _mm_alignr_epi8(last, w[i][(g + 2) & 3], 4));
                *next = _mm_sha256msg2_epu32(*next, last);
            }
            for (int i = 0; i < LANES; i++)
                abef[i] = _mm_sha256rnds2_epu32(abef[i], cdgh[i], _mm_shuffle_epi32(t[i], 0x0e));
        }
        for (int i = 0; i < LANES; i++) {
            abef[i] = _mm_add_epi32(abef[i], abef_was[i]);
            cdgh[i] = _mm_add_epi32(cdgh[i], cdgh_was[i]);
        }
    }
    for (int i = 0; i < LANES; i++) {
        __m128i feba = _mm_shuffle_epi32(abef[i], 0x1b), dchg = _mm_shuffle_epi32(cdgh[i], 0xb1);
        _mm_storeu_si128((void *)state[i], _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128((void *)(state[i] + 4), _mm_alignr_epi8(dchg, feba, 8));
    }
}

#else

bool sha256_pair_works(void)
{
    return false;
}

void sha256_pair(uint32_t *state_a, const uint8_t *a, uint32_t *state_b, const uint8_t *b,
                 size_t blocks)
{
    (void)state_a, (void)a, (void)state_b, (void)b, (void)blocks;
}
#endif

#include "lib/sum.h"

#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* asks the processor, not the compiler's baseline: twice as fast */

/* The library leaves the upper halves of the vector registers in use; then all older vector code,
 * SHA-256 too, runs at less than half its speed until somebody clears them. */
static void clear_upper_halves(void)
{
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroupper");
}
#else
static void clear_upper_halves(void)
{
}
#endif

uint64_t sum_of(const void *data, size_t len)
{
    uint64_t sum = XXH3_64bits(data, len);
    clear_upper_halves();
    return sum;
}

#include "lib/sum.h"

#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* asks the processor, not the compiler's baseline: twice as fast */
#endif

uint64_t sum_of(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

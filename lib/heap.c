#include "lib/heap.h"

#include <malloc.h>

enum {
    HEAP_KEPT = 32 << 20,     /* bytes free at the top before any are given back */
    HEAP_STEP = 1 << 20,      /* bytes taken at a time */
    HEAP_LARGEST = 16 << 20,  /* a longer block is mapped, and given back at once */
    HEAP_ARENAS = 2,          /* threads free what others took: more arenas only hold more */
};

void heap_setup(void)
{
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    mallopt(M_TOP_PAD, HEAP_STEP);
    mallopt(M_MMAP_THRESHOLD, HEAP_LARGEST);
    mallopt(M_ARENA_MAX, HEAP_ARENAS);
}

#include "lib/slots.h"

#include <string.h>
#include <sys/mman.h>

enum { LINE = 64 }; /* of the cache */

int slots_open(struct slots *s, size_t bytes, size_t count)
{
    bytes = (bytes + LINE - 1) / LINE * LINE;
    void *start = mmap(NULL, bytes * count, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return -1;
    *s = (struct slots){.start = start, .bytes = bytes, .fresh = start};
    s->end = s->start + bytes * count;
    return 0;
}

void slots_close(struct slots *s)
{
    if (s->start)
        munmap(s->start, (size_t)(s->end - s->start));
    *s = (struct slots){0};
}

void *slots_take(struct slots *s)
{
    void *block = s->free;
    if (block) {
        memcpy(&s->free, block, sizeof s->free);
    } else if (s->fresh < s->end) {
        block = s->fresh;
        s->fresh += s->bytes;
    }
    return block;
}

void slots_give(struct slots *s, void *block)
{
    memcpy(block, &s->free, sizeof s->free);
    s->free = block;
}

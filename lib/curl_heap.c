#include "lib/curl_heap.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slots.h"

/* Sizes of what libcurl keeps of a connection and of a request. malloc() has no quick list for blocks
 * of a KiB and more: each makes it tidy up all small ones that are free. */
enum { STATE_LEAST = 512, STATE_MOST = 2048, STATES = 4 /* for each transfer */ };

static struct slots buffers, states;
static size_t buffer_size;  /* of the block that libcurl takes for one: a byte more */
static _Thread_local bool ours;  /* of the thread that has the slots; the resolver's have the heap */

static void *heap_malloc(size_t size)
{
    void *block = size == buffer_size ? slots_take(&buffers) : NULL;
    return block ? block : malloc(size);
}

static void *heap_calloc(size_t count, size_t size)
{
    void *block = NULL;
    if (ours && count == 1 && size >= STATE_LEAST && size <= STATE_MOST)
        block = slots_take(&states);
    return block ? memset(block, 0, size) : calloc(count, size);
}

static struct slots *owner_of(const void *block)
{
    return slots_own(&buffers, block) ? &buffers : slots_own(&states, block) ? &states : NULL;
}

static void heap_free(void *block)
{
    struct slots *of = owner_of(block);
    if (of)
        slots_give(of, block);
    else
        free(block);
}

static void *heap_realloc(void *block, size_t size)
{
    struct slots *of = owner_of(block);
    if (!of)
        return realloc(block, size);
    void *moved = malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, block, size < of->bytes ? size : of->bytes);
    slots_give(of, block);
    return moved;
}

int curl_heap_open(size_t buffer_bytes, size_t count)
{
    buffer_size = buffer_bytes + 1;
    ours = true;
    if (slots_open(&buffers, buffer_size, count) ||
        slots_open(&states, STATE_MOST, count * STATES))
        return -1;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, heap_malloc, heap_free, heap_realloc, strdup,
                                heap_calloc)
               ? -1 : 0;
}

void curl_heap_close(void)
{
    curl_global_cleanup();
    slots_close(&buffers);
    slots_close(&states);
}

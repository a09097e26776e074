#include "lib/curl_heap.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slots.h"

static struct slots buffers;
static size_t buffer_size;  /* of the block that libcurl takes for one: a byte more */

static void *heap_malloc(size_t size)
{
    void *block = size == buffer_size ? slots_take(&buffers) : NULL;
    return block ? block : malloc(size);
}

static void heap_free(void *block)
{
    if (slots_own(&buffers, block))
        slots_give(&buffers, block);
    else
        free(block);
}

static void *heap_realloc(void *block, size_t size)
{
    if (!slots_own(&buffers, block))
        return realloc(block, size);
    void *moved = malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, block, size < buffer_size ? size : buffer_size);
    slots_give(&buffers, block);
    return moved;
}

int curl_heap_open(size_t buffer_bytes, size_t count)
{
    buffer_size = buffer_bytes + 1;
    if (slots_open(&buffers, buffer_size, count))
        return -1;
    return curl_global_init_mem(CURL_GLOBAL_DEFAULT, heap_malloc, heap_free, heap_realloc, strdup,
                                calloc)
               ? -1 : 0;
}

void curl_heap_close(void)
{
    curl_global_cleanup();
    slots_close(&buffers);
}

#include "buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buffer *buffer_take(struct buffer_pool *pool)
{
    struct buffer *buffer = pool->free;
    if (buffer != NULL)
        pool->free = buffer->next;
    else
        buffer = malloc(sizeof(*buffer));
    if (buffer != NULL)
        buffer->start = buffer->end = 0;
    return buffer;
}

void buffer_give(struct buffer_pool *pool, struct buffer **buffer)
{
    if (*buffer == NULL)
        return;
    (*buffer)->next = pool->free;
    pool->free = *buffer;
    *buffer = NULL;
}

void buffer_pool_close(struct buffer_pool *pool)
{
    while (pool->free != NULL) {
        struct buffer *buffer = pool->free;
        pool->free = buffer->next;
        free(buffer);
    }
}

size_t buffer_room(const struct buffer *buffer)
{
    return BUFFER_BYTES - buffer->end;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *at = (char *)buffer->bytes + buffer->end;
    int added = vsnprintf(at, buffer_room(buffer), format, args);
    va_end(args);
    assert(added >= 0 && (size_t)added < buffer_room(buffer));
    buffer->end += (size_t)added;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t size)
{
    assert(size <= buffer_room(buffer));
    memcpy(buffer->bytes + buffer->end, bytes, size);
    buffer->end += size;
}

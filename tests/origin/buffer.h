/* buffer.h - bytes on their way out, of one fixed capacity, and a pool of such buffers.
 *
 * A connection holds a buffer only while it answers. The pool keeps what was
 * given back for the next one and never shrinks: its cap is the number of connections.
 */
#ifndef ORIGIN_BUFFER_H
#define ORIGIN_BUFFER_H

#include <stddef.h>

enum { BUFFER_BYTES = 64 * 1024 };

struct buffer {
    struct buffer *next; /* in the pool */
    size_t start;        /* first byte not yet sent */
    size_t end;          /* one past the last byte */
    unsigned char bytes[BUFFER_BYTES];
};

struct buffer_pool {
    struct buffer *free;
};

/* Gives an empty buffer, or NULL (no memory). End it with buffer_give. */
struct buffer *buffer_take(struct buffer_pool *pool);

/* Takes *buffer, which may be NULL, back and sets it NULL. */
void buffer_give(struct buffer_pool *pool, struct buffer **buffer);

void buffer_pool_close(struct buffer_pool *pool);

/* Bytes that can still be added. */
size_t buffer_room(const struct buffer *buffer);

/* Add formatted text. The caller knows that it fits (asserted). */
__attribute__((format(printf, 2, 3)))
void buffer_printf(struct buffer *buffer, const char *format, ...);

/* Add `size` bytes; they must fit (asserted). */
void buffer_add(struct buffer *buffer, const void *bytes, size_t size);

#endif

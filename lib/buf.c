#include "lib/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct buf buf_make(size_t max_bytes)
{
    return (struct buf){.max_bytes = max_bytes};
}

void buf_free(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){.max_bytes = b->max_bytes};
}

static int grow(struct buf *b, size_t extra)
{
    if (extra > b->max_bytes || b->len > b->max_bytes - extra) {
        errno = ENOBUFS;
        return -1;
    }
    size_t need = b->len + extra;
    if (need <= b->room)
        return 0;
    size_t room = b->room ? b->room : 64;
    while (room < need)
        room *= 2;
    if (room > b->max_bytes)
        room = b->max_bytes;
    char *data = realloc(b->data, room);
    if (!data)
        return -1;
    b->data = data;
    b->room = room;
    return 0;
}

int buf_reserve(struct buf *b, size_t extra)
{
    if (grow(b, extra) == 0)
        return 0;
    b->failed = true;
    return -1;
}

int buf_addu(struct buf *b, uint64_t n)
{
    char text[20], *at = text + sizeof text; /* of 2^64 - 1 */
    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return buf_add(b, at, (size_t)(text + sizeof text - at));
}

int buf_addf(struct buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int len = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (len < 0 || buf_reserve(b, (size_t)len + 1))
        return -1;
    va_start(ap, format);
    vsnprintf(b->data + b->len, (size_t)len + 1, format, ap);
    va_end(ap);
    b->len += (size_t)len;
    return 0;
}

void buf_shift(struct buf *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
}

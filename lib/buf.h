/* buf.h - a byte buffer that grows, up to a maximum it was born with.
 *
 * Hides: growth. Threads: one owner at a time. */
#ifndef SLUICE_BUF_H
#define SLUICE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    char *data;        /* owned; NULL while empty */
    size_t len;        /* bytes in use */
    size_t room;       /* bytes allocated */
    size_t max_bytes;  /* never grows past this */
    bool failed;       /* something was to be added and was not: one look after many calls is enough */
};

struct buf buf_make(size_t max_bytes);
void buf_free(struct buf *b);

/* Makes sure `extra` more bytes fit. 0, or -1 with errno ENOBUFS (cap) or ENOMEM. */
int buf_reserve(struct buf *b, size_t extra);

/* Append; on -1 (errno as above) nothing was added. The first two are here because messages are made
 * of a few bytes at a time. */
static inline int buf_add(struct buf *b, const void *data, size_t len)
{
    if (len > b->room - b->len && buf_reserve(b, len))
        return -1;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    return 0;
}

static inline int buf_adds(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

/* In decimal; a tenth of what buf_addf() takes. */
int buf_addu(struct buf *b, uint64_t n);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `len` bytes. */
void buf_shift(struct buf *b, size_t len);
#endif

/* buf.h - a byte buffer that grows, up to a maximum it was born with.
 *
 * Hides: growth. Threads: one owner at a time. */
#ifndef SLUICE_BUF_H
#define SLUICE_BUF_H
#include <stdbool.h>
#include <stddef.h>

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

/* Append; on -1 (errno as above) nothing was added. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_adds(struct buf *b, const char *text);
int buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `len` bytes. */
void buf_shift(struct buf *b, size_t len);
#endif

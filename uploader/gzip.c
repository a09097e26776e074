#include "uploader/gzip.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

enum { OUT_BYTES = 16384, IN_BYTES = 65536, WINDOW_BITS = 15, GZIP_WRAPPED = 16, MEM_LEVEL = 8 };

struct gzip {
    z_stream z;
    unsigned char out[OUT_BYTES];
};

struct gzip *gzip_open(void)
{
    struct gzip *z = calloc(1, sizeof *z);
    if (z && deflateInit2(&z->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS + GZIP_WRAPPED,
                          MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    free(z);
    errno = ENOMEM;
    return NULL;
}

void gzip_close(struct gzip *z)
{
    if (z)
        deflateEnd(&z->z);
    free(z);
}

/* Takes all its input. */
static int deflate_all(struct gzip *z, struct spool *out, int flush)
{
    int got;
    do {
        z->z.next_out = z->out;
        z->z.avail_out = sizeof z->out;
        got = deflate(&z->z, flush);
        if (spool_write(out, z->out, sizeof z->out - z->z.avail_out))
            return -1;
    } while (z->z.avail_out == 0 || (flush == Z_FINISH && got == Z_OK));
    assert(z->z.avail_in == 0 && got != Z_STREAM_ERROR);
    return 0;
}

int gzip_add(struct gzip *z, struct spool *out, const void *data, size_t len)
{
    for (const unsigned char *at = data; len;) {
        unsigned piece = len < UINT_MAX ? (unsigned)len : UINT_MAX;
        z->z.next_in = (unsigned char *)(uintptr_t)at;
        z->z.avail_in = piece;
        if (deflate_all(z, out, Z_NO_FLUSH))
            return -1;
        at += piece;
        len -= piece;
    }
    return 0;
}

int gzip_end(struct gzip *z, struct spool *out)
{
    int bad = deflate_all(z, out, Z_FINISH);
    deflateReset(&z->z);
    return bad;
}

struct gunzip {
    z_stream z;
    int fd;
    uint64_t at;  /* in the file; of what was read of it */
    bool ended;
    unsigned char in[IN_BYTES];
};

struct gunzip *gunzip_open(int fd)
{
    struct gunzip *g = calloc(1, sizeof *g);
    if (g && inflateInit2(&g->z, WINDOW_BITS + GZIP_WRAPPED) == Z_OK) {
        g->fd = fd;
        return g;
    }
    free(g);
    errno = ENOMEM;
    return NULL;
}

void gunzip_close(struct gunzip *g)
{
    if (g)
        inflateEnd(&g->z);
    free(g);
}

/* 1, 0 at the file's end, -1. */
static int fill(struct gunzip *g)
{
    ssize_t n;
    do
        n = pread(g->fd, g->in, sizeof g->in, (off_t)g->at);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return (int)n;
    g->at += (uint64_t)n;
    g->z.next_in = g->in;
    g->z.avail_in = (unsigned)n;
    return 1;
}

ssize_t gunzip_read(struct gunzip *g, void *out, size_t len)
{
    assert(len && len <= UINT_MAX);
    g->z.next_out = out;
    g->z.avail_out = (unsigned)len;
    while (!g->ended && g->z.avail_out == len) {
        int got = g->z.avail_in ? 1 : fill(g);
        if (got < 0)
            return -1;
        int z = got ? inflate(&g->z, Z_NO_FLUSH) : Z_DATA_ERROR;
        if (z != Z_OK && z != Z_STREAM_END) {
            errno = z == Z_MEM_ERROR ? ENOMEM : EILSEQ;
            return -1;
        }
        g->ended = z == Z_STREAM_END;
    }
    return (ssize_t)(len - g->z.avail_out);
}

bool gunzip_ended(const struct gunzip *g)
{
    return g->ended;
}

uint64_t gunzip_next(struct gunzip *g)
{
    assert(g->ended);
    g->ended = false;
    inflateReset(&g->z);
    return g->at - g->z.avail_in;
}

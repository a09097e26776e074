#include "uploader/said.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/utf8.h"

enum { READS_MOST = 32, READ_BYTES = 4096 };

void said_add(struct said *s, const void *data, size_t len)
{
    const char *from = data;
    if (len > SAID_BYTES) {
        from += len - SAID_BYTES;
        len = SAID_BYTES;
    }
    size_t keep = s->len < SAID_BYTES - len ? s->len : SAID_BYTES - len;
    memmove(s->bytes, s->bytes + s->len - keep, keep);
    memcpy(s->bytes + keep, from, len);
    s->len = keep + len;
}

/* Not for ever: who writes may be faster. */
bool said_read(struct said *s, int fd)
{
    char data[READ_BYTES];
    for (int i = 0; i < READS_MOST; i++) {
        ssize_t n = read(fd, data, sizeof data);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        said_add(s, data, (size_t)n);
    }
    return true;
}

void said_line(const struct said *s, char *out)
{
    const unsigned char *from = (const unsigned char *)s->bytes, *end = from + s->len;
    size_t len = 0, keep = 0;
    while (s->len == SAID_BYTES && from < end && (*from & 0xc0) == 0x80)
        from++; /* the rest of a character whose beginning is not kept */
    while (from < end) {
        size_t n = utf8_len(from, (size_t)(end - from));
        bool blank = n == 1 && (*from <= ' ' || *from == 0x7f);
        if (n == 0 || blank)
            out[len] = n ? ' ' : '?';
        else
            memcpy(out + len, from, n);
        if (!blank || len) /* none at the beginning */
            len += n ? n : 1;
        if (!blank)
            keep = len;
        from += n ? n : 1;
    }
    out[keep] = '\0';
}

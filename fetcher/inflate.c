#include "fetcher/inflate.h"

#include <stdlib.h>
#include <strings.h>
#define ZLIB_CONST
#include <zlib.h>

#include "lib/say.h"

struct inflate {
    z_stream stream;
    int gzip, ended, raw;
    Bytef first;  /* first byte that came: a zlib header is judged at its second */
};

struct inflate *inflate_open(const char *encoding)
{
    int gzip = strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "x-gzip") == 0;
    if (!gzip && strcasecmp(encoding, "deflate"))
        return NULL;
    struct inflate *z = calloc(1, sizeof *z);
    if (!z || inflateInit2(&z->stream, gzip ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK)
        say_die(EXIT_TEMP, "out of memory");
    z->gzip = gzip;
    return z;
}

void inflate_close(struct inflate *z)
{
    if (!z)
        return;
    inflateEnd(&z->stream);
    free(z);
}

static int step(struct inflate *z)
{
    int rc = inflate(&z->stream, Z_NO_FLUSH);
    if (rc == Z_MEM_ERROR) /* the body is not to blame */
        say_die(EXIT_TEMP, "out of memory");
    return rc;
}

/* "deflate" without its zlib header is common: begins anew without one. */
static int begin_raw(struct inflate *z, int first_is_gone)
{
    z->raw = 1;
    if (inflateReset2(&z->stream, -MAX_WBITS) != Z_OK)
        return -1;
    if (!first_is_gone)
        return 0;
    z->stream.next_in = &z->first;
    z->stream.avail_in = 1;
    return step(z) == Z_OK && !z->stream.avail_in ? 0 : -1;
}

long inflate_some(struct inflate *z, const char **in, size_t *in_len, char *out, size_t out_len)
{
    if (z->ended && z->gzip && *in_len && **in == 0x1f) { /* RFC 1952: members may follow */
        inflateReset(&z->stream);
        z->ended = 0;
    }
    if (z->ended) { /* padding after the end is passed over, as browsers do */
        *in += *in_len;
        *in_len = 0;
        return 0;
    }
    uLong before = z->stream.total_in;
    if (before == 0 && *in_len)
        z->first = (Bytef)**in;
    z->stream.next_in = (const Bytef *)*in;
    z->stream.avail_in = (uInt)*in_len;
    z->stream.next_out = (Bytef *)out;
    z->stream.avail_out = (uInt)out_len;
    int rc = step(z);
    if (rc == Z_DATA_ERROR && !z->gzip && !z->raw && z->stream.total_in <= 2)
        return begin_raw(z, before == 1) ? -1 : inflate_some(z, in, in_len, out, out_len);
    *in += *in_len - z->stream.avail_in;
    *in_len = z->stream.avail_in;
    z->ended = rc == Z_STREAM_END;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return -1;
    return (long)(out_len - z->stream.avail_out);
}

int inflate_ended(const struct inflate *z)
{
    return z->ended;
}

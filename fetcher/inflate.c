#include "fetcher/inflate.h"

#include <stdlib.h>
#include <strings.h>
#define ZLIB_CONST
#include <zlib.h>

struct inflate {
    z_stream stream;
    int gzip, ended, begun, raw_tried;
};

struct inflate *inflate_open(const char *encoding)
{
    int gzip = strcasecmp(encoding, "gzip") == 0 || strcasecmp(encoding, "x-gzip") == 0;
    if (!gzip && strcasecmp(encoding, "deflate"))
        return NULL;
    struct inflate *z = calloc(1, sizeof *z);
    if (!z || inflateInit2(&z->stream, gzip ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK) {
        free(z);
        return NULL;
    }
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
    z->stream.next_in = (const Bytef *)*in;
    z->stream.avail_in = (uInt)*in_len;
    z->stream.next_out = (Bytef *)out;
    z->stream.avail_out = (uInt)out_len;
    int rc = inflate(&z->stream, Z_NO_FLUSH);
    if (rc == Z_DATA_ERROR && !z->gzip && !z->begun && !z->raw_tried) {
        z->raw_tried = 1; /* "deflate" without its zlib header is common */
        inflateReset2(&z->stream, -MAX_WBITS);
        return inflate_some(z, in, in_len, out, out_len);
    }
    z->begun = 1;
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

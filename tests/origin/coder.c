#include "coder.h"

#include <stdlib.h>
#include <zlib.h>

enum { INPUT_BYTES = 16 * 1024 };

struct coder {
    z_stream z;
    int flush;  /* Z_FINISH once the source has ended */
    unsigned char input[INPUT_BYTES];
};

struct coder *coder_open(enum coder_format format)
{
    struct coder *coder = calloc(1, sizeof(*coder));
    if (coder == NULL)
        return NULL;
    int window_bits = format == CODER_GZIP ? MAX_WBITS + 16 : MAX_WBITS; /* zlib.h: +16 is gzip */
    int level = 1; /* the bytes do not compress; only speed counts */
    if (deflateInit2(&coder->z, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(coder);
        return NULL;
    }
    return coder;
}

size_t coder_read(struct coder *coder, struct source *source, unsigned char *out, size_t size)
{
    z_stream *z = &coder->z;
    z->next_out = out;
    z->avail_out = (uInt)size;
    while (z->avail_out > 0) {
        if (z->avail_in == 0 && coder->flush != Z_FINISH) {
            z->next_in = coder->input;
            z->avail_in = (uInt)source_read(source, coder->input, INPUT_BYTES);
            if (z->avail_in == 0)
                coder->flush = Z_FINISH;
        }
        if (deflate(z, coder->flush) == Z_STREAM_END)
            break;
    }
    return size - z->avail_out;
}

void coder_free(struct coder **coder)
{
    if (*coder != NULL)
        deflateEnd(&(*coder)->z);
    free(*coder);
    *coder = NULL;
}

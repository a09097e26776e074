#include "bomb.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    PIECE_ZEROS = 1 << 20,
    PACKED_MAX = 4096,   /* a MiB of zeros packs into about 1030 bytes */
    TRAILER_BYTES = 8,   /* RFC 1952 section 2.3.1: CRC32, ISIZE */
};

/* Some zeros, packed as raw deflate. */
struct packed {
    unsigned char bytes[PACKED_MAX + TRAILER_BYTES];
    size_t size;
    uint32_t crc;
};

struct bomb {
    struct packed piece; /* PIECE_ZEROS zeros, to be repeated */
    struct packed tail;  /* the rest and deflate's end; the trailer joins it when it is due */
    int64_t zero_bytes;
    int64_t pieces_left;
    uint32_t crc;        /* of the zeros in the pieces begun so far */

    const unsigned char *now; /* what is being read: header, piece or tail */
    size_t now_left;
    bool tail_begun;
};

static const unsigned char header[10] = { 0x1f, 0x8b, Z_DEFLATED, 0, 0, 0, 0, 0, 2, 3 };

/* `flush` ends the packing: Z_FULL_FLUSH (may be followed) or Z_FINISH. */
static int pack(struct packed *packed, size_t zeros, int flush)
{
    static unsigned char nothing[4096]; /* not const only because zlib does not say so */
    z_stream z = { .next_out = packed->bytes, .avail_out = PACKED_MAX };
    if (deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    packed->crc = 0;
    do {
        z.next_in = nothing;
        z.avail_in = zeros < sizeof(nothing) ? (uInt)zeros : (uInt)sizeof(nothing);
        packed->crc = (uint32_t)crc32(packed->crc, nothing, z.avail_in);
        zeros -= z.avail_in;
        deflate(&z, zeros == 0 ? flush : Z_NO_FLUSH);
    } while (zeros > 0);
    packed->size = PACKED_MAX - z.avail_out;
    deflateEnd(&z);
    return 0;
}

struct bomb *bomb_open(int64_t zero_bytes)
{
    struct bomb *bomb = calloc(1, sizeof(*bomb));
    if (bomb == NULL)
        return NULL;
    if (pack(&bomb->piece, PIECE_ZEROS, Z_FULL_FLUSH) < 0
        || pack(&bomb->tail, (size_t)(zero_bytes % PIECE_ZEROS), Z_FINISH) < 0) {
        free(bomb);
        return NULL;
    }
    bomb->zero_bytes = zero_bytes;
    bomb->pieces_left = zero_bytes / PIECE_ZEROS;
    bomb->now = header;
    bomb->now_left = sizeof(header);
    return bomb;
}

int64_t bomb_length(const struct bomb *bomb)
{
    int64_t pieces = bomb->zero_bytes / PIECE_ZEROS;
    size_t tail = bomb->tail.size + (bomb->tail_begun ? 0 : TRAILER_BYTES);
    return (int64_t)(sizeof(header) + tail) + pieces * (int64_t)bomb->piece.size;
}

static void put_le32(unsigned char *out, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(number >> 8 * i);
}

static void begin_tail(struct bomb *bomb)
{
    struct packed *tail = &bomb->tail;
    z_off_t rest = (z_off_t)(bomb->zero_bytes % PIECE_ZEROS);
    put_le32(tail->bytes + tail->size, (uint32_t)crc32_combine(bomb->crc, tail->crc, rest));
    put_le32(tail->bytes + tail->size + 4, (uint32_t)bomb->zero_bytes);
    tail->size += TRAILER_BYTES;
    bomb->now = tail->bytes;
    bomb->now_left = tail->size;
    bomb->tail_begun = true;
}

static void begin_piece(struct bomb *bomb)
{
    bomb->crc = (uint32_t)crc32_combine(bomb->crc, bomb->piece.crc, PIECE_ZEROS);
    bomb->now = bomb->piece.bytes;
    bomb->now_left = bomb->piece.size;
    bomb->pieces_left--;
}

size_t bomb_read(struct bomb *bomb, unsigned char *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        if (bomb->now_left == 0 && bomb->pieces_left > 0)
            begin_piece(bomb);
        else if (bomb->now_left == 0 && !bomb->tail_begun)
            begin_tail(bomb);
        else if (bomb->now_left == 0)
            break;
        size_t count = size - done < bomb->now_left ? size - done : bomb->now_left;
        memcpy(out + done, bomb->now, count);
        bomb->now += count;
        bomb->now_left -= count;
        done += count;
    }
    return done;
}

void bomb_free(struct bomb **bomb)
{
    free(*bomb);
    *bomb = NULL;
}

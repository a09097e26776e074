/* bomb.h - a gzip file of N zero bytes, made while it is read.
 *
 * About a thousand times smaller than what it unpacks to. One deflated MiB is
 * made once and repeated, so 10 GiB cost neither memory nor time.
 *
 * Hides:  zlib.
 * Source: RFC 1952 (gzip); zlib.h on Z_FULL_FLUSH (a flushed piece may follow
 *         itself) and crc32_combine().
 */
#ifndef ORIGIN_BOMB_H
#define ORIGIN_BOMB_H

#include <stddef.h>
#include <stdint.h>

struct bomb;

/* Gives a bomb that unpacks to `zero_bytes` zeros, or NULL (no memory). End it with bomb_free. */
struct bomb *bomb_open(int64_t zero_bytes);

/* Size of the whole gzip file in bytes. */
int64_t bomb_length(const struct bomb *bomb);

/* Write up to `size` further bytes of the gzip file to `out`. Returns how many, 0 at its end. */
size_t bomb_read(struct bomb *bomb, unsigned char *out, size_t size);

void bomb_free(struct bomb **bomb);

#endif

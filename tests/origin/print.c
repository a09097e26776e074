#include "print.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gen.h"
#include "route.h"

enum { BLOCK_BYTES = 64 * 1024 };

static int write_all(int fd, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    return 0;
}

int print_body(struct span target, int fd)
{
    struct route route = route_of(url_target(target));
    if (route.kind != ROUTE_BYTES && route.kind != ROUTE_BOMB) {
        errno = EINVAL;
        return -1;
    }
    struct gen gen;
    gen_start(&gen, route.path);
    unsigned char block[BLOCK_BYTES] = { 0 }; /* and zeros is what a bomb unpacks to */
    for (int64_t left = route.bytes; left > 0;) {
        size_t size = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        if (route.kind == ROUTE_BYTES)
            gen_read(&gen, block, size);
        if (write_all(fd, block, size) < 0)
            return -1;
        left -= (int64_t)size;
    }
    return 0;
}

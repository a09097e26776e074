#include "feeder/key.h"

#include <ctype.h>
#include <string.h>
#include <xxhash.h>

#include "lib/hex.h"

enum { EXTENSION_MOST = 8 };

/* The extension of the URL's path with its dot, or "" when there is no sane one. */
static void extension(const char *url, size_t len, char out[EXTENSION_MOST + 2])
{
    out[0] = '\0';
    const char *end = url + len, *path = memchr(url, ':', len);
    if (!path || end - path <= 3)
        return;
    const char *stop = path += 3;
    while (stop < end && *stop != '?' && *stop != '#')
        stop++;
    path = memchr(path, '/', (size_t)(stop - path));
    if (!path)
        return;
    const char *dot = stop;
    while (dot > path && isalnum((unsigned char)dot[-1]))
        dot--;
    size_t n = (size_t)(stop - dot);
    if (n == 0 || n > EXTENSION_MOST || dot[-1] != '.' || dot[-2] == '/')
        return;
    out[0] = '.';
    for (size_t i = 0; i < n; i++)
        out[i + 1] = (char)tolower((unsigned char)dot[i]);
    out[n + 1] = '\0';
}

void key_of(const char *url, size_t len, char out[KEY_BYTES])
{
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(url, len));
    char *at = hex_put(out, hash.digest, 1);
    *at++ = '/';
    extension(url, len, hex_put(at, hash.digest, sizeof hash.digest));
}

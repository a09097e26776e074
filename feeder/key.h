/* key.h - the name under which a URL's body is stored: a pure function of the URL. */
#ifndef SLUICE_KEY_H
#define SLUICE_KEY_H
#include <stddef.h>

enum { KEY_BYTES = 64 };

/* "ab/abcdef….html": 32 hex digits of XXH3-128 (seed 0) of the URL's bytes, below a directory
 * named after the first two, and the URL path's extension where it is 1 to 8 letters or digits. */
void key_of(const char *url, size_t len, char out[KEY_BYTES]);
#endif

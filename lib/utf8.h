/* utf8.h - which bytes are UTF-8. Source: RFC 3629. */
#ifndef SLUICE_UTF8_H
#define SLUICE_UTF8_H
#include <stddef.h>

/* Length of the valid sequence at `s`, of which `left` (1 at least) bytes are there; 0: none is (no
 * surrogates, nothing overlong). */
size_t utf8_len(const unsigned char *s, size_t left);
#endif

/* percent.h - percent-encoding. Source: RFC 3986, 2.1 and 2.3; the UriEncode of Signature V4. */
#ifndef SLUICE_PERCENT_H
#define SLUICE_PERCENT_H
#include <stddef.h>

#include "lib/buf.h"

/* Appends `text` with all but A-Z a-z 0-9 - . _ ~ and what is in `keep` as %XX. 0, or -1
 * (buf_add). */
int percent_encode(struct buf *b, const char *text, size_t len, const char *keep);

/* Every character that may stand in a URL and is no part of an encoding, for `keep`: what is
 * encoded then is what a header cannot carry. */
extern const char percent_url[];
#endif

/* json.h - writing JSON (RFC 8259) into a buf. Whatever comes in, what goes out is one line
 * of valid UTF-8: bytes that are not become U+FFFD. */
#ifndef SLUICE_JSON_H
#define SLUICE_JSON_H
#include "lib/buf.h"

/* Appends `text` (`len` bytes, any content) as a quoted JSON string. 0, or -1 (buf_add). */
int json_string(struct buf *b, const char *text, size_t len);
#endif

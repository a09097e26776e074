/* said.h - the end of what a command has said on stderr, as a line for the manifest. */
#ifndef SLUICE_SAID_H
#define SLUICE_SAID_H
#include <stdbool.h>
#include <stddef.h>

enum { SAID_BYTES = 200 };

struct said {
    char bytes[SAID_BYTES];  /* the last ones */
    size_t len;
};

void said_add(struct said *s, const void *data, size_t len);
/* Reads what is there of a descriptor that doesn't block. False: that was its end. */
bool said_read(struct said *s, int fd);
/* One line of valid UTF-8: control characters are blanks, what is no UTF-8 is '?'; without blanks
 * around it. `out` has room for SAID_BYTES + 1. */
void said_line(const struct said *s, char *out);
#endif

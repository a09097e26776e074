/* print.h - the body of a generated path, without a server. */
#ifndef ORIGIN_PRINT_H
#define ORIGIN_PRINT_H

#include "url.h"

/* Write to `fd` what `target` (a path, or a whole URL) delivers once all codings are undone.
 * Returns 0, or -1 + errno: EINVAL when it is not /-/bytes/N... or /-/bomb/N... */
int print_body(struct span target, int fd);

#endif

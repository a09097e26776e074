/* list.h - the URLs of all files that the origin would serve. */
#ifndef ORIGIN_LIST_H
#define ORIGIN_LIST_H

#include <stdio.h>

/* Print "`base`/path" for each regular file below `root_fd`, links not followed, in no order.
 * Returns 0, or -1 + errno when something could not be read or written. Takes root_fd. */
int list_urls(int root_fd, const char *base, FILE *to);

#endif

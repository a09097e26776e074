/* files.h - the files below the root directory, and nothing else.
 *
 * Source: openat2(2), RESOLVE_BENEATH: a link may not lead out of the root.
 */
#ifndef ORIGIN_FILES_H
#define ORIGIN_FILES_H

#include "url.h"

/* Open `root` for files_open(). Returns a descriptor, or -1 + errno. */
int files_root(const char *root);

/* Open the regular file that `path` (percent-coded, beginning with '/') names below `root_fd`.
 * Returns a descriptor and its size in *bytes, or -1 + errno (ENOENT for whatever is no
 * regular file or would lead out). */
int files_open(int root_fd, struct span path, int64_t *bytes);

/* The media type that the ending of `path` suggests; a constant. */
const char *files_type(struct span path);

#endif

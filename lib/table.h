/* table.h - uthash, for which memory can run out in our way.
 *
 * uthash ends the process with status 255 and without a word. Where that is not wanted (in a thread
 * other than main's), define HASH_NONFATAL_OOM as 1 before any include: then an element that found
 * no room has hh.tbl NULL, and errno is ENOMEM.
 *
 * Hides: the choice of a hash table. Source: uthash user guide, "Out of memory". */
#ifndef SLUICE_TABLE_H
#define SLUICE_TABLE_H
#include <errno.h>

#include "lib/say.h"

#define uthash_fatal(why) say_die(EXIT_TEMP, "%s", why)
#define uthash_nonfatal_oom(element) (errno = ENOMEM)

#include <uthash.h>
#endif

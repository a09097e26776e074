/* gzip.h - gzip members, written into a spool one after the other and read from a file one by one.
 *
 * Hides:   zlib. Threads: one at a time for each. Source: RFC 1952.
 * Memory:  270 KiB for one that is written, 110 KiB for one that is read. */
#ifndef SLUICE_GZIP_H
#define SLUICE_GZIP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "uploader/spool.h"

struct gzip;

/* NULL with errno. */
struct gzip *gzip_open(void);
void gzip_close(struct gzip *z);
/* 0, or -1 with the spool's errno: it is of no more use. */
int gzip_add(struct gzip *z, struct spool *out, const void *data, size_t len);
/* Ends a member; the next bytes begin another. */
int gzip_end(struct gzip *z, struct spool *out);

struct gunzip;

/* Members from the beginning of the file `fd` (borrowed) on. NULL with errno. */
struct gunzip *gunzip_open(int fd);
void gunzip_close(struct gunzip *g);
/* What is in the member: bytes; 0 at its end, its sum being right; -1 with errno, which is EILSEQ
 * where it is damaged or cut. */
ssize_t gunzip_read(struct gunzip *g, void *out, size_t len);
/* Whether its end was reached. */
bool gunzip_ended(const struct gunzip *g);
/* After its end: where it ended in the file, and on to the next one. */
uint64_t gunzip_next(struct gunzip *g);
#endif

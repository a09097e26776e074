/* warc_scan.h - how much of a WARC that we wrote is whole: what a killed uploader, or a power cut,
 * has left of one.
 *
 * Errors: -1 with errno: it can't be read. Threads: any. */
#ifndef SLUICE_WARC_SCAN_H
#define SLUICE_WARC_SCAN_H
#include <stdbool.h>
#include <stdint.h>

/* Bytes to the end of the last whole object of the file `fd`: a response or resource, with the
 * request before it. Each record's digest is looked at. 0: there is none, and the file is ours, or
 * empty, or torn in its first record. -1 with EILSEQ: it is not one of ours, or is damaged so that
 * nobody can tell. `packed`: in gzip members. */
int64_t warc_whole(int fd, bool packed);
#endif

/* warc_record.h - WARC 1.1 records, each a gzip member of its own or plain, appended to a spool.
 *
 * An object is a `request` and its `response`, or, where its header block is not known or is none,
 * a `resource`. The response's block is the header block as received and the body as stored. The
 * body is not in the transfer coding it came in, and with --compressed not in its content coding:
 * then header lines that would lie begin with X-Orig- (Content-Encoding, Transfer-Encoding,
 * Content-Length), and a Content-Length of the body is added, as Browsertrix does.
 *
 * Hides:   all of the format but what warc_scan.h reads of it. Threads: a writer one at a time.
 * Errors:  -1 with errno; the spool is of no more use.
 * Source:  ISO 28500:2017 (WARC 1.1), RFC 9112. */
#ifndef SLUICE_WARC_RECORD_H
#define SLUICE_WARC_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "uploader/gzip.h"
#include "uploader/spool.h"
#include "uploader/store.h"

struct warc_writer {
    struct gzip *gzip;  /* borrowed; NULL: plain */
    struct spool *out;  /* borrowed */
};

/* What a file begins with. `name`: the file's own. */
int warc_info(const struct warc_writer *w, const char *name, const char *host);
/* An object whose facts are complete. *at: where its response, or resource, begins in the spool. */
int warc_object(const struct warc_writer *w, const struct store_facts *f, struct spool *body,
                uint64_t *at);

/* The header block of a response as it goes into an archive, appended to `out`; false: it is none,
 * and nothing was added. For tests. */
bool warc_head(struct buf *out, const char *head, size_t len, bool decoded, uint64_t body_bytes);
#endif

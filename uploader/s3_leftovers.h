/* s3_leftovers.h - multipart uploads that nobody will complete: what killed uploaders leave. The
 * service keeps, and charges for, their parts.
 *
 * A list of uploads says nothing of who began one, so it goes by time: one below our prefix in
 * which nothing has moved for --abort-idle is aborted. A live uploader's that stood so long fails
 * there, and is fetched again.
 *
 * Threads: the main one. Source: ListMultipartUploads, ListParts. */
#ifndef SLUICE_S3_LEFTOVERS_H
#define SLUICE_S3_LEFTOVERS_H
#include "uploader/s3.h"

void s3_leftovers_abort(struct s3 *s);
#endif

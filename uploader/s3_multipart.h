/* s3_multipart.h - a body that goes up in parts, while the rest of it is still to come.
 *
 * Nothing is there before the last call has succeeded. What is not completed is aborted; what a
 * killed uploader leaves, see s3_leftovers.h.
 *
 * Memory: a line per part, 1.5 MiB at most; the parts themselves are the caller's spools.
 * Threads: any, one at a time per upload.
 * Source:  CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload. */
#ifndef SLUICE_S3_MULTIPART_H
#define SLUICE_S3_MULTIPART_H
#include "uploader/s3.h"

enum { S3_PARTS_MOST = 10000 };

struct s3_multipart;

/* Begins one (borrows all texts but for `headers` until it ends), or NULL with what went wrong in
 * *why. `headers`: what the object is to have. */
struct s3_multipart *s3_multipart_begin(struct s3 *s, const char *key,
                                        const struct http_header *headers, int count,
                                        struct store_commit *why);
/* Sends the next part. 0, or -1 with what went wrong in *why. */
int s3_multipart_add(struct s3_multipart *m, struct spool *part, struct store_commit *why);
/* What came of it. */
enum s3_completed { S3_COMPLETED, S3_EXISTS, S3_NO_CONDITION, S3_GONE, S3_FAILED };
/* Makes the object of its parts; `if_absent`: unless the key is there. S3_FAILED: see *why.
 * S3_NO_CONDITION: the service knows no such condition, and nothing was done. S3_GONE: there is no
 * such upload any more, see *why: it was aborted, or a completion was done and its answer lost. */
enum s3_completed s3_multipart_complete(struct s3_multipart *m, bool if_absent,
                                        struct store_commit *why);
/* Ends it; aborts what is not completed. NULL: nothing. */
void s3_multipart_close(struct s3_multipart *m);

/* Aborts an upload: `query` is "uploadId=" and its id, encoded. 0, or -1. */
int s3_multipart_abort(struct s3 *s, const char *key, const char *query);
#endif

/* s3_address.h - where a bucket and its objects are: path style or virtual-host style.
 *
 * Source: "Virtual hosting of general purpose buckets", Amazon S3 User Guide. */
#ifndef SLUICE_S3_ADDRESS_H
#define SLUICE_S3_ADDRESS_H
#include <stdbool.h>

#include "lib/buf.h"

struct s3_address {
    bool tls;
    char bucket[256];
    char *host;    /* owned; as in Host: without the scheme's own port */
    char *path;    /* owned; what stands before an object's "/key" in a path, "" or "/bucket" */
    char *prefix;  /* owned; "" or ends in a slash */
};

/* Reads "//BUCKET/PREFIX". `endpoint` NULL: AWS of that region. `addressing` "path", "virtual" or
 * NULL: path where an endpoint is given or the bucket's name has a dot in it, which no certificate
 * covers. 0 (s3_address_free ends it), or -1 with a sentence in `why`. */
int s3_address_read(struct s3_address *a, const char *place, const char *endpoint,
                    const char *region, const char *addressing, char why[512]);
void s3_address_free(struct s3_address *a);

/* Appends the path of a key (NULL: the bucket) as it is sent. 0, or -1 (buf_add). */
int s3_address_path(const struct s3_address *a, const char *key, struct buf *path);
#endif

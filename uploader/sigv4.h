/* sigv4.h - AWS Signature Version 4 in the Authorization header.
 *
 * Our own, because libcurl 7.88's is wrong where a query is not sorted, has no value, or a header
 * is left out or begins like another.
 *
 * Hides:   libcrypto's HMAC.
 * Threads: any.
 * Source:  "Create a signed AWS API request", IAM User Guide; for S3 the path is encoded once. */
#ifndef SLUICE_SIGV4_H
#define SLUICE_SIGV4_H
#include <stdint.h>
#include <time.h>

#include "lib/buf.h"

enum { SIGV4_STAMP = 17, SIGV4_HASH = 65, SIGV4_HEADERS_MOST = 32 };

struct sigv4_key {
    const char *access, *secret, *region, *service;
};

struct sigv4_header {
    const char *name, *value;  /* the name in lower case; no name twice */
};

/* All texts borrowed. */
struct sigv4_request {
    const char *method;
    const char *path;          /* as it is sent: percent-encoded, from the first slash on */
    const char *query;         /* as it is sent: encoded, sorted, each with its "="; "" if none */
    const struct sigv4_header *headers;  /* to be signed; host and x-amz-date at least */
    int header_count;          /* at most SIGV4_HEADERS_MOST */
    const char *payload_hash;  /* sigv4_hash of the body, or UNSIGNED-PAYLOAD */
};

/* "20130524T000000Z", for x-amz-date and sigv4_sign(). */
void sigv4_stamp(time_t now, char stamp[SIGV4_STAMP]);
/* The SHA-256 of `data` in hex. 0, or -1 with errno. */
int sigv4_hash(const void *data, size_t len, char hash[SIGV4_HASH]);
/* Appends the value of the Authorization header. 0, or -1 with errno. */
int sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *r, const char *stamp,
               struct buf *authorization);
#endif

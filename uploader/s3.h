/* s3.h - one bucket of an S3 service: signed requests, and its errors in words.
 *
 * What is wrong with the service or our credentials, and not with the object, fails nothing while
 * a run goes on: it counts as "busy", is said once a minute, and the credentials are read anew.
 * While the store is opened it is an error.
 *
 * Hides:   signing, credentials, addresses. Threads: any.
 * Source:  Amazon S3 API Reference, "Error responses". */
#ifndef SLUICE_S3_H
#define SLUICE_S3_H
#include "uploader/store.h"
#include "uploader/upstream.h"

enum { S3_HEADERS_MOST = 12, S3_FIELDS_MOST = 4, S3_CODE = 64, S3_MESSAGE = 160 };

struct s3;

/* --endpoint-url, --region, --addressing, --part-size, --abort-idle: of the process. */
extern const struct opt s3_options[];
extern struct s3_settings {
    const char *endpoint, *region, *addressing;
    int64_t part_bytes, idle_ms;
} s3_settings;

/* Gives the bucket and prefix of "//BUCKET/PREFIX" (s3_close ends it), or NULL with errno after
 * saying why. `dest` is borrowed, for the log. Nothing is sent yet. */
struct s3 *s3_open(const char *place, const char *dest);
void s3_close(struct s3 *s);
void s3_abandon(struct s3 *s);
/* Looks at the bucket, for the first time: 0, or -1 with errno after saying what is wrong with it,
 * with our credentials or our clock. From then on such errors are waited out. */
int s3_check(struct s3 *s);

const char *s3_prefix(const struct s3 *s);  /* "" or ends in a slash; borrowed */
const char *s3_dest(const struct s3 *s);    /* borrowed */

/* One request, tried again like any upload (upstream.h). */
struct s3_call {
    const char *method;
    const char *key;                 /* the whole of it, as it is; NULL: the bucket's */
    const char *query;               /* encoded and sorted, each with its "="; NULL: none */
    struct http_header headers[S3_HEADERS_MOST];  /* names in lower case */
    int header_count;
    struct http_body body;           /* read NULL: none */
    const char *sha256;              /* of the body in hex, if known; NULL */
    bool parting;                    /* as in http_request */
    int64_t patience_ms;             /* as in upstream_call */
    bool (*sink)(void *arg, const char *data, size_t len);  /* as in http_request */
    void *sink_arg;
    struct http_field fields[S3_FIELDS_MOST];     /* wanted of the answer */
    int field_count;

    enum upstream_verdict verdict;
    char code[S3_CODE];              /* the error's, "" if none was given */
    char message[S3_MESSAGE];        /* likewise */
    struct upstream_call http;       /* status, text, tries; s3_call_free ends it */
    struct s3_signing *signing;      /* s3.c's own */
};

/* Returns call->verdict. */
enum upstream_verdict s3_request(struct s3 *s, struct s3_call *c);
void s3_call_free(struct s3_call *c);
/* Writes what went wrong into v: err, detail, final, busy. */
void s3_explain(const struct s3_call *c, struct store_commit *v);
/* `call` carries a condition, and the answer is that the service has none. */
bool s3_refuses_condition(const struct s3_call *c);
#endif

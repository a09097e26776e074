/* upstream.h - an HTTP service that we upload to: requests that are tried again while their body
 * is held, and a service that is heeded when it asks for less.
 *
 * A connection that breaks, a timeout, a 5xx: once more, after a wait that doubles and is half
 * left to chance, for --upload-retry-time. 429 and 503 slow all threads down (throttle.h); after
 * the same time they are given up, and are nobody's failure.
 *
 * Hides:   http_client, throttle. Threads: as http_client. */
#ifndef SLUICE_UPSTREAM_H
#define SLUICE_UPSTREAM_H
#include "lib/opt.h"
#include "uploader/http_client.h"

enum upstream_verdict {
    UPSTREAM_DONE,      /* an answer the caller wants */
    UPSTREAM_FINAL,     /* an answer, and the same one would come again */
    UPSTREAM_AGAIN,     /* it may pass; not within --upload-retry-time */
    UPSTREAM_BUSY,      /* it asks for less; all that time */
};

struct upstream;

/* --cacert, --upload-connect-timeout, --upload-max-time, --upload-speed-time,
 * --upload-retry-time: of the process. */
extern const struct opt upstream_options[];

/* Gives one, or NULL with errno. `who`, for the log, is borrowed. */
struct upstream *upstream_open(const char *who);
void upstream_close(struct upstream *u);
/* Whatever is under way and comes ends soon, with UPSTREAM_AGAIN. From any thread. */
void upstream_abandon(struct upstream *u);

struct upstream_call {
    struct http_request request;
    struct http_answer answer;  /* of the last try; http_answer_free ends it */
    int tries;                  /* so far; a request that is `parting` gets one */
    int64_t patience_ms;        /* tried again for so long; 0: --upload-retry-time */
    /* Makes the request ready for a try (a signature has a time in it); NULL: it is. 0, or -1
     * with errno. */
    int (*prepare)(void *arg, struct upstream_call *c);
    /* Judges an answer; NULL: upstream_judge. */
    enum upstream_verdict (*judge)(void *arg, struct upstream_call *c);
    void *arg;
};

enum upstream_verdict upstream_call(struct upstream *u, struct upstream_call *c);
/* What came of it, as a sentence: the status and the first words of the answer, or why there was
 * none; and how often it was tried. */
void upstream_explain(const struct upstream_call *c, char *out, size_t size);
/* By the status alone: 2xx; 429 and 503; 408 and 5xx but 501; the rest. */
enum upstream_verdict upstream_judge(const struct http_answer *a);
/* Connects, no more, and tells in `a` (http_client_probe). */
void upstream_probe(struct upstream *u, const char *url, struct http_answer *a);
#endif

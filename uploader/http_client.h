/* http_client.h - one HTTP request at a time per thread, and its answer: blocking.
 *
 * Connections are kept and used again. HTTP/1.1; certificates are verified; no redirect is
 * followed; no proxy and no password file is taken from the environment. Connecting, stalling and
 * the whole request have limits.
 *
 * Memory: per thread that is in a request at the same time a connection and its buffers,
 *         about 100 KiB; an answer's text is cut at HTTP_TEXT_MOST.
 * Hides:  libcurl's easy interface. In this program only http_client.c includes <curl/curl.h>.
 * Threads: http_client_request() from any; the rest from the main thread, first and last.
 * Source: libcurl-easy(3), libcurl-thread(3), and traps of 7.88 noted at the code. */
#ifndef SLUICE_HTTP_CLIENT_H
#define SLUICE_HTTP_CLIENT_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"

enum { HTTP_HEADERS_MOST = 40, HTTP_TEXT_MOST = 1 << 20, HTTP_FIELD = 256 };

struct http_limits {
    int64_t connect_ms, total_ms, stall_ms;  /* 0: none */
    const char *cacert;                      /* PEM file to trust instead of the system's; NULL */
};

struct http_header {
    const char *name, *value;  /* no line ends in them */
};

/* A body, read from its beginning each time it is sent. */
struct http_body {
    uint64_t bytes;
    /* Puts up to `room` bytes from `offset` on into `into`: how many, or -1 with errno. */
    ssize_t (*read)(void *arg, uint64_t offset, void *into, size_t room);
    void *arg;
};

struct http_request {
    const char *method, *url;
    const struct http_header *headers;
    int header_count;              /* at most HTTP_HEADERS_MOST */
    const struct http_body *body;  /* NULL: none, and no length said; 0 bytes: an empty one */
    /* Where the text of a 2xx answer goes; NULL: to answer->text. False: enough. */
    bool (*sink)(void *arg, const char *data, size_t len);
    void *sink_arg;
    bool parting;  /* to clean up behind us: goes out after http_client_abandon() too, for 5 s */
};

/* A header of the answer that the caller asks for. */
struct http_field {
    const char *name;
    char value[HTTP_FIELD];  /* "" if absent; cut */
};

struct http_answer {
    struct http_field *fields;  /* the caller's */
    int field_count;
    long status;                /* 0: there was no answer, for the reason in `why` */
    bool hopeless;              /* no answer, and trying again cannot help */
    int err;                    /* our own body or sink failed: errno */
    char why[HTTP_FIELD];
    int64_t retry_after_ms;     /* 0: not said */
    int64_t length;             /* Content-Length, -1 if not said */
    struct buf text;            /* http_answer_free ends it */
};

struct http_client;

/* Gives a client, or NULL with errno. */
struct http_client *http_client_open(const struct http_limits *limits);
/* No request may be under way. */
void http_client_close(struct http_client *c);

/* Sends and waits. The caller has set `fields`; the rest is ours, whatever it was, `text` but for
 * its being freed. */
void http_client_request(struct http_client *c, const struct http_request *r,
                         struct http_answer *a);
/* Connects and shakes hands, no more. As above; status stays 0, `why` is "" if all is well. */
void http_client_probe(struct http_client *c, const char *url, struct http_answer *a);
/* What is under way ends at once, without an answer, and so does what comes. Any thread. */
void http_client_abandon(struct http_client *c);

/* A text that came from elsewhere, as the value of a header: `to` gets its printable ASCII. True if
 * that is anything. */
bool http_printable(const char *from, char to[HTTP_FIELD]);

void http_answer_free(struct http_answer *a);
#endif

/* xfer.h - HTTP transfers: many at once in one thread, without ever blocking.
 *
 * Hides:   libcurl, but for its memory (lib/curl_heap.h).
 * Threads: one (libcurl's resolver makes its own).
 * Source:  libcurl-multi(3), curl_multi_socket_action(3), and traps of 7.88 noted at the code. */
#ifndef SLUICE_XFER_H
#define SLUICE_XFER_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/loop.h"
#include "lib/opt.h"

struct xfer_settings {
    int parallel;                /* transfers at once, for the size of the connection cache */
    int64_t connect_ms;          /* limit on connecting */
    int64_t total_ms;            /* limit on a transfer's active time; paused time is not active */
    int64_t stall_ms;            /* less than stall_bytes a second for so long: a stall */
    int64_t stall_bytes;
    int64_t max_redirects;
    const char *agent;
    const struct opt_list *headers;  /* "Name: value" to send with each request */
    bool compressed;             /* ask for gzip or deflate; decoding is the caller's */
    /* Judges the address about to be connected to. */
    bool (*allow)(void *arg, const struct sockaddr *to);
    void *arg;
};

enum {
    XFER_URL_MOST = 32768,  /* a redirect to a longer one is not followed any further */
    XFER_TYPE_MOST = 1024,  /* a longer Content-Type is left out */
};

enum xfer_verdict { XFER_TOOK, XFER_PAUSE, XFER_ABORT };

struct xfer;
struct xfers;

/* What the response's head said; texts borrowed until the transfer ends. */
struct xfer_head {
    long code;
    const char *content_type, *content_encoding;  /* NULL if absent, or too long */
    int64_t length;                               /* -1 if not said */
    /* NULL unless wanted, or where too long (lib/header_block.h): the header block of the last
     * response as it came and of its request as it was sent, to the empty line; the peer's address. */
    const char *head, *request, *ip;
    size_t head_len, request_len;
};

/* How a transfer ended. */
struct xfer_end {
    const char *class;        /* NULL: it ended well; else dns, connect, tls, timeout, paused ... */
    const char *detail;       /* borrowed; a sentence */
    bool retry;               /* trying again may help */
    long code;                /* 0: no response */
    const char *url_effective;  /* NULL: too long */
    int64_t time_us, retry_after_ms;
};

struct xfer_calls {
    /* Body bytes as they come. XFER_PAUSE: nothing was taken, the same bytes come again after
     * xfer_resume(). */
    enum xfer_verdict (*body)(void *arg, const char *data, size_t len);
    /* The last call; the xfer is gone when it returns. */
    void (*end)(void *arg, const struct xfer_end *e);
};

/* Gives a pool (xfers_close ends it and what runs in it, silently), or NULL with errno. */
struct xfers *xfers_open(struct loop *loop, const struct xfer_settings *s,
                         const struct xfer_calls *calls);
void xfers_close(struct xfers *p);

/* Whether transfers that start from now on keep header blocks for xfer_head(): it costs them some
 * time, and at most two of lib/header_block.h. */
void xfers_want_heads(struct xfers *p, bool want);

/* Starts a GET. `url` is copied; NULL when out of memory. */
struct xfer *xfer_start(struct xfers *p, const char *url, void *arg);
void xfer_head(struct xfer *x, struct xfer_head *head);
/* After an XFER_PAUSE. May call body before it returns; not from within a call. */
void xfer_resume(struct xfer *x);
/* Ends it without a call. Not from within a call. */
void xfer_cancel(struct xfer *x);

/* Whether trying again may help where a response has this status. */
bool xfer_may_pass(long code);

/* Works off timers and ends; call once a turn. */
void xfers_turn(struct xfers *p);
int64_t xfers_sleep_ms(const struct xfers *p);
#endif

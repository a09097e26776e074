/* site.h - what all connections of one origin share. Owned by the server. */
#ifndef ORIGIN_SITE_H
#define ORIGIN_SITE_H

#include "buffer.h"
#include "counts.h"

/* What /-/stats tells. Requests for /-/stats and /-/count are not in requests and active. */
struct stats {
    int64_t requests;
    int64_t connections; /* accepted so far */
    int64_t open;        /* connections now */
    int64_t peak_open;
    int64_t active;      /* answers in progress, waiting and stalled ones too */
    int64_t peak_active;
    int64_t bytes_sent;  /* given to the kernel, heads and everything */
};

struct site {
    int root_fd;             /* -1: serve no files */
    struct counts *counts;
    struct buffer_pool pool;
    struct stats stats;
};

#endif

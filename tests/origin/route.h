/* route.h - what a request target asks for. Pure. */
#ifndef ORIGIN_ROUTE_H
#define ORIGIN_ROUTE_H

#include "url.h"

enum route_kind {
    ROUTE_FILE,    /* anything that does not begin with "/-/" */
    ROUTE_BYTES,   /* /-/bytes/N[/ANYTHING] */
    ROUTE_BOMB,    /* /-/bomb/N[/ANYTHING]  */
    ROUTE_STATS,   /* /-/stats              */
    ROUTE_COUNT,   /* /-/count/TARGET       */
    ROUTE_UNKNOWN, /* "/-/" and something else */
};

/* The spans borrow from the target. */
struct route {
    enum route_kind kind;
    struct span path;    /* as sent, still percent-coded */
    struct span query;   /* without '?' */
    int64_t bytes;       /* ROUTE_BYTES, ROUTE_BOMB: N */
    struct span counted; /* ROUTE_COUNT: the target whose count is wanted */
};

/* `target`: path and query, from url_target(). */
struct route route_of(struct span target);

#endif

#include "route.h"

static enum route_kind with_bytes(struct span rest, enum route_kind kind, int64_t *bytes)
{
    struct span number = span_until(&rest, '/');
    return span_number(number, bytes) == 0 ? kind : ROUTE_UNKNOWN;
}

struct route route_of(struct span target)
{
    struct span whole = target;
    struct route route = { .kind = ROUTE_UNKNOWN };
    route.path = span_until(&target, '?');
    route.query = target;

    struct span rest = route.path;
    if (!span_skip(&rest, "/-/"))
        route.kind = ROUTE_FILE;
    else if (span_skip(&rest, "bytes/"))
        route.kind = with_bytes(rest, ROUTE_BYTES, &route.bytes);
    else if (span_skip(&rest, "bomb/"))
        route.kind = with_bytes(rest, ROUTE_BOMB, &route.bytes);
    else if (span_is(rest, "stats"))
        route.kind = ROUTE_STATS;
    else if (span_skip(&whole, "/-/count") && whole.len > 0 && whole.at[0] == '/') {
        route.kind = ROUTE_COUNT;
        route.counted = whole;
    }
    return route;
}

/* conn.h - one client connection: reads requests, sends answers, one after the other.
 *
 * Never blocks. The server calls conn_run when the socket has news, when
 * conn_due_ms has come, or when the last run said there is more to do.
 *
 * Source: epoll(7), edge-triggered: a side stays ready until read or write says EAGAIN.
 */
#ifndef ORIGIN_CONN_H
#define ORIGIN_CONN_H

#include "site.h"

struct conn;

enum conn_next {
    CONN_WAITS,    /* run again on an event or at conn_due_ms() */
    CONN_HAS_MORE, /* others first, then run again */
    CONN_OVER,     /* close it */
};

/* Gives a connection on `fd` (non-blocking), taking *fd (set -1), or NULL (no memory, nothing
 * taken). `site` is borrowed until conn_close. */
struct conn *conn_open(struct site *site, int *fd);

/* Do what can be done now. `events`: from epoll, 0 for none. */
enum conn_next conn_run(struct conn *conn, uint32_t events, int64_t now_ms);

/* When to run again at the latest; 0: only events matter. */
int64_t conn_due_ms(const struct conn *conn);

/* Close the socket and free; sets *conn NULL. */
void conn_close(struct conn **conn);

#endif

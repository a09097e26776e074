/* server.h - the loop: accepts connections and runs them, in one thread.
 *
 * Hides:   epoll, deadlines, accept and what to do when descriptors run out.
 * Threads: one; nothing here may be called from another.
 * Source:  epoll(7), signalfd(2).
 */
#ifndef ORIGIN_SERVER_H
#define ORIGIN_SERVER_H

#include "site.h"

struct server;

/* Gives a server that listens on `address` (dotted IPv4) and `port` (0: any free one), or NULL
 * + errno. `site` is borrowed until server_close. Blocks SIGTERM and SIGINT for the process. */
struct server *server_open(struct site *site, const char *address, uint16_t port);

/* The port that it listens on. */
uint16_t server_port(const struct server *server);

/* Serve until SIGTERM or SIGINT. Returns 0, or -1 + errno when the loop cannot go on. */
int server_run(struct server *server);

/* Close everything; sets *server NULL. */
void server_close(struct server **server);

#endif

/* place.h - where sockets live: endpoints, the private directory, the lock on an address.
 *
 * Safe by default: ipc in a directory of mode 0700; tcp off loopback only where the user said
 * --insecure. libzmq lets a second bind take an ipc path over without an error, so an address
 * is held by flock(2). */
#ifndef SLUICE_PLACE_H
#define SLUICE_PLACE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PLACE_MAX = 256, PLACE_IPC_MAX = 107 };

/* The feeder's inbox: `given`, else $SLUICE_AT, else one named after the working directory in
 * a private directory. Ends the process in words if that can't be used. */
void place_at(const char *given, char out[PLACE_MAX]);

/* Ends the process unless `endpoint` is ipc, tcp on loopback, or `insecure`. `what` names the
 * option in the message. */
void place_check(const char *what, const char *endpoint, bool insecure);

/* Where a worker binds when it was not told: beside `at` for ipc, any port for tcp. `part` is
 * "inbox" or "intake". */
void place_beside(const char *at, const char *part, uint64_t member, char out[PLACE_MAX]);

/* What to tell others of `bound`: a tcp wildcard host is replaced by `advertise`, or by the
 * address from which `at` is reached. */
void place_public(const char *bound, const char *at, const char *advertise, char out[PLACE_MAX]);

/* Holds an ipc address for the life of the process. 0, or -1 with errno (EWOULDBLOCK: somebody
 * has it). tcp: nothing to do, a second bind fails by itself. */
int place_lock(const char *endpoint);

/* Removes what an ipc endpoint leaves in the file system; `lock` too. */
void place_remove(const char *endpoint, bool lock);
#endif

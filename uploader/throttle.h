/* throttle.h - a service that asks for less gets less, from all threads together.
 *
 * Whoever is about to send asks throttle_wait(). When the service has said "slow down" nobody
 * sends until it may be asked again, and then one after another at a distance that doubles with
 * each such answer and shrinks with each success. The threads are in here meanwhile, so the buffer
 * before them fills and the intake is left unread: that is the back-pressure.
 *
 * Hides:   the lock. Threads: any.
 * Source:  additive and multiplicative changes as in congestion control (RFC 5681); Retry-After:
 *          RFC 9110, 10.2.3. */
#ifndef SLUICE_THROTTLE_H
#define SLUICE_THROTTLE_H
#include <stdint.h>

struct throttle;

/* Gives one, or NULL with errno. `who` names the service in the log (borrowed). */
struct throttle *throttle_open(const char *who);
void throttle_close(struct throttle *t);

/* Waits for our turn. 0, or -1: abandoned. */
int throttle_wait(struct throttle *t);
/* Waits so long, for a reason of one's own. 0, or -1: abandoned. */
int throttle_sleep(struct throttle *t, int64_t ms);
/* The answer to what was sent at `began_ms` (clock) asks for less; `after_ms`: when it may be
 * asked again, 0 if it did not say. */
void throttle_slow(struct throttle *t, int64_t began_ms, int64_t after_ms);
/* A request was served. */
void throttle_ok(struct throttle *t);
/* Whoever waits, and will, is sent away: the process ends now. */
void throttle_abandon(struct throttle *t);
#endif

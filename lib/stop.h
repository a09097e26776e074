/* stop.h - being asked to stop, and saying that one is ready.
 *
 * INT and TERM are counted: the first means drain, a second means now. INT is handled even
 * where a script's `&` has made it ignored. PIPE is ignored.
 *
 * Threads: call stop_open() before any thread starts, so that none of them takes the signal.
 * Source: signalfd(2). */
#ifndef SLUICE_STOP_H
#define SLUICE_STOP_H

/* Returns an fd that is readable when a signal has come (watch it), or -1 with errno. */
int stop_open(void);

/* How often we were asked so far (0, 1: drain, 2 or more: now). Never blocks. */
int stop_asked(int stop_fd);

/* Writes a newline to `fd` and closes it: we are ready (s6's convention). fd < 0: nothing. */
void stop_ready(int fd);
#endif

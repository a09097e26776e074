/* loop.h - waiting for file descriptors: the one place where a process sleeps.
 *
 * Hides: epoll. Threads: one. Source: epoll(7), level-triggered. */
#ifndef SLUICE_LOOP_H
#define SLUICE_LOOP_H
#include <stdint.h>

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

struct loop;

/* Called from loop_wait(); `ready` is LOOP_READ | LOOP_WRITE (both on error or hang-up). */
typedef void loop_fn(void *arg, int fd, int ready);

/* Gives a loop (loop_close ends it), or NULL with errno. */
struct loop *loop_open(void);
void loop_close(struct loop *l);

/* Watch `fd` for `events`; again changes both. fd is borrowed. 0, or -1 with errno. */
int loop_watch(struct loop *l, int fd, int events, loop_fn *fn, void *arg);
/* Forget `fd`; not watched: no matter. Call it before the fd is closed. */
void loop_unwatch(struct loop *l, int fd);
/* For one that will be watched again soon: nobody is called, but the kernel keeps watching, so that
 * both changes cost no system call. loop_unwatch() before it is closed. */
void loop_rest(struct loop *l, int fd);

/* Sleeps until something is ready or `timeout_ms` is over (0: just look), calls what is. */
void loop_wait(struct loop *l, int64_t timeout_ms);
#endif

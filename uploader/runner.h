/* runner.h - what exec: and pipe: share: the command, who ends its processes, how long one may
 * take, and the word to stop.
 *
 * Threads: open, close and abandon from the main one; the rest any. */
#ifndef SLUICE_RUNNER_H
#define SLUICE_RUNNER_H
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "uploader/child.h"
#include "uploader/command.h"
#include "uploader/store.h"

/* --timeout; in exec's table. */
extern int64_t runner_timeout_ms;

struct runner {
    struct command *command;  /* owned */
    struct keeper *keeper;    /* owned */
    struct spools *spools;    /* borrowed */
    struct rlimit files;      /* as we were started with */
    int stop_fd;              /* owned; readable once we are to stop */
    atomic_bool start_said;   /* that it can't be started, since it last could */
};

/* Gives a runner for the store of `place`, or NULL with errno after saying why. */
struct runner *runner_open(const char *place, const struct store_settings *s, bool per_object);
void runner_close(struct runner *r);
void runner_abandon(struct runner *r);
bool runner_stopped(const struct runner *r);

/* An object of either store: its body is held until the command has spoken. */
struct runner_object {
    void *store;                      /* borrowed */
    const struct store_facts *facts;  /* likewise */
    struct spool *body;               /* owned */
};

/* As in struct store_ops. */
void *runner_begin(void *store, struct spools *spools, const struct store_facts *f);
int runner_write(void *object, const void *data, size_t len);
void runner_drop(void *object);

/* clock_ms() when a call that begins now has taken too long. */
int64_t runner_deadline_ms(void);
/* poll(2) until `until_ms` of the clock; where that fails, no `revents` is set. */
int runner_poll(struct pollfd *p, nfds_t count, int64_t until_ms);

/* Starts the command. Where it can't, -1: then `c` says so, and that the list should wait until it
 * can be (a command that is being replaced, too many processes). */
int runner_start(struct runner *r, struct child *child, const struct store_facts *f, int in,
                 int out, int err, struct store_commit *c);
/* Fills `c` for an object that was not stored because we stop, or because it took too long. */
void runner_say_stopped(struct store_commit *c);
void runner_say_late(struct store_commit *c);
#endif

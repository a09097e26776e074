#include "uploader/runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/say.h"

int64_t runner_timeout_ms = 600 * 1000;

/* What we can't promise for a command is refused, not passed over. */
static void check_settings(const struct store_settings *s)
{
    if (s->fsync || s->overwrite)
        say_die(EXIT_USAGE, "%s: --%s: what a key's second coming does, and what is durable, is "
                "the command's to decide", s->dest, s->fsync ? "fsync" : "overwrite");
}

struct runner *runner_open(const char *place, const struct store_settings *s, bool per_object)
{
    check_settings(s);
    struct command *command = command_open(place, s->dest, per_object);
    if (!command)
        return NULL;
    struct runner *r = calloc(1, sizeof *r);
    if (r) {
        r->command = command;
        r->spools = s->spools;
        getrlimit(RLIMIT_NOFILE, &r->files);
        r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r->keeper = r->stop_fd < 0 ? NULL : keeper_open(s->threads);
        if (r->keeper)
            return r;
    }
    int err = errno;
    say(SAY_ERROR, "%s: cannot start: %s", s->dest, strerror(err));
    if (r && r->stop_fd >= 0)
        close(r->stop_fd);
    command_close(command);
    free(r);
    errno = err;
    return NULL;
}

void runner_close(struct runner *r)
{
    keeper_close(r->keeper);
    command_close(r->command);
    close(r->stop_fd);
    free(r);
}

void runner_abandon(struct runner *r)
{
    uint64_t one = 1;
    ssize_t n = write(r->stop_fd, &one, sizeof one);
    (void)n; /* it is there already */
}

bool runner_stopped(const struct runner *r)
{
    struct pollfd p = {r->stop_fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

void *runner_begin(void *store, struct spools *spools, const struct store_facts *f)
{
    struct runner_object *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    *o = (struct runner_object){store, f, spool_open(spools)};
    if (o->body)
        return o;
    free(o);
    return NULL;
}

int runner_write(void *object, const void *data, size_t len)
{
    return spool_write(((struct runner_object *)object)->body, data, len);
}

void runner_drop(void *object)
{
    struct runner_object *o = object;
    spool_close(o->body);
    free(o);
}

int64_t runner_deadline_ms(void)
{
    return runner_timeout_ms ? clock_ms() + runner_timeout_ms : INT64_MAX;
}

int runner_poll(struct pollfd *p, nfds_t count, int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_ms();
    int n = poll(p, count, left_ms < 0 ? 0 : left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
    for (nfds_t i = 0; n < 0 && i < count; i++)
        p[i].revents = 0;
    return n;
}

/* Words that are too long for the kernel are this object's; all else is the command's or the
 * machine's, and the next object would fare no better. */
static void say_not_started(struct runner *r, int err, struct store_commit *c)
{
    c->err = err == ENOSPC || err == EDQUOT ? EIO : err;
    c->final = err == E2BIG;
    c->busy = !c->final;
    snprintf(c->detail, sizeof c->detail, "the command cannot be started: %s", strerror(err));
    if (c->busy && !atomic_exchange(&r->start_said, true))
        say(SAY_WARN, "%s cannot be started: %s%s", command_path(r->command), strerror(err),
            err == ENOEXEC ? " (a script begins with a line such as #!/bin/sh)" : "");
}

int runner_start(struct runner *r, struct child *child, const struct store_facts *f, int in,
                 int out, int err, struct store_commit *c)
{
    char **words = command_words(r->command, f);
    char **environment = words ? command_environment(f) : NULL;
    struct child_plan plan = {command_path(r->command), words, environment, in, out, err,
                              r->files};
    int failed = environment && child_start(child, &plan, r->keeper) == 0 ? 0 : errno;
    free(environment);
    free(words);
    if (failed) {
        say_not_started(r, failed, c);
        return -1;
    }
    atomic_store(&r->start_said, false);
    return 0;
}

void runner_say_stopped(struct store_commit *c)
{
    c->err = ECANCELED;
    c->busy = true; /* costs no try */
    snprintf(c->detail, sizeof c->detail, "the uploader was stopped");
}

void runner_say_late(struct store_commit *c)
{
    c->err = ETIMEDOUT;
    snprintf(c->detail, sizeof c->detail, "the command took longer than --timeout (%g s)",
             (double)runner_timeout_ms / 1000);
}

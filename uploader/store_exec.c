/* exec:COMMAND - a process per object: its facts are among the words and in the environment, its
 * body, whole, on stdin; the exit status is the verdict. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "uploader/runner.h"
#include "uploader/said.h"
#include "uploader/store.h"

enum {
    GRACE_MS = 1000,    /* between TERM and KILL */
};

static const struct opt options[] = {
    {"timeout", 0, "S", OPT_SECONDS, &runner_timeout_ms, 0, INT32_MAX,
     "a command that takes longer for an object is killed (600; 0: never); for pipe: too"},
    {0},
};

static void *exec_open(const char *place, const struct store_settings *s)
{
    return runner_open(place, s, true);
}

static void exec_close(void *store)
{
    runner_close(store);
}

static void exec_abandon(void *store)
{
    runner_abandon(store);
}

static void *exec_begin(void *store, const struct store_facts *f)
{
    return runner_begin(store, ((struct runner *)store)->spools, f);
}

/* Until it has ended: by itself, asked to (TERM), or killed. Gives its status. */
static int see_to(const struct runner *r, struct child *child, int err_fd, struct said *said,
                  struct store_commit *c)
{
    enum { STOP, ENDED, ERR };
    struct pollfd p[] = {{r->stop_fd, POLLIN, 0}, {child->pidfd, POLLIN, 0}, {err_fd, POLLIN, 0}};
    int64_t until_ms = runner_deadline_ms();
    while (!p[ENDED].revents) {
        bool late = runner_poll(p, 3, until_ms) == 0;
        if (p[ERR].revents && !said_read(said, err_fd))
            p[ERR].fd = -1;
        if (p[ENDED].revents || (late && c->err))
            break;
        if (late || p[STOP].revents) {
            (late ? runner_say_late : runner_say_stopped)(c);
            child_signal(child, SIGTERM);
            until_ms = clock_ms() + GRACE_MS;
            p[STOP].fd = -1;
        }
    }
    int status = child_end(child);
    if (p[ERR].fd >= 0)
        said_read(said, err_fd);
    return status;
}

/* EX_TEMPFAIL of sysexits.h; and what a shell, env(1) and so on say when there was nothing to run,
 * which is not the object's fault. */
static bool may_pass(int status)
{
    return !WIFEXITED(status) || WEXITSTATUS(status) == 75 || WEXITSTATUS(status) == 126 ||
           WEXITSTATUS(status) == 127;
}

static void judge(struct store_commit *c, int status, const struct said *said)
{
    char how[48], line[SAID_BYTES + 1];
    if (c->err || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return;
    c->err = EIO;
    c->final = !may_pass(status);
    child_status(status, how, sizeof how);
    said_line(said, line);
    snprintf(c->detail, sizeof c->detail, "%s%s%s", how, *line ? ": " : "", line);
}

static void run(struct runner *r, const struct store_facts *f, int body, const int err[2],
                struct store_commit *c)
{
    struct child child;
    struct said said = {.len = 0};
    if (runner_start(r, &child, f, body, -1, err[1], c)) {
        close(err[1]);
        return;
    }
    close(err[1]);
    FAULT("uploader.exec.started");
    int status = see_to(r, &child, err[0], &said, c);
    judge(c, status, &said);
    FAULT_IF(!c->err, "uploader.exec.stored");
}

/* One object: we are not grouped, and --fsync is refused. */
static void exec_commit(struct store_commit *c, int count)
{
    struct runner_object *o = c->object;
    struct runner *r = o->store;
    int err[2] = {-1, -1}, body = spool_fd(o->body);
    (void)count;
    c->bytes = spool_bytes(o->body);
    if (runner_stopped(r)) {
        runner_say_stopped(c);
    } else if (body < 0 || pipe2(err, O_CLOEXEC)) {
        c->err = errno;
    } else {
        fcntl(err[0], F_SETFL, O_NONBLOCK);
        run(r, c->facts, body, err, c);
        close(err[0]);
    }
    runner_drop(o);
}

const struct store_ops store_exec = {
    .scheme = "exec",
    .usage = "exec:COMMAND",
    .about = "COMMAND is run for each object, with the body on stdin",
    .options = options,
    .open = exec_open,
    .close = exec_close,
    .abandon = exec_abandon,
    .begin = exec_begin,
    .write = runner_write,
    .commit = exec_commit,
    .drop = runner_drop,
};

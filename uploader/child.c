#include "uploader/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fault.h"

enum { FIRST_OTHER = 3 };

/* What the child needs; it shares our memory until it executes. */
struct birth {
    const struct child_plan *plan;
    _Atomic pid_t *place;
    pid_t parent;
    volatile int err;
};

/* None of ours may be below 3 when it is copied there. */
static int above(int fd)
{
    return fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OTHER)
                   : fcntl(open("/dev/null", O_RDWR | O_CLOEXEC), F_DUPFD_CLOEXEC, FIRST_OTHER);
}

static int take_descriptors(const struct child_plan *p)
{
    int in = above(p->in), out = above(p->out), err = above(p->err);
    if (in < 0 || out < 0 || err < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        return -1;
    close_range(FIRST_OTHER, ~0U, 0); /* an old kernel has none: then close-on-exec must do */
    return 0;
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Once its group is in the table the keeper sees to it; if we are gone by then, the
 * keeper may have looked already. */
static _Noreturn void become(struct birth *b)
{
    setpgid(0, 0);
    atomic_store(b->place, getpid());
    if (getppid() != b->parent)
        _exit(127);
    if (take_descriptors(b->plan) == 0 && setrlimit(RLIMIT_NOFILE, &b->plan->files) == 0) {
        reset_signals();
        execve(b->plan->path, b->plan->words, b->plan->environment);
    }
    b->err = errno;
    _exit(127);
}

static __attribute__((noinline)) pid_t give_birth(struct birth *b)
{
    pid_t pid = vfork();
    if (pid == 0)
        become(b);
    return pid;
}

int child_start(struct child *c, const struct child_plan *p, struct keeper *k)
{
    struct birth b = {.plan = p, .place = keeper_place(k), .parent = getpid()};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* no handler of ours runs in the child */
    c->pid = FAULT_FAILS("uploader.child.start") ? -1 : give_birth(&b);
    int err = c->pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->place = b.place;
    c->pidfd = err || b.err ? -1 : pidfd_open(c->pid, 0);
    if (c->pidfd >= 0)
        return 0;
    err = err ? err : b.err ? b.err : errno;
    if (c->pid > 0)
        child_end(c);
    else
        atomic_store(b.place, 0);
    c->pid = 0;
    errno = err;
    return -1;
}

void child_signal(const struct child *c, int sig)
{
    kill(-c->pid, sig);
}

/* Its number, and so the group's, is nobody else's until it was waited for. */
int child_end(struct child *c)
{
    int status = 0;
    child_signal(c, SIGKILL);
    atomic_store(c->place, 0);
    if (c->pidfd >= 0)
        close(c->pidfd);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    *c = (struct child){.pidfd = -1};
    return status;
}

void child_status(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exit status %d", WEXITSTATUS(status));
}

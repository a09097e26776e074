#include "uploader/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_US = 1000, LOOKS_MOST = 10000 };

struct keeper {
    _Atomic pid_t *groups;  /* shared; [most] */
    size_t most;
    pid_t pid;
    int fd;                 /* our end of its pipe */
};

/* Our descriptors are closed a little before our children have another parent; until they have, one
 * that is just being started may still think that we live (child.c). */
static void wait_for_death(pid_t parent)
{
    for (int i = 0; i < LOOKS_MOST && getppid() == parent; i++)
        usleep(LOOK_US);
}

static _Noreturn void keep(const struct keeper *k, int fd, pid_t parent)
{
    char word;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    setpgid(0, 0);
    prctl(PR_SET_NAME, "sluice-keeper");
    if (fd > 0)
        close_range(0, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0U, 0);
    if (read(fd, &word, 1) == 1)
        _exit(0); /* a word: all is well */
    wait_for_death(parent);
    for (size_t i = 0; i < k->most; i++)
        if (k->groups[i] > 0)
            kill(-k->groups[i], SIGKILL);
    _exit(0);
}

struct keeper *keeper_open(int most)
{
    struct keeper *k = calloc(1, sizeof *k);
    int ends[2];
    pid_t parent = getpid();
    if (!k || pipe2(ends, O_CLOEXEC)) {
        free(k);
        return NULL;
    }
    k->most = (size_t)most;
    k->fd = ends[1];
    k->groups = mmap(NULL, k->most * sizeof *k->groups, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    k->pid = k->groups == MAP_FAILED ? -1 : fork();
    if (k->pid == 0)
        keep(k, ends[0], parent);
    int err = errno;
    close(ends[0]);
    if (k->pid > 0)
        return k;
    close(ends[1]);
    if (k->groups != MAP_FAILED)
        munmap((void *)k->groups, k->most * sizeof *k->groups);
    free(k);
    errno = err;
    return NULL;
}

void keeper_close(struct keeper *k)
{
    if (!k)
        return;
    if (write(k->fd, "e", 1) != 1)
        kill(k->pid, SIGKILL); /* it has nothing to do any more, and would wait for our death */
    close(k->fd);
    while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    munmap((void *)k->groups, k->most * sizeof *k->groups);
    free(k);
}

_Atomic pid_t *keeper_place(struct keeper *k)
{
    for (size_t i = 0; i < k->most; i++) {
        pid_t none = 0;
        if (atomic_compare_exchange_strong(&k->groups[i], &none, -1))
            return &k->groups[i];
    }
    assert(!"more commands at once than -j");
    return NULL;
}

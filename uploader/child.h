/* child.h - a command that runs: in a process group of its own, which ends with it and with us.
 *
 * It has three descriptors and no other of ours, no signal blocked or ignored, and its words and
 * environment as given: no shell is between. When the command has ended, or we have, whatever is
 * left of its group is killed; what has left the group (setsid(2)) is its own master.
 *
 * Threads: any, a child one at a time.
 * Source: vfork(2), pidfd_open(2), close_range(2). */
#ifndef SLUICE_CHILD_H
#define SLUICE_CHILD_H
#include <stddef.h>
#include <sys/resource.h>

#include "uploader/keeper.h"

struct child {
    pid_t pid;              /* and its group's; 0: none */
    int pidfd;              /* readable when it has ended; -1: none */
    _Atomic pid_t *place;   /* in the keeper's table */
};

struct child_plan {
    const char *path;
    char *const *words, *const *environment;
    int in, out, err;       /* borrowed; -1: /dev/null */
    struct rlimit files;    /* RLIMIT_NOFILE: ours is raised for our sockets */
};

/* 0, or -1 with errno: it could not be started. */
int child_start(struct child *c, const struct child_plan *p, struct keeper *k);
/* To all of its group. */
void child_signal(const struct child *c, int sig);
/* Kills what is left of it, waits for it, and gives its status (waitpid(2)). */
int child_end(struct child *c);
/* How it ended, in words: "exit status 1", "killed by signal 9 (Killed)". */
void child_status(int status, char *out, size_t size);
#endif

/* failing_disk.so - preloaded into a feeder, makes calls on files below FAIL_IN fail: from the
 * FAIL_AFTER-th call named FAIL_CALL (write, fsync, fdatasync) on, with FAIL_ERRNO; 0 there: the
 * process is killed instead, before the call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_below(int fd, const char *dir)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    return strncmp(path, dir, strlen(dir)) == 0;
}

static int fails(const char *call, int fd)
{
    static int calls;
    const char *dir = getenv("FAIL_IN"), *which = getenv("FAIL_CALL");
    const char *after = getenv("FAIL_AFTER"), *err = getenv("FAIL_ERRNO");
    if (!dir || !which || !after || !err || strcmp(which, call) || !is_below(fd, dir) ||
        __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) < atoi(after))
        return 0;
    if (atoi(err) == 0)
        raise(SIGKILL);
    errno = atoi(err);
    return 1;
}

ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    return fails("write", fd) ? -1 : real(fd, data, len);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    return fails("fsync", fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    return fails("fdatasync", fd) ? -1 : real(fd);
}

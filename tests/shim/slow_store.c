/* slow_store.so - preloaded into an uploader, makes its store another one:
 * SLOW_STORE=BYTES   each write into a regular file takes as long as so many a second allow;
 * SLOW_DISK=BYTES    the same, and of all threads one at a time, as on one disk;
 * SLOW_RENAME=S      what is renamed gets its name so many seconds later;
 * RENAME_AFTER=FILE  and not before this file is there;
 * NO_TMPFILE=1       the file system has no O_TMPFILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static double number(const char *name)
{
    const char *text = getenv(name);
    return text ? atof(text) : 0;
}

static void wait_s(double s)
{
    struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
    if (s > 0)
        nanosleep(&t, NULL);
}

/* What sleeping has taken too long is made up for, or a disk of many small writes would be slower. */
static void wait_for_disk(double s)
{
    static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;
    static double free_at;
    struct timespec t;
    pthread_mutex_lock(&disk);
    clock_gettime(CLOCK_MONOTONIC, &t);
    double now = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    free_at = (free_at < now - 0.1 ? now : free_at) + s;
    wait_s(free_at - now);
    pthread_mutex_unlock(&disk);
}

ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    struct stat st;
    double rate = number("SLOW_STORE"), disk = number("SLOW_DISK");
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (rate + disk > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        if (rate > 0)
            wait_s((double)len / rate);
        if (disk > 0)
            wait_for_disk((double)len / disk);
    }
    return real(fd, data, len);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    static int (*real)(int, const char *, int, const char *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "renameat");
    wait_s(number("SLOW_RENAME"));
    for (const char *file = getenv("RENAME_AFTER"); file && access(file, F_OK);)
        wait_s(0.01);
    return real(from_dir, from, to_dir, to);
}

int openat(int dir, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    va_list more;
    mode_t mode = 0;
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "openat");
    if ((flags & O_TMPFILE) == O_TMPFILE && number("NO_TMPFILE") > 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    va_start(more, flags);
    if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
        mode = va_arg(more, mode_t);
    va_end(more);
    return real(dir, path, flags, mode);
}

/* slow_store.so - preloaded into an uploader, makes its store another one:
 * SLOW_STORE=BYTES   each write into a regular file takes as long as so many a second allow;
 * SLOW_RENAME=S      what is renamed gets its name so many seconds later;
 * NO_TMPFILE=1       the file system has no O_TMPFILE. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
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

ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    struct stat st;
    double rate = number("SLOW_STORE");
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (rate > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        wait_s((double)len / rate);
    return real(fd, data, len);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    static int (*real)(int, const char *, int, const char *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "renameat");
    wait_s(number("SLOW_RENAME"));
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

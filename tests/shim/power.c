/* power.so - preloaded into feeder and uploader, writes down what they do to a 'disk', so that
 * tests/power/loss can make of it what a power cut could have left.
 *
 * The disk is the directory POWER_DIR, its write cache volatile. Each call that changes something
 * below it is done and recorded in POWER_LOG (which lies elsewhere), in the order of the calls of
 * all programs that share the log. fsync and fdatasync of a file make its bytes and its length
 * durable, of a directory the names in it; they are only recorded, so nothing waits for the disk
 * of this machine, but take POWER_SYNC_US, in which others go on.
 *
 * POWER_CUT=N- or N+: the power is cut just before, or just after, the N-th sync of this process;
 * N alone: after its N-th other change. Who shares the power supply is in the same process group:
 * all of it is killed.
 * POWER_LIES: syncs do nothing, as those of a disk that lies. POWER_NAMED: the file system has no
 * O_TMPFILE.
 *
 * Not modelled: O_SYNC, mmap, vectored writes, fallocate, syncfs, rights, times, metadata of a
 * file system that is torn itself. What is not seen here is seen by tests/power/loss: it compares
 * the disk with the log first. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PATH_MOST = PATH_MAX, RECORD_MOST = 1024 };

static struct {
    int log;                /* -1: we are not wanted */
    const char *disk;       /* absolute, without links */
    long cut;               /* the sync or change that ends all; 0: none */
    char when;              /* '-' before the sync, '+' after it, 0: after the change */
    bool lies, named;
    long syncs, changes, sync_us;
    pthread_mutex_t mutex;  /* beside the lock on the log, which all threads share */
} power = {.log = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};

static void fail(const char *what)
{
    fprintf(stderr, "power.so: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void plug_in(void)
{
    const char *log = getenv("POWER_LOG"), *cut = getenv("POWER_CUT");
    const char *us = getenv("POWER_SYNC_US");
    power.disk = getenv("POWER_DIR");
    if (!log || !power.disk)
        return;
    power.lies = getenv("POWER_LIES") != NULL;
    power.named = getenv("POWER_NAMED") != NULL;
    power.cut = cut ? atol(cut) : 0;
    power.when = cut && *cut ? cut[strspn(cut, "0123456789")] : '\0';
    power.sync_us = us ? atol(us) : 0;
    power.log = (int)syscall(SYS_openat, AT_FDCWD, log,
                             O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (power.log < 0)
        fail(log);
}

static void lock(void)
{
    pthread_mutex_lock(&power.mutex);
    while (power.log >= 0 && flock(power.log, LOCK_EX))
        if (errno != EINTR)
            fail("flock");
}

static void unlock(void)
{
    int err = errno;
    if (power.log >= 0)
        flock(power.log, LOCK_UN);
    pthread_mutex_unlock(&power.mutex);
    errno = err;
}

/* One line, and `len` bytes after it. */
__attribute__((format(printf, 3, 4)))
static void note(const void *data, size_t len, const char *format, ...)
{
    char line[RECORD_MOST];
    int err = errno;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    struct iovec v[2] = {{line, (size_t)n}, {(void *)(uintptr_t)data, len}};
    if (n >= RECORD_MOST || writev(power.log, v, 2) != (ssize_t)((size_t)n + len))
        fail("the log");
    errno = err;
}

static void cut(void)
{
    note(NULL, 0, "cut %s %ld%.1s\n", program_invocation_short_name, power.cut, &power.when);
    kill(0, SIGKILL); /* all are as good as dead before our lock on the log is gone */
    for (;;)
        pause();
}

/* A change of the disk: note() it. */
#define record(...)                                             \
    do {                                                        \
        note(__VA_ARGS__);                                      \
        if (++power.changes == power.cut && !power.when)        \
            cut();                                              \
    } while (0)

/* Whether a descriptor is of something on the disk, and of what. */
static bool on_disk(int fd, unsigned long *ino)
{
    char link[64], path[PATH_MOST];
    struct stat st;
    int err = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size_t len = power.log < 0 ? 0 : strlen(power.disk);
    ssize_t n = len && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
                    ? readlink(link, path, sizeof path - 1) : -1;
    errno = err;
    if (n < (ssize_t)len || n < 0 || memcmp(path, power.disk, len) ||
        ((size_t)n > len && path[len] != '/'))
        return false;
    *ino = st.st_ino;
    return true;
}

/* Where a path leads: a name in a directory of the disk. */
struct spot {
    bool ours;
    unsigned long dir;
    const char *name;  /* in the path */
};

static struct spot spot_of(int at, const char *path)
{
    struct spot s = {.name = path};
    char dir[PATH_MOST] = ".";
    const char *slash = strrchr(path, '/');
    int err = errno;
    if (slash) {
        s.name = slash + 1;
        snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
    int fd = (int)syscall(SYS_openat, at, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    s.ours = fd >= 0 && on_disk(fd, &s.dir);
    if (fd >= 0)
        close(fd);
    errno = err;
    return s;
}

/* A new name at `s`. */
static void record_name(const char *what, int at, const char *path, const struct spot *s)
{
    struct stat st;
    if (s->ours && fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        record(NULL, 0, "%s %lu %lu %s\n", what, s->dir, (unsigned long)st.st_ino, s->name);
}

/* Names. */

static int do_open(int at, const char *path, int flags, mode_t mode)
{
    bool temp = (flags & O_TMPFILE) == O_TMPFILE;
    unsigned long ino;
    if (power.log < 0 || !(temp || flags & (O_CREAT | O_TRUNC)))
        return (int)syscall(SYS_openat, at, path, flags, mode);
    if (temp && power.named) {
        errno = EOPNOTSUPP;
        return -1;
    }
    lock();
    struct spot s = spot_of(at, path);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && on_disk(fd, &ino)) {
        if (temp)
            record(NULL, 0, "temp %lu\n", ino);
        else if (flags & O_CREAT)
            record_name("make", at, path, &s);
        if (flags & O_TRUNC)
            record(NULL, 0, "length %lu 0\n", ino);
    }
    unlock();
    return fd;
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return do_open(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return do_open(at, path, flags, mode);
}

int mkdirat(int at, const char *path, mode_t mode)
{
    lock();
    struct spot s = spot_of(at, path);
    int bad = (int)syscall(SYS_mkdirat, at, path, mode);
    if (!bad)
        record_name("mkdir", at, path, &s);
    unlock();
    return bad;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int linkat(int from, const char *path, int to, const char *name, int flags)
{
    lock();
    struct spot s = spot_of(to, name);
    int bad = (int)syscall(SYS_linkat, from, path, to, name, flags);
    if (!bad)
        record_name("link", to, name, &s);
    unlock();
    return bad;
}

int link(const char *path, const char *name)
{
    return linkat(AT_FDCWD, path, AT_FDCWD, name, 0);
}

int renameat(int from, const char *path, int to, const char *name)
{
    lock();
    struct spot a = spot_of(from, path), b = spot_of(to, name);
    int bad = (int)syscall(SYS_renameat, from, path, to, name);
    if (!bad && a.ours && b.ours)
        record(NULL, 0, "rename %lu %lu %s/%s\n", a.dir, b.dir, a.name, b.name);
    unlock();
    return bad;
}

int rename(const char *path, const char *name)
{
    return renameat(AT_FDCWD, path, AT_FDCWD, name);
}

int unlinkat(int at, const char *path, int flags)
{
    lock();
    struct spot s = spot_of(at, path);
    int bad = (int)syscall(SYS_unlinkat, at, path, flags);
    if (!bad && s.ours)
        record(NULL, 0, "unlink %lu %s\n", s.dir, s.name);
    unlock();
    return bad;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

/* Bytes. */

ssize_t write(int fd, const void *data, size_t len)
{
    unsigned long ino;
    if (!on_disk(fd, &ino))
        return syscall(SYS_write, fd, data, len);
    lock();
    ssize_t n = syscall(SYS_write, fd, data, len);
    if (n > 0) /* where it went, with O_APPEND too */
        record(data, (size_t)n, "data %lu %lld %zd\n", ino,
               (long long)(lseek(fd, 0, SEEK_CUR) - n), n);
    unlock();
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    unsigned long ino;
    if (!on_disk(fd, &ino))
        return syscall(SYS_pwrite64, fd, data, len, at);
    lock();
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, at);
    if (n > 0)
        record(data, (size_t)n, "data %lu %lld %zd\n", ino, (long long)at, n);
    unlock();
    return n;
}

int ftruncate(int fd, off_t len)
{
    unsigned long ino;
    if (!on_disk(fd, &ino))
        return (int)syscall(SYS_ftruncate, fd, len);
    lock();
    int bad = (int)syscall(SYS_ftruncate, fd, len);
    if (!bad)
        record(NULL, 0, "length %lu %lld\n", ino, (long long)len);
    unlock();
    return bad;
}

/* The power. */

static void sync_now(unsigned long ino)
{
    lock();
    power.syncs++;
    if (power.syncs == power.cut && power.when == '-')
        cut();
    note(NULL, 0, "%s %lu %s\n", power.lies ? "lie" : "sync", ino, program_invocation_short_name);
    if (power.syncs == power.cut && power.when == '+')
        cut();
    unlock();
    nanosleep(&(struct timespec){power.sync_us / 1000000, power.sync_us % 1000000 * 1000}, NULL);
}

int fsync(int fd)
{
    unsigned long ino;
    if (!on_disk(fd, &ino))
        return (int)syscall(SYS_fsync, fd);
    sync_now(ino);
    return 0;
}

int fdatasync(int fd)
{
    unsigned long ino;
    if (!on_disk(fd, &ino))
        return (int)syscall(SYS_fdatasync, fd);
    sync_now(ino);
    return 0;
}

#include "uploader/shards.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "uploader/file.h"

static const char SUFFIX[] = ".open";
enum { OPEN_NAME = SHARDS_NAME + sizeof SUFFIX };

static void open_name(const char *name, char out[OPEN_NAME])
{
    assert(strlen(name) < SHARDS_NAME);
    snprintf(out, OPEN_NAME, "%s%s", name, SUFFIX);
}

/* Locks it. -1 with EWOULDBLOCK: somebody else has, or had, and it has lost its name since. */
static int take(int dir, int fd, const char *name)
{
    if (flock(fd, LOCK_EX | LOCK_NB))
        return -1;
    if (file_is_called(fd, dir, name) == 1)
        return 0;
    errno = EWOULDBLOCK;
    return -1;
}

int shards_create(const struct shards *s, const char *name)
{
    char open[OPEN_NAME];
    open_name(name, open);
    int fd = openat(s->dir, open, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return -1;
    FAULT("uploader.shards.made");
    if (take(s->dir, fd, open)) {
        int err = errno == EWOULDBLOCK ? EEXIST : errno; /* shards_recover() was quicker */
        close(fd);
        errno = err;
        return -1;
    }
    int err = faccessat(s->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? EEXIST : 0;
    if (!err && s->fsync && durable_names(s->dir))
        err = errno;
    if (!err)
        return fd;
    shards_remove(s, fd, name);
    errno = err;
    return -1;
}

void shards_remove(const struct shards *s, int fd, const char *name)
{
    char open[OPEN_NAME];
    open_name(name, open);
    unlinkat(s->dir, open, 0);
    close(fd);
}

void shards_leave(int fd)
{
    close(fd);
}

/* Its last owner may have died after it was linked: then only the other name is to go. */
static int put_name(const struct shards *s, int fd, const char *open, const char *name)
{
    int linked = FAULT_FAILS("uploader.shards.link") ? -1 : file_is_called(fd, s->dir, name);
    if (linked < 0 || (!linked && linkat(s->dir, open, s->dir, name, 0)))
        return -1;
    FAULT("uploader.shards.linked");
    if (s->fsync && durable_names(s->dir)) /* else a power cut may keep the second and undo the first */
        return -1;
    return unlinkat(s->dir, open, 0);
}

int shards_finish(const struct shards *s, int fd, const char *name)
{
    char open[OPEN_NAME];
    open_name(name, open);
    FAULT("uploader.shards.ended");
    bool bad = (s->fsync && fdatasync(fd)) || put_name(s, fd, open, name) ||
               (s->fsync && durable_names(s->dir));
    int err = errno;
    if (bad)
        say(SAY_ERROR, "%s: %s can't be given its name: %s: it stays %s, for the next uploader",
            s->dest, name, strerror(err), open);
    close(fd);
    errno = err;
    return bad ? -1 : 0;
}

static void say_left(const struct shards *s, const char *name, int err)
{
    if (err == EILSEQ)
        say(SAY_WARN, "%s: %s%s does not begin as ours do: left alone", s->dest, name, SUFFIX);
    else
        say(SAY_ERROR, "%s: %s%s, which an uploader that died has left: %s", s->dest, name, SUFFIX,
            strerror(err));
}

static void recover(const struct shards *s, int fd, const char *name)
{
    struct stat st;
    int linked = fstat(fd, &st) ? -1 : file_is_called(fd, s->dir, name);
    int64_t whole = linked < 0 ? -1 : linked ? st.st_size : s->whole(fd, name);
    if (whole < 0 || (whole && whole < st.st_size && ftruncate(fd, whole))) {
        say_left(s, name, errno);
        shards_leave(fd);
    } else if (whole == 0) {
        shards_remove(s, fd, name);
    } else {
        say(SAY_INFO, "%s: finishing %s, which an uploader that died has left: %lld of %lld bytes "
            "are whole", s->dest, name, (long long)whole, (long long)st.st_size);
        shards_finish(s, fd, name);
    }
}

void shards_recover(const struct shards *s)
{
    DIR *d = fdopendir(openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[SHARDS_NAME];
        size_t len = strlen(e->d_name), suffix = sizeof SUFFIX - 1;
        if (len <= suffix || len - suffix >= sizeof name ||
            strcmp(e->d_name + len - suffix, SUFFIX))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(len - suffix), e->d_name);
        int fd = s->is_ours(name)
                     ? openat(s->dir, e->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                     : -1;
        if (fd >= 0 && take(s->dir, fd, e->d_name) == 0)
            recover(s, fd, name);
        else if (fd >= 0)
            close(fd);
    }
    if (d)
        closedir(d);
}

/* dir:PATH - one file per object, below a directory descriptor.
 *
 * A body is written into an unnamed file (O_TMPFILE) and linked when it is whole, so a killed
 * uploader leaves nothing. Where the file system has no O_TMPFILE, or where what is there is
 * replaced, a name of our own under PATH serves, locked while we live; what killed uploaders left
 * of such names is removed at the start and at the end.
 *
 * Source: open(2) O_TMPFILE, linkat(2). */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "uploader/parents.h"
#include "uploader/store.h"

static const char TEMP_PREFIX[] = ".sluice-";
enum { TEMP_NAME = 64, COPY_BYTES = 65536 };

struct dir {
    int fd;
    struct store_settings settings;
    struct parents *parents;
    bool unnamed;  /* O_TMPFILE works here */
    bool by_fd;    /* a descriptor can be linked by itself, not only through /proc */
};

struct file {
    struct dir *dir;  /* borrowed */
    int fd;                 /* owned */
    struct parent *parent;  /* the directory of its key; NULL: not open */
    uint64_t bytes;
    char temp[TEMP_NAME];  /* below dir->fd; "" while the file has no name */
    const char *name;      /* last part of key */
    char key[];
};

/* What has our prefix and nobody's lock. */
static void remove_stale(int dirfd)
{
    DIR *d = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, TEMP_PREFIX, sizeof TEMP_PREFIX - 1))
            continue;
        int fd = openat(dirfd, e->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd, e->d_name, 0);
        if (fd >= 0)
            close(fd);
    }
    if (d)
        closedir(d);
}

/* What the file system and our rights allow: AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH, before
 * Linux 6.10 even for a file that we made. */
static void probe(struct dir *d)
{
    char name[TEMP_NAME];
    int fd = FAULT_FAILS("uploader.tmpfile")
                 ? -1
                 : openat(d->fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    d->unnamed = fd >= 0;
    if (fd < 0)
        return;
    snprintf(name, sizeof name, "%s%016llx-probe", TEMP_PREFIX,
             (unsigned long long)d->settings.member);
    d->by_fd = linkat(fd, "", d->fd, name, AT_EMPTY_PATH) == 0;
    if (d->by_fd)
        unlinkat(d->fd, name, 0);
    close(fd);
}

static void *dir_open(const char *path, const struct store_settings *s)
{
    int fd = store_open_dir(s->dest, path, s->fsync);
    if (fd < 0)
        return NULL;
    struct dir *d = calloc(1, sizeof *d);
    if (!d)
        say_die(EXIT_TEMP, "out of memory");
    *d = (struct dir){.fd = fd, .settings = *s};
    d->parents = parents_open(fd);
    if (!d->parents)
        say_die(EXIT_TEMP, "out of memory");
    probe(d);
    remove_stale(fd);
    return d;
}

static void dir_close(void *store)
{
    struct dir *d = store;
    remove_stale(d->fd); /* one that was killed after we came leaves nobody else to do it */
    parents_close(d->parents);
    close(d->fd);
    free(d);
}

static int64_t dir_free_bytes(void *store)
{
    return store_free_below(((const struct dir *)store)->fd);
}

/* A file of a name of our own, locked. Another's remove_stale() may be quicker than our lock: it
 * has that one, then, and the next has another name. */
static int open_named(struct file *f, const struct store_facts *facts)
{
    char attempt[STORE_ATTEMPT];
    struct stat st;
    store_attempt(facts, attempt);
    for (unsigned i = 0;; i++) {
        snprintf(f->temp, sizeof f->temp, "%s%s-%x", TEMP_PREFIX, attempt, i);
        int fd = openat(f->dir->fd, f->temp,
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0)
            return -1;
        FAULT("uploader.temp.made");
        bool theirs = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
        if (!theirs && (fstat(fd, &st) || st.st_nlink))
            return fd;
        close(fd);
    }
}

static int open_temp(struct file *f, const struct store_facts *facts)
{
    if (f->dir->unnamed)
        return openat(f->dir->fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    return open_named(f, facts);
}

static void dir_drop(void *object)
{
    struct file *f = object;
    if (f->temp[0])
        unlinkat(f->dir->fd, f->temp, 0);
    if (f->fd >= 0)
        close(f->fd);
    if (f->parent)
        parents_put(f->dir->parents, f->parent);
    free(f);
}

static void *dir_begin(void *store, const struct store_facts *facts)
{
    struct file *f = calloc(1, sizeof *f + strlen(facts->key) + 1);
    if (!f)
        return NULL;
    strcpy(f->key, facts->key);
    f->dir = store;
    f->fd = -1;
    char *slash = strrchr(f->key, '/');
    f->name = slash ? slash + 1 : f->key;
    f->parent = parents_get(f->dir->parents, f->key, slash ? (size_t)(slash - f->key) : 0);
    if (!f->parent || (f->fd = open_temp(f, facts)) < 0) {
        int err = errno;
        f->temp[0] = '\0';
        dir_drop(f);
        errno = err;
        return NULL;
    }
    return f;
}

static int dir_write(void *object, const void *data, size_t len)
{
    struct file *f = object;
    for (const char *at = data; len;) {
        ssize_t n = write(f->fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += n;
        len -= (size_t)n;
        f->bytes += (uint64_t)n;
    }
    return 0;
}

static int link_unnamed(const struct file *f, int dirfd, const char *name)
{
    char self[40];
    if (f->dir->by_fd)
        return linkat(f->fd, "", dirfd, name, AT_EMPTY_PATH);
    snprintf(self, sizeof self, "/proc/self/fd/%d", f->fd);
    return linkat(AT_FDCWD, self, dirfd, name, AT_SYMLINK_FOLLOW);
}

/* Gives the body its name, if nothing has it. -1 with errno EEXIST if something has. */
static int put_if_absent(struct file *f)
{
    if (f->dir->unnamed)
        return link_unnamed(f, f->parent->fd, f->name);
    return linkat(f->dir->fd, f->temp, f->parent->fd, f->name, 0);
}

static int replace(struct file *f, uint64_t unique)
{
    if (f->dir->unnamed && !f->temp[0]) {
        flock(f->fd, LOCK_EX | LOCK_NB); /* before it has a name that others may think stale */
        snprintf(f->temp, sizeof f->temp, "%s%016llx-r%llx", TEMP_PREFIX,
                 (unsigned long long)f->dir->settings.member, (unsigned long long)unique);
        if (link_unnamed(f, f->dir->fd, f->temp)) {
            f->temp[0] = '\0';
            return -1;
        }
    }
    FAULT("uploader.replace.linked");
    if (renameat(f->dir->fd, f->temp, f->parent->fd, f->name))
        return -1;
    f->temp[0] = '\0';
    return 0;
}

/* Size and digest of what is there. With --fsync it is made durable: an uploader without may have
 * put it there a moment ago. */
static int describe(const struct file *f, struct store_commit *r)
{
    int fd = FAULT_FAILS("uploader.existing")
                 ? -1
                 : openat(f->parent->fd, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct digest *d = digest_open(r->kind);
    char *copy = malloc(COPY_BYTES);
    ssize_t n = -1;
    r->existing = true;
    r->bytes = 0;
    while (fd >= 0 && d && copy && (n = read(fd, copy, COPY_BYTES)) > 0) {
        digest_add(d, copy, (size_t)n);
        r->bytes += (uint64_t)n;
    }
    if (n == 0 && ((f->dir->settings.fsync && fdatasync(fd)) || digest_text(d, r->digest)))
        n = -1;
    int err = errno;
    if (fd >= 0)
        close(fd);
    digest_close(d);
    free(copy);
    errno = err;
    return n == 0 ? 0 : -1;
}

static int try_to_put(struct file *f, struct store_commit *r)
{
    r->bytes = f->bytes;
    r->existing = false;
    int bad = FAULT_FAILS("uploader.link") ? -1 : put_if_absent(f);
    if (bad && errno == EEXIST)
        bad = f->dir->settings.overwrite ? replace(f, (uint64_t)(uintptr_t)f) : describe(f, r);
    FAULT_IF(!bad, "uploader.linked");
    return bad;
}

/* Whoever takes objects away may take the directory too. To look at it first would cost as much for
 * each object as this does for the few. */
static int put(struct file *f, struct store_commit *r)
{
    int bad = try_to_put(f, r);
    for (int i = 0; bad && errno == ENOENT && i < PARENTS_TRIES; i++)
        bad = parents_renew(f->dir->parents, &f->parent) ? -1 : try_to_put(f, r);
    return bad;
}

/* All bytes are under way before the first is waited for, and each directory is synced once: the
 * file system's journal then takes a group as it takes one. The bytes go first: a name that
 * outlives its bytes would be a torn object. Errors of a sync are final (fsync(2), "EIO"). */
static void sync_bytes(struct store_commit *v, int count)
{
    for (int i = 0; i < count; i++)
        sync_file_range(((struct file *)v[i].object)->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    for (int i = 0; i < count; i++)
        if (FAULT_FAILS("uploader.fsync") || fdatasync(((struct file *)v[i].object)->fd))
            v[i].err = errno;
}

/* The directories that a commit has synced. */
struct synced {
    int count;
    const struct parent *dirs[2 * STORE_GROUP_MOST];
    int errs[2 * STORE_GROUP_MOST];
};

/* 0 or errno. Beyond the room of the list a directory is synced more than once. */
static int sync_once(struct synced *s, const struct parent *p)
{
    for (int i = 0; i < s->count; i++)
        if (s->dirs[i] == p)
            return s->errs[i];
    bool bad = FAULT_FAILS("uploader.fsync.names");
    int err = bad || durable_names(p->fd) ? errno : 0;
    if (s->count < 2 * STORE_GROUP_MOST) {
        s->dirs[s->count] = p;
        s->errs[s->count++] = err;
    }
    return err;
}

/* A directory's sync does not cover its own name, and whoever made it may have died before that
 * was durable: so the first of its objects waits for what is above it, too. */
static int sync_way(struct synced *s, struct parent *p)
{
    if (!p->up || p->durable)
        return 0;
    int err = sync_once(s, p->up);
    if (!err)
        err = sync_way(s, p->up);
    p->durable = !err;
    return err;
}

static void sync_names(struct store_commit *v, int count)
{
    struct synced s = {0};
    for (int i = 0; i < count; i++) {
        struct parent *p = ((struct file *)v[i].object)->parent;
        int err = sync_once(&s, p);
        if (!err)
            err = sync_way(&s, p);
        if (!v[i].err)
            v[i].err = err;
    }
}

static void dir_commit(struct store_commit *v, int count)
{
    bool durable = ((struct file *)v[0].object)->dir->settings.fsync;
    FAULT("uploader.commit.begun");
    if (durable)
        sync_bytes(v, count);
    for (int i = 0; i < count; i++)
        if (!v[i].err && put(v[i].object, &v[i]))
            v[i].err = errno ? errno : EIO;
    if (durable)
        sync_names(v, count);
    for (int i = 0; i < count; i++)
        dir_drop(v[i].object);
    FAULT("uploader.committed");
}

const struct store_ops store_dir = {
    .scheme = "dir",
    .usage = "dir:PATH",
    .about = "a file per object below PATH",
    .open = dir_open,
    .close = dir_close,
    .free_bytes = dir_free_bytes,
    .begin = dir_begin,
    .write = dir_write,
    .commit = dir_commit,
    .drop = dir_drop,
};

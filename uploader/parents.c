#define HASH_NONFATAL_OOM 1 /* in a thread of the pool nobody ends the process */
#include "uploader/parents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct parents {
    int root;
    pthread_mutex_t lock;
    struct parent *kept;  /* under lock; by path */
};

struct parents *parents_open(int root)
{
    struct parents *ps = calloc(1, sizeof *ps);
    if (!ps)
        return NULL;
    ps->root = root;
    pthread_mutex_init(&ps->lock, NULL);
    return ps;
}

static void let_go(struct parent *p)
{
    for (struct parent *up; p && --p->users == 0; p = up) {
        up = p->up;
        if (p->fd >= 0)
            close(p->fd);
        free(p);
    }
}

static void forget_all(struct parents *ps)
{
    struct parent *p, *tmp;
    HASH_ITER(hh, ps->kept, p, tmp) {
        HASH_DEL(ps->kept, p);
        let_go(p);
    }
}

void parents_close(struct parents *ps)
{
    forget_all(ps);
    pthread_mutex_destroy(&ps->lock);
    free(ps);
}

static int open_below(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
    if (fd < 0 && errno == ENOSYS)
        fd = openat(root, *path ? path : ".", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

/* Makes each directory on the way. */
static int make_below(int root, char *path)
{
    for (char *s = path; s; s = s ? s + 1 : NULL) {
        s = strchr(s, '/');
        if (s)
            *s = '\0';
        int bad = mkdirat(root, path, 0777) && errno != EEXIST;
        if (s)
            *s = '/';
        if (bad)
            return -1;
    }
    return open_below(root, path);
}

static struct parent *get(struct parents *ps, const char *path, size_t len);

/* Takes what is above it, too. */
static struct parent *open_parent(struct parents *ps, const char *path, size_t len)
{
    struct parent *p = calloc(1, sizeof *p + len + 1);
    if (!p)
        return NULL;
    memcpy(p->path, path, len);
    p->users = 1;
    p->fd = open_below(ps->root, p->path);
    if (p->fd < 0 && errno == ENOENT)
        p->fd = make_below(ps->root, p->path);
    const char *slash = strrchr(p->path, '/');
    if (p->fd >= 0 && (!len || (p->up = get(ps, path, slash ? (size_t)(slash - p->path) : 0))))
        return p;
    int err = errno;
    let_go(p);
    errno = err;
    return NULL;
}

static struct parent *get(struct parents *ps, const char *path, size_t len)
{
    struct parent *p;
    HASH_FIND(hh, ps->kept, path, len, p);
    if (!p && (p = open_parent(ps, path, len))) {
        if (HASH_COUNT(ps->kept) >= PARENTS_KEPT)
            forget_all(ps);
        HASH_ADD_KEYPTR(hh, ps->kept, p->path, len, p);
        if (!p->hh.tbl) /* no room to keep it: it is its user's alone */
            p->users--;
    }
    if (p)
        p->users++;
    return p;
}

struct parent *parents_get(struct parents *ps, const char *path, size_t len)
{
    pthread_mutex_lock(&ps->lock);
    struct parent *p = get(ps, path, len);
    pthread_mutex_unlock(&ps->lock);
    return p;
}

void parents_put(struct parents *ps, struct parent *p)
{
    pthread_mutex_lock(&ps->lock);
    let_go(p);
    pthread_mutex_unlock(&ps->lock);
}

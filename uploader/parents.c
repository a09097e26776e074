#define HASH_NONFATAL_OOM 1 /* in a thread of the pool nobody ends the process */
#include "uploader/parents.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdbool.h>
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

/* Unless others have others under these names by now. */
static void forget_way(struct parents *ps, const struct parent *p)
{
    for (struct parent *kept; p->up; p = p->up) {
        HASH_FIND(hh, ps->kept, p->path, strlen(p->path), kept);
        if (kept != p)
            continue;
        HASH_DEL(ps->kept, kept);
        let_go(kept); /* its user, or who is below it, has it still */
    }
}

static bool is_gone(const struct parent *p)
{
    struct stat st;
    return fstat(p->fd, &st) == 0 && st.st_nlink == 0;
}

/* What is above a directory that is there is there: one that is not, another has taken its place. */
static struct parent *get_above(struct parents *ps, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    struct parent *up = get(ps, path, len);
    if (!up || !up->up || !is_gone(up))
        return up;
    forget_way(ps, up);
    let_go(up);
    return get(ps, path, len);
}

/* Takes what is above it, too. */
static struct parent *open_parent(struct parents *ps, const char *path, size_t len)
{
    struct parent *p = calloc(1, sizeof *p + len + 1);
    if (!p)
        return NULL;
    memcpy(p->path, path, len);
    p->users = 1;
    p->fd = open_below(ps->root, p->path);
    for (int i = 0; p->fd < 0 && errno == ENOENT && i < PARENTS_TRIES; i++)
        p->fd = make_below(ps->root, p->path);
    if (p->fd >= 0 && (!len || (p->up = get_above(ps, p->path))))
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

int parents_renew(struct parents *ps, struct parent **p)
{
    pthread_mutex_lock(&ps->lock);
    forget_way(ps, *p);
    struct parent *fresh = get(ps, (*p)->path, strlen((*p)->path));
    int err = errno;
    if (fresh) {
        let_go(*p);
        *p = fresh;
    }
    pthread_mutex_unlock(&ps->lock);
    errno = err;
    return fresh ? 0 : -1;
}

void parents_put(struct parents *ps, struct parent *p)
{
    pthread_mutex_lock(&ps->lock);
    let_go(p);
    pthread_mutex_unlock(&ps->lock);
}

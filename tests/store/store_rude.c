/* rude:DIR - the store that behaves as an object's URL says, to hold the uploader to store.h. An
 * object goes into DIR/KEY, its facts into DIR/facts/TASK, the sizes of groups into DIR/groups.
 *
 *   store=begin    the first attempt can't begin          store=busy   ... is told to come later
 *   store=write    ... can't be written, in words         store=final  ... fails for good
 *   store=again    ... fails at its commit, in words      store=class  ... likewise, class "tls" */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/say.h"
#include "uploader/store.h"

enum { TASKS_MOST = 100000, READ_BYTES = 65536 };

struct rude {
    int fd;
    struct spools *spools, own;
    int groups;
    atomic_uint tries[TASKS_MOST];
};

struct thing {
    struct rude *rude;
    const struct store_facts *facts;
    struct spool *spool;
    unsigned tries;
};

static int64_t gather_ms = 100, slow_ms;
static bool in_files;

static const struct opt options[] = {
    {"gather", 0, "S", OPT_SECONDS, &gather_ms, 0, 10000, "how long a group gathers (0.1)"},
    {"slow", 0, "S", OPT_SECONDS, &slow_ms, 0, 10000, "how long a commit takes (0)"},
    {"in-files", 0, NULL, OPT_FLAG, &in_files, 0, 0, "spools have no memory"},
    {0},
};

static bool asked(const struct thing *t, const char *what)
{
    const char *at = strstr(t->facts->url, "store=");
    return t->tries == 1 && at && strncmp(at + 6, what, strlen(what)) == 0;
}

static void *rude_open(const char *place, const struct store_settings *s)
{
    struct rude *r = calloc(1, sizeof *r);
    mkdir(place, 0777);
    if (!r || (r->fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        say(SAY_ERROR, "%s: %s", s->dest, strerror(errno));
        free(r);
        return NULL;
    }
    mkdirat(r->fd, "facts", 0777);
    spools_open(&r->own, 0, NULL);
    r->spools = in_files ? &r->own : s->spools;
    return r;
}

static void rude_close(void *store)
{
    struct rude *r = store;
    close(r->fd);
    free(r);
}

static int64_t rude_gather_ms(void *store)
{
    (void)store;
    return gather_ms;
}

static void rude_drop(void *object)
{
    struct thing *t = object;
    spool_close(t->spool);
    free(t);
}

static void *rude_begin(void *store, const struct store_facts *f)
{
    struct thing *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->rude = store;
    t->facts = f;
    t->tries = atomic_fetch_add(&t->rude->tries[f->task % TASKS_MOST], 1) + 1;
    t->spool = asked(t, "begin") ? NULL : spool_open(t->rude->spools);
    if (!t->spool) {
        rude_drop(t);
        errno = EIO;
        return NULL;
    }
    return t;
}

static int rude_write(void *object, const void *data, size_t len)
{
    struct thing *t = object;
    if (!asked(t, "write"))
        return spool_write(t->spool, data, len);
    errno = EIO;
    return -1;
}

static void rude_explain(void *object, struct store_commit *c)
{
    const struct thing *t = object;
    if (asked(t, "write"))
        snprintf(c->detail, sizeof c->detail, "the tape of %s is torn", t->facts->key);
}

static int make(const struct rude *r, const char *path, int flags)
{
    return openat(r->fd, path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
}

static void note_facts(const struct thing *t)
{
    const struct store_facts *f = t->facts;
    char path[64];
    snprintf(path, sizeof path, "facts/%llu", (unsigned long long)f->task);
    int fd = make(t->rude, path, O_TRUNC);
    dprintf(fd, "url %s\nurl_effective %s\ncontent_type %s\ndigest %s\nbytes %llu\ncode %llu\n"
            "ip %s\ncomplete %d\nreceived %lld\nrequest %zu\n%.*shead %zu\n%.*s", f->url,
            f->url_effective, f->content_type, f->digest, (unsigned long long)f->bytes,
            (unsigned long long)f->response_code, f->ip, f->complete, (long long)f->received_ms,
            f->request_len, (int)f->request_len, f->request, f->head_len, (int)f->head_len,
            f->head);
    close(fd);
}

static int copy(struct thing *t, int fd)
{
    static char bytes[READ_BYTES]; /* one commit at a time */
    ssize_t n;
    for (uint64_t at = 0; (n = spool_read(t->spool, at, bytes, sizeof bytes)) > 0; at += READ_BYTES)
        if (write(fd, bytes, (size_t)n) != n)
            return -1;
    return (int)n;
}

static int put(struct thing *t, struct store_commit *c)
{
    char dir[1100];
    snprintf(dir, sizeof dir, "%.*s", (int)strcspn(t->facts->key, "/"), t->facts->key);
    mkdirat(t->rude->fd, dir, 0777);
    int fd = make(t->rude, t->facts->key, O_TRUNC);
    if (fd < 0 || copy(t, fd))
        return errno;
    close(fd);
    c->bytes = spool_bytes(t->spool);
    snprintf(c->place, sizeof c->place, "rude#%llu", (unsigned long long)t->facts->task);
    note_facts(t);
    return 0;
}

static void rude_commit(struct store_commit *v, int count)
{
    struct rude *r = ((struct thing *)v[0].object)->rude;
    int fd = make(r, "groups", O_APPEND);
    dprintf(fd, "%d\n", count);
    close(fd);
    usleep((unsigned)slow_ms * 1000);
    for (int i = 0; i < count; i++) {
        struct thing *t = v[i].object;
        if (asked(t, "again") || asked(t, "busy") || asked(t, "final") || asked(t, "class")) {
            snprintf(v[i].detail, sizeof v[i].detail, "not today: %s", t->facts->key);
            v[i].err = EIO;
            v[i].busy = asked(t, "busy");
            v[i].final = asked(t, "final");
            v[i].class = asked(t, "class") ? "tls" : NULL;
            v[i].retry_after_ms = 300;
        } else {
            v[i].err = put(t, &v[i]);
        }
        rude_drop(t);
    }
}

static const struct store_ops store_rude = {
    .scheme = "rude",
    .usage = "rude:DIR",
    .about = "as the objects' URLs say",
    .options = options,
    .wants_head = true,
    .grouped = true,
    .open = rude_open,
    .close = rude_close,
    .gather_ms = rude_gather_ms,
    .begin = rude_begin,
    .write = rude_write,
    .explain = rude_explain,
    .commit = rude_commit,
    .drop = rude_drop,
};

const struct store_ops *const stores[] = {&store_rude, &store_dir, NULL};

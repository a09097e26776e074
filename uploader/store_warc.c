/* warc:DIR - WARC 1.1 files: a request and a response for each object (warc_record.h).
 *
 * A body is spooled until it is whole. Then any thread makes its records, packed and digested, in
 * a second spool; a group is appended by one thread to the file that is open, and synced if so
 * wished, before the receipts go. A file has its name once it is finished (shards.h); the place of
 * an object says that name, and the offset of the object's response.
 *
 * What was written of an object that failed is cut off. Where that fails too the file is left
 * alone, as if we had died, and the next object begins another.
 *
 * Memory: 400 KiB for each thread. Source: ISO 28500:2017, with its annex C for names. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/say.h"
#include "uploader/shards.h"
#include "uploader/store.h"
#include "uploader/warc_record.h"
#include "uploader/warc_scan.h"

enum { COPY_BYTES = 65536, HOST_MOST = 64, PREFIX_MOST = 64, SERIAL_MOST = 99999 };

static int64_t size_most = 1 << 30;
static const char *prefix = "sluice";

static const struct opt options[] = {
    {"warc-size", 0, "BYTES", OPT_BYTES, &size_most, 1, INT64_MAX / 4,
     "an object that would take a file beyond so many bytes goes into the next one (1G)"},
    {"warc-prefix", 0, "TEXT", OPT_TEXT, &prefix, 0, 0, "what files' names begin with (sluice)"},
    {"compress", 0, "HOW", OPT_TEXT, &store_compress, 0, 0,
     "warc: a gzip member for each record, or plain (gz); tar: zst or gz, packed shards (none)"},
    {0},
};

struct warc {
    struct store_settings settings;
    struct shards shards;
    bool packed;
    char host[HOST_MOST + 1];
    /* Of commits, one at a time. */
    int fd;                  /* the file that is open; -1: none */
    char name[SHARDS_NAME];  /* its own */
    uint64_t bytes;          /* of it, whole objects all */
    uint64_t begun;          /* of these, what it began with */
    uint64_t settled;        /* of these, what settle() has seen */
    bool broken;             /* there is more in it, which can't be cut off */
    unsigned serial;
};

struct capture {
    struct warc *warc;
    const struct store_facts *facts;
    struct spool *body;     /* NULL once its records are made */
    struct spool *records;  /* NULL before */
    uint64_t bytes, at;     /* of the body; of the response in the records */
};

/* Names. */

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), more = strlen(end);
    return len > more && strcmp(name + len - more, end) == 0;
}

static bool is_packed(const char *name)
{
    return ends_in(name, ".warc.gz");
}

/* PREFIX-TIMESTAMP-SERIAL-HOST, as next_name() makes it. */
static bool is_ours(const char *name)
{
    const char *dash = name;
    if (!is_packed(name) && !ends_in(name, ".warc"))
        return false;
    while ((dash = strchr(dash, '-'))) {
        dash++;
        if (strspn(dash, "0123456789") == 17 && dash[17] == '-' &&
            strspn(dash + 18, "0123456789") == 5 && dash[23] == '-')
            return true;
    }
    return false;
}

static int64_t whole(int fd, const char *name)
{
    return warc_whole(fd, is_packed(name));
}

/* What no name of a host has becomes '_'. */
static void find_host(char out[HOST_MOST + 1])
{
    if (gethostname(out, HOST_MOST + 1) || !out[0])
        snprintf(out, HOST_MOST + 1, "localhost");
    out[HOST_MOST] = '\0';
    for (char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '.' && *c != '-')
            *c = '_';
}

static void next_name(struct warc *w)
{
    char seconds[16];
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(seconds, sizeof seconds, "%Y%m%d%H%M%S", &tm);
    snprintf(w->name, sizeof w->name, "%s-%s%03d-%05u-%s.warc%s", prefix, seconds,
             (int)(now.tv_nsec / 1000000), w->serial, w->host, w->packed ? ".gz" : "");
    w->serial = w->serial == SERIAL_MOST ? 0 : w->serial + 1;
}

/* Life. */

static void check_options(void)
{
    if (store_compress && strcmp(store_compress, "gz") && strcmp(store_compress, "none"))
        say_die(EXIT_USAGE, "--compress: '%s' is neither gz nor none", store_compress);
    if (!*prefix || strlen(prefix) > PREFIX_MOST || !store_key_ok(prefix, strlen(prefix)) ||
        strchr(prefix, '/'))
        say_die(EXIT_USAGE, "--warc-prefix: '%s' is not 1 to %d of A-Z a-z 0-9 . _ -, the first no "
                "dot", prefix, PREFIX_MOST);
}

static void *warc_open(const char *path, const struct store_settings *s)
{
    check_options();
    int fd = store_open_dir(s->dest, path, s->fsync);
    if (fd < 0)
        return NULL;
    struct warc *w = calloc(1, sizeof *w);
    if (!w)
        say_die(EXIT_TEMP, "out of memory");
    *w = (struct warc){.settings = *s, .fd = -1};
    w->packed = !store_compress || strcmp(store_compress, "gz") == 0;
    w->shards = (struct shards){s->dest, fd, s->fsync, is_ours, whole};
    find_host(w->host);
    shards_recover(&w->shards);
    return w;
}

/* A broken one is left as if we had died: whoever finds it finishes it. */
static void end_file(struct warc *w)
{
    if (w->fd < 0)
        return;
    if (w->broken)
        shards_leave(w->fd);
    else if (w->bytes == w->begun)
        shards_remove(&w->shards, w->fd, w->name);
    else
        shards_finish(&w->shards, w->fd, w->name);
    w->fd = -1;
    w->broken = false;
}

static void warc_close(void *store)
{
    struct warc *w = store;
    end_file(w);
    shards_recover(&w->shards); /* one that was killed after we came leaves nobody else to do it */
    close(w->shards.dir);
    free(w);
}

static int64_t warc_free_bytes(void *store)
{
    return store_free_below(((const struct warc *)store)->shards.dir);
}

/* Objects. */

static void warc_drop(void *object)
{
    struct capture *c = object;
    spool_close(c->body);
    spool_close(c->records);
    free(c);
}

static void *warc_begin(void *store, const struct store_facts *f)
{
    struct warc *w = store;
    struct capture *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    *c = (struct capture){.warc = w, .facts = f, .body = spool_open(w->settings.spools)};
    if (c->body)
        return c;
    free(c);
    errno = ENOMEM;
    return NULL;
}

static int warc_write(void *object, const void *data, size_t len)
{
    return spool_write(((struct capture *)object)->body, data, len);
}

/* Its records, in a thread that others need not wait for. */
static int warc_seal(void *object)
{
    struct capture *c = object;
    struct gzip *gzip = c->warc->packed ? gzip_open() : NULL;
    int bad = c->warc->packed && !gzip ? -1 : 0;
    if (!bad && !(c->records = spool_open(c->warc->settings.spools)))
        bad = -1;
    c->bytes = spool_bytes(c->body);
    bad = bad || warc_object(&(struct warc_writer){gzip, c->records}, c->facts, c->body, &c->at);
    int err = errno;
    gzip_close(gzip);
    spool_close(c->body);
    c->body = NULL;
    errno = err;
    return bad ? -1 : 0;
}

/* Appending. */

static int write_at(int fd, uint64_t at, const char *data, size_t len)
{
    while (len) {
        ssize_t n = FAULT_FAILS("uploader.warc.write") ? -1 : pwrite(fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        at += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int copy_spool(int fd, uint64_t at, struct spool *from)
{
    static char copy[COPY_BYTES]; /* one commit at a time */
    const char *memory = spool_memory(from);
    ssize_t n;
    uint64_t done = 0;
    if (memory) {
        size_t half = (size_t)spool_bytes(from) / 2;
        if (write_at(fd, at, memory, half))
            return -1;
        FAULT("uploader.warc.half");
        return write_at(fd, at + half, memory + half, (size_t)spool_bytes(from) - half);
    }
    while ((n = spool_read(from, done, copy, sizeof copy)) > 0) {
        if (write_at(fd, at + done, copy, (size_t)n))
            return -1;
        done += (uint64_t)n;
    }
    return (int)n;
}

/* Back to the whole objects that end at `bytes`. Keeps errno. */
static void cut(struct warc *w, uint64_t bytes)
{
    int err = errno;
    bool bad = FAULT_FAILS("uploader.warc.cut");
    w->bytes = bytes;
    w->broken = bad || ftruncate(w->fd, (off_t)bytes);
    if (w->broken)
        say(SAY_WARN, "%s: %s can't be cut: going on in another file", w->settings.dest, w->name);
    errno = err;
}

static int append(struct warc *w, struct spool *records)
{
    if (copy_spool(w->fd, w->bytes, records)) {
        cut(w, w->bytes);
        return -1;
    }
    w->bytes += spool_bytes(records);
    return 0;
}

/* What every file begins with; durable before more follows, for it says that the file is ours. */
static int begin_file(struct warc *w)
{
    struct gzip *gzip = w->packed ? gzip_open() : NULL;
    struct spool *info = spool_open(w->settings.spools);
    w->bytes = 0;
    int bad = (w->packed && !gzip) || !info ||
              warc_info(&(struct warc_writer){gzip, info}, w->name, w->host) || append(w, info) ||
              (w->settings.fsync && fdatasync(w->fd));
    int err = errno;
    gzip_close(gzip);
    spool_close(info);
    w->begun = w->settled = w->bytes;
    errno = err;
    return bad ? -1 : 0;
}

static int open_file(struct warc *w)
{
    int tries = 0;
    do
        next_name(w);
    while ((w->fd = shards_create(&w->shards, w->name)) < 0 && errno == EEXIST &&
           ++tries < SERIAL_MOST);
    if (w->fd < 0)
        return -1;
    if (begin_file(w) == 0)
        return 0;
    int err = errno;
    w->broken = false; /* all of it goes */
    end_file(w);
    errno = err;
    return -1;
}

/* What the objects v[from] to v[to - 1] have in the open file stays there, or they have failed. */
static void settle(struct warc *w, struct store_commit *v, int from, int to)
{
    FAULT("uploader.warc.appended");
    if (w->fd < 0 || w->settled == w->bytes)
        return;
    if (w->settings.fsync && (FAULT_FAILS("uploader.warc.fsync") || fdatasync(w->fd))) {
        for (int i = from; i < to; i++)
            v[i].err = v[i].err ? v[i].err : errno;
        cut(w, w->settled);
        end_file(w); /* errors of a sync are final (fsync(2), "EIO") */
        return;
    }
    w->settled = w->bytes;
}

/* An object alone may be larger than a file should be. */
static bool is_full(const struct warc *w, const struct capture *c)
{
    return w->bytes > w->begun && w->bytes + spool_bytes(c->records) > (uint64_t)size_most;
}

static int put(struct warc *w, struct store_commit *v)
{
    const struct capture *c = v->object;
    if (w->fd < 0 && open_file(w))
        return -1;
    uint64_t at = w->bytes + c->at;
    if (append(w, c->records))
        return -1;
    v->bytes = c->bytes;
    snprintf(v->place, sizeof v->place, "%s#%" PRIu64, w->name, at);
    return 0;
}

static void warc_commit(struct store_commit *v, int count)
{
    struct warc *w = ((struct capture *)v[0].object)->warc;
    int from = 0; /* the first whose file is the open one */
    for (int i = 0; i < count; i++) {
        if (w->fd >= 0 && (w->broken || is_full(w, v[i].object))) {
            settle(w, v, from, i);
            end_file(w);
            from = i;
        }
        if (put(w, &v[i]))
            v[i].err = errno ? errno : EIO;
    }
    settle(w, v, from, count);
    for (int i = 0; i < count; i++)
        warc_drop(v[i].object);
}

const struct store_ops store_warc = {
    .scheme = "warc",
    .usage = "warc:DIR",
    .about = "WARC files below DIR, a request and a response for each object",
    .options = options,
    .wants_head = true,
    .grouped = true,
    .open = warc_open,
    .close = warc_close,
    .free_bytes = warc_free_bytes,
    .begin = warc_begin,
    .write = warc_write,
    .seal = warc_seal,
    .commit = warc_commit,
    .drop = warc_drop,
};

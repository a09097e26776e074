#include "uploader/tar_member.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fault.h"

enum { BUFFER_BYTES = 256 << 10, READ_BYTES = 64 << 10 };

struct tar {
    int fd;                  /* borrowed */
    enum tar_pack pack;
    uint64_t at;
    int err;                 /* errno of what has failed; from then on nothing is written */
    struct archive *members; /* makes members of bodies; its output goes to put_tar() */
    struct archive *frame;   /* packs that; its output goes to put_file(). NULL: none is open */
    size_t fill;
    char buffer[BUFFER_BYTES];  /* what goes into the file next */
    char copy[READ_BYTES];
};

const char *tar_extension(enum tar_pack pack)
{
    static const char *const extensions[TAR_PACKS] = {".tar", ".tar.zst", ".tar.gz"};
    return extensions[pack];
}

/* The way down: members, frame, buffer, file. libarchive hears of no failure: it would not free
 * all of an archive that has failed. */

static int write_out(struct tar *t)
{
    for (size_t at = 0; at < t->fill;) {
        ssize_t n = FAULT_FAILS("uploader.shard.write") ? -1
                    : write(t->fd, t->buffer + at, t->fill - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            t->err = errno;
            return -1;
        }
        at += (size_t)n;
    }
    t->fill = 0;
    return 0;
}

static la_ssize_t put_file(struct archive *a, void *arg, const void *data, size_t len)
{
    struct tar *t = arg;
    const char *from = data;
    (void)a;
    for (size_t left = len; left && !t->err;) {
        size_t n = BUFFER_BYTES - t->fill < left ? BUFFER_BYTES - t->fill : left;
        memcpy(t->buffer + t->fill, from, n);
        t->fill += n;
        from += n;
        left -= n;
        if (t->fill == BUFFER_BYTES)
            write_out(t);
    }
    return (la_ssize_t)len;
}

static void free_frame(struct tar *t)
{
    if (t->frame)
        archive_write_free(t->frame);
    t->frame = NULL;
}

/* Writes no bytes of its own beyond what it was given: no blocks to be filled. */
static int open_writer(struct archive *a, struct tar *t, archive_write_callback *put)
{
    return archive_write_set_bytes_per_block(a, 0) || archive_write_set_bytes_in_last_block(a, 1) ||
                   archive_write_open(a, t, NULL, put, NULL)
               ? -1 : 0;
}

static int begin_frame(struct tar *t)
{
    struct archive_entry *e = archive_entry_new();
    struct archive *a = t->frame = archive_write_new();
    int bad = !a || !e || archive_write_set_format_raw(a) ||
              (t->pack == TAR_ZST ? archive_write_add_filter_zstd(a)
                                  : archive_write_add_filter_gzip(a)) ||
              open_writer(a, t, put_file);
    if (!bad) {
        archive_entry_set_filetype(e, AE_IFREG);
        bad = archive_write_header(a, e) != ARCHIVE_OK;
    }
    archive_entry_free(e);
    return bad ? -1 : 0;
}

static la_ssize_t put_tar(struct archive *a, void *arg, const void *data, size_t len)
{
    struct tar *t = arg;
    t->at += len;
    if (t->pack == TAR_PLAIN)
        return put_file(a, t, data, len);
    if (!t->err && ((!t->frame && begin_frame(t)) ||
                    archive_write_data(t->frame, data, len) != (la_ssize_t)len))
        t->err = ENOMEM; /* what else it may lack */
    return (la_ssize_t)len;
}

static int failed(const struct tar *t)
{
    errno = t->err ? t->err : ENOMEM;
    return -1;
}

struct tar *tar_open(int fd, enum tar_pack pack, uint64_t at)
{
    struct tar *t = malloc(sizeof *t);
    if (!t)
        return NULL;
    memset(t, 0, offsetof(struct tar, buffer));
    t->fd = fd;
    t->pack = pack;
    t->at = at;
    t->members = archive_write_new();
    if (t->members && !archive_write_set_format_pax_restricted(t->members) &&
        !open_writer(t->members, t, put_tar))
        return t;
    tar_close(t);
    errno = ENOMEM;
    return NULL;
}

/* An archive is finished when it is freed; nobody listens. */
void tar_close(struct tar *t)
{
    if (!t)
        return;
    t->err = t->err ? t->err : ECANCELED;
    if (t->members)
        archive_write_free(t->members);
    free_frame(t);
    free(t);
}

uint64_t tar_at(const struct tar *t)
{
    return t->at;
}

static int add_header(struct tar *t, const char *name, int64_t mtime_s, uint64_t bytes)
{
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return -1;
    archive_entry_set_pathname(e, name);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, (int64_t)bytes);
    archive_entry_set_mtime(e, (time_t)mtime_s, 0);
    int bad = archive_write_header(t->members, e) != ARCHIVE_OK;
    archive_entry_free(e);
    return bad ? -1 : 0;
}

static int add_bytes(struct tar *t, const void *data, size_t len)
{
    return archive_write_data(t->members, data, len) == (la_ssize_t)len ? 0 : -1;
}

int tar_add_spool(struct tar *t, const char *name, int64_t mtime_s, struct spool *body)
{
    ssize_t n;
    if (add_header(t, name, mtime_s, spool_bytes(body)))
        return failed(t);
    for (uint64_t at = 0; (n = spool_read(body, at, t->copy, READ_BYTES)) != 0; at += READ_BYTES) {
        if (n < 0)
            t->err = errno;
        if (n < 0 || add_bytes(t, t->copy, (size_t)n) || t->err)
            return failed(t);
    }
    return archive_write_finish_entry(t->members) || t->err ? failed(t) : 0;
}

int tar_add_text(struct tar *t, const char *name, int64_t mtime_s, const char *text, size_t len)
{
    if (add_header(t, name, mtime_s, len) || (len && add_bytes(t, text, len)) ||
        archive_write_finish_entry(t->members) || t->err)
        return failed(t);
    return 0;
}

int tar_flush(struct tar *t)
{
    if (t->err || (t->frame && archive_write_close(t->frame)))
        return failed(t);
    free_frame(t);
    return t->err || write_out(t) ? failed(t) : 0;
}

int tar_finish(struct tar *t)
{
    return archive_write_close(t->members) ? failed(t) : tar_flush(t);
}

/* Reading. */

struct source {
    int fd;
    uint64_t at, bytes;
    int err;  /* the file can't be read */
    char block[READ_BYTES];
};

static la_ssize_t get(struct archive *a, void *arg, const void **data)
{
    struct source *s = arg;
    size_t most = s->bytes - s->at < READ_BYTES ? (size_t)(s->bytes - s->at) : READ_BYTES;
    ssize_t n = most ? pread(s->fd, s->block, most, (off_t)s->at) : 0;
    if (n < 0) {
        s->err = errno;
        archive_set_error(a, s->err, "read");
    }
    *data = s->block;
    s->at += n > 0 ? (uint64_t)n : 0;
    return n;
}

static la_int64_t skip(struct archive *a, void *arg, la_int64_t request)
{
    struct source *s = arg;
    (void)a;
    uint64_t n = (uint64_t)request < s->bytes - s->at ? (uint64_t)request : s->bytes - s->at;
    s->at += n;
    return (la_int64_t)n;
}

/* One member; its text goes into *text. 1, 0 at the end, -1. */
static int scan_one(struct archive *a, char *text, struct tar_found *f)
{
    struct archive_entry *e;
    int got = archive_read_next_header(a, &e);
    if (got != ARCHIVE_OK)
        return got == ARCHIVE_EOF ? 0 : -1;
    *f = (struct tar_found){.name = archive_entry_pathname(e),
                            .at = (uint64_t)archive_read_header_position(a),
                            .bytes = (uint64_t)archive_entry_size(e)};
    size_t len = f->name ? strlen(f->name) : 0;
    if (f->bytes < TAR_TEXT_MOST && len > 5 && strcmp(f->name + len - 5, ".json") == 0) {
        la_ssize_t n = archive_read_data(a, text, (size_t)f->bytes);
        if (n != (la_ssize_t)f->bytes)
            return -1;
        text[n] = '\0';
        f->text = text;
    }
    if (archive_read_data_skip(a) != ARCHIVE_OK)
        return -1;
    f->end = (uint64_t)archive_filter_bytes(a, 0);
    return f->name ? 1 : -1;
}

/* Why `a` gave no more: what it makes of bytes that are no tar is many things. */
static int error_of(struct archive *a, const struct source *s)
{
    return s->err ? s->err : archive_errno(a) == ENOMEM ? ENOMEM : EILSEQ;
}

int tar_scan(int fd, enum tar_pack pack, uint64_t bytes,
             void (*found)(void *arg, const struct tar_found *f), void *arg)
{
    struct source *s = malloc(sizeof *s);
    char *text = malloc(TAR_TEXT_MOST);
    struct archive *a = archive_read_new();
    struct tar_found f;
    int got = -1, err = ENOMEM;
    if (s && text && a) {
        s->fd = fd;
        s->at = 0;
        s->bytes = bytes;
        s->err = 0;
        archive_read_support_format_tar(a);
        if (pack == TAR_ZST)
            archive_read_support_filter_zstd(a);
        if (pack == TAR_GZ)
            archive_read_support_filter_gzip(a);
        if (bytes == 0)
            got = 0; /* to libarchive it is of no format */
        else if (archive_read_open2(a, s, NULL, get, skip, NULL) == ARCHIVE_OK)
            while ((got = scan_one(a, text, &f)) == 1)
                found(arg, &f);
        err = error_of(a, s);
    }
    if (a)
        archive_read_free(a);
    free(text);
    free(s);
    errno = err;
    return got;
}

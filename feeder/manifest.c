#include "feeder/manifest.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/json.h"
#include "lib/say.h"

void manifest_open(struct manifest *m, int fd)
{
    struct stat st;
    *m = (struct manifest){.fd = fd, .lines = buf_make(SIZE_MAX / 2)};
    if (fstat(fd, &st))
        say_die(EXIT_UNUSABLE, "stdout, where the manifest goes: %s", strerror(errno));
    m->pipe = !S_ISREG(st.st_mode);
}

void manifest_close(struct manifest *m)
{
    buf_free(&m->lines);
}

static void text_field(struct buf *b, const char *name, const char *s, size_t len)
{
    if (!s || !len)
        return;
    buf_addf(b, ",\"%s\":", name);
    json_string(b, s, len);
}

static void field(struct buf *b, const char *name, struct msg_text t)
{
    text_field(b, name, t.s, t.len);
}

static void begin(struct manifest *m, const struct manifest_entry *e, const char *status)
{
    m->made++;
    if (m->pending++ == 0)
        m->oldest_ms = clock_ms();
    buf_addf(&m->lines, "{\"id\":%llu,\"url\":", (unsigned long long)e->id);
    json_string(&m->lines, e->url, e->url_len);
    buf_addf(&m->lines, ",\"status\":\"%s\"", status);
}

static void response(struct buf *b, const struct msg_outcome *o)
{
    if (o->response_code)
        buf_addf(b, ",\"response_code\":%u", (unsigned)o->response_code);
    field(b, "content_type", o->content_type);
    field(b, "url_effective", o->url_effective);
}

static void finish(struct manifest *m, const struct manifest_entry *e)
{
    struct buf *b = &m->lines;
    buf_addf(b, ",\"tries\":%u", e->tries);
    text_field(b, "fetcher", e->fetcher, e->fetcher ? strlen(e->fetcher) : 0);
    text_field(b, "uploader", e->uploader, e->uploader ? strlen(e->uploader) : 0);
    if (buf_adds(b, "}\n")) /* the buffer's only failure; a missing line would be a lie */
        say_die(EXIT_TEMP, "out of memory");
}

/* "sha256:ab…" becomes "sha256":"ab…". */
static void digest(struct buf *b, struct msg_text t)
{
    const char *colon = t.len ? memchr(t.s, ':', t.len) : NULL;
    if (!colon)
        return;
    buf_adds(b, ",");
    json_string(b, t.s, (size_t)(colon - t.s));
    buf_adds(b, ":");
    json_string(b, colon + 1, t.len - (size_t)(colon + 1 - t.s));
}

void manifest_delivered(struct manifest *m, const struct manifest_entry *e,
                        const struct msg_outcome *o)
{
    struct buf *b = &m->lines;
    begin(m, e, "delivered");
    field(b, "key", o->key);
    buf_addf(b, ",\"size_download\":%llu", (unsigned long long)o->bytes);
    digest(b, o->digest);
    if (o->existing)
        buf_adds(b, ",\"existing\":true");
    response(b, o);
    buf_addf(b, ",\"time_total\":%.6f", (double)o->time_us / 1e6);
    finish(m, e);
    m->ledger.delivered++;
    m->ledger.existing += o->existing;
    m->ledger.bytes += o->bytes;
}

void manifest_failed(struct manifest *m, const struct manifest_entry *e,
                     const struct msg_outcome *o)
{
    begin(m, e, "failed");
    field(&m->lines, "class", o->class);
    field(&m->lines, "errormsg", o->detail);
    response(&m->lines, o);
    finish(m, e);
    m->ledger.failed++;
}

void manifest_open_task(struct manifest *m, const struct manifest_entry *e)
{
    begin(m, e, "open");
    finish(m, e);
    m->ledger.open++;
}

/* 1 all is out, 0 not now, -1 errno; *done: bytes written. */
static int put(struct manifest *m, size_t *done)
{
    while (*done < m->lines.len) {
        struct pollfd p = {.fd = m->fd, .events = POLLOUT};
        size_t len = m->lines.len - *done;
        if (m->pipe && len > PIPE_BUF)
            len = PIPE_BUF; /* pipe(7): what poll calls writable takes this much at once */
        if (m->pipe && poll(&p, 1, 0) == 0)
            return 0;
        if (FAULT_FAILS("feeder.manifest.write"))
            return -1;
        ssize_t n = write(m->fd, m->lines.data + *done, len);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        *done += (size_t)n;
        FAULT("feeder.manifest.written");
    }
    return 1;
}

/* Takes back the part of a line that a full disk let through; the pipe's reader has it already. */
static void cut_torn(struct manifest *m, size_t *done)
{
    struct stat st;
    size_t whole = *done;
    int err = errno;
    while (whole && m->lines.data[whole - 1] != '\n')
        whole--;
    if (!m->pipe && whole < *done && fstat(m->fd, &st) == 0 &&
        ftruncate(m->fd, st.st_size - (off_t)(*done - whole)) == 0)
        *done = whole;
    errno = err;
}

int manifest_flush(struct manifest *m)
{
    size_t done = 0;
    int result = put(m, &done);
    if (result < 0)
        cut_torn(m, &done);
    if (!done)
        return result;
    for (const char *lf = m->lines.data, *end = lf + done;
         (lf = memchr(lf, '\n', (size_t)(end - lf))); lf++)
        m->pending--;
    buf_shift(&m->lines, done);
    return result;
}

bool manifest_say_ledger(const struct manifest *m)
{
    const struct ledger *l = &m->ledger;
    bool exact = l->fed == l->delivered + l->failed + l->open;
    say(SAY_WARN, "%llu fed = %llu delivered + %llu failed + %llu open (%llu bytes, %llu existing)%s",
        (unsigned long long)l->fed, (unsigned long long)l->delivered,
        (unsigned long long)l->failed, (unsigned long long)l->open, (unsigned long long)l->bytes,
        (unsigned long long)l->existing, exact ? "" : ": DOES NOT ADD UP");
    return exact;
}

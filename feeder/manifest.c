#include "feeder/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>

#include "lib/json.h"
#include "lib/say.h"

void manifest_open(struct manifest *m, int fd, int failed_fd, int joblog_fd)
{
    *m = (struct manifest){0};
    if (sink_open(&m->lines, fd) || sink_open(&m->failed, failed_fd) ||
        sink_open(&m->joblog, joblog_fd))
        say_die(EXIT_UNUSABLE, "where the manifest goes: %s", strerror(errno));
}

void manifest_close(struct manifest *m)
{
    sink_close(&m->lines);
    sink_close(&m->failed);
    sink_close(&m->joblog);
}

/* A line is written per object: printf would be half of the feeder's work. */

static void name_field(struct buf *b, const char *name)
{
    buf_adds(b, ",\"");
    buf_adds(b, name);
    buf_adds(b, "\":");
}

/* A worker's number may be any; beyond int64 most readers of JSON have none, line.c among them, and
 * would refuse the whole line. */
static void number_field(struct buf *b, const char *name, uint64_t n)
{
    name_field(b, name);
    buf_addu(b, n > INT64_MAX ? INT64_MAX : n);
}

static void seconds_field(struct buf *b, const char *name, uint64_t us)
{
    number_field(b, name, us / 1000000);
    buf_adds(b, ".");
    for (uint64_t unit = 100000; unit; unit /= 10)
        buf_addu(b, us / unit % 10);
}

static void text_field(struct buf *b, const char *name, const char *s, size_t len)
{
    if (!s || !len)
        return;
    name_field(b, name);
    json_string(b, s, len);
}

static void field(struct buf *b, const char *name, struct msg_text t)
{
    text_field(b, name, t.s, t.len);
}

static struct buf *begin(struct manifest *m, const struct manifest_entry *e, const char *status)
{
    struct buf *b = sink_begin(&m->lines);
    buf_adds(b, "{\"id\":");
    buf_addu(b, e->id);
    name_field(b, "url");
    json_string(b, e->url, e->url_len);
    text_field(b, "status", status, strlen(status));
    return b;
}

static void response(struct buf *b, const struct manifest_entry *e, const struct msg_outcome *o)
{
    if (o->response_code)
        number_field(b, "response_code", o->response_code);
    field(b, "content_type", o->content_type);
    if (o->url_effective.len)
        field(b, "url_effective", o->url_effective);
    else if (o->response_code)
        text_field(b, "url_effective", e->url, e->url_len);
}

static void finish(struct manifest *m, const struct manifest_entry *e)
{
    struct buf *b = sink_begin(&m->lines);
    number_field(b, "tries", e->tries);
    text_field(b, "fetcher", e->fetcher, e->fetcher ? strlen(e->fetcher) : 0);
    text_field(b, "uploader", e->uploader, e->uploader ? strlen(e->uploader) : 0);
    buf_adds(b, "}");
    sink_end(&m->lines);
}

/* Seq Host Starttime JobRuntime Send Receive Exitval Signal Command. */
static void log_job(struct manifest *m, const struct manifest_entry *e, const struct msg_outcome *o,
                    bool failed)
{
    struct timeval now;
    const char *host = e->fetcher ? e->fetcher : ":"; /* parallel's word for this machine */
    double took = (double)o->time_us / 1e6;
    if (m->joblog.fd < 0)
        return;
    gettimeofday(&now, NULL);
    struct buf *b = sink_begin(&m->joblog);
    buf_addf(b, "%llu\t%.*s\t%.3f\t%.3f\t0\t%llu\t%d\t0\t", (unsigned long long)e->id,
             (int)strcspn(host + 1, ":") + 1, host,
             (double)now.tv_sec + (double)now.tv_usec / 1e6 - took, took,
             (unsigned long long)o->bytes, failed);
    sink_add_plain(&m->joblog, e->url, e->url_len);
    sink_end(&m->joblog);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The name is an uploader's word, and another field's, or a NUL in it, would make the line
 * unreadable: all digests' are of lower-case letters and digits and end in a digit, no field's does. */
static bool is_digest_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_digit(s[i]) && !(s[i] >= 'a' && s[i] <= 'z'))
            return false;
    return len && is_digit(s[len - 1]);
}

/* "sha256:ab…" becomes "sha256":"ab…". */
static void digest(struct buf *b, struct msg_text t)
{
    const char *colon = t.len ? memchr(t.s, ':', t.len) : NULL;
    if (!colon || !is_digest_name(t.s, (size_t)(colon - t.s)))
        return;
    buf_adds(b, ",");
    json_string(b, t.s, (size_t)(colon - t.s));
    buf_adds(b, ":");
    json_string(b, colon + 1, t.len - (size_t)(colon + 1 - t.s));
}

void manifest_delivered(struct manifest *m, const struct manifest_entry *e,
                        const struct msg_outcome *o)
{
    struct buf *b = begin(m, e, "delivered");
    field(b, "key", o->key);
    field(b, "place", o->place);
    number_field(b, "size_download", o->bytes);
    digest(b, o->digest);
    if (o->existing)
        buf_adds(b, ",\"existing\":true");
    response(b, e, o);
    seconds_field(b, "time_total", o->time_us);
    finish(m, e);
    log_job(m, e, o, false);
    m->ledger.delivered++;
    m->ledger.existing += o->existing;
    m->ledger.bytes += o->bytes;
}

void manifest_failed(struct manifest *m, const struct manifest_entry *e,
                     const struct msg_outcome *o)
{
    struct buf *b = begin(m, e, "failed");
    field(b, "class", o->class);
    field(b, "errormsg", o->detail);
    response(b, e, o);
    finish(m, e);
    sink_add_plain(&m->failed, e->url, e->url_len);
    sink_end(&m->failed);
    log_job(m, e, o, true);
    m->ledger.failed++;
}

void manifest_open_task(struct manifest *m, const struct manifest_entry *e)
{
    begin(m, e, "open");
    finish(m, e);
    m->ledger.open++;
}

uint64_t manifest_pending(const struct manifest *m)
{
    return m->lines.pending;
}

bool manifest_is_out(const struct manifest *m)
{
    return !m->lines.pending && !m->failed.pending && !m->joblog.pending;
}

int manifest_flush(struct manifest *m)
{
    int lines = sink_flush(&m->lines), failed, joblog;
    if (lines < 0)
        return -1;
    if ((failed = sink_flush(&m->failed)) < 0 || (joblog = sink_flush(&m->joblog)) < 0)
        return -1;
    return lines && failed && joblog;
}

void manifest_cut_torn(struct manifest *m)
{
    int err = errno;
    sink_cut_torn(&m->lines);
    sink_cut_torn(&m->failed);
    sink_cut_torn(&m->joblog);
    errno = err;
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

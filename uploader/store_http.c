/* http://HOST/...{key} and https:// - a request per object, with the key in its URL.
 *
 * A body is spooled until it is whole: its length goes first, and it may have to be sent again. PUT
 * is put-if-absent (If-None-Match: *) where the server knows that, which RFC 9110 does not ask of
 * it: one that ignores it replaces what is there.
 *
 * Source: RFC 9110, 9.3.4 (PUT), 13.1.2 (If-None-Match). */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/say.h"
#include "uploader/header_file.h"
#include "uploader/percent.h"
#include "uploader/store.h"
#include "uploader/upstream.h"

enum { URL_MOST = 16 << 10, OURS = 4 };

static const char KEY[] = "{key}";

static struct {
    const char *method, *header_file;
} settings = {.method = "PUT"};

static const struct opt options[] = {
    {"method", 'X', "METHOD", OPT_TEXT, &settings.method, 0, 0, "PUT or POST (PUT)"},
    {"header-file", 0, "FILE", OPT_TEXT, &settings.header_file, 0, 0,
     "lines \"Name: value\" to send with each request; others may not read it"},
    {0},
};

struct http_store {
    struct store_settings settings;
    struct upstream *upstream;
    struct header_file secrets;
    const char *dest;           /* borrowed; with {key} in it */
    atomic_bool unconditional;  /* the server does not take If-None-Match */
};

struct body {
    struct http_store *store;
    struct spool *spool;
    const struct store_facts *facts;
};

/* Opening. */

static void check_dest(const char *dest)
{
    const char *host = strchr(dest, ':') + 1, *key = strstr(dest, KEY);
    size_t host_len = strncmp(host, "//", 2) ? 0 : strcspn(host + 2, "/?#");
    if (!host_len || memchr(host + 2, '{', host_len) || !key || strstr(key + 1, KEY))
        say_die(EXIT_USAGE, "'%s' is no DEST: http://HOST/PATH/{key}, {key} where the key goes",
                dest);
    if (memchr(host + 2, '@', host_len))
        say_die(EXIT_USAGE, "DEST has a password in it, for everybody on this machine to read: "
                            "use an Authorization line in --header-file");
    for (const char *c = dest; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
            say_die(EXIT_USAGE, "'%s' has a character that no URL has: write it as %%XX", dest);
}

static char *url_of(const struct http_store *s, const char *key)
{
    struct buf b = buf_make(URL_MOST);
    const char *at = strstr(s->dest, KEY);
    buf_add(&b, s->dest, (size_t)(at - s->dest));
    percent_encode(&b, key, strlen(key), "/");
    buf_adds(&b, at + sizeof KEY - 1);
    buf_add(&b, "", 1);
    if (!b.failed)
        return b.data;
    buf_free(&b);
    return NULL;
}

/* A certificate that does not hold, a host that is none: said at once, not of each object. */
static int probe(struct http_store *s)
{
    char *url = url_of(s, "");
    struct http_answer a = {0};
    if (!url)
        return -1;
    upstream_probe(s->upstream, url, &a);
    if (*a.why && !a.hopeless)
        say_die(EXIT_TEMP, "%s: %s", s->dest, a.why);
    if (*a.why)
        say(SAY_ERROR, "%s: %s", s->dest, a.why);
    free(url);
    errno = EIO;
    return *a.why ? -1 : 0;
}

static void http_close(void *store)
{
    struct http_store *s = store;
    upstream_close(s->upstream);
    header_file_free(&s->secrets);
    free(s);
}

static void *http_open(const char *place, const struct store_settings *given)
{
    struct http_store *s = calloc(1, sizeof *s);
    (void)place;
    check_dest(given->dest);
    if (strcmp(settings.method, "PUT") && strcmp(settings.method, "POST"))
        say_die(EXIT_USAGE, "--method: '%s' is neither PUT nor POST", settings.method);
    if (!s)
        say_die(EXIT_TEMP, "out of memory");
    s->settings = *given;
    s->dest = given->dest;
    s->unconditional = strcmp(settings.method, "PUT") != 0;
    s->upstream = upstream_open(s->dest);
    if (!s->upstream)
        say_die(EXIT_TEMP, "%s: %s", s->dest, strerror(errno));
    if ((!settings.header_file || header_file_read(settings.header_file, &s->secrets) == 0) &&
        probe(s) == 0)
        return s;
    int err = errno;
    http_close(s);
    errno = err;
    return NULL;
}

static void http_abandon(void *store)
{
    upstream_abandon(((struct http_store *)store)->upstream);
}

/* An object. */

static void http_drop(void *object)
{
    struct body *b = object;
    spool_close(b->spool);
    free(b);
}

static void *http_begin(void *store, const struct store_facts *facts)
{
    struct body *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    *b = (struct body){store, NULL, facts};
    b->spool = spool_open(b->store->settings.spools);
    if (b->spool)
        return b;
    free(b);
    return NULL;
}

static int http_write(void *object, const void *data, size_t len)
{
    return spool_write(((struct body *)object)->spool, data, len);
}

static ssize_t read_spool(void *arg, uint64_t offset, void *into, size_t room)
{
    return spool_read(arg, offset, into, room);
}

/* One request, with the operator's headers and up to OURS of ours. */
static enum upstream_verdict ask(const struct body *b, struct upstream_call *c, const char *url,
                                 const struct http_header *ours, int count)
{
    struct http_header all[HEADER_FILE_MOST + OURS];
    const struct header_file *secrets = &b->store->secrets;
    for (int i = 0; i < count; i++)
        all[i] = ours[i];
    memcpy(all + count, secrets->headers, (size_t)secrets->count * sizeof *all);
    c->request.url = url;
    c->request.headers = all;
    c->request.header_count = count + secrets->count;
    return upstream_call(b->store->upstream, c);
}

/* `what` begins the sentence. */
static void fail(const struct upstream_call *c, enum upstream_verdict verdict, const char *what,
                 struct store_commit *v)
{
    int len = snprintf(v->detail, sizeof v->detail, "%s", what);
    v->err = c->answer.err ? c->answer.err : EIO;
    v->final = verdict == UPSTREAM_FINAL;
    v->busy = verdict == UPSTREAM_BUSY;
    v->retry_after_ms = (uint64_t)c->answer.retry_after_ms;
    upstream_explain(c, v->detail + len, sizeof v->detail - (size_t)len);
}

/* What is there: its digest is taken, as of any other store's. */
struct looked {
    struct digest *digest;
    uint64_t bytes;
};

static bool look_at(void *arg, const char *data, size_t len)
{
    struct looked *l = arg;
    digest_add(l->digest, data, len);
    l->bytes += len;
    return true;
}

/* Where we may not look the size is that of our own body, and there is no digest. */
static void describe(const struct body *b, const char *url, struct store_commit *v)
{
    struct looked l = {.digest = digest_open(v->kind)};
    struct upstream_call c = {.request = {.method = v->kind == DIGEST_NONE ? "HEAD" : "GET",
                                          .sink = look_at, .sink_arg = &l}};
    v->existing = true;
    v->bytes = spool_bytes(b->spool);
    v->digest[0] = '\0';
    if (l.digest && ask(b, &c, url, NULL, 0) == UPSTREAM_DONE && c.tries == 1) {
        v->bytes = v->kind != DIGEST_NONE ? l.bytes
                   : c.answer.length >= 0 ? (uint64_t)c.answer.length : v->bytes;
        digest_text(l.digest, v->digest);
    }
    http_answer_free(&c.answer);
    digest_close(l.digest);
}

enum there { NOT_THERE, THERE, UNKNOWN };

/* Whether the key is there. Only an answer that says so says that it is not: whoever took another
 * for that would replace what is there. UNKNOWN: v says why. */
static enum there look(const struct body *b, const char *url, struct store_commit *v)
{
    struct upstream_call c = {.request.method = "HEAD"};
    enum upstream_verdict verdict = ask(b, &c, url, NULL, 0);
    bool absent = c.answer.status == 404 || c.answer.status == 410;
    enum there there = verdict == UPSTREAM_DONE ? THERE : absent ? NOT_THERE : UNKNOWN;
    if (there == UNKNOWN)
        fail(&c, verdict, "whether the key is there is not known: ", v);
    http_answer_free(&c.answer);
    return there;
}

static enum upstream_verdict judge(void *arg, struct upstream_call *c)
{
    (void)arg;
    return c->answer.status == 412 ? UPSTREAM_DONE : upstream_judge(&c->answer);
}

static enum upstream_verdict send(const struct body *b, struct upstream_call *c, const char *url,
                                  bool conditional)
{
    struct http_header ours[OURS];
    int count = 0;
    char type[HTTP_FIELD];
    if (http_printable(b->facts->content_type, type))
        ours[count++] = (struct http_header){"Content-Type", type};
    if (conditional)
        ours[count++] = (struct http_header){"If-None-Match", "*"};
    http_answer_free(&c->answer);
    return ask(b, c, url, ours, count);
}

/* A server that has no such condition is told of none any more. */
static enum upstream_verdict send_without(const struct body *b, struct upstream_call *c,
                                          const char *url)
{
    enum upstream_verdict verdict = send(b, c, url, false);
    if (verdict == UPSTREAM_DONE && !atomic_exchange(&b->store->unconditional, true))
        say(SAY_WARN, "%s: no put-if-absent there (If-None-Match): from now on each key is looked "
                      "for before it is put", b->store->dest);
    return verdict;
}

static void put(const struct body *b, const char *url, struct store_commit *v)
{
    struct http_body body = {spool_bytes(b->spool), read_spool, b->spool};
    struct upstream_call c = {.request = {.method = settings.method, .body = &body},
                              .judge = judge};
    bool absent = !b->store->settings.overwrite && strcmp(settings.method, "PUT") == 0;
    bool conditional = absent && !atomic_load(&b->store->unconditional);
    enum there there = absent && !conditional ? look(b, url, v) : NOT_THERE;
    enum upstream_verdict verdict = there == NOT_THERE ? send(b, &c, url, conditional)
                                                       : UPSTREAM_DONE;
    if (conditional && (c.answer.status == 400 || c.answer.status == 501)) {
        there = look(b, url, v);
        verdict = there == NOT_THERE ? send_without(b, &c, url) : UPSTREAM_DONE;
    }
    if (verdict != UPSTREAM_DONE)
        fail(&c, verdict, "", v);
    else if (there == THERE || c.answer.status == 412)
        describe(b, url, v);
    else if (there == NOT_THERE)
        v->bytes = body.bytes;
    http_answer_free(&c.answer);
}

static void http_commit(struct store_commit *v, int count)
{
    for (int i = 0; i < count; i++) {
        struct body *b = v[i].object;
        char *url = url_of(b->store, b->facts->key);
        if (url)
            put(b, url, &v[i]);
        else
            v[i].err = ENAMETOOLONG;
        free(url);
        http_drop(b);
    }
}

const struct store_ops store_http = {
    .scheme = "http",
    .usage = "http://HOST/PATH/{key}",
    .about = "a PUT (or POST) per object; https:// too",
    .options = options,
    .single = true,
    .threads = 16,
    .open = http_open,
    .close = http_close,
    .abandon = http_abandon,
    .begin = http_begin,
    .write = http_write,
    .commit = http_commit,
    .drop = http_drop,
};

const struct store_ops store_https = {
    .scheme = "https",
    .single = true,
    .threads = 16,
    .open = http_open,
    .close = http_close,
    .abandon = http_abandon,
    .begin = http_begin,
    .write = http_write,
    .commit = http_commit,
    .drop = http_drop,
};

/* s3://BUCKET/PREFIX - an object per URL in a bucket of S3, or of what speaks its protocol.
 *
 * A body of up to --part-size goes up in one PUT when it is whole; a larger one in parts as they
 * fill, and is there when the last call has succeeded. Either is put-if-absent (If-None-Match: *);
 * where the service knows no such condition each key is looked for before, and two attempts at the
 * same moment may both be put.
 *
 * Each object has x-amz-meta-source-url and, where it is known before the first byte goes up (so
 * not of one in parts), x-amz-meta-sha256.
 *
 * Memory: the spools' (spool.h), whatever --part-size is; per object in parts a list of them
 *         (s3_multipart.h). Disk: objects that are arriving × --part-size. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/say.h"
#include "uploader/percent.h"
#include "uploader/s3.h"
#include "uploader/s3_leftovers.h"
#include "uploader/s3_multipart.h"
#include "uploader/store.h"

enum {
    META_MOST = 1800,  /* of a URL: all metadata of an object may have 2 KB */
    META_HEADERS = 4,
    SHA256_HEX = 64,
};

struct s3_store {
    struct store_settings settings;
    struct s3 *s3;
    atomic_bool unconditional;  /* the service knows no If-None-Match */
};

struct upload {
    struct s3_store *store;
    const struct store_facts *facts;
    struct spool *part;          /* what is not sent yet */
    struct s3_multipart *parts;  /* NULL: nothing is sent yet */
    bool existing;               /* the key was found: the body is of no use */
    uint64_t bytes;
    struct store_commit why;     /* what went wrong with a write */
    char attempt[STORE_ATTEMPT]; /* tells our own multipart upload from others' of the same key */
    char key[];                  /* prefix and key */
};

/* Opening. */

static void s3_store_close(void *store)
{
    struct s3_store *s = store;
    s3_close(s->s3);
    free(s);
}

static void *s3_store_open(const char *place, const struct store_settings *given)
{
    struct s3_store *s = calloc(1, sizeof *s);
    if (!s)
        say_die(EXIT_TEMP, "out of memory");
    s->settings = *given;
    s->s3 = s3_open(place, given->dest);
    if (s->s3 && s3_check(s->s3) == 0) {
        s3_leftovers_abort(s->s3);
        return s;
    }
    int err = errno;
    s3_store_close(s);
    errno = err;
    return NULL;
}

static void s3_store_abandon(void *store)
{
    s3_abandon(((struct s3_store *)store)->s3);
}

/* What goes with an object. */
struct meta {
    struct http_header headers[META_HEADERS];
    int count;
    char type[HTTP_FIELD];
    struct buf url;  /* owned */
};

static void add(struct meta *m, const char *name, const char *value)
{
    m->headers[m->count++] = (struct http_header){name, value};
}

/* The hex of "sha256:hex", or NULL. */
static const char *sha256_of(const char *digest)
{
    bool is = strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == 7 + SHA256_HEX;
    return is ? digest + 7 : NULL;
}

static void make_meta(struct meta *m, const struct upload *u)
{
    const char *url = u->facts->url;
    *m = (struct meta){.url = buf_make(META_MOST)};
    if (http_printable(u->facts->content_type, m->type))
        add(m, "content-type", m->type);
    percent_encode(&m->url, url, strlen(url), percent_url);
    buf_add(&m->url, "", 1);
    if (!m->url.failed)
        add(m, "x-amz-meta-source-url", m->url.data);
}

/* What is there. */

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

/* An object without its digest in the metadata is read. Where we may not, there is none. */
static void digest_there(const struct upload *u, struct store_commit *v)
{
    struct looked l = {.digest = digest_open(v->kind)};
    struct s3_call c = {.method = "GET", .key = u->key, .sink = look_at, .sink_arg = &l};
    if (l.digest && s3_request(u->store->s3, &c) == UPSTREAM_DONE && c.http.tries == 1) {
        v->bytes = l.bytes;
        digest_text(l.digest, v->digest);
    }
    s3_call_free(&c);
    digest_close(l.digest);
}

enum there { NOT_THERE, THERE, OURS, UNKNOWN };

static bool no_more(void *arg, const char *data, size_t len)
{
    (void)arg, (void)data, (void)len;
    return false;
}

/* Asks for the key's headers. A refusal of HEAD does not say what is refused (an expired token is a
 * bare 400): GET's does, and trouble that is not the object's is waited out. */
static void ask(const struct upload *u, struct s3_call *c)
{
    *c = (struct s3_call){.method = "HEAD", .key = u->key, .field_count = 2, .sink = no_more,
                          .fields = {{.name = "x-amz-meta-sha256"},
                                     {.name = "x-amz-meta-sluice-attempt"}}};
    if (s3_request(u->store->s3, c) != UPSTREAM_FINAL || c->http.answer.status == 404)
        return;
    c->method = "GET";
    s3_request(u->store->s3, c);
}

/* An answer that the key is not there. Who may not list gets 403 for it: it is our word that
 * stands, then. Whoever took another failure for that would replace what is there. */
static bool says_absent(const struct s3_call *c)
{
    long status = c->http.answer.status;
    return c->verdict == UPSTREAM_FINAL && (status == 404 || status == 410 || status == 403);
}

static void explain_unknown(const struct s3_call *c, struct store_commit *v)
{
    char why[STORE_DETAIL];
    s3_explain(c, v);
    memcpy(why, v->detail, sizeof why);
    snprintf(v->detail, sizeof v->detail, "whether the key is there is not known: %.200s", why);
}

/* Whether the key is there, and what; from us it can't be before we have sent a part. UNKNOWN: v
 * says why. */
static enum there look(const struct upload *u, struct store_commit *v)
{
    struct s3_call c;
    ask(u, &c);
    enum there there = says_absent(&c) ? NOT_THERE : UNKNOWN;
    if (c.verdict == UPSTREAM_DONE) {
        bool ours = u->parts && strcmp(c.fields[1].value, u->attempt) == 0;
        there = ours ? OURS : THERE;
        v->bytes = c.http.answer.length >= 0 ? (uint64_t)c.http.answer.length : u->bytes;
        if (v->kind == DIGEST_SHA256 && strlen(c.fields[0].value) == SHA256_HEX)
            snprintf(v->digest, sizeof v->digest, "sha256:%.64s", c.fields[0].value);
    }
    if (there == UNKNOWN)
        explain_unknown(&c, v);
    s3_call_free(&c);
    return there;
}

/* The key is taken, by whatever is there, or, where an answer was lost, by our own upload. Without
 * the right to look it is our word that stands. */
static void describe(const struct upload *u, struct store_commit *v)
{
    struct store_commit seen = {.kind = v->kind, .bytes = u->bytes};
    v->existing = look(u, &seen) != OURS;
    v->bytes = seen.bytes;
    memcpy(v->digest, seen.digest, sizeof v->digest);
    if (v->existing && !v->digest[0] && v->kind != DIGEST_NONE)
        digest_there(u, v);
}

static void no_condition(struct s3_store *s)
{
    if (!atomic_exchange(&s->unconditional, true))
        say(SAY_WARN, "%s: no put-if-absent there (If-None-Match): from now on each key is looked "
                      "for before it is put", s->settings.dest);
}

static bool conditional(const struct upload *u)
{
    return !u->store->settings.overwrite && !atomic_load(&u->store->unconditional);
}

/* An object. */

static void s3_drop(void *object)
{
    struct upload *u = object;
    s3_multipart_close(u->parts);
    spool_close(u->part);
    free(u);
}

static void *s3_begin(void *store, const struct store_facts *facts)
{
    struct s3_store *s = store;
    const char *prefix = s3_prefix(s->s3);
    size_t len = strlen(prefix) + strlen(facts->key) + 1;
    struct upload *u = calloc(1, sizeof *u + len);
    if (!u)
        return NULL;
    u->store = s;
    u->facts = facts;
    snprintf(u->key, len, "%s%s", prefix, facts->key);
    store_attempt(facts, u->attempt);
    u->part = spool_open(s->settings.spools);
    if (u->part)
        return u;
    free(u);
    return NULL;
}

/* A large body is looked for before its first part: it may be there, and completion may know no
 * condition. */
static int begin_parts(struct upload *u)
{
    struct meta m;
    enum there there = u->store->settings.overwrite ? NOT_THERE : look(u, &u->why);
    u->existing = there == THERE;
    if (there != NOT_THERE)
        return there == UNKNOWN ? -1 : 0;
    make_meta(&m, u);
    add(&m, "x-amz-meta-sluice-attempt", u->attempt);
    u->parts = s3_multipart_begin(u->store->s3, u->key, m.headers, m.count, &u->why);
    buf_free(&m.url);
    return u->parts ? 0 : -1;
}

/* Sends what is in `part`, and begins a new one. */
static int send_part(struct upload *u)
{
    if (!u->parts && !u->existing && begin_parts(u))
        return -1;
    if (!u->existing && s3_multipart_add(u->parts, u->part, &u->why))
        return -1;
    spool_close(u->part);
    u->part = spool_open(u->store->settings.spools);
    if (!u->part)
        u->why.err = errno;
    return u->part ? 0 : -1;
}

static int s3_write(void *object, const void *data, size_t len)
{
    struct upload *u = object;
    const char *at = data;
    uint64_t most = (uint64_t)s3_settings.part_bytes;
    u->bytes += len;
    while (len && !u->existing) {
        if (spool_bytes(u->part) == most && send_part(u)) {
            errno = u->why.err;
            return -1;
        }
        uint64_t room = most - spool_bytes(u->part);
        size_t take = len < room ? len : (size_t)room;
        if (!u->existing && spool_write(u->part, at, take)) {
            u->why.err = errno;
            return -1;
        }
        at += take;
        len -= take;
    }
    return 0;
}

static void s3_explain_write(void *object, struct store_commit *v)
{
    const struct upload *u = object;
    v->final = u->why.final;
    v->busy = u->why.busy;
    v->retry_after_ms = u->why.retry_after_ms;
    memcpy(v->detail, u->why.detail, sizeof v->detail);
}

/* Commit. */

static ssize_t read_spool(void *arg, uint64_t offset, void *into, size_t room)
{
    return spool_read(arg, offset, into, room);
}

static enum upstream_verdict put(const struct upload *u, struct s3_call *c, bool if_absent)
{
    struct meta m;
    make_meta(&m, u);
    const char *sha256 = sha256_of(u->facts->digest);
    if (sha256)
        add(&m, "x-amz-meta-sha256", sha256);
    c->method = "PUT";
    c->key = u->key;
    c->sha256 = sha256;
    c->body = (struct http_body){u->bytes, read_spool, u->part};
    memcpy(c->headers, m.headers, sizeof m.headers);
    c->header_count = m.count;
    if (if_absent)
        c->headers[c->header_count++] = (struct http_header){"if-none-match", "*"};
    enum upstream_verdict verdict = s3_request(u->store->s3, c);
    buf_free(&m.url);
    return verdict;
}

static void commit_whole(struct upload *u, struct store_commit *v)
{
    struct s3_call c = {0};
    bool if_absent = conditional(u);
    bool look_first = !if_absent && !u->store->settings.overwrite;
    enum there there = look_first ? look(u, v) : NOT_THERE;
    enum upstream_verdict verdict = there == NOT_THERE ? put(u, &c, if_absent) : UPSTREAM_DONE;
    if (if_absent && verdict != UPSTREAM_DONE && s3_refuses_condition(&c)) {
        there = look(u, v);
        verdict = there == NOT_THERE ? put(u, &c, false) : UPSTREAM_DONE;
        if (verdict == UPSTREAM_DONE && there != UNKNOWN)
            no_condition(u->store);
    }
    if (there == THERE || c.http.answer.status == 412)
        describe(u, v);
    else if (verdict != UPSTREAM_DONE)
        s3_explain(&c, v);
    else if (there == NOT_THERE)
        v->bytes = u->bytes;
    s3_call_free(&c);
}

/* A completion whose answer was lost is asked for again, and finds no such upload: then what is
 * there is ours. */
static void commit_parts(struct upload *u, struct store_commit *v)
{
    if (spool_bytes(u->part) && send_part(u)) {
        int err = u->why.err;
        s3_explain_write(u, v);
        v->err = err;
        return;
    }
    enum s3_completed done = s3_multipart_complete(u->parts, conditional(u), v);
    if (done == S3_NO_CONDITION) {
        no_condition(u->store);
        done = s3_multipart_complete(u->parts, false, v);
    }
    struct store_commit seen = {.kind = v->kind};
    if (done == S3_GONE && look(u, &seen) == OURS) {
        *v = (struct store_commit){.object = v->object, .facts = v->facts, .kind = v->kind};
        done = S3_COMPLETED;
    }
    v->bytes = u->bytes;
    if (done == S3_EXISTS)
        describe(u, v);
}

static void s3_commit(struct store_commit *v, int count)
{
    for (int i = 0; i < count; i++) {
        struct upload *u = v[i].object;
        if (u->existing)
            describe(u, &v[i]);
        else if (u->parts)
            commit_parts(u, &v[i]);
        else
            commit_whole(u, &v[i]);
        s3_drop(u);
    }
}

const struct store_ops store_s3 = {
    .scheme = "s3",
    .usage = "s3://BUCKET/PREFIX",
    .about = "an object each in a bucket of S3",
    .options = s3_options,
    .single = true,
    .threads = 16,
    .open = s3_store_open,
    .close = s3_store_close,
    .abandon = s3_store_abandon,
    .begin = s3_begin,
    .write = s3_write,
    .explain = s3_explain_write,
    .commit = s3_commit,
    .drop = s3_drop,
};

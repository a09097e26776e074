#include "uploader/s3.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/say.h"
#include "uploader/aws_config.h"
#include "uploader/s3_address.h"
#include "uploader/s3_words.h"
#include "uploader/s3_xml.h"
#include "uploader/sigv4.h"

enum {
    URL_MOST = 16 << 10,
    READ_BYTES = 64 << 10,
    KEYS_AGAIN_MS = 5000,   /* credentials are read anew no more often */
    SAY_AGAIN_MS = 60000,
    CHECK_MS = 5000,        /* patience with a service that we begin with */
};

static const char EMPTY_SHA256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct s3_settings s3_settings = {.part_bytes = 16 << 20, .idle_ms = 86400000};

const struct opt s3_options[] = {
    {"endpoint-url", 0, "URL", OPT_TEXT, &s3_settings.endpoint, 0, 0,
     "the service, if it is not AWS (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL)"},
    {"region", 0, "NAME", OPT_TEXT, &s3_settings.region, 0, 0,
     "the bucket's region (AWS_REGION, the profile's; with --endpoint-url us-east-1)"},
    {"addressing", 0, "STYLE", OPT_TEXT, &s3_settings.addressing, 0, 0,
     "path or virtual (path with --endpoint-url, else virtual)"},
    {"part-size", 0, "BYTES", OPT_BYTES, &s3_settings.part_bytes, 64 << 10, (int64_t)5 << 30,
     "bodies beyond it go up in parts of it, 10,000 at most; AWS wants 5M at least (16M)"},
    {"abort-idle", 0, "S", OPT_SECONDS, &s3_settings.idle_ms, 0, INT64_MAX,
     "abort uploads below the prefix in which nothing moved for so long; 0: none (86400)"},
    {0},
};

struct s3 {
    const char *dest;
    struct s3_address address;
    struct upstream *upstream;
    char region[64];
    atomic_bool opened;
    pthread_mutex_t lock;
    struct aws_config keys;  /* under lock */
    int64_t keys_ms;         /* under lock; clock: when they were read */
    int64_t said_ms;         /* under lock; clock: when trouble was last said */
};

/* What a request is signed with; lives from its first try to s3_call_free. */
struct s3_signing {
    struct s3 *s3;
    struct aws_config keys;
    struct buf path, url, authorization;
    char hash[SIGV4_HASH], stamp[SIGV4_STAMP];
    struct http_header headers[HTTP_HEADERS_MOST];
    struct http_field fields[S3_FIELDS_MOST + 1];  /* the first is the bucket's region */
};

/* Opening. */

static int complain(const char *dest, const char *why, int err)
{
    say(SAY_ERROR, "%s: %s", dest, why);
    errno = err;
    return -1;
}

static int set_up(struct s3 *s, const char *place)
{
    char why[512];
    const char *style = s3_settings.addressing;
    if (style && strcmp(style, "path") && strcmp(style, "virtual"))
        say_die(EXIT_USAGE, "--addressing: '%s' is neither path nor virtual", style);
    if (aws_config_read(&s->keys, why))
        return complain(s->dest, why, EACCES);
    const char *endpoint = s3_settings.endpoint ? s3_settings.endpoint
                           : s->keys.endpoint[0] ? s->keys.endpoint : NULL;
    const char *region = s3_settings.region ? s3_settings.region
                         : s->keys.region[0] ? s->keys.region : endpoint ? "us-east-1" : "";
    if (!*region || strlen(region) >= sizeof s->region || strpbrk(region, "/ .:"))
        say_die(EXIT_USAGE, "%s: %s region: --region, AWS_REGION, or region in ~/.aws/config",
                s->dest, *region ? "that is no" : "no");
    strcpy(s->region, region);
    if (s3_address_read(&s->address, place, endpoint, region, style, why))
        say_die(EXIT_USAGE, "%s: %s", s->dest, why);
    s->upstream = upstream_open(s->dest);
    return s->upstream ? 0 : complain(s->dest, strerror(errno), errno);
}

struct s3 *s3_open(const char *place, const char *dest)
{
    struct s3 *s = calloc(1, sizeof *s);
    if (!s)
        say_die(EXIT_TEMP, "out of memory");
    s->dest = dest;
    s->keys_ms = clock_ms();
    s->said_ms = -SAY_AGAIN_MS;
    pthread_mutex_init(&s->lock, NULL);
    if (set_up(s, place) == 0)
        return s;
    int err = errno;
    s3_close(s);
    errno = err;
    return NULL;
}

void s3_close(struct s3 *s)
{
    if (!s)
        return;
    upstream_close(s->upstream);
    s3_address_free(&s->address);
    pthread_mutex_destroy(&s->lock);
    explicit_bzero(&s->keys, sizeof s->keys);
    free(s);
}

void s3_abandon(struct s3 *s)
{
    upstream_abandon(s->upstream);
}

const char *s3_prefix(const struct s3 *s)
{
    return s->address.prefix;
}

const char *s3_dest(const struct s3 *s)
{
    return s->dest;
}

/* Signing. */

/* The hash goes with the body wherever we have it or the line is not encrypted: the service then
 * refuses what is not what was fetched. */
static int hash_body(const struct s3_call *c, char hash[SIGV4_HASH])
{
    char text[DIGEST_TEXT];
    if (!c->body.read || !c->body.bytes)
        return strcpy(hash, EMPTY_SHA256), 0;
    if (c->sha256)
        return snprintf(hash, SIGV4_HASH, "%s", c->sha256), 0;
    if (c->signing->s3->address.tls)
        return strcpy(hash, "UNSIGNED-PAYLOAD"), 0;
    struct digest *d = digest_open(DIGEST_SHA256);
    char *copy = malloc(READ_BYTES);
    ssize_t n = d && copy ? 1 : -1;
    for (uint64_t at = 0; n > 0 && at < c->body.bytes; at += (uint64_t)n) {
        n = c->body.read(c->body.arg, at, copy, READ_BYTES);
        if (n > 0)
            digest_add(d, copy, (size_t)n);
    }
    int bad = n <= 0 || digest_text(d, text) ? -1 : 0;
    if (!bad)
        snprintf(hash, SIGV4_HASH, "%s", strchr(text, ':') + 1);
    int err = n == 0 ? EIO : errno;
    digest_close(d);
    free(copy);
    errno = err;
    return bad;
}

static void copy_keys(struct s3 *s, struct aws_config *keys)
{
    pthread_mutex_lock(&s->lock);
    *keys = s->keys;
    pthread_mutex_unlock(&s->lock);
}

/* All headers, the signed ones first: how many are signed. */
static int gather_headers(const struct s3_call *c)
{
    struct s3_signing *g = c->signing;
    struct http_header *h = g->headers;
    int count = 0;
    h[count++] = (struct http_header){"host", g->s3->address.host};
    h[count++] = (struct http_header){"x-amz-content-sha256", g->hash};
    h[count++] = (struct http_header){"x-amz-date", g->stamp};
    if (g->keys.token[0])
        h[count++] = (struct http_header){"x-amz-security-token", g->keys.token};
    memcpy(h + count, c->headers, (size_t)c->header_count * sizeof *h);
    return count + c->header_count;
}

/* Before each try: a signature holds for some minutes, and the credentials may be new. */
static int sign(void *arg, struct upstream_call *u)
{
    struct s3_call *c = arg;
    struct s3_signing *g = c->signing;
    struct sigv4_header signed_headers[SIGV4_HEADERS_MOST];
    copy_keys(g->s3, &g->keys);
    sigv4_stamp(time(NULL), g->stamp);
    int count = gather_headers(c);
    for (int i = 0; i < count; i++)
        signed_headers[i] = (struct sigv4_header){g->headers[i].name, g->headers[i].value};
    const struct sigv4_key key = {g->keys.access, g->keys.secret, g->s3->region, "s3"};
    const struct sigv4_request r = {c->method, g->path.data, c->query ? c->query : "",
                                    signed_headers, count, g->hash};
    g->authorization.len = 0;
    if (sigv4_sign(&key, &r, g->stamp, &g->authorization) || buf_add(&g->authorization, "", 1))
        return -1;
    g->headers[count++] = (struct http_header){"authorization", g->authorization.data};
    u->request.headers = g->headers;
    u->request.header_count = count;
    return 0;
}

/* Judging. */

/* Trouble that is not the object's: waited out, with credentials read anew. */
static void note_trouble(struct s3 *s, const struct s3_call *c, const struct s3_word *w)
{
    struct aws_config *fresh = malloc(sizeof *fresh);
    char why[512];
    int64_t now = clock_ms();
    pthread_mutex_lock(&s->lock);
    bool read = fresh && now - s->keys_ms >= KEYS_AGAIN_MS;
    if (read)
        s->keys_ms = now;
    if (read && aws_config_read(fresh, why) == 0)
        s->keys = *fresh;
    bool tell = now - s->said_ms >= SAY_AGAIN_MS;
    if (tell)
        s->said_ms = now;
    pthread_mutex_unlock(&s->lock);
    if (fresh)
        explicit_bzero(fresh, sizeof *fresh);
    free(fresh);
    if (tell)
        say(SAY_WARN, "%s: %s: %s: waiting until that is put right", s->dest, c->code,
            w->words ? w->words : c->message);
}

static void read_error(struct s3_call *c)
{
    char text[S3_XML_TEXT];
    const struct buf *xml = &c->http.answer.text;
    s3_xml_first(xml->data, xml->len, "Code", text);
    snprintf(c->code, sizeof c->code, "%.*s", S3_CODE - 1, text);
    s3_xml_first(xml->data, xml->len, "Message", text);
    snprintf(c->message, sizeof c->message, "%.*s", S3_MESSAGE - 1, text);
}

/* The completion of a multipart upload can fail after its 200 (CompleteMultipartUpload). */
static enum upstream_verdict judge(void *arg, struct upstream_call *u)
{
    struct s3_call *c = arg;
    struct s3 *s = c->signing->s3;
    enum upstream_verdict verdict = upstream_judge(&u->answer);
    c->code[0] = c->message[0] = '\0';
    if (verdict != UPSTREAM_DONE || u->answer.text.len)
        read_error(c);
    const struct s3_word *w = s3_word(c->code);
    if (verdict == UPSTREAM_DONE)
        return !c->code[0] ? UPSTREAM_DONE : w ? w->verdict : UPSTREAM_AGAIN;
    if (!w)
        return verdict;
    if (w->ours && !atomic_load(&s->opened))
        return UPSTREAM_FINAL;
    if (w->ours)
        note_trouble(s, c, w);
    return w->verdict;
}

/* Requests. */

static int prepare(struct s3 *s, struct s3_call *c)
{
    struct s3_signing *g = calloc(1, sizeof *g);
    if (!g)
        return -1;
    c->signing = g;
    g->s3 = s;
    g->path = g->url = g->authorization = buf_make(URL_MOST);
    s3_address_path(&s->address, c->key, &g->path);
    buf_add(&g->path, "", 1);
    if (g->path.failed)
        return -1;
    buf_addf(&g->url, "%s://%s%s%s%s", s->address.tls ? "https" : "http", s->address.host,
             g->path.data, c->query ? "?" : "", c->query ? c->query : "");
    buf_add(&g->url, "", 1);
    g->fields[0].name = "x-amz-bucket-region";
    for (int i = 0; i < c->field_count; i++)
        g->fields[i + 1].name = c->fields[i].name;
    return g->url.failed || hash_body(c, g->hash) ? -1 : 0;
}

enum upstream_verdict s3_request(struct s3 *s, struct s3_call *c)
{
    s3_call_free(c);
    if (prepare(s, c)) {
        c->http.answer.err = errno ? errno : ENOMEM;
        return c->verdict = UPSTREAM_AGAIN;
    }
    struct s3_signing *g = c->signing;
    c->http = (struct upstream_call){
        .request = {.method = c->method, .url = g->url.data,
                    .body = c->body.read ? &c->body : NULL, .sink = c->sink,
                    .sink_arg = c->sink_arg, .parting = c->parting},
        .answer = {.fields = g->fields, .field_count = c->field_count + 1},
        .patience_ms = c->patience_ms, .prepare = sign, .judge = judge, .arg = c};
    c->verdict = upstream_call(s->upstream, &c->http);
    for (int i = 0; i < c->field_count; i++)
        strcpy(c->fields[i].value, g->fields[i + 1].value);
    return c->verdict;
}

void s3_call_free(struct s3_call *c)
{
    struct s3_signing *g = c->signing;
    http_answer_free(&c->http.answer);
    c->signing = NULL;
    c->code[0] = c->message[0] = '\0';
    if (!g)
        return;
    explicit_bzero(&g->keys, sizeof g->keys);
    buf_free(&g->path);
    buf_free(&g->url);
    buf_free(&g->authorization);
    free(g);
}

void s3_explain(const struct s3_call *c, struct store_commit *v)
{
    const struct http_answer *a = &c->http.answer;
    const struct s3_word *w = s3_word(c->code);
    const char *region = c->signing ? c->signing->fields[0].value : "";
    v->err = a->err ? a->err : EIO;
    v->busy = c->verdict == UPSTREAM_BUSY;
    v->final = c->verdict == UPSTREAM_FINAL && !(w && w->refetch);
    v->retry_after_ms = (uint64_t)a->retry_after_ms;
    if (a->err)
        snprintf(v->detail, sizeof v->detail, "%s", strerror(a->err));
    else if (!c->code[0])
        upstream_explain(&c->http, v->detail, sizeof v->detail);
    else
        snprintf(v->detail, sizeof v->detail, "%s: %.120s%s%.30s", c->code,
                 w && w->words ? w->words : c->message,
                 *region && w && w->ours ? "; the bucket's region is " : "",
                 w && w->ours ? region : "");
}

/* Who may only write is told "AccessDenied": the bucket is there, and we are known. */
int s3_check(struct s3 *s)
{
    struct store_commit v = {0};
    struct s3_call c = {.method = "GET", .query = "list-type=2&max-keys=1",
                        .patience_ms = CHECK_MS};
    enum upstream_verdict verdict = s3_request(s, &c);
    bool known = verdict == UPSTREAM_DONE || verdict == UPSTREAM_BUSY ||
                 strcmp(c.code, "AccessDenied") == 0;
    s3_explain(&c, &v);
    s3_call_free(&c);
    atomic_store(&s->opened, true);
    if (!known && !v.final)
        say_die(EXIT_TEMP, "%s: %s", s->dest, v.detail);
    return known ? 0 : complain(s->dest, v.detail, EACCES);
}

bool s3_refuses_condition(const struct s3_call *c)
{
    long status = c->http.answer.status;
    return status == 501 ||
           (status == 400 && c->verdict == UPSTREAM_FINAL &&
            (!c->code[0] || strncmp(c->code, "Invalid", 7) == 0 ||
             strcmp(c->code, "NotImplemented") == 0));
}

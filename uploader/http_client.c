#include "uploader/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/version.h"

enum { LINE_MOST = 8 << 10, PARTING_MS = 5000 };

/* A handle with its connections; used by one thread at a time. */
struct line {
    CURL *easy;
    struct line *next;
};

struct http_client {
    struct http_limits limits;
    pthread_mutex_t lock;
    struct line *idle;  /* under lock; the last used first, so that few are kept warm */
    atomic_bool abandoned;
};

/* One request under way. */
struct exchange {
    struct http_client *client;
    const struct http_request *request;
    struct http_answer *answer;
    CURL *easy;
    uint64_t sent;      /* where the next read of the body begins */
    bool enough;        /* the sink has said so, or the text is cut */
    char error[CURL_ERROR_SIZE];
};

struct http_client *http_client_open(const struct http_limits *limits)
{
    struct http_client *c = calloc(1, sizeof *c);
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        free(c);
        errno = ENOMEM;
        return NULL;
    }
    c->limits = *limits;
    pthread_mutex_init(&c->lock, NULL);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    return c;
}

void http_client_close(struct http_client *c)
{
    if (!c)
        return;
    while (c->idle) {
        struct line *l = c->idle;
        c->idle = l->next;
        curl_easy_cleanup(l->easy);
        free(l);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
    curl_global_cleanup();
}

static struct line *take_line(struct http_client *c)
{
    pthread_mutex_lock(&c->lock);
    struct line *l = c->idle;
    if (l)
        c->idle = l->next;
    pthread_mutex_unlock(&c->lock);
    if (l)
        return l;
    l = calloc(1, sizeof *l);
    if (l && !(l->easy = curl_easy_init())) {
        free(l);
        l = NULL;
    }
    return l;
}

static void give_line(struct http_client *c, struct line *l)
{
    pthread_mutex_lock(&c->lock);
    l->next = c->idle;
    c->idle = l;
    pthread_mutex_unlock(&c->lock);
}

/* Callbacks. */

static size_t on_read(char *into, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    const struct http_body *body = x->request->body;
    size_t room = size * count;
    if (room > body->bytes - x->sent)
        room = (size_t)(body->bytes - x->sent);
    if (!room)
        return 0;
    ssize_t n = body->read(body->arg, x->sent, into, room);
    if (n <= 0) {
        x->answer->err = n < 0 && errno ? errno : EIO;
        return CURL_READFUNC_ABORT;
    }
    x->sent += (uint64_t)n;
    return (size_t)n;
}

/* libcurl begins anew where a kept connection turns out to be dead. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct exchange *x = arg;
    if (origin != SEEK_SET || offset < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    x->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t on_text(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *x = arg;
    struct buf *text = &x->answer->text;
    size_t len = size * count, room = text->max_bytes - text->len;
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->request->sink && status >= 200 && status <= 299) {
        x->enough = !x->request->sink(x->request->sink_arg, data, len);
        return x->enough ? 0 : len;
    }
    x->enough = len > room;
    if (buf_add(text, data, x->enough ? room : len))
        x->answer->err = errno;
    return x->enough || x->answer->err ? 0 : len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct exchange *x = arg;
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load(&x->client->abandoned) && !x->request->parting;
}

/* Setting up. One that is not taken may be the one that keeps us from proxies or wrong hosts. */
#define SET(option, value) bad |= curl_easy_setopt(x->easy, option, value) != CURLE_OK

static int set_up(struct exchange *x, const char *url)
{
    const struct http_limits *limits = &x->client->limits;
    int bad = 0;
    curl_easy_reset(x->easy); /* connections stay */
    SET(CURLOPT_URL, url);
    SET(CURLOPT_ERRORBUFFER, x->error);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, ""); /* never from the environment */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else a hanging look-up is joined */
    SET(CURLOPT_CAPATH, NULL);   /* else the CA store is parsed per connection */
    if (limits->cacert)
        SET(CURLOPT_CAINFO, limits->cacert);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* 7.88 can loop in HTTP/2 uploads */
    SET(CURLOPT_PATH_AS_IS, 1L); /* what is sent is what was signed */
    SET(CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)limits->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)limits->total_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, limits->stall_ms ? 1L : 0L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)((limits->stall_ms + 999) / 1000));
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_text);
    SET(CURLOPT_WRITEDATA, x);
    return bad ? -1 : 0;
}

static int set_up_request(struct exchange *x, struct curl_slist *headers)
{
    const struct http_request *r = x->request;
    int bad = set_up(x, r->url);
    if (strcmp(r->method, "HEAD") == 0)
        SET(CURLOPT_NOBODY, 1L);
    if (r->body) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body->bytes);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, x);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, x);
    }
    if (r->parting)
        SET(CURLOPT_TIMEOUT_MS, (long)PARTING_MS);
    SET(CURLOPT_CUSTOMREQUEST, r->method);
    SET(CURLOPT_HTTPHEADER, headers);
    return bad ? -1 : 0;
}

/* NULL: no memory, or a header that is none. */
static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char line[LINE_MOST];
    int len = snprintf(line, sizeof line, *value ? "%s: %s" : "%s;", name, value);
    bool fits = len < (int)sizeof line && !strpbrk(line, "\r\n");
    struct curl_slist *longer = fits ? curl_slist_append(list, line) : NULL;
    if (!longer)
        curl_slist_free_all(list);
    return longer;
}

static struct curl_slist *make_headers(const struct http_request *r)
{
    /* Else 7.88 waits for a second before each body where the server ignores it. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    assert(r->header_count <= HTTP_HEADERS_MOST);
    for (int i = 0; list && i < r->header_count; i++)
        list = add_header(list, r->headers[i].name, r->headers[i].value);
    return list;
}

/* The answer. */

static void read_fields(struct exchange *x)
{
    for (int i = 0; i < x->answer->field_count; i++) {
        struct http_field *f = &x->answer->fields[i];
        struct curl_header *h;
        if (curl_easy_header(x->easy, f->name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
            snprintf(f->value, sizeof f->value, "%s", h->value);
    }
}

static void read_answer(struct exchange *x)
{
    struct http_answer *a = x->answer;
    curl_off_t after_s = 0, length = -1;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &a->status);
    curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after_s);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    a->length = length;
    a->retry_after_ms = after_s > INT32_MAX ? INT32_MAX : (int64_t)after_s * 1000;
    read_fields(x);
}

/* A text that we cut is an answer all the same; and so is a refusal that came before the body was
 * read, though the connection broke on the rest. */
static bool is_answer(const struct exchange *x, CURLcode rc)
{
    long status = 0;
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (x->answer->err)
        return false;
    if (rc == CURLE_WRITE_ERROR)
        return x->enough;
    return rc == CURLE_OK || (rc == CURLE_SEND_ERROR && status >= 400);
}

static void no_answer(struct exchange *x, CURLcode rc)
{
    struct http_answer *a = x->answer;
    a->status = 0;
    a->hopeless = rc == CURLE_PEER_FAILED_VERIFICATION || rc == CURLE_URL_MALFORMAT ||
                  rc == CURLE_SSL_CACERT_BADFILE || rc == CURLE_UNSUPPORTED_PROTOCOL;
    if (a->err)
        snprintf(a->why, sizeof a->why, "%s", strerror(a->err));
    else if (atomic_load(&x->client->abandoned))
        snprintf(a->why, sizeof a->why, "abandoned: the uploader was asked to end at once");
    else
        snprintf(a->why, sizeof a->why, "%s", x->error[0] ? x->error : curl_easy_strerror(rc));
}

static void clear(struct http_answer *a)
{
    struct http_field *fields = a->fields;
    int count = a->field_count;
    buf_free(&a->text);
    *a = (struct http_answer){.fields = fields, .field_count = count, .length = -1,
                              .text = buf_make(HTTP_TEXT_MOST)};
    for (int i = 0; i < count; i++)
        fields[i].value[0] = '\0';
}

void http_client_request(struct http_client *c, const struct http_request *r,
                         struct http_answer *a)
{
    struct line *l = take_line(c);
    struct curl_slist *headers = make_headers(r);
    struct exchange x = {.client = c, .request = r, .answer = a, .easy = l ? l->easy : NULL};
    clear(a);
    if (!l || !headers || set_up_request(&x, headers)) {
        a->err = ENOMEM;
        snprintf(a->why, sizeof a->why, "libcurl does not take the request");
    } else {
        CURLcode rc = curl_easy_perform(l->easy);
        if (is_answer(&x, rc))
            read_answer(&x);
        else
            no_answer(&x, rc);
    }
    curl_slist_free_all(headers);
    if (l)
        give_line(c, l);
}

void http_client_probe(struct http_client *c, const char *url, struct http_answer *a)
{
    struct line *l = take_line(c);
    struct http_request none = {.method = "GET", .url = url};
    struct exchange x = {.client = c, .request = &none, .answer = a, .easy = l ? l->easy : NULL};
    clear(a);
    if (!l || set_up(&x, url) || curl_easy_setopt(l->easy, CURLOPT_CONNECT_ONLY, 1L)) {
        a->err = ENOMEM;
        snprintf(a->why, sizeof a->why, "libcurl does not take the request");
    } else {
        CURLcode rc = curl_easy_perform(l->easy);
        if (rc != CURLE_OK)
            no_answer(&x, rc);
    }
    if (!l)
        return;
    curl_easy_cleanup(l->easy); /* such a connection serves no request */
    free(l);
}

void http_client_abandon(struct http_client *c)
{
    atomic_store(&c->abandoned, true);
}

bool http_printable(const char *from, char to[HTTP_FIELD])
{
    size_t len = 0;
    for (; *from && len < HTTP_FIELD - 1; from++)
        if (*from >= ' ' && *from < 0x7f && (len || *from != ' '))
            to[len++] = *from;
    to[len] = '\0';
    return len > 0;
}

void http_answer_free(struct http_answer *a)
{
    buf_free(&a->text);
}

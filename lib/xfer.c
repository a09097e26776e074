#include "lib/xfer.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/clock.h"
#include "lib/curl_heap.h"
#include "lib/header_block.h"
#include "lib/say.h"

enum {
    LOOK_MS = 250,              /* how often the limits on time are looked at */
    PATIENT_MS = 1000,          /* an origin that cuts after such a pause of ours cut for that */
    HEADER_BYTES_MOST = 262144, /* of one response */
    BUFFER_BYTES = 102400,       /* a head and 64 KiB in one call */
};

struct xfer {
    struct xfers *pool;
    CURL *easy;
    void *arg;
    struct xfer *prev, *next;
    int64_t active_ms;          /* time not paused */
    int64_t paused_ms;          /* the rest */
    int64_t slow_ms;            /* so long below the speed limit */
    int64_t look_bytes;         /* body bytes since the last look */
    int64_t header_bytes;
    bool paused;
    bool refused, permitted;    /* what the guard said of an address since the last response */
    bool begun;                 /* the body */
    bool keeps;                 /* header blocks */
    struct header_block head, request;
    char error[CURL_ERROR_SIZE];
};

struct xfers {
    struct loop *loop;          /* borrowed */
    CURLM *multi;
    struct xfer_settings settings;
    struct xfer_calls calls;
    struct curl_slist *headers;
    bool want_heads;
    bool *connections;          /* by fd; owned */
    int connections_size;
    struct xfer *active, *spare;
    int64_t due_ms;             /* clock; libcurl's timer, -1: none */
    int64_t looked_ms;
};

/* libcurl asks for descriptors and a timer; the loop has them. */

static void collect(struct xfers *p);

/* Going on would be wrong: an event is gone that a transfer waits for, or the bytes are that were
 * kept for a paused one, and its body would have a hole. */
static void check(const char *why)
{
    if (why)
        say_die(EXIT_TEMP, "libcurl: %s", why);
}

static void act(struct xfers *p, curl_socket_t fd, int what)
{
    int running;
    CURLMcode rc = curl_multi_socket_action(p->multi, fd, what, &running);
    check(rc ? curl_multi_strerror(rc) : NULL);
}

/* What has ended is collected at once, while its last bytes are in the cache. */
static void on_fd(void *arg, int fd, int ready)
{
    struct xfers *p = arg;
    act(p, fd, (ready & LOOP_READ ? CURL_CSELECT_IN : 0) |
                   (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
    collect(p);
}

/* Those we opened ourselves, and so will hear the end of: not the resolver's. */
static bool is_connection(const struct xfers *p, int fd)
{
    return fd < p->connections_size && p->connections[fd];
}

static void note_connection(struct xfers *p, int fd, bool open)
{
    if (fd >= p->connections_size) {
        int size = fd + 256;
        bool *grown = realloc(p->connections, (size_t)size);
        if (!grown)
            return; /* then it is watched the slower way */
        memset(grown + p->connections_size, 0, (size_t)(size - p->connections_size));
        p->connections = grown;
        p->connections_size = size;
    }
    p->connections[fd] = open;
}

static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct xfers *p = arg;
    (void)easy, (void)unused;
    if (what == CURL_POLL_REMOVE && is_connection(p, fd))
        loop_rest(p->loop, fd); /* the next request on it comes soon; close_socket() tells its end */
    else if (what == CURL_POLL_REMOVE)
        loop_unwatch(p->loop, fd);
    else if (loop_watch(p->loop, fd, (what & CURL_POLL_IN ? LOOP_READ : 0) |
                                         (what & CURL_POLL_OUT ? LOOP_WRITE : 0), on_fd, p))
        say_die(EXIT_TEMP, "epoll: %s", strerror(errno)); /* nobody would wake the transfer */
    return 0;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct xfers *p = arg;
    (void)multi;
    p->due_ms = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
    return 0;
}

/* A transfer's callbacks. */

/* After a request the kernel expects to answer soon and holds acknowledgements back, up to 40 ms;
 * where a response is just larger than the window, its last bytes wait for that. Only where more is
 * to come: an acknowledgement of its own costs a small body 5 %. */
static void ack_at_once(struct xfer *x, size_t len)
{
    int yes = 1;
    curl_off_t whole = -1;
    curl_socket_t fd;
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &whole);
    if (whole != (curl_off_t)len &&
        curl_easy_getinfo(x->easy, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK)
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

static bool has_long_url(struct xfer *x)
{
    char *url = NULL;
    curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url && strnlen(url, XFER_URL_MOST + 1) > XFER_URL_MOST;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct xfer *x = arg;
    size_t len = size * count;
    if (!x->begun) {
        if (has_long_url(x))
            return 0;
        ack_at_once(x, len);
    }
    x->begun = true;
    enum xfer_verdict v = x->pool->calls.body(x->arg, data, len);
    if (v == XFER_PAUSE) {
        x->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    x->look_bytes += (int64_t)len;
    return v == XFER_TOOK ? len : 0;
}

static int on_debug(CURL *easy, curl_infotype type, char *data, size_t len, void *arg)
{
    struct xfer *x = arg;
    (void)easy;
    if (type == CURLINFO_HEADER_OUT)
        header_block_sent(&x->request, data, len);
    return 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct xfer *x = arg;
    x->refused = x->permitted = false; /* what follows is another's connection */
    if (x->keeps)
        header_block_received(&x->head, data, size * count);
    x->header_bytes += (int64_t)(size * count);
    x->look_bytes += (int64_t)(size * count);
    return x->header_bytes > HEADER_BYTES_MOST ? 0 : size * count;
}

/* The address actually connected to is judged, on redirects and after any DNS trick too. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct xfer *x = arg;
    (void)purpose;
    if (!x->pool->settings.allow(x->pool->settings.arg, &to->addr)) {
        x->refused = true;
        return CURL_SOCKET_BAD;
    }
    x->permitted = true;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd >= 0)
        note_connection(x->pool, fd, true);
    return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct xfers *p = arg;
    note_connection(p, fd, false);
    loop_unwatch(p->loop, fd);
    return close(fd);
}

/* One that is not taken may be the one that keeps us from proxies or other protocols. */
#define SET(option, value) bad |= curl_easy_setopt(x->easy, option, value) != CURLE_OK

static int set_up(struct xfer *x)
{
    const struct xfers *p = x->pool;
    const struct xfer_settings *s = &p->settings;
    int bad = 0;
    SET(CURLOPT_PRIVATE, x);
    SET(CURLOPT_ERRORBUFFER, x->error);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, "");       /* never from the environment */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);  /* else a hanging look-up is joined */
    SET(CURLOPT_CAPATH, NULL);    /* else the CA store is parsed per connection */
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L); /* else it is scanned per transfer */
    /* 7.88 stalls and truncates paused HTTP/2 streams (curl #11982 and others). */
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    SET(CURLOPT_FOLLOWLOCATION, s->max_redirects > 0 ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, (long)s->max_redirects);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_ms);
    SET(CURLOPT_USERAGENT, s->agent);
    SET(CURLOPT_HTTPHEADER, p->headers);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_DEBUGFUNCTION, on_debug);
    SET(CURLOPT_DEBUGDATA, x);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, x);
    SET(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    SET(CURLOPT_CLOSESOCKETDATA, p);
    return bad ? -1 : 0;
}

/* The pool. */

static int add_header(struct xfers *p, const char *line)
{
    struct curl_slist *longer = curl_slist_append(p->headers, line);
    if (!longer)
        return -1;
    p->headers = longer;
    return 0;
}

static int add_headers(struct xfers *p)
{
    const struct opt_list *list = p->settings.headers;
    for (int i = 0; i < list->count; i++)
        if (add_header(p, list->items[i]))
            return -1;
    return p->settings.compressed ? add_header(p, "Accept-Encoding: gzip, deflate") : 0;
}

struct xfers *xfers_open(struct loop *loop, const struct xfer_settings *s,
                         const struct xfer_calls *calls)
{
    struct xfers *p = calloc(1, sizeof *p);
    if (!p || curl_heap_open(BUFFER_BYTES, (size_t)s->parallel + 8) ||
        !(p->multi = curl_multi_init())) {
        free(p);
        errno = ENOMEM; /* libcurl does not say */
        return NULL;
    }
    p->loop = loop;
    p->settings = *s;
    p->calls = *calls;
    p->due_ms = -1;
    p->looked_ms = clock_ms();
    if (add_headers(p)) {
        xfers_close(p);
        errno = ENOMEM;
        return NULL;
    }
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, watch);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)s->parallel + 16);
    return p;
}

static void retire(struct xfer *x)
{
    curl_multi_remove_handle(x->pool->multi, x->easy);
    header_block_free(&x->head);
    header_block_free(&x->request);
    DL_DELETE(x->pool->active, x);
    LL_PREPEND(x->pool->spare, x);
}

void xfers_close(struct xfers *p)
{
    struct xfer *x, *tmp;
    if (!p)
        return;
    DL_FOREACH_SAFE(p->active, x, tmp)
        retire(x);
    LL_FOREACH_SAFE(p->spare, x, tmp) {
        curl_easy_cleanup(x->easy);
        free(x);
    }
    curl_multi_cleanup(p->multi);
    curl_slist_free_all(p->headers);
    free(p->connections);
    free(p);
    curl_heap_close();
}

static struct xfer *make(struct xfers *p)
{
    struct xfer *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->pool = p;
    x->easy = curl_easy_init();
    if (x->easy && set_up(x) == 0)
        return x;
    curl_easy_cleanup(x->easy);
    free(x);
    return NULL;
}

void xfers_want_heads(struct xfers *p, bool want)
{
    p->want_heads = want;
}

struct xfer *xfer_start(struct xfers *p, const char *url, void *arg)
{
    struct xfer *x = p->spare;
    if (x) {
        LL_DELETE(p->spare, x);
        *x = (struct xfer){.pool = p, .easy = x->easy};
    } else {
        x = make(p);
        if (!x)
            return NULL;
    }
    x->arg = arg;
    x->keeps = p->want_heads;
    DL_APPEND(p->active, x);
    if (curl_easy_setopt(x->easy, CURLOPT_URL, url) ||
        curl_easy_setopt(x->easy, CURLOPT_VERBOSE, x->keeps ? 1L : 0L) || /* for on_debug() */
        curl_multi_add_handle(p->multi, x->easy)) {
        retire(x);
        return NULL;
    }
    return x;
}

static void get_blocks(struct xfer *x, struct xfer_head *head)
{
    char *ip = NULL;
    head->head = header_block_text(&x->head, &head->head_len);
    head->request = header_block_text(&x->request, &head->request_len);
    if (curl_easy_getinfo(x->easy, CURLINFO_PRIMARY_IP, &ip) == CURLE_OK && ip && *ip)
        head->ip = ip;
}

void xfer_head(struct xfer *x, struct xfer_head *head)
{
    struct curl_header *encoding;
    char *type = NULL;
    curl_off_t length = -1;
    *head = (struct xfer_head){0};
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &head->code);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    head->content_type = type && strnlen(type, XFER_TYPE_MOST + 1) <= XFER_TYPE_MOST ? type : NULL;
    head->length = length;
    if (x->pool->settings.compressed &&
        curl_easy_header(x->easy, "Content-Encoding", 0, CURLH_HEADER, -1, &encoding) == CURLHE_OK)
        head->content_encoding = encoding->value;
    if (x->keeps)
        get_blocks(x, head);
}

void xfer_resume(struct xfer *x)
{
    x->paused = false;
    CURLcode rc = curl_easy_pause(x->easy, CURLPAUSE_CONT);
    check(rc == CURLE_OUT_OF_MEMORY ? curl_easy_strerror(rc) : NULL); /* others are body()'s verdict */
}

void xfer_cancel(struct xfer *x)
{
    retire(x);
}

/* Ends. */

static const struct {
    CURLcode code;
    const char *class;
    bool retry;
} classes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, "dns", true},
    {CURLE_COULDNT_CONNECT, "connect", true},
    {CURLE_OPERATION_TIMEDOUT, "timeout", true},
    {CURLE_SSL_CONNECT_ERROR, "tls", true},
    {CURLE_PEER_FAILED_VERIFICATION, "tls", false},
    {CURLE_TOO_MANY_REDIRECTS, "redirect", false},
    {CURLE_UNSUPPORTED_PROTOCOL, "redirect", false}, /* the list has none of these */
    {CURLE_URL_MALFORMAT, "input", false},
    {CURLE_PARTIAL_FILE, "cut", true},
    {CURLE_GOT_NOTHING, "cut", true},
    {CURLE_RECV_ERROR, "cut", true},
    {CURLE_SEND_ERROR, "cut", true},
    {CURLE_WEIRD_SERVER_REPLY, "cut", true},
    {CURLE_WRITE_ERROR, "refused", false},
};

bool xfer_may_pass(long code)
{
    return code == 408 || code == 429 || code == 500 || code == 502 || code == 503 || code == 504;
}

static void end(struct xfer *x, CURLcode rc)
{
    char *url = NULL, status[64];
    curl_off_t time_us = 0, after_s = 0;
    struct xfer_end e = {.detail = x->error[0] ? x->error : curl_easy_strerror(rc)};
    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &e.code);
    curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(x->easy, CURLINFO_TOTAL_TIME_T, &time_us);
    curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after_s);
    e.url_effective = url;
    e.time_us = time_us;
    e.retry_after_ms = after_s > INT32_MAX ? INT32_MAX : (int64_t)after_s * 1000;
    if (rc) {
        e.class = "transfer";
        e.retry = true;
        for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
            if (classes[i].code == rc) {
                e.class = classes[i].class;
                e.retry = classes[i].retry;
            }
    } else if (e.code < 200 || e.code > 299) {
        snprintf(status, sizeof status, "HTTP status %ld", e.code);
        e.class = "http";
        e.detail = status;
        e.retry = xfer_may_pass(e.code);
    }
    if (rc && strcmp(e.class, "cut") == 0 && x->paused_ms >= PATIENT_MS) {
        e.class = "paused";
        e.detail = "the origin ended it after back-pressure had paused it";
    }
    if (rc == CURLE_URL_MALFORMAT && e.code) { /* a Location; libcurl says so for want of memory, too */
        e.class = "redirect";
        e.retry = true;
    }
    if (has_long_url(x)) {
        e.class = "redirect";
        e.detail = "redirected to a URL of more than 32 KiB";
        e.retry = false;
        e.url_effective = NULL;
    } else if (rc && x->refused && !x->permitted) {
        e.class = "refused";
        e.detail = "the address is not allowed (--allow-net)";
        e.retry = false;
    } else if (rc && x->header_bytes > HEADER_BYTES_MOST) {
        e.class = "too-large";
        e.detail = "more than 256 KiB of response headers";
    }
    x->pool->calls.end(x->arg, &e);
    retire(x);
}

static void collect(struct xfers *p)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(p->multi, &left));) {
        struct xfer *x;
        CURLcode rc = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x);
        end(x, rc);
    }
}

/* libcurl's own total limit fires on paused transfers too, so both limits are kept here. */
static void look_at_limits(struct xfers *p)
{
    struct xfer *x, *tmp;
    const struct xfer_settings *s = &p->settings;
    int64_t now = clock_ms(), dt = now - p->looked_ms;
    if (dt < LOOK_MS)
        return;
    p->looked_ms = now;
    if (dt > 4 * LOOK_MS) /* suspended, or busy: nobody's stall */
        dt = 4 * LOOK_MS;
    DL_FOREACH_SAFE(p->active, x, tmp) {
        bool slow = x->look_bytes * 1000 < s->stall_bytes * dt;
        x->look_bytes = 0;
        x->slow_ms = slow && !x->paused ? x->slow_ms + dt : 0;
        *(x->paused ? &x->paused_ms : &x->active_ms) += dt;
        bool stalled = s->stall_ms && x->slow_ms >= s->stall_ms;
        if (!stalled && !(s->total_ms && x->active_ms >= s->total_ms))
            continue;
        snprintf(x->error, sizeof x->error, stalled ? "stalled (--speed-limit, --speed-time)"
                                                    : "took too long (--max-time)");
        end(x, CURLE_OPERATION_TIMEDOUT);
    }
}

void xfers_turn(struct xfers *p)
{
    if (p->due_ms >= 0 && clock_ms() >= p->due_ms) {
        p->due_ms = -1;
        act(p, CURL_SOCKET_TIMEOUT, 0);
    }
    collect(p);
    look_at_limits(p);
}

int64_t xfers_sleep_ms(const struct xfers *p)
{
    int64_t now = clock_ms(), sleep_ms = p->active ? p->looked_ms + LOOK_MS - now : INT32_MAX;
    if (p->due_ms >= 0 && p->due_ms - now < sleep_ms)
        sleep_ms = p->due_ms - now;
    return sleep_ms < 0 ? 0 : sleep_ms;
}

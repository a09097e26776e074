#include "uploader/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/id.h"
#include "uploader/throttle.h"

enum { WAIT_LEAST_MS = 200, WAIT_MOST_MS = 15000 };

static struct {
    int64_t retry_ms;
    struct http_limits limits;
} settings = {.retry_ms = 120000,
              .limits = {.connect_ms = 30000, .total_ms = 3600000, .stall_ms = 120000}};

const struct opt upstream_options[] = {
    {"cacert", 0, "FILE", OPT_TEXT, &settings.limits.cacert, 0, 0,
     "certificates to trust instead of the system's (PEM)"},
    {"upload-connect-timeout", 0, "S", OPT_SECONDS, &settings.limits.connect_ms, 1, 3600000,
     "limit on connecting (30)"},
    {"upload-max-time", 0, "S", OPT_SECONDS, &settings.limits.total_ms, 0, INT32_MAX,
     "limit on one request; 0: none (3600)"},
    {"upload-speed-time", 0, "S", OPT_SECONDS, &settings.limits.stall_ms, 0, INT32_MAX,
     "a request in which nothing moves for so long has failed (120)"},
    {"upload-retry-time", 0, "S", OPT_SECONDS, &settings.retry_ms, 0, INT32_MAX,
     "an upload that may pass is tried again for so long (120)"},
    {0},
};

struct upstream {
    struct http_client *client;
    struct throttle *throttle;
};

struct upstream *upstream_open(const char *who)
{
    struct upstream *u = calloc(1, sizeof *u);
    if (u && (u->client = http_client_open(&settings.limits)) &&
        (u->throttle = throttle_open(who)))
        return u;
    int err = errno;
    upstream_close(u);
    errno = err;
    return NULL;
}

void upstream_close(struct upstream *u)
{
    if (!u)
        return;
    http_client_close(u->client);
    throttle_close(u->throttle);
    free(u);
}

void upstream_abandon(struct upstream *u)
{
    http_client_abandon(u->client);
    throttle_abandon(u->throttle);
}

enum upstream_verdict upstream_judge(const struct http_answer *a)
{
    if (a->status >= 200 && a->status <= 299)
        return UPSTREAM_DONE;
    if (a->status == 429 || a->status == 503)
        return UPSTREAM_BUSY;
    if (a->status == 408 || (a->status >= 500 && a->status != 501))
        return UPSTREAM_AGAIN;
    return UPSTREAM_FINAL;
}

static enum upstream_verdict judge(struct upstream_call *c)
{
    const struct http_answer *a = &c->answer;
    if (!a->status)
        return a->hopeless ? UPSTREAM_FINAL : UPSTREAM_AGAIN;
    return c->judge ? c->judge(c->arg, c) : upstream_judge(a);
}

/* Half of it is left to chance. */
static int64_t wait_ms(int tries, int64_t after_ms)
{
    uint64_t bits;
    int64_t ms = WAIT_LEAST_MS;
    for (int i = 1; i < tries && ms < WAIT_MOST_MS; i++)
        ms *= 2;
    if (ms > WAIT_MOST_MS)
        ms = WAIT_MOST_MS;
    id_random(&bits, sizeof bits);
    ms = ms / 2 + (int64_t)(bits % (uint64_t)(ms / 2 + 1));
    return after_ms > WAIT_MOST_MS ? WAIT_MOST_MS : after_ms > ms ? after_ms : ms;
}

/* One try. Our own body or memory failing is no word of the service's: not tried again here. */
static enum upstream_verdict try(struct upstream *u, struct upstream_call *c)
{
    c->tries++;
    int64_t began_ms = clock_ms();
    if (c->prepare && c->prepare(c->arg, c)) {
        c->answer.status = 0;
        c->answer.err = errno;
        snprintf(c->answer.why, sizeof c->answer.why, "%s", strerror(errno));
        return UPSTREAM_AGAIN;
    }
    http_client_request(u->client, &c->request, &c->answer);
    enum upstream_verdict v = judge(c);
    if (v == UPSTREAM_BUSY && !c->request.parting)
        throttle_slow(u->throttle, began_ms, c->answer.retry_after_ms);
    else if (c->answer.status && v != UPSTREAM_AGAIN)
        throttle_ok(u->throttle);
    return v;
}

enum upstream_verdict upstream_call(struct upstream *u, struct upstream_call *c)
{
    int64_t until_ms = clock_ms() + (c->patience_ms ? c->patience_ms : settings.retry_ms);
    bool once = c->request.parting;
    for (c->tries = 0;;) {
        if (!once && throttle_wait(u->throttle))
            return UPSTREAM_AGAIN;
        enum upstream_verdict v = try(u, c);
        bool enough = once || c->answer.err || clock_ms() >= until_ms;
        if (v == UPSTREAM_DONE || v == UPSTREAM_FINAL || enough)
            return v;
        if (v == UPSTREAM_AGAIN &&
            throttle_sleep(u->throttle, wait_ms(c->tries, c->answer.retry_after_ms)))
            return v;
    }
}

/* What a reader would see of a text or a small page. */
static void first_words(const struct buf *text, char *out, size_t size)
{
    size_t len = 0;
    bool tag = false, gap = false;
    for (size_t i = 0; i < text->len && len + 2 < size; i++) {
        unsigned char c = (unsigned char)text->data[i];
        gap |= c <= ' ' || c == '>';
        tag = c == '<' || (tag && c != '>');
        if (tag || c <= ' ' || c >= 0x7f || c == '>')
            continue;
        if (gap && len)
            out[len++] = ' ';
        out[len++] = (char)c;
        gap = false;
    }
    out[len] = '\0';
}

void upstream_explain(const struct upstream_call *c, char *out, size_t size)
{
    char words[121], often[32] = "";
    if (c->tries > 1)
        snprintf(often, sizeof often, " (tried %d times)", c->tries);
    first_words(&c->answer.text, words, sizeof words);
    if (c->answer.status)
        snprintf(out, size, "HTTP status %ld%s%s%s", c->answer.status, *words ? ": " : "", words,
                 often);
    else
        snprintf(out, size, "%.180s%s", *c->answer.why ? c->answer.why : "not sent", often);
}

void upstream_probe(struct upstream *u, const char *url, struct http_answer *a)
{
    http_client_probe(u->client, url, a);
}

#include "fetcher/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"
#include "lib/table.h"

enum {
    COMPANY_MS = 1,             /* a whole body waits no longer to be digested beside another */
    ERROR_BODY_MOST = 65536,    /* of an error's body read, to keep the connection */
};

struct transfer {
    struct body body;           /* first, so that a body is its transfer; open while it runs */
    struct transfers *all;
    uint64_t d, task;
    int64_t since_ms;           /* clock; when it was read */
    bool running;               /* else queued */
    struct transfer *prev, *next;
    UT_hash_handle hh;

    /* running */
    struct xfer *xfer;          /* NULL once it has ended */
    struct outlet *outlet;      /* borrowed; NULL before the first chunk */
    char *rest;                 /* bytes that came and are not decoded yet */
    size_t rest_len, rest_at;
    int64_t discarded;          /* bytes of an error's body */
    bool begun, ended, paused, discard;
    unsigned *waits;            /* the count of those that wait for room where it does; NULL: not */
    const char *fail_class, *fail_detail;  /* static; why we ended it ourselves */
    bool fail_retry;

    uint64_t response_code, time_us;
    char *content_type, *url_effective;    /* owned; the latter NULL if it is `url` */
    char *head, *request, *ip;             /* owned; NULL: not wanted */
    size_t head_len, request_len;
    size_t url_len, key_len;
    char url[];                 /* a NUL, then the key and a NUL */
};

static const char *key_of(const struct transfer *t)
{
    return t->url + t->url_len + 1;
}

static char *copy_text(const char *s)
{
    char *copy = strdup(s);
    if (!copy)
        say_die(EXIT_TEMP, "out of memory");
    return copy;
}

/* It waits for room at its outlet, or for any outlet's, or no more. */
static void set_blocked(struct transfer *t, bool blocked)
{
    if (t->waits)
        --*t->waits;
    t->all->blocked_count -= t->waits != NULL;
    t->waits = !blocked ? NULL : t->outlet ? &t->outlet->waiting : &t->all->homeless;
    if (t->waits)
        ++*t->waits;
    t->all->blocked_count += blocked;
}

static void free_transfer(struct transfer *t)
{
    struct transfers *ts = t->all;
    if (t->xfer)
        xfer_cancel(t->xfer);
    set_blocked(t, false);
    if (t->outlet)
        t->outlet->open--;
    if (t->running) {
        DL_DELETE(ts->running, t);
        ts->running_count--;
        ts->freed++;
    } else {
        DL_DELETE(ts->queued, t);
        ts->queued_count--;
    }
    HASH_DEL(ts->by_d, t);
    body_close(&t->body);
    free(t->rest);
    free(t->content_type);
    free(t->url_effective);
    free(t->head);
    free(t->request);
    free(t->ip);
    free(t);
}

static void report_failed(struct transfer *t, const char *class, const char *detail, bool retry,
                          int64_t retry_after_ms)
{
    struct msg_outcome o = {.d = t->d, .task = t->task, .class = msg_text(class),
                            .detail = msg_text(detail), .retry = retry,
                            .retry_after_ms = (uint64_t)retry_after_ms,
                            .response_code = t->response_code, .time_us = t->time_us,
                            .url_effective = msg_text(t->url_effective)};
    worker_outcome(t->all->worker, false, &o);
    FAULT("fetcher.failed.kept");
}

void transfers_task(struct transfers *ts, const struct msg_task *m)
{
    struct transfer *t;
    HASH_FIND(hh, ts->by_d, &m->d, sizeof m->d, t);
    if (t)
        return;
    t = calloc(1, sizeof *t + m->url.len + m->key.len + 2);
    if (!t)
        say_die(EXIT_TEMP, "out of memory");
    t->all = ts;
    t->d = m->d;
    t->task = m->task;
    t->since_ms = clock_ms();
    t->url_len = m->url.len;
    t->key_len = m->key.len;
    memcpy(t->url, m->url.s, m->url.len);
    memcpy(t->url + m->url.len + 1, m->key.s, m->key.len);
    HASH_ADD(hh, ts->by_d, d, sizeof t->d, t);
    DL_APPEND(ts->queued, t);
    ts->queued_count++;
    FAULT("fetcher.task.taken");
}

/* Chunks. */

/* Hands the chunk in the block to an uploader: 1 done, 0 no room. */
static int ship(struct transfer *t, bool last)
{
    struct transfers *ts = t->all;
    if (!ts->serving && (t->outlet ? t->outlet->waiting : ts->homeless))
        return 0; /* somebody older waits */
    struct outlet *o = t->outlet ? t->outlet : outlets_pick(ts->outlets, ts->serving);
    if (!o || o->full)
        return 0;
    struct body *b = &t->body;
    body_make_chunk(b);
    struct msg_chunk c = {.d = t->d, .task = t->task, .offset = b->offset, .len = b->fill,
                          .first = b->offset == 0, .last = last};
    if (c.first) {
        c.url = (struct msg_text){t->url, (uint32_t)t->url_len};
        c.key = (struct msg_text){key_of(t), (uint32_t)t->key_len};
        c.content_type = msg_text(t->content_type);
        if (o->heads) {
            c.head = (struct msg_text){t->head, (uint32_t)t->head_len};
            c.request = (struct msg_text){t->request, (uint32_t)t->request_len};
            c.ip = msg_text(t->ip);
            c.decoded = b->inflate != NULL;
        }
    }
    if (last) {
        c.digest = msg_text(body_digest(b));
        c.total = b->offset + b->fill;
        c.response_code = t->response_code;
        c.time_us = t->time_us;
        c.url_effective = msg_text(t->url_effective);
    }
    uint64_t n = outlet_send(ts->outlets, o, &c, &b->block);
    if (!n)
        return 0;
    FAULT_IF(c.first && !last, "fetcher.chunk.first.sent");
    FAULT_IF(!c.first && !last, "fetcher.chunk.middle.sent");
    FAULT_IF(!c.first && last, "fetcher.chunk.last.sent");
    if (!t->outlet) {
        bool blocked = t->waits;
        set_blocked(t, false);
        t->outlet = o;
        o->open++;
        set_blocked(t, blocked);
    }
    body_sent_chunk(b);
    if (last)
        sent_add(&o->sent, (struct sent_item){t->d, t->task, n, t->since_ms});
    return 1;
}

static int fail(struct transfer *t, const char *class, const char *detail, bool retry)
{
    t->fail_class = class;
    t->fail_detail = detail;
    t->fail_retry = retry;
    return -1;
}

static void finish_or_wait(struct transfer *t);

/* Goes on with one that had ended, and waited for no more than another's bytes. */
static void end_met(struct transfers *ts)
{
    struct transfer *t = (struct transfer *)ts->bodies.met;
    ts->bodies.met = NULL;
    if (t && t->ended && !t->waits)
        finish_or_wait(t);
}

/* Takes bytes of the body until they are used up (1), there is no room (0), or the transfer must end
 * (-1, fail_class says why). */
static int take_bytes(struct transfer *t, const char **data, size_t *len)
{
    struct transfers *ts = t->all;
    for (;;) {
        /* Serving is a walk along the list: nobody else may end. */
        enum body_got got = body_add(&t->body, data, len, ts->serving);
        end_met(ts);
        if (got == BODY_DAMAGED)
            return fail(t, "encoding", "the encoded body is damaged", true);
        if (got == BODY_TOO_LARGE)
            return fail(t, "too-large", "larger than --max-filesize", false);
        if (got == BODY_TOOK)
            return 1;
        if (!ship(t, false))
            return 0;
    }
}

static char *copy_block(const char *s, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        say_die(EXIT_TEMP, "out of memory");
    memcpy(copy, s, len);
    return copy;
}

/* Of a response that is wanted. */
static void keep_head(struct transfer *t, const struct xfer_head *head)
{
    if (head->content_type)
        t->content_type = copy_text(head->content_type);
    if (head->head)
        t->head = copy_block(head->head, t->head_len = head->head_len);
    if (head->request)
        t->request = copy_block(head->request, t->request_len = head->request_len);
    if (head->ip)
        t->ip = copy_text(head->ip);
}

static enum xfer_verdict begin_body(struct transfer *t)
{
    struct xfer_head head;
    xfer_head(t->xfer, &head);
    t->begun = true;
    t->discard = head.code < 200 || head.code > 299;
    if (t->discard)
        return XFER_TOOK;
    if (t->all->bodies.max_bytes && head.length > t->all->bodies.max_bytes) {
        fail(t, "too-large", "larger than --max-filesize", false);
        return XFER_ABORT;
    }
    keep_head(t, &head);
    body_expect(&t->body, head.length, head.content_encoding);
    return XFER_TOOK;
}

static enum xfer_verdict on_body(void *arg, const char *data, size_t len)
{
    struct transfer *t = arg;
    if (t->rest_at < t->rest_len) {
        t->paused = true;
        return XFER_PAUSE;
    }
    if (!t->begun && begin_body(t) == XFER_ABORT)
        return XFER_ABORT;
    if (t->discard) {
        t->discarded += (int64_t)len;
        return t->discarded > ERROR_BODY_MOST ? XFER_ABORT : XFER_TOOK;
    }
    int got = take_bytes(t, &data, &len);
    if (got < 0)
        return XFER_ABORT;
    if (got == 0) {
        /* Kept, and the next call pauses: what is decoded in part can't be taken again. An
         * empty rest still means that the decoder has more. */
        char *rest = realloc(t->rest, len + 1);
        if (!rest)
            say_die(EXIT_TEMP, "out of memory");
        if (len)
            memcpy(rest, data, len);
        t->rest = rest;
        t->rest_len = len;
        t->rest_at = 0;
        set_blocked(t, true);
    }
    return XFER_TOOK;
}

/* Sends the last chunk of a transfer that ended well: 1 done and gone, 0 no room. */
static int finish(struct transfer *t)
{
    if (!ship(t, true))
        return 0;
    free_transfer(t);
    return 1;
}

static void finish_or_wait(struct transfer *t)
{
    if (!finish(t))
        set_blocked(t, true);
}

static void on_end(void *arg, const struct xfer_end *e)
{
    struct transfer *t = arg;
    struct xfer_head head;
    if (!t->begun && !e->class) { /* an empty body */
        xfer_head(t->xfer, &head);
        keep_head(t, &head);
    }
    t->xfer = NULL;
    t->ended = true;
    t->response_code = (uint64_t)e->code;
    t->time_us = (uint64_t)e->time_us;
    if (e->url_effective && strcmp(e->url_effective, t->url))
        t->url_effective = copy_text(e->url_effective);
    if (t->discard && e->class && strcmp(e->class, "http")) {
        report_failed(t, "http", "an error status, and a long body", xfer_may_pass(e->code),
                      e->retry_after_ms);
        free_transfer(t);
    } else if (t->fail_class) {
        report_failed(t, t->fail_class, t->fail_detail, t->fail_retry, 0);
        free_transfer(t);
    } else if (e->class) {
        report_failed(t, e->class, e->detail, e->retry, e->retry_after_ms);
        free_transfer(t);
    } else if (!t->waits && !body_ends_well(&t->body)) {
        report_failed(t, "encoding", "the encoded body ends too early", true, 0);
        free_transfer(t);
    } else if (t->all->bodies.odd == &t->body && t->all->running_count > 1) {
        t->all->odd_ms = clock_ms(); /* the next bytes of another end it, or the next turns */
    } else if (!t->waits) {
        finish_or_wait(t);
    }
}

const struct xfer_calls transfer_calls = {on_body, on_end};

int transfers_open(struct transfers *ts)
{
    ts->prefetch = ts->slots * 3 / 2 + 8;
    return bodies_open(&ts->bodies, ts->outlets, (size_t)ts->slots);
}

void transfers_close(struct transfers *ts)
{
    transfers_reset(ts);
    bodies_close(&ts->bodies);
}

/* Turns. */

/* Goes on with one that waited, as far as there is room; it may be gone, then. */
static void go_on(struct transfer *t)
{
    if (t->rest) {
        const char *data = t->rest + t->rest_at;
        size_t len = t->rest_len - t->rest_at;
        int got = take_bytes(t, &data, &len);
        t->rest_at = t->rest_len - len;
        if (got == 0)
            return;
        if (got < 0 || (t->ended && !body_ends_well(&t->body))) {
            if (got >= 0)
                fail(t, "encoding", "the encoded body ends too early", true);
            report_failed(t, t->fail_class, t->fail_detail, t->fail_retry, 0);
            free_transfer(t);
            return;
        }
        free(t->rest);
        t->rest = NULL;
        t->rest_len = t->rest_at = 0;
    }
    if (t->ended) {
        finish(t);
        return;
    }
    set_blocked(t, false);
    if (t->paused) {
        t->paused = false;
        xfer_resume(t->xfer);
    }
}

static void end_wait(struct transfers *ts)
{
    struct transfer *t = (struct transfer *)ts->bodies.odd;
    if (t && t->ended && !t->waits && clock_ms() - ts->odd_ms >= COMPANY_MS)
        finish_or_wait(t);
}

int64_t transfers_sleep_ms(const struct transfers *ts)
{
    const struct transfer *t = (const struct transfer *)ts->bodies.odd;
    return t && t->ended && !t->waits ? COMPANY_MS : INT32_MAX;
}

static void serve_waiting(struct transfers *ts)
{
    struct transfer *t, *tmp;
    if (!ts->blocked_count)
        return;
    ts->serving = true;
    DL_FOREACH_SAFE(ts->running, t, tmp)
        if (t->waits && !(t->outlet && t->outlet->full))
            go_on(t);
    ts->serving = false;
}

static void start(struct transfer *t)
{
    struct transfers *ts = t->all;
    DL_DELETE(ts->queued, t);
    ts->queued_count--;
    DL_APPEND(ts->running, t);
    ts->running_count++;
    t->running = true;
    body_open(&t->body, &ts->bodies);
    t->xfer = xfer_start(ts->xfers, t->url, t);
    if (!t->xfer)
        say_die(EXIT_TEMP, "out of memory");
}

void transfers_turn(struct transfers *ts)
{
    end_wait(ts);
    serve_waiting(ts);
    while (ts->queued && !ts->homeless && ts->running_count < ts->slots &&
           outlets_any_room(ts->outlets))
        start(ts->queued);
    if (ts->freed * 2 >= ts->prefetch)
        worker_beat_soon(ts->worker, true);
}

void transfers_cancel(struct transfers *ts, uint64_t d)
{
    struct transfer *t;
    HASH_FIND(hh, ts->by_d, &d, sizeof d, t);
    if (t)
        free_transfer(t);
}

void transfers_lost(struct transfers *ts, struct outlet *o)
{
    static const char gone[] = "its uploader is gone";
    struct transfer *t, *tmp;
    HASH_ITER(hh, ts->by_d, t, tmp)
        if (t->outlet == o) {
            report_failed(t, "lost", gone, true, 0);
            free_transfer(t);
        }
    for (uint32_t i = 0; i < o->sent.count; i++) {
        const struct sent_item *s = sent_at(&o->sent, i);
        struct msg_outcome out = {.d = s->d, .task = s->task, .class = msg_text("lost"),
                                  .detail = msg_text(gone), .retry = true};
        worker_outcome(ts->worker, false, &out);
    }
}

void transfers_give_back(struct transfers *ts)
{
    struct transfer *t, *tmp;
    if (!outlets_any_stays(ts->outlets))
        DL_FOREACH_SAFE(ts->running, t, tmp)
            if (!t->outlet) {
                report_failed(t, "lost", "no uploader stays to take it: the fetcher is leaving",
                              true, 0);
                free_transfer(t);
            }
    while (ts->queued) {
        report_failed(ts->queued, "lost", "not begun: the fetcher is leaving", true, 0);
        free_transfer(ts->queued);
        FAULT("fetcher.leaving.returned");
    }
}

void transfers_reset(struct transfers *ts)
{
    struct transfer *t, *tmp;
    HASH_ITER(hh, ts->by_d, t, tmp)
        free_transfer(t);
}

uint32_t transfers_list(const struct transfers *ts, int64_t age_ms, uint64_t *ds, uint64_t *tasks,
                        uint32_t most)
{
    uint32_t count = 0;
    int64_t now = clock_ms();
    for (const struct transfer *t = ts->by_d; t && count < most; t = t->hh.next) {
        if (now - t->since_ms < age_ms)
            break; /* in order of arrival: the rest is younger */
        tasks[count] = t->task;
        ds[count++] = t->d;
    }
    const struct outlet *o;
    DL_FOREACH(ts->outlets->list, o)
        for (uint32_t i = 0; i < o->sent.count && count < most; i++) {
            const struct sent_item *s = sent_at(&o->sent, i);
            if (now - s->since_ms < age_ms)
                continue;
            tasks[count] = s->task;
            ds[count++] = s->d;
        }
    return count;
}

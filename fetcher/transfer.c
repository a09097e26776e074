#include "fetcher/transfer.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "fetcher/inflate.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "lib/table.h"

enum {
    AHEAD_MS = 20,              /* tasks for so long wait here, */
    AHEAD_MOST = 3,             /* but not more than so many times the least */
    COMPANY_MS = 1,             /* a whole body waits no longer to be digested beside another */
    FIRST_BLOCK_BYTES = 16384,  /* of a body whose length was not said */
    ERROR_BODY_MOST = 65536,    /* of an error's body read, to keep the connection */
};

struct transfer {
    struct transfers *all;
    uint64_t d, task;
    int64_t since_ms;           /* clock; when it was read */
    bool running;               /* else queued */
    struct transfer *prev, *next;
    UT_hash_handle hh;

    /* running */
    struct xfer *xfer;          /* NULL once it has ended */
    struct outlet *outlet;      /* borrowed; NULL before the first chunk */
    char *block;                /* OUTLET_HEAD_ROOM bytes, then the chunk being filled */
    size_t block_bytes, fill;   /* its room for the body, and what is in it */
    size_t digested;            /* of that; all of it but in ts->odd */
    uint64_t offset;            /* body bytes sent before it */
    char *rest;                 /* bytes that came and are not decoded yet */
    size_t rest_len, rest_at;
    struct inflate *inflate;    /* NULL: as it comes */
    struct digest *digest;      /* NULL once digest_text has it */
    char digest_text[DIGEST_TEXT];
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
    if (ts->odd == t)
        ts->odd = NULL;
    if (t->outlet)
        t->outlet->open--;
    if (t->running) {
        DL_DELETE(ts->running, t);
        ts->running_count--;
        ts->freed++;
        ts->ended++;
    } else {
        DL_DELETE(ts->queued, t);
        ts->queued_count--;
    }
    HASH_DEL(ts->by_d, t);
    blocks_give(&ts->blocks, t->block);
    free(t->rest);
    free(t->content_type);
    free(t->url_effective);
    free(t->head);
    free(t->request);
    free(t->ip);
    digest_close(t->digest);
    inflate_close(t->inflate);
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

/* Digests. Two bodies at once take the time of one, so new bytes wait for those of another: at most
 * one transfer, the odd one, has bytes that are not digested. */

static char *undigested(const struct transfer *t)
{
    return t->block + OUTLET_HEAD_ROOM + t->digested;
}

static void digest_alone(struct transfer *t)
{
    if (t->fill > t->digested)
        digest_add(t->digest, undigested(t), t->fill - t->digested);
    t->digested = t->fill;
    if (t->all->odd == t)
        t->all->odd = NULL;
}

static void finish_or_wait(struct transfer *t);

/* `t` has new bytes in its block. */
static void digest_beside(struct transfer *t)
{
    struct transfers *ts = t->all;
    struct transfer *odd = ts->odd;
    if (!ts->pairs || ts->serving) { /* serving is a walk along the list: nobody else may end */
        digest_alone(t);
        return;
    }
    if (!odd || odd == t) {
        ts->odd = t;
        return;
    }
    size_t len = odd->fill - odd->digested, mine = t->fill - t->digested;
    if (mine < len)
        len = mine;
    digest_add_two(odd->digest, undigested(odd), t->digest, undigested(t), len);
    odd->digested += len;
    t->digested += len;
    if (odd->digested < odd->fill)
        return;
    ts->odd = t->digested < t->fill ? t : NULL;
    if (odd->ended && !odd->waits)
        finish_or_wait(odd);
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
    struct msg_chunk c = {.d = t->d, .task = t->task, .offset = t->offset, .len = t->fill,
                          .first = t->offset == 0, .last = last};
    if (c.first) {
        c.url = (struct msg_text){t->url, (uint32_t)t->url_len};
        c.key = (struct msg_text){key_of(t), (uint32_t)t->key_len};
        c.content_type = msg_text(t->content_type);
        if (o->heads) {
            c.head = (struct msg_text){t->head, (uint32_t)t->head_len};
            c.request = (struct msg_text){t->request, (uint32_t)t->request_len};
            c.ip = msg_text(t->ip);
            c.decoded = t->inflate != NULL;
        }
    }
    if (!t->block && !(t->block = malloc(OUTLET_HEAD_ROOM)))
        say_die(EXIT_TEMP, "out of memory");
    digest_alone(t);
    if (last) {
        if (t->digest && digest_text(t->digest, t->digest_text)) /* once: there may be no room now */
            say_die(EXIT_TEMP, "no digest: out of memory");
        digest_close(t->digest);
        t->digest = NULL;
        c.digest = msg_text(t->digest_text);
        c.total = t->offset + t->fill;
        c.response_code = t->response_code;
        c.time_us = t->time_us;
        c.url_effective = msg_text(t->url_effective);
    }
    uint64_t n = outlet_send(ts->outlets, o, &c, &t->block);
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
    t->offset += t->fill;
    t->fill = t->digested = 0;
    if (!t->block)
        t->block_bytes = 0;
    if (last)
        sent_add(&o->sent, (struct sent_item){t->d, t->task, n, t->since_ms});
    return 1;
}

/* Room for at least one more byte in the block. */
static void widen(struct transfer *t)
{
    if (t->fill < t->block_bytes)
        return;
    size_t bytes = t->block_bytes ? t->block_bytes * 2 : FIRST_BLOCK_BYTES;
    struct xfer_head head = {.length = -1};
    if (!t->block && t->xfer && !t->inflate)
        xfer_head(t->xfer, &head);
    if (head.length > 0 && (uint64_t)head.length > t->offset)
        bytes = (size_t)((uint64_t)head.length - t->offset);
    if (bytes > t->all->chunk_bytes)
        bytes = t->all->chunk_bytes;
    bool whole = t->offset == 0 && head.length > 0 && bytes == (size_t)head.length;
    t->block = t->block ? blocks_grow(&t->all->blocks, t->block, t->fill, bytes)
                        : blocks_take(&t->all->blocks, &bytes, whole);
    if (!t->block)
        say_die(EXIT_TEMP, "out of memory");
    t->block_bytes = bytes;
}

static int fail(struct transfer *t, const char *class, const char *detail, bool retry)
{
    t->fail_class = class;
    t->fail_detail = detail;
    t->fail_retry = retry;
    return -1;
}

/* Decodes bytes into chunks until they are used up (1), there is no room (0), or the transfer
 * must end (-1, fail_class says why). */
static int digest_bytes(struct transfer *t, const char **data, size_t *len)
{
    bool more = true; /* the decoder may hold output after the last input byte */
    while (*len || (t->inflate && more)) {
        if (t->fill == t->all->chunk_bytes && !ship(t, false))
            return 0;
        widen(t);
        char *out = t->block + OUTLET_HEAD_ROOM + t->fill;
        size_t room = t->block_bytes - t->fill;
        long n;
        if (t->inflate) {
            n = inflate_some(t->inflate, data, len, out, room);
            more = n == (long)room;
            if (n < 0)
                return fail(t, "encoding", "the encoded body is damaged", true);
        } else {
            n = (long)(*len < room ? *len : room);
            memcpy(out, *data, (size_t)n);
            *data += n;
            *len -= (size_t)n;
        }
        t->fill += (size_t)n;
        digest_beside(t);
        if (t->all->max_bytes && t->offset + t->fill > (uint64_t)t->all->max_bytes)
            return fail(t, "too-large", "larger than --max-filesize", false);
    }
    return 1;
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
    if (t->all->max_bytes && head.length > t->all->max_bytes) {
        fail(t, "too-large", "larger than --max-filesize", false);
        return XFER_ABORT;
    }
    keep_head(t, &head);
    if (head.content_encoding)
        t->inflate = inflate_open(head.content_encoding);
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
    int got = digest_bytes(t, &data, &len);
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
        report_failed(t, "http", "an error status, and a long body", e->code >= 500, 0);
        free_transfer(t);
    } else if (t->fail_class) {
        report_failed(t, t->fail_class, t->fail_detail, t->fail_retry, 0);
        free_transfer(t);
    } else if (e->class) {
        report_failed(t, e->class, e->detail, e->retry, e->retry_after_ms);
        free_transfer(t);
    } else if (!t->waits && t->inflate && !inflate_ended(t->inflate)) {
        report_failed(t, "encoding", "the encoded body ends too early", true, 0);
        free_transfer(t);
    } else if (t->all->odd == t && t->all->running_count > 1) {
        t->all->odd_ms = clock_ms(); /* the next bytes of another end it, or the next turns */
    } else if (!t->waits) {
        finish_or_wait(t);
    }
}

const struct xfer_calls transfer_calls = {on_body, on_end};

/* One and a half for each slot bridge the way of a beat and its tasks where bodies take long; where
 * they don't, more save half of the beats. */
static void foresee(struct transfers *ts)
{
    int64_t now = clock_ms(), passed = now - ts->rate_ms;
    if (ts->prefetch && passed < AHEAD_MS)
        return;
    int64_t least = ts->slots * 3 / 2 + 8, ahead = ts->ended * AHEAD_MS / (passed > 0 ? passed : 1);
    ts->prefetch = ahead < least ? least : ahead > least * AHEAD_MOST ? least * AHEAD_MOST : ahead;
    ts->ended = 0;
    ts->rate_ms = now;
}

int transfers_open(struct transfers *ts)
{
    foresee(ts);
    ts->pairs = digest_pairs(ts->digest);
    return blocks_open(&ts->blocks, ts->outlets, ts->chunk_bytes, (size_t)ts->slots);
}

void transfers_close(struct transfers *ts)
{
    transfers_reset(ts);
    blocks_close(&ts->blocks);
}

/* Turns. */

/* Goes on with one that waited, as far as there is room; it may be gone, then. */
static void go_on(struct transfer *t)
{
    if (t->rest) {
        const char *data = t->rest + t->rest_at;
        size_t len = t->rest_len - t->rest_at;
        int got = digest_bytes(t, &data, &len);
        t->rest_at = t->rest_len - len;
        if (got == 0)
            return;
        if (got < 0 || (t->ended && t->inflate && !inflate_ended(t->inflate))) {
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
    struct transfer *t = ts->odd;
    if (t && t->ended && !t->waits && clock_ms() - ts->odd_ms >= COMPANY_MS)
        finish_or_wait(t);
}

int64_t transfers_sleep_ms(const struct transfers *ts)
{
    return ts->odd && ts->odd->ended && !ts->odd->waits ? COMPANY_MS : INT32_MAX;
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
    t->digest = digest_open(t->all->digest);
    t->xfer = t->digest ? xfer_start(t->all->xfers, t->url, t) : NULL;
    if (!t->xfer)
        say_die(EXIT_TEMP, "out of memory");
}

void transfers_turn(struct transfers *ts)
{
    foresee(ts);
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

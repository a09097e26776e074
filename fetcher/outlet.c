#include "fetcher/outlet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"
#include "lib/share.h"
#include "lib/sum.h"
#include "lib/wire.h"

enum {
    COMPANY_MS = 3,  /* a small object waits no longer for others */
    RETURN_MS = 2,   /* how often we look whether lent blocks have come back; nobody calls us then */
};

static void wake(void *arg, int fd, int ready)
{
    (void)fd, (void)ready;
    wire_ready(arg);
}

static bool has_borrowed_enough(const struct outlets *os, const struct outlet *o)
{
    return o->lent >= (uint32_t)os->hwm;
}

static void hang_up(struct outlets *os, struct outlet *o)
{
    if (o->wire)
        loop_unwatch(os->loop, wire_fd(o->wire));
    wire_close(&o->wire, 0);
    batch_empty(&o->batch);
}

static void dial(struct outlets *os, struct outlet *o)
{
    bool said = o->unreachable;
    o->dialed_ms = clock_ms();
    o->wire = wire_open(WIRE_TO_INTAKE, o->intake, (struct wire_limits){os->hwm, MSG_HEAD_MOST});
    o->unreachable = !o->wire || loop_watch(os->loop, wire_fd(o->wire), LOOP_READ, wake, o->wire);
    if (!o->unreachable)
        return;
    if (!said)
        say(SAY_WARN, "cannot reach the uploader at %s: %s", o->intake, wire_strerror(errno));
    wire_close(&o->wire, 0);
}

static struct outlet *find(struct outlets *os, uint64_t member)
{
    struct outlet *o;
    DL_SEARCH_SCALAR(os->list, o, member, member);
    return o;
}

static struct outlet *add(struct outlets *os, const struct msg_uploader *u)
{
    struct outlet *o = calloc(1, sizeof *o);
    if (!o)
        say_die(EXIT_TEMP, "out of memory");
    o->member = u->member;
    o->mark_moved_ms = worker_now_ms(os->worker);
    msg_text_copy(u->intake, o->intake, sizeof o->intake);
    o->near = os->share->map && strncmp(o->intake, "ipc://", 6) == 0;
    dial(os, o);
    DL_APPEND(os->list, o);
    return o;
}

/* What it was lent comes back: it is gone, or its socket is, and nobody knows what it has read. */
static void reclaim(struct outlets *os, struct outlet *o)
{
    if (o->batch.block && o->batch.shared && !o->batch.seq)
        share_give(os->share, o->batch.block);
    share_reclaim(os->share, &o->lent);
}

/* What was given to it is lost. */
static void disown(struct outlets *os, struct outlet *o)
{
    reclaim(os, o);
    os->lost(os->arg, o);
    FAULT("fetcher.uploader.lost");
    sent_free(&o->sent);
    hang_up(os, o);
}

static void drop(struct outlets *os, struct outlet *o)
{
    sent_free(&o->sent);
    hang_up(os, o);
    DL_DELETE(os->list, o);
    batch_free(&o->batch);
    free(o);
}

void outlets_reset(struct outlets *os)
{
    struct outlet *o, *tmp;
    DL_FOREACH_SAFE(os->list, o, tmp) {
        reclaim(os, o);
        drop(os, o);
    }
}

/* What is lent stays so: the uploaders have our memory mapped, and are to store what they have read
 * of us. */
void outlets_close(struct outlets *os)
{
    struct outlet *o, *tmp;
    DL_FOREACH_SAFE(os->list, o, tmp)
        drop(os, o);
    buf_free(&os->head);
}

static bool is_gone(const struct msg_news *n, uint64_t member)
{
    for (uint32_t i = 0; i < n->gone.count; i++)
        if (n->gone.v[i] == member)
            return true;
    return false;
}

/* Marks and lists come with the news: while there are none they stand still, and nothing follows
 * from that. */
static bool is_feeder_silent(const struct outlets *os)
{
    return worker_now_ms(os->worker) - os->news_ms > 3 * worker_beat_ms(os->worker);
}

void outlets_news(struct outlets *os, const struct msg_news *n)
{
    int64_t now = worker_now_ms(os->worker);
    int64_t silence_ms = is_feeder_silent(os) ? now - os->news_ms : 0;
    struct outlet *o, *tmp;
    os->news_ms = now;
    DL_FOREACH(os->list, o) {
        o->listed = false;
        o->listed_ms += silence_ms;
        o->mark_moved_ms += silence_ms;
        if (o->mark_moved_ms > now)
            o->mark_moved_ms = now;
    }
    for (uint32_t i = 0; i < n->uploaders.count; i++) {
        const struct msg_uploader *u = &n->uploaders.v[i];
        o = find(os, u->member);
        if (!o)
            o = add(os, u);
        o->listed = true;
        o->listed_ms = now;
        o->leaving = u->leaving;
        o->reading = u->reading;
        o->heads = u->heads;
        if (u->read > o->mark) {
            o->mark = u->read;
            o->mark_moved_ms = now;
            sent_read(&o->sent, o->mark);
        }
    }
    /* Absent is not gone: a restarted feeder may not have heard it yet. A lease of it is. */
    DL_FOREACH_SAFE(os->list, o, tmp)
        if (!o->listed && (is_gone(n, o->member) ||
                           now - o->listed_ms > worker_lease_ms(os->worker))) {
            disown(os, o);
            drop(os, o);
        }
}

bool outlets_any_stays(const struct outlets *os)
{
    const struct outlet *o;
    DL_FOREACH(os->list, o)
        if (!o->leaving)
            return true;
    return false;
}

bool outlets_any_guest(const struct outlets *os)
{
    const struct outlet *o;
    DL_FOREACH(os->list, o)
        if (o->guest)
            return true;
    return false;
}

bool outlets_want_heads(const struct outlets *os)
{
    const struct outlet *o;
    DL_FOREACH(os->list, o)
        if (o->heads)
            return true;
    return !os->list;
}

static bool has_room(const struct outlet *o, bool first)
{
    return o->wire && !o->leaving && !o->full && (first || !o->waiting);
}

bool outlets_any_room(const struct outlets *os)
{
    const struct outlet *o;
    DL_FOREACH(os->list, o)
        if (has_room(o, false))
            return true;
    return !os->list; /* they will come, and starting takes time */
}

static bool is_better(const struct outlet *a, const struct outlet *b)
{
    return a->reading != b->reading ? a->reading : a->open < b->open;
}

struct outlet *outlets_pick(struct outlets *os, bool first)
{
    struct outlet *o, *best = NULL;
    DL_FOREACH(os->list, o)
        if (has_room(o, first) && (!best || is_better(o, best)))
            best = o;
    if (best) { /* the next pick among equals is another */
        DL_DELETE(os->list, best);
        DL_APPEND(os->list, best);
    }
    return best;
}

/* Messages. */

static void write_head(struct outlets *os, const struct outlet *o, uint64_t n, bool closed,
                       const struct msg_chunk *items, uint32_t count)
{
    struct msg m = {.kind = MSG_CHUNKS, .from = worker_member(os->worker), .to = o->member};
    m.chunks.n = n;
    m.chunks.closed = closed;
    if (o->near)
        m.chunks.share = msg_text(os->share->name);
    m.chunks.items.v = items;
    m.chunks.items.count = count;
    memcpy(m.run, worker_run(os->worker), ID_RUN_BYTES);
    os->head.len = 0;
    if (msg_write(&os->head, &m))
        say_die(EXIT_TEMP, "out of memory");
}

static uint64_t note_sent(struct outlet *o, int got, uint64_t n)
{
    if (got != 1) {
        o->full = true;
        return 0;
    }
    o->last_n = n;
    o->sent_ms = clock_ms();
    return n;
}

/* Sends the map and `len` bytes at *block + room as one message, as wire_send_block(): the map is
 * put right before the bytes where `room` is enough for it. *block is NULL if it was taken. */
static int send_joined(const struct outlets *os, const struct outlet *o, char **block, size_t room,
                       size_t len)
{
    const struct buf *head = &os->head;
    char *bytes = *block + room;
    if (head->len > room)
        return wire_send_two(o->wire, head->data, head->len, bytes, len);
    memcpy(bytes - head->len, head->data, head->len);
    int got = wire_send_block(o->wire, *block, bytes - head->len, head->len + len);
    if (got == 1)
        *block = NULL;
    return got;
}

/* Lends the bodies of a batch that stand in shared memory, if that was not done at an earlier try. */
static void lend_batch(struct outlets *os, struct outlet *o)
{
    struct batch *b = &o->batch;
    uint64_t at;
    if (!b->bodies_len || !b->shared || b->seq)
        return;
    uint64_t seq = share_lend(os->share, b->block, b->bodies, &o->lent, &at);
    batch_lend(b, seq, at);
    FAULT("fetcher.batch.lent");
}

static int send_batch(struct outlets *os, struct outlet *o)
{
    struct batch *b = &o->batch;
    lend_batch(os, o);
    write_head(os, o, o->batch_n, false, b->items, b->count);
    if (FAULT_FAILS("fetcher.batch.send"))
        return -1;
    if (!b->bodies_len || b->shared)
        return wire_send(o->wire, os->head.data, os->head.len);
    if (b->bodies_len < BATCH_WORTH)
        return wire_send_two(o->wire, os->head.data, os->head.len, b->bodies, b->bodies_len);
    return send_joined(os, o, &b->block, BATCH_HEAD_ROOM, b->bodies_len);
}

/* Sends what waits for company. False: no room now. That enough is lent is no reason to wait: it may
 * all be in this batch, and then comes back only when that was sent. */
static bool flush(struct outlets *os, struct outlet *o)
{
    if (!o->batch.count)
        return true;
    if (!o->wire || (o->full && !has_borrowed_enough(os, o)))
        return false;
    if (!note_sent(o, send_batch(os, o), o->batch_n))
        return false;
    FAULT("fetcher.batch.sent");
    batch_empty(&o->batch);
    o->full |= has_borrowed_enough(os, o);
    return true;
}

static bool lends_batches(const struct outlets *os, const struct outlet *o)
{
    return o->guest && os->share->block_bytes >= BATCH_FULL;
}

/* A block for the bodies: of the shared memory, if that uploader reads it. */
static void give_block(struct outlets *os, struct outlet *o)
{
    char *block = lends_batches(os, o) ? share_take(os->share) : NULL;
    if (o->batch.block) /* of the time before it read our memory */
        free(o->batch.block);
    if (block) {
        batch_give_block(&o->batch, block, block, os->share->block_bytes, true);
        return;
    }
    block = malloc(BATCH_HEAD_ROOM + BATCH_BODIES);
    if (!block)
        say_die(EXIT_TEMP, "out of memory");
    batch_give_block(&o->batch, block, block + BATCH_HEAD_ROOM, BATCH_BODIES, false);
}

static void begin_batch(struct outlets *os, struct outlet *o)
{
    o->batch_n = os->next_n++;
    o->flush_at_ms = clock_ms() + COMPANY_MS;
}

static bool room_in_batch(struct outlets *os, struct outlet *o, const struct msg_chunk *c)
{
    bool stuck = o->batch.seq && !c->seq; /* its block is lent, and it could not be sent */
    return (!stuck && batch_fits(&o->batch, c)) || (flush(os, o) && batch_fits(&o->batch, c));
}

static uint64_t add_to_batch(struct outlets *os, struct outlet *o, const struct msg_chunk *c,
                             const char *body)
{
    const struct batch *b = &o->batch;
    bool better = lends_batches(os, o) && !b->shared && !b->bodies_len;
    if (body && c->len && (!b->block || better))
        give_block(os, o);
    batch_add(&o->batch, c, body);
    if (o->batch.count == 1)
        begin_batch(os, o);
    uint64_t n = o->batch_n;
    if (batch_is_full(&o->batch))
        flush(os, o);
    return n;
}

/* Lends the block: its place goes with others, as a small body does. */
static uint64_t lend(struct outlets *os, struct outlet *o, struct msg_chunk *c, char **block)
{
    c->seq = UINT64_MAX; /* any, to be measured as lent */
    if (!room_in_batch(os, o, c))
        return 0;
    c->seq = share_lend(os->share, *block, *block + OUTLET_HEAD_ROOM, &o->lent, &c->at);
    *block = NULL;
    FAULT("fetcher.chunk.lent");
    uint64_t n = add_to_batch(os, o, c, NULL);
    if (has_borrowed_enough(os, o)) { /* no other may join it */
        flush(os, o);
        o->full = true;
    }
    return n;
}

static uint64_t send_alone(struct outlets *os, struct outlet *o, const struct msg_chunk *c,
                           char **block)
{
    if (!flush(os, o)) /* what waits has a lower number */
        return 0;
    uint64_t n = os->next_n++;
    write_head(os, o, n, false, c, 1);
    if (FAULT_FAILS("fetcher.chunk.send"))
        return note_sent(o, -1, n);
    if (share_own(os->share, *block)) /* not for others to free */
        return note_sent(o, wire_send_two(o->wire, os->head.data, os->head.len,
                                          *block + OUTLET_HEAD_ROOM, c->len), n);
    return note_sent(o, send_joined(os, o, block, OUTLET_HEAD_ROOM, c->len), n);
}

uint64_t outlet_send(struct outlets *os, struct outlet *o, struct msg_chunk *c, char **block)
{
    const char *body = *block + OUTLET_HEAD_ROOM;
    if (!o->wire || o->full)
        return 0;
    c->sum = sum_of(body, c->len);
    if (o->guest && c->len && share_own(os->share, *block) && batch_suits(c))
        return lend(os, o, c, block);
    if (c->first && c->last && c->len <= BATCH_SMALL && batch_suits(c))
        return room_in_batch(os, o, c) ? add_to_batch(os, o, c, body) : 0;
    return send_alone(os, o, c, block);
}

void outlets_flush(struct outlets *os)
{
    struct outlet *o;
    DL_FOREACH(os->list, o)
        if (o->batch.count && clock_ms() >= o->flush_at_ms)
            flush(os, o);
}

int64_t outlets_sleep_ms(const struct outlets *os)
{
    int64_t sleep_ms = INT32_MAX;
    const struct outlet *o;
    DL_FOREACH(os->list, o) {
        if (o->batch.count && !o->full && o->flush_at_ms - clock_ms() < sleep_ms)
            sleep_ms = o->flush_at_ms - clock_ms();
        if (has_borrowed_enough(os, o) && RETURN_MS < sleep_ms)
            sleep_ms = RETURN_MS;
    }
    return sleep_ms < 0 ? 0 : sleep_ms;
}

/* A message without chunks: "nothing new, but you have read so far". */
static void send_idle(struct outlets *os, struct outlet *o)
{
    uint64_t n = os->next_n++;
    write_head(os, o, n, o->leaving && o->open == 0, NULL, 0);
    note_sent(o, wire_send(o->wire, os->head.data, os->head.len), n);
    FAULT("fetcher.idle.sent");
    FAULT_IF(o->leaving && o->open == 0, "fetcher.closed.sent");
}

uint32_t outlets_sent(const struct outlets *os)
{
    uint32_t count = 0;
    const struct outlet *o;
    DL_FOREACH(os->list, o)
        count += o->sent.count;
    return count;
}

void outlets_turn(struct outlets *os)
{
    int64_t beat_ms = worker_beat_ms(os->worker), now = worker_now_ms(os->worker);
    struct outlet *o;
    share_collect(os->share);
    DL_FOREACH(os->list, o) {
        o->full = has_borrowed_enough(os, o);
        o->guest = o->near && share_has_guest(os->share, o->member);
        if (o->last_n <= o->mark || !o->reading)
            o->mark_moved_ms = now;
        if (!is_feeder_silent(os) && now - o->mark_moved_ms > worker_lease_ms(os->worker)) {
            say(SAY_WARN, "the uploader at %s reads, but nothing of ours: connecting anew",
                o->intake);
            disown(os, o);
            dial(os, o);
            o->mark_moved_ms = now;
        }
        if (!o->wire && clock_ms() - o->dialed_ms >= beat_ms)
            dial(os, o);
        int64_t pause_ms = o->leaving && !o->open ? beat_ms / 10 : beat_ms;
        if (o->wire && clock_ms() - o->sent_ms >= pause_ms && flush(os, o))
            send_idle(os, o);
    }
}

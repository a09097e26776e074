#include "feeder/crew_parts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"

enum {
    LISTEN_MS = 5,
    TASKS_HWM = 100000,  /* credit bounds tasks, not this */
    COVER_ENOUGH = 1000, /* outcomes covered since the last news, for news before their time */
    CLAIM_BEATS = 5,     /* what is 3 beats old is in a beat; one to connect, one to spare */
    CLAIM_MS = 1000,     /* but no less than a worker takes to connect */
};

void crew_open(struct crew *c, struct loop *loop, struct window *w, const char *at,
               int64_t lease_ms, const uint8_t run[ID_RUN_BYTES], uint64_t epoch)
{
    *c = (struct crew){.loop = loop, .window = w, .lease_ms = lease_ms, .epoch = epoch,
                       .next_n = 1, .out = buf_make(MSG_HEAD_MOST), .heeds_room = true,
                       .newcomer_most = UINT_MAX};
    c->beat_ms = lease_ms / 10 > 0 ? lease_ms / 10 : 1;
    c->id = id_member();
    memcpy(c->run, run, sizeof c->run);
    c->next_d = (c->epoch << 40) + 1;
    if (epoch > 1)
        c->claims_until_ms = CLAIM_BEATS * c->beat_ms > CLAIM_MS ? CLAIM_BEATS * c->beat_ms
                                                                 : CLAIM_MS;
    if (!(c->reader = msg_reader_open()))
        say_die(EXIT_TEMP, "out of memory");
    if (place_lock(at))
        say_die(say_status(errno), errno == EWOULDBLOCK
                    ? "%s: another feeder is running there (give this one its own --at)"
                    : "cannot lock %s", at);
    c->inbox = wire_open(WIRE_INBOX, at, (struct wire_limits){0, MSG_HEAD_MOST});
    if (!c->inbox)
        say_die(say_status(errno), "cannot listen at %s: %s", at, wire_strerror(errno));
}

static void free_member(struct crew *c, struct member *m)
{
    if (m->wire)
        loop_unwatch(c->loop, wire_fd(m->wire));
    wire_close(&m->wire, c->over[0] ? 200 : 0);
    free((void *)m->cancel.v);
    free(m->read);
    free(m);
}

static void remove_member(struct crew *c, struct member *m);

void crew_close(struct crew *c)
{
    struct member *m, *tmp;
    HASH_ITER(hh, c->members, m, tmp)
        remove_member(c, m);
    if (c->inbox)
        place_remove(wire_endpoint(c->inbox), true);
    wire_close(&c->inbox, 0);
    msg_reader_close(c->reader);
    buf_free(&c->out);
}

/* Members. */

static struct member *find(const struct crew *c, uint64_t id)
{
    struct member *m;
    HASH_FIND(hh, c->members, &id, sizeof id, m);
    return m;
}

const struct member *crew_member(const struct crew *c, uint64_t id)
{
    return find(c, id);
}

bool crew_stays(const struct member *m)
{
    return !m->leaving && !m->refused && m->on_our_run;
}

static void count_stayers(struct crew *c)
{
    c->fetchers = c->uploaders = 0;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (crew_stays(m))
            *(m->fetcher ? &c->fetchers : &c->uploaders) += 1;
}

static void news_to_all(struct crew *c)
{
    count_stayers(c);
    for (struct member *m = c->members; m; m = m->hh.next)
        crew_news_soon(m, false);
}

/* A member's wire: when it comes to be connected, what waits for that goes at once. */
static void wake(void *arg, int fd, int ready)
{
    struct member *m = arg;
    (void)fd, (void)ready;
    if (!wire_ready(m->wire))
        return;
    m->shut_ms = 0;
    if (!m->last_news_ms)
        m->next_news_ms = 0;
}

/* What is older than `oldest` will never come: covered, or of a run that the worker has left. */
static void skip_older(struct member *m, uint64_t oldest)
{
    if (oldest > m->taken + 1)
        m->taken = m->done = m->noted = m->told = oldest - 1;
}

static struct member *add_member(struct crew *c, const struct msg *beat)
{
    const struct msg_beat *b = &beat->beat;
    char host[64], inbox[PLACE_MAX];
    if (HASH_COUNT(c->members) >= CREW_MOST)
        return NULL;
    struct member *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    msg_text_copy(b->host, host, sizeof host);
    msg_text_copy(b->inbox, inbox, sizeof inbox);
    msg_text_copy(b->intake, m->intake, sizeof m->intake);
    snprintf(m->name, sizeof m->name, "%s:%llu", host, (unsigned long long)b->pid);
    m->id = beat->from;
    m->fetcher = b->role.len == 7 && memcmp(b->role.s, "fetcher", 7) == 0;
    m->heads = b->heads;
    skip_older(m, b->oldest);
    m->most = c->newcomer_most;
    m->mark_moved_ms = c->patience.now_ms;
    m->wire = wire_open(WIRE_TO_INBOX, inbox, (struct wire_limits){TASKS_HWM, MSG_HEAD_MOST});
    if (!m->wire || loop_watch(c->loop, wire_fd(m->wire), LOOP_READ, wake, m)) {
        say(SAY_WARN, "cannot reach %s at %s: %s", m->name, inbox, wire_strerror(errno));
        free_member(c, m);
        return NULL;
    }
    HASH_ADD(hh, c->members, id, sizeof m->id, m);
    say(SAY_DEBUG, "%s %s joined", m->fetcher ? "fetcher" : "uploader", m->name);
    news_to_all(c);
    return m;
}

static void remove_member(struct crew *c, struct member *m)
{
    struct task *t, *tmp;
    DL_FOREACH_SAFE(m->tasks, t, tmp)
        crew_forget_task(t); /* its lease runs on */
    if (!m->fetcher)
        c->gone[c->gone_count++ % CREW_GONE_KEPT] = m->id;
    HASH_DELETE(hh, c->members, m);
    free_member(c, m);
    news_to_all(c);
}

/* One DEST a run: another would mix two runs' objects, unless it says --join. */
static void judge_dest(struct crew *c, struct member *m, const struct msg_beat *b)
{
    char theirs[PLACE_MAX];
    if (m->fetcher || b->join)
        return;
    msg_text_copy(b->dest, theirs, sizeof theirs);
    if (!c->dest[0])
        snprintf(c->dest, sizeof c->dest, "%s", theirs);
    m->refused = strcmp(c->dest, theirs) != 0;
    if (!m->refused)
        return;
    snprintf(m->refusal, sizeof m->refusal, "this run stores into %.100s, not %.100s", c->dest,
             theirs);
    say(SAY_WARN, "refused uploader %s: %s", m->name, m->refusal);
    count_stayers(c);
}

/* Beats. */

/* The last n that a beat's sender has read from us; 0: none, it has not heard us yet. */
static uint64_t mark_in(const struct crew *c, const struct msg_beat *b)
{
    for (uint32_t i = 0; i < b->read.count; i++)
        if (b->read.v[i].from == c->id)
            return b->read.v[i].n;
    return 0;
}

static void note_reads(struct member *m, const struct msg_beat *b)
{
    struct msg_mark *read = realloc(m->read, (b->read.count + 1) * sizeof *read);
    if (!read)
        return;
    m->read = read;
    m->reads = b->read.count;
    if (b->read.count)
        memcpy(read, b->read.v, b->read.count * sizeof *read);
}

static void hear_beat(struct crew *c, const struct msg *msg)
{
    const struct msg_beat *b = &msg->beat;
    struct member *m = find(c, msg->from);
    if (b->empty) { /* its last one */
        if (m) {
            crew_news_soon(m, true);
            m->leaving = m->over_heard = true;
        }
        return;
    }
    if (!m) {
        if (b->oldest == 0 || !(m = add_member(c, msg))) {
            c->dropped++;
            return;
        }
        judge_dest(c, m, b);
    }
    m->heard_ms = c->patience.now_ms;
    bool on_our_run = memcmp(msg->run, c->run, ID_RUN_BYTES) == 0;
    bool change = m->leaving != b->leaving || m->reading != b->reading ||
                  m->on_our_run != on_our_run;
    m->on_our_run = on_our_run;
    /* It stays for the next run. Of one that has not heard us it is an earlier feeder's word. */
    m->over_heard |= on_our_run && b->over && mark_in(c, b);
    m->leaving = b->leaving;
    m->reading = b->reading;
    if (change)
        news_to_all(c);
    if (m->leaving || c->over[0])
        crew_news_soon(m, true);
    if (!m->on_our_run)
        return;
    skip_older(m, b->oldest);
    crew_heed(c, m, b, mark_in(c, b));
    if (!m->fetcher)
        note_reads(m, b);
    if (m->cancel.count)
        crew_news_soon(m, false);
}

static void hear_outcomes(struct crew *c, const struct msg *msg)
{
    struct member *m = find(c, msg->from);
    if (!m || msg->to != c->id || memcmp(msg->run, c->run, ID_RUN_BYTES)) {
        c->dropped++;
        return;
    }
    for (uint32_t i = 0; i < msg->outcomes.items.count; i++) {
        if (msg->outcomes.o + i != m->taken + 1)
            continue; /* again, or after a gap: it will come in order */
        m->taken++;
        (msg->kind == MSG_STORED ? c->stored : c->failed)(c->arg, m, &msg->outcomes.items.v[i]);
        FAULT("feeder.outcome.taken");
    }
}

static void hear(struct crew *c, const struct frame *f)
{
    struct msg m;
    const char *why;
    if (msg_read(c->reader, f->data, f->len, &m, &why)) {
        c->dropped++;
        say(SAY_DEBUG, "dropped a message (%s)", why);
    } else if (m.kind == MSG_BEAT) {
        hear_beat(c, &m);
    } else if (m.kind == MSG_STORED || m.kind == MSG_FAILED) {
        hear_outcomes(c, &m);
    } else {
        c->dropped++;
    }
}

void crew_listen(struct crew *c)
{
    struct frame f = {0};
    int64_t until_ms = clock_ms() + LISTEN_MS;
    while (wire_recv(c->inbox, &f) == 1) {
        hear(c, &f);
        wire_release(&f);
        if (clock_ms() >= until_ms)
            return;
    }
    patience_turn(&c->patience, c->beat_ms);
}

/* A manifest that is read slowly is never all written, so we cover in steps. */
void crew_covered(struct crew *c, uint64_t made, uint64_t written)
{
    if (written < c->noted_lines)
        return;
    for (struct member *m = c->members; m; m = m->hh.next) {
        m->done = made == written ? m->taken : m->noted;
        m->noted = m->taken;
        if (m->done - m->told >= COVER_ENOUGH) /* it keeps them all until it hears of it */
            crew_news_soon(m, false);
    }
    FAULT_IF(made > c->noted_lines, "feeder.covered");
    c->noted_lines = made;
}

void crew_tell(struct crew *c)
{
    struct member *m, *tmp;
    int64_t now = clock_ms();
    HASH_ITER(hh, c->members, m, tmp) {
        if (now >= m->next_news_ms)
            crew_send_news(c, m);
        if (m->over_heard) {
            say(SAY_DEBUG, "%s left", m->name);
            remove_member(c, m);
        } else if (c->patience.now_ms - m->heard_ms > c->lease_ms) {
            say(SAY_WARN, "%s %s has been silent for %lld ms: taken as gone",
                m->fetcher ? "fetcher" : "uploader", m->name, (long long)c->lease_ms);
            remove_member(c, m);
        }
    }
}

void crew_over(struct crew *c, const char *why)
{
    snprintf(c->over, sizeof c->over, "%s", why);
    for (struct member *m = c->members; m; m = m->hh.next)
        crew_news_soon(m, true);
    FAULT("feeder.over.begun");
}

bool crew_all_gone(const struct crew *c)
{
    return !c->members;
}

int64_t crew_sleep_ms(struct crew *c)
{
    if (wire_ready(c->inbox))
        return 0;
    int64_t until = clock_ms() + c->beat_ms;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (m->next_news_ms < until)
            until = m->next_news_ms;
    int64_t left = until - clock_ms();
    return left < 0 ? 0 : left;
}

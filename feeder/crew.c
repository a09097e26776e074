#include "feeder/crew.h"

#include <assert.h>
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
    SOON_MS = 20,          /* news of a change, at most this often */
    CANCEL_MOST = 4096,    /* a news' worth; the rest comes with the next beat */
    TASKS_HWM = 100000,    /* credit bounds tasks, not this */
    EVIDENCE_BEATS = 3,
    COVER_ENOUGH = 1000,   /* outcomes covered since the last news, for news before their time */
    CLAIM_BEATS = 5,       /* what is 3 beats old is in a beat; one to connect, one to spare */
    CLAIM_MS = 1000,       /* but no less than a worker takes to connect */
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

static void news_soon(struct member *m, bool now)
{
    int64_t due = now ? 0 : m->last_news_ms + SOON_MS;
    if (due < m->next_news_ms)
        m->next_news_ms = due;
}

static void news_to_all(struct crew *c)
{
    count_stayers(c);
    for (struct member *m = c->members; m; m = m->hh.next)
        news_soon(m, false);
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

/* News go to it each beat, so the mark of one that can hear us moves. */
static bool mark_moves(const struct crew *c, const struct member *m)
{
    return c->patience.now_ms - m->mark_moved_ms <= EVIDENCE_BEATS * c->beat_ms;
}

/* The last n that a beat's sender has read from us; 0: none, it has not heard us yet. */
static uint64_t mark_in(const struct crew *c, const struct msg_beat *b)
{
    for (uint32_t i = 0; i < b->read.count; i++)
        if (b->read.v[i].from == c->id)
            return b->read.v[i].n;
    return 0;
}

static void move_mark(struct crew *c, struct member *m, const struct msg_beat *b)
{
    uint64_t mark = mark_in(c, b);
    if (mark >= m->mark)
        m->room = b->room; /* else it is late, from before a cut link: both are of one moment */
    if (mark > m->mark) {
        m->mark = mark;
        m->mark_moved_ms = c->patience.now_ms;
    }
    m->unread = 0;
    bool moves = mark_moves(c, m);
    for (struct task *t = m->tasks ? m->tasks->prev : NULL; t && t->n > m->mark; t = t->prev) {
        m->unread++;
        if (moves) /* still under way: what is sent after it arrives */
            t->seen_ms = c->patience.now_ms;
        if (t == m->tasks)
            break;
    }
}

bool crew_is_claiming(const struct crew *c)
{
    return c->patience.now_ms < c->claims_until_ms;
}

/* A dispatch of an earlier epoch goes on where it is; of several of a task, the latest. */
static struct task *claim(struct crew *c, struct member *m, uint64_t d, uint64_t task)
{
    struct task *t = window_task(c->window, task);
    if (!t || t->state == TASK_WAITING || d >> 40 >= c->epoch || d <= t->d)
        return NULL;
    if (t->state == TASK_IN_FLIGHT) {
        crew_forget_task(t);
        window_land(c->window, t);
    }
    window_fly(c->window, t, d);
    t->n = 0; /* it has been read */
    t->fetcher = m->fetcher ? m : NULL;
    if (m->fetcher) {
        DL_PREPEND(m->tasks, t);
        m->given++;
        m->suspects += crew_suspects(t);
    }
    say(SAY_DEBUG, "line %llu: %s has it still", (unsigned long long)task, m->name);
    return t;
}

/* Refreshes what is current (evidence: `tasks` given), lists the rest for cancelling. */
static void look_at(struct crew *c, struct member *m, const struct msg_numbers *ds,
                    const struct msg_numbers *tasks)
{
    for (uint32_t i = 0; i < ds->count; i++) {
        struct task *t = window_dispatch(c->window, ds->v[i]);
        if (!t && crew_is_claiming(c)) {
            if (tasks && i < tasks->count)
                t = claim(c, m, ds->v[i], tasks->v[i]);
        } else if (!t && m->cancel.count < CANCEL_MOST) {
            ((uint64_t *)(uintptr_t)m->cancel.v)[m->cancel.count++] = ds->v[i];
        }
        if (t && tasks)
            t->seen_ms = c->patience.now_ms;
    }
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
            news_soon(m, true);
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
        news_soon(m, true);
    if (!m->on_our_run)
        return;
    if (!m->cancel.v && !(m->cancel.v = malloc(CANCEL_MOST * sizeof(uint64_t))))
        say_die(EXIT_TEMP, "out of memory");
    m->cancel.count = 0;
    skip_older(m, b->oldest);
    move_mark(c, m, b);
    look_at(c, m, &b->held, &b->held_tasks);
    look_at(c, m, &b->open, NULL);
    if (!m->fetcher)
        note_reads(m, b);
    if (m->cancel.count)
        news_soon(m, false);
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
            news_soon(m, false);
    }
    FAULT_IF(made > c->noted_lines, "feeder.covered");
    c->noted_lines = made;
}

/* News. */

static uint64_t read_from(const struct member *uploader, uint64_t fetcher)
{
    for (uint32_t i = 0; i < uploader->reads; i++)
        if (uploader->read[i].from == fetcher)
            return uploader->read[i].n;
    return 0;
}

/* Only those that know the run: an uploader drops the chunks of one it has not heard of. */
static uint32_t list_uploaders(struct crew *c, const struct member *to, struct msg_uploader *out)
{
    uint32_t count = 0;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (!m->fetcher && !m->refused && !m->over_heard && m->on_our_run)
            out[count++] = (struct msg_uploader){.member = m->id, .intake = msg_text(m->intake),
                                                 .leaving = m->leaving, .reading = m->reading,
                                                 .heads = m->heads, .read = read_from(m, to->id)};
    return count;
}

static uint32_t list_fetchers(struct crew *c, uint64_t *out)
{
    uint32_t count = 0;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (m->fetcher && !m->over_heard)
            out[count++] = m->id;
    return count;
}

static int send(struct crew *c, struct member *m, struct msg *msg)
{
    memcpy(msg->run, c->run, ID_RUN_BYTES);
    msg->from = c->id;
    msg->to = m->id;
    c->out.len = 0;
    if (msg_write(&c->out, msg)) {
        if (errno == ENOMEM)
            say_die(EXIT_TEMP, "out of memory");
        return -1;
    }
    int got = wire_send(m->wire, c->out.data, c->out.len);
    c->next_n += got == 1;
    return got;
}

static void send_news(struct crew *c, struct member *m)
{
    static struct msg_uploader uploaders[CREW_MOST];
    static uint64_t fetchers[CREW_MOST];
    struct msg msg = {.kind = MSG_NEWS};
    struct msg_news *n = &msg.news;
    n->n = c->next_n;
    n->epoch = c->epoch;
    n->lease_ms = (uint64_t)c->lease_ms;
    n->done = m->done;
    n->gone.v = c->gone;
    n->gone.count = c->gone_count < CREW_GONE_KEPT ? c->gone_count : CREW_GONE_KEPT;
    n->cancel = m->cancel;
    n->refused = m->refused;
    n->over = msg_text(m->refused ? m->refusal : c->over);
    if (m->fetcher) {
        n->uploaders.v = uploaders;
        n->uploaders.count = list_uploaders(c, m, uploaders);
    } else {
        n->fetchers.v = fetchers;
        n->fetchers.count = list_fetchers(c, fetchers);
    }
    int64_t now = clock_ms();
    if (send(c, m, &msg) == 1) {
        FAULT("feeder.news.sent");
        m->last_news_ms = now;
        m->next_news_ms = now + c->beat_ms;
        m->cancel.count = 0;
        m->told = m->done;
    } else {
        m->next_news_ms = now + SOON_MS; /* not connected yet: its wire wakes us */
    }
}

void crew_tell(struct crew *c)
{
    struct member *m, *tmp;
    int64_t now = clock_ms();
    HASH_ITER(hh, c->members, m, tmp) {
        if (now >= m->next_news_ms)
            send_news(c, m);
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
        news_soon(m, true);
    FAULT("feeder.over.begun");
}

bool crew_all_gone(const struct crew *c)
{
    return !c->members;
}

/* Tasks. */

bool crew_suspects(const struct task *t)
{
    return t->losses >= CREW_SUSPECT_LOSSES;
}

/* Tasks that it may be given now. */
static uint64_t credit_of(const struct crew *c, const struct member *m)
{
    uint64_t room = m->room > m->unread ? m->room - m->unread : 0;
    uint64_t left = m->most > m->given ? m->most - m->given : 0;
    return c->heeds_room && room < left ? room : left;
}

struct member *crew_free_fetcher(struct crew *c, bool suspect, uint64_t *most)
{
    struct member *best = NULL;
    int64_t now = clock_ms();
    *most = 0;
    for (struct member *m = c->members; m; m = m->hh.next) {
        uint64_t credit = credit_of(c, m);
        if (m->fetcher && !m->leaving && m->on_our_run && credit > *most && mark_moves(c, m) &&
            now - m->shut_ms >= SOON_MS && !(suspect && m->suspects)) {
            best = m;
            *most = credit;
        }
    }
    return best;
}

bool crew_send_tasks(struct crew *c, struct member *m, struct task *const *ts, uint32_t count)
{
    struct msg msg = {.kind = MSG_TASKS};
    struct msg_task items[CREW_TASKS];
    uint64_t n = c->next_n;
    assert(count <= CREW_TASKS && count <= credit_of(c, m));
    assert(c->next_d >> 40 == c->epoch); /* d rises from feeder to feeder, and is never used twice */
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct msg_task){c->next_d + i, ts[i]->id,
                                     {ts[i]->url, (uint32_t)ts[i]->url_len}, msg_text(ts[i]->key)};
    msg.tasks.n = n;
    msg.tasks.items.v = items;
    msg.tasks.items.count = count;
    if (send(c, m, &msg) != 1) {
        m->shut_ms = clock_ms();
        return false;
    }
    FAULT("feeder.tasks.sent");
    for (uint32_t i = 0; i < count; i++) {
        struct task *t = ts[i];
        window_fly(c->window, t, c->next_d++);
        t->n = n;
        t->fetcher = m;
        t->seen_ms = c->patience.now_ms;
        DL_APPEND(m->tasks, t);
        m->suspects += crew_suspects(t);
    }
    m->unread += count;
    m->given += count;
    return true;
}

void crew_forget_task(struct task *t)
{
    struct member *m = t->fetcher;
    if (!m)
        return;
    DL_DELETE(m->tasks, t);
    m->given--;
    if (t->n > m->mark)
        m->unread--;
    if (crew_suspects(t) && m->suspects)
        m->suspects--;
    t->fetcher = NULL;
}

bool crew_begun(const struct task *t)
{
    return !t->fetcher || t->n <= t->fetcher->mark;
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

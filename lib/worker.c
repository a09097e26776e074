#include "lib/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/outbox.h"
#include "lib/say.h"
#include "lib/stop.h"
#include "lib/wire.h"

enum {
    LISTEN_MS = 5,          /* a turn listens no longer than this */
    SOON_MS = 20,           /* beats for a mere change */
    AT_ONCE_MS = 1,         /* beats because slots are free */
    FIRST_BEAT_MS = 1000,   /* until the feeder has told the lease */
    OUTCOMES_A_MESSAGE = 128, /* fewer wait for company, */
    COMPANY_MS = 5,         /* but no longer than this */
    GOODBYE_MS = 500,       /* for the feeder's answer to our last beat */
};

struct worker_settings worker_settings = {.ready_fd = -1, .wait_ms = 60000, .log_format = "text"};

const struct opt worker_options[] = {
    {"at", 0, "ENDPOINT", OPT_TEXT, &worker_settings.at, 0, 0,
     "the feeder's inbox, ipc:// or tcp:// (default: named after this directory; env SLUICE_AT)"},
    {"inbox", 0, "ENDPOINT", OPT_TEXT, &worker_settings.inbox, 0, 0,
     "where to listen for the feeder (default: beside --at, or any tcp port)"},
    {"advertise", 0, "HOST", OPT_TEXT, &worker_settings.advertise, 0, 0,
     "the name by which others reach this machine (default: its address towards --at)"},
    {"insecure", 0, NULL, OPT_FLAG, &worker_settings.insecure, 0, 0,
     "allow tcp beyond loopback, unencrypted"},
    {"stay", 0, NULL, OPT_FLAG, &worker_settings.stay, 0, 0,
     "do not leave when a run ends: wait for the next"},
    {"wait", 0, "S", OPT_SECONDS, &worker_settings.wait_ms, 0, INT64_MAX / 4,
     "leave with status 4 after S seconds without a feeder (60; 0: never)"},
    {"ready-fd", 0, "N", OPT_INT, &worker_settings.ready_fd, 0, 1 << 20,
     "write a newline to this descriptor when listening"},
    {"quiet", 'q', NULL, OPT_FLAG, &worker_settings.quiet, 0, 0, "errors and warnings only"},
    {"verbose", 'v', NULL, OPT_FLAG, &worker_settings.verbose, 0, 0, "say more"},
    {"log-format", 0, "text|json", OPT_TEXT, &worker_settings.log_format, 0, 0,
     "how stderr is written (text)"},
    {0},
};

struct worker {
    struct worker_role role;
    struct loop *loop;          /* borrowed */
    struct wire *inbox, *feeder;
    struct msg_reader *reader;
    struct buf out;             /* the message being written */
    char at[PLACE_MAX], address[PLACE_MAX], intake[PLACE_MAX], host[64];
    const char *dest;           /* borrowed; may be NULL */
    uint64_t member;

    uint8_t run[ID_RUN_BYTES];
    uint64_t feeder_member;     /* 0: none heard yet */
    uint64_t epoch, mark;       /* mark: last n read from feeder_member */
    int64_t beat_ms, lease_ms;

    struct patience patience;
    int64_t heard_ms;           /* patience time of the last news */
    int64_t next_beat_ms;       /* clock; when the next beat is due */
    int64_t last_beat_ms;

    struct outbox outbox;
    int64_t hold_until_ms;      /* clock; the wire took no outcomes: not before */

    uint64_t objects, bytes, dropped;
    bool leaving, empty, over, refused, said_goodbye, answered;
    int64_t goodbye_ms;         /* clock; when the last beat went out, before: when it was due */
};

static void setup_saying(const char *who)
{
    const char *format = worker_settings.log_format;
    bool json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "text"))
        say_die(EXIT_USAGE, "--log-format: '%s' is neither text nor json", format);
    say_setup(who, worker_settings.quiet ? SAY_WARN : worker_settings.verbose ? SAY_DEBUG : SAY_INFO,
              json);
}

static void wake_inbox(void *arg, int fd, int ready)
{
    struct worker *w = arg;
    (void)fd, (void)ready;
    wire_ready(w->inbox); /* resets the fd; what there is to do, the turn finds out */
}

/* Connected at last: the first beat goes at once. */
static void wake_feeder(void *arg, int fd, int ready)
{
    struct worker *w = arg;
    (void)fd, (void)ready;
    if (wire_ready(w->feeder) && !w->feeder_member)
        w->next_beat_ms = 0;
}

/* Descriptors: a socket, its eventfd and its connection per peer, and the transfers'. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct worker *worker_open(const struct worker_role *role, struct loop *loop, uint64_t member,
                           const char *intake, const char *dest)
{
    const struct worker_settings *s = &worker_settings;
    struct worker *w = calloc(1, sizeof *w);
    char bind_to[PLACE_MAX];
    if (!w || !(w->reader = msg_reader_open()))
        say_die(EXIT_TEMP, "out of memory");
    setup_saying(role->name);
    raise_limits();
    w->role = *role;
    w->loop = loop;
    w->member = member;
    w->dest = dest;
    outbox_open(&w->outbox);
    w->beat_ms = FIRST_BEAT_MS;
    w->lease_ms = 10 * FIRST_BEAT_MS;
    w->out = buf_make(MSG_HEAD_MOST);
    gethostname(w->host, sizeof w->host - 1);
    place_at(s->at, w->at);
    place_check("at", w->at, s->insecure);
    if (s->inbox)
        snprintf(bind_to, sizeof bind_to, "%s", s->inbox);
    else
        place_beside(w->at, "inbox", member, bind_to);
    place_check("inbox", bind_to, s->insecure);
    if (intake)
        snprintf(w->intake, sizeof w->intake, "%s", intake);
    w->inbox = wire_open(WIRE_INBOX, bind_to, (struct wire_limits){0, MSG_HEAD_MOST});
    if (!w->inbox)
        say_die(say_status(errno), "cannot listen at %s: %s", bind_to, wire_strerror(errno));
    place_public(wire_endpoint(w->inbox), w->at, s->advertise, w->address);
    w->feeder = wire_open(WIRE_TO_INBOX, w->at, (struct wire_limits){10000, MSG_HEAD_MOST});
    if (!w->feeder)
        say_die(say_status(errno), "cannot reach %s: %s", w->at, wire_strerror(errno));
    if (loop_watch(loop, wire_fd(w->inbox), LOOP_READ, wake_inbox, w) ||
        loop_watch(loop, wire_fd(w->feeder), LOOP_READ, wake_feeder, w))
        say_die(EXIT_TEMP, "epoll: %s", strerror(errno));
    stop_ready((int)s->ready_fd);
    return w;
}

void worker_close(struct worker *w)
{
    if (!w)
        return;
    outbox_forget(&w->outbox, UINT64_MAX);
    loop_unwatch(w->loop, wire_fd(w->inbox));
    loop_unwatch(w->loop, wire_fd(w->feeder));
    wire_close(&w->feeder, 200); /* the last beat */
    place_remove(wire_endpoint(w->inbox), false);
    wire_close(&w->inbox, 0);
    msg_reader_close(w->reader);
    buf_free(&w->out);
    free(w);
}

/* Listening. */

static void follow(struct worker *w, const struct msg *m)
{
    bool other_run = memcmp(w->run, m->run, ID_RUN_BYTES) != 0;
    if (!other_run && (m->from == w->feeder_member || m->news.epoch < w->epoch))
        return; /* ours, or the last words of the one before it */
    if (other_run) {
        outbox_forget(&w->outbox, UINT64_MAX);
        w->role.reset(w->role.arg);
        memcpy(w->run, m->run, ID_RUN_BYTES);
        FAULT("worker.run.heard");
    }
    w->over = false; /* one that was stopped goes on */
    w->feeder_member = m->from;
    w->mark = 0;
    outbox_repeat(&w->outbox);
    worker_beat_soon(w, true);
    say(SAY_DEBUG, "heard a feeder at %s", w->at);
}

static void hear_over(struct worker *w, const struct msg_news *n)
{
    if (w->said_goodbye)
        w->answered = true;
    if (n->over.len == 0 || w->over)
        return;
    char why[512];
    msg_text_copy(n->over, why, sizeof why);
    w->over = true;
    w->refused = n->refused;
    FAULT("worker.over.heard");
    if (n->refused)
        say(SAY_ERROR, "the feeder refuses us: %s", why);
    else
        say(SAY_DEBUG, "the run is over: %s", why);
    outbox_forget(&w->outbox, UINT64_MAX);
    w->role.reset(w->role.arg);
    if (worker_settings.stay && !w->refused && !w->leaving)
        worker_beat_soon(w, true);
    else
        worker_empty(w);
}

static void hear_news(struct worker *w, const struct msg_news *n)
{
    FAULT("worker.news.taken");
    w->heard_ms = w->patience.now_ms;
    w->epoch = n->epoch;
    w->lease_ms = (int64_t)n->lease_ms;
    w->beat_ms = w->lease_ms / 10 > 0 ? w->lease_ms / 10 : 1;
    FAULT_IF(w->outbox.first && n->done >= w->outbox.first_o, "worker.cover.heard");
    outbox_forget(&w->outbox, n->done);
    hear_over(w, n);
    if (!w->over)
        w->role.news(w->role.arg, n);
}

static void hear(struct worker *w, const struct frame *f)
{
    struct msg m;
    const char *why;
    if (msg_read(w->reader, f->data, f->len, &m, &why)) {
        w->dropped++;
        say(SAY_DEBUG, "dropped a message (%s)", why);
        return;
    }
    if (m.to != w->member || (m.kind != MSG_NEWS && m.kind != MSG_TASKS)) {
        w->dropped++;
        return;
    }
    uint64_t n = m.kind == MSG_NEWS ? m.news.n : m.tasks.n;
    if (m.kind == MSG_NEWS)
        follow(w, &m);
    /* At or below the mark: an old pipe's rest after a reconnect. */
    if (m.from != w->feeder_member || n <= w->mark) {
        w->dropped++;
        return;
    }
    w->mark = n;
    if (m.kind == MSG_NEWS)
        hear_news(w, &m.news);
    for (uint32_t i = 0; m.kind == MSG_TASKS && i < m.tasks.items.count; i++)
        if (w->role.task && !w->over)
            w->role.task(w->role.arg, &m.tasks.items.v[i]);
}

void worker_listen(struct worker *w)
{
    struct frame f = {0};
    int64_t until_ms = clock_ms() + LISTEN_MS;
    while (wire_recv(w->inbox, &f) == 1) {
        hear(w, &f);
        wire_release(&f);
        if (clock_ms() >= until_ms)
            return;
    }
    patience_turn(&w->patience, w->beat_ms);
}

/* Telling. */

static int send(struct worker *w, struct msg *m)
{
    memcpy(m->run, w->run, ID_RUN_BYTES);
    m->from = w->member;
    m->to = w->feeder_member;
    w->out.len = 0;
    if (msg_write(&w->out, m)) {
        if (errno == ENOMEM)
            say_die(EXIT_TEMP, "out of memory");
        return -1;
    }
    return wire_send(w->feeder, w->out.data, w->out.len);
}

void worker_outcome(struct worker *w, bool stored, const struct msg_outcome *o)
{
    outbox_add(&w->outbox, stored, o);
}

uint32_t worker_uncovered(const struct worker *w)
{
    return w->outbox.count;
}

static bool outcomes_due(const struct worker *w)
{
    const struct outbox *b = &w->outbox;
    return b->unsent && (w->leaving || b->next_o - b->unsent_o >= OUTCOMES_A_MESSAGE ||
                         clock_ms() >= b->unsent_ms + COMPANY_MS);
}

static void send_outcomes(struct worker *w)
{
    struct outbox *b = &w->outbox;
    struct msg_outcome items[OUTCOMES_A_MESSAGE];
    uint32_t count;
    bool stored;
    if (b->first && !b->unsent && clock_ms() - b->moved_ms > 3 * w->beat_ms)
        outbox_repeat(b);
    if (!w->feeder_member || clock_ms() < w->hold_until_ms || !outcomes_due(w))
        return;
    while ((count = outbox_peek(b, items, OUTCOMES_A_MESSAGE, &stored))) {
        struct msg m = {.kind = stored ? MSG_STORED : MSG_FAILED};
        m.outcomes.o = b->unsent_o;
        m.outcomes.items.v = items;
        m.outcomes.items.count = count;
        if (FAULT_FAILS("worker.outcomes.send") || send(w, &m) != 1) {
            w->hold_until_ms = clock_ms() + SOON_MS;
            return;
        }
        FAULT("worker.outcomes.sent");
        outbox_sent(b, count);
    }
}

void worker_beat_soon(struct worker *w, bool now)
{
    int64_t due = w->last_beat_ms + (now ? AT_ONCE_MS : SOON_MS);
    if (due < w->next_beat_ms)
        w->next_beat_ms = due;
}

static void send_beat(struct worker *w)
{
    struct msg m = {.kind = MSG_BEAT};
    struct msg_mark feeder_mark = {w->feeder_member, w->mark};
    struct msg_beat *b = &m.beat;
    b->role = msg_text(w->role.name);
    b->host = msg_text(w->host);
    b->inbox = msg_text(w->address);
    b->intake = msg_text(w->intake);
    b->dest = msg_text(w->dest);
    b->pid = (uint64_t)getpid();
    b->read.v = &feeder_mark;
    b->read.count = w->feeder_member ? 1 : 0;
    b->leaving = w->leaving || w->empty;
    b->empty = w->empty;
    b->over = w->over;
    b->oldest = w->outbox.first_o;
    b->objects = w->objects;
    b->bytes = w->bytes;
    b->dropped = w->dropped;
    if (!w->empty)
        w->role.fill_beat(w->role.arg, b);
    /* One that can't be sent is skipped; the next says the same and more. */
    int64_t now = clock_ms();
    int got = FAULT_FAILS("worker.beat.send") ? -1 : send(w, &m);
    FAULT_IF(got == 1, "worker.beat.sent");
    FAULT_IF(got == 1 && w->leaving, "worker.leaving.said");
    w->last_beat_ms = now;
    w->next_beat_ms = now + (got == 1 ? w->beat_ms : SOON_MS);
    if (got == 1 && w->empty && !w->said_goodbye) {
        w->said_goodbye = true;
        w->goodbye_ms = now;
        FAULT("worker.goodbye.sent");
    }
}

void worker_tell(struct worker *w)
{
    send_outcomes(w);
    if (clock_ms() >= w->next_beat_ms)
        send_beat(w);
}

/* Leaving. */

void worker_leave(struct worker *w)
{
    if (w->leaving)
        return;
    w->leaving = true;
    worker_beat_soon(w, true);
}

bool worker_leaving(const struct worker *w)
{
    return w->leaving;
}

void worker_empty(struct worker *w)
{
    if (w->empty)
        return;
    w->empty = true;
    w->next_beat_ms = 0;
    w->goodbye_ms = clock_ms();
}

int worker_finished(struct worker *w)
{
    int64_t silence = w->patience.now_ms - w->heard_ms;
    int status = w->refused ? EXIT_USAGE : EXIT_ALL;
    if (w->empty) {
        bool waited = clock_ms() - w->goodbye_ms > GOODBYE_MS; /* the feeder may be gone */
        return !w->feeder_member || w->answered || waited ? status : -1;
    }
    if (worker_settings.wait_ms && silence >= worker_settings.wait_ms) {
        say(SAY_ERROR, "no feeder at %s for %lld s (--wait): leaving", w->at,
            (long long)worker_settings.wait_ms / 1000);
        return EXIT_TEMP;
    }
    return -1;
}

int64_t worker_sleep_ms(struct worker *w)
{
    if (wire_ready(w->inbox))
        return 0;
    int64_t due = w->next_beat_ms;
    if (w->outbox.unsent && w->feeder_member) {
        int64_t send_ms = w->outbox.unsent_ms + COMPANY_MS;
        if (send_ms < w->hold_until_ms)
            send_ms = w->hold_until_ms;
        due = send_ms < due ? send_ms : due;
    }
    int64_t left = due - clock_ms();
    if (w->empty && left > 50)
        left = 50;
    return left < 0 ? 0 : left < w->beat_ms ? left : w->beat_ms;
}

const char *worker_at(const struct worker *w)
{
    return w->at;
}

uint64_t worker_member(const struct worker *w)
{
    return w->member;
}

const uint8_t *worker_run(const struct worker *w)
{
    return w->run;
}

int64_t worker_now_ms(const struct worker *w)
{
    return w->patience.now_ms;
}

int64_t worker_beat_ms(const struct worker *w)
{
    return w->beat_ms;
}

int64_t worker_lease_ms(const struct worker *w)
{
    return w->lease_ms;
}

void worker_count_dropped(struct worker *w)
{
    w->dropped++;
}

void worker_count_object(struct worker *w, uint64_t bytes)
{
    w->objects++;
    w->bytes += bytes;
}

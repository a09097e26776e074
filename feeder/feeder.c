/* feeder - reads the list, owns every task until its receipt arrives, writes the manifest.
 *
 * Powers: reads the lists, binds one inbox, connects to the workers' inboxes, writes stdout. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "feeder/crew.h"
#include "feeder/input.h"
#include "feeder/manifest.h"
#include "feeder/progress.h"
#include "feeder/retry.h"
#include "feeder/window.h"
#include "lib/fault.h"
#include "lib/heap.h"
#include "lib/opt.h"
#include "lib/say.h"
#include "lib/stop.h"

enum {
    LINES_A_TURN = 2000,
    FLUSH_BYTES = 32768,   /* the manifest is written when so much has come together, */
    FLUSH_MS = 100,        /* or so long ago the oldest line of it */
    GOODBYE_MS = 5000,     /* for the workers to hear that the run is over */
    SHORTEST_MS = 250,     /* of a run: workers started together with us may still be on their way */
    LONELY_MS = 5000,      /* without a fetcher or an uploader, until we say so */
    LONELY_AGAIN_MS = 60000,
};

static struct {
    const char *at, *log_format;
    bool insecure, quiet, verbose;
    int64_t ready_fd, window, retry, retry_delay_ms, lease_ms, stats_ms;
} settings = {.log_format = "text", .ready_fd = -1, .window = 10000, .retry = 3,
              .retry_delay_ms = 1000, .lease_ms = 10000, .stats_ms = 30000};

static const struct opt options[] = {
    {"at", 0, "ENDPOINT", OPT_TEXT, &settings.at, 0, 0,
     "our inbox, ipc:// or tcp:// (default: named after this directory; env SLUICE_AT)"},
    {"insecure", 0, NULL, OPT_FLAG, &settings.insecure, 0, 0,
     "allow tcp beyond loopback, unencrypted"},
    {"window", 0, "N", OPT_INT, &settings.window, 1, 1000000,
     "tasks read and not settled, at most (10000)"},
    {"retry", 0, "N", OPT_INT, &settings.retry, 0, 1000,
     "tries after the first, for what may pass (3)"},
    {"retry-delay", 0, "S", OPT_SECONDS, &settings.retry_delay_ms, 0, 3600000,
     "longest wait before the first retry, doubled each time (1)"},
    {"lease", 0, "S", OPT_SECONDS, &settings.lease_ms, 100, 3600000,
     "a task nobody gives evidence of for S seconds is handed out again (10)"},
    {"stats", 0, "S", OPT_SECONDS, &settings.stats_ms, 0, 86400000,
     "seconds between progress lines where stderr is no terminal (30; 0: none)"},
    {"ready-fd", 0, "N", OPT_INT, &settings.ready_fd, 0, 1 << 20,
     "write a newline to this descriptor when listening"},
    {"quiet", 'q', NULL, OPT_FLAG, &settings.quiet, 0, 0, "errors, warnings and the ledger only"},
    {"verbose", 'v', NULL, OPT_FLAG, &settings.verbose, 0, 0, "say more"},
    {"log-format", 0, "text|json", OPT_TEXT, &settings.log_format, 0, 0,
     "how stderr is written (text)"},
    {0},
};

static const struct opt *const tables[] = {options, NULL};
static const struct opt_program program = {
    "feeder", "[options] [LIST|-]...",
    "Hands out a list of URLs to fetchers; writes one JSON line per URL on stdout.",
    "examples:\n"
    "  fetcher & fetcher & uploader dir:out & feeder urls.txt > manifest.jsonl\n"
    "  zcat urls.gz | feeder > manifest.jsonl\n",
    tables};

struct feeder {
    struct loop *loop;
    struct input *input;
    struct window window;
    struct crew crew;
    struct manifest manifest;
    struct progress progress;
    int stop_fd;
    int asked;              /* how often to stop */
    bool list_ended, list_broken, manifest_lost;
    bool watching_list;
    int64_t over_until_ms;  /* clock; 0: the run is not over */
    int64_t started_ms;     /* clock */
    int64_t lonely_since_ms, lonely_said_ms;
    uint64_t last_line;     /* last line read */
};

/* Outcomes. */

static struct manifest_entry entry_of(const struct task *t, unsigned tries)
{
    return (struct manifest_entry){.id = t->id, .url = t->url, .url_len = t->url_len,
                                   .tries = tries};
}

static void settle(struct feeder *f, struct task *t)
{
    crew_forget_task(t);
    window_settle(&f->window, t);
}

/* A receipt of any attempt settles the task. */
static void on_stored(void *arg, const struct member *from, const struct msg_outcome *o)
{
    struct feeder *f = arg;
    struct task *t = window_task(&f->window, o->task);
    if (!t) {
        f->crew.dropped++;
        return;
    }
    const struct member *fetcher = crew_member(&f->crew, o->fetcher);
    struct manifest_entry e = entry_of(t, t->failures + 1);
    e.fetcher = fetcher ? fetcher->name : NULL;
    e.uploader = from->name;
    manifest_delivered(&f->manifest, &e, o);
    settle(f, t);
}

static void give_up(struct feeder *f, struct task *t, const struct member *from,
                    const struct msg_outcome *o)
{
    struct manifest_entry e = entry_of(t, t->failures ? t->failures : 1);
    if (from)
        *(from->fetcher ? &e.fetcher : &e.uploader) = from->name;
    manifest_failed(&f->manifest, &e, o);
    settle(f, t);
}

/* Lost, not failed: nobody's fault that we know of, so it costs no try. */
static void lose(struct feeder *f, struct task *t, bool begun)
{
    static const char why[] = "lost again and again after it had begun: it may kill its fetchers";
    struct msg_outcome lost = {.class = msg_text("lost"), .detail = msg_text(why)};
    crew_forget_task(t);
    t->losses += begun;
    if (t->losses >= CREW_FATAL_LOSSES) {
        give_up(f, t, NULL, &lost);
        return;
    }
    window_land(&f->window, t);
}

static bool is_class(const struct msg_outcome *o, const char *class)
{
    return o->class.len == strlen(class) && memcmp(o->class.s, class, o->class.len) == 0;
}

/* A failure counts only if its dispatch is the current one. */
static void on_failed(void *arg, const struct member *from, const struct msg_outcome *o)
{
    struct feeder *f = arg;
    struct task *t = window_dispatch(&f->window, o->d);
    if (!t) {
        f->crew.dropped++;
        return;
    }
    if (is_class(o, "lost") || is_class(o, "paused")) {
        say(SAY_DEBUG, "line %llu: %.*s, handing it out again", (unsigned long long)t->id,
            (int)o->detail.len, o->detail.s ? o->detail.s : "");
        lose(f, t, false);
        return;
    }
    t->failures++;
    if (!o->retry || t->failures > settings.retry) {
        give_up(f, t, from, o);
        return;
    }
    uint64_t bits;
    id_random(&bits, sizeof bits);
    crew_forget_task(t);
    window_wait(&f->window, t,
                clock_ms() + retry_wait_ms(settings.retry_delay_ms, t->failures,
                                           (int64_t)o->retry_after_ms, bits));
}

/* The loop's verbs. */

static void expire_leases(struct feeder *f)
{
    struct task *t, *tmp;
    static int64_t looked_ms;
    int64_t now = f->crew.patience.now_ms;
    if (now - looked_ms < f->crew.beat_ms / 2)
        return;
    looked_ms = now;
    HASH_ITER(by_d, f->window.by_d, t, tmp)
        if (now - t->seen_ms > f->crew.lease_ms) {
            say(SAY_DEBUG, "line %llu: nobody has it any more, handing it out again",
                (unsigned long long)t->id);
            lose(f, t, crew_begun(t));
        }
}

static void refuse_line(struct feeder *f, const struct input_line *line)
{
    char why[128];
    snprintf(why, sizeof why, "%s:%llu %s", line->file, (unsigned long long)line->file_line,
             line->bad);
    say(SAY_WARN, "%s:%llu: '%.*s' %s", line->file, (unsigned long long)line->file_line,
        (int)(line->len < 200 ? line->len : 200), line->text, line->bad);
    struct manifest_entry e = {.id = line->number, .url = line->text, .url_len = line->len,
                               .tries = 0};
    struct msg_outcome o = {.class = msg_text("input"), .detail = msg_text(why)};
    manifest_failed(&f->manifest, &e, &o);
}

static bool room_for_lines(const struct feeder *f)
{
    return f->window.size + f->manifest.pending < f->window.most;
}

static void on_list(void *arg, int fd, int ready)
{
    (void)arg, (void)fd, (void)ready; /* the turn reads it */
}

/* Full means: stop listening. The pipe fills, and whoever writes it waits. */
static void watch_list(struct feeder *f, bool wanted)
{
    int fd = input_fd(f->input);
    if (fd < 0 || wanted == f->watching_list)
        return;
    if (wanted && loop_watch(f->loop, fd, LOOP_READ, on_list, f))
        return; /* a regular file (EPERM) is always ready */
    if (!wanted)
        loop_unwatch(f->loop, fd);
    f->watching_list = wanted;
}

static void read_list(struct feeder *f)
{
    struct input_line line;
    int got = 1;
    for (int i = 0; i < LINES_A_TURN && !f->list_ended && !f->asked && room_for_lines(f); i++) {
        int fd = input_fd(f->input);
        if ((got = input_next(f->input, &line)) != 1)
            break;
        if (fd != input_fd(f->input) && f->watching_list) {
            loop_unwatch(f->loop, fd);
            f->watching_list = false;
        }
        f->last_line = line.number;
        f->manifest.ledger.fed++;
        if (line.bad)
            refuse_line(f, &line);
        else if (!window_add(&f->window, line.number, line.text, line.len))
            say_die(EXIT_TEMP, "out of memory at --window %lld", (long long)settings.window);
        FAULT("feeder.line.read");
    }
    if (got < 0 && f->watching_list)
        f->watching_list = false;
    f->list_ended |= got < 0;
    if (got == -2 && !f->list_broken) {
        f->list_broken = true;
        say(SAY_ERROR, "%s: %s (after line %llu); finishing what was read",
            input_where(f->input), strerror(errno), (unsigned long long)f->last_line);
    }
    watch_list(f, got == 0 && !f->list_ended && !f->asked && room_for_lines(f));
}

/* The head of the ready queue, as far as it goes in one message. A suspect goes alone, and a
 * short list is spread over all fetchers. */
static uint32_t pick_tasks(const struct feeder *f, uint64_t credit, struct task **ts)
{
    const struct window *w = &f->window;
    uint64_t ready = w->size - w->waiting - w->in_flight;
    uint64_t most = ready / (f->crew.fetchers + 1) + 1;
    uint32_t count = 0;
    if (most > credit)
        most = credit;
    if (most > CREW_TASKS)
        most = CREW_TASKS;
    for (struct task *t = w->ready; t && count < most; t = t->next) {
        if (count && crew_suspects(t))
            break;
        ts[count++] = t;
        if (crew_suspects(t))
            break;
    }
    return count;
}

static void dispatch(struct feeder *f)
{
    window_wake(&f->window, clock_ms());
    if (f->asked || f->over_until_ms || !f->crew.uploaders)
        return;
    while (f->window.ready) {
        struct task *ts[CREW_TASKS];
        uint64_t credit;
        struct member *m = crew_free_fetcher(&f->crew, crew_suspects(f->window.ready), &credit);
        if (!m || !crew_send_tasks(&f->crew, m, ts, pick_tasks(f, credit, ts)))
            return;
    }
}

static void write_manifest(struct feeder *f, bool all)
{
    struct manifest *m = &f->manifest;
    bool due = m->lines.len >= FLUSH_BYTES || (m->pending && clock_ms() - m->oldest_ms >= FLUSH_MS);
    if (f->manifest_lost)
        return;
    int got = (all && m->pending) || due ? manifest_flush(m) : 0;
    crew_covered(&f->crew, m->made, m->made - m->pending);
    if (got < 0) {
        say(SAY_ERROR, "the manifest (stdout): %s: stopping", strerror(errno));
        f->manifest_lost = true;
        crew_over(&f->crew, "the manifest can't be written");
        f->over_until_ms = clock_ms() + GOODBYE_MS;
    }
}

static void complain(struct feeder *f)
{
    int64_t now = clock_ms();
    bool lonely = f->window.size && (!f->crew.fetchers || !f->crew.uploaders);
    if (!lonely) {
        f->lonely_since_ms = 0;
        return;
    }
    if (!f->lonely_since_ms)
        f->lonely_since_ms = now;
    if (now - f->lonely_since_ms < LONELY_MS ||
        (f->lonely_said_ms > f->lonely_since_ms && now - f->lonely_said_ms < LONELY_AGAIN_MS))
        return;
    f->lonely_said_ms = now;
    const char *at = wire_endpoint(f->crew.inbox);
    if (!f->crew.fetchers)
        say(SAY_WARN, "waiting for a fetcher: start one with `fetcher --at %s`", at);
    if (!f->crew.uploaders)
        say(SAY_WARN, "waiting for an uploader: start one with `uploader --at %s dir:OUT`", at);
}

static void heed_signals(struct feeder *f)
{
    int asked = stop_asked(f->stop_fd);
    if (asked == f->asked)
        return;
    if (asked == 1)
        say(SAY_WARN, "stopping after line %llu: finishing %u tasks in flight (again: now)",
            (unsigned long long)f->last_line, f->window.in_flight);
    f->asked = asked;
}

static bool work_is_done(const struct feeder *f)
{
    if (f->asked >= 2)
        return true;
    if (f->asked || f->list_broken)
        return f->asked ? f->window.in_flight == 0 : f->window.size == 0;
    return f->list_ended && f->window.size == 0;
}

/* What a stopped run leaves is said line by line, so that nothing read is unaccounted for. */
static void leave_open(struct feeder *f)
{
    struct task *t, *tmp;
    HASH_ITER(by_id, f->window.by_id, t, tmp) {
        struct manifest_entry e = entry_of(t, t->failures);
        manifest_open_task(&f->manifest, &e);
        settle(f, t);
    }
}

/* Once the work is done the workers are told; they leave, then we do. */
static bool finished(struct feeder *f)
{
    if (!f->over_until_ms && work_is_done(f)) {
        leave_open(f);
        write_manifest(f, true);
        if (f->manifest.pending && !f->manifest_lost && f->asked < 2)
            return false;
        crew_over(&f->crew, f->asked ? "stopped" : "every line is settled");
        f->over_until_ms = f->over_until_ms ? f->over_until_ms : clock_ms() + GOODBYE_MS;
    }
    if (!f->over_until_ms)
        return false;
    crew_tell(&f->crew);
    if (f->asked >= 2 || clock_ms() >= f->over_until_ms)
        return true;
    return crew_all_gone(&f->crew) && clock_ms() - f->started_ms >= SHORTEST_MS;
}

static void wait_for_news(struct feeder *f)
{
    int64_t sleep_ms = crew_sleep_ms(&f->crew), now = clock_ms();
    bool can_read = !f->list_ended && !f->asked && room_for_lines(f) && !f->watching_list;
    if (can_read)
        sleep_ms = 0;
    if (f->manifest.pending && f->manifest.oldest_ms + FLUSH_MS - now < sleep_ms)
        sleep_ms = f->manifest.oldest_ms + FLUSH_MS - now;
    if (f->manifest.pending && sleep_ms < 1)
        sleep_ms = can_read ? 0 : 1;
    if (f->window.waiting && f->window.next_due_ms - now < sleep_ms)
        sleep_ms = f->window.next_due_ms - now;
    if (f->over_until_ms && sleep_ms > 20)
        sleep_ms = 20;
    loop_wait(f->loop, sleep_ms);
}

static void wake(void *arg, int fd, int ready)
{
    (void)fd, (void)ready;
    if (arg)
        wire_ready(arg);
}

static void open_all(struct feeder *f, int argc, char **argv)
{
    int first = opt_parse(&program, argc, argv);
    struct rlimit limit;
    char at[PLACE_MAX];
    bool json = strcmp(settings.log_format, "json") == 0;
    if (!json && strcmp(settings.log_format, "text"))
        say_die(EXIT_USAGE, "--log-format: '%s' is neither text nor json", settings.log_format);
    say_setup("feeder", settings.quiet ? SAY_WARN : settings.verbose ? SAY_DEBUG : SAY_INFO, json);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    place_at(settings.at, at);
    place_check("at", at, settings.insecure);
    manifest_open(&f->manifest, STDOUT_FILENO);
    f->input = input_open(argv + first, argc - first);
    f->stop_fd = stop_open();
    f->loop = loop_open();
    if (f->stop_fd < 0 || !f->loop || wire_setup(CREW_MOST + 16))
        say_die(EXIT_TEMP, "cannot start: %s", strerror(errno));
    f->started_ms = clock_ms();
    window_open(&f->window, (unsigned)settings.window);
    crew_open(&f->crew, f->loop, &f->window, at, settings.lease_ms);
    f->crew.stored = on_stored;
    f->crew.failed = on_failed;
    f->crew.arg = f;
    loop_watch(f->loop, f->stop_fd, LOOP_READ, wake, NULL);
    loop_watch(f->loop, wire_fd(f->crew.inbox), LOOP_READ, wake, f->crew.inbox);
    progress_open(&f->progress, settings.quiet, settings.stats_ms);
    stop_ready((int)settings.ready_fd);
}

static int close_all(struct feeder *f)
{
    progress_close(&f->progress);
    const struct ledger *l = &f->manifest.ledger;
    if (f->manifest.pending)
        say(SAY_ERROR, "the manifest lacks its last %llu lines",
            (unsigned long long)f->manifest.pending);
    f->manifest_lost |= f->manifest.pending > 0;
    /* A manifest that can't be written has no ledger to trust. */
    bool exact = f->manifest_lost || manifest_say_ledger(&f->manifest);
    int status = !exact                                ? EXIT_LEDGER
                 : f->manifest_lost || f->list_broken ? EXIT_UNUSABLE
                 : f->asked                            ? EXIT_STOPPED
                 : l->failed                           ? EXIT_SOME
                                                       : EXIT_ALL;
    loop_unwatch(f->loop, wire_fd(f->crew.inbox));
    window_close(&f->window);
    crew_close(&f->crew);
    input_close(f->input);
    manifest_close(&f->manifest);
    wire_teardown();
    loop_close(f->loop);
    return status;
}

int main(int argc, char **argv)
{
    static struct feeder f;
    heap_setup();
    open_all(&f, argc, argv);
    for (;;) {
        crew_listen(&f.crew);
        heed_signals(&f);
        expire_leases(&f);
        read_list(&f);
        dispatch(&f);
        write_manifest(&f, false);
        crew_tell(&f.crew);
        complain(&f);
        progress_tick(&f.progress, &f.manifest.ledger, f.window.in_flight,
                      input_offset(f.input), input_size(f.input));
        if (finished(&f))
            break;
        wait_for_news(&f);
    }
    return close_all(&f);
}

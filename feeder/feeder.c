/* feeder - reads the list, owns every task until its receipt arrives, writes the manifest.
 *
 * Powers: reads the lists, binds one inbox, connects to the workers' inboxes, writes stdout or
 * below --journal, and --joblog. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "feeder/crew.h"
#include "feeder/custody.h"
#include "feeder/input.h"
#include "feeder/journal.h"
#include "feeder/manifest.h"
#include "feeder/options.h"
#include "feeder/pace.h"
#include "feeder/progress.h"
#include "feeder/window.h"
#include "lib/fault.h"
#include "lib/heap.h"
#include "lib/say.h"
#include "lib/stop.h"

enum {
    LINES_A_TURN = 2000,
    DISPATCH_MS = 5,       /* of a turn */
    FLUSH_BYTES = 32768,   /* the manifest is written when so much has come together, */
    FLUSH_MS = 100,        /* or so long ago the oldest line of it */
    GOODBYE_MS = 5000,     /* for the workers to hear that the run is over */
    SHORTEST_MS = 250,     /* of a run: workers started together with us may still be on their way, */
    SHORTEST_AGAIN_MS = 1000, /* and those of an earlier feeder look for us each beat only */
    LONELY_MS = 5000,      /* without a fetcher or an uploader, until we say so */
    LONELY_AGAIN_MS = 60000,
    AHEAD_MS = 10000,      /* read before anybody is listened to, at most */
    FULL_MS = 250,         /* between two tries to write into a journal on a full disk */
};

struct feeder {
    struct loop *loop;
    struct input *input;
    struct window window;
    struct crew crew;
    struct manifest manifest;
    struct custody custody;
    struct pace pace;
    struct journal journal;
    struct progress progress;
    int stop_fd;
    int asked;              /* how often to stop */
    bool list_ended, list_broken, manifest_lost;
    bool watching_list;
    bool passing_over;      /* lines that are not fed: more may be there at once */
    bool dispatching;       /* there was no time for all that could have gone */
    int64_t over_until_ms;  /* clock; 0: the run is not over */
    int64_t started_ms;     /* clock */
    int64_t lonely_since_ms, lonely_said_ms;
    uint64_t last_line;     /* last line read */
    bool manifest_full;     /* the journal's disk is: said */
    int64_t try_again_ms;   /* clock; not to be written before */
};

static struct journal_of saved(struct feeder *f)
{
    return (struct journal_of){f->input, &f->window, &f->manifest, f->crew.dest};
}

/* The loop's verbs. */

static bool room_for_lines(const struct feeder *f)
{
    return (uint64_t)f->window.size + manifest_pending(&f->manifest) < f->window.most;
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
        got = input_next(f->input, &line);
        if (fd != input_fd(f->input) && f->watching_list) {
            loop_unwatch(f->loop, fd); /* stdin stays open, and readable, at its end */
            f->watching_list = false;
        }
        if (got != 1)
            break;
        f->last_line = line.number;
        if (journal_has(&f->journal, line.number, line.text, line.len))
            continue; /* counted */
        f->manifest.ledger.fed++;
        if (line.bad)
            custody_refuse(&f->custody, &line);
        else if (!window_add(&f->window, line.number, line.text, line.len))
            say_die(EXIT_TEMP, "out of memory at --window %lld", (long long)settings.window);
        FAULT("feeder.line.read");
    }
    f->list_ended |= got < 0;
    f->passing_over = got == 2;
    if (got == -2 && !f->list_broken) {
        f->list_broken = true;
        say(SAY_ERROR, "%s: %s (after line %llu); finishing what was read",
            input_where(f->input), strerror(errno), (unsigned long long)f->last_line);
    }
    watch_list(f, got == 0 && !f->list_ended && !f->asked && room_for_lines(f));
}

/* The head of the ready queue, as far as it may go (`pace`) in one message. A suspect goes alone,
 * and a few are spread over all fetchers. */
static uint32_t pick_tasks(const struct feeder *f, uint64_t pace, uint64_t credit,
                           struct task **ts)
{
    const struct window *w = &f->window;
    uint64_t ready = w->size - w->waiting - w->in_flight;
    uint64_t most = (ready < pace ? ready : pace) / (f->crew.fetchers + 1) + 1;
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
    int64_t until_ms = clock_ms() + DISPATCH_MS;
    window_wake(&f->window, clock_ms());
    f->dispatching = false;
    if (f->asked || f->over_until_ms || !f->crew.uploaders || crew_is_claiming(&f->crew) ||
        !journal_has_dest(&f->journal, f->crew.dest))
        return;
    while (f->window.ready && !f->dispatching) {
        struct task *ts[CREW_TASKS];
        uint64_t credit, most = pace_now(&f->pace, f->list_ended);
        if (!most)
            return;
        struct member *m = crew_free_fetcher(&f->crew, crew_suspects(f->window.ready), &credit);
        if (!m)
            return;
        if (crew_send_tasks(&f->crew, m, ts, pick_tasks(f, most, credit, ts)))
            pace_sent(&f->pace); /* if not: another takes them */
        f->dispatching = clock_ms() >= until_ms;
    }
}

static void lose_manifest(struct feeder *f, const char *why)
{
    f->manifest_lost = true;
    manifest_cut_torn(&f->manifest);
    crew_over(&f->crew, why);
    f->over_until_ms = clock_ms() + GOODBYE_MS;
}

/* A full disk under a journal is waited for: what is not written counts against the window. */
static bool may_pass(struct feeder *f)
{
    if (!f->journal.path || (errno != ENOSPC && errno != EDQUOT))
        return false;
    if (!f->manifest_full)
        say(SAY_WARN, "the manifest (%s): %s: waiting for room", f->journal.path, strerror(errno));
    f->manifest_full = true;
    f->try_again_ms = clock_ms() + FULL_MS;
    return true;
}

static void write_manifest(struct feeder *f, bool all)
{
    struct manifest *m = &f->manifest;
    bool due = m->lines.lines.len >= FLUSH_BYTES ||
               (m->lines.pending && clock_ms() - m->lines.oldest_ms >= FLUSH_MS);
    if (f->manifest_lost || clock_ms() < f->try_again_ms)
        return;
    int got = all || due || f->manifest_full ? manifest_flush(m) : 0;
    if (got < 0 && !may_pass(f)) {
        say(SAY_ERROR, "the manifest (%s): %s: stopping",
            f->journal.path ? f->journal.path : "stdout", strerror(errno));
        lose_manifest(f, "the manifest can't be written");
    }
    if (got > 0 && f->manifest_full) {
        say(SAY_WARN, "the manifest is written again");
        f->manifest_full = false;
    }
    crew_covered(&f->crew, m->lines.made, m->lines.made - m->lines.pending);
}

static void save(struct feeder *f)
{
    struct journal_of of = saved(f);
    if (f->manifest_lost || journal_turn(&f->journal, &of))
        return;
    say(SAY_ERROR, "%s: stopping", f->journal.path);
    lose_manifest(f, "the journal can't be written");
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
    if (f->asked)
        return f->window.in_flight == 0 && !crew_is_claiming(&f->crew);
    return (f->list_ended || f->list_broken) && f->window.size == 0;
}

/* Once the work is done the workers are told; they leave, then we do. */
static bool finished(struct feeder *f)
{
    if (!f->over_until_ms && work_is_done(f)) {
        if (!f->journal.path)
            custody_leave_open(&f->custody);
        write_manifest(f, true);
        if (!manifest_is_out(&f->manifest) && !f->manifest_lost && f->asked < 2)
            return false;
        crew_over(&f->crew, f->asked ? "stopped" : "every line is settled");
        f->over_until_ms = f->over_until_ms ? f->over_until_ms : clock_ms() + GOODBYE_MS;
    }
    if (!f->over_until_ms)
        return false;
    crew_tell(&f->crew);
    if (f->asked >= 2 || clock_ms() >= f->over_until_ms)
        return true;
    bool again = f->crew.epoch > 1 && !f->journal.finished;
    return crew_all_gone(&f->crew) &&
           clock_ms() - f->started_ms >= (again ? SHORTEST_AGAIN_MS : SHORTEST_MS);
}

static void wait_for_news(struct feeder *f)
{
    int64_t sleep_ms = crew_sleep_ms(&f->crew), now = clock_ms();
    bool can_go_on = f->dispatching ||
                     (!f->list_ended && !f->asked && room_for_lines(f) && !f->watching_list);
    if (can_go_on)
        sleep_ms = 0;
    if (pace_sleep_ms(&f->pace) < sleep_ms)
        sleep_ms = pace_sleep_ms(&f->pace);
    if (manifest_pending(&f->manifest)) {
        int64_t due_ms = f->manifest.lines.oldest_ms + FLUSH_MS;
        if (due_ms < f->try_again_ms)
            due_ms = f->try_again_ms;
        if (due_ms - now < sleep_ms)
            sleep_ms = due_ms - now;
        if (sleep_ms < 1)
            sleep_ms = can_go_on ? 0 : 1;
    }
    if (journal_sleep_ms(&f->journal) < sleep_ms)
        sleep_ms = journal_sleep_ms(&f->journal);
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

/* The manifest, and what an earlier feeder has left of the run. */
static void open_run(struct feeder *f, const char *at)
{
    uint8_t run[ID_RUN_BYTES];
    uint64_t epoch = 1;
    int joblog = options_open_joblog();
    id_random(run, sizeof run);
    window_open(&f->window, (unsigned)settings.window);
    if (settings.journal) {
        struct journal_of of = saved(f);
        journal_open(&f->journal, settings.journal, &of, joblog);
        memcpy(run, f->journal.run, sizeof run);
        epoch = f->journal.epoch;
    } else {
        manifest_open(&f->manifest, STDOUT_FILENO, -1, joblog);
    }
    crew_open(&f->crew, f->loop, &f->window, at, settings.lease_ms, run, epoch);
    pace_open(&f->pace, &settings.pace_rule, &f->window, &f->crew);
    memcpy(f->crew.dest, f->journal.dest, sizeof f->crew.dest);
    f->list_ended = f->journal.finished;
    if (f->journal.finished)
        say(SAY_WARN, "%s: finished already: every line is settled", settings.journal);
}

/* Outcomes of lines that are not read again yet would be of no use: the list comes before the
 * inbox. A stream is not waited for, nor do workers wait long for us. */
static void read_ahead(struct feeder *f)
{
    uint64_t before;
    do {
        before = f->last_line;
        read_list(f);
        heed_signals(f);
    } while ((f->last_line != before || (f->passing_over && f->crew.epoch > 1)) && !f->asked &&
             clock_ms() - f->started_ms < AHEAD_MS);
}

static void open_all(struct feeder *f, int argc, char **argv)
{
    int first = options_read(argc, argv);
    struct rlimit limit;
    char at[PLACE_MAX];
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    place_at(settings.at, at);
    place_check("at", at, settings.insecure);
    f->input = options_open_list(argv + first, argc - first);
    f->stop_fd = stop_open();
    f->loop = loop_open();
    if (f->stop_fd < 0 || !f->loop || wire_setup(CREW_MOST + 16))
        say_die(EXIT_TEMP, "cannot start: %s", strerror(errno));
    f->started_ms = clock_ms();
    open_run(f, at);
    f->custody = (struct custody){.window = &f->window, .crew = &f->crew,
                                  .manifest = &f->manifest, .retry = settings.retry,
                                  .retry_delay_ms = settings.retry_delay_ms};
    custody_open(&f->custody);
    read_ahead(f);
    if (loop_watch(f->loop, f->stop_fd, LOOP_READ, wake, NULL) ||
        loop_watch(f->loop, wire_fd(f->crew.inbox), LOOP_READ, wake, f->crew.inbox) ||
        (settings.journal &&
         loop_watch(f->loop, journal_fd(&f->journal), LOOP_READ, wake, NULL)))
        say_die(EXIT_TEMP, "epoll: %s", strerror(errno));
    progress_open(&f->progress, settings.quiet, settings.stats_ms);
    stop_ready((int)settings.ready_fd);
}

/* What the ledger says is exact, or nothing is. */
static int status_of(const struct feeder *f)
{
    const struct ledger *l = &f->manifest.ledger;
    /* A manifest that can't be written has no ledger to trust. */
    bool exact = f->manifest_lost || manifest_say_ledger(&f->manifest);
    return !exact                                ? EXIT_LEDGER
           : f->manifest_lost || f->list_broken ? EXIT_UNUSABLE
           : f->asked                            ? EXIT_STOPPED
           : l->failed && !f->journal.finished   ? EXIT_SOME
                                                 : EXIT_ALL;
}

static int close_all(struct feeder *f)
{
    struct journal_of of = saved(f);
    bool complete = f->list_ended && !f->list_broken && !f->window.size;
    progress_close(&f->progress);
    if (manifest_pending(&f->manifest))
        say(SAY_ERROR, "the manifest lacks its last %llu lines",
            (unsigned long long)manifest_pending(&f->manifest));
    f->manifest_lost |= !manifest_is_out(&f->manifest);
    if (settings.journal)
        f->manifest.ledger.open = f->window.size;
    if (!journal_close(&f->journal, &of, complete) && !f->manifest_lost)
        f->manifest_lost = true; /* said */
    if (settings.pace)
        say(SAY_INFO, "--pace %s: at most %u in flight", settings.pace, f->window.peak_in_flight);
    int status = status_of(f);
    loop_unwatch(f->loop, wire_fd(f->crew.inbox));
    crew_close(&f->crew); /* first: its members have tasks of the window */
    window_close(&f->window);
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
        custody_expire(&f.custody);
        read_list(&f);
        dispatch(&f);
        write_manifest(&f, false);
        save(&f);
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

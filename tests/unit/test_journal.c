/* journal: whatever a feeder was doing when it was killed, the next one settles each line once. */
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "feeder/journal.h"
#include "feeder/line.h"
#include "lib/clock.h"
#include "lib/say.h"
#include "tests/unit/helpers.h"

enum { LINES = 60, ALL = INT32_MAX };

static _Atomic int64_t now_ms = 1000;

static int64_t fake_clock(void)
{
    return now_ms;
}

/* What one feeder does, and what it saw. */
struct session {
    const char *dir;
    const char *lists[3];      /* NULL-terminated */
    unsigned window;           /* 0: 1000 */
    int read, settle, then;    /* lines to be read, tasks to be settled, lines to be read then */
    uint64_t first;            /* settled are tasks from this on */
    bool save, close;          /* a checkpoint; a good end; else it is killed */
    struct seen {              /* shared with the parent */
        uint64_t epoch, fed, delivered, failed, open;
        bool finished, closed_well, ended;
        int added;             /* lines that were not settled before */
    } *seen;
};

struct run {
    struct journal journal;
    struct window window;
    struct manifest manifest;
    struct input *input;
    struct session *s;
};

static struct journal_of of(struct run *r)
{
    return (struct journal_of){r->input, &r->window, &r->manifest, "dir:out"};
}

static void settle(struct run *r, uint64_t id, const char *url, size_t url_len)
{
    struct manifest_entry e = {.id = id, .url = url, .url_len = url_len, .tries = 1};
    struct msg_outcome o = {.bytes = id, .existing = id & 1, .class = msg_text("http"),
                            .key = msg_text("ab/cd")};
    if (id % 5 == 0)
        manifest_failed(&r->manifest, &e, &o);
    else
        manifest_delivered(&r->manifest, &e, &o);
}

/* As the feeder does. */
static void read_lines(struct run *r, int most)
{
    struct input_line line;
    int got = 1;
    while (most-- && r->window.size < r->window.most && (got = input_next(r->input, &line)) == 1) {
        if (journal_has(&r->journal, line.number, line.text, line.len))
            continue;
        r->manifest.ledger.fed++;
        r->s->seen->added++;
        if (line.bad)
            settle(r, line.number, line.text, line.len);
        else if (!window_add(&r->window, line.number, line.text, line.len))
            abort();
    }
    r->s->seen->ended |= got == -1;
}

static void settle_some(struct run *r, int most)
{
    struct task *t, *tmp;
    HASH_ITER(by_id, r->window.by_id, t, tmp) {
        if (t->id < r->s->first || most-- <= 0)
            continue;
        settle(r, t->id, t->url, t->url_len);
        window_settle(&r->window, t);
    }
}

static void save(struct run *r)
{
    struct journal_of what = of(r);
    now_ms += 100000;
    if (!journal_turn(&r->journal, &what))
        abort();
    struct pollfd p = {.fd = journal_fd(&r->journal), .events = POLLIN};
    while (r->journal.busy && poll(&p, 1, DEADLINE_S * 1000) == 1)
        if (!journal_turn(&r->journal, &what))
            abort();
}

static void note(struct run *r)
{
    const struct ledger *l = &r->manifest.ledger;
    struct seen *s = r->s->seen;
    s->epoch = r->journal.epoch;
    s->finished = r->journal.finished;
    s->fed = l->fed;
    s->delivered = l->delivered;
    s->failed = l->failed;
    s->open = r->window.size;
}

static void close_all(struct run *r)
{
    struct journal_of what = of(r);
    bool complete = (r->s->seen->ended || r->journal.finished) && !r->window.size;
    r->s->seen->closed_well = journal_close(&r->journal, &what, complete);
    window_close(&r->window);
    input_close(r->input);
    manifest_close(&r->manifest);
}

static void session(void *arg)
{
    struct run r = {.s = arg};
    struct session *s = arg;
    int count = 0;
    while (s->lists[count])
        count++;
    say_setup("feeder", SAY_WARN, false);
    clock_source = fake_clock;
    r.input = input_open((char *const *)(uintptr_t)s->lists, count, NULL);
    window_open(&r.window, s->window ? s->window : 1000);
    struct journal_of what = of(&r);
    journal_open(&r.journal, s->dir, &what, -1);
    if (!r.journal.finished)
        read_lines(&r, s->read);
    settle_some(&r, s->settle);
    if (!r.journal.finished)
        read_lines(&r, s->then);
    if (manifest_flush(&r.manifest) != 1)
        abort();
    if (s->save)
        save(&r);
    note(&r);
    if (s->close)
        close_all(&r);
}

static struct seen *run_session(struct session *s)
{
    static struct seen *seen;
    char *said;
    if (!seen)
        seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *seen = (struct seen){0};
    s->seen = seen;
    int status = in_child(session, s, &said);
    if (status)
        print_error("%s\n", said);
    assert_int_equal(status, 0);
    free(said);
    return seen;
}

/* A directory of its own with a list in it. */
struct place {
    char dir[64], list[96], journal[96];
};

static void make_place(struct place *p)
{
    strcpy(p->dir, "/tmp/sluice-test-journal-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->list, sizeof p->list, "%s/list", p->dir);
    snprintf(p->journal, sizeof p->journal, "%s/journal", p->dir);
    FILE *f = fopen(p->list, "w");
    assert_non_null(f);
    for (int i = 1; i <= LINES; i++)
        fprintf(f, i % 7 ? "http://h/%d\n" : "# %d\r\n", i);
    fprintf(f, "http://h/the-last-one-has-no-line-feed");
    fclose(f);
}

static char *in_journal(const struct place *p, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", p->journal, name);
    return path;
}

static void remove_place(const struct place *p)
{
    static const char *const names[] = {"manifest.jsonl", "failed", "checkpoint",
                                        "checkpoint.tmp", "lock"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_journal(p, names[i]));
    rmdir(p->journal);
    unlink(p->list);
    assert_int_equal(rmdir(p->dir), 0);
}

/* Each line of the list has one line in the manifest, and each failed one is in `failed`. */
static void assert_each_once(const struct place *p)
{
    char text[4096], seen[LINES + 2] = "";
    int failed = 0;
    FILE *f = fopen(in_journal(p, "manifest.jsonl"), "r");
    assert_non_null(f);
    while (fgets(text, sizeof text, f)) {
        struct line l;
        assert_int_equal(line_read(&l, text, strlen(text) - 1), 0);
        assert_in_range(l.id, 1, LINES + 1);
        assert_int_equal(seen[l.id]++, 0);
        failed += l.status == LINE_FAILED;
        line_free(&l);
    }
    fclose(f);
    for (int i = 1; i <= LINES + 1; i++)
        assert_int_equal(seen[i], i == LINES + 1 || i % 7 ? 1 : 0);
    f = fopen(in_journal(p, "failed"), "r");
    assert_non_null(f);
    while (fgets(text, sizeof text, f))
        failed--;
    fclose(f);
    assert_int_equal(failed, 0);
}

static void finish(const struct place *p)
{
    struct session last = {.dir = p->journal, .lists = {p->list}, .read = ALL, .settle = ALL,
                           .close = true};
    struct seen *s = run_session(&last);
    assert_true(s->closed_well);
    assert_int_equal(s->open, 0);
    assert_int_equal(s->fed, s->delivered + s->failed);
    assert_each_once(p);
    s = run_session(&last);
    assert_true(s->finished);
    assert_int_equal(s->added, 0);
    assert_int_equal(s->fed, s->delivered + s->failed);
}

static void a_feeder_killed_as_soon_as_it_has_opened_the_journal_forgets_nothing(void **state)
{
    struct place p;
    (void)state;
    make_place(&p);
    struct session works = {.dir = p.journal, .lists = {p.list}, .read = 30, .settle = 20},
                   dies = {.dir = p.journal, .lists = {p.list}};
    run_session(&works);
    for (uint64_t epoch = 2; epoch < 5; epoch++)
        assert_int_equal(run_session(&dies)->epoch, epoch);
    finish(&p);
    remove_place(&p);
}

static void a_feeder_killed_before_it_has_read_what_is_settled_forgets_nothing(void **state)
{
    struct place p;
    (void)state;
    make_place(&p);
    struct session works = {.dir = p.journal, .lists = {p.list}, .read = 50, .settle = 20,
                            .first = 25},
                   narrow = {.dir = p.journal, .lists = {p.list}, .window = 5, .read = ALL,
                             .settle = 2, .save = true},
                   stopped = {.dir = p.journal, .lists = {p.list}, .window = 5, .read = ALL,
                              .close = true};
    run_session(&works);
    run_session(&narrow);
    assert_true(run_session(&stopped)->closed_well);
    finish(&p);
    remove_place(&p);
}

static void killed_anywhere_and_again_each_line_is_settled_once(void **state)
{
    uint64_t noise = 4711;
    (void)state;
    for (int round = 0; round < 15; round++) {
        struct place p;
        make_place(&p);
        for (int i = 0; i < 8; i++) {
            noise = noise * 6364136223846793005u + 1442695040888963407u;
            struct session s = {.dir = p.journal, .lists = {p.list},
                                .window = 3 + (unsigned)(noise >> 40) % 40,
                                .read = (int)(noise >> 48) % 25, .settle = (int)(noise >> 56) % 12,
                                .then = (int)(noise >> 52) % 12, .first = (noise >> 44) % 30,
                                .save = noise >> 63, .close = noise >> 61 & 1};
            run_session(&s);
            if (noise >> 58 & 1 && i % 3 == 0)
                unlink(in_journal(&p, "checkpoint"));
        }
        finish(&p);
        remove_place(&p);
    }
}

static void several_lists_are_gone_on_with(void **state)
{
    struct place p;
    char more[128];
    (void)state;
    make_place(&p);
    snprintf(more, sizeof more, "%s/more", p.dir);
    FILE *f = fopen(more, "w");
    assert_non_null(f);
    fclose(f);
    struct session s = {.dir = p.journal, .lists = {more, p.list}, .read = 20, .settle = 3,
                        .save = true};
    for (int i = 0; i < 3; i++)
        run_session(&s);
    s.read = s.settle = ALL;
    s.save = false;
    s.close = true;
    assert_true(run_session(&s)->closed_well);
    assert_each_once(&p);
    assert_true(run_session(&s)->finished);
    unlink(more);
    remove_place(&p);
}

static void an_empty_list_is_finished_at_once(void **state)
{
    struct place p;
    (void)state;
    make_place(&p);
    assert_int_equal(truncate(p.list, 0), 0);
    struct session s = {.dir = p.journal, .lists = {p.list}, .read = ALL, .close = true};
    assert_true(run_session(&s)->closed_well);
    assert_true(run_session(&s)->finished);
    remove_place(&p);
}

/* No checkpoint, and a list that ends before the last line that the manifest settles. */
static void a_list_that_is_shorter_than_its_manifest_is_never_complete(void **state)
{
    struct place p;
    (void)state;
    make_place(&p);
    struct session s = {.dir = p.journal, .lists = {p.list}, .read = ALL, .settle = ALL},
                   again = {.dir = p.journal, .lists = {p.list}, .read = ALL, .settle = ALL,
                            .close = true};
    run_session(&s);
    assert_int_equal(unlink(in_journal(&p, "checkpoint")), 0);
    assert_int_equal(truncate(p.list, 66), 0); /* 6 lines */
    struct seen seen = {0};
    again.seen = &seen;
    assert_dies(session, &again, EXIT_UNUSABLE, "and the list ends with line 6");
    remove_place(&p);
}

static void a_list_of_failed_urls_that_was_emptied_gets_each_later_one_once(void **state)
{
    struct place p;
    size_t len;
    (void)state;
    make_place(&p);
    struct session s = {.dir = p.journal, .lists = {p.list}, .read = 20, .settle = 19,
                        .save = true};
    run_session(&s); /* fails 5, 10, 15, 20 */
    assert_int_equal(truncate(in_journal(&p, "failed"), 0), 0);
    s.save = false; /* 25, 30, 40: 35 is a comment */
    for (int i = 0; i < 4; i++, s.read = s.settle = 0)
        run_session(&s);
    int fd = open(in_journal(&p, "failed"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char *text = bytes_of(fd, &len);
    assert_string_equal(text, "http://h/25\nhttp://h/30\nhttp://h/40\n");
    free(text);
    close(fd);
    remove_place(&p);
}

static void another_list_is_refused_in_words(void **state)
{
    struct place p;
    struct seen seen = {0};
    (void)state;
    make_place(&p);
    struct session s = {.dir = p.journal, .lists = {p.list}, .read = 20, .settle = 5, .save = true};
    run_session(&s);
    s.seen = &seen;
    assert_int_equal(truncate(p.list, 100), 0);
    assert_dies(session, &s, EXIT_UNUSABLE, "is not the list that the journal began with");
    s.lists[1] = p.list;
    assert_dies(session, &s, EXIT_UNUSABLE, "the journal began with 1 lists, not 2");
    remove_place(&p);
}

static void a_checkpoint_of_a_later_version_is_left_alone(void **state)
{
    struct place p;
    struct seen seen = {0};
    (void)state;
    make_place(&p);
    struct session s = {.dir = p.journal, .lists = {p.list}, .read = 20, .settle = 5};
    run_session(&s);
    s.seen = &seen;
    FILE *f = fopen(in_journal(&p, "checkpoint"), "w");
    assert_non_null(f);
    fprintf(f, "sluice-checkpoint 2\n");
    fclose(f);
    assert_dies(session, &s, EXIT_UNUSABLE, "was written by a later version");
    assert_dies(session, &s, EXIT_UNUSABLE, "was written by a later version");
    f = fopen(in_journal(&p, "checkpoint"), "w");
    assert_non_null(f);
    fclose(f); /* 0 bytes: as if there were none */
    finish(&p);
    remove_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_feeder_killed_as_soon_as_it_has_opened_the_journal_forgets_nothing),
        cmocka_unit_test(a_feeder_killed_before_it_has_read_what_is_settled_forgets_nothing),
        cmocka_unit_test(killed_anywhere_and_again_each_line_is_settled_once),
        cmocka_unit_test(several_lists_are_gone_on_with),
        cmocka_unit_test(an_empty_list_is_finished_at_once),
        cmocka_unit_test(a_list_that_is_shorter_than_its_manifest_is_never_complete),
        cmocka_unit_test(a_list_of_failed_urls_that_was_emptied_gets_each_later_one_once),
        cmocka_unit_test(another_list_is_refused_in_words),
        cmocka_unit_test(a_checkpoint_of_a_later_version_is_left_alone),
    };
    alarm(DEADLINE_ALL_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

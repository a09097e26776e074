/* pace: each word of --pace means what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "feeder/pace.h"
#include "lib/clock.h"

static int64_t now_ms;

static int64_t fake_clock(void)
{
    return now_ms;
}

/* A window of `lines` ready tasks, a crew without wires, and a rule. */
struct stage {
    struct window window;
    struct crew crew;
    struct member members[4];
    struct pace pace;
    uint64_t next_d;
};

static void set(struct stage *s, const char *rule, unsigned lines)
{
    struct pace_rule read;
    char why[256];
    now_ms = 1000;
    clock_source = fake_clock;
    *s = (struct stage){.next_d = 1, .crew = {.heeds_room = true, .newcomer_most = 5}};
    window_open(&s->window, 10000);
    assert_int_equal(pace_read(&read, rule, why, sizeof why), 0);
    pace_open(&s->pace, &read, &s->window, &s->crew);
    for (unsigned i = 1; i <= lines; i++)
        assert_non_null(window_add(&s->window, i, "http://h/", 9));
}

static void strike(struct stage *s)
{
    HASH_CLEAR(hh, s->crew.members);
    window_close(&s->window);
}

static void join(struct stage *s, unsigned i)
{
    struct member *m = &s->members[i];
    *m = (struct member){.id = i + 1, .fetcher = true, .on_our_run = true,
                         .most = s->crew.newcomer_most};
    HASH_ADD(hh, s->crew.members, id, sizeof m->id, m);
    s->crew.fetchers++;
}

static void go(struct stage *s, unsigned i)
{
    HASH_DELETE(hh, s->crew.members, &s->members[i]);
    s->members[i].most = 0;
    s->crew.fetchers--;
}

/* Hands out all that may go. */
static unsigned send_all(struct stage *s)
{
    unsigned count = 0;
    while (s->window.ready && pace_now(&s->pace, true)) {
        window_fly(&s->window, s->window.ready, s->next_d++);
        pace_sent(&s->pace);
        count++;
    }
    return count;
}

static void settle(struct stage *s, uint64_t id)
{
    window_settle(&s->window, window_task(&s->window, id));
}

static void words_are_read_and_bad_ones_refused(void **state)
{
    static const struct { const char *text, *why; } bad[] = {
        {"", "is none of"}, {"bach:3", "is none of"},
        {"batch", "needs a number, such as batch:100"},
        {"pool", "such as pool:100"}, {"sleep", "needs a pause, such as sleep:100ms"},
        {"queue:5", "takes nothing"}, {"unbounded:", "takes nothing"},
        {"batch:", "no whole number"}, {"batch:3x", "no whole number"},
        {"batch:0", "out of range (1 to 1000000)"}, {"semaphore:-1", "out of range"},
        {"pool:1000001", "out of range"}, {"pool:99999999999999999999", "out of range"},
        {"sleep:", "no duration"}, {"sleep:soon", "no duration"}, {"sleep:2h", "no duration"},
        {"sleep:nan", "no duration"}, {"sleep:0", "out of range"}, {"sleep:-1", "out of range"},
        {"sleep:0.1ms", "out of range"}, {"sleep:1e300", "out of range"}, {"Queue", "is none of"}};
    static const struct { const char *text; int64_t ms; } pauses[] = {
        {"sleep:100ms", 100}, {"sleep:2s", 2000}, {"sleep:0.5", 500}, {"sleep:1", 1000},
        {"sleep:86400", 86400000}, {"sleep:1ms", 1}};
    struct pace_rule rule;
    char why[256];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pace_read(&rule, bad[i].text, why, sizeof why), -1);
        if (!strstr(why, bad[i].why))
            fail_msg("'%s': %s", bad[i].text, why);
    }
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        assert_int_equal(pace_read(&rule, pauses[i].text, why, sizeof why), 0);
        assert_int_equal(rule.pause_ms, pauses[i].ms);
    }
    assert_int_equal(pace_read(&rule, "pool:1000000", why, sizeof why), 0);
    assert_int_equal(rule.most, 1000000);
}

static void a_queue_leaves_it_to_window_and_credit(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "queue", 100);
    assert_int_equal(s.window.most, 10000);
    assert_int_equal(s.crew.newcomer_most, 5);
    assert_int_equal(send_all(&s), 100);
    assert_int_equal(pace_sleep_ms(&s.pace), INT32_MAX);
    strike(&s);
}

static void unbounded_reads_all_then_hands_out_all(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "unbounded", 20000); /* more than the window */
    assert_false(s.crew.heeds_room);
    join(&s, 0);
    assert_int_equal(pace_now(&s.pace, false), 0); /* it has not ended */
    assert_int_equal(pace_now(&s.pace, true), 0);  /* others may be on their way */
    assert_int_equal(pace_sleep_ms(&s.pace), PACE_GATHER_MS);
    now_ms += PACE_GATHER_MS;
    assert_int_equal(send_all(&s), 20000);
    strike(&s);
}

static void sleep_lets_one_go_a_pause(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "sleep:50ms", 100);
    assert_int_equal(send_all(&s), 1);
    assert_int_equal(pace_sleep_ms(&s.pace), 50);
    now_ms += 49;
    assert_int_equal(send_all(&s), 0);
    assert_int_equal(pace_sleep_ms(&s.pace), 1);
    now_ms += 1;
    assert_int_equal(send_all(&s), 1);
    now_ms += 1000; /* what was missed is not made up for */
    assert_int_equal(send_all(&s), 1);
    strike(&s);
}

static void a_batch_waits_for_its_last_and_its_retries_belong_to_it(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "batch:3", 10);
    assert_int_equal(send_all(&s), 3);
    settle(&s, 1);
    settle(&s, 2);
    assert_int_equal(send_all(&s), 0);
    window_wait(&s.window, window_task(&s.window, 3), now_ms + 100); /* failed, tried again later */
    assert_int_equal(send_all(&s), 0);
    now_ms += 100;
    window_wake(&s.window, now_ms);
    assert_int_equal(send_all(&s), 1); /* that one, though others were ready before it */
    assert_int_equal(window_task(&s.window, 3)->state, TASK_IN_FLIGHT);
    window_land(&s.window, window_task(&s.window, 3)); /* lost */
    assert_int_equal(send_all(&s), 1);
    settle(&s, 3);
    assert_int_equal(send_all(&s), 3);
    settle(&s, 6);
    settle(&s, 5);
    settle(&s, 4);
    assert_int_equal(send_all(&s), 3);
    strike(&s);
}

static void a_batch_is_filled_up_as_lines_come(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "batch:3", 2);
    assert_int_equal(send_all(&s), 2);
    for (uint64_t id = 3; id < 6; id++)
        window_add(&s.window, id, "http://h/", 9);
    assert_int_equal(send_all(&s), 1);
    settle(&s, 1);
    settle(&s, 2);
    assert_int_equal(send_all(&s), 0);
    settle(&s, 3);
    assert_int_equal(send_all(&s), 2);
    strike(&s);
}

static void a_batch_takes_in_what_workers_of_an_earlier_feeder_hold(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "batch:3", 10);
    window_fly(&s.window, window_task(&s.window, 7), 1); /* claimed */
    window_fly(&s.window, window_task(&s.window, 9), 2);
    s.next_d = 3;
    assert_int_equal(send_all(&s), 1);
    settle(&s, 7);
    settle(&s, 9);
    assert_int_equal(send_all(&s), 0);
    settle(&s, 1);
    assert_int_equal(send_all(&s), 3);
    strike(&s);
}

static void a_semaphore_counts_what_is_in_flight(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "semaphore:4", 10);
    assert_int_equal(send_all(&s), 4);
    settle(&s, 2);
    window_wait(&s.window, window_task(&s.window, 3), now_ms + 100); /* holds no place */
    assert_int_equal(send_all(&s), 2);
    assert_int_equal(s.window.peak_in_flight, 4);
    strike(&s);
}

static void a_pools_slots_are_divided_once_and_taken_over(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "pool:8", 10);
    assert_int_equal(pace_now(&s.pace, false), 0);
    for (unsigned i = 0; i < 3; i++)
        join(&s, i);
    assert_int_equal(pace_now(&s.pace, false), 0);
    assert_int_equal(s.members[0].most, 0);
    assert_int_equal(pace_sleep_ms(&s.pace), PACE_GATHER_MS);
    now_ms += PACE_GATHER_MS;
    assert_true(pace_now(&s.pace, false) > 0);
    assert_int_equal(s.members[0].most, 3);
    assert_int_equal(s.members[1].most, 3);
    assert_int_equal(s.members[2].most, 2);
    join(&s, 3); /* too late */
    pace_now(&s.pace, false);
    assert_int_equal(s.members[3].most, 0);
    go(&s, 2); /* its slots are taken over */
    pace_now(&s.pace, false);
    assert_int_equal(s.members[3].most, 2);
    go(&s, 0);
    go(&s, 1);
    go(&s, 3);
    pace_now(&s.pace, false);
    join(&s, 2);
    pace_now(&s.pace, false);
    assert_int_equal(s.members[2].most, 3);
    strike(&s);
}

static void a_pool_smaller_than_the_crew_has_a_slot_a_fetcher(void **state)
{
    struct stage s;
    (void)state;
    set(&s, "pool:2", 10);
    for (unsigned i = 0; i < 3; i++)
        join(&s, i);
    pace_now(&s.pace, false);
    now_ms += PACE_GATHER_MS;
    pace_now(&s.pace, false);
    assert_int_equal(s.members[0].most, 1);
    assert_int_equal(s.members[1].most, 1);
    assert_int_equal(s.members[2].most, 0);
    strike(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read_and_bad_ones_refused),
        cmocka_unit_test(a_queue_leaves_it_to_window_and_credit),
        cmocka_unit_test(unbounded_reads_all_then_hands_out_all),
        cmocka_unit_test(sleep_lets_one_go_a_pause),
        cmocka_unit_test(a_batch_waits_for_its_last_and_its_retries_belong_to_it),
        cmocka_unit_test(a_batch_is_filled_up_as_lines_come),
        cmocka_unit_test(a_batch_takes_in_what_workers_of_an_earlier_feeder_hold),
        cmocka_unit_test(a_semaphore_counts_what_is_in_flight),
        cmocka_unit_test(a_pools_slots_are_divided_once_and_taken_over),
        cmocka_unit_test(a_pool_smaller_than_the_crew_has_a_slot_a_fetcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

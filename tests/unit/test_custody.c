/* custody: what costs a task a try, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "feeder/custody.h"
#include "lib/clock.h"

static int64_t fake_clock(void)
{
    return 1000;
}

/* One task, a crew without wires. */
struct stage {
    struct window window;
    struct crew crew;
    struct custody custody;
    struct task *task;
    uint64_t d;
};

static void set(struct stage *s)
{
    clock_source = fake_clock;
    *s = (struct stage){.custody = {.window = &s->window, .crew = &s->crew, .retry = 3,
                                    .retry_delay_ms = 1000}};
    window_open(&s->window, 10);
    custody_open(&s->custody);
    s->task = window_add(&s->window, 1, "http://h/", 9);
    assert_non_null(s->task);
}

/* The task is handed out, and fails so. */
static void fail_as(struct stage *s, const char *class)
{
    struct member from = {.fetcher = true};
    struct msg_outcome o = {.d = ++s->d, .task = 1, .class = msg_text(class), .retry = true};
    if (s->task->state == TASK_WAITING)
        window_wake(&s->window, s->task->due_ms);
    assert_int_equal(s->task->state, TASK_READY);
    window_fly(&s->window, s->task, s->d);
    s->crew.failed(s->crew.arg, &from, &o);
}

static void strike(struct stage *s)
{
    window_close(&s->window);
}

static void what_is_no_fault_of_the_url_costs_no_try_at_first(void **state)
{
    static const char *const classes[] = {"lost", "paused"};
    (void)state;
    for (int c = 0; c < 2; c++) {
        struct stage s;
        set(&s);
        for (int i = 0; i < CUSTODY_RETURNS_MOST; i++) {
            fail_as(&s, classes[c]);
            assert_int_equal(s.task->state, TASK_READY); /* again at once */
            assert_int_equal(s.task->failures, 0);
        }
        for (unsigned i = 1; i <= 3; i++) {
            fail_as(&s, classes[c]);
            assert_int_equal(s.task->state, TASK_WAITING);
            assert_int_equal(s.task->failures, i);
        }
        strike(&s);
    }
}

static void a_full_store_never_costs_a_try(void **state)
{
    (void)state;
    struct stage s;
    set(&s);
    for (int i = 0; i < 1000; i++)
        fail_as(&s, "full");
    assert_int_equal(s.task->failures, 0);
    strike(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_fault_of_the_url_costs_no_try_at_first),
        cmocka_unit_test(a_full_store_never_costs_a_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What an http store is made of: headers from a file, verdicts, a service that asks for less. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/clock.h"
#include "tests/unit/helpers.h"
#include "uploader/header_file.h"
#include "uploader/throttle.h"
#include "uploader/upstream.h"

static int read_headers(const char *text, mode_t mode, struct header_file *f)
{
    char path[] = "/tmp/sluice-unit.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    fchmod(fd, mode);
    close(fd);
    int bad = header_file_read(path, f);
    unlink(path);
    return bad;
}

static void headers_are_read_from_a_file(void **state)
{
    struct header_file f;
    (void)state;
    assert_int_equal(read_headers("# mine\r\nAuthorization:  Bearer a:b \r\n\nX-A:\n", 0600, &f),
                     0);
    assert_int_equal(f.count, 2);
    assert_string_equal(f.headers[0].name, "Authorization");
    assert_string_equal(f.headers[0].value, "Bearer a:b");
    assert_string_equal(f.headers[1].value, "");
    header_file_free(&f);
}

static void a_header_file_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"no colon\n", ": no name\n", "Na me: x\n", "Host: h\n",
                                      "content-length: 1\n", "A: b\x01\n",
                                      "A:1\nA:2\nA:3\nA:4\nA:5\nA:6\nA:7\nA:8\nA:9\nA:10\nA:11\n"
                                      "A:12\nA:13\nA:14\nA:15\nA:16\nA:17\n"};
    struct header_file f;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(read_headers(bad[i], 0600, &f), -1);
    assert_int_equal(read_headers("A: b\n", 0644, &f), -1);
    assert_int_equal(read_headers("A: b\n", 0602, &f), -1);
    assert_int_equal(header_file_read("/nowhere/at/all", &f), -1);
}

static void a_status_has_a_verdict(void **state)
{
    static const struct { long status; enum upstream_verdict verdict; } cases[] = {
        {200, UPSTREAM_DONE}, {204, UPSTREAM_DONE}, {301, UPSTREAM_FINAL}, {403, UPSTREAM_FINAL},
        {408, UPSTREAM_AGAIN}, {413, UPSTREAM_FINAL}, {429, UPSTREAM_BUSY}, {500, UPSTREAM_AGAIN},
        {501, UPSTREAM_FINAL}, {502, UPSTREAM_AGAIN}, {503, UPSTREAM_BUSY}, {504, UPSTREAM_AGAIN}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(upstream_judge(&(struct http_answer){.status = cases[i].status}),
                         cases[i].verdict);
}

static void an_answer_is_told_in_its_first_words(void **state)
{
    char said[256];
    struct upstream_call c = {.tries = 1, .answer = {.status = 403,
                                                     .text = buf_make(HTTP_TEXT_MOST)}};
    (void)state;
    buf_adds(&c.answer.text, "<html><title>Not\tfor</title>\r\n <b>you</b>\x1b[1m\xc3\xa9</html>");
    upstream_explain(&c, said, sizeof said);
    assert_string_equal(said, "HTTP status 403: Not for you [1m");
    c.answer.status = 0;
    c.tries = 3;
    snprintf(c.answer.why, sizeof c.answer.why, "no route");
    upstream_explain(&c, said, sizeof said);
    assert_string_equal(said, "no route (tried 3 times)");
    http_answer_free(&c.answer);
}

static void a_header_value_is_printable(void **state)
{
    char to[HTTP_FIELD], longer[1000];
    (void)state;
    assert_true(http_printable(" text/html\r\nX: y\x7f\xc3\xa9; a=b", to));
    assert_string_equal(to, "text/htmlX: y; a=b");
    assert_false(http_printable("", to));
    assert_false(http_printable("\r\n", to));
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_true(http_printable(longer, to));
    assert_int_equal(strlen(to), HTTP_FIELD - 1);
}

static int64_t frozen_ms;

static int64_t frozen_clock(void)
{
    return frozen_ms;
}

/* Nobody waits while no time passes: who has to wait would wait for ever. */
static void assert_free(struct throttle *t)
{
    int64_t (*clock)(void) = clock_source;
    frozen_ms = clock_ms();
    clock_source = frozen_clock;
    alarm(DEADLINE_S);
    for (int i = 0; i < 5; i++)
        assert_int_equal(throttle_wait(t), 0);
    alarm(0);
    clock_source = clock;
}

static void a_service_that_asks_for_less_gets_less(void **state)
{
    struct throttle *t = throttle_open("test");
    (void)state;
    assert_free(t);
    int64_t began = clock_ms();
    throttle_slow(t, began, 300);
    throttle_slow(t, began - 1000, 100); /* of the same moment: no slower for that */
    assert_int_equal(throttle_wait(t), 0);
    assert_true(clock_ms() - began >= 300);
    for (int i = 0; i < 4; i++)
        assert_int_equal(throttle_wait(t), 0);
    assert_true(clock_ms() - began >= 340); /* one by one */
    for (int i = 0; i < 20; i++)
        throttle_ok(t);
    assert_int_equal(throttle_wait(t), 0); /* the last one by one */
    assert_free(t);
    throttle_slow(t, clock_ms(), 60000);
    throttle_abandon(t);
    assert_int_equal(throttle_wait(t), -1);
    assert_int_equal(throttle_sleep(t, 60000), -1);
    throttle_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_from_a_file),
        cmocka_unit_test(a_header_file_that_is_none_is_refused),
        cmocka_unit_test(a_status_has_a_verdict),
        cmocka_unit_test(an_answer_is_told_in_its_first_words),
        cmocka_unit_test(a_header_value_is_printable),
        cmocka_unit_test(a_service_that_asks_for_less_gets_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

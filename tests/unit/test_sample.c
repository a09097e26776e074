/* Samples: their names are WebDataset's, no two keys share one, and what is written is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "uploader/sample.h"

static void names_have_one_dot_before_the_kind(void **state)
{
    static const char *const wanted[][3] = {
        {"ab/cd.html", "ab/cd.html", "ab/cd.json"},
        {"ab/cd", "ab/cd.bin", "ab/cd.json"},
        {"a.b/c.d.html", "a%2Eb/c%2Ed.html", "a%2Eb/c%2Ed.json"},
        {"a.b/c", "a%2Eb/c.bin", "a%2Eb/c.json"},
        {"x.json", "x.body.json", "x.json"},
        {"x.JSON", "x.body.json", "x.json"},
        {"x.tar.gz", "x%2Etar.gz", "x%2Etar.json"},
        {"x.", "x.bin", "x.json"}};
    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct sample_names n;
        sample_names(wanted[i][0], &n);
        assert_string_equal(n.body, wanted[i][1]);
        assert_string_equal(n.facts, wanted[i][2]);
    }
}

static void the_longest_key_of_dots_fits(void **state)
{
    char key[1025];
    struct sample_names n;
    (void)state;
    memset(key, '.', sizeof key);
    key[0] = 'a';
    key[1024] = '\0';
    sample_names(key, &n);
    assert_int_equal(strlen(n.facts), 1 + 3 * 1022 + 5);
    assert_int_equal(strlen(n.body), 1 + 3 * 1022 + 4);
}

static struct store_facts some_facts(void)
{
    return (struct store_facts){.key = "ab/cd.html", .url = "http://h/\"sha256\":\"no\"\\\n\xff",
                                .url_effective = "", .content_type = "text/html",
                                .digest = "sha256:00ff", .bytes = 12, .response_code = 200,
                                .time_us = 1500000, .received_ms = 86400000};
}

static void facts_are_a_line_of_json_and_read_back(void **state)
{
    struct buf b = buf_make(10000);
    struct store_facts f = some_facts();
    struct sample_read r;
    (void)state;
    sample_facts(&b, &f);
    buf_add(&b, "", 1);
    assert_false(b.failed);
    assert_string_equal(b.data,
                        "{\"key\":\"ab/cd.html\","
                        "\"url\":\"http://h/\\\"sha256\\\":\\\"no\\\"\\\\\\n\\ufffd\","
                        "\"content_type\":\"text/html\",\"size_download\":12,\"sha256\":\"00ff\","
                        "\"response_code\":200,\"time_total\":1.500000,"
                        "\"fetched\":\"1970-01-02T00:00:00Z\"}\n");
    assert_true(sample_read(b.data, &r));
    assert_string_equal(r.key, "ab/cd.html");
    assert_string_equal(r.digest, "sha256:00ff");
    buf_free(&b);
}

static void without_a_digest_there_is_none(void **state)
{
    struct buf b = buf_make(10000);
    struct store_facts f = some_facts();
    struct sample_read r;
    (void)state;
    f.digest = "url:00"; /* another field's name */
    sample_facts(&b, &f);
    buf_add(&b, "", 1);
    assert_true(sample_read(b.data, &r));
    assert_string_equal(r.digest, "");
    buf_free(&b);
}

static void what_is_not_ours_is_refused(void **state)
{
    struct sample_read r;
    (void)state;
    assert_false(sample_read("", &r));
    assert_false(sample_read("{\"url\":\"x\"}", &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_dot_before_the_kind),
        cmocka_unit_test(the_longest_key_of_dots_fits),
        cmocka_unit_test(facts_are_a_line_of_json_and_read_back),
        cmocka_unit_test(without_a_digest_there_is_none),
        cmocka_unit_test(what_is_not_ours_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

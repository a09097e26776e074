/* What a command is made of, and what is made of its words: nothing of an object's can split a
 * word, whatever it says becomes one clean line, and only a receipt is one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "helpers.h"
#include "lib/utf8.h"
#include "uploader/command.h"
#include "uploader/receipt.h"
#include "uploader/said.h"

static const struct store_facts facts = {
    .key = "ab/cd", .url = "http://h/a b'\"$(x){key}", .content_type = "", .url_effective = "-n",
    .task = 17, .member = 0xfedcba9876543210, .serial = 10,
    .bytes = 4096, .response_code = 200, .digest = "sha256:0a"};

static void assert_words(const char *text, const struct store_facts *f, const char *const want[])
{
    struct command *c = command_open(text, text, f != NULL);
    assert_non_null(c);
    char **words = command_words(c, f);
    assert_non_null(words);
    int i = 0;
    for (; want[i]; i++) {
        assert_non_null(words[i]);
        assert_string_equal(words[i], want[i]);
    }
    assert_null(words[i]);
    free(words);
    command_close(c);
}

static void blanks_part_words_and_quotes_hold_them_together(void **state)
{
    (void)state;
    assert_words(" true  a\tb\nc ", NULL, (const char *[]){"true", "a", "b", "c", NULL});
    assert_words("true 'a  \"b' x\"c 'd\"y '' \\n $HOME *", NULL,
                 (const char *[]){"true", "a  \"b", "xc 'dy", "", "\\n", "$HOME", "*", NULL});
    assert_words("true {} {Key} { key} {", NULL,
                 (const char *[]){"true", "{}", "{Key}", "{", "key}", "{", NULL});
}

static void a_fact_stays_in_its_word(void **state)
{
    (void)state;
    assert_words("true {url} -{id}:{bytes}- {content_type} {url_effective} {{key}}", &facts,
                 (const char *[]){"true", facts.url, "-17:4096-", "", "-n", "{ab/cd}", NULL});
    assert_words("true {sha256} {digest} {attempt} {response_code}", &facts,
                 (const char *[]){"true", "0a", "sha256:0a", "fedcba9876543210000000000000000a",
                                  "200", NULL});
}

static void the_environment_is_ours_with_the_facts_instead_of_what_has_their_names(void **state)
{
    (void)state;
    setenv("SLUICE_KEY", "wrong", 1);
    setenv("TEST_COMMAND", "kept", 1);
    char **v = command_environment(&facts);
    int keys = 0, kept = 0, urls = 0;
    assert_non_null(v);
    for (int i = 0; v[i]; i++) {
        keys += strncmp(v[i], "SLUICE_KEY=", 11) == 0;
        kept += strcmp(v[i], "TEST_COMMAND=kept") == 0;
        urls += strcmp(v[i], "SLUICE_URL=http://h/a b'\"$(x){key}") == 0;
    }
    assert_int_equal(keys, 1);
    assert_int_equal(kept, 1);
    assert_int_equal(urls, 1);
    free(v);
}

static void assert_said(const char *bytes, size_t len, const char *want)
{
    struct said all = {.len = 0}, parts = {.len = 0};
    char line[SAID_BYTES + 1];
    said_add(&all, bytes, len);
    said_line(&all, line);
    assert_string_equal(line, want);
    for (size_t i = 0; i < len; i++)
        said_add(&parts, bytes + i, 1);
    said_line(&parts, line);
    assert_string_equal(line, want);
}

static void what_was_said_is_one_line_of_utf8_and_its_end(void **state)
{
    (void)state;
    char long_text[1000], end[SAID_BYTES + 1];
    assert_said("", 0, "");
    assert_said(" \n\t ", 4, "");
    assert_said("\n a\tb\r\nc \n", 10, "a b  c");
    assert_said("\xff\xc3", 2, "??");
    assert_said("a\0b\x7f\x1b", 5, "a b");
    for (size_t i = 0; i < sizeof long_text; i++)
        long_text[i] = "\xe2\x82\xac"[i % 3]; /* 1000 = 333 * 3 + 1: ends within one */
    assert_said(long_text, 999, memcpy(end, long_text, 198) ? (end[198] = 0, end) : "");
    srandom(7);
    for (int n = 0; n < 2000; n++) {
        struct said s = {.len = 0};
        char line[SAID_BYTES + 1];
        for (size_t i = 0; i < sizeof long_text; i++)
            long_text[i] = (char)random();
        said_add(&s, long_text, (size_t)random() % sizeof long_text);
        said_line(&s, line);
        size_t len = strlen(line), step;
        for (size_t i = 0; i < len; i += step) {
            step = utf8_len((unsigned char *)line + i, len - i);
            assert_true(step > 1 || (step == 1 && line[i] >= ' '));
        }
    }
}

static int read_receipt(const char *line, struct store_commit *c)
{
    *c = (struct store_commit){.err = 0};
    return receipt_read(line, strlen(line), 17, c);
}

static void only_a_receipt_is_one(void **state)
{
    (void)state;
    struct store_commit c;
    assert_int_equal(read_receipt("{\"id\":17,\"status\":\"stored\",\"place\":\"p\",\"x\":[]}", &c),
                     0);
    assert_int_equal(c.err, 0);
    assert_string_equal(c.place, "p");
    assert_int_equal(read_receipt(" {\"status\":\"again\",\"id\":17,\"detail\":null}", &c), 0);
    assert_true(c.err && !c.final);
    assert_string_equal(c.detail, "the command says \"again\"");
    assert_int_equal(read_receipt("{\"id\":17,\"status\":\"failed\",\"detail\":\"a\\nb\"}", &c), 0);
    assert_true(c.err && c.final);
    assert_string_equal(c.detail, "a b");
    static const char *const others[] = {
        "", "stored", "17", "null", "[]", "{}", "{\"id\":17}", "{\"id\":17,\"status\":1}",
        "{\"id\":18,\"status\":\"stored\"}", "{\"id\":\"17\",\"status\":\"stored\"}",
        "{\"id\":17.0,\"status\":\"stored\"}", "{\"id\":17,\"status\":\"STORED\"}",
        "{\"id\":17,\"status\":\"stored\",\"place\":1}", "{\"id\":17,\"status\":\"stored\"} x",
        "{\"id\":17,\"id\":17,\"status\":\"stored\"}",
        "{\"id\":17,\"status\":\"stored\",\"detail\":[]}",
        "{\"id\":17,\"status\":\"stor\xff\"}", "{\"id\":17,\"status\":\"stored"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(read_receipt(others[i], &c), -1);
        assert_true(c.err && !c.final && !*c.place);
        assert_non_null(strstr(c.detail, "no receipt for id 17"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_part_words_and_quotes_hold_them_together),
        cmocka_unit_test(a_fact_stays_in_its_word),
        cmocka_unit_test(the_environment_is_ours_with_the_facts_instead_of_what_has_their_names),
        cmocka_unit_test(what_was_said_is_one_line_of_utf8_and_its_end),
        cmocka_unit_test(only_a_receipt_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

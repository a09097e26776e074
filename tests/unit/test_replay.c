/* line and replay: what manifest.c has written is read back, and nothing that it has not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "feeder/line.h"
#include "feeder/manifest.h"
#include "feeder/replay.h"
#include "lib/say.h"
#include "tests/unit/helpers.h"

static const struct msg_outcome nothing;

/* Lines. */

static struct msg_outcome full_outcome(void)
{
    return (struct msg_outcome){
        .key = msg_text("ab/cd.html"), .digest = msg_text("sha256:00ff"), .bytes = 12345,
        .place = msg_text("a \"b\".tar#512"), .existing = true, .class = msg_text("http"), .detail = msg_text("404 \"\\\n\t\x01\xff"),
        .response_code = 404, .time_us = 1500000, .content_type = msg_text("text/\xc3\xa9"),
        .url_effective = msg_text("http://h/b")};
}

static char odd_url[255];

static struct manifest_entry full_entry(uint64_t id)
{
    for (int i = 0; i < 255; i++)
        odd_url[i] = (char)i; /* and so no UTF-8 */
    return (struct manifest_entry){.id = id, .url = odd_url, .url_len = sizeof odd_url, .tries = 4,
                                   .fetcher = "a b:1", .uploader = "\xff\"u"};
}

/* What `write` writes, malloced, without its line feed. */
static char *line_of(void (*write)(struct manifest *), size_t *len)
{
    struct manifest m;
    int fd = file_of("", 0);
    manifest_open(&m, fd, -1, -1);
    write(&m);
    assert_int_equal(manifest_flush(&m), 1);
    manifest_close(&m);
    char *text = bytes_of(fd, len);
    close(fd);
    assert_int_equal(text[--*len], '\n');
    return text;
}

static void a_delivered(struct manifest *m)
{
    struct manifest_entry e = full_entry(7);
    struct msg_outcome o = full_outcome();
    manifest_delivered(m, &e, &o);
}

static void a_failed(struct manifest *m)
{
    struct manifest_entry e = full_entry(INT64_MAX);
    struct msg_outcome o = full_outcome();
    manifest_failed(m, &e, &o);
}

static void an_open(struct manifest *m)
{
    struct manifest_entry e = full_entry(1);
    manifest_open_task(m, &e);
}

static void a_bare_one(struct manifest *m)
{
    struct manifest_entry e = {.id = 8, .url = "", .url_len = 0};
    manifest_delivered(m, &e, &nothing);
}

static void one_with_a_strange_digest(struct manifest *m)
{
    struct manifest_entry e = full_entry(9);
    struct msg_outcome o = {.digest = msg_text("url:http://h/another")};
    manifest_delivered(m, &e, &o);
}

static void one_with_numbers_beyond_int64(struct manifest *m)
{
    struct manifest_entry e = full_entry(10);
    struct msg_outcome o = full_outcome();
    o.bytes = o.response_code = o.time_us = UINT64_MAX;
    manifest_delivered(m, &e, &o);
}

static void (*const writers[])(struct manifest *) = {a_delivered, a_failed, an_open, a_bare_one,
                                                   one_with_a_strange_digest,
                                                   one_with_numbers_beyond_int64};

enum { WRITERS = sizeof writers / sizeof *writers };

static void lines_are_read_as_they_were_written(void **state)
{
    static const struct line wanted[] = {
        {7, LINE_DELIVERED, NULL, 0, "", 12345, true, NULL},
        {INT64_MAX, LINE_FAILED, NULL, 0, "http", 0, false, NULL},
        {1, LINE_OPEN, NULL, 0, "", 0, false, NULL},
        {8, LINE_DELIVERED, NULL, 0, "", 0, false, NULL},
        {9, LINE_DELIVERED, NULL, 0, "", 0, false, NULL},
        {10, LINE_DELIVERED, NULL, 0, "", INT64_MAX, true, NULL}};
    (void)state;
    for (size_t i = 0; i < WRITERS; i++) {
        size_t len;
        struct line l;
        char *text = line_of(writers[i], &len);
        assert_int_equal(line_read(&l, text, len), 0);
        assert_int_equal(l.id, wanted[i].id);
        assert_int_equal(l.status, wanted[i].status);
        assert_string_equal(l.class, wanted[i].class);
        assert_int_equal(l.bytes, wanted[i].bytes);
        assert_int_equal(l.existing, wanted[i].existing);
        if (l.id != 8) { /* the ASCII is there, the rest is U+FFFD each */
            assert_int_equal(l.url_len, 128 + 3 * 127);
            assert_memory_equal(l.url, odd_url, 128);
        }
        line_free(&l);
        free(text);
    }
}

static struct msg_text digest_given;

static void one_with_that_digest(struct manifest *m)
{
    struct manifest_entry e = {.id = 1, .url = "u", .url_len = 1};
    struct msg_outcome o = {.digest = digest_given};
    manifest_delivered(m, &e, &o);
}

static void a_digest_whose_name_is_none_is_left_out(void **state)
{
    static const struct {
        struct msg_text given;
        bool there;
    } cases[] = {
        {{"sha256:00ff", 11}, true}, {{"md5:00ff", 8}, true}, {{"xxh128:00ff", 11}, true},
        {{"sha\0" "256:00ff", 12}, false}, {{"\0:00ff", 6}, false}, {{"\n5:00ff", 7}, false},
        {{"\x7f" "5:00ff", 7}, false}, {{"\xff" "5:00ff", 7}, false}, {{"sha-256:00ff", 12}, false},
        {{"\"5:00ff", 7}, false}, {{"key:00ff", 8}, false}, {{":00ff", 5}, false},
        {{"00ff", 4}, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len;
        struct line l;
        digest_given = cases[i].given;
        char *text = line_of(one_with_that_digest, &len);
        assert_int_equal(line_read(&l, text, len), 0);
        assert_int_equal(strstr(text, "00ff") != NULL, cases[i].there);
        line_free(&l);
        free(text);
    }
}

static void every_prefix_of_a_line_is_refused_and_every_flip_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < WRITERS; i++) {
        size_t whole;
        struct line l;
        char *text = line_of(writers[i], &whole);
        for (size_t len = 0; len < whole; len++) {
            char *part = malloc(len + !len); /* of its own, for the sanitizer */
            memcpy(part, text, len);
            assert_int_equal(line_read(&l, part, len), -1);
            assert_null(l.hold);
            free(part);
        }
        for (size_t bit = 0; bit < whole * 8; bit++) {
            text[bit / 8] ^= (char)(1 << bit % 8);
            if (line_read(&l, text, whole) == 0) {
                assert_true(l.id > 0);
                line_free(&l);
            }
            text[bit / 8] ^= (char)(1 << bit % 8);
        }
        free(text);
    }
}

static void what_no_manifest_has_is_refused(void **state)
{
    static const char *const bad[] = {
        "", " ", "{}", "[]", "null", "1", "\"x\"", "{\"id\":1}",
        "[{\"id\":1,\"url\":\"u\",\"status\":\"open\"}]",
        "{\"id\":0,\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":-1,\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":1.0,\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":\"1\",\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":9223372036854775808,\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":99999999999999999999999999,\"url\":\"u\",\"status\":\"open\"}",
        "{\"id\":1,\"url\":1,\"status\":\"open\"}", "{\"id\":1,\"url\":null,\"status\":\"open\"}",
        "{\"id\":1,\"status\":\"open\"}", "{\"id\":1,\"url\":\"u\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":1}", "{\"id\":1,\"url\":\"u\",\"status\":\"opened\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"delivered\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"delivered\",\"size_download\":-1}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"delivered\",\"size_download\":\"1\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"delivered\",\"size_download\":9223372036854775808}",
        "{\"id\":1,\"url\":\"\xff\",\"status\":\"open\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"open\"}x",
        "{\"id\":1,\"url\":\"u\",\"status\":\"open\"}{}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"open\",}",
        "{\"id\":1,\"id\":2,\"url\":\"u\",\"status\":\"open\"}", /* which of the two is it? */
        "{\"id\":1,\"url\":\"u\",\"url\":\"v\",\"status\":\"open\"}",
        "{\"id\":1,\"url\":\"u\",\"status\":\"failed\",\"status\":\"open\"}"};
    static const char odd[] = "{\"id\":1,\"url\":\"u\",\"status\":\"failed\",\"class\":3}";
    char deep[20000];
    struct line l;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (line_read(&l, bad[i], strlen(bad[i])) == 0)
            print_error("taken: %s\n", bad[i]);
        assert_int_equal(line_read(&l, bad[i], strlen(bad[i])), -1);
    }
    memset(deep, '[', sizeof deep);
    assert_int_equal(line_read(&l, deep, sizeof deep), -1);
    assert_int_equal(line_read(&l, odd, strlen(odd)), 0);
    assert_string_equal(l.class, "");
    line_free(&l);
}

/* Replay. */

/* A run whose checkpoint stands after line 10, with 3, 5 and 9 not settled. */
struct scene {
    int fd, failed_fd;
    struct unsettled tasks[3];
    struct checkpoint c;
    struct sink failed;
    struct replay r;
};

static void set(struct scene *s)
{
    *s = (struct scene){.fd = file_of("{}\n", 3), .failed_fd = file_of("", 0),
                        .tasks = {{3, 1, 0, "http://h/3", 10}, {5, 0, 0, "http://h/5\xff", 11},
                                  {9, 0, 2, "http://h/9", 10}},
                        .c = {.manifest_bytes = 3, .place = {.number = 10},
                              .ledger = {.fed = 10, .delivered = 6, .failed = 1, .bytes = 100},
                              .task_count = 3}};
    s->c.tasks = s->tasks;
    assert_int_equal(sink_open(&s->failed, s->failed_fd), 0);
}

static void strike(struct scene *s)
{
    replay_close(&s->r);
    sink_close(&s->failed);
    close(s->fd);
    close(s->failed_fd);
}

/* Puts a line into the manifest, as the feeder does. */
static void put(struct scene *s, uint64_t id, const char *url, bool delivered)
{
    struct manifest m;
    struct manifest_entry e = {.id = id, .url = url, .url_len = strlen(url), .tries = 1};
    struct msg_outcome o = {.bytes = 1000, .existing = id & 1, .class = msg_text("http")};
    manifest_open(&m, s->fd, -1, -1);
    if (delivered)
        manifest_delivered(&m, &e, &o);
    else
        manifest_failed(&m, &e, &o);
    assert_int_equal(manifest_flush(&m), 1);
    manifest_close(&m);
}

static void put_text(struct scene *s, const char *text, size_t len)
{
    assert_int_equal(write(s->fd, text, len), len);
}

static off_t size_of(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

static void replay(struct scene *s)
{
    say_setup("feeder", SAY_ERROR, false); /* cuts are no news here */
    replay_open(&s->r, s->fd, &s->c, &s->failed, "manifest");
    assert_int_equal(s->c.manifest_bytes, size_of(s->fd));
}

static int knows(const struct scene *s, uint64_t id, const char *url)
{
    return replay_knows(&s->r, id, url, strlen(url));
}

static void lines_settle_tasks_of_the_checkpoint_and_beyond(void **state)
{
    struct scene s;
    (void)state;
    set(&s);
    put(&s, 5, "http://h/5\xff", false);
    put(&s, 13, "http://h/13", true);
    put(&s, 3, "http://h/3", true);
    put(&s, 11, "http://h/11?\xc3\xa9\xff\x01", false);
    off_t size = size_of(s.fd);
    replay(&s);
    assert_int_equal(size_of(s.fd), size);
    assert_null(s.tasks[0].url);
    assert_null(s.tasks[1].url);
    assert_string_equal(s.tasks[2].url, "http://h/9");
    assert_int_equal(s.c.ledger.fed, 12);
    assert_int_equal(s.c.ledger.delivered, 8);
    assert_int_equal(s.c.ledger.existing, 2);
    assert_int_equal(s.c.ledger.bytes, 2100);
    assert_int_equal(s.c.ledger.failed, 3);
    assert_int_equal(s.r.settled, 4);
    assert_int_equal(s.r.highest, 13);
    assert_int_equal(knows(&s, 13, "http://h/13"), 1);
    assert_int_equal(knows(&s, 13, "http://h/1"), -1);
    assert_int_equal(knows(&s, 11, "http://h/11?\xc3\xa9\xff\x01"), 1); /* not UTF-8 in the list */
    assert_int_equal(knows(&s, 12, "http://h/12"), 0);
    assert_int_equal(knows(&s, 14, "http://h/14"), 0);
    assert_int_equal(knows(&s, UINT64_MAX, "http://h/"), 0);
    assert_int_equal(knows(&s, 3, "http://h/3"), 0); /* not of the lines to come */
    assert_int_equal(knows(&s, 0, ""), 0);
    strike(&s);
}

static void failed_urls_are_put_back(void **state)
{
    struct scene s;
    size_t len;
    (void)state;
    set(&s);
    put(&s, 3, "http://h/3", false);
    put(&s, 9, "http://h/9", true);
    put(&s, 12, "no \n url", false);
    replay(&s);
    assert_int_equal(sink_flush(&s.failed), 1);
    char *text = bytes_of(s.failed_fd, &len);
    assert_string_equal(text, "http://h/3\nno ? url\n");
    free(text);
    strike(&s);
}

/* After one good line, and with another good one after it; `cut_at` as of there. */
static void assert_cut(const char *text, size_t len)
{
    struct scene s;
    set(&s);
    put(&s, 11, "http://h/11", true);
    off_t good = size_of(s.fd);
    put_text(&s, text, len);
    put(&s, 12, "http://h/12", true);
    replay(&s);
    assert_int_equal(size_of(s.fd), good);
    assert_int_equal(s.c.ledger.delivered, 7);
    assert_int_equal(s.c.ledger.failed, 1);
    assert_int_equal(knows(&s, 11, "http://h/11"), 1);
    assert_int_equal(knows(&s, 12, "http://h/12"), 0);
    assert_non_null(s.tasks[0].url);
    put(&s, 12, "http://h/12", true); /* whole again: it can be written and read on */
    strike(&s);
}

#define OK(id, url) "{\"id\":" id ",\"url\":\"" url "\",\"status\":\"failed\"}\n"

static void the_file_is_cut_at_the_first_line_that_is_not_of_the_run(void **state)
{
    static const char *const bad[] = {
        "\n", "garbage\n", "{\"id\":12,\"url\":\"http://h/12\"", "{}\n",
        "{\"id\":12,\"url\":\"u\",\"status\":\"open\"}\n",
        OK("11", "http://h/11"),               /* settled twice */
        OK("4", "http://h/4"),                 /* settled, says the checkpoint */
        OK("3", "http://h/5"),                 /* another URL than the checkpoint's */
        OK("0", "http://h/0"), OK("-1", "http://h/"),
        OK("9223372036854775807", "http://h/"), OK("1073741835", "http://h/")};
    char zeros[5000] = "";
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cut(bad[i], strlen(bad[i]));
    assert_cut(zeros, sizeof zeros);
    assert_cut("\0\0\n", 3);
}

static void a_torn_end_is_cut_wherever_it_is_torn(void **state)
{
    struct scene s;
    size_t len;
    (void)state;
    set(&s);
    put(&s, 3, "http://h/3", true);
    put(&s, 11, "http://h/11", false);
    char *text = bytes_of(s.fd, &len);
    size_t first = (size_t)((char *)memchr(text + 3, '\n', len - 3) + 1 - text);
    strike(&s);
    for (size_t at = 3; at < len; at++) {
        set(&s);
        put_text(&s, text + 3, at - 3);
        replay(&s);
        assert_int_equal(size_of(s.fd), at < first ? 3 : first);
        assert_int_equal(s.c.ledger.delivered, at < first ? 6 : 7);
        assert_int_equal(s.c.ledger.failed, 1);
        strike(&s);
    }
    free(text);
}

static void without_a_checkpoint_all_of_the_manifest_is_read(void **state)
{
    struct scene s;
    char url[32];
    (void)state;
    set(&s);
    assert_int_equal(ftruncate(s.fd, 0), 0);
    s.c = (struct checkpoint){0};
    replay(&s); /* 0 bytes */
    assert_int_equal(s.r.settled, 0);
    assert_int_equal(s.r.highest, 0);
    replay_close(&s.r);
    for (uint64_t id = 3000; id; id--) { /* the last line first */
        snprintf(url, sizeof url, "http://h/%d", (int)id);
        put(&s, id, url, id % 3);
    }
    replay(&s);
    assert_int_equal(s.r.settled, 3000);
    assert_int_equal(s.c.ledger.delivered, 2000);
    assert_int_equal(s.c.ledger.failed, 1000);
    assert_int_equal(s.failed.made, 1000);
    for (uint64_t id = 1; id <= 3000; id++) {
        snprintf(url, sizeof url, "http://h/%d", (int)id);
        assert_int_equal(knows(&s, id, url), 1);
    }
    strike(&s);
}

static void replay_dying(void *arg)
{
    struct scene *s = arg;
    say_setup("feeder", SAY_WARN, false);
    replay_check(s->fd, &s->c, "run/manifest.jsonl");
    replay_open(&s->r, s->fd, &s->c, &s->failed, "run/manifest.jsonl");
}

static void a_manifest_that_is_not_the_checkpoints_ends_in_words(void **state)
{
    struct scene s;
    (void)state;
    set(&s);
    s.c.manifest_bytes = 4; /* there are 3 */
    assert_dies(replay_dying, &s, EXIT_UNUSABLE,
                "run/manifest.jsonl: is not the manifest that the checkpoint beside it speaks of");
    s.c.manifest_bytes = UINT64_MAX;
    assert_dies(replay_dying, &s, EXIT_UNUSABLE, "is not the manifest");
    s.c.manifest_bytes = 2; /* no line ends there */
    assert_dies(replay_dying, &s, EXIT_UNUSABLE, "is not the manifest");
    s.c.manifest_bytes = 3;
    put_text(&s, "torn", 4);
    assert_dies(replay_dying, &s, 0, "cutting 4 bytes of torn lines off");
    assert_int_equal(size_of(s.fd), 3);
    put_text(&s, "\n", 1);
    assert_int_equal(ftruncate(s.fd, 3 + (64 << 20) + 1), 0); /* holes: no blocks */
    assert_dies(replay_dying, &s, EXIT_UNUSABLE, "it is too much for a torn end");
    assert_int_equal(size_of(s.fd), 3 + (64 << 20) + 1);
    close(s.fd);
    s.fd = -1;
    assert_dies(replay_dying, &s, EXIT_UNUSABLE, "Bad file descriptor");
    sink_close(&s.failed);
    close(s.failed_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_as_they_were_written),
        cmocka_unit_test(a_digest_whose_name_is_none_is_left_out),
        cmocka_unit_test(every_prefix_of_a_line_is_refused_and_every_flip_survived),
        cmocka_unit_test(what_no_manifest_has_is_refused),
        cmocka_unit_test(lines_settle_tasks_of_the_checkpoint_and_beyond),
        cmocka_unit_test(failed_urls_are_put_back),
        cmocka_unit_test(the_file_is_cut_at_the_first_line_that_is_not_of_the_run),
        cmocka_unit_test(a_torn_end_is_cut_wherever_it_is_torn),
        cmocka_unit_test(without_a_checkpoint_all_of_the_manifest_is_read),
        cmocka_unit_test(a_manifest_that_is_not_the_checkpoints_ends_in_words),
    };
    alarm(DEADLINE_ALL_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

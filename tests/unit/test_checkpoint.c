/* checkpoint: what was written comes back, and nothing else is ever taken for it. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

#include "feeder/checkpoint.h"

enum { DEADLINE_ALL_S = 300, END_LINE = 21 };

/* As malloc gives it, so that the sanitizer sees a read beyond it. */
static enum checkpoint_verdict judge(const char *text, size_t len, struct checkpoint *c)
{
    const char *why;
    char *copy = malloc(len + !len);
    memcpy(copy, text, len);
    enum checkpoint_verdict v = checkpoint_read(c, copy, len, &why);
    if (v != CHECKPOINT_GOOD) {
        assert_null(c->lists);
        assert_null(c->tasks);
        assert_true(strlen(why) > 0);
    }
    checkpoint_free(c);
    free(copy);
    return v;
}

static enum checkpoint_verdict verdict(const char *text, size_t len)
{
    struct checkpoint c;
    return judge(text, len, &c);
}

static const struct checkpoint plain = {
    .run = {0, 1, 0x7f, 0x80, 0xff}, .epoch = 3, .dest = "dir:/some where/out",
    .ledger = {.fed = 9, .delivered = 5, .failed = 2, .existing = 1, .bytes = 12345},
    .manifest_bytes = 700, .failed_bytes = 40,
    .place = {.list = 1, .offset = 200, .total = 300, .file_line = 4, .number = 9,
              .skipping = true}};

static struct buf text_of(const struct checkpoint *c)
{
    struct buf b = buf_make(SIZE_MAX / 2);
    assert_int_equal(checkpoint_write(&b, c), 0);
    return b;
}

static void assert_comes_back(const struct checkpoint *c)
{
    struct buf b = text_of(c);
    struct checkpoint again;
    const char *why;
    assert_int_equal(checkpoint_read(&again, b.data, b.len, &why), CHECKPOINT_GOOD);
    assert_memory_equal(again.run, c->run, sizeof c->run);
    assert_int_equal(again.epoch, c->epoch);
    assert_string_equal(again.dest, c->dest);
    assert_int_equal(again.complete, c->complete);
    assert_memory_equal(&again.ledger, &c->ledger, sizeof c->ledger);
    assert_int_equal(again.manifest_bytes, c->manifest_bytes);
    assert_int_equal(again.failed_bytes, c->failed_bytes);
    assert_int_equal(again.place.list, c->place.list);
    assert_int_equal(again.place.offset, c->place.offset);
    assert_int_equal(again.place.total, c->place.total);
    assert_int_equal(again.place.file_line, c->place.file_line);
    assert_int_equal(again.place.number, c->place.number);
    assert_int_equal(again.place.skipping, c->place.skipping);
    assert_int_equal(again.list_count, c->list_count);
    for (uint32_t i = 0; i < c->list_count; i++) {
        assert_int_equal(again.lists[i].stream, c->lists[i].stream);
        assert_int_equal(again.lists[i].size, c->lists[i].size);
        assert_int_equal(again.lists[i].mtime_ns, c->lists[i].mtime_ns);
        assert_int_equal(again.lists[i].digest, c->lists[i].digest);
    }
    assert_int_equal(again.task_count, c->task_count);
    for (size_t i = 0; i < c->task_count; i++) {
        assert_int_equal(again.tasks[i].id, c->tasks[i].id);
        assert_int_equal(again.tasks[i].failures, c->tasks[i].failures);
        assert_int_equal(again.tasks[i].losses, c->tasks[i].losses);
        assert_int_equal(again.tasks[i].url_len, c->tasks[i].url_len);
        assert_memory_equal(again.tasks[i].url, c->tasks[i].url, c->tasks[i].url_len);
    }
    checkpoint_free(&again);
    buf_free(&b);
}

static void what_was_written_comes_back(void **state)
{
    static char long_url[INPUT_LINE_MOST - 1], odd_url[300] = "http://h/";
    (void)state;
    memset(long_url, 'u', sizeof long_url);
    for (int i = 9; i < 300; i++) /* whatever a line of a list may have in it */
        odd_url[i] = (char)(i == '\n' || i == 256 + '\n' ? 'x' : i);
    struct unsettled tasks[] = {{1, 0, 0, "http://h/", 9}, {2, 1000, 7, odd_url, sizeof odd_url},
                                {9, UINT32_MAX, UINT32_MAX, long_url, sizeof long_url}};
    struct input_identity lists[] = {
        {false, INT64_MAX, INT64_MAX, UINT64_MAX}, {true, 0, 0, 1}, {false, 0, -1, 0}};
    struct checkpoint c = plain;
    c.lists = lists;
    c.tasks = tasks;
    for (c.list_count = 1; c.list_count <= 3; c.list_count++)
        for (c.task_count = 0; c.task_count <= 3; c.task_count++)
            assert_comes_back(&c);
    c = (struct checkpoint){.complete = true}; /* nothing in it at all */
    assert_comes_back(&c);
}

static void any_dest_comes_back(void **state)
{
    static const char *const dests[] = {"dir:a\nb", "\n", "exec:cat >x\r\necho \\n 'a\\'\n",
                                        "dir:a\\nb\\\\", "dir:a\rb", "dir:escaped \n"};
    struct checkpoint c = plain;
    (void)state;
    c.place.list = 0;
    for (size_t i = 0; i < sizeof dests / sizeof *dests; i++) {
        strcpy(c.dest, dests[i]);
        assert_comes_back(&c);
    }
    for (int byte = 1; byte < 256; byte++) /* as long as it can be, in escapes or not */
        for (int other = '\n'; other <= 'd'; other += 'd' - '\n') {
            memset(c.dest, byte, sizeof c.dest - 1);
            c.dest[7] = (char)other;
            assert_comes_back(&c);
        }
}

static void the_largest_numbers_and_a_whole_window_come_back(void **state)
{
    enum { MANY = 20000 };
    struct unsettled *tasks = calloc(MANY, sizeof *tasks);
    struct input_identity *lists = calloc(MANY, sizeof *lists);
    char dest[PLACE_MAX];
    struct checkpoint c = {
        .epoch = UINT64_MAX, .manifest_bytes = UINT64_MAX, .failed_bytes = UINT64_MAX,
        .ledger = {.fed = UINT64_MAX, .delivered = UINT64_MAX, .failed = UINT64_MAX,
                   .existing = UINT64_MAX, .bytes = UINT64_MAX},
        .place = {.list = MANY, .offset = INT64_MAX, .total = INT64_MAX,
                  .file_line = UINT64_MAX, .number = UINT64_MAX},
        .lists = lists, .list_count = MANY, .tasks = tasks, .task_count = MANY};
    (void)state;
    memset(c.run, 0xff, sizeof c.run);
    memset(dest, 'd', sizeof dest - 1);
    memcpy(c.dest, dest, sizeof dest - 1);
    for (size_t i = 0; i < MANY; i++) {
        tasks[i] = (struct unsettled){UINT64_MAX - MANY + i, UINT32_MAX, UINT32_MAX, "http://h/?",
                                      10};
        lists[i] = (struct input_identity){i & 1, INT64_MIN, INT64_MIN, UINT64_MAX};
    }
    assert_comes_back(&c);
    free(tasks);
    free(lists);
}

static struct buf sample(void)
{
    static struct unsettled tasks[] = {{3, 0, 1, "http://h/a", 10},
                                       {8, 2, 0, "http://h/b?\xff", 12}};
    static struct input_identity lists[] = {{false, 500, 1700000000123456789, 0xabcdef0123456789},
                                            {true, 0, 0, 0x0123456789abcdef}};
    struct checkpoint c = plain;
    c.lists = lists;
    c.list_count = 2;
    c.tasks = tasks;
    c.task_count = 2;
    return text_of(&c);
}

static void every_prefix_is_bad(void **state)
{
    struct buf b = sample();
    (void)state;
    assert_int_equal(verdict(b.data, b.len), CHECKPOINT_GOOD);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(verdict(b.data, len), CHECKPOINT_BAD);
    assert_int_equal(buf_adds(&b, "\n"), 0); /* and so is more than all of it */
    assert_int_equal(verdict(b.data, b.len), CHECKPOINT_BAD);
    buf_free(&b);
}

/* Many texts, so that the digest has each digit in each place: "0" and " ", "a" and "A" are one
 * bit apart. */
static void no_flipped_bit_is_good(void **state)
{
    (void)state;
    for (uint64_t epoch = 0; epoch < 200; epoch++) {
        struct checkpoint c = plain;
        c.epoch = epoch;
        c.place.list = 0;
        struct buf b = text_of(&c);
        assert_int_equal(verdict(b.data, b.len), CHECKPOINT_GOOD);
        size_t from = epoch ? b.len - END_LINE : 0;
        for (size_t bit = from * 8; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_not_equal(verdict(b.data, b.len), CHECKPOINT_GOOD);
            b.data[bit / 8] ^= (char)(1 << bit % 8);
        }
        buf_free(&b);
    }
}

static void zeros_and_noise_are_bad(void **state)
{
    struct buf b = sample();
    uint64_t noise = 1;
    (void)state;
    for (size_t from = 0; from < b.len; from += 7) { /* what a power loss leaves of a file */
        struct buf half = sample();
        memset(half.data + from, 0, half.len - from);
        assert_int_equal(verdict(half.data, half.len), CHECKPOINT_BAD);
        buf_free(&half);
    }
    for (int i = 0; i < 2000; i++) {
        char junk[300];
        for (size_t k = 0; k < sizeof junk; k++)
            junk[k] = (char)((noise = noise * 6364136223846793005u + 1) >> 56);
        assert_int_equal(verdict(junk, (size_t)i % sizeof junk), CHECKPOINT_BAD);
    }
    buf_free(&b);
}

/* Whole, as far as its digest goes. */
static enum checkpoint_verdict verdict_of(const char *head, const char *rest)
{
    struct buf b = buf_make(1 << 20);
    buf_adds(&b, head);
    buf_adds(&b, rest);
    assert_int_equal(buf_addf(&b, "end %016" PRIx64 "\n", XXH3_64bits(b.data, b.len)), 0);
    enum checkpoint_verdict v = verdict(b.data, b.len);
    buf_free(&b);
    return v;
}

static void a_later_version_is_told_from_a_damaged_one(void **state)
{
    (void)state;
    assert_int_equal(verdict_of("sluice-checkpoint 2\n", "what comes is not ours to know\n"),
                     CHECKPOINT_NEWER);
    assert_int_equal(verdict("sluice-checkpoint 2\n", 20), CHECKPOINT_NEWER);
    assert_int_equal(verdict("sluice-checkpoint 2", 19), CHECKPOINT_BAD);
    assert_int_equal(verdict_of("sluice-checkpoint 0\n", ""), CHECKPOINT_BAD);
    assert_int_equal(verdict_of("sluice-checkpoint -1\n", ""), CHECKPOINT_BAD);
    assert_int_equal(verdict_of("sluice-checkpoint\n", ""), CHECKPOINT_BAD);
    assert_int_equal(verdict_of("sluice-checkpoint 1\n", ""), CHECKPOINT_BAD);
    assert_int_equal(verdict_of("sluice-checkpoint 1", "\rrun"), CHECKPOINT_BAD);
}

#define HEAD                                                                                      \
    "sluice-checkpoint 1\nrun 000102030405060708090a0b0c0d0e0f\nepoch 1\ncomplete 0\n"            \
    "ledger 0 0 0 0 0\nmanifest 0\nfailed 0\n"
#define PLACE "place 0 5 5 9 9 0\n"
#define DEST "dest \n"
#define LISTS "lists 1\nfile 100 5 0000000000000001\n"

static void what_makes_no_sense_is_bad_though_its_digest_is_right(void **state)
{
    static const char *const bad[] = {
        PLACE DEST LISTS "tasks 2\n5 0 0 http://h/\n4 0 0 http://h/\n",   /* not by rising id */
        PLACE DEST LISTS "tasks 2\n5 0 0 http://h/\n5 0 0 http://h/\n",   /* one twice */
        PLACE DEST LISTS "tasks 1\n0 0 0 http://h/\n",
        PLACE DEST LISTS "tasks 1\n-1 0 0 http://h/\n",
        PLACE DEST LISTS "tasks 1\n10 0 0 http://h/\n",                   /* beyond the place */
        PLACE DEST LISTS "tasks 1\n99999999999999999999 0 0 http://h/\n",
        PLACE DEST LISTS "tasks 1\n5 0 http://h/\n",
        PLACE DEST LISTS "tasks 1\n5 0 0\n",
        PLACE DEST LISTS "tasks 1\n5\n0 0 http://h/\n",
        PLACE DEST LISTS "tasks 1\n\n5 0 0 http://h/\n",
        PLACE DEST LISTS "tasks 0\n5 0 0 http://h/\n",                    /* counts that lie */
        PLACE DEST LISTS "tasks 2\n5 0 0 http://h/\n",
        PLACE DEST LISTS "tasks 18446744073709551615\n5 0 0 http://h/\n",
        PLACE DEST LISTS "tasks -1\n5 0 0 http://h/\n",
        PLACE DEST LISTS "tasks\n", PLACE DEST LISTS,
        PLACE DEST "lists 0\nfile 100 5 0000000000000001\ntasks 0\n",
        PLACE DEST "lists 2\nfile 100 5 0000000000000001\ntasks 0\n",
        PLACE DEST "lists 4294967295\nfile 100 5 0000000000000001\ntasks 0\n",
        PLACE DEST "lists 1\nfolder 100 5 0000000000000001\ntasks 0\n",
        PLACE DEST "lists 1\nfile 100 5\ntasks 0\n",
        "place 2 5 5 9 9 0\n" DEST LISTS "tasks 0\n",                     /* of one list */
        "place 0 -5 5 9 9 0\n" DEST LISTS "tasks 0\n",
        "place 0 5 -5 9 9 0\n" DEST LISTS "tasks 0\n",
        "place 0 5 5 9 9\n" DEST LISTS "tasks 0\n",
        PLACE "dest-escaped a\\\n" LISTS "tasks 0\n",                      /* no such escape */
        PLACE "dest-escaped a\\x\n" LISTS "tasks 0\n",
        PLACE "dest-escaped\n" LISTS "tasks 0\n",
        DEST LISTS "tasks 0\n", PLACE LISTS "tasks 0\n", PLACE "dest\n" LISTS "tasks 0\n", ""};
    char dest[800] = PLACE "dest ";
    (void)state;
    assert_int_equal(verdict_of(HEAD, PLACE DEST LISTS "tasks 1\n5 0 0 http://h/\n"),
                     CHECKPOINT_GOOD);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (verdict_of(HEAD, bad[i]) != CHECKPOINT_BAD)
            print_error("taken for good: %s", bad[i]);
        assert_int_equal(verdict_of(HEAD, bad[i]), CHECKPOINT_BAD);
    }
    memset(dest + strlen(dest), 'd', PLACE_MAX);
    strcat(dest, "\n" LISTS "tasks 0\n");
    assert_int_equal(verdict_of(HEAD, dest), CHECKPOINT_BAD);
    strcpy(dest, PLACE "dest-escaped ");
    for (int i = 0; i < PLACE_MAX; i++)
        strcat(dest, "\\n");
    strcat(dest, "\n" LISTS "tasks 0\n");
    assert_int_equal(verdict_of(HEAD, dest), CHECKPOINT_BAD);
}

/* One that was written before there were escapes. */
static void a_backslash_of_an_earlier_checkpoint_is_one(void **state)
{
    struct checkpoint c;
    const char *why;
    struct buf b = buf_make(1 << 20);
    (void)state;
    buf_adds(&b, HEAD PLACE "dest exec:printf 'a\\n\\\\'\n" LISTS "tasks 0\n");
    assert_int_equal(buf_addf(&b, "end %016" PRIx64 "\n", XXH3_64bits(b.data, b.len)), 0);
    assert_int_equal(checkpoint_read(&c, b.data, b.len, &why), CHECKPOINT_GOOD);
    assert_string_equal(c.dest, "exec:printf 'a\\n\\\\'");
    checkpoint_free(&c);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_comes_back),
        cmocka_unit_test(any_dest_comes_back),
        cmocka_unit_test(a_backslash_of_an_earlier_checkpoint_is_one),
        cmocka_unit_test(the_largest_numbers_and_a_whole_window_come_back),
        cmocka_unit_test(every_prefix_is_bad),
        cmocka_unit_test(no_flipped_bit_is_good),
        cmocka_unit_test(zeros_and_noise_are_bad),
        cmocka_unit_test(a_later_version_is_told_from_a_damaged_one),
        cmocka_unit_test(what_makes_no_sense_is_bad_though_its_digest_is_right),
    };
    alarm(DEADLINE_ALL_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

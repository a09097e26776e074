/* The codec: what is written is read again, what is not ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/msg.h"

static struct msg a_chunk(void)
{
    struct msg m = {.kind = MSG_CHUNK, .run = "0123456789abcde", .from = 7, .to = UINT64_MAX};
    m.chunk = (struct msg_chunk){.n = 1, .d = (uint64_t)1 << 40, .task = 3, .offset = 4,
                                 .last = true, .sum = 99, .total = 9, .response_code = 200};
    m.chunk.digest = msg_text("sha256:00");
    return m;
}

static void a_chunk_and_its_body_come_back(void **state)
{
    struct buf b = buf_make(10000);
    struct msg in = a_chunk(), out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    assert_int_equal(msg_write(&b, &in), 0);
    buf_add(&b, "hello", 5);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_int_equal(out.kind, MSG_CHUNK);
    assert_memory_equal(out.run, in.run, ID_RUN_BYTES);
    assert_true(out.from == 7 && out.to == UINT64_MAX && out.chunk.d == in.chunk.d);
    assert_true(out.chunk.last && !out.chunk.first && out.chunk.total == 9);
    assert_int_equal(out.chunk.digest.len, 9);
    assert_int_equal(out.body_len, 5);
    assert_memory_equal(out.body, "hello", 5);
    msg_reader_close(r);
    buf_free(&b);
}

static void lists_come_back(void **state)
{
    struct buf b = buf_make(10000);
    struct msg_reader *r = msg_reader_open();
    const char *why;
    uint64_t held[] = {5, 6, UINT64_MAX};
    struct msg_mark marks[] = {{1, 2}, {3, 4}};
    struct msg in = {.kind = MSG_BEAT, .from = 1}, out;
    (void)state;
    in.beat.role = msg_text("fetcher");
    in.beat.host = in.beat.inbox = msg_text("x");
    in.beat.oldest = 1;
    in.beat.held = (struct msg_numbers){held, 3};
    in.beat.read.v = marks;
    in.beat.read.count = 2;
    assert_int_equal(msg_write(&b, &in), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_int_equal(out.beat.held.count, 3);
    assert_memory_equal(out.beat.held.v, held, sizeof held);
    assert_int_equal(out.beat.read.count, 2);
    assert_true(out.beat.read.v[1].from == 3 && out.beat.read.v[1].n == 4);
    msg_reader_close(r);
    buf_free(&b);
}

/* Refused, whatever prefix or flipped byte; never a crash (the sanitizers look on). */
static void every_prefix_is_refused_and_every_flip_survived(void **state)
{
    struct buf b = buf_make(10000);
    struct msg in = a_chunk(), out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    assert_int_equal(msg_write(&b, &in), 0);
    for (size_t len = 0; len < b.len; len++)
        assert_int_equal(msg_read(r, b.data, len, &out, &why), -1);
    for (size_t i = 0; i < b.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
            msg_read(r, b.data, b.len, &out, &why);
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
        }
    msg_reader_close(r);
    buf_free(&b);
}

static void another_version_a_missing_field_a_wrong_type_are_refused(void **state)
{
    static const struct { const char *frame; size_t len; const char *why; } cases[] = {
        {"\x81\xa1v\x02", 4, "v"},
        {"\x80", 1, "v"},
        {"\x82\xa1v\x01\xa4kind\xa3wat", 13, "kind"},
        {"\x82\xa1v\x01\xa4kind\xa4task", 14, "run"},
        {"\x90", 1, "not MessagePack"}};
    struct msg_reader *r = msg_reader_open();
    struct msg out;
    const char *why;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(msg_read(r, cases[i].frame, cases[i].len, &out, &why), -1);
        assert_string_equal(why, cases[i].why);
    }
    msg_reader_close(r);
}

static void a_body_behind_another_kind_is_refused(void **state)
{
    struct buf b = buf_make(10000);
    struct msg in = {.kind = MSG_TASK}, out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    in.task.url = in.task.key = msg_text("x");
    assert_int_equal(msg_write(&b, &in), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    buf_add(&b, "x", 1);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), -1);
    msg_reader_close(r);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_and_its_body_come_back),
        cmocka_unit_test(lists_come_back),
        cmocka_unit_test(every_prefix_is_refused_and_every_flip_survived),
        cmocka_unit_test(another_version_a_missing_field_a_wrong_type_are_refused),
        cmocka_unit_test(a_body_behind_another_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The codec: what is written is read again, what is not ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/msg.h"

/* Two chunks: "hello", which is the end of a body, and an empty one. */
static struct msg two_chunks(void)
{
    static struct msg_chunk items[2];
    struct msg m = {.kind = MSG_CHUNKS, .run = "0123456789abcde", .from = 7, .to = UINT64_MAX};
    items[0] = (struct msg_chunk){.d = (uint64_t)1 << 40, .task = 3, .offset = 4, .len = 5,
                                  .last = true, .sum = 99, .total = 9, .response_code = 200};
    items[0].digest = msg_text("sha256:00");
    items[1] = (struct msg_chunk){.d = 5, .first = true, .last = true};
    m.chunks.n = 1;
    m.chunks.items.v = items;
    m.chunks.items.count = 2;
    return m;
}

static void chunks_and_their_bytes_come_back(void **state)
{
    struct buf b = buf_make(10000);
    struct msg in = two_chunks(), out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    assert_int_equal(msg_write(&b, &in), 0);
    buf_add(&b, "hello", 5);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_int_equal(out.kind, MSG_CHUNKS);
    assert_memory_equal(out.run, in.run, ID_RUN_BYTES);
    assert_true(out.from == 7 && out.to == UINT64_MAX && out.chunks.n == 1);
    assert_int_equal(out.chunks.items.count, 2);
    const struct msg_chunk *c = out.chunks.items.v;
    assert_true(c[0].d == (uint64_t)1 << 40 && c[0].last && !c[0].first && c[0].total == 9);
    assert_int_equal(c[0].digest.len, 9);
    assert_memory_equal(c[0].bytes, "hello", 5);
    assert_true(c[1].first && c[1].len == 0 && c[1].bytes == c[0].bytes + 5);
    msg_reader_close(r);
    buf_free(&b);
}

static void header_blocks_come_back(void **state)
{
    struct buf b = buf_make(300000);
    struct msg_reader *r = msg_reader_open();
    const char *why;
    static char block[MSG_TEXT_MOST + 1];
    struct msg_chunk item = {.first = true, .decoded = true, .ip = msg_text("::1"),
                             .head = {block, MSG_TEXT_MOST}, .request = {"GET /\r\n\r\n", 9}};
    struct msg in = {.kind = MSG_CHUNKS}, out;
    (void)state;
    memset(block, '\n', sizeof block);
    in.chunks.items.v = &item;
    in.chunks.items.count = 1;
    assert_int_equal(msg_write(&b, &in), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    const struct msg_chunk *c = out.chunks.items.v;
    assert_int_equal(c->head.len, MSG_TEXT_MOST);
    assert_memory_equal(c->head.s, block, MSG_TEXT_MOST);
    assert_int_equal(c->request.len, 9);
    assert_int_equal(c->ip.len, 3);
    assert_true(c->decoded);
    item.head.len++; /* one too many */
    b.len = 0;
    assert_int_equal(msg_write(&b, &in), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), -1);
    assert_string_equal(why, "items");
    msg_reader_close(r);
    buf_free(&b);
}

static void who_wants_heads_and_where_an_object_lies_come_back(void **state)
{
    struct buf b = buf_make(10000);
    struct msg_reader *r = msg_reader_open();
    const char *why;
    struct msg_uploader u = {.member = 1, .intake = msg_text("i"), .heads = true, .read = 9};
    struct msg_outcome o = {.key = msg_text("k"), .place = msg_text("shard#512")};
    struct msg beat = {.kind = MSG_BEAT}, news = {.kind = MSG_NEWS}, stored = {.kind = MSG_STORED};
    struct msg out;
    (void)state;
    beat.beat.role = beat.beat.host = beat.beat.inbox = msg_text("x");
    beat.beat.heads = true;
    news.news.uploaders.v = &u;
    news.news.uploaders.count = 1;
    stored.outcomes.items.v = &o;
    stored.outcomes.items.count = 1;
    assert_int_equal(msg_write(&b, &beat), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_true(out.beat.heads);
    b.len = 0;
    assert_int_equal(msg_write(&b, &news), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_true(out.news.uploaders.v[0].heads && out.news.uploaders.v[0].read == 9);
    b.len = 0;
    assert_int_equal(msg_write(&b, &stored), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_memory_equal(out.outcomes.items.v[0].place.s, "shard#512", 9);
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
    struct msg in = two_chunks(), out;
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
        {"\x82\xa1v\x01\xa4kind\xa5tasks", 15, "run"},
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

static void of_two_fields_of_one_name_the_later_counts(void **state)
{
    struct buf b = buf_make(1000);
    struct msg tasks = {.kind = MSG_TASKS, .tasks.n = 3}, out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    assert_int_equal(msg_write(&b, &tasks), 0);
    b.data[0]++; /* a map, of so many fields */
    buf_add(&b, "\xa1n\x05", 3);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    assert_int_equal(out.tasks.n, 5);
    msg_reader_close(r);
    buf_free(&b);
}

static void bytes_that_no_chunk_claims_or_that_are_missing_are_refused(void **state)
{
    struct buf b = buf_make(10000);
    struct msg task = {.kind = MSG_TASKS}, chunks = two_chunks(), out;
    struct msg_reader *r = msg_reader_open();
    const char *why;
    (void)state;
    assert_int_equal(msg_write(&b, &task), 0);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), 0);
    buf_add(&b, "x", 1);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), -1);
    b.len = 0;
    assert_int_equal(msg_write(&b, &chunks), 0);
    buf_add(&b, "hell", 4);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), -1);
    buf_add(&b, "o!", 2);
    assert_int_equal(msg_read(r, b.data, b.len, &out, &why), -1);
    assert_string_equal(why, "bytes");
    msg_reader_close(r);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_and_their_bytes_come_back),
        cmocka_unit_test(header_blocks_come_back),
        cmocka_unit_test(who_wants_heads_and_where_an_object_lies_come_back),
        cmocka_unit_test(lists_come_back),
        cmocka_unit_test(every_prefix_is_refused_and_every_flip_survived),
        cmocka_unit_test(another_version_a_missing_field_a_wrong_type_are_refused),
        cmocka_unit_test(of_two_fields_of_one_name_the_later_counts),
        cmocka_unit_test(bytes_that_no_chunk_claims_or_that_are_missing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

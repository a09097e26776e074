/* The pure modules: key, retry, opt_bytes, guard, json, digest, inflate, store keys. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "feeder/key.h"
#include "feeder/retry.h"
#include "fetcher/guard.h"
#include "fetcher/inflate.h"
#include "lib/digest.h"
#include "lib/json.h"
#include "lib/opt.h"
#include "uploader/store.h"

static void keys_are_sharded_and_keep_a_sane_extension(void **state)
{
    static const struct { const char *url, *ends; } cases[] = {
        {"http://h/a.html", ".html"}, {"http://h/a.HTML?x=1.png", ".html"},
        {"http://h/a.tar.gz#x", ".gz"}, {"http://h.com", ""}, {"http://h/", ""},
        {"http://h/.bashrc", ""}, {"http://h/a.waytoolongone", ""}, {"http://h/a.", ""},
        {"http://h/a.b%20c", ""}, {"http://h?x=/a.png", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char key[KEY_BYTES];
        key_of(cases[i].url, strlen(cases[i].url), key);
        assert_int_equal(key[2], '/');
        assert_memory_equal(key, key + 3, 2);
        assert_string_equal(key + 35, cases[i].ends);
        assert_true(store_key_ok(key, strlen(key)));
    }
}

/* A journal's next run must find what the last one stored. */
static void a_key_is_what_it_always_was(void **state)
{
    char key[KEY_BYTES];
    (void)state;
    key_of("http://h/a.html", 15, key);
    assert_string_equal(key, "96/96c0ce8f91507405aad02382fa1e5d61.html");
}

static void a_store_refuses_names_that_lead_out_of_it(void **state)
{
    static const char *const bad[] = {"", "/a", "a/", "../a", "a/../b", "a//b", ".a", "a/.b",
                                      "a b", "a\nb", "a\\b", "\xc3\xa9"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(store_key_ok(bad[i], strlen(bad[i])));
    assert_false(store_key_ok("a\0b", 3));
    assert_true(store_key_ok("ab/c-d_e.f", 10));
}

static void waits_double_up_to_a_cap_and_heed_retry_after(void **state)
{
    (void)state;
    assert_int_equal(retry_wait_ms(1000, 1, 0, 1000), 1000);
    assert_int_equal(retry_wait_ms(1000, 3, 0, 4000), 4000);
    assert_int_equal(retry_wait_ms(1000, 50, 0, RETRY_CAP_MS), RETRY_CAP_MS);
    assert_int_equal(retry_wait_ms(1000, 1, 5000, 1000), 5000);
    assert_int_equal(retry_wait_ms(1000, 1, INT64_MAX, 0), RETRY_AFTER_CAP_MS);
    assert_int_equal(retry_wait_ms(0, 1, 0, UINT64_MAX), 0);
}

static void sizes_have_suffixes_and_limits(void **state)
{
    int64_t n;
    (void)state;
    assert_int_equal(opt_bytes("256k", &n), 0);
    assert_int_equal(n, 262144);
    assert_int_equal(opt_bytes("3G", &n), 0);
    assert_int_equal(n, (int64_t)3 << 30);
    static const char *const bad[] = {"", "k", "-1", "1kk", "1.5M", "9999999999G", "1 k"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(opt_bytes(bad[i], &n), -1);
}

static bool permits(const struct guard *g, const char *address)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, address, &four.sin_addr) == 1)
        return guard_permits(g, (struct sockaddr *)&four);
    assert_int_equal(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
    return guard_permits(g, (struct sockaddr *)&six);
}

static void the_guard_knows_addresses_in_every_dress(void **state)
{
    static const char *const closed[] = {
        "127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1",
        "::127.0.0.1"};
    static const char *const public[] = {"1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1"};
    struct guard g = {0};
    (void)state;
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        assert_false(permits(&g, closed[i]));
    for (size_t i = 0; i < sizeof public / sizeof *public; i++)
        assert_true(permits(&g, public[i]));
    assert_int_equal(guard_allow(&g, "loopback"), 0);
    assert_true(permits(&g, "127.8.9.1") && permits(&g, "::1") && permits(&g, "::ffff:127.0.0.1"));
    assert_false(permits(&g, "10.0.0.1"));
    assert_int_equal(guard_allow(&g, "10.1.0.0/16"), 0);
    assert_true(permits(&g, "10.1.255.1"));
    assert_false(permits(&g, "10.2.0.1"));
    static const char *const bad[] = {"", "10.0.0.0/33", "fe80::/129", "10.0.0/8", "x", "1.2.3.4/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(guard_allow(&g, bad[i]), -1);
}

static void json_strings_are_always_valid(void **state)
{
    struct buf b = buf_make(1000);
    static const char in[] = "a\"\\\n\x01\x1b\xc3\xa9\xff\xed\xa0\x80\xf0\x9f\x98\x80\x7f";
    (void)state;
    assert_int_equal(json_string(&b, in, sizeof in - 1), 0);
    buf_add(&b, "", 1);
    assert_string_equal(b.data, "\"a\\\"\\\\\\n\\u0001\\u001b\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd"
                                "\xf0\x9f\x98\x80\\u007f\"");
    buf_free(&b);
}

static void numbers_are_as_printf_writes_them(void **state)
{
    static const uint64_t numbers[] = {0, 9, 10, 99, 100, 12345678901234567890u, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct buf fast = buf_make(100), plain = buf_make(100);
        assert_int_equal(buf_addu(&fast, numbers[i]), 0);
        assert_int_equal(buf_addf(&plain, "%" PRIu64, numbers[i]), 0);
        assert_int_equal(fast.len, plain.len);
        assert_memory_equal(fast.data, plain.data, fast.len);
        buf_free(&fast);
        buf_free(&plain);
    }
}

/* Pieces of all lengths, in any order, by pairs and alone. */
static void two_digests_at_once_are_what_they_are_alone(void **state)
{
    static uint8_t data[20000];
    char together[DIGEST_TEXT], alone[DIGEST_TEXT];
    unsigned seed = 7;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rand_r(&seed);
    for (int kind = 0; kind < DIGEST_KINDS; kind++)
        for (int round = 0; round < 500; round++) {
            struct digest *d[4];
            for (int i = 0; i < 4; i++)
                d[i] = digest_open((enum digest_kind)kind);
            for (int piece = 0; piece < 6; piece++) {
                size_t len = (size_t)rand_r(&seed) % (piece % 2 ? 200 : 9000);
                const uint8_t *a = data + rand_r(&seed) % 10000, *b = data + rand_r(&seed) % 10000;
                digest_add_two(d[0], a, d[1], b, len);
                digest_add(d[2], a, len);
                digest_add(d[3], b, len);
                digest_add(d[piece % 2], a, len % 65); /* they come to differ in what is over */
                digest_add(d[2 + piece % 2], a, len % 65);
            }
            for (int i = 0; i < 2; i++) {
                digest_text(d[i], together);
                digest_text(d[2 + i], alone);
                assert_string_equal(together, alone);
            }
            for (int i = 0; i < 4; i++)
                digest_close(d[i]);
        }
}

static void digests_match_published_vectors(void **state)
{
    static const struct { enum digest_kind kind; const char *text; } cases[] = {
        {DIGEST_SHA256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {DIGEST_MD5, "md5:900150983cd24fb0d6963f7d28e17f72"},
        {DIGEST_XXH128, "xxh128:06b05ab6733a618578af5f94892f3950"}, {DIGEST_NONE, ""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[DIGEST_TEXT];
        struct digest *d = digest_open(cases[i].kind);
        digest_add(d, "a", 1);
        digest_add(d, "bc", 2);
        digest_text(d, text);
        assert_string_equal(text, cases[i].text);
        digest_close(d);
    }
}

/* Decodes `in`, handed over in pieces of `piece` bytes, 7 bytes of room at a time. */
static size_t decode(const char *encoding, const char *in, size_t len, size_t piece, char *out)
{
    struct inflate *z = inflate_open(encoding);
    size_t made = 0;
    for (size_t at = 0; at < len; at += piece) {
        const char *data = in + at;
        size_t left = len - at < piece ? len - at : piece;
        for (long n = 7; left || n == 7; made += (size_t)n) {
            n = inflate_some(z, &data, &left, out + made, 7);
            assert_true(n >= 0);
        }
    }
    assert_true(inflate_ended(z));
    inflate_close(z);
    return made;
}

static size_t encode(int bits, const char *in, size_t len, char *out, size_t room)
{
    z_stream s = {0};
    deflateInit2(&s, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
    s.next_in = (Bytef *)(uintptr_t)in;
    s.avail_in = (uInt)len;
    s.next_out = (Bytef *)out;
    s.avail_out = (uInt)room;
    assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
    deflateEnd(&s);
    return s.total_out;
}

static void gzip_and_both_deflates_are_decoded_in_any_pieces(void **state)
{
    static const struct { const char *name; int bits; } cases[] = {
        {"gzip", 31}, {"deflate", 15}, {"deflate", -15}};
    char plain[5000], packed[6000], out[6000];
    (void)state;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (char)(i * i >> 5);
    for (size_t c = 0; c < 3; c++)
        for (size_t piece = 1; piece < 3000; piece = piece * 3 + 1) {
            size_t len = encode(cases[c].bits, plain, sizeof plain, packed, sizeof packed);
            assert_int_equal(decode(cases[c].name, packed, len, piece, out), sizeof plain);
            assert_memory_equal(out, plain, sizeof plain);
        }
    assert_null(inflate_open("br"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_sharded_and_keep_a_sane_extension),
        cmocka_unit_test(a_key_is_what_it_always_was),
        cmocka_unit_test(a_store_refuses_names_that_lead_out_of_it),
        cmocka_unit_test(waits_double_up_to_a_cap_and_heed_retry_after),
        cmocka_unit_test(sizes_have_suffixes_and_limits),
        cmocka_unit_test(the_guard_knows_addresses_in_every_dress),
        cmocka_unit_test(json_strings_are_always_valid),
        cmocka_unit_test(numbers_are_as_printf_writes_them),
        cmocka_unit_test(digests_match_published_vectors),
        cmocka_unit_test(two_digests_at_once_are_what_they_are_alone),
        cmocka_unit_test(gzip_and_both_deflates_are_decoded_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* WARC records: header lines that would lie, somebody else's bytes, and how much of a file is whole
 * wherever it is cut or damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "uploader/warc_record.h"
#include "uploader/warc_scan.h"

static struct spools spools;

static struct store_facts facts_of(const char *head, const char *request)
{
    return (struct store_facts){
        .key = "ab/c", .url = "http://h/list#part", .content_type = "text/plain",
        .received_ms = 1700000000123, .head = head, .head_len = strlen(head), .request = request,
        .request_len = strlen(request), .ip = "::1", .complete = true,
        .url_effective = "http://h/x", .digest = ""};
}

static struct spool *spool_of(const char *text)
{
    struct spool *s = spool_open(&spools);
    assert_int_equal(spool_write(s, text, strlen(text)), 0);
    return s;
}

/* The plain records of an object, to be freed; *at as in warc_object(). */
static char *records_of(const struct store_facts *f, const char *body, uint64_t *at)
{
    struct spool *in = spool_of(body), *out = spool_open(&spools);
    assert_int_equal(warc_object(&(struct warc_writer){NULL, out}, f, in, at), 0);
    char *text = calloc(1, spool_bytes(out) + 1);
    assert_int_equal(spool_read(out, 0, text, spool_bytes(out)), spool_bytes(out));
    spool_close(in);
    spool_close(out);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no '%s' in: %s", part, text);
}

static void assert_head(const char *head, bool decoded, uint64_t bytes, const char *want)
{
    struct buf b = buf_make(1 << 20);
    bool is = warc_head(&b, head, strlen(head), decoded, bytes);
    assert_int_equal(is, want != NULL);
    assert_int_equal(b.len, want ? strlen(want) : 0);
    if (want)
        assert_memory_equal(b.data, want, b.len);
    buf_free(&b);
}

static void header_lines_that_would_lie_are_renamed_and_no_others(void **state)
{
    (void)state;
    const char *plain = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\n";
    assert_head(plain, false, 7, plain);
    assert_head(plain, true, 30,
                "HTTP/1.1 200 OK\r\nX-Orig-Content-Encoding: gzip\r\nX-Orig-Content-Length: 7\r\n"
                "Content-Length: 30\r\n\r\n");
    assert_head("HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\nContent-Encoding: br\r\n"
                "X-Content-Length: 1\r\n\r\n", false, 5,
                "HTTP/1.1 200 OK\r\nX-Orig-transfer-encoding : chunked\r\nContent-Encoding: br\r\n"
                "X-Content-Length: 1\r\nContent-Length: 5\r\n\r\n");
    assert_head("HTTP/1.0 200 OK\nA: b\n\n", false, 5, "HTTP/1.0 200 OK\nA: b\n\n");
    assert_head("HTTP/1.1 200\r\n\r\n", true, 0, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
}

static void what_is_no_header_block_is_none(void **state)
{
    (void)state;
    static const char *const none[] = {"", "HTTP/", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\n",
                                       "HTTP/1.1 200 OK\r\n\r\nA: b\r\n\r\n", "\r\n\r\n",
                                       "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_head(none[i], false, 5, NULL);
}

static void an_object_is_a_request_and_its_response(void **state)
{
    (void)state;
    uint64_t at;
    struct store_facts f = facts_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "GET /x HTTP/1.1\r\n\r\n");
    char *text = records_of(&f, "hello", &at), id[64];
    assert_int_equal(memcmp(text, "WARC/1.1\r\nWARC-Type: request\r\n", 30), 0);
    assert_int_equal(memcmp(text + at, "WARC/1.1\r\nWARC-Type: response\r\n", 31), 0);
    assert_has(text + at, "WARC-Date: 2023-11-14T22:13:20.123Z\r\n");
    assert_has(text + at, "WARC-Target-URI: http://h/x\r\nWARC-IP-Address: ::1\r\n");
    assert_has(text + at, "WARC-Payload-Digest: sha256:"
               "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\r\n");
    assert_has(text + at, "Content-Type: application/http;msgtype=response\r\n"
               "Content-Length: 30\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nhello\r\n\r\n");
    assert_int_equal(sscanf(strstr(text + at, "WARC-Record-ID: "), "WARC-Record-ID: %63s", id), 1);
    assert_has(text, "Content-Length: 19\r\n\r\nGET /x HTTP/1.1\r\n\r\n\r\n\r\nWARC/1.1\r\n");
    const char *to = strstr(text, "WARC-Concurrent-To: ");
    assert_true(to && to < text + at && !strncmp(to + 20, id, strlen(id)));
    free(text);
}

static void somebody_elses_bytes_make_no_header_lines(void **state)
{
    (void)state;
    uint64_t at;
    struct store_facts f = facts_of("", "GET / HTTP/1.1\r\n\r\n");
    f.url_effective = "";
    f.url = "http://h/\r\nWARC-Type: x\xc3\xa9 <>\"#no";
    f.content_type = "text/x\r\nWARC-Type: y";
    f.ip = "1.2.3.4\r\nX: y";
    f.digest = "sha256:\r\nX: y";
    char *text = records_of(&f, "", &at);
    assert_int_equal(at, 0);
    assert_has(text, "WARC-Type: resource\r\n");
    assert_has(text, "WARC-Target-URI: http://h/%0D%0AWARC-Type:%20x%C3%A9%20%3C%3E%22\r\n");
    assert_has(text, "Content-Type: application/octet-stream\r\nContent-Length: 0\r\n");
    assert_null(strstr(text, "X: y"));
    assert_null(strstr(text, "WARC-IP-Address"));
    assert_has(text, "WARC-Payload-Digest: sha256:e3b0c44298fc1c149afbf4c8996fb924");
    free(text);
}

/* A file of `objects` objects; ends[i] is where the i-th ends, ends[0] where warcinfo does. */
static int make_file(bool packed, int objects, uint64_t *ends)
{
    char path[] = "/tmp/sluice-unit.XXXXXX";
    int fd = mkstemp(path);
    struct spool *out = spool_open(&spools);
    struct warc_writer w = {packed ? gzip_open() : NULL, out};
    assert_true(fd >= 0 && unlink(path) == 0);
    assert_int_equal(warc_info(&w, "a.warc", "h"), 0);
    ends[0] = spool_bytes(out);
    for (int i = 1; i <= objects; i++) {
        uint64_t at;
        struct spool *body = spool_of("the body of one, \r\n\r\nWARC/1.1\r\n");
        struct store_facts f = facts_of(i % 2 ? "HTTP/1.1 200 OK\r\n\r\n" : "",
                                        "GET /x HTTP/1.1\r\n\r\n");
        assert_int_equal(warc_object(&w, &f, body, &at), 0);
        ends[i] = spool_bytes(out);
        spool_close(body);
    }
    const void *all = spool_memory(out);
    assert_int_equal(write(fd, all, spool_bytes(out)), spool_bytes(out));
    gzip_close(w.gzip);
    spool_close(out);
    return fd;
}

/* The end of the last whole object within `bytes`. */
static uint64_t expected(const uint64_t *ends, int objects, uint64_t bytes)
{
    uint64_t whole = 0;
    for (int i = 1; i <= objects; i++)
        if (ends[i] <= bytes)
            whole = ends[i];
    return whole;
}

static void a_file_cut_anywhere_is_whole_to_its_last_object(void **state)
{
    (void)state;
    enum { OBJECTS = 4 };
    uint64_t ends[OBJECTS + 1];
    for (int packed = 0; packed < 2; packed++) {
        int fd = make_file(packed, OBJECTS, ends);
        for (uint64_t bytes = ends[OBJECTS] + 1; bytes-- > 0;) {
            assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
            assert_int_equal(warc_whole(fd, packed), expected(ends, OBJECTS, bytes));
        }
        close(fd);
    }
}

static void damage_ends_what_is_whole_before_it(void **state)
{
    (void)state;
    enum { OBJECTS = 4 };
    uint64_t ends[OBJECTS + 1];
    for (int packed = 0; packed < 2; packed++) {
        int fd = make_file(packed, OBJECTS, ends), harmless = 0;
        for (uint64_t at = ends[0]; at < ends[OBJECTS]; at++) {
            char was, is;
            assert_int_equal(pread(fd, &was, 1, (off_t)at), 1);
            is = (char)(was ^ 4);
            assert_int_equal(pwrite(fd, &is, 1, (off_t)at), 1);
            uint64_t whole = (uint64_t)warc_whole(fd, packed);
            assert_true(whole == expected(ends, OBJECTS, at) || whole == ends[OBJECTS]);
            harmless += whole == ends[OBJECTS]; /* in a date, a time of packing */
            assert_int_equal(pwrite(fd, &was, 1, (off_t)at), 1);
        }
        assert_int_equal(warc_whole(fd, packed), ends[OBJECTS]);
        assert_true(harmless < (packed ? 100 : 2000));
        close(fd);
    }
}

static void what_is_not_ours_is_said_to_be_so(void **state)
{
    (void)state;
    char path[] = "/tmp/sluice-unit.XXXXXX", zeros[5000] = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0 && unlink(path) == 0);
    assert_int_equal(warc_whole(fd, true), 0);
    assert_int_equal(write(fd, zeros, 100), 100); /* torn in its first record */
    assert_int_equal(warc_whole(fd, true), 0);
    assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
    for (int packed = 0; packed < 2; packed++) {
        errno = 0;
        assert_int_equal(warc_whole(fd, packed), -1);
        assert_int_equal(errno, EILSEQ);
    }
    close(fd);
}

/* What other programs begin with: another version, other lines, another one's name. */
static const char *const others[] = {
    "WARC/1.0\r\nWARC-Type: warcinfo\r\nWARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:"
    "uuid:0b6a2c41-5c4f-4d09-a3f5-0d2f9f6e0a11>\r\nContent-Length: 19\r\n\r\n"
    "software: Heritrix\n\r\n\r\n",
    "WARC/1.1\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: <urn:uuid:0b6a2c41-5c4f-4d09-a3f5-0d2f9f6"
    "e0a11>\r\nWARC-Filename: a.warc\r\nContent-Length: 19\r\n\r\nsoftware: sluice/xy\r\n\r\n",
    "WARC/1.1\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: <urn:uuid:0b6a2c41-5c4f-4d09-a3f5-0d2f9f6"
    "e0a11>\r\nWARC-Date: 2026-01-01T00:00:00.000Z\r\nWARC-Block-Digest: sha1:ABC\r\n"
    "Content-Length: 19\r\n\r\nsoftware: sliced/xy\r\n\r\n",
};

static int file_with(const char *text, bool packed)
{
    char path[] = "/tmp/sluice-unit.XXXXXX";
    int fd = mkstemp(path);
    struct spool *out = spool_open(&spools);
    struct gzip *gzip = gzip_open();
    assert_true(fd >= 0 && unlink(path) == 0);
    if (!packed)
        assert_int_equal(spool_write(out, text, strlen(text)), 0);
    else if (gzip_add(gzip, out, text, strlen(text)) || gzip_end(gzip, out))
        fail();
    assert_int_equal(write(fd, spool_memory(out), spool_bytes(out)), spool_bytes(out));
    gzip_close(gzip);
    spool_close(out);
    return fd;
}

static void assert_not_ours(int fd, bool packed)
{
    errno = 0;
    assert_int_equal(warc_whole(fd, packed), -1);
    assert_int_equal(errno, EILSEQ);
}

static void what_others_begin_with_is_not_ours_however_short(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        for (int packed = 0; packed < 2; packed++) {
            int fd = file_with(others[i], packed);
            assert_not_ours(fd, packed);
            assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 8), 0);
            assert_not_ours(fd, packed); /* they have not written more yet */
            close(fd);
        }
    int fd = file_with("notes of mine", false);
    assert_not_ours(fd, true);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lines_that_would_lie_are_renamed_and_no_others),
        cmocka_unit_test(what_is_no_header_block_is_none),
        cmocka_unit_test(an_object_is_a_request_and_its_response),
        cmocka_unit_test(somebody_elses_bytes_make_no_header_lines),
        cmocka_unit_test(a_file_cut_anywhere_is_whole_to_its_last_object),
        cmocka_unit_test(damage_ends_what_is_whole_before_it),
        cmocka_unit_test(what_is_not_ours_is_said_to_be_so),
        cmocka_unit_test(what_others_begin_with_is_not_ours_however_short),
    };
    spools_open(&spools, 64 << 20, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* sink: lines on their way into what takes only some of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "feeder/sink.h"
#include "lib/clock.h"
#include "lib/say.h"
#include "tests/unit/helpers.h"

static int64_t now_ms = 1;

static int64_t fake_clock(void)
{
    return now_ms;
}

static void add(struct sink *s, const char *text)
{
    buf_adds(sink_begin(s), text);
    sink_end(s);
}

static void lines_go_out_whole_and_are_counted(void **state)
{
    int fd = file_of("old\n", 4);
    struct sink s;
    size_t len;
    (void)state;
    assert_int_equal(sink_open(&s, fd), 0);
    assert_int_equal(sink_flush(&s), 1);
    add(&s, "one");
    now_ms++;
    add(&s, "");
    assert_int_equal(s.made, 2);
    assert_int_equal(s.pending, 2);
    assert_int_equal(s.oldest_ms, now_ms - 1);
    assert_int_equal(s.written, 0);
    assert_int_equal(sink_flush(&s), 1);
    assert_int_equal(s.pending, 0);
    assert_int_equal(s.written, 5);
    assert_int_equal(s.torn, 0);
    sink_begin(&s);
    sink_add_plain(&s, "a\n\r\t\x7f\x80z", 7);
    sink_end(&s);
    assert_int_equal(s.oldest_ms, now_ms);
    assert_int_equal(sink_flush(&s), 1);
    char *text = bytes_of(fd, &len);
    assert_string_equal(text, "old\none\n\na?\r\t\x7f\x80z\n");
    free(text);
    sink_close(&s);
    close(fd);
}

static void without_a_descriptor_nothing_is_kept(void **state)
{
    struct sink s;
    (void)state;
    assert_int_equal(sink_open(&s, -1), 0);
    add(&s, "one");
    assert_int_equal(s.lines.len, 0);
    assert_int_equal(s.pending, 0);
    assert_int_equal(sink_flush(&s), 1);
    sink_close(&s);
    assert_int_equal(sink_open(&s, 1 << 20), -1);
    assert_int_equal(errno, EBADF);
}

/* Never blocks, and what was read off is what was written, in order. */
static void a_full_pipe_is_not_waited_for(void **state)
{
    enum { LINES = 300, LINE = 999 };
    char line[LINE + 1], *got = malloc((LINE + 1) * LINES + 1);
    int fds[2];
    struct sink s;
    size_t len = 0;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(sink_open(&s, fds[1]), 0);
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "%*d", LINE, i);
        add(&s, line);
    }
    while (sink_flush(&s) == 0) {
        uint64_t lines = (s.written - s.torn) / (LINE + 1);
        assert_int_equal(s.torn, s.written % (LINE + 1));
        assert_int_equal(s.pending, LINES - lines);
        assert_int_equal(s.lines.len, LINES * (LINE + 1) - s.written);
        ssize_t n = read(fds[0], got + len, 7777);
        assert_true(n > 0);
        len += (size_t)n;
    }
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], got + len, LINES * (LINE + 1) + 1 - len)) > 0;)
        len += (size_t)n;
    assert_int_equal(len, LINES * (LINE + 1));
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "%*d", LINE, i);
        assert_memory_equal(got + i * (LINE + 1), line, LINE);
        assert_int_equal(got[i * (LINE + 1) + LINE], '\n');
    }
    assert_int_equal(s.pending, 0);
    assert_int_equal(s.torn, 0);
    sink_close(&s);
    close(fds[0]);
    free(got);
}

static void a_pipe_nobody_reads_is_an_error(void **state)
{
    int fds[2];
    struct sink s;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(sink_open(&s, fds[1]), 0);
    close(fds[0]);
    add(&s, "one");
    assert_int_equal(sink_flush(&s), -1);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(s.pending, 1);
    sink_cut_torn(&s);
    sink_close(&s);
    close(fds[1]);
}

static void let_grow_to(rlim_t bytes)
{
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
    r.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* A full disk that gets room again byte by byte. */
static void a_torn_line_goes_on_where_it_was_cut(void **state)
{
    static const char all[] = "old\none\n\nthree three\n4\n";
    int fd = file_of("old\n", 4);
    struct sink s;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(sink_open(&s, fd), 0);
    add(&s, "one");
    add(&s, "");
    add(&s, "three three");
    add(&s, "4");
    for (rlim_t room = 4; room < sizeof all - 1; room++) {
        size_t len, lines = 0;
        let_grow_to(room);
        int got = sink_flush(&s), err = errno;
        let_grow_to(RLIM_INFINITY);
        assert_int_equal(got, -1);
        assert_int_equal(err, EFBIG);
        char *text = bytes_of(fd, &len);
        assert_int_equal(len, room);
        assert_memory_equal(text, all, len);
        for (size_t i = 4; i < len; i++)
            lines += text[i] == '\n';
        assert_int_equal(s.written, len - 4);
        assert_int_equal(s.pending, 4 - lines);
        size_t whole = (size_t)((char *)memrchr(text, '\n', len) + 1 - text);
        assert_int_equal(s.torn, len - whole);
        free(text);
    }
    assert_int_equal(sink_flush(&s), 1);
    assert_int_equal(s.pending, 0);
    assert_int_equal(s.torn, 0);
    sink_close(&s);
    close(fd);
}

static void a_file_is_cut_after_its_last_whole_line(void **state)
{
    static const char all[] = "old\none\ntwo\n";
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t room = 4; room < sizeof all - 1; room++) {
        int fd = file_of("old\n", 4);
        struct sink s;
        size_t len;
        assert_int_equal(sink_open(&s, fd), 0);
        add(&s, "one");
        add(&s, "two");
        for (rlim_t r = 4; r <= room; r++) { /* by steps, as a disk fills */
            let_grow_to(r);
            assert_int_equal(sink_flush(&s), -1);
            let_grow_to(RLIM_INFINITY);
        }
        sink_cut_torn(&s);
        sink_cut_torn(&s); /* once more does nothing */
        char *text = bytes_of(fd, &len);
        assert_int_equal(len, room < 8 ? 4 : 8);
        assert_memory_equal(text, all, len);
        assert_int_equal(s.written, len - 4);
        assert_int_equal(s.torn, 0);
        free(text);
        sink_close(&s);
        close(fd);
    }
}

static void run_out_of_memory(void *arg)
{
    struct sink s;
    (void)arg;
    sink_open(&s, file_of("", 0));
    s.lines.max_bytes = 100; /* what there is of it */
    buf_adds(sink_begin(&s), "a line whose middle ");
    for (int i = 0; i < 100; i++)
        buf_adds(&s.lines, "is too much ");
    buf_adds(&s.lines, ".");
    sink_end(&s);
    sink_flush(&s);
}

static void a_line_that_lacks_its_middle_ends_the_process(void **state)
{
    (void)state;
    assert_dies(run_out_of_memory, NULL, EXIT_TEMP, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_go_out_whole_and_are_counted),
        cmocka_unit_test(without_a_descriptor_nothing_is_kept),
        cmocka_unit_test(a_full_pipe_is_not_waited_for),
        cmocka_unit_test(a_pipe_nobody_reads_is_an_error),
        cmocka_unit_test(a_torn_line_goes_on_where_it_was_cut),
        cmocka_unit_test(a_file_is_cut_after_its_last_whole_line),
        cmocka_unit_test(a_line_that_lacks_its_middle_ends_the_process),
    };
    clock_source = fake_clock;
    alarm(DEADLINE_ALL_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

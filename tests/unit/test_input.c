/* input: lines, and the same lines again from wherever reading had got to. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "feeder/input.h"
#include "feeder/manifest.h"
#include "lib/buf.h"
#include "lib/say.h"
#include "tests/unit/helpers.h"

enum { LISTS_MOST = 4, PIPE_BYTES = 1 << 20 };

/* Lists to be opened again and again: each time a stream is a new pipe with the same bytes. */
struct lists {
    int count;
    const char *classes;
    struct source {
        int fd;            /* of a file */
        bool stream;
        struct buf bytes;
    } v[LISTS_MOST];
};

static void add_list(struct lists *l, const char *text, size_t len, bool stream)
{
    struct source *s = &l->v[l->count++];
    *s = (struct source){.fd = file_of(text, len), .stream = stream,
                         .bytes = buf_make(PIPE_BYTES)};
    assert_int_equal(buf_add(&s->bytes, text, len), 0);
}

static void free_lists(struct lists *l)
{
    for (int i = 0; i < l->count; i++) {
        close(l->v[i].fd);
        buf_free(&l->v[i].bytes);
    }
}

/* A pipe with all of them in it and an end: its reading end. */
static int pipe_of(const char *text, size_t len)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
    assert_int_equal(write(fds[1], text, len), len);
    close(fds[1]);
    return fds[0];
}

static struct input *open_lists(const struct lists *l)
{
    static char paths[LISTS_MOST][64];
    char *names[LISTS_MOST];
    int fds[LISTS_MOST];
    for (int i = 0; i < l->count; i++) {
        const struct source *s = &l->v[i];
        fds[i] = s->stream ? pipe_of(s->bytes.data, s->bytes.len) : s->fd;
        path_of(fds[i], paths[i]);
        names[i] = paths[i];
    }
    struct input *in = input_open(names, l->count, l->classes);
    for (int i = 0; i < l->count; i++)
        if (l->v[i].stream)
            close(fds[i]);
    return in;
}

static int next(struct input *in, struct input_line *line)
{
    int got;
    while ((got = input_next(in, line)) == 0 || got == 2) {
        if (got == 2)
            continue;
        struct pollfd p = {.fd = input_fd(in), .events = POLLIN};
        if (poll(&p, 1, DEADLINE_S * 1000) != 1)
            abort();
    }
    return got;
}

/* All that can be told of a line. */
struct told {
    uint64_t number, file_line;
    char *text;
    size_t len;
    const char *bad;
};

struct all {
    struct told v[4000];
    int count;
};

static void tell(struct all *a, const struct input_line *line)
{
    assert_true(a->count < 4000);
    struct told *t = &a->v[a->count++];
    *t = (struct told){line->number, line->file_line, malloc(line->len + 1), line->len, line->bad};
    memcpy(t->text, line->text, line->len);
}

static struct all *read_all(struct input *in)
{
    struct all *a = calloc(1, sizeof *a);
    struct input_line line;
    int got;
    while ((got = next(in, &line)) == 1)
        tell(a, &line);
    assert_int_equal(got, -1);
    return a;
}

static void free_all(struct all *a)
{
    for (int i = 0; i < a->count; i++)
        free(a->v[i].text);
    free(a);
}

/* `in` gives the lines of `a` from number `from` on. */
static void assert_gives(struct input *in, const struct all *a, int from)
{
    struct input_line line;
    for (int i = from; i < a->count; i++) {
        const struct told *t = &a->v[i];
        assert_int_equal(next(in, &line), 1);
        assert_int_equal(line.number, t->number);
        assert_int_equal(line.file_line, t->file_line);
        assert_int_equal(line.len, t->len);
        assert_memory_equal(line.text, t->text, t->len);
        assert_ptr_equal(line.bad, t->bad);
    }
    assert_int_equal(next(in, &line), -1);
}

struct mark {
    struct input_place place;
    struct input_identity ids[LISTS_MOST];
    uint32_t count;
};

static struct mark mark_of(struct input *in)
{
    struct mark m = {.count = input_count(in)};
    input_place(in, &m.place);
    for (uint32_t i = 0; i < m.count; i++)
        input_identify(in, i, &m.ids[i]);
    return m;
}

static void assert_same_mark(const struct mark *a, const struct mark *b)
{
    assert_int_equal(a->place.list, b->place.list);
    assert_int_equal(a->place.offset, b->place.offset);
    assert_int_equal(a->place.total, b->place.total);
    assert_int_equal(a->place.file_line, b->place.file_line);
    assert_int_equal(a->place.number, b->place.number);
    assert_int_equal(a->place.skipping, b->place.skipping);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_int_equal(a->ids[i].stream, b->ids[i].stream);
        assert_int_equal(a->ids[i].size, b->ids[i].size);
        assert_int_equal(a->ids[i].mtime_ns, b->ids[i].mtime_ns);
        assert_int_equal(a->ids[i].digest, b->ids[i].digest);
    }
}

static struct input *resume(const struct lists *l, const struct mark *m)
{
    struct input *in = open_lists(l);
    input_resume(in, &m->place, m->ids, m->count);
    return in;
}

/* Reads to the end, and from each place before it once more. */
static void assert_resumes_anywhere(const struct lists *l)
{
    struct input *in = open_lists(l), *again;
    struct all *a = read_all(in);
    struct mark end = mark_of(in);
    struct input_line line;
    input_close(in);
    in = open_lists(l);
    for (int i = 0; i <= a->count; i++) {
        struct mark m = mark_of(in);
        again = resume(l, &m);
        struct mark at_once = mark_of(again);
        assert_same_mark(&at_once, &m);
        assert_gives(again, a, i);
        struct mark last = mark_of(again);
        assert_same_mark(&last, &end);
        assert_false(input_is_passing_over(again));
        input_close(again);
        assert_int_equal(next(in, &line), i < a->count ? 1 : -1);
    }
    struct mark m = mark_of(in); /* all are read */
    again = resume(l, &m);
    assert_int_equal(next(again, &line), -1);
    input_close(again);
    input_close(in);
    free_all(a);
}

static void add_long(struct buf *b, size_t len, const char *end)
{
    char c = 'x';
    buf_adds(b, "http://h/");
    for (size_t i = 9; i < len; i++)
        buf_add(b, &c, 1);
    buf_adds(b, end);
}

/* Of every kind of line. */
static struct buf kinds(void)
{
    struct buf b = buf_make(PIPE_BYTES);
    buf_adds(&b, "http://h/1\n\n# a comment\nhttp://h/2\r\n  http://h/3 \t\r\n\r\n#\n \t \n");
    buf_adds(&b, "no url\nftp://h/\nhttp:///\n");
    buf_add(&b, "http://h/\0/\xff\n", 13);
    add_long(&b, INPUT_LINE_MOST - 1, "\n");
    add_long(&b, INPUT_LINE_MOST - 1, "\r\n"); /* with its \r it is too long */
    add_long(&b, INPUT_LINE_MOST, "\nhttp://h/4\n");
    add_long(&b, 100000, "\r\n# ");
    add_long(&b, 100000, "\n");
    add_long(&b, 65536, "\nhttp://h/5\n");
    for (int i = 0; i < 20; i++)
        buf_addf(&b, "%shttp://h/%d%s\n", i % 3 ? "" : "#", i, i % 2 ? "\r" : "");
    return b;
}

static void every_place_of_a_file_is_gone_on_from(void **state)
{
    struct buf b = kinds();
    struct lists l = {0};
    (void)state;
    add_list(&l, b.data, b.len, false);
    assert_resumes_anywhere(&l);
    free_lists(&l);
    buf_free(&b);
}

static void every_place_of_a_stream_is_gone_on_from(void **state)
{
    struct buf b = kinds();
    struct lists l = {0};
    (void)state;
    add_list(&l, b.data, b.len, true);
    assert_resumes_anywhere(&l);
    free_lists(&l);
    buf_free(&b);
}

/* Whatever a list ends with. */
static void every_place_of_several_lists_is_gone_on_from(void **state)
{
    static const char *const ends[] = {"", "http://h/e", "http://h/e\r", "#", " ", "\r", "\n",
                                       "\n\n"};
    (void)state;
    for (int streams = 0; streams < 8; streams++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            struct lists l = {0};
            struct buf b = buf_make(PIPE_BYTES);
            buf_adds(&b, "http://h/1\nhttp://h/2\n");
            buf_adds(&b, ends[i]);
            add_list(&l, b.data, b.len, streams & 1);
            add_list(&l, "", 0, streams & 2);
            add_list(&l, b.data, b.len, streams & 4);
            add_list(&l, ends[i], strlen(ends[i]), streams & 1);
            assert_resumes_anywhere(&l);
            free_lists(&l);
            buf_free(&b);
        }
}

static void a_list_that_ends_in_a_line_that_is_too_long_is_gone_on_from(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++)
        for (size_t len = INPUT_LINE_MOST - 1; len < 200000; len = len * 2 + 1) {
            struct buf b = buf_make(PIPE_BYTES);
            struct lists l = {0};
            add_long(&b, len, "");
            add_list(&l, b.data, b.len, stream);
            add_list(&l, "http://h/\n", 10, stream);
            assert_resumes_anywhere(&l);
            free_lists(&l);
            buf_free(&b);
        }
}

/* A URL behind many blanks is one that is too long, not nothing. */
static void what_is_too_long_is_said_to_be_unless_it_is_a_comment(void **state)
{
    struct lists l = {0};
    struct buf b = buf_make(PIPE_BYTES);
    struct input_line line;
    (void)state;
    buf_adds(&b, "#");
    add_long(&b, 70000, "\n");
    buf_addf(&b, "%70000shttp://h/2\n", "");
    buf_addf(&b, "%300shttp://h/3\n", "");
    buf_addf(&b, "http://h/4%70000s\n", "");
    add_list(&l, b.data, b.len, false);
    struct input *in = open_lists(&l);
    assert_int_equal(next(in, &line), 1);
    assert_int_equal(line.number, 2);
    assert_string_equal(line.bad, "is too long");
    assert_int_equal(next(in, &line), 1);
    assert_int_equal(line.number, 3);
    assert_null(line.bad);
    assert_int_equal(line.len, 10);
    assert_int_equal(next(in, &line), 1);
    assert_int_equal(line.number, 4);
    assert_string_equal(line.bad, "is too long");
    assert_int_equal(next(in, &line), -1);
    input_close(in);
    free_lists(&l);
    buf_free(&b);
}

/* Its place is the old one for so long. */
static void a_stream_that_is_still_being_passed_over_keeps_its_place(void **state)
{
    struct buf b = kinds();
    struct lists l = {0};
    struct input_line line;
    (void)state;
    add_list(&l, b.data, b.len, true);
    struct input *in = open_lists(&l);
    for (int i = 0; i < 15; i++)
        assert_int_equal(next(in, &line), 1);
    struct mark m = mark_of(in);
    struct all *rest = read_all(in);
    input_close(in);

    int fds[2];
    char path[64], *names[] = {path};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
    path_of(fds[0], path);
    in = input_open(names, 1, NULL);
    close(fds[0]);
    input_resume(in, &m.place, m.ids, m.count);
    size_t done = 0;
    for (size_t n = 1; done < (size_t)m.place.offset; n = n * 3 + 1) {
        assert_true(input_is_passing_over(in));
        assert_int_equal(input_next(in, &line), 0);
        struct mark now = mark_of(in);
        assert_same_mark(&now, &m);
        if (n > (size_t)m.place.offset - done)
            n = (size_t)m.place.offset - done;
        assert_int_equal(write(fds[1], b.data + done, n), n);
        done += n;
    }
    assert_int_equal(input_next(in, &line), 0);
    assert_false(input_is_passing_over(in));
    struct mark now = mark_of(in);
    assert_same_mark(&now, &m);
    assert_int_equal(write(fds[1], b.data + done, b.len - done), b.len - done);
    close(fds[1]);
    assert_gives(in, rest, 0);
    input_close(in);
    free_all(rest);
    free_lists(&l);
    buf_free(&b);
}

/* Refusals. */

struct attempt {
    const struct lists *lists;
    const struct mark *mark;
};

static void go_on(void *arg)
{
    const struct attempt *a = arg;
    struct input_line line;
    say_setup("feeder", SAY_WARN, false);
    struct input *in = resume(a->lists, a->mark);
    while (next(in, &line) == 1)
        ;
    input_close(in);
}

static void assert_refused(const struct lists *l, const struct mark *m, const char *words)
{
    struct attempt a = {l, m};
    assert_dies(go_on, &a, EXIT_UNUSABLE, words);
}

static const char two_lines[] = "http://h/one\nhttp://h/two\nhttp://h/three\n";

/* After two lines. */
static struct mark mark_after_two(const struct lists *l)
{
    struct input_line line;
    struct input *in = open_lists(l);
    assert_int_equal(next(in, &line), 1);
    assert_int_equal(next(in, &line), 1);
    struct mark m = mark_of(in);
    input_close(in);
    return m;
}

/* A FIFO in a directory of its own, and the feeder's side of it. */
static struct input *open_fifo(char dir[64], char path[80])
{
    char *names[] = {path};
    strcpy(dir, "/tmp/sluice-test-input-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, 80, "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    return input_open(names, 1, NULL);
}

static void remove_fifo(struct input *in, const char *dir, const char *path)
{
    input_close(in);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void a_fifo_has_no_end_before_its_writer_has_come_and_gone(void **state)
{
    char dir[64], path[80];
    struct input_line line;
    (void)state;
    for (int lines = 0; lines <= 1; lines++) {
        struct input *in = open_fifo(dir, path);
        for (int i = 0; i < 3; i++)
            assert_int_equal(input_next(in, &line), 0);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(input_next(in, &line), 0);
        if (lines) {
            assert_int_equal(write(fd, "http://h/\n", 10), 10);
            assert_int_equal(input_next(in, &line), 1);
            assert_int_equal(input_next(in, &line), 0);
        }
        close(fd);
        assert_int_equal(input_next(in, &line), -1);
        remove_fifo(in, dir, path);
    }
}

static void a_file_that_has_changed_is_refused(void **state)
{
    static const char words[] = "is not the list that the journal began with";
    struct lists l = {0};
    struct stat st;
    (void)state;
    add_list(&l, two_lines, strlen(two_lines), false);
    int fd = l.v[0].fd;
    struct mark m = mark_after_two(&l);
    assert_int_equal(fstat(fd, &st), 0);
    struct timespec old[2] = {st.st_atim, st.st_mtim}, later[2] = {st.st_atim, st.st_mtim};

    later[1].tv_nsec ^= 1;
    assert_int_equal(futimens(fd, later), 0);
    assert_refused(&l, &m, "was written to after the journal had begun with it");
    assert_int_equal(futimens(fd, old), 0);
    struct attempt same = {&l, &m};
    assert_dies(go_on, &same, 0, "");

    assert_int_equal(write(fd, "\n", 1), 1); /* longer */
    assert_int_equal(futimens(fd, old), 0);
    assert_refused(&l, &m, words);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    assert_int_equal(futimens(fd, old), 0);
    assert_refused(&l, &m, words);

    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(ftruncate(fd, st.st_size), 0);
    assert_int_equal(pwrite(fd, two_lines, st.st_size, 0), st.st_size);
    assert_int_equal(pwrite(fd, "X", 1, 10), 1); /* the same length and time */
    assert_int_equal(futimens(fd, old), 0);
    assert_refused(&l, &m, words);
    free_lists(&l);
}

static void another_number_or_kind_of_lists_is_refused(void **state)
{
    struct lists l = {0}, piped = {0};
    (void)state;
    add_list(&l, two_lines, strlen(two_lines), false);
    struct mark m = mark_after_two(&l);
    add_list(&piped, two_lines, strlen(two_lines), true);
    assert_refused(&piped, &m, "is not the list");
    m = mark_after_two(&piped);
    assert_refused(&l, &m, "is not the list");
    add_list(&piped, "", 0, false);
    assert_refused(&piped, &m, "the journal began with 1 lists, not 2");
    free_lists(&l);
    free_lists(&piped);
}

static void another_stream_is_refused(void **state)
{
    static const char words[] = "this is not the stream that the journal began with";
    struct lists l = {0};
    (void)state;
    add_list(&l, two_lines, strlen(two_lines), true);
    struct mark m = mark_after_two(&l);
    struct buf *b = &l.v[0].bytes;
    for (b->len = 0; b->len < (size_t)m.place.offset; b->len++) /* shorter */
        assert_refused(&l, &m, words);
    struct attempt same = {&l, &m};
    assert_dies(go_on, &same, 0, "");
    b->len = strlen(two_lines);
    b->data[m.place.offset - 1] ^= 1;
    assert_refused(&l, &m, words);
    b->data[m.place.offset - 1] ^= 1;
    b->data[m.place.offset] ^= 1; /* what was not read may be anything */
    assert_dies(go_on, &same, 0, "");
    free_lists(&l);
}

static void no_such(void *arg)
{
    static char missing[] = "/nowhere/at-all", dir[] = "/";
    char *names[] = {arg ? missing : dir};
    say_setup("feeder", SAY_WARN, false);
    input_open(names, 1, NULL);
}

static void what_cannot_be_read_is_said(void **state)
{
    static char mem[] = "/proc/self/mem";
    char *names[] = {mem};
    struct input_line line;
    (void)state;
    assert_dies(no_such, NULL, EXIT_UNUSABLE, "is a directory");
    assert_dies(no_such, mem, EXIT_UNUSABLE, "/nowhere/at-all: No such file");
    struct input *in = input_open(names, 1, NULL); /* nothing is mapped at 0 */
    assert_int_equal(input_next(in, &line), -2);
    assert_int_equal(errno, EIO);
    assert_string_equal(input_where(in), mem);
    input_close(in);
}

/* --retry-failed. */

static int manifest_with_failures(void)
{
    static const char *const classes[] = {"http", "timeout", "dns", ""};
    struct manifest m;
    char url[64];
    int fd = file_of("", 0);
    manifest_open(&m, fd, -1, -1);
    for (uint64_t id = 1; id <= 20; id++) {
        snprintf(url, sizeof url, "http://h/%d?\"\\\xc3\xa9", (int)id);
        struct manifest_entry e = {.id = id, .url = url, .url_len = strlen(url)};
        struct msg_outcome o = {.class = msg_text(classes[id % 4]), .detail = msg_text("why\n")};
        if (id % 5 == 0)
            manifest_delivered(&m, &e, &o);
        else
            manifest_failed(&m, &e, &o);
    }
    struct manifest_entry open = {.id = 21, .url = "http://h/open", .url_len = 13};
    manifest_open_task(&m, &open);
    assert_int_equal(manifest_flush(&m), 1);
    manifest_close(&m);
    assert_int_equal(write(fd, "torn", 4), 4);
    return fd;
}

static void failed_lines_of_the_classes_asked_for_are_the_list(void **state)
{
    static const struct { const char *classes; int wanted; } cases[] = {
        {"", 16}, {"http", 4}, {"http,timeout", 8}, {",dns,", 8}, {"htt", 0}, {"httpx,tim", 0},
        {"timeout,timeout", 4}, {"none", 0}};
    int fd = manifest_with_failures();
    size_t len;
    char *text = bytes_of(fd, &len);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lists l = {.classes = cases[i].classes};
        add_list(&l, text, len, false);
        struct input *in = open_lists(&l);
        struct all *a = read_all(in);
        input_close(in);
        assert_int_equal(a->count, cases[i].wanted + 1);
        for (int k = 0; k < a->count - 1; k++) {
            char url[64];
            snprintf(url, sizeof url, "http://h/%d?\"\\\xc3\xa9", (int)a->v[k].number);
            assert_int_equal(a->v[k].len, strlen(url));
            assert_memory_equal(a->v[k].text, url, strlen(url));
            assert_null(a->v[k].bad);
        }
        assert_string_equal(a->v[a->count - 1].bad, "is no line of a manifest");
        free_all(a);
        assert_resumes_anywhere(&l);
        free_lists(&l);
    }
    free(text);
    close(fd);
}

/* The caller has workers to look after. */
static void no_call_takes_long_however_much_is_passed_over(void **state)
{
    (void)state;
    struct lists l = {0};
    struct buf b = buf_make(1 << 20);
    struct input_line line;
    int calls = 0, got;
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_add(&b, "# none\n", 7), 0);
    assert_int_equal(buf_add(&b, "http://x/\n", 10), 0);
    add_list(&l, b.data, b.len, false);
    struct input *in = open_lists(&l);
    while ((got = input_next(in, &line)) == 2)
        calls++;
    assert_int_equal(got, 1);
    assert_int_equal(line.number, 100001);
    assert_in_range(calls, 50, 1000);
    input_close(in);
    free_lists(&l);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_of_a_file_is_gone_on_from),
        cmocka_unit_test(every_place_of_a_stream_is_gone_on_from),
        cmocka_unit_test(every_place_of_several_lists_is_gone_on_from),
        cmocka_unit_test(a_list_that_ends_in_a_line_that_is_too_long_is_gone_on_from),
        cmocka_unit_test(what_is_too_long_is_said_to_be_unless_it_is_a_comment),
        cmocka_unit_test(a_stream_that_is_still_being_passed_over_keeps_its_place),
        cmocka_unit_test(a_fifo_has_no_end_before_its_writer_has_come_and_gone),
        cmocka_unit_test(a_file_that_has_changed_is_refused),
        cmocka_unit_test(another_number_or_kind_of_lists_is_refused),
        cmocka_unit_test(another_stream_is_refused),
        cmocka_unit_test(what_cannot_be_read_is_said),
        cmocka_unit_test(failed_lines_of_the_classes_asked_for_are_the_list),
        cmocka_unit_test(no_call_takes_long_however_much_is_passed_over),
    };
    alarm(DEADLINE_ALL_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

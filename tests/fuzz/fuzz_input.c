/* Any bytes as two lists, in files or in pipes: numbers rise, and from a place of the data's own
 * choice reading goes on with the same lines.
 *
 * The first byte: bit 0 and 1: a stream; 2: manifests. The second: after how many lines the place
 * is. The third: how much of the rest the first list has, in 256ths. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "feeder/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LISTS = 2, PIPE_BYTES = 1 << 20 };

struct source {
    bool stream;
    const uint8_t *data;
    size_t len;
    int fd;
};

static void fill(struct source *s)
{
    int fds[2];
    if (!s->stream) {
        s->fd = memfd_create("list", MFD_CLOEXEC);
        if (s->fd < 0 || write(s->fd, s->data, s->len) != (ssize_t)s->len)
            abort();
        return;
    }
    if (pipe2(fds, O_CLOEXEC) || fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) < 0 ||
        write(fds[1], s->data, s->len) != (ssize_t)s->len)
        abort();
    close(fds[1]);
    s->fd = fds[0];
}

/* A file is opened again, a stream given again. */
static struct input *open_lists(struct source *s, const char *classes)
{
    static char paths[LISTS][64];
    char *names[LISTS];
    for (int i = 0; i < LISTS; i++) {
        if (s[i].stream)
            fill(&s[i]);
        snprintf(paths[i], sizeof paths[i], "/proc/self/fd/%d", s[i].fd);
        names[i] = paths[i];
    }
    struct input *in = input_open(names, LISTS, classes);
    for (int i = 0; i < LISTS; i++)
        if (s[i].stream)
            close(s[i].fd);
    return in;
}

/* Reads on, at most `most` lines; gives a digest of what was read after `sum`. */
static uint64_t read_on(struct input *in, int most, uint64_t sum)
{
    struct input_line line;
    struct input_place place;
    uint64_t last = 0;
    int got;
    while (most-- && (got = input_next(in, &line)) > 0) {
        if (got == 2)
            continue;
        input_place(in, &place);
        if (line.number <= last || line.file_line > line.number || place.number != line.number ||
            place.file_line != line.file_line || place.total != input_offset(in) ||
            (!line.bad && (!line.len || memchr(line.text, '\n', line.len))))
            abort();
        last = line.number;
        uint64_t told[] = {sum, line.number, line.file_line, line.bad != NULL};
        sum = XXH3_64bits_withSeed(line.text, line.len, XXH3_64bits(told, sizeof told));
    }
    return sum;
}

static void check(struct source *s, const char *classes, int most)
{
    struct input_place place;
    struct input_identity ids[LISTS];
    struct input_line line;
    struct input *in = open_lists(s, classes);
    uint64_t sum = read_on(in, most, 0), rest;
    input_place(in, &place);
    for (uint32_t i = 0; i < LISTS; i++)
        input_identify(in, i, &ids[i]);
    rest = read_on(in, -1, sum);
    if (input_next(in, &line) != -1 || input_offset(in) != (int64_t)(s[0].len + s[1].len))
        abort();
    input_close(in);
    in = open_lists(s, classes);
    input_resume(in, &place, ids, LISTS);
    if (read_on(in, -1, sum) != rest || input_offset(in) != (int64_t)(s[0].len + s[1].len))
        abort();
    input_close(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > PIPE_BYTES)
        return 0;
    size_t rest = size - 3, first = rest * data[2] / 255;
    struct source s[LISTS] = {{data[0] & 1, data + 3, first, -1},
                              {data[0] & 2, data + 3 + first, rest - first, -1}};
    for (int i = 0; i < LISTS; i++)
        if (!s[i].stream)
            fill(&s[i]);
    check(s, data[0] & 4 ? "http,timeout" : NULL, data[1]);
    for (int i = 0; i < LISTS; i++)
        if (!s[i].stream)
            close(s[i].fd);
    return 0;
}

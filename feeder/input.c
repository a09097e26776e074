#include "feeder/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/say.h"

enum { READ_BYTES = 65536 };

struct list {
    const char *name;  /* borrowed from argv */
    int fd;
};

struct input {
    struct list *lists;
    int count, at;
    char buf[READ_BYTES + INPUT_LINE_MOST];
    size_t start, end;     /* unread bytes of buf */
    bool ended;            /* the current list's fd is at its end */
    bool skipping;         /* the rest of a line that was too long */
    uint64_t number, file_line;
    int64_t offset, size;
};

static int open_list(const char *name)
{
    if (strcmp(name, "-") == 0)
        return STDIN_FILENO;
    return open(name, O_RDONLY | O_CLOEXEC);
}

struct input *input_open(char *const *names, int count)
{
    static char stdin_name[] = "-";
    static char *const only_stdin[] = {stdin_name};
    struct input *in = calloc(1, sizeof *in);
    if (count == 0) {
        names = only_stdin;
        count = 1;
    }
    if (!in || !(in->lists = calloc((size_t)count, sizeof *in->lists)))
        say_die(EXIT_TEMP, "out of memory");
    in->count = count;
    for (int i = 0; i < count; i++) {
        struct stat st;
        int fd = open_list(names[i]);
        if (fd < 0 || fstat(fd, &st))
            say_die(EXIT_UNUSABLE, "%s: %s", names[i], strerror(errno));
        if (S_ISDIR(st.st_mode))
            say_die(EXIT_UNUSABLE, "%s: is a directory", names[i]);
        in->lists[i] = (struct list){fd == STDIN_FILENO ? "stdin" : names[i], fd};
        in->size = S_ISREG(st.st_mode) && in->size >= 0 ? in->size + st.st_size : -1;
    }
    return in;
}

void input_close(struct input *in)
{
    if (!in)
        return;
    for (int i = in->at; i < in->count; i++)
        if (in->lists[i].fd != STDIN_FILENO)
            close(in->lists[i].fd);
    free(in->lists);
    free(in);
}

int input_fd(const struct input *in)
{
    return in->at < in->count ? in->lists[in->at].fd : -1;
}

const char *input_where(const struct input *in)
{
    return in->at < in->count ? in->lists[in->at].name : "the list";
}

int64_t input_offset(const struct input *in)
{
    return in->offset;
}

int64_t input_size(const struct input *in)
{
    return in->size;
}

static int fill(struct input *in)
{
    int fd = input_fd(in);
    if (in->start) {
        memmove(in->buf, in->buf + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        return 0;
    ssize_t n = read(fd, in->buf + in->end, sizeof in->buf - in->end);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -2;
    in->end += (size_t)n;
    in->ended = n == 0;
    return 1;
}

static void next_list(struct input *in)
{
    if (in->lists[in->at].fd != STDIN_FILENO)
        close(in->lists[in->at].fd);
    in->at++;
    in->ended = false;
    in->file_line = 0;
}

static const char *judge(const char *s, size_t len)
{
    size_t scheme = len > 7 && strncasecmp(s, "http://", 7) == 0    ? 7
                    : len > 8 && strncasecmp(s, "https://", 8) == 0 ? 8
                                                                    : 0;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || s[i] == 0x7f)
            return "has a blank or a control character in it";
    if (!scheme)
        return memmem(s, len, "://", 3) ? "is neither http nor https" : "is no URL";
    return s[scheme] == '/' || s[scheme] == '?' || s[scheme] == '#' ? "has no host" : NULL;
}

/* Hands out [start, stop) of buf as the current line; 0 if it is blank or a comment. */
static int make_line(struct input *in, size_t stop, struct input_line *line)
{
    const char *s = in->buf + in->start;
    size_t len = stop - in->start;
    in->number++;
    in->file_line++;
    while (len && (s[len - 1] == '\r' || s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    while (len && (*s == ' ' || *s == '\t')) {
        s++;
        len--;
    }
    *line = (struct input_line){s, len, in->number, input_where(in), in->file_line, NULL};
    line->bad = judge(s, len);
    return len && *s != '#';
}

/* 1 a line, 0 blank, -1 more bytes are needed. */
static int cut_line(struct input *in, struct input_line *line)
{
    char *s = in->buf + in->start, *lf = memchr(s, '\n', in->end - in->start);
    size_t len = lf ? (size_t)(lf - s) : in->end - in->start, eaten = len + (lf != NULL);
    if (!lf && !(in->ended && len) && len < INPUT_LINE_MOST)
        return -1;
    int got = 0;
    if (in->skipping) {
        in->skipping = !lf && !in->ended;
    } else if (len >= INPUT_LINE_MOST) {
        got = make_line(in, in->start + 200, line);
        line->bad = "is too long";
        in->skipping = !lf && !in->ended;
    } else {
        got = make_line(in, in->start + len, line);
    }
    in->start += eaten;
    in->offset += (int64_t)eaten;
    return got;
}

int input_next(struct input *in, struct input_line *line)
{
    while (in->at < in->count) {
        int got = in->end > in->start ? cut_line(in, line) : -1;
        if (got == 1)
            return 1;
        if (got == 0)
            continue;
        if (in->ended) {
            in->skipping = false;
            next_list(in);
            continue;
        }
        int rc = fill(in);
        if (rc <= 0)
            return rc;
    }
    return -1;
}

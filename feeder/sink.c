#include "feeder/sink.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/say.h"

int sink_open(struct sink *s, int fd)
{
    struct stat st;
    *s = (struct sink){.fd = fd, .lines = buf_make(SIZE_MAX / 2)};
    if (fd < 0)
        return 0;
    if (fstat(fd, &st))
        return -1;
    s->pipe = !S_ISREG(st.st_mode);
    return 0;
}

void sink_close(struct sink *s)
{
    buf_free(&s->lines);
}

struct buf *sink_begin(struct sink *s)
{
    return &s->lines;
}

void sink_add_plain(struct sink *s, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_add(&s->lines, text[i] == '\n' ? "?" : &text[i], 1);
}

void sink_end(struct sink *s)
{
    if (s->fd < 0) {
        s->lines.len = 0;
        return;
    }
    if (buf_adds(&s->lines, "\n") || s->lines.failed)
        say_die(EXIT_TEMP, "out of memory");
    s->made++;
    if (s->pending++ == 0)
        s->oldest_ms = clock_ms();
}

/* 1 all is out, 0 not now, -1 errno; *done: bytes written. */
static int put(struct sink *s, size_t *done)
{
    while (*done < s->lines.len) {
        struct pollfd p = {.fd = s->fd, .events = POLLOUT};
        size_t len = s->lines.len - *done;
        if (s->pipe && len > PIPE_BUF)
            len = PIPE_BUF; /* pipe(7): what poll calls writable takes this much at once */
        if (s->pipe && poll(&p, 1, 0) == 0)
            return 0;
        if (FAULT_FAILS("feeder.manifest.write"))
            return -1;
        ssize_t n = write(s->fd, s->lines.data + *done, len);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        *done += (size_t)n;
        FAULT("feeder.manifest.written");
    }
    return 1;
}

static void note_written(struct sink *s, size_t done)
{
    const char *end = s->lines.data + done, *lf = memrchr(s->lines.data, '\n', done);
    s->torn = lf ? (uint64_t)(end - lf - 1) : s->torn + done;
    for (lf = s->lines.data; (lf = memchr(lf, '\n', (size_t)(end - lf))); lf++)
        s->pending--;
    s->written += done;
    buf_shift(&s->lines, done);
}

int sink_flush(struct sink *s)
{
    size_t done = 0;
    int result = put(s, &done), err = errno;
    if (done)
        note_written(s, done);
    errno = err;
    return result;
}

void sink_cut_torn(struct sink *s)
{
    struct stat st;
    if (!s->torn || s->pipe || fstat(s->fd, &st)) /* a pipe's reader has it already */
        return;
    if (ftruncate(s->fd, st.st_size - (off_t)s->torn) == 0) {
        s->written -= s->torn;
        s->torn = 0;
    }
}

#include "uploader/coproc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/say.h"

enum {
    LINE_MOST = 64 << 10,
    PIECE_BYTES = 64 << 10,
    REST_MS = 100,
    REST_MOST_MS = 5000,
};

/* An object on its way in. */
struct sending {
    const struct buf *head;
    struct spool *body;
    size_t head_done;
    uint64_t body_done, body_len;
};

static bool is_sent(const struct sending *s)
{
    return s->head_done == s->head->len && s->body_done == s->body_len;
}

void coproc_setup(struct coproc *c)
{
    *c = (struct coproc){.child = {.pidfd = -1}, .to = -1, .from = -1,
                         .said = buf_make(LINE_MOST + PIECE_BYTES)};
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void coproc_kill(struct coproc *c, char *how)
{
    if (c->child.pid)
        child_status(child_end(&c->child), how, COPROC_HOW);
    close_end(&c->to);
    close_end(&c->from);
    buf_free(&c->said);
    int64_t rest_ms = c->deaths > 6 ? REST_MOST_MS : c->deaths ? REST_MS << (c->deaths - 1) : 0;
    c->rest_ms = clock_ms() + (rest_ms < REST_MOST_MS ? rest_ms : REST_MOST_MS);
    c->deaths++;
}

/* 0, or -1: `v` says why. */
static int start(struct coproc *c, struct runner *r, struct store_commit *v)
{
    struct pollfd stop = {r->stop_fd, POLLIN, 0};
    int in[2], out[2] = {-1, -1};
    if (runner_poll(&stop, 1, c->rest_ms) > 0) {
        runner_say_stopped(v);
        return -1;
    }
    if (pipe2(in, O_CLOEXEC)) {
        v->err = errno;
        return -1;
    }
    if (pipe2(out, O_CLOEXEC) || fcntl(in[1], F_SETFL, O_NONBLOCK) ||
        fcntl(out[0], F_SETFL, O_NONBLOCK))
        v->err = errno;
    if (v->err || runner_start(r, &c->child, NULL, in[0], out[1], STDERR_FILENO, v)) {
        close_end(&in[1]);
        close_end(&out[0]);
    }
    close_end(&in[0]);
    close_end(&out[1]);
    c->to = in[1];
    c->from = out[0];
    return v->err ? -1 : 0;
}

/* The next bytes to go, borrowed or in `room`: how many, or -1 with errno. */
static ssize_t next_bytes(const struct sending *s, char *room, const void **data)
{
    if (s->head_done < s->head->len) {
        *data = s->head->data + s->head_done;
        return (ssize_t)(s->head->len - s->head_done);
    }
    const char *memory = spool_memory(s->body);
    *data = memory ? memory + s->body_done : room;
    return memory ? (ssize_t)(s->body_len - s->body_done)
                  : spool_read(s->body, s->body_done, room, PIECE_BYTES);
}

enum sent { SENT_SOME, SENT_NOT, SENT_BODY_LOST };

/* As much as it takes now. SENT_NOT: it takes no more (EPIPE). */
static enum sent send_more(int to, struct sending *s)
{
    char room[PIECE_BYTES];
    const void *data;
    while (!is_sent(s)) {
        ssize_t len = next_bytes(s, room, &data);
        if (len <= 0)
            return SENT_BODY_LOST;
        ssize_t n = FAULT_FAILS("uploader.pipe.write") ? -1 : write(to, data, (size_t)len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return SENT_SOME;
        if (n < 0)
            return SENT_NOT;
        if (s->head_done < s->head->len)
            s->head_done += (size_t)n;
        else
            s->body_done += (uint64_t)n;
    }
    FAULT("uploader.pipe.sent");
    return SENT_SOME;
}

/* What it says now. False: no more will come. */
static bool listen_to(struct coproc *c)
{
    for (;;) {
        if (c->said.len > LINE_MOST)
            return true;
        if (buf_reserve(&c->said, PIECE_BYTES / 16))
            return false;
        ssize_t n = read(c->from, c->said.data + c->said.len, PIECE_BYTES / 16);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        c->said.len += (size_t)n;
    }
}

static bool has_line(const struct coproc *c, size_t *len)
{
    const char *end = c->said.len ? memchr(c->said.data, '\n', c->said.len) : NULL;
    *len = end ? (size_t)(end - c->said.data) : c->said.len;
    return end || c->said.len > LINE_MOST;
}

/* It ended while it had nothing to do, or said something unasked, which would be taken for the next
 * answer. */
static void check_idle(struct coproc *c)
{
    char how[COPROC_HOW];
    if (!c->child.pid || (listen_to(c) && !c->said.len))
        return;
    if (c->said.len)
        say(SAY_WARN, "a command has said more than one line for an object; starting it again");
    coproc_kill(c, how);
}

enum coproc_answer coproc_ask(struct coproc *c, struct runner *r, const struct buf *head,
                              struct spool *body, struct store_commit *v, size_t *line_len)
{
    enum { STOP, FROM, ENDED, TO };
    struct sending s = {.head = head, .body = body, .body_len = spool_bytes(body)};
    check_idle(c);
    if (!c->child.pid && start(c, r, v))
        return COPROC_NOT_ANSWERED;
    struct pollfd p[] = {{r->stop_fd, POLLIN, 0}, {c->from, POLLIN, 0},
                         {c->child.pidfd, POLLIN, 0}, {c->to, POLLOUT, 0}};
    for (int64_t until_ms = runner_deadline_ms();;) {
        if (runner_poll(p, 4, until_ms) == 0) {
            runner_say_late(v);
            return COPROC_NOT_ANSWERED;
        }
        if (p[STOP].revents) {
            runner_say_stopped(v);
            return COPROC_NOT_ANSWERED;
        }
        enum sent sent = p[TO].revents ? send_more(c->to, &s) : SENT_SOME;
        if (sent == SENT_BODY_LOST) {
            v->err = errno ? errno : EIO;
            return COPROC_NOT_ANSWERED;
        }
        bool more = !p[FROM].revents || listen_to(c);
        if (p[ENDED].revents) {
            listen_to(c); /* its last words */
            more = false;
        }
        if (is_sent(&s))
            p[TO].fd = -1;
        if (has_line(c, line_len) && (is_sent(&s) || c->said.data[0] != '{'))
            return COPROC_ANSWERED;
        if (!more || sent == SENT_NOT)
            return COPROC_DIED;
        if (c->said.len > LINE_MOST)
            p[FROM].fd = -1; /* until all is sent */
    }
}

void coproc_answered(struct coproc *c, size_t line_len)
{
    buf_shift(&c->said, line_len < c->said.len ? line_len + 1 : line_len);
    c->deaths = 0;
    c->rest_ms = 0;
}

void coproc_finish(struct coproc *c)
{
    close_end(&c->to);
}

void coproc_wait(struct coproc *c, int64_t until_ms)
{
    char how[COPROC_HOW];
    struct pollfd ended = {c->child.pidfd, POLLIN, 0};
    if (c->child.pid)
        runner_poll(&ended, 1, until_ms);
    coproc_kill(c, how);
}

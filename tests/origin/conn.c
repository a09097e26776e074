#include "conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "compose.h"

enum {
    STEPS_PER_RUN = 32,       /* then it is the others' turn: at most 2 MiB of body */
    SENDFILE_BYTES = 1 << 20,
    RESET_POLL_MS = 5,
    UNTIL_POLL_MS = 20,
};

enum state {
    READING,   /* a request */
    DELAYED,   /* the answer waits for its time */
    ANSWERING,
    STALLED,   /* until the client goes away */
    RESETTING, /* once the kernel has sent what we gave it */
    STATES,
};

enum step {
    STEP_ON,   /* call the state's verb again */
    STEP_WAIT,
    STEP_OVER,
};

struct conn {
    struct site *site; /* borrowed */
    int fd;            /* owned */
    enum state state;
    bool readable;     /* may be: read has not said EAGAIN since the last event */
    bool writable;
    bool peer_done;    /* the client has sent its last byte */
    int64_t due_ms;
    struct answer answer;
    enum answer_news news; /* what comes after the bytes in out */
    struct buffer *out;    /* owned; only while there is an answer */
    size_t in_bytes;
    char in[REQUEST_HEAD_BYTES];
};

struct conn *conn_open(struct site *site, int *fd)
{
    struct conn *conn = malloc(sizeof(*conn));
    if (conn == NULL)
        return NULL;
    memset(conn, 0, offsetof(struct conn, in)); /* leave the pages of `in` untouched */
    conn->site = site;
    conn->fd = *fd;
    conn->readable = true;
    conn->writable = true;
    *fd = -1;
    struct stats *stats = &site->stats;
    stats->connections++;
    stats->open++;
    if (stats->open > stats->peak_open)
        stats->peak_open = stats->open;
    return conn;
}

/* compose_answer() left a head that lacks its end: the body's first bytes travel with it. */
static void begin_sending(struct conn *conn, int64_t now_ms)
{
    conn->state = ANSWERING;
    conn->news = answer_fill(&conn->answer, conn->out, now_ms);
}

/* Whether there is the file that the answer waits for. */
static bool may_begin(const struct conn *conn)
{
    return conn->answer.until[0] == '\0' || access(conn->answer.until, F_OK) == 0;
}

static void begin_answer(struct conn *conn, const struct request *request, int64_t now_ms)
{
    compose_answer(conn->site, request, &conn->answer, conn->out);
    conn->due_ms = now_ms + conn->answer.wait_ms;
    conn->state = DELAYED;
    if (conn->answer.wait_ms == 0 && may_begin(conn))
        begin_sending(conn, now_ms);
    if (conn->answer.watching)
        return;
    struct stats *stats = &conn->site->stats;
    stats->requests++;
    stats->active++;
    if (stats->active > stats->peak_active)
        stats->peak_active = stats->active;
}

static void end_answer(struct conn *conn)
{
    if (conn->out == NULL)
        return;
    if (!conn->answer.watching)
        conn->site->stats.active--;
    answer_close(&conn->answer);
    buffer_give(&conn->site->pool, &conn->out);
}

void conn_close(struct conn **conn)
{
    if (*conn == NULL)
        return;
    end_answer(*conn);
    (*conn)->site->stats.open--;
    close((*conn)->fd);
    free(*conn);
    *conn = NULL;
}

/* Read what there is. STEP_ON: something came. */
static enum step receive(struct conn *conn)
{
    if (!conn->readable)
        return conn->peer_done ? STEP_OVER : STEP_WAIT;
    size_t room = sizeof(conn->in) - conn->in_bytes;
    ssize_t got = recv(conn->fd, conn->in + conn->in_bytes, room, 0);
    if (got == 0)
        return STEP_OVER;
    if (got < 0 && errno == EAGAIN) {
        conn->readable = false;
        return STEP_WAIT;
    }
    if (got < 0)
        return errno == EINTR ? STEP_ON : STEP_OVER;
    conn->in_bytes += (size_t)got;
    /* epoll(7): a short read means that nothing is left, unless the end is. */
    if ((size_t)got < room && !conn->peer_done)
        conn->readable = false;
    return STEP_ON;
}

static enum step read_request(struct conn *conn, int64_t now_ms)
{
    struct request request;
    struct span input = { conn->in, conn->in_bytes };
    if (request_parse(input, &request) == 0) {
        if (conn->in_bytes < sizeof(conn->in))
            return receive(conn);
        request = (struct request){ .status = 431, .close = true, .head_bytes = conn->in_bytes };
    }
    conn->out = buffer_take(&conn->site->pool);
    if (conn->out == NULL)
        return STEP_OVER;
    begin_answer(conn, &request, now_ms);
    conn->in_bytes -= request.head_bytes;
    memmove(conn->in, conn->in + request.head_bytes, conn->in_bytes);
    return STEP_ON;
}

static enum step wait_for_due(struct conn *conn, int64_t now_ms)
{
    if (conn->peer_done)
        return STEP_OVER;
    if (now_ms < conn->due_ms)
        return STEP_WAIT;
    if (!may_begin(conn)) {
        conn->due_ms = now_ms + UNTIL_POLL_MS;
        return STEP_WAIT;
    }
    begin_sending(conn, now_ms);
    return STEP_ON;
}

/* What the result of a send or sendfile means. */
static enum step note_sent(struct conn *conn, ssize_t sent)
{
    if (sent < 0 && errno == EAGAIN) {
        conn->writable = false;
        return STEP_WAIT;
    }
    if (sent < 0)
        return errno == EINTR ? STEP_ON : STEP_OVER;
    conn->site->stats.bytes_sent += sent;
    return STEP_ON;
}

static enum step flush(struct conn *conn)
{
    struct buffer *out = conn->out;
    if (!conn->writable)
        return STEP_WAIT;
    /* The head travels with the first bytes of its file. */
    bool file_follows = conn->news == ANSWER_FILE && conn->answer.source.left_bytes > 0;
    int flags = MSG_NOSIGNAL | (file_follows ? MSG_MORE : 0);
    ssize_t sent = send(conn->fd, out->bytes + out->start, out->end - out->start, flags);
    enum step step = note_sent(conn, sent);
    if (sent > 0)
        out->start += (size_t)sent;
    if (out->start == out->end)
        out->start = out->end = 0;
    return step;
}

static enum step send_file(struct conn *conn)
{
    struct source *source = &conn->answer.source;
    if (source->left_bytes == 0) {
        conn->news = ANSWER_DONE;
        return STEP_ON;
    }
    if (!conn->writable)
        return STEP_WAIT;
    size_t size = SENDFILE_BYTES;
    if (source->left_bytes < SENDFILE_BYTES)
        size = (size_t)source->left_bytes;
    ssize_t sent = sendfile(conn->fd, source->file_fd, NULL, size);
    if (sent == 0)
        return STEP_OVER; /* the file has shrunk since we told its length */
    if (sent > 0)
        source->left_bytes -= sent;
    return note_sent(conn, sent);
}

/* A close() while input is unread would reset the connection and could cost the client the
 * end of our answer. */
static void discard_input(struct conn *conn)
{
    while (recv(conn->fd, conn->in, sizeof(conn->in), MSG_DONTWAIT) > 0)
        ;
}

static enum step finish(struct conn *conn)
{
    bool over = conn->answer.close;
    end_answer(conn);
    conn->state = READING;
    if (over)
        discard_input(conn);
    return over ? STEP_OVER : STEP_ON;
}

static enum step cut(struct conn *conn)
{
    if (conn->answer.cut == ANSWER_TRUNCATE) {
        discard_input(conn);
        return STEP_OVER;
    }
    conn->state = conn->answer.cut == ANSWER_STALL ? STALLED : RESETTING;
    return STEP_ON;
}

static enum step send_answer(struct conn *conn, int64_t now_ms)
{
    if (conn->out->end > conn->out->start)
        return flush(conn);
    switch (conn->news) {
    case ANSWER_PACED:
        conn->due_ms = answer_due_ms(&conn->answer);
        if (now_ms < conn->due_ms)
            return STEP_WAIT;
        conn->news = ANSWER_MORE;
        return STEP_ON;
    case ANSWER_MORE:
        conn->news = answer_fill(&conn->answer, conn->out, now_ms);
        return STEP_ON;
    case ANSWER_FILE:
        return send_file(conn);
    case ANSWER_CUT:
        return cut(conn);
    case ANSWER_DONE:
        break;
    }
    return finish(conn);
}

static enum step wait_for_peer(struct conn *conn, int64_t now_ms)
{
    (void)now_ms;
    return conn->peer_done ? STEP_OVER : STEP_WAIT;
}

/* SO_LINGER 0 makes close() a reset, but it also drops what is still queued here. Wait until
 * that has left, so that "reset after N bytes" is what the client sees. */
static enum step reset_when_sent(struct conn *conn, int64_t now_ms)
{
    int unsent_bytes = 0;
    ioctl(conn->fd, SIOCOUTQNSD, &unsent_bytes);
    if (unsent_bytes > 0 && !conn->peer_done) {
        conn->due_ms = now_ms + RESET_POLL_MS;
        return STEP_WAIT;
    }
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    return STEP_OVER;
}

static enum step (*const verbs[STATES])(struct conn *conn, int64_t now_ms) = {
    [READING] = read_request,
    [DELAYED] = wait_for_due,
    [ANSWERING] = send_answer,
    [STALLED] = wait_for_peer,
    [RESETTING] = reset_when_sent,
};

enum conn_next conn_run(struct conn *conn, uint32_t events, int64_t now_ms)
{
    if (events & (EPOLLERR | EPOLLHUP))
        return CONN_OVER;
    conn->readable |= (events & (EPOLLIN | EPOLLRDHUP)) != 0;
    conn->writable |= (events & EPOLLOUT) != 0;
    conn->peer_done |= (events & EPOLLRDHUP) != 0;
    for (int i = 0; i < STEPS_PER_RUN; i++) {
        enum step step = verbs[conn->state](conn, now_ms);
        if (step == STEP_OVER)
            return CONN_OVER;
        if (step == STEP_WAIT)
            return CONN_WAITS;
    }
    return CONN_HAS_MORE;
}

int64_t conn_due_ms(const struct conn *conn)
{
    switch (conn->state) {
    case DELAYED:
    case RESETTING:
        return conn->due_ms;
    case ANSWERING:
        return conn->news == ANSWER_PACED && conn->out->end == 0 ? conn->due_ms : 0;
    default:
        return 0;
    }
}

#include "lib/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "lib/say.h"

enum {
    ENDPOINT_MAX = 256,
    BACKLOG = 1024,           /* many workers start at once */
    RECONNECT_MS = 2,         /* doubled up to the most: programs start in any order, and the first */
    RECONNECT_MOST_MS = 100,  /* waits for the last; after a restart seconds would be lost */
    HANDSHAKE_MS = 5000,      /* idle connections of strangers */
    HEARTBEAT_MS = 2000,      /* half-open tcp peers of an inbox */
    HEARTBEAT_TIMEOUT_MS = 8000,
    KEEPALIVE_IDLE_S = 15,    /* half-open tcp peers of an intake, where heartbeats can't be */
};

struct wire {
    void *socket;
    int fd;
    bool push;
    char endpoint[ENDPOINT_MAX];
};

static void *context;

static_assert(sizeof(zmq_msg_t) <= sizeof(((struct frame *)0)->hold), "frame holds a zmq_msg_t");

int wire_setup(int peers)
{
    context = zmq_ctx_new();
    if (!context)
        return -1;
    return zmq_ctx_set(context, ZMQ_MAX_SOCKETS, peers);
}

void wire_teardown(void)
{
    if (context)
        zmq_ctx_term(context);
    context = NULL;
}

static int set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

static int configure(void *s, enum wire_role role, struct wire_limits limits)
{
    bool push = role == WIRE_TO_INBOX || role == WIRE_TO_INTAKE;
    int64_t max = limits.max_msg_bytes < 1024 ? 1024 : (int64_t)limits.max_msg_bytes;
    if (set(s, ZMQ_LINGER, 0) || set(s, push ? ZMQ_SNDHWM : ZMQ_RCVHWM, limits.hwm) ||
        set(s, ZMQ_IPV6, 1) || set(s, ZMQ_RECONNECT_IVL, RECONNECT_MS) ||
        set(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MOST_MS) ||
        set(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) || set(s, ZMQ_BACKLOG, BACKLOG) ||
        zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &max, sizeof max))
        return -1;
    if (push && set(s, ZMQ_IMMEDIATE, 1)) /* queue on completed connections only */
        return -1;
    if (role == WIRE_INBOX)
        return set(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS) ||
               set(s, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS);
    return set(s, ZMQ_TCP_KEEPALIVE, 1) || set(s, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S);
}

struct wire *wire_open(enum wire_role role, const char *endpoint, struct wire_limits limits)
{
    bool push = role == WIRE_TO_INBOX || role == WIRE_TO_INTAKE;
    size_t fd_size = sizeof(int), name_size = ENDPOINT_MAX;
    struct wire *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->push = push;
    w->socket = zmq_socket(context, push ? ZMQ_PUSH : ZMQ_PULL);
    if (!w->socket || configure(w->socket, role, limits))
        goto fail;
    if (push ? zmq_connect(w->socket, endpoint) : zmq_bind(w->socket, endpoint))
        goto fail;
    if (zmq_getsockopt(w->socket, ZMQ_FD, &w->fd, &fd_size) ||
        zmq_getsockopt(w->socket, ZMQ_LAST_ENDPOINT, w->endpoint, &name_size))
        goto fail;
    return w;
fail:;
    int err = errno;
    wire_close(&w, 0);
    errno = err;
    return NULL;
}

void wire_close(struct wire **w, int linger_ms)
{
    if (!*w)
        return;
    if ((*w)->socket) {
        set((*w)->socket, ZMQ_LINGER, linger_ms);
        zmq_close((*w)->socket);
    }
    free(*w);
    *w = NULL;
}

const char *wire_endpoint(const struct wire *w)
{
    return w->endpoint;
}

int wire_fd(const struct wire *w)
{
    return w->fd;
}

bool wire_ready(struct wire *w)
{
    int events = 0;
    size_t size = sizeof events;
    if (zmq_getsockopt(w->socket, ZMQ_EVENTS, &events, &size))
        return false;
    return events & (w->push ? ZMQ_POLLOUT : ZMQ_POLLIN);
}

/* Of a socket that is in order libzmq has no other errors but want of memory; that is not waited
 * for. */
static void must_pass(const char *what)
{
    if (errno != EAGAIN && errno != EINTR)
        say_die(EXIT_TEMP, "cannot %s a message: %s", what, zmq_strerror(errno));
}

static int sent(int rc)
{
    if (rc < 0)
        must_pass("send");
    return rc >= 0;
}

int wire_send(struct wire *w, const void *data, size_t len)
{
    return sent(zmq_send(w->socket, data, len, ZMQ_DONTWAIT));
}

int wire_send_two(struct wire *w, const void *a, size_t a_len, const void *b, size_t b_len)
{
    zmq_msg_t m;
    if (zmq_msg_init_size(&m, a_len + b_len))
        must_pass("send");
    char *at = zmq_msg_data(&m);
    memcpy(at, a, a_len);
    if (b_len)
        memcpy(at + a_len, b, b_len);
    int got = sent(zmq_msg_send(&m, w->socket, ZMQ_DONTWAIT));
    if (!got)
        zmq_msg_close(&m);
    return got;
}

/* The block a failed send gives back: closing its message must not free it. */
static _Thread_local void *given_back;

static void free_block(void *data, void *block)
{
    (void)data;
    if (block != given_back)
        free(block);
}

int wire_send_block(struct wire *w, void *block, const void *data, size_t len)
{
    zmq_msg_t m;
    union { const void *c; void *v; } bytes = {.c = data};
    if (zmq_msg_init_data(&m, bytes.v, len, free_block, block))
        must_pass("send");
    int got = sent(zmq_msg_send(&m, w->socket, ZMQ_DONTWAIT));
    if (got)
        return 1;
    given_back = block;
    zmq_msg_close(&m);
    given_back = NULL;
    return 0;
}

int wire_recv(struct wire *w, struct frame *out)
{
    zmq_msg_t *m = (zmq_msg_t *)out->hold;
    zmq_msg_init(m);
    if (zmq_msg_recv(m, w->socket, ZMQ_DONTWAIT) < 0) {
        must_pass("receive");
        zmq_msg_close(m);
        return 0;
    }
    out->data = zmq_msg_data(m);
    out->len = zmq_msg_size(m);
    return 1;
}

void wire_move(struct frame *to, struct frame *from)
{
    zmq_msg_t *m = (zmq_msg_t *)to->hold;
    zmq_msg_init(m);
    zmq_msg_move(m, (zmq_msg_t *)from->hold);
    to->data = zmq_msg_data(m);
    to->len = zmq_msg_size(m);
    wire_release(from);
}

void wire_release(struct frame *f)
{
    if (!f->data)
        return;
    zmq_msg_close((zmq_msg_t *)f->hold);
    f->data = NULL;
}

const char *wire_strerror(int err)
{
    return zmq_strerror(err);
}

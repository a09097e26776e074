#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn.h"
#include "mono.h"
#include "timers.h"

enum {
    EVENTS_MAX = 512,
    ACCEPTS_PER_TURN = 256,
    BACKLOG = 4096, /* the kernel caps it at net.core.somaxconn */
};

/* What the loop knows about one connection. */
struct peer {
    struct conn *conn; /* owned */
    struct timer timer;
    bool is_ready;     /* in server->ready */
    TAILQ_ENTRY(peer) in_ready;
    TAILQ_ENTRY(peer) in_all;
};

TAILQ_HEAD(peer_list, peer);

struct server {
    struct site *site;
    int epoll_fd;
    int listen_fd;
    int signal_fd;
    bool listening;         /* listen_fd is in epoll_fd */
    bool stopped;
    struct timers timers;
    struct peer_list all;
    struct peer_list ready; /* stopped for the others' sake, not for want of news */
};

/* Pointers that mark the two descriptors in epoll that are no peer. */
static void *listen_mark(struct server *server)
{
    return &server->listen_fd;
}

static void *signal_mark(struct server *server)
{
    return &server->signal_fd;
}

static int watch(struct server *server, int fd, uint32_t events, void *mark)
{
    struct epoll_event event = { .events = events, .data = { .ptr = mark } };
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* Full means stop listening: without descriptors the backlog has to wait. */
static void listen_if(struct server *server, bool wanted)
{
    if (wanted == server->listening)
        return;
    if (wanted && watch(server, server->listen_fd, EPOLLIN, listen_mark(server)) < 0)
        return;
    if (!wanted)
        epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL);
    server->listening = wanted;
}

static int open_listener(const char *address, uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static int open_signals(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
}

struct server *server_open(struct site *site, const char *address, uint16_t port)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->site = site;
    server->epoll_fd = server->signal_fd = -1;
    TAILQ_INIT(&server->all);
    TAILQ_INIT(&server->ready);
    server->listen_fd = open_listener(address, port);
    if (server->listen_fd < 0)
        goto fail;
    server->signal_fd = open_signals();
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->signal_fd < 0 || server->epoll_fd < 0)
        goto fail;
    if (watch(server, server->signal_fd, EPOLLIN, signal_mark(server)) < 0)
        goto fail;
    listen_if(server, true);
    return server;
fail:;
    int reason = errno;
    server_close(&server);
    errno = reason;
    return NULL;
}

uint16_t server_port(const struct server *server)
{
    struct sockaddr_in at = { 0 };
    socklen_t size = sizeof(at);
    getsockname(server->listen_fd, (struct sockaddr *)&at, &size);
    return ntohs(at.sin_port);
}

static void set_ready(struct server *server, struct peer *peer, bool ready)
{
    if (ready && !peer->is_ready)
        TAILQ_INSERT_TAIL(&server->ready, peer, in_ready);
    if (!ready && peer->is_ready)
        TAILQ_REMOVE(&server->ready, peer, in_ready);
    peer->is_ready = ready;
}

static void close_peer(struct server *server, struct peer *peer)
{
    set_ready(server, peer, false);
    timers_set(&server->timers, &peer->timer, 0);
    TAILQ_REMOVE(&server->all, peer, in_all);
    conn_close(&peer->conn);
    free(peer);
    listen_if(server, true);
}

static void run_peer(struct server *server, struct peer *peer, uint32_t events, int64_t now_ms)
{
    enum conn_next next = conn_run(peer->conn, events, now_ms);
    if (next == CONN_OVER) {
        close_peer(server, peer);
        return;
    }
    set_ready(server, peer, next == CONN_HAS_MORE);
    timers_set(&server->timers, &peer->timer, conn_due_ms(peer->conn));
}

/* Takes *fd on success. */
static int add_peer(struct server *server, int *fd)
{
    if (timers_reserve(&server->timers, (size_t)server->site->stats.open + 1) < 0)
        return -1;
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return -1;
    uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    if (watch(server, *fd, events, peer) < 0)
        goto fail;
    peer->conn = conn_open(server->site, fd);
    if (peer->conn == NULL)
        goto fail;
    TAILQ_INSERT_TAIL(&server->all, peer, in_all);
    return 0;
fail:
    free(peer);
    return -1;
}

static void accept_peers(struct server *server)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE))
            listen_if(server, false);
        if (fd < 0)
            return;
        if (add_peer(server, &fd) < 0)
            close(fd);
    }
}

static void run_due(struct server *server, int64_t now_ms)
{
    struct timer *timer;
    while ((timer = timers_first(&server->timers)) != NULL && timer->due_ms <= now_ms) {
        struct peer *peer = (struct peer *)((char *)timer - offsetof(struct peer, timer));
        timers_set(&server->timers, timer, 0);
        run_peer(server, peer, 0, now_ms);
    }
}

/* One turn for each peer that was ready before the turn began. */
static void run_ready(struct server *server, int64_t now_ms)
{
    struct peer *last = TAILQ_LAST(&server->ready, peer_list);
    for (struct peer *peer, *done = NULL; last != NULL && done != last; done = peer) {
        peer = TAILQ_FIRST(&server->ready);
        set_ready(server, peer, false);
        run_peer(server, peer, 0, now_ms);
    }
}

static int wait_ms(const struct server *server)
{
    if (!TAILQ_EMPTY(&server->ready))
        return 0;
    const struct timer *timer = timers_first(&server->timers);
    if (timer == NULL)
        return -1;
    int64_t left_ms = timer->due_ms - mono_now_ms();
    if (left_ms <= 0)
        return 0;
    return left_ms > 60000 ? 60000 : (int)left_ms;
}

/* The only place that sleeps. Returns the number of events, or -1 + errno. */
static int wait_for_news(struct server *server, struct epoll_event *events)
{
    int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, wait_ms(server));
    return count < 0 && errno == EINTR ? 0 : count;
}

static void take_event(struct server *server, const struct epoll_event *event, int64_t now_ms)
{
    if (event->data.ptr == listen_mark(server))
        accept_peers(server);
    else if (event->data.ptr == signal_mark(server))
        server->stopped = true;
    else
        run_peer(server, event->data.ptr, event->events, now_ms);
}

int server_run(struct server *server)
{
    struct epoll_event events[EVENTS_MAX];
    while (!server->stopped) {
        int count = wait_for_news(server, events);
        if (count < 0)
            return -1;
        int64_t now_ms = mono_now_ms();
        for (int i = 0; i < count; i++)
            take_event(server, &events[i], now_ms);
        run_due(server, now_ms);
        run_ready(server, now_ms);
    }
    return 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void server_close(struct server **server)
{
    struct server *s = *server;
    if (s == NULL)
        return;
    for (struct peer *peer; (peer = TAILQ_FIRST(&s->all)) != NULL;) {
        TAILQ_REMOVE(&s->all, peer, in_all);
        conn_close(&peer->conn);
        free(peer);
    }
    timers_close(&s->timers);
    close_fd(s->epoll_fd);
    close_fd(s->listen_fd);
    close_fd(s->signal_fd);
    free(s);
    *server = NULL;
}

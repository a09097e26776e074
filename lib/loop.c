#include "lib/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_A_WAIT = 256 };

struct watch {
    loop_fn *fn;      /* NULL: nobody to call */
    void *arg;        /* borrowed */
    uint32_t events;  /* what the kernel watches for; 0: not at all */
};

struct loop {
    int epoll_fd;
    struct watch *watches;  /* by fd; owned */
    int size;
};

struct loop *loop_open(void)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        free(l);
        return NULL;
    }
    return l;
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    close(l->epoll_fd);
    free(l->watches);
    free(l);
}

static int make_room(struct loop *l, int fd)
{
    if (fd < l->size)
        return 0;
    int size = fd + 64;
    struct watch *grown = realloc(l->watches, (size_t)size * sizeof *grown);
    if (!grown)
        return -1;
    for (int i = l->size; i < size; i++)
        grown[i] = (struct watch){0};
    l->watches = grown;
    l->size = size;
    return 0;
}

int loop_watch(struct loop *l, int fd, int events, loop_fn *fn, void *arg)
{
    if (make_room(l, fd))
        return -1;
    struct epoll_event e = {.data.fd = fd};
    e.events = (events & LOOP_READ ? EPOLLIN : 0u) | (events & LOOP_WRITE ? EPOLLOUT : 0u);
    struct watch *w = &l->watches[fd];
    w->fn = fn;
    w->arg = arg;
    if (w->events == e.events)
        return 0;
    if (epoll_ctl(l->epoll_fd, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e)) {
        /* The fd may have been closed and opened anew without our knowing (libcurl does). */
        if (errno != ENOENT || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e)) {
            *w = (struct watch){0};
            return -1;
        }
    }
    w->events = e.events;
    return 0;
}

void loop_unwatch(struct loop *l, int fd)
{
    if (fd < 0 || fd >= l->size || !l->watches[fd].events)
        return;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    l->watches[fd] = (struct watch){0};
}

void loop_rest(struct loop *l, int fd)
{
    if (fd >= 0 && fd < l->size)
        l->watches[fd].fn = NULL;
}

void loop_wait(struct loop *l, int64_t timeout_ms)
{
    struct epoll_event events[EVENTS_A_WAIT];
    int timeout = timeout_ms < 0 ? 0 : timeout_ms > 60000 ? 60000 : (int)timeout_ms;
    int n = epoll_wait(l->epoll_fd, events, EVENTS_A_WAIT, timeout);
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        uint32_t e = events[i].events;
        if (e & (EPOLLERR | EPOLLHUP))
            e |= EPOLLIN | EPOLLOUT;
        struct watch w = l->watches[fd];
        if (w.fn)
            w.fn(w.arg, fd, (e & EPOLLIN ? LOOP_READ : 0) | (e & EPOLLOUT ? LOOP_WRITE : 0));
        else
            loop_unwatch(l, fd); /* one that rests would wake us for ever */
    }
}

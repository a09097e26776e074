#include "lib/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"

enum {
    PATIENCE_MS = 2,
    DONE_ENOUGH = 16,  /* jobs that have come back are told of when so many have, or none is left */
};

struct queue {
    struct job *head, **end;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue todo, done;  /* under lock */
    bool closing;             /* under lock */
    int idle;                 /* under lock: threads that wait for a job */
    int done_count;           /* under lock */
    int64_t moved_ms;         /* under lock: when a job was last taken, or came into none */
    struct queue fresh;       /* the loop's: not handed in yet */
    int event_fd, count;
    pthread_t *threads;
};

static void put(struct queue *q, struct job *first, struct job **last_next)
{
    *q->end = first;
    q->end = last_next;
}

static struct job *take_all(struct queue *q)
{
    struct job *first = q->head;
    q->head = NULL;
    q->end = &q->head;
    return first;
}

static struct job *take_one(struct queue *q)
{
    struct job *job = q->head;
    q->head = job->next;
    if (!q->head)
        q->end = &q->head;
    job->next = NULL;
    return job;
}

/* Where that fails the loop takes in what is done on its next turn, a beat later at most. */
static void ring(struct pool *p)
{
    uint64_t one = 1;
    ssize_t n = write(p->event_fd, &one, sizeof one);
    (void)n;
}

static void *work(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        p->idle++;
        while (!p->todo.head && !p->closing)
            pthread_cond_wait(&p->wake, &p->lock);
        p->idle--;
        if (!p->todo.head)
            break;
        struct job *job = take_one(&p->todo);
        p->moved_ms = clock_ms();
        pthread_mutex_unlock(&p->lock);
        job->run(job);
        pthread_mutex_lock(&p->lock);
        put(&p->done, job, &job->next);
        p->done_count++;
        if (p->done_count == DONE_ENOUGH || !p->todo.head)
            ring(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct pool *pool_open(int threads)
{
    struct pool *p = calloc(1, sizeof *p);
    if (!p || !(p->threads = calloc((size_t)threads, sizeof *p->threads))) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    take_all(&p->todo);
    take_all(&p->done);
    take_all(&p->fresh);
    p->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int err = p->event_fd < 0 ? errno : 0; /* pthread_create() gives it, and leaves errno alone */
    while (!err && p->count < threads &&
           !(err = pthread_create(&p->threads[p->count], NULL, work, p)))
        p->count++;
    if (!err)
        return p;
    pool_close(p);
    errno = err;
    return NULL;
}

void pool_stop(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->count; i++)
        pthread_join(p->threads[i], NULL);
    p->count = 0;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    pool_stop(p);
    if (p->event_fd >= 0)
        close(p->event_fd);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->threads);
    free(p);
}

void pool_add(struct pool *p, struct job *job)
{
    job->next = NULL;
    put(&p->fresh, job, &job->next);
}

void pool_go(struct pool *p)
{
    int64_t now = clock_ms();
    pthread_mutex_lock(&p->lock);
    bool stuck = p->todo.head && now - p->moved_ms >= PATIENCE_MS;
    if (p->fresh.head) {
        if (!p->todo.head)
            p->moved_ms = now;
        struct job **end = p->fresh.end, *first = take_all(&p->fresh);
        put(&p->todo, first, end);
    }
    if (p->todo.head && p->idle && (stuck || p->idle == p->count)) {
        p->moved_ms = now; /* patience anew for the one after it */
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

int64_t pool_sleep_ms(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    bool waiting = p->done.head || (p->todo.head && p->idle);
    pthread_mutex_unlock(&p->lock);
    return waiting ? PATIENCE_MS : INT32_MAX;
}

int pool_fd(const struct pool *p)
{
    return p->event_fd;
}

struct job *pool_done(struct pool *p)
{
    uint64_t count;
    ssize_t n = read(p->event_fd, &count, sizeof count);
    (void)n; /* nothing there: the list says so too */
    pthread_mutex_lock(&p->lock);
    struct job *first = take_all(&p->done);
    p->done_count = 0;
    pthread_mutex_unlock(&p->lock);
    return first;
}

#include "uploader/throttle.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/clock.h"
#include "lib/id.h"
#include "lib/say.h"

enum {
    GAP_LEAST_MS = 10,      /* between two requests, after the first "slow down" */
    GAP_MOST_MS = 2000,
    PAUSE_LEAST_MS = 200,   /* without Retry-After */
    PAUSE_MOST_MS = 15000,
    AFTER_MOST_MS = 300000, /* whatever Retry-After says */
    AGAIN_MS = 60000,       /* said no more often than this */
};

struct throttle {
    const char *who;
    pthread_mutex_t lock;
    pthread_cond_t wake;   /* on the monotonic clock */
    bool abandoned;        /* all below: under lock */
    int64_t gap_ms;        /* between two requests; 0: as they come */
    int64_t pause_ms;      /* the last pause without a success since */
    int64_t not_before_ms; /* clock; nobody sends before */
    int64_t next_ms;       /* clock; the next one by gap_ms */
    int64_t slowed_ms;     /* clock; when it was last slowed */
    int64_t said_ms;
};

struct throttle *throttle_open(const char *who)
{
    struct throttle *t = calloc(1, sizeof *t);
    pthread_condattr_t a;
    if (!t)
        return NULL;
    t->who = who;
    t->said_ms = -AGAIN_MS;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &a);
    pthread_condattr_destroy(&a);
    return t;
}

void throttle_close(struct throttle *t)
{
    if (!t)
        return;
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void wait_until(struct throttle *t, int64_t at_ms)
{
    struct timespec at = {at_ms / 1000, at_ms % 1000 * 1000000};
    pthread_cond_timedwait(&t->wake, &t->lock, &at);
}

int throttle_wait(struct throttle *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->abandoned) {
        int64_t now = clock_ms();
        int64_t at = t->not_before_ms > t->next_ms ? t->not_before_ms : t->next_ms;
        if (at <= now) {
            t->next_ms = now + t->gap_ms;
            break;
        }
        wait_until(t, at);
    }
    int bad = t->abandoned ? -1 : 0;
    pthread_mutex_unlock(&t->lock);
    return bad;
}

int throttle_sleep(struct throttle *t, int64_t ms)
{
    int64_t at = clock_ms() + ms;
    pthread_mutex_lock(&t->lock);
    while (!t->abandoned && clock_ms() < at)
        wait_until(t, at);
    int bad = t->abandoned ? -1 : 0;
    pthread_mutex_unlock(&t->lock);
    return bad;
}

static int64_t doubled(int64_t ms, int64_t least, int64_t most)
{
    return ms < least ? least : 2 * ms > most ? most : 2 * ms;
}

/* Half of it is left to chance: other uploaders were told the same at the same moment. */
static int64_t jittered(int64_t ms)
{
    uint64_t bits;
    id_random(&bits, sizeof bits);
    return ms / 2 + (int64_t)(bits % (uint64_t)(ms / 2 + 1));
}

/* What was sent before we slowed down says nothing of whether we are slow enough. */
void throttle_slow(struct throttle *t, int64_t began_ms, int64_t after_ms)
{
    pthread_mutex_lock(&t->lock);
    int64_t now = clock_ms();
    if (began_ms >= t->slowed_ms) {
        t->gap_ms = doubled(t->gap_ms, GAP_LEAST_MS, GAP_MOST_MS);
        t->pause_ms = doubled(t->pause_ms, PAUSE_LEAST_MS, PAUSE_MOST_MS);
        t->slowed_ms = now;
    }
    if (after_ms > AFTER_MOST_MS)
        after_ms = AFTER_MOST_MS;
    int64_t until = now + (after_ms > 0 ? after_ms : jittered(t->pause_ms));
    if (until > t->not_before_ms)
        t->not_before_ms = until;
    bool tell = now - t->said_ms >= AGAIN_MS;
    if (tell)
        t->said_ms = now;
    pthread_mutex_unlock(&t->lock);
    if (tell)
        say(SAY_WARN, "%s asks for less: slowing down", t->who);
}

void throttle_ok(struct throttle *t)
{
    pthread_mutex_lock(&t->lock);
    bool full = t->gap_ms == 1;
    t->pause_ms = 0;
    t->gap_ms -= t->gap_ms ? t->gap_ms / 8 + 1 : 0;
    pthread_mutex_unlock(&t->lock);
    if (full)
        say(SAY_INFO, "%s is at full speed again", t->who);
}

void throttle_abandon(struct throttle *t)
{
    pthread_mutex_lock(&t->lock);
    t->abandoned = true;
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

#include "lib/clock.h"

#include <time.h>

static int64_t monotonic_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t (*clock_source)(void) = monotonic_ms;

int64_t clock_ms(void)
{
    return clock_source();
}

void patience_turn(struct patience *p, int64_t beat_ms)
{
    int64_t now = clock_ms();
    int64_t dt = p->last_ms ? now - p->last_ms : 0;
    p->now_ms += dt < beat_ms ? dt : beat_ms;
    p->last_ms = now;
}

#include "uploader/space.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/say.h"

enum {
    LOOK_MS = 20,      /* a fast store fills --min-free in no less */
    REST_MS = 1000,
    REST_MOST_MS = 60000,
    AGAIN_MS = 60000,      /* said no more often than this */
    WORTH_BYTES = 1 << 20, /* after it was full, less than this is no room */
};

static void note(struct space *s, bool low, const char *what)
{
    bool told = low ? !s->said_ms || clock_ms() - s->said_ms >= AGAIN_MS : s->said_low;
    if (low != s->low && told) {
        say(SAY_WARN, "the store %s", what);
        s->said_ms = clock_ms();
        s->said_low = low;
    }
    s->low = low;
}

bool space_is_there(struct space *s)
{
    int64_t now = clock_ms();
    if (now < s->rest_until_ms)
        return false;
    if (now < s->look_ms)
        return !s->low;
    s->look_ms = now + LOOK_MS;
    int64_t bytes = s->ops->free_bytes ? s->ops->free_bytes(s->store) : INT64_MAX;
    bool low = bytes < s->min_free_bytes || (s->full && bytes < WORTH_BYTES);
    s->full &= low;
    note(s, low, low ? "has less than --min-free left: waiting for room" : "has room again");
    return !low;
}

void space_is_full(struct space *s)
{
    s->full = true;
    note(s, true, "is full: waiting for room");
    s->look_ms = clock_ms() + REST_MS;
}

void space_rest(struct space *s, int64_t ms)
{
    int64_t now = clock_ms(), until_ms = now + (ms <= 0             ? REST_MS
                                                : ms > REST_MOST_MS ? REST_MOST_MS
                                                                    : ms);
    if (until_ms <= s->rest_until_ms)
        return;
    s->rest_until_ms = until_ms;
    if (s->rest_said_ms && now - s->rest_said_ms < AGAIN_MS)
        return;
    say(SAY_WARN, "the store asks for less: waiting %lld ms", (long long)(until_ms - now));
    s->rest_said_ms = now;
}

bool space_lacks(int err)
{
    return err == ENOSPC || err == EDQUOT;
}

int64_t space_sleep_ms(const struct space *s)
{
    int64_t now = clock_ms();
    int64_t left = now < s->rest_until_ms ? s->rest_until_ms - now : s->look_ms - now;
    bool waiting = s->low || now < s->rest_until_ms;
    return !waiting ? INT32_MAX : left < 0 ? 0 : left;
}

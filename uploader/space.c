#include "uploader/space.h"

#include <errno.h>

#include "lib/clock.h"
#include "lib/say.h"

enum {
    LOOK_MS = 20,      /* a fast store fills --min-free in no less */
    REST_MS = 1000,
    AGAIN_MS = 60000,      /* said no more often than this */
    WORTH_BYTES = 1 << 20, /* after it was full, less than this is no room */
};

static void note(struct space *s, bool low, const char *what)
{
    if (low != s->low && (!s->said_ms || !low || clock_ms() - s->said_ms >= AGAIN_MS)) {
        say(SAY_WARN, "the store %s", what);
        s->said_ms = clock_ms();
    }
    s->low = low;
}

bool space_is_there(struct space *s)
{
    int64_t now = clock_ms();
    if (now < s->look_ms)
        return !s->low;
    s->look_ms = now + LOOK_MS;
    int64_t bytes = s->ops->free_bytes(s->store);
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

bool space_lacks(int err)
{
    return err == ENOSPC || err == EDQUOT;
}

int64_t space_sleep_ms(const struct space *s)
{
    int64_t left = s->look_ms - clock_ms();
    return !s->low ? INT32_MAX : left < 0 ? 0 : left;
}

#include "feeder/pace.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/say.h"

/* Reading. */

static const struct word {
    const char *name;
    enum pace_kind kind;
    const char *needs, *such_as;   /* its argument; NULL: it takes none */
} words[] = {
    {"unbounded", PACE_UNBOUNDED, NULL, NULL},
    {"sleep", PACE_SLEEP, "a pause", "sleep:100ms"},
    {"batch", PACE_BATCH, "a number", "batch:100"},
    {"semaphore", PACE_SEMAPHORE, "a number", "semaphore:100"},
    {"pool", PACE_POOL, "a number", "pool:100"},
    {"queue", PACE_QUEUE, NULL, NULL},
};

static const struct word *find_word(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i].name) == len && memcmp(words[i].name, text, len) == 0)
            return &words[i];
    return NULL;
}

/* "100ms", "2s", "0.5" as sleep(1) takes it. */
static int read_pause(struct pace_rule *rule, const char *text, char *why, size_t size)
{
    char *end;
    double value = strtod(text, &end);
    double unit = strcmp(end, "ms") == 0 ? 1 : strcmp(end, "s") == 0 || !*end ? 1000 : 0;
    if (end == text || unit == 0 || !isfinite(value))
        snprintf(why, size, "has no duration after the colon (such as 100ms, 2s or 0.5)");
    else if (value * unit < 1 || value * unit > PACE_LONGEST_MS)
        snprintf(why, size, "is out of range (1ms to 86400s)");
    else
        rule->pause_ms = (int64_t)(value * unit + 0.5);
    return rule->pause_ms ? 0 : -1;
}

static int read_most(struct pace_rule *rule, const char *text, char *why, size_t size)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end)
        snprintf(why, size, "has no whole number after the colon");
    else if (errno || value < 1 || value > PACE_MOST)
        snprintf(why, size, "is out of range (1 to %d)", PACE_MOST);
    else
        rule->most = (uint32_t)value;
    return rule->most ? 0 : -1;
}

int pace_read(struct pace_rule *rule, const char *text, char *why, size_t size)
{
    size_t len = strcspn(text, ":");
    const char *argument = text[len] ? text + len + 1 : NULL;
    const struct word *w = find_word(text, len);
    if (!w) {
        snprintf(why, size,
                 "is none of unbounded, sleep:PAUSE, batch:N, semaphore:N, pool:N, queue");
        return -1;
    }
    *rule = (struct pace_rule){.kind = w->kind};
    if (w->needs && argument)
        return w->kind == PACE_SLEEP ? read_pause(rule, argument, why, size)
                                     : read_most(rule, argument, why, size);
    if (w->needs)
        snprintf(why, size, "needs %s, such as %s", w->needs, w->such_as);
    else if (argument)
        snprintf(why, size, "takes nothing after its name");
    return w->needs || argument ? -1 : 0;
}

/* Pacing. */

void pace_open(struct pace *p, const struct pace_rule *rule, struct window *w, struct crew *c)
{
    *p = (struct pace){.rule = *rule, .window = w, .crew = c};
    if (rule->kind == PACE_UNBOUNDED) {
        w->most = UINT_MAX;
        c->heeds_room = false;
        c->newcomer_most = CREW_HELD_MOST;
        say(SAY_WARN, "--pace unbounded: the whole list is read into memory before the first URL "
            "is handed out, and then all of it is handed out");
    }
    if (rule->kind == PACE_POOL)
        c->newcomer_most = 0; /* until it has slots */
}

static unsigned less(unsigned most, unsigned used)
{
    return most > used ? most - used : 0;
}

/* Slots that nobody has go to fetchers without, in as many shares as there are places for. */
static void deal(struct pace *p)
{
    unsigned slots = p->rule.most, places = p->places;
    struct member *m;
    for (m = p->crew->members; m; m = m->hh.next)
        if (m->fetcher && m->most) {
            slots -= m->most;
            places--;
        }
    for (m = p->crew->members; m; m = m->hh.next) {
        if (m->most || !crew_stays(m) || !m->fetcher)
            continue;
        if (!places && !p->said)
            say(SAY_INFO, "--pace pool: fetcher %s has no slot: all %u are taken", m->name,
                p->rule.most);
        p->said |= !places;
        if (!places)
            return;
        m->most = (slots + places - 1) / places;
        slots -= m->most;
        places--;
        say(SAY_DEBUG, "--pace pool: %u slots for fetcher %s", m->most, m->name);
    }
}

/* What is divided once waits for those that were started together with the first fetcher. */
static bool have_gathered(struct pace *p)
{
    if (!p->next_ms && p->crew->fetchers)
        p->next_ms = clock_ms() + PACE_GATHER_MS;
    p->gathered |= p->crew->fetchers && clock_ms() >= p->next_ms;
    return p->gathered;
}

static uint64_t pool_now(struct pace *p)
{
    if (!have_gathered(p))
        return 0;
    if (!p->places)
        p->places = p->crew->fetchers < p->rule.most ? p->crew->fetchers : p->rule.most;
    deal(p);
    return UINT64_MAX;
}

/* Those of the batch that are ready again, and those that it lacks still. */
static uint64_t batch_now(struct pace *p)
{
    const struct window *w = p->window;
    if (!w->begun)
        p->begun_before = w->begun_ever;
    uint64_t size = w->begun_ever - p->begun_before;
    uint64_t lacks = size < p->rule.most ? p->rule.most - size : 0;
    return w->begun - w->waiting - w->in_flight + lacks;
}

uint64_t pace_now(struct pace *p, bool list_ended)
{
    switch (p->rule.kind) {
    case PACE_UNBOUNDED:
        return list_ended && have_gathered(p) ? UINT64_MAX : 0;
    case PACE_SLEEP:
        return clock_ms() >= p->next_ms;
    case PACE_BATCH:
        return batch_now(p);
    case PACE_SEMAPHORE:
        return less(p->rule.most, p->window->in_flight);
    case PACE_POOL:
        return pool_now(p);
    case PACE_QUEUE:
        break;
    }
    return UINT64_MAX;
}

void pace_sent(struct pace *p)
{
    if (p->rule.kind == PACE_SLEEP)
        p->next_ms = clock_ms() + p->rule.pause_ms;
}

int64_t pace_sleep_ms(const struct pace *p)
{
    bool waits = p->window->ready && p->next_ms && !p->gathered;
    int64_t left = p->next_ms - clock_ms();
    return !waits || left <= 0 ? INT32_MAX : left;
}

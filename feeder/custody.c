#include "feeder/custody.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "feeder/retry.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/id.h"
#include "lib/say.h"

static struct manifest_entry entry_of(const struct task *t, unsigned tries)
{
    return (struct manifest_entry){.id = t->id, .url = t->url, .url_len = t->url_len,
                                   .tries = tries};
}

/* The task's line is made: it leaves the window with it, so it gets no other. */
static void settle(struct custody *c, struct task *t)
{
    assert(window_task(c->window, t->id) == t);
    crew_forget_task(t);
    window_settle(c->window, t);
    FAULT("feeder.task.settled");
}

/* A receipt of any attempt settles the task. */
static void on_stored(void *arg, const struct member *from, const struct msg_outcome *o)
{
    struct custody *c = arg;
    struct task *t = window_task(c->window, o->task);
    if (!t) {
        c->crew->dropped++;
        return;
    }
    const struct member *fetcher = crew_member(c->crew, o->fetcher);
    struct manifest_entry e = entry_of(t, t->failures + 1);
    e.fetcher = fetcher ? fetcher->name : NULL;
    e.uploader = from->name;
    manifest_delivered(c->manifest, &e, o);
    settle(c, t);
}

static void give_up(struct custody *c, struct task *t, const struct member *from,
                    const struct msg_outcome *o)
{
    struct manifest_entry e = entry_of(t, t->failures ? t->failures : 1);
    if (from)
        *(from->fetcher ? &e.fetcher : &e.uploader) = from->name;
    manifest_failed(c->manifest, &e, o);
    settle(c, t);
}

/* Lost, not failed: nobody's fault that we know of, so it costs no try. */
static void lose(struct custody *c, struct task *t, bool begun)
{
    static const char why[] = "lost again and again after it had begun: it may kill its fetchers";
    struct msg_outcome lost = {.class = msg_text("lost"), .detail = msg_text(why)};
    crew_forget_task(t);
    t->losses += begun;
    if (t->losses >= CREW_FATAL_LOSSES) {
        give_up(c, t, NULL, &lost);
        return;
    }
    window_land(c->window, t);
}

static bool is_class(const struct msg_outcome *o, const char *class)
{
    return o->class.len == strlen(class) && memcmp(o->class.s, class, o->class.len) == 0;
}

/* No fault of the URL's, and so no try of it. But there are origins that end each body early, where a
 * slow store has paused each of them: that one is to blame can't be told for ever. */
static bool costs_no_try(struct task *t, const struct msg_outcome *o)
{
    if (is_class(o, "full"))
        return true;
    return (is_class(o, "lost") || is_class(o, "paused")) && ++t->returns <= CUSTODY_RETURNS_MOST;
}

/* A failure counts only if its dispatch is the current one. */
static void on_failed(void *arg, const struct member *from, const struct msg_outcome *o)
{
    struct custody *c = arg;
    struct task *t = window_dispatch(c->window, o->d);
    if (!t) {
        c->crew->dropped++;
        return;
    }
    if (costs_no_try(t, o)) {
        say(SAY_DEBUG, "line %llu: %.*s, handing it out again", (unsigned long long)t->id,
            (int)o->detail.len, o->detail.s ? o->detail.s : "");
        lose(c, t, false);
        return;
    }
    t->failures++;
    if (!o->retry || t->failures > c->retry) {
        give_up(c, t, from, o);
        return;
    }
    FAULT("feeder.task.failed");
    uint64_t bits;
    id_random(&bits, sizeof bits);
    crew_forget_task(t);
    window_wait(c->window, t,
                clock_ms() + retry_wait_ms(c->retry_delay_ms, t->failures,
                                           (int64_t)o->retry_after_ms, bits));
}

void custody_expire(struct custody *c)
{
    struct task *t, *tmp;
    int64_t now = c->crew->patience.now_ms;
    if (now - c->looked_ms < c->crew->beat_ms / 2)
        return;
    c->looked_ms = now;
    HASH_ITER(by_d, c->window->by_d, t, tmp)
        if (now - t->seen_ms > c->crew->lease_ms) {
            say(SAY_DEBUG, "line %llu: nobody has it any more, handing it out again",
                (unsigned long long)t->id);
            lose(c, t, crew_begun(t));
        }
}

void custody_refuse(struct custody *c, const struct input_line *line)
{
    char why[128];
    snprintf(why, sizeof why, "%s:%llu %s", line->file, (unsigned long long)line->file_line,
             line->bad);
    say(SAY_WARN, "%s:%llu: '%.*s' %s", line->file, (unsigned long long)line->file_line,
        (int)(line->len < 200 ? line->len : 200), line->text, line->bad);
    struct manifest_entry e = {.id = line->number, .url = line->text, .url_len = line->len,
                               .tries = 0};
    struct msg_outcome o = {.class = msg_text("input"), .detail = msg_text(why)};
    manifest_failed(c->manifest, &e, &o);
}

void custody_leave_open(struct custody *c)
{
    struct task *t, *tmp;
    HASH_ITER(by_id, c->window->by_id, t, tmp) {
        struct manifest_entry e = entry_of(t, t->failures);
        manifest_open_task(c->manifest, &e);
        settle(c, t);
    }
}

void custody_open(struct custody *c)
{
    c->crew->stored = on_stored;
    c->crew->failed = on_failed;
    c->crew->arg = c;
}

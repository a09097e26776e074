#include "feeder/crew_parts.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"

enum {
    CANCEL_MOST = 4096, /* a news' worth; the rest comes with the next beat */
    EVIDENCE_BEATS = 3,
};

/* What a beat proves of tasks. */

/* News go to it each beat, so the mark of one that can hear us moves. */
static bool mark_moves(const struct crew *c, const struct member *m)
{
    return c->patience.now_ms - m->mark_moved_ms <= EVIDENCE_BEATS * c->beat_ms;
}

static void move_mark(struct crew *c, struct member *m, uint64_t mark, uint64_t room)
{
    if (mark >= m->mark)
        m->room = room; /* else it is late, from before a cut link: both are of one moment */
    if (mark > m->mark) {
        m->mark = mark;
        m->mark_moved_ms = c->patience.now_ms;
    }
    m->unread = 0;
    bool moves = mark_moves(c, m);
    for (struct task *t = m->tasks ? m->tasks->prev : NULL; t && t->n > m->mark; t = t->prev) {
        m->unread++;
        if (moves) /* still under way: what is sent after it arrives */
            t->seen_ms = c->patience.now_ms;
        if (t == m->tasks)
            break;
    }
}

bool crew_is_claiming(const struct crew *c)
{
    return c->patience.now_ms < c->claims_until_ms;
}

/* A dispatch of an earlier epoch goes on where it is; of several of a task, the latest. */
static struct task *claim(struct crew *c, struct member *m, uint64_t d, uint64_t task)
{
    struct task *t = window_task(c->window, task);
    if (!t || t->state == TASK_WAITING || d >> 40 >= c->epoch || d <= t->d)
        return NULL;
    if (t->state == TASK_IN_FLIGHT) {
        crew_forget_task(t);
        window_land(c->window, t);
    }
    window_fly(c->window, t, d);
    t->n = 0; /* it has been read */
    t->fetcher = m->fetcher ? m : NULL;
    if (m->fetcher) {
        DL_PREPEND(m->tasks, t);
        m->given++;
        m->suspects += crew_suspects(t);
    }
    say(SAY_DEBUG, "line %llu: %s has it still", (unsigned long long)task, m->name);
    return t;
}

/* Refreshes what is current (evidence: `tasks` given), lists the rest for cancelling. */
static void look_at(struct crew *c, struct member *m, const struct msg_numbers *ds,
                    const struct msg_numbers *tasks)
{
    for (uint32_t i = 0; i < ds->count; i++) {
        struct task *t = window_dispatch(c->window, ds->v[i]);
        if (!t && crew_is_claiming(c)) {
            if (tasks && i < tasks->count)
                t = claim(c, m, ds->v[i], tasks->v[i]);
        } else if (!t && m->cancel.count < CANCEL_MOST) {
            ((uint64_t *)(uintptr_t)m->cancel.v)[m->cancel.count++] = ds->v[i];
        }
        if (t && tasks)
            t->seen_ms = c->patience.now_ms;
    }
}

void crew_heed(struct crew *c, struct member *m, const struct msg_beat *b, uint64_t mark)
{
    if (!m->cancel.v && !(m->cancel.v = malloc(CANCEL_MOST * sizeof(uint64_t))))
        say_die(EXIT_TEMP, "out of memory");
    m->cancel.count = 0;
    move_mark(c, m, mark, b->room);
    look_at(c, m, &b->held, &b->held_tasks);
    look_at(c, m, &b->open, NULL);
}

/* What it is given. */

bool crew_suspects(const struct task *t)
{
    return t->losses >= CREW_SUSPECT_LOSSES;
}

/* Tasks that it may be given now. */
static uint64_t credit_of(const struct crew *c, const struct member *m)
{
    uint64_t room = m->room > m->unread ? m->room - m->unread : 0;
    uint64_t left = m->most > m->given ? m->most - m->given : 0;
    return c->heeds_room && room < left ? room : left;
}

struct member *crew_free_fetcher(struct crew *c, bool suspect, uint64_t *most)
{
    struct member *best = NULL;
    int64_t now = clock_ms();
    *most = 0;
    for (struct member *m = c->members; m; m = m->hh.next) {
        uint64_t credit = credit_of(c, m);
        if (m->fetcher && !m->leaving && m->on_our_run && credit > *most && mark_moves(c, m) &&
            now - m->shut_ms >= CREW_SOON_MS && !(suspect && m->suspects)) {
            best = m;
            *most = credit;
        }
    }
    return best;
}

bool crew_send_tasks(struct crew *c, struct member *m, struct task *const *ts, uint32_t count)
{
    struct msg msg = {.kind = MSG_TASKS};
    struct msg_task items[CREW_TASKS];
    uint64_t n = c->next_n;
    assert(count <= CREW_TASKS && count <= credit_of(c, m));
    assert(c->next_d >> 40 == c->epoch); /* d rises from feeder to feeder, and is never used twice */
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct msg_task){c->next_d + i, ts[i]->id,
                                     {ts[i]->url, (uint32_t)ts[i]->url_len}, msg_text(ts[i]->key)};
    msg.tasks.n = n;
    msg.tasks.items.v = items;
    msg.tasks.items.count = count;
    if (crew_send(c, m, &msg) != 1) {
        m->shut_ms = clock_ms();
        return false;
    }
    FAULT("feeder.tasks.sent");
    for (uint32_t i = 0; i < count; i++) {
        struct task *t = ts[i];
        window_fly(c->window, t, c->next_d++);
        t->n = n;
        t->fetcher = m;
        t->seen_ms = c->patience.now_ms;
        DL_APPEND(m->tasks, t);
        m->suspects += crew_suspects(t);
    }
    m->unread += count;
    m->given += count;
    return true;
}

void crew_forget_task(struct task *t)
{
    struct member *m = t->fetcher;
    if (!m)
        return;
    DL_DELETE(m->tasks, t);
    m->given--;
    if (t->n > m->mark)
        m->unread--;
    if (crew_suspects(t) && m->suspects)
        m->suspects--;
    t->fetcher = NULL;
}

bool crew_begun(const struct task *t)
{
    return !t->fetcher || t->n <= t->fetcher->mark;
}

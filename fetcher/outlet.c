#include "fetcher/outlet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <xxhash.h>

#include "lib/say.h"
#include "lib/wire.h"

static void wake(void *arg, int fd, int ready)
{
    (void)fd, (void)ready;
    wire_ready(arg);
}

static void hang_up(struct outlets *os, struct outlet *o)
{
    if (o->wire)
        loop_unwatch(os->loop, wire_fd(o->wire));
    wire_close(&o->wire, 0);
}

static void dial(struct outlets *os, struct outlet *o)
{
    o->wire = wire_open(WIRE_TO_INTAKE, o->intake, (struct wire_limits){os->hwm, MSG_HEAD_MOST});
    if (!o->wire || loop_watch(os->loop, wire_fd(o->wire), LOOP_READ, wake, o->wire)) {
        say(SAY_WARN, "cannot reach the uploader at %s: %s", o->intake, wire_strerror(errno));
        wire_close(&o->wire, 0);
    }
}

static struct outlet *find(struct outlets *os, uint64_t member)
{
    struct outlet *o;
    DL_SEARCH_SCALAR(os->list, o, member, member);
    return o;
}

static struct outlet *add(struct outlets *os, const struct msg_uploader *u)
{
    struct outlet *o = calloc(1, sizeof *o);
    if (!o)
        say_die(EXIT_TEMP, "out of memory");
    o->member = u->member;
    o->mark_moved_ms = worker_now_ms(os->worker);
    msg_text_copy(u->intake, o->intake, sizeof o->intake);
    dial(os, o);
    DL_APPEND(os->list, o);
    return o;
}

static void take_away(struct outlets *os, struct outlet *o)
{
    os->lost(os->arg, o);
    hang_up(os, o);
    DL_DELETE(os->list, o);
    free(o);
}

void outlets_reset(struct outlets *os)
{
    struct outlet *o, *tmp;
    DL_FOREACH_SAFE(os->list, o, tmp)
        take_away(os, o);
}

void outlets_close(struct outlets *os)
{
    outlets_reset(os);
    buf_free(&os->head);
}

static bool is_gone(const struct msg_news *n, uint64_t member)
{
    for (uint32_t i = 0; i < n->gone.count; i++)
        if (n->gone.v[i] == member)
            return true;
    return false;
}

void outlets_news(struct outlets *os, const struct msg_news *n)
{
    int64_t now = worker_now_ms(os->worker);
    struct outlet *o, *tmp;
    DL_FOREACH(os->list, o)
        o->listed = false;
    for (uint32_t i = 0; i < n->uploaders.count; i++) {
        const struct msg_uploader *u = &n->uploaders.v[i];
        o = find(os, u->member);
        if (!o)
            o = add(os, u);
        o->listed = true;
        o->listed_ms = now;
        o->leaving = u->leaving;
        o->reading = u->reading;
        if (u->read > o->mark) {
            o->mark = u->read;
            o->mark_moved_ms = now;
        }
    }
    /* Absent is not gone: a restarted feeder may not have heard it yet. A lease of it is. */
    DL_FOREACH_SAFE(os->list, o, tmp)
        if (!o->listed && (is_gone(n, o->member) ||
                           now - o->listed_ms > worker_lease_ms(os->worker)))
            take_away(os, o);
}

struct outlet *outlets_pick(struct outlets *os)
{
    struct outlet *o, *best = NULL;
    DL_FOREACH(os->list, o)
        if (o->wire && !o->leaving && !o->full && (!best || o->open < best->open))
            best = o;
    if (best) { /* the next pick among equals is another */
        DL_DELETE(os->list, best);
        DL_APPEND(os->list, best);
    }
    return best;
}

/* Puts the map right before the body; into a larger block if it does not fit. */
static char *join(struct outlets *os, char **block, size_t len)
{
    char *body = *block + OUTLET_HEAD_ROOM;
    if (os->head.len > OUTLET_HEAD_ROOM) {
        char *larger = malloc(os->head.len + len + 1);
        if (!larger)
            say_die(EXIT_TEMP, "out of memory");
        if (len)
            memcpy(larger + os->head.len, body, len);
        memcpy(larger, os->head.data, os->head.len);
        return larger;
    }
    return memcpy(body - os->head.len, os->head.data, os->head.len);
}

static void write_head(struct outlets *os, struct outlet *o, struct msg_chunk *c)
{
    struct msg m = {.kind = MSG_CHUNK, .from = worker_member(os->worker), .to = o->member};
    c->n = os->next_n;
    m.chunk = *c;
    memcpy(m.run, worker_run(os->worker), ID_RUN_BYTES);
    os->head.len = 0;
    if (msg_write(&os->head, &m))
        say_die(EXIT_TEMP, "out of memory");
}

static int note_sent(struct outlets *os, struct outlet *o, int got)
{
    if (got != 1) {
        o->full = true;
        return 0;
    }
    o->last_n = os->next_n++;
    o->sent_ms = clock_ms();
    return 1;
}

int outlet_send(struct outlets *os, struct outlet *o, struct msg_chunk *c, char **block,
                size_t len)
{
    if (!o->wire || o->full || !wire_ready(o->wire)) {
        o->full = true;
        return 0;
    }
    c->sum = XXH3_64bits(*block + OUTLET_HEAD_ROOM, len);
    write_head(os, o, c);
    char *start = join(os, block, len);
    bool moved = os->head.len > OUTLET_HEAD_ROOM;
    void *owner = moved ? start : *block;
    int got = wire_send_block(o->wire, owner, start, os->head.len + len);
    if (moved) /* of the two blocks one is left over */
        free(got == 1 ? *block : start);
    if (got == 1)
        *block = NULL;
    return note_sent(os, o, got);
}

/* A message without a body's: "nothing new, but you have read so far". */
static void send_idle(struct outlets *os, struct outlet *o)
{
    struct msg_chunk c = {.closed = o->leaving && o->open == 0};
    write_head(os, o, &c);
    note_sent(os, o, wire_send(o->wire, os->head.data, os->head.len));
    o->full = false;
}

void outlets_turn(struct outlets *os)
{
    int64_t beat_ms = worker_beat_ms(os->worker), now = worker_now_ms(os->worker);
    struct outlet *o;
    DL_FOREACH(os->list, o) {
        o->full = false;
        if (o->last_n <= o->mark || !o->reading)
            o->mark_moved_ms = now;
        if (now - o->mark_moved_ms > worker_lease_ms(os->worker)) {
            say(SAY_WARN, "the uploader at %s reads, but nothing of ours: connecting anew",
                o->intake);
            os->lost(os->arg, o);
            hang_up(os, o);
            dial(os, o);
            o->mark_moved_ms = now;
        }
        int64_t pause_ms = o->leaving && !o->open ? beat_ms / 10 : beat_ms;
        if (o->wire && clock_ms() - o->sent_ms >= pause_ms)
            send_idle(os, o);
    }
}

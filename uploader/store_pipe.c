/* pipe:COMMAND - long-lived processes, up to -j, each of which is given an object at a time on its
 * stdin, framed, and answers with a receipt on its stdout. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "uploader/coproc.h"
#include "uploader/fact.h"
#include "uploader/receipt.h"
#include "uploader/runner.h"
#include "uploader/store.h"

enum {
    SENDS_MOST = 3,      /* of one object to processes that die of it */
    HEAD_MOST = 4 << 20,
    FINISH_MS = 1000,    /* for processes to end after their stdin has */
    SAY_EVERY_MS = 1000,
};

struct seat {
    struct coproc coproc;
    atomic_bool taken;
};

struct pipe_store {
    struct runner *runner;
    _Atomic int64_t said_ms;  /* clock; when an answer was last complained of */
    int count;
    struct seat seats[];
};

static void *pipe_open(const char *place, const struct store_settings *s)
{
    struct pipe_store *p = calloc(1, sizeof *p + (size_t)s->threads * sizeof p->seats[0]);
    if (!p) {
        say(SAY_ERROR, "%s: out of memory", s->dest);
        return NULL;
    }
    p->runner = runner_open(place, s, false);
    if (!p->runner) {
        int err = errno;
        free(p);
        errno = err;
        return NULL;
    }
    p->count = s->threads;
    for (int i = 0; i < p->count; i++)
        coproc_setup(&p->seats[i].coproc);
    return p;
}

static void pipe_close(void *store)
{
    struct pipe_store *p = store;
    int64_t until_ms = clock_ms() + FINISH_MS;
    for (int i = 0; i < p->count; i++)
        coproc_finish(&p->seats[i].coproc);
    for (int i = 0; i < p->count; i++)
        coproc_wait(&p->seats[i].coproc, until_ms);
    runner_close(p->runner);
    free(p);
}

static void pipe_abandon(void *store)
{
    runner_abandon(((struct pipe_store *)store)->runner);
}

static void *pipe_begin(void *store, const struct store_facts *f)
{
    return runner_begin(store, ((struct pipe_store *)store)->runner->spools, f);
}

/* There is one for each call that can be made at once. The first ones are used the most, so that
 * few processes run where few are needed. */
static struct seat *take_seat(struct pipe_store *p)
{
    for (int i = 0;; i = (i + 1) % p->count)
        if (!atomic_exchange(&p->seats[i].taken, true))
            return &p->seats[i];
}

static void complain(struct pipe_store *p, const struct store_commit *c)
{
    int64_t now = clock_ms();
    if (now - atomic_load(&p->said_ms) < SAY_EVERY_MS)
        return;
    atomic_store(&p->said_ms, now);
    say(SAY_WARN, "%s; starting it again", c->detail);
}

/* What it says after something else than a receipt means nothing. */
static void take_answer(struct pipe_store *p, struct coproc *a, size_t len, struct store_commit *c)
{
    char how[COPROC_HOW];
    if (receipt_read(a->said.data, len, c->facts->task, c)) {
        complain(p, c);
        coproc_kill(a, how);
        return;
    }
    coproc_answered(a, len);
    FAULT_IF(!c->err, "uploader.pipe.answered");
}

static void ask(struct pipe_store *p, struct coproc *a, const struct buf *head, struct spool *body,
                struct store_commit *c)
{
    char how[COPROC_HOW] = "";
    size_t len;
    for (int i = 0; i < SENDS_MOST; i++) {
        switch (coproc_ask(a, p->runner, head, body, c, &len)) {
        case COPROC_ANSWERED:
            take_answer(p, a, len, c);
            return;
        case COPROC_NOT_ANSWERED:
            if (a->child.pid)
                coproc_kill(a, how); /* it waits for the rest of a frame, maybe */
            return;
        case COPROC_DIED:
            coproc_kill(a, how);
        }
    }
    c->err = EIO;
    snprintf(c->detail, sizeof c->detail,
             "the command ended, or closed its stdin, %d times before it had answered (%s)",
             SENDS_MOST, how);
}

static void pipe_commit(struct store_commit *c, int count)
{
    struct runner_object *o = c->object;
    struct pipe_store *p = o->store;
    struct buf head = buf_make(HEAD_MOST);
    (void)count; /* one, as with exec: */
    c->bytes = spool_bytes(o->body);
    fact_json(&head, c->facts);
    if (head.failed) {
        c->err = ENOMEM;
    } else {
        struct seat *seat = take_seat(p);
        ask(p, &seat->coproc, &head, o->body, c);
        atomic_store(&seat->taken, false);
    }
    buf_free(&head);
    runner_drop(o);
}

const struct store_ops store_pipe = {
    .scheme = "pipe",
    .usage = "pipe:COMMAND",
    .about = "COMMAND is given objects on stdin and answers on stdout",
    .open = pipe_open,
    .close = pipe_close,
    .abandon = pipe_abandon,
    .begin = pipe_begin,
    .write = runner_write,
    .commit = pipe_commit,
    .drop = runner_drop,
};

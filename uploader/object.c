#include "uploader/object.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"
#include "lib/share.h"
#include "lib/sum.h"
#include "lib/table.h"

/* A message's bytes, kept while a piece of it is needed. The loop's thread counts. */
struct parcel {
    struct frame frame;
    unsigned pieces;
};

/* One chunk's bytes, on their way into the store. */
struct piece {
    struct parcel *parcel;
    const uint8_t *bytes;  /* in the parcel's frame, or lent */
    size_t len;
    struct guest *guest;   /* whose memory they are in; NULL: not lent */
    uint64_t at, seq;      /* of the loan */
    struct piece *next;
};

struct object {
    struct job job;      /* first, so that a job is its object */
    struct objects *all;
    uint64_t d, task, fetcher;
    uint64_t next_offset;              /* what the next chunk must say */
    int64_t since_ms;                  /* clock; of its last change of kind (open, complete) */
    bool complete;                     /* LAST is here */
    bool unwanted;                     /* to be dropped */
    bool refused;                      /* dropped; the rest of its chunks is still to come */
    bool busy;                         /* the job is with the pool, or waits for its group */
    bool foreign;                      /* of a run that is over: to be committed without a word */
    struct piece *pieces, **pieces_end; /* waiting for the next job */

    /* The job's, while busy. */
    struct piece *writing;
    bool commit;
    bool recalled;                     /* what was lent was taken back while we read it */
    void *handle;                      /* the store's; NULL before begin and after commit */
    int err;
    struct store_commit result;
    struct object *next;               /* of the same group */

    uint64_t response_code, time_us;
    char digest[DIGEST_TEXT];
    char *key, *content_type, *url_effective;  /* owned */
    UT_hash_handle hh;
};

/* Objects that are committed together; one group is with the pool at a time, and while it is the
 * next one gathers. */
struct group {
    struct job job;      /* first, as above */
    struct objects *all;
    struct object *waiting, *members;
    bool busy;
};

static char *copy_text(struct msg_text t)
{
    char *s = malloc(t.len + 1u);
    if (!s)
        say_die(EXIT_TEMP, "out of memory"); /* safe: the feeder owns the task */
    msg_text_copy(t, s, t.len + 1u);
    return s;
}

static void release(struct objects *all, struct parcel *p)
{
    if (--p->pieces)
        return;
    all->buffered_bytes -= p->frame.len;
    wire_release(&p->frame);
    free(p);
}

static void free_pieces(struct objects *all, struct piece **list)
{
    while (*list) {
        struct piece *p = *list;
        *list = p->next;
        if (p->guest) {
            guest_return(p->guest, p->at, p->seq);
            guest_drop(p->guest);
            all->buffered_bytes -= p->len;
        }
        release(all, p->parcel);
        free(p);
    }
}

static void free_object(struct object *o)
{
    struct objects *all = o->all;
    free_pieces(all, &o->pieces);
    if (o->handle)
        all->ops->drop(o->handle);
    HASH_DEL(all->table, o);
    all->count--;
    free(o->key);
    free(o->content_type);
    free(o->url_effective);
    free(o);
}

/* Writing: in a pool thread. */

static void prepare_commit(const struct object *o, struct store_commit *c)
{
    const char *colon = strchr(o->digest, ':');
    int kind = colon ? digest_kind(o->digest, (size_t)(colon - o->digest)) : DIGEST_NONE;
    *c = (struct store_commit){.object = o->handle,
                               .kind = kind < 0 ? DIGEST_NONE : (enum digest_kind)kind};
}

/* Back to its owner as soon as it is read. What the owner took back meanwhile may have been
 * overwritten while we read: it is not what was fetched, then. */
static void end_loan(struct object *o, const struct piece *p)
{
    o->recalled |= !guest_holds(p->guest, p->at, p->seq);
    guest_return(p->guest, p->at, p->seq);
}

static void run(struct job *job)
{
    struct object *o = (struct object *)job;
    const struct store_ops *ops = o->all->ops;
    if (!o->handle && (FAULT_FAILS("uploader.begin") ||
                       !(o->handle = ops->begin(o->all->store, o->key, o->d))))
        o->err = errno ? errno : EIO;
    for (struct piece *p = o->writing; p && !o->err; p = p->next) {
        if (p->len && (FAULT_FAILS("uploader.write") || ops->write(o->handle, p->bytes, p->len)))
            o->err = errno ? errno : EIO;
        if (p->guest)
            end_loan(o, p);
    }
    FAULT("uploader.written");
    o->commit &= !o->recalled;
    if (o->err || !o->commit || o->all->grouped)
        return;
    prepare_commit(o, &o->result);
    ops->commit(&o->result, 1);
    o->handle = NULL;
    o->err = o->result.err;
}

static void run_group(struct job *job)
{
    struct group *g = (struct group *)job;
    struct store_commit v[STORE_GROUP_MOST];
    int count = 0;
    for (struct object *o = g->members; o; o = o->next)
        prepare_commit(o, &v[count++]);
    g->all->ops->commit(v, count);
    count = 0;
    for (struct object *o = g->members; o; o = o->next) {
        o->result = v[count++];
        o->handle = NULL;
        o->err = o->result.err;
    }
}

static void hand_in(struct object *o)
{
    if (o->busy || !o->pieces)
        return;
    o->writing = o->pieces;
    o->pieces = NULL;
    o->pieces_end = &o->pieces;
    o->commit = o->complete;
    o->busy = true;
    o->job.run = run;
    pool_add(o->all->pool, &o->job);
}

/* Outcomes. */

static void report_failed(struct objects *all, uint64_t d, uint64_t task, const char *class,
                          const char *detail, bool retry)
{
    struct msg_outcome out = {.d = d, .task = task, .class = msg_text(class),
                              .detail = msg_text(detail), .retry = retry};
    worker_outcome(all->worker, false, &out);
}

/* After the commit, never before. */
static void report_stored(struct object *o)
{
    assert(o->complete && o->commit && !o->err && !o->handle);
    struct msg_outcome out = {.d = o->d, .task = o->task, .key = msg_text(o->key),
                              .bytes = o->result.bytes, .existing = o->result.existing,
                              .fetcher = o->fetcher, .response_code = o->response_code,
                              .time_us = o->time_us, .content_type = msg_text(o->content_type),
                              .url_effective = msg_text(o->url_effective)};
    out.digest = msg_text(o->result.existing ? o->result.digest : o->digest);
    worker_outcome(o->all->worker, true, &out);
    worker_count_object(o->all->worker, o->result.bytes);
    FAULT("uploader.receipt.kept");
}

static const char taken_back[] = "its fetcher took back the memory it was in";

/* Drops what there is of it; what is still to come of it is swallowed without another word. */
static void refuse(struct object *o, const char *class, const char *detail, bool retry)
{
    report_failed(o->all, o->d, o->task, class, detail, retry);
    o->refused = o->unwanted = true;
    free_pieces(o->all, &o->pieces);
    o->pieces_end = &o->pieces;
    if (o->busy)
        return;
    if (o->handle)
        o->all->ops->drop(o->handle);
    o->handle = NULL;
    if (o->complete)
        free_object(o);
}

static void finish_job(struct object *o)
{
    free_pieces(o->all, &o->writing);
    if (o->commit && !o->err && o->handle) { /* written; it stays busy until its group is done */
        LL_PREPEND(o->all->group->waiting, o);
        o->all->waiting++;
        return;
    }
    o->busy = false;
    if (o->commit && !o->err) {
        if (!o->foreign)
            report_stored(o); /* committed: true, wanted or not */
        free_object(o);
    } else if (o->unwanted) {
        if (o->handle)
            o->all->ops->drop(o->handle);
        o->handle = NULL;
        if (o->complete || !o->refused)
            free_object(o);
    } else if (o->err) {
        if (space_lacks(o->err))
            space_is_full(o->all->space);
        if (o->foreign)
            free_object(o);
        else
            refuse(o, space_lacks(o->err) ? "full" : "store", strerror(o->err), true);
    } else if (o->recalled) {
        o->foreign ? free_object(o) : refuse(o, "lost", taken_back, true);
    } else {
        hand_in(o);
    }
}

static void finish_group(struct group *g)
{
    struct object *o, *tmp, *members = g->members;
    g->members = NULL;
    g->busy = false;
    LL_FOREACH_SAFE(members, o, tmp)
        finish_job(o);
}

static void hand_in_group(struct group *g)
{
    int count = 0;
    if (g->busy || !g->waiting)
        return;
    while (g->waiting && count++ < STORE_GROUP_MOST) {
        struct object *o = g->waiting;
        LL_DELETE(g->waiting, o);
        g->all->waiting--;
        LL_PREPEND(g->members, o);
    }
    g->busy = true;
    pool_add(g->all->pool, &g->job);
}

void objects_collect(struct objects *all)
{
    for (struct job *j = pool_done(all->pool), *next; j; j = next) {
        next = j->next;
        if (j->run == run_group)
            finish_group((struct group *)j);
        else
            finish_job((struct object *)j);
    }
    hand_in_group(all->group);
}

/* Chunks. */

static struct object *find(struct objects *all, uint64_t d)
{
    struct object *o;
    HASH_FIND(hh, all->table, &d, sizeof d, o);
    return o;
}

static struct object *begin(struct objects *all, const struct msg_chunk *c, uint64_t from)
{
    struct object *o = calloc(1, sizeof *o);
    if (!o)
        say_die(EXIT_TEMP, "out of memory");
    o->all = all;
    o->d = c->d;
    o->task = c->task;
    o->fetcher = from;
    o->pieces_end = &o->pieces;
    o->since_ms = clock_ms();
    o->key = copy_text(c->key);
    o->content_type = copy_text(c->content_type);
    HASH_ADD(hh, all->table, d, sizeof o->d, o);
    all->count++;
    return o;
}

/* Why this chunk cannot be the next one of `o`, or NULL. */
static const char *wrong(const struct object *o, const struct msg_chunk *c, uint64_t from)
{
    if (o->complete || o->fetcher != from || c->offset != o->next_offset ||
        c->first != (o->next_offset == 0 && !o->pieces && !o->busy && !o->handle))
        return "a chunk at the wrong offset";
    if (!c->bytes)
        return taken_back;
    if (c->sum != sum_of(c->bytes, c->len))
        return "a chunk whose sum is wrong";
    if (c->last && c->total != c->offset + c->len)
        return "a body of another length than its last chunk says";
    return NULL;
}

static void add_piece(struct object *o, struct parcel *parcel, const struct msg_chunk *c,
                      struct guest *guest)
{
    assert(o->d == c->d && !o->refused);
    struct piece *p = malloc(sizeof *p);
    if (!p)
        say_die(EXIT_TEMP, "out of memory");
    *p = (struct piece){.parcel = parcel, .bytes = c->bytes, .len = c->len};
    if (c->seq) {
        p->guest = guest;
        p->at = c->at;
        p->seq = c->seq;
        guest_hold(guest);
        o->all->buffered_bytes += c->len;
    }
    parcel->pieces++;
    *o->pieces_end = p;
    o->pieces_end = &p->next;
}

/* Whether it was kept. */
static bool take_chunk(struct objects *all, struct parcel *parcel, const struct msg_chunk *c,
                       uint64_t from, struct guest *guest)
{
    struct object *o = find(all, c->d);
    const char *why = NULL;
    bool fresh = !o;
    if (!o)
        o = begin(all, c, from);
    if (c->last && o->refused)
        o->complete = true;
    if (!o->unwanted)
        why = wrong(o, c, from);
    if (fresh && !why && !store_key_ok(c->key.s, c->key.len)) {
        o->complete = c->last;
        refuse(o, "store", "the key has characters that no name of ours has", false);
    } else if (why) {
        o->complete |= c->last;
        refuse(o, "lost", why, true);
    } else if (o->unwanted) {
        if (o->complete && !o->busy)
            free_object(o);
    } else {
        o->next_offset += c->len;
        if (c->last) {
            o->complete = true;
            o->since_ms = clock_ms();
            o->response_code = c->response_code;
            o->time_us = c->time_us;
            o->url_effective = copy_text(c->url_effective);
            msg_text_copy(c->digest, o->digest, sizeof o->digest);
        }
        add_piece(o, parcel, c, guest);
        hand_in(o);
        return true;
    }
    return false;
}

void objects_chunks(struct objects *all, struct frame *f, const struct msg *m, struct guest *guest)
{
    struct parcel *parcel = malloc(sizeof *parcel);
    if (!parcel)
        say_die(EXIT_TEMP, "out of memory");
    const uint8_t *before = f->data;
    wire_move(&parcel->frame, f);
    parcel->pieces = 1; /* ours */
    all->buffered_bytes += parcel->frame.len;
    for (uint32_t i = 0; i < m->chunks.items.count; i++) {
        struct msg_chunk c = m->chunks.items.v[i];
        if (!c.seq)
            c.bytes = parcel->frame.data + (c.bytes - before);
        else if (guest)
            c.bytes = guest_bytes(guest, c.at, c.len, c.seq);
        bool lent = c.seq && c.bytes;
        if (!take_chunk(all, parcel, &c, m->from, guest) && lent)
            guest_return(guest, c.at, c.seq);
    }
    release(all, parcel);
}

void objects_cancel(struct objects *all, uint64_t d)
{
    struct object *o = find(all, d);
    if (!o || (o->busy && o->commit))
        return;
    o->unwanted = true;
    o->refused = false;
    if (!o->busy)
        free_object(o);
}

void objects_reset(struct objects *all)
{
    struct object *o, *tmp;
    HASH_ITER(hh, all->table, o, tmp) {
        o->foreign = true;
        objects_cancel(all, o->d);
    }
}

void objects_open(struct objects *all)
{
    all->group = calloc(1, sizeof *all->group);
    if (!all->group)
        say_die(EXIT_TEMP, "out of memory");
    all->group->all = all;
    all->group->job.run = run_group;
}

void objects_close(struct objects *all)
{
    struct object *o, *tmp;
    HASH_ITER(hh, all->table, o, tmp)
        free_object(o); /* what waited for its group is dropped: it has no receipt */
    free(all->group);
}

void objects_list(const struct objects *all, int64_t age_ms, uint64_t *held, uint64_t *tasks,
                  uint32_t *helds, uint64_t *open, uint32_t *opens, uint32_t most)
{
    int64_t now = clock_ms();
    *helds = *opens = 0;
    for (struct object *o = all->table; o; o = o->hh.next) {
        bool done = o->complete && !o->refused;
        uint32_t *count = done ? helds : opens;
        if (now - o->since_ms < age_ms || *count == most)
            continue;
        if (done)
            tasks[*count] = o->task;
        (done ? held : open)[(*count)++] = o->d;
    }
}

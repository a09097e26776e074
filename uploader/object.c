#include "uploader/object.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lib/fault.h"
#include "lib/say.h"
#include "lib/sum.h"
#include "lib/table.h"
#include "uploader/facts.h"
#include "uploader/piece.h"

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
    struct object *next;               /* of the same group, or spare */

    struct store_facts facts;          /* the store's while busy; its texts are owned */
    struct last last;                  /* what its last chunk said */
    UT_hash_handle hh;
};

/* Objects that are committed together; one group is with the pool at a time, and while it is the
 * next one gathers. */
struct group {
    struct job job;      /* first, as above */
    struct objects *all;
    struct object *waiting, **waiting_end;  /* the longest first */
    struct object *members;
    int64_t since_ms;    /* clock; when the first of those that wait came */
    bool busy;
};

enum { GATHER_MOST_MS = 1000 };

static void free_object(struct object *o)
{
    assert(!o->busy && !o->handle);
    pieces_free(&o->pieces);
    HASH_DEL(o->all->table, o);
    o->all->count--;
    facts_free(&o->facts, &o->last);
    LL_PREPEND(o->all->spare, o);
}

static void run_drop(struct job *job)
{
    struct object *o = (struct object *)job;
    o->all->ops->drop(o->handle);
    o->handle = NULL;
}

/* Drops what the store has of it. True: a thread is at that. */
static bool drop_handle(struct object *o)
{
    if (!o->handle)
        return false;
    o->job.run = run_drop;
    if (o->all->closing) {
        run_drop(&o->job);
        return false;
    }
    o->busy = true;
    pool_add(o->all->pool, &o->job);
    return true;
}

/* Frees it, once the store has nothing of it. */
static void end_object(struct object *o)
{
    o->unwanted = true;
    o->refused = false;
    if (!drop_handle(o))
        free_object(o);
}

/* Writing: in a pool thread. */

static void prepare_commit(const struct object *o, struct store_commit *c)
{
    const char *digest = o->facts.digest, *colon = strchr(digest, ':');
    int kind = colon ? digest_kind(digest, (size_t)(colon - digest)) : DIGEST_NONE;
    *c = (struct store_commit){.object = o->handle, .facts = &o->facts,
                               .kind = kind < 0 ? DIGEST_NONE : (enum digest_kind)kind};
}

static void run(struct job *job)
{
    struct object *o = (struct object *)job;
    const struct store_ops *ops = o->all->ops;
    if (!o->handle && (FAULT_FAILS("uploader.begin") ||
                       !(o->handle = ops->begin(o->all->store, &o->facts))))
        o->err = errno ? errno : EIO;
    for (struct piece *p = o->writing; p && !o->err; p = p->next) {
        if (p->len && (FAULT_FAILS("uploader.write") || ops->write(o->handle, p->bytes, p->len)))
            o->err = errno ? errno : EIO;
        o->recalled |= !piece_holds(p); /* it may have been overwritten while we read it */
    }
    o->commit &= !o->recalled;
    if (o->commit && !o->err && ops->seal && ops->seal(o->handle))
        o->err = errno ? errno : EIO;
    if (o->err && o->handle && ops->explain)
        ops->explain(o->handle, &o->result);
    FAULT("uploader.written");
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
    if (o->complete)
        facts_complete(&o->facts, &o->last, o->next_offset);
    o->busy = true;
    o->job.run = run;
    pool_add(o->all->pool, &o->job);
}

/* Outcomes. */

static void report_failed(const struct object *o, const struct msg_outcome *why)
{
    struct msg_outcome out = *why;
    out.d = o->d;
    out.task = o->task;
    worker_outcome(o->all->worker, false, &out);
}

/* After the commit, never before. */
static void report_stored(struct object *o)
{
    assert(o->complete && o->commit && !o->err && !o->handle);
    const struct store_facts *f = &o->facts;
    const struct store_commit *r = &o->result;
    struct msg_outcome out = {.d = o->d, .task = o->task, .key = msg_text(f->key),
                              .bytes = r->bytes, .existing = r->existing,
                              .place = msg_text(r->place), .fetcher = o->fetcher,
                              .response_code = f->response_code, .time_us = f->time_us,
                              .content_type = msg_text(f->content_type),
                              .url_effective = msg_text(o->last.url_effective)};
    out.digest = msg_text(r->existing ? r->digest : f->digest);
    worker_outcome(o->all->worker, true, &out);
    worker_count_object(o->all->worker, r->bytes);
    FAULT("uploader.receipt.kept");
}

static const char taken_back[] = "its fetcher took back the memory it was in";

/* Drops what there is of it; what is still to come of it is swallowed without another word. */
static void refuse(struct object *o, const struct msg_outcome *why)
{
    report_failed(o, why);
    o->refused = o->unwanted = true;
    pieces_free(&o->pieces);
    o->pieces_end = &o->pieces;
    if (!o->busy && !drop_handle(o) && o->complete)
        free_object(o);
}

/* The store could not take it. No room, or asked for less: no fault of the object's, so a class
 * that costs no try, and the intake is left unread. */
static void fail(struct object *o)
{
    const struct store_commit *r = &o->result;
    bool full = space_lacks(o->err);
    if (full)
        space_is_full(o->all->space);
    else if (r->busy)
        space_rest(o->all->space, (int64_t)r->retry_after_ms);
    struct msg_outcome why = {
        .class = msg_text(full || r->busy ? "full" : r->class ? r->class : "store"),
        .detail = msg_text(r->detail[0] ? r->detail : strerror(o->err)),
        .retry = full || r->busy || !r->final,
        .retry_after_ms = r->retry_after_ms};
    if (o->foreign)
        end_object(o);
    else
        refuse(o, &why);
}

/* Written; it stays busy until its group is done. */
static void join_group(struct object *o)
{
    struct group *g = o->all->group;
    if (!g->waiting)
        g->since_ms = clock_ms();
    o->next = NULL;
    *g->waiting_end = o;
    g->waiting_end = &o->next;
    o->all->waiting++;
}

static void finish_job(struct object *o)
{
    pieces_free(&o->writing);
    if (o->commit && !o->err && o->handle) {
        join_group(o);
        return;
    }
    o->busy = false;
    if (o->commit && !o->err) {
        if (!o->foreign)
            report_stored(o); /* committed: true, wanted or not */
        free_object(o);
    } else if (o->unwanted) {
        if (!drop_handle(o) && (o->complete || !o->refused))
            free_object(o);
    } else if (o->recalled) { /* whatever the store says of what was not what was sent */
        if (o->foreign)
            end_object(o);
        else
            refuse(o, &(struct msg_outcome){.class = msg_text("lost"), .retry = true,
                                            .detail = msg_text(taken_back)});
    } else if (o->err) {
        fail(o);
    } else {
        hand_in(o);
    }
}

static void finish_group(struct group *g)
{
    struct object *o, *next, *members = g->members;
    g->members = NULL;
    g->busy = false;
    for (o = members; o; o = next) {
        next = o->next;
        finish_job(o);
    }
}

/* When the group that gathers should go; INT64_MAX: nothing waits, or one is with the pool. */
static int64_t group_due_ms(const struct objects *all)
{
    const struct group *g = all->group;
    if (g->busy || !g->waiting)
        return INT64_MAX;
    if (all->waiting >= STORE_GROUP_MOST || !all->ops->gather_ms)
        return 0;
    int64_t gather_ms = all->ops->gather_ms(all->store);
    return g->since_ms + (gather_ms < GATHER_MOST_MS ? gather_ms : GATHER_MOST_MS);
}

int64_t objects_sleep_ms(const struct objects *all)
{
    int64_t due_ms = group_due_ms(all), now = clock_ms();
    return due_ms == INT64_MAX ? INT32_MAX : due_ms <= now ? 0 : due_ms - now;
}

static void hand_in_group(struct group *g)
{
    struct objects *all = g->all;
    if (group_due_ms(all) > clock_ms())
        return;
    struct object **end = &g->members;
    for (int count = 0; g->waiting && count < STORE_GROUP_MOST; count++) {
        *end = g->waiting;
        end = &g->waiting->next;
        g->waiting = g->waiting->next;
        all->waiting--;
    }
    *end = NULL;
    if (!g->waiting)
        g->waiting_end = &g->waiting;
    g->since_ms = 0; /* of the rest, if there is one: it has waited, and goes next */
    g->busy = true;
    pool_add(all->pool, &g->job);
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
    struct object *o = all->spare;
    if (o)
        LL_DELETE(all->spare, o);
    else if (!(o = malloc(sizeof *o)))
        say_die(EXIT_TEMP, "out of memory");
    *o = (struct object){.all = all, .d = c->d, .task = c->task, .fetcher = from,
                         .since_ms = clock_ms()};
    o->pieces_end = &o->pieces;
    facts_first(&o->facts, c, all->ops->wants_head);
    o->facts.member = worker_member(all->worker);
    o->facts.serial = ++all->begun;
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

static void add_piece(struct object *o, struct parcel *parcel, const struct msg_chunk *c)
{
    assert(o->d == c->d && !o->refused);
    struct piece *p = parcel_keep(parcel, c);
    *o->pieces_end = p;
    o->pieces_end = &p->next;
}

static void take_chunk(struct objects *all, struct parcel *parcel, const struct msg_chunk *c,
                       uint64_t from)
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
        refuse(o, &(struct msg_outcome){
            .class = msg_text("store"),
            .detail = msg_text("the key has characters that no name of ours has")});
    } else if (why) {
        o->complete |= c->last;
        refuse(o, &(struct msg_outcome){.class = msg_text("lost"), .detail = msg_text(why),
                                        .retry = true});
    } else if (o->unwanted) {
        if (o->complete && !o->busy)
            free_object(o);
    } else {
        o->next_offset += c->len;
        if (c->last) {
            o->complete = true;
            o->since_ms = clock_ms();
            facts_last(&o->last, c);
        }
        add_piece(o, parcel, c);
        hand_in(o);
    }
}

void objects_chunks(struct objects *all, struct frame *f, const struct msg *m, struct guest *guest)
{
    struct parcel *parcel = parcel_open(f, guest, &all->buffered_bytes);
    for (uint32_t i = 0; i < m->chunks.items.count; i++) {
        struct msg_chunk c = m->chunks.items.v[i];
        parcel_find(parcel, &c);
        take_chunk(all, parcel, &c, m->from);
    }
    parcel_close(parcel);
}

void objects_cancel(struct objects *all, uint64_t d)
{
    struct object *o = find(all, d);
    if (!o || (o->busy && o->commit))
        return;
    o->unwanted = true;
    o->refused = false;
    if (!o->busy)
        end_object(o);
}

/* The next run's dispatches may have the same numbers, so what a thread is still at gets one that
 * no dispatch has: those are 2^40 and above. */
static void make_foreign(struct object *o)
{
    struct objects *all = o->all;
    HASH_DEL(all->table, o);
    o->foreign = true;
    o->d = ++all->foreign;
    HASH_ADD(hh, all->table, d, sizeof o->d, o);
}

void objects_reset(struct objects *all)
{
    struct object *o, *tmp;
    HASH_ITER(hh, all->table, o, tmp)
        if (!o->foreign) {
            make_foreign(o);
            objects_cancel(all, o->d);
        }
}

void objects_open(struct objects *all)
{
    all->group = calloc(1, sizeof *all->group);
    if (!all->group)
        say_die(EXIT_TEMP, "out of memory");
    all->group->all = all;
    all->group->waiting_end = &all->group->waiting;
    all->group->job.run = run_group;
}

void objects_close(struct objects *all)
{
    struct object *o, *tmp;
    objects_reset(all);
    pool_go(all->pool);
    pool_stop(all->pool);
    all->closing = true;
    objects_collect(all);
    HASH_ITER(hh, all->table, o, tmp) {
        o->busy = false; /* what waited for its group is dropped: it has no receipt */
        end_object(o);
    }
    LL_FOREACH_SAFE(all->spare, o, tmp)
        free(o);
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
        if (o->foreign || now - o->since_ms < age_ms || *count == most)
            continue;
        if (done)
            tasks[*count] = o->task;
        (done ? held : open)[(*count)++] = o->d;
    }
}

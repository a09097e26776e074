/* uploader - puts an object into the store and only then sends the receipt.
 *
 * Powers: binds an inbox and an intake, connects to the feeder's inbox, writes below DEST. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fault.h"
#include "lib/heap.h"
#include "lib/opt.h"
#include "lib/pool.h"
#include "lib/say.h"
#include "lib/share.h"
#include "lib/stop.h"
#include "lib/table.h"
#include "lib/wire.h"
#include "lib/worker.h"
#include "uploader/object.h"
#include "uploader/space.h"
#include "uploader/store.h"
#include "uploader/upstream.h"

enum {
    TAKE_MS = 5,               /* a turn reads the intake no longer than this */
    LIST_MOST = 100000,        /* d's in a beat */
    UNCOVERED_MOST = 100000,   /* more outcomes kept: the intake is left unread */
    COVER_MS = 5000,           /* a leaving uploader waits so long for `done` */
    FRAME_EXTRA = 512 << 10,   /* a chunk's map beside its body */
};

static struct {
    const char *intake;
    int64_t threads, buffer_bytes, hwm, min_free_bytes;
    bool join;
    struct store_settings store;
} settings = {.buffer_bytes = 64 << 20, .hwm = 4, .min_free_bytes = 64 << 20};

static const struct opt options[] = {
    {"intake", 0, "ENDPOINT", OPT_TEXT, &settings.intake, 0, 0,
     "where to listen for chunks (default: beside --at, or any tcp port)"},
    {"parallel", 'j', "N", OPT_INT, &settings.threads, 1, 256,
     "calls into the store at once (4; http and s3: 16)"},
    {"buffer", 0, "BYTES", OPT_BYTES, &settings.buffer_bytes, 1 << 20, INT64_MAX / 4,
     "bytes received and not stored, at most; then chunks are left unread (64M)"},
    {"hwm", 0, "N", OPT_INT, &settings.hwm, 1, 10000, "chunks queued per fetcher (4)"},
    {"min-free", 0, "BYTES", OPT_BYTES, &settings.min_free_bytes, 0, INT64_MAX / 4,
     "leave so much of the store's disk free: below it, wait (64M)"},
    {"join", 0, NULL, OPT_FLAG, &settings.join, 0, 0,
     "take part in a run whose other uploaders have another DEST"},
    {"overwrite", 0, NULL, OPT_FLAG, &settings.store.overwrite, 0, 0,
     "replace objects that are there already"},
    {"fsync", 0, NULL, OPT_FLAG, &settings.store.fsync, 0, 0,
     "send receipts only for what would survive a power loss"},
    {0},
};

/* The stores' own options come after ours, each store's under its DEST. */
static int read_options(int argc, char **argv)
{
    static const struct opt *tables[OPT_TABLES_MOST] = {worker_options, options,
                                                        upstream_options};
    static const char *headings[OPT_TABLES_MOST] = {[2] = "http and s3"};
    static char about[4096] = "Stores what the fetchers bring. DEST is one of\n";
    size_t len = strlen(about);
    store_usage(about + len, sizeof about - len);
    store_options(tables, headings, 3);
    const struct opt_program program = {
        "uploader", "[options] DEST", about,
        "examples:\n"
        "  uploader dir:out &\n"
        "  uploader --at tcp://127.0.0.1:5555 --fsync dir:/data &\n",
        tables, headings};
    return opt_parse(&program, argc, argv);
}

/* What is known of one fetcher. */
struct peer {
    uint64_t id, mark;   /* last n read from it */
    int64_t heard_ms;    /* patience */
    bool closed;         /* has nothing open for us and will send nothing more */
    struct guest *guest; /* its memory; NULL: none, or out of reach */
    bool asked;          /* guest_open() was tried */
    UT_hash_handle hh;
};

struct uploader {
    struct loop *loop;
    struct worker *worker;
    struct wire *intake;
    struct msg_reader *reader;
    struct pool *pool;
    struct objects objects;
    struct spools spools;
    struct space space;
    struct peer *peers;          /* by id; owned */
    uint64_t *fetchers;          /* alive, as of the last news; owned */
    uint32_t fetcher_count;
    int stop_fd;
    int64_t covering_since_ms;   /* clock; leaving and waiting for `done` alone since */
    bool reading;                /* as said in the last beat */
    struct msg_mark *marks;      /* a beat's lists; owned */
    uint64_t held[LIST_MOST], held_tasks[LIST_MOST], open[LIST_MOST];  /* likewise */
};

/* The intake. */

static bool may_read(struct uploader *u)
{
    return space_is_there(&u->space) &&
           u->objects.buffered_bytes + spools_bytes(&u->spools) <
               (uint64_t)settings.buffer_bytes &&
           u->objects.waiting < 2 * STORE_GROUP_MOST &&
           worker_uncovered(u->worker) < UNCOVERED_MOST;
}

static struct peer *peer_of(struct uploader *u, uint64_t id)
{
    struct peer *p;
    HASH_FIND(hh, u->peers, &id, sizeof id, p);
    if (!p && (p = calloc(1, sizeof *p))) {
        p->id = id;
        HASH_ADD(hh, u->peers, id, sizeof p->id, p);
    }
    if (!p)
        say_die(EXIT_TEMP, "out of memory");
    return p;
}

/* Takes a frame of the intake. */
static void take_frame(struct uploader *u, struct frame *f)
{
    struct msg m;
    const char *why = "another's";
    if (msg_read(u->reader, f->data, f->len, &m, &why) || m.kind != MSG_CHUNKS ||
        m.to != worker_member(u->worker) || memcmp(m.run, worker_run(u->worker), ID_RUN_BYTES) ||
        m.chunks.n <= peer_of(u, m.from)->mark) {
        say(SAY_DEBUG, "dropped a message (%s)", why);
        worker_count_dropped(u->worker);
        wire_release(f);
        return;
    }
    struct peer *p = peer_of(u, m.from);
    p->mark = m.chunks.n;
    p->heard_ms = worker_now_ms(u->worker);
    p->closed = m.chunks.closed;
    if (m.chunks.share.len && !p->asked) {
        p->asked = true;
        p->guest = guest_open(m.chunks.share.s, m.chunks.share.len, m.from, m.to);
    }
    FAULT_IF(m.chunks.items.count, "uploader.chunks.taken");
    if (m.chunks.items.count)
        objects_chunks(&u->objects, f, &m, p->guest);
    wire_release(f);
}

static void take_chunks(struct uploader *u)
{
    struct frame f = {0};
    int64_t until_ms = clock_ms() + TAKE_MS;
    while (may_read(u) && wire_recv(u->intake, &f) == 1) {
        take_frame(u, &f);
        if (clock_ms() >= until_ms)
            break;
    }
    if (may_read(u) != u->reading)
        worker_beat_soon(u->worker, false);
}

/* The worker's role. */

static void on_news(void *arg, const struct msg_news *n)
{
    struct uploader *u = arg;
    for (uint32_t i = 0; i < n->cancel.count; i++)
        objects_cancel(&u->objects, n->cancel.v[i]);
    uint64_t *v = realloc(u->fetchers, (n->fetchers.count + 1) * sizeof *v);
    if (!v)
        say_die(EXIT_TEMP, "out of memory");
    if (n->fetchers.count)
        memcpy(v, n->fetchers.v, n->fetchers.count * sizeof *v);
    u->fetchers = v;
    u->fetcher_count = n->fetchers.count;
}

static void on_reset(void *arg)
{
    struct uploader *u = arg;
    objects_reset(&u->objects);
    u->fetcher_count = 0;
}

static bool is_alive(const struct uploader *u, uint64_t fetcher)
{
    for (uint32_t i = 0; i < u->fetcher_count; i++)
        if (u->fetchers[i] == fetcher)
            return true;
    return false;
}

static void forget(struct uploader *u, struct peer *p)
{
    HASH_DEL(u->peers, p);
    guest_drop(p->guest);
    free(p);
}

/* Forgets fetchers that are neither in the news nor heard for a lease. */
static void forget_peers(struct uploader *u)
{
    struct peer *p, *tmp;
    HASH_ITER(hh, u->peers, p, tmp)
        if (!is_alive(u, p->id) &&
            worker_now_ms(u->worker) - p->heard_ms > worker_lease_ms(u->worker))
            forget(u, p);
}

static void fill_beat(void *arg, struct msg_beat *b)
{
    struct uploader *u = arg;
    uint32_t count = 0;
    forget_peers(u);
    struct msg_mark *marks = realloc(u->marks, (HASH_COUNT(u->peers) + 1) * sizeof *marks);
    if (!marks)
        say_die(EXIT_TEMP, "out of memory");
    u->marks = marks;
    if (b->read.count)
        marks[count++] = b->read.v[0]; /* the feeder */
    for (struct peer *p = u->peers; p; p = p->hh.next)
        marks[count++] = (struct msg_mark){p->id, p->mark};
    b->read.v = marks;
    b->read.count = count;
    objects_list(&u->objects, 3 * worker_beat_ms(u->worker), u->held, u->held_tasks,
                 &b->held.count, u->open, &b->open.count, LIST_MOST);
    b->held.v = u->held;
    b->held_tasks = (struct msg_numbers){u->held_tasks, b->held.count};
    b->open.v = u->open;
    b->reading = u->reading = may_read(u);
    b->join = settings.join;
    b->heads = u->objects.ops->wants_head;
}

/* Leaving: fetchers have said that nothing more comes, nothing is held, `done` covers all. */
static bool all_closed(const struct uploader *u)
{
    for (uint32_t i = 0; i < u->fetcher_count; i++) {
        struct peer *p;
        HASH_FIND(hh, u->peers, &u->fetchers[i], sizeof(uint64_t), p);
        if (!p || !p->closed)
            return false;
    }
    return true;
}

static void leave_if_empty(struct uploader *u)
{
    if (!worker_leaving(u->worker) || u->objects.count || !all_closed(u))
        return;
    if (!u->covering_since_ms)
        u->covering_since_ms = clock_ms();
    FAULT("uploader.leaving.closed");
    if (!worker_uncovered(u->worker) || clock_ms() - u->covering_since_ms > COVER_MS)
        worker_empty(u->worker);
}

static void heed_signals(struct uploader *u)
{
    int asked = stop_asked(u->stop_fd);
    if (asked == 1 && !worker_leaving(u->worker)) {
        say(SAY_INFO, "stopping: finishing what is held (again: now)");
        worker_leave(u->worker);
    }
    if (asked >= 2)
        worker_empty(u->worker);
}

static void wake(void *arg, int fd, int ready)
{
    (void)fd, (void)ready;
    if (arg)
        wire_ready(arg);
}

static void wait_for_news(struct uploader *u)
{
    int64_t sleep_ms = worker_sleep_ms(u->worker);
    if (may_read(u) && wire_ready(u->intake))
        sleep_ms = 0;
    if (pool_sleep_ms(u->pool) < sleep_ms)
        sleep_ms = pool_sleep_ms(u->pool);
    if (space_sleep_ms(&u->space) < sleep_ms)
        sleep_ms = space_sleep_ms(&u->space);
    if (objects_sleep_ms(&u->objects) < sleep_ms)
        sleep_ms = objects_sleep_ms(&u->objects);
    loop_wait(u->loop, sleep_ms);
}

static void open_all(struct uploader *u, int argc, char **argv)
{
    static const struct worker_role role = {"uploader", NULL, NULL, on_news, on_reset, fill_beat};
    struct worker_role mine = role;
    char at[PLACE_MAX], bind_to[PLACE_MAX], public[PLACE_MAX];
    const char *place;
    int first = read_options(argc, argv);
    say_setup("uploader", SAY_INFO, false);
    uint64_t member = id_member();
    if (argc - first != 1)
        say_die(EXIT_USAGE, "give one DEST, such as dir:out (uploader --help says more)");
    u->objects.ops = store_find(argv[first], &place);
    if (!u->objects.ops)
        say_die(EXIT_USAGE, "'%s' is no DEST, such as dir:out (uploader --help lists them)",
                argv[first]);
    spools_open(&u->spools, (uint64_t)settings.buffer_bytes / 2, NULL);
    settings.store.dest = argv[first];
    settings.store.member = member;
    if (!settings.threads)
        settings.threads = u->objects.ops->threads ? u->objects.ops->threads : 4;
    settings.store.threads = (int)settings.threads;
    settings.store.spools = &u->spools;
    u->objects.store = u->objects.ops->open(place, &settings.store);
    if (!u->objects.store)
        exit(say_status(errno)); /* it said why */
    u->stop_fd = stop_open();
    u->loop = loop_open();
    u->reader = msg_reader_open();
    u->pool = pool_open((int)settings.threads);
    if (u->stop_fd < 0 || !u->loop || !u->reader || !u->pool || wire_setup(64))
        say_die(EXIT_TEMP, "cannot start: %s", strerror(errno));
    place_at(worker_settings.at, at);
    if (settings.intake)
        snprintf(bind_to, sizeof bind_to, "%s", settings.intake);
    else
        place_beside(at, "intake", member, bind_to);
    place_check("intake", bind_to, worker_settings.insecure);
    struct wire_limits limits = {(int)settings.hwm, MSG_CHUNK_MOST + FRAME_EXTRA};
    u->intake = wire_open(WIRE_INTAKE, bind_to, limits);
    if (!u->intake)
        say_die(say_status(errno), "cannot listen at %s: %s", bind_to, wire_strerror(errno));
    place_public(wire_endpoint(u->intake), at, worker_settings.advertise, public);
    mine.arg = u;
    u->worker = worker_open(&mine, u->loop, member, public, argv[first]);
    u->objects.worker = u->worker;
    u->objects.pool = u->pool;
    u->objects.grouped = u->objects.ops->grouped ||
                         (settings.store.fsync && !u->objects.ops->single);
    u->space = (struct space){.ops = u->objects.ops, .store = u->objects.store,
                              .min_free_bytes = settings.min_free_bytes};
    u->objects.space = &u->space;
    objects_open(&u->objects);
    if (loop_watch(u->loop, u->stop_fd, LOOP_READ, wake, NULL) ||
        loop_watch(u->loop, wire_fd(u->intake), LOOP_READ, wake, u->intake) ||
        loop_watch(u->loop, pool_fd(u->pool), LOOP_READ, wake, NULL))
        say_die(EXIT_TEMP, "epoll: %s", strerror(errno));
}

static void close_all(struct uploader *u)
{
    if (u->objects.ops->abandon)
        u->objects.ops->abandon(u->objects.store);
    objects_close(&u->objects);
    pool_close(u->pool);
    worker_close(u->worker);
    place_remove(wire_endpoint(u->intake), false);
    wire_close(&u->intake, 0);
    wire_teardown();
    u->objects.ops->close(u->objects.store);
    struct peer *p, *tmp;
    HASH_ITER(hh, u->peers, p, tmp)
        forget(u, p);
    free(u->fetchers);
    free(u->marks);
    msg_reader_close(u->reader);
    loop_close(u->loop);
}

int main(int argc, char **argv)
{
    static struct uploader u;
    int status;
    heap_setup();
    open_all(&u, argc, argv);
    for (;;) {
        worker_listen(u.worker);
        heed_signals(&u);
        objects_collect(&u.objects);
        take_chunks(&u);
        pool_go(u.pool);
        leave_if_empty(&u);
        worker_tell(u.worker);
        if ((status = worker_finished(u.worker)) >= 0)
            break;
        wait_for_news(&u);
    }
    close_all(&u);
    return status;
}

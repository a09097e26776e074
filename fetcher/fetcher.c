/* fetcher - turns a task into chunks. Keeps no state that matters.
 *
 * Powers: binds an inbox, connects to the feeder's inbox, to uploaders' intakes, and to the
 * origins that the guard permits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fetcher/guard.h"
#include "fetcher/outlet.h"
#include "fetcher/transfer.h"
#include "lib/heap.h"
#include "lib/opt.h"
#include "lib/say.h"
#include "lib/share.h"
#include "lib/stop.h"
#include "lib/version.h"
#include "lib/wakeup.h"
#include "lib/wire.h"
#include "lib/worker.h"
#include "lib/xfer.h"

enum {
    LIST_MOST = MSG_LIST_MOST,
};

static struct {
    int64_t parallel, chunk_bytes, hwm, max_bytes;
    int64_t total_ms, connect_ms, stall_bytes, stall_ms, max_redirects;
    const char *agent, *digest;
    struct opt_list headers, nets;
    bool compressed;
} settings = {.parallel = 200, .chunk_bytes = 256 << 10, .hwm = 64, .total_ms = 3600000,
              .connect_ms = 30000, .stall_bytes = 1, .stall_ms = 30000, .max_redirects = 10,
              .agent = "sluice/" SLUICE_VERSION, .digest = "sha256"};

static const struct opt options[] = {
    {"parallel", 'j', "N", OPT_INT, &settings.parallel, 1, 10000, "transfers at once (200)"},
    {"chunk-size", 0, "BYTES", OPT_BYTES, &settings.chunk_bytes, 4096, MSG_CHUNK_MOST,
     "longest piece of a body in one message (256k)"},
    {"hwm", 0, "N", OPT_INT, &settings.hwm, 1, 100000, "chunks queued per uploader (64)"},
    {"max-time", 'm', "S", OPT_SECONDS, &settings.total_ms, 0, INT64_MAX / 4,
     "seconds a transfer may take, not counting back-pressure (3600; 0: no limit)"},
    {"connect-timeout", 0, "S", OPT_SECONDS, &settings.connect_ms, 1, 86400000,
     "seconds that connecting may take (30)"},
    {"speed-limit", 0, "BYTES", OPT_BYTES, &settings.stall_bytes, 0, INT32_MAX,
     "slower than this, a second, is a stall (1)"},
    {"speed-time", 0, "S", OPT_SECONDS, &settings.stall_ms, 0, 86400000,
     "seconds that a transfer may stall (30; 0: no limit)"},
    {"max-filesize", 0, "BYTES", OPT_BYTES, &settings.max_bytes, 0, INT64_MAX / 4,
     "longest body, counted after decoding (0: no limit)"},
    {"max-redirs", 0, "N", OPT_INT, &settings.max_redirects, 0, 1000,
     "redirects followed (10)"},
    {"user-agent", 'A', "NAME", OPT_TEXT, &settings.agent, 0, 0,
     "what we call ourselves (sluice/" SLUICE_VERSION ")"},
    {"header", 'H', "LINE", OPT_LIST, &settings.headers, 0, 0,
     "a header to send with each request; may be repeated"},
    {"compressed", 0, NULL, OPT_FLAG, &settings.compressed, 0, 0,
     "ask for gzip or deflate, store what was decoded"},
    {"digest", 0, "KIND", OPT_TEXT, &settings.digest, 0, 0,
     "sha256, xxh128, md5 or none (sha256)"},
    {"allow-net", 0, "NET", OPT_LIST, &settings.nets, 0, 0,
     "also connect to loopback, private, or a CIDR; may be repeated"},
    {0},
};

static const struct opt *const tables[] = {worker_options, options, NULL};
static const struct opt_program program = {
    "fetcher", "[options]",
    "Fetches what the feeder hands out and passes the bodies on to the uploaders.",
    "examples:\n"
    "  fetcher &\n"
    "  fetcher -j 64 --max-filesize 100M --at tcp://127.0.0.1:5555 &\n",
    tables, NULL};

struct fetcher {
    struct loop *loop;
    struct worker *worker;
    struct outlets outlets;
    struct transfers transfers;
    struct xfers *xfers;
    struct share share;      /* memory that uploaders of this machine read */
    struct guard guard;
    int stop_fd;
    uint64_t held[LIST_MOST], held_tasks[LIST_MOST];  /* a beat's lists */
    int64_t listed_ms;       /* clock; when a beat last had these */
};

/* The worker's role. */

static void on_task(void *arg, const struct msg_task *t)
{
    struct fetcher *f = arg;
    transfers_task(&f->transfers, t);
}

static void on_news(void *arg, const struct msg_news *n)
{
    struct fetcher *f = arg;
    for (uint32_t i = 0; i < n->cancel.count; i++)
        transfers_cancel(&f->transfers, n->cancel.v[i]);
    outlets_news(&f->outlets, n);
    xfers_want_heads(f->xfers, outlets_want_heads(&f->outlets));
}

static void on_reset(void *arg)
{
    struct fetcher *f = arg;
    transfers_reset(&f->transfers);
    outlets_reset(&f->outlets);
    xfers_want_heads(f->xfers, outlets_want_heads(&f->outlets));
}

/* A lease is ten beats: it is enough to say once a beat what we have, and not whenever slots are
 * free. */
static uint32_t list_held(struct fetcher *f)
{
    int64_t now = clock_ms(), beat_ms = worker_beat_ms(f->worker);
    if (now - f->listed_ms < beat_ms / 2)
        return 0;
    f->listed_ms = now;
    return transfers_list(&f->transfers, 3 * beat_ms, f->held, f->held_tasks, LIST_MOST);
}

static void fill_beat(void *arg, struct msg_beat *b)
{
    struct fetcher *f = arg;
    struct transfers *ts = &f->transfers;
    int64_t room = ts->slots + ts->prefetch - ts->queued_count - ts->running_count;
    b->room = worker_leaving(f->worker) || room < 0 ? 0 : (uint64_t)room;
    b->held.v = f->held;
    b->held_tasks.v = f->held_tasks;
    b->held.count = b->held_tasks.count = list_held(f);
    ts->freed = 0;
}

static void on_lost(void *arg, struct outlet *o)
{
    struct fetcher *f = arg;
    transfers_lost(&f->transfers, o);
}

static bool allow(void *arg, const struct sockaddr *to)
{
    return guard_permits(arg, to);
}

static void heed_signals(struct fetcher *f)
{
    int asked = stop_asked(f->stop_fd);
    if (asked == 1 && !worker_leaving(f->worker)) {
        say(SAY_INFO, "stopping: finishing what has begun (again: now)");
        worker_leave(f->worker);
    }
    if (asked >= 2)
        worker_empty(f->worker);
}

static void leave_if_empty(struct fetcher *f)
{
    if (!worker_leaving(f->worker))
        return;
    transfers_give_back(&f->transfers);
    if (!f->transfers.by_d && !outlets_sent(&f->outlets) && !worker_uncovered(f->worker))
        worker_empty(f->worker);
}

static void wake(void *arg, int fd, int ready)
{
    (void)arg, (void)fd, (void)ready;
}

static void wait_for_news(struct fetcher *f)
{
    int64_t sleep_ms = worker_sleep_ms(f->worker), xfers_ms = xfers_sleep_ms(f->xfers);
    int64_t flush_ms = outlets_sleep_ms(&f->outlets);
    int64_t company_ms = transfers_sleep_ms(&f->transfers);
    if (xfers_ms < sleep_ms)
        sleep_ms = xfers_ms;
    if (company_ms < sleep_ms)
        sleep_ms = company_ms;
    loop_wait(f->loop, flush_ms < sleep_ms ? flush_ms : sleep_ms);
}

static void open_all(struct fetcher *f, int argc, char **argv)
{
    int first = opt_parse(&program, argc, argv);
    say_setup("fetcher", SAY_INFO, false);
    if (first < argc)
        say_die(EXIT_USAGE, "'%s': a fetcher takes options only; the feeder takes the list",
                argv[first]);
    int digest = digest_kind(settings.digest, strlen(settings.digest));
    if (digest < 0)
        say_die(EXIT_USAGE, "--digest: '%s' is none of sha256, xxh128, md5, none",
                settings.digest);
    for (int i = 0; i < settings.nets.count; i++)
        if (guard_allow(&f->guard, settings.nets.items[i]))
            say_die(EXIT_USAGE, "--allow-net: '%s' is neither loopback, private nor a CIDR",
                    settings.nets.items[i]);
    struct xfer_settings xs = {
        .parallel = (int)settings.parallel, .connect_ms = settings.connect_ms,
        .total_ms = settings.total_ms, .stall_ms = settings.stall_ms,
        .stall_bytes = settings.stall_bytes, .max_redirects = settings.max_redirects,
        .agent = settings.agent, .headers = &settings.headers,
        .compressed = settings.compressed, .allow = allow, .arg = &f->guard};
    static const struct worker_role role = {"fetcher", NULL, on_task, on_news, on_reset, fill_beat};
    struct worker_role mine = role;
    mine.arg = f;
    f->stop_fd = stop_open();
    f->loop = loop_open();
    if (f->stop_fd < 0 || !f->loop || wire_setup(4096) ||
        !(f->xfers = xfers_open(f->loop, &xs, &transfer_calls)))
        say_die(EXIT_TEMP, "cannot start: %s", strerror(errno));
    xfers_want_heads(f->xfers, true); /* until we know the uploaders */
    f->worker = worker_open(&mine, f->loop, id_member(), NULL, NULL);
    if (share_open(&f->share, worker_member(f->worker),
                   OUTLET_HEAD_ROOM + (size_t)settings.chunk_bytes,
                   (uint32_t)(settings.parallel + settings.hwm)))
        say(SAY_INFO, "no memory to share, so bodies are sent: %s", strerror(errno));
    f->outlets = (struct outlets){.loop = f->loop, .worker = f->worker, .share = &f->share,
                                  .hwm = (int)settings.hwm,
                                  .next_n = 1, .head = buf_make(MSG_HEAD_MOST), .lost = on_lost,
                                  .arg = f};
    f->transfers = (struct transfers){.worker = f->worker, .outlets = &f->outlets,
                                      .xfers = f->xfers, .slots = settings.parallel,
                                      .bodies = {.chunk_bytes = (size_t)settings.chunk_bytes,
                                                 .max_bytes = settings.max_bytes,
                                                 .kind = (enum digest_kind)digest}};
    if (transfers_open(&f->transfers))
        say_die(EXIT_TEMP, "out of memory");
    if (loop_watch(f->loop, f->stop_fd, LOOP_READ, wake, NULL))
        say_die(EXIT_TEMP, "epoll: %s", strerror(errno));
}

static void close_all(struct fetcher *f)
{
    transfers_close(&f->transfers);
    outlets_close(&f->outlets);
    share_close(&f->share);
    xfers_close(f->xfers);
    worker_close(f->worker);
    wire_teardown();
    loop_close(f->loop);
}

int main(int argc, char **argv)
{
    static struct fetcher f;
    int status;
    heap_setup();
    wakeup_politely(); /* else each answer of an origin on this machine interrupts it: 4 % at 4 KiB */
    open_all(&f, argc, argv);
    for (;;) {
        worker_listen(f.worker);
        heed_signals(&f);
        outlets_turn(&f.outlets);
        xfers_turn(f.xfers);
        transfers_turn(&f.transfers);
        outlets_flush(&f.outlets);
        leave_if_empty(&f);
        worker_tell(f.worker);
        if ((status = worker_finished(f.worker)) >= 0)
            break;
        wait_for_news(&f);
    }
    close_all(&f);
    return status;
}

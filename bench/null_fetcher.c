/* null_fetcher - takes every task and says at once that it failed for good: what is left is the
 * feeder's own work, from the list's line to the manifest's. Options as a fetcher's. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/id.h"
#include "lib/say.h"
#include "lib/wire.h"
#include "lib/worker.h"

enum { ROOM = 4096 };

static void on_task(void *arg, const struct msg_task *t)
{
    struct worker **w = arg;
    struct msg_outcome o = {.d = t->d, .task = t->task, .class = msg_text("null")};
    worker_outcome(*w, false, &o);
    worker_beat_soon(*w, true);
}

static void on_news(void *arg, const struct msg_news *n)
{
    (void)arg, (void)n;
}

static void on_reset(void *arg)
{
    (void)arg;
}

static void fill_beat(void *arg, struct msg_beat *b)
{
    (void)arg;
    b->room = ROOM;
}

static const struct opt *const tables[] = {worker_options, NULL};
static const struct opt_program program = {.name = "null_fetcher", .usage = "[options]",
                                           .about = "Fails every task.", .examples = "",
                                           .tables = tables};

int main(int argc, char **argv)
{
    struct worker *w;
    struct loop *loop = loop_open();
    struct worker_role role = {"fetcher", &w, on_task, on_news, on_reset, fill_beat};
    int status;
    opt_parse(&program, argc, argv);
    say_setup("null_fetcher", SAY_INFO, false);
    if (!loop || wire_setup(64))
        say_die(EXIT_TEMP, "cannot start");
    w = worker_open(&role, loop, id_member(), NULL, NULL);
    while (worker_listen(w), worker_tell(w), (status = worker_finished(w)) < 0)
        loop_wait(loop, worker_sleep_ms(w));
    worker_close(w);
    wire_teardown();
    loop_close(loop);
    return status;
}

#include "feeder/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/say.h"

enum { TERMINAL_MS = 500 };

void progress_open(struct progress *p, bool quiet, int64_t stats_ms)
{
    *p = (struct progress){.terminal = isatty(STDERR_FILENO), .every_ms = quiet ? 0 : stats_ms};
    if (p->terminal && p->every_ms)
        p->every_ms = TERMINAL_MS;
    p->started_ms = p->last_ms = clock_ms();
}

static void eta(char *out, size_t size, int64_t elapsed_ms, int64_t offset, int64_t list_bytes)
{
    if (list_bytes <= 0 || offset <= 0) {
        out[0] = '\0';
        return;
    }
    double part = (double)offset / (double)list_bytes;
    long long left_s = (long long)((double)elapsed_ms * (1 - part) / part / 1000);
    snprintf(out, size, ", %.1f%%, ETA %lld:%02lld:%02lld", part * 100, left_s / 3600,
             left_s / 60 % 60, left_s % 60);
}

void progress_tick(struct progress *p, const struct ledger *l, unsigned in_flight,
                   int64_t offset, int64_t size)
{
    int64_t now = clock_ms();
    if (!p->every_ms || now - p->last_ms < p->every_ms)
        return;
    char line[256], rest[64];
    uint64_t done = l->delivered + l->failed;
    double rate = (double)(done - p->last_done) * 1000 / (double)(now - p->last_ms);
    eta(rest, sizeof rest, now - p->started_ms, offset, size);
    snprintf(line, sizeof line, "%llu done, %llu failed, %u in flight, %.0f/s%s",
             (unsigned long long)done, (unsigned long long)l->failed, in_flight, rate, rest);
    p->last_ms = now;
    p->last_done = done;
    if (!p->terminal) {
        say(SAY_INFO, "%s", line);
        return;
    }
    fprintf(stderr, "\r%-79.79s", line);
    p->shown = true;
}

void progress_close(struct progress *p)
{
    if (p->shown)
        fputc('\n', stderr);
    p->shown = false;
}

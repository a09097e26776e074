#include "feeder/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/opt.h"
#include "lib/say.h"

struct settings settings = {.log_format = "text", .ready_fd = -1, .window = 10000, .retry = 3,
                            .retry_delay_ms = 1000, .lease_ms = 10000, .stats_ms = 30000,
                            .classes = ""};

static const struct opt options[] = {
    {"at", 0, "ENDPOINT", OPT_TEXT, &settings.at, 0, 0,
     "our inbox, ipc:// or tcp:// (default: named after this directory; env SLUICE_AT)"},
    {"insecure", 0, NULL, OPT_FLAG, &settings.insecure, 0, 0,
     "allow tcp beyond loopback, unencrypted"},
    {"journal", 0, "DIR", OPT_TEXT, &settings.journal, 0, 0,
     "keep manifest.jsonl, failed and a checkpoint there: the same command again goes on"},
    {"retry-failed", 0, "JOURNAL", OPT_TEXT, &settings.retry_failed, 0, 0,
     "the list is what failed for good there (a journal, or a manifest)"},
    {"class", 0, "NAMES", OPT_TEXT, &settings.classes, 0, 0,
     "of --retry-failed only these classes, comma-separated (all)"},
    {"joblog", 0, "FILE", OPT_TEXT, &settings.joblog, 0, 0,
     "append GNU parallel's nine columns for each settled line"},
    {"window", 0, "N", OPT_INT, &settings.window, 1, 1000000,
     "tasks read and not settled, at most (10000)"},
    {"pace", 0, "RULE", OPT_TEXT, &settings.pace, 0, 0,
     "unbounded, sleep:PAUSE, batch:N, semaphore:N, pool:N or queue: when the next is handed out "
     "(queue)"},
    {"retry", 0, "N", OPT_INT, &settings.retry, 0, 1000,
     "tries after the first, for what may pass (3)"},
    {"retry-delay", 0, "S", OPT_SECONDS, &settings.retry_delay_ms, 0, 3600000,
     "longest wait before the first retry, doubled each time (1)"},
    {"lease", 0, "S", OPT_SECONDS, &settings.lease_ms, 100, 3600000,
     "a task nobody gives evidence of for S seconds is handed out again (10)"},
    {"stats", 0, "S", OPT_SECONDS, &settings.stats_ms, 0, 86400000,
     "seconds between progress lines where stderr is no terminal (30; 0: none)"},
    {"ready-fd", 0, "N", OPT_INT, &settings.ready_fd, 0, 1 << 20,
     "write a newline to this descriptor when listening"},
    {"quiet", 'q', NULL, OPT_FLAG, &settings.quiet, 0, 0, "errors, warnings and the ledger only"},
    {"verbose", 'v', NULL, OPT_FLAG, &settings.verbose, 0, 0, "say more"},
    {"log-format", 0, "text|json", OPT_TEXT, &settings.log_format, 0, 0,
     "how stderr is written (text)"},
    {0},
};

static const struct opt *const tables[] = {options, NULL};
static const struct opt_program program = {
    "feeder", "[options] [LIST|-]...",
    "Hands out a list of URLs to fetchers; writes one JSON line per URL on stdout,\n"
    "or with --journal into a directory from which the same command goes on.",
    "examples:\n"
    "  fetcher & fetcher & uploader dir:out & feeder urls.txt > manifest.jsonl\n"
    "  zcat urls.gz | feeder > manifest.jsonl\n"
    "  feeder --journal run urls.txt\n"
    "  feeder --journal again --retry-failed run --class http,timeout\n",
    tables, NULL};

/* A name that no failure has would quietly select nothing. */
static void check_classes(const char *names)
{
    static const char known[] = ",input,http,dns,connect,tls,timeout,cut,paused,redirect,refused,"
                                "too-large,encoding,store,lost,transfer,";
    char name[32];
    for (const char *c = names; *c; c += strspn(c, ",")) {
        size_t len = strcspn(c, ",");
        snprintf(name, sizeof name, ",%.*s,", (int)len, c);
        if (!strstr(known, name))
            say_die(EXIT_USAGE, "--class: '%.*s' is none of %.*s", (int)len, c,
                    (int)sizeof known - 3, known + 1);
        c += len;
    }
}

static void check_options(int lists)
{
    struct stat a, b;
    char why[256];
    bool json = strcmp(settings.log_format, "json") == 0;
    if (!json && strcmp(settings.log_format, "text"))
        say_die(EXIT_USAGE, "--log-format: '%s' is neither text nor json", settings.log_format);
    say_setup("feeder", settings.quiet ? SAY_WARN : settings.verbose ? SAY_DEBUG : SAY_INFO, json);
    if (settings.retry_failed && lists)
        say_die(EXIT_USAGE, "--retry-failed is the list: give no other");
    if (!settings.retry_failed && *settings.classes)
        say_die(EXIT_USAGE, "--class goes with --retry-failed");
    check_classes(settings.classes);
    if (settings.pace && pace_read(&settings.pace_rule, settings.pace, why, sizeof why))
        say_die(EXIT_USAGE, "--pace: '%.100s' %s", settings.pace, why);
    if (settings.retry_failed && settings.journal && !stat(settings.retry_failed, &a) &&
        !stat(settings.journal, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        say_die(EXIT_USAGE, "--retry-failed: '%s' is this run's own journal: give the new run "
                "another --journal", settings.retry_failed);
}

int options_read(int argc, char **argv)
{
    int first = opt_parse(&program, argc, argv);
    check_options(argc - first);
    return first;
}

struct input *options_open_list(char **names, int count)
{
    static char path[4096];
    char *manifest = path;
    struct stat st;
    const char *from = settings.retry_failed;
    if (!from)
        return input_open(names, count, NULL);
    bool dir = stat(from, &st) == 0 && S_ISDIR(st.st_mode);
    snprintf(path, sizeof path, dir ? "%s/manifest.jsonl" : "%s", from);
    return input_open(&manifest, 1, settings.classes);
}

static int write_all(int fd, const char *text, size_t len)
{
    for (ssize_t n; len; text += n, len -= (size_t)n)
        if ((n = write(fd, text, len)) < 0)
            return -1;
    return 0;
}

int options_open_joblog(void)
{
    static const char columns[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\t"
                                  "Signal\tCommand\n";
    struct stat st;
    if (!settings.joblog)
        return -1;
    char last = '\n';
    int fd = open(settings.joblog, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || fstat(fd, &st) ||
        (st.st_size == 0 && write_all(fd, columns, sizeof columns - 1)))
        say_die(say_status(errno), "--joblog: %s: %s", settings.joblog, strerror(errno));
    /* A line that an earlier feeder was killed in is not gone on with. */
    if (S_ISREG(st.st_mode) && st.st_size && pread(fd, &last, 1, st.st_size - 1) == 1 &&
        last != '\n' && write_all(fd, "\n", 1))
        say_die(say_status(errno), "--joblog: %s: %s", settings.joblog, strerror(errno));
    return fd;
}

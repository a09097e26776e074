/* options.h - what a feeder is asked for: the command line, checked, and what it names, opened.
 *
 * Whatever is wrong with it ends the process in words that name the option. */
#ifndef SLUICE_OPTIONS_H
#define SLUICE_OPTIONS_H
#include <stdbool.h>
#include <stdint.h>

#include "feeder/input.h"
#include "feeder/pace.h"

struct settings {
    const char *at, *log_format, *journal, *joblog, *retry_failed, *classes, *pace;
    bool insecure, quiet, verbose;
    int64_t ready_fd, window, retry, retry_delay_ms, lease_ms, stats_ms;
    struct pace_rule pace_rule;   /* of --pace; the default is all zeros */
};

extern struct settings settings;  /* fixed after options_read() */

/* Reads argv, and makes say() heed it. Returns the index of the first operand. */
int options_read(int argc, char **argv);

/* The list: `names`, or what --retry-failed picks. */
struct input *options_open_list(char **names, int count);
/* --joblog, with its header; -1: not asked for. */
int options_open_joblog(void);
#endif

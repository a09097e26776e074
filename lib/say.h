/* say.h - what a program says on stderr: who, what, why; one line each, no clock.
 *
 * Text or JSON Lines. Unprintable bytes never reach the terminal. stdout is for data only. */
#ifndef SLUICE_SAY_H
#define SLUICE_SAY_H
#include <stdbool.h>

enum say_level { SAY_ERROR, SAY_WARN, SAY_INFO, SAY_DEBUG };

/* `who`: the program's name (borrowed, must live as long as the process). */
void say_setup(const char *who, enum say_level most, bool json);

/* 1 if lines of this level are printed. */
bool say_on(enum say_level level);

void say(enum say_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* We cannot run: says it and ends the process with `status` (README, "Exit status"), at once: other
 * threads may be in the midst of what an exit handler would take from them. */
void say_die(int status, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* The status of one who can't use its list, store or address because of the errno `err`: EXIT_TEMP
 * where memory or descriptors lacked, so that who started us tries again; else EXIT_UNUSABLE. */
int say_status(int err);

/* The exit statuses of every program of ours. */
enum exit_status {
    EXIT_ALL = 0,      /* all delivered; for a worker: drained and left */
    EXIT_SOME = 1,     /* finished, some failed for good */
    EXIT_USAGE = 2,
    EXIT_STOPPED = 3,  /* stopped early and drained */
    EXIT_TEMP = 4,     /* temporary, or a peer is gone: trying again may help */
    EXIT_UNUSABLE = 5, /* list or store unusable */
    EXIT_LEDGER = 6,   /* the ledger does not add up: a bug */
};
#endif

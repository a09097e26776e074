#include "lib/fault.h"

#ifdef SLUICE_FAULTS
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/say.h"

enum { FAULTS_MOST = 64, ERRNO_MOST = 4096 };

enum action { KILL, STOP, DELAY, FAIL };

struct fault {
    const char *name, *words;  /* words: the action as it was given */
    unsigned long nth;
    enum action action;
    int value;                 /* DELAY: ms; FAIL: errno */
    atomic_ulong passed;
};

/* Written before main; then only the counts change. */
static struct fault faults[FAULTS_MOST];
static int fault_count;

/* A whole decimal number from `least` to `most`. 0, or -1. */
static int number(const char *text, unsigned long least, unsigned long most, unsigned long *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    *out = strtoul(text, &end, 10);
    return errno || *end || *out < least || *out > most ? -1 : 0;
}

static int errno_of(const char *text)
{
    unsigned long n;
    if (number(text, 1, ERRNO_MOST, &n) == 0)
        return (int)n;
    for (int err = 1; err < ERRNO_MOST; err++) {
        const char *name = strerrorname_np(err);
        if (name && strcmp(name, text) == 0)
            return err;
    }
    return 0;
}

static int read_action(struct fault *f)
{
    unsigned long ms = 0;
    if (strcmp(f->words, "kill") == 0)
        f->action = KILL;
    else if (strcmp(f->words, "stop") == 0)
        f->action = STOP;
    else if (strncmp(f->words, "delay=", 6) == 0 && number(f->words + 6, 0, 3600000, &ms) == 0)
        f->action = DELAY;
    else if (strncmp(f->words, "fail=", 5) == 0 && (f->value = errno_of(f->words + 5)))
        f->action = FAIL;
    else
        return -1;
    if (f->action == DELAY)
        f->value = (int)ms;
    return 0;
}

/* Takes "NAME:N:ACTION" apart in place. 0, or -1. */
static int read_fault(char *text, struct fault *f)
{
    char *nth = strchr(text, ':'), *words = nth ? strchr(nth + 1, ':') : NULL;
    if (!words || nth == text)
        return -1;
    *nth = *words = '\0';
    f->name = text;
    f->words = words + 1;
    if (number(nth + 1, 1, 1000000000, &f->nth) || read_action(f))
        return -1;
    return 0;
}

/* A fault that the run never came to is a test that tests nothing. */
static void say_unreached(void)
{
    for (struct fault *f = faults; f < faults + fault_count; f++)
        if (atomic_load(&f->passed) < f->nth)
            say(SAY_ERROR, "fault: %s:%lu:%s did not come: passed %lu times", f->name, f->nth,
                f->words, atomic_load(&f->passed));
}

/* Before main, so that no program has to know. The copy of the text lives as long as we do. */
__attribute__((constructor)) static void read_environment(void)
{
    const char *given = getenv("SLUICE_FAULT");
    char *text = given ? strdup(given) : NULL;
    for (char *item = text, *next; item; item = next) {
        next = strchr(item, ',');
        if (next)
            *next++ = '\0';
        char copy[128] = "";
        strncat(copy, item, sizeof copy - 1);
        if (fault_count == FAULTS_MOST)
            say_die(EXIT_USAGE, "SLUICE_FAULT: more than %d faults", FAULTS_MOST);
        if (read_fault(item, &faults[fault_count]))
            say_die(EXIT_USAGE, "SLUICE_FAULT: '%s' is not NAME:N:ACTION, with ACTION one of kill, "
                    "stop, delay=MS, fail=ERRNO", copy);
        fault_count++;
    }
    if (fault_count)
        atexit(say_unreached);
}

/* Returns whether a call should fail, with errno set. */
static bool strike(const struct fault *f)
{
    struct timespec t = {f->value / 1000, f->value % 1000 * 1000000L};
    say(SAY_ERROR, "fault: %s:%lu:%s", f->name, f->nth, f->words);
    if (f->action == KILL)
        kill(getpid(), SIGKILL);
    else if (f->action == STOP)
        raise(SIGSTOP); /* to this thread, so that it goes no further */
    else if (f->action == DELAY)
        nanosleep(&t, NULL);
    return f->action == FAIL;
}

bool fault_pass(const char *name, bool can_fail)
{
    int err = errno;
    bool fails = false;
    for (struct fault *f = faults; f < faults + fault_count; f++) {
        if (strcmp(f->name, name) || atomic_fetch_add(&f->passed, 1) + 1 != f->nth)
            continue;
        if (f->action == FAIL && !can_fail)
            say_die(EXIT_USAGE, "SLUICE_FAULT: %s is no call that can fail", name);
        if (strike(f)) {
            fails = true;
            err = f->value;
        }
    }
    errno = err;
    return fails;
}
#endif

#include "lib/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/json.h"

enum { LINE_MAX_BYTES = 4096 };

static const char *me = "sluice";
static enum say_level loudest = SAY_INFO;
static bool as_json;

void say_setup(const char *who, enum say_level most, bool json)
{
    me = who;
    loudest = most;
    as_json = json;
}

bool say_on(enum say_level level)
{
    return level <= loudest;
}

static void put(enum say_level level, char *text)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    char space[LINE_MAX_BYTES * 8]; /* not from the heap: it may be what we have to speak of */
    struct buf line = {.data = space, .room = sizeof space, .max_bytes = sizeof space};
    int bad = as_json ? buf_addf(&line, "{\"level\":\"%s\",\"who\":\"%s\",\"pid\":%d,\"msg\":",
                                 names[level], me, (int)getpid()) ||
                            json_string(&line, text, strlen(text)) || buf_adds(&line, "}\n")
                      : buf_addf(&line, "%s: %s\n", me, text);
    if (!bad) {
        ssize_t n = write(STDERR_FILENO, line.data, line.len);
        (void)n; /* a lost log line is not worth dying for */
    }
}

static void vsay(enum say_level level, const char *format, va_list ap)
{
    char text[LINE_MAX_BYTES];
    vsnprintf(text, sizeof text, format, ap);
    put(level, text);
}

void say(enum say_level level, const char *format, ...)
{
    if (!say_on(level))
        return;
    va_list ap;
    va_start(ap, format);
    vsay(level, format, ap);
    va_end(ap);
}

void say_die(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsay(SAY_ERROR, format, ap);
    va_end(ap);
    _exit(status);
}

int say_status(int err)
{
    bool passes = err == ENOMEM || err == EMFILE || err == ENFILE || err == ENOBUFS;
    return passes ? EXIT_TEMP : EXIT_UNUSABLE;
}

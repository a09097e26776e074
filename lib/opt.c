#include "lib/opt.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/say.h"
#include "lib/version.h"

static const struct opt *nth(const struct opt_program *p, int n)
{
    for (const struct opt *const *t = p->tables; *t; t++)
        for (const struct opt *o = *t; o->name; o++)
            if (n-- == 0)
                return o;
    return NULL;
}

static void print_option(const struct opt *o)
{
    char left[64];
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
             o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->arg ? " " : "",
             o->arg ? o->arg : "");
    printf("  %-32s %s\n", left, o->help);
}

static void print_help(const struct opt_program *p)
{
    printf("usage: %s %s\n%s\n\n%s\noptions:\n", p->name, p->usage, p->about, p->examples);
    for (int i = 0; p->tables[i]; i++) {
        if (p->headings && p->headings[i])
            printf("%s\n", p->headings[i]);
        for (const struct opt *o = p->tables[i]; o->name; o++)
            print_option(o);
    }
    printf("  %-32s %s\n  %-32s %s\n", "-h, --help", "this text", "-V, --version", "the version");
}

static void print_list(const struct opt_program *p)
{
    const struct opt *o;
    for (int i = 0; (o = nth(p, i)); i++)
        printf("%s\t%c\t%s\n", o->name, o->letter ? o->letter : '-', o->arg ? o->arg : "-");
}

int opt_bytes(const char *text, int64_t *bytes)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || errno || value < 0)
        return -1;
    int shift = 0;
    if (*end && strchr("kK", *end))
        shift = 10;
    else if (*end && strchr("mM", *end))
        shift = 20;
    else if (*end && strchr("gG", *end))
        shift = 30;
    if (shift)
        end++;
    if (*end || value > INT64_MAX >> shift)
        return -1;
    *bytes = (int64_t)value << shift;
    return 0;
}

static int number(const struct opt *o, const char *text, int64_t *value)
{
    char *end;
    if (o->type == OPT_BYTES)
        return opt_bytes(text, value);
    errno = 0;
    if (o->type == OPT_SECONDS) {
        double seconds = strtod(text, &end);
        if (end == text || *end || errno || !isfinite(seconds) || fabs(seconds) > 1e12)
            return -1;
        *value = (int64_t)(seconds * 1000 + 0.5);
        return 0;
    }
    *value = strtoll(text, &end, 10);
    return end == text || *end || errno ? -1 : 0;
}

static void take(const struct opt *o, const char *text)
{
    if (o->type == OPT_FLAG) {
        *(bool *)o->to = true;
        return;
    }
    if (o->type == OPT_TEXT) {
        *(const char **)o->to = text;
        return;
    }
    if (o->type == OPT_LIST) {
        struct opt_list *list = o->to;
        if (list->count == OPT_LIST_MOST)
            say_die(EXIT_USAGE, "--%s: given more than %d times", o->name, OPT_LIST_MOST);
        list->items[list->count++] = text;
        return;
    }
    int64_t value = 0;
    if (number(o, text, &value))
        say_die(EXIT_USAGE, "--%s: '%s' is not a %s", o->name, text,
                o->type == OPT_INT ? "whole number" : o->type == OPT_BYTES ? "size (such as 256k)"
                                                                           : "number of seconds");
    if (value < o->min || value > o->max)
        say_die(EXIT_USAGE, "--%s: '%s' is out of range (%lld to %lld%s)", o->name, text,
                (long long)o->min, (long long)o->max, o->type == OPT_SECONDS ? " ms" : "");
    *(int64_t *)o->to = value;
}

/* The word of argv that getopt_long has just read a long option from. */
static const char *word_read(char **argv)
{
    return argv[optind - (optarg && optarg == argv[optind - 1] ? 2 : 1)];
}

static void refuse_abbreviation(char **argv, const char *name)
{
    const char *word = word_read(argv) + 2;
    size_t len = strcspn(word, "=");
    if (len != strlen(name))
        say_die(EXIT_USAGE, "--%.*s: no such option (did you mean --%s?)", (int)len, word, name);
}

int opt_parse(const struct opt_program *p, int argc, char **argv)
{
    struct option longs[OPT_MOST + 4] = {{0}};
    char shorts[2 * OPT_MOST + 8] = ":hV", *s = shorts + 3;
    int count = 0;
    for (const struct opt *o; count < OPT_MOST && (o = nth(p, count)); count++) {
        longs[count] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL,
                                       256 + count};
        if (o->letter) {
            *s++ = o->letter;
            if (o->arg)
                *s++ = ':';
        }
    }
    assert(!nth(p, count));
    longs[count] = (struct option){"help", no_argument, NULL, 'h'};
    longs[count + 1] = (struct option){"version", no_argument, NULL, 'V'};
    longs[count + 2] = (struct option){"list-options", no_argument, NULL, 'L' + 512};
    opterr = 0;
    for (int c, at = -1; (c = getopt_long(argc, argv, shorts, longs, &at)) != -1; at = -1) {
        if (c == '?')
            say_die(EXIT_USAGE, "%s: no such option (%s --help lists them)", argv[optind - 1],
                    p->name);
        if (c == ':')
            say_die(EXIT_USAGE, "%s: needs an argument", argv[optind - 1]);
        if (at >= 0)
            refuse_abbreviation(argv, longs[at].name);
        if (c == 'h' || c == 'V' || c == 'L' + 512) {
            if (c == 'h')
                print_help(p);
            else if (c == 'V')
                printf("%s (sluice) %s\n", p->name, SLUICE_VERSION);
            else
                print_list(p);
            exit(fflush(stdout) ? EXIT_UNUSABLE : 0);
        }
        for (int i = 0; i < count; i++)
            if (c == 256 + i || (c < 256 && nth(p, i)->letter == c))
                take(nth(p, i), optarg);
    }
    return optind;
}

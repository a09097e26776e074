#include "uploader/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/say.h"
#include "uploader/fact.h"

enum { TEXT_MOST = 1 << 20, PATH_BYTES = 4096 };

struct command {
    struct buf words;  /* a NUL after each */
    int count;
    char path[PATH_BYTES];
};

/* Takes the next word from *at; false: there is none. */
static bool take_word(struct buf *to, const char **at, const char *dest)
{
    const char *c = *at + strspn(*at, " \t\n");
    if (!*c)
        return false;
    while (*c && !strchr(" \t\n", *c)) {
        const char *from = c;
        if (*c == '\'' || *c == '"') {
            c = strchr(c + 1, *c);
            if (!c)
                say_die(EXIT_USAGE, "%s: a quote (%c) is not closed", dest, *from);
            buf_add(to, from + 1, (size_t)(c++ - from - 1));
        } else {
            c += strcspn(c, " \t\n'\"");
            buf_add(to, from, (size_t)(c - from));
        }
    }
    buf_add(to, "", 1);
    *at = c;
    return true;
}

/* The {name} at the beginning of `text`: the length of it and the name's, else 0. */
static size_t braced(const char *text, size_t *name_len)
{
    if (*text != '{')
        return 0;
    *name_len = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return *name_len && text[1 + *name_len] == '}' ? *name_len + 2 : 0;
}

static const char *next(const char *word)
{
    return word + strlen(word) + 1;
}

static bool is_shell(const char *name)
{
    static const char *const shells[] = {"sh", "bash", "dash", "ksh", "zsh"};
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(slash ? slash + 1 : name, shells[i]) == 0)
            return true;
    return false;
}

/* The text of sh -c, in which a fact would be code; NULL if there is none. */
static const char *script_of(const struct command *c)
{
    const char *word = c->words.data;
    if (!is_shell(word))
        return NULL;
    for (int i = 1; i < c->count - 1; i++)
        if (strcmp(word = next(word), "-c") == 0)
            return next(word);
    return NULL;
}

static void check_facts(const struct command *c, const char *dest, bool per_object)
{
    size_t first = strlen(c->words.data), name_len;
    const char *script = script_of(c);
    for (size_t i = 0; i < c->words.len; i++) {
        const char *at = c->words.data + i;
        size_t len = braced(at, &name_len);
        if (!len)
            continue;
        if (!per_object)
            say_die(EXIT_USAGE, "%s: %.*s: facts are in the frames here, not among the words", dest,
                    (int)len, at);
        if (i < first)
            say_die(EXIT_USAGE, "%s: %.*s: a fact can't name the command", dest, (int)len, at);
        if (script && at >= script && at < next(script))
            say_die(EXIT_USAGE, "%s: %.*s would be code in there: write \"$SLUICE_...\"", dest,
                    (int)len, at);
        if (fact_find(at + 1, name_len) < 0) {
            char names[FACT_NAMES];
            fact_names(names);
            say_die(EXIT_USAGE, "%s: %.*s is no fact (those are %s)", dest, (int)len, at, names);
        }
    }
}

/* 0, or an errno. */
static int try_path(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return errno;
    if (!S_ISREG(st.st_mode))
        return EACCES;
    return access(path, X_OK) ? errno : 0;
}

static int find(struct command *c)
{
    const char *name = c->words.data, *dirs = getenv("PATH");
    int err = ENOENT;
    if (strlen(name) >= sizeof c->path)
        return ENAMETOOLONG;
    if (strchr(name, '/')) {
        snprintf(c->path, sizeof c->path, "%s", name);
        return try_path(c->path);
    }
    for (const char *d = dirs ? dirs : "/usr/bin:/bin", *end = d; *end; d = end + 1) {
        end = d + strcspn(d, ":");
        int len = (int)(end - d);
        int n = snprintf(c->path, sizeof c->path, "%.*s/%s", len ? len : 1, len ? d : ".", name);
        int now = (size_t)n < sizeof c->path ? try_path(c->path) : ENAMETOOLONG;
        if (!now)
            return 0;
        if (now == EACCES)
            err = now;
    }
    return err;
}

struct command *command_open(const char *text, const char *dest, bool per_object)
{
    struct command *c = calloc(1, sizeof *c);
    int err = ENOMEM;
    if (c) {
        c->words = buf_make(TEXT_MOST);
        for (const char *at = text; take_word(&c->words, &at, dest);)
            c->count++;
        if (c->words.failed)
            err = ENOMEM;
        else if (!c->count || !*c->words.data)
            say_die(EXIT_USAGE, "%s: a command is to follow", dest);
        else {
            check_facts(c, dest, per_object);
            err = find(c);
        }
    }
    if (!err)
        return c;
    say(SAY_ERROR, "%s: %s: %s", dest, c && c->words.data ? c->words.data : text, strerror(err));
    command_close(c);
    errno = err;
    return NULL;
}

void command_close(struct command *c)
{
    if (!c)
        return;
    buf_free(&c->words);
    free(c);
}

const char *command_path(const struct command *c)
{
    return c->path;
}

/* Gives a list of `count` texts, which stand in `texts` with a NUL after each, after the `first`
 * ones, which are borrowed. Frees `texts`. */
static char **list_of(struct buf *texts, int count, char **borrowed, int first)
{
    size_t pointers = ((size_t)(first + count) + 1) * sizeof(char *);
    char **list = texts->failed ? NULL : malloc(pointers + texts->len);
    if (list) {
        char *at = (char *)list + pointers;
        if (texts->len)
            memcpy(at, texts->data, texts->len);
        if (first)
            memcpy(list, borrowed, (size_t)first * sizeof *list);
        for (int i = first; i < first + count; i++, at += strlen(at) + 1)
            list[i] = at;
        list[first + count] = NULL;
    } else {
        errno = ENOMEM;
    }
    buf_free(texts);
    return list;
}

char **command_words(const struct command *c, const struct store_facts *f)
{
    struct buf out = buf_make(16 * TEXT_MOST);
    char room[FACT_ROOM];
    size_t name_len;
    for (size_t i = 0; i < c->words.len;) {
        const char *at = c->words.data + i;
        size_t len = f ? braced(at, &name_len) : 0;
        if (len)
            buf_adds(&out, fact_text(f, fact_find(at + 1, name_len), room));
        else
            buf_add(&out, at, len = 1);
        i += len;
    }
    return list_of(&out, c->count, NULL, 0);
}

char **command_environment(const struct store_facts *f)
{
    struct buf texts = buf_make(16 * TEXT_MOST);
    int count = 0, kept = 0;
    while (environ[count])
        count++;
    char **keep = malloc(((size_t)count + 1) * sizeof *keep);
    if (!keep)
        return NULL;
    for (int i = 0; i < count; i++)
        if (strncmp(environ[i], "SLUICE_", 7) != 0)
            keep[kept++] = environ[i];
    if (f)
        fact_environment(&texts, f);
    char **list = list_of(&texts, f ? FACT_COUNT : 0, keep, kept);
    free(keep);
    return list;
}

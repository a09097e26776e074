#include "feeder/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "feeder/line.h"
#include "lib/say.h"

enum {
    READ_BYTES = 65536,
    MANIFEST_LINE_MOST = 1 << 20,              /* texts of 64 KiB, whose bytes may be six each */
    CUT_BYTES = 200,
    SAMPLE_BYTES = 65536,                      /* of a file's identity, at either end */
    STEPS_MOST = 1000,                         /* lines or buffers passed over in one call */
};

struct list {
    const char *name;  /* borrowed from argv */
    int fd;
    struct stat st;    /* as it was opened */
    int64_t begin;     /* of a file: where it stood then; the shell may have read of stdin */
    int64_t length;    /* of a stream that was read to its end, */
    uint64_t sum;      /* and its digest */
};

struct input {
    struct list *lists;
    uint32_t count, at;
    const char *classes;   /* borrowed; NULL: the lists are URLs */
    struct line picked;    /* the line handed out last, where they are manifests */
    char cut[CUT_BYTES + 32];  /* the beginning of one that is too long: no URL, or a list of what
                                * failed would have it as one */
    char *buf;             /* owned; READ_BYTES and a line */
    size_t line_most;
    size_t start, end;     /* unread bytes of buf */
    bool ended;            /* the current list's fd is at its end */
    bool skipping;         /* the rest of a line that was too long */
    uint64_t number, file_line;
    int64_t offset, size;  /* of all lists */
    int64_t list_offset;   /* of the current one */
    XXH3_state_t *digest;  /* owned; of what was read off the current stream */
    int64_t pass_over;     /* bytes of it that are still to be passed over, */
    uint64_t passed;       /* and what their digest should be */
    uint32_t check, check_end;  /* lists read to their end by an earlier feeder: their streams are
                                 * given again, and judged, from `check` on */
    int64_t check_offset;
};

/* A FIFO's writer is waited for by the loop, which hears signals, not in here: until one has come,
 * poll(2) finds nothing to read, no end either. Other files are opened as ever. */
static int open_list(const char *name)
{
    struct stat st;
    if (strcmp(name, "-") == 0)
        return STDIN_FILENO;
    bool fifo = stat(name, &st) == 0 && S_ISFIFO(st.st_mode);
    return open(name, O_RDONLY | O_CLOEXEC | (fifo ? O_NONBLOCK : 0));
}

static bool is_stream(const struct list *l)
{
    return !S_ISREG(l->st.st_mode);
}

struct input *input_open(char *const *names, int count, const char *classes)
{
    static char stdin_name[] = "-";
    static char *const only_stdin[] = {stdin_name};
    struct input *in = calloc(1, sizeof *in);
    if (count == 0) {
        names = only_stdin;
        count = 1;
    }
    if (in) {
        in->classes = classes;
        in->line_most = classes ? MANIFEST_LINE_MOST : INPUT_LINE_MOST;
        in->lists = calloc((size_t)count, sizeof *in->lists);
        in->buf = malloc(READ_BYTES + in->line_most);
        in->digest = XXH3_createState();
    }
    if (!in || !in->lists || !in->buf || !in->digest)
        say_die(EXIT_TEMP, "out of memory");
    XXH3_64bits_reset(in->digest);
    in->count = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        struct list *l = &in->lists[i];
        l->fd = open_list(names[i]);
        if (l->fd < 0 || fstat(l->fd, &l->st))
            say_die(say_status(errno), "%s: %s", names[i], strerror(errno));
        if (S_ISDIR(l->st.st_mode))
            say_die(EXIT_UNUSABLE, "%s: is a directory", names[i]);
        l->name = l->fd == STDIN_FILENO ? "stdin" : names[i];
        l->begin = is_stream(l) ? 0 : lseek(l->fd, 0, SEEK_CUR);
        in->size = !is_stream(l) && in->size >= 0 ? in->size + l->st.st_size : -1;
    }
    in->list_offset = in->lists[0].begin;
    return in;
}

void input_close(struct input *in)
{
    if (!in)
        return;
    for (uint32_t i = in->check < in->check_end ? in->check : in->at; i < in->count; i++)
        if (in->lists[i].fd != STDIN_FILENO)
            close(in->lists[i].fd);
    line_free(&in->picked);
    XXH3_freeState(in->digest);
    free(in->buf);
    free(in->lists);
    free(in);
}

int input_fd(const struct input *in)
{
    if (in->check < in->check_end)
        return in->lists[in->check].fd;
    return in->at < in->count ? in->lists[in->at].fd : -1;
}

const char *input_where(const struct input *in)
{
    return in->at < in->count ? in->lists[in->at].name : "the list";
}

int64_t input_offset(const struct input *in)
{
    return in->offset;
}

int64_t input_size(const struct input *in)
{
    return in->size;
}

static int fill(struct input *in)
{
    int fd = input_fd(in);
    if (in->start) {
        memmove(in->buf, in->buf + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        return 0;
    ssize_t n = read(fd, in->buf + in->end, READ_BYTES + in->line_most - in->end);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -2;
    in->end += (size_t)n;
    in->ended = n == 0;
    return 1;
}

static void next_list(struct input *in)
{
    struct list *l = &in->lists[in->at];
    if (is_stream(l)) {
        l->length = in->list_offset;
        l->sum = XXH3_64bits_digest(in->digest);
    }
    if (l->fd != STDIN_FILENO)
        close(l->fd);
    in->at++;
    in->ended = false;
    in->file_line = 0;
    in->list_offset = in->at < in->count ? in->lists[in->at].begin : 0;
    XXH3_64bits_reset(in->digest);
}

static const char *judge(const char *s, size_t len)
{
    size_t scheme = len > 7 && strncasecmp(s, "http://", 7) == 0    ? 7
                    : len > 8 && strncasecmp(s, "https://", 8) == 0 ? 8
                                                                    : 0;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || s[i] == 0x7f)
            return "has a blank or a control character in it";
    if (!scheme)
        return memmem(s, len, "://", 3) ? "is neither http nor https" : "is no URL";
    return s[scheme] == '/' || s[scheme] == '?' || s[scheme] == '#' ? "has no host" : NULL;
}

static bool is_wanted(const char *classes, const char *class)
{
    size_t len = strlen(class);
    for (const char *c = classes; *c; c += strspn(c, ",")) {
        size_t n = strcspn(c, ",");
        if (n == len && memcmp(c, class, n) == 0)
            return true;
        c += n;
    }
    return !*classes;
}

/* The URL of a manifest's line that is wanted: 1, else 0; one that is none gets a `bad`. */
static int pick(struct input *in, struct input_line *line)
{
    struct line *l = &in->picked;
    line_free(l);
    if (line_read(l, line->text, line->len)) {
        line->bad = "is no line of a manifest";
        return 1;
    }
    if (l->status != LINE_FAILED || !is_wanted(in->classes, l->class))
        return 0;
    line->text = l->url;
    line->len = l->url_len;
    return 1;
}

/* Hands out [start, stop) of buf as the current line; 0 if it is not to be fed. */
static int make_line(struct input *in, size_t stop, struct input_line *line)
{
    const char *s = in->buf + in->start;
    size_t len = stop - in->start;
    in->number++;
    in->file_line++;
    while (len && (s[len - 1] == '\r' || s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    while (len && (*s == ' ' || *s == '\t')) {
        s++;
        len--;
    }
    *line = (struct input_line){s, len, in->number, input_where(in), in->file_line, NULL};
    if (!len || *s == '#')
        return 0;
    if (in->classes && !pick(in, line))
        return 0;
    if (!line->bad)
        line->bad = judge(line->text, line->len);
    return 1;
}

static void eat(struct input *in, size_t bytes)
{
    if (is_stream(&in->lists[in->at]))
        XXH3_64bits_update(in->digest, in->buf + in->start, bytes);
    in->start += bytes;
    in->list_offset += (int64_t)bytes;
    in->offset += (int64_t)bytes;
}

/* 1 a line, 0 none to be fed, -1 more bytes are needed. */
static int cut_line(struct input *in, struct input_line *line)
{
    char *s = in->buf + in->start, *lf = memchr(s, '\n', in->end - in->start);
    size_t len = lf ? (size_t)(lf - s) : in->end - in->start, eaten = len + (lf != NULL);
    if (!lf && !(in->ended && len) && len < in->line_most)
        return -1;
    int got = 0;
    if (in->skipping) {
        in->skipping = !lf && !in->ended;
    } else if (len >= in->line_most) {
        got = make_line(in, in->start + CUT_BYTES, line) || !line->len; /* or a URL behind blanks */
        line->text = in->cut;
        line->len = (size_t)snprintf(in->cut, sizeof in->cut, "%.*s [too long]", CUT_BYTES, s);
        line->bad = "is too long";
        in->skipping = !lf && !in->ended;
    } else {
        got = make_line(in, in->start + len, line);
    }
    eat(in, eaten);
    return got;
}

static void refuse_stream(const struct list *l)
{
    say_die(EXIT_UNUSABLE, "%s: this is not the stream that the journal began with: give the same "
            "one again, or another --journal", l->name);
}

static void pass_over(struct input *in)
{
    size_t len = in->end - in->start;
    if ((int64_t)len > in->pass_over)
        len = (size_t)in->pass_over;
    XXH3_64bits_update(in->digest, in->buf + in->start, len);
    in->start += len;
    in->pass_over -= (int64_t)len;
    if ((in->pass_over && in->ended) ||
        (!in->pass_over && XXH3_64bits_digest(in->digest) != in->passed))
        refuse_stream(&in->lists[in->at]);
}

/* Reads streams that were read before, to their ends. 1 they are what they were, 0 not now, -2, 2 not
 * yet. */
static int check_streams(struct input *in)
{
    int steps = 0;
    for (; in->check < in->check_end; in->check++) {
        struct list *l = &in->lists[in->check];
        while (is_stream(l) && !in->ended) {
            int rc = ++steps > STEPS_MOST ? 2 : fill(in);
            if (rc != 1)
                return rc;
            XXH3_64bits_update(in->digest, in->buf, in->end);
            in->check_offset += (int64_t)in->end;
            in->end = 0;
            if (in->check_offset > l->length)
                refuse_stream(l);
        }
        if (is_stream(l) && (in->check_offset != l->length ||
                             XXH3_64bits_digest(in->digest) != l->sum))
            refuse_stream(l);
        XXH3_64bits_reset(in->digest);
        in->check_offset = 0;
        in->ended = false;
        if (l->fd != STDIN_FILENO)
            close(l->fd);
    }
    return 1;
}

int input_next(struct input *in, struct input_line *line)
{
    int checked = in->check < in->check_end ? check_streams(in) : 1;
    if (checked != 1)
        return checked;
    for (int steps = 0; in->at < in->count; steps++) {
        if (steps == STEPS_MOST)
            return 2;
        if (in->pass_over && (in->end > in->start || in->ended))
            pass_over(in);
        int got = in->end > in->start && !in->pass_over ? cut_line(in, line) : -1;
        if (got == 1)
            return 1;
        if (got == 0)
            continue;
        if (in->ended) {
            in->skipping = false;
            next_list(in);
            continue;
        }
        int rc = fill(in);
        if (rc <= 0)
            return rc;
    }
    return -1;
}

/* Keeping the place. */

uint32_t input_count(const struct input *in)
{
    return in->count;
}

void input_place(const struct input *in, struct input_place *out)
{
    *out = (struct input_place){.list = in->at, .offset = in->list_offset, .total = in->offset,
                                .file_line = in->file_line, .number = in->number,
                                .skipping = in->skipping};
}

/* Digest of the first and the last SAMPLE_BYTES of a file's first `len`; 0 if it can't be read. */
static uint64_t sample(int fd, int64_t len)
{
    static char bytes[SAMPLE_BYTES];
    uint64_t sum = 0;
    size_t part = len < SAMPLE_BYTES ? (size_t)len : SAMPLE_BYTES;
    off_t at[2] = {0, (off_t)len - (off_t)part};
    for (int i = 0; i < 2; i++) {
        if (pread(fd, bytes, part, at[i]) != (ssize_t)part)
            return 0;
        sum = XXH3_64bits_withSeed(bytes, part, sum);
    }
    return sum;
}

void input_identify(struct input *in, uint32_t i, struct input_identity *out)
{
    const struct list *l = &in->lists[i];
    *out = (struct input_identity){.stream = is_stream(l)};
    if (!out->stream) {
        out->size = l->st.st_size;
        out->mtime_ns = l->st.st_mtim.tv_sec * 1000000000 + l->st.st_mtim.tv_nsec;
    }
    if (out->stream && i < in->at) {
        out->size = l->length;
        out->digest = l->sum;
    } else if (i == in->at && in->pass_over)
        out->digest = in->passed;
    else if (i == in->at)
        out->digest = out->stream ? XXH3_64bits_digest(in->digest) : sample(l->fd, in->list_offset);
}

/* As a shell has to be told it. */
static const char *quoted(const char *name, char *out, size_t size)
{
    size_t n = 0;
    out[n++] = '\'';
    for (; *name && n + 6 < size; name++) {
        if (*name == '\'') {
            memcpy(out + n, "'\\'", 3);
            n += 3;
        }
        out[n++] = *name;
    }
    memcpy(out + n, "'", 2);
    return out;
}

/* In words: what to do about a list that is not the one the journal began with. */
static void refuse(const struct list *l, const struct input_identity *was,
                   const struct input_identity *is)
{
    char when[32], name[4 * 4096];
    time_t s = (time_t)(was->mtime_ns / 1000000000);
    struct tm tm;
    if (!was->stream && !is->stream && was->size == is->size && was->digest == is->digest &&
        gmtime_r(&s, &tm)) {
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
        say_die(EXIT_UNUSABLE, "%s: was written to after the journal had begun with it. If it is "
                "the same list still: touch -d %s.%09lldZ %s; else give another --journal",
                l->name, when, (long long)(was->mtime_ns % 1000000000),
                l->fd == STDIN_FILENO ? "LIST" : quoted(l->name, name, sizeof name));
    }
    say_die(EXIT_UNUSABLE, "%s: is not the list that the journal began with: give that one, or "
            "another --journal", l->name);
}

static void check_identity(struct input *in, uint32_t i, const struct input_identity *was)
{
    struct input_identity is;
    input_identify(in, i, &is);
    bool same = is.stream == was->stream &&
                (is.stream || (is.size == was->size && is.mtime_ns == was->mtime_ns));
    if (!same || (i == in->at && !is.stream && is.digest != was->digest))
        refuse(&in->lists[i], was, &is);
}

void input_resume(struct input *in, const struct input_place *place,
                  const struct input_identity *ids, uint32_t count)
{
    if (count != in->count)
        say_die(EXIT_UNUSABLE, "the journal began with %u lists, not %u: give those, in the same "
                "order, or another --journal", count, in->count);
    in->at = in->check_end = place->list;
    in->number = place->number;
    in->file_line = place->file_line;
    in->skipping = place->skipping;
    in->list_offset = place->offset;
    in->offset = place->total;
    for (uint32_t i = 0; i < count; i++)
        check_identity(in, i, &ids[i]);
    for (uint32_t i = 0; i < in->at; i++) {
        in->lists[i].length = ids[i].size;
        in->lists[i].sum = ids[i].digest;
    }
    if (in->at == count)
        return;
    const struct list *l = &in->lists[in->at];
    if (is_stream(l)) {
        in->pass_over = place->offset;
        in->passed = ids[in->at].digest;
    } else if (lseek(l->fd, place->offset, SEEK_SET) < 0) {
        say_die(EXIT_UNUSABLE, "%s: %s", l->name, strerror(errno));
    }
}

bool input_is_passing_over(const struct input *in)
{
    return in->pass_over > 0;
}

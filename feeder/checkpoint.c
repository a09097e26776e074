#include "feeder/checkpoint.h"

#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "lib/say.h"

#define MAGIC "sluice-checkpoint"
#define DEST_RAW "dest "
#define DEST_ESCAPED "dest-escaped "

static const char escaped[] = "\n\r\\", escapes[] = "nr\\";  /* \n stands for a line feed */

enum {
    LEAST_BYTES = 7,          /* of a line for a list or a task */
    END_BYTES = 21,           /* "end ", 16 hexadecimal digits, a line feed */
    HEAD_BYTES = 1024 + 2 * PLACE_MAX,  /* DEST may be all escapes */
    LIST_BYTES = 80,          /* at most, like the next */
    TASK_BYTES = 48,          /* beside the URL */
};

/* Writing. */

static void write_escaped(struct buf *b, const char *text)
{
    for (; *text; text++) {
        const char *at = strchr(escaped, *text);
        if (at)
            buf_addf(b, "\\%c", escapes[at - escaped]);
        else
            buf_add(b, text, 1);
    }
}

/* One with a line feed in it has a word of its own: in all others a backslash is a backslash, as it
 * was before there were escapes. */
static void write_dest(struct buf *b, const char *dest)
{
    if (strchr(dest, '\n')) {
        buf_adds(b, DEST_ESCAPED);
        write_escaped(b, dest);
    } else {
        buf_adds(b, DEST_RAW);
        buf_adds(b, dest);
    }
    buf_adds(b, "\n");
}

static void write_head(struct buf *b, const struct checkpoint *c)
{
    buf_addf(b, "%s %d\nrun ", MAGIC, CHECKPOINT_VERSION);
    for (int i = 0; i < ID_RUN_BYTES; i++)
        buf_addf(b, "%02x", c->run[i]);
    buf_addf(b, "\nepoch %" PRIu64 "\ncomplete %d\n", c->epoch, c->complete);
    buf_addf(b, "ledger %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
             c->ledger.fed, c->ledger.delivered, c->ledger.failed, c->ledger.existing,
             c->ledger.bytes);
    buf_addf(b, "manifest %" PRIu64 "\nfailed %" PRIu64 "\n", c->manifest_bytes,
             c->failed_bytes);
    buf_addf(b, "place %" PRIu32 " %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %d\n",
             c->place.list, c->place.offset, c->place.total, c->place.file_line, c->place.number,
             c->place.skipping);
    write_dest(b, c->dest);
}

/* Taken at once: text that lacks a piece would get a digest that makes it look whole. */
static int make_room(struct buf *b, const struct checkpoint *c)
{
    size_t bytes = HEAD_BYTES + END_BYTES + 1 + (size_t)c->list_count * LIST_BYTES;
    for (size_t i = 0; i < c->task_count; i++)
        bytes += TASK_BYTES + c->tasks[i].url_len;
    return buf_reserve(b, bytes);
}

/* The last line of `text`. */
static void make_end(const char *text, size_t len, char end[END_BYTES + 1])
{
    snprintf(end, END_BYTES + 1, "end %016" PRIx64 "\n", (uint64_t)XXH3_64bits(text, len));
}

int checkpoint_write(struct buf *out, const struct checkpoint *c)
{
    size_t begin = out->len;
    if (make_room(out, c))
        return -1;
    write_head(out, c);
    buf_addf(out, "lists %" PRIu32 "\n", c->list_count);
    for (uint32_t i = 0; i < c->list_count; i++)
        buf_addf(out, "%s %" PRId64 " %" PRId64 " %016" PRIx64 "\n",
                 c->lists[i].stream ? "stream" : "file", c->lists[i].size, c->lists[i].mtime_ns,
                 c->lists[i].digest);
    buf_addf(out, "tasks %zu\n", c->task_count);
    for (size_t i = 0; i < c->task_count; i++) {
        const struct unsettled *t = &c->tasks[i];
        buf_addf(out, "%" PRIu64 " %u %u ", t->id, t->failures, t->losses);
        buf_add(out, t->url, t->url_len);
        buf_adds(out, "\n");
    }
    char end[END_BYTES + 1];
    make_end(out->data + begin, out->len - begin, end);
    return buf_adds(out, end);
}

/* Reading. */

struct cursor {
    const char *at, *end;
    bool bad;
};

/* The next line, without its end; len 0 and `bad` where there is none. */
static const char *next_line(struct cursor *r, size_t *len)
{
    const char *line = r->at, *lf = memchr(r->at, '\n', (size_t)(r->end - r->at));
    *len = lf ? (size_t)(lf - line) : 0;
    r->bad |= !lf;
    if (lf)
        r->at = lf + 1;
    return line;
}

/* The next line as "WORD VALUES", its values scanned; `want` of them must be there. */
__attribute__((format(scanf, 3, 4)))
static void scan(struct cursor *r, int want, const char *format, ...)
{
    char text[512];
    size_t len;
    const char *line = next_line(r, &len);
    if (len >= sizeof text) {
        r->bad = true;
        return;
    }
    memcpy(text, line, len);
    text[len] = '\0';
    va_list ap;
    va_start(ap, format);
    r->bad |= vsscanf(text, format, ap) != want;
    va_end(ap);
}

static void read_run(struct cursor *r, uint8_t run[ID_RUN_BYTES])
{
    char hex[2 * ID_RUN_BYTES + 1] = "";
    unsigned byte;
    scan(r, 1, "run %32[0-9a-f]", hex);
    for (int i = 0; i < ID_RUN_BYTES; i++) {
        r->bad |= sscanf(hex + 2 * i, "%2x", &byte) != 1;
        run[i] = (uint8_t)byte;
        if (r->bad)
            return;
    }
}

/* Undoes write_escaped(). 0, or -1: too long, or no escape of its. */
static int unescape(const char *s, size_t len, char dest[PLACE_MAX])
{
    const char *end = s + len;
    size_t n = 0;
    while (s < end && n < PLACE_MAX - 1) {
        char c = *s++;
        if (c == '\\') {
            const char *at = s < end && *s ? strchr(escapes, *s++) : NULL;
            if (!at)
                return -1;
            c = escaped[at - escapes];
        }
        dest[n++] = c;
    }
    dest[n] = '\0';
    return s < end ? -1 : 0;
}

static bool begins(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

static void read_dest(struct cursor *r, char dest[PLACE_MAX])
{
    size_t len, word = strlen(DEST_RAW), long_word = strlen(DEST_ESCAPED);
    const char *line = next_line(r, &len);
    if (begins(line, len, DEST_ESCAPED)) {
        r->bad |= unescape(line + long_word, len - long_word, dest) != 0;
        return;
    }
    r->bad |= !begins(line, len, DEST_RAW) || len - word >= PLACE_MAX;
    if (r->bad)
        return;
    memcpy(dest, line + word, len - word);
    dest[len - word] = '\0';
}

static void read_lists(struct cursor *r, struct checkpoint *c)
{
    scan(r, 1, "lists %" SCNu32, &c->list_count);
    r->bad |= c->list_count > (size_t)(r->end - r->at) / LEAST_BYTES;
    if (r->bad)
        return;
    c->lists = calloc(c->list_count + 1, sizeof *c->lists);
    if (!c->lists)
        say_die(EXIT_TEMP, "out of memory");
    for (uint32_t i = 0; i < c->list_count && !r->bad; i++) {
        struct input_identity *id = &c->lists[i];
        char kind[8] = "";
        scan(r, 4, "%7s %" SCNd64 " %" SCNd64 " %" SCNx64, kind, &id->size, &id->mtime_ns,
             &id->digest);
        id->stream = strcmp(kind, "stream") == 0;
        r->bad |= !id->stream && strcmp(kind, "file");
    }
}

/* Digits and the blank after them, at the latest the line feed. */
static uint64_t take_number(struct cursor *r, const char **at, uint64_t most)
{
    char *end;
    r->bad |= !isdigit((unsigned char)**at);
    if (r->bad)
        return 0;
    uint64_t number = strtoull(*at, &end, 10);
    r->bad = *end != ' ' || number > most;
    *at = end + 1;
    return number;
}

static void read_task(struct cursor *r, struct unsettled *t)
{
    size_t len;
    const char *line = next_line(r, &len), *at = line;
    t->id = take_number(r, &at, UINT64_MAX);
    t->failures = (unsigned)take_number(r, &at, UINT_MAX);
    t->losses = (unsigned)take_number(r, &at, UINT_MAX);
    r->bad |= !t->id;
    if (r->bad)
        return;
    t->url = at;
    t->url_len = (size_t)(line + len - at);
}

static void read_tasks(struct cursor *r, struct checkpoint *c)
{
    scan(r, 1, "tasks %zu", &c->task_count);
    r->bad |= c->task_count > (size_t)(r->end - r->at) / LEAST_BYTES;
    if (r->bad)
        return;
    c->tasks = calloc(c->task_count + 1, sizeof *c->tasks);
    if (!c->tasks)
        say_die(EXIT_TEMP, "out of memory");
    for (size_t i = 0; i < c->task_count && !r->bad; i++) {
        read_task(r, &c->tasks[i]);
        r->bad |= i && c->tasks[i].id <= c->tasks[i - 1].id;
        r->bad |= c->tasks[i].id > c->place.number; /* it would be read again, and be there twice */
    }
}

static void read_body(struct cursor *r, struct checkpoint *c)
{
    int complete = 0, skipping = 0;
    read_run(r, c->run);
    scan(r, 1, "epoch %" SCNu64, &c->epoch);
    scan(r, 1, "complete %d", &complete);
    scan(r, 5, "ledger %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &c->ledger.fed,
         &c->ledger.delivered, &c->ledger.failed, &c->ledger.existing, &c->ledger.bytes);
    scan(r, 1, "manifest %" SCNu64, &c->manifest_bytes);
    scan(r, 1, "failed %" SCNu64, &c->failed_bytes);
    scan(r, 6, "place %" SCNu32 " %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNu64 " %d",
         &c->place.list, &c->place.offset, &c->place.total, &c->place.file_line,
         &c->place.number, &skipping);
    c->complete = complete;
    c->place.skipping = skipping;
    if (!r->bad)
        read_dest(r, c->dest);
    if (!r->bad)
        read_lists(r, c);
    if (!r->bad)
        read_tasks(r, c);
    r->bad |= r->at != r->end || c->place.list > c->list_count || c->place.offset < 0 ||
              c->place.total < 0;
}

enum checkpoint_verdict checkpoint_read(struct checkpoint *out, const char *text, size_t len,
                                        const char **why)
{
    struct cursor r = {text, text + len, false};
    char end[END_BYTES + 1];
    int version = 0;
    *out = (struct checkpoint){0};
    *why = "it does not begin as one";
    scan(&r, 1, MAGIC " %d", &version);
    if (r.bad || version < 1)
        return CHECKPOINT_BAD;
    if (version > CHECKPOINT_VERSION)
        return CHECKPOINT_NEWER;
    *why = "it is cut off";
    if (len < END_BYTES || memcmp(text + len - END_BYTES, "end ", 4) || text[len - 1] != '\n')
        return CHECKPOINT_BAD;
    *why = "its digest is wrong";
    make_end(text, len - END_BYTES, end);
    if (memcmp(text + len - END_BYTES, end, END_BYTES))
        return CHECKPOINT_BAD;
    *why = "it makes no sense";
    r.end = text + len - END_BYTES;
    r.bad = r.at > r.end; /* the first line has the last one in it */
    if (!r.bad)
        read_body(&r, out);
    if (!r.bad)
        return CHECKPOINT_GOOD;
    checkpoint_free(out);
    return CHECKPOINT_BAD;
}

void checkpoint_free(struct checkpoint *c)
{
    free(c->lists);
    free(c->tasks);
    c->lists = NULL;
    c->tasks = NULL;
}

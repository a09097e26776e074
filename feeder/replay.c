#include "feeder/replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "feeder/line.h"
#include "lib/say.h"

enum {
    CUT_MOST = 64 << 20,   /* bytes that a power loss may have spoiled; more is no torn tail */
    FAILED_FLUSH = 65536,
};
static const uint64_t LINES_MOST = 1u << 30;  /* beyond base: a damaged number, not a long list */

/* Of the ASCII in it: what is no UTF-8 is written into the manifest as U+FFFD. */
static uint32_t mark_of(const char *url, size_t len)
{
    char ascii[INPUT_LINE_MOST];
    size_t n = 0;
    for (size_t i = 0; i < len && n < sizeof ascii; i++)
        if (!(url[i] & 0x80))
            ascii[n++] = url[i];
    return (uint32_t)XXH3_64bits(ascii, n) | 1;
}

static struct unsettled *find(const struct checkpoint *c, uint64_t id)
{
    size_t low = 0, high = c->task_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->tasks[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->task_count && c->tasks[low].id == id ? &c->tasks[low] : NULL;
}

static void make_room(struct replay *r, uint64_t index)
{
    if (index < r->count)
        return;
    size_t count = (index + 1) * 2;
    uint32_t *marks = calloc(count, sizeof *marks); /* a damaged number may leave most untouched */
    if (!marks)
        say_die(EXIT_TEMP, "out of memory: the manifest settles line %llu",
                (unsigned long long)r->base + 1 + index);
    if (r->count)
        memcpy(marks, r->marks, r->count * sizeof *marks);
    free(r->marks);
    r->marks = marks;
    r->count = count;
}

/* False: the line can't be of this run. One of a task that is settled already changes nothing. */
static bool settle(struct replay *r, struct checkpoint *c, const struct line *l)
{
    if (l->id > r->base) {
        uint64_t index = l->id - r->base - 1;
        if (index >= LINES_MOST)
            return false;
        make_room(r, index);
        if (r->marks[index])
            return false;
        r->marks[index] = mark_of(l->url, l->url_len);
        r->highest = l->id > r->highest ? l->id : r->highest;
        c->ledger.fed++;
        return true;
    }
    struct unsettled *t = find(c, l->id);
    if (!t || !t->url || mark_of(t->url, t->url_len) != mark_of(l->url, l->url_len))
        return false;
    t->url = NULL;
    return true;
}

static void count(struct ledger *ledger, const struct line *l, struct sink *failed)
{
    if (l->status == LINE_DELIVERED) {
        ledger->delivered++;
        ledger->existing += l->existing;
        ledger->bytes += l->bytes;
        return;
    }
    ledger->failed++;
    sink_add_plain(failed, l->url, l->url_len);
    sink_end(failed);
    if (failed->lines.len >= FAILED_FLUSH)
        sink_flush(failed);
}

/* Takes a line in; false: it is torn, damaged or no settled task's. */
static bool take(struct replay *r, struct checkpoint *c, struct sink *failed, const char *text,
                 size_t len)
{
    struct line l;
    if (line_read(&l, text, len))
        return false;
    bool good = l.status != LINE_OPEN && settle(r, c, &l);
    if (good) {
        count(&c->ledger, &l, failed);
        r->settled++;
    }
    line_free(&l);
    return good;
}

/* Bytes of whole, valid lines from the file's position on. */
static uint64_t read_lines(struct replay *r, FILE *f, struct checkpoint *c, struct sink *failed)
{
    char *text = NULL;
    size_t room = 0;
    uint64_t good = 0;
    ssize_t len;
    while ((len = getline(&text, &room, f)) > 0 && text[len - 1] == '\n' &&
           take(r, c, failed, text, (size_t)len - 1))
        good += (uint64_t)len;
    if (len < 0 && !feof(f) && !ferror(f))
        say_die(EXIT_TEMP, "out of memory");
    free(text);
    return good;
}

static void cut(int fd, uint64_t from, uint64_t size, const char *path)
{
    if (from == size)
        return;
    if (size - from > CUT_MOST)
        say_die(EXIT_UNUSABLE, "%s: byte %llu on is damaged, and it is too much for a torn end: "
                "keep a copy, cut it there (truncate -s %llu), and run this again", path,
                (unsigned long long)from, (unsigned long long)from);
    say(SAY_WARN, "%s: cutting %llu bytes of torn lines off; their URLs are fetched again", path,
        (unsigned long long)(size - from));
    if (ftruncate(fd, (off_t)from))
        say_die(EXIT_UNUSABLE, "%s: %s", path, strerror(errno));
}

void replay_check(int fd, const struct checkpoint *c, const char *path)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char last = '\n';
    if (size < 0)
        say_die(EXIT_UNUSABLE, "%s: %s", path, strerror(errno));
    if (c->manifest_bytes && ((uint64_t)size < c->manifest_bytes ||
                              pread(fd, &last, 1, (off_t)c->manifest_bytes - 1) != 1 ||
                              last != '\n'))
        say_die(EXIT_UNUSABLE, "%s: is not the manifest that the checkpoint beside it speaks of "
                "(%llu bytes of lines): put it back; or remove the checkpoint, to go on from the "
                "lines that are there", path, (unsigned long long)c->manifest_bytes);
}

void replay_open(struct replay *r, int fd, struct checkpoint *c, struct sink *failed,
                 const char *path)
{
    off_t size = lseek(fd, 0, SEEK_END);
    int twin = dup(fd);
    FILE *f = twin < 0 ? NULL : fdopen(twin, "r");
    *r = (struct replay){.base = c->place.number};
    if (size < 0 || !f)
        say_die(say_status(errno), "%s: %s", path, strerror(errno));
    if (fseeko(f, (off_t)c->manifest_bytes, SEEK_SET))
        say_die(EXIT_UNUSABLE, "%s: %s", path, strerror(errno));
    c->manifest_bytes += read_lines(r, f, c, failed);
    if (ferror(f))
        say_die(EXIT_UNUSABLE, "%s: %s", path, strerror(errno));
    fclose(f);
    cut(fd, c->manifest_bytes, (uint64_t)size, path);
}

void replay_close(struct replay *r)
{
    free(r->marks);
    *r = (struct replay){0};
}

int replay_knows(const struct replay *r, uint64_t id, const char *url, size_t url_len)
{
    uint64_t index = id - r->base - 1;
    if (id <= r->base || index >= r->count || !r->marks[index])
        return 0;
    return r->marks[index] == mark_of(url, url_len) ? 1 : -1;
}

#include "feeder/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "lib/sum.h"

enum {
    EVERY_MS = 1000,
    SHARE = 10,        /* a checkpoint that takes long comes no more often than ten times that */
    RETRY_MS = 1000,   /* after a full disk */
};

#define CHECKPOINT "checkpoint"
#define TEMPORARY "checkpoint.tmp"

static void die(const char *path, const char *name)
{
    say_die(say_status(errno), "%s/%s: %s", path, name, strerror(errno));
}

/* Opening. */

static bool is_name_of_ours(const char *name)
{
    static const char *const names[] = {"lock", "manifest.jsonl", "failed", CHECKPOINT, TEMPORARY};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Whether somebody else's files are in there, and no sure sign of ours. (A power cut may have left
 * any of a fresh journal's names.) */
static bool is_foreign(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    bool foreign = false, ours = false;
    for (struct dirent *e; d && (e = readdir(d));) {
        ours |= strcmp(e->d_name, "lock") == 0 || strcmp(e->d_name, CHECKPOINT) == 0 ||
                strcmp(e->d_name, "manifest.jsonl") == 0;
        foreign |= e->d_name[0] != '.' && !is_name_of_ours(e->d_name);
    }
    if (d)
        closedir(d);
    return foreign && !ours;
}

static int open_file(const struct journal *j, const char *name, int flags)
{
    int fd = openat(j->dir_fd, name, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        die(j->path, name);
    return fd;
}

static void open_files(struct journal *j)
{
    bool made = mkdir(j->path, 0700) == 0;
    if (made || errno == EEXIST)
        j->dir_fd = open(j->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0 || (made && durable_name(j->dir_fd)))
        say_die(say_status(errno), "%s: %s", j->path, strerror(errno));
    if (is_foreign(j->dir_fd))
        say_die(EXIT_UNUSABLE, "%s: is no journal and not empty: give a directory of its own",
                j->path);
    j->lock_fd = open_file(j, "lock", O_RDWR);
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB)) /* the kernel drops it when we end, however we end */
        say_die(EXIT_UNUSABLE, errno == EWOULDBLOCK ? "%s: another feeder is using this journal"
                                                    : "%s: cannot be locked", j->path);
    j->manifest_fd = open_file(j, "manifest.jsonl", O_RDWR | O_APPEND);
    j->failed_fd = open_file(j, "failed", O_RDWR | O_APPEND);
}

/* The whole checkpoint, malloced; NULL if there is none. */
static char *read_checkpoint(const struct journal *j, size_t *len)
{
    int fd = openat(j->dir_fd, CHECKPOINT, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    char *text = NULL;
    ssize_t n = 0;
    *len = 0;
    if (fd < 0 && errno == ENOENT)
        return NULL;
    if (fd < 0 || fstat(fd, &st) || !(text = malloc((size_t)st.st_size + 1)))
        die(j->path, CHECKPOINT);
    while (*len < (size_t)st.st_size && (n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
        *len += (size_t)n;
    if (n < 0)
        die(j->path, CHECKPOINT);
    close(fd);
    return text;
}

/* What the checkpoint says; without a good one: that nothing is known, so that all of the manifest
 * is read. The epoch of that one is unknown, so its dispatches must not be taken for ours: another
 * run. */
static void load(struct journal *j, struct checkpoint *c, const char *text, size_t len)
{
    const char *why = NULL;
    enum checkpoint_verdict v = text ? checkpoint_read(c, text, len, &why) : CHECKPOINT_BAD;
    if (v == CHECKPOINT_NEWER)
        say_die(EXIT_UNUSABLE, "%s: was written by a later version of sluice: use that one, or "
                "another --journal", j->path);
    if (v == CHECKPOINT_GOOD) {
        memcpy(j->run, c->run, sizeof j->run);
        memcpy(j->dest, c->dest, sizeof j->dest);
        j->epoch = c->epoch + 1;
        return;
    }
    *c = (struct checkpoint){0};
    id_random(j->run, sizeof j->run);
    j->epoch = 1;
    if (text)
        say(SAY_WARN, "%s/%s: %s: reading all of the manifest instead", j->path, CHECKPOINT, why);
}

/* To *bytes. A file that somebody has made shorter is left, and *bytes says so: else what is put
 * back into it now would not be cut off at the next start, and be put back once more. */
static void shorten(int fd, uint64_t *bytes, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) || ((uint64_t)st.st_size > *bytes && ftruncate(fd, (off_t)*bytes)))
        die(path, "failed");
    if ((uint64_t)st.st_size < *bytes)
        *bytes = (uint64_t)st.st_size;
}

/* All of them, though --window may have been larger then: no more are read until they are fewer. */
static void restore_tasks(struct window *w, const struct checkpoint *c)
{
    for (size_t i = 0; i < c->task_count; i++) {
        const struct unsettled *u = &c->tasks[i];
        if (!u->url)
            continue;
        struct task *t = window_add(w, u->id, u->url, u->url_len);
        if (!t)
            say_die(EXIT_TEMP, "out of memory");
        t->failures = u->failures;
        t->losses = u->losses;
    }
}

/* Checkpoints. */

static int write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Under its temporary name, on disk. */
static int write_temporary(struct journal *j)
{
    int fd = openat(j->dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    if (fd < 0)
        return -1;
    int bad = FAULT_FAILS("feeder.journal.temporary.write");
    bad = bad || write_all(fd, j->text.data, j->text.len) || fsync(fd);
    int err = errno;
    if (close(fd) && !bad) {
        bad = 1;
        err = errno;
    }
    errno = err;
    return bad ? -1 : 0;
}

/* In a thread. An fsync that failed may have dropped what it was to keep, and the next one would
 * not say so: final. A temporary file that could not be written is another matter. */
static void save(struct job *job)
{
    struct journal *j = (struct journal *)((char *)job - offsetof(struct journal, job));
    j->err = 0;
    j->final = true;
    int bad = FAULT_FAILS("feeder.journal.lines.sync");
    if (bad || fdatasync(j->manifest_fd) || fdatasync(j->failed_fd)) {
        j->err = errno;
        return;
    }
    FAULT("feeder.journal.lines.synced");
    j->final = false;
    bad = write_temporary(j);
    FAULT("feeder.journal.temporary.written");
    bad = bad || FAULT_FAILS("feeder.journal.rename");
    if (bad || renameat(j->dir_fd, TEMPORARY, j->dir_fd, CHECKPOINT)) {
        j->err = errno;
        unlinkat(j->dir_fd, TEMPORARY, 0); /* on a full disk it would be in the manifest's way */
        return;
    }
    FAULT("feeder.journal.renamed");
    j->final = true;
    bad = FAULT_FAILS("feeder.journal.directory.sync");
    if (bad || fsync(j->dir_fd))
        j->err = errno;
    FAULT("feeder.journal.saved");
}

static void list_tasks(const struct window *w, struct checkpoint *c)
{
    c->tasks = malloc((w->size + 1) * sizeof *c->tasks);
    if (!c->tasks)
        say_die(EXIT_TEMP, "out of memory");
    for (const struct task *t = w->by_id; t; t = t->by_id.next)
        c->tasks[c->task_count++] = (struct unsettled){t->id, t->failures, t->losses, t->url,
                                                       t->url_len};
}

static void list_lists(struct input *in, struct checkpoint *c)
{
    c->list_count = input_count(in);
    c->lists = calloc(c->list_count, sizeof *c->lists);
    if (!c->lists)
        say_die(EXIT_TEMP, "out of memory");
    for (uint32_t i = 0; i < c->list_count; i++)
        input_identify(in, i, &c->lists[i]);
}

static void make_text(struct journal *j, const struct checkpoint *c)
{
    j->text.len = 0;
    if (checkpoint_write(&j->text, c))
        say_die(EXIT_TEMP, "out of memory");
    j->text_sum = sum_of(j->text.data, j->text.len);
}

/* Invariant: each line that was read is in the window or in the manifest, and in one of them.
 * Precondition: the manifest is out. */
static void describe(struct journal *j, const struct journal_of *of, bool complete)
{
    struct checkpoint c = {.epoch = j->epoch, .complete = complete,
                           .ledger = of->manifest->ledger,
                           .manifest_bytes = j->manifest_base + of->manifest->lines.written,
                           .failed_bytes = j->failed_base + of->manifest->failed.written};
    memcpy(c.run, j->run, sizeof c.run);
    assert(manifest_is_out(of->manifest));
    assert(c.ledger.fed == c.ledger.delivered + c.ledger.failed + of->window->size);
    snprintf(c.dest, sizeof c.dest, "%s", of->dest);
    memcpy(j->text_dest, c.dest, sizeof j->text_dest);
    input_place(of->input, &c.place);
    list_lists(of->input, &c);
    list_tasks(of->window, &c);
    make_text(j, &c);
    checkpoint_free(&c);
}

/* `if_full`: what is to be said of a full disk, beside that. */
static bool judge(struct journal *j, const char *if_full)
{
    j->next_ms = clock_ms() + EVERY_MS;
    if (clock_ms() - j->began_ms > EVERY_MS / SHARE)
        j->next_ms = clock_ms() + SHARE * (clock_ms() - j->began_ms);
    if (!j->err) {
        j->saved_sum = j->text_sum;
        memcpy(j->dest, j->text_dest, sizeof j->dest);
        if (j->complained)
            say(SAY_WARN, "%s: the checkpoint is written again", j->path);
        j->complained = false;
        return true;
    }
    /* Want of room, of memory or of descriptors; the old checkpoint still holds. */
    bool full = !j->final && (j->err == ENOSPC || j->err == EDQUOT ||
                              say_status(j->err) == EXIT_TEMP);
    j->broken = !full;
    if (!j->complained)
        say(full ? SAY_WARN : SAY_ERROR, "%s: the checkpoint can't be written: %s%s", j->path,
            strerror(j->err), full ? if_full : "");
    j->complained = true;
    j->next_ms = clock_ms() + RETRY_MS;
    return full;
}

/* Now, and waits for it. */
static bool save_now(struct journal *j, const char *if_full)
{
    j->began_ms = clock_ms();
    save(&j->job);
    return judge(j, if_full);
}

/* The checkpoint stays what it was but for our epoch: lines that the manifest settles beyond its
 * place count only once they are read again, and until then it must not cover them. */
static void restore(struct journal *j, const struct journal_of *of, struct checkpoint *c)
{
    char path[4096];
    struct manifest *m = of->manifest;
    snprintf(path, sizeof path, "%s/manifest.jsonl", j->path);
    if (c->list_count)
        input_resume(of->input, &c->place, c->lists, c->list_count);
    else
        list_lists(of->input, c);
    replay_check(j->manifest_fd, c, path);
    shorten(j->failed_fd, &c->failed_bytes, j->path);
    memcpy(c->run, j->run, sizeof c->run);
    c->epoch = j->epoch;
    memcpy(j->text_dest, j->dest, sizeof j->text_dest);
    make_text(j, c);
    replay_open(&j->replay, j->manifest_fd, c, &m->failed, path);
    restore_tasks(of->window, c);
    m->ledger = c->ledger;
    j->manifest_base = c->manifest_bytes;
    j->failed_base = (uint64_t)lseek(j->failed_fd, 0, SEEK_END) - m->failed.written;
    j->finished = c->complete;
}

void journal_open(struct journal *j, const char *path, const struct journal_of *of, int joblog_fd)
{
    struct checkpoint c = {0};
    size_t len = 0;
    *j = (struct journal){.path = path, .dir_fd = -1, .text = buf_make(SIZE_MAX / 2),
                          .job.run = save};
    open_files(j);
    char *text = read_checkpoint(j, &len);
    load(j, &c, text, len);
    manifest_open(of->manifest, j->manifest_fd, j->failed_fd, joblog_fd);
    restore(j, of, &c);
    checkpoint_free(&c);
    free(text);
    FAULT("feeder.journal.replayed");
    if (!(j->pool = pool_open(1)))
        say_die(EXIT_TEMP, "cannot start: %s", strerror(errno));
    if (manifest_flush(of->manifest) != 1) /* failed lines, put back */
        die(path, "failed");
    /* Without a checkpoint only the manifest tells whether it is the right list: it comes first. */
    bool judged = j->epoch > 1 || !j->replay.settled;
    if (!j->finished && judged && (!save_now(j, ": make room, and run this again") || j->err))
        exit(say_status(j->err)); /* said */
}

bool journal_has(struct journal *j, uint64_t id, const char *url, size_t url_len)
{
    int known = j->path ? replay_knows(&j->replay, id, url, url_len) : 0;
    if (known < 0)
        say_die(EXIT_UNUSABLE, "%s/manifest.jsonl has another URL than line %llu of the list: one "
                "of the two is not what it was. Give the list it began with, or another --journal",
                j->path, (unsigned long long)id);
    return known;
}

/* Whether all lines that the manifest settles are read again, so that a place can be kept. */
static bool has_caught_up(const struct journal *j, const struct journal_of *of)
{
    struct input_place place;
    input_place(of->input, &place);
    if (place.number < j->replay.highest && place.list == input_count(of->input))
        say_die(EXIT_UNUSABLE, "%s/manifest.jsonl has a line %llu, and the list ends with line "
                "%llu: give the list it began with, or another --journal", j->path,
                (unsigned long long)j->replay.highest, (unsigned long long)place.number);
    return place.number >= j->replay.highest;
}

bool journal_turn(struct journal *j, const struct journal_of *of)
{
    if (!j->path || j->finished)
        return true;
    if (j->busy && pool_done(j->pool)) {
        j->busy = false;
        if (!judge(j, ": going on, and trying again"))
            return false;
    }
    bool hurry = !journal_has_dest(j, of->dest) && !j->complained;
    if (j->busy || (clock_ms() < j->next_ms && !hurry))
        return true;
    j->next_ms = clock_ms() + EVERY_MS;
    if (!has_caught_up(j, of) || manifest_flush(of->manifest) != 1)
        return true;
    describe(j, of, false);
    if (j->text_sum == j->saved_sum)
        return true;
    j->began_ms = clock_ms();
    j->busy = true;
    pool_add(j->pool, &j->job);
    pool_go(j->pool);
    return true;
}

bool journal_has_dest(const struct journal *j, const char *dest)
{
    return !j->path || j->finished || j->replay.highest || strcmp(j->dest, dest) == 0;
}

int journal_fd(const struct journal *j)
{
    return j->path ? pool_fd(j->pool) : -1;
}

int64_t journal_sleep_ms(const struct journal *j)
{
    if (!j->path || j->finished || j->busy)
        return INT32_MAX;
    int64_t left = j->next_ms - clock_ms();
    return left < 0 ? 0 : left;
}

bool journal_close(struct journal *j, const struct journal_of *of, bool complete)
{
    bool good = true;
    if (!j->path)
        return true;
    FAULT("feeder.journal.closing");
    pool_stop(j->pool);
    if (j->busy && pool_done(j->pool))
        good = judge(j, "");
    if (!j->broken && !j->finished && manifest_is_out(of->manifest) && has_caught_up(j, of)) {
        describe(j, of, complete);
        good = save_now(j, ": the manifest has it all, so the next start finds it there");
    }
    pool_close(j->pool);
    replay_close(&j->replay);
    buf_free(&j->text);
    close(j->failed_fd);
    close(j->manifest_fd);
    close(j->lock_fd);
    close(j->dir_fd);
    return good;
}

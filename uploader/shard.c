#include "uploader/shard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/fault.h"
#include "lib/say.h"
#include "lib/sum.h"
#include "uploader/file.h"

enum { NOTE_MOST = 128, NOTE_PLACES = 2, NOTE_APART = 4096 };

/* Names. */

static void name_of(uint64_t number, const char *extension, const char *more, char out[SHARD_NAME])
{
    snprintf(out, SHARD_NAME, "shard-%06" PRIu64 "%s%s", number, extension, more);
}

void shard_name(const struct shard *s, char out[SHARD_NAME])
{
    name_of(s->number, tar_extension(s->pack), "", out);
}

static void part_name(const struct shard *s, char out[SHARD_NAME])
{
    name_of(s->number, tar_extension(s->pack), ".part", out);
}

static void lock_name(const struct shard *s, char out[SHARD_NAME])
{
    name_of(s->number, ".lock", "", out);
}

static bool exists(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whatever its packing, and whether it was finished or set aside. */
static bool is_used(int dir, uint64_t number)
{
    char name[SHARD_NAME], aside[SHARD_NAME];
    for (int pack = TAR_PLAIN; pack < TAR_PACKS; pack++) {
        name_of(number, tar_extension((enum tar_pack)pack), "", name);
        name_of(number, tar_extension((enum tar_pack)pack), ".damaged", aside);
        if (exists(dir, name) || exists(dir, aside))
            return true;
    }
    return false;
}

/* Notes: in two blocks in turn, so that a power cut that tears one leaves the one before. */

/* Number and bytes as text, without its sum. */
static int write_note(char out[NOTE_MOST], uint64_t number, uint64_t bytes)
{
    return snprintf(out, NOTE_MOST,
                    "sluice shard 2: note %020" PRIu64 ": %020" PRIu64 " bytes are whole, sum ",
                    number, bytes);
}

static int note(struct shard *s)
{
    char text[NOTE_MOST];
    int len = write_note(text, s->notes + 1, s->kept_bytes);
    len += snprintf(text + len, sizeof text - (size_t)len, "%016" PRIx64 "\n",
                    sum_of(text, (size_t)len));
    bool bad = FAULT_FAILS("uploader.shard.note");
    off_t at = (off_t)((s->notes + 1) % NOTE_PLACES * NOTE_APART);
    if (bad || pwrite(s->lock_fd, text, (size_t)len, at) != len ||
        (s->all->fsync && fdatasync(s->lock_fd)))
        return -1; /* the next one goes to the same place */
    s->notes++;
    return 0;
}

/* 1, 0 where it is torn or was never written, -1 errno. */
static int read_note_at(int fd, off_t at, uint64_t *number, uint64_t *bytes)
{
    char text[NOTE_MOST], right[NOTE_MOST];
    uint64_t sum;
    ssize_t n = pread(fd, text, sizeof text - 1, at);
    if (n < 0)
        return -1;
    text[n] = '\0';
    if (sscanf(text, "sluice shard 2: note %" SCNu64 ": %" SCNu64 " bytes are whole, sum %" SCNx64,
               number, bytes, &sum) != 3)
        return 0;
    int len = write_note(right, *number, *bytes);
    return memcmp(text, right, (size_t)len) == 0 && sum == sum_of(right, (size_t)len);
}

/* The latest that is whole. 1, 0 if none is, -1 errno. */
static int read_note(struct shard *s, uint64_t *bytes)
{
    int found = 0;
    for (int i = 0; i < NOTE_PLACES; i++) {
        uint64_t number, noted;
        int got = read_note_at(s->lock_fd, (off_t)i * NOTE_APART, &number, &noted);
        if (got < 0)
            return -1; /* it may be the latest */
        if (got && (!found || number > s->notes)) {
            found = 1;
            s->notes = number;
            *bytes = noted;
        }
    }
    return found;
}

/* A shard's life. */

static struct shard *make(struct shards *all, uint64_t number, enum tar_pack pack)
{
    struct shard *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct shard){.all = all, .number = number, .pack = pack, .lock_fd = -1, .fd = -1};
    return s;
}

void shard_leave(struct shard **s)
{
    struct shard *gone = *s;
    int err = errno;
    *s = NULL;
    if (!gone)
        return;
    tar_close(gone->tar);
    if (gone->fd >= 0)
        close(gone->fd);
    if (gone->lock_fd >= 0)
        close(gone->lock_fd);
    free(gone);
    errno = err;
}

/* The lock is ours; whether its name is still its own: another may have been quicker. */
static bool lock(int fd, const char *name, int dir)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0 && file_is_called(fd, dir, name) == 1;
}

/* 1 it is ours, 0 somebody else's, -1 errno. */
static int take_number(struct shard *s)
{
    int dir = s->all->dir;
    char name[SHARD_NAME];
    lock_name(s, name);
    if (is_used(dir, s->number))
        return 0;
    s->lock_fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (s->lock_fd < 0)
        return errno == EEXIST ? 0 : -1;
    FAULT("uploader.shard.taken");
    if (!lock(s->lock_fd, name, dir)) {
        close(s->lock_fd);
        s->lock_fd = -1;
        return 0;
    }
    if (!is_used(dir, s->number)) /* its owner may have finished between two looks of ours */
        return 1;
    unlinkat(dir, name, 0);
    close(s->lock_fd);
    s->lock_fd = -1;
    return 0;
}

static int open_part(struct shard *s, int flags)
{
    char name[SHARD_NAME];
    part_name(s, name);
    s->fd = openat(s->all->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0666);
    return s->fd < 0 ? -1 : 0;
}

/* Goes on after what is kept. */
static int reopen(struct shard *s)
{
    tar_close(s->tar);
    s->tar = NULL;
    if (ftruncate(s->fd, (off_t)s->kept_bytes) || lseek(s->fd, 0, SEEK_END) < 0 ||
        !(s->tar = tar_open(s->fd, s->pack, s->kept_at)))
        return -1;
    return 0;
}

static int sync_names(const struct shards *all)
{
    return all->fsync ? durable_names(all->dir) : 0;
}

static void remove_name(const struct shards *all, const char *name)
{
    unlinkat(all->dir, name, 0);
    sync_names(all);
}

/* The lock is the last to go: a .part without one is nobody's. */
static void remove_names(const struct shard *s, bool part)
{
    char name[SHARD_NAME];
    part_name(s, name);
    if (part)
        remove_name(s->all, name);
    lock_name(s, name);
    remove_name(s->all, name);
}

struct shard *shard_new(struct shards *all)
{
    while (is_used(all->dir, all->solid))
        all->solid++;
    for (uint64_t number = all->solid;; number++) {
        struct shard *s = make(all, number, all->pack);
        int got = s ? take_number(s) : -1;
        if (got == 1) {
            /* The lock is the first to be there, after a power cut too. */
            if (sync_names(all) == 0 && open_part(s, O_CREAT | O_EXCL) == 0 && reopen(s) == 0 &&
                note(s) == 0 && sync_names(all) == 0)
                return s;
            int err = errno;
            if (err == EEXIST)
                say(SAY_WARN, "shard-%06" PRIu64 ": a .part without its .lock: left alone", number);
            remove_names(s, s->fd >= 0);
            errno = err;
        }
        int err = errno;
        bool next = got == 0 || (got == 1 && err == EEXIST);
        shard_leave(&s);
        if (!next)
            return NULL;
    }
}

int shard_keep(struct shard *s)
{
    FAULT("uploader.shard.added");
    struct stat st;
    bool bad = tar_flush(s->tar) || (s->all->fsync && fdatasync(s->fd)) || fstat(s->fd, &st);
    uint64_t at = s->kept_at, bytes = s->kept_bytes;
    FAULT("uploader.shard.flushed");
    if (!bad) {
        s->kept_at = tar_at(s->tar);
        s->kept_bytes = (uint64_t)st.st_size;
        bad = note(s) != 0;
    }
    FAULT("uploader.shard.noted");
    if (!bad)
        return 0;
    int err = errno;
    s->kept_at = at;
    s->kept_bytes = bytes;
    shard_undo(s);
    errno = err;
    return -1;
}

int shard_undo(struct shard *s)
{
    return reopen(s);
}

/* One more name, unless it has it already. -1 with EEXIST: another file has. */
static int link_to(const struct shard *s, const char *name)
{
    char part[SHARD_NAME];
    int dir = s->all->dir, linked = file_is_called(s->fd, dir, name);
    part_name(s, part);
    return linked < 0 || (!linked && linkat(dir, part, dir, name, 0)) ? -1 : 0;
}

/* Gives it its name. */
static int put_name(const struct shard *s)
{
    char name[SHARD_NAME];
    shard_name(s, name);
    FAULT("uploader.shard.ended");
    if (link_to(s, name))
        return -1;
    FAULT("uploader.shard.linked");
    return sync_names(s->all);
}

int shard_finish(struct shard **taken)
{
    struct shard *s = *taken;
    char name[SHARD_NAME];
    bool bad = false;
    shard_name(s, name);
    if (s->kept_at) {
        bad = tar_finish(s->tar) || (s->all->fsync && fdatasync(s->fd)) || put_name(s);
        if (bad)
            say(SAY_ERROR, "%s can't be finished: %s: it stays %s.part, for the next uploader", name,
                strerror(errno), name);
    }
    if (!bad)
        remove_names(s, true);
    shard_leave(taken);
    return bad ? -1 : 0;
}

/* What others have left. */

struct scan {
    uint64_t end;  /* of the last sample's second member */
    unsigned members;
};

static void on_member(void *arg, const struct tar_found *f)
{
    struct scan *scan = arg;
    if (++scan->members % 2 == 0)
        scan->end = f->end;
}

/* Cuts it after the last whole sample. -1: it can't be used; EILSEQ: it is damaged, or both notes. */
static int mend(struct shard *s)
{
    struct scan scan = {0};
    struct stat st;
    uint64_t noted = 0;
    int known = fstat(s->fd, &st) ? -1 : read_note(s, &noted);
    if (known == 0 && st.st_size > 0)
        errno = EILSEQ;
    if (known < 0 || (known == 0 && st.st_size > 0))
        return -1;
    s->kept_bytes = noted < (uint64_t)st.st_size ? noted : (uint64_t)st.st_size;
    /* Where a frame ends that a power cut has damaged isn't known. */
    if (tar_scan(s->fd, s->pack, s->kept_bytes, on_member, &scan) &&
        (errno != EILSEQ || s->pack != TAR_PLAIN))
        return -1;
    if (s->pack == TAR_PLAIN)
        s->kept_bytes = scan.end;
    s->kept_at = scan.end;
    /* Its owner may have had no --fsync, and receipts of ours rest on its names. */
    return reopen(s) || sync_names(s->all) ? -1 : 0;
}

/* The shard of this number, whose lock is ours, or NULL with errno; ENOENT: it has no file. */
static struct shard *open_left(struct shards *all, uint64_t number)
{
    struct shard *s = make(all, number, TAR_PLAIN);
    for (int pack = TAR_PLAIN; s && pack < TAR_PACKS; pack++) {
        s->pack = (enum tar_pack)pack;
        if (open_part(s, 0) == 0)
            return s;
        if (errno != ENOENT)
            break;
    }
    shard_leave(&s);
    return NULL;
}

/* It stays as it is, for whoever looks next. */
static void say_left(const char *name)
{
    say(SAY_ERROR, "%s, which an uploader that died has left: %s", name, strerror(errno));
}

/* The shard whose lock is `name`, if its owner is dead and it has a file. */
static struct shard *take_over(struct shards *all, const char *name)
{
    uint64_t number;
    int used = 0;
    if (sscanf(name, "shard-%" SCNu64 ".lock%n", &number, &used) != 1 || name[used] || !used)
        return NULL;
    int fd = openat(all->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !lock(fd, name, all->dir)) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct shard *s = open_left(all, number);
    if (s) {
        s->lock_fd = fd;
        return s;
    }
    if (errno == ENOENT)
        remove_name(all, name); /* dead before its first byte, or after its last */
    else
        say_left(name);
    close(fd);
    return NULL;
}

/* 1: it has its name already, 0 not yet, -1 errno. */
static int was_linked(const struct shard *s)
{
    char name[SHARD_NAME];
    shard_name(s, name);
    return file_is_called(s->fd, s->all->dir, name);
}

/* Goes, but for its other name; that must be durable before. -1: nothing went. */
static int remove_linked(const struct shard *s)
{
    if (sync_names(s->all))
        return -1;
    remove_names(s, true);
    return 0;
}

/* A power cut has torn it. Out of the way, but whole as it is: some of it can be unpacked. */
static int set_aside(const struct shard *s)
{
    char part[SHARD_NAME], aside[SHARD_NAME];
    part_name(s, part);
    name_of(s->number, tar_extension(s->pack), ".damaged", aside);
    if (link_to(s, aside) || remove_linked(s))
        return -1;
    say(SAY_ERROR, "%s: damaged, as by a power cut: kept as %s", part, aside);
    return 0;
}

/* Finishes *s, or leaves it, or gives it back if it is `wanted` and holds anything. */
static void look_at(struct shard **s, bool wanted)
{
    char part[SHARD_NAME];
    int linked = was_linked(*s), bad = linked < 0;
    part_name(*s, part);
    if (!bad)
        bad = linked ? remove_linked(*s) : mend(*s);
    bool damaged = bad && errno == EILSEQ;
    if (damaged ? set_aside(*s) : bad)
        say_left(part);
    if (bad || linked)
        shard_leave(s);
    else if (!wanted || !(*s)->kept_at)
        shard_finish(s);
}

struct shard *shards_look(struct shards *all, bool adopt)
{
    struct shard *mine = NULL;
    DIR *d = fdopendir(openat(all->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (struct dirent *e; d && (e = readdir(d));) {
        struct shard *s = take_over(all, e->d_name);
        if (!s)
            continue;
        look_at(&s, adopt && !mine && s->pack == all->pack);
        if (s)
            mine = s;
    }
    if (d)
        closedir(d);
    return mine;
}

void shard_members(const struct shard *s, void (*found)(void *arg, const struct tar_found *f),
                   void *arg)
{
    tar_scan(s->fd, s->pack, s->kept_bytes, found, arg);
}

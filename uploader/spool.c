#include "uploader/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/say.h"

enum { FIRST_BYTES = 4096 };

struct spool {
    struct spools *all;  /* borrowed */
    char *memory;        /* owned; NULL: empty, or in the file */
    size_t room;         /* of memory, taken from the budget */
    int fd;              /* owned; -1: in memory */
    uint64_t bytes;
};

void spools_open(struct spools *all, uint64_t budget_bytes, const char *dir)
{
    const char *env = getenv("TMPDIR");
    *all = (struct spools){.budget_bytes = budget_bytes};
    all->dir = dir ? dir : env && *env ? env : "/var/tmp";
}

uint64_t spools_bytes(struct spools *all)
{
    return atomic_load(&all->used_bytes);
}

static bool take_budget(struct spools *all, uint64_t bytes)
{
    uint64_t used = atomic_load(&all->used_bytes);
    do {
        if (bytes > all->budget_bytes || used > all->budget_bytes - bytes)
            return false;
    } while (!atomic_compare_exchange_weak(&all->used_bytes, &used, used + bytes));
    return true;
}

static void free_memory(struct spool *s)
{
    free(s->memory);
    atomic_fetch_sub(&s->all->used_bytes, s->room);
    s->memory = NULL;
    s->room = 0;
}

struct spool *spool_open(struct spools *all)
{
    struct spool *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->all = all;
    s->fd = -1;
    return s;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    free_memory(s);
    if (s->fd >= 0)
        close(s->fd);
    free(s);
}

/* Room for `len` more bytes in memory; false: they go into a file. */
static bool widen(struct spool *s, size_t len)
{
    size_t room = s->room ? s->room : FIRST_BYTES;
    if (len > SPOOL_SMALL || s->bytes + len > SPOOL_SMALL)
        return false;
    while (room < s->bytes + len)
        room *= 2;
    if (room == s->room)
        return true;
    if (!take_budget(s->all, room - s->room))
        return false;
    char *memory = realloc(s->memory, room);
    if (!memory) {
        atomic_fetch_sub(&s->all->used_bytes, room - s->room);
        return false;
    }
    s->memory = memory;
    s->room = room;
    return true;
}

/* O_EXCL: it can get no name. Where the file system has no O_TMPFILE it has one for a moment. */
static int open_file(const char *dir)
{
    char path[4096];
    int fd = FAULT_FAILS("uploader.spool.tmpfile")
                 ? -1
                 : open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if ((size_t)snprintf(path, sizeof path, "%s/sluice-XXXXXX", dir) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void note_full(struct spools *all)
{
    if ((errno != ENOSPC && errno != EDQUOT) || atomic_exchange(&all->full_said, true))
        return;
    int err = errno;
    say(SAY_WARN, "no room in %s for bodies that are not whole yet (TMPDIR names another place)",
        all->dir);
    errno = err;
}

/* Its offset is the reader's: a child's, maybe. */
static int write_at(struct spool *s, uint64_t at, const char *data, size_t len)
{
    while (len) {
        ssize_t n = FAULT_FAILS("uploader.spool.write") ? -1 : pwrite(s->fd, data, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            note_full(s->all);
            return -1;
        }
        at += (uint64_t)n;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int move_to_file(struct spool *s)
{
    if (s->fd >= 0)
        return 0;
    s->fd = open_file(s->all->dir);
    if (s->fd < 0) {
        note_full(s->all);
        return -1;
    }
    if (write_at(s, 0, s->memory, s->bytes))
        return -1;
    free_memory(s);
    return 0;
}

int spool_write(struct spool *s, const void *data, size_t len)
{
    if (s->fd < 0 && widen(s, len)) {
        if (len)
            memcpy(s->memory + s->bytes, data, len);
    } else if (move_to_file(s) || write_at(s, s->bytes, data, len)) {
        return -1;
    }
    s->bytes += len;
    return 0;
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

ssize_t spool_read(struct spool *s, uint64_t offset, void *out, size_t len)
{
    size_t done = 0;
    if (offset >= s->bytes)
        return 0;
    if (len > s->bytes - offset)
        len = (size_t)(s->bytes - offset);
    if (s->fd < 0) {
        memcpy(out, s->memory + offset, len);
        return (ssize_t)len;
    }
    while (done < len) {
        ssize_t n = pread(s->fd, (char *)out + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : EIO; /* shorter than what was written: not ours any more */
            return -1;
        }
        done += (size_t)n;
    }
    return (ssize_t)len;
}

const void *spool_memory(const struct spool *s)
{
    return s->fd < 0 ? s->memory ? s->memory : "" : NULL;
}

int spool_fd(struct spool *s)
{
    if (move_to_file(s) || lseek(s->fd, 0, SEEK_SET) < 0)
        return -1;
    return s->fd;
}

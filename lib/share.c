#include "lib/share.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    GUESTS_MOST = 64,   /* more do without */
    NUMBER_BYTES = 64,  /* a cache line each: two processes write to neighbours */
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
};

static const uint64_t MAGIC = 0x31657261685365ull; /* the layout's version too */
static const uint32_t NONE = UINT32_MAX;

/* The file: this head, then a number for each block, then, from a page's begin, the blocks. */
struct head {
    uint64_t magic, owner, block_bytes, count;
    _Atomic uint64_t guests[GUESTS_MOST];
};

/* What the owner knows of a block. */
struct share_note {
    uint32_t next, prev;  /* in its list; prev only of lent ones */
    uint32_t *count;      /* its guest's loans */
};

static size_t round_up(size_t n)
{
    return (n + PAGE - 1) / PAGE * PAGE;
}

static size_t blocks_at(uint64_t count)
{
    return round_up(sizeof(struct head) + (size_t)count * NUMBER_BYTES);
}

static _Atomic uint64_t *number(char *map, uint64_t block)
{
    return (_Atomic uint64_t *)(void *)(map + sizeof(struct head) + block * NUMBER_BYTES);
}

/* The owner's side. */

static uint32_t index_of(const struct share *s, const void *p)
{
    return (uint32_t)((size_t)((const char *)p - s->map - blocks_at(s->count)) / s->block_bytes);
}

static int fill(struct share *s, uint64_t owner)
{
    if (ftruncate(s->fd, (off_t)s->bytes) || fcntl(s->fd, F_ADD_SEALS, SEALS))
        return -1;
    s->map = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (s->map == MAP_FAILED) {
        s->map = NULL;
        return -1;
    }
    struct head *head = (struct head *)(void *)s->map;
    head->owner = owner;
    head->block_bytes = s->block_bytes;
    head->count = s->count;
    head->magic = MAGIC;
    return 0;
}

int share_open(struct share *s, uint64_t owner, size_t bytes, uint32_t count)
{
    *s = (struct share){.block_bytes = round_up(bytes), .count = count, .next_seq = 1,
                        .free = NONE, .lent = NONE};
    s->bytes = blocks_at(count) + s->block_bytes * count;
    s->notes = calloc(count, sizeof *s->notes);
    s->fd = s->notes ? memfd_create("sluice", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
    if (s->fd < 0 || fill(s, owner)) {
        int err = errno;
        share_close(s);
        errno = err;
        return -1;
    }
    snprintf(s->name, sizeof s->name, "/proc/%d/fd/%d", (int)getpid(), s->fd);
    return 0;
}

void share_close(struct share *s)
{
    if (s->map)
        munmap(s->map, s->bytes);
    if (s->fd >= 0)
        close(s->fd);
    free(s->notes);
    *s = (struct share){.fd = -1, .free = NONE, .lent = NONE};
}

bool share_has_guest(const struct share *s, uint64_t member)
{
    struct head *head = (struct head *)(void *)s->map;
    for (int i = 0; head && i < GUESTS_MOST; i++)
        if (atomic_load(&head->guests[i]) == member)
            return true;
    return false;
}

void *share_take(struct share *s)
{
    uint32_t i = s->free;
    if (i != NONE)
        s->free = s->notes[i].next;
    else if (s->fresh < s->count)
        i = s->fresh++;
    return i == NONE ? NULL : s->map + blocks_at(s->count) + (size_t)i * s->block_bytes;
}

static void free_block(struct share *s, uint32_t i)
{
    s->notes[i].next = s->free;
    s->free = i;
}

void share_give(struct share *s, void *block)
{
    free_block(s, index_of(s, block));
}

bool share_own(const struct share *s, const void *p)
{
    return s->map && (const char *)p >= s->map && (const char *)p < s->map + s->bytes;
}

uint64_t share_lend(struct share *s, void *block, const void *bytes, uint32_t *count, uint64_t *at)
{
    uint32_t i = index_of(s, block);
    uint64_t seq = s->next_seq++;
    assert(i < s->fresh && atomic_load(number(s->map, i)) == 0);
    s->notes[i] = (struct share_note){.next = s->lent, .prev = NONE, .count = count};
    ++*count;
    if (s->lent != NONE)
        s->notes[s->lent].prev = i;
    s->lent = i;
    *at = (uint64_t)((const char *)bytes - s->map);
    atomic_store(number(s->map, i), seq);
    return seq;
}

static void end_loan(struct share *s, uint32_t i)
{
    struct share_note *n = &s->notes[i];
    --*n->count;
    if (n->prev == NONE)
        s->lent = n->next;
    else
        s->notes[n->prev].next = n->next;
    if (n->next != NONE)
        s->notes[n->next].prev = n->prev;
    free_block(s, i);
}

void share_collect(struct share *s)
{
    for (uint32_t i = s->lent, next; i != NONE; i = next) {
        next = s->notes[i].next;
        if (atomic_load_explicit(number(s->map, i), memory_order_acquire) == 0)
            end_loan(s, i);
    }
}

void share_reclaim(struct share *s, const uint32_t *count)
{
    for (uint32_t i = s->lent, next; i != NONE; i = next) {
        next = s->notes[i].next;
        if (s->notes[i].count != count)
            continue;
        atomic_store(number(s->map, i), 0); /* before anything else is written there */
        end_loan(s, i);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

/* The guest's side. */

struct guest {
    char *map;
    uint64_t self;                    /* who we said we are */
    size_t bytes;
    size_t blocks_from, block_bytes;  /* as they were when it was mapped */
    unsigned holds;
};

/* Nothing is opened that is not such a file: a name from elsewhere may mean anything here. */
static int open_memory(const char *name)
{
    char self[SHARE_NAME];
    struct stat st;
    int fd = -1, path = open(name, O_PATH | O_CLOEXEC);
    if (path < 0)
        return -1;
    snprintf(self, sizeof self, "/proc/self/fd/%d", path);
    if (fstat(path, &st) == 0 && S_ISREG(st.st_mode))
        fd = open(self, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fcntl(fd, F_GET_SEALS) != SEALS) {
        close(fd);
        fd = -1;
    }
    close(path);
    return fd;
}

static bool read_layout(struct guest *g, uint64_t owner)
{
    const struct head *h = (const struct head *)(const void *)g->map;
    uint64_t count = h->count;
    g->block_bytes = h->block_bytes;
    if (h->magic != MAGIC || h->owner != owner || count == 0 || count > g->bytes ||
        g->block_bytes == 0 || g->block_bytes > g->bytes)
        return false;
    g->blocks_from = blocks_at(count);
    return g->blocks_from <= g->bytes &&
           (g->bytes - g->blocks_from) / g->block_bytes == count;
}

static bool announce(const struct guest *g, uint64_t self)
{
    struct head *head = (struct head *)(void *)g->map;
    for (int i = 0; i < GUESTS_MOST; i++) {
        uint64_t nobody = 0;
        if (atomic_compare_exchange_strong(&head->guests[i], &nobody, self) || nobody == self)
            return true;
    }
    return false;
}

static void withdraw(const struct guest *g)
{
    struct head *head = (struct head *)(void *)g->map;
    for (int i = 0; i < GUESTS_MOST; i++) {
        uint64_t mine = g->self;
        if (atomic_compare_exchange_strong(&head->guests[i], &mine, 0))
            return;
    }
}

struct guest *guest_open(const char *name, size_t name_len, uint64_t owner, uint64_t self)
{
    char path[SHARE_NAME];
    struct stat st;
    if (name_len >= sizeof path || name_len < 6 || memcmp(name, "/proc/", 6)) {
        errno = EINVAL;
        return NULL;
    }
    snprintf(path, sizeof path, "%.*s", (int)name_len, name);
    struct guest *g = calloc(1, sizeof *g);
    int fd = g ? open_memory(path) : -1;
    if (fd < 0 || fstat(fd, &st) || st.st_size < (off_t)sizeof(struct head))
        goto fail;
    g->bytes = (size_t)st.st_size;
    g->holds = 1;
    g->map = mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (g->map == MAP_FAILED) {
        g->map = NULL;
        goto fail;
    }
    if (!read_layout(g, owner) || !announce(g, self))
        goto fail;
    g->self = self;
    close(fd);
    return g;
fail:
    if (fd >= 0)
        close(fd);
    if (g && g->map)
        munmap(g->map, g->bytes);
    free(g);
    errno = ENOENT;
    return NULL;
}

void guest_hold(struct guest *g)
{
    g->holds++;
}

void guest_drop(struct guest *g)
{
    if (!g || --g->holds)
        return;
    withdraw(g);
    munmap(g->map, g->bytes);
    free(g);
}

/* The block that `at` is in, UINT64_MAX if none. */
static uint64_t block_at(const struct guest *g, uint64_t at, uint64_t len)
{
    if (at < g->blocks_from || at >= g->bytes || len > g->bytes - at)
        return UINT64_MAX;
    uint64_t block = (at - g->blocks_from) / g->block_bytes;
    uint64_t last = (at + (len ? len - 1 : 0) - g->blocks_from) / g->block_bytes;
    return last == block ? block : UINT64_MAX;
}

const void *guest_bytes(const struct guest *g, uint64_t at, uint64_t len, uint64_t seq)
{
    uint64_t block = block_at(g, at, len);
    if (block == UINT64_MAX || seq == 0 || atomic_load(number(g->map, block)) != seq)
        return NULL;
    return g->map + at;
}

bool guest_holds(const struct guest *g, uint64_t at, uint64_t seq)
{
    atomic_thread_fence(memory_order_acquire); /* what was read before is not read after this */
    return atomic_load(number(g->map, block_at(g, at, 0))) == seq;
}

void guest_return(const struct guest *g, uint64_t at, uint64_t seq)
{
    uint64_t mine = seq;
    atomic_compare_exchange_strong(number(g->map, block_at(g, at, 0)), &mine, 0);
}

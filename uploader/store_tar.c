/* tar:DIR - WebDataset shards: shard-000000.tar and so on, in which the two members of an object (its
 * body, what is known of it: sample.h) lie side by side.
 *
 * A body is spooled until it is whole. Then any thread makes its facts, so that what fails there fails
 * alone. A group is appended by one thread to the shard that is open, which is kept (shard.h) before
 * the receipts go. So a killed uploader loses nothing that has a receipt, and the next one goes on with
 * its shard.
 *
 * A key that comes again is known while the shard it is in is open, and is said to be there already;
 * of those in finished shards, and in other uploaders', nothing is known: it is stored once more, and
 * the place in the manifest is the one that counts.
 *
 * Memory: about 200 bytes for each object in the open shard; the facts of those not yet in one. */
#define HASH_NONFATAL_OOM 1 /* in a thread of the pool nobody ends the process */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/say.h"
#include "lib/table.h"
#include "uploader/sample.h"
#include "uploader/shard.h"
#include "uploader/store.h"

enum {
    GATHER_MS = 500,          /* a frame of many objects is packed better than many frames */
    /* Four texts of 64 KiB (MSG_TEXT_MOST), of each byte of which JSON makes six, fit. */
    FACTS_MOST = TAR_TEXT_MOST - 1,
};

static int64_t shard_count = 10000, shard_size = 1 << 30;

static const struct opt options[] = {
    {"shard-count", 0, "N", OPT_INT, &shard_count, 1, 10000000, "objects in a shard, at most (10000)"},
    {"shard-size", 0, "BYTES", OPT_BYTES, &shard_size, 1, INT64_MAX / 4,
     "a body that would take a shard beyond so many bytes, unpacked, goes into the next one (1G)"},
    {0},
};

/* An object of the open shard. */
struct entry {
    uint64_t at, bytes;
    char digest[DIGEST_TEXT];
    UT_hash_handle hh;
    char key[];
};

struct tar_store {
    int fd;
    struct store_settings settings;
    struct shards shards;
    struct shard *shard;    /* NULL: none is open */
    struct entry *entries;  /* by key, in the order of `at`; owned */
    uint64_t scanned, body_at, body_bytes;  /* members; of the last body */
};

struct tar_object {
    struct tar_store *store;
    const struct store_facts *facts;
    struct spool *spool;  /* owned */
    struct buf json;      /* the facts, once it is sealed; owned */
    bool too_long;        /* they are longer than FACTS_MOST */
};

/* The objects of the open shard. */

static int remember(struct tar_store *t, const char *key, uint64_t at, uint64_t bytes,
                    const char *digest)
{
    struct entry *old, *e = calloc(1, sizeof *e + strlen(key) + 1);
    if (!e)
        return -1;
    strcpy(e->key, key);
    e->at = at;
    e->bytes = bytes;
    snprintf(e->digest, sizeof e->digest, "%s", digest);
    HASH_FIND_STR(t->entries, key, old);
    if (old) {
        HASH_DEL(t->entries, old);
        free(old);
    }
    HASH_ADD_STR(t->entries, key, e);
    if (e->hh.tbl)
        return 0;
    free(e);
    return -1;
}

/* Those from `at` on. */
static void forget(struct tar_store *t, uint64_t at)
{
    struct entry *e, *tmp;
    HASH_ITER(hh, t->entries, e, tmp)
        if (e->at >= at) {
            HASH_DEL(t->entries, e);
            free(e);
        }
}

/* A body, then its facts, in turn: a body may look like facts. */
static void on_member(void *arg, const struct tar_found *f)
{
    struct tar_store *t = arg;
    struct sample_read facts;
    if (t->scanned++ % 2 == 0) {
        t->body_at = f->at;
        t->body_bytes = f->bytes;
    } else if (f->text && sample_read(f->text, &facts)) {
        remember(t, facts.key, t->body_at, t->body_bytes, facts.digest);
    }
}

/* Life. */

static int pack_of(const char *name)
{
    return strcmp(name, "none") == 0 ? TAR_PLAIN : strcmp(name, "zst") == 0 ? TAR_ZST
           : strcmp(name, "gz") == 0 ? TAR_GZ : -1;
}

static void *tar_store_open(const char *path, const struct store_settings *s)
{
    int pack = store_compress ? pack_of(store_compress) : TAR_PLAIN;
    if (pack < 0)
        say_die(EXIT_USAGE, "--compress: '%s' is neither zst nor gz", store_compress);
    int fd = store_open_dir(s->dest, path, s->fsync);
    if (fd < 0)
        return NULL;
    struct tar_store *t = calloc(1, sizeof *t);
    if (!t)
        say_die(EXIT_TEMP, "out of memory");
    *t = (struct tar_store){.fd = fd, .settings = *s};
    t->shards = (struct shards){.dir = fd, .pack = (enum tar_pack)pack, .fsync = s->fsync};
    t->shard = shards_look(&t->shards, true);
    if (t->shard)
        shard_members(t->shard, on_member, t);
    return t;
}

static void close_shard(struct tar_store *t)
{
    forget(t, 0);
    if (t->shard)
        shard_finish(&t->shard); /* what it can't do it has said */
}

static void tar_store_close(void *store)
{
    struct tar_store *t = store;
    close_shard(t);
    shards_look(&t->shards, false); /* one that was killed after we came leaves nobody else to do it */
    close(t->fd);
    free(t);
}

static int64_t tar_free_bytes(void *store)
{
    return store_free_below(((const struct tar_store *)store)->fd);
}

static int64_t tar_gather_ms(void *store)
{
    return ((const struct tar_store *)store)->shards.pack == TAR_PLAIN ? 0 : GATHER_MS;
}

static void tar_drop(void *object)
{
    struct tar_object *o = object;
    spool_close(o->spool);
    buf_free(&o->json);
    free(o);
}

static void *tar_begin(void *store, const struct store_facts *f)
{
    struct tar_object *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    o->store = store;
    o->facts = f;
    o->json = buf_make(FACTS_MOST);
    if ((o->spool = spool_open(o->store->settings.spools)))
        return o;
    free(o);
    return NULL;
}

static int tar_write(void *object, const void *data, size_t len)
{
    return spool_write(((struct tar_object *)object)->spool, data, len);
}

static int tar_seal(void *object)
{
    struct tar_object *o = object;
    errno = 0;
    sample_facts(&o->json, o->facts);
    o->too_long = o->json.failed && errno == ENOBUFS;
    return o->json.failed ? -1 : 0;
}

static void tar_explain(void *object, struct store_commit *c)
{
    c->final = ((const struct tar_object *)object)->too_long;
    if (c->final)
        snprintf(c->detail, sizeof c->detail, "what is known of it is longer than %d bytes of JSON",
                 FACTS_MOST);
}

/* Groups. */

static int add_sample(struct tar_store *t, struct tar_object *o)
{
    const struct store_facts *f = o->facts;
    struct sample_names names;
    struct tar *tar = t->shard->tar;
    sample_names(f->key, &names);
    return tar_add_spool(tar, names.body, f->received_ms / 1000, o->spool) ||
                   tar_add_text(tar, names.facts, f->received_ms / 1000, o->json.data, o->json.len)
               ? -1 : 0;
}

static void say_place(const struct tar_store *t, uint64_t at, struct store_commit *c)
{
    char name[SHARD_NAME];
    shard_name(t->shard, name);
    snprintf(c->place, sizeof c->place, "%s#%" PRIu64, name, at);
}

static bool is_there(struct tar_store *t, struct store_commit *c)
{
    struct entry *e = NULL;
    if (!t->settings.overwrite)
        HASH_FIND_STR(t->entries, c->facts->key, e);
    if (!e)
        return false;
    c->existing = true;
    c->bytes = e->bytes;
    memcpy(c->digest, e->digest, sizeof c->digest);
    say_place(t, e->at, c);
    return true;
}

static bool is_full(const struct tar_store *t, const struct tar_object *o)
{
    uint64_t at = tar_at(t->shard->tar);
    unsigned count = HASH_COUNT(t->entries);
    return count >= (uint64_t)shard_count ||
           (count && at + spool_bytes(o->spool) > (uint64_t)shard_size);
}

/* Makes the objects v[*from] to v[until - 1] that were added whole and safe, or fails them all. */
static int keep(struct tar_store *t, struct store_commit *v, int *from, int until)
{
    int err = 0;
    if (*from < until && shard_keep(t->shard)) {
        err = errno;
        forget(t, t->shard->kept_at);
        if (!t->shard->tar)
            shard_leave(&t->shard);
        if (!t->shard)
            forget(t, 0);
    }
    for (; *from < until; ++*from)
        v[*from].err = err;
    errno = err;
    return err ? -1 : 0;
}

/* A shard with room for `o`. */
static int open_shard(struct tar_store *t, struct tar_object *o, struct store_commit *v, int *from,
                      int until)
{
    if (t->shard && is_full(t, o)) {
        if (keep(t, v, from, until))
            return -1;
        close_shard(t);
    }
    if (!t->shard)
        t->shard = shard_new(&t->shards);
    return t->shard ? 0 : -1;
}

/* Adds one; those before it from *from on are added and not kept yet. */
static int add(struct tar_store *t, struct store_commit *v, int *from, int i)
{
    struct tar_object *o = v[i].object;
    if (t->shard && is_there(t, &v[i]))
        return 0;
    if (open_shard(t, o, v, from, i))
        return -1;
    uint64_t at = tar_at(t->shard->tar);
    if (add_sample(t, o) || remember(t, o->facts->key, at, o->facts->bytes, o->facts->digest))
        return -1;
    v[i].bytes = spool_bytes(o->spool);
    say_place(t, at, &v[i]);
    /* Unpacked, what fails takes none before it along. */
    return t->shards.pack == TAR_PLAIN && !t->settings.fsync ? keep(t, v, from, i + 1) : 0;
}

/* What was added since `from` is gone. */
static void undo(struct tar_store *t, struct store_commit *v, int *from, int until, int err)
{
    for (; *from < until; ++*from)
        v[*from].err = err;
    if (!t->shard)
        return;
    forget(t, t->shard->kept_at);
    if (shard_undo(t->shard)) {
        shard_leave(&t->shard);
        forget(t, 0);
    }
}

static void tar_commit(struct store_commit *v, int count)
{
    struct tar_store *t = ((struct tar_object *)v[0].object)->store;
    int from = 0;
    for (int i = 0; i < count; i++)
        if (add(t, v, &from, i))
            undo(t, v, &from, i + 1, errno ? errno : EIO);
    if (t->shard)
        keep(t, v, &from, count);
    for (int i = 0; i < count; i++)
        tar_drop(v[i].object);
}

const struct store_ops store_tar = {
    .scheme = "tar",
    .usage = "tar:DIR",
    .about = "shards for WebDataset: DIR/shard-000000.tar and so on",
    .options = options,
    .grouped = true,
    .open = tar_store_open,
    .close = tar_store_close,
    .free_bytes = tar_free_bytes,
    .gather_ms = tar_gather_ms,
    .begin = tar_begin,
    .write = tar_write,
    .seal = tar_seal,
    .explain = tar_explain,
    .commit = tar_commit,
    .drop = tar_drop,
};

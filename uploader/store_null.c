/* null: throws bodies away; for measuring what comes before the store. */
#include <stdlib.h>

#include "uploader/store.h"

static void *null_open(const char *place, const struct store_settings *s)
{
    (void)place, (void)s;
    static char store;
    return &store;
}

static void null_close(void *store)
{
    (void)store;
}

static void *null_begin(void *store, const struct store_facts *f)
{
    (void)store, (void)f;
    return calloc(1, sizeof(uint64_t));
}

static int null_write(void *object, const void *data, size_t len)
{
    (void)data;
    *(uint64_t *)object += len;
    return 0;
}

static void null_commit(struct store_commit *v, int count)
{
    for (int i = 0; i < count; i++) {
        v[i].bytes = *(uint64_t *)v[i].object;
        free(v[i].object);
    }
}

const struct store_ops store_null = {
    .scheme = "null",
    .usage = "null:",
    .about = "thrown away, for measuring",
    .open = null_open,
    .close = null_close,
    .begin = null_begin,
    .write = null_write,
    .commit = null_commit,
    .drop = free,
};

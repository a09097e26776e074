/* store.h - a place that bodies are put into: the one interface every store implements.
 *
 * Promises: an object is invisible until commit and whole after it; put-if-absent unless
 * --overwrite; what is not committed leaves nothing behind.
 * Threads: open and close from the main thread; the rest from any, one at a time per object. */
#ifndef SLUICE_STORE_H
#define SLUICE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"

struct store_settings {
    bool overwrite;   /* replace what is there */
    bool fsync;       /* durable before the receipt */
    uint64_t member;  /* makes temporary names ours */
};

enum { STORE_GROUP_MOST = 256 };  /* objects in one commit */

/* One object to commit, and what came of it. */
struct store_commit {
    void *object;               /* written whole; ends with the commit, whatever comes of it */
    enum digest_kind kind;      /* the digest wanted if there is one already */
    int err;                    /* 0, or an errno: nothing is there */
    bool existing;              /* the key was there: bytes and digest are of what is there */
    uint64_t bytes;
    char digest[DIGEST_TEXT];   /* only if existing */
};

struct store_ops {
    const char *scheme;  /* "dir" of dir:PATH */
    /* Gives a store, or NULL with errno after saying why. `place`: what follows the colon. */
    void *(*open)(const char *place, const struct store_settings *s);
    void (*close)(void *store);
    int64_t (*free_bytes)(void *store);  /* room for us; INT64_MAX: no such limit, or unknown */
    /* Gives an object to write to, or NULL with errno. `d` is unique per attempt. */
    void *(*begin)(void *store, const char *key, uint64_t d);
    int (*write)(void *object, const void *data, size_t len);  /* 0, or -1 with errno */
    /* Ends `count` objects (1 to STORE_GROUP_MOST), of this store all. Several at once where
     * durability costs the same for many as for one (--fsync). */
    void (*commit)(struct store_commit *v, int count);
    void (*drop)(void *object);  /* ends it; nothing remains */
};

extern const struct store_ops store_dir, store_null;

/* The store that DEST names, NULL if none; *place is what follows its colon. */
const struct store_ops *store_find(const char *dest, const char **place);

/* A key we accept: [A-Za-z0-9._-] in parts between single slashes, none of which begins with a
 * dot, at most 1024 bytes. The fetcher has it from the feeder, but names come from a fixed
 * alphabet here too. */
bool store_key_ok(const char *key, size_t len);
#endif

/* store.h - a place that bodies are put into: the one interface every store implements. How to
 * write one is in docs/stores.md.
 *
 * Promises: an object is invisible until commit and whole after it; put-if-absent unless
 * --overwrite; what is not committed leaves nothing behind.
 * Threads: open and close from the main thread; the rest from any, one at a time per object, and
 * commits in groups one at a time. None is in the loop: each call may block, and then holds one of
 * the uploader's -j threads. */
#ifndef SLUICE_STORE_H
#define SLUICE_STORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"
#include "lib/opt.h"
#include "uploader/spool.h"

struct store_settings {
    const char *dest;       /* the whole of it, "dir:out" */
    bool overwrite;         /* replace what is there */
    bool fsync;             /* durable before the receipt */
    uint64_t member;        /* makes temporary names ours */
    int threads;            /* calls at once, at most */
    struct spools *spools;  /* borrowed; for bodies that must be whole first */
};

enum {
    STORE_GROUP_MOST = 256,  /* objects in one commit */
    STORE_DETAIL = 256,
    STORE_PLACE = 256,
    STORE_ATTEMPT = 33,
};

/* What is known of an object. Texts are NUL-terminated, "" where not known (never NULL), and come
 * from other processes: only the key's characters were judged (store_key_ok). All is borrowed until
 * the object has ended, the struct itself too. */
struct store_facts {
    const char *key, *url, *content_type;
    uint64_t task;             /* the line's number */
    uint64_t member, serial;   /* this process, and the object in it: see store_attempt() */
    int64_t received_ms;       /* Unix time; when its first chunk came here */
    /* Of a store that wants_head, where the fetcher knew them (an object may come without): header
     * blocks with first and empty line, as received and as sent; the address connected to. */
    const char *head, *request, *ip;
    size_t head_len, request_len;
    bool decoded;              /* the body is not in the Content-Encoding that the head says */
    /* From commit on; at begin already where `complete`: the body came in one chunk. */
    bool complete;
    const char *url_effective;
    const char *digest;        /* "sha256:<hex>", of the fetcher; "" with --digest none */
    uint64_t bytes, response_code, time_us;
};

/* One object to commit, and what came of it. The uploader has zeroed what it does not set. */
struct store_commit {
    void *object;               /* written whole; ends with the commit, whatever comes of it */
    const struct store_facts *facts;
    enum digest_kind kind;      /* the digest wanted if there is one already */

    int err;                    /* 0, or an errno: nothing is there */
    bool existing;              /* the key was there: bytes and digest are of what is there */
    uint64_t bytes;
    char digest[DIGEST_TEXT];   /* only if existing */
    char place[STORE_PLACE];    /* where in the store, if the key does not say it; else "" */

    /* Where err is set. ENOSPC and EDQUOT are class "full" whatever stands here: no try of the
     * object's is counted, and the intake is left unread until free_bytes() says there is room. */
    char detail[STORE_DETAIL];  /* a sentence for the manifest; "": strerror(err) */
    const char *class;          /* static; NULL: "store" */
    bool final;                 /* trying again can't help */
    /* The store takes no more for now (429, 503): class "full" too, so no try is counted, and the
     * intake is left unread for retry_after_ms (0: a second; at most a minute). */
    bool busy;
    uint64_t retry_after_ms;    /* without `busy`: this object is not tried again before */
};

struct store_ops {
    const char *scheme;  /* "dir" of dir:PATH */
    const char *usage;   /* "dir:PATH", for --help; NULL: another scheme's line says it */
    const char *about;   /* likewise: a line of what it does */
    /* Its own options, NULL: none. Every store's are in --help and are parsed whatever DEST is; so
     * their names are new among all, and a store may read what another's set. */
    const struct opt *options;
    bool wants_head;     /* facts' head, request, ip: fetchers spend time on them */
    /* Commits in groups always, not only with --fsync; for what costs the same for many as for one.
     * One group is committed at a time, in the order in which objects were written whole. */
    bool grouped;
    bool single;         /* never in groups, not with --fsync either */
    int threads;         /* calls at once without -j; 0: 4 */

    /* Gives a store, or NULL with errno after saying why. `place`: what follows the colon. */
    void *(*open)(const char *place, const struct store_settings *s);
    void (*close)(void *store);
    /* From the main thread, before the last drops: we end, so calls that would still wait for long
     * are to fail soon. NULL: none does. */
    void (*abandon)(void *store);
    int64_t (*free_bytes)(void *store);  /* room for us; NULL, INT64_MAX: no limit that we know */
    /* How long a group may wait for company, at most 1,000 ms. NULL: it goes when the one before is
     * done. Only if grouped. */
    int64_t (*gather_ms)(void *store);
    /* Gives an object to write to, or NULL with errno. */
    void *(*begin)(void *store, const struct store_facts *f);
    int (*write)(void *object, const void *data, size_t len);  /* 0, or -1 with errno */
    /* After the last write: what can be done for the whole body before its turn to be committed
     * comes, side by side with other objects. Fails as a write does. NULL: nothing. */
    int (*seal)(void *object);
    /* After a write or seal that failed, before drop: fills what a failed commit would (detail,
     * final, busy, ...; not err). NULL: errno says it all. */
    void (*explain)(void *object, struct store_commit *c);
    /* Ends `count` objects (1 to STORE_GROUP_MOST), of this store all. More than one only if
     * grouped or with --fsync. */
    void (*commit)(struct store_commit *v, int count);
    void (*drop)(void *object);  /* ends it; nothing remains */
};

extern const struct store_ops store_dir, store_exec, store_http, store_https, store_null,
    store_pipe, store_s3, store_tar, store_warc;

/* All stores, NULL after the last. */
extern const struct store_ops *const stores[];

/* The store that DEST names, NULL if none; *place is what follows its colon. */
const struct store_ops *store_find(const char *dest, const char **place);

/* For stores below a directory: makes it, if it is not there, and gives a descriptor; -1 with errno
 * after saying why: we can't write there. */
int store_open_dir(const char *dest, const char *path, bool fsync);
/* A free_bytes() for stores with a directory. */
int64_t store_free_below(int dir_fd);

/* The attempt's name, 32 digits and small letters: no other attempt has it, of whatever run or
 * uploader. For temporary names, and to know one's own again. */
void store_attempt(const struct store_facts *f, char out[STORE_ATTEMPT]);

/* --compress, for the stores that have it; NULL: as the store does by itself. */
extern const char *store_compress;

/* For a program's --help: the stores' option tables and a heading for each, into lists with room
 * for OPT_TABLES_MOST, from index `at` on; a NULL after the last. */
void store_options(const struct opt **tables, const char **headings, int at);
/* Likewise: a line for each store, into `out`, which has room for them. */
void store_usage(char *out, size_t size);

/* A key we accept: [A-Za-z0-9._-] in parts between single slashes, none of which begins with a
 * dot, at most 1024 bytes. The fetcher has it from the feeder, but names come from a fixed
 * alphabet here too. */
bool store_key_ok(const char *key, size_t len);
#endif

/* tar_member.h - a tar (POSIX pax) being written member by member, packed or not, and one being read
 * to find what is whole in it.
 *
 * Members are where `at` says, counted in the tar itself, before it is packed. A packed tar is made
 * of frames (zstd) or members (gzip): tar_flush() ends one, so that what is in the file by then can
 * be unpacked by itself.
 *
 * Hides:   libarchive. Threads: one at a time for each tar.
 * Errors:  -1 with errno; the tar is of no more use then: tar_close(), and cut the file.
 * Source:  libarchive's archive_write(3) and archive_read(3); POSIX.1-2001, "pax". */
#ifndef SLUICE_TAR_MEMBER_H
#define SLUICE_TAR_MEMBER_H
#include <stddef.h>
#include <stdint.h>

#include "uploader/spool.h"

enum tar_pack { TAR_PLAIN, TAR_ZST, TAR_GZ, TAR_PACKS };

/* ".tar", ".tar.zst", ".tar.gz". */
const char *tar_extension(enum tar_pack pack);

struct tar;

/* A tar at the end of the file `fd` (borrowed, its offset there), `at` bytes of tar before it. NULL
 * with errno. */
struct tar *tar_open(int fd, enum tar_pack pack, uint64_t at);
/* Writes nothing more. */
void tar_close(struct tar *t);

/* Bytes of tar so far: where the next member begins. */
uint64_t tar_at(const struct tar *t);

int tar_add_spool(struct tar *t, const char *name, int64_t mtime_s, struct spool *body);
int tar_add_text(struct tar *t, const char *name, int64_t mtime_s, const char *text, size_t len);
/* All that was added is in the file. */
int tar_flush(struct tar *t);
/* The tar's end, and tar_flush(). */
int tar_finish(struct tar *t);

/* A member that tar_scan() has found whole. */
struct tar_found {
    const char *name;
    uint64_t at, end;    /* from its header to the next one's, in the tar */
    uint64_t bytes;
    const char *text;    /* of NAME.json: its bytes, unless TAR_TEXT_MOST or more; else NULL */
};

enum { TAR_TEXT_MOST = 2 << 20 };

/* Reads the first `bytes` of the file `fd` and calls `found` for each whole member, in order. 0 at a
 * tar's end or where these bytes end between members. -1 with EILSEQ where they end in one, or are
 * damaged; with any other errno they can't be read: there may be more whole members. */
int tar_scan(int fd, enum tar_pack pack, uint64_t bytes,
             void (*found)(void *arg, const struct tar_found *f), void *arg);
#endif

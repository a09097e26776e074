/* source.h - where a body's bytes come from, before any coding.
 *
 * A source is read from front to back, once. All but files are made while they
 * are read and take no memory that grows with their length.
 */
#ifndef ORIGIN_SOURCE_H
#define ORIGIN_SOURCE_H

#include "bomb.h"
#include "gen.h"

enum source_kind {
    SOURCE_NOTHING,
    SOURCE_TEXT,     /* a few words */
    SOURCE_GEN,      /* the path's own bytes */
    SOURCE_BAD_GZIP, /* a gzip header, then bytes no inflater accepts */
    SOURCE_BOMB,
    SOURCE_FILE,     /* not read here: conn.c hands the file to sendfile(2) */
};

struct source {
    enum source_kind kind;
    int64_t left_bytes; /* still to be read; SOURCE_ENDLESS never falls */
    int64_t done_bytes;
    char text[512];     /* SOURCE_TEXT */
    struct gen gen;     /* SOURCE_GEN */
    struct bomb *bomb;  /* SOURCE_BOMB; owned */
    int file_fd;        /* SOURCE_FILE; owned */
};

#define SOURCE_ENDLESS INT64_MAX

/* Each of these fills an empty `source`; end it with source_close. */
void source_text(struct source *source, const char *text);
void source_gen(struct source *source, struct span path, int64_t bytes);
void source_bad_gzip(struct source *source, int64_t garbage_bytes);
void source_file(struct source *source, int *fd, int64_t bytes); /* takes *fd, sets it -1 */
int source_bomb(struct source *source, int64_t zero_bytes);      /* -1: no memory */

/* Write up to `size` further bytes to `out`. Returns how many, 0 at the end. */
size_t source_read(struct source *source, unsigned char *out, size_t size);

void source_close(struct source *source);

#endif

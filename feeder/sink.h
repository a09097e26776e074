/* sink.h - whole lines on their way into a file or a pipe.
 *
 * Nothing is ever waited for: lines stay in the buffer until the descriptor takes them. What a
 * full disk let through of a line is known, so the line goes on where it was cut.
 *
 * Hides: poll, partial writes. Threads: one. */
#ifndef SLUICE_SINK_H
#define SLUICE_SINK_H
#include <stdbool.h>
#include <stdint.h>

#include "lib/buf.h"

struct sink {
    int fd;              /* borrowed; -1: there is none, and nothing is kept */
    bool pipe;           /* may block: ask before each write */
    struct buf lines;    /* not written yet; the first may be, in part */
    uint64_t made;       /* lines so far */
    uint64_t pending;    /* of them, those in the buffer */
    int64_t oldest_ms;   /* clock; when the oldest of them came */
    uint64_t written;    /* bytes, since sink_open() */
    uint64_t torn;       /* of them, those that begin a line which is not out */
};

/* 0, or -1 with errno: `fd` is closed. */
int sink_open(struct sink *s, int fd);
void sink_close(struct sink *s);

/* To write a line: sink_begin(), add to the buffer it gives, sink_end(), which adds the line feed
 * (and ends the process when memory has run out: a missing line would be a lie). */
struct buf *sink_begin(struct sink *s);
void sink_end(struct sink *s);
/* Adds text to the line that has begun; line feeds, which a line can't have, as ?. */
void sink_add_plain(struct sink *s, const char *text, size_t len);

/* Writes what can be written without waiting. 1 all is out, 0 some is left, -1 errno: it can't
 * be written now. */
int sink_flush(struct sink *s);

/* After a failed flush, and no other to come: a file is cut after its last whole line. */
void sink_cut_torn(struct sink *s);
#endif

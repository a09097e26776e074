/* input.h - the list: lines from files or stdin, streamed, never loaded.
 *
 * Lines end with LF or CRLF; blank ones and those that begin with # are passed over (they have
 * numbers all the same). Reading never blocks: a pipe that has nothing says "not now". A list may
 * also be an earlier run's manifest, of which the failed lines are picked.
 *
 * Where reading has got to can be kept and gone on from: in a file by its offset, in a stream by
 * passing over as many bytes of the same stream given again.
 *
 * Hides: buffers, the files' order. */
#ifndef SLUICE_INPUT_H
#define SLUICE_INPUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INPUT_LINE_MOST = 16384 };  /* a longer line is no URL */

struct input;

struct input_line {
    const char *text;      /* borrowed until the next call; no line end; cut when too long */
    size_t len;
    uint64_t number;       /* over all lists, from 1: the task's number */
    const char *file;      /* borrowed */
    uint64_t file_line;    /* in that file, from 1 */
    const char *bad;       /* why it is no URL of ours, or NULL */
};

/* `names`: `count` files, "-" for stdin; none: stdin. `classes`: NULL, or the files are manifests
 * and what failed with one of these classes is wanted, comma-separated, "" for any. All are opened
 * at once, so that a wrong name is heard before anything runs: ends the process in words. A FIFO's
 * writer is not waited for in here; until it comes there is nothing "now". */
struct input *input_open(char *const *names, int count, const char *classes);
void input_close(struct input *in);

/* 1 a line, 0 not now, -1 the end, -2 a read error (errno; input_where() says where), 2 none yet:
 * call again, for so much was passed over that the caller may have others to look after. */
int input_next(struct input *in, struct input_line *line);

/* What to watch for more after a 0; -1: nothing to wait for. */
int input_fd(const struct input *in);
const char *input_where(const struct input *in);

/* Bytes read off, and in all files together, -1 if unknown (a pipe). */
int64_t input_offset(const struct input *in);
int64_t input_size(const struct input *in);

/* Where reading has got to: between two lines. */
struct input_place {
    uint32_t list;         /* the one being read, from 0; the number of lists: all are read */
    int64_t offset;        /* bytes of it that are read off */
    int64_t total;         /* input_offset() */
    uint64_t file_line, number;
    bool skipping;         /* in the rest of a line that was too long */
};

/* What list it was: by a few facts, so that another is told from it without reading it all. */
struct input_identity {
    bool stream;           /* cannot be sought: size and mtime are 0 */
    int64_t size, mtime_ns; /* of a stream that was read to its end: size alone */
    uint64_t digest;       /* XXH3-64 of the part read off: in a stream of all of it, in a file of
                            * its first and last 64 KiB; 0 in a file that is not being read */
};

uint32_t input_count(const struct input *in);
void input_place(const struct input *in, struct input_place *out);
/* List number i as of now. */
void input_identify(struct input *in, uint32_t i, struct input_identity *out);
/* Goes on from `place`, before the first input_next(). Ends the process in words unless the lists
 * are those of `ids` (`count` of them, as of `place`); a stream's part is judged as it comes. */
void input_resume(struct input *in, const struct input_place *place,
                  const struct input_identity *ids, uint32_t count);
/* A stream's part that was read before is still being passed over. */
bool input_is_passing_over(const struct input *in);
#endif

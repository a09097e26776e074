/* input.h - the list: lines from files or stdin, streamed, never loaded.
 *
 * Lines end with LF or CRLF; blank ones and those that begin with # are passed over (they have
 * numbers all the same). Reading never blocks: a pipe that has nothing says "not now".
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

/* `names`: `count` files, "-" for stdin; none: stdin. All are opened at once, so that a wrong
 * name is heard before anything runs: ends the process in words. */
struct input *input_open(char *const *names, int count);
void input_close(struct input *in);

/* 1 a line, 0 not now, -1 the end, -2 a read error (errno; input_where() says where). */
int input_next(struct input *in, struct input_line *line);

/* What to watch for more after a 0; -1: nothing to wait for. */
int input_fd(const struct input *in);
const char *input_where(const struct input *in);

/* Bytes read off, and in all files together, -1 if unknown (a pipe). */
int64_t input_offset(const struct input *in);
int64_t input_size(const struct input *in);
#endif

/* line.h - a line of a manifest, read back: by a feeder that goes on with a journal, and by
 * --retry-failed.
 *
 * Hides: jansson. Source: RFC 8259; manifest.c for the names. */
#ifndef SLUICE_LINE_H
#define SLUICE_LINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum line_status { LINE_OPEN, LINE_DELIVERED, LINE_FAILED };

struct line {
    uint64_t id;
    enum line_status status;
    const char *url;    /* url_len bytes; owned by hold, like class */
    size_t url_len;
    const char *class;  /* "" where there is none */
    uint64_t bytes;
    bool existing;
    void *hold;
};

/* Reads `len` bytes without a line end. 0, or -1: no line that a manifest has; nothing to free.
 * Without memory the process ends in words. */
int line_read(struct line *out, const char *text, size_t len);
void line_free(struct line *line);
#endif

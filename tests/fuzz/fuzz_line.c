/* Any bytes as a line of a manifest: refused or read. What was read is written as the manifest
 * would write it, and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "feeder/line.h"
#include "feeder/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_line(struct manifest *m, const struct line *l)
{
    struct manifest_entry e = {.id = l->id, .url = l->url, .url_len = l->url_len, .tries = 1};
    struct msg_outcome o = {.bytes = l->bytes, .existing = l->existing,
                            .class = msg_text(l->class)};
    if (l->status == LINE_DELIVERED)
        manifest_delivered(m, &e, &o);
    else if (l->status == LINE_FAILED)
        manifest_failed(m, &e, &o);
    else
        manifest_open_task(m, &e);
}

static void write_again(const struct line *l)
{
    static struct manifest m;
    struct line again;
    if (!m.lines.lines.max_bytes)
        manifest_open(&m, 0, -1, -1); /* never flushed */
    write_line(&m, l);
    const struct buf *b = &m.lines.lines;
    if (line_read(&again, b->data, b->len - 1) || again.id != l->id ||
        again.status != l->status || again.url_len != l->url_len ||
        memcmp(again.url, l->url, l->url_len))
        abort();
    if (l->status == LINE_DELIVERED && (again.bytes != l->bytes || again.existing != l->existing))
        abort();
    if (l->status == LINE_FAILED && strcmp(again.class, l->class))
        abort();
    line_free(&again);
    m.lines.lines.len = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line l;
    char *text = malloc(size + !size);
    if (size)
        memcpy(text, data, size);
    if (line_read(&l, text, size) == 0) {
        write_again(&l);
        line_free(&l);
    }
    free(text);
    return 0;
}

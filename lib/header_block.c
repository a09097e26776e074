#include "lib/header_block.h"

#include <string.h>

static bool begins_with(const char *data, size_t len, const char *start)
{
    size_t n = strlen(start);
    return len >= n && memcmp(data, start, n) == 0;
}

static bool ends_in(const struct buf *b, const char *end)
{
    size_t n = strlen(end);
    return b->len >= n && memcmp(b->data + b->len - n, end, n) == 0;
}

static void begin(struct header_block *b)
{
    b->text.len = 0;
    b->text.failed = b->whole = false;
    b->text.max_bytes = HEADER_BLOCK_MOST;
}

void header_block_received(struct header_block *b, const char *line, size_t len)
{
    if (begins_with(line, len, "HTTP/"))
        begin(b);
    else if (b->whole)
        return;
    buf_add(&b->text, line, len);
    b->whole = (len == 2 && memcmp(line, "\r\n", 2) == 0) || (len == 1 && *line == '\n');
}

void header_block_sent(struct header_block *b, const char *piece, size_t len)
{
    if (b->whole || !b->text.len || begins_with(piece, len, "GET "))
        begin(b);
    buf_add(&b->text, piece, len);
    b->whole = ends_in(&b->text, "\r\n\r\n");
}

const char *header_block_text(const struct header_block *b, size_t *len)
{
    if (!b->whole || b->text.failed)
        return NULL;
    *len = b->text.len;
    return b->text.data;
}

void header_block_free(struct header_block *b)
{
    buf_free(&b->text);
}

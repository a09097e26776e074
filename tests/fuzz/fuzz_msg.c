/* Any bytes as a frame: refused or read, never more than that. What was read is written and read
 * again. */
#include <stdint.h>
#include <stdlib.h>

#include "lib/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of chunks that are not lent. */
static int add_bytes(struct buf *b, const struct msg *m)
{
    for (uint32_t i = 0; m->kind == MSG_CHUNKS && i < m->chunks.items.count; i++) {
        const struct msg_chunk *c = &m->chunks.items.v[i];
        if (!c->seq && buf_add(b, c->bytes, c->len))
            return -1;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct msg_reader *r;
    struct msg m, again;
    const char *why;
    if (!r)
        r = msg_reader_open();
    if (msg_read(r, data, size, &m, &why))
        return 0;
    struct buf b = buf_make(MSG_HEAD_MOST);
    if (msg_write(&b, &m) == 0 && add_bytes(&b, &m) == 0 && msg_read(r, b.data, b.len, &again, &why))
        abort();
    buf_free(&b);
    return 0;
}

/* sent.h - objects sent whole to one uploader and not known to be read there: what a fetcher
 * still answers for, in order of message numbers.
 *
 * Memory: 32 bytes each. */
#ifndef SLUICE_SENT_H
#define SLUICE_SENT_H
#include <stdint.h>

struct sent_item {
    uint64_t d, task;
    uint64_t n;        /* the message that carried its last chunk */
    int64_t since_ms;  /* clock; when the task was read */
};

/* A ring; `{0}` is empty. */
struct sent {
    struct sent_item *items;  /* owned */
    uint32_t room;            /* a power of two, or 0 */
    uint32_t head, count;
};

void sent_free(struct sent *s);
/* `n` is not below those before it. Ends the process without memory (the feeder still owns it). */
void sent_add(struct sent *s, struct sent_item item);
/* Forgets those in messages up to `mark`. */
void sent_read(struct sent *s, uint64_t mark);
/* The i-th of them, i < count, oldest first. */
const struct sent_item *sent_at(const struct sent *s, uint32_t i);
#endif

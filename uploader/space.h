/* space.h - whether the store has room for more: its last --min-free bytes are left alone, and
 * after it was full, or asked for less, it is given a rest. Without room the intake is left unread,
 * so the shortage is felt back to the list, and nothing fails of it.
 *
 * Threads: the loop's. */
#ifndef SLUICE_SPACE_H
#define SLUICE_SPACE_H
#include <stdbool.h>
#include <stdint.h>

#include "uploader/store.h"

struct space {
    const struct store_ops *ops;
    void *store;            /* borrowed */
    int64_t min_free_bytes;
    int64_t look_ms;        /* clock; when to look again */
    int64_t said_ms;        /* clock; when we last spoke of it */
    int64_t rest_said_ms;   /* clock; and of a rest */
    bool low, full;         /* too little is left; a write has met none */
    bool said_low;          /* that it is low was the last we said */
    int64_t rest_until_ms;  /* clock; the store asked for so long */
};

/* Once a turn and before each message; looks at most every 20 ms. */
bool space_is_there(struct space *s);
/* A write has met a full disk. */
void space_is_full(struct space *s);
/* The store asks for less: it is left alone for `ms` (0: a second; at most a minute). */
void space_rest(struct space *s, int64_t ms);
/* Whether `err` says that the disk is full. */
bool space_lacks(int err);
/* How long the loop may sleep before it should look again. */
int64_t space_sleep_ms(const struct space *s);
#endif

#include "counts.h"

#include <stdlib.h>

#include "hash.h"

struct slot {
    uint64_t hash; /* 0: empty */
    int64_t count;
};

struct counts {
    struct slot *slots;
    size_t slots_mask;  /* slots are a power of two, at least twice max_targets */
    size_t targets;
    size_t max_targets;
};

struct counts *counts_open(size_t max_targets)
{
    size_t slots = 2;
    while (slots < 2 * max_targets)
        slots *= 2;
    struct counts *counts = calloc(1, sizeof(*counts));
    /* calloc: pages that no target has touched cost nothing. */
    struct slot *table = calloc(slots, sizeof(*table));
    if (counts == NULL || table == NULL) {
        free(counts);
        free(table);
        return NULL;
    }
    counts->slots = table;
    counts->slots_mask = slots - 1;
    counts->max_targets = max_targets;
    return counts;
}

/* The slot of `hash`, or the empty one where it belongs. */
static struct slot *find(const struct counts *counts, uint64_t hash)
{
    size_t at = hash & counts->slots_mask;
    while (counts->slots[at].hash != 0 && counts->slots[at].hash != hash)
        at = (at + 1) & counts->slots_mask;
    return &counts->slots[at];
}

int64_t counts_add(struct counts *counts, struct span target)
{
    uint64_t hash = hash_text(target);
    struct slot *slot = find(counts, hash);
    if (slot->hash == 0) {
        if (counts->targets == counts->max_targets)
            return 0;
        counts->targets++;
        slot->hash = hash;
    }
    return ++slot->count;
}

int64_t counts_get(const struct counts *counts, struct span target)
{
    return find(counts, hash_text(target))->count;
}

void counts_free(struct counts **counts)
{
    if (*counts != NULL)
        free((*counts)->slots);
    free(*counts);
    *counts = NULL;
}

#include "fetcher/body.h"

#include <stdlib.h>
#include <string.h>

#include "fetcher/inflate.h"
#include "lib/say.h"

enum { FIRST_BLOCK_BYTES = 16384 /* where the length was not said */ };

static _Noreturn void no_memory(void)
{
    say_die(EXIT_TEMP, "out of memory");
}

int bodies_open(struct bodies *all, const struct outlets *outlets, size_t count)
{
    all->pairs = digest_pairs(all->kind);
    return blocks_open(&all->blocks, outlets, all->chunk_bytes, count);
}

void bodies_close(struct bodies *all)
{
    blocks_close(&all->blocks);
}

void body_open(struct body *b, struct bodies *all)
{
    *b = (struct body){.all = all, .length = -1, .digest = digest_open(all->kind)};
    if (!b->digest)
        no_memory();
}

void body_close(struct body *b)
{
    if (!b->all)
        return;
    if (b->all->odd == b)
        b->all->odd = NULL;
    if (b->all->met == b)
        b->all->met = NULL;
    blocks_give(&b->all->blocks, b->block);
    digest_close(b->digest);
    inflate_close(b->inflate);
    b->all = NULL;
}

void body_expect(struct body *b, int64_t length, const char *encoding)
{
    b->inflate = encoding ? inflate_open(encoding) : NULL;
    b->length = b->inflate ? -1 : length;
}

/* Digests. */

static char *undigested(const struct body *b)
{
    return b->block + OUTLET_HEAD_ROOM + b->digested;
}

static void digest_alone(struct body *b)
{
    if (b->fill > b->digested)
        digest_add(b->digest, undigested(b), b->fill - b->digested);
    b->digested = b->fill;
    if (b->all->odd == b)
        b->all->odd = NULL;
}

/* `b` has new bytes in its block. */
static void digest_beside(struct body *b)
{
    struct bodies *all = b->all;
    struct body *odd = all->odd;
    if (!odd || odd == b) {
        all->odd = b;
        return;
    }
    size_t len = odd->fill - odd->digested, mine = b->fill - b->digested;
    if (mine < len)
        len = mine;
    digest_add_two(odd->digest, undigested(odd), b->digest, undigested(b), len);
    odd->digested += len;
    b->digested += len;
    if (odd->digested < odd->fill)
        return;
    all->odd = b->digested < b->fill ? b : NULL;
    all->met = odd;
}

const char *body_digest(struct body *b)
{
    digest_alone(b);
    if (b->digest && digest_text(b->digest, b->digest_text))
        say_die(EXIT_TEMP, "no digest: out of memory");
    digest_close(b->digest);
    b->digest = NULL;
    return b->digest_text;
}

/* Chunks. */

/* Room for at least one more byte in the block. */
static void widen(struct body *b)
{
    struct bodies *all = b->all;
    if (b->fill < b->block_bytes)
        return;
    size_t bytes = b->block_bytes ? b->block_bytes * 2 : FIRST_BLOCK_BYTES;
    bool said = !b->block && b->length > 0 && (uint64_t)b->length > b->offset;
    if (said)
        bytes = (size_t)((uint64_t)b->length - b->offset);
    if (bytes > all->chunk_bytes)
        bytes = all->chunk_bytes;
    bool whole = said && bytes == (size_t)b->length;
    b->block = b->block ? blocks_grow(&all->blocks, b->block, b->fill, bytes)
                        : blocks_take(&all->blocks, &bytes, whole);
    if (!b->block)
        no_memory();
    b->block_bytes = bytes;
}

enum body_got body_add(struct body *b, const char **data, size_t *len, bool alone)
{
    const struct bodies *all = b->all;
    bool more = b->inflate; /* the decoder may hold output after the last input byte */
    while (*len || more) {
        if (b->fill == all->chunk_bytes)
            return BODY_FULL;
        widen(b);
        char *out = b->block + OUTLET_HEAD_ROOM + b->fill;
        size_t room = b->block_bytes - b->fill;
        long n;
        if (b->inflate) {
            n = inflate_some(b->inflate, data, len, out, room);
            more = n == (long)room;
            if (n < 0)
                return BODY_DAMAGED;
        } else {
            n = (long)(*len < room ? *len : room);
            memcpy(out, *data, (size_t)n);
            *data += n;
            *len -= (size_t)n;
        }
        b->fill += (size_t)n;
        if (alone || !all->pairs)
            digest_alone(b);
        else
            digest_beside(b);
        if (all->max_bytes && b->offset + b->fill > (uint64_t)all->max_bytes)
            return BODY_TOO_LARGE;
    }
    return BODY_TOOK;
}

bool body_ends_well(const struct body *b)
{
    return !b->inflate || inflate_ended(b->inflate);
}

void body_make_chunk(struct body *b)
{
    if (!b->block && !(b->block = malloc(OUTLET_HEAD_ROOM)))
        no_memory();
    digest_alone(b);
}

void body_sent_chunk(struct body *b)
{
    b->offset += b->fill;
    b->fill = b->digested = 0;
    if (!b->block)
        b->block_bytes = 0;
}

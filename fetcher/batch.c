#include "fetcher/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/say.h"

static struct msg_text keep(struct batch *b, struct msg_text t)
{
    char *at = b->texts + b->texts_len;
    b->texts_len += t.len;
    if (t.len)
        memcpy(at, t.s, t.len);
    return (struct msg_text){at, t.len};
}

static size_t texts_of(const struct msg_chunk *c)
{
    return (size_t)c->url.len + c->key.len + c->content_type.len + c->head.len + c->request.len +
           c->ip.len + c->digest.len + c->url_effective.len;
}

bool batch_suits(const struct msg_chunk *c)
{
    return texts_of(c) <= BATCH_TEXTS;
}

bool batch_fits(const struct batch *b, const struct msg_chunk *c)
{
    return b->count < BATCH_ITEMS && b->texts_len + texts_of(c) <= BATCH_TEXTS &&
           (c->seq || !b->block || b->bodies_len + c->len <= b->room);
}

void batch_give_block(struct batch *b, char *block, char *bodies, size_t room, bool shared)
{
    b->block = block;
    b->bodies = bodies;
    b->room = room;
    b->shared = shared;
    b->seq = 0;
}

void batch_add(struct batch *b, const struct msg_chunk *c, const void *body)
{
    assert(batch_fits(b, c) && (c->seq || !c->len || b->block));
    if (!b->texts && !(b->texts = malloc(BATCH_TEXTS)))
        say_die(EXIT_TEMP, "out of memory");
    struct msg_chunk *kept = &b->items[b->count++];
    *kept = *c;
    kept->url = keep(b, c->url);
    kept->key = keep(b, c->key);
    kept->content_type = keep(b, c->content_type);
    kept->head = keep(b, c->head);
    kept->request = keep(b, c->request);
    kept->ip = keep(b, c->ip);
    kept->digest = keep(b, c->digest);
    kept->url_effective = keep(b, c->url_effective);
    if (c->seq) {
        b->lent += c->len;
    } else if (c->len) {
        memcpy(b->bodies + b->bodies_len, body, c->len);
        b->bodies_len += c->len;
    }
}

bool batch_is_full(const struct batch *b)
{
    return b->bodies_len >= BATCH_FULL || b->lent >= BATCH_LENT_FULL || b->count == BATCH_ITEMS;
}

void batch_lend(struct batch *b, uint64_t seq, uint64_t at)
{
    b->seq = seq;
    for (uint32_t i = 0; i < b->count; i++) {
        struct msg_chunk *c = &b->items[i];
        if (c->seq || !c->len)
            continue;
        c->seq = seq;
        c->at = at;
        at += c->len;
    }
}

void batch_empty(struct batch *b)
{
    b->count = 0;
    b->bodies_len = b->texts_len = b->lent = 0;
    if (b->shared)
        b->block = NULL;
    b->shared = false;
    b->seq = 0;
}

void batch_free(struct batch *b)
{
    batch_empty(b);
    free(b->block);
    free(b->texts);
    *b = (struct batch){0};
}

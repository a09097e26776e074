#include "fetcher/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/say.h"

char *batch_bodies(const struct batch *b)
{
    return b->block + BATCH_HEAD_ROOM;
}

static struct msg_text keep(struct batch *b, struct msg_text t)
{
    char *at = batch_bodies(b) + BATCH_BODIES + b->texts;
    b->texts += t.len;
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
    return b->count < BATCH_ITEMS && b->bodies + (c->seq ? 0 : c->len) <= BATCH_BODIES &&
           b->texts + texts_of(c) <= BATCH_TEXTS;
}

void batch_add(struct batch *b, const struct msg_chunk *c, const void *body)
{
    assert(batch_fits(b, c));
    if (!b->block && !(b->block = malloc(BATCH_BLOCK)))
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
        memcpy(batch_bodies(b) + b->bodies, body, c->len);
        b->bodies += c->len;
    }
}

bool batch_is_full(const struct batch *b)
{
    return b->bodies + b->lent >= BATCH_FULL || b->count == BATCH_ITEMS;
}

void batch_empty(struct batch *b)
{
    b->count = 0;
    b->bodies = b->texts = b->lent = 0;
}

void batch_free(struct batch *b)
{
    free(b->block);
    *b = (struct batch){0};
}

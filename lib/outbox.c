#include "lib/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/say.h"

enum { BYTES_MOST = 4 << 20 };  /* of texts in one message, far below what one may have */

struct kept {
    struct msg_outcome out;  /* its texts lie behind this struct, */
    size_t texts;            /* in so many bytes */
    struct kept *next;
    bool stored;
};

void outbox_open(struct outbox *b)
{
    *b = (struct outbox){.first_o = 1, .next_o = 1};
    b->end = &b->first;
}

/* What is longer nobody would read, nor the message that it is in, nor those after that. */
static uint32_t kept_len(struct msg_text t)
{
    return t.len < MSG_TEXT_MOST ? t.len : MSG_TEXT_MOST;
}

static struct msg_text keep(char **at, struct msg_text t)
{
    char *s = *at;
    t.len = kept_len(t);
    if (t.len)
        memcpy(s, t.s, t.len);
    *at += t.len;
    return (struct msg_text){s, t.len};
}

void outbox_add(struct outbox *b, bool stored, const struct msg_outcome *o)
{
    size_t texts = (size_t)kept_len(o->key) + kept_len(o->digest) + kept_len(o->place) +
                   kept_len(o->class) + kept_len(o->detail) + kept_len(o->content_type) +
                   kept_len(o->url_effective);
    struct kept *k = malloc(sizeof *k + texts);
    if (!k)
        say_die(EXIT_TEMP, "out of memory");
    char *at = (char *)(k + 1);
    *k = (struct kept){.out = *o, .texts = texts, .stored = stored};
    k->out.key = keep(&at, o->key);
    k->out.digest = keep(&at, o->digest);
    k->out.place = keep(&at, o->place);
    k->out.class = keep(&at, o->class);
    k->out.detail = keep(&at, o->detail);
    k->out.content_type = keep(&at, o->content_type);
    k->out.url_effective = keep(&at, o->url_effective);
    if (!b->first)
        b->moved_ms = clock_ms();
    if (!b->unsent) {
        b->unsent = k;
        b->unsent_o = b->next_o;
        b->unsent_ms = clock_ms();
    }
    *b->end = k;
    b->end = &k->next;
    b->next_o++;
    b->count++;
}

void outbox_forget(struct outbox *b, uint64_t o)
{
    while (b->first && b->first_o <= o) {
        struct kept *k = b->first;
        if (b->unsent == k) {
            b->unsent = k->next;
            b->unsent_o++;
        }
        b->first = k->next;
        b->first_o++;
        b->count--;
        b->moved_ms = clock_ms();
        free(k);
    }
    if (!b->first)
        b->end = &b->first;
}

void outbox_repeat(struct outbox *b)
{
    b->unsent = b->first;
    b->unsent_o = b->first_o;
    b->moved_ms = clock_ms();
}

uint32_t outbox_peek(const struct outbox *b, struct msg_outcome *items, uint32_t most,
                     bool *stored)
{
    uint32_t count = 0;
    size_t bytes = 0;
    *stored = b->unsent && b->unsent->stored;
    for (struct kept *k = b->unsent; k && k->stored == *stored && count < most; k = k->next) {
        bytes += k->texts;
        if (count && bytes > BYTES_MOST)
            break;
        items[count++] = k->out;
    }
    return count;
}

void outbox_sent(struct outbox *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        b->unsent = b->unsent->next;
    b->unsent_o += count;
    b->unsent_ms = clock_ms();
}

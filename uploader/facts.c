#include "uploader/facts.h"

#include <stdlib.h>
#include <time.h>

#include "lib/say.h"

static char *room(size_t bytes)
{
    char *block = malloc(bytes);
    if (!block)
        say_die(EXIT_TEMP, "out of memory");
    return block;
}

/* Copies a text to *at, with a NUL, and moves *at behind it. */
static const char *put(char **at, struct msg_text t)
{
    const char *copy = *at;
    msg_text_copy(t, *at, t.len + 1u);
    *at += t.len + 1u;
    return copy;
}

static int64_t unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void facts_first(struct store_facts *f, const struct msg_chunk *c, bool heads)
{
    static const struct msg_text none;
    const struct msg_text head = heads ? c->head : none, request = heads ? c->request : none,
                          ip = heads ? c->ip : none;
    char *at = room((size_t)c->key.len + c->url.len + c->content_type.len + head.len +
                    request.len + ip.len + 6);
    *f = (struct store_facts){.task = c->task, .received_ms = unix_ms(),
                              .head_len = head.len, .request_len = request.len,
                              .decoded = heads && c->decoded, .url_effective = "", .digest = ""};
    f->key = put(&at, c->key); /* the first one: facts_free() */
    f->url = put(&at, c->url);
    f->content_type = put(&at, c->content_type);
    f->head = put(&at, head);
    f->request = put(&at, request);
    f->ip = put(&at, ip);
}

void facts_last(struct last *l, const struct msg_chunk *c)
{
    char *at = l->texts = room((size_t)c->url_effective.len + c->digest.len + 2);
    l->response_code = c->response_code;
    l->time_us = c->time_us;
    l->url_effective = put(&at, c->url_effective);
    l->digest = put(&at, c->digest);
}

void facts_complete(struct store_facts *f, const struct last *l, uint64_t bytes)
{
    f->complete = true;
    f->url_effective = *l->url_effective ? l->url_effective : f->url;
    f->digest = l->digest;
    f->bytes = bytes;
    f->response_code = l->response_code;
    f->time_us = l->time_us;
}

void facts_free(struct store_facts *f, struct last *l)
{
    free((char *)(uintptr_t)f->key);
    free(l->texts);
}

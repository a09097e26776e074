#include "uploader/facts.h"

#include <stdlib.h>
#include <time.h>

#include "lib/say.h"

static char *copy_text(struct msg_text t)
{
    char *s = malloc(t.len + 1u);
    if (!s)
        say_die(EXIT_TEMP, "out of memory");
    msg_text_copy(t, s, t.len + 1u);
    return s;
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
    *f = (struct store_facts){
        .key = copy_text(c->key), .url = copy_text(c->url),
        .content_type = copy_text(c->content_type), .d = c->d, .task = c->task,
        .received_ms = unix_ms(), .head = copy_text(heads ? c->head : none),
        .request = copy_text(heads ? c->request : none), .ip = copy_text(heads ? c->ip : none),
        .head_len = heads ? c->head.len : 0, .request_len = heads ? c->request.len : 0,
        .decoded = heads && c->decoded, .url_effective = "", .digest = ""};
}

void facts_last(struct last *l, const struct msg_chunk *c)
{
    *l = (struct last){c->response_code, c->time_us, copy_text(c->url_effective),
                       copy_text(c->digest)};
}

void facts_complete(struct store_facts *f, const struct last *l, uint64_t bytes)
{
    f->complete = true;
    f->url_effective = l->url_effective;
    f->digest = l->digest;
    f->bytes = bytes;
    f->response_code = l->response_code;
    f->time_us = l->time_us;
}

void facts_free(struct store_facts *f, struct last *l)
{
    const char *const texts[] = {f->key, f->url, f->content_type, f->head, f->request, f->ip,
                                 l->url_effective, l->digest};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((char *)(uintptr_t)texts[i]);
}

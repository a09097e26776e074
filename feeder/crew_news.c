#include "feeder/crew_parts.h"

#include <errno.h>
#include <string.h>

#include "lib/fault.h"
#include "lib/say.h"

void crew_news_soon(struct member *m, bool now)
{
    int64_t due = now ? 0 : m->last_news_ms + CREW_SOON_MS;
    if (due < m->next_news_ms)
        m->next_news_ms = due;
}

static uint64_t read_from(const struct member *uploader, uint64_t fetcher)
{
    for (uint32_t i = 0; i < uploader->reads; i++)
        if (uploader->read[i].from == fetcher)
            return uploader->read[i].n;
    return 0;
}

/* Only those that know the run: an uploader drops the chunks of one it has not heard of. */
static uint32_t list_uploaders(struct crew *c, const struct member *to, struct msg_uploader *out)
{
    uint32_t count = 0;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (!m->fetcher && !m->refused && !m->over_heard && m->on_our_run)
            out[count++] = (struct msg_uploader){.member = m->id, .intake = msg_text(m->intake),
                                                 .leaving = m->leaving, .reading = m->reading,
                                                 .heads = m->heads, .read = read_from(m, to->id)};
    return count;
}

static uint32_t list_fetchers(struct crew *c, uint64_t *out)
{
    uint32_t count = 0;
    for (struct member *m = c->members; m; m = m->hh.next)
        if (m->fetcher && !m->over_heard)
            out[count++] = m->id;
    return count;
}

int crew_send(struct crew *c, struct member *m, struct msg *msg)
{
    memcpy(msg->run, c->run, ID_RUN_BYTES);
    msg->from = c->id;
    msg->to = m->id;
    c->out.len = 0;
    if (msg_write(&c->out, msg)) {
        if (errno == ENOMEM)
            say_die(EXIT_TEMP, "out of memory");
        return -1;
    }
    int got = wire_send(m->wire, c->out.data, c->out.len);
    c->next_n += got == 1;
    return got;
}

void crew_send_news(struct crew *c, struct member *m)
{
    static struct msg_uploader uploaders[CREW_MOST];
    static uint64_t fetchers[CREW_MOST];
    struct msg msg = {.kind = MSG_NEWS};
    struct msg_news *n = &msg.news;
    n->n = c->next_n;
    n->epoch = c->epoch;
    n->lease_ms = (uint64_t)c->lease_ms;
    n->done = m->done;
    n->gone.v = c->gone;
    n->gone.count = c->gone_count < CREW_GONE_KEPT ? c->gone_count : CREW_GONE_KEPT;
    n->cancel = m->cancel;
    n->refused = m->refused;
    n->over = msg_text(m->refused ? m->refusal : c->over);
    if (m->fetcher) {
        n->uploaders.v = uploaders;
        n->uploaders.count = list_uploaders(c, m, uploaders);
    } else {
        n->fetchers.v = fetchers;
        n->fetchers.count = list_fetchers(c, fetchers);
    }
    int64_t now = clock_ms();
    if (crew_send(c, m, &msg) == 1) {
        FAULT("feeder.news.sent");
        m->last_news_ms = now;
        m->next_news_ms = now + c->beat_ms;
        m->cancel.count = 0;
        m->told = m->done;
    } else {
        m->next_news_ms = now + CREW_SOON_MS; /* not connected yet: its wire wakes us */
    }
}

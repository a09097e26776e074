#include "answer.h"

#include <string.h>

#include "rude.h"

enum {
    FLOOD_LINE_BYTES = 1024,
    CHUNK_HEAD_BYTES = 10,   /* eight hex digits, CR LF */
    FRAMING_BYTES = CHUNK_HEAD_BYTES + 2,
    LEAST_ROOM_BYTES = 4096, /* below that send first, for the sake of big writes */
    TICKS_PER_S = 20,        /* how smoothly a throttled body flows */
};

static enum answer_news more_or_done(struct answer *answer, enum answer_stage next)
{
    answer->stage = next;
    return ANSWER_MORE;
}

/* One header line of exactly `size` bytes; the shortest possible is "X: a" and its end. */
static void add_flood_line(struct buffer *out, size_t size)
{
    char line[2 * FLOOD_LINE_BYTES];
    memset(line, 'a', size);
    memcpy(line, "X: ", 3);
    memcpy(line + size - 2, "\r\n", 2);
    buffer_add(out, line, size);
}

static enum answer_news fill_flood(struct answer *answer, struct buffer *out)
{
    while (answer->flood_bytes > 0) {
        size_t size = FLOOD_LINE_BYTES;
        if (answer->flood_bytes < 2 * FLOOD_LINE_BYTES)
            size = answer->flood_bytes < 6 ? 6 : (size_t)answer->flood_bytes;
        if (buffer_room(out) < size + 2)
            return ANSWER_MORE;
        add_flood_line(out, size);
        answer->flood_bytes -= (int64_t)size;
    }
    buffer_add(out, "\r\n", 2);
    return more_or_done(answer, answer->no_body ? STAGE_DONE : STAGE_BODY);
}

/* Body bytes that the rate allows by now. */
static int64_t allowance(const struct answer *answer, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - answer->body_start_ms;
    int64_t rate = answer->rate_bytes_per_s;
    int64_t whole = elapsed_ms / 1000 * rate + elapsed_ms % 1000 * rate / 1000;
    return whole - answer->body_bytes;
}

int64_t answer_due_ms(const struct answer *answer)
{
    int64_t rate = answer->rate_bytes_per_s;
    int64_t step = rate / TICKS_PER_S > 0 ? rate / TICKS_PER_S : 1;
    int64_t bytes = answer->body_bytes + step;
    int64_t rest_ms = (bytes % rate * 1000 + rate - 1) / rate;
    return answer->body_start_ms + bytes / rate * 1000 + rest_ms;
}

/* Room for body bytes in `out`, as far as cut and rate allow. */
static size_t body_room(const struct answer *answer, const struct buffer *out, int64_t now_ms)
{
    int64_t most = (int64_t)buffer_room(out) - FRAMING_BYTES;
    if (answer->cut != ANSWER_WHOLE && answer->cut_bytes - answer->body_bytes < most)
        most = answer->cut_bytes - answer->body_bytes;
    if (answer->rate_bytes_per_s > 0 && allowance(answer, now_ms) < most)
        most = allowance(answer, now_ms);
    return most > 0 ? (size_t)most : 0;
}

static size_t read_body(struct answer *answer, unsigned char *out, size_t size)
{
    if (answer->coder != NULL)
        return coder_read(answer->coder, &answer->source, out, size);
    return source_read(&answer->source, out, size);
}

static size_t add_body(struct answer *answer, struct buffer *out, size_t most)
{
    unsigned char *at = out->bytes + out->end;
    if (!answer->chunked) {
        size_t size = read_body(answer, at, most);
        out->end += size;
        return size;
    }
    size_t size = read_body(answer, at + CHUNK_HEAD_BYTES, most);
    if (size > 0) {
        char head[CHUNK_HEAD_BYTES + 1];
        snprintf(head, sizeof(head), "%08x\r\n", (unsigned)size);
        buffer_add(out, head, CHUNK_HEAD_BYTES);
        out->end += size; /* read_body() has put them there */
        buffer_add(out, "\r\n", 2);
    }
    return size;
}

static enum answer_news fill_body(struct answer *answer, struct buffer *out, int64_t now_ms)
{
    if (answer->source.kind == SOURCE_FILE)
        return ANSWER_FILE;
    if (answer->cut != ANSWER_WHOLE && answer->body_bytes == answer->cut_bytes)
        return ANSWER_CUT;
    if (buffer_room(out) < LEAST_ROOM_BYTES)
        return ANSWER_MORE;
    if (answer->body_start_ms == 0)
        answer->body_start_ms = now_ms;
    size_t most = body_room(answer, out, now_ms);
    bool ended = answer->coder == NULL && answer->source.left_bytes == 0;
    if (most == 0 && !ended)
        return ANSWER_PACED;
    size_t size = ended ? 0 : add_body(answer, out, most);
    answer->body_bytes += (int64_t)size;
    if (size == 0)
        answer->stage = STAGE_TAIL;
    return ANSWER_MORE;
}

static enum answer_news fill_tail(struct answer *answer, struct buffer *out)
{
    if (answer->chunked && buffer_room(out) < FRAMING_BYTES)
        return ANSWER_MORE;
    if (answer->chunked)
        buffer_add(out, "0\r\n\r\n", 5);
    return more_or_done(answer, STAGE_DONE);
}

enum answer_news answer_fill(struct answer *answer, struct buffer *out, int64_t now_ms)
{
    if (answer->cut != ANSWER_WHOLE && answer->cut_bytes == RUDE_AT_HEAD)
        return ANSWER_CUT;
    for (;;) {
        enum answer_stage before = answer->stage;
        size_t end = out->end;
        enum answer_news news = ANSWER_DONE;
        switch (answer->stage) {
        case STAGE_FLOOD:
            news = fill_flood(answer, out);
            break;
        case STAGE_BODY:
            news = fill_body(answer, out, now_ms);
            break;
        case STAGE_TAIL:
            news = fill_tail(answer, out);
            break;
        case STAGE_DONE:
            break;
        }
        bool moved = answer->stage != before || out->end != end;
        if (news != ANSWER_MORE || !moved)
            return news;
    }
}

void answer_close(struct answer *answer)
{
    source_close(&answer->source);
    coder_free(&answer->coder);
    *answer = (struct answer){ 0 };
}

#include "compose.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "head.h"
#include "route.h"
#include "rude.h"

/* One request being answered; all borrowed. */
struct job {
    struct site *site;
    const struct request *request;
    struct route route;
    struct answer *answer;
    struct buffer *out;
};

static void finish(struct job *job, struct head *head)
{
    struct answer *answer = job->answer;
    answer->close |= job->request->close;
    head->close = answer->close;
    head->http10 = job->request->http10;
    answer->no_body = job->request->head_only || head_forbids_body(head->status);
    head_write(head, job->out);
}

static void compose_text(struct job *job, int status, const char *text)
{
    source_text(&job->answer->source, text);
    struct head head = { .status = status, .type = "text/plain; charset=utf-8" };
    head.length_bytes = job->answer->source.left_bytes;
    finish(job, &head);
}

static void compose_stats(struct job *job)
{
    const struct stats *stats = &job->site->stats;
    char text[400];
    snprintf(text, sizeof(text),
             "{\"requests\": %" PRId64 ", \"connections\": %" PRId64 ", \"open\": %" PRId64
             ", \"peak_open\": %" PRId64 ", \"active\": %" PRId64 ", \"peak_active\": %" PRId64
             ", \"bytes_sent\": %" PRId64 "}\n",
             stats->requests, stats->connections, stats->open, stats->peak_open, stats->active,
             stats->peak_active, stats->bytes_sent);
    source_text(&job->answer->source, text);
    struct head head = { .status = 200, .type = "application/json" };
    head.length_bytes = job->answer->source.left_bytes;
    finish(job, &head);
}

static void compose_count(struct job *job)
{
    char text[32];
    int64_t count = counts_get(job->site->counts, job->route.counted);
    snprintf(text, sizeof(text), "%" PRId64 "\n", count);
    compose_text(job, 200, text);
}

static void compose_file(struct job *job)
{
    int64_t bytes = 0;
    int fd = -1;
    errno = ENOENT;
    if (job->site->root_fd >= 0)
        fd = files_open(job->site->root_fd, job->route.path, &bytes);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        compose_text(job, 503, "out of file descriptors\n");
        return;
    }
    if (fd < 0) {
        compose_text(job, 404, "no such file\n");
        return;
    }
    source_file(&job->answer->source, &fd, bytes);
    struct head head = { .status = 200, .type = files_type(job->route.path) };
    head.length_bytes = bytes;
    finish(job, &head);
}

/* Where the redirect that `rude` asks for leads. 1, or 0 for no redirect, -1 for a bad `to`. */
static int redirect_target(const struct job *job, const struct rude *rude, char *out, size_t size)
{
    struct span target = job->request->target;
    if (rude->to.at != NULL) {
        ssize_t len = url_decode(rude->to, out, size);
        return len < 0 || strpbrk(out, "\r\n") != NULL ? -1 : 1;
    }
    if (rude->hop.given && rude->hop.n > 0)
        return rude_retarget(target, "hop", rude->hop.n - 1, out, size) < 0 ? -1 : 1;
    if (rude->loop.given && rude->loop.n > 0)
        return rude_retarget(target, "loop", 3 - rude->loop.n, out, size) < 0 ? -1 : 1;
    return 0;
}

static bool is_redirect(const struct rude *rude)
{
    return rude->status.given && rude->status.n >= 300 && rude->status.n <= 399;
}

static void compose_redirect(struct job *job, const struct rude *rude, const char *location)
{
    struct head head = { .status = is_redirect(rude) ? (int)rude->status.n : 302 };
    head.location = location;
    head.retry_after_s = rude->retry_after_s;
    finish(job, &head);
}

/* The first of stall, reset and truncate that the body would reach. */
static void set_cut(struct answer *answer, const struct rude *rude)
{
    const struct {
        enum answer_cut cut;
        struct rude_option after;
    } cuts[] = {
        { ANSWER_STALL, rude->stall },
        { ANSWER_RESET, rude->reset },
        { ANSWER_TRUNCATE, rude->truncate },
    };
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        bool nearer = answer->cut == ANSWER_WHOLE || cuts[i].after.n < answer->cut_bytes;
        if (!cuts[i].after.given || !nearer)
            continue;
        answer->cut = cuts[i].cut;
        answer->cut_bytes = cuts[i].after.n;
    }
}

/* Set answer->source and answer->coder and what `head` says about them. -1: no memory. */
static int set_body(struct job *job, const struct rude *rude, struct head *head)
{
    struct source *source = &job->answer->source;
    int64_t bytes = rude->endless.given ? SOURCE_ENDLESS : job->route.bytes;
    if (rude->status.given && head->status != 200) {
        char text[32];
        snprintf(text, sizeof(text), "status %d\n", head->status);
        source_text(source, text);
        head->type = "text/plain; charset=utf-8";
    } else if (job->route.kind == ROUTE_BOMB) {
        head->coding = "gzip";
        if (source_bomb(source, job->route.bytes) < 0)
            return -1;
    } else if (rude->badgzip.given) {
        head->coding = "gzip";
        source_bad_gzip(source, bytes);
    } else {
        source_gen(source, job->route.path, bytes);
    }
    head->length_bytes = source->left_bytes;
    if (head->coding == NULL && (rude->gzip.given || rude->deflate.given)) {
        head->coding = rude->gzip.given ? "gzip" : "deflate";
        head->length_bytes = HEAD_NO_LENGTH;
        job->answer->coder = coder_open(rude->gzip.given ? CODER_GZIP : CODER_DEFLATE);
        if (job->answer->coder == NULL)
            return -1;
    }
    return 0;
}

/* How the client learns where the body ends: a length, chunks, or the connection's end. */
static void set_framing(struct job *job, const struct rude *rude, struct head *head)
{
    struct answer *answer = job->answer;
    if (head->length_bytes == SOURCE_ENDLESS || rude->chunked.given || rude->nolength.given)
        head->length_bytes = HEAD_NO_LENGTH;
    if (rude->length_bytes.given) {
        /* After a lie nobody knows where the next answer would begin. */
        answer->close |= rude->length_bytes.n != head->length_bytes;
        head->length_bytes = rude->length_bytes.n;
    }
    bool may_chunk = !job->request->http10 && !rude->nolength.given;
    answer->chunked = may_chunk && head->length_bytes == HEAD_NO_LENGTH;
    head->chunked = answer->chunked;
    if (head->length_bytes == HEAD_NO_LENGTH && !answer->chunked)
        answer->close = true;
}

static void compose_body(struct job *job, const struct rude *rude)
{
    struct answer *answer = job->answer;
    set_cut(answer, rude);
    if (answer->cut != ANSWER_WHOLE && answer->cut_bytes == RUDE_AT_HEAD)
        return;
    struct head head = { .status = rude->status.given ? (int)rude->status.n : 200 };
    head.type = files_type(job->route.path);
    head.retry_after_s = rude->retry_after_s;
    if (set_body(job, rude, &head) < 0) {
        answer->cut = ANSWER_WHOLE;
        compose_text(job, 503, "out of memory\n");
        return;
    }
    set_framing(job, rude, &head);
    finish(job, &head);
}

static void compose_generated(struct job *job, int64_t count)
{
    struct rude rude;
    struct span bad = { 0 };
    if (rude_parse(job->route.query, &rude, &bad) < 0) {
        char text[200];
        int shown = bad.len < 100 ? (int)bad.len : 100;
        snprintf(text, sizeof(text), "bad option: %.*s\n", shown, bad.at);
        compose_text(job, 400, text);
        return;
    }
    if (rude.times.given && (count == 0 || count > rude.times.n))
        rude_behave(&rude);

    char location[REQUEST_HEAD_BYTES + 32];
    int redirect = redirect_target(job, &rude, location, sizeof(location));
    if (redirect < 0) {
        compose_text(job, 400, "bad option: to\n");
        return;
    }
    job->answer->wait_ms = rude.wait_ms.n;
    if (rude.until.len > 0)
        memcpy(job->answer->until, rude.until.at, rude.until.len); /* zeros behind it */
    job->answer->rate_bytes_per_s = rude.rate_bytes_per_s.n;
    job->answer->flood_bytes = rude.headers_bytes.n;
    job->answer->close = rude.close.given;
    /* A 3xx status beside hop is the hops' status, not the last answer's. */
    if (rude.hop.given && is_redirect(&rude))
        rude.status.given = redirect > 0;
    if (redirect > 0)
        compose_redirect(job, &rude, location);
    else
        compose_body(job, &rude);
}

static void compose_refusal(struct job *job)
{
    switch (job->request->status) {
    case 405:
        compose_text(job, 405, "only GET and HEAD\n");
        break;
    case 431:
        compose_text(job, 431, "request head too long\n");
        break;
    case 505:
        compose_text(job, 505, "only HTTP/1.0 and HTTP/1.1\n");
        break;
    default:
        compose_text(job, 400, "bad request\n");
        break;
    }
}

void compose_answer(struct site *site, const struct request *request, struct answer *answer,
                    struct buffer *out)
{
    struct job job = { site, request, { 0 }, answer, out };
    int64_t count = 0;
    if (request->status == 0) {
        job.route = route_of(request->target);
        answer->watching = job.route.kind == ROUTE_STATS || job.route.kind == ROUTE_COUNT;
        count = answer->watching ? 0 : counts_add(site->counts, request->target);
    }
    if (request->status != 0)
        compose_refusal(&job);
    else if (job.route.kind == ROUTE_FILE)
        compose_file(&job);
    else if (job.route.kind == ROUTE_BYTES || job.route.kind == ROUTE_BOMB)
        compose_generated(&job, count);
    else if (job.route.kind == ROUTE_STATS)
        compose_stats(&job);
    else if (job.route.kind == ROUTE_COUNT)
        compose_count(&job);
    else
        compose_text(&job, 404, "no such path\n");
}

#include "uploader/warc_record.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/digest.h"
#include "lib/id.h"
#include "lib/version.h"

enum {
    ID_TEXT = 48,
    DATE_TEXT = 32,
    PIECE_BYTES = 65536,
    HEADER_MOST = 512 << 10, /* a URL of 64 KiB in which each byte becomes three */
    HEAD_MOST = 1 << 20,     /* a header block with a prefix on lines of few bytes */
};

/* A record's block: a header block, then a body; either may be missing. */
struct block {
    const char *head;
    size_t head_len;
    struct spool *body;  /* NULL: none */
};

/* Writing. */

static int put(const struct warc_writer *w, const void *data, size_t len)
{
    return w->gzip ? gzip_add(w->gzip, w->out, data, len) : spool_write(w->out, data, len);
}

/* Calls take(arg, ...) with all of it, piece by piece. */
static int each_piece(struct spool *body, int (*take)(void *arg, const void *data, size_t len),
                      void *arg)
{
    const void *memory = spool_memory(body);
    if (memory)
        return take(arg, memory, (size_t)spool_bytes(body));
    char *piece = malloc(PIECE_BYTES);
    ssize_t n = -1;
    int bad = piece ? 0 : -1;
    for (uint64_t at = 0; !bad && (n = spool_read(body, at, piece, PIECE_BYTES)) > 0;
         at += (uint64_t)n)
        bad = take(arg, piece, (size_t)n);
    int err = errno;
    free(piece);
    errno = err;
    return bad || n < 0 ? -1 : 0;
}

static int put_piece(void *arg, const void *data, size_t len)
{
    return put(arg, data, len);
}

static int put_record(const struct warc_writer *w, const struct buf *header, const struct block *b)
{
    if (put(w, header->data, header->len) || put(w, b->head, b->head_len) ||
        (b->body && each_piece(b->body, put_piece, (void *)(uintptr_t)w)) ||
        put(w, "\r\n\r\n", 4))
        return -1;
    return w->gzip ? gzip_end(w->gzip, w->out) : 0;
}

/* Digests. */

struct digests {
    struct digest *of_block, *of_body;
};

static int digest_piece(void *arg, const void *data, size_t len)
{
    const struct digests *d = arg;
    digest_add(d->of_block, data, len);
    if (d->of_body)
        digest_add(d->of_body, data, len);
    return 0;
}

/* In one pass. `of_body`: NULL where it is not wanted. */
static int take_digests(const struct block *b, char of_block[DIGEST_TEXT], char *of_body)
{
    struct digests d = {digest_open(DIGEST_SHA256), of_body ? digest_open(DIGEST_SHA256) : NULL};
    int bad = !d.of_block || (of_body && !d.of_body) ? -1 : 0;
    if (!bad) {
        digest_add(d.of_block, b->head, b->head_len);
        bad = (b->body && each_piece(b->body, digest_piece, &d)) ||
              digest_text(d.of_block, of_block) || (of_body && digest_text(d.of_body, of_body));
    }
    int err = errno;
    digest_close(d.of_block);
    digest_close(d.of_body);
    errno = err;
    return bad ? -1 : 0;
}

/* Header lines. */

static void new_id(char out[ID_TEXT])
{
    uint8_t b[16];
    id_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562: version 4, at random */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, ID_TEXT,
             "urn:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static void date_of(int64_t unix_ms, char out[DATE_TEXT])
{
    char seconds[DATE_TEXT - 8];
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, DATE_TEXT, "%s.%03dZ", seconds, (int)(unix_ms % 1000));
}

/* Without its fragment, which was not asked for; what no URI may have is percent-coded. */
static void add_uri(struct buf *b, const char *url)
{
    buf_adds(b, "WARC-Target-URI: ");
    for (const unsigned char *at = (const unsigned char *)url; *at && *at != '#'; at++)
        if (*at <= ' ' || *at >= 0x7f || strchr("<>\"{}|\\^`", *at))
            buf_addf(b, "%%%02X", *at);
        else
            buf_add(b, at, 1);
    buf_adds(b, "\r\n");
}

static void begin_header(struct buf *b, const char *type, const char *id, int64_t unix_ms)
{
    char date[DATE_TEXT];
    date_of(unix_ms, date);
    buf_addf(b, "WARC/1.1\r\nWARC-Type: %s\r\nWARC-Record-ID: <%s>\r\nWARC-Date: %s\r\n", type, id,
             date);
}

/* Of what was asked for, and where. */
static void add_target(struct buf *b, const struct store_facts *f)
{
    unsigned char ip[16];
    add_uri(b, *f->url_effective ? f->url_effective : f->url);
    if (inet_pton(AF_INET, f->ip, ip) == 1 || inet_pton(AF_INET6, f->ip, ip) == 1)
        buf_addf(b, "WARC-IP-Address: %s\r\n", f->ip);
}

/* The rest of a header, and the record. */
static int end_record(const struct warc_writer *w, struct buf *header, const char *type,
                      const char *block_digest, const struct block *block)
{
    uint64_t bytes = block->head_len + (block->body ? spool_bytes(block->body) : 0);
    if (block_digest)
        buf_addf(header, "WARC-Block-Digest: %s\r\n", block_digest);
    buf_addf(header, "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n\r\n", type, bytes);
    if (header->failed) {
        errno = ENOMEM;
        return -1;
    }
    return put_record(w, header, block);
}

/* Records. */

int warc_info(const struct warc_writer *w, const char *name, const char *host)
{
    struct buf header = buf_make(HEADER_MOST);
    char id[ID_TEXT], block[1024];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    new_id(id);
    begin_header(&header, "warcinfo", id, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    buf_addf(&header, "WARC-Filename: %s\r\n", name);
    int len = snprintf(block, sizeof block,
                       "software: sluice/%s\r\nhostname: %s\r\nformat: WARC File Format 1.1\r\n"
                       "conformsTo: http://iipc.github.io/warc-specifications/specifications/"
                       "warc-format/warc-1.1/\r\n",
                       SLUICE_VERSION, host);
    struct block all = {block, (size_t)len, NULL};
    char digest[DIGEST_TEXT];
    int bad = take_digests(&all, digest, NULL) ||
              end_record(w, &header, "application/warc-fields", digest, &all);
    buf_free(&header);
    return bad ? -1 : 0;
}

/* Whether it ends with the only empty line there is in it. */
static bool is_block(const char *head, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (head[i] != '\n')
            continue;
        size_t rest = len - i - 1;
        if (rest >= 1 && head[i + 1] == '\n')
            return rest == 1;
        if (rest >= 2 && head[i + 1] == '\r' && head[i + 2] == '\n')
            return rest == 2;
    }
    return false;
}

static bool is_named(const char *line, size_t len, const char *name)
{
    const char *colon = memchr(line, ':', len);
    size_t end = colon ? (size_t)(colon - line) : 0;
    while (end && (line[end - 1] == ' ' || line[end - 1] == '\t'))
        end--;
    return end == strlen(name) && strncasecmp(line, name, end) == 0;
}

static bool has_line(const char *head, size_t len, const char *name)
{
    for (const char *at = head, *end = head + len; at < end;) {
        size_t line = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) - at) + 1;
        if (is_named(at, line, name))
            return true;
        at += line;
    }
    return false;
}

bool warc_head(struct buf *out, const char *head, size_t len, bool decoded, uint64_t body_bytes)
{
    if (len < 5 || memcmp(head, "HTTP/", 5) || !is_block(head, len))
        return false;
    bool coded = has_line(head, len, "Transfer-Encoding"), lies = coded || decoded;
    for (const char *at = head, *end = head + len; at < end;) {
        size_t line = (size_t)((const char *)memchr(at, '\n', (size_t)(end - at)) - at) + 1;
        if (lies && at + line == end)
            buf_addf(out, "Content-Length: %" PRIu64 "\r\n", body_bytes);
        if (lies && (is_named(at, line, "Content-Length") ||
                     is_named(at, line, "Transfer-Encoding") ||
                     (decoded && is_named(at, line, "Content-Encoding"))))
            buf_adds(out, "X-Orig-");
        buf_add(out, at, line);
        at += line;
    }
    return true;
}

static int put_request(const struct warc_writer *w, const struct store_facts *f, const char *id,
                       const char *response_id)
{
    struct buf header = buf_make(HEADER_MOST);
    char digest[DIGEST_TEXT];
    struct block block = {f->request, f->request_len, NULL};
    begin_header(&header, "request", id, f->received_ms);
    add_target(&header, f);
    buf_addf(&header, "WARC-Concurrent-To: <%s>\r\n", response_id);
    int bad = take_digests(&block, digest, NULL) ||
              end_record(w, &header, "application/http;msgtype=request", digest, &block);
    buf_free(&header);
    return bad ? -1 : 0;
}

/* The content type of a resource; what is no header value is none. */
static const char *plain_type(const char *type)
{
    for (const char *at = type; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            return "application/octet-stream";
    return *type ? type : "application/octet-stream";
}

static bool is_sha256(const char *digest)
{
    return strncmp(digest, "sha256:", 7) == 0 && strlen(digest + 7) == 64 &&
           strspn(digest + 7, "0123456789abcdef") == 64;
}

/* `request_id`: NULL: none. `head`: NULL: a resource. */
static int put_response(const struct warc_writer *w, const struct store_facts *f, const char *id,
                        const char *request_id, const struct buf *head, struct spool *body)
{
    struct buf header = buf_make(HEADER_MOST);
    bool known = is_sha256(f->digest);
    char of_block[DIGEST_TEXT], of_body[DIGEST_TEXT];
    struct block block = {head ? head->data : "", head ? head->len : 0, body};
    int bad = take_digests(&block, of_block, known ? NULL : of_body);
    begin_header(&header, head ? "response" : "resource", id, f->received_ms);
    add_target(&header, f);
    if (request_id)
        buf_addf(&header, "WARC-Concurrent-To: <%s>\r\n", request_id);
    if (!bad)
        buf_addf(&header, "WARC-Payload-Digest: %s\r\n", known ? f->digest : of_body);
    const char *type = head ? "application/http;msgtype=response" : plain_type(f->content_type);
    bad = bad || end_record(w, &header, type, of_block, &block);
    buf_free(&header);
    return bad ? -1 : 0;
}

int warc_object(const struct warc_writer *w, const struct store_facts *f, struct spool *body,
                uint64_t *at)
{
    struct buf head = buf_make(HEAD_MOST);
    char id[ID_TEXT], request_id[ID_TEXT];
    new_id(id);
    new_id(request_id);
    bool whole = warc_head(&head, f->head, f->head_len, f->decoded, spool_bytes(body));
    bool asked = whole && is_block(f->request, f->request_len);
    int bad = head.failed ? -1 : 0;
    if (bad)
        errno = ENOMEM;
    if (!bad && asked)
        bad = put_request(w, f, request_id, id);
    *at = spool_bytes(w->out);
    bad = bad || put_response(w, f, id, asked ? request_id : NULL, whole ? &head : NULL, body);
    buf_free(&head);
    return bad ? -1 : 0;
}

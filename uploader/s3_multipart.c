#include "uploader/s3_multipart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uploader/percent.h"
#include "uploader/s3_xml.h"

enum { QUERY_MOST = 8 << 10, LIST_MOST = S3_PARTS_MOST * 160 };

struct s3_multipart {
    struct s3 *s3;
    const char *key;
    char *query;       /* "uploadId=..."; owned */
    struct buf list;   /* of parts, as CompleteMultipartUpload wants it */
    int parts;
    bool completed;
};

static ssize_t read_spool(void *arg, uint64_t offset, void *into, size_t room)
{
    return spool_read(arg, offset, into, room);
}

static ssize_t read_buf(void *arg, uint64_t offset, void *into, size_t room)
{
    const struct buf *b = arg;
    size_t n = b->len - (size_t)offset < room ? b->len - (size_t)offset : room;
    memcpy(into, b->data + offset, n);
    return (ssize_t)n;
}

static int out_of_memory(struct store_commit *why)
{
    why->err = ENOMEM;
    return -1;
}

/* An id may have any character. */
static char *query_of(const char *upload_id)
{
    struct buf b = buf_make(QUERY_MOST);
    buf_adds(&b, "uploadId=");
    percent_encode(&b, upload_id, strlen(upload_id), "");
    buf_add(&b, "", 1);
    if (!b.failed)
        return b.data;
    buf_free(&b);
    return NULL;
}

static int begin(struct s3_multipart *m, const struct http_header *headers, int count,
                 struct store_commit *why)
{
    char id[S3_XML_TEXT];
    struct buf none = buf_make(1);
    struct s3_call c = {.method = "POST", .key = m->key, .query = "uploads=",
                        .header_count = count, .body = {0, read_buf, &none}};
    memcpy(c.headers, headers, (size_t)count * sizeof *headers);
    int bad = s3_request(m->s3, &c) == UPSTREAM_DONE ? 0 : -1;
    if (bad)
        s3_explain(&c, why);
    else
        s3_xml_first(c.http.answer.text.data, c.http.answer.text.len, "UploadId", id);
    s3_call_free(&c);
    if (bad)
        return -1;
    if (*id && (m->query = query_of(id)))
        return 0;
    why->err = EPROTO;
    snprintf(why->detail, sizeof why->detail, "a multipart upload without an UploadId");
    return -1;
}

struct s3_multipart *s3_multipart_begin(struct s3 *s, const char *key,
                                        const struct http_header *headers, int count,
                                        struct store_commit *why)
{
    struct s3_multipart *m = calloc(1, sizeof *m);
    if (!m) {
        out_of_memory(why);
        return NULL;
    }
    m->s3 = s;
    m->key = key;
    m->list = buf_make(LIST_MOST);
    buf_adds(&m->list, "<CompleteMultipartUpload>");
    if (begin(m, headers, count, why) == 0)
        return m;
    s3_multipart_close(m);
    return NULL;
}

/* Tags are quoted, and may come with entities or without. */
static int note_part(struct s3_multipart *m, const char *tag)
{
    char bare[HTTP_FIELD];
    size_t len = 0;
    for (; *tag; tag++)
        if (*tag > ' ' && !strchr("\"<>&", *tag))
            bare[len++] = *tag;
    bare[len] = '\0';
    return buf_addf(&m->list,
                    "<Part><PartNumber>%d</PartNumber><ETag>&quot;%.80s&quot;</ETag></Part>",
                    m->parts, bare);
}

int s3_multipart_add(struct s3_multipart *m, struct spool *part, struct store_commit *why)
{
    char query[QUERY_MOST + 64];
    if (m->parts == S3_PARTS_MOST) {
        *why = (struct store_commit){.err = EFBIG, .final = true};
        snprintf(why->detail, sizeof why->detail, "more than 10,000 parts: a larger --part-size");
        return -1;
    }
    snprintf(query, sizeof query, "partNumber=%d&%s", ++m->parts, m->query);
    struct s3_call c = {.method = "PUT", .key = m->key, .query = query,
                        .body = {spool_bytes(part), read_spool, part},
                        .fields = {{.name = "etag"}}, .field_count = 1};
    int bad = s3_request(m->s3, &c) == UPSTREAM_DONE ? 0 : -1;
    if (bad)
        s3_explain(&c, why);
    else if (note_part(m, c.fields[0].value))
        bad = out_of_memory(why);
    s3_call_free(&c);
    return bad;
}

enum s3_completed s3_multipart_complete(struct s3_multipart *m, bool if_absent,
                                        struct store_commit *why)
{
    size_t open_len = m->list.len;
    if (buf_adds(&m->list, "</CompleteMultipartUpload>"))
        return out_of_memory(why), S3_FAILED;
    struct s3_call c = {.method = "POST", .key = m->key, .query = m->query,
                        .headers = {{"content-type", "application/xml"}, {"if-none-match", "*"}},
                        .header_count = if_absent ? 2 : 1,
                        .body = {m->list.len, read_buf, &m->list}};
    s3_request(m->s3, &c);
    m->list.len = open_len;
    enum s3_completed done = S3_FAILED;
    if (c.verdict == UPSTREAM_DONE)
        done = S3_COMPLETED;
    else if (c.http.answer.status == 412 || strcmp(c.code, "PreconditionFailed") == 0)
        done = S3_EXISTS;
    else if (if_absent && s3_refuses_condition(&c))
        done = S3_NO_CONDITION;
    else
        s3_explain(&c, why);
    if (strcmp(c.code, "NoSuchUpload") == 0)
        done = S3_GONE;
    m->completed = done == S3_COMPLETED || done == S3_GONE;
    s3_call_free(&c);
    return done;
}

int s3_multipart_abort(struct s3 *s, const char *key, const char *query)
{
    struct s3_call c = {.method = "DELETE", .key = key, .query = query, .parting = true};
    int bad = s3_request(s, &c) == UPSTREAM_DONE ? 0 : -1;
    s3_call_free(&c);
    return bad;
}

void s3_multipart_close(struct s3_multipart *m)
{
    if (!m)
        return;
    if (m->query && !m->completed)
        s3_multipart_abort(m->s3, m->key, m->query);
    buf_free(&m->list);
    free(m->query);
    free(m);
}

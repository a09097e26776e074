#include "uploader/s3_leftovers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/clock.h"
#include "lib/say.h"
#include "uploader/percent.h"
#include "uploader/s3_multipart.h"
#include "uploader/s3_xml.h"

enum { QUERY_MOST = 8 << 10, PAGES_MOST = 10, ROUND_MOST_MS = 30000 };

/* A round over what one list names. */
struct round {
    struct s3 *s3;
    long long before_ms;  /* Unix time; what moved later is in use */
    int64_t until_ms;     /* clock; the next start does the rest */
    unsigned aborted;
};

/* Where the newest part is, page by page. */
struct newest {
    long long ms;
    char last_part[32];
};

static void look_at_part(void *arg, const struct s3_xml_item *i)
{
    struct newest *n = arg;
    long long ms = s3_xml_time_ms(i->values[0]);
    if (ms > n->ms)
        n->ms = ms;
    snprintf(n->last_part, sizeof n->last_part, "%.20s", i->values[1]);
}

static bool is_truncated(const struct buf *xml)
{
    char text[S3_XML_TEXT];
    s3_xml_first(xml->data, xml->len, "IsTruncated", text);
    return strcmp(text, "true") == 0;
}

/* Unix time of the last part; INT64_MAX: we could not find out. */
static long long last_moved_ms(struct s3 *s, const char *key, const char *query)
{
    static const char *const names[] = {"LastModified", "PartNumber", NULL};
    char page[QUERY_MOST + 64];
    struct newest n = {0};
    bool more = true;
    for (int i = 0; more && i < PAGES_MOST; i++) {
        snprintf(page, sizeof page, "%s%s%s%s", *n.last_part ? "part-number-marker=" : "",
                 n.last_part, *n.last_part ? "&" : "", query);
        struct s3_call c = {.method = "GET", .key = key, .query = page};
        bool read = s3_request(s, &c) == UPSTREAM_DONE;
        const struct buf *xml = &c.http.answer.text;
        if (!read || s3_xml_each(xml->data, xml->len, "Part", names, look_at_part, &n))
            n.ms = INT64_MAX;
        more = n.ms != INT64_MAX && is_truncated(xml);
        s3_call_free(&c);
    }
    return more ? INT64_MAX : n.ms;
}

static void look_at_upload(void *arg, const struct s3_xml_item *i)
{
    struct round *r = arg;
    const char *key = i->values[0], *id = i->values[1];
    long long initiated_ms = s3_xml_time_ms(i->values[2]);
    const char *prefix = s3_prefix(r->s3);
    if (clock_ms() > r->until_ms || initiated_ms < 0 || initiated_ms >= r->before_ms || !*id ||
        strncmp(key, prefix, strlen(prefix)))
        return;
    struct buf query = buf_make(QUERY_MOST);
    buf_adds(&query, "uploadId=");
    percent_encode(&query, id, strlen(id), "");
    buf_add(&query, "", 1);
    if (!query.failed && last_moved_ms(r->s3, key, query.data) < r->before_ms)
        r->aborted += s3_multipart_abort(r->s3, key, query.data) == 0;
    buf_free(&query);
}

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Aborts what the list of uploads names, if we may have one: who may not, or a service that knows
 * no such list, has no less of a store. */
void s3_leftovers_abort(struct s3 *s)
{
    static const char *const names[] = {"Key", "UploadId", "Initiated", NULL};
    struct round r = {s, now_ms() - s3_settings.idle_ms, clock_ms() + ROUND_MOST_MS, 0};
    struct buf query = buf_make(QUERY_MOST);
    buf_adds(&query, "max-uploads=1000&prefix=");
    percent_encode(&query, s3_prefix(s), strlen(s3_prefix(s)), "");
    buf_adds(&query, "&uploads=");
    if (!s3_settings.idle_ms || buf_add(&query, "", 1)) {
        buf_free(&query);
        return;
    }
    struct s3_call c = {.method = "GET", .query = query.data, .parting = true};
    struct store_commit v = {0};
    if (s3_request(s, &c) == UPSTREAM_DONE) {
        s3_xml_each(c.http.answer.text.data, c.http.answer.text.len, "Upload", names,
                    look_at_upload, &r);
    } else {
        s3_explain(&c, &v);
        say(SAY_DEBUG, "%s: no list of multipart uploads (%s): what killed uploaders left stays",
            s3_dest(s), v.detail);
    }
    if (r.aborted)
        say(SAY_INFO, "%s: aborted %u multipart uploads in which nothing had moved for %lld s",
            s3_dest(s), r.aborted, (long long)s3_settings.idle_ms / 1000);
    s3_call_free(&c);
    buf_free(&query);
}

#include "uploader/sample.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "lib/json.h"

void sample_names(const char *key, struct sample_names *out)
{
    const char *slash = strrchr(key, '/'), *last = slash ? slash + 1 : key;
    const char *dot = strrchr(last, '.'), *end = dot ? dot : key + strlen(key);
    size_t n = 0;
    for (const char *c = key; c < end; c++)
        if (*c == '.') {
            memcpy(out->facts + n, "%2E", 3);
            n += 3;
        } else {
            out->facts[n++] = *c;
        }
    out->facts[n] = '\0';
    const char *kind = dot && dot[1] ? dot + 1 : "bin";
    if (strcasecmp(kind, "json") == 0)
        kind = "body.json";
    snprintf(out->body, sizeof out->body, "%.*s.%s", (int)n, out->facts, kind);
    memcpy(out->facts + n, ".json", 6);
}

static void text_field(struct buf *b, const char *name, const char *text)
{
    if (!*text)
        return;
    buf_addf(b, ",\"%s\":", name);
    json_string(b, text, strlen(text));
}

static void digest_field(struct buf *b, const char *digest)
{
    const char *colon = strchr(digest, ':');
    if (!colon || digest_kind(digest, (size_t)(colon - digest)) < 0)
        return;
    buf_addf(b, ",\"%.*s\":", (int)(colon - digest), digest);
    json_string(b, colon + 1, strlen(colon + 1));
}

void sample_facts(struct buf *b, const struct store_facts *f)
{
    time_t at = (time_t)(f->received_ms / 1000);
    char fetched[32];
    struct tm utc;
    strftime(fetched, sizeof fetched, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
    buf_adds(b, "{\"key\":");
    json_string(b, f->key, strlen(f->key));
    text_field(b, "url", f->url);
    text_field(b, "url_effective", f->url_effective);
    text_field(b, "content_type", f->content_type);
    buf_addf(b, ",\"size_download\":%llu", (unsigned long long)f->bytes);
    digest_field(b, f->digest);
    buf_addf(b, ",\"response_code\":%llu,\"time_total\":%.6f,\"fetched\":\"%s\"}\n",
             (unsigned long long)f->response_code, (double)f->time_us / 1e6, fetched);
}

/* A quote inside of a string has a backslash before it, so this name is a field's. */
static const char *value_of(const char *json, const char *name)
{
    char field[40];
    snprintf(field, sizeof field, "\"%s\":\"", name);
    const char *at = strstr(json, field);
    return at ? at + strlen(field) : NULL;
}

static bool copy_value(const char *value, char *out, size_t size)
{
    size_t len = value ? strcspn(value, "\"\\") : size;
    if (len >= size)
        return false;
    memcpy(out, value, len);
    out[len] = '\0';
    return true;
}

bool sample_read(const char *json, struct sample_read *out)
{
    static const char *const kinds[] = {"sha256", "xxh128", "md5"};
    out->digest[0] = '\0';
    if (strncmp(json, "{\"key\":\"", 8) || !copy_value(json + 8, out->key, sizeof out->key))
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i]);
        const char *value = value_of(json, kinds[i]);
        if (value && copy_value(value, out->digest + len + 1, sizeof out->digest - len - 1)) {
            memcpy(out->digest, kinds[i], len);
            out->digest[len] = ':';
            return true;
        }
    }
    return true;
}

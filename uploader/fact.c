#include "uploader/fact.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/json.h"

enum fact {
    KEY, ID, ATTEMPT, URL, URL_EFFECTIVE, CONTENT_TYPE, BYTES, RESPONSE_CODE, DIGEST, SHA256
};

static const char *const names[FACT_COUNT] = {
    [KEY] = "key", [ID] = "id", [ATTEMPT] = "attempt", [URL] = "url",
    [URL_EFFECTIVE] = "url_effective", [CONTENT_TYPE] = "content_type", [BYTES] = "bytes",
    [RESPONSE_CODE] = "response_code", [DIGEST] = "digest", [SHA256] = "sha256"};

int fact_find(const char *name, size_t len)
{
    for (int i = 0; i < FACT_COUNT; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return i;
    return -1;
}

void fact_names(char out[FACT_NAMES])
{
    size_t len = 0;
    for (int i = 0; i < FACT_COUNT; i++)
        len += (size_t)snprintf(out + len, FACT_NAMES - len, "%s{%s}", i ? " " : "", names[i]);
}

static bool is_number(int which)
{
    return which == ID || which == BYTES || which == RESPONSE_CODE;
}

static uint64_t number(const struct store_facts *f, int which)
{
    return which == ID ? f->task : which == BYTES ? f->bytes : f->response_code;
}

const char *fact_text(const struct store_facts *f, int which, char room[FACT_ROOM])
{
    static const char sha256[] = "sha256:";
    switch ((enum fact)which) {
    case KEY:
        return f->key;
    case ATTEMPT:
        store_attempt(f, room);
        return room;
    case URL:
        return f->url;
    case URL_EFFECTIVE:
        return f->url_effective;
    case CONTENT_TYPE:
        return f->content_type;
    case DIGEST:
        return f->digest;
    case SHA256:
        return strncmp(f->digest, sha256, strlen(sha256)) ? "" : f->digest + strlen(sha256);
    default:
        snprintf(room, FACT_ROOM, "%llu", (unsigned long long)number(f, which));
        return room;
    }
}

void fact_json(struct buf *b, const struct store_facts *f)
{
    char room[FACT_ROOM];
    for (int i = 0; i < FACT_COUNT; i++) {
        const char *text = fact_text(f, i, room);
        buf_addf(b, "%s\"%s\":", i ? "," : "{", names[i]);
        if (is_number(i))
            buf_adds(b, text);
        else
            json_string(b, text, strlen(text));
    }
    buf_adds(b, "}\n");
}

void fact_environment(struct buf *b, const struct store_facts *f)
{
    char room[FACT_ROOM];
    for (int i = 0; i < FACT_COUNT; i++) {
        const char *text = fact_text(f, i, room);
        buf_adds(b, "SLUICE_");
        for (const char *c = names[i]; *c; c++)
            buf_add(b, &(char){(char)toupper((unsigned char)*c)}, 1);
        buf_adds(b, "=");
        buf_add(b, text, strlen(text) + 1);
    }
}

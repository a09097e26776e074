#include "uploader/receipt.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "uploader/said.h"

enum { QUOTE_BYTES = 120 };

static bool is_text_or_none(const json_t *v)
{
    return !v || json_is_null(v) || json_is_string(v);
}

/* One clean line, cut where it is too long. */
static void copy(const json_t *root, const char *name, char *out, size_t size)
{
    const json_t *text = json_object_get(root, name);
    struct said said = {.len = 0};
    char line[SAID_BYTES + 1];
    size_t len = json_string_length(text); /* 0, if it is none */
    said_add(&said, len ? json_string_value(text) : "", len < SAID_BYTES ? len : SAID_BYTES);
    said_line(&said, line);
    snprintf(out, size, "%s", line);
}

static int verdict(const json_t *root, uint64_t id, struct store_commit *c)
{
    const json_t *number = json_object_get(root, "id");
    const char *status = json_string_value(json_object_get(root, "status"));
    if (!status || !json_is_integer(number) || (uint64_t)json_integer_value(number) != id ||
        !is_text_or_none(json_object_get(root, "detail")) ||
        !is_text_or_none(json_object_get(root, "place")))
        return -1;
    bool stored = strcmp(status, "stored") == 0, final = strcmp(status, "failed") == 0;
    if (!stored && !final && strcmp(status, "again") != 0)
        return -1;
    copy(root, "place", c->place, sizeof c->place);
    copy(root, "detail", c->detail, sizeof c->detail);
    c->final = final;
    c->err = stored ? 0 : EIO;
    if (!stored && !*c->detail)
        snprintf(c->detail, sizeof c->detail, "the command says \"%s\"", status);
    return 0;
}

int receipt_read(const char *line, size_t len, uint64_t id, struct store_commit *c)
{
    json_error_t why;
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
    int bad = verdict(root, id, c);
    json_decref(root);
    if (!bad)
        return 0;
    struct said said = {.len = 0};
    char quote[SAID_BYTES + 1];
    said_add(&said, line, len < QUOTE_BYTES ? len : QUOTE_BYTES);
    said_line(&said, quote);
    c->err = EPROTO;
    snprintf(c->detail, sizeof c->detail, "the command's answer is no receipt for id %llu: %s",
             (unsigned long long)id, quote);
    return -1;
}

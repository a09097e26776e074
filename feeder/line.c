#include "feeder/line.h"

#include <jansson.h>
#include <string.h>

#include "lib/say.h"

static int number(const json_t *root, const char *name, uint64_t *out)
{
    const json_t *v = json_object_get(root, name);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return -1;
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int status_of(const json_t *root, enum line_status *out)
{
    static const char *const names[] = {"open", "delivered", "failed"};
    const char *s = json_string_value(json_object_get(root, "status"));
    for (int i = LINE_OPEN; s && i <= LINE_FAILED; i++)
        if (strcmp(s, names[i]) == 0) {
            *out = (enum line_status)i;
            return 0;
        }
    return -1;
}

int line_read(struct line *out, const char *text, size_t len)
{
    *out = (struct line){.class = ""};
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
    if (!root && json_error_code(&why) == json_error_out_of_memory)
        say_die(EXIT_TEMP, "out of memory"); /* the line is not to blame: it would be cut off */
    const json_t *url = json_object_get(root, "url"), *class = json_object_get(root, "class");
    if (number(root, "id", &out->id) || !out->id || status_of(root, &out->status) ||
        !json_is_string(url) ||
        (out->status == LINE_DELIVERED && number(root, "size_download", &out->bytes))) {
        json_decref(root);
        return -1;
    }
    out->url = json_string_value(url);
    out->url_len = json_string_length(url);
    if (json_is_string(class))
        out->class = json_string_value(class);
    out->existing = json_is_true(json_object_get(root, "existing"));
    out->hold = root;
    return 0;
}

void line_free(struct line *line)
{
    json_decref(line->hold);
    line->hold = NULL;
}

#include "url.h"

#include <ctype.h>
#include <string.h>

struct span span_of(const char *word)
{
    return (struct span){ word, strlen(word) };
}

bool span_is(struct span text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

bool span_skip(struct span *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || memcmp(text->at, prefix, len) != 0)
        return false;
    text->at += len;
    text->len -= len;
    return true;
}

struct span span_until(struct span *text, char mark)
{
    struct span before = *text;
    const char *found = text->len > 0 ? memchr(text->at, mark, text->len) : NULL;
    size_t used = text->len;
    if (found != NULL) {
        before.len = (size_t)(found - text->at);
        used = before.len + 1;
    }
    if (used > 0)
        text->at += used;
    text->len -= used;
    return before;
}

int span_number(struct span text, int64_t *number)
{
    if (text.len == 0)
        return -1;
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return -1;
        int digit = text.at[i] - '0';
        if (n > (INT64_MAX - digit) / 10)
            return -1;
        n = n * 10 + digit;
    }
    *number = n;
    return 0;
}

struct span url_target(struct span url)
{
    if (!span_skip(&url, "http://"))
        return url;
    const char *slash = memchr(url.at, '/', url.len);
    if (slash == NULL)
        return span_of("/");
    return (struct span){ slash, url.len - (size_t)(slash - url.at) };
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* The byte that `text`, which starts with '%', escapes; -1 for a bad escape or a NUL. */
static int escaped_byte(struct span text)
{
    if (text.len < 3)
        return -1;
    int high = hex_value(text.at[1]);
    int low = hex_value(text.at[2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0))
        return -1;
    return high * 16 + low;
}

ssize_t url_decode(struct span text, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < text.len; i++) {
        int byte = (unsigned char)text.at[i];
        if (byte == '%') {
            byte = escaped_byte((struct span){ text.at + i, text.len - i });
            i += 2;
        }
        if (byte <= 0 || used + 1 >= size)
            return -1;
        out[used++] = (char)byte;
    }
    if (size == 0)
        return -1;
    out[used] = '\0';
    return (ssize_t)used;
}

void url_print_segment(FILE *to, const char *name)
{
    for (; *name != '\0'; name++) {
        unsigned char byte = (unsigned char)*name;
        if (byte < 0x80 && (isalnum(byte) || strchr("-._~", byte) != NULL))
            putc(byte, to);
        else
            fprintf(to, "%%%02X", byte);
    }
}

#include "lib/json.h"

#include "lib/utf8.h"

static const bool escaped[256] = {
    [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x7f ... 0xff] = true};

static int one(struct buf *b, const unsigned char *s, size_t n)
{
    if (n == 0)
        return buf_adds(b, "\\ufffd");
    if (n > 1)
        return buf_add(b, s, n);
    switch (*s) {
    case '"':
        return buf_adds(b, "\\\"");
    case '\\':
        return buf_adds(b, "\\\\");
    case '\n':
        return buf_adds(b, "\\n");
    case '\r':
        return buf_adds(b, "\\r");
    case '\t':
        return buf_adds(b, "\\t");
    default:
        return buf_addf(b, "\\u%04x", *s);
    }
}

int json_string(struct buf *b, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    if (buf_add(b, "\"", 1))
        return -1;
    for (size_t i = 0; i < len;) {
        size_t run = i;
        while (run < len && !escaped[s[run]])
            run++;
        if (run > i && buf_add(b, s + i, run - i))
            return -1;
        i = run;
        if (i == len)
            break;
        size_t n = utf8_len(s + i, len - i);
        if (one(b, s + i, n))
            return -1;
        i += n ? n : 1;
    }
    return buf_add(b, "\"", 1);
}

#include "uploader/percent.h"

#include <stdbool.h>
#include <string.h>

const char percent_url[] = "!#$%&'()*+,/:;=?@[]";

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

int percent_encode(struct buf *b, const char *text, size_t len, const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        char coded[3] = {'%', hex[c >> 4], hex[c & 15]};
        bool plain = unreserved(text[i]) || (c && strchr(keep, c));
        if (buf_add(b, plain ? &text[i] : coded, plain ? 1 : 3))
            return -1;
    }
    return 0;
}

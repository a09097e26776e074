#include "uploader/store.h"

#include <ctype.h>
#include <string.h>

static const struct store_ops *const stores[] = {&store_dir, &store_null, NULL};

const struct store_ops *store_find(const char *dest, const char **place)
{
    for (const struct store_ops *const *s = stores; *s; s++) {
        size_t len = strlen((*s)->scheme);
        if (strncmp(dest, (*s)->scheme, len) == 0 && dest[len] == ':') {
            *place = dest + len + 1;
            return *s;
        }
    }
    return NULL;
}

bool store_key_ok(const char *key, size_t len)
{
    if (len == 0 || len > 1024 || key[len - 1] == '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool starts = i == 0 || key[i - 1] == '/';
        if (starts && (key[i] == '.' || key[i] == '/'))
            return false;
        if (!isalnum((unsigned char)key[i]) && !memchr("._-/", key[i], 4))
            return false;
    }
    return true;
}

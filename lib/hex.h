/* hex.h - bytes as hexadecimal digits, lower case. */
#ifndef SLUICE_HEX_H
#define SLUICE_HEX_H
#include <stddef.h>

/* Writes 2 * `size` digits, no NUL. Returns what is behind them. */
static inline char *hex_put(char *out, const unsigned char *raw, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[raw[i] >> 4];
        *out++ = digits[raw[i] & 15];
    }
    return out;
}
#endif

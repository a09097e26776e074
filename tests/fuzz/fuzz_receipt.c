/* Any bytes as what a pipe: command answers: a receipt or refused, with words that fit a line. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "uploader/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const char *text, size_t room)
{
    if (memchr(text, '\0', room) == NULL || strpbrk(text, "\n\r"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct store_commit c;
    memset(&c, 0, sizeof c);
    int got = receipt_read((const char *)data, size, 17, &c);
    check_words(c.place, sizeof c.place);
    check_words(c.detail, sizeof c.detail);
    if ((got || c.err) && !*c.detail) /* whoever reads the manifest wants to know why */
        abort();
    return 0;
}

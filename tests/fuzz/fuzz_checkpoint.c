/* Any bytes as a checkpoint, as they are and with the digest that makes them whole: refused or
 * read. What was read is written and read again, to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "feeder/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const struct checkpoint *c)
{
    struct buf one = buf_make(SIZE_MAX / 2), two = buf_make(SIZE_MAX / 2);
    struct checkpoint again;
    const char *why;
    if (checkpoint_write(&one, c) ||
        checkpoint_read(&again, one.data, one.len, &why) != CHECKPOINT_GOOD ||
        checkpoint_write(&two, &again) || one.len != two.len ||
        memcmp(one.data, two.data, one.len))
        abort();
    checkpoint_free(&again);
    buf_free(&one);
    buf_free(&two);
}

static void check(const char *text, size_t len)
{
    struct checkpoint c;
    const char *why = NULL;
    enum checkpoint_verdict v = checkpoint_read(&c, text, len, &why);
    if (v == CHECKPOINT_GOOD)
        write_again(&c);
    else if (c.lists || c.tasks || !why)
        abort();
    checkpoint_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = buf_make(SIZE_MAX / 2);
    char *text = malloc(size + !size);
    if (size)
        memcpy(text, data, size);
    check(text, size);
    if (buf_add(&whole, text, size) == 0 &&
        buf_addf(&whole, "end %016llx\n", (unsigned long long)XXH3_64bits(text, size)) == 0)
        check(whole.data, whole.len);
    buf_free(&whole);
    free(text);
    return 0;
}

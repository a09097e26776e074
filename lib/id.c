#include "lib/id.h"

#include <stdlib.h>
#include <sys/random.h>

void id_random(void *out, size_t len)
{
    if (getrandom(out, len, 0) != (ssize_t)len)
        abort();
}

uint64_t id_member(void)
{
    uint64_t id;
    do
        id_random(&id, sizeof id);
    while (id == 0);
    return id;
}

#include "lib/id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "lib/say.h"

void id_random(void *out, size_t len)
{
    if (getrandom(out, len, 0) != (ssize_t)len)
        say_die(EXIT_TEMP, "no random numbers: %s", strerror(errno));
}

uint64_t id_member(void)
{
    uint64_t id;
    do
        id_random(&id, sizeof id);
    while (id == 0);
    return id;
}

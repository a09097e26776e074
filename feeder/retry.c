#include "feeder/retry.h"

int64_t retry_wait_ms(int64_t base_ms, unsigned failures, int64_t after_ms, uint64_t random)
{
    int64_t most = base_ms;
    for (unsigned i = 1; i < failures && most < RETRY_CAP_MS; i++)
        most *= 2;
    if (most > RETRY_CAP_MS)
        most = RETRY_CAP_MS;
    int64_t wait = (int64_t)(random % (uint64_t)(most + 1));
    if (after_ms > RETRY_AFTER_CAP_MS)
        after_ms = RETRY_AFTER_CAP_MS;
    return wait > after_ms ? wait : after_ms;
}

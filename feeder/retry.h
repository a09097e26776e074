/* retry.h - when to try again: exponential back-off with full jitter, and Retry-After.
 * Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); RFC 9110, 10.2.3. */
#ifndef SLUICE_RETRY_H
#define SLUICE_RETRY_H
#include <stdint.h>

enum { RETRY_CAP_MS = 60000, RETRY_AFTER_CAP_MS = 600000 };

/* Milliseconds to wait before the try that follows `failures` failed ones (1 or more).
 * `base_ms`: --retry-delay; `after_ms`: what the server asked for, or 0; `random`: any bits. */
int64_t retry_wait_ms(int64_t base_ms, unsigned failures, int64_t after_ms, uint64_t random);
#endif

/* mono.h - the only clock: monotonic milliseconds (CLOCK_MONOTONIC). */
#ifndef ORIGIN_MONO_H
#define ORIGIN_MONO_H

#include <stdint.h>

int64_t mono_now_ms(void);

#endif

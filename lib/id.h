/* id.h - the random numbers that name a run and its members. Source: getrandom(2). */
#ifndef SLUICE_ID_H
#define SLUICE_ID_H
#include <stddef.h>
#include <stdint.h>

enum { ID_RUN_BYTES = 16 };

/* Fills `out`; ends the process in words if the kernel has no randomness to give. */
void id_random(void *out, size_t len);

/* A member's number: 64 random bits, never 0. */
uint64_t id_member(void);
#endif

/* receipt.h - the line with which a pipe: command answers a frame.
 *
 * {"id":17,"status":"stored"|"again"|"failed","detail":"...","place":"..."}; the last two may be
 * missing, and what else is in it is passed over. */
#ifndef SLUICE_RECEIPT_H
#define SLUICE_RECEIPT_H
#include <stddef.h>
#include <stdint.h>

#include "uploader/store.h"

/* Reads `len` bytes of a line into the verdict on object `id`. 0, or -1: it is no receipt for it,
 * and `c` says so. */
int receipt_read(const char *line, size_t len, uint64_t id, struct store_commit *c);
#endif

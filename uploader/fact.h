/* fact.h - an object's facts under the names that commands know them by: {url} among a command's
 * words, SLUICE_URL in its environment, "url" in a frame.
 *
 * Threads: any. */
#ifndef SLUICE_FACT_H
#define SLUICE_FACT_H
#include "lib/buf.h"
#include "uploader/store.h"

enum { FACT_COUNT = 10, FACT_ROOM = 72, FACT_NAMES = 160 };

/* The number of a fact (0 to FACT_COUNT - 1), or -1. */
int fact_find(const char *name, size_t len);
/* All names, "{key} {id} ...", for a message. */
void fact_names(char out[FACT_NAMES]);
/* A fact as text, "" where it is not known: borrowed from `f`, or in `room`. */
const char *fact_text(const struct store_facts *f, int which, char room[FACT_ROOM]);
/* Appends {"key":...}, on one line. What failed is in b->failed. */
void fact_json(struct buf *b, const struct store_facts *f);
/* Appends SLUICE_KEY=... and so on, FACT_COUNT texts with a NUL after each. Likewise. */
void fact_environment(struct buf *b, const struct store_facts *f);
#endif

/* facts.h - what an uploader knows of an object, from its first chunk and its last.
 *
 * Threads: the loop's; but store_facts is the store's to read while a job of the object's is with
 * the pool, so what the last chunk says becomes facts between two jobs. Without memory the process
 * ends in words: safe, the feeder owns the task. */
#ifndef SLUICE_FACTS_H
#define SLUICE_FACTS_H
#include "lib/msg.h"
#include "uploader/store.h"

/* What the last chunk says. */
struct last {
    uint64_t response_code, time_us;
    const char *url_effective, *digest;  /* as sent: "" if not */
    char *texts;  /* these; owned */
};

/* Copies what the first chunk says; header blocks only if `heads`. */
void facts_first(struct store_facts *f, const struct msg_chunk *c, bool heads);
/* Copies what the last chunk says. */
void facts_last(struct last *l, const struct msg_chunk *c);
/* Now facts: of a body of `bytes`; `url_effective` is the URL where the fetcher does not say another.
 * Texts stay the property of `l`. */
void facts_complete(struct store_facts *f, const struct last *l, uint64_t bytes);
void facts_free(struct store_facts *f, struct last *l);
#endif

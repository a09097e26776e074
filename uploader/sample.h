/* sample.h - how an object is called, and described, as a WebDataset sample: KEY.EXT is its body,
 * KEY.json what the manifest knows of it.
 *
 * WebDataset takes a name up to the first dot of its last part as the sample's key and the rest as
 * the kind of data. So EXT is what follows the last dot of the object's key, "bin" where there is
 * none, "body.json" of one that ends in json; and a dot before that becomes %2E, which no key of ours
 * has. Hides: nothing. Threads: any. */
#ifndef SLUICE_SAMPLE_H
#define SLUICE_SAMPLE_H
#include <stdbool.h>

#include "lib/buf.h"
#include "uploader/store.h"

enum { SAMPLE_NAME = 3 * 1024 + 16 };

struct sample_names {
    char body[SAMPLE_NAME], facts[SAMPLE_NAME];
};

/* `key`: store_key_ok(). */
void sample_names(const char *key, struct sample_names *out);

/* Appends the facts of an object whose body is whole as one line of JSON. Look at b->failed. */
void sample_facts(struct buf *b, const struct store_facts *f);

/* What a sample's facts say, read back; of our own writing only. */
struct sample_read {
    char key[1025];
    char digest[DIGEST_TEXT];  /* "sha256:<hex>" or "" */
};
bool sample_read(const char *json, struct sample_read *out);
#endif

/* s3_words.h - the error codes of S3: what each means for an upload, and for a reader.
 *
 * Source: Amazon S3 API Reference, "Error responses". */
#ifndef SLUICE_S3_WORDS_H
#define SLUICE_S3_WORDS_H
#include "uploader/upstream.h"

struct s3_word {
    const char *code;
    enum upstream_verdict verdict;
    bool ours;          /* of the service or our credentials, not of the object */
    bool refetch;       /* what we hold is of no use; another attempt may be */
    const char *words;  /* what it means, or what to do; NULL: the service's message says it */
};

/* The word for a code, or NULL. */
const struct s3_word *s3_word(const char *code);
#endif

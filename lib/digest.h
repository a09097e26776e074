/* digest.h - the digest of a body, taken in one pass. As text: "sha256:<hex>".
 *
 * Hides: libcrypto, XXH3, what goes faster for two bodies at once. Source: FIPS 180-4, RFC 1321, the xxHash specification. */
#ifndef SLUICE_DIGEST_H
#define SLUICE_DIGEST_H
#include <stdbool.h>
#include <stddef.h>

enum digest_kind { DIGEST_NONE, DIGEST_SHA256, DIGEST_XXH128, DIGEST_MD5, DIGEST_KINDS };
enum { DIGEST_TEXT = 80 };

struct digest;

/* "sha256" -> DIGEST_SHA256; with `len` so that "sha256:ab.." can be asked for its kind. -1: none
 * of ours. */
int digest_kind(const char *name, size_t len);

/* Gives a running digest, or NULL with errno. */
struct digest *digest_open(enum digest_kind kind);
/* Starts over, so that one can serve many bodies. */
void digest_reset(struct digest *d);
void digest_add(struct digest *d, const void *data, size_t len);
/* Whether digest_add_two() is faster than two digest_add(). */
bool digest_pairs(enum digest_kind kind);
/* Adds `len` bytes to each of two digests of one kind. */
void digest_add_two(struct digest *a, const void *a_data, struct digest *b, const void *b_data,
                    size_t len);
/* "" of DIGEST_NONE. 0, or -1 with errno: something failed on the way, and there is none. */
int digest_text(struct digest *d, char out[DIGEST_TEXT]);
void digest_close(struct digest *d);
#endif

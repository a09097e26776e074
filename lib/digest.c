#include "lib/digest.h"

/* The functions below EVP: only their state can be shared with sha256_pair(), and EVP looks an
 * algorithm up by name for each body. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* as in sum.c */
#endif

#include "lib/hex.h"
#include "lib/sha256_pair.h"

static const char *const names[DIGEST_KINDS] = {"none", "sha256", "xxh128", "md5"};

struct digest {
    enum digest_kind kind;
    SHA256_CTX sha256;
    MD5_CTX md5;
    XXH3_state_t *xxh;
    bool bad;  /* libcrypto could not go on */
};

int digest_kind(const char *name, size_t len)
{
    for (int k = 0; k < DIGEST_KINDS; k++)
        if (strlen(names[k]) == len && memcmp(names[k], name, len) == 0)
            return k;
    return -1;
}

struct digest *digest_open(enum digest_kind kind)
{
    struct digest *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->kind = kind;
    if (kind == DIGEST_XXH128)
        d->xxh = XXH3_createState();
    digest_reset(d);
    if (!d->bad)
        return d;
    digest_close(d);
    errno = ENOMEM; /* libcrypto does not say */
    return NULL;
}

void digest_reset(struct digest *d)
{
    switch (d->kind) {
    case DIGEST_SHA256:
        d->bad = !SHA256_Init(&d->sha256);
        break;
    case DIGEST_XXH128:
        d->bad = !d->xxh || XXH3_128bits_reset(d->xxh) != XXH_OK;
        break;
    case DIGEST_MD5:
        d->bad = !MD5_Init(&d->md5);
        break;
    default:
        d->bad = false;
    }
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    if (d->kind == DIGEST_SHA256)
        d->bad |= !SHA256_Update(&d->sha256, data, len);
    else if (d->kind == DIGEST_XXH128)
        XXH3_128bits_update(d->xxh, data, len);
    else if (d->kind == DIGEST_MD5)
        d->bad |= !MD5_Update(&d->md5, data, len);
}

bool digest_pairs(enum digest_kind kind)
{
    return kind == DIGEST_SHA256 && sha256_pair_works();
}

/* Counts bytes that went into the state by another way. */
static void count(SHA256_CTX *c, uint64_t bytes)
{
    uint64_t bits = ((uint64_t)c->Nh << 32 | c->Nl) + bytes * 8;
    c->Nl = (SHA_LONG)bits;
    c->Nh = (SHA_LONG)(bits >> 32);
}

void digest_add_two(struct digest *a, const void *a_data, struct digest *b, const void *b_data,
                    size_t len)
{
    const uint8_t *at_a = a_data, *at_b = b_data;
    size_t odd_a = 0, odd_b = 0, blocks = 0;
    if (digest_pairs(a->kind)) { /* each up to the next whole block by itself, then together */
        odd_a = (SHA256_BLOCK - a->sha256.num) % SHA256_BLOCK;
        odd_b = (SHA256_BLOCK - b->sha256.num) % SHA256_BLOCK;
        size_t odd = odd_a > odd_b ? odd_a : odd_b;
        blocks = len > odd ? (len - odd) / SHA256_BLOCK : 0;
    }
    size_t both = blocks * SHA256_BLOCK;
    if (blocks) {
        digest_add(a, at_a, odd_a);
        digest_add(b, at_b, odd_b);
        at_a += odd_a;
        at_b += odd_b;
        sha256_pair(a->sha256.h, at_a, b->sha256.h, at_b, blocks);
        count(&a->sha256, both);
        count(&b->sha256, both);
    } else {
        odd_a = odd_b = 0;
    }
    digest_add(a, at_a + both, len - odd_a - both);
    digest_add(b, at_b + both, len - odd_b - both);
}

int digest_text(struct digest *d, char out[DIGEST_TEXT])
{
    unsigned char raw[SHA256_DIGEST_LENGTH]; /* the longest */
    size_t len = 0;
    out[0] = '\0';
    if (d->kind == DIGEST_XXH128) {
        XXH128_canonicalFromHash((XXH128_canonical_t *)raw, XXH3_128bits_digest(d->xxh));
        len = sizeof(XXH128_canonical_t);
    } else if (d->kind == DIGEST_SHA256) {
        d->bad |= !SHA256_Final(raw, &d->sha256);
        len = SHA256_DIGEST_LENGTH;
    } else if (d->kind == DIGEST_MD5) {
        d->bad |= !MD5_Final(raw, &d->md5);
        len = MD5_DIGEST_LENGTH;
    }
    if (d->bad) {
        errno = ENOMEM;
        return -1;
    }
    if (!len)
        return 0;
    char *at = stpcpy(stpcpy(out, names[d->kind]), ":");
    *hex_put(at, raw, len) = '\0';
    return 0;
}

void digest_close(struct digest *d)
{
    if (!d)
        return;
    XXH3_freeState(d->xxh);
    free(d);
}

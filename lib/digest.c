#include "lib/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* as in sum.c */
#endif

static const char *const names[DIGEST_KINDS] = {"none", "sha256", "xxh128", "md5"};

struct digest {
    enum digest_kind kind;
    EVP_MD_CTX *evp;
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

/* Fetched once: looking an algorithm up costs more than hashing a small body. */
static const EVP_MD *algorithm(enum digest_kind kind)
{
    static EVP_MD *fetched[DIGEST_KINDS];
    if (!fetched[kind])
        fetched[kind] = EVP_MD_fetch(NULL, kind == DIGEST_MD5 ? "MD5" : "SHA256", NULL);
    return fetched[kind];
}

struct digest *digest_open(enum digest_kind kind)
{
    struct digest *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->kind = kind;
    if (kind == DIGEST_XXH128)
        d->xxh = XXH3_createState();
    else if (kind != DIGEST_NONE)
        d->evp = EVP_MD_CTX_new();
    if (kind != DIGEST_NONE && !d->xxh &&
        (!d->evp || !EVP_DigestInit_ex(d->evp, algorithm(kind), NULL))) {
        digest_close(d);
        errno = ENOMEM; /* libcrypto does not say */
        return NULL;
    }
    digest_reset(d);
    return d;
}

void digest_reset(struct digest *d)
{
    if (d->xxh)
        XXH3_128bits_reset(d->xxh);
    d->bad = d->evp && !EVP_DigestInit_ex(d->evp, NULL, NULL);
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    if (d->xxh)
        XXH3_128bits_update(d->xxh, data, len);
    if (d->evp && !EVP_DigestUpdate(d->evp, data, len))
        d->bad = true;
}

int digest_text(struct digest *d, char out[DIGEST_TEXT])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    out[0] = '\0';
    if (d->xxh) {
        XXH128_canonicalFromHash((XXH128_canonical_t *)raw, XXH3_128bits_digest(d->xxh));
        len = sizeof(XXH128_canonical_t);
    } else if (d->evp) {
        if (!EVP_DigestFinal_ex(d->evp, raw, &len))
            d->bad = true;
    }
    if (d->bad) {
        errno = ENOMEM;
        return -1;
    }
    if (!len)
        return 0;
    int at = snprintf(out, DIGEST_TEXT, "%s:", names[d->kind]);
    for (unsigned i = 0; i < len; i++) {
        out[at++] = "0123456789abcdef"[raw[i] >> 4];
        out[at++] = "0123456789abcdef"[raw[i] & 15];
    }
    out[at] = '\0';
    return 0;
}

void digest_close(struct digest *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->evp);
    XXH3_freeState(d->xxh);
    free(d);
}

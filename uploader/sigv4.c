#include "uploader/sigv4.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hex.h"

enum { RAW = 32, CANONICAL_MOST = 64 << 10 };

static void to_hex(const unsigned char raw[RAW], char hex[SIGV4_HASH])
{
    *hex_put(hex, raw, RAW) = '\0';
}

void sigv4_stamp(time_t now, char stamp[SIGV4_STAMP])
{
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, SIGV4_STAMP, "%Y%m%dT%H%M%SZ", &tm);
}

int sigv4_hash(const void *data, size_t len, char hash[SIGV4_HASH])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(data, len, raw, NULL, EVP_sha256(), NULL)) {
        errno = ENOMEM; /* libcrypto does not say */
        return -1;
    }
    to_hex(raw, hash);
    return 0;
}

static int hmac(const void *key, size_t key_len, const void *data, size_t len,
                unsigned char out[RAW])
{
    if (HMAC(EVP_sha256(), key, (int)key_len, data, len, out, NULL))
        return 0;
    errno = ENOMEM;
    return -1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sigv4_header *)a)->name, ((const struct sigv4_header *)b)->name);
}

/* Without spaces around it, and with one for several. */
static void add_trimmed(struct buf *b, const char *value)
{
    value += strspn(value, " \t\r\n");
    while (*value) {
        size_t word = strcspn(value, " \t\r\n");
        buf_add(b, value, word);
        value += word;
        value += strspn(value, " \t\r\n");
        if (*value)
            buf_adds(b, " ");
    }
}

static void add_names(struct buf *b, const struct sigv4_header *v, int count)
{
    for (int i = 0; i < count; i++) {
        assert(!i || strcmp(v[i - 1].name, v[i].name));
        buf_addf(b, "%s%s", i ? ";" : "", v[i].name);
    }
}

static int hash_canonical(const struct sigv4_request *r, const struct sigv4_header *sorted,
                          char hash[SIGV4_HASH])
{
    struct buf b = buf_make(CANONICAL_MOST);
    buf_addf(&b, "%s\n%s\n%s\n", r->method, r->path, r->query);
    for (int i = 0; i < r->header_count; i++) {
        buf_addf(&b, "%s:", sorted[i].name);
        add_trimmed(&b, sorted[i].value);
        buf_adds(&b, "\n");
    }
    buf_adds(&b, "\n");
    add_names(&b, sorted, r->header_count);
    buf_addf(&b, "\n%s", r->payload_hash);
    int bad = b.failed ? -1 : sigv4_hash(b.data, b.len, hash);
    buf_free(&b);
    return bad;
}

static int derive(const struct sigv4_key *key, const char *stamp, unsigned char out[RAW])
{
    static const char last[] = "aws4_request";
    char first[256];
    int len = snprintf(first, sizeof first, "AWS4%s", key->secret);
    if (len >= (int)sizeof first) {
        errno = EINVAL;
        return -1;
    }
    int bad = hmac(first, (size_t)len, stamp, 8, out) ||
              hmac(out, RAW, key->region, strlen(key->region), out) ||
              hmac(out, RAW, key->service, strlen(key->service), out) ||
              hmac(out, RAW, last, sizeof last - 1, out);
    explicit_bzero(first, sizeof first);
    return bad ? -1 : 0;
}

int sigv4_sign(const struct sigv4_key *key, const struct sigv4_request *r, const char *stamp,
               struct buf *authorization)
{
    struct sigv4_header sorted[SIGV4_HEADERS_MOST];
    unsigned char signing[RAW], raw[RAW];
    char scope[256], text[512], hash[SIGV4_HASH];
    assert(r->header_count > 0 && r->header_count <= SIGV4_HEADERS_MOST);
    memcpy(sorted, r->headers, (size_t)r->header_count * sizeof *sorted);
    qsort(sorted, (size_t)r->header_count, sizeof *sorted, by_name);
    int len = snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", stamp, key->region,
                       key->service);
    if (len >= (int)sizeof scope) {
        errno = EINVAL;
        return -1;
    }
    if (hash_canonical(r, sorted, hash) || derive(key, stamp, signing))
        return -1;
    len = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hash);
    if (hmac(signing, RAW, text, (size_t)len, raw))
        return -1;
    to_hex(raw, hash);
    buf_addf(authorization, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=", key->access,
             scope);
    add_names(authorization, sorted, r->header_count);
    return buf_addf(authorization, ", Signature=%s", hash) || authorization->failed ? -1 : 0;
}

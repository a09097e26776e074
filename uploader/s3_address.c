#include "uploader/s3_address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uploader/percent.h"

static const char BUCKET_CHARS[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

static int read_place(struct s3_address *a, const char *place, char why[512])
{
    const char *bucket = strncmp(place, "//", 2) ? "" : place + 2;
    size_t len = strspn(bucket, BUCKET_CHARS);
    if (len < 3 || len >= sizeof a->bucket || (bucket[len] && bucket[len] != '/')) {
        snprintf(why, 512, "no bucket's name: s3://BUCKET/PREFIX");
        return -1;
    }
    memcpy(a->bucket, bucket, len);
    const char *prefix = bucket + len + (bucket[len] == '/');
    size_t prefix_len = strlen(prefix);
    bool slash = prefix_len && prefix[prefix_len - 1] != '/';
    if (prefix_len > 512 || asprintf(&a->prefix, "%s%s", prefix, slash ? "/" : "") < 0) {
        snprintf(why, 512, "the prefix is longer than 512 bytes");
        return -1;
    }
    return 0;
}

/* Without the port that the scheme has anyway: libcurl and the service leave it out too. */
static size_t host_len(const char *host, size_t len, bool tls)
{
    const char *port = tls ? ":443" : ":80";
    size_t n = strlen(port);
    return len > n && memcmp(host + len - n, port, n) == 0 ? len - n : len;
}

int s3_address_read(struct s3_address *a, const char *place, const char *endpoint,
                    const char *region, const char *addressing, char why[512])
{
    char aws[256];
    *a = (struct s3_address){0};
    if (read_place(a, place, why))
        goto bad;
    bool path_style = addressing ? strcmp(addressing, "path") == 0
                                 : endpoint || strchr(a->bucket, '.');
    if (!endpoint) {
        snprintf(aws, sizeof aws, "https://s3.%.100s.amazonaws.com%s", region,
                 strncmp(region, "cn-", 3) ? "" : ".cn");
        endpoint = aws;
    }
    a->tls = strncmp(endpoint, "https://", 8) == 0;
    if (!a->tls && strncmp(endpoint, "http://", 7)) {
        snprintf(why, 512, "--endpoint-url '%.200s' is no http:// or https:// URL", endpoint);
        goto bad;
    }
    const char *host = endpoint + (a->tls ? 8 : 7);
    size_t len = strcspn(host, "/");
    const char *base = host + len;
    size_t base_len = strlen(base);
    if (base_len && base[base_len - 1] == '/')
        base_len--;
    if (!len || strpbrk(host, "@?# \t\r\n%")) {
        snprintf(why, 512, "--endpoint-url '%.200s' is not scheme, host, port and path", endpoint);
        goto bad;
    }
    len = host_len(host, len, a->tls);
    bool virtual = !path_style;
    if (asprintf(&a->host, "%s%s%.*s", virtual ? a->bucket : "", virtual ? "." : "", (int)len,
                 host) < 0)
        a->host = NULL;
    if (asprintf(&a->path, "%.*s%s%s", (int)base_len, base, virtual ? "" : "/",
                 virtual ? "" : a->bucket) < 0)
        a->path = NULL;
    if (a->host && a->path)
        return 0;
    snprintf(why, 512, "out of memory");
bad:
    s3_address_free(a);
    return -1;
}

void s3_address_free(struct s3_address *a)
{
    free(a->host);
    free(a->path);
    free(a->prefix);
    *a = (struct s3_address){0};
}

int s3_address_path(const struct s3_address *a, const char *key, struct buf *path)
{
    buf_adds(path, a->path);
    if (key || !*a->path)
        buf_adds(path, "/");
    if (key)
        percent_encode(path, key, strlen(key), "/");
    return path->failed ? -1 : 0;
}

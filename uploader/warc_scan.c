#include "uploader/warc_scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/digest.h"
#include "uploader/gzip.h"

enum {
    HEADER_MOST = 512 << 10,
    AHEAD_BYTES = 65536,
    VALUE = 128,
    TORN_MOST = 4096,  /* a file of ours that is no longer may be torn in its first record */
};

/* How the first record of ours begins, its block too; '*' is any byte. No other program is known to
 * write these lines in this order. */
static const char BEGINNING[] =
    "WARC/1.1\r\nWARC-Type: warcinfo\r\n"
    "WARC-Record-ID: <urn:uuid:************************************>\r\nWARC-Date: ";
static const char SOFTWARE[] = "software: sluice/";
static const char GZIP[] = "\x1f\x8b\x08"; /* RFC 1952, 2.3.1 */

struct scan {
    int fd;
    struct gunzip *gunzip;  /* NULL: plain */
    uint64_t end;           /* of what was read; packed: of the last member */
    char *header;           /* owned; HEADER_MOST */
    char *ahead;            /* owned; AHEAD_BYTES, of which those from `at` to `len` are unread */
    size_t at, len;
    int err;                /* the file can't be read */
};

/* Of a record. */
struct record {
    char type[VALUE], digest[VALUE];
    uint64_t bytes;
    bool ours, others;  /* a warcinfo: that we wrote it, that we did not; neither: it is torn */
};

/* More bytes; false at the end (of a member, if packed), and where there is damage. */
static bool more(struct scan *s)
{
    ssize_t n;
    do
        n = s->gunzip ? gunzip_read(s->gunzip, s->ahead, AHEAD_BYTES)
                      : pread(s->fd, s->ahead, AHEAD_BYTES, (off_t)s->end);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EILSEQ)
        s->err = errno;
    s->at = 0;
    s->len = n > 0 ? (size_t)n : 0;
    if (!s->gunzip)
        s->end += s->len;
    return n > 0;
}

/* The next bytes, `most` at most, borrowed until the next call; how many in *len. */
static const char *next(struct scan *s, uint64_t most, size_t *len)
{
    if (s->at == s->len && !more(s))
        return NULL;
    const char *bytes = s->ahead + s->at;
    *len = s->len - s->at < most ? s->len - s->at : (size_t)most;
    s->at += *len;
    return bytes;
}

static bool read_header(struct scan *s)
{
    size_t one;
    s->header[0] = '\0';
    for (size_t len = 0; len < HEADER_MOST - 1;) {
        const char *c = next(s, 1, &one);
        if (!c)
            return false;
        s->header[len++] = *c;
        s->header[len] = '\0';
        if (len >= 4 && memcmp(s->header + len - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static bool value_of(const char *header, const char *name, char out[VALUE])
{
    char start[64];
    snprintf(start, sizeof start, "\r\n%s: ", name);
    const char *at = strcasestr(header, start);
    if (!at)
        return false;
    at += strlen(start);
    size_t len = strcspn(at, "\r\n");
    if (len >= VALUE)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static bool understand(const char *header, struct record *r)
{
    char bytes[VALUE];
    char *end;
    if (strncmp(header, "WARC/1.1\r\n", 10) || !value_of(header, "WARC-Type", r->type) ||
        !value_of(header, "WARC-Block-Digest", r->digest) ||
        !value_of(header, "Content-Length", bytes) || !isdigit((unsigned char)bytes[0]))
        return false;
    errno = 0;
    r->bytes = strtoull(bytes, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool read_end(struct scan *s)
{
    size_t one;
    for (const char *want = "\r\n\r\n"; *want; want++) {
        const char *c = next(s, 1, &one);
        if (!c || *c != *want)
            return false;
    }
    return true;
}

/* Whether a block that begins so is ours; zeros are what a power cut leaves. */
static void look_at_block(struct record *r, const char *bytes, size_t len)
{
    size_t want = sizeof SOFTWARE - 1, n = strnlen(bytes, len < want ? len : want);
    r->others = memcmp(bytes, SOFTWARE, n) != 0;
    r->ours = !r->others && n == want;
}

/* The block of a record whose header was read. Whose it is, is noted. */
static bool read_block(struct scan *s, struct record *r)
{
    char digest[DIGEST_TEXT];
    struct digest *d = digest_open(DIGEST_SHA256);
    uint64_t left = r->bytes;
    size_t len;
    const char *bytes;
    if (!d)
        s->err = ENOMEM;
    while (d && left && (bytes = next(s, left, &len))) {
        if (left == r->bytes)
            look_at_block(r, bytes, len);
        digest_add(d, bytes, len);
        left -= len;
    }
    bool right = d && !left && digest_text(d, digest) == 0 && strcmp(digest, r->digest) == 0;
    digest_close(d);
    return right && read_end(s);
}

static bool read_record(struct scan *s, struct record *r)
{
    *r = (struct record){.bytes = 0};
    if (!read_header(s) || !understand(s->header, r) || !read_block(s, r))
        return false;
    if (!s->gunzip)
        return true;
    if (s->at < s->len || more(s) || !gunzip_ended(s->gunzip))
        return false;
    s->end = gunzip_next(s->gunzip);
    return true;
}

static uint64_t end_of(const struct scan *s)
{
    return s->gunzip ? s->end : s->end - (s->len - s->at);
}

/* As far as it goes, to its first zero. */
static bool begins_as_ours(const char *header)
{
    for (size_t i = 0; BEGINNING[i] && header[i]; i++)
        if (BEGINNING[i] != '*' && BEGINNING[i] != header[i])
            return false;
    return true;
}

static bool begins_as_gzip(int fd)
{
    char bytes[sizeof GZIP] = "";
    return pread(fd, bytes, sizeof GZIP - 1, 0) < 0 ||
           strncmp(bytes, GZIP, strlen(bytes)) == 0;
}

/* Whether the first record, which could not be read, is one that we had begun to write: there is
 * nothing in what is left of the file that says otherwise. */
static bool is_begun(const struct scan *s, const struct record *r, int64_t bytes)
{
    return bytes <= TORN_MOST && begins_as_ours(s->header) && !r->others &&
           (!s->gunzip || begins_as_gzip(s->fd));
}

/* To the end of the last whole object, of a file of so many bytes. */
static uint64_t scan(struct scan *s, int64_t bytes)
{
    struct record r;
    uint64_t whole = 0;
    bool read = read_record(s, &r);
    if (read && r.ours && strcmp(r.type, "warcinfo") == 0) {
        while (read_record(s, &r))
            if (strcmp(r.type, "response") == 0 || strcmp(r.type, "resource") == 0)
                whole = end_of(s);
    } else if (!s->err && (read || !is_begun(s, &r, bytes))) {
        s->err = EILSEQ;
    }
    return whole;
}

int64_t warc_whole(int fd, bool packed)
{
    struct scan s = {.fd = fd, .header = malloc(HEADER_MOST), .ahead = malloc(AHEAD_BYTES)};
    struct stat st;
    uint64_t whole = 0;
    if (!s.header || !s.ahead || (packed && !(s.gunzip = gunzip_open(fd))))
        s.err = ENOMEM;
    else if (fstat(fd, &st))
        s.err = errno;
    else
        whole = scan(&s, st.st_size);
    gunzip_close(s.gunzip);
    free(s.header);
    free(s.ahead);
    errno = s.err;
    return s.err ? -1 : (int64_t)whole;
}

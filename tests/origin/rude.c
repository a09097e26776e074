#include "rude.h"

#include <inttypes.h>
#include <string.h>

enum value_kind {
    NUMBER,
    FLAG,        /* 0 or 1 */
    HEAD_OR_SIZE /* "head" or a number of bytes */
};

struct entry {
    const char *name;
    enum value_kind kind;
    size_t offset;       /* of its struct rude_option in struct rude */
    int64_t least;
    int64_t most;
    bool ends_with_times; /* rude_behave() forgets it */
};

#define AT(field) offsetof(struct rude, field)

static const struct entry entries[] = {
    { "wait",        NUMBER,       AT(wait_ms),          0,   86400000,  true  },
    { "rate",        NUMBER,       AT(rate_bytes_per_s), 1,   1LL << 40, true  },
    { "stall",       HEAD_OR_SIZE, AT(stall),            0,   INT64_MAX, true  },
    { "reset",       HEAD_OR_SIZE, AT(reset),            0,   INT64_MAX, true  },
    { "truncate",    HEAD_OR_SIZE, AT(truncate),         0,   INT64_MAX, true  },
    { "length",      NUMBER,       AT(length_bytes),     0,   INT64_MAX, true  },
    { "chunked",     FLAG,         AT(chunked),          0,   1,         false },
    { "nolength",    FLAG,         AT(nolength),         0,   1,         false },
    { "gzip",        FLAG,         AT(gzip),             0,   1,         false },
    { "deflate",     FLAG,         AT(deflate),          0,   1,         false },
    { "badgzip",     FLAG,         AT(badgzip),          0,   1,         true  },
    { "status",      NUMBER,       AT(status),           200, 999,       true  },
    { "retry-after", NUMBER,       AT(retry_after_s),    0,   INT64_MAX, true  },
    { "times",       NUMBER,       AT(times),            0,   INT64_MAX, false },
    { "hop",         NUMBER,       AT(hop),              0,   INT64_MAX, false },
    { "loop",        NUMBER,       AT(loop),             0,   2,         true  },
    { "headers",     NUMBER,       AT(headers_bytes),    0,   INT64_MAX, true  },
    { "close",       FLAG,         AT(close),            0,   1,         false },
    { "endless",     FLAG,         AT(endless),          0,   1,         true  },
};

enum { ENTRIES = sizeof(entries) / sizeof(entries[0]) };

static struct rude_option *option_of(struct rude *rude, const struct entry *entry)
{
    return (struct rude_option *)((char *)rude + entry->offset);
}

static int read_value(const struct entry *entry, struct span value, struct rude_option *option)
{
    if (entry->kind == HEAD_OR_SIZE && span_is(value, "head")) {
        *option = (struct rude_option){ true, RUDE_AT_HEAD };
        return 0;
    }
    int64_t n;
    if (span_number(value, &n) < 0 || n < entry->least || n > entry->most)
        return -1;
    /* "chunked=0" says the same as no "chunked" at all. */
    *option = (struct rude_option){ entry->kind != FLAG || n == 1, n };
    return 0;
}

static int read_option(struct span name, struct span value, struct rude *rude)
{
    if (span_is(name, "to")) {
        rude->to = value;
        return value.len > 0 ? 0 : -1;
    }
    if (span_is(name, "until")) {
        rude->until = value;
        return value.len > 0 && value.len <= RUDE_UNTIL_BYTES ? 0 : -1;
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        if (span_is(name, entries[i].name))
            return read_value(&entries[i], value, option_of(rude, &entries[i]));
    }
    return 0;
}

int rude_parse(struct span query, struct rude *rude, struct span *bad_option)
{
    *rude = (struct rude){ 0 };
    while (query.len > 0) {
        struct span pair = span_until(&query, '&');
        struct span value = pair;
        struct span name = span_until(&value, '=');
        if (read_option(name, value, rude) < 0) {
            *bad_option = pair;
            return -1;
        }
    }
    return 0;
}

void rude_behave(struct rude *rude)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        if (entries[i].ends_with_times)
            *option_of(rude, &entries[i]) = (struct rude_option){ 0 };
    }
    rude->to = (struct span){ 0 };
}

int rude_retarget(struct span target, const char *name, int64_t value, char *out, size_t size)
{
    struct span query = target;
    struct span path = span_until(&query, '?');
    size_t used = path.len;
    if (used >= size)
        return -1;
    memcpy(out, path.at, used);
    for (char mark = '?'; query.len > 0; mark = '&') {
        struct span pair = span_until(&query, '&');
        struct span rest = pair;
        int added;
        if (span_is(span_until(&rest, '='), name))
            added = snprintf(out + used, size - used, "%c%s=%" PRId64, mark, name, value);
        else
            added = snprintf(out + used, size - used, "%c%.*s", mark, (int)pair.len, pair.at);
        if (added < 0 || (size_t)added >= size - used)
            return -1;
        used += (size_t)added;
    }
    out[used] = '\0';
    return 0;
}

#include "lib/msg.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

/* One table serves writer and reader: a row per field, at most 32, in the order they are written. */
enum type { U64, FLAG, TEXT, RUN, NUMBERS, LIST };

struct field {
    const char *name;
    size_t name_len;
    enum type type;
    size_t at;                   /* offset in the struct */
    bool must;                   /* written even if zero, refused if missing */
    const struct field *of;      /* LIST: an element's fields */
    size_t size;                 /* LIST: an element's size */
};

#define MUST true
#define MAY false
#define F(type_, s, m, need) {#m, sizeof #m - 1, type_, offsetof(struct s, m), need, NULL, 0}
#define L(s, m, element, table) \
    {#m, sizeof #m - 1, LIST, offsetof(struct s, m), MAY, table, sizeof(struct element)}
#define END {NULL, 0, U64, 0, MAY, NULL, 0}

static const struct field head_fields[] = {
    F(RUN, msg, run, MUST), F(U64, msg, from, MUST), F(U64, msg, to, MUST), END};

static const struct field mark_fields[] = {
    F(U64, msg_mark, from, MUST), F(U64, msg_mark, n, MUST), END};

static const struct field uploader_fields[] = {
    F(U64, msg_uploader, member, MUST), F(TEXT, msg_uploader, intake, MUST),
    F(FLAG, msg_uploader, leaving, MAY), F(FLAG, msg_uploader, reading, MAY),
    F(FLAG, msg_uploader, heads, MAY), F(U64, msg_uploader, read, MAY), END};

static const struct field stored_item_fields[] = {
    F(U64, msg_outcome, d, MUST), F(U64, msg_outcome, task, MUST),
    F(TEXT, msg_outcome, key, MUST), F(U64, msg_outcome, bytes, MUST),
    F(TEXT, msg_outcome, digest, MAY), F(TEXT, msg_outcome, place, MAY),
    F(FLAG, msg_outcome, existing, MAY),
    F(U64, msg_outcome, fetcher, MAY), F(U64, msg_outcome, response_code, MAY),
    F(U64, msg_outcome, time_us, MAY), F(TEXT, msg_outcome, content_type, MAY),
    F(TEXT, msg_outcome, url_effective, MAY), END};

static const struct field failed_item_fields[] = {
    F(U64, msg_outcome, d, MUST), F(U64, msg_outcome, task, MUST),
    F(TEXT, msg_outcome, class, MUST), F(TEXT, msg_outcome, detail, MAY),
    F(FLAG, msg_outcome, retry, MAY), F(U64, msg_outcome, retry_after_ms, MAY),
    F(U64, msg_outcome, response_code, MAY), F(U64, msg_outcome, time_us, MAY),
    F(TEXT, msg_outcome, url_effective, MAY), END};

static const struct field beat_fields[] = {
    F(TEXT, msg_beat, role, MUST), F(TEXT, msg_beat, host, MUST), F(U64, msg_beat, pid, MUST),
    F(TEXT, msg_beat, inbox, MUST), F(TEXT, msg_beat, intake, MAY),
    F(TEXT, msg_beat, dest, MAY), L(msg_beat, read, msg_mark, mark_fields),
    F(U64, msg_beat, room, MAY), F(NUMBERS, msg_beat, held, MAY),
    F(NUMBERS, msg_beat, held_tasks, MAY),
    F(NUMBERS, msg_beat, open, MAY), F(FLAG, msg_beat, leaving, MAY),
    F(FLAG, msg_beat, empty, MAY), F(FLAG, msg_beat, reading, MAY),
    F(FLAG, msg_beat, over, MAY), F(FLAG, msg_beat, join, MAY), F(FLAG, msg_beat, heads, MAY),
    F(U64, msg_beat, oldest, MUST), F(U64, msg_beat, objects, MAY),
    F(U64, msg_beat, bytes, MAY), F(U64, msg_beat, dropped, MAY), END};

static const struct field news_fields[] = {
    F(U64, msg_news, n, MUST), F(U64, msg_news, epoch, MUST), F(U64, msg_news, lease_ms, MUST),
    F(U64, msg_news, done, MUST), L(msg_news, uploaders, msg_uploader, uploader_fields),
    F(NUMBERS, msg_news, gone, MAY), F(NUMBERS, msg_news, fetchers, MAY),
    F(NUMBERS, msg_news, cancel, MAY), F(TEXT, msg_news, over, MAY),
    F(FLAG, msg_news, refused, MAY), END};

static const struct field task_item_fields[] = {
    F(U64, msg_task, d, MUST), F(U64, msg_task, task, MUST),
    F(TEXT, msg_task, url, MUST), F(TEXT, msg_task, key, MUST), END};

static const struct field tasks_fields[] = {
    F(U64, msg_tasks, n, MUST), L(msg_tasks, items, msg_task, task_item_fields), END};

static const struct field chunk_item_fields[] = {
    F(U64, msg_chunk, d, MUST), F(U64, msg_chunk, task, MUST), F(U64, msg_chunk, len, MUST),
    F(U64, msg_chunk, offset, MAY), F(FLAG, msg_chunk, first, MAY),
    F(FLAG, msg_chunk, last, MAY), F(U64, msg_chunk, sum, MUST),
    F(U64, msg_chunk, at, MAY), F(U64, msg_chunk, seq, MAY),
    F(TEXT, msg_chunk, url, MAY), F(TEXT, msg_chunk, key, MAY),
    F(TEXT, msg_chunk, content_type, MAY), F(TEXT, msg_chunk, head, MAY),
    F(TEXT, msg_chunk, request, MAY), F(TEXT, msg_chunk, ip, MAY),
    F(FLAG, msg_chunk, decoded, MAY), F(U64, msg_chunk, total, MAY),
    F(TEXT, msg_chunk, digest, MAY), F(TEXT, msg_chunk, url_effective, MAY),
    F(U64, msg_chunk, response_code, MAY), F(U64, msg_chunk, time_us, MAY), END};

static const struct field chunks_fields[] = {
    F(U64, msg_chunks, n, MUST), F(FLAG, msg_chunks, closed, MAY),
    F(TEXT, msg_chunks, share, MAY),
    L(msg_chunks, items, msg_chunk, chunk_item_fields), END};

static const struct field stored_fields[] = {
    F(U64, msg_outcomes, o, MUST),
    L(msg_outcomes, items, msg_outcome, stored_item_fields), END};

static const struct field failed_fields[] = {
    F(U64, msg_outcomes, o, MUST),
    L(msg_outcomes, items, msg_outcome, failed_item_fields), END};

static const struct kind {
    const char *name;
    const struct field *fields;
    size_t at;  /* offset of its struct in struct msg */
} kinds[MSG_KINDS] = {
    [MSG_BEAT] = {"beat", beat_fields, offsetof(struct msg, beat)},
    [MSG_NEWS] = {"news", news_fields, offsetof(struct msg, news)},
    [MSG_TASKS] = {"tasks", tasks_fields, offsetof(struct msg, tasks)},
    [MSG_CHUNKS] = {"chunks", chunks_fields, offsetof(struct msg, chunks)},
    [MSG_STORED] = {"stored", stored_fields, offsetof(struct msg, outcomes)},
    [MSG_FAILED] = {"failed", failed_fields, offsetof(struct msg, outcomes)},
};

/* Every list in a message struct has this shape. */
struct list {
    const void *v;
    uint32_t count;
};

const char *msg_kind_name(enum msg_kind kind)
{
    return kinds[kind].name;
}

struct msg_text msg_text(const char *s)
{
    return (struct msg_text){s, s ? (uint32_t)strlen(s) : 0};
}

void msg_text_copy(struct msg_text t, char *out, size_t size)
{
    size_t len = t.len < size - 1 ? t.len : size - 1;
    if (len)
        memcpy(out, t.s, len);
    out[len] = '\0';
}

/* Writing. */

/* msgpack-c reports a failed write call by call; remembering one is enough. */
struct sink {
    struct buf *b;
    int bad;
};

static int to_sink(void *sink, const char *data, size_t len)
{
    struct sink *s = sink;
    s->bad |= buf_add(s->b, data, len);
    return 0;
}

static void pack_text(msgpack_packer *p, const char *s, size_t len)
{
    msgpack_pack_str(p, len);
    msgpack_pack_str_body(p, s, len);
}

static bool is_zero(const struct field *f, const char *base)
{
    const char *at = base + f->at;
    switch (f->type) {
    case U64:
        return *(const uint64_t *)at == 0;
    case FLAG:
        return !*(const bool *)at;
    case TEXT:
        return ((const struct msg_text *)at)->len == 0;
    case RUN:
        return false;
    case NUMBERS:
    case LIST:
        return ((const struct list *)at)->count == 0;
    }
    return false;
}

static size_t count_fields(const struct field *f, const char *base)
{
    size_t count = 0;
    for (; f->name; f++)
        count += f->must || !is_zero(f, base);
    return count;
}

static void pack_fields(msgpack_packer *p, const struct field *f, const char *base);

static void pack_list(msgpack_packer *p, const struct field *f, const struct list *list)
{
    msgpack_pack_array(p, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        if (f->type == NUMBERS) {
            msgpack_pack_uint64(p, ((const uint64_t *)list->v)[i]);
            continue;
        }
        const char *element = (const char *)list->v + i * f->size;
        msgpack_pack_map(p, count_fields(f->of, element));
        pack_fields(p, f->of, element);
    }
}

static void pack_fields(msgpack_packer *p, const struct field *f, const char *base)
{
    for (; f->name; f++) {
        if (!f->must && is_zero(f, base))
            continue;
        const char *at = base + f->at;
        const struct msg_text *text = (const struct msg_text *)at;
        pack_text(p, f->name, f->name_len);
        switch (f->type) {
        case U64:
            msgpack_pack_uint64(p, *(const uint64_t *)at);
            break;
        case FLAG:
            *(const bool *)at ? msgpack_pack_true(p) : msgpack_pack_false(p);
            break;
        case TEXT:
            pack_text(p, text->s, text->len);
            break;
        case RUN:
            msgpack_pack_bin(p, ID_RUN_BYTES);
            msgpack_pack_bin_body(p, at, ID_RUN_BYTES);
            break;
        case NUMBERS:
        case LIST:
            pack_list(p, f, (const struct list *)at);
            break;
        }
    }
}

int msg_write(struct buf *b, const struct msg *m)
{
    const struct kind *k = &kinds[m->kind];
    const char *base = (const char *)m;
    size_t before = b->len;
    msgpack_packer p;
    struct sink sink = {b, 0};
    msgpack_packer_init(&p, &sink, to_sink);
    msgpack_pack_map(&p, 2 + count_fields(head_fields, base) +
                             count_fields(k->fields, base + k->at));
    pack_text(&p, "v", 1);
    msgpack_pack_uint64(&p, MSG_VERSION);
    pack_text(&p, "kind", 4);
    pack_text(&p, k->name, strlen(k->name));
    pack_fields(&p, head_fields, base);
    pack_fields(&p, k->fields, base + k->at);
    if (sink.bad)
        b->len = before;
    return sink.bad;
}

/* Reading. */

struct msg_reader {
    msgpack_zone zone;  /* the map's tree, and our lists */
};

struct msg_reader *msg_reader_open(void)
{
    struct msg_reader *r = calloc(1, sizeof *r);
    if (r && !msgpack_zone_init(&r->zone, 8192)) {
        free(r);
        return NULL;
    }
    return r;
}

void msg_reader_close(struct msg_reader *r)
{
    if (!r)
        return;
    msgpack_zone_destroy(&r->zone);
    free(r);
}

static int get_u64(const msgpack_object *o, uint64_t *to)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return -1;
    *to = o->via.u64;
    return 0;
}

static int get_text(const msgpack_object *o, struct msg_text *to)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size > MSG_TEXT_MOST)
        return -1;
    *to = (struct msg_text){o->via.str.ptr, o->via.str.size};
    return 0;
}

static int get_run(const msgpack_object *o, char *to)
{
    if (o->type != MSGPACK_OBJECT_BIN || o->via.bin.size != ID_RUN_BYTES)
        return -1;
    memcpy(to, o->via.bin.ptr, ID_RUN_BYTES);
    return 0;
}

static int get_fields(struct msg_reader *r, const msgpack_object_map *map, const struct field *f,
                      char *base, const char **why);

static int get_list(struct msg_reader *r, const msgpack_object *o, const struct field *f,
                    struct list *to, const char **why)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > MSG_LIST_MOST)
        return -1;
    uint32_t count = o->via.array.size;
    size_t size = f->type == NUMBERS ? sizeof(uint64_t) : f->size;
    char *v = count ? msgpack_zone_malloc(&r->zone, count * size) : NULL;
    if (count && !v)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const msgpack_object *element = &o->via.array.ptr[i];
        memset(v + i * size, 0, size);
        if (f->type == NUMBERS ? get_u64(element, (uint64_t *)(v + i * size))
                               : element->type != MSGPACK_OBJECT_MAP ||
                                     get_fields(r, &element->via.map, f->of, v + i * size, why))
            return -1;
    }
    *to = (struct list){v, count};
    return 0;
}

static int get_value(struct msg_reader *r, const msgpack_object *o, const struct field *f,
                     char *at, const char **why)
{
    switch (f->type) {
    case U64:
        return get_u64(o, (uint64_t *)at);
    case FLAG:
        if (o->type != MSGPACK_OBJECT_BOOLEAN)
            return -1;
        *(bool *)at = o->via.boolean;
        return 0;
    case TEXT:
        return get_text(o, (struct msg_text *)at);
    case RUN:
        return get_run(o, at);
    case NUMBERS:
    case LIST:
        return get_list(r, o, f, (struct list *)at, why);
    }
    return -1;
}

static bool named(const msgpack_object_kv *kv, const char *name, size_t len)
{
    return kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == len &&
           memcmp(kv->key.via.str.ptr, name, len) == 0;
}

/* The field of this key, looked for from `f` on and then from the table's start; NULL: of none. */
static const struct field *find_field(const struct field *table, const struct field *f,
                                      const msgpack_object_kv *kv)
{
    const struct field *from = f;
    for (; f->name; f++)
        if (named(kv, f->name, f->name_len))
            return f;
    for (f = table; f < from; f++)
        if (named(kv, f->name, f->name_len))
            return f;
    return NULL;
}

/* Our own writers keep the table's order, so a search passes only what was left out. Of two of one
 * name the later counts. */
static int get_fields(struct msg_reader *r, const msgpack_object_map *map, const struct field *table,
                      char *base, const char **why)
{
    const struct field *next = table;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < map->size; i++) {
        const struct field *f = find_field(table, next, &map->ptr[i]);
        if (!f)
            continue;
        if (get_value(r, &map->ptr[i].val, f, base + f->at, why)) {
            *why = f->name;
            return -1;
        }
        seen |= 1u << (f - table);
        next = f + 1;
    }
    for (const struct field *f = table; f->name; f++)
        if (f->must && !(seen & 1u << (f - table))) {
            *why = f->name;
            return -1;
        }
    return 0;
}

static const msgpack_object *look_up(const msgpack_object_map *map, const char *name)
{
    for (uint32_t i = 0; i < map->size; i++)
        if (named(&map->ptr[i], name, strlen(name)))
            return &map->ptr[i].val;
    return NULL;
}

static int find_kind(const msgpack_object_map *map, enum msg_kind *kind)
{
    const msgpack_object *o = look_up(map, "kind");
    for (int k = 0; o && o->type == MSGPACK_OBJECT_STR && k < MSG_KINDS; k++)
        if (o->via.str.size == strlen(kinds[k].name) &&
            memcmp(o->via.str.ptr, kinds[k].name, o->via.str.size) == 0) {
            *kind = (enum msg_kind)k;
            return 0;
        }
    return -1;
}

/* What stands behind each first byte: bytes of a length, bytes of a payload (a length's value
 * comes on top), children. Source: the MessagePack specification, "Formats". */
static void measure(const uint8_t *at, uint64_t *head, uint64_t *payload, uint64_t *children)
{
    static const uint8_t length_bytes[] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4};      /* c0 to c9 */
    static const uint8_t fixed[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17}; /* ca to d8 */
    uint8_t c = at[0];
    uint64_t n = 0;
    *head = *payload = *children = 0;
    if (c < 0x80 || c >= 0xe0)
        return;
    if (c < 0xa0)
        *children = c < 0x90 ? 2 * (c & 15u) : c & 15u;
    else if (c < 0xc0)
        *payload = c & 31;
    else if (c >= 0xca && c <= 0xd8)
        *payload = fixed[c - 0xca];
    else
        *head = c <= 0xc9   ? length_bytes[c - 0xc0]
                : c <= 0xdb ? 1u << (c - 0xd9)
                            : c & 1 ? 4 : 2;
    for (uint64_t i = 0; i < *head; i++)
        n = n << 8 | at[1 + i];
    if (c >= 0xde)
        *children = 2 * n;
    else if (c >= 0xdc)
        *children = n;
    else
        *payload += n + (c >= 0xc7 && c <= 0xc9); /* an ext's type */
}

/* No object claims more elements than there are bytes: msgpack-c would allocate for them all. */
static bool plausible(const uint8_t *at, size_t len)
{
    uint8_t padded[8] = {0}; /* measure() looks at 5 bytes */
    for (uint64_t wanted = 1; wanted; wanted--) {
        uint64_t head, payload, children;
        if (wanted > len)
            return false;
        if (len < sizeof padded)
            memcpy(padded, at, len);
        measure(len < sizeof padded ? padded : at, &head, &payload, &children);
        if (1 + head + payload > len || children > len)
            return false;
        at += 1 + head + payload;
        len -= 1 + head + payload;
        wanted += children;
    }
    return true;
}

/* Gives each chunk its bytes: they follow the map in the order of the list, and nothing else. Of
 * what is lent there are none. */
static int find_bytes(struct msg *m, const uint8_t *at, size_t len)
{
    if (m->kind != MSG_CHUNKS)
        return len ? -1 : 0;
    struct msg_chunk *v = (struct msg_chunk *)(uintptr_t)m->chunks.items.v; /* the reader's */
    for (uint32_t i = 0; i < m->chunks.items.count; i++) {
        if (v[i].seq) {
            if (v[i].len > MSG_CHUNK_MOST)
                return -1;
            continue;
        }
        if (v[i].len > len)
            return -1;
        v[i].bytes = at;
        at += v[i].len;
        len -= v[i].len;
    }
    return len ? -1 : 0;
}

int msg_read(struct msg_reader *r, const void *frame, size_t len, struct msg *m, const char **why)
{
    msgpack_object o;
    size_t used = 0;
    msgpack_zone_clear(&r->zone);
    *why = "not MessagePack";
    if (!plausible(frame, len))
        return -1;
    msgpack_unpack_return rc = msgpack_unpack(frame, len, &used, &r->zone, &o);
    if ((rc != MSGPACK_UNPACK_SUCCESS && rc != MSGPACK_UNPACK_EXTRA_BYTES) ||
        o.type != MSGPACK_OBJECT_MAP || o.via.map.size > 64)
        return -1;
    const msgpack_object *version = look_up(&o.via.map, "v");
    *why = "v";
    if (!version || version->type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
        version->via.u64 != MSG_VERSION)
        return -1;
    *m = (struct msg){0};
    *why = "kind";
    if (find_kind(&o.via.map, &m->kind))
        return -1;
    const struct kind *k = &kinds[m->kind];
    if (get_fields(r, &o.via.map, head_fields, (char *)m, why) ||
        get_fields(r, &o.via.map, k->fields, (char *)m + k->at, why))
        return -1;
    *why = "bytes";
    return find_bytes(m, (const uint8_t *)frame + used, len - used);
}

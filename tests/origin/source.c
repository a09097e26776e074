#include "source.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

/* RFC 1952 header, and then a block type that deflate reserves (RFC 1951 section 3.2.3). */
static const unsigned char gzip_header[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
enum { BAD_BLOCK = 0xff };

void source_text(struct source *source, const char *text)
{
    size_t len = strlen(text);
    assert(len < sizeof(source->text));
    *source = (struct source){ .kind = SOURCE_TEXT, .left_bytes = (int64_t)len };
    memcpy(source->text, text, len);
}

void source_gen(struct source *source, struct span path, int64_t bytes)
{
    *source = (struct source){ .kind = SOURCE_GEN, .left_bytes = bytes };
    gen_start(&source->gen, path);
}

void source_bad_gzip(struct source *source, int64_t garbage_bytes)
{
    int64_t most = SOURCE_ENDLESS - (int64_t)sizeof(gzip_header);
    int64_t total = SOURCE_ENDLESS;
    if (garbage_bytes < most)
        total = garbage_bytes + (int64_t)sizeof(gzip_header);
    *source = (struct source){ .kind = SOURCE_BAD_GZIP, .left_bytes = total };
}

void source_file(struct source *source, int *fd, int64_t bytes)
{
    *source = (struct source){ .kind = SOURCE_FILE, .left_bytes = bytes, .file_fd = *fd };
    *fd = -1;
}

int source_bomb(struct source *source, int64_t zero_bytes)
{
    struct bomb *bomb = bomb_open(zero_bytes);
    if (bomb == NULL)
        return -1;
    *source = (struct source){ .kind = SOURCE_BOMB, .bomb = bomb };
    source->left_bytes = bomb_length(bomb);
    return 0;
}

static void read_bad_gzip(int64_t from, unsigned char *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int64_t at = from + (int64_t)i;
        bool in_header = at < (int64_t)sizeof(gzip_header);
        out[i] = in_header ? gzip_header[at] : BAD_BLOCK;
    }
}

size_t source_read(struct source *source, unsigned char *out, size_t size)
{
    assert(source->kind != SOURCE_FILE);
    if (source->left_bytes < (int64_t)size)
        size = (size_t)source->left_bytes;
    switch (source->kind) {
    case SOURCE_TEXT:
        memcpy(out, source->text + source->done_bytes, size);
        break;
    case SOURCE_GEN:
        gen_read(&source->gen, out, size);
        break;
    case SOURCE_BAD_GZIP:
        read_bad_gzip(source->done_bytes, out, size);
        break;
    case SOURCE_BOMB:
        size = bomb_read(source->bomb, out, size);
        break;
    case SOURCE_NOTHING:
    case SOURCE_FILE:
        break;
    }
    if (source->left_bytes != SOURCE_ENDLESS)
        source->left_bytes -= (int64_t)size;
    source->done_bytes += (int64_t)size;
    return size;
}

void source_close(struct source *source)
{
    if (source->kind == SOURCE_BOMB)
        bomb_free(&source->bomb);
    if (source->kind == SOURCE_FILE)
        close(source->file_fd);
    source->kind = SOURCE_NOTHING;
    source->left_bytes = 0;
}

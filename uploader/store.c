#include "uploader/store.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/durable.h"
#include "lib/say.h"

const char *store_compress;

const struct store_ops *store_find(const char *dest, const char **place)
{
    for (const struct store_ops *const *s = stores; *s; s++) {
        size_t len = strlen((*s)->scheme);
        if (strncmp(dest, (*s)->scheme, len) == 0 && dest[len] == ':') {
            *place = dest + len + 1;
            return *s;
        }
    }
    return NULL;
}

void store_options(const struct opt **tables, const char **headings, int at)
{
    for (const struct store_ops *const *s = stores; *s; s++) {
        if (!(*s)->options)
            continue;
        assert(at < OPT_TABLES_MOST - 1);
        headings[at] = (*s)->usage;
        tables[at++] = (*s)->options;
    }
    tables[at] = NULL;
}

void store_usage(char *out, size_t size)
{
    size_t len = 0;
    for (const struct store_ops *const *s = stores; *s; s++) {
        if (!(*s)->usage)
            continue;
        len += (size_t)snprintf(out + len, size - len, "  %-30s %s\n", (*s)->usage, (*s)->about);
        assert(len < size);
    }
}

void store_attempt(const struct store_facts *f, char out[STORE_ATTEMPT])
{
    snprintf(out, STORE_ATTEMPT, "%016llx%016llx", (unsigned long long)f->member,
             (unsigned long long)f->serial);
}

int64_t store_free_below(int dir_fd)
{
    struct statvfs v;
    if (fstatvfs(dir_fd, &v) || v.f_blocks == 0)
        return INT64_MAX;
    return v.f_bavail > (uint64_t)INT64_MAX / v.f_frsize ? INT64_MAX
                                                         : (int64_t)(v.f_bavail * v.f_frsize);
}

bool store_key_ok(const char *key, size_t len)
{
    if (len == 0 || len > 1024 || key[len - 1] == '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool starts = i == 0 || key[i - 1] == '/';
        if (starts && (key[i] == '.' || key[i] == '/'))
            return false;
        if (!isalnum((unsigned char)key[i]) && !memchr("._-/", key[i], 4))
            return false;
    }
    return true;
}

int store_open_dir(const char *dest, const char *path, bool fsync)
{
    int fd = mkdir(path, 0777) && errno != EEXIST ? -1
                                                  : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, 0) == 0 && !(fsync && durable_name(fd)))
        return fd;
    int err = errno;
    say(SAY_ERROR, "%s: %s", dest, strerror(err));
    if (fd >= 0)
        close(fd);
    errno = err;
    return -1;
}

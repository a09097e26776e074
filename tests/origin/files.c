#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int files_root(const char *root)
{
    return open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Kernels and sandboxes without openat2: the same promise, and no links at all. */
static int open_step_by_step(int root_fd, char *path, int flags)
{
    int fd = root_fd;
    for (char *rest = path; rest != NULL && fd >= 0;) {
        const char *name = strsep(&rest, "/");
        if (*name == '\0' && rest != NULL)
            continue;
        int dir_fd = fd;
        int step_flags = rest != NULL ? O_PATH | O_DIRECTORY | O_CLOEXEC : flags;
        fd = openat(dir_fd, name, step_flags | O_NOFOLLOW);
        if (dir_fd != root_fd)
            close(dir_fd);
    }
    return fd;
}

static int open_beneath(int root_fd, char *path)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK; /* O_NONBLOCK: a FIFO must not hold us up */
    struct open_how how = { .flags = (uint64_t)flags };
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    long fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_step_by_step(root_fd, path, flags);
    return (int)fd;
}

static bool climbs(const char *path)
{
    struct span rest = span_of(path);
    while (rest.len > 0) {
        if (span_is(span_until(&rest, '/'), ".."))
            return true;
    }
    return false;
}

int files_open(int root_fd, struct span path, int64_t *bytes)
{
    char name[PATH_MAX];
    if (url_decode(path, name, sizeof(name)) <= 1 || name[0] != '/' || climbs(name)) {
        errno = ENOENT;
        return -1;
    }
    int fd = open_beneath(root_fd, name + strspn(name, "/"));
    if (fd < 0)
        return -1;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = ENOENT;
        return -1;
    }
    *bytes = st.st_size;
    return fd;
}

static const struct {
    const char *ending;
    const char *type;
} types[] = {
    { ".html", "text/html; charset=utf-8" },
    { ".htm", "text/html; charset=utf-8" },
    { ".txt", "text/plain; charset=utf-8" },
    { ".md", "text/plain; charset=utf-8" },
    { ".css", "text/css" },
    { ".csv", "text/csv" },
    { ".js", "text/javascript" },
    { ".json", "application/json" },
    { ".xml", "application/xml" },
    { ".pdf", "application/pdf" },
    { ".gz", "application/gzip" },
    { ".zip", "application/zip" },
    { ".jpg", "image/jpeg" },
    { ".jpeg", "image/jpeg" },
    { ".png", "image/png" },
    { ".gif", "image/gif" },
    { ".svg", "image/svg+xml" },
    { ".webp", "image/webp" },
    { ".mp4", "video/mp4" },
    { ".webm", "video/webm" },
};

const char *files_type(struct span path)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        size_t len = strlen(types[i].ending);
        if (path.len > len && memcmp(path.at + path.len - len, types[i].ending, len) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

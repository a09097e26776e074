#include "lib/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int sync_below(int dir_fd, const char *path)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) ? -1 : 0;
    int err = errno;
    if (fd >= 0)
        close(fd);
    errno = err;
    return bad;
}

int durable_names(int dir_fd)
{
    return sync_below(dir_fd, ".");
}

int durable_name(int dir_fd)
{
    return sync_below(dir_fd, "..") && errno != EACCES ? -1 : 0;
}

#include "uploader/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int file_is_called(int fd, int dir, const char *name)
{
    struct stat mine, there;
    if (fstat(fd, &mine))
        return -1;
    if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? 0 : -1;
    return mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

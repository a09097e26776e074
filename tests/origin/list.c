#include "list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "url.h"

/* The directories between the root and where we are, outermost first. */
struct place {
    const struct place *above; /* NULL: this is the root */
    const char *name;
};

static void print_place(const struct place *place, FILE *to)
{
    if (place->above == NULL)
        return;
    print_place(place->above, to);
    putc('/', to);
    url_print_segment(to, place->name);
}

static int list_dir(int dir_fd, const struct place *place, const char *base, FILE *to);

static int list_entry(int dir_fd, const struct place *place, const char *base, FILE *to)
{
    struct stat st;
    if (fstatat(dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -1; /* gone since readdir() */
    if (S_ISREG(st.st_mode)) {
        fputs(base, to);
        print_place(place, to);
        return putc('\n', to) == EOF ? -1 : 0;
    }
    if (!S_ISDIR(st.st_mode))
        return 0;
    int fd = openat(dir_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -1 : list_dir(fd, place, base, to);
}

/* Takes dir_fd. */
static int list_dir(int dir_fd, const struct place *place, const char *base, FILE *to)
{
    DIR *dir = fdopendir(dir_fd);
    if (dir == NULL) {
        close(dir_fd);
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (errno = 0, entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        struct place here = { place, entry->d_name };
        result = list_entry(dir_fd, &here, base, to);
    }
    if (errno != 0)
        result = -1;
    int reason = errno;
    closedir(dir);
    errno = reason;
    return result;
}

int list_urls(int root_fd, const char *base, FILE *to)
{
    struct place root = { 0 };
    if (list_dir(root_fd, &root, base, to) < 0 || fflush(to) == EOF)
        return -1;
    return 0;
}

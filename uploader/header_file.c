#include "uploader/header_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/say.h"

enum { FILE_MOST = 64 << 10 };

static int refuse(const char *path, const char *why)
{
    say(SAY_ERROR, "--header-file %s: %s", path, why);
    errno = EINVAL;
    return -1;
}

/* The whole of it into `text`, with a NUL. 0, or -1 with errno. */
static int read_all(int fd, char *text)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, FILE_MOST - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    if (n == 0 && len == FILE_MOST)
        errno = EFBIG;
    return n < 0 || len == FILE_MOST ? -1 : 0;
}

static bool is_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("!#$%&'*+-.^_`|~", name[i]))
            return false;
    return len > 0;
}

/* What we say ourselves of a body may not be said twice. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = {"content-length", "transfer-encoding", "host", "expect"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static int take_line(const char *path, struct header_file *f, char *line)
{
    char *colon = strchr(line, ':');
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = '\0';
    if (!*line || *line == '#')
        return 0;
    if (!colon || !is_name(line, (size_t)(colon - line)))
        return refuse(path, "a line is not \"Name: value\"");
    *colon++ = '\0';
    for (char *c = colon; *c; c++)
        if (iscntrl((unsigned char)*c) && *c != '\t')
            return refuse(path, "a value has a control character in it");
    if (is_ours(line))
        return refuse(path, "Content-Length, Transfer-Encoding, Host and Expect are ours to say");
    if (f->count == HEADER_FILE_MOST)
        return refuse(path, "more than 16 headers");
    f->headers[f->count++] = (struct http_header){line, colon + strspn(colon, " \t")};
    return 0;
}

static int take_lines(const char *path, struct header_file *f)
{
    char *rest = f->text, *line;
    while ((line = strsep(&rest, "\n")))
        if (take_line(path, f, line))
            return -1;
    return 0;
}

int header_file_read(const char *path, struct header_file *f)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *f = (struct header_file){.text = malloc(FILE_MOST + 1)};
    int bad = fd < 0 || fstat(fd, &st) || !f->text || read_all(fd, f->text) ? -1 : 0;
    if (bad)
        say(SAY_ERROR, "--header-file %s: %s", path, strerror(errno));
    else if (st.st_mode & (S_IROTH | S_IWOTH))
        bad = refuse(path, "others may read or write it, and it may hold secrets: chmod o-rw it");
    else
        bad = take_lines(path, f);
    int err = errno;
    if (fd >= 0)
        close(fd);
    if (bad)
        header_file_free(f);
    errno = err;
    return bad;
}

void header_file_free(struct header_file *f)
{
    if (f->text)
        explicit_bzero(f->text, FILE_MOST);
    free(f->text);
    *f = (struct header_file){0};
}

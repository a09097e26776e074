/* helpers.h - temporary files, and functions that are expected to end their process in words.
 * Include after cmocka.h. */
#ifndef SLUICE_TESTS_HELPERS_H
#define SLUICE_TESTS_HELPERS_H
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEADLINE_S = 20, DEADLINE_ALL_S = 300 };

/* An anonymous file with these bytes, its offset at 0, opened as a journal's are. */
static inline int file_of(const char *text, size_t len)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
    return fd;
}

/* All bytes of a file, malloced, with a NUL after them. */
static inline char *bytes_of(int fd, size_t *len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    text[size] = '\0';
    *len = (size_t)size;
    return text;
}

static inline void path_of(int fd, char path[64])
{
    snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* Before the leak checker: a process that ends in words frees nothing. */
static inline void leave_at_once(int status, void *arg)
{
    (void)arg;
    _exit(status);
}

/* Runs `body` in a child. Gives its exit status (1000 + the signal that ended it) and what it has
 * said, malloced. Asserts of cmocka don't work in there. */
static inline int in_child(void (*body)(void *), void *arg, char **said)
{
    int err = file_of("", 0), status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(DEADLINE_S);
        dup2(err, STDERR_FILENO);
        on_exit(leave_at_once, NULL);
        body(arg);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    size_t len;
    *said = bytes_of(err, &len);
    close(err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* `body` ends its process with `status`, after words that have `words` among them. */
static inline void assert_dies(void (*body)(void *), void *arg, int status, const char *words)
{
    char *said;
    int got = in_child(body, arg, &said);
    if (got != status || !strstr(said, words))
        print_error("status %d, said: %s\n", got, said);
    assert_int_equal(got, status);
    assert_non_null(strstr(said, words));
    free(said);
}
#endif

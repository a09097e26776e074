/* slow_store.so - preloaded into an uploader, makes its store slow: each write into a regular
 * file takes as long as SLOW_STORE bytes a second allow. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    struct stat st;
    const char *rate = getenv("SLOW_STORE");
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (rate && atof(rate) > 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        double s = (double)len / atof(rate);
        struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
        nanosleep(&t, NULL);
    }
    return real(fd, data, len);
}

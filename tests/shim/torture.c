/* torture.so - preloaded into a program of ours, makes one of its calls fail that can fail.
 *
 *   TORTURE_COUNT=FILE      at exit writes a line "CALL 0xADDRESS TIMES" per place in the program
 *                           that calls it; the address is the return address, as addr2line has it
 *   TORTURE_FAIL=N          the N-th of all counted calls fails, or
 *   TORTURE_FAIL=CALL+0xADDRESS:N
 *                           the N-th from that place: threads and timing move it less
 *   TORTURE_ERROR=I         with the I-th error that such a call is known for (default: N)
 *   TORTURE_NO_TMPFILE=1    besides, the file system has no O_TMPFILE
 *
 * Counted is what the program itself calls, told by the return address, not what its libraries do
 * among themselves. What fails is said on stderr: "torture: CALL+0xADDRESS:N fails with ...".
 *
 * Threads: any. Source: ld.so(8) LD_PRELOAD, dlsym(3) RTLD_NEXT, getauxval(3). */
#define _GNU_SOURCE
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <link.h>
#include <msgpack.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>
#include <zmq.h>

enum { PLACES_MOST = 2048, SHORT = -1 /* half is written; what follows has no room */ };

/* One place in the program that calls something. */
struct place {
    const char *call;
    uintptr_t address;
    unsigned long times;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct place places[PLACES_MOST]; /* under lock */
static int place_count;                  /* under lock */
static unsigned long total;              /* under lock */
static bool done;                        /* under lock: the one call has failed */

static struct {
    uintptr_t bias, start, end;  /* the program's */
    const char *count_file, *call;
    size_t call_len;
    uintptr_t address;           /* 0: any */
    unsigned long nth;           /* 0: none is to fail */
    long error;                  /* -1: by nth */
    bool no_tmpfile;
} plan;

static void find_program(void)
{
    const ElfW(Phdr) *table = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    unsigned long count = getauxval(AT_PHNUM);
    for (unsigned long i = 0; i < count; i++)
        if (table[i].p_type == PT_PHDR)
            plan.bias = (uintptr_t)table - table[i].p_vaddr;
    for (unsigned long i = 0; i < count; i++)
        if (table[i].p_type == PT_LOAD && table[i].p_flags & PF_X) {
            plan.start = plan.bias + table[i].p_vaddr;
            plan.end = plan.start + table[i].p_memsz;
        }
}

/* Before the program's own code, and not sooner: a sanitizer allocates before there is getenv(). */
__attribute__((constructor)) static void read_plan(void)
{
    const char *fail = getenv("TORTURE_FAIL"), *error = getenv("TORTURE_ERROR"), *plus;
    char *end;
    find_program();
    unsetenv("LD_PRELOAD"); /* what it starts, a store's command, is no victim */
    plan.count_file = getenv("TORTURE_COUNT");
    plan.no_tmpfile = getenv("TORTURE_NO_TMPFILE") != NULL;
    plan.error = error ? atol(error) : -1;
    if (fail && (plus = strchr(fail, '+'))) {
        plan.call = fail;
        plan.call_len = (size_t)(plus - fail);
        plan.address = strtoul(plus + 1, &end, 16);
        plan.nth = *end == ':' ? strtoul(end + 1, NULL, 10) : 1;
    } else if (fail) {
        plan.nth = strtoul(fail, NULL, 10);
    }
}

/* The place, counted, NULL where there is no room for more. */
static struct place *count(const char *call, uintptr_t address)
{
    struct place *p = places, *end = places + place_count;
    while (p < end && (p->call != call || p->address != address))
        p++;
    if (p == end) {
        if (place_count == PLACES_MOST)
            return NULL;
        place_count++;
        *p = (struct place){call, address, 0};
    }
    p->times++;
    total++;
    return p;
}

static bool is_due(const struct place *p)
{
    if (done || !plan.nth)
        return false;
    if (!plan.address)
        return total == plan.nth;
    return p->address == plan.address && p->times == plan.nth &&
           strlen(p->call) == plan.call_len && memcmp(p->call, plan.call, plan.call_len) == 0;
}

static void tell(const struct place *p, const char *how)
{
    char line[256];
    int len = snprintf(line, sizeof line, "torture: %s+0x%lx:%lu fails with %s\n", p->call,
                       (unsigned long)p->address, p->times, how);
    syscall(SYS_write, STDERR_FILENO, line, (size_t)len);
}

/* Counts a call from `from`; the error it is to fail with, 0 if it is to go on. */
static int struck(const char *call, const void *from, const int *errors, size_t error_count)
{
    uintptr_t at = (uintptr_t)from;
    int error = 0;
    if (at <= plan.start || at > plan.end)
        return 0;
    pthread_mutex_lock(&lock);
    struct place *p = count(call, at - plan.bias);
    if (p && is_due(p)) {
        unsigned long which = plan.error >= 0 ? (unsigned long)plan.error : plan.nth;
        error = errors[which % error_count];
        done = true;
        tell(p, error == SHORT ? "half of it done" : zmq_strerror(error));
    }
    pthread_mutex_unlock(&lock);
    if (error > 0)
        errno = error;
    return error;
}

__attribute__((destructor)) static void write_counts(void)
{
    if (!plan.count_file)
        return;
    FILE *f = fopen(plan.count_file, "w");
    if (!f)
        return;
    for (int i = 0; i < place_count; i++)
        fprintf(f, "%s 0x%lx %lu\n", places[i].call, (unsigned long)places[i].address,
                places[i].times);
    fclose(f);
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

#define ERRORS(...) ((const int[]){__VA_ARGS__})
#define STRUCK(name, errors) \
    struck(#name, __builtin_return_address(0), errors, sizeof(errors) / sizeof(int))

/* A function of the same name that fails with `failed` when its time has come. */
#define FAIL(type, name, params, args, failed, ...)      \
    type name params                                     \
    {                                                    \
        static type(*real) params;                       \
        const int errors[] = {__VA_ARGS__};              \
        if (STRUCK(name, errors))                        \
            return failed;                               \
        if (!real)                                       \
            *(void **)&real = next(#name);               \
        return real args;                                \
    }

/* Memory. */

FAIL(void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAIL(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
FAIL(void *, realloc, (void *old, size_t size), (old, size), NULL, ENOMEM)
FAIL(char *, strdup, (const char *s), (s), NULL, ENOMEM)
FAIL(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t offset),
     (at, len, prot, flags, fd, offset), MAP_FAILED, ENOMEM)

/* Files. */

static bool wants_mode(int flags)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    const int errors[] = {EMFILE, ENOMEM};
    va_list ap;
    va_start(ap, flags);
    mode_t mode = wants_mode(flags) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (STRUCK(open, errors))
        return -1;
    if (!real)
        *(void **)&real = next("open");
    return real(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    const int errors[] = {EMFILE, ENOSPC, EIO};
    va_list ap;
    va_start(ap, flags);
    mode_t mode = wants_mode(flags) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (STRUCK(openat, errors))
        return -1;
    if (plan.no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (!real)
        *(void **)&real = next("openat");
    return real(dir, path, flags, mode);
}

/* openat2(2) has no function of its own. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    const int errors[] = {EMFILE, ENOMEM, EIO};
    long a[6];
    va_list ap;
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_openat2 && STRUCK(openat2, errors))
        return -1;
    if (!real)
        *(void **)&real = next("syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* stderr is spared: it says what we want to hear. */
ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    static int full_fd = -1; /* has no room since half of something was written to it */
    const int errors[] = {ENOSPC, EIO, SHORT};
    int error = fd == STDERR_FILENO ? 0 : STRUCK(write, errors);
    if (!real)
        *(void **)&real = next("write");
    if (full_fd >= 0 && fd == full_fd) {
        full_fd = -1;
        errno = ENOSPC;
        return -1;
    }
    if (error == SHORT && len > 1) {
        full_fd = fd;
        return real(fd, data, len / 2);
    }
    return error ? -1 : real(fd, data, len);
}

FAIL(ssize_t, read, (int fd, void *data, size_t len), (fd, data, len), -1, EIO, EINTR)
FAIL(int, fsync, (int fd), (fd), -1, EIO, ENOSPC)
FAIL(int, fdatasync, (int fd), (fd), -1, EIO, ENOSPC)
FAIL(int, ftruncate, (int fd, off_t len), (fd, len), -1, EIO)
FAIL(int, fstat, (int fd, struct stat *st), (fd, st), -1, EIO)
FAIL(int, flock, (int fd, int what), (fd, what), -1, ENOLCK)
FAIL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC, EIO)
FAIL(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode), -1, ENOSPC, EIO)
FAIL(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), -1, EIO)
FAIL(int, renameat, (int from, const char *path, int to, const char *name),
     (from, path, to, name), -1, ENOSPC, EIO)
FAIL(int, rename, (const char *from, const char *to), (from, to), -1, ENOSPC, EIO)
FAIL(int, linkat, (int from, const char *path, int to, const char *name, int flags),
     (from, path, to, name, flags), -1, ENOSPC, EIO)
FAIL(ssize_t, pread, (int fd, void *data, size_t len, off_t at), (fd, data, len, at), -1, EIO)
FAIL(int, dup, (int fd), (fd), -1, EMFILE)
FAIL(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM)
FAIL(ssize_t, getline, (char **line, size_t *room, FILE *f), (line, room, f), -1, ENOMEM)
FAIL(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)

/* The kernel's other things. */

FAIL(int, epoll_create1, (int flags), (flags), -1, EMFILE, ENOMEM)
FAIL(int, eventfd, (unsigned value, int flags), (value, flags), -1, EMFILE, ENOMEM)
FAIL(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), -1, EMFILE, ENOMEM)
FAIL(int, pipe, (int fds[2]), (fds), -1, EMFILE)
FAIL(int, pipe2, (int fds[2], int flags), (fds, flags), -1, EMFILE)
FAIL(int, socket, (int family, int type, int protocol), (family, type, protocol), -1, EMFILE,
     ENOBUFS)
FAIL(ssize_t, getrandom, (void *out, size_t len, unsigned flags), (out, len, flags), -1, ENOSYS)
FAIL(int, pthread_create,
     (pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg),
     (t, attr, run, arg), EAGAIN, EAGAIN)

/* Taking a descriptor out of a set needs nothing that could be lacking. */
int epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
    static int (*real)(int, int, int, struct epoll_event *);
    const int errors[] = {ENOMEM, ENOSPC};
    if (what != EPOLL_CTL_DEL && STRUCK(epoll_ctl, errors))
        return -1;
    if (!real)
        *(void **)&real = next("epoll_ctl");
    return real(set, what, fd, event);
}

/* libzmq. */

FAIL(void *, zmq_ctx_new, (void), (), NULL, EMFILE, ENOMEM)
FAIL(void *, zmq_socket, (void *context, int type), (context, type), NULL, EMFILE, ENOMEM)
FAIL(int, zmq_setsockopt, (void *s, int option, const void *value, size_t len),
     (s, option, value, len), -1, EINVAL)
FAIL(int, zmq_getsockopt, (void *s, int option, void *value, size_t *len),
     (s, option, value, len), -1, EINTR, EINVAL)
FAIL(int, zmq_bind, (void *s, const char *at), (s, at), -1, EADDRINUSE, ENOMEM)
FAIL(int, zmq_connect, (void *s, const char *at), (s, at), -1, EMTHREAD, ENOMEM)
FAIL(int, zmq_msg_init_size, (zmq_msg_t *m, size_t size), (m, size), -1, ENOMEM)
FAIL(int, zmq_msg_init_data, (zmq_msg_t *m, void *data, size_t len, zmq_free_fn *f, void *hint),
     (m, data, len, f, hint), -1, ENOMEM)
FAIL(int, zmq_send, (void *s, const void *data, size_t len, int flags), (s, data, len, flags), -1,
     EAGAIN, ENOMEM, EFSM)
FAIL(int, zmq_msg_send, (zmq_msg_t *m, void *s, int flags), (m, s, flags), -1, EAGAIN, ENOMEM,
     EFSM)
FAIL(int, zmq_msg_recv, (zmq_msg_t *m, void *s, int flags), (m, s, flags), -1, EAGAIN, EINTR,
     EFSM)

/* libcurl. */

#undef curl_easy_setopt
#undef curl_multi_setopt

FAIL(CURLcode, curl_global_init_mem,
     (long flags, curl_malloc_callback m, curl_free_callback f, curl_realloc_callback r,
      curl_strdup_callback s, curl_calloc_callback c),
     (flags, m, f, r, s, c), CURLE_OUT_OF_MEMORY, ENOMEM)
FAIL(CURLM *, curl_multi_init, (void), (), NULL, ENOMEM)
FAIL(CURL *, curl_easy_init, (void), (), NULL, ENOMEM)
FAIL(CURLMcode, curl_multi_add_handle, (CURLM *multi, CURL *easy), (multi, easy),
     CURLM_OUT_OF_MEMORY, ENOMEM)
FAIL(CURLMcode, curl_multi_socket_action, (CURLM *multi, curl_socket_t fd, int what, int *running),
     (multi, fd, what, running), CURLM_OUT_OF_MEMORY, ENOMEM)
FAIL(CURLcode, curl_easy_pause, (CURL *easy, int what), (easy, what), CURLE_OUT_OF_MEMORY, ENOMEM)
FAIL(struct curl_slist *, curl_slist_append, (struct curl_slist *list, const char *s), (list, s),
     NULL, ENOMEM)

CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
    static CURLcode (*real)(CURL *, CURLoption, ...);
    const int errors[] = {ENOMEM};
    va_list ap;
    va_start(ap, option);
    void *value = va_arg(ap, void *); /* a long is passed as a pointer is */
    va_end(ap);
    if (STRUCK(curl_easy_setopt, errors))
        return CURLE_OUT_OF_MEMORY;
    if (!real)
        *(void **)&real = next("curl_easy_setopt");
    return real(easy, option, value);
}

/* libcrypto, zlib, msgpack, jansson. */

FAIL(EVP_MD *, EVP_MD_fetch, (OSSL_LIB_CTX *lib, const char *name, const char *wanted),
     (lib, name, wanted), NULL, ENOMEM)
FAIL(EVP_MD_CTX *, EVP_MD_CTX_new, (void), (), NULL, ENOMEM)
FAIL(int, EVP_DigestInit_ex, (EVP_MD_CTX *c, const EVP_MD *md, ENGINE *e), (c, md, e), 0, ENOMEM)
FAIL(int, EVP_DigestUpdate, (EVP_MD_CTX *c, const void *data, size_t len), (c, data, len), 0,
     ENOMEM)
FAIL(int, EVP_DigestFinal_ex, (EVP_MD_CTX *c, unsigned char *out, unsigned *len), (c, out, len), 0,
     ENOMEM)
FAIL(int, inflateInit2_, (z_streamp z, int bits, const char *version, int size),
     (z, bits, version, size), Z_MEM_ERROR, ENOMEM)
FAIL(int, inflate, (z_streamp z, int flush), (z, flush), Z_MEM_ERROR, ENOMEM)
FAIL(bool, msgpack_zone_init, (msgpack_zone *z, size_t size), (z, size), false, ENOMEM)
FAIL(void *, msgpack_zone_malloc_expand, (msgpack_zone *z, size_t size), (z, size), NULL, ENOMEM)
FAIL(msgpack_unpack_return, msgpack_unpack,
     (const char *data, size_t len, size_t *at, msgpack_zone *z, msgpack_object *out),
     (data, len, at, z, out), MSGPACK_UNPACK_NOMEM_ERROR, ENOMEM)

json_t *json_loadb(const char *text, size_t len, size_t flags, json_error_t *e)
{
    static json_t *(*real)(const char *, size_t, size_t, json_error_t *);
    const int errors[] = {ENOMEM};
    if (STRUCK(json_loadb, errors)) {
        if (e) /* json_error_code() has it there */
            e->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory;
        return NULL;
    }
    if (!real)
        *(void **)&real = next("json_loadb");
    return real(text, len, flags, e);
}

#include "lib/place.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "lib/say.h"

static const char *ipc_path(const char *endpoint)
{
    return strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;
}

static void private_dir(char *dir, size_t size)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (base && *base)
        snprintf(dir, size, "%s/sluice", base);
    else
        snprintf(dir, size, "/tmp/sluice-%u", (unsigned)getuid());
    if (mkdir(dir, 0700) && errno != EEXIST)
        say_die(EXIT_UNUSABLE, "%s: %s (give an address with --at)", dir, strerror(errno));
    if (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid != getuid() || st.st_mode & 077)
        say_die(EXIT_UNUSABLE, "%s: is not a directory of mode 0700 that is yours", dir);
}

void place_at(const char *given, char out[PLACE_MAX])
{
    if (!given || !*given)
        given = getenv("SLUICE_AT");
    char dir[PLACE_MAX - 32], cwd[4096];
    if (given && *given) {
        if (strlen(given) >= PLACE_MAX)
            say_die(EXIT_USAGE, "--at: '%.40s...' is too long", given);
        snprintf(out, PLACE_MAX, "%s", given);
    } else {
        private_dir(dir, sizeof dir);
        if (!getcwd(cwd, sizeof cwd))
            say_die(EXIT_UNUSABLE, "the working directory is gone: %s", strerror(errno));
        snprintf(out, PLACE_MAX, "ipc://%s/%016llx", dir,
                 (unsigned long long)XXH3_64bits(cwd, strlen(cwd)));
    }
    if (strncmp(out, "tcp://", 6) && !ipc_path(out))
        say_die(EXIT_USAGE, "--at: '%s' is neither ipc:// nor tcp://", out);
    /* Workers bind beside it under a name 24 bytes longer. */
    if (ipc_path(out) && strlen(ipc_path(out)) + 24 > PLACE_IPC_MAX)
        say_die(EXIT_USAGE, "--at: '%s' is too long for a socket's path (%d bytes at most)",
                out, PLACE_IPC_MAX - 24);
}

/* The host in "tcp://HOST:PORT", without brackets. */
static void host_of(const char *endpoint, char *host, size_t size)
{
    const char *start = endpoint + 6, *end = strrchr(start, ':');
    size_t len = end ? (size_t)(end - start) : strlen(start);
    if (len >= 2 && *start == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    }
    snprintf(host, size, "%.*s", (int)len, start);
}

void place_check(const char *what, const char *endpoint, bool insecure)
{
    if (ipc_path(endpoint) || insecure)
        return;
    if (strncmp(endpoint, "tcp://", 6))
        say_die(EXIT_USAGE, "--%s: '%s' is neither ipc:// nor tcp://", what, endpoint);
    char host[PLACE_MAX];
    host_of(endpoint, host, sizeof host);
    struct in_addr four;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
        (inet_pton(AF_INET, host, &four) == 1 && ntohl(four.s_addr) >> 24 == 127))
        return;
    say_die(EXIT_USAGE, "--%s: '%s' is reachable from other machines and nothing here is "
            "encrypted or authenticated; say --insecure if that network is yours alone",
            what, endpoint);
}

void place_beside(const char *at, const char *part, uint64_t member, char out[PLACE_MAX])
{
    if (ipc_path(at)) {
        snprintf(out, PLACE_MAX, "%.*s-%s-%012llx", PLACE_MAX - 40, at, part,
                 (unsigned long long)(member & 0xffffffffffff));
        return;
    }
    char host[PLACE_MAX];
    host_of(at, host, sizeof host);
    bool near = strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
                strncmp(host, "127.", 4) == 0;
    snprintf(out, PLACE_MAX, near ? "tcp://127.0.0.1:*" : "tcp://*:*");
}

/* Our own address on the way to `at`: what a connected UDP socket is bound to. No packet. */
static int own_address(const char *at, char *host, size_t size)
{
    char to[PLACE_MAX];
    host_of(at, to, sizeof to);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
    if (getaddrinfo(to, "9", &hints, &found))
        return -1;
    struct sockaddr_storage me;
    socklen_t len = sizeof me;
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int bad = fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) ||
              getsockname(fd, (struct sockaddr *)&me, &len) ||
              getnameinfo((struct sockaddr *)&me, len, host, (socklen_t)size, NULL, 0,
                          NI_NUMERICHOST);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return bad ? -1 : 0;
}

void place_public(const char *bound, const char *at, const char *advertise, char out[PLACE_MAX])
{
    char host[PLACE_MAX] = "";
    snprintf(out, PLACE_MAX, "%s", bound);
    if (ipc_path(bound))
        return;
    host_of(bound, host, sizeof host);
    bool wild = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
    if (advertise)
        snprintf(host, sizeof host, "%s", advertise);
    else if (!wild)
        return;
    else if (ipc_path(at) || own_address(at, host, sizeof host))
        say_die(EXIT_USAGE, "%s: say with --advertise by which name others reach this", bound);
    snprintf(out, PLACE_MAX, strchr(host, ':') ? "tcp://[%.*s]%s" : "tcp://%.*s%s",
             PLACE_MAX - 32, host, strrchr(bound, ':'));
}

static int lock_path(const char *endpoint, char *path, size_t size)
{
    return ipc_path(endpoint) ? snprintf(path, size, "%s.lock", ipc_path(endpoint)) : 0;
}

int place_lock(const char *endpoint)
{
    char path[PLACE_MAX + 8];
    if (!lock_path(endpoint, path, sizeof path))
        return 0;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    return flock(fd, LOCK_EX | LOCK_NB); /* the kernel drops it when we end, however we end */
}

void place_remove(const char *endpoint, bool lock)
{
    char path[PLACE_MAX + 8];
    if (!ipc_path(endpoint))
        return;
    unlink(ipc_path(endpoint));
    if (lock && lock_path(endpoint, path, sizeof path))
        unlink(path);
}

#include "fetcher/guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const char *const special[] = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
    "2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", NULL};

static const char *const loopback[] = {"127.0.0.0/8", "::1/128", NULL};
static const char *const private[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                      "100.64.0.0/10", "fc00::/7", NULL};

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static int parse_net(const char *text, struct guard_net *net)
{
    char address[64], *end;
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof address)
        return -1;
    memcpy(address, text, len);
    address[len] = '\0';
    bool four = inet_pton(AF_INET, address, net->address + 12) == 1;
    if (four)
        memcpy(net->address, mapped, sizeof mapped);
    else if (inet_pton(AF_INET6, address, net->address) != 1)
        return -1;
    int most = four ? 32 : 128;
    long bits = slash ? strtol(slash + 1, &end, 10) : most;
    if (slash && (end == slash + 1 || *end || bits < 0 || bits > most))
        return -1;
    net->bits = (int)bits + (four ? 96 : 0);
    return 0;
}

static bool inside(const struct guard_net *net, const uint8_t address[16])
{
    int bytes = net->bits / 8, rest = net->bits % 8;
    if (memcmp(net->address, address, (size_t)bytes))
        return false;
    return !rest || (net->address[bytes] ^ address[bytes]) >> (8 - rest) == 0;
}

static int add(struct guard *g, const char *text)
{
    if (g->count == GUARD_NETS_MOST || parse_net(text, &g->allowed[g->count]))
        return -1;
    g->count++;
    return 0;
}

int guard_allow(struct guard *g, const char *net)
{
    const char *const *list = strcmp(net, "loopback") == 0  ? loopback
                              : strcmp(net, "private") == 0 ? private
                                                            : NULL;
    if (!list)
        return add(g, net);
    for (; *list; list++)
        if (add(g, *list))
            return -1;
    return 0;
}

bool guard_permits(const struct guard *g, const struct sockaddr *to)
{
    uint8_t address[16];
    if (to->sa_family == AF_INET) {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + 12, &((const struct sockaddr_in *)(const void *)to)->sin_addr, 4);
    } else if (to->sa_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)to)->sin6_addr, 16);
    } else {
        return false;
    }
    for (int i = 0; i < g->count; i++)
        if (inside(&g->allowed[i], address))
            return true;
    for (const char *const *s = special; *s; s++) {
        struct guard_net net;
        if (parse_net(*s, &net) == 0 && inside(&net, address))
            return false;
    }
    return true;
}

/* guard.h - which addresses may be connected to: public ones, and what --allow-net adds.
 * Source: the IANA special-purpose address registries (RFC 6890 and its successors). */
#ifndef SLUICE_GUARD_H
#define SLUICE_GUARD_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { GUARD_NETS_MOST = 64 };

struct guard_net {
    uint8_t address[16];  /* IPv4 as ::ffff:a.b.c.d */
    int bits;             /* of 128 */
};

struct guard {
    struct guard_net allowed[GUARD_NETS_MOST];
    int count;
};

/* Adds "loopback", "private", or a CIDR such as 10.1.0.0/16. 0, or -1 if it is none of these or
 * there are too many. */
int guard_allow(struct guard *g, const char *net);

/* May `to` be connected to? Addresses in IPv6 clothes (mapped, 6to4, NAT64, Teredo) are judged
 * by what they wrap, or refused. */
bool guard_permits(const struct guard *g, const struct sockaddr *to);
#endif

/*
 * Links, addresses, routes and neighbours over rtnetlink (libnl), in one network namespace.
 *
 * A struct link_sock is a netlink socket bound to the namespace it was opened in; the calls are synchronous and
 * short. Making something that is there already, exactly so, succeeds; removing what is absent succeeds: callers
 * state what they want and may repeat it. Addresses are IPv4 in host byte order.
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct link_sock;

struct ip4_net {
	uint32_t addr; /* host byte order */
	uint8_t bits;  /* prefix length, 0..32 */
};

/* "10.0.0.1", "10.0.0.0/24". A bare address has 32 bits. False on anything else. */
bool ip4_parse(struct str s, uint32_t *ret);
bool ip4_net_parse(struct str s, struct ip4_net *ret);
#define IP4_STR_SIZE 20
char *ip4_print(uint32_t addr, char out[IP4_STR_SIZE]);
char *ip4_net_print(struct ip4_net n, char out[IP4_STR_SIZE]);
static inline uint32_t ip4_mask(uint8_t bits)
{
	return bits == 0 ? 0 : ~(uint32_t)0 << (32 - bits);
}
static inline bool ip4_net_has(struct ip4_net n, uint32_t addr)
{
	return (addr & ip4_mask(n.bits)) == (n.addr & ip4_mask(n.bits));
}

/* ns_fd < 0: the calling thread's own namespace. */
struct link_sock *link_open(int ns_fd, struct err *e);
void link_close(struct link_sock *);

/* Interface index, or 0 when there is no such link. */
int link_index(struct link_sock *, const char *name);
int link_add_bridge(struct link_sock *, const char *name, struct err *e);
/* A pair: `name` here and `peer` in namespace peer_ns (fd; < 0: here too). mtu 0: the kernel's default. */
int link_add_veth(struct link_sock *, const char *name, const char *peer, int peer_ns, uint32_t mtu, struct err *e);
int link_del(struct link_sock *, const char *name, struct err *e);
int link_set_up(struct link_sock *, const char *name, bool up, struct err *e);
/* bridge NULL: take it out. */
int link_set_master(struct link_sock *, const char *name, const char *bridge, struct err *e);
/* Hairpin and learning of a bridge port. */
int link_set_hairpin(struct link_sock *, const char *name, bool on, struct err *e);
/* The link's hardware address as "aa:bb:cc:dd:ee:ff". */
int link_hwaddr(struct link_sock *, const char *name, char out[18], struct err *e);

/* Address with prefix length on a link. */
int addr_add(struct link_sock *, const char *link, struct ip4_net addr, struct err *e);
int addr_del(struct link_sock *, const char *link, struct ip4_net addr, struct err *e);
/* Route to dst (bits 0: default) through gateway via (0: on-link) and/or device dev (NULL: by gateway; with
 * both, the gateway need not be on a network of the device). Replaces an older route to the same dst. */
int route_set(struct link_sock *, struct ip4_net dst, uint32_t via, const char *dev, struct err *e);
int route_del(struct link_sock *, struct ip4_net dst, struct err *e);

/* Write a value below /proc/sys in the given namespace ("net/ipv4/ip_forward", "1"). */
int sysctl_set(int ns_fd, const char *key, const char *value, struct err *e);

#endif

#include "net/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "net/link-priv.h"
#include "net/netns.h"

bool ip4_parse(struct str s, uint32_t *ret)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr a;

	if (s.n == 0 || s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET, text, &a) != 1)
		return false;
	*ret = ntohl(a.s_addr);
	return true;
}

bool ip4_net_parse(struct str s, struct ip4_net *ret)
{
	struct str addr, bits;
	uint64_t n = 32;

	if (str_cut(s, '/', &addr, &bits) && (!str_to_u64(bits, &n) || n > 32))
		return false;
	ret->bits = (uint8_t)n;
	return ip4_parse(addr, &ret->addr);
}

char *ip4_print(uint32_t addr, char out[IP4_STR_SIZE])
{
	snprintf(out, IP4_STR_SIZE, "%u.%u.%u.%u", addr >> 24, (addr >> 16) & 255, (addr >> 8) & 255,
			addr & 255);
	return out;
}

char *ip4_net_print(struct ip4_net n, char out[IP4_STR_SIZE])
{
	snprintf(out, IP4_STR_SIZE, "%u.%u.%u.%u/%u", n.addr >> 24, (n.addr >> 16) & 255,
			(n.addr >> 8) & 255, n.addr & 255, n.bits);
	return out;
}

int link__err(struct err *e, int nlerr, const char *what, const char *name)
{
	static const struct {
		int nl;
		enum err_code code;
	} codes[] = {
		{NLE_EXIST, ERR_ALREADY_EXISTS},
		{NLE_OBJ_NOTFOUND, ERR_NOT_FOUND},
		{NLE_NODEV, ERR_NOT_FOUND},
		{NLE_PERM, ERR_FORBIDDEN},
	};
	enum err_code code = ERR_IO;

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i].nl == abs(nlerr))
			code = codes[i].code;
	return err_set(e, code, "%s %s: %s", what, name, nl_geterror(nlerr));
}

static int open_here(void *data, struct err *e)
{
	struct link_sock *s = data;
	int rv;

	s->nl = nl_socket_alloc();
	ASSERT(s->nl != NULL);
	rv = nl_connect(s->nl, NETLINK_ROUTE);
	return rv < 0 ? link__err(e, rv, "open", "rtnetlink socket") : 0;
}

struct link_sock *link_open(int ns_fd, struct err *e)
{
	struct link_sock *s = xcalloc(1, sizeof(*s));

	if (netns_call(ns_fd, open_here, s, e) < 0) {
		link_close(s);
		return NULL;
	}
	return s;
}

void link_close(struct link_sock *s)
{
	if (s == NULL)
		return;
	if (s->nl)
		nl_socket_free(s->nl);
	free(s);
}

static struct rtnl_link *get_link(struct link_sock *s, const char *name)
{
	struct rtnl_link *l = NULL;

	return rtnl_link_get_kernel(s->nl, 0, name, &l) < 0 ? NULL : l;
}

int link_index(struct link_sock *s, const char *name)
{
	struct rtnl_link *l = get_link(s, name);
	int i = l ? rtnl_link_get_ifindex(l) : 0;

	if (l)
		rtnl_link_put(l);
	return i;
}

static int add_link(struct link_sock *s, struct rtnl_link *l, const char *name, struct err *e)
{
	int rv;

	rtnl_link_set_name(l, name);
	rv = rtnl_link_add(s->nl, l, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_link_put(l);
	if (rv == -NLE_EXIST)
		return 0;
	return rv < 0 ? link__err(e, rv, "create link", name) : 0;
}

static int add_typed(struct link_sock *s, const char *type, const char *name, struct err *e)
{
	struct rtnl_link *l = rtnl_link_alloc();
	int rv;

	ASSERT(l != NULL);
	rv = rtnl_link_set_type(l, type);
	if (rv < 0) {
		rtnl_link_put(l);
		return link__err(e, rv, "create link", name);
	}
	return add_link(s, l, name, e);
}

int link_add_bridge(struct link_sock *s, const char *name, struct err *e)
{
	return add_typed(s, "bridge", name, e);
}

int link_add_veth(struct link_sock *s, const char *name, const char *peer, int peer_ns, uint32_t mtu, struct err *e)
{
	struct rtnl_link *l = rtnl_link_veth_alloc();
	struct rtnl_link *p;

	ASSERT(l != NULL);
	p = rtnl_link_veth_get_peer(l);
	rtnl_link_set_name(p, peer);
	if (peer_ns >= 0)
		rtnl_link_set_ns_fd(p, peer_ns);
	if (mtu > 0) {
		rtnl_link_set_mtu(l, mtu);
		rtnl_link_set_mtu(p, mtu);
	}
	rtnl_link_put(p);
	return add_link(s, l, name, e);
}

int link_del(struct link_sock *s, const char *name, struct err *e)
{
	struct rtnl_link *l = get_link(s, name);
	int rv;

	if (l == NULL)
		return 0;
	rv = rtnl_link_delete(s->nl, l);
	rtnl_link_put(l);
	if (rv == -NLE_NODEV || rv == -NLE_OBJ_NOTFOUND)
		return 0;
	return rv < 0 ? link__err(e, rv, "delete link", name) : 0;
}

/* Apply the attributes set on `change` to the named link. Consumes `change`. */
static int change_link(struct link_sock *s, const char *name, struct rtnl_link *change, struct err *e)
{
	struct rtnl_link *l = get_link(s, name);
	int rv;

	if (l == NULL) {
		rtnl_link_put(change);
		return err_set(e, ERR_NOT_FOUND, "no link %s", name);
	}
	rv = rtnl_link_change(s->nl, l, change, 0);
	rtnl_link_put(l);
	rtnl_link_put(change);
	return rv < 0 ? link__err(e, rv, "change link", name) : 0;
}

int link_set_up(struct link_sock *s, const char *name, bool up, struct err *e)
{
	struct rtnl_link *c = rtnl_link_alloc();

	ASSERT(c != NULL);
	if (up)
		rtnl_link_set_flags(c, IFF_UP);
	else
		rtnl_link_unset_flags(c, IFF_UP);
	return change_link(s, name, c, e);
}

int link_set_master(struct link_sock *s, const char *name, const char *bridge, struct err *e)
{
	int port = link_index(s, name), master = bridge ? link_index(s, bridge) : 0;
	int rv;

	if (port == 0 || (bridge && master == 0))
		return err_set(e, ERR_NOT_FOUND, "no link %s", port == 0 ? name : bridge);
	rv = bridge ? rtnl_link_enslave_ifindex(s->nl, master, port) : rtnl_link_release_ifindex(s->nl, port);
	return rv < 0 ? link__err(e, rv, bridge ? "put into a bridge link" : "take out of its bridge link", name) : 0;
}

int link_set_hairpin(struct link_sock *s, const char *name, bool on, struct err *e)
{
	/* libnl has no setter for IFLA_BRPORT_MODE alone, so the message is built by hand. */
	int index = link_index(s, name);
	struct ifinfomsg ifi = {.ifi_family = AF_BRIDGE, .ifi_index = index};
	struct nl_msg *m;
	struct nlattr *nest;
	int rv;

	if (index == 0)
		return err_set(e, ERR_NOT_FOUND, "no link %s", name);
	m = nlmsg_alloc_simple(RTM_SETLINK, 0);
	ASSERT(m != NULL);
	nlmsg_append(m, &ifi, sizeof(ifi), NLMSG_ALIGNTO);
	nest = nla_nest_start(m, IFLA_PROTINFO | NLA_F_NESTED);
	nla_put_u8(m, IFLA_BRPORT_MODE, on);
	nla_nest_end(m, nest);
	rv = nl_send_sync(s->nl, m);
	return rv < 0 ? link__err(e, rv, "set hairpin on link", name) : 0;
}

int link_hwaddr(struct link_sock *s, const char *name, char out[18], struct err *e)
{
	struct rtnl_link *l = get_link(s, name);
	struct nl_addr *a = l ? rtnl_link_get_addr(l) : NULL;
	char text[64];

	if (a == NULL) {
		if (l)
			rtnl_link_put(l);
		return err_set(e, ERR_NOT_FOUND, "no link %s", name);
	}
	nl_addr2str(a, text, sizeof(text));
	snprintf(out, 18, "%.17s", text);
	rtnl_link_put(l);
	return 0;
}

struct nl_addr *link__ip4(struct ip4_net n)
{
	uint32_t be = htonl(n.addr);
	struct nl_addr *a = nl_addr_build(AF_INET, &be, sizeof(be));

	ASSERT(a != NULL);
	nl_addr_set_prefixlen(a, n.bits);
	return a;
}

static int change_addr(struct link_sock *s, const char *link, struct ip4_net n, bool add, struct err *e)
{
	int index = link_index(s, link);
	struct rtnl_addr *ra;
	struct nl_addr *a;
	int rv;

	if (index == 0)
		return add ? err_set(e, ERR_NOT_FOUND, "no link %s", link) : 0;
	ra = rtnl_addr_alloc();
	ASSERT(ra != NULL);
	a = link__ip4(n);
	rtnl_addr_set_ifindex(ra, index);
	rtnl_addr_set_local(ra, a);
	if (n.bits < 31 && add) {
		struct nl_addr *b = link__ip4((struct ip4_net){n.addr | ~ip4_mask(n.bits), n.bits});

		rtnl_addr_set_broadcast(ra, b);
		nl_addr_put(b);
	}
	rv = add ? rtnl_addr_add(s->nl, ra, 0) : rtnl_addr_delete(s->nl, ra, 0);
	nl_addr_put(a);
	rtnl_addr_put(ra);
	if (add ? rv == -NLE_EXIST : rv == -NLE_NOADDR)
		return 0;
	return rv < 0 ? link__err(e, rv, add ? "add address to" : "remove address from", link) : 0;
}

int addr_add(struct link_sock *s, const char *link, struct ip4_net addr, struct err *e)
{
	return change_addr(s, link, addr, true, e);
}

int addr_del(struct link_sock *s, const char *link, struct ip4_net addr, struct err *e)
{
	return change_addr(s, link, addr, false, e);
}

static struct rtnl_route *route_to(struct ip4_net dst)
{
	struct rtnl_route *r = rtnl_route_alloc();
	struct nl_addr *d;

	ASSERT(r != NULL);
	dst.addr &= ip4_mask(dst.bits);
	d = link__ip4(dst);
	rtnl_route_set_family(r, AF_INET);
	rtnl_route_set_table(r, RT_TABLE_MAIN);
	rtnl_route_set_dst(r, d);
	nl_addr_put(d);
	return r;
}

int route_set(struct link_sock *s, struct ip4_net dst, uint32_t via, const char *dev, struct err *e)
{
	int index = dev ? link_index(s, dev) : 0;
	struct rtnl_route *r;
	struct rtnl_nexthop *nh;
	char text[IP4_STR_SIZE];
	int rv;

	if (dev != NULL && index == 0)
		return err_set(e, ERR_NOT_FOUND, "no link %s", dev);
	r = route_to(dst);
	nh = rtnl_route_nh_alloc();
	ASSERT(nh != NULL);
	rtnl_route_set_scope(r, via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK);
	if (via) {
		struct nl_addr *g = link__ip4((struct ip4_net){via, 32});

		rtnl_route_nh_set_gateway(nh, g);
		nl_addr_put(g);
	}
	if (index)
		rtnl_route_nh_set_ifindex(nh, index);
	if (index && via)
		rtnl_route_nh_set_flags(nh, RTNH_F_ONLINK);
	rtnl_route_add_nexthop(r, nh);
	rv = rtnl_route_add(s->nl, r, NLM_F_CREATE | NLM_F_REPLACE);
	rtnl_route_put(r);
	return rv < 0 ? link__err(e, rv, "set route to", ip4_net_print(dst, text)) : 0;
}

int route_del(struct link_sock *s, struct ip4_net dst, struct err *e)
{
	struct rtnl_route *r = route_to(dst);
	char text[IP4_STR_SIZE];
	int rv;

	rtnl_route_set_scope(r, RT_SCOPE_NOWHERE);
	rv = rtnl_route_delete(s->nl, r, 0);
	rtnl_route_put(r);
	if (rv == -NLE_OBJ_NOTFOUND)
		return 0;
	return rv < 0 ? link__err(e, rv, "delete route to", ip4_net_print(dst, text)) : 0;
}

struct sysctl {
	const char *key, *value;
};

static int sysctl_here(void *data, struct err *e)
{
	const struct sysctl *s = data;
	char path[PATH_MAX];
	_cleanup_(closep) int fd = -1;

	snprintf(path, sizeof(path), "/proc/sys/%s", s->key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, s->value, strlen(s->value)) < 0)
		return err_set_errno(e, errno, "set %s to %s", path, s->value);
	return 0;
}

int sysctl_set(int ns_fd, const char *key, const char *value, struct err *e)
{
	struct sysctl s = {key, value};

	return netns_call(ns_fd, sysctl_here, &s, e);
}

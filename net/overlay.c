#include "net/overlay.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/neighbour.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "net/link-priv.h"

void overlay_hwaddr(uint32_t node, char out[18])
{
	/* Locally administered, unicast. */
	snprintf(out, 18, "0a:58:%02x:%02x:%02x:%02x", node >> 24, (node >> 16) & 255, (node >> 8) & 255, node & 255);
}

static struct nl_addr *hwaddr(uint32_t node)
{
	struct nl_addr *a = NULL;
	char text[18];

	overlay_hwaddr(node, text);
	ASSERT(nl_addr_parse(text, AF_LLC, &a) == 0);
	return a;
}

/* --- This node's addresses ------------------------------------------------------------------------------------ */

/* The link that has a network with `addr` in it (exactly that address, if `own`); 0: none. */
static int link_with(struct link_sock *s, uint32_t addr, bool own)
{
	struct nl_cache *cache = NULL;
	int index = 0;

	if (rtnl_addr_alloc_cache(s->nl, &cache) < 0)
		return 0;
	for (struct nl_object *o = nl_cache_get_first(cache); o && index == 0; o = nl_cache_get_next(o)) {
		struct rtnl_addr *ra = (struct rtnl_addr *)o;
		struct nl_addr *local = rtnl_addr_get_local(ra);
		struct ip4_net net = {0, (uint8_t)rtnl_addr_get_prefixlen(ra)};

		if (local == NULL || nl_addr_get_family(local) != AF_INET)
			continue;
		memcpy(&net.addr, nl_addr_get_binary_addr(local), sizeof(net.addr));
		net.addr = ntohl(net.addr);
		if (own ? net.addr == addr : ip4_net_has(net, addr))
			index = rtnl_addr_get_ifindex(ra);
	}
	nl_cache_free(cache);
	return index;
}

bool overlay_is_direct(struct link_sock *s, uint32_t addr)
{
	return link_with(s, addr, false) != 0;
}

/* --- The device ------------------------------------------------------------------------------------------------- */

static bool is_as_wanted(struct link_sock *s, uint32_t node, bool *ret_there)
{
	struct rtnl_link *l = NULL;
	struct nl_addr *local = NULL, *want = link__ip4((struct ip4_net){node, 32}), *hw = hwaddr(node);
	bool good;

	*ret_there = rtnl_link_get_kernel(s->nl, 0, OVERLAY_LINK, &l) == 0;
	good = *ret_there && rtnl_link_is_vxlan(l) && rtnl_link_vxlan_get_local(l, &local) == 0 && nl_addr_cmp(local, want) == 0 &&
	       rtnl_link_get_addr(l) && nl_addr_cmp(rtnl_link_get_addr(l), hw) == 0;
	if (local)
		nl_addr_put(local);
	nl_addr_put(want);
	nl_addr_put(hw);
	if (l)
		rtnl_link_put(l);
	return good;
}

static int add_device(struct link_sock *s, uint32_t node, struct err *e)
{
	struct rtnl_link *l = rtnl_link_vxlan_alloc();
	struct nl_addr *local = link__ip4((struct ip4_net){node, 32}), *hw = hwaddr(node);
	int below = link_with(s, node, true), rv;

	ASSERT(l != NULL);
	rtnl_link_set_name(l, OVERLAY_LINK);
	rtnl_link_set_addr(l, hw);
	rtnl_link_vxlan_set_id(l, OVERLAY_ID);
	rtnl_link_vxlan_set_port(l, OVERLAY_PORT);
	rtnl_link_vxlan_set_learning(l, 0);
	rtnl_link_vxlan_set_local(l, local);
	/* The kernel takes the MTU from the link below. */
	if (below)
		rtnl_link_vxlan_set_link(l, (uint32_t)below);
	rv = rtnl_link_add(s->nl, l, NLM_F_CREATE | NLM_F_EXCL);
	nl_addr_put(local);
	nl_addr_put(hw);
	rtnl_link_put(l);
	return rv < 0 ? link__err(e, rv, "create link", OVERLAY_LINK) : 0;
}

int overlay_up(struct link_sock *s, uint32_t node, struct ip4_net pods, struct err *e)
{
	struct ip4_net first = {pods.addr & ip4_mask(pods.bits), 32};
	bool there;
	int rv = 0;

	if (!is_as_wanted(s, node, &there)) {
		if (there)
			rv = link_del(s, OVERLAY_LINK, e);
		if (rv == 0)
			rv = add_device(s, node, e);
	}
	if (rv == 0)
		rv = addr_add(s, OVERLAY_LINK, first, e);
	return rv == 0 ? link_set_up(s, OVERLAY_LINK, true, e) : rv;
}

/* --- Peers ------------------------------------------------------------------------------------------------------ */

/* Neighbour entry: `dst` is at the node's hardware address. For AF_BRIDGE: that hardware address is behind `dst`. */
static int change_neighbour(struct link_sock *s, int family, uint32_t dst, uint32_t node, bool add, struct err *e)
{
	struct rtnl_neigh *n = rtnl_neigh_alloc();
	struct nl_addr *to = link__ip4((struct ip4_net){dst, 32}), *hw = hwaddr(node);
	char text[IP4_STR_SIZE];
	int rv;

	ASSERT(n != NULL);
	rtnl_neigh_set_ifindex(n, link_index(s, OVERLAY_LINK));
	/* libnl takes the family from the address: ours must come after it. */
	rtnl_neigh_set_dst(n, to);
	rtnl_neigh_set_family(n, family);
	rtnl_neigh_set_lladdr(n, hw);
	rtnl_neigh_set_state(n, NUD_PERMANENT);
	if (family == AF_BRIDGE)
		rtnl_neigh_set_flags(n, NTF_SELF);
	rv = add ? rtnl_neigh_add(s->nl, n, NLM_F_CREATE | NLM_F_REPLACE) : rtnl_neigh_delete(s->nl, n, 0);
	nl_addr_put(to);
	nl_addr_put(hw);
	rtnl_neigh_put(n);
	if (!add && rv == -NLE_OBJ_NOTFOUND)
		return 0;
	return rv < 0 ? link__err(e, rv, add ? "add the overlay's entry for" : "delete the overlay's entry for", ip4_print(dst, text)) : 0;
}

int overlay_peer_set(struct link_sock *s, uint32_t node, struct ip4_net pods, struct err *e)
{
	uint32_t first = pods.addr & ip4_mask(pods.bits);
	int rv = change_neighbour(s, AF_BRIDGE, node, node, true, e);

	if (rv == 0)
		rv = change_neighbour(s, AF_INET, first, node, true, e);
	return rv == 0 ? route_set(s, pods, first, OVERLAY_LINK, e) : rv;
}

int overlay_peer_del(struct link_sock *s, uint32_t node, struct ip4_net pods, struct err *e)
{
	int rv = route_del(s, pods, e);

	if (link_index(s, OVERLAY_LINK) == 0)
		return rv;
	if (rv == 0)
		rv = change_neighbour(s, AF_INET, pods.addr & ip4_mask(pods.bits), node, false, e);
	return rv == 0 ? change_neighbour(s, AF_BRIDGE, node, node, false, e) : rv;
}

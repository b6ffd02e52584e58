#include "net/attach.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "net/netns.h"

/* Link names are at most 15 characters; twelve of the hash are plenty on one node. */
static void port_name(const char *owner, char out[16])
{
	snprintf(out, 16, "kt%012llx", (unsigned long long)(str_hash(str_from(owner)) & 0xffffffffffffULL));
}

int attach_bridge(const char *bridge, struct ip4_net pods, uint32_t mtu, struct err *e)
{
	struct ip4_net gw = {(pods.addr & ip4_mask(pods.bits)) + 1, pods.bits};
	struct link_sock *s = link_open(-1, e);
	char key[80];
	int rv;

	if (s == NULL)
		return -(int)ERR_IO;
	rv = link_add_bridge(s, bridge, e);
	if (rv == 0)
		rv = addr_add(s, bridge, gw, e);
	if (rv == 0)
		rv = link_set_up(s, bridge, true, e);
	link_close(s);
	if (rv == 0)
		rv = sysctl_set(-1, "net/ipv4/ip_forward", "1", e);
	/* What the node sends to 127.0.0.1 may be for a pod's hostPort: the bridge takes it with that sender, until it is masqueraded. */
	snprintf(key, sizeof(key), "net/ipv4/conf/%s/route_localnet", bridge);
	if (rv == 0)
		rv = sysctl_set(-1, key, "1", e);
	/* Service traffic between pods of one bridge must pass iptables; absent without br_netfilter, which is fine
	 * for kernels that have it built in and enabled. */
	if (rv == 0 && access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) == 0)
		rv = sysctl_set(-1, "net/bridge/bridge-nf-call-iptables", "1", e);
	return rv;
}

static int configure_inside(struct link_sock *in, const struct attach *a, char ret_hwaddr[18], struct err *e)
{
	struct ip4_net any = {0, 0};
	uint32_t gateway = (a->addr.addr & ip4_mask(a->addr.bits)) + 1;
	int rv = link_set_up(in, "lo", true, e);

	if (rv == 0)
		rv = addr_add(in, a->ifname, a->addr, e);
	if (rv == 0)
		rv = link_set_up(in, a->ifname, true, e);
	if (rv == 0)
		rv = route_set(in, any, gateway, NULL, e);
	if (rv == 0)
		rv = link_hwaddr(in, a->ifname, ret_hwaddr, e);
	return rv;
}

int attach_pod(const struct attach *a, char ret_hwaddr[18], struct err *e)
{
	_cleanup_(closep) int ns = netns_open(a->netns, e);
	struct link_sock *in, *out;
	char port[16];
	int rv = 0;

	if (ns < 0)
		return ns;
	port_name(a->owner, port);
	in = link_open(ns, e);
	out = link_open(-1, e);
	if (in == NULL || out == NULL)
		rv = -(int)ERR_IO;
	if (rv == 0 && link_index(in, a->ifname) == 0)
		rv = link_add_veth(out, port, a->ifname, ns, a->mtu, e);
	if (rv == 0)
		rv = link_set_master(out, port, a->bridge, e);
	if (rv == 0)
		rv = link_set_hairpin(out, port, true, e);
	if (rv == 0)
		rv = link_set_up(out, port, true, e);
	if (rv == 0)
		rv = configure_inside(in, a, ret_hwaddr, e);
	link_close(in);
	link_close(out);
	return rv;
}

int attach_remove(const char *owner, struct err *e)
{
	struct link_sock *s = link_open(-1, e);
	char port[16];
	int rv;

	if (s == NULL)
		return -(int)ERR_IO;
	port_name(owner, port);
	/* The inner end goes with the outer one. */
	rv = link_del(s, port, e);
	link_close(s);
	return rv;
}

int attach_check(const struct attach *a, struct err *e)
{
	_cleanup_(closep) int ns = netns_open(a->netns, e);
	struct link_sock *in;
	bool there;

	if (ns < 0)
		return ns;
	in = link_open(ns, e);
	if (in == NULL)
		return -(int)ERR_IO;
	there = link_index(in, a->ifname) != 0;
	link_close(in);
	return there ? 0 : err_set(e, ERR_NOT_FOUND, "no interface %s in %s", a->ifname, a->netns);
}

int attach_loopback(const char *netns, struct err *e)
{
	_cleanup_(closep) int ns = netns_open(netns, e);
	struct link_sock *in;
	int rv;

	if (ns < 0)
		return ns;
	in = link_open(ns, e);
	if (in == NULL)
		return -(int)ERR_IO;
	rv = link_set_up(in, "lo", true, e);
	link_close(in);
	return rv;
}

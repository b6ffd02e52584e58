/* The namespaces and links of a local cluster; declared in cli/local.h. */
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/local.h"
#include "net/netns.h"

#define BRIDGE "br0"

static int ensure_ns(const char *name, struct err *e)
{
	int rv = netns_exists(name) ? 0 : netns_add(name, e);

	return rv < 0 ? rv : netns_open(name, e);
}

static int switch_up(const struct local *l, struct link_sock *s, struct err *e)
{
	struct ip4_net gw = {(l->subnet.addr & ip4_mask(l->subnet.bits)) + 1, l->subnet.bits};
	int rv = link_add_bridge(s, BRIDGE, e);

	if (rv == 0)
		rv = addr_add(s, BRIDGE, gw, e);
	if (rv == 0)
		rv = link_set_up(s, BRIDGE, true, e);
	return rv;
}

static int node_up(const struct local *l, const struct local_node *n, struct link_sock *sw, int ns, struct err *e)
{
	struct ip4_net addr = {n->addr, l->subnet.bits};
	struct link_sock *s = link_open(ns, e);
	int rv = s ? 0 : -(int)ERR_IO;

	if (rv == 0 && link_index(s, "eth0") == 0)
		rv = link_add_veth(sw, n->name, "eth0", ns, 0, e);
	if (rv == 0)
		rv = link_set_master(sw, n->name, BRIDGE, e);
	if (rv == 0)
		rv = link_set_up(sw, n->name, true, e);
	if (rv == 0)
		rv = addr_add(s, "eth0", addr, e);
	if (rv == 0)
		rv = link_set_up(s, "eth0", true, e);
	if (rv == 0)
		rv = sysctl_set(ns, "net/ipv4/ip_forward", "1", e);
	link_close(s);
	return rv;
}

int local_net_up(const struct local *l, struct err *e)
{
	_cleanup_(closep) int sw_ns = -1;
	struct link_sock *sw;
	char name[128];
	int rv = 0;

	local_netns(l, NULL, name);
	sw_ns = ensure_ns(name, e);
	if (sw_ns < 0)
		return sw_ns;
	sw = link_open(sw_ns, e);
	if (sw == NULL)
		return -(int)ERR_IO;
	rv = switch_up(l, sw, e);
	for (unsigned i = 0; rv == 0 && i < l->n_nodes; i++) {
		int ns;

		local_netns(l, l->nodes[i].name, name);
		ns = ensure_ns(name, e);
		rv = ns < 0 ? ns : node_up(l, &l->nodes[i], sw, ns, e);
		closep(&ns);
	}
	link_close(sw);
	return rv;
}

int local_net_down(const struct local *l, struct err *e)
{
	char name[128];
	int rv = 0, one;

	for (unsigned i = 0; i <= l->n_nodes; i++) {
		local_netns(l, i < l->n_nodes ? l->nodes[i].name : NULL, name);
		one = netns_del(name, e);
		rv = rv ? rv : one;
	}
	return rv;
}

int local_net_cut(const struct local *l, const char *node, bool cut, struct err *e)
{
	_cleanup_(closep) int ns = -1;
	struct link_sock *sw;
	char name[128];
	int rv;

	local_netns(l, NULL, name);
	ns = netns_open(name, e);
	if (ns < 0)
		return ns;
	sw = link_open(ns, e);
	if (sw == NULL)
		return -(int)ERR_IO;
	rv = link_set_master(sw, node, cut ? NULL : BRIDGE, e);
	link_close(sw);
	return rv;
}

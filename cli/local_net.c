/* The namespaces and links of a local cluster; declared in cli/local.h. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "cli/local.h"
#include "net/netns.h"

#define BRIDGE_SIZE 8

extern char **environ;

/* --- The way out (--internet) -------------------------------------------------------------------------------- */

/*
 * A veth pair joins the switch's namespace with the host's: nodes > switch (masquerades) > host (masquerades) > outside. Its
 * addresses are link-local and come from the cluster's name, as does the name of the host's end.
 */
struct uplink {
	char link[16];
	struct ip4_net host, sw;
};

static struct uplink uplink_of(const struct local *l)
{
	uint32_t h = (uint32_t)str_hash(str_from(l->name));
	uint32_t base = 0xa9fe0000u | ((16 + h % 224) << 8) | ((h >> 8) % 62 + 1) * 4;
	struct uplink u = {.host = {base + 1, 30}, .sw = {base + 2, 30}};

	snprintf(u.link, sizeof(u.link), "kt-up%08x", h);
	return u;
}

static int run_iptables(void *data, struct err *e)
{
	char **argv = data;
	posix_spawn_file_actions_t quiet;
	int status = 0, rv;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", 1, 0);
	rv = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (rv != 0)
		return err_set_errno(e, rv, "run %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return status == 0 ? 0 : err_set(e, ERR_INTERNAL, "iptables -t %s %s %s did not succeed", argv[4], argv[5], argv[6]);
}

/* One rule: there once, or not at all. `ns` -1: the host's. */
static int rule(int ns, bool wanted, const char *table, const char *chain, const char *match, const char *value, const char *target,
		struct err *e)
{
	const char *argv[] = {"iptables", "-w", "5", "-t", table, "-C", chain, match, value, "-j", target, NULL};
	bool there = netns_call(ns, run_iptables, argv, NULL) == 0;

	if (there == wanted)
		return 0;
	argv[5] = wanted ? "-A" : "-D";
	return netns_call(ns, run_iptables, argv, e);
}

/* The host's part; the switch's goes with its namespace. */
static int host_rules(const struct uplink *u, bool wanted, struct err *e)
{
	struct ip4_net net = {u->host.addr & ip4_mask(30), 30};
	char text[IP4_STR_SIZE];
	int rv = rule(-1, wanted, "nat", "POSTROUTING", "-s", ip4_net_print(net, text), "MASQUERADE", e);

	if (rv == 0)
		rv = rule(-1, wanted, "filter", "FORWARD", "-i", u->link, "ACCEPT", e);
	if (rv == 0)
		rv = rule(-1, wanted, "filter", "FORWARD", "-o", u->link, "ACCEPT", e);
	return rv;
}

/* The host must forward; a file remembers that it did not before. */
static int host_forwarding(const struct local *l, bool on, struct err *e)
{
	char path[LOCAL_PATH_MAX], *was;
	int rv = 0;

	local_path(l, NULL, "host-did-not-forward", path);
	if (!on)
		return access(path, F_OK) == 0 ? sysctl_set(-1, "net/ipv4/ip_forward", "0", e) : 0;
	was = file_read("/proc/sys/net/ipv4/ip_forward", 16, e);
	if (was == NULL)
		return -(int)ERR_IO;
	if (was[0] == '0')
		rv = file_put(path, STR_NULL, 0644, true, e);
	free(was);
	return rv == 0 ? sysctl_set(-1, "net/ipv4/ip_forward", "1", e) : rv;
}

static int uplink_up(const struct local *l, struct link_sock *sw, int sw_ns, struct err *e)
{
	struct uplink u = uplink_of(l);
	struct ip4_net any = {0, 0};
	struct link_sock *host = link_open(-1, e);
	int rv = host ? 0 : -(int)ERR_IO;

	if (rv == 0 && link_index(sw, "up0") == 0)
		rv = link_add_veth(host, u.link, "up0", sw_ns, 0, e);
	if (rv == 0)
		rv = addr_add(host, u.link, u.host, e);
	if (rv == 0)
		rv = link_set_up(host, u.link, true, e);
	if (rv == 0)
		rv = addr_add(sw, "up0", u.sw, e);
	if (rv == 0)
		rv = link_set_up(sw, "up0", true, e);
	if (rv == 0)
		rv = route_set(sw, any, u.host.addr, NULL, e);
	link_close(host);
	if (rv == 0)
		rv = host_forwarding(l, true, e);
	/* Out of the uplink only: what goes from one subnet to another keeps its sender. */
	if (rv == 0)
		rv = rule(sw_ns, true, "nat", "POSTROUTING", "-o", "up0", "MASQUERADE", e);
	return rv == 0 ? host_rules(&u, true, e) : rv;
}

/* --- Namespaces, bridge, nodes ------------------------------------------------------------------------------- */

static int ensure_ns(const char *name, struct err *e)
{
	int rv = netns_exists(name) ? 0 : netns_add(name, e);

	return rv < 0 ? rv : netns_open(name, e);
}

static char *bridge_name(unsigned subnet, char out[BRIDGE_SIZE])
{
	snprintf(out, BRIDGE_SIZE, "br%u", subnet % LOCAL_SUBNETS_MAX);
	return out;
}

static int switch_up(const struct local *l, struct link_sock *s, int ns, struct err *e)
{
	char br[BRIDGE_SIZE];
	int rv = 0;

	for (unsigned i = 0; rv == 0 && i < l->n_subnets; i++) {
		rv = link_add_bridge(s, bridge_name(i, br), e);
		if (rv == 0)
			rv = addr_add(s, br, local_gateway(l, i), e);
		if (rv == 0)
			rv = link_set_up(s, br, true, e);
	}
	if (rv == 0 && (l->n_subnets > 1 || l->internet))
		rv = sysctl_set(ns, "net/ipv4/ip_forward", "1", e);
	return rv;
}

/* To the other subnets, and to the outside if that was asked for. */
static int node_routes(const struct local *l, unsigned own, struct link_sock *s, struct err *e)
{
	uint32_t gw = local_gateway(l, own).addr;
	struct ip4_net any = {0, 0};
	int rv = 0;

	for (unsigned i = 0; rv == 0 && i < l->n_subnets; i++)
		if (i != own)
			rv = route_set(s, l->subnets[i], gw, NULL, e);
	return rv == 0 && l->internet ? route_set(s, any, gw, NULL, e) : rv;
}

static int node_up(const struct local *l, const struct local_node *n, struct link_sock *sw, int ns, struct err *e)
{
	unsigned subnet = local_subnet(l, n->addr);
	struct ip4_net addr = {n->addr, l->subnets[subnet].bits};
	char br[BRIDGE_SIZE];
	struct link_sock *s = link_open(ns, e);
	int rv = s ? 0 : -(int)ERR_IO;

	if (rv == 0 && link_index(s, "eth0") == 0)
		rv = link_add_veth(sw, n->name, "eth0", ns, 0, e);
	if (rv == 0)
		rv = link_set_master(sw, n->name, bridge_name(subnet, br), e);
	if (rv == 0)
		rv = link_set_up(sw, n->name, true, e);
	if (rv == 0)
		rv = addr_add(s, "eth0", addr, e);
	if (rv == 0)
		rv = link_set_up(s, "eth0", true, e);
	if (rv == 0)
		rv = sysctl_set(ns, "net/ipv4/ip_forward", "1", e);
	if (rv == 0)
		rv = node_routes(l, subnet, s, e);
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
	rv = switch_up(l, sw, sw_ns, e);
	if (rv == 0 && l->internet)
		rv = uplink_up(l, sw, sw_ns, e);
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

	if (l->internet) {
		struct uplink u = uplink_of(l);

		rv = host_rules(&u, false, e);
		if (rv == 0)
			rv = host_forwarding(l, false, e);
	}
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
	const struct local_node *n = local_node(l, node, e);
	char name[128], br[BRIDGE_SIZE];
	int rv;

	if (n == NULL)
		return -(int)e->code;
	local_netns(l, NULL, name);
	ns = netns_open(name, e);
	if (ns < 0)
		return ns;
	sw = link_open(ns, e);
	if (sw == NULL)
		return -(int)ERR_IO;
	rv = link_set_master(sw, node, cut ? NULL : bridge_name(local_subnet(l, n->addr), br), e);
	link_close(sw);
	return rv;
}

#include "orchestrator/netpol/netpol_peers.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/util.h"
#include "net/link.h"
#include "proto/pb.h"

struct netpol_peers {
	const struct netpol_input *in;
	struct arena *a;
	const struct netpol_pod **pods; /* by namespace */
	struct map namespaces;          /* name -> Core__Namespace */
	struct map addrs, sockets;      /* key -> struct policy_addrs, policy_sockets */
};

static int by_namespace(const void *va, const void *vb)
{
	const struct netpol_pod *a = *(const struct netpol_pod *const *)va, *b = *(const struct netpol_pod *const *)vb;

	return strcmp(pb_s(a->pod->metadata->namespace_), pb_s(b->pod->metadata->namespace_));
}

struct netpol_peers *netpol_peers_new(const struct netpol_input *in, struct arena *a)
{
	struct netpol_peers *pp = arena_new_of(a, struct netpol_peers);

	pp->in = in;
	pp->a = a;
	pp->pods = arena_new_array(a, const struct netpol_pod *, in->n_pods);
	for (size_t i = 0; i < in->n_pods; i++)
		pp->pods[i] = &in->pods[i];
	if (in->n_pods > 0)
		qsort(pp->pods, in->n_pods, sizeof(*pp->pods), by_namespace);
	map_init(&pp->namespaces);
	map_init(&pp->addrs);
	map_init(&pp->sockets);
	for (size_t i = 0; i < in->n_namespaces; i++)
		map_put(&pp->namespaces, str_from(pb_s(in->namespaces[i]->metadata->name)), (void *)in->namespaces[i]);
	return pp;
}

/* --- Pods as peers ---------------------------------------------------------------------------------------------------- */

/* Either one namespace (`ns`), or those that `namespaces` selects. */
struct choice {
	const char *ns;
	struct selector namespaces, pods;
};

static bool chooses_namespace(const struct netpol_peers *pp, const struct choice *ch, const char *name)
{
	const Core__Namespace *ns;

	if (ch->ns)
		return pb_streq(ch->ns, name);
	ns = map_get(&pp->namespaces, str_from(name));
	return ns && selector_matches_pb(&ch->namespaces, ns->metadata->labels, ns->metadata->n_labels);
}

static int addr_order(const void *va, const void *vb)
{
	uint32_t a = *(const uint32_t *)va, b = *(const uint32_t *)vb;

	return a < b ? -1 : a > b;
}

static void look_up(struct netpol_peers *pp, const struct choice *ch, struct policy_addrs *out)
{
	uint32_t *v = NULL;
	size_t n = 0, kept = 0, cap = 0;
	const char *last = NULL;
	bool chosen = false;

	for (size_t i = 0; i < pp->in->n_pods; i++) {
		const Meta__ObjectMeta *m = pp->pods[i]->pod->metadata;

		if (!last || !pb_streq(last, m->namespace_)) {
			last = pb_s(m->namespace_);
			chosen = chooses_namespace(pp, ch, last);
		}
		if (!chosen || !selector_matches_pb(&ch->pods, m->labels, m->n_labels))
			continue;
		if (n == cap) {
			size_t more = MAX(2 * cap, (size_t)16);

			v = arena_grow(pp->a, v, cap * sizeof(*v), more * sizeof(*v));
			cap = more;
		}
		v[n++] = pp->pods[i]->addr;
	}
	if (n > 0)
		qsort(v, n, sizeof(*v), addr_order);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || v[kept - 1] != v[i])
			v[kept++] = v[i];
	out->v = v;
	out->n = kept;
}

static const struct policy_addrs *chosen_pods(struct netpol_peers *pp, const struct choice *ch)
{
	struct buf key = BUF_INIT;
	struct policy_addrs *p;

	if (ch->ns)
		buf_printf(&key, "%s/", ch->ns);
	else
		selector_print(&key, &ch->namespaces);
	buf_addc(&key, "|");
	selector_print(&key, &ch->pods);
	p = map_get(&pp->addrs, buf_str(&key));
	if (!p) {
		p = arena_new_of(pp->a, struct policy_addrs);
		p->key = arena_cstr(pp->a, buf_str(&key));
		look_up(pp, ch, p);
		map_put(&pp->addrs, buf_str(&key), p);
	}
	buf_fini(&key);
	return p;
}

/* --- Blocks ----------------------------------------------------------------------------------------------------------- */

static struct policy_range range_of(struct ip4_net net)
{
	uint32_t mask = ip4_mask(net.bits);

	return (struct policy_range){net.addr & mask, net.addr | ~mask};
}

static size_t block_ranges_max(const Networking__IPBlock *b)
{
	return b->n_except + 1;
}

/* The block without what it excepts. */
static size_t block_ranges(struct netpol_peers *pp, const Networking__IPBlock *b, struct policy_range *out)
{
	struct policy_range *except = arena_new_array(pp->a, struct policy_range, b->n_except), whole;
	size_t n = 0, n_except = 0;
	struct ip4_net net;
	uint64_t from;

	if (!ip4_net_parse(str_from(pb_s(b->cidr)), &net))
		return 0;
	whole = range_of(net);
	for (size_t i = 0; i < b->n_except; i++)
		if (ip4_net_parse(str_from(b->except[i]), &net))
			except[n_except++] = range_of(net);
	n_except = policy_ranges_join(except, n_except);
	from = whole.from;
	for (size_t i = 0; i < n_except && from <= whole.to; i++) {
		if (except[i].to < from)
			continue;
		if (except[i].from > whole.to)
			break;
		if (except[i].from > from)
			out[n++] = (struct policy_range){(uint32_t)from, except[i].from - 1};
		from = (uint64_t)except[i].to + 1;
	}
	if (from <= whole.to)
		out[n++] = (struct policy_range){(uint32_t)from, whole.to};
	return n;
}

/* --- Peers ------------------------------------------------------------------------------------------------------------ */

static bool choice_of(struct netpol_peers *pp, const char *ns, const Networking__NetworkPolicyPeer *p, struct choice *ch)
{
	*ch = (struct choice){.namespaces = SELECTOR_EVERYTHING, .pods = SELECTOR_EVERYTHING};
	if (!p->namespace_selector)
		ch->ns = ns;
	else if (selector_from_pb(pp->a, p->namespace_selector, &ch->namespaces, NULL) < 0)
		return false;
	return !p->pod_selector || selector_from_pb(pp->a, p->pod_selector, &ch->pods, NULL) == 0;
}

static void make_peers(struct netpol_peers *pp, const char *ns, Networking__NetworkPolicyPeer *const *peers, size_t n,
		struct policy_rule *r)
{
	const struct policy_addrs **pods = arena_new_array(pp->a, const struct policy_addrs *, n);
	struct policy_range *blocks;
	size_t max = 0;

	r->any_peer = n == 0;
	for (size_t i = 0; i < n; i++)
		max += peers[i]->ip_block ? block_ranges_max(peers[i]->ip_block) : 0;
	blocks = arena_new_array(pp->a, struct policy_range, max);
	for (size_t i = 0; i < n; i++) {
		const Networking__NetworkPolicyPeer *p = peers[i];
		struct choice ch;

		if (p->ip_block)
			r->n_blocks += block_ranges(pp, p->ip_block, blocks + r->n_blocks);
		else if ((p->pod_selector || p->namespace_selector) && choice_of(pp, ns, p, &ch))
			pods[r->n_pods++] = chosen_pods(pp, &ch);
	}
	r->pods = pods;
	r->blocks = blocks;
	r->n_blocks = policy_ranges_join(blocks, r->n_blocks);
}

/* --- Ports ------------------------------------------------------------------------------------------------------------ */

static uint8_t protocol(const char *name)
{
	return pb_streq(name, "UDP") ? IPPROTO_UDP : pb_streq(name, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

/* Sidecars' ports are among the containers' already, see netpol_keep_pod. */
static uint16_t port_named(const Core__Pod *pod, uint8_t proto, const char *name)
{
	for (size_t i = 0; pod->spec && i < pod->spec->n_containers; i++)
		for (size_t k = 0; k < pod->spec->containers[i]->n_ports; k++) {
			const Core__ContainerPort *p = pod->spec->containers[i]->ports[k];

			if (pb_streq(p->name, name) && protocol(p->protocol) == proto && pb_or(p, container_port, 0) > 0 &&
					p->container_port <= UINT16_MAX)
				return (uint16_t)p->container_port;
		}
	return 0;
}

static int socket_order(const void *va, const void *vb)
{
	const struct policy_socket *a = va, *b = vb;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return (int)a->port - (int)b->port;
}

static const struct policy_sockets *named_port(struct netpol_peers *pp, uint8_t proto, const char *name)
{
	const char *key = arena_printf(pp->a, "%u %s", proto, name);
	struct policy_sockets *s = map_get(&pp->sockets, str_from(key));
	struct policy_socket *v;
	size_t n = 0, kept = 0;

	if (s)
		return s;
	v = arena_new_array(pp->a, struct policy_socket, pp->in->n_pods);
	for (size_t i = 0; i < pp->in->n_pods; i++) {
		uint16_t port = port_named(pp->in->pods[i].pod, proto, name);

		if (port)
			v[n++] = (struct policy_socket){pp->in->pods[i].addr, port};
	}
	if (n > 0)
		qsort(v, n, sizeof(*v), socket_order);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || socket_order(&v[kept - 1], &v[i]) != 0)
			v[kept++] = v[i];
	s = arena_new_of(pp->a, struct policy_sockets);
	*s = (struct policy_sockets){key, proto, v, kept};
	map_put(&pp->sockets, str_from(key), s);
	return s;
}

static void make_ports(struct netpol_peers *pp, Networking__NetworkPolicyPort *const *ports, size_t n, struct policy_rule *r)
{
	struct policy_ports *v = arena_new_array(pp->a, struct policy_ports, n);
	const struct policy_sockets **named = arena_new_array(pp->a, const struct policy_sockets *, n);

	r->any_port = n == 0;
	for (size_t i = 0; i < n; i++) {
		const Networking__NetworkPolicyPort *p = ports[i];
		uint8_t proto = protocol(p->protocol);
		int32_t from, to;

		if (p->port && pb_or(p->port, type, 0) != 0) {
			named[r->n_named++] = named_port(pp, proto, pb_s(p->port->str_val));
			continue;
		}
		from = p->port ? pb_or(p->port, int_val, 0) : 0;
		to = !p->port ? UINT16_MAX : p->has_end_port ? p->end_port : from;
		if (from < 0 || to > UINT16_MAX || from > to)
			continue;
		v[r->n_ports++] = (struct policy_ports){proto, (uint16_t)from, (uint16_t)to};
	}
	r->ports = v;
	r->n_ports = policy_ports_join(v, r->n_ports);
	r->named = named;
}

void netpol_rule_make(struct netpol_peers *pp, const char *ns, Networking__NetworkPolicyPeer *const *peers, size_t n_peers,
		Networking__NetworkPolicyPort *const *ports, size_t n_ports, struct policy_rule *r)
{
	memset(r, 0, sizeof(*r));
	make_peers(pp, ns, peers, n_peers, r);
	make_ports(pp, ports, n_ports, r);
}

void netpol_peers_end(struct netpol_peers *pp, struct policy_set *ps)
{
	const struct policy_addrs **addrs = arena_new_array(pp->a, const struct policy_addrs *, map_len(&pp->addrs));
	const struct policy_sockets **sockets = arena_new_array(pp->a, const struct policy_sockets *, map_len(&pp->sockets));

	MAP_FOR_EACH (e, &pp->addrs)
		addrs[ps->n_addrs++] = e->value;
	MAP_FOR_EACH (e, &pp->sockets)
		sockets[ps->n_sockets++] = e->value;
	ps->addrs = addrs;
	ps->sockets = sockets;
	map_fini(&pp->namespaces);
	map_fini(&pp->addrs);
	map_fini(&pp->sockets);
}

/* Node IPAM: each node gets a part of the cluster's pod network, its spec.podCIDR. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "net/link.h"
#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

#define DEFAULT_BITS 24

/*
 * All nodes are one key: a round sees what the round before it gave out, so no part is given twice. Parts are numbered
 * from 0; at most 2^16 of them.
 */
static void reconcile_ipam(struct reconcile *r)
{
	const struct controllers_cfg *cfg = r->arg;
	unsigned bits = cfg->node_cidr_bits ? cfg->node_cidr_bits : DEFAULT_BITS;
	struct ip4_net cluster, part;
	uint32_t n_parts, next = 0;
	bool *taken;

	if (!ip4_net_parse(str_from(pb_s(cfg->cluster_cidr)), &cluster) || cluster.bits > bits || bits - cluster.bits > 16)
		return;
	n_parts = (uint32_t)1 << (bits - cluster.bits);
	taken = arena_new_array(r->arena, bool, n_parts);
	INFORMER_FOR_EACH (o, r->view->inf[VIEW_NODES]) {
		const Core__Node *n = o->msg;

		if (n->spec && ip4_net_parse(str_from(pb_s(n->spec->pod_cidr)), &part) && ip4_net_has(cluster, part.addr))
			taken[(part.addr - (cluster.addr & ip4_mask(cluster.bits))) >> (32 - bits)] = true;
	}
	INFORMER_FOR_EACH (o, r->view->inf[VIEW_NODES]) {
		Core__Node *copy;
		char text[IP4_STR_SIZE];

		if (pb_s(((const Core__Node *)o->msg)->spec ? ((const Core__Node *)o->msg)->spec->pod_cidr : NULL)[0])
			continue;
		while (next < n_parts && taken[next])
			next++;
		if (next == n_parts) {
			plan_event(r, VIEW_NODES, o, "Warning", "CIDRNotAvailable", "Node %s has no pod network: %s is used up", o->meta->name,
					cfg->cluster_cidr);
			plan_again(r, 60000);
			return;
		}
		part = (struct ip4_net){(cluster.addr & ip4_mask(cluster.bits)) + (next++ << (32 - bits)), (uint8_t)bits};
		copy = pb_copy(r->arena, o->msg);
		pb_sub(r->arena, copy, "spec");
		copy->spec->pod_cidr = arena_strdup(r->arena, ip4_net_print(part, text));
		pb_add_str(r->arena, copy->spec, "pod_cidrs", text);
		plan_update(r, VIEW_NODES, copy);
	}
}

static void map_all(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Node *n = o->msg;

	if (n->spec == NULL || pb_s(n->spec->pod_cidr)[0] == '\0')
		enqueue_key(q, STR("nodes"));
}

const struct controller_row controller_node_ipam = {
	.name = "node-ipam-controller",
	.account = "node-controller",
	.component = "cidrAllocator",
	.watches = {{VIEW_NODES, map_all}},
	.reconcile = reconcile_ipam,
	.workers = 1,
};

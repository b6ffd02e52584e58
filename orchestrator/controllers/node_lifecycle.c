/*
 * Node lifecycle: a node that stopped renewing its lease becomes Unknown and tainted, and its pods are marked not ready; that those which
 * do not tolerate it are deleted is another controller's (taint_eviction.c). Ages are measured from when this leader last saw a renewal, with its own
 * clock, so neither skewed clocks nor a change of leader make nodes look dead.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

#define LEASE_NAMESPACE "kube-node-lease"
#define TAINT_NOT_READY "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"

static unsigned grace_s(const struct reconcile *r)
{
	const struct controllers_cfg *cfg = r->arg;

	return cfg->node_grace_s ? cfg->node_grace_s : CONTROLLERS_NODE_GRACE_S;
}

static Core__NodeCondition *node_condition(const Core__Node *n, const char *type)
{
	for (size_t i = 0; n->status && i < n->status->n_conditions; i++)
		if (pb_streq(n->status->conditions[i]->type, type))
			return n->status->conditions[i];
	return NULL;
}

static bool is_alive(struct reconcile *r, const struct informer_obj *o)
{
	const struct informer_obj *lease = view_get(r->view, VIEW_LEASES, LEASE_NAMESPACE, r->name);
	uint64_t seen = MAX(o->seen_ms, lease ? lease->seen_ms : 0), limit = (uint64_t)grace_s(r) * 1000;

	/* Our own writes to the node count as news too, but a node that is Unknown is only revived by its lease. */
	if (lease)
		seen = lease->seen_ms;
	if (r->now_ms - seen >= limit)
		return false;
	plan_again(r, limit - (r->now_ms - seen) + 10);
	return true;
}

static void mark_unknown(struct reconcile *r, const struct informer_obj *o)
{
	static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
	Core__Node *copy = pb_copy(r->arena, o->msg);
	bool changed = false;

	pb_sub(r->arena, copy, "status");
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		Core__NodeCondition *c = node_condition(copy, types[i]);

		if (c == NULL) {
			c = pb_add(r->arena, copy->status, "conditions");
			c->type = (char *)types[i];
		}
		if (pb_streq(c->status, "Unknown"))
			continue;
		c->status = (char *)"Unknown";
		c->reason = (char *)"NodeStatusUnknown";
		c->message = (char *)"Kubelet stopped posting node status.";
		c->last_transition_time = time_now(r->arena, r->now_s);
		changed = true;
	}
	if (!changed)
		return;
	plan_update_status(r, VIEW_NODES, copy);
	plan_event(r, VIEW_NODES, o, "Normal", "NodeNotReady", "Node %s status is now: NodeNotReady", r->name);
}

static bool is_ours(const Core__Taint *t)
{
	return pb_streq(t->key, TAINT_NOT_READY) || pb_streq(t->key, TAINT_UNREACHABLE) ||
	       pb_streq(t->key, "node.kubernetes.io/memory-pressure") || pb_streq(t->key, "node.kubernetes.io/disk-pressure") ||
	       pb_streq(t->key, "node.kubernetes.io/pid-pressure") || pb_streq(t->key, "node.kubernetes.io/unschedulable");
}

static void want_taint(struct reconcile *r, Core__NodeSpec *spec, const Core__Node *old, const char *key, const char *effect)
{
	Core__Taint *t = pb_add(r->arena, spec, "taints");

	t->key = (char *)key;
	t->effect = (char *)effect;
	if (strcmp(effect, "NoExecute") != 0)
		return;
	/* The time it was added decides when pods go: an old one keeps it. */
	t->time_added = time_now(r->arena, r->now_s);
	for (size_t i = 0; old->spec && i < old->spec->n_taints; i++)
		if (pb_streq(old->spec->taints[i]->key, key) && pb_streq(old->spec->taints[i]->effect, effect) && old->spec->taints[i]->time_added)
			t->time_added = old->spec->taints[i]->time_added;
}

static bool same_taints(const Core__NodeSpec *x, const Core__NodeSpec *y)
{
	if ((x ? x->n_taints : 0) != y->n_taints)
		return false;
	for (size_t i = 0; i < y->n_taints; i++) {
		bool found = false;

		for (size_t k = 0; k < x->n_taints; k++)
			found = found || pb_equal(x->taints[k], y->taints[i]);
		if (!found)
			return false;
	}
	return true;
}

/* Conditions as taints; others' taints stay. */
static void update_taints(struct reconcile *r, const struct informer_obj *o, const char *ready)
{
	static const struct {
		const char *condition, *taint;
	} pressures[] = {
		{"MemoryPressure", "node.kubernetes.io/memory-pressure"}, {"DiskPressure", "node.kubernetes.io/disk-pressure"},
		{"PIDPressure", "node.kubernetes.io/pid-pressure"},
	};
	const Core__Node *node = o->msg;
	Core__Node *copy = pb_copy(r->arena, node);
	Core__NodeSpec *spec = pb_sub(r->arena, copy, "spec");
	const char *key = strcmp(ready, "Unknown") == 0 ? TAINT_UNREACHABLE : TAINT_NOT_READY;

	for (size_t i = spec->n_taints; i-- > 0;)
		if (is_ours(spec->taints[i]))
			pb_remove(spec, "taints", i);
		else if (pb_streq(spec->taints[i]->effect, "NoExecute") && !spec->taints[i]->time_added)
			spec->taints[i]->time_added = time_now(r->arena, r->now_s); /* what is tolerated for a while is so from now on */
	if (strcmp(ready, "True") != 0) {
		want_taint(r, spec, node, key, "NoSchedule");
		want_taint(r, spec, node, key, "NoExecute");
	}
	for (size_t i = 0; i < ARRAY_LEN(pressures); i++) {
		const Core__NodeCondition *c = node_condition(node, pressures[i].condition);

		if (c && pb_streq(c->status, "True"))
			want_taint(r, spec, node, pressures[i].taint, "NoSchedule");
	}
	if (pb_or(spec, unschedulable, false))
		want_taint(r, spec, node, "node.kubernetes.io/unschedulable", "NoSchedule");
	if (!same_taints(node->spec, spec))
		plan_update(r, VIEW_NODES, copy);
}

/* So that Services stop sending traffic there. */
static void mark_not_ready(struct reconcile *r, const struct informer_obj *o)
{
	Core__Pod *copy;

	if (!pod_is_ready(o->msg))
		return;
	copy = pb_copy(r->arena, o->msg);
	for (size_t i = 0; i < copy->status->n_conditions; i++) {
		Core__PodCondition *c = copy->status->conditions[i];

		if (!pb_streq(c->type, "Ready"))
			continue;
		c->status = (char *)"False";
		c->last_transition_time = time_now(r->arena, r->now_s);
	}
	plan_update_status(r, VIEW_PODS, copy);
}

static void reconcile_node(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_NODES, NULL, r->name);
	const Core__Node *node = informer_msg(o);
	const Core__NodeCondition *c;
	struct informer_objs pods;
	const char *ready;

	if (node == NULL || o->meta->deletion_timestamp != NULL)
		return;
	if (!is_alive(r, o)) {
		mark_unknown(r, o);
		plan_stage(r);
		ready = "Unknown";
	} else {
		c = node_condition(node, "Ready");
		ready = c ? pb_s(c->status) : "False";
	}
	/* The status update changes the version; taints follow in the round that it brings. */
	if (list_empty(&r->actions))
		update_taints(r, o, ready);
	pods = informer_index_get(r->view->pods_by_node, str_from(r->name));
	for (size_t i = 0; i < pods.n; i++) {
		if (pods.v[i]->meta->deletion_timestamp != NULL)
			continue;
		if (strcmp(ready, "True") != 0)
			mark_not_ready(r, pods.v[i]);
	}
}

static void map_lease(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const struct informer_obj *node = pb_streq(o->meta->namespace_, LEASE_NAMESPACE) ? view_get(v, VIEW_NODES, NULL, o->meta->name) : NULL;
	const Core__NodeCondition *c = node ? node_condition(node->msg, "Ready") : NULL;

	/* A renewal is no news while the node is ready: its own timer looks again. */
	if (node && (c == NULL || !pb_streq(c->status, "True")))
		enqueue_key(q, node->key);
}

/* One that says it is ready while its node is given up. */
static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;
	const struct informer_obj *node = p->spec && pod_is_ready(p) ? view_get(v, VIEW_NODES, NULL, pb_s(p->spec->node_name)) : NULL;
	const Core__NodeCondition *c = node ? node_condition(node->msg, "Ready") : NULL;

	if (node && (c == NULL || !pb_streq(c->status, "True")))
		enqueue_key(q, node->key);
}

const struct controller_row controller_node_lifecycle = {
	.name = "node-lifecycle-controller",
	.account = "node-controller",
	.component = "node-controller",
	.watches = {{VIEW_NODES, map_self}, {VIEW_LEASES, map_lease}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_node,
};

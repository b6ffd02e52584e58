/*
 * Taint eviction: a pod on a node with a NoExecute taint that it does not tolerate, or not any longer, is deleted. Its status says why first.
 *
 * One key a pod, so that one whose deletion is refused keeps no other waiting. The controller is node-controller's, as upstream.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

/* Seconds that the pod tolerates the taint: 0 none, -1 for ever. */
static int64_t toleration_s(const Core__PodSpec *s, const Core__Taint *taint)
{
	int64_t least = INT64_MAX;
	bool found = false;

	for (size_t i = 0; i < s->n_tolerations; i++) {
		const Core__Toleration *t = s->tolerations[i];
		bool exists = pb_streq(t->operator_, "Exists");

		if ((pb_s(t->effect)[0] && !pb_streq(t->effect, "NoExecute")) || (pb_s(t->key)[0] ? !pb_streq(t->key, taint->key) : !exists) ||
				(!exists && !pb_streq(t->value, taint->value)))
			continue;
		found = true;
		if (t->has_toleration_seconds)
			least = MIN(least, MAX(t->toleration_seconds, (int64_t)0));
	}
	return !found ? 0 : least == INT64_MAX ? -1 : least;
}

/* Seconds until the pod must go: 0 now, -1 never. */
static int64_t time_left(const Core__NodeSpec *node, const Core__PodSpec *pod, int64_t now_s)
{
	int64_t least = -1;

	for (size_t i = 0; node && i < node->n_taints; i++) {
		const Core__Taint *t = node->taints[i];
		int64_t tolerates = pb_streq(t->effect, "NoExecute") ? toleration_s(pod, t) : -1, left;

		if (tolerates < 0)
			continue;
		/* The node's controller will soon have written since when the taint is there; until then it is new. */
		left = t->time_added ? MAX(time_s(t->time_added) + tolerates - now_s, (int64_t)0) : tolerates;
		least = least < 0 ? left : MIN(least, left);
	}
	return least;
}

static void reconcile_pod(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_PODS, r->ns, r->name);
	const Core__Pod *p = informer_msg(o);
	const Core__Node *node = p && p->spec ? informer_msg(view_get(r->view, VIEW_NODES, NULL, pb_s(p->spec->node_name))) : NULL;
	int64_t left;

	if (node == NULL || o->meta->deletion_timestamp != NULL)
		return;
	left = time_left(node->spec, p->spec, r->now_s);
	if (left > 0)
		plan_again(r, (uint64_t)left * 1000);
	if (left != 0)
		return;
	plan_event(r, VIEW_PODS, o, "Normal", "TaintManagerEviction", "Marking for deletion Pod %.*s", STR_FMT(o->key));
	pod_disrupt(r, o, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false);
	plan_delete(r, VIEW_PODS, o, -1, NULL);
}

static bool evicts(const Core__Node *n)
{
	for (size_t i = 0; n && n->spec && i < n->spec->n_taints; i++)
		if (pb_streq(n->spec->taints[i]->effect, "NoExecute"))
			return true;
	return false;
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;

	if (p->spec && evicts(informer_msg(view_get(v, VIEW_NODES, NULL, pb_s(p->spec->node_name)))))
		enqueue_key(q, o->key);
}

static void map_node(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	struct informer_objs pods;

	if (!evicts(o->msg))
		return;
	pods = informer_index_get(v->pods_by_node, str_from(o->meta->name));
	for (size_t i = 0; i < pods.n; i++)
		enqueue_key(q, pods.v[i]->key);
}

const struct controller_row controller_taint_eviction = {
	.name = "taint-eviction-controller",
	.account = "node-controller",
	.watches = {{VIEW_PODS, map_pod}, {VIEW_NODES, map_node}},
	.reconcile = reconcile_pod,
};

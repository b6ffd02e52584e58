/*
 * Pod cleanup: pods of nodes that do not exist any more, or that somebody has declared out of service while nobody there can end their pods, and
 * the oldest of too many finished ones.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/pods.h"
#include "proto/core.pb-c.h"
#include "proto/json.h"
#include "proto/pb.h"

/* Upstream's --terminated-pod-gc-threshold. */
#define MAX_FINISHED 12500
#define ROUND_MS 20000

static int by_age(const void *a, const void *b)
{
	const struct informer_obj *x = *(const struct informer_obj *const *)a, *y = *(const struct informer_obj *const *)b;
	int64_t tx = time_s(x->meta->creation_timestamp), ty = time_s(y->meta->creation_timestamp);

	return tx != ty ? (tx < ty ? -1 : 1) : str_cmp(x->key, y->key);
}

static bool is_finished(const Core__Pod *p)
{
	const char *phase = p->status ? pb_s(p->status->phase) : "";

	return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

/* Somebody says that it is switched off for good, and it does not say otherwise. */
static bool is_out_of_service(const Core__Node *n)
{
	for (size_t i = 0; n->status && i < n->status->n_conditions; i++)
		if (pb_streq(n->status->conditions[i]->type, "Ready") && pb_streq(n->status->conditions[i]->status, "True"))
			return false;
	for (size_t i = 0; n->spec && i < n->spec->n_taints; i++)
		if (pb_streq(n->spec->taints[i]->key, "node.kubernetes.io/out-of-service"))
			return true;
	return false;
}

/* One key a pod whose node is gone: looked up in the API first, since the cache of nodes may be behind. */
static void reconcile_pod(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_PODS, r->ns, r->name);
	const Core__Pod *p = informer_msg(o);
	const char *node = p && p->spec ? pb_s(p->spec->node_name) : "";
	const Core__Node *n;

	if (p == NULL)
		return;
	if (node[0] == '\0') {
		/* Never started anywhere: nobody else would end it. */
		if (o->meta->deletion_timestamp != NULL)
			plan_delete(r, VIEW_PODS, o, 0, NULL);
		return;
	}
	n = informer_msg(view_get(r->view, VIEW_NODES, NULL, node));
	if (n != NULL && o->meta->deletion_timestamp != NULL && is_out_of_service(n)) {
		if (!is_finished(p)) {
			struct json *status = json_new_object(r->arena);

			json_setc(r->arena, status, "phase", json_newc(r->arena, "Failed"));
			plan_patch_status(r, VIEW_PODS, o, status);
			plan_stage(r);
		}
		plan_delete(r, VIEW_PODS, o, 0, NULL);
	}
	if (n != NULL)
		return;
	plan_expect_absent(r, VIEW_NODES, NULL, arena_strdup(r->arena, node), "");
	plan_stage(r);
	pod_disrupt(r, o, "DeletionByPodGC", "PodGC: node no longer exists", true);
	plan_delete(r, VIEW_PODS, o, 0, NULL);
}

static void reconcile_finished(struct reconcile *r)
{
	const struct informer_obj **v = arena_new_array(r->arena, const struct informer_obj *, informer_len(r->view->inf[VIEW_PODS]) + 1);
	size_t n = 0;

	INFORMER_FOR_EACH (o, r->view->inf[VIEW_PODS])
		if (is_finished(o->msg) && o->meta->deletion_timestamp == NULL)
			v[n++] = o;
	if (n <= MAX_FINISHED)
		return;
	qsort(v, n, sizeof(*v), by_age);
	for (size_t i = 0; i < n - MAX_FINISHED; i++)
		plan_delete(r, VIEW_PODS, v[i], 0, NULL);
}

static void reconcile_podgc(struct reconcile *r)
{
	if (r->ns[0] != '\0') {
		reconcile_pod(r);
		return;
	}
	reconcile_finished(r);
	plan_again(r, ROUND_MS);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const Core__Pod *p = o->msg;
	const char *node = p->spec ? pb_s(p->spec->node_name) : "";
	const Core__Node *n = informer_msg(view_get(v, VIEW_NODES, NULL, node));

	if (node[0] && n ? o->meta->deletion_timestamp != NULL && is_out_of_service(n) : node[0] || o->meta->deletion_timestamp != NULL)
		enqueue_key(q, o->key);
}

static void map_node(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	/* Any node's coming starts the rounds that count finished pods; they go on by themselves. */
	struct informer_objs pods = informer_index_get(v->pods_by_node, str_from(o->meta->name));

	enqueue_key(q, STR("finished"));
	if (view_get(v, VIEW_NODES, NULL, o->meta->name) != NULL && !is_out_of_service(o->msg))
		return;
	for (size_t i = 0; i < pods.n; i++)
		enqueue_key(q, pods.v[i]->key);
}

const struct controller_row controller_podgc = {
	.name = "pod-garbage-collector-controller",
	.account = "pod-garbage-collector",
	.watches = {{VIEW_PODS, map_pod}, {VIEW_NODES, map_node}},
	.reconcile = reconcile_podgc,
};

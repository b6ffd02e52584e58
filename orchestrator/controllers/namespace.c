/* Namespace deletion: everything in a terminating namespace goes, then the finalizer that held it. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define FINALIZER "kubernetes"

static bool has_finalizer(const Core__Namespace *ns)
{
	return ns->spec && pb_has_str((const char *const *)ns->spec->finalizers, ns->spec->n_finalizers, FINALIZER);
}

static void each_resource(struct reconcile *r, const char *ns, void (*fn)(struct reconcile *, const struct resource *, const char *ns),
		unsigned verb)
{
	RESOURCE_FOR_EACH (res)
		if (res->served && res->namespaced && (res->verbs & verb))
			fn(r, res, ns);
	INFORMER_FOR_EACH (o, r->view->inf[VIEW_CRDS]) {
		const struct resource *res = crd_resource(r->arena, o);

		if (res && res->namespaced)
			fn(r, res, ns);
	}
}

static void reconcile_namespace(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_NAMESPACES, NULL, r->name);
	const Core__Namespace *ns = informer_msg(o);
	Core__Namespace *copy;

	if (ns == NULL || o->meta->deletion_timestamp == NULL || !has_finalizer(ns))
		return;
	each_resource(r, r->name, plan_delete_collection, V_DELETECOLLECTION);
	/* Pods take their time to end; each one that goes brings us back here. */
	if (informer_index_get(r->view->pods_by_namespace, str_from(r->name)).n > 0)
		return;
	plan_stage(r);
	each_resource(r, r->name, plan_expect_empty, V_DELETECOLLECTION);
	plan_stage(r);
	copy = pb_copy(r->arena, ns);
	for (size_t i = copy->spec->n_finalizers; i-- > 0;)
		if (pb_streq(copy->spec->finalizers[i], FINALIZER))
			pb_remove(copy->spec, "finalizers", i);
	plan_update_sub(r, VIEW_NAMESPACES, "finalize", copy);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const struct informer_obj *ns = view_get(v, VIEW_NAMESPACES, NULL, pb_s(o->meta->namespace_));

	if (ns && ns->meta->deletion_timestamp != NULL)
		enqueue_key(q, ns->key);
}

const struct controller_row controller_namespace = {
	.name = "namespace-controller",
	.account = "namespace-controller",
	.watches = {{VIEW_NAMESPACES, map_self}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_namespace,
};

/*
 * Namespace deletion: everything in a terminating namespace goes, then the finalizer that held it. As long as an aggregated API server
 * does not say what it has, nobody can know whether that is all: the namespace stays, and its condition NamespaceDeletionDiscoveryFailure
 * says why.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/customs.h"
#include "orchestrator/controllers/remotes.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define FINALIZER "kubernetes"
#define FAILURE "NamespaceDeletionDiscoveryFailure"
/* Nothing tells us when objects of aggregated servers are gone, or when the server has said what it has. */
#define AGAIN_MS 2000
#define EARLY_MS 100

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

/* --- Aggregated servers ---- */

static void each_remote(struct reconcile *r, void (*fn)(struct reconcile *, const struct resource *, const char *ns))
{
	LIST_FOR_EACH (g, &r->view->remotes, struct remote_group, link)
		for (size_t i = 0; g->available && i < g->n_resources; i++)
			if (g->resources[i].namespaced && (g->resources[i].verbs & V_LIST) && (g->resources[i].verbs & (V_DELETE | V_DELETECOLLECTION)))
				fn(r, &g->resources[i], r->name);
}

/* All at once where the server can, else one by one as they are known. */
static void remove_all(struct reconcile *r, const struct resource *res, const char *ns)
{
	const struct custom_kind *k = custom_kind_named(r->view, str_from(remote_kind_name(r->arena, res)));

	if (res->verbs & V_DELETECOLLECTION) {
		plan_delete_collection(r, res, ns);
		return;
	}
	if (!k)
		return;
	INFORMER_FOR_EACH (o, k->inf)
		if (pb_streq(o->meta->namespace_, ns))
			plan_delete_of(r, res, o, NULL);
}

/* One that answers has not been asked yet. */
static bool is_early(const struct view *v)
{
	LIST_FOR_EACH (g, &v->remotes, struct remote_group, link)
		if (g->available && !g->known)
			return true;
	return false;
}

/* Which group versions cannot be asked; NULL: none. */
static const char *silent_groups(struct reconcile *r)
{
	const char *text = NULL;
	unsigned n = 0;

	LIST_FOR_EACH (g, &r->view->remotes, struct remote_group, link)
		if (!g->available) {
			text = arena_printf(r->arena, "%s%s%s/%s: stale GroupVersion discovery: %s/%s", text ? text : "", text ? ", " : "", g->group,
					g->version, g->group, g->version);
			n++;
		}
	return n ? arena_printf(r->arena, "Discovery failed for some groups, %u failing: unable to retrieve the complete list of server APIs: %s",
				n, text) : NULL;
}

static Core__NamespaceCondition *condition_of(Core__Namespace *ns)
{
	for (size_t i = 0; ns->status && i < ns->status->n_conditions; i++)
		if (pb_streq(ns->status->conditions[i]->type, FAILURE))
			return ns->status->conditions[i];
	return NULL;
}

static void tell(struct reconcile *r, const Core__Namespace *ns, const char *message)
{
	Core__Namespace *copy = pb_copy(r->arena, ns);
	Core__NamespaceCondition *c = condition_of(copy);

	if (c && pb_streq(c->status, "True") && pb_streq(c->message, message))
		return;
	if (!c) {
		c = pb_add(r->arena, pb_sub(r->arena, copy, "status"), "conditions");
		c->last_transition_time = time_now(r->arena, r->now_s);
	}
	c->type = (char *)FAILURE;
	c->status = (char *)"True";
	c->reason = (char *)"DiscoveryFailed";
	c->message = (char *)message;
	plan_update_status(r, VIEW_NAMESPACES, copy);
}

static void reconcile_namespace(struct reconcile *r)
{
	const char *silent = silent_groups(r);
	const struct informer_obj *o = view_get(r->view, VIEW_NAMESPACES, NULL, r->name);
	const Core__Namespace *ns = informer_msg(o);
	Core__Namespace *copy;

	if (ns == NULL || o->meta->deletion_timestamp == NULL || !has_finalizer(ns))
		return;
	each_resource(r, r->name, plan_delete_collection, V_DELETECOLLECTION);
	each_remote(r, remove_all);
	if (silent || is_early(r->view)) {
		if (silent)
			tell(r, ns, silent);
		plan_again(r, silent ? AGAIN_MS : EARLY_MS);
		return;
	}
	/* Pods take their time to end; each one that goes brings us back here. */
	if (informer_index_get(r->view->pods_by_namespace, str_from(r->name)).n > 0)
		return;
	plan_stage(r);
	each_resource(r, r->name, plan_expect_empty, V_DELETECOLLECTION);
	each_remote(r, plan_expect_empty);
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

/* What was waited for may answer now. */
static void map_registration(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	INFORMER_FOR_EACH (ns, v->inf[VIEW_NAMESPACES])
		if (ns->meta->deletion_timestamp != NULL)
			enqueue_key(q, ns->key);
}

const struct controller_row controller_namespace = {
	.name = "namespace-controller",
	.account = "namespace-controller",
	.watches = {{VIEW_NAMESPACES, map_self}, {VIEW_PODS, map_pod}, {VIEW_APISERVICES, map_registration}},
	.reconcile = reconcile_namespace,
};

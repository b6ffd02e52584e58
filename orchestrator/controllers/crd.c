/*
 * Definitions of custom resources. When one is deleted its objects go first, in all namespaces, then the finalizer that held it;
 * the API server lets nobody make new ones meanwhile. Then those which wanted its names get them: the API server decides that on
 * every write, so they are written as they are.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/apiextensions.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"
/* Objects with finalizers of their own take their time; nothing tells us when they are gone. */
#define AGAIN_MS 1000

static bool is_condition(const Apiextensions__CustomResourceDefinition *crd, const char *type, const char *status)
{
	for (size_t i = 0; crd->status && i < crd->status->n_conditions; i++)
		if (pb_streq(crd->status->conditions[i]->type, type))
			return pb_streq(crd->status->conditions[i]->status, status);
	return false;
}

/* As much of a struct resource as a client needs to ask for its objects' metadata, in the version that is stored. NULL: there are none. */
const struct resource *crd_resource(struct arena *a, const struct informer_obj *o)
{
	const Apiextensions__CustomResourceDefinition *crd = informer_msg(o);
	struct resource *res = arena_new_of(a, struct resource);
	const char *version = NULL;

	if (!crd->spec || !crd->spec->names || !crd->status)
		return NULL;
	for (size_t i = 0; i < crd->spec->n_versions; i++)
		if (crd->spec->versions[i]->storage)
			version = pb_s(crd->spec->versions[i]->name);
	if (!version || !is_condition(crd, "Established", "True"))
		return NULL;
	res->group = arena_strdup(a, pb_s(crd->spec->group));
	res->version = arena_strdup(a, version);
	res->api_version = arena_printf(a, "%s/%s", res->group, res->version);
	res->plural = arena_strdup(a, pb_s(crd->spec->names->plural));
	res->kind = arena_strdup(a, pb_s(crd->spec->names->kind));
	res->namespaced = pb_streq(crd->spec->scope, "Namespaced");
	res->verbs = V_ALL;
	res->served = true;
	return res;
}

static void reconcile_crd(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CRDS, NULL, r->name);
	const struct resource *res;
	Meta__ObjectMeta *meta;
	ProtobufCMessage *copy;

	if (o == NULL)
		return;
	if (o->meta->deletion_timestamp == NULL && is_condition(informer_msg(o), "NamesAccepted", "False"))
		plan_update_status(r, VIEW_CRDS, pb_copy(r->arena, o->msg));
	if (o->meta->deletion_timestamp == NULL ||
			!pb_has_str((const char *const *)o->meta->finalizers, o->meta->n_finalizers, FINALIZER))
		return;
	res = crd_resource(r->arena, o);
	if (res) {
		plan_delete_collection(r, res, NULL);
		plan_stage(r);
		plan_expect_empty(r, res, NULL);
		plan_stage(r);
	}
	copy = pb_copy(r->arena, o->msg);
	meta = pb_sub(r->arena, copy, "metadata");
	for (size_t i = meta->n_finalizers; i-- > 0;)
		if (pb_streq(meta->finalizers[i], FINALIZER))
			pb_remove(meta, "finalizers", i);
	plan_update(r, VIEW_CRDS, copy);
	plan_again(r, AGAIN_MS);
}

static void map_crd(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	enqueue_key(q, o->key);
	if (informer_get_key(v->inf[VIEW_CRDS], o->key))
		return;
	/* Its names are free. */
	INFORMER_FOR_EACH (other, v->inf[VIEW_CRDS])
		if (is_condition(informer_msg(other), "NamesAccepted", "False"))
			enqueue_key(q, other->key);
}

const struct controller_row controller_crd = {
	.name = "crd-controller",
	.watches = {{VIEW_CRDS, map_crd}},
	.reconcile = reconcile_crd,
};

/*
 * The views: one informer a kind (VIEW_TABLE in controller.h), shared by all controllers, with the indexes by which they find
 * things. Of kinds that only few objects of matter here, such as Secrets, a view holds those alone: it has a field selector.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/join_token.h"
#include "orchestrator/controllers/runner-priv.h"
#include "proto/admissionregistration.pb-c.h"
#include "proto/apiextensions.pb-c.h"
#include "proto/apiregistration.pb-c.h"
#include "proto/apps.pb-c.h"
#include "proto/autoscaling_v2.pb-c.h"
#include "proto/batch.pb-c.h"
#include "proto/coordination.pb-c.h"
#include "proto/certificates.pb-c.h"
#include "proto/rbac.pb-c.h"
#include "proto/core.pb-c.h"
#include "proto/discovery.pb-c.h"
#include "proto/networking.pb-c.h"
#include "proto/policy.pb-c.h"
#include "proto/storage.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

static const struct {
	const char *group, *version, *plural;
	const ProtobufCMessageDescriptor *desc;
} view_rows[VIEW_N] = {
#define X(id, group, version, plural, prefix) [VIEW_##id] = {group, version, plural, &prefix##__descriptor},
	VIEW_TABLE(X)
#undef X
};

/* Views of a part of a kind: nobody needs all Secrets here. */
static const char *const view_selectors[VIEW_N] = {
	[VIEW_ACCOUNT_TOKENS] = "type=kubernetes.io/service-account-token",
	[VIEW_BOOTSTRAP_TOKENS] = "type=bootstrap.kubernetes.io/token",
	[VIEW_JOIN_TOKENS] = "type=" JOIN_TOKEN_TYPE,
};

const struct resource *view__resource(enum view_id id)
{
	return resource_find(view_rows[id].group, view_rows[id].version, view_rows[id].plural);
}

const char *view_kind(enum view_id id, const char **ret_api_version)
{
	const struct resource *r = view__resource(id);

	*ret_api_version = r->api_version;
	return r->kind;
}

enum view_id view_of_kind(const char *api_version, const char *kind)
{
	const struct resource *r = resource_find_kind(api_version, kind);

	for (int i = 0; r && i < VIEW_N; i++)
		if (!view_selectors[i] && strcmp(r->plural, view_rows[i].plural) == 0 && strcmp(r->group, view_rows[i].group) == 0)
			return (enum view_id)i;
	return VIEW_N;
}

enum view_id view_of(const struct informer_obj *o)
{
	for (int i = 0; i < VIEW_N; i++)
		if (((const ProtobufCMessage *)o->msg)->descriptor == view_rows[i].desc)
			return (enum view_id)i;
	return VIEW_N;
}

static void by_node(const struct informer_obj *o, struct informer_emit *em)
{
	const Core__Pod *p = o->msg;

	if (p->spec && pb_s(p->spec->node_name)[0])
		informer_emit(em, str_from(p->spec->node_name));
}

void views__by_any_owner(const struct informer_obj *o, struct informer_emit *em)
{
	for (size_t i = 0; i < o->meta->n_owner_references; i++)
		informer_emit(em, str_from(pb_s(o->meta->owner_references[i]->uid)));
}

static void by_service(const struct informer_obj *o, struct informer_emit *em)
{
	const char *svc = pb_map_get(o->meta->labels, o->meta->n_labels, "kubernetes.io/service-name");
	char key[512];
	int n = svc ? snprintf(key, sizeof(key), "%s/%s", pb_s(o->meta->namespace_), svc) : 0;

	if (n > 0 && n < (int)sizeof(key))
		informer_emit(em, str_of(key, (size_t)n));
}

void views__init(struct view *v, struct client *client)
{
	for (int i = 0; i < VIEW_N; i++) {
		struct informer_cfg ic = {.client = client, .desc = view_rows[i].desc, .field_selector = view_selectors[i],
				.resource = view__resource((enum view_id)i)};

		ASSERT(ic.resource != NULL);
		v->inf[i] = informer_new(&ic);
	}
	v->pods_by_owner = informer_add_index(v->inf[VIEW_PODS], informer_by_owner);
	v->pods_by_namespace = informer_add_index(v->inf[VIEW_PODS], informer_by_namespace);
	v->pods_by_node = informer_add_index(v->inf[VIEW_PODS], by_node);
	v->replicasets_by_owner = informer_add_index(v->inf[VIEW_REPLICASETS], informer_by_owner);
	for (int i = 0; i < VIEW_N; i++)
		v->by_any_owner[i] = informer_add_index(v->inf[i], views__by_any_owner);
	v->slices_by_service = informer_add_index(v->inf[VIEW_ENDPOINTSLICES], by_service);
}

/* What every namespace has: the service account "default", and the CA certificate as a ConfigMap for pods to trust. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"

#define DEFAULT_ACCOUNT "default"
#define ROOT_CA "kube-root-ca.crt"

static bool is_active(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_NAMESPACES, NULL, r->name);

	return o != NULL && o->meta->deletion_timestamp == NULL;
}

static void reconcile_account(struct reconcile *r)
{
	Core__ServiceAccount *sa;
	Meta__ObjectMeta *meta;

	if (!is_active(r) || view_get(r->view, VIEW_SERVICEACCOUNTS, r->name, DEFAULT_ACCOUNT) != NULL)
		return;
	sa = pb_new_of(r->arena, core__service_account, Core__ServiceAccount);
	meta = pb_sub(r->arena, sa, "metadata");
	meta->name = (char *)DEFAULT_ACCOUNT;
	meta->namespace_ = (char *)r->name;
	plan_create(r, VIEW_SERVICEACCOUNTS, r->name, sa);
}

static void reconcile_root_ca(struct reconcile *r)
{
	const struct controllers_cfg *cfg = r->arg;
	const struct informer_obj *o = view_get(r->view, VIEW_CONFIGMAPS, r->name, ROOT_CA);
	Core__ConfigMap *cm = informer_msg(o);
	const char *have = cm ? pb_map_get(cm->data, cm->n_data, "ca.crt") : NULL;
	Meta__ObjectMeta *meta;

	if (!is_active(r) || (have && str_eq(str_from(have), cfg->root_ca_pem)))
		return;
	cm = o ? pb_copy(r->arena, cm) : pb_new_of(r->arena, core__config_map, Core__ConfigMap);
	meta = pb_sub(r->arena, cm, "metadata");
	meta->name = (char *)ROOT_CA;
	meta->namespace_ = (char *)r->name;
	pb_map_set(r->arena, meta, "annotations", "kubernetes.io/description",
			"The certificate authority of this cluster. Pods trust it when they talk to the API server.");
	pb_map_set(r->arena, cm, "data", "ca.crt", arena_cstr(r->arena, cfg->root_ca_pem));
	if (o)
		plan_update(r, VIEW_CONFIGMAPS, cm);
	else
		plan_create(r, VIEW_CONFIGMAPS, r->name, cm);
}

static void map_account(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	if (strcmp(o->meta->name, DEFAULT_ACCOUNT) == 0)
		enqueue_name(q, NULL, pb_s(o->meta->namespace_));
}

static void map_config_map(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	if (strcmp(o->meta->name, ROOT_CA) == 0)
		enqueue_name(q, NULL, pb_s(o->meta->namespace_));
}

const struct controller_row controller_serviceaccount = {
	.name = "service-account-controller",
	.account = "service-account-controller",
	.watches = {{VIEW_NAMESPACES, map_self}, {VIEW_SERVICEACCOUNTS, map_account}},
	.reconcile = reconcile_account,
};

const struct controller_row controller_root_ca = {
	.name = "root-ca-certificate-publisher",
	.account = "root-ca-cert-publisher",
	.watches = {{VIEW_NAMESPACES, map_self}, {VIEW_CONFIGMAPS, map_config_map}},
	.reconcile = reconcile_root_ca,
};

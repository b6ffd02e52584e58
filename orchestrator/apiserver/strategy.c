#include "orchestrator/apiserver/strategy.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategies.h"
#include "proto/custom.h"
#include "proto/json.h"
#include "proto/resource.h"

/* --- Namespaces ------------------------------------------------------------------------------------------ */

static enum step_result namespace_create(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *list = json_new_array(a), *status = json_new_object(a), *meta = api_meta(a, req->obj);
	struct json *labels = json_object_at(a, meta, "labels");

	json_push(a, list, json_newc(a, "kubernetes"));
	json_setp(a, req->obj, "spec.finalizers", list);
	json_setc(a, status, "phase", json_newc(a, "Active"));
	json_setc(a, req->obj, "status", status);
	if (labels && json_str(json_getc(meta, "name")).n > 0)
		json_setc(a, labels, "kubernetes.io/metadata.name", json_getc(meta, "name"));
	return STEP_NEXT;
}

/* spec.finalizers change only through the finalize subresource. */
static enum step_result namespace_update(struct api_request *req)
{
	struct json *old = json_getc(req->old, "spec");
	struct json *labels = json_object_at(&req->arena, api_meta(&req->arena, req->obj), "labels");

	if (!req->subres) {
		if (old)
			json_setc(&req->arena, req->obj, "spec", old);
		else
			json_delc(req->obj, "spec");
	}
	if (labels)
		json_setc(&req->arena, labels, "kubernetes.io/metadata.name", json_getp(req->obj, "metadata.name"));
	return STEP_NEXT;
}

static bool namespace_held(const struct json *obj)
{
	return json_len(json_getp(obj, "spec.finalizers")) > 0;
}

static void namespace_marked(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.phase", json_newc(&req->arena, "Terminating"));
}

static enum step_result finalize_from_view(struct api_request *req, struct json *view)
{
	struct json *list = json_getp(view, "spec.finalizers");

	req->obj = json_copy(&req->arena, req->old);
	json_setp(&req->arena, req->obj, "spec.finalizers", list ? list : json_new_array(&req->arena));
	return STEP_NEXT;
}

/* --- Nodes -------------------------------------------------------------------------------------------------- */

static enum step_result node_create(struct api_request *req)
{
	/* A kubelet registers itself with its status: keep it. */
	struct json *status = json_getc(req->sent, "status");

	if (status)
		json_setc(&req->arena, req->obj, "status", json_copy(&req->arena, status));
	return STEP_NEXT;
}

/* --- Secrets, ConfigMaps, ServiceAccounts --------------------------------------------------------------------- */

static enum step_result secret_prepare(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *plain = json_getc(req->obj, "stringData"), *data;

	if (!json_is(plain, JSON_OBJECT))
		return STEP_NEXT;
	data = json_object_at(a, req->obj, "data");
	JSON_MEMBERS (m, plain)
		if (data)
			json_set(a, data, m->key, json_new_str(a, api_base64(a, json_str(m->value))));
	json_delc(req->obj, "stringData");
	return STEP_NEXT;
}

/* --- Events ----------------------------------------------------------------------------------------------------- */

static uint32_t event_ttl(struct api_request *req)
{
	return req->srv->cfg.event_ttl_s ? req->srv->cfg.event_ttl_s : 3600;
}

/* --- The rows ------------------------------------------------------------------------------------------------------- */

static const struct api_strategy strategies[] = {
		{.group = "", .plural = "namespaces", .no_generation = true, .return_deleted = true,
				.prepare_create = namespace_create, .prepare_update = namespace_update,
				.held = namespace_held, .marked = namespace_marked,
				.busy_text = "The system is ensuring all content is removed from this namespace.  Upon "
					     "completion, this namespace will automatically be purged by the system."},
		{.group = "", .plural = "nodes", .no_generation = true, .prepare_create = node_create},
		{.group = "", .plural = "pods", .return_deleted = true, .prepare_create = strategy_pod_create,
				.prepare_update = strategy_pod_update, .grace = strategy_pod_grace},
		{.group = "", .plural = "services", .no_generation = true, .return_deleted = true, .create_on_update = true,
				.prepare_create = strategy_service_create, .admit = strategy_service_admit,
				.released = strategy_service_released},
		{.group = "", .plural = "endpoints", .no_generation = true, .no_status = true, .create_on_update = true},
		{.group = "", .plural = "configmaps", .no_generation = true, .no_status = true},
		{.group = "", .plural = "secrets", .no_generation = true, .no_status = true,
				.prepare_create = secret_prepare, .prepare_update = secret_prepare},
		{.group = "", .plural = "serviceaccounts", .no_generation = true, .no_status = true, .return_deleted = true},
		{.group = "", .plural = "events", .no_generation = true, .no_status = true, .create_on_update = true,
				.ttl = event_ttl},
		{.group = "", .plural = "podtemplates", .no_status = true, .return_deleted = true},
		{.group = "", .plural = "bindings", .program = strategy_bindings},
		{.group = "events.k8s.io", .plural = "events", .no_generation = true, .no_status = true,
				.create_on_update = true, .ttl = event_ttl},
		{.group = "apps", .plural = "deployments", .counts_annotations = true, .status_keeps_labels = true},
		{.group = "apps", .plural = "controllerrevisions", .no_generation = true, .no_status = true},
		{.group = "discovery.k8s.io", .plural = "endpointslices", .no_status = true, .create_on_update = true},
		{.group = "coordination.k8s.io", .plural = "leases", .no_generation = true, .create_on_update = true},
		{.group = "", .plural = "limitranges", .no_generation = true, .create_on_update = true},
		{.group = "", .plural = "resourcequotas", .no_generation = true, .return_deleted = true},
		{.group = "", .plural = "persistentvolumes", .no_generation = true, .return_deleted = true,
				.prepare_create = strategy_pv_create, .prepare_update = strategy_pv_update},
		{.group = "", .plural = "persistentvolumeclaims", .no_generation = true, .return_deleted = true,
				.prepare_create = strategy_pvc_create},
		{.group = "apps", .plural = "daemonsets", .prepare_create = strategy_daemon_set_create,
				.prepare_update = strategy_daemon_set_update},
		{.group = "batch", .plural = "jobs", .prepare_create = strategy_job_create},
		{.group = "autoscaling", .plural = "horizontalpodautoscalers", .no_generation = true},
		{.group = "certificates.k8s.io", .plural = "certificatesigningrequests", .no_generation = true,
				.prepare_create = strategy_csr_create, .prepare_update = strategy_csr_update,
				.check = strategy_csr_check},
		{.group = "batch", .plural = "cronjobs", .check = strategy_cron_job_check},
		{.group = "apiextensions.k8s.io", .plural = "customresourcedefinitions", .status_keeps_meta = true,
				.admit = strategy_crd_admit, .marked = strategy_crd_marked, .finalizer = STRATEGY_CRD_FINALIZER},
		{.group = "apiregistration.k8s.io", .plural = "apiservices", .no_generation = true, .status_keeps_meta = true,
				.prepare_create = strategy_api_service_create},
		{.group = "networking.k8s.io", .plural = "ipaddresses", .no_generation = true},
		{.group = "networking.k8s.io", .plural = "servicecidrs", .no_generation = true},
		{.group = "storage.k8s.io", .plural = "storageclasses", .no_generation = true, .return_deleted = true},
		{.group = "storage.k8s.io", .plural = "csidrivers", .late_generation = true, .return_deleted = true},
		{.group = "storage.k8s.io", .plural = "csinodes", .no_generation = true, .return_deleted = true},
		{.group = "storage.k8s.io", .plural = "csistoragecapacities", .no_generation = true, .return_deleted = true},
		{.group = "storage.k8s.io", .plural = "volumeattachments", .no_generation = true, .return_deleted = true,
				.status_keeps_meta = true},
		{.group = "storage.k8s.io", .plural = "volumeattributesclasses", .no_generation = true,
				.return_deleted = true},
		{.group = "node.k8s.io", .plural = "runtimeclasses", .no_generation = true},
		{.group = "rbac.authorization.k8s.io", .plural = "roles", .no_generation = true, .create_on_update = true,
				.check = strategy_role_check},
		{.group = "rbac.authorization.k8s.io", .plural = "rolebindings", .no_generation = true,
				.create_on_update = true, .check = strategy_binding_check},
		{.group = "rbac.authorization.k8s.io", .plural = "clusterroles", .no_generation = true,
				.create_on_update = true, .check = strategy_role_check},
		{.group = "rbac.authorization.k8s.io", .plural = "clusterrolebindings", .no_generation = true,
				.create_on_update = true, .check = strategy_binding_check},
		{.group = "resource.k8s.io", .plural = "deviceclasses", .return_deleted = true},
		{.group = "resource.k8s.io", .plural = "resourceclaims", .no_generation = true, .return_deleted = true,
				.status_keeps_meta = true},
		{.group = "resource.k8s.io", .plural = "resourceclaimtemplates", .no_generation = true,
				.return_deleted = true},
		{.group = "resource.k8s.io", .plural = "resourceslices", .return_deleted = true},
		{.group = "flowcontrol.apiserver.k8s.io", .plural = "flowschemas", .status_keeps_meta = true, .check = strategy_flow_check},
		{.group = "flowcontrol.apiserver.k8s.io", .plural = "prioritylevelconfigurations", .status_keeps_meta = true,
				.check = strategy_flow_check},
		{.group = "admissionregistration.k8s.io", .plural = "validatingadmissionpolicies", .status_keeps_meta = true},
		{.group = "", .plural = "componentstatuses", .program = strategy_component_statuses},
		{.group = "metrics.k8s.io", .plural = "nodes", .program = strategy_metrics},
		{.group = "metrics.k8s.io", .plural = "pods", .program = strategy_metrics},
		{.group = "authentication.k8s.io", .plural = "tokenreviews", .program = strategy_token_review},
		{.group = "authentication.k8s.io", .plural = "selfsubjectreviews", .program = strategy_self_review},
		{.group = "authorization.k8s.io", .plural = "subjectaccessreviews", .program = strategy_access_review},
		{.group = "authorization.k8s.io", .plural = "localsubjectaccessreviews", .program = strategy_access_review},
		{.group = "authorization.k8s.io", .plural = "selfsubjectaccessreviews", .program = strategy_access_review},
		{.group = "authorization.k8s.io", .plural = "selfsubjectrulesreviews", .program = strategy_rules_review},
};
static const struct api_strategy by_default = {.group = NULL};
/* Custom resources without the status subresource. */
static const struct api_strategy custom_with_status = {.group = NULL, .status_keeps_meta = true};
static const struct api_strategy custom_plain = {.group = NULL, .no_status = true};

const struct api_strategy *api_strategy_find(const struct resource *res)
{
	if (res->custom)
		return res->custom->has_status ? &custom_with_status : &custom_plain;
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		if (strcmp(strategies[i].plural, res->plural) == 0 && strcmp(strategies[i].group, res->group) == 0)
			return &strategies[i];
	return &by_default;
}

/* --- Subresources --------------------------------------------------------------------------------------------------- */

/*
 * status: everything but the status (and what metadata may carry) stays as it is stored. Who names no version
 * cannot know today's labels and annotations: all of the metadata stays then, so that a node that only reports how
 * a pod is does not undo what somebody else wrote meanwhile.
 */
static enum step_result status_from_view(struct api_request *req, struct json *view)
{
	struct json *status = json_getc(view, "status"), *meta = json_getc(view, "metadata"), *owners;

	req->obj = json_copy(&req->arena, req->old);
	owners = json_getp(req->obj, "metadata.ownerReferences");
	if (json_str(json_getc(meta, "resourceVersion")).n > 0 && !req->strat->status_keeps_meta) {
		struct json *labels = json_getp(req->obj, "metadata.labels");

		if (labels && req->strat->status_keeps_labels)
			json_setc(&req->arena, meta, "labels", labels);
		else if (req->strat->status_keeps_labels)
			json_delc(meta, "labels");
		json_setc(&req->arena, req->obj, "metadata", meta);
		if (owners)
			json_setc(&req->arena, meta, "ownerReferences", owners);
		else
			json_delc(meta, "ownerReferences");
	}
	if (status)
		json_setc(&req->arena, req->obj, "status", status);
	else
		json_delc(req->obj, "status");
	return STEP_NEXT;
}

static const struct api_subresource subresources[] = {
		{.plural = NULL, .name = "status", .from_view = status_from_view},
		{.plural = NULL, .name = "scale", .type = "autoscaling.v1.Scale", .api_version = "autoscaling/v1",
				.kind = "Scale", .to_view = strategy_scale_to_view, .from_view = strategy_scale_from_view},
		{.group = "", .plural = "namespaces", .name = "finalize", .from_view = finalize_from_view},
		{.group = "certificates.k8s.io", .plural = "certificatesigningrequests", .name = "approval",
				.from_view = strategy_csr_approval},
		{.group = "", .plural = "pods", .name = "binding", .program = strategy_bindings},
		{.group = "", .plural = "pods", .name = "ephemeralcontainers", .from_view = strategy_pod_ephemeral},
		{.group = "", .plural = "pods", .name = "resize", .from_view = strategy_pod_resize},
		{.group = "", .plural = "pods", .name = "eviction", .program = strategy_eviction},
		{.group = "", .plural = "pods", .name = "log", .program = strategy_pod_log},
		{.group = "", .plural = "pods", .name = "exec", .program = strategy_pod_exec},
		{.group = "", .plural = "pods", .name = "attach", .program = strategy_pod_exec},
		{.group = "", .plural = "pods", .name = "portforward", .program = strategy_pod_exec},
		{.group = "", .plural = "pods", .name = "proxy", .program = strategy_proxy},
		{.group = "", .plural = "services", .name = "proxy", .program = strategy_proxy},
		{.group = "", .plural = "nodes", .name = "proxy", .program = strategy_proxy},
		{.group = "", .plural = "serviceaccounts", .name = "token", .program = strategy_token_request},
};

const struct api_subresource *api_subresource_find(const struct resource *res, struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(subresources); i++) {
		const struct api_subresource *s = &subresources[i];

		if (str_eqc(name, s->name) && (!s->plural || (strcmp(s->plural, res->plural) == 0 &&
								     strcmp(s->group, res->group) == 0)))
			return s;
	}
	return NULL;
}

#include "orchestrator/apiserver/admission.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/write.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "store/view.h"

#define CREATE ADMIT_CREATE
#define UPDATE ADMIT_UPDATE

static enum step_result namespace_immortal(struct api_request *);
static enum step_result runtime_class(struct api_request *);
static enum step_result default_storage_class(struct api_request *);
static enum step_result default_ingress_class(struct api_request *);
static enum step_result priority_class_single(struct api_request *);

/*
 * resource "*": every kind. sub: "" the object itself, else that subresource. Names are upstream's plugins; StorageObjectInUse-
 * Protection is done where claims and volumes are made (strategy_kinds.c), NamespaceLifecycle's rest where the namespace is
 * loaded (write.c).
 */
static const struct admission_step {
	const char *name;
	enum admission_phase phase;
	unsigned ops;
	const char *group, *resource, *sub;
	enum step_result (*run)(struct api_request *);
} steps[] = {
		{"NamespaceLifecycle", ADMIT_VALIDATE, ADMIT_DELETE, "", "namespaces", "", namespace_immortal},
		{"LimitRanger", ADMIT_MUTATE, CREATE, "", "pods", "", admit_limits},
		{"ServiceAccount", ADMIT_MUTATE, CREATE, "", "pods", "", admit_service_account},
		{"NodeRestriction", ADMIT_MUTATE, CREATE | UPDATE | ADMIT_DELETE, "", "nodes", "", admit_node_self},
		{"NodeRestriction", ADMIT_MUTATE, UPDATE, "", "nodes", "status", admit_node_self},
		{"NodeRestriction", ADMIT_MUTATE, CREATE | UPDATE | ADMIT_DELETE, "", "pods", "", admit_node_pod},
		{"NodeRestriction", ADMIT_MUTATE, UPDATE, "", "pods", "status", admit_node_pod},
		{"NodeRestriction", ADMIT_MUTATE, UPDATE, "", "pods", "resize", admit_node_pod},
		{"NodeRestriction", ADMIT_MUTATE, UPDATE, "", "pods", "ephemeralcontainers", admit_node_pod},
		{"NodeRestriction", ADMIT_MUTATE, CREATE | UPDATE | ADMIT_DELETE, "coordination.k8s.io", "leases", "",
				admit_node_lease},
		{"NodeRestriction", ADMIT_MUTATE, CREATE | UPDATE | ADMIT_DELETE, "storage.k8s.io", "csinodes", "",
				admit_node_lease},
		{"TaintNodesByCondition", ADMIT_MUTATE, CREATE, "", "nodes", "", admit_node_taint},
		{"Priority", ADMIT_MUTATE, CREATE, "", "pods", "", admit_priority},
		{"Priority", ADMIT_VALIDATE, CREATE | UPDATE, "scheduling.k8s.io", "priorityclasses", "", priority_class_single},
		{"DefaultTolerationSeconds", ADMIT_MUTATE, CREATE | UPDATE, "", "pods", "", admit_tolerations},
		{"DefaultStorageClass", ADMIT_MUTATE, CREATE, "", "persistentvolumeclaims", "", default_storage_class},
		{"RuntimeClass", ADMIT_MUTATE, CREATE, "", "pods", "", runtime_class},
		{"DefaultIngressClass", ADMIT_MUTATE, CREATE, "networking.k8s.io", "ingresses", "", default_ingress_class},
		{"QualityOfService", ADMIT_MUTATE, CREATE, "", "pods", "", admit_qos},
		{"CertificateAutoApproval", ADMIT_MUTATE, CREATE, "certificates.k8s.io", "certificatesigningrequests", "",
				admit_csr_approve},
		{"CertificateApproval", ADMIT_VALIDATE, UPDATE, "certificates.k8s.io", "certificatesigningrequests", "approval",
				admit_csr_approval},
		{"CertificateSigning", ADMIT_VALIDATE, UPDATE, "certificates.k8s.io", "certificatesigningrequests", "status",
				admit_csr_signing},
		{"CertificateSubjectRestriction", ADMIT_VALIDATE, CREATE, "certificates.k8s.io", "certificatesigningrequests", "",
				admit_csr_subject},
		{"LimitRanger", ADMIT_VALIDATE, CREATE | UPDATE, "", "pods", "", admit_limits_check},
		{"LimitRanger", ADMIT_VALIDATE, UPDATE, "", "pods", "resize", admit_limits_check},
		{"LimitRanger", ADMIT_VALIDATE, CREATE | UPDATE, "", "persistentvolumeclaims", "", admit_limits_check},
		{"PodSecurity", ADMIT_VALIDATE, CREATE, "", "pods", "", admit_pod_security},
		{"PodSecurity", ADMIT_VALIDATE, UPDATE, "", "pods", "ephemeralcontainers", admit_pod_security},
		{"PodSecurity", ADMIT_VALIDATE, CREATE | UPDATE, "*", "*", "", admit_pod_security_template},
		{"PodSecurity", ADMIT_VALIDATE, CREATE | UPDATE, "", "namespaces", "", admit_pod_security_namespace},
		/* Last, so that nothing is booked for what is refused. */
		{"ResourceQuota", ADMIT_MUTATE, CREATE | UPDATE, "", "resourcequotas", "", admit_quota_object},
		{"ResourceQuota", ADMIT_MUTATE, UPDATE, "", "resourcequotas", "status", admit_quota_object},
		{"ResourceQuota", ADMIT_VALIDATE, CREATE | UPDATE, "*", "*", "", admit_quota},
		{"ResourceQuota", ADMIT_VALIDATE, UPDATE, "", "pods", "status", admit_quota},
		{"ResourceQuota", ADMIT_VALIDATE, UPDATE, "", "pods", "resize", admit_quota},
		{"ResourceQuota", ADMIT_VALIDATE, ADMIT_REMOVE, "*", "*", "", admit_quota_release},
};

static bool concerns(const struct admission_step *s, const struct api_request *req, enum admission_op op,
		enum admission_phase phase)
{
	return s->phase == phase && (s->ops & op) &&
	       (s->resource[0] == '*' ||
			       (strcmp(s->resource, req->res->plural) == 0 && strcmp(s->group, req->res->group) == 0)) &&
	       (op == ADMIT_REMOVE || str_eqc(req->at.sub, s->sub));
}

enum step_result admission_run(struct api_request *req, enum admission_op op, enum admission_phase phase)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		enum step_result r;

		if (!concerns(&steps[i], req, op, phase))
			continue;
		r = steps[i].run(req);
		if (r != STEP_NEXT)
			return r;
	}
	return STEP_NEXT;
}

enum admission_op admission_op_of(const struct api_request *req)
{
	return req->old ? ADMIT_UPDATE : ADMIT_CREATE;
}

/* --- What steps look at --------------------------------------------------------------------------------------- */

static enum step_result read_all(struct api_request *req, const struct resource *res, struct store_view *v, struct str prefix,
		bool (*want)(struct str raw), struct admission_list *ret)
{
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	size_t cap = 0;
	int r;

	view_iter_init(&it, v, prefix, storage_end(&req->arena, prefix), 0, 0);
	while ((r = view_iter_next(&it, &kv, &e)) > 0) {
		struct str raw;

		if (!storage_unwrap_key(&req->arena, kv.key, kv.value, &raw) || (want && !want(raw)))
			continue;
		if (ret->n == cap) {
			size_t more = cap ? cap * 2 : 8;

			ret->v = arena_grow(&req->arena, ret->v, cap * sizeof(ret->v[0]), more * sizeof(ret->v[0]));
			ret->rv = arena_grow(&req->arena, ret->rv, cap * sizeof(ret->rv[0]), more * sizeof(ret->rv[0]));
			cap = more;
		}
		if (api_dom_of(&req->arena, res, raw, &ret->v[ret->n], &e) < 0)
			continue;
		ret->rv[ret->n++] = (uint64_t)kv.mod_revision;
	}
	view_iter_fini(&it);
	return r < 0 ? api_fail_err(req, &e) : STEP_NEXT;
}

enum step_result admission_objects_if(struct api_request *req, const struct resource *res, struct str ns,
		bool (*want)(struct str raw), struct str key, uint64_t *ret_rv, struct admission_list *ret)
{
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	enum step_result r;

	*ret = (struct admission_list){0};
	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	if (key.n > 0)
		*ret_rv = view_get(v, key, 0, &kv, &e) == 0 ? (uint64_t)kv.mod_revision : 0;
	r = read_all(req, res, v, storage_prefix(&req->arena, res, ns), want, ret);
	store_view_close(v);
	return r;
}

enum step_result admission_objects(struct api_request *req, const struct resource *res, struct str ns,
		struct admission_list *ret)
{
	return admission_objects_if(req, res, ns, NULL, STR_NULL, NULL, ret);
}

enum step_result admission_object_if(struct api_request *req, const char *group, const char *plural, struct str ns,
		struct str name, bool (*want)(struct str raw), struct json **ret)
{
	struct err e = ERR_INIT;
	enum step_result r;
	struct str raw;
	uint64_t rv;

	*ret = NULL;
	r = api_lookup(req, group, plural, ns, name, &raw, &rv);
	if (r != STEP_NEXT || !raw.p || (want && !want(raw)))
		return r;
	if (api_dom_of(&req->arena, resource_find(group, "v1", plural), raw, ret, &e) < 0)
		return api_fail_err(req, &e);
	return STEP_NEXT;
}

enum step_result admission_object(struct api_request *req, const char *group, const char *plural, struct str ns, struct str name,
		struct json **ret)
{
	return admission_object_if(req, group, plural, ns, name, NULL, ret);
}

struct str admission_label(const struct json *obj, const char *key)
{
	return json_str(json_getc(json_getp(obj, "metadata.labels"), key));
}

struct str admission_annotation(const struct json *obj, const char *key)
{
	return json_str(json_getc(json_getp(obj, "metadata.annotations"), key));
}

/* --- Small steps ------------------------------------------------------------------------------------------------- */

static enum step_result namespace_immortal(struct api_request *req)
{
	static const char *const names[] = {"default", "kube-system", "kube-public"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(req->at.name, names[i]))
			return api_fail_forbidden(req, req->res, req->at.name, "this namespace may not be deleted");
	return STEP_NEXT;
}

/* The newest of those that are marked as the default. */
static struct json *default_of(const struct admission_list *list, const char *annotation)
{
	struct json *found = NULL;

	for (size_t i = 0; i < list->n; i++) {
		int order;

		if (!str_eqc(admission_annotation(list->v[i], annotation), "true"))
			continue;
		order = found ? str_cmp(json_str(json_getp(list->v[i], "metadata.creationTimestamp")),
						json_str(json_getp(found, "metadata.creationTimestamp"))) :
				1;
		if (order > 0 || (order == 0 && str_cmp(api_name(list->v[i]), api_name(found)) < 0))
			found = list->v[i];
	}
	return found;
}

static enum step_result default_storage_class(struct api_request *req)
{
	struct admission_list list;
	struct json *class;

	if (!json_is_null(json_getp(req->obj, "spec.storageClassName")))
		return STEP_NEXT;
	if (admission_objects(req, resource_find("storage.k8s.io", "v1", "storageclasses"), STR_NULL, &list) != STEP_NEXT)
		return STEP_FAIL;
	class = default_of(&list, "storageclass.kubernetes.io/is-default-class");
	if (!class)
		class = default_of(&list, "storageclass.beta.kubernetes.io/is-default-class");
	if (class)
		json_setp(&req->arena, req->obj, "spec.storageClassName", json_new_str(&req->arena, api_name(class)));
	return STEP_NEXT;
}

static enum step_result default_ingress_class(struct api_request *req)
{
	struct admission_list list;
	struct json *class;

	if (!json_is_null(json_getp(req->obj, "spec.ingressClassName")) ||
			admission_annotation(req->obj, "kubernetes.io/ingress.class").n > 0)
		return STEP_NEXT;
	if (admission_objects(req, resource_find("networking.k8s.io", "v1", "ingressclasses"), STR_NULL, &list) != STEP_NEXT)
		return STEP_FAIL;
	class = default_of(&list, "ingressclass.kubernetes.io/is-default-class");
	if (class)
		json_setp(&req->arena, req->obj, "spec.ingressClassName", json_new_str(&req->arena, api_name(class)));
	return STEP_NEXT;
}

static enum step_result priority_class_single(struct api_request *req)
{
	struct admission_list list;

	if (!json_true(json_getc(req->obj, "globalDefault")))
		return STEP_NEXT;
	if (admission_objects(req, req->res, STR_NULL, &list) != STEP_NEXT)
		return STEP_FAIL;
	for (size_t i = 0; i < list.n; i++)
		if (json_true(json_getc(list.v[i], "globalDefault")) && !str_eq(api_name(list.v[i]), api_name(req->obj)))
			return api_fail_forbidden(req, req->res, api_name(req->obj),
					"PriorityClass %.*s is already marked as default. Only one default can exist",
					STR_FMT(api_name(list.v[i])));
	return STEP_NEXT;
}

/* --- RuntimeClass ---------------------------------------------------------------------------------------------------- */

static enum step_result set_overhead(struct api_request *req, struct json *spec, const struct json *class)
{
	const struct json *want = json_getp(class, "overhead.podFixed"), *have = json_getc(spec, "overhead");

	if (json_is_null(have)) {
		if (!json_is_null(want))
			json_setc(&req->arena, spec, "overhead", json_copy(&req->arena, want));
		return STEP_NEXT;
	}
	if (json_is_null(want) || !json_equal(want, have))
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
	return STEP_NEXT;
}

static enum step_result set_scheduling(struct api_request *req, struct json *spec, const struct json *class)
{
	const struct json *selector = json_getp(class, "scheduling.nodeSelector"),
			  *tolerations = json_getp(class, "scheduling.tolerations");
	struct json *mine, *list;

	if (json_len(selector) > 0) {
		mine = json_object_at(&req->arena, spec, "nodeSelector");
		JSON_MEMBERS (m, selector) {
			const struct json *have = json_get(mine, m->key);

			if (have && !json_equal(have, m->value))
				return api_fail_forbidden(req, req->res, api_name(req->obj),
						"conflict: runtimeClass and nodeSelector key \"%.*s\": conflicting values",
						STR_FMT(m->key));
			json_set(&req->arena, mine, m->key, json_copy(&req->arena, m->value));
		}
	}
	JSON_ITEMS (t, tolerations) {
		bool found = false;

		list = json_getc(spec, "tolerations");
		if (!json_is(list, JSON_ARRAY)) {
			list = json_new_array(&req->arena);
			json_setc(&req->arena, spec, "tolerations", list);
		}
		JSON_ITEMS (have, list)
			found = found || json_equal(have, t);
		if (!found)
			json_push(&req->arena, list, json_copy(&req->arena, t));
	}
	return STEP_NEXT;
}

static enum step_result runtime_class(struct api_request *req)
{
	struct json *spec = json_getc(req->obj, "spec"), *class;
	struct str name = json_str(json_getc(spec, "runtimeClassName"));
	enum step_result r;

	if (name.n == 0) {
		if (!json_is_null(json_getc(spec, "overhead")))
			return api_fail_forbidden(req, req->res, api_name(req->obj),
					"pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
		return STEP_NEXT;
	}
	r = admission_object(req, "node.k8s.io", "runtimeclasses", STR_NULL, name, &class);
	if (r != STEP_NEXT)
		return r;
	if (!class)
		return api_fail_forbidden(req, req->res, api_name(req->obj), "pod rejected: RuntimeClass \"%.*s\" not found",
				STR_FMT(name));
	r = set_overhead(req, spec, class);
	return r == STEP_NEXT ? set_scheduling(req, spec, class) : r;
}

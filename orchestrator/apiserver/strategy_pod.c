/*
 * Pods: what admission adds (service account and its token volume, tolerations, priority), graceful deletion and binding.
 */
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/write.h"
#include "proto/defaults.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/validate.h"
#include "proto/wire.h"

#define TOKEN_PATH "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME "kube-api-access-"
#define TOKEN_SECONDS 3607
#define TOLERATION_SECONDS 300
#define GRACE_DEFAULT 30
#define ACCOUNT_NAP_MS 50
#define ACCOUNT_NAPS 20

enum step_result strategy_pod_create(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.phase", json_newc(&req->arena, "Pending"));
	return STEP_NEXT;
}

enum step_result strategy_pod_update(struct api_request *req)
{
	struct arena *a = &req->arena;

	/* The class is decided once. */
	if (json_getp(req->old, "status.qosClass") && json_getc(req->obj, "status"))
		json_setp(a, req->obj, "status.qosClass", json_getp(req->old, "status.qosClass"));
	return STEP_NEXT;
}

/* --- Ephemeral containers ----------------------------------------------------------------------------------------- */

/* Nothing but their list is taken; what may become of it is the validation's to say. */
enum step_result strategy_pod_ephemeral(struct api_request *req, struct json *view)
{
	struct json *list = json_getp(view, "spec.ephemeralContainers");

	req->obj = json_copy(&req->arena, req->old);
	if (list)
		json_setp(&req->arena, req->obj, "spec.ephemeralContainers", list);
	else
		json_delp(req->obj, "spec.ephemeralContainers");
	return STEP_NEXT;
}

/* --- Resizing ------------------------------------------------------------------------------------------------------ */

/*
 * The resources and resize policies of the view's containers in the stored pod; all else is dropped, as it is with a status.
 * Another number of containers or other names go on to the validation, which says no.
 */
static void take_resources(struct arena *a, struct json *pod, const struct json *view, const char *list)
{
	static const char *const fields[] = {"name", "resources", "resizePolicy"};
	struct json *now = json_getp(view, list), *was = json_getp(pod, list);

	if (json_len(now) != json_len(was)) {
		json_setp(a, pod, list, now ? now : json_new_array(a));
		return;
	}
	for (size_t i = 0; i < json_len(now); i++)
		for (size_t k = 0; k < ARRAY_LEN(fields); k++) {
			struct json *v = json_getc(json_at(now, i), fields[k]);

			if (v)
				json_setc(a, json_at(was, i), fields[k], v);
			else
				json_delc(json_at(was, i), fields[k]);
		}
}

enum step_result strategy_pod_resize(struct api_request *req, struct json *view)
{
	struct json *whole = json_getp(view, "spec.resources");

	req->obj = json_copy(&req->arena, req->old);
	if (whole)
		json_setp(&req->arena, req->obj, "spec.resources", whole);
	else
		json_delp(req->obj, "spec.resources");
	take_resources(&req->arena, req->obj, view, "spec.containers");
	take_resources(&req->arena, req->obj, view, "spec.initContainers");
	return STEP_NEXT;
}

/* --- Admission -------------------------------------------------------------------------------------------------- */

static struct json *array_at(struct arena *a, struct json *obj, const char *key)
{
	struct json *v = json_getc(obj, key);

	if (!json_is(v, JSON_ARRAY)) {
		v = json_new_array(a);
		json_setc(a, obj, key, v);
	}
	return v;
}

static void tolerate(struct arena *a, struct json *spec, const char *key)
{
	struct json *list = array_at(a, spec, "tolerations"), *t;

	JSON_ITEMS (it, list) {
		struct str k = json_str(json_getc(it, "key")), effect = json_str(json_getc(it, "effect"));

		if ((str_eqc(k, key) || k.n == 0) && (str_eqc(effect, "NoExecute") || effect.n == 0))
			return;
	}
	t = json_new_object(a);
	json_setc(a, t, "key", json_newc(a, key));
	json_setc(a, t, "operator", json_newc(a, "Exists"));
	json_setc(a, t, "effect", json_newc(a, "NoExecute"));
	json_setc(a, t, "tolerationSeconds", json_new_int(a, TOLERATION_SECONDS));
	json_push(a, list, t);
}

/* A projected volume {serviceAccountToken, kube-root-ca.crt, namespace}. */
static struct json *token_volume(struct arena *a, const char *name)
{
	static const char text[] =
			"{\"projected\":{\"defaultMode\":420,\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,"
			"\"path\":\"token\"}},{\"configMap\":{\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}],"
			"\"name\":\"kube-root-ca.crt\"}},{\"downwardAPI\":{\"items\":[{\"fieldRef\":{\"apiVersion\":\"v1\","
			"\"fieldPath\":\"metadata.namespace\"},\"path\":\"namespace\"}]}}]}}";
	struct json *v;

	ASSERT(json_parse(a, str_from(text), NULL, &v, NULL) == 0);
	json_setc(a, v, "name", json_newc(a, name));
	return v;
}

static bool mounts_token(const struct json *container)
{
	JSON_ITEMS (m, json_getc(container, "volumeMounts"))
		if (json_eqc(json_getc(m, "mountPath"), TOKEN_PATH))
			return true;
	return false;
}

static void mount_token(struct arena *a, struct json *spec)
{
	static const char *const lists[] = {"containers", "initContainers"};
	char suffix[6], *name = NULL;

	JSON_ITEMS (v, json_getc(spec, "volumes"))
		if (str_has_prefix(json_str(json_getc(v, "name")), STR(TOKEN_VOLUME)))
			name = arena_cstr(a, json_str(json_getc(v, "name")));
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getc(spec, lists[i])) {
			struct json *m;

			if (mounts_token(c))
				continue;
			if (!name) {
				random_suffix(suffix, 5);
				name = arena_printf(a, TOKEN_VOLUME "%s", suffix);
				json_push(a, array_at(a, spec, "volumes"), token_volume(a, name));
			}
			m = json_new_object(a);
			json_setc(a, m, "name", json_newc(a, name));
			json_setc(a, m, "readOnly", json_new_bool(a, true));
			json_setc(a, m, "mountPath", json_newc(a, TOKEN_PATH));
			json_push(a, array_at(a, c, "volumeMounts"), m);
		}
}

enum step_result admit_service_account(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec");
	struct str name = json_str(json_getc(spec, "serviceAccountName")), raw;
	const struct json *mount = json_getc(spec, "automountServiceAccountToken");
	struct json *sa, *pull;
	struct err e = ERR_INIT;
	enum step_result r;
	uint64_t rv;

	/* Mirror pods speak for no account. */
	if (json_getc(json_getp(req->obj, "metadata.annotations"), "kubernetes.io/config.mirror"))
		return STEP_NEXT;
	if (name.n == 0) {
		name = json_str(json_getc(spec, "serviceAccount"));
		if (name.n == 0)
			name = STR("default");
		json_setc(a, spec, "serviceAccountName", json_new_str(a, name));
	}
	json_setc(a, spec, "serviceAccount", json_new_str(a, name));
	r = api_lookup(req, "", "serviceaccounts", req->at.ns, name, &raw, &rv);
	if (r != STEP_NEXT)
		return r;
	/* A new namespace gets its default account from a controller, in a moment: as upstream, wait up to a second. */
	if (!raw.p && str_eqc(name, "default") && api_nap(req, ACCOUNT_NAP_MS, ACCOUNT_NAPS))
		return STEP_WAIT;
	if (!raw.p)
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"error looking up service account %.*s/%.*s: serviceaccount \"%.*s\" not found",
				STR_FMT(req->at.ns), STR_FMT(name), STR_FMT(name));
	if (api_dom_of(a, resource_find("", "v1", "serviceaccounts"), raw, &sa, &e) < 0)
		return api_fail_err(req, &e);
	if (!mount)
		mount = json_getc(sa, "automountServiceAccountToken");
	if (!mount || json_true(mount))
		mount_token(a, spec);
	pull = json_getc(sa, "imagePullSecrets");
	if (json_len(pull) > 0 && json_len(json_getc(spec, "imagePullSecrets")) == 0)
		json_setc(a, spec, "imagePullSecrets", pull);
	return STEP_NEXT;
}

/* PriorityClass: {3 globalDefault}. */
static bool is_global_default(struct str raw)
{
	struct wire_reader r = wire_reader(raw);
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == 3 && it.type == WIRE_VARINT && it.v)
			return true;
	return false;
}

/* A class by name, or the default one; NULL: none. */
static enum step_result priority_class(struct api_request *req, struct str name, struct json **ret)
{
	struct admission_list list;

	if (name.n > 0)
		return admission_object(req, "scheduling.k8s.io", "priorityclasses", STR_NULL, name, ret);
	*ret = NULL;
	if (admission_objects_if(req, resource_find("scheduling.k8s.io", "v1", "priorityclasses"), STR_NULL, is_global_default,
			    STR_NULL, NULL, &list) != STEP_NEXT)
		return STEP_FAIL;
	for (size_t i = 0; i < list.n; i++)
		if (json_true(json_getc(list.v[i], "globalDefault")) &&
				(!*ret || json_i64_or(json_getc(list.v[i], "value"), 0) < json_i64_or(json_getc(*ret, "value"), 0)))
			*ret = list.v[i];
	return STEP_NEXT;
}

/* The two classes that every cluster has, also where nobody made them. */
static int64_t system_priority(struct str name)
{
	return str_eqc(name, "system-cluster-critical") ? 2000000000 : str_eqc(name, "system-node-critical") ? 2000001000 : 0;
}

enum step_result admit_priority(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *spec = json_getc(req->obj, "spec"), *class, *said = json_getc(spec, "priority");
	struct str name = json_str(json_getc(spec, "priorityClassName"));
	int64_t value = system_priority(name);
	enum step_result r = priority_class(req, name, &class);

	if (r != STEP_NEXT)
		return r;
	if (name.n > 0 && !class && value == 0)
		return api_fail_forbidden(req, req->res, api_name(req->obj), "no PriorityClass with name %.*s was found",
				STR_FMT(name));
	if (class) {
		value = json_i64_or(json_getc(class, "value"), 0);
		json_setc(a, spec, "priorityClassName", json_new_str(a, api_name(class)));
		if (json_getc(class, "preemptionPolicy"))
			json_setc(a, spec, "preemptionPolicy", json_getc(class, "preemptionPolicy"));
	}
	if (!json_is_null(said) && json_i64_or(said, 0) != value)
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"the integer value of priority (%lld) must not be provided in pod spec; priority admission controller "
				"computed %lld from the given PriorityClass name",
				(long long)json_i64_or(said, 0), (long long)value);
	json_setc(a, spec, "priority", json_new_int(a, value));
	if (!json_getc(spec, "preemptionPolicy"))
		json_setc(a, spec, "preemptionPolicy", json_newc(a, "PreemptLowerPriority"));
	return STEP_NEXT;
}

enum step_result admit_tolerations(struct api_request *req)
{
	struct json *spec = json_getc(req->obj, "spec");

	tolerate(&req->arena, spec, "node.kubernetes.io/not-ready");
	tolerate(&req->arena, spec, "node.kubernetes.io/unreachable");
	return STEP_NEXT;
}

enum step_result admit_qos(struct api_request *req)
{
	json_setp(&req->arena, req->obj, "status.qosClass", json_newc(&req->arena, validate_qos_class(req->obj)));
	return STEP_NEXT;
}

/* --- Graceful deletion ---------------------------------------------------------------------------------------------- */

int64_t strategy_pod_grace(struct api_request *req, int64_t asked)
{
	const struct json *spec = json_getc(req->old, "spec");
	struct str phase = json_strp(req->old, "status.phase");
	int64_t grace = asked >= 0 ? asked : json_i64_or(json_getc(spec, "terminationGracePeriodSeconds"), GRACE_DEFAULT);

	if (json_str(json_getc(spec, "nodeName")).n == 0 || str_eqc(phase, "Succeeded") || str_eqc(phase, "Failed"))
		return 0;
	/* Negative grace in a spec means at once, but still by way of the kubelet. */
	return grace < 0 ? 1 : grace;
}

/* --- Binding ---------------------------------------------------------------------------------------------------------- */

static enum step_result binding_decode(struct api_request *req)
{
	struct str target, kind, name;
	bool wrong_kind;

	if (api_decode_body(req, "core.v1.Binding", false) != STEP_NEXT)
		return STEP_FAIL;
	target = json_strp(req->sent, "target.name");
	kind = json_strp(req->sent, "target.kind");
	name = json_strp(req->sent, "metadata.name");
	/* POST .../bindings names the pod in the body. */
	if (str_eqc(req->at.resource, "bindings"))
		req->at.name = name;
	else if (name.n > 0 && !str_eq(name, req->at.name))
		return api_fail(req, ERR_BAD_REQUEST, "name in URL does not match name in Binding object");
	req->res = resource_find("", "v1", "pods");
	wrong_kind = kind.n > 0 && !str_eqc(kind, "Node");
	if (target.n > 0 && !wrong_kind)
		return STEP_NEXT;
	/* Upstream has no status for what is wrong here. */
	req->fail.reason = "";
	if (!wrong_kind)
		return api_fail(req, ERR_INTERNAL, "target.name: Required value");
	return api_fail(req, ERR_INTERNAL, "%starget.kind: Unsupported value: \"%.*s\": supported values: \"Node\", \"<empty>\"%s",
			target.n == 0 ? "[" : "", STR_FMT(kind), target.n == 0 ? ", target.name: Required value]" : "");
}

static enum step_result binding_admit(struct api_request *req)
{
	return admission_special(req, ADMIT_CREATE, schema_type_find("core.v1.Binding"));
}

static void bound_condition(struct arena *a, struct json *pod)
{
	struct json *status = json_object_at(a, pod, "status"), *list, *c;

	if (!status)
		return;
	list = array_at(a, status, "conditions");
	JSON_ITEMS (it, list)
		if (json_eqc(json_getc(it, "type"), "PodScheduled")) {
			json_setc(a, it, "status", json_newc(a, "True"));
			json_setc(a, it, "lastTransitionTime", api_now(a));
			json_delc(it, "reason");
			json_delc(it, "message");
			return;
		}
	c = json_new_object(a);
	json_setc(a, c, "type", json_newc(a, "PodScheduled"));
	json_setc(a, c, "status", json_newc(a, "True"));
	json_setc(a, c, "lastProbeTime", json_new_null(a));
	json_setc(a, c, "lastTransitionTime", api_now(a));
	json_push(a, list, c);
}

static enum step_result binding_prepare(struct api_request *req)
{
	struct str target = json_strp(req->sent, "target.name"), bound = json_strp(req->old, "spec.nodeName");
	struct str uid = json_strp(req->sent, "metadata.uid");

	if (uid.n > 0 && !str_eq(uid, json_strp(req->old, "metadata.uid")))
		return api_refresh(req) ? STEP_WAIT :
					  api_fail_conflict(req, req->res, req->at.name,
							  "the pod was replaced by another of the same name");
	if (json_getp(req->old, "metadata.deletionTimestamp"))
		return api_fail_conflict(req, req->res, req->at.name,
				arena_printf(&req->arena,
						"pod %.*s is being deleted, cannot be assigned to a host",
						STR_FMT(req->at.name)));
	if (bound.n > 0)
		return api_refresh(req) ? STEP_WAIT :
					  api_fail_conflict(req, req->res, req->at.name,
							  arena_printf(&req->arena,
									  "pod %.*s is already assigned to node "
									  "\"%.*s\"",
									  STR_FMT(req->at.name), STR_FMT(bound)));
	req->obj = json_copy(&req->arena, req->old);
	json_setp(&req->arena, req->obj, "spec.nodeName", json_new_str(&req->arena, target));
	JSON_MEMBERS (m, json_getp(req->sent, "metadata.annotations")) {
		struct json *ann = json_object_at(&req->arena, api_meta(&req->arena, req->obj), "annotations");

		json_set(&req->arena, ann, m->key, m->value);
	}
	bound_condition(&req->arena, req->obj);
	json_delp(req->obj, "status.nominatedNodeName"); /* it is where it is now */
	api_txn_new(req);
	return api_txn_put_object(req);
}

enum step_result strategy_created_status(struct api_request *req)
{
	struct arena *a = &req->arena;
	struct json *s = json_new_object(a);

	json_setc(a, s, "kind", json_newc(a, "Status"));
	json_setc(a, s, "apiVersion", json_newc(a, "v1"));
	json_setc(a, s, "metadata", json_new_object(a));
	json_setc(a, s, "status", json_newc(a, "Success"));
	json_setc(a, s, "code", json_new_int(a, 201));
	return api_answer_dom(req, 201, schema_type_find("meta.v1.Status"), s);
}

const struct api_step strategy_bindings[] = {{"decode", binding_decode}, {"admit", binding_admit}, {"load", api__load}, {"bind", binding_prepare},
		{"commit", api__commit}, {"encode", strategy_created_status}, {NULL, NULL}};

/*
 * Eviction: the deletion of a pod that asks the pod's disruption budget first.
 *
 * The budget's status is counted down, and the pod noted there as disrupted, in the same transaction that deletes the pod: of two
 * evictions at once one sees the other, and an eviction that fails costs nothing. A no, too, is said only behind a read barrier.
 *
 * Source: "Disruptions" and "API-initiated Eviction" of the Kubernetes documentation.
 */
#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/write.h"
#include "proto/codec.h"
#include "proto/resource.h"
#include "proto/selector.h"

#define CANNOT "Cannot evict pod as it would violate the pod's disruption budget."
/* So many evictions may wait for the controller to confirm them. */
#define DISRUPTED_MAX 2000
#define RETRY_S 10

static enum step_result eviction_decode(struct api_request *req)
{
	struct str name;

	if (api_decode_body(req, "policy.v1.Eviction", true) != STEP_NEXT)
		return STEP_FAIL;
	name = json_strp(req->sent, "metadata.name");
	if (name.n > 0 && !str_eq(name, req->at.name))
		return api_fail(req, ERR_BAD_REQUEST, "name in URL does not match name in Eviction object");
	if (json_len(json_getp(req->sent, "deleteOptions.dryRun")) > 0)
		req->opt.dry_run = true;
	return STEP_NEXT;
}

static enum step_result eviction_admit(struct api_request *req)
{
	struct json *options;
	enum step_result r = admission_special(req, ADMIT_CREATE, schema_type_find("policy.v1.Eviction"));

	if (r != STEP_NEXT)
		return r;
	options = json_getc(req->sent, "deleteOptions");
	req->sent = json_is(options, JSON_OBJECT) ? options : json_new_object(&req->arena);
	req->strat = api_strategy_find(req->res);
	req->evicting = true;
	return STEP_NEXT;
}

/* --- What the pod says ------------------------------------------------------------------------------------------------------ */

static struct json *condition_of(struct arena *a, struct json *list, const char *type)
{
	struct json *c;

	JSON_ITEMS (it, list)
		if (json_eqc(json_getc(it, "type"), type))
			return it;
	c = json_new_object(a);
	json_setc(a, c, "type", json_newc(a, type));
	json_push(a, list, c);
	return c;
}

static struct json *conditions_of(struct arena *a, struct json *obj)
{
	struct json *list = json_getp(obj, "status.conditions");

	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setp(a, obj, "status.conditions", list);
	}
	return list;
}

bool strategy_pod_evicted(struct api_request *req)
{
	static const char reason[] = "EvictionByEvictionAPI", message[] = "Eviction API: evicting";
	struct arena *a = &req->arena;
	struct json *c = condition_of(a, conditions_of(a, req->obj), "DisruptionTarget");
	const struct json *generation = json_getp(req->obj, "metadata.generation");
	bool on = json_eqc(json_getc(c, "status"), "True");

	if (on && json_eqc(json_getc(c, "reason"), reason) && json_eqc(json_getc(c, "message"), message))
		return false;
	if (!on)
		json_setc(a, c, "lastTransitionTime", api_now(a));
	if (json_i64_or(generation, 0) > 0)
		json_setc(a, c, "observedGeneration", json_new_int(a, json_i64_or(generation, 0)));
	json_setc(a, c, "status", json_newc(a, "True"));
	json_setc(a, c, "reason", json_newc(a, reason));
	json_setc(a, c, "message", json_newc(a, message));
	return true;
}

/* --- What the budget says -------------------------------------------------------------------------------------------------- */

/* A pod that runs nothing any more, or nothing yet, or is on its way out: nobody's availability hangs on it. */
static bool needs_no_budget(const struct json *pod)
{
	static const char *const phases[] = {"Succeeded", "Failed", "Pending"};

	for (size_t i = 0; i < ARRAY_LEN(phases); i++)
		if (json_eqc(json_getp(pod, "status.phase"), phases[i]))
			return true;
	return !json_is_null(json_getp(pod, "metadata.deletionTimestamp"));
}

static bool ready(const struct json *pod)
{
	JSON_ITEMS (c, json_getp(pod, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "Ready"))
			return json_eqc(json_getc(c, "status"), "True");
	return false;
}

static int64_t count(const struct json *budget, const char *path)
{
	return json_i64_or(json_getp(budget, path), 0);
}

/* A pod that is not ready does not count as healthy, so its end takes nothing from the budget. */
static bool unhealthy_may_go(const struct json *budget)
{
	int64_t have = count(budget, "status.currentHealthy"), want = count(budget, "status.desiredHealthy");

	if (json_eqc(json_getp(budget, "spec.unhealthyPodEvictionPolicy"), "AlwaysAllow"))
		return true;
	return have >= want && want > 0;
}

static enum step_result too_many(struct api_request *req, struct str why, int retry_s)
{
	struct api_cause *cause = arena_new_of(&req->arena, struct api_cause);

	cause->reason = STR("DisruptionBudget");
	cause->message = why;
	cause->field = STR("");
	api_fail(req, ERR_TOO_MANY, CANNOT);
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	req->fail.has_details = true;
	req->fail.retry_after_s = retry_s;
	return STEP_FAIL;
}

static enum step_result check_budget(struct api_request *req, const struct json *budget)
{
	struct str name = api_name(budget);
	int64_t allowed = count(budget, "status.disruptionsAllowed");
	const struct resource *res = resource_find("policy", "v1", "poddisruptionbudgets");

	if (count(budget, "status.observedGeneration") < count(budget, "metadata.generation"))
		return too_many(req,
				arena_sprintf(&req->arena, "The disruption budget %.*s is still being processed by the server.", STR_FMT(name)),
				RETRY_S);
	if (allowed < 0)
		return api_fail_forbidden(req, res, name, "pdb disruptions allowed is negative");
	if (json_len(json_getp(budget, "status.disruptedPods")) > DISRUPTED_MAX)
		return api_fail_forbidden(req, res, name,
				"DisruptedPods map too big - too many evictions not confirmed by PDB controller");
	if (allowed == 0)
		return too_many(req,
				arena_sprintf(&req->arena, "The disruption budget %.*s needs %lld healthy pods and has %lld currently",
						STR_FMT(name), (long long)count(budget, "status.desiredHealthy"),
						(long long)count(budget, "status.currentHealthy")),
				0);
	return STEP_NEXT;
}

/* --- Counting down ----------------------------------------------------------------------------------------------------------- */

static void insufficient(struct arena *a, struct json *budget)
{
	struct json *cond = condition_of(a, conditions_of(a, budget), "DisruptionAllowed");

	if (!json_getc(cond, "message"))
		json_setc(a, cond, "message", json_newc(a, ""));
	if (!json_eqc(json_getc(cond, "status"), "False"))
		json_setc(a, cond, "lastTransitionTime", api_now(a));
	json_setc(a, cond, "status", json_newc(a, "False"));
	json_setc(a, cond, "reason", json_newc(a, "InsufficientPods"));
	json_setc(a, cond, "observedGeneration", json_new_int(a, count(budget, "status.observedGeneration")));
}

static enum step_result count_down(struct api_request *req, struct json *budget, uint64_t rv)
{
	struct arena *a = &req->arena;
	const struct resource *res = resource_find("policy", "v1", "poddisruptionbudgets");
	struct str key = storage_key(a, res, req->at.ns, api_name(budget)), raw;
	_cleanup_(buf_fini) struct buf value = BUF_INIT;
	int64_t left = count(budget, "status.disruptionsAllowed") - 1;
	struct json *pods;
	struct err e = ERR_INIT;

	json_setp(a, budget, "status.disruptionsAllowed", json_new_int(a, left));
	if (left == 0)
		insufficient(a, budget);
	pods = json_object_at(a, json_getc(budget, "status"), "disruptedPods");
	if (pods)
		json_set(a, pods, req->at.name, api_now(a));
	json_delp(budget, "metadata.resourceVersion");
	if (api_dom_encode(a, resource_type(res), budget, &raw, &e) < 0)
		return api_fail_err(req, &e);
	codec_wrap(&value, res->api_version, res->kind, raw);
	if (crypt_seal(res, key, &value, &e) < 0)
		return api_fail_err(req, &e);
	txn_if_mod(req->txn, key, rv);
	txn_put(req->txn, key, buf_str(&value), 0);
	return STEP_NEXT;
}

static enum step_result find_budget(struct api_request *req, struct json **ret, uint64_t *ret_rv)
{
	const struct resource *res = resource_find("policy", "v1", "poddisruptionbudgets");
	struct json *labels = json_getp(req->old, "metadata.labels");
	struct admission_list list;
	enum step_result r = admission_objects(req, res, req->at.ns, &list);
	size_t n = 0;

	*ret = NULL;
	if (r != STEP_NEXT)
		return r;
	for (size_t i = 0; i < list.n; i++) {
		struct selector sel;
		struct err e = ERR_INIT;

		/* A selector that is none matches nothing. */
		if (selector_from_json(&req->arena, json_getp(list.v[i], "spec.selector"), &sel, &e) < 0 ||
				!selector_matches_json(&sel, labels))
			continue;
		*ret = list.v[i];
		*ret_rv = list.rv[i];
		n++;
	}
	if (n <= 1)
		return STEP_NEXT;
	req->fail.reason = "";
	return api_fail(req, ERR_INTERNAL,
			"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
}

static enum step_result eviction_decide(struct api_request *req)
{
	struct json *budget;
	enum step_result r;
	uint64_t rv = 0;

	if (needs_no_budget(req->old))
		return api__delete_decide(req);
	r = find_budget(req, &budget, &rv);
	if (r != STEP_NEXT)
		return r;
	if (!budget || (!ready(req->old) && unhealthy_may_go(budget)))
		return api__delete_decide(req);
	r = check_budget(req, budget);
	if (r == STEP_NEXT)
		r = api__delete_decide(req);
	return r == STEP_NEXT ? count_down(req, budget, rv) : r;
}

/* Evictions are rare, and a budget must not be overlooked. (A try after a lost race looks afresh by itself.) */
static enum step_result eviction_read_point(struct api_request *req)
{
	return api_refresh(req) ? STEP_WAIT : STEP_NEXT;
}

const struct api_step strategy_eviction[] = {{"decode", eviction_decode}, {"admit", eviction_admit}, {"read-point", eviction_read_point},
		{"load", api__load}, {"decide", eviction_decide}, {"commit", api__commit}, {"encode", strategy_created_status}, {NULL, NULL}};

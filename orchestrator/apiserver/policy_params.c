/* The parameters of policies: objects of a kind that the policy names, chosen by its binding. */
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/params_cache.h"
#include "orchestrator/apiserver/policies.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "store/view.h"

static const struct resource *kind_find(struct api_request *req, struct str version, struct str kind)
{
	const struct resource *const *all;
	size_t n;

	RESOURCE_FOR_EACH (r)
		if (r->served && str_eqc(version, r->api_version) && str_eqc(kind, r->kind))
			return r;
	all = custom_index_all(api__custom(req->al), &n);
	for (size_t i = 0; i < n; i++)
		if (str_eqc(version, all[i]->api_version) && str_eqc(kind, all[i]->kind))
			return all[i];
	return NULL;
}

/* Where to look; false with what is wrong. */
static bool namespace_of(struct api_request *req, const struct policy_binding *b, const struct resource *res, struct str *ret, struct str *ret_why)
{
	*ret = STR_NULL;
	if (!res->namespaced) {
		if (b->param_ns.n > 0)
			*ret_why = STR("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
		return b->param_ns.n == 0;
	}
	*ret = b->param_ns.n > 0 ? b->param_ns : req->at.ns;
	if (ret->n == 0)
		*ret_why = STR("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
	return ret->n > 0;
}

/* What a webhook has to convert, as it was read before; NULL: not known. */
static struct json *read_known(struct api_request *req, const struct params_key *k)
{
	struct json *doc;
	struct str text;

	if (!req->al->params)
		req->al->params = params_cache_new();
	text = params_cache_get(req->al->params, k);
	return text.n > 0 && json_parse(&req->arena, arena_str(&req->arena, text), NULL, &doc, NULL) == 0 ? doc : NULL;
}

/* NULL: *ret_why, or *pending. Parameters that are there and cannot be read must not pass for none: the policy would not be run. */
static struct json *read_one(struct api_request *req, const struct resource *res, struct str key, struct str value, uint64_t rv, bool *pending,
		struct str *ret_why)
{
	struct custom_conversions *conv = res->custom ? convert_asides(req) : NULL;
	struct params_key known = {key, rv, res->api_version, custom_index_epoch(api__custom(req->al))};
	bool by_webhook = res->custom && res->custom->def->webhook;
	struct json *doc = by_webhook ? read_known(req, &known) : NULL;
	struct err e = ERR_INIT;
	struct str raw;

	if (doc)
		return doc;
	if (storage_unwrap_as(&req->arena, res, key, value, conv, &raw, &e) < 0 || api_dom_of(&req->arena, res, raw, &doc, &e) < 0) {
		*pending |= e.code == ERR_PENDING;
		if (e.code != ERR_PENDING)
			*ret_why = arena_sprintf(&req->arena, "a param of kind %s cannot be read: %s", res->kind, e.text);
		return NULL;
	}
	json_setc(&req->arena, api_meta(&req->arena, doc), "resourceVersion", json_newf(&req->arena, "%llu", (unsigned long long)rv));
	if (by_webhook)
		params_cache_put(req->al->params, &known, json_text(&req->arena, doc));
	return doc;
}

/* They are asked for; what is written stays as it is meanwhile. STEP_NEXT: *ret_why. */
static enum step_result convert_first(struct api_request *req, const struct resource *res, struct str *ret_why)
{
	const char *why;
	enum step_result r;

	webhooks_policies(req, true);
	r = convert_aside(req, &why);
	if (r == STEP_NEXT)
		*ret_why = arena_sprintf(&req->arena, "a param cannot be read as %s, Kind=%s: %s", res->api_version, res->kind, why);
	return r;
}

/* One by name, or all that the selector likes; in the local state. */
static enum step_result collect(struct api_request *req, const struct policy_binding *b, const struct resource *res, struct str ns,
		struct json ***ret, size_t *ret_n, struct str *ret_why)
{
	struct str key = b->by_selector ? storage_prefix(&req->arena, res, ns) : storage_key(&req->arena, res, ns, b->param_name);
	struct str end = b->by_selector ? storage_end(&req->arena, key) : STR_NULL;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct err e = ERR_INIT;
	size_t cap = 0;
	bool pending = false;

	if (store_view_open(req->srv->store, &v, &e) < 0)
		return api_fail_err(req, &e);
	view_iter_init(&it, v, key, end, 0, 0);
	while (view_iter_next(&it, &kv, &e) > 0) {
		struct json *doc = read_one(req, res, kv.key, kv.value, (uint64_t)kv.mod_revision, &pending, ret_why);

		if (!doc || (b->by_selector && !selector_matches_json(&b->params, json_getp(doc, "metadata.labels"))))
			continue;
		if (*ret_n == cap) {
			size_t more = cap ? cap * 2 : 4;

			*ret = arena_grow(&req->arena, *ret, cap * sizeof(**ret), more * sizeof(**ret));
			cap = more;
		}
		(*ret)[(*ret_n)++] = doc;
	}
	view_iter_fini(&it);
	store_view_close(v);
	if (e.code)
		return api_fail_err(req, &e);
	return pending ? convert_first(req, res, ret_why) : STEP_NEXT;
}

enum step_result policy_params(struct api_request *req, const struct policy *p, const struct policy_binding *b, struct json ***ret, size_t *ret_n,
		struct str *ret_why)
{
	const struct resource *res;
	enum step_result r;
	struct str ns;

	*ret = arena_new_array(&req->arena, struct json *, 1);
	*ret_n = 1;
	*ret_why = STR_NULL;
	if (!p->cel.has_params || !b->has_params)
		return STEP_NEXT;
	*ret = NULL;
	*ret_n = 0;
	res = kind_find(req, p->cel.param_version, p->cel.param_kind);
	if (!res && api_refresh(req))
		return STEP_WAIT;
	if (!res) {
		*ret_why = arena_sprintf(&req->arena, "failed to find resource referenced by paramKind: '%.*s, Kind=%.*s'", STR_FMT(p->cel.param_version),
				STR_FMT(p->cel.param_kind));
		return STEP_NEXT;
	}
	if (!namespace_of(req, b, res, &ns, ret_why))
		return STEP_NEXT;
	r = collect(req, b, res, ns, ret, ret_n, ret_why);
	if (r != STEP_NEXT || *ret_n > 0 || ret_why->n > 0)
		return r;
	if (api_refresh(req))
		return STEP_WAIT;
	if (b->deny_missing)
		*ret_why = STR("no params found for policy binding with `Deny` parameterNotFoundAction");
	return STEP_NEXT;
}

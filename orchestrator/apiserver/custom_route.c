/* What requests for custom resources do otherwise than others: finding the resource, and the steps around its definition. */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/paths.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/write.h"
#include "proto/custom.h"
#include "store/view.h"

/* Watches of a definition that is not what it was end; clients list again. */
static void definition_gone(void *arg, const struct custom_def *d)
{
	api__watches_end_of(arg, d);
}

struct custom_index *api__custom(struct api_loop *al)
{
	if (!al->custom) {
		bool was = crypt_hurry(false);

		al->custom = custom_index_new(al->srv->store, al->hub, definition_gone, al);
		crypt_hurry(was);
	}
	return al->custom;
}

static enum step_result not_found(struct api_request *req)
{
	return api_path_unknown(req);
}

/* Another server's, as we learned only now. */
static enum step_result elsewhere(struct api_request *req)
{
	enum step_result r = api__aggregate(req);

	return r == STEP_NEXT ? not_found(req) : r;
}

enum step_result api__route_custom(struct api_request *req)
{
	struct api_attrs *at = &req->at;
	const struct custom *c;
	struct err e = ERR_INIT;

	/* Groups of custom resources have a dot: no other unknown path need wait for a barrier. */
	if (str_find(at->group, '.') < 0)
		return not_found(req);
	c = custom_index_find(api__custom(req->al), at->group, at->version, at->resource, req->metadata);
	if (!c)
		return api_refresh(req) ? STEP_WAIT : elsewhere(req);
	custom_def_unref(req->custom_def);
	req->custom_def = custom_def_ref((struct custom_def *)(uintptr_t)c->def);
	req->res = req->asked = &c->res;
	req->as_it_lies = req->metadata && c->def->webhook;
	req->conv = convert_new(req);
	req->fresh = false;
	/* There is no protobuf of these but for clients in this process. */
	req->json_only = !req->local;
	if (req->json_only && api_accept_parse(req, &e) < 0)
		return api_fail_err(req, &e);
	if (c->deprecated && at->verb != API_WATCH)
		api_warn(req, "%s", c->deprecated);
	if (at->verb == API_CREATE && at->sub.n == 0 && c->def->terminating)
		return api_fail(req, ERR_METHOD_NOT_ALLOWED, "create not allowed while custom resource definition is terminating");
	return STEP_NEXT;
}

/*
 * Who looks at metadata only writes an object in the version in which it lies, whichever that is: so it can be deleted, and let go of its
 * owners and finalizers, when nobody can convert it.
 */
enum step_result api__as_it_lies(struct api_request *req, uint64_t *ret_rv)
{
	const struct custom *c;
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	struct str plain;

	if (store_view_open_at(req->srv->store, req->barrier.index, &v, &e) < 0)
		return api_fail_err(req, &e);
	*ret_rv = 0;
	if (view_get(v, req->key, 0, &kv, &e) == 0 && crypt_open(&req->arena, kv.key, kv.value, &plain)) {
		c = custom_lies_as(req->custom_def, plain);
		req->res = c ? &c->res : req->asked;
		*ret_rv = (uint64_t)kv.mod_revision;
	}
	store_view_close(v);
	return STEP_NEXT;
}

/* A new object must find its definition as it is now, alive: else it would outlive the clean-up of a deleted one. */
enum step_result api__custom_parent(struct api_request *req)
{
	static const char group[] = "apiextensions.k8s.io", plural[] = "customresourcedefinitions";
	const struct custom_def *d = req->res->custom->def;
	struct storage_meta m;
	enum step_result r;
	struct str raw;

	r = api_lookup(req, group, plural, STR_NULL, str_from(d->name), &raw, &req->def_rev);
	if (r != STEP_NEXT)
		return r;
	if (!raw.p)
		return not_found(req);
	storage_meta(raw, &m);
	if (m.deleting)
		return api_fail(req, ERR_METHOD_NOT_ALLOWED, "create not allowed while custom resource definition is terminating");
	req->def_key = storage_key(&req->arena, resource_find(group, "v1", plural), STR_NULL, str_from(d->name));
	return STEP_NEXT;
}

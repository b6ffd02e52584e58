/*
 * What stands before a write: the object as it is stored, the objects that it depends on, and the namespace it goes into.
 *
 *	api__load_parent:  of a create: the namespace exists, and is not on its way out
 *	api__load:         of an update, a patch or a delete: the object; where there is none, some updates and applies make it
 *	api_load_key, api_lookup:  the parts of that for other steps and for admission
 *
 * All is read from this server's own store, which may be behind. What is missing there, or was outrun once, is looked for again behind a
 * read barrier (api_refresh) before anybody is told so; the namespace, which nearly always is as it was, is not even read (parent_cache.h). The versions that are found go into the transaction as comparisons, so that
 * what was seen here still holds where it is committed. A commit whose outcome nobody told (the leader went away) comes back here, and is
 * looked for before it is tried again.
 */
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/managed.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/write.h"
#include "proto/resource.h"
#include "store/store.h"

enum step_result api_load_key(struct api_request *req, bool *ret_found)
{
	struct err e = ERR_INIT;
	uint64_t lies = 0;

	*ret_found = false;
	/* A lost race: what we saw is old, so look behind a barrier this time. */
	if (req->n_tries > 0 && api_refresh(req))
		return STEP_WAIT;
	if (req->as_it_lies && api__as_it_lies(req, &lies) != STEP_NEXT)
		return STEP_FAIL;
	if (storage_load_as(req->srv->store, req->barrier.index, &req->arena, req->res, req->key, convert_conversions(req),
			    &req->old_bytes, &req->old_rv, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			return api_fail_unread(req, &e);
		req->old = NULL;
		req->old_rv = 0;
		return api_refresh(req) ? STEP_WAIT : STEP_NEXT;
	}
	/* Written between the two looks, perhaps in another version. */
	if (req->as_it_lies && req->old_rv != lies)
		return api_load_key(req, ret_found);
	if (api_dom_of(&req->arena, req->res, req->old_bytes, &req->old, &e) < 0)
		return api_fail_err(req, &e);
	*ret_found = true;
	return STEP_NEXT;
}

enum step_result api_lookup(struct api_request *req, const char *group, const char *plural, struct str ns, struct str name,
		struct str *ret_raw, uint64_t *ret_rv)
{
	const struct resource *res = resource_find(group, "v1", plural);
	struct err e = ERR_INIT;

	*ret_raw = STR_NULL;
	if (storage_load(req->srv->store, &req->arena, storage_key(&req->arena, res, ns, name), ret_raw, ret_rv, &e) < 0) {
		if (e.code != ERR_NOT_FOUND)
			return api_fail_err(req, &e);
		if (api_refresh(req))
			return STEP_WAIT;
	}
	return STEP_NEXT;
}

/*
 * The leader went away with our proposal. Behind a barrier of the new one the store tells whether it had been taken: the
 * object is there with the uid that we gave it, or has exactly our bytes, or is gone. If not, it is tried again; since
 * every transaction compares the version it was made for, a late first one and its repetition cannot both succeed. STEP_JUMP: it was.
 */
static enum step_result resolve(struct api_request *req)
{
	struct storage_meta m;
	struct err e = ERR_INIT;
	struct str raw;
	uint64_t rv;

	if (storage_load_as(req->srv->store, req->barrier.index, &req->arena, req->res, req->key, convert_conversions(req), &raw,
			    &rv, &e) < 0) {
		if (e.code == ERR_PENDING)
			return api_convert(req);
		req->unknown = false;
		if (e.code != ERR_NOT_FOUND || !req->fully_deleted)
			return STEP_NEXT;
		req->new_rv = (uint64_t)store_revision(req->srv->store);
	} else {
		bool mine = req->uid[0] && storage_meta(raw, &m) && str_eqc(m.uid, req->uid);

		req->unknown = false;
		if (req->fully_deleted || !(mine || str_eq(raw, req->new_bytes)))
			return STEP_NEXT;
		req->new_bytes = raw;
		req->new_rv = rv;
		if (api_dom_of(&req->arena, req->res, raw, &req->obj, &e) < 0)
			return STEP_NEXT;
	}
	req->pc = req->encode_pc;
	return STEP_JUMP;
}

static void take_parent(struct api_request *req, struct str ns, uint64_t rv)
{
	req->parent_key = storage_key(&req->arena, resource_find("", "v1", "namespaces"), STR_NULL, ns);
	req->parent_rv = rv;
}

/* New content needs a namespace that exists and is not on its way out. */
enum step_result api__load_parent(struct api_request *req)
{
	struct str ns = req->at.ns, raw;
	struct storage_meta m;
	enum step_result r;
	uint64_t rv;

	if (req->n_tries > 0 && api_refresh(req))
		return STEP_WAIT;
	if (req->unknown && (r = resolve(req)) != STEP_NEXT)
		return r;
	if (req->res->custom && !req->subres && (r = api__custom_parent(req)) != STEP_NEXT)
		return r;
	if (!req->res->namespaced || req->subres)
		return STEP_NEXT;
	if (req->n_tries == 0 && !req->opt.dry_run && parent_cache_get(&req->al->parents, ns, &rv)) {
		take_parent(req, ns, rv);
		return STEP_NEXT;
	}
	r = api_lookup(req, "", "namespaces", STR_NULL, ns, &raw, &rv);
	if (r != STEP_NEXT)
		return r;
	parent_cache_put(&req->al->parents, ns, 0);
	if (!raw.p)
		return api_fail_not_found(req, resource_find("", "v1", "namespaces"), ns);
	storage_meta(raw, &m);
	if (m.deleting) {
		struct api_cause *cause = arena_new_of(&req->arena, struct api_cause);

		cause->reason = STR("NamespaceTerminating");
		cause->message = arena_sprintf(&req->arena, "namespace %.*s is being terminated", STR_FMT(ns));
		cause->field = STR("metadata.namespace");
		api_fail_forbidden(req, req->res, api_name(req->sent),
				"unable to create new content in namespace %.*s because it is being terminated",
				STR_FMT(ns));
		req->fail.causes = cause;
		req->fail.n_causes = 1;
		return STEP_FAIL;
	}
	parent_cache_put(&req->al->parents, ns, rv);
	take_parent(req, ns, rv);
	return STEP_NEXT;
}

enum step_result api__load(struct api_request *req)
{
	enum step_result r;
	bool found;

	if (req->unknown) {
		if (api_refresh(req))
			return STEP_WAIT;
		r = resolve(req);
		if (r != STEP_NEXT)
			return r;
	}
	req->key = storage_key(&req->arena, req->res, req->at.ns, req->at.name);
	r = api_load_key(req, &found);
	if (r != STEP_NEXT || found)
		return r;
	if (req->at.verb == API_UPDATE && !req->subres && req->strat->create_on_update &&
			json_strp(req->sent, "metadata.resourceVersion").n == 0)
		return api__create_on_update(req);
	if (req->at.verb == API_PATCH && req->patch_type == PATCH_APPLY && !req->subres)
		return managed_apply_new(req);
	return api_fail_not_found(req, req->res, req->at.name);
}

#include "orchestrator/apiserver/write.h"

#include <inttypes.h>

#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/managed.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/patch.h"
#include "proto/resource.h"
#include "proto/validate.h"

/* --- Create ------------------------------------------------------------------------------------------------ */

/* With all else that is wrong. */
static enum step_result name_required(struct api_request *req)
{
	struct field_errs errs;

	defaults_apply(&req->arena, resource_type(req->res), req->obj);
	field_errs_init(&errs, &req->arena);
	validate_object(req->res, arena_cstr(&req->arena, req->at.sub), req->obj, NULL, &errs);
	return api_fail_invalid(req, &errs);
}

/* Spares the log a transaction that is going to fail. */
static enum step_result check_absent(struct api_request *req)
{
	struct err e = ERR_INIT;
	bool found;

	if (storage_exists(req->srv->store, req->key, &found, &e) < 0)
		return api_fail_err(req, &e);
	if (!found)
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	return req->config ? managed_apply_again(req) : api_fail_exists(req, req->res, api_name(req->obj));
}

static enum step_result make_new(struct api_request *req)
{
	struct json *meta;
	enum step_result r;

	req->obj = json_copy(&req->arena, req->sent);
	req->old = NULL;
	req->old_rv = 0;
	meta = api_meta(&req->arena, req->obj);
	r = api__check_identity(req, req->obj);
	if (r != STEP_NEXT)
		return r;
	if (json_str(json_getc(meta, "resourceVersion")).n > 0)
		return api_fail(req, ERR_BAD_REQUEST, "resourceVersion should not be set on objects to be created");
	api__stamp_new(req, meta);
	if (json_str(json_getc(meta, "name")).n == 0) {
		if (json_str(json_getc(meta, "generateName")).n == 0)
			return name_required(req);
		api__generate_name(req, meta);
	}
	if (!req->strat->no_status)
		json_delc(req->obj, "status");
	/* A manager has what it sent and the defaults of that, not what the server adds below. */
	defaults_apply(&req->arena, resource_type(req->res), req->obj);
	managed_track(req);
	return req->strat->prepare_create ? req->strat->prepare_create(req) : STEP_NEXT;
}

enum step_result api__prepare_create(struct api_request *req)
{
	enum step_result r;

	api_txn_new(req);
	r = webhooks_begun(req) ? STEP_NEXT : make_new(req);
	if (r != STEP_NEXT)
		return r;
	req->key = storage_key(&req->arena, req->res, req->at.ns, api_name(req->obj));
	r = api__complete(req);
	if (r != STEP_NEXT)
		return r;
	r = check_absent(req);
	if (r != STEP_NEXT)
		return r;
	if (req->parent_key.n > 0)
		txn_if_mod(req->txn, req->parent_key, req->parent_rv);
	if (req->def_key.n > 0)
		txn_if_mod(req->txn, req->def_key, req->def_rev);
	return api_txn_put_object(req);
}

/* PUT of an object that is not there, for the few resources that allow it: go on as a create of that name. */
enum step_result api__create_on_update(struct api_request *req)
{
	static const struct api_step program[] = {{"load", api__load_parent}, {"lease", api__lease},
			{"prepare", api__prepare_create}, {"commit", api__commit}, {"encode", api__encode_written}, {NULL, NULL}};

	if (json_strp(req->sent, "metadata.uid").n > 0)
		return api_fail_conflict(req, req->res, req->at.name,
				"StorageError: invalid object, Code: 4, Precondition failed: the object does not exist");
	req->ok_status = 201;
	return api_program(req, program);
}

/* --- Update and patch ---------------------------------------------------------------------------------------- */

/* The client's idea of what it changes must match what is stored; a stale local state gets a second look. */
static enum step_result check_version(struct api_request *req, struct json *view)
{
	struct str rv = json_strp(view, "metadata.resourceVersion"), uid = json_strp(view, "metadata.uid");
	struct str old_uid = json_strp(req->old, "metadata.uid");
	uint64_t n;

	if (uid.n > 0 && !str_eq(uid, old_uid)) {
		if (api_refresh(req))
			return STEP_WAIT;
		/* A patch is no precondition: validation says what may not change. */
		if (req->at.verb != API_PATCH)
			return api_fail_conflict(req, req->res, req->at.name,
				arena_printf(&req->arena,
						"Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
						STR_FMT(uid), STR_FMT(old_uid)));
	}
	if (rv.n == 0 || str_eqc(rv, "0"))
		return STEP_NEXT;
	if (!str_to_u64(rv, &n))
		return api_fail(req, ERR_BAD_REQUEST, "metadata.resourceVersion: Invalid value: \"%.*s\"", STR_FMT(rv));
	if (n == req->old_rv)
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	return api_fail_conflict(req, req->res, req->at.name,
			"the object has been modified; please apply your changes to the latest version and try again");
}

enum step_result api_take_view(struct api_request *req, struct json *view)
{
	enum step_result r = check_version(req, view);

	if (r == STEP_NEXT)
		r = api__check_identity(req, view);
	if (r != STEP_NEXT)
		return r;
	if (req->subres && req->subres->from_view)
		return req->subres->from_view(req, view);
	req->obj = view;
	if (!req->strat->no_status)
		api__keep_status(req, view);
	return STEP_NEXT;
}

enum step_result api__update_merge(struct api_request *req)
{
	return api_take_view(req, json_copy(&req->arena, req->sent));
}

static struct json *view_of_old(struct api_request *req)
{
	struct json *view = json_copy(&req->arena, req->old);

	if (req->subres && req->subres->to_view)
		view = req->subres->to_view(req, view);
	json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
			json_newf(&req->arena, "%" PRIu64, req->old_rv));
	return view;
}

/* A JSON patch that does not apply: upstream's general words, and why as a cause. */
static enum step_result patch_failed(struct api_request *req, const struct err *e)
{
	struct api_cause *cause;

	if (e->code != ERR_INVALID)
		return api_fail_err(req, e);
	cause = arena_new_of(&req->arena, struct api_cause);
	cause->reason = STR("UnexpectedServerResponse");
	cause->message = arena_str(&req->arena, str_from(e->text));
	cause->field = STR("");
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	req->fail.has_details = true;
	return api_fail(req, ERR_INVALID, "the server rejected our request due to an error in our request");
}

enum step_result api__patch_apply(struct api_request *req)
{
	struct json *view = req->patch_type == PATCH_APPLY ? NULL : view_of_old(req), *patched;
	const struct schema_type *type = api_view_type(req);
	struct err e = ERR_INIT;
	int r;

	switch (req->patch_type) {
	case PATCH_APPLY:
		return managed_apply(req);
	case PATCH_JSON:
		r = patch_json(&req->arena, view, req->sent, &patched, &e);
		break;
	case PATCH_MERGE:
		patched = patch_merge(&req->arena, view, req->sent);
		r = 0;
		break;
	default:
		r = patch_strategic(&req->arena, type, view, req->sent, &patched, &e);
		break;
	}
	if (r < 0)
		return patch_failed(req, &e);
	/* A merge may leave anything behind: it must still be an object of this kind. */
	if (!json_is(patched, JSON_OBJECT))
		return api_fail(req, ERR_BAD_REQUEST, "the patch does not leave an object");
	if (api_normalize_patched(req, type, &patched) != STEP_NEXT)
		return STEP_FAIL;
	return api_take_view(req, patched);
}

/* `status` counts where it is no subresource. */
static bool spec_changed(const struct json *old, const struct json *new, bool with_status)
{
	JSON_MEMBERS (m, new) {
		if (str_eqc(m->key, "metadata") || (!with_status && str_eqc(m->key, "status")))
			continue;
		if (!json_equal(m->value, json_get(old, m->key)))
			return true;
	}
	JSON_MEMBERS (m, old)
		if (!str_eqc(m->key, "metadata") && (with_status || !str_eqc(m->key, "status")) && !json_get(new, m->key))
			return true;
	return false;
}

static bool annotations_count(const struct api_request *req)
{
	return req->strat->counts_annotations && !req->subres && !json_equal(json_getp(req->old, "metadata.annotations"),
							  json_getp(req->obj, "metadata.annotations"));
}

/* The last finalizer of an object that is being deleted is gone: this update removes it. */
static bool ends_deletion(struct api_request *req)
{
	const struct json *meta = json_getc(req->obj, "metadata");

	return json_getc(meta, "deletionTimestamp") && json_len(json_getc(meta, "finalizers")) == 0 &&
	       json_i64_or(json_getc(meta, "deletionGracePeriodSeconds"), 0) == 0 &&
	       !(req->strat->held && req->strat->held(req->obj));
}

enum step_result api__prepare_update(struct api_request *req)
{
	struct json *meta = api_meta(&req->arena, req->obj);
	struct err e = ERR_INIT;
	enum step_result r;

	api_txn_new(req);
	api__keep_old(req, meta);
	if (req->strat->prepare_update) {
		r = req->strat->prepare_update(req);
		if (r != STEP_NEXT)
			return r;
	}
	if (!webhooks_begun(req)) {
		defaults_apply(&req->arena, resource_type(req->res), req->obj);
		managed_track(req);
	}
	r = api__complete(req);
	if (r != STEP_NEXT)
		return r;
	meta = api_meta(&req->arena, req->obj);
	managed_keep_times(req);
	if (!req->strat->no_generation && (spec_changed(req->old, req->obj, req->strat->no_status) || annotations_count(req)))
		json_setc(&req->arena, meta, "generation",
				json_new_int(&req->arena, json_i64_or(json_getc(meta, "generation"), 0) + 1));
	if (ends_deletion(req)) {
		req->fully_deleted = true;
		if (api_dom_encode(&req->arena, resource_type(req->res), req->obj, &req->new_bytes, &e) < 0)
			return api_fail_err(req, &e);
		if (req->strat->released && (r = req->strat->released(req)) != STEP_NEXT)
			return r;
		r = admission_run(req, ADMIT_REMOVE, ADMIT_VALIDATE);
		if (r != STEP_NEXT)
			return r;
		txn_if_mod(req->txn, req->key, req->old_rv);
		txn_delete(req->txn, req->key);
		return STEP_NEXT;
	}
	return api_txn_put_object(req);
}

#include "orchestrator/apiserver/write.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/managed.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/txn.h"
#include "orchestrator/apiserver/webhooks.h"
#include "proto/codec.h"
#include "proto/custom.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/patch.h"
#include "proto/resource.h"
#include "proto/validate.h"
#include "store/store.h"
#include "store/view.h"

/* A name made from generateName keeps this many bytes of the prefix, and gets five more. */
#define GENERATED_PREFIX_MAX 58
#define GENERATED_SUFFIX 5
/* For so long a request outlives lost leaders; then the client is told that the outcome is unknown. */
#define UNKNOWN_RETRY_NS (8ull * 1000000000)

/* --- Loading ------------------------------------------------------------------------------------------- */

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
	r = api_lookup(req, "", "namespaces", STR_NULL, ns, &raw, &rv);
	if (r != STEP_NEXT)
		return r;
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
	req->parent_key = storage_key(&req->arena, resource_find("", "v1", "namespaces"), STR_NULL, ns);
	req->parent_rv = rv;
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

/* --- Metadata that the server owns -------------------------------------------------------------------------- */

static enum step_result check_identity(struct api_request *req, struct json *obj)
{
	struct json *meta = api_meta(&req->arena, obj);
	struct str name = json_str(json_getc(meta, "name")), ns = json_str(json_getc(meta, "namespace"));

	if (req->res->namespaced) {
		if (ns.n > 0 && !str_eq(ns, req->at.ns))
			return api_fail(req, ERR_BAD_REQUEST,
					"the namespace of the provided object does not match the namespace sent on the "
					"request");
		json_setc(&req->arena, meta, "namespace", json_new_str(&req->arena, req->at.ns));
	} else {
		json_delc(meta, "namespace");
	}
	if (req->at.verb != API_CREATE && req->at.name.n > 0) {
		/* Whoever replaces an object says which one he means; a forgotten name in the path would take another's place. */
		if (name.n == 0 && !req->local && (req->at.verb == API_UPDATE || !req->old))
			return api_fail(req, ERR_BAD_REQUEST,
					"the name of the object (%.*s based on URL) was undeterminable: name must be provided",
					STR_FMT(req->at.name));
		if (name.n > 0 && !str_eq(name, req->at.name))
			return api_fail(req, ERR_BAD_REQUEST,
					"the name of the object (%.*s) does not match the name on the URL (%.*s)",
					STR_FMT(name), STR_FMT(req->at.name));
		json_setc(&req->arena, meta, "name", json_new_str(&req->arena, req->at.name));
	}
	return STEP_NEXT;
}

static void generate_name(struct api_request *req, struct json *meta)
{
	struct str prefix = json_str(json_getc(meta, "generateName"));
	char suffix[GENERATED_SUFFIX + 1];

	random_suffix(suffix, GENERATED_SUFFIX);
	prefix = str_sub(prefix, 0, MIN(prefix.n, GENERATED_PREFIX_MAX));
	json_setc(&req->arena, meta, "name", json_newf(&req->arena, "%.*s%s", STR_FMT(prefix), suffix));
}

static void stamp_new(struct api_request *req, struct json *meta)
{
	static const char *const owned[] = {"selfLink", "resourceVersion", "deletionTimestamp",
			"deletionGracePeriodSeconds", "generation"};

	for (size_t i = 0; i < ARRAY_LEN(owned); i++)
		json_delc(meta, owned[i]);
	if (!req->uid[0])
		random_uuid(req->uid);
	json_setc(&req->arena, meta, "uid", json_newc(&req->arena, req->uid));
	json_setc(&req->arena, meta, "creationTimestamp", api_now(&req->arena));
	if (!req->strat->no_generation && !req->strat->late_generation)
		json_setc(&req->arena, meta, "generation", json_new_int(&req->arena, 1));
}

static void keep_old(struct api_request *req, struct json *meta)
{
	static const char *const owned[] = {"uid", "creationTimestamp", "deletionTimestamp", "generateName",
			"deletionGracePeriodSeconds", "generation"};
	const struct json *old = json_getc(req->old, "metadata");

	for (size_t i = 0; i < ARRAY_LEN(owned); i++) {
		struct json *v = json_getc(old, owned[i]);

		/* Another uid is not overlooked: validation tells that it cannot be. */
		if (i == 0 && json_str(json_getc(meta, owned[i])).n > 0)
			continue;
		if (json_is_null(v))
			json_delc(meta, owned[i]);
		else
			json_setc(&req->arena, meta, owned[i], v);
	}
	json_delc(meta, "selfLink");
	json_delc(meta, "resourceVersion");
}

/* Only the subresource changes it. */
static void keep_status(struct api_request *req, struct json *obj)
{
	struct json *status = json_getc(req->old, "status");

	if (status)
		json_setc(&req->arena, obj, "status", status);
	else
		json_delc(obj, "status");
}

/* --- Create ------------------------------------------------------------------------------------------------ */

static enum step_result invalid(struct api_request *req, struct field_errs *errs)
{
	return errs->n == 0 ? STEP_NEXT : api_fail_invalid(req, errs);
}

/* metav1.CauseType of each kind of error, by enum field_err_type. */
static const char *cause_reason(enum field_err_type t)
{
	static const char *const names[] = {
			[FIELD_NOT_FOUND] = "FieldValueNotFound",
			[FIELD_REQUIRED] = "FieldValueRequired",
			[FIELD_DUPLICATE] = "FieldValueDuplicate",
			[FIELD_INVALID] = "FieldValueInvalid",
			[FIELD_NOT_SUPPORTED] = "FieldValueNotSupported",
			[FIELD_FORBIDDEN] = "FieldValueForbidden",
			[FIELD_TOO_LONG] = "FieldValueTooLong",
			[FIELD_TOO_MANY] = "FieldValueTooMany",
			[FIELD_INTERNAL] = "InternalError",
			[FIELD_TYPE_INVALID] = "FieldValueTypeInvalid",
	};

	return names[t];
}

enum step_result api_fail_invalid_as(struct api_request *req, const char *group, const char *kind, struct field_errs *errs)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct str name = api_name(req->obj);

	req->fail.causes = arena_new_array(&req->arena, struct api_cause, errs->n);
	req->fail.n_causes = errs->n;
	for (size_t i = 0; i < errs->n; i++) {
		req->fail.causes[i].reason = str_from(cause_reason(errs->items[i].type));
		req->fail.causes[i].field = errs->items[i].field;
		req->fail.causes[i].message = errs->items[i].message;
	}
	field_errs_print(&text, errs);
	if (name.n == 0)
		name = json_strp(req->obj, "metadata.generateName");
	api_fail(req, ERR_INVALID, "%s%s%s \"%.*s\" is invalid: %.*s", kind, group[0] ? "." : "", group, STR_FMT(name), STR_FMT(buf_str(&text)));
	req->fail.has_details = true;
	req->fail.name = arena_str(&req->arena, name);
	req->fail.group = str_from(group);
	req->fail.kind = str_from(kind);
	return STEP_FAIL;
}

enum step_result api_fail_invalid(struct api_request *req, struct field_errs *errs)
{
	return api_fail_invalid_as(req, req->res->group, req->res->kind, errs);
}

/* What a webhook made of the object becomes the object, as if the client had sent it: the server's fields are the server's. */
static enum step_result take_mutated(struct api_request *req, struct json *view)
{
	struct str name = api_name(req->obj);
	enum step_result r = STEP_NEXT;
	struct json *meta;

	api_txn_new(req);
	if (req->subres && req->subres->from_view)
		r = req->subres->from_view(req, view);
	else
		req->obj = view;
	if (r == STEP_NEXT)
		r = check_identity(req, req->obj);
	if (r != STEP_NEXT)
		return r;
	meta = api_meta(&req->arena, req->obj);
	json_setc(&req->arena, meta, "name", json_new_str(&req->arena, name));
	if (!req->old) {
		stamp_new(req, meta);
		if (!req->strat->no_status)
			json_delc(req->obj, "status");
		return req->strat->prepare_create ? req->strat->prepare_create(req) : STEP_NEXT;
	}
	if (!req->subres && !req->strat->no_status)
		keep_status(req, req->obj);
	json_delc(meta, "uid");
	keep_old(req, meta);
	return req->strat->prepare_update ? req->strat->prepare_update(req) : STEP_NEXT;
}

/* Defaults and all that may change the object; once more after each change by a webhook. */
static enum step_result mutate(struct api_request *req)
{
	struct json *view = NULL;
	enum step_result r;

	do {
		r = view ? take_mutated(req, view) : STEP_NEXT;
		if (r != STEP_NEXT)
			return r;
		defaults_apply(&req->arena, resource_type(req->res), req->obj);
		r = admission_run(req, admission_op_of(req), ADMIT_MUTATE);
		if (r == STEP_NEXT && req->strat->admit)
			r = req->strat->admit(req);
		if (r == STEP_NEXT)
			r = admission_mutate(req, admission_op_of(req), &view);
	} while (r == STEP_NEXT && view);
	return r;
}

/* Defaults, admission, validation: the same for new and changed objects. */
static enum step_result complete(struct api_request *req)
{
	struct field_errs errs, warnings;
	enum step_result r = mutate(req);

	if (r != STEP_NEXT)
		return r;
	field_errs_init(&errs, &req->arena);
	field_errs_init(&warnings, &req->arena);
	errs.warnings = &warnings;
	validate_object(req->res, arena_cstr(&req->arena, req->at.sub), req->obj, req->old, &errs);
	for (size_t i = 0; i < warnings.n; i++) {
		struct str field = warnings.items[i].field;
		bool whole = str_eqc(field, "<nil>");

		api_warn(req, "%.*s%s%.*s", STR_FMT(whole ? STR("") : field), whole ? "" : ": ", STR_FMT(warnings.items[i].message));
	}
	r = invalid(req, &errs);
	if (r == STEP_NEXT && req->strat->check)
		r = req->strat->check(req);
	if (r == STEP_NEXT)
		r = admission_validate(req, admission_op_of(req));
	return r == STEP_NEXT ? admission_run(req, admission_op_of(req), ADMIT_VALIDATE) : r;
}

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

	if (storage_exists(req->srv->store, req->key, &e) < 0)
		return e.code == ERR_NOT_FOUND ? STEP_NEXT : api_fail_err(req, &e);
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
	r = check_identity(req, req->obj);
	if (r != STEP_NEXT)
		return r;
	if (json_str(json_getc(meta, "resourceVersion")).n > 0)
		return api_fail(req, ERR_BAD_REQUEST, "resourceVersion should not be set on objects to be created");
	stamp_new(req, meta);
	if (json_str(json_getc(meta, "name")).n == 0) {
		if (json_str(json_getc(meta, "generateName")).n == 0)
			return name_required(req);
		generate_name(req, meta);
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
	r = complete(req);
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
		r = check_identity(req, view);
	if (r != STEP_NEXT)
		return r;
	if (req->subres && req->subres->from_view)
		return req->subres->from_view(req, view);
	req->obj = view;
	if (!req->strat->no_status)
		keep_status(req, view);
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
	keep_old(req, meta);
	if (req->strat->prepare_update) {
		r = req->strat->prepare_update(req);
		if (r != STEP_NEXT)
			return r;
	}
	if (!webhooks_begun(req)) {
		defaults_apply(&req->arena, resource_type(req->res), req->obj);
		managed_track(req);
	}
	r = complete(req);
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

/* --- Committing ------------------------------------------------------------------------------------------------ */

static void txn_gone(void *t)
{
	txn_fini(t);
}

struct api_txn *api_txn_new(struct api_request *req)
{
	if (req->txn) {
		txn_reset(req->txn);
		return req->txn;
	}
	req->txn = arena_new_of(&req->arena, struct api_txn);
	txn_init(req->txn);
	arena_on_free(&req->arena, txn_gone, req->txn);
	return req->txn;
}

/* Longer than what stands around an object in the store. */
#define WRAPPING 256

static enum step_result put_object(struct api_request *req)
{
	_cleanup_(buf_fini) struct buf value = BUF_INIT;
	struct err e = ERR_INIT;
	struct str stored;

	if (storage_encode(&req->arena, req->res, convert_conversions(req), &req->obj, &req->new_bytes, &stored, &e) < 0)
		return api_fail_unread(req, &e);
	buf_reserve(&value, stored.n + WRAPPING);
	if (req->res->custom)
		buf_adds(&value, stored);
	else
		codec_wrap(&value, resource_storage(req->res)->api_version, req->res->kind, stored);
	/* Who wrote what is worth less than the object. */
	if (value.n > API_MAX_BODY / 2 && json_delp(req->obj, "metadata.managedFields"))
		return put_object(req);
	if (crypt_seal(resource_storage(req->res), req->key, &value, &e) < 0)
		return api_fail_err(req, &e);
	if (value.n > API_MAX_BODY / 2)
		return api_fail(req, ERR_TOO_LARGE, "Request entity too large: the object has %zu bytes, the limit is %u",
				value.n, API_MAX_BODY / 2);
	txn_if_mod(req->txn, req->key, req->old_rv);
	txn_put(req->txn, req->key, buf_str(&value), req->lease);
	return STEP_NEXT;
}

/* Who has to ask a webhook for the stored form does so when the object is made, so that it is made once (commit). */
enum step_result api_txn_put_object(struct api_request *req)
{
	req->encode_later = req->conv != NULL;
	return req->conv ? STEP_NEXT : put_object(req);
}

static void proposed(struct kv_req *kvr)
{
	struct api_request *req = container_of(kvr, struct api_request, kvr);

	req->pending--;
	req->commit_done = true;
	api_wait_over(req);
}

static enum step_result commit_failed(struct api_request *req)
{
	struct err e = req->kvr.err;

	if ((e.code == ERR_UNAVAILABLE || e.code == ERR_TIMEOUT) &&
			clock_mono_ns() - req->started_ns < UNKNOWN_RETRY_NS) {
		req->unknown = true;
		req->fresh = false;
		req->n_tries++;
		return STEP_RETRY;
	}
	if (e.code == ERR_TIMEOUT)
		return api_fail(req, ERR_TIMEOUT,
				"Timeout: request did not complete within the allotted timeout; whether it took effect is "
				"unknown");
	if (e.code == ERR_UNAVAILABLE || e.code == ERR_NOT_LEADER || e.code == ERR_CANCELED) {
		api_fail(req, ERR_UNAVAILABLE, "the server is currently unable to handle the request (%s)", e.text);
		req->fail.retry_after_s = 1;
		return STEP_FAIL;
	}
	if (e.code == ERR_TOO_MANY)
		req->fail.retry_after_s = 1;
	return api_fail_err(req, &e);
}

static bool stored_as_other_version(struct api_request *req, const struct store_kv *kv)
{
	struct str plain;

	return req->res->custom && crypt_open(&req->arena, kv->key, kv->value, &plain) && custom_is_stale(req->res->custom, plain);
}

/* Nothing changes but how it is stored: a write of the same is how an old key or an old version is got rid of. */
static bool is_stale(struct api_request *req)
{
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	bool stale = false;

	if (store_view_open(req->srv->store, &v, &e) < 0)
		return false;
	if (view_get(v, req->key, 0, &kv, &e) == 0)
		stale = crypt_is_stale(resource_storage(req->res), kv.value) || stored_as_other_version(req, &kv);
	store_view_close(v);
	return stale;
}

static bool unchanged(struct api_request *req)
{
	return req->opt.dry_run || (req->old && !req->fully_deleted && str_eq(req->old_bytes, req->new_bytes) && req->txn->n_ops <= 1 &&
						   !is_stale(req));
}

enum step_result api__commit(struct api_request *req)
{
	if (req->encode_later) {
		enum step_result r = put_object(req);

		if (r != STEP_NEXT)
			return r;
		req->encode_later = false;
	}
	if (!req->commit_done && unchanged(req)) {
		/* Nothing changes: the stored version is the answer. */
		req->new_rv = req->old_rv;
		return STEP_NEXT;
	}
	if (!req->commit_done) {
		buf_clear(&req->command);
		txn_command(req->txn, &req->command);
		req->kvr.command = buf_str(&req->command);
		req->kvr.timeout_ms = 0;
		req->kvr.done = proposed;
		err_clear(&req->kvr.err);
		req->pending++;
		kv_propose(req->srv->kv, &req->kvr);
		return STEP_WAIT;
	}
	req->commit_done = false;
	if (req->kvr.err.code)
		return commit_failed(req);
	if (txn_succeeded(str_of(req->kvr.response, req->kvr.response_size))) {
		api_count(req->srv, COUNT_writes);
		req->new_rv = txn_revision(str_of(req->kvr.response, req->kvr.response_size));
		return STEP_NEXT;
	}
	free(TAKE(req->kvr.response));
	api_count(req->srv, COUNT_conflicts);
	req->fresh = false;
	if (++req->n_tries > (req->contended ? API_MAX_TRIES_CONTENDED : API_MAX_TRIES))
		return api_fail_conflict(req, req->res, api_name(req->obj), "it is being changed by many clients at once");
	return STEP_RETRY;
}

enum step_result api__encode_written(struct api_request *req)
{
	int status = req->ok_status ? req->ok_status : req->at.verb == API_CREATE ? 201 : 200;

	if (req->subres && req->subres->to_view) {
		struct json *view = req->subres->to_view(req, req->obj);

		if (req->new_rv != 0)
			json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
					json_newf(&req->arena, "%" PRIu64, req->new_rv));
		return api_answer_dom(req, status, api_view_type(req), view);
	}
	return api_answer_stored(req, status, req->new_bytes, req->new_rv);
}

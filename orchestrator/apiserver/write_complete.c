/*
 * From what the client wants to what may be stored; the same for new and for changed objects.
 *
 *	defaults > built-in admission > the kind's own > webhooks and policies that change it   (again, while they do)
 *	         > validation > the kind's own checks > webhooks and policies that refuse > built-in admission that refuses, such as quotas
 *
 * Everything that may change the object comes before anything that judges it. Validation finds all that is wrong, and its list becomes one
 * 422 with a cause for each; what is only unwise becomes warnings. Each part may wait (webhooks do): the step is then run again from
 * its beginning, and the parts that are done know it.
 */
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategy.h"
#include "orchestrator/apiserver/write.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/resource.h"
#include "proto/validate.h"

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
		r = api__check_identity(req, req->obj);
	if (r != STEP_NEXT)
		return r;
	meta = api_meta(&req->arena, req->obj);
	json_setc(&req->arena, meta, "name", json_new_str(&req->arena, name));
	if (!req->old) {
		api__stamp_new(req, meta);
		if (!req->strat->no_status)
			json_delc(req->obj, "status");
		return req->strat->prepare_create ? req->strat->prepare_create(req) : STEP_NEXT;
	}
	if (!req->subres && !req->strat->no_status)
		api__keep_status(req, req->obj);
	json_delc(meta, "uid");
	api__keep_old(req, meta);
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
enum step_result api__complete(struct api_request *req)
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

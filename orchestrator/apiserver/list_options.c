/* The options of lists, watches and writes that are wrong or do not go together, in upstream's words. */
#include "base/util.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"

static const struct field_path match_path = {.name = STR_INIT("resourceVersionMatch")};

static void match_is(struct field_errs *errs, struct str match, const char *const *allowed)
{
	for (size_t i = 0; allowed[i]; i++)
		if (str_eqc(match, allowed[i]))
			return;
	field_not_supported(errs, &match_path, match, allowed);
}

static void check_list(const struct api_options *o, struct field_errs *errs)
{
	static const char *const allowed[] = {"Exact", "NotOlderThan", "", NULL};
	struct field_path send = field_child(NULL, "sendInitialEvents");
	struct str match = o->resource_version_match;

	if (match.n > 0 && o->resource_version.n == 0)
		field_forbidden(errs, &match_path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (match.n > 0 && o->continue_token.n > 0)
		field_forbidden(errs, &match_path, "resourceVersionMatch is forbidden when continue is provided");
	match_is(errs, match, allowed);
	if (str_eqc(match, "Exact") && str_eqc(o->resource_version, "0"))
		field_forbidden(errs, &match_path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	if (o->send_initial_events_set)
		field_forbidden(errs, &send, "sendInitialEvents is forbidden for list");
}

static void check_watch(const struct api_options *o, struct field_errs *errs)
{
	static const char *const allowed[] = {"NotOlderThan", NULL};
	struct str match = o->resource_version_match;

	if (o->send_initial_events_set && !str_eqc(match, "NotOlderThan"))
		field_forbidden(errs, &match_path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (match.n == 0)
		return;
	if (!o->send_initial_events_set)
		field_forbidden(errs, &match_path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	match_is(errs, match, allowed);
	if (o->continue_token.n > 0)
		field_forbidden(errs, &match_path, "resourceVersionMatch is forbidden when continue is provided");
}

static enum step_result bad_options(struct api_request *req, const char *kind, struct field_errs *errs)
{
	return api_fail_invalid_as(req, "meta.k8s.io", kind, errs);
}

enum step_result api_list_options_check(struct api_request *req)
{
	struct field_errs errs;

	field_errs_init(&errs, &req->arena);
	if (req->at.verb == API_WATCH)
		check_watch(&req->opt, &errs);
	else
		check_list(&req->opt, &errs);
	return errs.n == 0 ? STEP_NEXT : bad_options(req, "ListOptions", &errs);
}

static void bad_dry_run(struct field_errs *errs, struct str value)
{
	struct field_path path = field_child(NULL, "dryRun");

	field_err_add(errs, &path, FIELD_NOT_SUPPORTED, "Unsupported value: []string{\"%.*s\"}: supported values: \"All\"", STR_FMT(value));
}

enum step_result api_write_options_check(struct api_request *req)
{
	static const char *const kinds[] = {[API_CREATE] = "CreateOptions", [API_UPDATE] = "UpdateOptions", [API_PATCH] = "PatchOptions",
			[API_DELETE] = "DeleteOptions", [API_DELETE_COLLECTION] = "DeleteOptions"};
	static const char *const validations[] = {"", "Ignore", "Strict", "Warn", NULL};
	struct field_path path = field_child(NULL, "fieldValidation");
	const char *kind = req->at.verb < ARRAY_LEN(kinds) ? kinds[req->at.verb] : NULL;
	struct field_errs errs;

	if (!kind || !req->at.is_resource)
		return STEP_NEXT;
	field_errs_init(&errs, &req->arena);
	if (req->opt.bad_dry_run.n > 0)
		bad_dry_run(&errs, req->opt.bad_dry_run);
	if (req->opt.bad_field_validation.n > 0 && req->at.verb < API_DELETE)
		field_not_supported(&errs, &path, req->opt.bad_field_validation, validations);
	return errs.n == 0 ? STEP_NEXT : bad_options(req, kind, &errs);
}

enum step_result api_delete_options_check(struct api_request *req, const struct json *options)
{
	static const char *const policies[] = {"Foreground", "Background", "Orphan", "nil", NULL};
	struct field_path path = field_child(NULL, "propagationPolicy");
	struct str policy = json_str(json_getc(options, "propagationPolicy"));
	struct field_errs errs;

	field_errs_init(&errs, &req->arena);
	JSON_ITEMS (it, json_getc(options, "dryRun"))
		if (!json_eqc(it, "All") && errs.n == 0)
			bad_dry_run(&errs, json_str(it));
	if (policy.n > 0 && json_getc(options, "orphanDependents"))
		field_invalid_str(&errs, &path, policy, "orphanDependents and deletionPropagation cannot be both set");
	else if (policy.n > 0 && !str_eqc(policy, "Orphan") && !str_eqc(policy, "Background") && !str_eqc(policy, "Foreground"))
		field_not_supported(&errs, &path, policy, policies);
	return errs.n == 0 ? STEP_NEXT : bad_options(req, "DeleteOptions", &errs);
}

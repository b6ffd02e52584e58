/* The options of lists and watches that do not go together, in upstream's words. */
#include "orchestrator/apiserver/read.h"
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

enum step_result api_list_options_check(struct api_request *req)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct field_errs errs;

	field_errs_init(&errs, &req->arena);
	if (req->at.verb == API_WATCH)
		check_watch(&req->opt, &errs);
	else
		check_list(&req->opt, &errs);
	if (errs.n == 0)
		return STEP_NEXT;
	field_errs_print(&text, &errs);
	req->fail.has_details = true;
	req->fail.group = STR("meta.k8s.io");
	req->fail.kind = STR("ListOptions");
	return api_fail(req, ERR_INVALID, "ListOptions.meta.k8s.io \"\" is invalid: %.*s", STR_FMT(buf_str(&text)));
}

#include "orchestrator/apiserver/read.h"

#include <inttypes.h>

#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/resource.h"
#include "store/store.h"

enum step_result api_fail_unread(struct api_request *req, const struct err *e)
{
	return e->code == ERR_PENDING ? api_convert(req) : api_fail_err(req, e);
}

/*
 * Upstream says no to such a list before anything else, and as a bad request; of one object and of a watch its storage finds out, and that
 * error has neither a status nor a reason of its own.
 */
enum step_result api_fail_no_version(struct api_request *req)
{
	struct str rv = req->opt.resource_version;
	bool list = req->at.verb == API_LIST || req->at.verb == API_DELETE_COLLECTION, digits = true;

	for (size_t i = 0; i < rv.n; i++)
		digits &= rv.p[i] >= '0' && rv.p[i] <= '9';
	if (!list)
		req->fail.reason = "";
	return api_fail(req, list ? ERR_BAD_REQUEST : ERR_INTERNAL,
			"%sresourceVersion: Invalid value: \"%.*s\": strconv.ParseUint: parsing \"%.*s\": %s",
			list ? "invalid resource version: " : "", STR_FMT(rv), STR_FMT(rv), digits ? "value out of range" : "invalid syntax");
}

/* Without a resourceVersion reads are linearizable; "0" takes what is here; N waits until N is here. */
enum step_result api__read_point(struct api_request *req)
{
	struct str rv = req->opt.resource_version;
	uint64_t n = 0;

	if (req->at.verb == API_LIST && api_list_options_check(req) != STEP_NEXT)
		return STEP_FAIL;
	if (req->opt.continue_token.n > 0 || str_eqc(rv, "0"))
		return STEP_NEXT;
	if (rv.n > 0 && !str_to_u64(rv, &n))
		return api_fail_no_version(req);
	if (n > 0 && (uint64_t)store_revision(req->srv->store) >= n)
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	if (n > 0 && (uint64_t)store_revision(req->srv->store) < n)
		return api_fail_too_new(req, n);
	return STEP_NEXT;
}

enum step_result api_fail_too_new(struct api_request *req, uint64_t asked)
{
	struct api_cause *cause = arena_new_of(&req->arena, struct api_cause);

	cause->reason = STR("ResourceVersionTooLarge");
	cause->message = STR("Too large resource version");
	cause->field = STR("");
	api_fail(req, ERR_TIMEOUT, "Timeout: Too large resource version: %" PRIu64 ", current: %" PRId64, asked,
			store_revision(req->srv->store));
	req->fail.causes = cause;
	req->fail.n_causes = 1;
	req->fail.has_details = true;
	req->fail.retry_after_s = 1;
	return STEP_FAIL;
}

/* One object is no list and a list not one object, and neither is made of the other. */
enum step_result api__wrong_form(struct api_request *req, const char *asked, const char *is, const char *suffix)
{
	struct str group, rest;

	str_cut(str_from(req->res->group[0] ? req->res->group : "core"), '.', &group, &rest);
	return api_fail(req, ERR_NOT_ACCEPTABLE, "you requested %s, but the requested object is %s list (*%.*s.%s%s)", asked, is,
			STR_FMT(group), req->res->kind, suffix);
}

enum step_result api__get(struct api_request *req)
{
	struct str key = storage_key(&req->arena, req->res, req->at.ns, req->at.name), raw;
	struct err e = ERR_INIT;
	uint64_t rv;

	if (req->accept.as == AS_PARTIAL_LIST)
		return api__wrong_form(req, "PartialObjectMetadataList", "not a", "");
	if (storage_load_as(req->srv->store, req->barrier.index, &req->arena, req->res, key, convert_conversions(req), &raw, &rv, &e) < 0)
		return e.code == ERR_NOT_FOUND ? api_fail_not_found(req, req->res, req->at.name) : api_fail_unread(req, &e);
	if (req->subres && req->subres->to_view) {
		struct json *obj, *view;

		if (api_dom_of(&req->arena, req->res, raw, &obj, &e) < 0)
			return api_fail_err(req, &e);
		view = req->subres->to_view(req, obj);
		json_setc(&req->arena, api_meta(&req->arena, view), "resourceVersion",
				json_newf(&req->arena, "%" PRIu64, rv));
		return api_answer_dom(req, 200, api_view_type(req), view);
	}
	return api_answer_stored(req, 200, raw, rv);
}

/* LimitRanger: defaults and bounds for what pods and claims ask for, by the LimitRanges of their namespace (limits.h decides). */
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/limits.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/json.h"
#include "proto/resource.h"

static enum step_result ranges(struct api_request *req, struct admission_list *ret)
{
	return admission_objects(req, resource_find("", "v1", "limitranges"), req->at.ns, ret);
}

enum step_result admit_limits(struct api_request *req)
{
	struct admission_list list;

	if (ranges(req, &list) != STEP_NEXT)
		return STEP_FAIL;
	for (size_t i = 0; i < list.n; i++)
		limits_default_pod(&req->arena, list.v[i], req->obj);
	return STEP_NEXT;
}

enum step_result admit_limits_check(struct api_request *req)
{
	struct admission_list list;

	/* What it asks for has not changed, so it may go on being what it is. */
	if (req->old &&
			json_equal(json_getc(req->old, "spec"), json_getc(req->obj, "spec")))
		return STEP_NEXT;
	if (ranges(req, &list) != STEP_NEXT)
		return STEP_FAIL;
	for (size_t i = 0; i < list.n; i++) {
		struct str why = str_eqc(str_from(req->res->plural), "pods") ?
						 limits_check_pod(&req->arena, list.v[i], req->obj) :
						 limits_check_claim(&req->arena, list.v[i], req->obj);

		if (why.n > 0)
			return api_fail_forbidden(req, req->res, api_name(req->obj), "%.*s", STR_FMT(why));
	}
	return STEP_NEXT;
}

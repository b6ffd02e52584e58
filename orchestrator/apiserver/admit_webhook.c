/*
 * What of admission's extensions is not understood here is refused when it is written, not passed over when it matters: match
 * conditions and policies (both are CEL).
 */
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"

enum step_result admit_webhook_config(struct api_request *req)
{
	struct field_path all = field_child(NULL, "webhooks");
	struct field_errs errs;
	size_t i = 0;

	field_errs_init(&errs, &req->arena);
	JSON_ITEMS (h, json_getc(req->obj, "webhooks")) {
		struct field_path at = field_index(&all, i++), conditions = field_child(&at, "matchConditions");

		if (json_len(json_getc(h, "matchConditions")) > 0)
			field_forbidden(&errs, &conditions, "match conditions (CEL) are not supported by this server");
	}
	return errs.n > 0 ? api_fail_invalid(req, &errs) : STEP_NEXT;
}

enum step_result admit_cel_policy(struct api_request *req)
{
	return api_fail_forbidden(req, req->res, api_name(req->obj),
			"this server does not evaluate CEL, so the policy would not be enforced; use an admission webhook");
}

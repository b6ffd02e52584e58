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

enum step_result admit_cel_policy(struct api_request *req)
{
	return api_fail_forbidden(req, req->res, api_name(req->obj),
			"this server does not evaluate CEL, so the policy would not be enforced; use an admission webhook");
}

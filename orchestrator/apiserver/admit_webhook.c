/*
 * What of admission's extensions is not understood here is refused when it is written, not passed over when it matters: match
 * conditions and policies (both are CEL), and rules about requests that no webhook is asked about.
 */
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/json.h"

/* What is done without asking: the programs of their own that some kinds and subresources have. */
static bool never_asked(struct str resource)
{
	static const char *const names[] = {"bindings", "pods/binding", "pods/eviction", "serviceaccounts/token", "tokenreviews",
			"subjectaccessreviews", "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews",
			"selfsubjectreviews"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqc(resource, names[i]))
			return true;
	return false;
}

static void check_rule(struct field_errs *errs, const struct field_path *at, const struct json *r)
{
	struct field_path ops = field_child(at, "operations"), path = field_child(at, "resources");

	if (api_has_string(json_getc(r, "operations"), "CONNECT"))
		field_forbidden(errs, &ops, "this server asks no webhook about the operation CONNECT");
	JSON_ITEMS (res, json_getc(r, "resources"))
		if (never_asked(json_str(res)))
			field_forbidden(errs, &path, "this server asks no webhook about %.*s", STR_FMT(json_str(res)));
}

enum step_result admit_webhook_config(struct api_request *req)
{
	struct field_path all = field_child(NULL, "webhooks");
	struct field_errs errs;
	size_t i = 0;

	field_errs_init(&errs, &req->arena);
	JSON_ITEMS (h, json_getc(req->obj, "webhooks")) {
		struct field_path at = field_index(&all, i++), conditions = field_child(&at, "matchConditions"),
				  rules = field_child(&at, "rules");
		size_t k = 0;

		if (json_len(json_getc(h, "matchConditions")) > 0)
			field_forbidden(&errs, &conditions, "match conditions (CEL) are not supported by this server");
		JSON_ITEMS (r, json_getc(h, "rules")) {
			struct field_path rule = field_index(&rules, k++);

			check_rule(&errs, &rule, r);
		}
	}
	return errs.n > 0 ? api_fail_invalid(req, &errs) : STEP_NEXT;
}

enum step_result admit_cel_policy(struct api_request *req)
{
	return api_fail_forbidden(req, req->res, api_name(req->obj),
			"this server does not evaluate CEL, so the policy would not be enforced; use an admission webhook");
}

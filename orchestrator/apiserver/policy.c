#include "orchestrator/apiserver/policy.h"

#include "orchestrator/apiserver/objects.h"

void policy_compile(struct arena *a, const struct json *doc, struct policy *p)
{
	*p = (struct policy){0};
	admission_policy_compile(a, doc, NULL, &p->cel);
	webhook_match_compile(a, json_getp(doc, "spec.matchConstraints"), &p->match);
}

void policy_binding_compile(struct arena *a, const struct json *doc, struct policy_binding *b)
{
	const struct json *spec = json_getc(doc, "spec"), *ref = json_getc(spec, "paramRef"), *sel = json_getc(ref, "selector"),
			  *actions = json_getc(spec, "validationActions");

	*b = (struct policy_binding){.name = api_name(doc),
			.policy = json_str(json_getc(spec, "policyName")),
			.everything = json_is_null(json_getc(spec, "matchResources")),
			.deny = api_has_string(actions, "Deny"),
			.warn = api_has_string(actions, "Warn"),
			.audit = api_has_string(actions, "Audit"),
			.has_params = !json_is_null(ref),
			.by_selector = !json_is_null(sel),
			.deny_missing = json_eqc(json_getc(ref, "parameterNotFoundAction"), "Deny"),
			.param_name = json_str(json_getc(ref, "name")),
			.param_ns = json_str(json_getc(ref, "namespace")),
			.params = SELECTOR_EVERYTHING};
	webhook_match_compile(a, json_getc(spec, "matchResources"), &b->match);
	if (b->by_selector && selector_from_json(a, sel, &b->params, NULL) < 0)
		b->params = SELECTOR_NOTHING;
}

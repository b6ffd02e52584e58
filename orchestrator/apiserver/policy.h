/*
 * Admission policies as this server keeps them: what they say in CEL, whom they concern, and their bindings, by which alone they do
 * anything. Pure; webhook_state.h keeps them, policies.h carries them out.
 */
#ifndef ORCHESTRATOR_APISERVER_POLICY_H
#define ORCHESTRATOR_APISERVER_POLICY_H

#include "orchestrator/apiserver/webhook.h"
#include "proto/admission_policy.h"

struct policy_binding {
	struct str name, policy;
	bool everything; /* that the policy concerns; else `match` */
	struct webhook_match match;
	bool deny, warn, audit;
	/* Which parameters: by name, or those that a selector likes. */
	bool has_params, by_selector, deny_missing;
	struct str param_name, param_ns;
	struct selector params;
};

struct policy {
	struct admission_policy cel;
	struct webhook_match match;
	struct policy_binding *bindings; /* by name */
	size_t n_bindings;
};

void policy_compile(struct arena *, const struct json *policy, struct policy *ret);
void policy_binding_compile(struct arena *, const struct json *binding, struct policy_binding *ret);

#endif

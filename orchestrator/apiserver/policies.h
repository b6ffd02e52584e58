/*
 * Carrying out admission policies (policy.h) about a request. Mutating ones run in front of the mutating webhooks, in order of their
 * names; each sees what those before it made. Validating ones run in front of the validating webhooks. A request that none concerns pays
 * for a look at the loop's index.
 *
 * What is remembered of them in one try of a request stands beside what is remembered of webhooks (struct webhook_run).
 */
#ifndef ORCHESTRATOR_APISERVER_POLICIES_H
#define ORCHESTRATOR_APISERVER_POLICIES_H

#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/policy.h"

struct policy_progress {
	size_t pos; /* the next mutating one */
	bool second; /* only those that want to see what others changed */
	bool mutated, validated;
	bool *ran, *again; /* of each mutating one */
};

/* *ret_view: what the client's view of the object became (call again when it is in place), or NULL: nothing is left to do. */
enum step_result policies_mutate(struct api_request *, enum admission_op, struct json **ret_view);
/* A webhook changed the object behind them. */
void policies_changed(struct api_request *);
/* Some of them want to run once more: policies_mutate does. For webhooks_again. */
bool policies_again(struct api_request *);
enum step_result policies_validate(struct api_request *, enum admission_op);

/*
 * The parameters with which a binding runs its policy: none at all (*ret_n 0: the policy is not run), NULL for "without", or objects.
 * *ret_why: they cannot be had. policy_params.c.
 */
enum step_result policy_params(struct api_request *, const struct policy *, const struct policy_binding *, struct json ***ret, size_t *ret_n,
		struct str *ret_why);

#endif

/* What policies.c and policies_mutate.c share: going through the bindings of a policy. */
#ifndef ORCHESTRATOR_APISERVER_POLICIES_PRIV_H
#define ORCHESTRATOR_APISERVER_POLICIES_PRIV_H

#include "orchestrator/apiserver/admit_cel.h"
#include "orchestrator/apiserver/policies.h"

/* Whom policies are never asked about. */
bool policy__spared(const struct api_request *);

/* Runs `with` for each binding that matches and each object of its parameters. */
struct policy__each {
	struct api_request *req;
	const struct policy *p;
	struct admit_question q;
	struct json *ns;
	void (*unknown)(struct policy__each *, const struct policy_binding *, struct str why);
	void (*with)(struct policy__each *, struct admit_cel *, const struct policy_binding *);
};
/* q.res NULL: the policy does not concern the request. */
enum step_result policy__each_begin(struct policy__each *, enum admission_op);
/* What to say where q.unconverted is set. */
struct str policy__unconverted(const struct policy__each *);
enum step_result policy__each_run(struct policy__each *, enum admission_op);

#endif

/*
 * Expressions of admission (proto/admission_policy.h) about one request: match conditions of webhooks, and all that policies say.
 *
 *	admit_cel_begin(&c, req, &question, &policy, params, namespace, CEL_RUNTIME_COST_BUDGET);
 *	switch (admit_cel_run(&c, &expr, &value, &why)) ...
 *	if (admit_cel_waits(&c)) wait, and begin anew
 *	admit_cel_end(&c);                              values and texts are gone then
 *
 * `authorizer` asks everybody whom requests are asked about (authz.h), webhooks too. An answer that is not there yet ends the run: it is
 * asked for, and whoever runs expressions waits and begins anew, with this answer and those before it at hand. One question a round,
 * as upstream asks one after the other; each costs 350,000 of a budget, so there are few rounds.
 */
#ifndef ORCHESTRATOR_APISERVER_ADMIT_CEL_H
#define ORCHESTRATOR_APISERVER_ADMIT_CEL_H

#include "orchestrator/apiserver/admit_match.h"
#include "proto/admission_policy.h"
#include "proto/cel/cel.h"

struct admit_cel {
	struct api_request *req;
	const struct admit_question *q;
	const struct admission_policy *policy; /* NULL: a webhook's conditions */
	struct arena arena;
	int64_t budget;
	struct cel_var vars[8];
	size_t n_vars;
	struct cel_lazy variables;
	struct cel_value *known; /* of each variable; kind CEL_DYN: not asked for yet */
	struct cel_authorizer authorizer;
	bool waits; /* for an answer of the authorizer: nothing that is said meanwhile counts */
};

void admit_cel_begin(struct admit_cel *, struct api_request *, const struct admit_question *, const struct admission_policy *,
		const struct json *params, const struct json *namespace, int64_t budget);
void admit_cel_end(struct admit_cel *);

enum admit_cel_result {
	ADMIT_CEL_VALUE,
	ADMIT_CEL_FAILED, /* *ret_why */
	ADMIT_CEL_SPENT,  /* the budget: nothing more is to be run */
};
enum admit_cel_result admit_cel_run(struct admit_cel *, const struct admission_expr *, struct cel_value *ret, struct str *ret_why);
/* The object as it has become: variables are asked for anew. */
void admit_cel_object(struct admit_cel *, struct json *obj);
/* The step is run again when the authorizer's answer is there. */
bool admit_cel_waits(const struct admit_cel *);

enum admit_cel_match { ADMIT_CEL_MATCHES, ADMIT_CEL_DOES_NOT, ADMIT_CEL_CANNOT_TELL };
/* One false is enough for a no, whatever fails beside it. ignore: what fails is a no, too. */
enum admit_cel_match admit_cel_conditions(struct admit_cel *, const struct admission_exprs *, bool ignore, struct str *ret_why);

/* The namespace that expressions see: {STEP_NEXT, NULL} where the request has none. */
enum step_result admit_cel_namespace(struct api_request *, struct json **ret);

#endif

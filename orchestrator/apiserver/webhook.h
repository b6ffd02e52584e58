/*
 * Admission webhooks as pure functions: what a configuration says, whom a request concerns, the question (an AdmissionReview) and
 * the reading of its answer. webhook_state.h keeps the configurations, webhooks.h asks.
 */
#ifndef ORCHESTRATOR_APISERVER_WEBHOOK_H
#define ORCHESTRATOR_APISERVER_WEBHOOK_H

#include "base/arena.h"
#include "base/err.h"
#include "orchestrator/apiserver/hook_target.h"
#include "proto/admission_policy.h"
#include "proto/json.h"
#include "proto/selector.h"

struct resource;

enum webhook_op { WEBHOOK_CREATE = 1, WEBHOOK_UPDATE = 2, WEBHOOK_DELETE = 4, WEBHOOK_CONNECT = 8 };

struct webhook_rule {
	unsigned ops; /* enum webhook_op */
	struct str *groups, *versions, *resources;
	size_t n_groups, n_versions, n_resources;
	enum { WEBHOOK_ANY_SCOPE, WEBHOOK_CLUSTER, WEBHOOK_NAMESPACED } scope;
	struct str *names; /* of objects; none: all */
	size_t n_names;
};

/* Whom a webhook or a policy concerns. */
struct webhook_match {
	struct webhook_rule *rules, *excluded;
	size_t n_rules, n_excluded;
	bool no_rules; /* of a policy's binding: what the policy concerns */
	struct selector namespaces, objects;
	bool exact;
};
/* matchConstraints of a policy, matchResources of a binding. */
void webhook_match_compile(struct arena *, const struct json *resources, struct webhook_match *ret);

/* One webhook of a configuration. */
struct webhook {
	struct str config, name;
	struct webhook_match match;
	bool ignore, reinvoke, dry_run;
	struct admission_exprs conditions;
	bool v1beta1;     /* the review's version */
	unsigned timeout_s;
	struct hook_target target;
};

/* Those of a Mutating- or ValidatingWebhookConfiguration in their order. Wrong parts (a stored object has none) match nothing. */
void webhook_compile(struct arena *, const struct json *config, struct webhook **ret, size_t *ret_n);

/* What a request does to what. */
struct webhook_target {
	enum webhook_op op;
	struct str group, version, resource, sub, name;
	bool namespaced; /* in a namespace: not so for the namespaces themselves */
};
bool webhook_rules_match(const struct webhook_match *, const struct webhook_target *);
/* An empty selector likes everything; others want labels that fit, of one of the two. */
bool webhook_objects_match(const struct webhook_match *, const struct json *obj, const struct json *old);
bool webhook_is_everything(const struct selector *);

/* An answer, as far as it says something to us. */
struct webhook_answer {
	bool allowed;
	const struct json *status; /* of a refusal; NULL: none */
	const struct json *patch;  /* operations; NULL: none */
	const struct json *warnings, *annotations;
};
/* False with upstream's words for what is wrong. `uid` is the question's. */
int webhook_answer_read(struct arena *, struct str body, bool v1beta1, bool mutating, struct str uid, struct webhook_answer *ret,
		struct err *);
/* The code and the words of a refusal. */
int webhook_refusal(struct arena *, struct str name, const struct json *status, struct str *ret_message);

#endif

/*
 * AuthorizationConfiguration (apiserver.config.k8s.io/v1): who is asked, in which order, whether a request is allowed. Pure; authz_chain.h
 * opens the webhooks, authz.c asks.
 */
#ifndef ORCHESTRATOR_APISERVER_AUTHZ_CONFIG_H
#define ORCHESTRATOR_APISERVER_AUTHZ_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct cel_program;
struct cel_type;
struct json;

enum authz_kind { AUTHZ_NODE, AUTHZ_RBAC, AUTHZ_WEBHOOK, AUTHZ_ALWAYS_ALLOW, AUTHZ_ALWAYS_DENY };

struct authz_authorizer {
	enum authz_kind kind;
	const char *name;
	/* Of a webhook. */
	const char *kubeconfig;
	uint32_t timeout_ms;
	uint64_t yes_ms, no_ms; /* how long its answers are kept; 0: not at all */
	bool deny_on_failure;   /* else it has no opinion then */
	const struct cel_program **conditions; /* it is asked when all hold */
	const struct cel_type *spec;           /* what they see as `request` */
	size_t n_conditions;
};

struct authz_config {
	struct authz_authorizer *v;
	size_t n;
};

int authz_config_parse(struct arena *, struct str text, struct authz_config *ret, struct err *);

/* What the conditions say of a SubjectAccessReview's spec. */
enum authz_match { AUTHZ_MATCHES, AUTHZ_DOES_NOT, AUTHZ_CANNOT_TELL };
enum authz_match authz_conditions(struct arena *, const struct authz_authorizer *, const struct json *spec, struct str *ret_why);

#endif

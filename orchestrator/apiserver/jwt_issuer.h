/*
 * What is to be made of the tokens of one issuer: whom they name, in which groups, and what must hold before that is believed. Pure:
 * claims in, a user out. It comes from the flags --oidc-*, or from an AuthenticationConfiguration (authn_config.h); oidc.h fetches
 * the keys.
 */
#ifndef ORCHESTRATOR_APISERVER_JWT_ISSUER_H
#define ORCHESTRATOR_APISERVER_JWT_ISSUER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct api_user;
struct cel_env;
struct cel_program;
struct json;
struct oidc_cfg;

/* A claim with something before it, or an expression. Neither: there is none. */
struct jwt_source {
	const char *claim, *prefix;
	const struct cel_program *expr;
};

/* A claim that must have a value, or an expression that must hold. */
struct jwt_rule {
	const char *claim, *value;
	const struct cel_program *expr;
	const char *message; /* NULL: none */
};

struct jwt_extra {
	const char *key;
	const struct cel_program *expr;
};

struct jwt_issuer {
	const char *url;           /* as in the claim iss */
	const char *discovery_url; /* NULL: below url, as usual */
	struct str ca_pem;         /* empty: the system's */
	const char **audiences;    /* a token must be for one of them */
	size_t n_audiences;
	struct jwt_source username, groups, uid;
	struct jwt_extra *extra;
	struct jwt_rule *claim_rules, *user_rules;
	size_t n_extra, n_claim_rules, n_user_rules;
	bool guarded; /* it can name neither users nor groups that begin with system: */
};

/* Environments of its expressions: `claims`; `user`. */
struct cel_env *jwt_claims_env(struct arena *);
struct cel_env *jwt_user_env(struct arena *);

/* The flags, in that form; strings are borrowed. */
void jwt_issuer_of_flags(struct arena *, const struct oidc_cfg *, struct jwt_issuer *ret);
/* Claims to user, without the signature. ERR_UNAUTHORIZED. */
int jwt_issuer_user(const struct jwt_issuer *, struct arena *, const struct json *claims, int64_t now_s, struct api_user *ret, struct err *);

#endif

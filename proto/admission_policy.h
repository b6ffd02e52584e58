/*
 * What admission says in CEL, compiled: match conditions of webhooks, ValidatingAdmissionPolicies and MutatingAdmissionPolicies. Both who
 * validates a new policy and who carries it out compile it here, so what is accepted is what is done.
 *
 * Variables of an expression: object, oldObject, request, namespaceObject; params where the policy has a paramKind; authorizer (not
 * for messages); variables, each of which sees those before it.
 *
 *	admission_policy_compile(arena, policy, &errs, &p);    errs NULL: what does not compile is left without a program
 */
#ifndef PROTO_ADMISSION_POLICY_H
#define PROTO_ADMISSION_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"

struct admission_customs;
struct cel_env;
struct cel_program;
struct cel_type;
struct field_errs;
struct field_path;
struct json;

/* One expression. program NULL: it does not compile, `error` says why. */
struct admission_expr {
	struct str name, text;
	const struct cel_program *program;
	struct str error;
};
struct admission_exprs {
	struct admission_expr *v;
	size_t n;
};

/* The most match conditions that a webhook or policy may have. */
#define ADMISSION_MAX_CONDITIONS 64

/* matchConditions of a webhook, below `at`. errs may be NULL. */
void admission_conditions_compile(struct arena *, const struct json *conditions, const struct field_path *at, struct field_errs *errs,
		struct admission_exprs *ret);

struct admission_validation {
	struct admission_expr expr, message_expr; /* the latter without a text: none */
	struct str message, reason;
};

struct admission_mutation {
	struct admission_expr expr;
	bool json_patch; /* a list of operations; else an Object to merge */
};

struct admission_policy {
	struct str name;
	bool mutates, ignore, reinvoke;
	bool has_params;
	struct str param_version, param_kind; /* "v1", "ConfigMap" */
	struct admission_exprs conditions, variables, audits;
	struct admission_validation *validations;
	size_t n_validations;
	struct admission_mutation *mutations;
	size_t n_mutations;
	const struct cel_type *variables_type; /* NULL: none */
};
void admission_policy_compile(struct arena *, const struct json *policy, struct field_errs *errs, struct admission_policy *ret);

/*
 * What its expressions say of the kinds that it names, held against the schemas of these: "spec.validations[0].expression" and the
 * report for each kind that does not have what the expression looks for. At most ADMISSION_MAX_CHECKED of them; a policy with wildcards
 * names none. Built-in kinds are known; `custom` (may be NULL) finds others.
 */
#define ADMISSION_MAX_CHECKED 10
struct admission_kind {
	const char *api_version, *kind;
	const struct cel_type *type;
};
struct admission_customs {
	/* By its plural, or, where that is empty, by its kind. The strings and the type live as long as the check's arena. */
	bool (*find)(struct admission_customs *, struct arena *, struct str group, struct str version, struct str plural, struct str kind,
			struct admission_kind *ret);
};
struct admission_warning {
	const char *field, *text;
};
struct admission_warning *admission_policy_check(struct arena *, const struct json *policy, struct admission_customs *custom, size_t *ret_n);
/* It names a resource, or parameters, of a kind that is not built in. */
bool admission_policy_names_custom(const struct json *policy);

#endif

/*
 * Role-based access control as pure functions over the bytes of roles.
 *
 * A rule is asked about in the form in which it is stored: the rules of a Role or ClusterRole are field 2 of its protobuf
 * message, read in place with wire.h. So a role costs the memory of its bytes, nothing is unpacked, and the answer to "does
 * this rule allow that?" is a scan over a few dozen short strings.
 *
 *	rbac_rules_allow(role_bytes, &attrs)          one role, one question
 *	rbac_missing(...)                             what of these rules is not covered by those: privilege escalation
 *
 * Source: "Using RBAC Authorization" of the Kubernetes documentation.
 */
#ifndef ORCHESTRATOR_APISERVER_RBAC_H
#define ORCHESTRATOR_APISERVER_RBAC_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* What is asked. Not a resource: verb and path count. Verbs may be any word ("bind", "impersonate"). */
struct authz_attrs {
	struct str verb, group, resource, sub, ns, name, path;
	bool is_resource;
	struct str field_selector; /* of a list, watch or deletecollection; node authorization looks at it, webhooks are told */
	struct str label_selector, version; /* webhooks are told */
};

/* One rule; the lists are of strings. */
struct rbac_rule {
	struct str *verbs, *groups, *resources, *names, *urls;
	size_t n_verbs, n_groups, n_resources, n_names, n_urls;
};

/* Does any rule of a Role or ClusterRole (its plain protobuf) allow it? */
bool rbac_rules_allow(struct str role, const struct authz_attrs *);
/* The same for one encoded PolicyRule. */
bool rbac_rule_allows(struct str rule, const struct authz_attrs *);
/* The next rule of a role; *pos starts at 0. False at the end. */
bool rbac_next_rule(struct str role, size_t *pos, struct str *ret_rule);
/* Strings are borrowed from the bytes. */
void rbac_rule_read(struct arena *, struct str rule, struct rbac_rule *ret);

/*
 * What `wanted` grants beyond `held`: single permissions, joined where they differ in verbs only. Each as upstream's compact
 * text: {APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}, sorted, one a line. Empty: nothing.
 */
struct str rbac_missing(struct arena *, const struct rbac_rule *held, size_t n_held, const struct rbac_rule *wanted,
		size_t n_wanted);

/* A growing list of rules in an arena. */
struct rbac_rules {
	struct rbac_rule *v;
	size_t n, cap;
};
void rbac_rules_add(struct arena *, struct rbac_rules *, const struct rbac_rule *);
/* All rules of a role. */
void rbac_rules_add_role(struct arena *, struct rbac_rules *, struct str role);

#endif

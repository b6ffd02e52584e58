/*
 * Roles and bindings: nobody hands out what he does not have. Who writes a role must hold all of its permissions, or have the
 * verb "escalate" on it; who writes a binding must hold all of its role's permissions, or have "bind" on the role.
 *
 * Source: "Privilege escalation prevention and bootstrapping" of the Kubernetes documentation.
 */
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/write.h"
#include "proto/resource.h"
#include "proto/schema.h"

#define GROUP "rbac.authorization.k8s.io"

static bool trusted(const struct api_request *req)
{
	return req->local || api_user_in_group(&req->user, "system:masters");
}

static enum step_result may(struct api_request *req, const char *verb, const char *resource, struct str ns, struct str name, bool *ret_allowed)
{
	struct authz_attrs at = {.is_resource = true, .verb = str_from(verb), .group = STR(GROUP), .version = STR("*"),
			.resource = str_from(resource), .ns = ns, .name = name};

	return authz_may(req, &at, ret_allowed);
}

/* Everything: what an aggregating role might come to hold. */
static bool holds_all(struct api_request *req, const struct rbac_rules *held)
{
	static struct str star[] = {STR_INIT("*")};
	const struct rbac_rule all[] = {
			{.verbs = star, .groups = star, .resources = star, .n_verbs = 1, .n_groups = 1, .n_resources = 1},
			{.verbs = star, .urls = star, .n_verbs = 1, .n_urls = 1},
	};

	return rbac_missing(&req->arena, held->v, held->n, all, ARRAY_LEN(all)).n == 0;
}

static struct str groups_text(struct api_request *req)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	for (size_t i = 0; i < req->user.n_groups; i++)
		buf_printf(&out, "%s\"%.*s\"", i ? " " : "", STR_FMT(req->user.groups[i]));
	return arena_str(&req->arena, buf_str(&out));
}

/* role: encoded; the user must hold all of it. */
static enum step_result no_escalation(struct api_request *req, const struct rbac_rules *held, struct str role)
{
	struct rbac_rules wanted = {0};
	struct str missing;

	rbac_rules_add_role(&req->arena, &wanted, role);
	missing = rbac_missing(&req->arena, held->v, held->n, wanted.v, wanted.n);
	if (missing.n == 0)
		return STEP_NEXT;
	if (api_refresh(req))
		return STEP_WAIT;
	return api_fail_forbidden(req, req->res, api_name(req->obj),
			"user \"%.*s\" (groups=[%.*s]) is attempting to grant RBAC permissions not currently held:\n%.*s",
			STR_FMT(req->user.name), STR_FMT(groups_text(req)), STR_FMT(missing));
}

static bool same(const struct json *a, const struct json *b)
{
	return (json_is_null(a) && json_is_null(b)) || (a && b && json_equal(a, b));
}

/* Finalizers and owners alone grant nothing. Labels do: a role's permissions become those of the roles that aggregate it. */
static bool same_labels(const struct api_request *req)
{
	return same(json_getp(req->old, "metadata.labels"), json_getp(req->obj, "metadata.labels")) &&
	       same(json_getp(req->old, "metadata.annotations"), json_getp(req->obj, "metadata.annotations"));
}

enum step_result strategy_role_check(struct api_request *req)
{
	struct json *aggregation = json_getc(req->obj, "aggregationRule");
	struct rbac_rules held = {0};
	struct err e = ERR_INIT;
	enum step_result r;
	struct str raw;
	bool allowed;

	if (trusted(req))
		return STEP_NEXT;
	if (req->old && same(json_getc(req->old, "rules"), json_getc(req->obj, "rules")) &&
			same(json_getc(req->old, "aggregationRule"), aggregation) && same_labels(req))
		return STEP_NEXT;
	r = may(req, "escalate", req->res->plural, req->at.ns, api_name(req->obj), &allowed);
	if (r != STEP_NEXT || allowed)
		return r;
	rbac_rules_of_user(authz_rbac(req), &req->user, req->at.ns, &req->arena, &held);
	if (!json_is_null(aggregation) && !same(json_getc(req->old, "aggregationRule"), aggregation) &&
			!holds_all(req, &held)) {
		if (api_refresh(req))
			return STEP_WAIT;
		return api_fail_forbidden(req, req->res, api_name(req->obj),
				"must have cluster-admin privileges to use the aggregationRule");
	}
	if (api_dom_encode(&req->arena, resource_type(req->res), req->obj, &raw, &e) < 0)
		return api_fail_err(req, &e);
	return no_escalation(req, &held, raw);
}

enum step_result strategy_binding_check(struct api_request *req)
{
	struct json *ref = json_getc(req->obj, "roleRef");
	bool cluster = json_eqc(json_getc(ref, "kind"), "ClusterRole");
	struct str name = json_str(json_getc(ref, "name")), raw;
	const char *plural = cluster ? "clusterroles" : "roles";
	struct rbac_rules held = {0};
	enum step_result r;
	bool allowed;

	if (trusted(req))
		return STEP_NEXT;
	if (req->old && same(json_getc(req->old, "roleRef"), ref) &&
			same(json_getc(req->old, "subjects"), json_getc(req->obj, "subjects")) && same_labels(req))
		return STEP_NEXT;
	r = may(req, "bind", plural, req->at.ns, name, &allowed);
	if (r != STEP_NEXT || allowed)
		return r;
	if (!rbac_index_role(authz_rbac(req), cluster ? STR_NULL : req->at.ns, name, &raw)) {
		if (api_refresh(req))
			return STEP_WAIT;
		return api_fail_not_found(req, resource_find(GROUP, "v1", plural), name);
	}
	rbac_rules_of_user(authz_rbac(req), &req->user, req->at.ns, &req->arena, &held);
	return no_escalation(req, &held, raw);
}

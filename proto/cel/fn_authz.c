/* authorizer.group("apps").resource("deployments").check("create").allowed(): who decides is the caller's. */
#include "proto/cel/opaque-priv.h"
#include "proto/validate.h"

static struct cel__authz *copy(struct arena *a, const struct cel__authz *from, enum cel__opaque_kind kind)
{
	struct cel__authz *z = arena_memdup(a, from, sizeof(*from));

	z->o.kind = kind;
	return z;
}

static struct cel__authz *of(struct cel__eval *v, struct cel_value x, enum cel__opaque_kind kind)
{
	return copy(v->a, (const struct cel__authz *)x.opaque, kind);
}

struct cel_value cel_value_authorizer(struct arena *a, struct cel_authorizer *authorizer)
{
	struct cel__authz z = {.authorizer = authorizer};

	return cel__opaque(&copy(a, &z, OPAQUE_AUTHORIZER)->o);
}

struct cel_value cel_value_authorizer_resource(struct arena *a, struct cel_authorizer *authorizer, const struct cel_query *query)
{
	struct cel__authz z = {.authorizer = authorizer, .query = *query};

	z.query.resource_request = true;
	return cel__opaque(&copy(a, &z, OPAQUE_RESOURCE_CHECK)->o);
}

static struct cel_value path(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__authz *z = of(v, a[0], OPAQUE_PATH_CHECK);

	(void)n;
	if (str_trim(a[1].s).n == 0)
		return cel_error(v->a, "path must not be empty");
	z->query.path = a[1].s;
	return cel__opaque(&z->o);
}

static struct cel_value group(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__authz *z = of(v, a[0], OPAQUE_GROUP_CHECK);

	(void)n;
	z->query.group = a[1].s;
	return cel__opaque(&z->o);
}

static struct cel_value service_account(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__authz *z = of(v, a[0], OPAQUE_AUTHORIZER);

	(void)n;
	if (validate_dns1123_subdomain(a[2].s) != NULL)
		return cel_error(v->a, "Invalid service account name");
	if (validate_dns1123_label(a[1].s) != NULL)
		return cel_error(v->a, "Invalid service account namespace");
	z->query.service_account_namespace = a[1].s;
	z->query.service_account = a[2].s;
	return cel__opaque(&z->o);
}

static struct cel_value resource(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__authz *z = of(v, a[0], OPAQUE_RESOURCE_CHECK);

	(void)n;
	if (str_trim(a[1].s).n == 0)
		return cel_error(v->a, "resource must not be empty");
	z->query.resource_request = true;
	z->query.resource = a[1].s;
	return cel__opaque(&z->o);
}

/* The rest of what a check is for: one member of the query each. */
#define MEMBER(member)                                                                                                            \
	static struct cel_value member(struct cel__eval *v, const struct cel_value *a, unsigned n)                              \
	{                                                                                                                       \
		struct cel__authz *z = of(v, a[0], OPAQUE_RESOURCE_CHECK);                                                      \
                                                                                                                                \
		(void)n;                                                                                                        \
		z->query.member = a[1].s;                                                                                         \
		return cel__opaque(&z->o);                                                                                      \
	}
MEMBER(subresource)
MEMBER(namespace)
MEMBER(name)
MEMBER(field_selector)
MEMBER(label_selector)

static struct cel_value check(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__authz *z = of(v, a[0], OPAQUE_DECISION);

	(void)n;
	z->query.verb = a[1].s;
	z->decision = z->authorizer->check(z->authorizer, v->a, &z->query);
	return cel__opaque(&z->o);
}

static const struct cel_decision *decision(struct cel_value x)
{
	return &((const struct cel__authz *)x.opaque)->decision;
}

static struct cel_value allowed(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(decision(a[0])->allowed);
}

static struct cel_value reason(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_str(decision(a[0])->reason);
}

static struct cel_value error(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_str(decision(a[0])->error);
}

static struct cel_value errored(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(decision(a[0])->error.n > 0);
}

static const struct cel__overload overloads[] = {
	{"path", "authorizer_path", "Zs:P", true, path},
	{"group", "authorizer_group", "Zs:G", true, group},
	{"serviceAccount", "authorizer_serviceaccount", "Zss:Z", true, service_account},
	{"resource", "groupcheck_resource", "Gs:R", true, resource},
	{"subresource", "resourcecheck_subresource", "Rs:R", true, subresource},
	{"namespace", "resourcecheck_namespace", "Rs:R", true, namespace},
	{"name", "resourcecheck_name", "Rs:R", true, name},
	{"fieldSelector", "authorizer_fieldselector", "Rs:R", true, field_selector},
	{"labelSelector", "authorizer_labelselector", "Rs:R", true, label_selector},
	{"check", "pathcheck_check", "Ps:D", true, check},
	{"check", "resourcecheck_check", "Rs:D", true, check},
	{"allowed", "decision_allowed", "D:b", true, allowed},
	{"reason", "decision_reason", "D:s", true, reason},
	{"error", "decision_error", "D:s", true, error},
	{"errored", "decision_errored", "D:b", true, errored},
};

extern const struct cel__library cel__lib_authz;
const struct cel__library cel__lib_authz = {CEL_LIB_AUTHZ, overloads, ARRAY_LEN(overloads)};

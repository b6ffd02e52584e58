#include "orchestrator/apiserver/admit_cel.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authz.h"
#include "proto/json.h"
#include "proto/resource.h"

#define SPENT "validation failed due to running out of cost budget, no further validation rules will be run"

/* --- The authorizer -------------------------------------------------------------------------------------------------------------- */

/* As upstream: who is asked for has not come with a token, so he is not in system:authenticated. */
static struct api_user service_account(struct arena *a, struct str ns, struct str name)
{
	struct api_user u = {.name = arena_sprintf(a, "system:serviceaccount:%.*s:%.*s", STR_FMT(ns), STR_FMT(name))};

	u.groups = arena_new_array(a, struct str, 2);
	u.groups[u.n_groups++] = STR("system:serviceaccounts");
	u.groups[u.n_groups++] = arena_sprintf(a, "system:serviceaccounts:%.*s", STR_FMT(ns));
	return u;
}

static struct cel_decision check(struct cel_authorizer *az, struct arena *a, const struct cel_query *q)
{
	struct admit_cel *c = container_of(az, struct admit_cel, authorizer);
	struct api_user u = c->req->user;
	struct authz_answer answer = {0};
	struct authz_attrs at = {.verb = q->verb, .is_resource = q->resource_request, .path = q->path, .group = q->group, .resource = q->resource,
			.sub = q->subresource, .ns = q->namespace, .name = q->name, .field_selector = q->field_selector,
			.label_selector = q->label_selector, .version = q->resource_request ? STR("*") : STR_NULL};

	if (q->service_account.n > 0)
		u = service_account(a, q->service_account_namespace, q->service_account);
	if (!c->waits)
		c->waits = authz_decide(c->req, &u, &at, true, &answer) == STEP_WAIT;
	if (c->waits)
		return (struct cel_decision){.error = STR("the answer is not there yet")};
	return (struct cel_decision){.allowed = answer.allowed, .reason = answer.reason, .error = answer.error};
}

/* --- Variables ------------------------------------------------------------------------------------------------------------------- */

static enum admit_cel_result run(struct admit_cel *c, const struct cel_program *p, struct cel_value *ret)
{
	struct cel_run r = {.arena = &c->arena, .vars = c->vars, .n_vars = c->n_vars};
	int64_t before = c->budget;

	if (c->waits)
		return ADMIT_CEL_SPENT;
	*ret = cel_run(p, &r);
	/* What variables cost that were asked for on the way is off already. */
	if (c->budget < 0 || r.cost > (uint64_t)before || (int64_t)r.cost > c->budget) {
		c->budget = -1;
		return ADMIT_CEL_SPENT;
	}
	c->budget -= (int64_t)r.cost;
	return ret->kind == CEL_ERROR ? ADMIT_CEL_FAILED : ADMIT_CEL_VALUE;
}

static struct cel_value variable(struct cel_lazy *lazy, struct arena *a, struct str field)
{
	struct admit_cel *c = container_of(lazy, struct admit_cel, variables);
	const struct admission_exprs *all = &c->policy->variables;
	struct cel_value v;

	for (size_t i = all->n; i-- > 0;) {
		if (!str_eq(all->v[i].name, field))
			continue;
		if (c->known[i].kind != CEL_DYN)
			return c->known[i];
		/* Those behind it were not there when it was compiled, so it cannot come back to itself. */
		if (!all->v[i].program)
			v = cel_error(a, "composited variable \"%.*s\" fails to compile: %.*s", STR_FMT(field), STR_FMT(all->v[i].error));
		else if (run(c, all->v[i].program, &v) == ADMIT_CEL_SPENT)
			v = cel_error(a, SPENT);
		else if (v.kind == CEL_ERROR)
			v = cel_error(a, "composited variable \"%.*s\" fails to evaluate: %.*s", STR_FMT(field), STR_FMT(v.s));
		c->known[i] = v;
		return v;
	}
	return cel_error(a, "no such key: %.*s", STR_FMT(field));
}

static void add(struct admit_cel *c, const char *name, struct cel_value v)
{
	ASSERT(c->n_vars < ARRAY_LEN(c->vars));
	c->vars[c->n_vars++] = (struct cel_var){name, v};
}

static void add_authorizer(struct admit_cel *c)
{
	struct api_request *req = c->req;
	struct cel_query q = {.resource_request = true, .group = req->at.group, .resource = req->at.resource, .subresource = req->at.sub,
			.namespace = req->at.ns, .name = req->at.name};

	c->authorizer.check = check;
	add(c, "authorizer", cel_value_authorizer(&c->arena, &c->authorizer));
	add(c, "authorizer.requestResource", cel_value_authorizer_resource(&c->arena, &c->authorizer, &q));
}

void admit_cel_begin(struct admit_cel *c, struct api_request *req, const struct admit_question *q, const struct admission_policy *policy,
		const struct json *params, const struct json *namespace, int64_t budget)
{
	*c = (struct admit_cel){.req = req, .q = q, .policy = policy, .budget = budget};
	arena_init(&c->arena);
	add(c, "object", cel_from_json(&c->arena, q->obj, NULL));
	add(c, "oldObject", cel_from_json(&c->arena, q->old, NULL));
	add(c, "request", cel_from_json(&c->arena, admit_request_json(req, q), cel_type_admission_request(&c->arena)));
	add(c, "namespaceObject", cel_from_json(&c->arena, namespace, cel_type_namespace(&c->arena)));
	add(c, "params", cel_from_json(&c->arena, params, NULL));
	add_authorizer(c);
	if (!policy || policy->variables.n == 0)
		return;
	c->variables.get = variable;
	c->known = arena_new_array(&c->arena, struct cel_value, policy->variables.n);
	for (size_t i = 0; i < policy->variables.n; i++)
		c->known[i].kind = CEL_DYN;
	add(c, "variables", cel_value_lazy(&c->arena, &c->variables, policy->variables_type));
}

void admit_cel_object(struct admit_cel *c, struct json *obj)
{
	ASSERT(strcmp(c->vars[0].name, "object") == 0);
	c->vars[0].value = cel_from_json(&c->arena, obj, NULL);
	for (size_t i = 0; c->known && i < c->policy->variables.n; i++)
		c->known[i].kind = CEL_DYN;
}

void admit_cel_end(struct admit_cel *c)
{
	arena_fini(&c->arena);
}

bool admit_cel_waits(const struct admit_cel *c)
{
	return c->waits;
}

/* --- Running --------------------------------------------------------------------------------------------------------------------- */

enum admit_cel_result admit_cel_run(struct admit_cel *c, const struct admission_expr *e, struct cel_value *ret, struct str *ret_why)
{
	enum admit_cel_result r;

	if (!e->program) {
		*ret_why = arena_sprintf(&c->arena, "compilation error: %.*s", STR_FMT(e->error));
		return ADMIT_CEL_FAILED;
	}
	r = run(c, e->program, ret);
	if (r == ADMIT_CEL_SPENT)
		*ret_why = STR(SPENT);
	else if (r == ADMIT_CEL_FAILED)
		*ret_why = arena_sprintf(&c->arena, "expression '%.*s' resulted in error: %.*s", STR_FMT(e->text), STR_FMT(ret->s));
	return r;
}

enum admit_cel_match admit_cel_conditions(struct admit_cel *c, const struct admission_exprs *all, bool ignore, struct str *ret_why)
{
	_cleanup_(buf_fini) struct buf errors = BUF_INIT;
	struct str why = STR_NULL;
	size_t n_errors = 0;

	for (size_t i = 0; i < all->n; i++) {
		struct cel_value v;
		enum admit_cel_result r = admit_cel_run(c, &all->v[i], &v, &why);

		if (r == ADMIT_CEL_VALUE && v.kind == CEL_BOOL && !v.b)
			return ADMIT_CEL_DOES_NOT;
		if (r == ADMIT_CEL_VALUE)
			continue;
		buf_printf(&errors, "%s%.*s", n_errors++ ? ", " : "", STR_FMT(why));
		if (r == ADMIT_CEL_SPENT)
			break;
	}
	if (n_errors == 0)
		return ADMIT_CEL_MATCHES;
	if (ignore)
		return ADMIT_CEL_DOES_NOT;
	*ret_why = n_errors > 1 ? arena_sprintf(&c->req->arena, "[%.*s]", STR_FMT(buf_str(&errors))) : arena_str(&c->req->arena, buf_str(&errors));
	return ADMIT_CEL_CANNOT_TELL;
}

enum step_result admit_cel_namespace(struct api_request *req, struct json **ret)
{
	*ret = NULL;
	if (!req->res->namespaced || req->at.ns.n == 0)
		return STEP_NEXT;
	return admission_object(req, "", "namespaces", STR_NULL, req->at.ns, ret);
}

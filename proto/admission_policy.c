#include "proto/admission_policy.h"

#include <string.h>

#include "base/util.h"
#include "proto/cel/cel.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

enum { WITH_PARAMS = 1, WITH_AUTHORIZER = 2, WITH_PATCHES = 4 };

struct compiler {
	struct arena *arena;
	struct field_errs *errs; /* NULL: nobody wants to know */
	const struct cel_type *request, *namespace, *variables;
	const struct cel_type *object, *param; /* &cel_dyn: of any kind */
	unsigned params; /* WITH_PARAMS or 0 */
};

static struct cel_env *env_of(struct compiler *c, unsigned with)
{
	struct cel_env *env = cel_env_new(c->arena, with & WITH_PATCHES ? CEL_LIBS_MUTATION : CEL_LIBS_KUBERNETES);

	cel_env_var(env, "object", c->object);
	cel_env_var(env, "oldObject", c->object);
	cel_env_var(env, "request", c->request);
	cel_env_var(env, "namespaceObject", c->namespace);
	if (with & WITH_PARAMS)
		cel_env_var(env, "params", c->param);
	if (with & WITH_AUTHORIZER) {
		cel_env_var(env, "authorizer", &cel_authorizer_type);
		cel_env_var(env, "authorizer.requestResource", &cel_authorizer_resource_type);
	}
	if (c->variables)
		cel_env_var(env, "variables", c->variables);
	return env;
}

/* What an expression must give. Upstream wants the very type: what is only known when it runs will not do. */
enum wanted { ANYTHING, BOOL, STRING, STRING_OR_NULL, PATCHES, OBJECT };

static const char *wrong_type(struct arena *a, enum wanted w, const struct cel_type *t)
{
	switch (w) {
	case ANYTHING: return NULL;
	case BOOL: return t->kind == CEL_BOOL ? NULL : "must evaluate to bool";
	case STRING: return t->kind == CEL_STRING ? NULL : "must evaluate to string";
	case STRING_OR_NULL: return t->kind == CEL_STRING || t->kind == CEL_NULL ? NULL : "must evaluate to one of [string null_type]";
	case PATCHES:
		/* An empty list is one of anything. */
		return t->kind == CEL_LIST && (t->elem->kind == CEL_DYN || strcmp(cel_type_text(a, t), "list(JSONPatch)") == 0) ?
				       NULL : "must evaluate to list(JSONPatch)";
	case OBJECT: return strcmp(cel_type_text(a, t), "Object") == 0 ? NULL : "must evaluate to Object";
	}
	UNREACHABLE();
}

static void compile(struct compiler *c, const struct cel_env *env, enum wanted w, const struct field_path *at, struct admission_expr *e)
{
	struct str error;
	const char *why;

	e->program = cel_compile(c->arena, env, e->text, &error);
	if (!e->program) {
		e->error = arena_sprintf(c->arena, "compilation failed: %.*s", STR_FMT(error));
	} else {
		why = wrong_type(c->arena, w, cel_program_type(e->program));
		if (why) {
			e->program = NULL;
			e->error = str_from(why);
		}
	}
	if (!e->program && c->errs)
		field_invalid_str(c->errs, at, e->text, "%.*s", STR_FMT(e->error));
}

/* Members of `list`: [{name_key: ..., text_key: ...}]. */
static void compile_list(struct compiler *c, const struct json *list, const struct field_path *at, const char *name_key, const char *text_key,
		const struct cel_env *env, enum wanted w, struct admission_exprs *ret)
{
	size_t i = 0;

	ret->n = json_len(list);
	ret->v = arena_new_array(c->arena, struct admission_expr, ret->n);
	JSON_ITEMS (j, list) {
		struct field_path one = field_index(at, i), text = field_child(&one, text_key);
		struct admission_expr *e = &ret->v[i++];

		e->name = json_str(json_getc(j, name_key));
		e->text = json_str(json_getc(j, text_key));
		/* That there is something is checked elsewhere. */
		if (str_trim(e->text).n > 0)
			compile(c, env, w, &text, e);
	}
}

static void begin(struct compiler *c, struct arena *a, struct field_errs *errs)
{
	*c = (struct compiler){.arena = a, .errs = errs, .request = cel_type_admission_request(a), .namespace = cel_type_namespace(a),
			.object = &cel_dyn, .param = &cel_dyn};
}

static void conditions(struct compiler *c, const struct json *list, const struct field_path *at, struct admission_exprs *ret)
{
	compile_list(c, list, at, "name", "expression", env_of(c, c->params | WITH_AUTHORIZER), BOOL, ret);
	if (c->errs && ret->n > ADMISSION_MAX_CONDITIONS)
		field_too_many(c->errs, at, ret->n, ADMISSION_MAX_CONDITIONS);
}

void admission_conditions_compile(struct arena *a, const struct json *list, const struct field_path *at, struct field_errs *errs,
		struct admission_exprs *ret)
{
	struct field_path all = field_child(at, "matchConditions");
	struct compiler c;

	*ret = (struct admission_exprs){0};
	if (json_len(list) == 0)
		return;
	begin(&c, a, errs);
	conditions(&c, list, &all, ret);
}

/* Each has the type that it was found to have, for those behind it. */
static void variables(struct compiler *c, const struct json *list, const struct field_path *at, struct admission_policy *p)
{
	struct cel_field *fields = arena_new_array(c->arena, struct cel_field, json_len(list));
	size_t i = 0;

	p->variables.v = arena_new_array(c->arena, struct admission_expr, json_len(list));
	JSON_ITEMS (j, list) {
		struct field_path one = field_index(at, i), text = field_child(&one, "expression");
		struct admission_expr *e = &p->variables.v[i];

		e->name = json_str(json_getc(j, "name"));
		e->text = json_str(json_getc(j, "expression"));
		c->variables = cel_type_object(c->arena, "kubernetes.variables", fields, i);
		if (str_trim(e->text).n > 0)
			compile(c, env_of(c, c->params | WITH_AUTHORIZER), ANYTHING, &text, e);
		fields[i].name = arena_cstr(c->arena, e->name);
		fields[i++].type = e->program ? cel_program_type(e->program) : &cel_dyn;
	}
	p->variables.n = i;
	c->variables = cel_type_object(c->arena, "kubernetes.variables", fields, i);
	p->variables_type = c->variables;
}

static void validations(struct compiler *c, const struct json *list, const struct field_path *at, struct admission_policy *p)
{
	const struct cel_env *env = env_of(c, c->params | WITH_AUTHORIZER), *messages = env_of(c, c->params);
	size_t i = 0;

	p->validations = arena_new_array(c->arena, struct admission_validation, json_len(list));
	JSON_ITEMS (j, list) {
		struct field_path one = field_index(at, i), expr = field_child(&one, "expression"), message = field_child(&one, "messageExpression");
		struct admission_validation *v = &p->validations[i++];

		v->expr.text = json_str(json_getc(j, "expression"));
		v->message_expr.text = json_str(json_getc(j, "messageExpression"));
		v->message = str_trim(json_str(json_getc(j, "message")));
		v->reason = json_str(json_getc(j, "reason"));
		if (str_trim(v->expr.text).n > 0)
			compile(c, env, BOOL, &expr, &v->expr);
		if (str_trim(v->message_expr.text).n > 0)
			compile(c, messages, STRING, &message, &v->message_expr);
	}
	p->n_validations = i;
}

static void mutations(struct compiler *c, const struct json *list, const struct field_path *at, struct admission_policy *p)
{
	const struct cel_env *env = env_of(c, c->params | WITH_AUTHORIZER | WITH_PATCHES);
	size_t i = 0;

	p->mutations = arena_new_array(c->arena, struct admission_mutation, json_len(list));
	JSON_ITEMS (j, list) {
		struct admission_mutation *m = &p->mutations[i];
		const char *key = json_eqc(json_getc(j, "patchType"), "JSONPatch") ? "jsonPatch" : "applyConfiguration";
		struct field_path one = field_index(at, i++), of = field_child(&one, key), text = field_child(&of, "expression");

		m->json_patch = key[0] == 'j';
		m->expr.text = json_str(json_getc(json_getc(j, key), "expression"));
		if (str_trim(m->expr.text).n > 0)
			compile(c, env, m->json_patch ? PATCHES : OBJECT, &text, &m->expr);
	}
	p->n_mutations = i;
}

void admission_policy_compile(struct arena *a, const struct json *policy, struct field_errs *errs, struct admission_policy *p)
{
	struct field_path spec_path = field_child(NULL, "spec"), cond = field_child(&spec_path, "matchConditions"),
			  vars = field_child(&spec_path, "variables"), vals = field_child(&spec_path, "validations"),
			  muts = field_child(&spec_path, "mutations"), audits = field_child(&spec_path, "auditAnnotations");
	const struct json *spec = json_getc(policy, "spec"), *kind = json_getc(spec, "paramKind");
	struct compiler c;

	begin(&c, a, errs);
	*p = (struct admission_policy){.name = json_strp(policy, "metadata.name"),
			.ignore = json_eqc(json_getc(spec, "failurePolicy"), "Ignore"),
			.reinvoke = json_eqc(json_getc(spec, "reinvocationPolicy"), "IfNeeded"),
			.mutates = json_eqc(json_getc(policy, "kind"), "MutatingAdmissionPolicy"),
			.has_params = !json_is_null(kind),
			.param_version = json_str(json_getc(kind, "apiVersion")),
			.param_kind = json_str(json_getc(kind, "kind"))};
	c.params = p->has_params ? WITH_PARAMS : 0;
	conditions(&c, json_getc(spec, "matchConditions"), &cond, &p->conditions);
	if (json_len(json_getc(spec, "variables")) > 0)
		variables(&c, json_getc(spec, "variables"), &vars, p);
	validations(&c, json_getc(spec, "validations"), &vals, p);
	compile_list(&c, json_getc(spec, "auditAnnotations"), &audits, "key", "valueExpression", env_of(&c, c.params | WITH_AUTHORIZER),
			STRING_OR_NULL, &p->audits);
	mutations(&c, json_getc(spec, "mutations"), &muts, p);
}

/* --- Types ------------------------------------------------------------------------------------------------------------------------- */

struct checker {
	struct arena *arena;
	const struct json *policy;
	struct admission_customs *custom;
	struct admission_kind kinds[ADMISSION_MAX_CHECKED];
	size_t n_kinds;
	struct admission_warning *v;
	size_t n;
};

static bool kind_find(struct checker *k, const struct json *group, const struct json *version, const struct json *plural, struct admission_kind *ret)
{
	const struct resource *r = resource_find(json_cstr(group), json_cstr(version), json_cstr(plural));

	if (r)
		*ret = (struct admission_kind){r->api_version, r->kind, cel_type_schema(k->arena, resource_type(r))};
	return r || (k->custom && k->custom->find(k->custom, k->arena, json_str(group), json_str(version), json_str(plural), STR_NULL, ret));
}

/* Only what is named counts: a star may stand for anything. */
static void add_kinds(struct checker *k, const struct json *rule)
{
	JSON_ITEMS (g, json_getc(rule, "apiGroups"))
		JSON_ITEMS (v, json_getc(rule, "apiVersions"))
			JSON_ITEMS (p, json_getc(rule, "resources")) {
				struct admission_kind kind;
				bool known = k->n_kinds == ADMISSION_MAX_CHECKED || !kind_find(k, g, v, p, &kind);

				for (size_t i = 0; !known && i < k->n_kinds; i++)
					known = strcmp(k->kinds[i].api_version, kind.api_version) == 0 && strcmp(k->kinds[i].kind, kind.kind) == 0;
				if (!known)
					k->kinds[k->n_kinds++] = kind;
			}
}

static const struct resource *param_resource(const struct json *kind)
{
	RESOURCE_FOR_EACH (r)
		if (json_eqc(json_getc(kind, "apiVersion"), r->api_version) && json_eqc(json_getc(kind, "kind"), r->kind))
			return r;
	return NULL;
}

static const struct cel_type *param_type(struct checker *k)
{
	const struct json *kind = json_getp(k->policy, "spec.paramKind");
	const struct resource *r = param_resource(kind);
	struct admission_kind custom;
	struct str group, version;

	if (r)
		return cel_type_schema(k->arena, resource_type(r));
	if (k->custom && str_cut(json_str(json_getc(kind, "apiVersion")), '/', &group, &version) &&
			k->custom->find(k->custom, k->arena, group, version, STR_NULL, json_str(json_getc(kind, "kind")), &custom))
		return custom.type;
	return &cel_dyn;
}

bool admission_policy_names_custom(const struct json *policy)
{
	const struct json *kind = json_getp(policy, "spec.paramKind");

	JSON_ITEMS (rule, json_getp(policy, "spec.matchConstraints.resourceRules"))
		JSON_ITEMS (g, json_getc(rule, "apiGroups"))
			JSON_ITEMS (v, json_getc(rule, "apiVersions"))
				JSON_ITEMS (p, json_getc(rule, "resources"))
					/* Groups of custom resources have a dot. */
					if (str_find(json_str(g), '.') >= 0 && !resource_find(json_cstr(g), json_cstr(v), json_cstr(p)))
						return true;
	return !json_is_null(kind) && !param_resource(kind);
}

/* The expressions of a policy with objects of one kind, each with a report or without. */
static void compile_for(struct checker *k, const struct admission_kind *kind, struct admission_policy *ret)
{
	struct field_path spec = field_child(NULL, "spec"), vars = field_child(&spec, "variables"), vals = field_child(&spec, "validations");
	struct compiler c;

	begin(&c, k->arena, NULL);
	c.object = kind->type;
	c.param = param_type(k);
	c.params = json_is_null(json_getp(k->policy, "spec.paramKind")) ? 0 : WITH_PARAMS;
	*ret = (struct admission_policy){0};
	if (json_len(json_getp(k->policy, "spec.variables")) > 0)
		variables(&c, json_getp(k->policy, "spec.variables"), &vars, ret);
	validations(&c, json_getp(k->policy, "spec.validations"), &vals, ret);
}

static void report(struct checker *k, const char *what, size_t i, const struct admission_policy *all, bool message)
{
	static const struct str prefix = STR_INIT("compilation failed: ");
	_cleanup_(buf_fini) struct buf out = BUF_INIT;

	for (size_t n = 0; n < k->n_kinds; n++) {
		const struct admission_validation *v = &all[n].validations[i];
		struct str error = message ? v->message_expr.error : v->expr.error;

		if (str_has_prefix(error, prefix))
			buf_printf(&out, "%s, Kind=%s: %.*s\n", k->kinds[n].api_version, k->kinds[n].kind, STR_FMT(str_skip(error, prefix.n)));
	}
	if (out.n == 0)
		return;
	k->v = arena_grow(k->arena, k->v, k->n * sizeof(*k->v), (k->n + 1) * sizeof(*k->v));
	k->v[k->n++] = (struct admission_warning){arena_printf(k->arena, "spec.validations[%zu].%s", i, what), arena_cstr(k->arena, buf_str(&out))};
}

struct admission_warning *admission_policy_check(struct arena *a, const struct json *policy, struct admission_customs *custom, size_t *ret_n)
{
	struct checker k = {.arena = a, .policy = policy, .custom = custom};
	struct admission_policy *all;

	JSON_ITEMS (rule, json_getp(policy, "spec.matchConstraints.resourceRules"))
		add_kinds(&k, rule);
	all = arena_new_array(a, struct admission_policy, k.n_kinds + 1);
	for (size_t n = 0; n < k.n_kinds; n++)
		compile_for(&k, &k.kinds[n], &all[n]);
	for (size_t i = 0; k.n_kinds > 0 && i < all[0].n_validations; i++) {
		report(&k, "expression", i, all, false);
		report(&k, "messageExpression", i, all, true);
	}
	*ret_n = k.n;
	return k.v;
}

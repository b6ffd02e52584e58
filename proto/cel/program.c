#include <string.h>

#include "proto/cel/cel-priv.h"

/* ---- environments ---- */

struct cel_env *cel_env_new(struct arena *a, unsigned libs)
{
	struct cel_env *env = arena_new_of(a, struct cel_env);

	env->a = a;
	env->libs = libs;
	return env;
}

static struct cel__var *find_var(const struct cel_env *env, const char *name)
{
	for (size_t i = 0; i < env->n; i++)
		if (strcmp(env->vars[i].name, name) == 0)
			return &env->vars[i];
	return NULL;
}

void cel_env_var(struct cel_env *env, const char *name, const struct cel_type *type)
{
	struct cel__var *v = find_var(env, name);

	if (v != NULL) {
		v->type = type;
		return;
	}
	if (env->n == env->cap) {
		size_t cap = MAX(env->cap * 2, (size_t)8);

		env->vars = arena_grow(env->a, env->vars, env->n * sizeof(*env->vars), cap * sizeof(*env->vars));
		env->cap = cap;
	}
	env->vars[env->n++] = (struct cel__var){arena_strdup(env->a, name), type};
}

const struct cel_type *cel_env_var_type(const struct cel_env *env, const char *name)
{
	const struct cel__var *v = find_var(env, name);

	return v != NULL ? v->type : NULL;
}

/* ---- programs ---- */

struct cel_program *cel_compile(struct arena *a, const struct cel_env *env, struct str text, struct str *ret_error)
{
	struct cel_program *p = arena_new_of(a, struct cel_program);
	struct cel__report report = {.a = a, .text = arena_str(a, text)};

	p->text = report.text;
	p->root = cel__parse(a, p->text, env->libs, &report, &p->n_nodes);
	if (p->root == NULL || !cel__check(a, env, p, &report) || !cel__constants(a, p, &report)) {
		*ret_error = cel__report_text(&report);
		return NULL;
	}
	p->cost = cel__estimate(p);
	return p;
}

const struct cel_type *cel_program_type(const struct cel_program *p)
{
	return p->type;
}

struct cel_cost cel_program_cost(const struct cel_program *p)
{
	return p->cost;
}

bool cel_program_uses(const struct cel_program *p, const char *var)
{
	for (size_t i = 0; i < p->n_vars; i++)
		if (strcmp(p->vars[i].name, var) == 0)
			return true;
	return false;
}

struct str cel_program_source(const struct cel_program *p)
{
	return p->text;
}

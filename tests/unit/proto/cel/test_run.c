/* proto/cel: what callers do: types and programs asked, lazy fields, limits, results taken out as JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/cel/cel.h"
#include "proto/json.h"
#include "proto/schema.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static struct cel_program *compile(const struct cel_env *env, const char *text)
{
	struct str error = STR_NULL;
	struct cel_program *p = cel_compile(&arena, env, str_from(text), &error);

	if (p == NULL)
		fail_msg("%.*s", STR_FMT(error));
	return p;
}

static const char *refused(const struct cel_env *env, const char *text)
{
	struct str error = STR_NULL;

	assert_null(cel_compile(&arena, env, str_from(text), &error));
	return error.p;
}

static struct cel_env *env_with(const char *name, const struct cel_type *type)
{
	struct cel_env *env = cel_env_new(&arena, CEL_LIBS_MUTATION);

	cel_env_var(env, name, type);
	return env;
}

static struct cel_value run(const struct cel_program *p, const char *name, struct cel_value v)
{
	struct cel_var vars[] = {{name, v}};
	struct cel_run r = {.arena = &arena, .vars = vars, .n_vars = 1};

	return cel_run(p, &r);
}

static const char *json_of(struct cel_value v)
{
	const char *why = NULL;
	struct json *j = cel_to_json(&arena, v, &why);

	return j != NULL ? json_text(&arena, j).p : why;
}

static void test_types(void **state)
{
	struct cel_env *env = env_with("x", &cel_dyn);

	(void)state;
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "[1, 2].map(i, string(i))"))), "list(string)");
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "{'a': x}"))), "map(string, dyn)");
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "optional.of(1)"))), "optional_type(int)");
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "[]"))), "list(dyn)");
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "Object{}"))), "Object");
	assert_true(cel_type_accepts(&cel_bool, cel_program_type(compile(env, "x"))));
	assert_true(cel_type_accepts(&cel_bool, cel_program_type(compile(env, "x > 1"))));
	assert_false(cel_type_accepts(&cel_bool, cel_program_type(compile(env, "'a'"))));
	assert_true(cel_program_uses(compile(env, "[1].all(y, y == x)"), "x"));
	assert_false(cel_program_uses(compile(env, "[1].all(x, x == 1)"), "x"));
}

static void test_escape(void **state)
{
	static const char *const rows[][2] = {
		{"name", "name"},
		{"namespace", "__namespace__"},
		{"a.b-c/d", "a__dot__b__dash__c__slash__d"},
		{"a__b", "a__underscores__b"},
		{"_x", "_x"},
	};
	struct str s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(cel_escape(&arena, str_from(rows[i][0]), &s));
		assert_string_equal(s.p, rows[i][1]);
	}
	assert_false(cel_escape(&arena, STR("1a"), &s));
	assert_false(cel_escape(&arena, STR("$a"), &s));
	assert_false(cel_escape(&arena, STR(""), &s));
}

/* Types of built-in kinds, for the warnings of policies. */
static void test_schema_types(void **state)
{
	struct cel_env *env = env_with("object", cel_type_schema(&arena, schema_type_find("apps.v1.Deployment")));

	(void)state;
	assert_string_equal(cel_type_text(&arena, cel_program_type(compile(env, "object.spec.replicas"))), "int");
	compile(env, "object.spec.template.spec.containers.all(c, c.image.startsWith('a') && size(c.ports) == 0)");
	compile(env, "object.metadata.namespace == 'a' && object.metadata.labels['a'] == 'b'");
	compile(env, "object.metadata.creationTimestamp.getFullYear() > 2000 && object.apiVersion == 'apps/v1'");
	assert_non_null(strstr(refused(env, "object.spec.replicaz > 1"), "undefined field 'replicaz'"));
	assert_non_null(strstr(refused(env, "object.spec.replicas == '1'"), "found no matching overload for '_==_' applied to '(int, string)'"));
	env = env_with("crd", cel_type_schema(&arena, schema_type_find("apiextensions.v1.CustomResourceDefinition")));
	compile(env, "crd.spec.versions.exists(v, v.name == 'v1')");
	env = env_with("request", cel_type_admission_request(&arena));
	compile(env, "request.namespace == 'a' && 'g' in request.userInfo.groups && request.operation == 'CREATE'");
	assert_non_null(strstr(refused(env, "request.object"), "undefined field 'object'"));
	env = env_with("namespaceObject", cel_type_namespace(&arena));
	compile(env, "namespaceObject.metadata.labels['a'] == 'b' && namespaceObject.status.phase == 'Active'");
}

/* ---- lazy fields ---- */

struct lazy {
	struct cel_lazy lazy;
	unsigned calls;
	const struct cel_program *program; /* of field "chain" */
	struct cel_value self;
};

static struct cel_value get(struct cel_lazy *l, struct arena *a, struct str field)
{
	struct lazy *x = container_of(l, struct lazy, lazy);
	struct cel_var vars[] = {{"variables", x->self}};
	struct cel_run r = {.arena = a, .vars = vars, .n_vars = 1};

	x->calls++;
	if (str_eqc(field, "bad"))
		return cel_error(a, "it is broken");
	if (str_eqc(field, "chain"))
		return cel_run(x->program, &r);
	return (struct cel_value){.kind = CEL_INT, .i = 21};
}

static void test_lazy(void **state)
{
	const struct cel_field fields[] = {{"n", &cel_int, NULL}, {"bad", &cel_int, NULL}, {"chain", &cel_dyn, NULL}};
	const struct cel_type *type = cel_type_object(&arena, "variables", fields, ARRAY_LEN(fields));
	struct cel_env *env = env_with("variables", type);
	struct lazy x = {.lazy.get = get};
	struct cel_value v;

	(void)state;
	x.self = cel_value_lazy(&arena, &x.lazy, type);
	v = run(compile(env, "variables.n + variables.n"), "variables", x.self);
	assert_int_equal(v.i, 42);
	assert_int_equal(x.calls, 1);
	v = run(compile(env, "has(variables.bad) || variables.bad == 1"), "variables", x.self);
	assert_true(v.b);
	assert_int_equal(x.calls, 1);
	v = run(compile(env, "variables.bad == 1"), "variables", x.self);
	assert_string_equal(v.s.p, "it is broken");
	assert_non_null(strstr(refused(env, "variables.nope"), "undefined field 'nope'"));
	/* What a lazy field's own run made stays. */
	x.program = compile(env, "['a' + string(variables.n), 'b']");
	v = run(compile(env, "variables.chain + ['c']"), "variables", x.self);
	assert_string_equal(json_of(v), "[\"a21\",\"b\",\"c\"]");
	v = run(compile(env, "variables.chain"), "variables", x.self);
	assert_string_equal(json_of(v), "[\"a21\",\"b\"]");
}

/* A field that asks for itself ends with an error, not with the stack. */
static void test_lazy_loop(void **state)
{
	const struct cel_field fields[] = {{"chain", &cel_dyn, NULL}};
	const struct cel_type *type = cel_type_object(&arena, "variables", fields, ARRAY_LEN(fields));
	struct cel_env *env = env_with("variables", type);
	struct lazy x = {.lazy.get = get};
	struct cel_value v;

	(void)state;
	x.self = cel_value_lazy(&arena, &x.lazy, type);
	x.program = compile(env, "[variables.chain]");
	v = run(compile(env, "variables.chain"), "variables", x.self);
	assert_int_equal(v.kind, CEL_ERROR);
	assert_string_equal(v.s.p, "expressions that use each other are nested too deeply");
}

/* ---- limits ---- */

static void test_limit(void **state)
{
	struct cel_env *env = env_with("x", &cel_dyn);
	struct cel_program *p = compile(env, "[1, 2, 3].map(i, i + 1)");
	struct cel_run r = {.arena = &arena, .limit = 5};
	struct cel_value v = cel_run(p, &r);

	(void)state;
	assert_int_equal(v.kind, CEL_ERROR);
	assert_string_equal(v.s.p, "operation cancelled: actual cost limit exceeded");
	assert_true(r.over_limit);
	assert_true(r.cost > 5);
	r.limit = 0;
	v = cel_run(p, &r);
	assert_string_equal(json_of(v), "[2,3,4]");
	assert_false(r.over_limit);
	/* An error that another side would absorb does not hide it. */
	r.limit = 3;
	v = cel_run(compile(env, "[1, 2, 3].all(i, i > 0) || true"), &r);
	assert_int_equal(v.kind, CEL_ERROR);
	assert_true(r.over_limit);
}

static const char *repeated(const char *head, const char *part, unsigned n, const char *tail)
{
	struct buf b = BUF_INIT;
	const char *s;

	buf_addc(&b, head);
	for (unsigned i = 0; i < n; i++)
		buf_addc(&b, part);
	buf_addc(&b, tail);
	s = arena_cstr(&arena, buf_str(&b));
	buf_fini(&b);
	return s;
}

/* Cheap by costs, huge in memory or work: they end, and leave nothing behind. */
static void test_bounds(void **state)
{
	static const char memory[] = "operation cancelled: the values made take more memory than an expression may use";
	static const char work[] = "operation cancelled: the expression looks at more than it may";
	struct cel_env *env = env_with("x", &cel_dyn);
	struct cel_run r = {.arena = &arena};
	struct cel_program *p = compile(env, repeated("[[1]]", ".map(a, a + a)", 60, ".size()"));
	size_t before = arena.used;
	struct cel_value v = cel_run(p, &r);

	(void)state;
	assert_string_equal(v.s.p, memory);
	assert_true(r.over_limit);
	assert_true(arena.used - before < 10000);
	v = cel_run(compile(env, repeated("[1]", ".map(a, [a, a])", 40, ".map(x, x == x)")), &r);
	assert_string_equal(v.s.p, work);
	/* Budgets see it. */
	assert_true(r.cost >= CEL_MAX_STEPS / CEL_STEPS_PER_COST);
	v = cel_run(compile(env, repeated("[1]", ".map(a, [a, a])", 40, "")), &r);
	assert_string_equal(v.s.p, "the result of the expression takes more memory than it may");
	assert_non_null(strstr(refused(env, repeated("[true", ",'a'.matches('((ab){300}c){9}')", 2000, "]")),
		"the regular expressions of the expression take too much memory"));
	assert_non_null(strstr(refused(env, repeated("1", "+1", 2000, "")), "expression is deeper than 1000 operators"));
	assert_non_null(strstr(refused(env, repeated("", "(", 300, "1")), "expression recursion limit exceeded: 250"));
	assert_non_null(strstr(refused(env, repeated("optional.of(1)", ".optMap(a, {a: a})", 60, "")), "too large"));
	assert_non_null(strstr(refused(env, repeated("'", "aaaaaaaaaa", 10001, "'")),
		"expression code point size exceeds limit: size: 100012, limit 100000"));
}

/* ---- results ---- */

static void test_json(void **state)
{
	static const char *const rows[][2] = {
		{"[1, 2u]", "refused"},
		{"[dyn(1), 2u, 1.5, 'a', b'hi', null, true]", "[1,2,1.5,\"a\",\"aGk=\",null,true]"},
		{"{'t': timestamp('2020-01-01T00:00:00Z')}", "{\"t\":\"2020-01-01T00:00:00Z\"}"},
		{"{'d': duration('90s')}", "{\"d\":\"90s\"}"},
		{"{1: 'a'}", "a map's keys must be strings"},
		{"[type(1)]", "a value of type type cannot be written as JSON"},
		{"Object{metadata: Object.metadata{labels: Object.metadata.labels{a: 'b'}}}", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"},
		{"[JSONPatch{op: 'remove', path: '/' + jsonpatch.escapeKey('a/b')}]", "[{\"op\":\"remove\",\"path\":\"/a~1b\"}]"},
		{"x.labels", "{\"k\":\"v\"}"},
		{"x.list + [9]", "[1,2,9]"},
	};
	struct cel_env *env = env_with("x", &cel_dyn);
	struct json *doc = NULL;

	(void)state;
	assert_int_equal(json_parse(&arena, STR("{\"labels\":{\"k\":\"v\"},\"list\":[1,2]}"), NULL, &doc, NULL), 0);
	for (size_t i = 1; i < ARRAY_LEN(rows); i++)
		assert_string_equal(
			json_of(run(compile(env, rows[i][0]), "x", cel_from_json(&arena, doc, NULL))), rows[i][1]);
	assert_non_null(strstr(refused(env, rows[0][0]), "expected type 'int' but found 'uint'"));
}

/* A program is never changed: the same constant list grows in two runs without one seeing the other. */
static void test_again(void **state)
{
	struct cel_env *env = env_with("x", &cel_int);
	struct cel_program *p = compile(env, "[1, 2].map(i, i).map(i, i + x) + [x]");

	(void)state;
	assert_string_equal(json_of(run(p, "x", (struct cel_value){.kind = CEL_INT, .i = 1})), "[2,3,1]");
	assert_string_equal(json_of(run(p, "x", (struct cel_value){.kind = CEL_INT, .i = 5})), "[6,7,5]");
	p = compile(env, "[1] + [x] == [1] + [x] ? ([1] + [x]) + ([1] + [x + 1]) : []");
	assert_string_equal(json_of(run(p, "x", (struct cel_value){.kind = CEL_INT, .i = 1})), "[1,1,1,2]");
	assert_string_equal(json_of(run(p, "x", (struct cel_value){.kind = CEL_INT, .i = 2})), "[1,2,1,3]");
}

static void test_optional_old(void **state)
{
	const struct cel_type *type = cel_type_optional(&arena, &cel_string);
	struct cel_env *env = env_with("oldSelf", type);
	struct cel_program *p = compile(env, "!oldSelf.hasValue() || oldSelf.value() == 'a'");
	struct cel_value a = cel_value_str(STR("a"));

	(void)state;
	assert_true(run(p, "oldSelf", cel_none()).b);
	assert_true(run(p, "oldSelf", cel_some(&arena, a)).b);
	assert_false(run(p, "oldSelf", cel_some(&arena, cel_value_str(STR("b")))).b);
	assert_string_equal(run(compile(env, "oldSelf.orValue('none')"), "oldSelf", cel_none()).s.p, "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_escape, setup, teardown),
		cmocka_unit_test_setup_teardown(test_schema_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lazy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lazy_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_optional_old, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * proto/cel: expressions and what they give. The rows are in tests/data/cel: "EXPRESSION => RESULT" or "EXPRESSION => RESULT @ COST";
 * a result that begins with "error:" or "refused:" is the text of a run's or compilation's (first) error. A line "!lib NAME" adds a
 * library that is not in the common set, "!schema" switches to `self` by a schema.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/cel/cel-priv.h"
#include "proto/field_errs.h"
#include "proto/structural.h"
#include "tests/lib/json_words.h"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

/* ---- values as text ---- */

static void print(struct buf *out, struct cel_value v)
{
	switch (v.kind) {
	case CEL_STRING:
		buf_printf(out, "'%.*s'", STR_FMT(v.s));
		break;
	case CEL_BYTES:
		buf_addc(out, "b'");
		for (size_t i = 0; i < v.s.n; i++)
			if (v.s.p[i] >= 32 && v.s.p[i] < 127)
				buf_add1(out, v.s.p[i]);
			else
				buf_printf(out, "\\x%02x", (unsigned char)v.s.p[i]);
		buf_add1(out, '\'');
		break;
	case CEL_UINT:
		buf_printf(out, "%lluu", (unsigned long long)v.u);
		break;
	case CEL_DOUBLE: {
		struct str s = cel__double_text(&arena, v.d);

		buf_adds(out, s);
		if (strpbrk(arena_cstr(&arena, s), ".eNI") == NULL)
			buf_addc(out, ".0");
		break;
	}
	case CEL_TIMESTAMP:
	case CEL_DURATION:
		buf_printf(out, "%s(%.*s)", v.kind == CEL_DURATION ? "duration" : "timestamp", STR_FMT(cel_value_text(&arena, v)));
		break;
	case CEL_LIST:
		buf_add1(out, '[');
		for (size_t i = 0; i < v.list->n; i++) {
			buf_addc(out, i > 0 ? ", " : "");
			print(out, cel__list_at(&arena, v.list, i));
		}
		buf_add1(out, ']');
		break;
	case CEL_MAP:
		if (v.map->type != NULL && v.map->type->kind == CEL_OBJECT)
			buf_addc(out, v.map->type->name);
		buf_add1(out, '{');
		for (size_t i = 0; i < v.map->n; i++) {
			struct cel_value key, value;

			cel__map_entry(&arena, v.map, i, &key, &value);
			buf_addc(out, i > 0 ? ", " : "");
			print(out, key);
			buf_addc(out, ": ");
			print(out, value);
		}
		buf_add1(out, '}');
		break;
	case CEL_OPTIONAL:
		if (v.optional == NULL) {
			buf_addc(out, "none");
		} else {
			buf_addc(out, "optional(");
			print(out, *v.optional);
			buf_add1(out, ')');
		}
		break;
	case CEL_OPAQUE:
		buf_printf(out, "%s(%.*s)", cel__opaque_types[v.opaque->kind].name, STR_FMT(cel__opaque_text(&arena, v.opaque)));
		break;
	case CEL_ERROR:
		buf_printf(out, "error: %.*s", STR_FMT(v.s));
		break;
	default:
		buf_adds(out, cel_value_text(&arena, v));
	}
}

static const char *text_of(struct cel_value v)
{
	struct buf out = BUF_INIT;
	const char *s;

	print(&out, v);
	s = arena_cstr(&arena, buf_str(&out));
	buf_fini(&out);
	return s;
}

/* ---- what the rows run in ---- */

static const char document[] =
	"{\"n\":3,\"d\":1.5,\"s\":\"text\",\"b\":true,\"null\":null,\"l\":[1,2,3],\"names\":[\"b\",\"a\",\"c\"],"
	"\"m\":{\"a\":1,\"b\":{\"c\":\"deep\"}},\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"labels\":{\"app\":\"x\",\"a/b\":\"y\"}},"
	"\"spec\":{\"replicas\":2,\"containers\":[{\"name\":\"a\",\"image\":\"one:1\"},{\"name\":\"b\",\"image\":\"two\",\"ports\":[80,443]}]}}";

static const char schema[] =
	"{\"type\":\"object\",\"required\":[\"count\"],\"properties\":{"
	"\"count\":{\"type\":\"integer\"},\"ratio\":{\"type\":\"number\"},\"name\":{\"type\":\"string\",\"maxLength\":10},"
	"\"any\":{\"type\":\"string\"},\"kinds\":{\"type\":\"string\",\"enum\":[\"a\",\"four\"]},"
	"\"on\":{\"type\":\"boolean\"},\"data\":{\"type\":\"string\",\"format\":\"byte\"},"
	"\"at\":{\"type\":\"string\",\"format\":\"date-time\"},\"day\":{\"type\":\"string\",\"format\":\"date\"},"
	"\"for\":{\"type\":\"string\",\"format\":\"duration\"},\"port\":{\"x-kubernetes-int-or-string\":true},"
	"\"list\":{\"type\":\"array\",\"maxItems\":5,\"items\":{\"type\":\"string\",\"maxLength\":3}},"
	"\"numbers\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},"
	"\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\"}},"
	"\"set2\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\"}},"
	"\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"key\"],\"maxItems\":10,"
	"\"items\":{\"type\":\"object\",\"required\":[\"key\"],\"properties\":{\"key\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\"}}}},"
	"\"items2\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"key\"],"
	"\"items\":{\"type\":\"object\",\"required\":[\"key\"],\"properties\":{\"key\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\"}}}},"
	"\"map\":{\"type\":\"object\",\"maxProperties\":4,\"additionalProperties\":{\"type\":\"integer\"}},"
	"\"dash-ed\":{\"type\":\"integer\"},\"dot.ted\":{\"type\":\"integer\"},\"a__b\":{\"type\":\"integer\"},"
	"\"namespace\":{\"type\":\"string\"},\"$odd\":{\"type\":\"string\"},"
	"\"free\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"
	"\"nested\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}}}}}";

static const char object[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"it\"},\"count\":7,\"ratio\":2,\"name\":\"abc\",\"any\":\"zz\","
	"\"kinds\":\"a\",\"on\":true,"
	"\"data\":\"aGk=\",\"at\":\"2020-02-03T04:05:06Z\",\"day\":\"2021-01-02\",\"for\":\"90s\",\"port\":\"80%\",\"list\":[\"x\",\"y\"],"
	"\"numbers\":[3,1,2],\"set\":[\"p\",\"q\"],\"set2\":[\"q\",\"p\"],"
	"\"items\":[{\"key\":\"k\",\"v\":1},{\"key\":\"l\",\"v\":2}],\"items2\":[{\"key\":\"l\",\"v\":2},{\"key\":\"k\",\"v\":1}],"
	"\"map\":{\"one\":1,\"two\":2},\"dash-ed\":1,\"dot.ted\":2,\"a__b\":3,\"namespace\":\"ns\",\"nested\":{\"x\":1}}";

/* The same with the elements of sets and maps in another order. */
static const char old_object[] =
	"{\"apiVersion\":\"v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"it\"},\"count\":7,\"ratio\":2,\"name\":\"abc\",\"any\":\"zz\","
	"\"kinds\":\"a\",\"on\":true,"
	"\"data\":\"aGk=\",\"at\":\"2020-02-03T04:05:06Z\",\"day\":\"2021-01-02\",\"for\":\"90s\",\"port\":\"80%\",\"list\":[\"x\",\"y\"],"
	"\"numbers\":[3,1,2],\"set\":[\"q\",\"p\"],\"set2\":[\"p\",\"q\"],"
	"\"items\":[{\"key\":\"l\",\"v\":2},{\"key\":\"k\",\"v\":1}],\"items2\":[{\"key\":\"k\",\"v\":1},{\"key\":\"l\",\"v\":2}],"
	"\"map\":{\"two\":2,\"one\":1},\"dash-ed\":1,\"dot.ted\":2,\"a__b\":3,\"namespace\":\"ns\",\"nested\":{\"x\":1}}";

struct rows {
	struct cel_env *env;
	struct cel_var vars[4];
	size_t n_vars;
	unsigned n;
};

static const struct cel_type *self_type(void)
{
	struct field_errs errs = {0};
	struct structural *s = structural_compile(&arena, parse(schema), NULL, &errs);

	assert_non_null(s);
	return cel_type_structural(&arena, s, true);
}

/* Just enough of a zone: an offset of two hours, under the name of Berlin. */
static struct str zone(void *arg, struct str name)
{
	static const char file[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
				   "\0\0\0\0\0\0UTC\0"
				   "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
				   "\0\0\0\0\0\0UTC\0"
				   "\nCET-1CEST,M3.5.0,M10.5.0/3\n";

	(void)arg;
	return str_eqc(name, "Europe/Berlin") ? str_of(file, sizeof(file) - 1) : STR_NULL;
}

/* Says yes to "get", fails for "fail", and gives what it was asked as the reason. */
static struct cel_decision decide(struct cel_authorizer *z, struct arena *a, const struct cel_query *q)
{
	struct cel_decision d = {.allowed = str_eqc(q->verb, "get")};

	(void)z;
	if (str_eqc(q->verb, "fail"))
		d.error = STR("broken");
	if (!q->resource_request)
		d.reason = arena_sprintf(a, "%.*s:%.*s %.*s %.*s", STR_FMT(q->service_account_namespace), STR_FMT(q->service_account),
			STR_FMT(q->path), STR_FMT(q->verb));
	else
		d.reason = arena_sprintf(a, "%.*s/%.*s/%.*s/%.*s/%.*s/%.*s%s%.*s%s%.*s", STR_FMT(q->namespace), STR_FMT(q->group),
			STR_FMT(q->resource), STR_FMT(q->subresource), STR_FMT(q->name), STR_FMT(q->verb),
			q->field_selector.n > 0 ? " " : "", STR_FMT(q->field_selector), q->label_selector.n > 0 ? " " : "",
			STR_FMT(q->label_selector));
	return d;
}

static void open_rows(struct rows *r, unsigned libs, bool with_schema)
{
	static struct cel_authorizer authorizer = {.check = decide};
	static const struct cel_query query = {.group = {"g", 1}, .resource = {"r", 1}, .name = {"n", 1}};
	struct json *self = parse(with_schema ? object : document);

	r->env = cel_env_new(&arena, libs);
	cel_env_var(r->env, "self", with_schema ? self_type() : &cel_dyn);
	cel_env_var(r->env, "unset", &cel_int);
	r->vars[0] = (struct cel_var){"self", cel_from_json(&arena, self, cel_env_var_type(r->env, "self"))};
	r->n_vars = 3;
	if (with_schema) {
		cel_env_var(r->env, "oldSelf", cel_env_var_type(r->env, "self"));
		r->vars[r->n_vars++] = (struct cel_var){
			"oldSelf", cel_from_json(&arena, parse(old_object), cel_env_var_type(r->env, "self"))};
	}
	cel_env_var(r->env, "authorizer", &cel_authorizer_type);
	cel_env_var(r->env, "authorizer.requestResource", &cel_authorizer_resource_type);
	r->vars[1] = (struct cel_var){"authorizer", cel_value_authorizer(&arena, &authorizer)};
	r->vars[2] = (struct cel_var){"authorizer.requestResource", cel_value_authorizer_resource(&arena, &authorizer, &query)};
}

static unsigned lib_named(const char *name)
{
	static const struct {
		const char *name;
		unsigned lib;
	} libs[] = {{"bindings", CEL_LIB_BINDINGS}, {"math", CEL_LIB_MATH}, {"encoders", CEL_LIB_ENCODERS},
		{"mutation", CEL_LIB_JSONPATCH | CEL_LIB_OBJECTS}};

	for (size_t i = 0; i < ARRAY_LEN(libs); i++)
		if (strcmp(libs[i].name, name) == 0)
			return libs[i].lib;
	fail_msg("no library %s", name);
	return 0;
}

/* The first message of a report, without its place. */
static const char *first_error(struct str report)
{
	struct str line, rest, place;

	str_cut(report, '\n', &line, &rest);
	for (int i = 0; i < 4; i++)
		str_cut(line, ':', &place, &line);
	return arena_printf(&arena, "refused:%.*s", (int)line.n, line.p);
}

static const char *run_row(struct rows *r, const char *expression, uint64_t *ret_cost)
{
	struct cel_run run = {.arena = &arena, .vars = r->vars, .n_vars = r->n_vars, .zone = zone};
	struct str error = STR_NULL;
	struct cel_program *p = cel_compile(&arena, r->env, str_from(expression), &error);
	struct cel_value v;

	if (p == NULL)
		return first_error(error);
	v = cel_run(p, &run);
	*ret_cost = run.cost;
	return text_of(v);
}

static void check_line(struct rows *r, const char *file, unsigned number, char *line)
{
	char *arrow = NULL, *at, *end;
	uint64_t cost = 0, want;
	const char *got;

	for (char *p = line; (p = strstr(p, " => ")) != NULL; p += 4)
		arrow = p;
	if (arrow == NULL) {
		fail_msg("%s:%u: no ' => '", file, number);
		return;
	}
	*arrow = '\0';
	got = run_row(r, line, &cost);
	at = strstr(arrow + 4, " @ ");
	if (at != NULL) {
		*at = '\0';
		want = strtoull(at + 3, &end, 10);
		if (*end != '\0' || want != cost) {
			print_error("%s:%u: %s\n  cost %llu, not %s\n", file, number, line, (unsigned long long)cost, at + 3);
			r->n++;
		}
	}
	if (strcmp(got, arrow + 4) != 0) {
		print_error("%s:%u: %s\n  gives %s\n  not   %s\n", file, number, line, got, arrow + 4);
		r->n++;
	}
}

static void check_file(const char *name, unsigned libs, bool with_schema)
{
	const char *dir = getenv("srcdir");
	struct rows r = {0};
	const char *path;
	FILE *f;
	char *line = NULL;
	size_t cap = 0, rows = 0;
	ssize_t n;

	arena_init(&arena);
	path = arena_printf(&arena, "%s/tests/data/cel/%s", dir != NULL ? dir : ".", name);
	f = fopen(path, "r");
	if (f == NULL)
		fail_msg("%s: cannot be opened", path);
	open_rows(&r, libs, with_schema);
	for (unsigned number = 1; (n = getline(&line, &cap, f)) > 0; number++) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "!lib ", 5) == 0)
			open_rows(&r, libs |= lib_named(line + 5), with_schema);
		else if (line[0] != '\0' && line[0] != '#') {
			check_line(&r, name, number, line);
			rows++;
		}
	}
	free(line);
	fclose(f);
	arena_fini(&arena);
	assert_int_equal(r.n, 0);
	assert_true(rows > 0);
}

static void test_core(void **state)
{
	(void)state;
	check_file("core.txt", CEL_LIBS_KUBERNETES, false);
}

static void test_libs(void **state)
{
	(void)state;
	check_file("libs.txt", CEL_LIBS_KUBERNETES, false);
}

static void test_schema(void **state)
{
	(void)state;
	check_file("schema.txt", CEL_LIBS_KUBERNETES, true);
}

/* The whole report of a compilation, with places. */
static void test_report(void **state)
{
	static const struct {
		const char *text, *report;
	} rows[] = {
		{"self.a ==\n  nothing", "ERROR: <input>:2:3: undeclared reference to 'nothing' (in container '')\n |   nothing\n | ..^"},
		{"nofunc(1) + x", "ERROR: <input>:1:7: undeclared reference to 'nofunc' (in container '')\n | nofunc(1) + x\n | ......^\n"
				  "ERROR: <input>:1:13: undeclared reference to 'x' (in container '')\n | nofunc(1) + x\n | ............^"},
		{"'\u00e9' == x", "ERROR: <input>:1:8: undeclared reference to 'x' (in container '')\n | '\u00e9' == x\n | .\uff0e.....^"},
	};
	struct str error = STR_NULL;

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cel_env *env = cel_env_new(&arena, CEL_LIBS_KUBERNETES);

		cel_env_var(env, "self", &cel_dyn);
		assert_null(cel_compile(&arena, env, str_from(rows[i].text), &error));
		assert_string_equal(error.p, rows[i].report);
	}
	arena_fini(&arena);
}

/* "MAX" or "MIN..MAX". */
static bool estimate_is(struct cel_cost cost, const char *text)
{
	const char *dots = strstr(text, "..");

	if (dots != NULL && cost.min != strtoull(text, NULL, 10))
		return false;
	return cost.max == strtoull(dots != NULL ? dots + 2 : text, NULL, 10);
}

static bool check_estimate(const char *file, unsigned number, char *line)
{
	char *bar = strstr(line, " | "), *arrow = NULL;
	struct field_errs errs = {0};
	struct cel_env *env = cel_env_new(&arena, CEL_LIBS_KUBERNETES);
	struct str error = STR_NULL;
	struct cel_program *p;
	const struct structural *s;
	struct structural *root;

	for (char *q = line; (q = strstr(q, " => ")) != NULL; q += 4)
		arrow = q;
	if (bar == NULL || arrow == NULL) {
		fail_msg("%s:%u: not SCHEMA | RULE => COST", file, number);
		return false;
	}
	*bar = *arrow = '\0';
	root = structural_compile(
		&arena, parse(arena_printf(&arena, "{\"type\":\"object\",\"properties\":{\"p\":%s}}", line)), NULL, &errs);
	assert_non_null(root);
	s = structural_property(root, STR("p"));
	cel_env_var(env, "self", cel_type_structural(&arena, s, false));
	cel_env_var(env, "oldSelf", cel_type_structural(&arena, s, false));
	p = cel_compile(&arena, env, str_from(bar + 3), &error);
	if (p == NULL)
		print_error("%s:%u: %.*s\n", file, number, STR_FMT(error));
	else if (!estimate_is(cel_program_cost(p), arrow + 4))
		print_error("%s:%u: %s | %s may cost %llu..%llu, not %s\n", file, number, line, bar + 3,
			(unsigned long long)cel_program_cost(p).min, (unsigned long long)cel_program_cost(p).max, arrow + 4);
	return p != NULL && estimate_is(cel_program_cost(p), arrow + 4);
}

static void test_estimates(void **state)
{
	const char *dir = getenv("srcdir");
	char *line = NULL, *path = NULL;
	size_t cap = 0;
	bool ok = true;
	FILE *f;

	(void)state;
	assert_true(asprintf(&path, "%s/tests/data/cel/estimates.txt", dir != NULL ? dir : ".") > 0);
	f = fopen(path, "r");
	assert_non_null(f);
	for (unsigned number = 1; getline(&line, &cap, f) > 0; number++) {
		line[strcspn(line, "\n")] = '\0';
		arena_init(&arena);
		if (line[0] != '\0' && line[0] != '#')
			ok = check_estimate("estimates.txt", number, line) && ok;
		arena_fini(&arena);
	}
	assert_true(ok);
	free(line);
	free(path);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_core),
		cmocka_unit_test(test_libs),
		cmocka_unit_test(test_schema),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_estimates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * proto/cel against what Kubernetes publishes of it: what expressions may cost, and what they cost (tests/data/cel/costs.txt, "EXPRESSION =>
 * LEAST..MOST @ COST", with the rules that the numbers follow from), and which functions there are (functions.txt).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "proto/cel/cel-priv.h"
#include "proto/field_errs.h"
#include "proto/structural.h"
#include "tests/lib/json_words.h"

static const char schema[] =
	"{'type':'object','properties':{"
	"'text':{'type':'string','maxLength':50},'word':{'type':'string','maxLength':10},'number':{'type':'integer'},'flag':{'type':'boolean'},"
	"'numbers':{'type':'array','maxItems':20,'items':{'type':'integer'}},"
	"'words':{'type':'array','maxItems':5,'items':{'type':'string','maxLength':8}},"
	"'counts':{'type':'object','maxProperties':3,'additionalProperties':{'type':'integer'}},"
	"'boxes':{'type':'array','maxItems':4,'items':{'type':'array','maxItems':3,'items':{'type':'integer'}}},"
	"'raw':{'type':'string','format':'byte','maxLength':40},'at':{'type':'string','format':'date-time'},'item':{'type':'integer'}}}";

static const char object[] =
	"{'text':'abcdefghijabcdefghijabcdefghijabcdefghijabcdefghij','word':'ghijkl','number':7,'flag':true,'numbers':[4,5,6],"
	"'words':['ab','cd'],'counts':{'a':1,'b':2},'boxes':[[1,2],[3]],'raw':'YWFhYWFhYWFhYWFhYWFhYWFhYWE=','at':'2020-02-03T04:05:06Z'}";

struct fixture {
	struct arena arena;
	struct cel_env *env;
	struct cel_authorizer authorizer;
	struct cel_var vars[2];
};

static struct cel_decision decide(struct cel_authorizer *z, struct arena *a, const struct cel_query *q)
{
	(void)z;
	(void)a;
	(void)q;
	return (struct cel_decision){.allowed = true};
}

static void open_fixture(struct fixture *f)
{
	struct field_errs errs = {0};
	struct structural *s;

	*f = (struct fixture){.authorizer = {.check = decide}};
	arena_init(&f->arena);
	s = structural_compile(&f->arena, json_must(&f->arena, str_from(json_quoted(&f->arena, schema))), NULL, &errs);
	assert_non_null(s);
	f->env = cel_env_new(&f->arena, CEL_LIBS_KUBERNETES);
	cel_env_var(f->env, "self", cel_type_structural(&f->arena, s, false));
	cel_env_var(f->env, "authorizer", &cel_authorizer_type);
	f->vars[0] = (struct cel_var){"self",
		cel_from_json(&f->arena, json_must(&f->arena, str_from(json_quoted(&f->arena, object))), cel_env_var_type(f->env, "self"))};
	f->vars[1] = (struct cel_var){"authorizer", cel_value_authorizer(&f->arena, &f->authorizer)};
}

static struct cel_value run(struct fixture *f, const struct cel_program *p, uint64_t limit, uint64_t *ret_cost)
{
	struct cel_run r = {.arena = &f->arena, .vars = f->vars, .n_vars = ARRAY_LEN(f->vars), .limit = limit};
	struct cel_value v = cel_run(p, &r);

	*ret_cost = r.cost;
	return v;
}

/* A row's expression costs what the row says; with that as its limit it still runs, with one less it does not. */
static bool check_row(struct fixture *f, unsigned number, char *line)
{
	char *arrow = NULL;
	const char *want;
	struct str error = STR_NULL;
	struct cel_program *p;
	struct cel_cost may;
	struct cel_value v;
	uint64_t cost, at_limit;
	const char *got;

	for (char *q = line; (q = strstr(q, " => ")) != NULL; q += 4)
		arrow = q;
	if (arrow == NULL)
		fail_msg("costs.txt:%u: not EXPRESSION => LEAST..MOST @ COST", number);
	*arrow = '\0';
	want = arrow + 4;
	p = cel_compile(&f->arena, f->env, str_from(line), &error);
	if (p == NULL) {
		print_error("costs.txt:%u: %.*s\n", number, STR_FMT(error));
		return false;
	}
	may = cel_program_cost(p);
	v = run(f, p, 0, &cost);
	got = arena_printf(&f->arena, "%llu..%llu @ %llu", (unsigned long long)may.min, (unsigned long long)may.max, (unsigned long long)cost);
	if (v.kind == CEL_ERROR || strcmp(got, want) != 0) {
		print_error("costs.txt:%u: %s\n  %s%.*s\n  not %s\n", number, line, got, v.kind == CEL_ERROR ? (int)v.s.n : 0, v.s.p, want);
		return false;
	}
	if (cost > 1 && (run(f, p, cost, &at_limit).kind == CEL_ERROR || run(f, p, cost - 1, &at_limit).kind != CEL_ERROR)) {
		print_error("costs.txt:%u: %s\n  is not stopped by a limit of one less than its cost, or by one of its cost\n", number, line);
		return false;
	}
	return true;
}

static void test_costs(void **state)
{
	const char *dir = getenv("srcdir");
	char *path = NULL, *line = NULL;
	size_t cap = 0, rows = 0, bad = 0;
	FILE *file;

	(void)state;
	assert_true(asprintf(&path, "%s/tests/data/cel/costs.txt", dir != NULL ? dir : ".") > 0);
	file = fopen(path, "r");
	assert_non_null(file);
	for (unsigned number = 1; getline(&line, &cap, file) > 0; number++) {
		struct fixture f;

		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		open_fixture(&f);
		bad += !check_row(&f, number, line);
		rows++;
		arena_fini(&f.arena);
	}
	free(line);
	free(path);
	fclose(file);
	assert_int_equal(bad, 0);
	assert_true(rows > 100);
}

/* ---- functions ---- */

static struct str data(struct arena *a, const char *name)
{
	const char *dir = getenv("srcdir");
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct str s;

	if (file_get(arena_printf(a, "%s/tests/data/cel/%s", dir != NULL ? dir : ".", name), 1 << 20, &b, &e) < 0)
		fail_msg("%s", e.text);
	s = arena_sprintf(a, "%.*s", STR_FMT(buf_str(&b)));
	buf_fini(&b);
	return s;
}

/* Is there "name(" in a row, and not as the end of a longer name? */
static bool called(struct str rows, struct str name)
{
	for (size_t i = 1; i + name.n < rows.n; i++)
		if (rows.p[i + name.n] == '(' && memcmp(rows.p + i, name.p, name.n) == 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@",
				rows.p[i - 1]) == NULL)
			return true;
	return false;
}

static bool listed(struct str table, const char *name)
{
	struct str line, word;

	while (str_cut(table, '\n', &line, &table), line.n > 0 || table.n > 0) {
		if (line.n == 0 || line.p[0] == '#')
			continue;
		str_cut(line, ':', &word, &line);
		while (str_cut(str_trim(line), ' ', &word, &line), word.n > 0)
			if (str_eqc(word, name))
				return true;
	}
	return false;
}

/* Every function of the table is called by a row of the others. */
static void test_functions_have_rows(void **state)
{
	struct arena a;
	struct str table, rows, line, word;
	size_t bad = 0, n = 0;

	(void)state;
	arena_init(&a);
	table = data(&a, "functions.txt");
	rows = arena_sprintf(&a, "\n%.*s%.*s%.*s%.*s", STR_FMT(data(&a, "core.txt")), STR_FMT(data(&a, "libs.txt")), STR_FMT(data(&a, "schema.txt")),
		STR_FMT(data(&a, "costs.txt")));
	while (str_cut(table, '\n', &line, &table), line.n > 0 || table.n > 0) {
		if (line.n == 0 || line.p[0] == '#')
			continue;
		str_cut(line, ':', &word, &line);
		while (str_cut(str_trim(line), ' ', &word, &line), word.n > 0) {
			n++;
			if (called(rows, word))
				continue;
			print_error("no row calls %.*s\n", STR_FMT(word));
			bad++;
		}
	}
	arena_fini(&a);
	assert_int_equal(bad, 0);
	assert_true(n > 140);
}

/* Every function that is known is in the table. */
static void test_functions_are_listed(void **state)
{
	struct arena a;
	struct str table;
	size_t bad = 0;

	(void)state;
	arena_init(&a);
	table = data(&a, "functions.txt");
	for (size_t i = 0; i < cel__n_libraries; i++)
		for (size_t j = 0; j < cel__libraries[i]->n; j++) {
			const char *name = cel__libraries[i]->overloads[j].function;

			if (strpbrk(name, "_@!-") != NULL || listed(table, name))
				continue;
			print_error("%s is not in functions.txt\n", name);
			bad++;
		}
	arena_fini(&a);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_functions_have_rows),
		cmocka_unit_test(test_functions_are_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * The schema against the facts: tests/data/api/fields.txt, enums.txt and resources.txt hold what the public API says, one line a
 * field, enum, resource and column. Our own tables, printed the same way, have to be the same, so that drift is seen.
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
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

#define MAX_LINE 4096

static struct arena arena;
static size_t n_wrong;

static FILE *facts(const char *name)
{
	const char *dir = getenv("srcdir");
	FILE *f = fopen(arena_printf(&arena, "%s/tests/data/api/%s", dir ? dir : ".", name), "r");

	assert_non_null(f);
	return f;
}

/* The next line that says something; NULL at the end. */
static char *next_line(FILE *f, char line[MAX_LINE])
{
	while (fgets(line, MAX_LINE, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#')
			return line;
	}
	return NULL;
}

static void wrong(const char *where, const char *want, const char *have)
{
	print_message("%s\n  want %s\n  have %s\n", where, want, have);
	n_wrong++;
}

/* ---- fields ---- */

static const char *kind_name(const struct schema_field *f)
{
	static const char *const names[] = {[SCHEMA_STRING] = "string", [SCHEMA_BYTES] = "bytes", [SCHEMA_BOOL] = "bool",
		[SCHEMA_INT32] = "int32", [SCHEMA_INT64] = "int64", [SCHEMA_DOUBLE] = "double"};

	return f->kind == SCHEMA_MESSAGE ? f->type->name : names[f->kind];
}

static void print_default(struct buf *b, const struct schema_more *m)
{
	struct json *v;

	if (!m->default_json || json_parse(&arena, str_from(m->default_json), NULL, &v, NULL) < 0)
		return;
	/* An empty string as a default says nothing. */
	if ((json_is(v, JSON_STRING) && v->s.n > 0) || json_is(v, JSON_NUMBER))
		buf_printf(b, " default=%.*s", STR_FMT(v->s));
	else if (json_is(v, JSON_BOOL))
		buf_printf(b, " default=%s", v->b ? "true" : "false");
}

static const char *field_line(const struct schema_field *f)
{
	static const struct {
		unsigned flag;
		const char *text;
	} lists[] = {{SCHEMA_LIST_ATOMIC, " list=atomic"}, {SCHEMA_LIST_SET, " list=set"}, {SCHEMA_LIST_MAP, " list=map"}};
	static const struct {
		unsigned flag;
		const char *text;
	} structs[] = {{SCHEMA_STRUCT_ATOMIC, " struct=atomic"}, {SCHEMA_STRUCT_GRANULAR, " struct=granular"}};
	struct buf b = BUF_INIT, flags = BUF_INIT;
	const char *text;

	buf_addc(&flags, schema_is(f, SCHEMA_REPEATED) ? "r" : "");
	buf_addc(&flags, schema_is(f, SCHEMA_ALWAYS) ? "A" : "");
	buf_addc(&flags, schema_is(f, SCHEMA_INLINE) ? "I" : "");
	buf_addc(&flags, schema_is(f, SCHEMA_POINTER) ? "P" : "");
	buf_addc(&flags, schema_is(f, SCHEMA_REQUIRED) ? "R" : "");
	buf_addc(&flags, schema_is(f, SCHEMA_OPTIONAL) ? "O" : "");
	buf_printf(&b, "%u %s %s%s %s", f->number, f->json[0] ? f->json : "-", schema_is(f, SCHEMA_MAP) ? "map:" : "", kind_name(f),
		flags.n ? flags.p : "-");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		buf_addc(&b, schema_is(f, lists[i].flag) ? lists[i].text : "");
	for (size_t i = 0; i < f->more->n_map_keys; i++)
		buf_printf(&b, "%s%s", i ? "," : " keys=", f->more->map_keys[i]);
	for (size_t i = 0; i < ARRAY_LEN(structs); i++)
		buf_addc(&b, schema_is(f, structs[i].flag) ? structs[i].text : "");
	if (f->more->patch_strategy)
		buf_printf(&b, " strategy=%s", f->more->patch_strategy);
	if (f->more->patch_merge_key)
		buf_printf(&b, " merge=%s", f->more->patch_merge_key);
	if (f->more->enum_type)
		buf_printf(&b, " enum=%s", strrchr(f->more->enum_type->name, '.') + 1);
	print_default(&b, f->more);
	text = arena_cstr(&arena, buf_str(&b));
	buf_fini(&b);
	buf_fini(&flags);
	return text;
}

static void test_fields(void **state)
{
	char line[MAX_LINE];
	FILE *f = facts("fields.txt");
	const struct schema_type *t = NULL;
	size_t n_types = 0, n_fields = 0, seen = 0;
	bool *listed = xcalloc(n_schema_types, sizeof(*listed));

	(void)state;
	while (next_line(f, line)) {
		const struct schema_field *field;

		if (str_has_prefix(str_from(line), STR("T "))) {
			if (t && seen != t->n_fields)
				wrong(t->name, arena_printf(&arena, "%zu fields", seen), arena_printf(&arena, "%u", t->n_fields));
			seen = 0;
			n_types++;
			t = schema_type_find(line + 2);
			if (!t)
				wrong(line, "a type", "none");
			else
				listed[t - schema_types] = true;
			continue;
		}
		if (!t)
			continue;
		seen++;
		n_fields++;
		field = schema_field_number(t, strtoul(line, NULL, 10));
		if (!field)
			wrong(t->name, arena_strdup(&arena, line), "nothing");
		else if (strcmp(field_line(field), line) != 0)
			wrong(t->name, arena_strdup(&arena, line), field_line(field));
	}
	fclose(f);
	for (size_t i = 0; i < n_schema_types; i++) {
		const char *name = schema_types[i].full_name;
		bool api = strncmp(name, "k8s.io.", 7) == 0 && strncmp(name, "k8s.io.apimachinery.", 20) != 0;

		if (api && !listed[i] && schema_types[i].n_fields > 0)
			wrong(name, "nothing", "a type");
	}
	free(listed);
	assert_int_equal(n_wrong, 0);
	assert_true(n_types > 600);
	assert_true(n_fields > 2300);
}

/* ---- enums ---- */

static const struct schema_enum *enum_find(const char *name)
{
	for (size_t i = 0; i < n_schema_types; i++)
		for (size_t k = 0; k < schema_types[i].n_fields; k++) {
			const struct schema_enum *e = schema_types[i].fields[k].more->enum_type;

			if (e && strcmp(e->name, name) == 0)
				return e;
		}
	return NULL;
}

/* "k8s.io.api.core.v1.Protocol" -> "core.v1.Protocol" */
static const char *short_name(char *full)
{
	char *p = full + strlen(full);

	for (int dots = 0; p > full; p--)
		if (*p == '.' && ++dots == 3)
			return p + 1;
	return full;
}

static void test_enums(void **state)
{
	char line[MAX_LINE];
	FILE *f = facts("enums.txt");
	size_t n = 0;

	(void)state;
	while (next_line(f, line)) {
		char *values = strchr(line, ' ');
		const struct schema_enum *e;
		struct buf b = BUF_INIT;

		*values++ = '\0';
		e = enum_find(short_name(line));
		/* Types of values that no field has are not in the tables. */
		if (!e)
			continue;
		n++;
		for (size_t i = 0; i < e->n_values; i++)
			buf_printf(&b, "%s%s", i ? " " : "", e->values[i]);
		if (strcmp(b.p ? b.p : "", values) != 0)
			wrong(line, arena_strdup(&arena, values), arena_cstr(&arena, buf_str(&b)));
		buf_fini(&b);
	}
	fclose(f);
	assert_int_equal(n_wrong, 0);
	assert_true(n > 80);
}

/* ---- resources ---- */

/* What came after 1.32, and so is not in the file: in the order of the table. */
static const char *const newer[] = {"networking.k8s.io/ipaddresses", "networking.k8s.io/servicecidrs",
	"networking.k8s.io/servicecidrs/status", "storage.k8s.io/volumeattributesclasses",
	"admissionregistration.k8s.io/mutatingadmissionpolicies",
	"admissionregistration.k8s.io/mutatingadmissionpolicybindings", "resource.k8s.io/deviceclasses",
	"resource.k8s.io/resourceclaims", "resource.k8s.io/resourceclaims/status",
	"resource.k8s.io/resourceclaimtemplates", "resource.k8s.io/resourceslices", "core/pods/resize",
	"metrics.k8s.io/nodes", "metrics.k8s.io/pods"};

static const char *or_dash(const char *s)
{
	return s[0] ? s : "-";
}

static const char *verbs_text(unsigned verbs)
{
	const char *text = "";

	for (unsigned i = 0; i < RESOURCE_N_VERBS; i++)
		if (verbs & (1u << i))
			text = arena_printf(&arena, "%s%s%s", text, text[0] ? "," : "", resource_verb_names[i]);
	return text;
}

static bool is_newer(const char *group, const char *name)
{
	const char *both = arena_printf(&arena, "%s/%s", group, name);

	for (size_t i = 0; i < ARRAY_LEN(newer); i++)
		if (strcmp(newer[i], both) == 0)
			return true;
	return false;
}

/* Our rows in the file's form. */
static void print_resources(struct buf *b)
{
	RESOURCE_FOR_EACH (r) {
		const char *group = r->group[0] ? r->group : "core", *scope = r->namespaced ? "namespaced" : "cluster";
		const struct resource_sub *subs;
		const struct resource_column *columns;
		size_t n;

		if (is_newer(group, r->plural))
			continue;
		buf_printf(b, "R %s %s %s %s %s - %s %s %s %s\n", group, r->version, r->plural, r->singular, r->kind, scope,
			verbs_text(r->verbs), or_dash(r->short_names), or_dash(r->categories));
		columns = resource_columns(r, &n);
		for (size_t i = 0; i < n; i++)
			buf_printf(b, "C %s|%s|%s|%d\n", columns[i].name, columns[i].type, columns[i].format, columns[i].priority);
		subs = resource_subs(r, &n);
		for (size_t i = 0; i < n; i++) {
			const char *name = arena_printf(&arena, "%s/%s", r->plural, subs[i].name);

			if (!is_newer(group, name))
				buf_printf(b, "R %s %s %s - %s %s %s %s - -\n", group, r->version, name, subs[i].kind,
					or_dash(subs[i].api_version), scope, verbs_text(subs[i].verbs));
		}
	}
}

static void test_resources(void **state)
{
	char line[MAX_LINE];
	FILE *f = facts("resources.txt");
	struct buf b = BUF_INIT;
	struct str rest, have;
	size_t n = 0;

	(void)state;
	print_resources(&b);
	rest = buf_str(&b);
	while (next_line(f, line)) {
		n++;
		str_cut(rest, '\n', &have, &rest);
		if (!str_eqc(have, line)) {
			wrong(arena_printf(&arena, "line %zu", n), line, arena_cstr(&arena, have));
			break;
		}
	}
	assert_int_equal(rest.n, 0);
	fclose(f);
	buf_fini(&b);
	assert_int_equal(n_wrong, 0);
	assert_true(n > 350);
}

static int setup(void **state)
{
	(void)state;
	arena_init(&arena);
	n_wrong = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_enums, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resources, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

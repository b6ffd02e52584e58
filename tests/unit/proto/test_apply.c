/* proto/fieldset.h, typed.h, fieldmanager.h: field paths, who owns them, and applying. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/codec.h"
#include "proto/fieldmanager.h"
#include "proto/fieldset.h"
#include "proto/schema.h"
#include "proto/typed.h"
#include "tests/lib/json_words.h"

#define T1 "2024-01-01T00:00:00Z"
#define T2 "2024-01-02T00:00:00Z"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static struct json *quoted(const char *text)
{
	return parse(json_quoted(&arena, text));
}

static const char *text_of(const struct json *j)
{
	return json_text(&arena, j).p;
}

static void check_equal(const struct json *got, const char *want)
{
	struct json *w = quoted(want);

	if (strcmp(text_of(got), text_of(w)) != 0)
		fail_msg("got  %s\nwant %s", text_of(got), text_of(w));
}

/* --- Sets ---------------------------------------------------------------------------------------------------------------- */

static struct json *set_of(const char *text)
{
	struct json *set = NULL;
	struct err e = ERR_INIT;

	if (fieldset_parse(&arena, quoted(text), &set, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return set;
}

static void test_sets(void **state)
{
	(void)state;
	static const struct {
		const char *a, *b, *sum, *less, *both;
	} rows[] = {
		{"{'f:a':{},'f:b':{}}", "{'f:b':{}}", "{'f:a':{},'f:b':{}}", "{'f:a':{}}", "{'f:b':{}}"},
		{"{'f:a':{'.':{},'f:x':{}}}", "{'f:a':{}}", "{'f:a':{'.':{},'f:x':{}}}", "{'f:a':{'f:x':{}}}", "{'f:a':{}}"},
		{"{'f:a':{'f:x':{}}}", "{'f:a':{'f:y':{}}}", "{'f:a':{'f:x':{},'f:y':{}}}", "{'f:a':{'f:x':{}}}", "{}"},
		{"{'f:a':{'.':{},'f:x':{}}}", "{'f:a':{'f:x':{}}}", "{'f:a':{'.':{},'f:x':{}}}", "{'f:a':{}}", "{'f:a':{'f:x':{}}}"},
		{"{}", "{'f:a':{}}", "{'f:a':{}}", "{}", "{}"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *a = set_of(rows[i].a), *b = set_of(rows[i].b), *none = json_new_object(&arena), *r;

		r = fieldset_union(&arena, a, b);
		check_equal(r ? r : none, rows[i].sum);
		r = fieldset_difference(&arena, a, b);
		check_equal(r ? r : none, rows[i].less);
		r = fieldset_intersection(&arena, a, b);
		check_equal(r ? r : none, rows[i].both);
		assert_true(fieldset_difference(&arena, a, a) == NULL);
		assert_true(fieldset_equal(fieldset_union(&arena, a, b), fieldset_union(&arena, b, a)));
	}
}

/* Upstream's order, and texts that mean the same are one. */
static void test_canonical(void **state)
{
	(void)state;
	struct json *set = set_of("{'i:1':{},'v:\\'b\\'':{},'v:2':{},'k:{ \\'port\\': 443 }':{},'k:{\\'port\\':80}':{},'f:z':{},"
				  "'f:a':{'.':{}},'x:future':{},'k:{\\'port\\':443}':{'f:n':{}}}");
	struct str *paths;
	size_t n;

	check_equal(set, "{'f:a':{},'f:z':{},'k:{\\'port\\':80}':{},'k:{\\'port\\':443}':{'.':{},'f:n':{}},'v:2':{},'v:\\'b\\'':{},"
			 "'i:1':{}}");
	n = fieldset_paths(&arena, set, &paths);
	assert_int_equal(n, 8);
	assert_string_equal(paths[0].p, ".a");
	assert_string_equal(paths[2].p, "[port=80]");
	assert_string_equal(paths[5].p, "[=\"b\"]");
	assert_string_equal(paths[7].p, "[port=443].n");
}

static void test_bad_sets(void **state)
{
	(void)state;
	static const char *const bad[] = {"{'f':{}}", "{'k:1':{}}", "{'k:{':{}}", "{'i:x':{}}", "{'f:a':1}", "[]", "{'v:':{}}"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct json *set;
		struct err e = ERR_INIT;

		assert_true(fieldset_parse(&arena, quoted(bad[i]), &set, &e) < 0);
		assert_true(e.text[0] != '\0');
	}
}

static struct json *normalize(const struct schema_type *t, const struct json *obj)
{
	_cleanup_(buf_fini) struct buf wire = BUF_INIT;
	struct codec_errs *errs = arena_new_of(&arena, struct codec_errs);
	struct err e = ERR_INIT;
	struct json *out;

	codec_errs_init(errs, &arena);
	codec_to_wire(&wire, t, obj, errs);
	assert_null(codec_errs_hard(errs));
	if (codec_wire_to_dom(&arena, t, arena_str(&arena, buf_str(&wire)), NULL, &out, &e) < 0)
		fail_msg("%s", e.text);
	return out;
}

static struct fieldmanager manager(const char *type, const char *name, const char *now)
{
	const struct schema_type *t = schema_type_find(type);

	return (struct fieldmanager){&arena, t, t->api_version, str_from(name), STR(""), str_from(now), false};
}

/* --- Applying ---------------------------------------------------------------------------------------------------------------- */

#define DEPLOYMENT "'apiVersion':'apps/v1','kind':'Deployment'"

/* What happens in turn to one object: '+' applies, '!' with force, '=' updates; who, what. */
struct turn {
	char how;
	const char *who, *body;
	const char *want;  /* the object without managedFields; NULL: not looked at */
	const char *error; /* NULL: none */
};

static struct json *without_managed(const struct json *obj)
{
	struct json *copy = json_copy(&arena, obj);

	json_delp(copy, "metadata.managedFields");
	if (json_len(json_getc(copy, "metadata")) == 0)
		json_delc(copy, "metadata");
	return copy;
}

/* What the store would keep: nulls and empty structs as the codec has them. */
static void check_object(const struct schema_type *t, const struct json *got, const char *want)
{
	struct json *a = normalize(t, without_managed(got)), *b = normalize(t, quoted(want));

	if (!json_equal(a, b))
		fail_msg("got  %s\nwant %s", text_of(a), text_of(b));
}

static struct str apply_one(const char *type, const char *who, const char *now, struct json **io, struct json *config, bool force)
{
	struct fieldmanager fm = manager(type, who, now);
	struct fieldmanager_conflicts conflicts;
	struct str why;
	struct err e = ERR_INIT;
	struct json *before = json_copy(&arena, *io ? *io : json_new_null(&arena)), *sent = json_copy(&arena, config), *out;
	int rc = fieldmanager_apply(&fm, *io, config, force, &out, &conflicts, &why, &e);

	/* Nothing that went in was changed. */
	assert_true(*io == NULL || json_equal(before, *io));
	assert_true(json_equal(sent, config));
	if (rc == 0) {
		*io = normalize(fm.type, out);
		return STR_NULL;
	}
	if (conflicts.n > 0)
		return fieldmanager_conflict_text(&arena, &conflicts);
	return why.n > 0 ? why : arena_str(&arena, str_from(e.text));
}

static struct json *play(const char *type, const struct turn *turns)
{
	struct json *obj = NULL;

	for (const struct turn *t = turns; t->how; t++) {
		struct json *body = quoted(t->body);

		if (t->how == '=') {
			struct fieldmanager fm = manager(type, t->who, T1);
			struct json *next = normalize(fm.type, body);

			fieldmanager_update(&fm, obj, next);
			obj = normalize(fm.type, next);
		} else {
			struct str error = apply_one(type, t->who, T1, &obj, body, t->how == '!');

			if (!t->error && error.n > 0)
				fail_msg("%s: %s", t->body, error.p);
			if (t->error && (error.n == 0 || strcmp(error.p, t->error) != 0))
				fail_msg("%s:\ngot  %s\nwant %s", t->body, error.n ? error.p : "(none)", t->error);
		}
		if (t->want)
			check_object(schema_type_find(type), obj, t->want);
	}
	return obj;
}

#define CM(data) "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c'}," data "}"

static void test_ownership(void **state)
{
	(void)state;
	static const struct turn turns[] = {
		{'+', "a", CM("'data':{'x':'1','y':'2'}"), CM("'data':{'x':'1','y':'2'}"), NULL},
		/* The same again changes nothing. */
		{'+', "a", CM("'data':{'x':'1','y':'2'}"), CM("'data':{'x':'1','y':'2'}"), NULL},
		/* Another value is a conflict, the same value shares. */
		{'+', "b", CM("'data':{'x':'9'}"), CM("'data':{'x':'1','y':'2'}"),
			"Apply failed with 1 conflict: conflict with \"a\": .data.x"},
		{'+', "b", CM("'data':{'x':'9','y':'9'}"), NULL,
			"Apply failed with 2 conflicts: conflicts with \"a\":\n- .data.x\n- .data.y"},
		{'+', "b", CM("'data':{'x':'1','z':'3'}"), CM("'data':{'x':'1','y':'2','z':'3'}"), NULL},
		/* Who no longer names a shared field leaves it to the other; what only it owned goes. */
		{'+', "a", CM("'data':{'y':'2'}"), CM("'data':{'x':'1','y':'2','z':'3'}"), NULL},
		{'+', "a", CM("'data':{}"), CM("'data':{'x':'1','z':'3'}"), NULL},
		{'!', "a", CM("'data':{'x':'7'}"), CM("'data':{'x':'7','z':'3'}"), NULL},
		/* An update takes what it changes; dropping it afterwards does not remove it. */
		{'=', "u", CM("'data':{'x':'8','z':'3'}"), NULL, NULL},
		{'+', "a", CM("'data':{'x':'7'}"), NULL, "Apply failed with 1 conflict: conflict with \"u\" using v1: .data.x"},
		{'+', "a", CM("'data':{}"), CM("'data':{'x':'8','z':'3'}"), NULL},
		{0, NULL, NULL, NULL, NULL},
	};

	play("core.v1.ConfigMap", turns);
}

#define DEPLOY(spec) "{" DEPLOYMENT ",'metadata':{'name':'d'},'spec':{" spec "}}"
#define PODS(containers) "'template':{'spec':{'containers':[" containers "]}}"

static void test_lists(void **state)
{
	(void)state;
	static const struct turn turns[] = {
		{'+', "a", DEPLOY("'replicas':2," PODS("{'name':'x','image':'1'},{'name':'y','image':'1'}")), NULL, NULL},
		{'+', "b", DEPLOY(PODS("{'name':'z','image':'2'},{'name':'x','ports':[{'containerPort':80}]}")),
			DEPLOY("'replicas':2," PODS("{'name':'z','image':'2'},{'name':'x','image':'1','ports':[{'containerPort':80}]},{'name':'y','image':'1'}")),
			NULL},
		/* a drops x: the image goes, the element stays for b's port. */
		{'+', "a", DEPLOY(PODS("{'name':'y','image':'1'}")),
			DEPLOY(PODS("{'name':'z','image':'2'},{'name':'x','ports':[{'containerPort':80}]},{'name':'y','image':'1'}")), NULL},
		{'+', "c", DEPLOY(PODS("{'name':'y','image':'3'}")), NULL,
			"Apply failed with 1 conflict: conflict with \"a\": .spec.template.spec.containers[name=\"y\"].image"},
		{'+', "c", DEPLOY(PODS("{'name':'y'},{'name':'y'}")), NULL,
			"failed to create typed patch object (/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for "
			"key [name=\"y\"]"},
		{'+', "c", DEPLOY("'replicas':'3','wrong':1"), NULL,
			"failed to create typed patch object (/d; apps/v1, Kind=Deployment): errors:\n  .spec.replicas: expected numeric (int or "
			"float), got string\n  .spec.wrong: field not declared in schema"},
		{'+', "c", DEPLOY(PODS("{'image':'1'}")), NULL,
			"failed to create typed patch object (/d; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: "
			"associative list with keys has an element that omits key field \"name\" (and doesn't have default value)"},
		{'+', "c", "{'apiVersion':'v1','kind':'Deployment','metadata':{'name':'d'}}", NULL,
			"Incorrect version specified in apply patch. Specified patch version: v1, expected: apps/v1"},
		{'+', "c", "{" DEPLOYMENT ",'metadata':{'name':'d','managedFields':[{}]}}", NULL, "metadata.managedFields must be nil"},
		{0, NULL, NULL, NULL, NULL},
	};

	play("apps.v1.Deployment", turns);
}

/* finalizers are a set; ownerReferences are keyed, and each is one value. */
static void test_sets_of_scalars(void **state)
{
	(void)state;
	static const struct turn turns[] = {
		{'+', "a", "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','finalizers':['k/a','k/b']}}", NULL, NULL},
		{'+', "b", "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','finalizers':['k/c','k/b']}}",
			"{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','finalizers':['k/a','k/c','k/b']}}", NULL},
		{'+', "a", "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c'}}",
			"{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'c','finalizers':['k/c','k/b']}}", NULL},
		{0, NULL, NULL, NULL, NULL},
	};

	play("core.v1.ConfigMap", turns);
}

/* Where live and the configuration order shared elements otherwise, the configuration's order counts. */
static void test_order(void **state)
{
	(void)state;
	static const struct {
		const char *live, *config, *merged;
	} rows[] = {
		{"['k/a','k/b','k/c']", "['k/c','k/a']", "['k/b','k/c','k/a']"},
		{"['k/a','k/b']", "['k/x','k/a','k/y']", "['k/x','k/a','k/b','k/y']"},
		{"['k/a','k/b','k/c']", "['k/b']", "['k/a','k/b','k/c']"},
		{"['k/a','k/b','k/c','k/d']", "['k/d','k/c']", "['k/a','k/b','k/d','k/c']"},
		{"[]", "['k/b','k/a']", "['k/b','k/a']"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *live = quoted(arena_printf(&arena, "{'metadata':{'finalizers':%s}}", rows[i].live));
		struct json *config = quoted(arena_printf(&arena, "{'metadata':{'finalizers':%s}}", rows[i].config));

		check_equal(json_getp(typed_merge(&arena, schema_type_find("core.v1.ConfigMap"), live, config), "metadata.finalizers"),
				rows[i].merged);
	}
}

static const struct json *entry_of(const struct json *obj, const char *who, const char *operation)
{
	JSON_ITEMS (it, json_getp(obj, "metadata.managedFields"))
		if (json_eqc(json_getc(it, "manager"), who) && json_eqc(json_getc(it, "operation"), operation))
			return it;
	return NULL;
}

/* An object that had no managers gets one for what was there. */
static void test_before_first_apply(void **state)
{
	(void)state;
	struct json *obj = quoted(CM("'data':{'x':'1'}"));

	assert_int_equal(apply_one("core.v1.ConfigMap", "a", T1, &obj, quoted(CM("'data':{'y':'1'}")), false).n, 0);
	check_equal(json_getc(entry_of(obj, "before-first-apply", "Update"), "fieldsV1"), "{'f:data':{'.':{},'f:x':{}}}");
	check_equal(json_getc(entry_of(obj, "a", "Apply"), "fieldsV1"), "{'f:data':{'f:y':{}}}");
}

/* kubectl goes from client-side to server-side apply: what it applied itself is no conflict, and its record follows. */
static void test_migration(void **state)
{
	(void)state;
	struct fieldmanager fm = manager("core.v1.ConfigMap", "kubectl-client-side-apply", T1);
	struct json *obj = quoted(CM("'data':{'x':'1','y':'1'}")), *next;
	struct str error;

	json_setp(&arena, obj, "metadata.annotations", json_new_object(&arena));
	json_setc(&arena, json_getp(obj, "metadata.annotations"), FIELDMANAGER_LAST_APPLIED,
			json_newc(&arena, text_of(quoted(CM("'data':{'x':'1','y':'1'}")))));
	fieldmanager_update(&fm, NULL, obj);
	next = json_copy(&arena, obj);
	json_setp(&arena, next, "data.y", json_newc(&arena, "other"));
	fm.manager = STR("somebody");
	fieldmanager_update(&fm, obj, next);
	obj = next;
	error = apply_one("core.v1.ConfigMap", "kubectl", T1, &obj, quoted(CM("'data':{'x':'2','y':'2'}")), false);
	assert_string_equal(error.p, "Apply failed with 1 conflict: conflict with \"somebody\" using v1: .data.y");
	error = apply_one("core.v1.ConfigMap", "kubectl", T1, &obj, quoted(CM("'data':{'x':'2'}")), false);
	assert_int_equal(error.n, 0);
	assert_string_equal(json_cstr(json_getp(obj, "data.x")), "2");
	check_equal(parse(json_cstr(json_getc(json_getp(obj, "metadata.annotations"), FIELDMANAGER_LAST_APPLIED))),
			"{'apiVersion':'v1','data':{'x':'2'},'kind':'ConfigMap','metadata':{'name':'c'}}");
}

static void test_times(void **state)
{
	(void)state;
	struct json *obj = NULL;
	struct fieldmanager fm = manager("core.v1.ConfigMap", "u", T2);
	struct json *next;

	apply_one("core.v1.ConfigMap", "a", T1, &obj, quoted(CM("'data':{'x':'1'}")), false);
	apply_one("core.v1.ConfigMap", "a", T2, &obj, quoted(CM("'data':{'x':'1'}")), false);
	assert_string_equal(json_cstr(json_getc(entry_of(obj, "a", "Apply"), "time")), T1);
	/* An update that changes nothing is by nobody. */
	next = json_copy(&arena, obj);
	fieldmanager_update(&fm, obj, next);
	assert_true(json_equal(next, obj));
	apply_one("core.v1.ConfigMap", "a", T2, &obj, quoted(CM("'data':{'x':'2'}")), false);
	assert_string_equal(json_cstr(json_getc(entry_of(obj, "a", "Apply"), "time")), T2);
	assert_true(fieldmanager_same_but_time(quoted("[{'time':'1','manager':'a'}]"), quoted("[{'time':'2','manager':'a'}]")));
	assert_false(fieldmanager_same_but_time(quoted("[{'manager':'b'}]"), quoted("[{'manager':'a'}]")));
}

static void test_edited_by_hand(void **state)
{
	(void)state;
	struct fieldmanager fm = manager("core.v1.ConfigMap", "u", T2);
	struct json *obj = NULL, *next;

	apply_one("core.v1.ConfigMap", "a", T1, &obj, quoted(CM("'data':{'x':'1'}")), false);
	/* What does not parse counts as not sent. */
	next = json_copy(&arena, obj);
	json_setp(&arena, next, "metadata.managedFields", quoted("[{'manager':'z','operation':'Apply','fieldsType':'X'}]"));
	fieldmanager_update(&fm, obj, next);
	assert_non_null(entry_of(next, "a", "Apply"));
	/* A list in order is taken as it is. */
	json_setp(&arena, next, "metadata.managedFields",
			quoted("[{'manager':'z','operation':'Apply','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':{'f:x':{}}}}]"));
	fieldmanager_update(&fm, obj, next);
	assert_non_null(entry_of(next, "z", "Apply"));
	assert_null(entry_of(next, "a", "Apply"));
	/* [{}] drops all; updates then leave it so. */
	json_setp(&arena, next, "metadata.managedFields", quoted("[{}]"));
	json_setp(&arena, next, "data.x", json_newc(&arena, "2"));
	fieldmanager_update(&fm, obj, next);
	assert_null(json_getp(next, "metadata.managedFields"));
	/* Not through a subresource. */
	fm.subresource = STR("status");
	json_setp(&arena, next, "metadata.managedFields", quoted("[{}]"));
	fieldmanager_update(&fm, obj, next);
	check_equal(json_getc(entry_of(next, "u", "Update"), "subresource"), "'status'");
	check_equal(json_getc(entry_of(next, "u", "Update"), "fieldsV1"), "{'f:data':{'f:x':{}}}");
}

static void test_many_updaters(void **state)
{
	(void)state;
	struct json *obj = quoted(CM("'data':{'k':'0'}"));
	size_t updates = 0;

	for (int i = 0; i < 25; i++) {
		char who[8], now[32];
		struct fieldmanager fm = manager("core.v1.ConfigMap", "", T1);
		struct json *next = json_copy(&arena, obj);

		snprintf(who, sizeof(who), "m%02d", i);
		snprintf(now, sizeof(now), "2024-01-01T00:00:%02dZ", i);
		fm.manager = arena_str(&arena, str_from(who));
		fm.now = arena_str(&arena, str_from(now));
		json_set(&arena, json_getc(next, "data"), fm.manager, json_newc(&arena, "v"));
		fieldmanager_update(&fm, i ? obj : NULL, next);
		obj = next;
	}
	JSON_ITEMS (it, json_getp(obj, "metadata.managedFields"))
		updates += json_eqc(json_getc(it, "operation"), "Update");
	assert_int_equal(updates, FIELDMANAGER_MAX_UPDATES);
	check_equal(json_getc(json_at(json_getp(obj, "metadata.managedFields"), 0), "manager"), "'ancient-changes'");
}

/* --- Laws on random objects -------------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

/* Part of a Deployment. `side` makes the values of two sides agree or differ. */
static struct json *random_config(unsigned side)
{
	struct json *d = quoted(DEPLOY(PODS(""))), *list = json_getp(d, "spec.template.spec.containers"), *labels = json_new_object(&arena);

	if (rnd(2))
		json_setp(&arena, d, "spec.replicas", json_new_int(&arena, rnd(3) + side));
	if (rnd(3) == 0)
		json_setp(&arena, d, "spec.template.spec.nodeSelector", quoted(rnd(2) ? "{'a':'b'}" : "{'a':'c'}"));
	for (unsigned i = 0, n = rnd(4); i < n; i++)
		json_set(&arena, labels, arena_sprintf(&arena, "l%u", rnd(4)), json_newf(&arena, "v%u", rnd(2) + side));
	if (labels->n > 0)
		json_setp(&arena, d, "metadata.labels", labels);
	for (unsigned i = 0, n = rnd(4), first = rnd(5); i < n; i++) {
		struct json *c = quoted(arena_printf(&arena, "{'name':'c%u'}", (first + i) % 5)), *ports = json_new_array(&arena);

		if (rnd(2))
			json_setc(&arena, c, "image", json_newf(&arena, "i%u", rnd(2) + side));
		for (unsigned k = 0, np = rnd(3); k < np; k++)
			json_push(&arena, ports, quoted(arena_printf(&arena, "{'containerPort':%u}", 80 + k)));
		if (ports->n > 0)
			json_setc(&arena, c, "ports", ports);
		json_push(&arena, list, c);
	}
	return d;
}

static void apply_ok(struct json **io, const char *who, struct json *config)
{
	struct str error = apply_one("apps.v1.Deployment", who, T1, io, config, true);

	if (error.n > 0)
		fail_msg("seed %llu: %s", (unsigned long long)seed, error.p);
}

static bool same_content(const struct json *a, const struct json *b)
{
	return json_equal(without_managed(a), without_managed(b));
}

/* Lists in the order of their elements' names. */
static struct json *in_order(struct json *d)
{
	struct json *list = json_getp(d, "spec.template.spec.containers"), *copy = json_copy(&arena, d);
	struct json *out = json_new_array(&arena);

	for (unsigned i = 0; i < 5; i++)
		JSON_ITEMS (it, list)
			if (json_eqc(json_getc(it, "name"), arena_printf(&arena, "c%u", i)))
				json_push(&arena, out, it);
	json_setp(&arena, copy, "spec.template.spec.containers", out);
	return copy;
}

static void test_laws(void **state)
{
	(void)state;
	const struct schema_type *t = schema_type_find("apps.v1.Deployment");

	for (seed = 1; seed < 3000000000000000000ull && seed != 0;) {
		uint64_t start = seed;
		struct json *a = random_config(0), *a2 = random_config(0), *b = random_config(5);
		struct json *once = NULL, *twice, *ab = NULL, *ba = NULL, *only_b = NULL, *set;
		struct typed_diff d;
		static int n;

		if (++n > 400)
			break;
		/* A configuration's own set is what it claims; applying it once more changes nothing at all. */
		apply_ok(&once, "a", a);
		twice = once;
		apply_ok(&twice, "a", a);
		if (!json_equal(once, twice))
			fail_msg("seed %llu: not idempotent", (unsigned long long)start);
		/* After a and then a2 by one manager, the object is as after a2 alone. */
		twice = once;
		apply_ok(&twice, "a", a2);
		apply_ok(&only_b, "a", a2);
		if (!same_content(in_order(twice), in_order(only_b)))
			fail_msg("seed %llu: leftovers\n%s\n%s", (unsigned long long)start, text_of(twice), text_of(only_b));
		/* Where nothing conflicts, the order of appliers does not matter for the content, but for lists' order. */
		ab = once;
		only_b = NULL;
		apply_ok(&only_b, "b", b);
		ba = only_b;
		if (apply_one("apps.v1.Deployment", "b", T1, &ab, b, false).n == 0 &&
				apply_one("apps.v1.Deployment", "a", T1, &ba, a, false).n == 0 &&
				!same_content(in_order(ab), in_order(ba)))
			fail_msg("seed %llu: order matters\n%s\n%s", (unsigned long long)start, text_of(ab), text_of(ba));
		/* What only a owned goes with a; what b has stays. */
		ab = once;
		apply_ok(&ab, "b", b);
		apply_ok(&ab, "a", quoted(DEPLOY("")));
		if (!same_content(in_order(ab), in_order(only_b)))
			fail_msg("seed %llu: a left something\n%s\n%s", (unsigned long long)start, text_of(ab), text_of(only_b));
		/* Comparing: forward and back mirror each other, and what leads to the new object has all of its changes. */
		typed_compare(&arena, t, once, only_b, &d);
		set = fieldset_union(&arena, d.added, d.modified);
		struct typed_diff back;
		typed_compare(&arena, t, only_b, once, &back);
		assert_true(fieldset_equal(d.added, back.removed) && fieldset_equal(d.removed, back.added) &&
				fieldset_equal(d.modified, back.modified));
		assert_true(typed_same(&d) == same_content(in_order(once), in_order(only_b)) || !typed_same(&d));
		/* Sets survive their text. */
		if (set) {
			struct json *again;
			struct err e = ERR_INIT;

			assert_true(fieldset_parse(&arena, parse(text_of(set)), &again, &e) == 0);
			assert_string_equal(text_of(again), text_of(set));
		}
	}
}

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sets),
		TEST(test_canonical),
		TEST(test_bad_sets),
		TEST(test_ownership),
		TEST(test_lists),
		TEST(test_sets_of_scalars),
		TEST(test_order),
		TEST(test_before_first_apply),
		TEST(test_migration),
		TEST(test_times),
		TEST(test_edited_by_hand),
		TEST(test_many_updaters),
		TEST(test_laws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

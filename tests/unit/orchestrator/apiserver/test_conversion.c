/* Conversion of custom objects by a webhook: what an answer says, alone; then a server that asks one over TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/conversion.h"
#include "tests/unit/orchestrator/apiserver/lamp_rig.h"

/* --- Alone ------------------------------------------------------------------------------------------------------------------- */

#define OK(objects) REVIEW("{'uid':'u','result':{'status':'Success'},'convertedObjects':[" objects "]}")
#define FOR "conversion webhook for e.com/v1, Kind=X "
#define META "'metadata':{'name':'n','uid':'1','creationTimestamp':'t','labels':{'a':'b'}}"

static void test_answers(void **state)
{
	static const struct {
		const char *body, *why; /* "": fine */
	} rows[] = {
			{OK("{'apiVersion':'e.com/v2','kind':'X'," META ",'spec':{'b':1}}"), ""},
			{OK("{'apiVersion':'e.com/v2','kind':'X','metadata':{'name':'n','uid':'1','labels':{'a':'c'},'annotations':{'k':'v'}}}"), ""},
			{OK("{'apiVersion':'e.com/v2','kind':'X','metadata':{'name':'n','uid':'1','labels':{'a':1}}}"),
					FOR "returned invalid metadata in object at index 0: metadata.labels[a] must be a string, but is int64 in "
					    "converted object"},
			{OK("{'apiVersion':'e.com/v2','kind':'X','metadata':{'name':'n','uid':'1','labels':{'a':'-'}}}"),
					FOR "returned invalid metadata in object at index 0: metadata.labels: Invalid value: "},
			{OK("{'apiVersion':'e.com/v2','kind':'X'}"), FOR "returned invalid converted object at index 0: must have the same name: n != "},
			{OK("{'apiVersion':'e.com/v2','kind':'X','metadata':{'name':'n','uid':'2'}}"),
					FOR "returned invalid converted object at index 0: must have the same UID: 1 != 2"},
			{OK("{'apiVersion':'e.com/v3','kind':'X'," META "}"),
					FOR "returned invalid converted object at index 0: invalid groupVersion (expected e.com/v2, received e.com/v3)"},
			{OK("{'apiVersion':'e.com/v2','kind':'Y'," META "}"),
					FOR "returned invalid converted object at index 0: invalid kind (expected X, received Y)"},
			{OK("null"), FOR "returned invalid converted object at index 0: an object expected"},
			{OK(""), FOR "returned 0 objects, expected 1"},
			{REVIEW("{'uid':'u','result':{'status':'Failure','message':'too old'}}"), FOR "failed: too old"},
			{REVIEW("{'uid':'u','result':{'status':'Odd'}}"), FOR "failed: response.result.status was 'Odd', not 'Success'"},
			{REVIEW("{'uid':'w','result':{'status':'Success'}}"), FOR "failed: expected response.uid=\"u\", got \"w\""},
			{REVIEW("null"), FOR "failed: no response provided"},
			{"{'apiVersion':'v1','kind':'Pod'}",
					FOR "failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=Pod"},
	};
	struct str object, out;
	struct conversion c = {.uid = "u", .to = "e.com/v2", .objects = &object, .n = 1};

	(void)state;
	object = str_from(quoted("{'apiVersion':'e.com/v1','kind':'X'," META ",'spec':{'a':1}}"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = "";

		assert_int_equal(conversion_answer(&rig_arena, &c, str_from(quoted(rows[i].body)), &out, &why), rows[i].why[0] ? -1 : 0);
		if (rows[i].why[0] && strncmp(why, rows[i].why, strlen(rows[i].why)) != 0)
			fail_msg("%s\nis not\n%s", why, rows[i].why);
		/* Whose object it is, and since when, is not the webhook's to say. */
		if (!rows[i].why[0])
			is(json_must(&rig_arena, out), "metadata.creationTimestamp", "t");
	}
}

static void test_writes(void **state)
{
	struct json *o;

	(void)state;
	/* In the stored version nobody is asked. */
	lamp_rig_calls = 0;
	rig_call("POST", OLD, lamp("v1beta1", "'name':'a'", "'watts':60"), 201);
	assert_int_equal(lamp_rig_calls, 0);
	o = rig_call("GET", NEW "/a", NULL, 200);
	assert_int_equal(lamp_rig_calls, 1);
	is(o, "spec.power", "60W");
	is(o, "spec.place", "hall");
	is(o, "apiVersion", "example.com/v1");
	is(o, "metadata.annotations.was", "example.com/v1beta1");
	/* In another it is stored as the webhook says, and answered as it will be read. */
	o = rig_call("POST", NEW, lamp("v1", "'generateName':'b-'", "'power':'40W','n':3"), 201);
	is(o, "spec.power", "40W");
	o = stored(json_cstr(json_getp(o, "metadata.name")));
	is(o, "apiVersion", "example.com/v1beta1");
	assert_int_equal(json_i64_or(json_getp(o, "spec.watts"), 0), 40);
	/* What was sent is held against the schema of its version. */
	rig_call("POST", NEW, lamp("v1", "'name':'c'", "'power':'much'"), 422);
	rig_call("POST", OLD, lamp("v1beta1", "'name':'c'", "'watts':0"), 422);
	/* Update, patches, apply, scale and status of any version. */
	o = rig_call("GET", NEW "/a", NULL, 200);
	json_setp(&rig_arena, o, "spec.power", json_newc(&rig_arena, "25W"));
	o = rig_call("PUT", NEW "/a", arena_cstr(&rig_arena, json_text(&rig_arena, o)), 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	rig_type(MERGE);
	o = rig_call("PATCH", NEW "/a", "{\"spec\":{\"power\":\"30W\"}}", 200);
	is(o, "spec.power", "30W");
	assert_int_equal(json_i64_or(json_getp(stored("a"), "spec.watts"), 0), 30);
	rig_type("application/apply-patch+yaml");
	rig_call("PATCH", NEW "/a?fieldManager=me&force=true", lamp("v1", "'name':'a'", "'power':'35W'"), 200);
	assert_int_equal(json_i64_or(json_getp(rig_call("GET", OLD "/a", NULL, 200), "spec.watts"), 0), 35);
	rig_type(MERGE);
	o = rig_call("PATCH", NEW "/a/scale", "{\"spec\":{\"replicas\":5}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "spec.replicas"), 0), 5);
	rig_type(MERGE);
	o = rig_call("PATCH", NEW "/a/status", "{\"status\":{\"lit\":true}}", 200);
	is(o, "spec.power", "35W");
	assert_true(json_true(json_getp(stored("a"), "status.lit")));
	rig_type("application/apply-patch+yaml");
	rig_call("PATCH", NEW "/d?fieldManager=me", lamp("v1", "'name':'d'", "'power':'9W'"), 201);
	rig_call("PUT", NEW "/d?dryRun=All", lamp("v1", "'name':'d'", "'power':'10W'"), 200);
	assert_int_equal(json_i64_or(json_getp(stored("d"), "spec.watts"), 0), 9);
	rig_call("DELETE", NEW "/d", NULL, 200);
}

static void test_lists(void **state)
{
	struct json *o;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		rig_call("POST", OLD, lamp("v1beta1", arena_printf(&rig_arena, "'name':'l%u','labels':{'even':'%s'}", i, i % 2 ? "no" : "yes"),
				arena_printf(&rig_arena, "'watts':%u", i + 1)), 201);
	/* One call for all of them. */
	lamp_rig_calls = lamp_rig_objects = 0;
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 22);
	assert_int_equal(lamp_rig_calls, 1);
	assert_int_equal(lamp_rig_objects, 22);
	JSON_ITEMS (it, json_getc(o, "items"))
		assert_non_null(json_getp(it, "spec.power"));
	lamp_rig_calls = lamp_rig_objects = 0;
	o = rig_call("GET", NEW "?limit=5", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 5);
	/* What follows a page is not converted to know that it is there. */
	assert_int_equal(lamp_rig_objects, 5);
	assert_int_equal(lamp_rig_calls, 1);
	o = rig_call("GET", arena_printf(&rig_arena, NEW "?limit=5&continue=%s", json_cstr(json_getp(o, "metadata.continue"))), NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 5);
	o = rig_call("GET", NEW "?limit=7&labelSelector=even%3Dyes", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 7);
	rig_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "rows")), 22);
	rig_call("DELETE", NEW "?labelSelector=even", NULL, 200);
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 2);
}

/* A list of megabytes is converted and sent slice by slice; each object is converted once. */
static void test_large_list(void **state)
{
	char filler[60001];
	struct json *o;

	(void)state;
	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	for (unsigned i = 0; i < 30; i++)
		rig_call("POST", OLD, lamp("v1beta1", arena_printf(&rig_arena, "'name':'m%02u','labels':{'many':'%s'},'annotations':{'filler':'%s'}", i,
				i % 2 ? "no" : "yes", filler), arena_printf(&rig_arena, "'watts':%u", i + 1)), 201);
	lamp_rig_calls = lamp_rig_objects = 0;
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 32);
	assert_int_equal(lamp_rig_objects, 32);
	assert_true(lamp_rig_calls > 4 && lamp_rig_calls < 12);
	for (unsigned i = 0; i < 30; i++)
		is(json_at(json_getc(o, "items"), i + 2), "spec.power", arena_printf(&rig_arena, "%uW", i + 1));
	o = rig_call("GET", NEW "?labelSelector=many%3Dyes", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 15);
	o = rig_call("GET", NEW "?labelSelector=none", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 0);
	rig_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "rows")), 32);
	lamp_rig_broken = "out of order";
	o = rig_call("GET", NEW, NULL, 500);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "out of order"));
	lamp_rig_broken = NULL;
	rig_call("DELETE", NEW "?labelSelector=many", NULL, 200);
	o = rig_call("GET", NEW, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 2);
}

static void test_watch(void **state)
{
	struct rig_watch *w, *again, *pick;
	struct json *ev;

	(void)state;
	w = rig_watch(NEW "?watch=true&timeoutSeconds=300");
	pick = rig_watch(NEW "?watch=true&timeoutSeconds=300&labelSelector=pick");
	rig_watch_begun(w);
	rig_watch_begun(pick);
	is(rig_event(w, 0), "type", "ADDED");
	is(rig_event(w, 0), "object.spec.power", "35W");
	rig_event(w, 1);
	rig_call("POST", OLD, lamp("v1beta1", "'name':'w'", "'watts':1"), 201);
	ev = rig_event(w, 2);
	is(ev, "type", "ADDED");
	is(ev, "object.spec.power", "1W");
	rig_type(MERGE);
	rig_call("PATCH", OLD "/w", "{\"spec\":{\"watts\":2},\"metadata\":{\"labels\":{\"pick\":\"me\"}}}", 200);
	ev = rig_event(w, 3);
	is(ev, "type", "MODIFIED");
	is(ev, "object.spec.power", "2W");
	ev = rig_event(pick, 0);
	is(ev, "type", "ADDED");
	rig_call("DELETE", OLD "/w", NULL, 200);
	ev = rig_event(w, 4);
	is(ev, "type", "DELETED");
	is(ev, "object.spec.power", "2W");
	is(rig_event(pick, 1), "type", "DELETED");
	/* A webhook that fails is an error for who watches, not silence. */
	again = rig_watch(arena_printf(&rig_arena, NEW "?watch=true&timeoutSeconds=300&resourceVersion=%s", json_cstr(json_getp(ev,
			"object.metadata.resourceVersion"))));
	rig_watch_begun(again);
	lamp_rig_broken = "out of order";
	rig_call("POST", OLD, lamp("v1beta1", "'name':'w'", "'watts':1"), 201);
	ev = rig_event(again, 0);
	is(ev, "type", "ERROR");
	assert_int_equal(json_i64_or(json_getp(ev, "object.code"), 0), 500);
	assert_int_equal(rig_watch_end(again), 1);
	lamp_rig_broken = NULL;
	rig_watch_stop(w);
	rig_watch_stop(pick);
	rig_call("DELETE", OLD "/w", NULL, 200);
}

static void test_failure(void **state)
{
	struct json *o;

	(void)state;
	lamp_rig_broken = "out of order";
	o = rig_call("GET", NEW "/a", NULL, 500);
	assert_non_null(strstr(json_cstr(json_getc(o, "message")), "conversion webhook for example.com/v1beta1, Kind=Lamp failed: an error on "
								   "the server (\"out of order\") has prevented the request from succeeding"));
	rig_call("GET", NEW, NULL, 500);
	rig_call("POST", NEW, lamp("v1", "'name':'x'", "'power':'1W'"), 500);
	rig_call("GET", OLD "/x", NULL, 404);
	rig_call("PUT", NEW "/a", lamp("v1", "'name':'a'", "'power':'1W'"), 500);
	rig_call("DELETE", NEW "/a", NULL, 500);
	/* Who reads what is stored does not need it. */
	rig_call("GET", OLD "/a", NULL, 200);
	lamp_rig_broken = NULL;
	rig_call("GET", NEW "/a", NULL, 200);
}

/* Who asked goes while the webhook thinks: the call to it is given up, for reads, writes and watches. */
static void test_canceled(void **state)
{
	(void)state;
	lamp_rig_silent = true;
	hook_rig_leave(NEW "/a", NULL, &lamp_rig_is_silent, &lamp_rig_was_canceled);
	hook_rig_leave(NEW, NULL, &lamp_rig_is_silent, &lamp_rig_was_canceled);
	hook_rig_leave(NEW "?watch=true", NULL, &lamp_rig_is_silent, &lamp_rig_was_canceled);
	hook_rig_leave(NEW, lamp("v1", "'name':'gone'", "'power':'1W'"), &lamp_rig_is_silent, &lamp_rig_was_canceled);
	lamp_rig_silent = false;
	rig_call("GET", OLD "/gone", NULL, 404);
	rig_call("GET", NEW "/a", NULL, 200);
}

/* From one stored version to the next: objects are written as they are, then the old version may go. */
static void test_migration(void **state)
{
	struct json *crd = rig_call("GET", CRDS "/lamps.example.com", NULL, 200), *o, *list;

	(void)state;
	o = json_must(&rig_arena, str_from(definition(V1_STORED)));
	json_setp(&rig_arena, o, "metadata.resourceVersion", json_getp(crd, "metadata.resourceVersion"));
	crd = rig_call("PUT", CRDS "/lamps.example.com", arena_cstr(&rig_arena, json_text(&rig_arena, o)), 200);
	assert_int_equal(json_len(json_getp(crd, "status.storedVersions")), 2);
	/* Not yet. */
	o = json_must(&rig_arena, str_from(definition(SERVED("v1", "true", POWER))));
	json_setp(&rig_arena, o, "metadata.resourceVersion", json_getp(crd, "metadata.resourceVersion"));
	o = rig_call("PUT", CRDS "/lamps.example.com", arena_cstr(&rig_arena, json_text(&rig_arena, o)), 422);
	is(o, "message", "CustomResourceDefinition.apiextensions.k8s.io \"lamps.example.com\" is invalid: status.storedVersions[0]: "
			 "Invalid value: \"v1beta1\": must appear in spec.versions");
	is(stored("a"), "apiVersion", "example.com/v1beta1");
	list = rig_call("GET", NEW, NULL, 200);
	JSON_ITEMS (it, json_getc(list, "items")) {
		const char *path = arena_printf(&rig_arena, NEW "/%s", json_cstr(json_getp(it, "metadata.name")));
		struct json *was = rig_call("GET", path, NULL, 200), *now;

		now = rig_call("PUT", path, arena_cstr(&rig_arena, json_text(&rig_arena, was)), 200);
		assert_false(json_equal(json_getp(was, "metadata.resourceVersion"), json_getp(now, "metadata.resourceVersion")));
		is(stored(json_cstr(json_getp(it, "metadata.name"))), "apiVersion", "example.com/v1");
		/* Once is enough. */
		o = rig_call("PUT", path, arena_cstr(&rig_arena, json_text(&rig_arena, now)), 200);
		is(o, "metadata.resourceVersion", json_cstr(json_getp(now, "metadata.resourceVersion")));
	}
	rig_type(MERGE);
	rig_call("PATCH", CRDS "/lamps.example.com/status", "{\"status\":{\"storedVersions\":[\"v1\"]}}", 200);
	o = json_must(&rig_arena, str_from(definition(SERVED("v1", "true", POWER))));
	crd = rig_call("GET", CRDS "/lamps.example.com", NULL, 200);
	json_setp(&rig_arena, o, "metadata.resourceVersion", json_getp(crd, "metadata.resourceVersion"));
	rig_call("PUT", CRDS "/lamps.example.com", arena_cstr(&rig_arena, json_text(&rig_arena, o)), 200);
	rig_call("GET", OLD, NULL, 404);
	rig_call("GET", NEW "/a", NULL, 200);
}

/* Versions that the definition may have, and a review that both sides speak. */
static void test_refused(void **state)
{
	struct json *o = json_must(&rig_arena, str_from(definition(V1_STORED)));

	(void)state;
	json_setp(&rig_arena, o, "metadata.name", json_newc(&rig_arena, "bulbs.example.com"));
	json_setp(&rig_arena, o, "spec.names.plural", json_newc(&rig_arena, "bulbs"));
	json_setp(&rig_arena, o, "spec.conversion.webhook.conversionReviewVersions", json_must(&rig_arena, STR("[\"v7\"]")));
	o = rig_call("POST", CRDS, arena_cstr(&rig_arena, json_text(&rig_arena, o)), 422);
	is(o, "message", "CustomResourceDefinition.apiextensions.k8s.io \"bulbs.example.com\" is invalid: "
			 "spec.conversion.webhook.conversionReviewVersions: Invalid value: []string{\"v7\"}: must include at least one of v1, v1beta1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_answers),
			cmocka_unit_test(test_writes),
			cmocka_unit_test(test_lists),
			cmocka_unit_test(test_large_list),
			cmocka_unit_test(test_watch),
			cmocka_unit_test(test_failure),
			cmocka_unit_test(test_canceled),
			cmocka_unit_test(test_migration),
			cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, lamp_rig_start, lamp_rig_stop);
}

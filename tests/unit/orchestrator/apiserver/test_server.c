/* The API server as its clients see it: over TLS, and in process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/client/client.h"
#include "proto/codec.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "proto/yaml.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define CM "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVC "/api/v1/namespaces/default/services"
#define DEPLOY "/apis/apps/v1/namespaces/default/deployments"
#define MERGE "application/merge-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define APPLY "application/apply-patch+yaml"

static void is(const struct json *doc, const char *path, const char *want)
{
	assert_string_equal(arena_cstr(&rig_arena, json_strp(doc, path)), want);
}

static const char *text(const struct json *doc)
{
	return arena_cstr(&rig_arena, json_text(&rig_arena, doc));
}

static struct json *patch(const char *path, const char *type, const char *body, int want)
{
	rig_type(type);
	return rig_call("PATCH", path, body, want);
}

static int start(void **state)
{
	(void)state;
	rig_start();
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	rig_stop();
	return 0;
}

static void test_create_read_update(void **state)
{
	struct json *o, *again;

	(void)state;
	o = rig_call("POST", CM, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}", 201);
	is(o, "kind", "ConfigMap");
	is(o, "data.k", "v");
	assert_int_equal(json_strp(o, "metadata.uid").n, 36);
	is(rig_call("POST", CM, "{\"metadata\":{\"name\":\"a\"}}", 409), "reason", "AlreadyExists");
	json_setp(&rig_arena, o, "data.k", json_newc(&rig_arena, "w"));
	again = rig_call("PUT", CM "/a", text(o), 200);
	is(again, "data.k", "w");
	o = rig_call("PUT", CM "/a", text(o), 409);
	is(o, "reason", "Conflict");
	is(o, "message", "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your "
			 "changes to the latest version and try again");
	/* No change, no new version. */
	is(rig_call("PUT", CM "/a", text(again), 200), "metadata.resourceVersion",
			json_cstr(json_getp(again, "metadata.resourceVersion")));
	o = patch(CM "/a", MERGE, "{\"data\":{\"k\":null,\"x\":\"y\"}}", 200);
	is(o, "data.x", "y");
	assert_null(json_getp(o, "data.k"));
	patch(CM "/a", "application/json-patch+json", "[{\"op\":\"replace\",\"path\":\"/data/x\",\"value\":\"z\"}]", 200);
	patch(CM "/a", MERGE, "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409);
	o = patch(CM "/a", "application/json-patch+json", "[{\"op\":\"test\",\"path\":\"/data/x\",\"value\":\"no\"}]", 422);
	is(o, "message", "the server rejected our request due to an error in our request");
	is(json_at(json_getp(o, "details.causes"), 0), "message", "testing value /data/x failed: test failed");
	is(rig_call("GET", CM "/a", NULL, 200), "data.x", "z");
	is(rig_call("DELETE", CM "/a", NULL, 200), "status", "Success");
	is(rig_call("GET", CM "/a", NULL, 404), "message", "configmaps \"a\" not found");
	rig_call("POST", CM "?dryRun=All", "{\"metadata\":{\"name\":\"dry\"}}", 201);
	rig_call("GET", CM "/dry", NULL, 404);
}

/* The entry of a manager, as text: its operation, subresource and fields. */
static const char *managed(const struct json *o, const char *who)
{
	JSON_ITEMS (it, json_getp(o, "metadata.managedFields"))
		if (json_eqc(json_getc(it, "manager"), who))
			return arena_printf(&rig_arena, "%s %s %s", json_cstr(json_getc(it, "operation")),
					json_cstr(json_getc(it, "subresource")), text(json_getc(it, "fieldsV1")));
	return "";
}

#define CONFIG(data) "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"ssa\"},\"data\":{" data "}}"

static void test_apply(void **state)
{
	struct json *o, *again, *causes;

	(void)state;
	/* Made by the first apply; the same again is no new version. */
	o = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG("\"a\":\"1\",\"b\":\"1\""), 201);
	assert_string_equal(managed(o, "one"), "Apply  {\"f:data\":{\"f:a\":{},\"f:b\":{}}}");
	again = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG("\"a\":\"1\",\"b\":\"1\""), 200);
	is(again, "metadata.resourceVersion", json_cstr(json_getp(o, "metadata.resourceVersion")));
	o = patch(CM "/ssa?fieldManager=two", APPLY, "apiVersion: v1\nkind: ConfigMap\ndata: {a: '2'}", 409);
	is(o, "message", "Apply failed with 1 conflict: conflict with \"one\": .data.a");
	is(o, "reason", "Conflict");
	causes = json_at(json_getp(o, "details.causes"), 0);
	is(causes, "reason", "FieldManagerConflict");
	is(causes, "field", ".data.a");
	is(causes, "message", "conflict with \"one\"");
	o = patch(CM "/ssa?fieldManager=two&force=true", APPLY, CONFIG("\"a\":\"2\""), 200);
	assert_string_equal(managed(o, "one"), "Apply  {\"f:data\":{\"f:b\":{}}}");
	/* What nobody names any more goes. */
	o = patch(CM "/ssa?fieldManager=one", APPLY, CONFIG(""), 200);
	assert_string_equal(text(json_getc(o, "data")), "{\"a\":\"2\"}");
	/* Other writes are updates by their user agent, and take what they change. */
	rig_header("User-Agent", "robot/1.0 (linux)");
	o = patch(CM "/ssa", MERGE, "{\"data\":{\"a\":\"3\"}}", 200);
	assert_string_equal(managed(o, "robot"), "Update  {\"f:data\":{\"f:a\":{}}}");
	assert_string_equal(managed(o, "two"), "");
	o = patch(CM "/ssa", MERGE, "{\"metadata\":{\"managedFields\":[{}]}}", 200);
	assert_null(json_getp(o, "metadata.managedFields"));
	o = patch(CM "/ssa?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"wrong\":1}", 500);
	is(o, "message", "failed to create typed patch object (/; /v1, Kind=ConfigMap): .wrong: field not declared in schema");
	is(patch(CM "/ssa?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\"}", 400), "reason", "BadRequest");
	/* A name that is not there is made, but not with a uid. */
	patch(CM "/ssa2?fieldManager=x", APPLY, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"uid\":\"u\"}}", 409);
	patch(CM "/ssa?fieldManager=x&dryRun=All", APPLY, CONFIG("\"z\":\"1\""), 200);
	assert_null(json_getp(rig_call("GET", CM "/ssa", NULL, 200), "data.z"));
	rig_call("DELETE", CM "/ssa", NULL, 200);
}

static void test_apply_subresources(void **state)
{
	static const char body[] = "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"ssa\"},\"spec\":{\"replicas\":1,"
				   "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
				   "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}";
	struct json *o;

	(void)state;
	patch(DEPLOY "/ssa?fieldManager=one", APPLY, body, 201);
	o = patch(DEPLOY "/ssa/scale?fieldManager=hpa", APPLY,
			"{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"metadata\":{\"name\":\"ssa\"},\"spec\":{\"replicas\":4}}", 409);
	is(o, "message", "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas");
	patch(DEPLOY "/ssa/scale?fieldManager=hpa", MERGE, "{\"spec\":{\"replicas\":4}}", 200);
	o = rig_call("GET", DEPLOY "/ssa", NULL, 200);
	assert_string_equal(managed(o, "hpa"), "Update scale {\"f:spec\":{\"f:replicas\":{}}}");
	/* Who applies the status does not get the specification, and the other way round. */
	o = patch(DEPLOY "/ssa/status?fieldManager=ctl", APPLY,
			"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"spec\":{\"replicas\":9},\"status\":{\"replicas\":4}}", 200);
	assert_string_equal(managed(o, "ctl"), "Apply status {\"f:status\":{\"f:replicas\":{}}}");
	assert_string_equal(text(json_getp(o, "spec.replicas")), "4");
	assert_string_equal(text(json_getp(o, "status.replicas")), "4");
	patch(DEPLOY "/none/status?fieldManager=ctl", APPLY, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}", 404);
	rig_call("DELETE", DEPLOY "/ssa?propagationPolicy=Background", NULL, 200);
}

static void test_bad_input(void **state)
{
	struct json *o;
	size_t n = (3u << 20) + 10;
	char *big = xmalloc(n + 1);

	(void)state;
	rig_call("POST", CM, "{\"metadata\":", 400);
	rig_call("POST", CM, "[]", 400);
	o = rig_call("POST", CM, "{\"metadata\":{\"name\":5}}", 400);
	assert_true(str_search(json_strp(o, "message"), STR("metadata.name")) >= 0);
	o = rig_call("POST", CM "?fieldValidation=Strict", "{\"metadata\":{\"name\":\"s\"},\"foo\":1}", 400);
	assert_true(str_search(json_strp(o, "message"), STR("unknown field \"foo\"")) >= 0);
	rig_call("POST", CM, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"}}", 400);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"Not_a_name\"}}", 422);
	rig_call("POST", CM, "{}", 422);
	rig_call("POST", "/api/v1/namespaces/none/configmaps", "{\"metadata\":{\"name\":\"s\"}}", 404);
	rig_type("application/vnd.kubernetes.protobuf");
	rig_call("POST", CM, "k8s", 400);
	rig_type("text/csv");
	rig_call("POST", CM, "a,b", 415);
	is(patch(CM "/a", APPLY, "a: b", 422), "message",
			"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
	patch(CM "/a?fieldManager=x", APPLY, "a: b", 400);
	patch(CM "/a?fieldManager=x", APPLY, "a: [", 400);
	patch(CM "/a?force=true", MERGE, "{}", 422);
	memset(big, 'x', n);
	big[n] = '\0';
	is(rig_call("POST", CM, big, 413), "reason", "RequestEntityTooLarge");
	/* A stranger's is not even read. */
	rig_as(NULL);
	is(rig_call("POST", CM, big, 403), "reason", "Forbidden");
	rig_as("admin");
	free(big);
	rig_call("GET", CM "?labelSelector=a+b", NULL, 400);
	rig_call("GET", CM "?fieldSelector=spec.x%3D1", NULL, 400);
	rig_call("GET", CM "?continue=zz", NULL, 400);
	rig_call("GET", "/api/v1/unknown", NULL, 404);
	rig_call("GET", "/unknown", NULL, 404);
	rig_call("POST", CM "/x", "{}", 405);
	rig_header("Accept", "image/png");
	rig_call("GET", CM, NULL, 406);
}

static size_t resident_mb(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long total = 0, resident = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &total, &resident), 2);
	fclose(f);
	return resident * 4096 / 1000000;
}

/* n times `unit` between two ends, in the test's arena. */
static const char *repeat(const char *head, const char *unit, size_t n, const char *tail)
{
	size_t u = strlen(unit), h = strlen(head);
	char *p = arena_alloc(&rig_arena, h + n * u + strlen(tail) + 1);

	memcpy(p, head, h);
	for (size_t i = 0; i < n; i++)
		memcpy(p + h + i * u, unit, u);
	strcpy(p + h + n * u, tail);
	return p;
}

/* Requests made to hurt: each gets an error, none takes much memory. */
static void test_hostile(void **state)
{
	size_t before = resident_mb();

	(void)state;
	for (int i = 0; i < 5; i++) {
		rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":", "{\"a\":", 100000, "1"), 400);
		rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":", "[", 100000, ""), 400);
		/* So many values, each a tree node of its own. */
		assert_int_equal(rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\"},\"x\":[", "0,", 1400000, "0]}"), 0) != NULL, 1);
		patch(CM "/h?fieldManager=x", APPLY, repeat("a: ", "[", 100000, ""), 400);
		patch(CM "/h?fieldManager=x", APPLY, repeat("a: &a [x]\nb: [", "*a,", 100000, "*a]\n"), 400);
		patch(CM "/h", MERGE, repeat("{\"data\":", "{\"a\":", 100000, "1"), 400);
		rig_type("application/vnd.kubernetes.protobuf");
		rig_call("POST", CM, repeat("k8s", "\x0a\xff\xff\xff\x7f", 100000, ""), 400);
		/* A bomb stays packed. */
		rig_header("Content-Encoding", "gzip");
		is(rig_call("POST", CM, repeat("", "\x1f\x8b", 1000, ""), 415), "reason", "UnsupportedMediaType");
		rig_header("X-Large", repeat("", "x", 70000, ""));
		rig_call("GET", CM, NULL, 431);
		rig_call("GET", repeat(CM "?labelSelector=", "a%3Db,", 8000, "z"), NULL, 0);
	}
	/* An object whose managers' fields are a million paths is still only an object. */
	rig_call("POST", CM, repeat("{\"metadata\":{\"name\":\"h\",\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\",\"apiVersion\":\"v1\","
			      "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":", "{\"f:a\":", 600, "1"), 400);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"h\"}}", 201);
	patch(CM "/h", "application/json-patch+json", repeat("[", "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/data\"},", 1000,
			"{\"op\":\"test\",\"path\":\"\",\"value\":1}]"), 0);
	rig_call("DELETE", CM "/h", NULL, 200);
#ifdef __SANITIZE_ADDRESS__
	return; /* what was freed stays for a while */
#endif
	if (resident_mb() > before + 250)
		fail_msg("resident memory grew from %zu to %zu MB", before, resident_mb());
}

static void test_list(void **state)
{
	struct json *o;
	char body[128], path[256];
	size_t seen = 0;

	(void)state;
	for (int i = 0; i < 7; i++) {
		snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"l%d\",\"labels\":{\"l\":\"%s\"}}}", i, i % 2 ? "odd" : "even");
		rig_call("POST", CM, body, 201);
	}
	o = rig_call("GET", CM "?labelSelector=l%3Dodd", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 3);
	o = rig_call("GET", CM "?labelSelector=l&limit=3", NULL, 200);
	while (true) {
		seen += json_len(json_getc(o, "items"));
		if (json_strp(o, "metadata.continue").n == 0)
			break;
		snprintf(path, sizeof(path), CM "?labelSelector=l&limit=3&continue=%s",
				json_cstr(json_getp(o, "metadata.continue")));
		/* What changes meanwhile is not seen: the list is of one moment. */
		rig_call("POST", CM, "{\"metadata\":{\"generateName\":\"l9\",\"labels\":{\"l\":\"new\"}}}", 201);
		o = rig_call("GET", path, NULL, 200);
	}
	assert_int_equal(seen, 7);
	rig_header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
	o = rig_call("GET", CM "?labelSelector=l%3Dodd", NULL, 200);
	is(o, "kind", "Table");
	assert_int_equal(json_len(json_getc(o, "rows")), 3);
	rig_header("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
	is(rig_call("GET", CM, NULL, 200), "kind", "PartialObjectMetadataList");
	rig_call("GET", CM "?resourceVersion=99999999", NULL, 504);
	rig_call("DELETE", CM "?labelSelector=l", NULL, 200);
	assert_int_equal(json_len(json_getc(rig_call("GET", CM "?labelSelector=l", NULL, 200), "items")), 0);
}

static bool gunzips_to(struct str packed, const struct json *want)
{
	size_t max = 8u << 20;
	char *out = xmalloc(max);
	z_stream z = {.next_in = (Bytef *)(uintptr_t)packed.p, .avail_in = (uInt)packed.n, .next_out = (Bytef *)out, .avail_out = (uInt)max};
	struct json *doc = NULL;
	bool same;

	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(json_parse(&rig_arena, str_of(out, z.total_out), NULL, &doc, NULL), 0);
	inflateEnd(&z);
	same = json_equal(json_getc(doc, "items"), json_getc(want, "items"));
	free(out);
	return same;
}

/* The same list in another text, which says the same. */
static void large_in_form(const char *query, const char *more, const char *accept, const struct json *want)
{
	struct json *doc;
	struct err e = ERR_INIT;
	struct str got;

	if (accept)
		rig_header("Accept", accept);
	got = rig_raw("GET", arena_printf(&rig_arena, CM "%s%s%s", query, more[0] ? "&" : "", more + (more[0] != 0)), STR(""), 200);
	assert_int_equal((accept ? yaml_parse(&rig_arena, got, &doc, &e) : json_parse(&rig_arena, got, NULL, &doc, &e)), 0);
	assert_true(got.p[got.n - 1] == '\n');
	assert_int_equal(json_len(doc), json_len(want));
	JSON_MEMBERS (m, want)
		if (!json_equal(json_get(doc, m->key), m->value))
			fail_msg("%.*s of %s: %.300s instead of %.300s", STR_FMT(m->key), accept ? accept : "pretty", text(json_get(doc, m->key)), text(m->value));
	/* Byte for byte what is made of the whole. */
	{
		_cleanup_(buf_fini) struct buf b = BUF_INIT;

		if (accept) {
			yaml_print(&b, want);
		} else {
			json_print(&b, want, JSON_PRETTY2);
			buf_add1(&b, '\n');
		}
		assert_int_equal(b.n, got.n);
		assert_memory_equal(b.p, got.p, b.n);
	}
}

static void large_partials(const char *query, const struct json *want)
{
	struct json *doc;
	size_t i = 0;

	rig_header("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
	doc = rig_call("GET", arena_printf(&rig_arena, CM "%s", query), NULL, 200);
	is(doc, "kind", "PartialObjectMetadataList");
	is(doc, "apiVersion", "meta.k8s.io/v1");
	assert_int_equal(json_len(json_getc(doc, "items")), json_len(json_getc(want, "items")));
	JSON_ITEMS (it, json_getc(doc, "items")) {
		assert_true(json_equal(json_getc(it, "metadata"), json_getc(json_at(json_getc(want, "items"), i++), "metadata")));
		assert_null(json_getc(it, "data"));
	}
}

static void large_table(const char *query, size_t want)
{
	struct json *doc, *small;

	rig_header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
	doc = rig_call("GET", arena_printf(&rig_arena, CM "%s", query), NULL, 200);
	is(doc, "kind", "Table");
	assert_int_equal(json_len(json_getc(doc, "columnDefinitions")), 3);
	assert_int_equal(json_len(json_getc(doc, "rows")), want);
	/* As it is in a table of a few. */
	rig_header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
	small = rig_call("GET", CM "?fieldSelector=metadata.name%3Dlarge07", NULL, 200);
	assert_int_equal(json_len(json_getc(small, "rows")), 1);
	assert_true(json_equal(json_at(json_getc(doc, "rows"), 7), json_at(json_getc(small, "rows"), 0)));
	assert_true(json_equal(json_getc(doc, "columnDefinitions"), json_getc(small, "columnDefinitions")));
}

/* A list of megabytes leaves in pieces, in every form, and holds all of one moment. */
static void test_large_list(void **state)
{
	/* In pieces, in pieces and not all, and one that leaves whole but is waited for. */
	static const char *const queries[] = {"?labelSelector=large", "?labelSelector=large&limit=19", "?labelSelector=large&limit=9"};
	static const size_t wants[] = {20, 19, 9};
	struct json *whole, *one;
	struct codec_envelope env;
	struct rig_watch *w;
	struct err e = ERR_INIT;

	(void)state;
	for (int i = 0; i < 20; i++)
		rig_call("POST", CM, repeat(arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"large%02d\",\"labels\":{\"large\":\"x\"}},\"data\":{\"k\":\"", i),
				"0123456789abcdef", 6000 + (size_t)i, "\"}}"), 201);
	/* Its parts, each small enough to be sent whole. */
	for (size_t q = 0; q < ARRAY_LEN(queries); q++) {
		size_t want = wants[q];
		struct json *as_json = rig_call("GET", arena_printf(&rig_arena, CM "%s", queries[q]), NULL, 200), *answer, *as_protobuf;

		assert_int_equal(json_len(json_getc(as_json, "items")), want);
		assert_int_equal(json_strp(as_json, "metadata.continue").n > 0, q > 0);
		for (size_t i = 0; i < want; i++) {
			whole = json_at(json_getc(as_json, "items"), i);
			one = rig_call("GET", arena_printf(&rig_arena, CM "/large%02zu", i), NULL, 200);
			json_delc(one, "kind");
			json_delc(one, "apiVersion");
			assert_true(json_equal(whole, one));
		}
		rig_header("Accept", "application/vnd.kubernetes.protobuf");
		answer = rig_call("GET", arena_printf(&rig_arena, CM "%s", queries[q]), NULL, 200);
		assert_int_equal(codec_unwrap(json_str(answer), &env, &e), 0);
		assert_int_equal(codec_wire_to_dom(&rig_arena, schema_type_find("core.v1.ConfigMapList"), env.wire, NULL, &as_protobuf, &e), 0);
		assert_true(json_equal(json_getc(as_protobuf, "items"), json_getc(as_json, "items")));
		rig_header("Accept-Encoding", "gzip");
		answer = rig_call("GET", arena_printf(&rig_arena, CM "%s", queries[q]), NULL, 200);
		assert_true(json_str(answer).n > 1000 && json_str(answer).n < 200000);
		assert_memory_equal(json_str(answer).p, "\x1f\x8b", 2);
		assert_true(gunzips_to(json_str(answer), as_json));
		large_in_form(queries[q], "?pretty=true", NULL, as_json);
		large_in_form(queries[q], "", "application/yaml", as_json);
		large_partials(queries[q], as_json);
		large_table(queries[q], want);
	}
	/* A watch that begins with all of it, in slices too, and goes on where they end. */
	w = rig_watch(CM "?watch=1&timeoutSeconds=2&labelSelector=large&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
			 "allowWatchBookmarks=true");
	is(rig_event(w, 19), "object.metadata.name", "large19");
	is(rig_event(w, 20), "type", "BOOKMARK");
	patch(CM "/large05", MERGE, "{\"data\":{\"k\":\"small\"}}", 200);
	is(rig_event(w, 21), "object.data.k", "small");
	assert_int_equal(rig_watch_end(w), 22);
	rig_call("DELETE", CM "?labelSelector=large", NULL, 200);
}

/* Options that do not go together, and what a version means. */
static void test_list_options(void **state)
{
	static const struct {
		const char *query, *text;
		int status;
	} bad[] = {
		{"resourceVersionMatch=Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided", 422},
		{"resourceVersionMatch=Exact&resourceVersion=0", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"", 422},
		{"resourceVersionMatch=x&resourceVersion=1", "Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"", 422},
		{"sendInitialEvents=true", "sendInitialEvents is forbidden for list", 422},
		{"continue=x&resourceVersionMatch=Exact&resourceVersion=1", "resourceVersionMatch is forbidden when continue is provided", 422},
		{"watch=1&sendInitialEvents=true", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan", 422},
		{"watch=1&resourceVersionMatch=NotOlderThan", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided", 422},
		{"resourceVersion=abc", "invalid resource version", 400},
	};
	struct json *o, *old;
	char path[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		o = rig_call("GET", arena_printf(&rig_arena, CM "?%s", bad[i].query), NULL, bad[i].status);
		if (str_search(json_strp(o, "message"), str_from(bad[i].text)) < 0)
			fail_msg("%s: %s", bad[i].query, text(o));
	}
	for (int i = 0; i < 3; i++)
		rig_call("POST", CM, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"p%d\",\"labels\":{\"p\":\"p\"}}}", i), 201);
	old = rig_call("GET", CM "?labelSelector=p&limit=2", NULL, 200);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"p9\",\"labels\":{\"p\":\"p\"}}}", 201);
	snprintf(path, sizeof(path), CM "?labelSelector=p&resourceVersion=%s", json_cstr(json_getp(old, "metadata.resourceVersion")));
	/* Not older than, exactly, and a first page without a match: exactly. */
	assert_int_equal(json_len(json_getc(rig_call("GET", path, NULL, 200), "items")), 4);
	assert_int_equal(json_len(json_getc(rig_call("GET", arena_printf(&rig_arena, "%s&resourceVersionMatch=Exact", path), NULL, 200), "items")), 3);
	assert_int_equal(json_len(json_getc(rig_call("GET", arena_printf(&rig_arena, "%s&limit=9", path), NULL, 200), "items")), 3);
	rig_compact();
	rig_call("GET", arena_printf(&rig_arena, "%s&resourceVersionMatch=Exact", path), NULL, 410);
	snprintf(path, sizeof(path), CM "?labelSelector=p&limit=9&continue=%s", json_cstr(json_getp(old, "metadata.continue")));
	o = rig_call("GET", path, NULL, 410);
	is(o, "reason", "Expired");
	/* The token of the answer goes on at the present, behind what was already told. */
	snprintf(path, sizeof(path), CM "?labelSelector=p&limit=9&continue=%s", json_cstr(json_getp(o, "metadata.continue")));
	o = rig_call("GET", path, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 2);
	is(json_at(json_getc(o, "items"), 1), "metadata.name", "p9");
	is(rig_call("GET", CM "?resourceVersion=99999999", NULL, 504), "details.causes", "");
	rig_call("DELETE", CM "?labelSelector=p", NULL, 200);
	/* Numbers in selectors. */
	rig_call("POST", "/apis/apps/v1/namespaces/default/replicasets", "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"matchLabels\":"
			"{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", 201);
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/replicasets?fieldSelector=status.replicas%3D0", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1);
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/replicasets?fieldSelector=status.replicas!%3D0", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 0);
	rig_call("DELETE", "/apis/apps/v1/namespaces/default/replicasets/s?propagationPolicy=Background", NULL, 200);
}

static void test_watch(void **state)
{
	struct json *o = rig_call("GET", CM, NULL, 200);
	char path[256];
	struct rig_watch *w, *selected;

	(void)state;
	snprintf(path, sizeof(path), CM "?watch=1&timeoutSeconds=2&resourceVersion=%s",
			json_cstr(json_getp(o, "metadata.resourceVersion")));
	w = rig_watch(arena_strdup(&rig_arena, path));
	strcat(path, "&labelSelector=w%3Dyes");
	selected = rig_watch(path);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"w\"}}", 201);
	patch(CM "/w", MERGE, "{\"metadata\":{\"labels\":{\"w\":\"yes\"}}}", 200);
	patch(CM "/w", MERGE, "{\"metadata\":{\"labels\":{\"w\":\"no\"}}}", 200);
	rig_call("DELETE", CM "/w", NULL, 200);
	is(rig_event(w, 0), "type", "ADDED");
	is(rig_event(w, 1), "type", "MODIFIED");
	is(rig_event(w, 2), "type", "MODIFIED");
	is(rig_event(w, 3), "type", "DELETED");
	is(rig_event(selected, 0), "type", "ADDED");
	is(rig_event(selected, 1), "type", "DELETED");
	assert_int_equal(rig_watch_end(w), 4);
	assert_int_equal(rig_watch_end(selected), 2);
	w = rig_watch(CM "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
			 "allowWatchBookmarks=true");
	o = rig_event(w, rig_watch_end(w) - 1);
	is(o, "type", "BOOKMARK");
	assert_string_equal(text(json_getp(o, "object.metadata.annotations")), "{\"k8s.io/initial-events-end\":\"true\"}");
	/* Without the initial state and without a version: only what comes. */
	w = rig_watch(CM "?watch=1&timeoutSeconds=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan");
	rig_watch_begun(w);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"later\"}}", 201);
	is(rig_event(w, 0), "object.metadata.name", "later");
	assert_int_equal(rig_watch_end(w), 1);
	rig_call("DELETE", CM "/later", NULL, 200);
}

static void make_pod(const char *name, const char *status)
{
	rig_call("POST", PODS, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"evict\"}},\"spec\":{\"containers\":[{"
				       "\"name\":\"c\",\"image\":\"i\"}],\"nodeName\":\"n\",\"terminationGracePeriodSeconds\":0}}", name), 201);
	patch(arena_printf(&rig_arena, PODS "/%s/status", name), MERGE, status, 200);
}

static void test_ws_watch(void **state)
{
	struct rig_watch *w = rig_ws_watch(CM "?watch=1&timeoutSeconds=1&labelSelector=ws&sendInitialEvents=true&"
					   "resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");

	(void)state;
	is(rig_event(w, 0), "type", "BOOKMARK");
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"ws\",\"labels\":{\"ws\":\"x\"}},\"data\":{\"line\":\"a\\nb\"}}", 201);
	rig_call("DELETE", CM "/ws", NULL, 200);
	is(rig_event(w, 1), "object.data.line", "a\nb");
	is(rig_event(w, 2), "type", "DELETED");
	/* The server ends it in good order at its timeout. */
	assert_int_equal(rig_watch_end(w), 3);
}

static void test_proxy(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("GET", SVC "/none/proxy/", NULL, 404), "message", "services \"none\" not found");
	rig_call("POST", SVC, "{\"metadata\":{\"name\":\"px\"},\"spec\":{\"ports\":[{\"name\":\"web\",\"port\":80}]}}", 201);
	is(rig_call("GET", SVC "/px/proxy/", NULL, 503), "message", "no endpoints available for service \"px\"");
	is(rig_call("GET", SVC "/px:81/proxy/", NULL, 503), "message", "no service port 81 found for service \"px\"");
	is(rig_call("GET", SVC "/ftp:px:80/proxy/", NULL, 400), "message", "invalid service request \"ftp:px:80\"");
	/* Never back into this machine. */
	rig_call("POST", "/api/v1/namespaces/default/endpoints", "{\"metadata\":{\"name\":\"px\"},\"subsets\":[{\"addresses\":[{\"ip\":"
			"\"10.255.255.1\"}],\"ports\":[{\"name\":\"other\",\"port\":1}]}]}", 201);
	is(rig_call("GET", SVC "/px/proxy/", NULL, 503), "reason", "ServiceUnavailable");
	rig_call("GET", SVC "/px/proxy", NULL, 301);
	make_pod("px", "{\"status\":{\"phase\":\"Running\",\"podIP\":\"127.0.0.1\"}}");
	is(rig_call("GET", PODS "/px:443/proxy/etc", NULL, 400), "message", "address not allowed");
	rig_as("jane");
	o = rig_call("POST", PODS "/px/proxy/", "{}", 403);
	assert_true(str_search(json_strp(o, "message"), STR("cannot create resource \"pods/proxy\"")) > 0);
	rig_as("admin");
	rig_call("DELETE", SVC "/px", NULL, 200);
	rig_call("DELETE", PODS "/px", NULL, 200);
}

static void test_namespace(void **state)
{
	struct json *o = rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}", 201);

	(void)state;
	is(o, "status.phase", "Active");
	is(rig_call("DELETE", "/api/v1/namespaces/n", NULL, 200), "status.phase", "Terminating");
	rig_call("DELETE", "/api/v1/namespaces/n", NULL, 409);
	o = rig_call("POST", "/api/v1/namespaces/n/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 403);
	is(o, "message", "configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being "
			 "terminated");
	o = rig_call("GET", "/api/v1/namespaces/n", NULL, 200);
	json_setp(&rig_arena, o, "spec.finalizers", json_new_array(&rig_arena));
	rig_call("PUT", "/api/v1/namespaces/n/finalize", text(o), 200);
	rig_call("GET", "/api/v1/namespaces/n", NULL, 404);
}

static void test_finalizers(void **state)
{
	(void)state;
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"f\",\"finalizers\":[\"x.io/y\"]}}", 201);
	assert_non_null(json_getp(rig_call("DELETE", CM "/f", NULL, 200), "metadata.deletionTimestamp"));
	rig_call("GET", CM "/f", NULL, 200);
	patch(CM "/f", MERGE, "{\"metadata\":{\"finalizers\":null}}", 200);
	rig_call("GET", CM "/f", NULL, 404);
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"g\"}}", 201);
	rig_call("DELETE", CM "/g", "{\"preconditions\":{\"uid\":\"other\"}}", 409);
	assert_int_equal(json_len(json_getp(rig_call("DELETE", CM "/g?propagationPolicy=Orphan", NULL, 200), "metadata.finalizers")),
			1);
	patch(CM "/g", MERGE, "{\"metadata\":{\"finalizers\":[]}}", 200);
	rig_call("GET", CM "/g", NULL, 404);
}

/* The answer is the list of what was selected, as it was; of a dry run too. */
/* Options with values that are none, and documents that cannot be: upstream's codes and words. */
static void test_wrong_options(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int want;
		const char *message;
	} rows[] = {
			{"POST", CM "?dryRun=Some", "{\"metadata\":{\"name\":\"wo\"}}", 422,
					"CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
			{"PUT", CM "/wo?fieldValidation=No", "{}", 422,
					"UpdateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"No\": supported values: \"\", "
					"\"Ignore\", \"Strict\", \"Warn\""},
			{"DELETE", CM "/wo?dryRun=Some", NULL, 422,
					"DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""},
			{"DELETE", CM "/wo", "{\"dryRun\":[\"None\"]}", 422,
					"DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: []string{\"None\"}: supported values: \"All\""},
			{"DELETE", CM "?dryRun=Some", NULL, 422, NULL},
			{"POST", CM, "{bad", 400,
					"the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: invalid "
					"character 'b' looking for beginning of object key string ({bad)"},
			{"POST", CM, "bad", 400, NULL},
			{"GET", CM "?limit=abc", NULL, 400, "strconv.ParseInt: parsing \"abc\": invalid syntax"},
			{"GET", CM "?limit=99999999999999999999", NULL, 400, "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"},
			{"PUT", CM, "{}", 405, NULL},
			{"PATCH", CM, "{}", 405, NULL},
			{"POST", CM "/wo", "{}", 405, NULL},
	};
	struct json *o;

	(void)state;
	rig_call("POST", CM, "{\"metadata\":{\"name\":\"wo\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		o = rig_call(rows[i].method, rows[i].path, rows[i].body, rows[i].want);
		if (rows[i].message)
			is(o, "message", rows[i].message);
	}
	o = rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{\"spec\":{\"expirationSeconds\":5}}", 422);
	is(o, "message", "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less "
			"than 10 minutes");
	/* A GET has no such options. */
	rig_call("GET", CM "/wo?dryRun=Some", NULL, 200);
	/* A patch that leaves something wrong says so of itself. */
	o = patch(CM "/wo?fieldValidation=Strict", STRATEGIC, "{\"foo\":{\"a\":1}}", 422);
	is(o, "message", " \"\" is invalid: patch: Invalid value: \"map[foo:map[a:1]]\": strict decoding error: unknown field \"foo\"");
	is(json_at(json_getp(o, "details.causes"), 0), "field", "patch");
	o = patch(CM "/wo?fieldValidation=Strict", MERGE, "{\"foo\":1}", 422);
	assert_true(str_has_prefix(json_strp(o, "message"), STR(" \"\" is invalid: patch: Invalid value: \"{\\\"kind\\\":\\\"ConfigMap\\\"")));
	patch(CM "/wo", MERGE, "{\"data\":3}", 422);
	rig_call("DELETE", CM "/wo", NULL, 200);
	rig_call("GET", "/apis/resource.k8s.io/v1/resourceslices?fieldSelector=spec.nodeName%3Dx,spec.driver%3Dy", NULL, 200);
}

/* One object is no list, a list is not one object; a status takes no labels where upstream's does not. */
static void test_forms_and_status(void **state)
{
	static const char deployments[] = "/apis/apps/v1/namespaces/default/deployments";
	struct json *o;

	(void)state;
	rig_call("POST", deployments, "{\"metadata\":{\"name\":\"fs\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"a\":"
			"\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}", 201);
	o = patch("/apis/apps/v1/namespaces/default/deployments/fs/status", MERGE,
			"{\"metadata\":{\"labels\":{\"c\":\"d\"},\"annotations\":{\"e\":\"f\"}},\"status\":{\"replicas\":5}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "status.replicas"), 0), 5);
	assert_null(json_getp(o, "metadata.labels.c"));
	is(o, "metadata.labels.a", "b");
	is(o, "metadata.annotations.e", "f");
	rig_header("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/deployments/fs", NULL, 406);
	is(o, "message", "you requested PartialObjectMetadataList, but the requested object is not a list (*apps.Deployment)");
	rig_header("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
	o = rig_call("GET", deployments, NULL, 406);
	is(o, "message", "you requested PartialObjectMetadata, but the requested object is a list (*apps.DeploymentList)");
	rig_header("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
	o = rig_call("GET", "/apis/apps/v1/namespaces/default/deployments?includeObject=All", NULL, 400);
	is(o, "message", "unrecognized includeObject value: \"All\"");
	rig_call("DELETE", "/apis/apps/v1/namespaces/default/deployments/fs", NULL, 200);
}

/* More than a page of them, a limit, and what is answered. */
static void test_collection_pages(void **state)
{
	static const char all[] = CM "?labelSelector=many";
	struct json *o;

	(void)state;
	for (int i = 0; i < 1300; i++)
		rig_call("POST", CM, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"many%04d\",\"labels\":{\"many\":\"x\"}}}", i), 201);
	o = rig_call("DELETE", CM "?labelSelector=many&dryRun=All", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1300);
	/* With a limit just so many, and where it went on. */
	o = rig_call("DELETE", CM "?labelSelector=many&limit=7", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 7);
	is(json_at(json_getc(o, "items"), 6), "metadata.name", "many0006");
	assert_true(json_strp(o, "metadata.continue").n > 0);
	rig_call("GET", CM "/many0007", NULL, 200);
	o = rig_call("DELETE", all, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 1293);
	is(json_at(json_getc(o, "items"), 0), "metadata.name", "many0007");
	is(json_at(json_getc(o, "items"), 1292), "metadata.name", "many1299");
	o = rig_call("GET", all, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 0);
}

static void test_collection(void **state)
{
	static const char *const paths[] = {"/api/v1/namespaces/default/configmaps?labelSelector=set%3Done&dryRun=All",
			"/api/v1/namespaces/default/configmaps?labelSelector=set%3Done"};
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/configmaps",
			"{\"metadata\":{\"name\":\"sel-a\",\"labels\":{\"set\":\"one\"}},\"data\":{\"k\":\"v\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/configmaps",
			"{\"metadata\":{\"name\":\"sel-b\",\"labels\":{\"set\":\"one\"}}}", 201);
	rig_call("POST", "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"sel-c\"}}", 201);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		o = rig_call("DELETE", paths[i], NULL, 200);
		is(o, "kind", "ConfigMapList");
		assert_int_equal(json_len(json_getc(o, "items")), 2);
		is(json_at(json_getc(o, "items"), 0), "metadata.name", "sel-a");
		is(json_at(json_getc(o, "items"), 0), "data.k", "v");
		rig_call("GET", "/api/v1/namespaces/default/configmaps/sel-b", NULL, i == 0 ? 200 : 404);
	}
	rig_call("GET", "/api/v1/namespaces/default/configmaps/sel-c", NULL, 200);
	o = rig_call("DELETE", paths[1], NULL, 200);
	is(o, "kind", "ConfigMapList");
	assert_int_equal(json_len(json_getc(o, "items")), 0);
	rig_call("DELETE", "/api/v1/namespaces/default/configmaps/sel-c", NULL, 200);
}

/* A manifest with tolerations of its own, sent again without the default ones: they stay. */
static void test_tolerations_again(void **state)
{
	static const char patch[] = "{\"spec\":{\"tolerations\":[{\"key\":\"x\",\"operator\":\"Exists\"}]}}";
	struct json *o, *again;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"again\"}}", 201);
	o = rig_call("POST", "/api/v1/namespaces/default/pods",
			"{\"metadata\":{\"name\":\"again\"},\"spec\":{\"serviceAccountName\":\"again\",\"tolerations\":[{\"key\":\"x\","
			"\"operator\":\"Exists\"}],\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", 201);
	assert_int_equal(json_len(json_getp(o, "spec.tolerations")), 3);
	rig_type("application/strategic-merge-patch+json");
	again = rig_call("PATCH", "/api/v1/namespaces/default/pods/again", patch, 200);
	assert_true(json_equal(json_getc(again, "spec"), json_getc(o, "spec")));
	is(again, "metadata.resourceVersion", arena_cstr(&rig_arena, json_strp(o, "metadata.resourceVersion")));
	rig_call("DELETE", "/api/v1/namespaces/default/pods/again?gracePeriodSeconds=0", NULL, 200);
	rig_call("DELETE", "/api/v1/namespaces/default/serviceaccounts/again", NULL, 200);
}

/* What kubectl patch --subresource resize sends: resources change, nothing else does, and whoever looks at the limits is asked. */
static void test_pod_resize(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"b\","
			"\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}]}}";
	static const char range[] = "{\"metadata\":{\"name\":\"range\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"max\":{\"cpu\":\"2\"},"
			"\"default\":{\"cpu\":\"2\"}}]}}";
	static const char quota[] = "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"requests.cpu\":\"500m\"}}}";
	struct json *o = rig_call("POST", PODS, pod, 201);

	(void)state;
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 1);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"nodeName\":\"z\",\"containers\":[{"
			"\"name\":\"c\",\"image\":\"other\",\"resources\":{\"requests\":{\"cpu\":\"200m\"}}}]}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	assert_null(json_getp(o, "metadata.labels"));
	assert_null(json_getp(o, "spec.nodeName"));
	o = json_at(json_getp(o, "spec.containers"), 0);
	is(o, "image", "b");
	is(o, "resources.requests.cpu", "200m");
	o = rig_call("GET", PODS "/r/resize", NULL, 200);
	is(o, "kind", "Pod");
	o = rig_call("PUT", PODS "/r/resize", "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":"
			"{\"requests\":{\"cpu\":\"300m\"}}}]}}", 200);
	is(json_at(json_getp(o, "spec.containers"), 0), "resources.requests.cpu", "300m");
	is(json_at(json_getp(o, "spec.containers"), 0), "image", "b");
	o = patch(PODS "/r/resize?fieldManager=m&force=true", "application/apply-patch+yaml", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"r\"},"
			"\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"310m\"}}}]}}", 200);
	is(json_at(json_getp(o, "spec.containers"), 0), "resources.requests.cpu", "310m");
	o = json_at(json_getp(o, "metadata.managedFields"), 0);
	is(o, "manager", "m");
	is(o, "subresource", "resize");
	/* The pod itself takes them from nobody. */
	patch(PODS "/r", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}", 422);
	patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"new\",\"image\":\"b\"}]}}", 422);
	rig_call("POST", "/api/v1/namespaces/default/limitranges", range, 201);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"3\"}}}]}}", 403);
	is(o, "message", "pods \"r\" is forbidden: maximum cpu usage per Container is 2, but limit is 3");
	rig_call("DELETE", "/api/v1/namespaces/default/limitranges/range", NULL, 200);
	o = rig_call("POST", "/api/v1/namespaces/default/resourcequotas", quota, 201);
	/* As the controller asks for it. */
	rig_call("PUT", "/api/v1/namespaces/default/resourcequotas/q/status", text(o), 200);
	o = patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"600m\"}}}]}}", 403);
	is(o, "message", "pods \"r\" is forbidden: exceeded quota: q, requested: requests.cpu=290m, used: requests.cpu=310m, limited: "
			"requests.cpu=500m");
	patch(PODS "/r/resize", STRATEGIC, "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"400m\"}}}]}}", 200);
	o = rig_call("GET", "/api/v1/namespaces/default/resourcequotas/q", NULL, 200);
	assert_string_equal(json_cstr(json_getc(json_getp(o, "status.used"), "requests.cpu")), "400m");
	rig_call("DELETE", "/api/v1/namespaces/default/resourcequotas/q", NULL, 200);
	rig_call("DELETE", PODS "/r", "{\"gracePeriodSeconds\":0}", 200);
}

static void test_pod(void **state)
{
	static const char pod[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\"}]}}";
	struct json *o = rig_call("POST", PODS, pod, 201);

	(void)state;
	is(o, "status.phase", "Pending");
	is(o, "status.qosClass", "BestEffort");
	is(o, "spec.serviceAccountName", "default");
	assert_int_equal(json_len(json_getp(o, "spec.volumes")), 1);
	assert_int_equal(json_len(json_getp(o, "spec.tolerations")), 2);
	rig_call("POST", PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"node1\"}}", 201);
	rig_call("POST", PODS "/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"node2\"}}", 409);
	o = patch(PODS "/p/status", MERGE, "{\"status\":{\"phase\":\"Running\"},\"spec\":{\"nodeName\":\"x\"}}", 200);
	is(o, "status.phase", "Running");
	is(o, "spec.nodeName", "node1");
	/* What kubectl debug sends; nothing else of the pod changes that way. */
	o = patch(PODS "/p/ephemeralcontainers", STRATEGIC,
			"{\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"nodeName\":\"other\",\"ephemeralContainers\":[{\"name\":\"dbg\",\"image\":\"b\","
			"\"stdin\":true,\"tty\":true,\"resources\":{}}]}}", 200);
	is(o, "spec.nodeName", "node1");
	assert_null(json_getp(o, "metadata.labels"));
	is(json_at(json_getp(o, "spec.ephemeralContainers"), 0), "terminationMessagePolicy", "File");
	o = patch(PODS "/p/ephemeralcontainers", STRATEGIC, "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"two\",\"image\":\"b\"}]}}", 200);
	assert_int_equal(json_len(json_getp(o, "spec.ephemeralContainers")), 2);
	o = rig_call("GET", PODS "/p/ephemeralcontainers", NULL, 200);
	is(o, "kind", "Pod");
	assert_int_equal(json_len(json_getp(o, "spec.ephemeralContainers")), 2);
	patch(PODS "/p/ephemeralcontainers", MERGE, "{\"spec\":{\"ephemeralContainers\":[]}}", 422);
	patch(PODS "/p", MERGE, "{\"spec\":{\"ephemeralContainers\":null}}", 422);
	o = rig_call("DELETE", PODS "/p", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.deletionGracePeriodSeconds"), -1), 30);
	rig_as("node1");
	rig_call("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode1", NULL, 200);
	rig_call("GET", "/api/v1/pods", NULL, 403);
	rig_call("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", NULL, 404);
	rig_call("GET", "/api/v1/namespaces/default/configmaps/other", NULL, 403);
	rig_call("DELETE", PODS "/p", "{\"gracePeriodSeconds\":0}", 200);
	rig_as("admin");
	rig_call("GET", PODS "/p", NULL, 404);
	/* Without an account "default" a pod waits for one, but not for ever. */
	rig_call("POST", "/api/v1/namespaces/kube-system/pods", pod, 403);
	rig_call("POST", PODS,
			"{\"metadata\":{\"name\":\"q\"},\"spec\":{\"serviceAccountName\":\"none\",\"containers\":[{\"name\":\"c\","
			"\"image\":\"b\"}]}}",
			403);
}

#define PDBS "/apis/policy/v1/namespaces/default/poddisruptionbudgets"

static struct json *evict(const char *name, const char *query, int want)
{
	return rig_call("POST", arena_printf(&rig_arena, PODS "/%s/eviction%s", name, query),
			arena_printf(&rig_arena, "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"%s\"}}", name), want);
}

static void test_eviction(void **state)
{
	static const char ready[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}";
	static const char unready[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}";
	struct json *o;

	(void)state;
	for (int i = 0; i < 3; i++)
		make_pod(arena_printf(&rig_arena, "ev%d", i), ready);
	make_pod("ev-unready", unready);
	make_pod("ev-done", "{\"status\":{\"phase\":\"Succeeded\"}}");
	rig_call("POST", PDBS, "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"minAvailable\":2,\"selector\":{\"matchLabels\":{\"app\":\"evict\"}}}}", 201);
	/* The controller has not looked at it yet. */
	o = evict("ev0", "", 429);
	is(o, "message", "Cannot evict pod as it would violate the pod's disruption budget.");
	is(o, "reason", "TooManyRequests");
	is(json_at(json_getp(o, "details.causes"), 0), "reason", "DisruptionBudget");
	is(json_at(json_getp(o, "details.causes"), 0), "message", "The disruption budget b is still being processed by the server.");
	assert_string_equal(text(json_getp(o, "details.retryAfterSeconds")), "10");
	patch(PDBS "/b/status", MERGE,
			"{\"status\":{\"observedGeneration\":1,\"disruptionsAllowed\":1,\"currentHealthy\":3,\"desiredHealthy\":2,\"expectedPods\":3}}", 200);
	/* A dry run costs nothing. */
	evict("ev0", "?dryRun=All", 201);
	assert_string_equal(text(json_getp(rig_call("GET", PDBS "/b", NULL, 200), "status.disruptionsAllowed")), "1");
	is(evict("ev0", "", 201), "status", "Success");
	rig_call("GET", PODS "/ev0", NULL, 404);
	o = rig_call("GET", PDBS "/b", NULL, 200);
	assert_string_equal(text(json_getp(o, "status.disruptionsAllowed")), "0");
	assert_int_equal(json_strp(o, "status.disruptedPods.ev0").n, 20);
	is(json_at(json_getp(o, "status.conditions"), 0), "reason", "InsufficientPods");
	o = evict("ev1", "", 429);
	is(json_at(json_getp(o, "details.causes"), 0), "message", "The disruption budget b needs 2 healthy pods and has 3 currently");
	rig_call("GET", PODS "/ev1", NULL, 200);
	/* What is not healthy, or over, takes nothing from the budget. */
	evict("ev-unready", "", 201);
	evict("ev-done", "", 201);
	rig_call("POST", PDBS, "{\"metadata\":{\"name\":\"b2\"},\"spec\":{\"minAvailable\":1,\"selector\":{}}}", 201);
	is(evict("ev1", "", 500), "message",
			"This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
	rig_call("DELETE", PDBS, NULL, 200);
	evict("ev1", "", 201);
	rig_call("POST", PODS "/ev2/eviction", "{\"metadata\":{\"name\":\"other\"}}", 400);
	evict("ev2", "", 201);
	evict("ev2", "", 404);
}

static void test_service(void **state)
{
	struct json *o = rig_call("POST", SVC, "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}", 201);
	const char *ip = json_cstr(json_getp(o, "spec.clusterIP"));
	int64_t port = json_i64_or(json_getc(json_at(json_getp(o, "spec.ports"), 0), "nodePort"), 0);
	char body[256];

	(void)state;
	assert_in_range(port, 30000, 32767);
	snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":80}]}}", ip);
	rig_call("POST", SVC, body, 422);
	rig_call("DELETE", SVC "/s", NULL, 200);
	rig_call("POST", SVC, body, 201);
	is(rig_call("GET", SVC "/kubernetes", NULL, 200), "spec.clusterIP", "10.96.0.1");
}

static void test_scale(void **state)
{
	struct json *o;

	(void)state;
	rig_call("POST", DEPLOY,
			"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"
			"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
			201);
	o = rig_call("GET", DEPLOY "/d/scale", NULL, 200);
	is(o, "kind", "Scale");
	is(o, "status.selector", "a=b");
	patch(DEPLOY "/d/scale", MERGE, "{\"spec\":{\"replicas\":5}}", 200);
	o = rig_call("GET", DEPLOY "/d", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(o, "spec.replicas"), 0), 5);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 2);
	patch(DEPLOY "/d/scale", MERGE, "{\"spec\":{\"replicas\":-1}}", 422);
}

static void test_identity(void **state)
{
	struct json *o;
	char bearer[4096];

	(void)state;
	o = rig_call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{\"spec\":{}}", 201);
	snprintf(bearer, sizeof(bearer), "Bearer %s", json_cstr(json_getp(o, "status.token")));
	rig_as(NULL);
	rig_call("GET", "/version", NULL, 200);
	rig_call("GET", "/readyz", NULL, 200);
	is(rig_call("GET", PODS, NULL, 403), "message",
			"pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the "
			"namespace \"default\"");
	is(rig_call("GET", "/api", NULL, 403), "message",
			"forbidden: User \"system:anonymous\" cannot get path \"/api\"");
	rig_header("Authorization", "Bearer nonsense");
	is(rig_call("GET", PODS, NULL, 401), "message", "Unauthorized");
	rig_header("Authorization", bearer);
	rig_call("GET", "/apis", NULL, 200);
	rig_header("Authorization", bearer);
	rig_call("GET", PODS, NULL, 403);
	rig_header("Authorization", "Bearer test-token");
	rig_call("GET", PODS, NULL, 200);
	rig_as("jane");
	o = rig_call("GET", PODS, NULL, 403);
	is(o, "message", "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace "
			 "\"default\"");
	/* The account is gone: so is its token. */
	rig_as("admin");
	rig_call("POST", "/api/v1/namespaces/kube-public/serviceaccounts", "{\"metadata\":{\"name\":\"gone\"}}", 201);
	o = rig_call("POST", "/api/v1/namespaces/kube-public/serviceaccounts/gone/token", "{\"spec\":{}}", 201);
	snprintf(bearer, sizeof(bearer), "Bearer %s", json_cstr(json_getp(o, "status.token")));
	rig_call("DELETE", "/api/v1/namespaces/kube-public/serviceaccounts/gone", NULL, 200);
	rig_as(NULL);
	rig_header("Authorization", bearer);
	rig_call("GET", "/apis", NULL, 401);
	rig_as("admin");
}

static void test_discovery(void **state)
{
	struct json *o;

	(void)state;
	is(rig_call("GET", "/api", NULL, 200), "kind", "APIVersions");
	is(rig_call("GET", "/apis", NULL, 200), "kind", "APIGroupList");
	is(rig_call("GET", "/apis/apps/v1", NULL, 200), "groupVersion", "apps/v1");
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json");
	o = rig_call("GET", "/apis", NULL, 200);
	is(o, "kind", "APIGroupDiscoveryList");
	is(o, "apiVersion", "apidiscovery.k8s.io/v2");
}

/* --- In process ------------------------------------------------------------------------------------------------ */

struct local {
	struct client *client;
	struct client_req req;
	struct client_watch watch;
	int done, ended, n_events;
	enum client_event last;
	enum err_code end_code;
};

static void local_done(struct client_req *req)
{
	container_of(req, struct local, req)->done = 1;
}

static void local_event(struct client_watch *w, enum client_event type, struct str object, uint64_t rv)
{
	struct local *l = container_of(w, struct local, watch);
	Core__ConfigMap *cm = pb_unpack(&rig_arena, &core__config_map__descriptor, object);

	assert_non_null(cm);
	assert_true(rv > 0);
	assert_true(cm->metadata && cm->metadata->resource_version);
	l->last = type;
	l->n_events++;
}

static void local_end(struct client_watch *w, const struct err *e)
{
	struct local *l = container_of(w, struct local, watch);

	l->end_code = e->code;
	l->ended = 1;
}

static void local_closed(void *arg)
{
	((struct local *)arg)->done = 1;
}

static void local_wait(struct local *l)
{
	l->done = 0;
	client_do(l->client, &l->req);
	assert_int_equal(l->done, 0); /* never inside the call */
	rig_until(&l->done);
}

static void test_local_client(void **state)
{
	const struct resource *res = resource_find("", "v1", "configmaps");
	struct local l = {.done = 0};
	Core__ConfigMap *cm = pb_new_of(&rig_arena, core__config_map, Core__ConfigMap), *got;
	struct client_list_meta meta;
	struct err e = ERR_INIT;
	struct str item;
	size_t pos = 0, n = 0;

	(void)state;
	l.client = apiserver_client(rig_server, rig_loop, "test");
	client_watch_init(&l.watch, res);
	l.watch.ns = "kube-public";
	l.watch.event = local_event;
	l.watch.end = local_end;
	client_watch_start(l.client, &l.watch);
	pb_sub(&rig_arena, cm, "metadata");
	cm->metadata->name = "local";
	pb_map_set(&rig_arena, cm, "data", "k", "v");
	client_req_init(&l.req, CLIENT_CREATE, res);
	l.req.ns = "kube-public";
	l.req.msg = &cm->base;
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, 0);
	got = client_req_unpack(&l.req, &core__config_map__descriptor);
	assert_non_null(got);
	assert_string_equal(got->metadata->name, "local");
	assert_non_null(got->metadata->resource_version);
	client_req_fini(&l.req);

	client_req_init(&l.req, CLIENT_CREATE, res);
	l.req.ns = "kube-public";
	l.req.msg = &cm->base;
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, ERR_ALREADY_EXISTS);
	client_req_fini(&l.req);

	/* As a controller's account: what its role grants, and no more. */
	for (int i = 0; i < 2; i++) {
		cm->metadata->name = i ? "published" : "refused";
		client_req_init(&l.req, CLIENT_CREATE, res);
		l.req.ns = "kube-public";
		l.req.account = i ? "root-ca-cert-publisher" : "job-controller";
		l.req.dry_run = true;
		l.req.msg = &cm->base;
		l.req.done = local_done;
		local_wait(&l);
		assert_int_equal(l.req.err.code, i ? 0 : ERR_FORBIDDEN);
		if (i == 0)
			assert_non_null(strstr(l.req.err.text, "User \"system:serviceaccount:kube-system:job-controller\" cannot create"));
		else
			assert_string_equal(((Core__ConfigMap *)client_req_unpack(&l.req, &core__config_map__descriptor))
							    ->metadata->managed_fields[0]->manager, "test");
		client_req_fini(&l.req);
	}

	client_req_init(&l.req, CLIENT_LIST, res);
	l.req.ns = "kube-public";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(client_list_meta(l.req.answer, &meta, &e), 0);
	assert_true(meta.resource_version.n > 0);
	while (client_list_next(l.req.answer, &pos, &item))
		n++;
	assert_int_equal(n, 1);
	client_req_fini(&l.req);

	client_req_init(&l.req, CLIENT_DELETE, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.precondition_uid = "wrong";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, ERR_CONFLICT);
	client_req_fini(&l.req);
	client_req_init(&l.req, CLIENT_DELETE, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.done = local_done;
	local_wait(&l);
	assert_int_equal(l.req.err.code, 0);
	client_req_fini(&l.req);
	while (l.n_events < 2)
		loop_turn(rig_loop, 10);
	assert_int_equal(l.last, CLIENT_DELETED);

	client_req_init(&l.req, CLIENT_GET, res);
	l.req.ns = "kube-public";
	l.req.name = "local";
	l.req.done = local_done;
	l.done = 0;
	client_do(l.client, &l.req);
	client_cancel(&l.req);
	rig_until(&l.done);
	assert_int_equal(l.req.err.code, ERR_CANCELED);
	client_req_fini(&l.req);
	client_watch_stop(&l.watch);
	rig_until(&l.ended);
	assert_int_equal(l.end_code, ERR_CANCELED);
	l.done = 0;
	client_close(l.client, local_closed, &l);
	rig_until(&l.done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_create_read_update),
			cmocka_unit_test(test_apply),
			cmocka_unit_test(test_apply_subresources),
			cmocka_unit_test(test_bad_input),
			cmocka_unit_test(test_hostile),
			cmocka_unit_test(test_list),
			cmocka_unit_test(test_large_list),
			cmocka_unit_test(test_list_options),
			cmocka_unit_test(test_watch),
			cmocka_unit_test(test_ws_watch),
			cmocka_unit_test(test_proxy),
			cmocka_unit_test(test_namespace),
			cmocka_unit_test(test_finalizers),
			cmocka_unit_test(test_pod),
			cmocka_unit_test(test_pod_resize),
			cmocka_unit_test(test_collection),
			cmocka_unit_test(test_collection_pages),
			cmocka_unit_test(test_wrong_options),
			cmocka_unit_test(test_forms_and_status),
			cmocka_unit_test(test_tolerations_again),
			cmocka_unit_test(test_eviction),
			cmocka_unit_test(test_service),
			cmocka_unit_test(test_scale),
			cmocka_unit_test(test_identity),
			cmocka_unit_test(test_discovery),
			cmocka_unit_test(test_local_client),
	};

	return cmocka_run_group_tests(tests, start, stop);
}

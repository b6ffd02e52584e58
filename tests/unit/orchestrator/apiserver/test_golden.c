/*
 * Creates of every kind, replayed: tests/data/api/create.jsonl holds requests and what an upstream API server (1.32) answered.
 * The stored object, or the Status, has to be the same but for what differs from run to run (uids, versions, times, addresses)
 * and for the rows of `differences`, each of which says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define GOLDEN_MAX_LINE (1u << 17)

/* What differs on purpose. kind NULL: everywhere. A path names one key; "*" stands for any one part. */
static const struct difference {
	const char *kind, *path;
} differences[] = {
		/* Upstream takes for a default what the strategy makes here. */
		{"DaemonSet", "metadata.managedFields.*.fieldsV1.f:metadata"},
		/* Upstream accepts names a moment later. */
		{"CustomResourceDefinition", "status.acceptedNames"},
		{"CustomResourceDefinition", "status.conditions"},
		/* Newer than 1.32: pods count their generations. */
		{"Pod", "metadata.generation"},
		/* What is chosen at random. */
		{"Service", "spec.clusterIP"},
		{"Service", "spec.clusterIPs"},
		{"Service", "spec.healthCheckNodePort"},
		{"Service", "spec.ports.*.nodePort"},
};

/* Both sides are made alike: what varies becomes a word, and what only 1.32 shows goes away. */
static struct json *normal(struct json *v, struct str uid)
{
	struct json *out;

	if (json_is(v, JSON_STRING)) {
		struct str s = v->s;

		if (uid.n > 0 && str_eq(s, uid))
			return json_newc(&rig_arena, "UID");
		if (str_has_prefix(s, STR("kube-api-access-")))
			return json_newc(&rig_arena, "kube-api-access-X");
		if (s.n >= 20 && s.p[4] == '-' && s.p[7] == '-' && s.p[10] == 'T' && s.p[s.n - 1] == 'Z')
			return json_newc(&rig_arena, "TIME");
		return v;
	}
	if (json_is(v, JSON_ARRAY)) {
		out = json_new_array(&rig_arena);
		JSON_ITEMS (it, v)
			json_push(&rig_arena, out, normal(it, uid));
		return out;
	}
	if (!json_is(v, JSON_OBJECT))
		return v;
	out = json_new_object(&rig_arena);
	JSON_MEMBERS (m, v) {
		/* Since 1.34 an unset creationTimestamp is left out, and nobody's. */
		if ((str_eqc(m->key, "creationTimestamp") && json_is_null(m->value)) || str_eqc(m->key, "f:creationTimestamp"))
			continue;
		json_set(&rig_arena, out, m->key,
				str_eqc(m->key, "resourceVersion") ? json_newc(&rig_arena, "RV") : normal(m->value, uid));
	}
	if (out->n == 1 && json_getc(out, "."))
		json_delc(out, ".");
	return out;
}

static bool expected(const char *kind, const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(differences); i++) {
		struct str want = str_from(differences[i].path), have = str_from(path), w, h;
		bool same = !differences[i].kind || strcmp(differences[i].kind, kind) == 0;

		while (same && want.n > 0) {
			str_cut(want, '.', &w, &want);
			str_cut(have, '.', &h, &have);
			same = str_eqc(w, "*") || str_eq(w, h);
		}
		if (same && have.n == 0)
			return true;
	}
	return false;
}

/* Prints every difference; returns how many there are. */
static size_t compare(const char *kind, const char *path, const struct json *want, const struct json *have)
{
	size_t n = 0;

	if (expected(kind, path) || json_equal(want, have))
		return 0;
	if (json_is(want, JSON_OBJECT) && json_is(have, JSON_OBJECT)) {
		JSON_MEMBERS (m, want)
			n += compare(kind, arena_printf(&rig_arena, "%s%s%.*s", path, *path ? "." : "", STR_FMT(m->key)), m->value,
					json_get(have, m->key));
		JSON_MEMBERS (m, have)
			if (!json_get(want, m->key))
				n += compare(kind, arena_printf(&rig_arena, "%s%s%.*s", path, *path ? "." : "", STR_FMT(m->key)),
						NULL, m->value);
		return n;
	}
	if (json_is(want, JSON_ARRAY) && json_is(have, JSON_ARRAY) && json_len(want) == json_len(have)) {
		for (size_t i = 0; i < json_len(want); i++)
			n += compare(kind, arena_printf(&rig_arena, "%s.%zu", path, i), json_at(want, i), json_at(have, i));
		return n;
	}
	print_message("%s %s:\n  want %s\n  have %s\n", kind, path, want ? text(want) : "nothing", have ? text(have) : "nothing");
	return 1;
}

/* The row's request as a dry run, in protobuf for protobuf: the same object must come back. */
static size_t same_in_protobuf(const struct json *row, const struct json *want)
{
	const char *kind = json_cstr(json_getc(want, "kind"));
	const struct json *body = json_getc(row, "body");
	struct json *have;
	const struct schema_type *t = codec_type(json_str(json_getc(body, "apiVersion")), json_str(json_getc(body, "kind")));
	struct codec_errs *errs = arena_new_of(&rig_arena, struct codec_errs);
	struct buf wire = BUF_INIT, wrapped = BUF_INIT;
	struct err e = ERR_INIT;
	struct str answer;

	codec_errs_init(errs, &rig_arena);
	codec_to_wire(&wire, t, body, errs);
	assert_int_equal(errs->n_hard, 0);
	codec_wrap(&wrapped, json_cstr(json_getc(body, "apiVersion")), json_cstr(json_getc(body, "kind")), buf_str(&wire));
	rig_type("application/vnd.kubernetes.protobuf");
	rig_header("Accept", "application/vnd.kubernetes.protobuf");
	answer = rig_raw("POST", arena_printf(&rig_arena, "%s&dryRun=All", json_cstr(json_getc(row, "path"))), buf_str(&wrapped), 0);
	if (codec_stored_to_dom(&rig_arena, answer, NULL, &have, &e) < 0)
		fail_msg("%s: %s", kind, e.text);
	have = normal(have, json_strp(have, "metadata.uid"));
	/* Nothing was stored: there is no version. */
	json_setp(&rig_arena, have, "metadata.resourceVersion", json_newc(&rig_arena, "RV"));
	buf_fini(&wire);
	buf_fini(&wrapped);
	return compare(kind, "", want, have);
}

static void test_create(void **state)
{
	const char *dir = getenv("srcdir");
	FILE *f = fopen(arena_printf(&rig_arena, "%s/tests/data/api/create.jsonl", dir ? dir : "."), "r");
	char *line = xmalloc(GOLDEN_MAX_LINE);
	size_t n = 0, wrong = 0;

	(void)state;
	assert_non_null(f);
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"golden\"}}", 201);
	rig_call("POST", "/api/v1/namespaces/golden/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}", 201);
	while (fgets(line, (int)GOLDEN_MAX_LINE, f)) {
		struct json *row, *want, *have;

		assert_int_equal(json_parse(&rig_arena, str_from(line), NULL, &row, NULL), 0);
		want = json_getc(row, "answer");
		want = normal(want, STR_NULL);
		n++;
		if (!json_eqc(json_getc(want, "kind"), "Status"))
			wrong += same_in_protobuf(row, want) > 0;
		have = rig_call(json_cstr(json_getc(row, "method")), json_cstr(json_getc(row, "path")), text(json_getc(row, "body")), 0);
		have = normal(have, json_strp(have, "metadata.uid"));
		if (compare(json_cstr(json_getc(want, "kind")), "", want, have) > 0) {
			print_message("in answer to %s\n", line);
			wrong++;
		}
	}
	fclose(f);
	free(line);
	assert_int_equal(wrong, 0);
	assert_int_equal(n, 54);
}

#define HPA1 "/apis/autoscaling/v1/namespaces/golden/horizontalpodautoscalers"
#define HPA2 "/apis/autoscaling/v2/namespaces/golden/horizontalpodautoscalers"

/* Kinds in two versions: what one cannot say is not lost when it is written in that one. */
static void test_versions(void **state)
{
	static const char metrics[] = "[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"qps\",\"selector\":{\"matchLabels\":{\"a\":"
				      "\"b\"}}},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"5\"}}},{\"type\":\"Resource\","
				      "\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":60}}},{"
				      "\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"Service\",\"name\":\"s\"},\"target\":{"
				      "\"type\":\"Value\",\"value\":\"7\"},\"metric\":{\"name\":\"hits\"}}}]";
	struct json *v1, *v2, *again;
	struct rig_watch *w;

	(void)state;
	v2 = rig_call("POST", HPA2, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"both\"},\"spec\":{\"maxReplicas\":9,\"scaleTargetRef\":{"
							     "\"kind\":\"Deployment\",\"name\":\"d\"},\"metrics\":%s,\"behavior\":{"
							     "\"scaleDown\":{\"selectPolicy\":\"Min\"}}}}", metrics), 201);
	v1 = rig_call("GET", HPA1 "/both", NULL, 200);
	is(v1, "apiVersion", "autoscaling/v1");
	assert_int_equal(json_i64_or(json_getp(v1, "spec.targetCPUUtilizationPercentage"), 0), 60);
	assert_null(json_getp(v1, "spec.metrics"));
	assert_string_equal(json_cstr(json_getc(json_getp(v1, "metadata.annotations"), "autoscaling.alpha.kubernetes.io/metrics")),
			"[{\"type\":\"Pods\",\"pods\":{\"metricName\":\"qps\",\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
			"\"targetAverageValue\":\"5\"}},{\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"Service\",\"name\":\"s\"},"
			"\"metricName\":\"hits\",\"targetValue\":\"7\"}}]");
	assert_string_equal(json_cstr(json_getc(json_getp(v1, "metadata.annotations"), "autoscaling.alpha.kubernetes.io/behavior")),
			"{\"ScaleUp\":{\"StabilizationWindowSeconds\":0,\"SelectPolicy\":\"Max\",\"Policies\":[{\"Type\":\"Pods\",\"Value\":4,"
			"\"PeriodSeconds\":15},{\"Type\":\"Percent\",\"Value\":100,\"PeriodSeconds\":15}],\"Tolerance\":null},\"ScaleDown\":{"
			"\"StabilizationWindowSeconds\":null,\"SelectPolicy\":\"Min\",\"Policies\":[{\"Type\":\"Percent\",\"Value\":100,"
			"\"PeriodSeconds\":15}],\"Tolerance\":null}}");
	/* Written back in the old version with another number. */
	json_setp(&rig_arena, v1, "spec.maxReplicas", json_new_int(&rig_arena, 10));
	rig_call("PUT", HPA1 "/both", text(v1), 200);
	again = rig_call("GET", HPA2 "/both", NULL, 200);
	assert_int_equal(json_i64_or(json_getp(again, "spec.maxReplicas"), 0), 10);
	assert_true(json_equal(json_getp(again, "spec.behavior"), json_getp(v2, "spec.behavior")));
	assert_int_equal(json_len(json_getp(again, "spec.metrics")), 3);
	assert_true(json_equal(json_at(json_getp(again, "spec.metrics"), 1), json_at(json_getp(v2, "spec.metrics"), 0)));
	assert_true(json_equal(json_at(json_getp(again, "spec.metrics"), 2), json_at(json_getp(v2, "spec.metrics"), 2)));
	assert_null(json_getp(again, "metadata.annotations"));
	/* The default of the stored version shows in the other one. */
	v1 = rig_call("POST", HPA1, "{\"metadata\":{\"name\":\"plain\"},\"spec\":{\"maxReplicas\":2,\"scaleTargetRef\":{\"kind\":\"X\",\"name\":"
				    "\"d\"}}}", 201);
	assert_int_equal(json_i64_or(json_getp(v1, "spec.targetCPUUtilizationPercentage"), 0), 80);
	rig_call("POST", HPA1, "{\"metadata\":{\"name\":\"odd\",\"annotations\":{\"autoscaling.alpha.kubernetes.io/metrics\":"
			       "\"[{\\\"type\\\":5}]\"}},\"spec\":{\"maxReplicas\":2,\"scaleTargetRef\":{\"kind\":\"X\",\"name\":\"d\"}}}", 400);
	/* Events: one object, watched in both. */
	w = rig_watch("/apis/events.k8s.io/v1/namespaces/golden/events?watch=true&timeoutSeconds=300&fieldSelector=regarding.name%3Dzed");
	rig_call("POST", "/api/v1/namespaces/golden/events",
			"{\"metadata\":{\"name\":\"e2\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"zed\",\"namespace\":\"golden\"},"
			"\"message\":\"hello\",\"count\":3,\"type\":\"Normal\"}", 201);
	is(rig_event(w, 0), "type", "ADDED");
	is(rig_event(w, 0), "object.apiVersion", "events.k8s.io/v1");
	is(rig_event(w, 0), "object.note", "hello");
	assert_int_equal(json_i64_or(json_getp(rig_event(w, 0), "object.deprecatedCount"), 0), 3);
	again = rig_call("GET", "/apis/events.k8s.io/v1/namespaces/golden/events?fieldSelector=regarding.name%3Dzed", NULL, 200);
	is(again, "kind", "EventList");
	assert_int_equal(json_len(json_getc(again, "items")), 1);
	is(json_at(json_getc(again, "items"), 0), "regarding.name", "zed");
	rig_call("DELETE", "/apis/events.k8s.io/v1/namespaces/golden/events/e2", NULL, 200);
	is(rig_event(w, 1), "type", "DELETED");
	rig_call("GET", "/api/v1/namespaces/golden/events/e2", NULL, 404);
	assert_true(rig_watch_stop(w) >= 2);
}

static bool lists(const struct json *array, const char *text)
{
	JSON_ITEMS (it, array)
		if (json_eqc(it, text))
			return true;
	return false;
}

/* Paths and discovery tell the same resources, plain and aggregated. */
static void test_discovery(void **state)
{
	struct json *paths = json_getc(rig_call("GET", "/", NULL, 200), "paths"), *all[2];
	size_t n = 0;

	(void)state;
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	all[0] = rig_call("GET", "/api", NULL, 200);
	rig_header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
	all[1] = rig_call("GET", "/apis", NULL, 200);
	RESOURCE_FOR_EACH (r) {
		const char *path = arena_printf(&rig_arena, "%s/%s", r->group[0] ? "/apis" : "/api", r->api_version);
		bool plain = false, aggregated = false;

		assert_true(r->served);
		assert_true(lists(paths, path));
		JSON_ITEMS (it, json_getc(rig_call("GET", path, NULL, 200), "resources"))
			plain |= json_eqc(json_getc(it, "name"), r->plural) && json_eqc(json_getc(it, "kind"), r->kind);
		JSON_ITEMS (g, json_getc(all[r->group[0] != '\0'], "items"))
			if (str_eqc(json_strp(g, "metadata.name"), r->group))
				JSON_ITEMS (v, json_getc(g, "versions"))
					JSON_ITEMS (it, json_getc(v, "resources"))
						aggregated |= json_eqc(json_getc(v, "version"), r->version) &&
							      json_eqc(json_getc(it, "resource"), r->plural);
		if (!plain || !aggregated)
			fail_msg("%s %s is not told: plain %d aggregated %d", r->api_version, r->plural, plain, aggregated);
		n++;
	}
	assert_true(n > 65);
	JSON_ITEMS (it, paths)
		if (!json_eqc(it, "/openapi/v3") && !json_eqc(it, "/.well-known/openid-configuration"))
			/* One is another server's, which nobody started. */
			rig_call("GET", json_cstr(it), NULL, json_eqc(it, "/apis/golden2.example/v1") ? 503 : 200);
	assert_true(lists(paths, "/apis/golden2.example/v1"));
	assert_true(lists(paths, "/livez/ping"));
	is(rig_call("GET", "/api/v1/componentstatuses/etcd-0", NULL, 200), "metadata.name", "etcd-0");
	assert_int_equal(json_len(json_getc(rig_call("GET", "/api/v1/componentstatuses", NULL, 200), "items")), 3);
	rig_call("GET", "/api/v1/componentstatuses/etcd-9", NULL, 404);
	assert_int_equal(json_len(json_getc(rig_call("GET", "/apis/metrics.k8s.io/v1beta1/nodes", NULL, 200), "items")), 0);
	is(rig_call("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/golden/pods/none", NULL, 404), "reason", "NotFound");
}

/* What only the server can tell. */
static void test_checks(void **state)
{
	struct json *o;

	(void)state;
	o = rig_call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical", NULL, 200);
	assert_int_equal(json_i64_or(json_getc(o, "value"), 0), 2000001000);
	o = rig_call("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests",
			"{\"metadata\":{\"name\":\"bad\"},\"spec\":{\"signerName\":\"a.b/c\",\"usages\":[\"client auth\"],\"request\":"
			"\"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KYQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K\"}}", 422);
	assert_true(str_search(json_strp(o, "message"), STR("spec.request: Invalid value")) >= 0);
	o = rig_call("POST", "/apis/batch/v1/namespaces/golden/cronjobs",
			"{\"metadata\":{\"name\":\"zone\"},\"spec\":{\"schedule\":\"@hourly\",\"timeZone\":\"Middle/Earth\",\"jobTemplate\":{\"spec\":{"
			"\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
			access("/usr/share/zoneinfo", F_OK) == 0 ? 422 : 201);
	/* Counting: annotations of a Deployment count, labels do not; a driver begins to count with its first change. */
	rig_call("POST", "/apis/storage.k8s.io/v1/csidrivers", "{\"metadata\":{\"name\":\"count.example.com\"},\"spec\":{}}", 201);
	rig_type("application/merge-patch+json");
	o = rig_call("PATCH", "/apis/storage.k8s.io/v1/csidrivers/count.example.com", "{\"spec\":{\"requiresRepublish\":true}}", 200);
	assert_int_equal(json_i64_or(json_getp(o, "metadata.generation"), 0), 1);
}

static int start(void **state)
{
	(void)state;
	rig_start();
	/* The recorded answers are of a cluster without a default class. */
	rig_call("DELETE", "/apis/storage.k8s.io/v1/storageclasses/local-path", NULL, 200);
	rig_call("DELETE", "/apis/networking.k8s.io/v1/ingressclasses/kontiki", NULL, 200);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_create),
			cmocka_unit_test(test_versions),
			cmocka_unit_test(test_discovery),
			cmocka_unit_test(test_checks),
	};

	return cmocka_run_group_tests(tests, start, without_server);
}

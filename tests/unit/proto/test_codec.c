#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "proto/wire.h"
#include "tests/lib/json_words.h"
#include "tests/unit/proto/codec_rig.h"

static FILE *open_objects(struct arena *a)
{
	FILE *f = fopen(arena_printf(a, "%s/tests/data/proto/objects.jsonl", source_dir()), "r");

	assert_non_null(f);
	return f;
}

/* The last of the golden objects of that kind. */
static struct json *object_of_kind(struct arena *a, const char *kind)
{
	FILE *f = open_objects(a);
	struct json *found = NULL;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, f)) > 0) {
		struct json *j = json_must(a, str_of(line, (size_t)n));

		if (json_eqc(json_getc(j, "kind"), kind))
			found = j;
	}
	assert_non_null(found);
	free(line);
	fclose(f);
	return found;
}

/* Objects as an upstream API server stored them come back unchanged, as text and as a DOM. */
static void golden_objects(void **state)
{
	struct arena paths;
	char *line = NULL;
	size_t cap = 0, n_objects = 0;
	ssize_t n;
	FILE *f;

	arena_init(&paths);
	f = open_objects(&paths);
	while ((n = getline(&line, &cap, f)) > 0) {
		struct arena a;
		struct json *in, *dom;
		const struct schema_type *t;
		struct str wire, text;
		struct err e = ERR_INIT;

		arena_init(&a);
		in = json_must(&a, str_of(line, (size_t)n));
		t = type_of(in);
		wire = encode(&a, t, in);
		text = to_json(&a, t, wire, NULL);
		if (!json_equal(in, json_must(&a, text)))
			fail_msg("%s\nbecame %.*s", line, STR_FMT(text));
		assert_int_equal(codec_wire_to_dom(&a, t, wire, NULL, &dom, &e), 0);
		/* Text and DOM agree to the byte, order included. */
		assert_true(str_eq(json_text(&a, dom), text));
		/* Encoding is stable. */
		assert_true(str_eq(encode(&a, t, dom), wire));
		arena_fini(&a);
		n_objects++;
	}
	assert_true(n_objects > 40);
	free(line);
	arena_fini(&paths);
	fclose(f);
}

/* protoc reads what we write, and writes what we read. */
static void against_protoc(void **state)
{
	static const char *const kinds[] = {"Pod", "Service", "Deployment", "Lease", "EndpointSlice", "Secret",
					    "CustomResourceDefinition"};
	struct arena a;

	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct json *in = object_of_kind(&a, kinds[i]);
		const struct schema_type *t = type_of(in);
		struct str wire = encode(&a, t, in), text, back;

		text = protoc(&a, "decode", t->full_name, "", wire);
		assert_null(strstr(text.p, "\n1: "));
		back = protoc(&a, "encode", t->full_name, "", text);
		assert_true(json_equal(in, json_must(&a, to_json(&a, t, back, NULL))));
	}
	arena_fini(&a);
}

static struct str there_and_back(struct arena *a, const char *type, const char *json)
{
	const struct schema_type *t = schema_type_find(type);

	assert_non_null(t);
	return to_json(a, t, encode(a, t, json_must(a, str_from(json))), NULL);
}

static void assert_round(const char *type, const char *json, const char *expected)
{
	struct arena a;
	struct str got;

	arena_init(&a);
	got = there_and_back(&a, type, json);
	assert_string_equal(got.p, expected);
	arena_fini(&a);
}

static void emission(void **state)
{
	/* Plain structs and required fields show although they are empty; the rest does not. */
	assert_round("core.v1.Pod", "{}",
		     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"containers\":null},\"status\":{}}");
	assert_round("core.v1.Container", "{\"name\":\"c\",\"tty\":false,\"stdin\":true}",
		     "{\"name\":\"c\",\"resources\":{},\"stdin\":true}");
	/* A pointer keeps its zero. */
	assert_round("apps.v1.DeploymentSpec", "{\"replicas\":0,\"minReadySeconds\":0,\"revisionHistoryLimit\":null}",
		     "{\"replicas\":0,\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null}},"
		     "\"strategy\":{}}");
	assert_round("core.v1.PodList", "{}", "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[]}");
	/* Inlined members, in Go's order. */
	assert_round("core.v1.Volume", "{\"emptyDir\":{},\"name\":\"v\"}", "{\"name\":\"v\",\"emptyDir\":{}}");
	assert_round("core.v1.Probe", "{\"periodSeconds\":3,\"httpGet\":{\"port\":\"http\",\"path\":\"/<&>\"}}",
		     "{\"httpGet\":{\"path\":\"/\\u003c\\u0026\\u003e\",\"port\":\"http\"},\"periodSeconds\":3}");
	/* Maps come sorted, elements of a list as they are. */
	assert_round("meta.v1.LabelSelector", "{\"matchLabels\":{\"b\":\"1\",\"a\":\"\",\"aa\":\"2\"}}",
		     "{\"matchLabels\":{\"a\":\"\",\"aa\":\"2\",\"b\":\"1\"}}");
	assert_round("core.v1.ServicePort", "{\"port\":80}", "{\"port\":80,\"targetPort\":0}");
}

static void special_types(void **state)
{
	assert_round("core.v1.ResourceRequirements",
		     "{\"limits\":{\"memory\":\"1024Ki\",\"cpu\":\"0.5\",\"x\":3}}",
		     "{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Mi\",\"x\":\"3\"}}");
	assert_round("coordination.v1.LeaseSpec", "{\"renewTime\":\"2024-02-29T23:59:59.123456789+01:00\"}",
		     "{\"renewTime\":\"2024-02-29T22:59:59.123456Z\"}");
	assert_round("meta.v1.ObjectMeta", "{\"creationTimestamp\":\"1969-12-31T23:59:59Z\"}",
		     "{\"creationTimestamp\":\"1969-12-31T23:59:59Z\"}");
	assert_round("meta.v1.ObjectMeta", "{\"creationTimestamp\":\"0001-01-01T00:00:00Z\",\"name\":\"x\"}", "{\"name\":\"x\"}");
	assert_round("meta.v1.ObjectMeta", "{\"creationTimestamp\":\"0224-01-01T00:00:00Z\"}",
		     "{\"creationTimestamp\":\"0224-01-01T00:00:00Z\"}");
	assert_round("core.v1.PodCondition", "{\"type\":\"Ready\",\"status\":\"True\"}",
		     "{\"type\":\"Ready\",\"status\":\"True\",\"lastProbeTime\":null,\"lastTransitionTime\":null}");
	assert_round("core.v1.Secret", "{\"data\":{\"k\":\"AP8=\",\"e\":\"\"},\"type\":\"Opaque\"}",
		     "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{},\"data\":{\"e\":\"\",\"k\":\"AP8=\"},"
		     "\"type\":\"Opaque\"}");
	assert_round("apps.v1.ControllerRevision", "{\"data\":{\"spec\":{\"b\":[1,2.5],\"a\":\"<\"}},\"revision\":3}",
		     "{\"kind\":\"ControllerRevision\",\"apiVersion\":\"apps/v1\",\"metadata\":{},"
		     "\"data\":{\"spec\":{\"b\":[1,2.5],\"a\":\"\\u003c\"}},\"revision\":3}");
	assert_round("authentication.v1.UserInfo", "{\"extra\":{\"k\":[\"a\",\"b\"]}}", "{\"extra\":{\"k\":[\"a\",\"b\"]}}");
	assert_round("apiextensions.v1.JSONSchemaProps",
		     "{\"items\":{\"type\":\"string\"},\"additionalProperties\":false,\"maximum\":1.5,\"default\":{\"a\":1}}",
		     "{\"default\":{\"a\":1},\"maximum\":1.5,\"items\":{\"type\":\"string\"},\"additionalProperties\":false}");
	assert_round("apiextensions.v1.JSONSchemaProps", "{\"items\":[{\"type\":\"a\"},{\"type\":\"b\"}]}",
		     "{\"items\":[{\"type\":\"a\"},{\"type\":\"b\"}]}");
	assert_round("core.v1.PodSecurityContext", "{\"supplementalGroups\":[0,-1,9223372036854775807]}",
		     "{\"supplementalGroups\":[0,-1,9223372036854775807]}");
}

static void assert_errors(const char *type, const char *json, const char *const *expected)
{
	struct arena a;
	struct codec_errs errs;
	struct buf b = BUF_INIT;
	size_t i;

	arena_init(&a);
	codec_errs_init(&errs, &a);
	codec_to_wire(&b, schema_type_find(type), json_must(&a, str_from(json)), &errs);
	for (i = 0; expected[i]; i++) {
		assert_true(i < errs.n);
		assert_string_equal(errs.items[i].message, expected[i]);
	}
	assert_int_equal(errs.n, i);
	buf_fini(&b);
	arena_fini(&a);
}

static void errors(void **state)
{
	assert_errors("core.v1.Pod",
		      "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{\"bogus\":1,\"containers\":[{\"name\":\"a\"},"
		      "{\"nope\":{}}]},\"x\":null}",
		      (const char *[]){"unknown field \"x\"", "unknown field \"spec.bogus\"",
				       "unknown field \"spec.containers[1].nope\"", NULL});
	assert_errors("apps.v1.Deployment",
		      "{\"spec\":{\"replicas\":\"3\",\"template\":{\"spec\":{\"containers\":[{\"image\":5,"
		      "\"env\":[{\"name\":\"A\",\"value\":true}]}]}}}}",
		      (const char *[]){
			      "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
			      "json: cannot unmarshal number into Go struct field "
			      "Container.spec.template.spec.containers.image of type string",
			      "json: cannot unmarshal bool into Go struct field "
			      "EnvVar.spec.template.spec.containers.env.value of type string",
			      NULL});
	assert_errors("core.v1.Pod", "{\"spec\":{\"priority\":4294967296,\"containers\":{}}}",
		      (const char *[]){
			      "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type "
			      "[]v1.Container",
			      "json: cannot unmarshal number 4294967296 into Go struct field PodSpec.spec.priority of type "
			      "int32",
			      NULL});
	assert_errors("core.v1.Secret", "{\"data\":{\"a\":\"****\"}}",
		      (const char *[]){"illegal base64 data at input byte 0", NULL});
	assert_errors("core.v1.ResourceRequirements", "{\"limits\":{\"cpu\":\"1x\"}}",
		      (const char *[]){"quantities must match the regular expression "
				       "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
				       NULL});
	assert_errors("core.v1.Pod", "[]",
		      (const char *[]){"json: cannot unmarshal array into Go value of type v1.Pod", NULL});
}

/* A client may send the parts of a message in pieces; ours sets the resource version that way. */
static void merged_fragments(void **state)
{
	const struct schema_type *t = schema_type_find("core.v1.Pod");
	struct arena a;
	struct buf b = BUF_INIT;
	struct json *dom;
	struct err e = ERR_INIT;
	struct codec_opts opts = {.resource_version = STR_INIT("99"), .bare = true};
	Core__Pod *pod;
	struct str wire;

	arena_init(&a);
	wire = encode(&a, t, json_must(&a, STR("{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"1\",\"uid\":\"u\"}}")));
	buf_adds(&b, wire);
	codec_wire_resource_version(&b, STR("42"));
	assert_int_equal(codec_wire_to_dom(&a, t, buf_str(&b), NULL, &dom, &e), 0);
	assert_true(json_eqc(json_getp(dom, "metadata.resourceVersion"), "42"));
	assert_true(json_eqc(json_getp(dom, "metadata.uid"), "u"));
	assert_non_null(strstr(to_json(&a, t, buf_str(&b), NULL).p, "\"resourceVersion\":\"42\""));
	pod = pb_unpack(&a, &core__pod__descriptor, buf_str(&b));
	assert_string_equal(pod->metadata->resource_version, "42");
	assert_string_equal(pod->metadata->name, "p");
	/* Plain structs are always there. */
	assert_non_null(pod->spec);
	assert_non_null(pod->status);

	assert_string_equal(to_json(&a, t, wire, &opts).p,
			    "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"resourceVersion\":\"99\"},"
			    "\"spec\":{\"containers\":null},\"status\":{}}");
	assert_non_null(strstr(to_json(&a, t, STR_NULL, &opts).p, "\"resourceVersion\":\"99\""));
	buf_fini(&b);
	arena_fini(&a);
}

static void envelopes_and_lists(void **state)
{
	const struct schema_type *t = schema_type_find("core.v1.ConfigMap");
	struct arena a;
	struct buf b = BUF_INIT, stored = BUF_INIT, frame = BUF_INIT;
	struct codec_list_meta meta = CODEC_LIST_META_INIT;
	struct codec_envelope env;
	struct err e = ERR_INIT;
	struct str wire, in, type, object;
	bool first = true;

	arena_init(&a);
	wire = encode(&a, t, json_must(&a, STR("{\"metadata\":{\"name\":\"m\"},\"data\":{\"k\":\"v\"}}")));
	codec_wrap(&stored, "v1", "ConfigMap", wire);
	assert_true(codec_is_wrapped(buf_str(&stored)));
	assert_int_equal(codec_unwrap(buf_str(&stored), &env, &e), 0);
	assert_true(str_eqc(env.kind, "ConfigMap") && str_eqc(env.api_version, "v1") && str_eq(env.wire, wire));
	assert_int_equal(codec_stored_to_json(&b, buf_str(&stored), NULL, &e), 0);
	assert_string_equal(b.p, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"m\"},"
				 "\"data\":{\"k\":\"v\"}}");

	buf_clear(&b);
	meta.resource_version = STR("7");
	meta.continue_token = STR("x");
	meta.remaining = 3;
	codec_json_list_begin(&b, "ConfigMapList", "v1", &meta);
	assert_int_equal(codec_json_list_item(&b, t, wire, STR("5"), &first, &e), 0);
	assert_int_equal(codec_json_list_item(&b, t, wire, STR_NULL, &first, &e), 0);
	codec_json_list_end(&b);
	assert_string_equal(b.p, "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\","
				 "\"continue\":\"x\",\"remainingItemCount\":3},\"items\":["
				 "{\"metadata\":{\"name\":\"m\",\"resourceVersion\":\"5\"},\"data\":{\"k\":\"v\"}},"
				 "{\"metadata\":{\"name\":\"m\"},\"data\":{\"k\":\"v\"}}]}");

	/* The protobuf list says the same. */
	struct buf list = BUF_INIT;
	codec_wire_list_begin(&list, &meta);
	codec_wire_list_item(&list, wire, STR("5"));
	codec_wire_list_item(&list, wire, STR_NULL);
	assert_string_equal(to_json(&a, schema_type_find("core.v1.ConfigMapList"), buf_str(&list), NULL).p, b.p);

	codec_wire_watch_event(&frame, "ADDED", buf_str(&stored));
	for (size_t n = 0; n < frame.n; n++) {
		in = str_of(frame.p, n);
		assert_int_equal(codec_wire_watch_next(&in, 1 << 20, &type, &object, &e), 0);
	}
	in = buf_str(&frame);
	assert_int_equal(codec_wire_watch_next(&in, 1 << 20, &type, &object, &e), 1);
	assert_true(str_eqc(type, "ADDED") && str_eq(object, buf_str(&stored)) && in.n == 0);
	in = buf_str(&frame);
	assert_true(codec_wire_watch_next(&in, 4, &type, &object, &e) < 0);

	assert_true(codec_unwrap(STR("{}"), &env, &e) < 0);
	assert_true(codec_unwrap(str_of("k8s\0\x0a\x7f", 6), &env, &e) < 0);
	assert_non_null(codec_type(STR("meta.k8s.io/v1"), STR("DeleteOptions")));
	assert_non_null(codec_type(STR("v1"), STR("Status")));
	assert_null(codec_type(STR("v1"), STR("Deployment")));
	buf_fini(&list);
	buf_fini(&b);
	buf_fini(&stored);
	buf_fini(&frame);
	arena_fini(&a);
}

/* Schemas in schemas without end. */
static void deep_wire(void **state)
{
	const struct schema_type *t = schema_type_find("apiextensions.v1.JSONSchemaProps");
	uint32_t number = schema_field_find(t, STR("not"))->number;
	struct arena a;
	struct buf b = BUF_INIT, next = BUF_INIT, out = BUF_INIT;
	struct json *dom;
	struct err e = ERR_INIT;

	arena_init(&a);
	for (int i = 0; i < 3000; i++) {
		buf_clear(&next);
		wire_add_bytes(&next, number, buf_str(&b));
		buf_clear(&b);
		buf_adds(&b, buf_str(&next));
	}
	assert_true(codec_wire_to_json(&out, t, buf_str(&b), NULL, &e) < 0);
	assert_true(codec_wire_to_dom(&a, t, buf_str(&b), NULL, &dom, &e) < 0);
	buf_fini(&b);
	buf_fini(&next);
	buf_fini(&out);
	arena_fini(&a);
}

/* Two bytes of input for each of a million containers. */
static void too_many_values(void **state)
{
	struct arena a;
	struct buf spec = BUF_INIT;
	struct json *dom;
	struct err e = ERR_INIT;

	arena_init(&a);
	for (int i = 0; i < 1500000; i++)
		wire_add_bytes(&spec, 2, STR(""));
	assert_true(codec_wire_to_dom(&a, schema_type_find("core.v1.PodSpec"), buf_str(&spec), NULL, &dom, &e) < 0);
	assert_int_equal(e.code, ERR_TOO_LARGE);
	buf_fini(&spec);
	arena_fini(&a);
}

static void base64(void **state)
{
	static const struct {
		const char *text;
		ptrdiff_t at;
	} rows[] = {{"", -1},	 {"AA==", -1}, {"AAA=", -1}, {"AAAA", -1}, {"AA\n==", -1}, {"A", 1},
		    {"AA", 2},	 {"AA=", 3},   {"AAA", 3},   {"====", 0},  {"AAAA=", 4},   {"AA==A", 4}};
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(codec_base64_parse(str_from(rows[i].text), &b), rows[i].at);
	buf_fini(&b);
}

/* The names of a type's members, inlined ones too: the reader of protobuf adds each without looking whether it is there. */
static void collect_names(const struct schema_type *t, const struct schema_type *root, struct json *seen, struct arena *a)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct schema_field *f = &t->fields[i];

		if (schema_is(f, SCHEMA_INLINE)) {
			collect_names(f->type, root, seen, a);
			continue;
		}
		if (json_getc(seen, f->json))
			fail_msg("%s has two members %s", root->name, f->json);
		json_setc(a, seen, f->json, json_new_null(a));
	}
}

static void names_stand_once(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < n_schema_types; i++) {
		struct json *seen = json_new_object(&a);

		if (schema_types[i].root) {
			json_setc(&a, seen, "kind", json_new_null(&a));
			json_setc(&a, seen, "apiVersion", json_new_null(&a));
		}
		collect_names(&schema_types[i], &schema_types[i], seen, &a);
	}
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_objects),   cmocka_unit_test(emission),
		cmocka_unit_test(special_types),    cmocka_unit_test(errors),
		cmocka_unit_test(merged_fragments), cmocka_unit_test(envelopes_and_lists),
		cmocka_unit_test(names_stand_once), cmocka_unit_test(deep_wire),	    cmocka_unit_test(base64),
		cmocka_unit_test(against_protoc),   cmocka_unit_test(too_many_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/core.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"
#include "proto/wire.h"
#include "tests/lib/json_words.h"

static struct str encode(struct arena *a, const struct schema_type *t, const struct json *dom)
{
	struct codec_errs errs;
	struct buf b = BUF_INIT;
	struct str s;

	codec_errs_init(&errs, a);
	codec_to_wire(&b, t, dom, &errs);
	for (size_t i = 0; i < errs.n; i++)
		fail_msg("%s: %s: %s", t->name, errs.items[i].path, errs.items[i].message);
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

static struct str to_json(struct arena *a, const struct schema_type *t, struct str wire, const struct codec_opts *opts)
{
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct str s;

	if (codec_wire_to_json(&b, t, wire, opts, &e) < 0)
		fail_msg("%s", e.text);
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

static const struct schema_type *type_of(const struct json *j)
{
	const struct schema_type *t = codec_type(json_strp(j, "apiVersion"), json_strp(j, "kind"));

	if (!t)
		fail_msg("no type for %s %s", json_cstr(json_getc(j, "apiVersion")), json_cstr(json_getc(j, "kind")));
	return t;
}

static const char *source_dir(void)
{
	return getenv("srcdir") ? getenv("srcdir") : ".";
}

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

/* Run protoc as a filter from bytes to bytes, over the files of proto/ and `more`. */
static struct str protoc_with(struct arena *a, const char *src, const char *more, const char *what, const char *type,
			      struct str in)
{
	char in_path[] = "/tmp/kt-codec-in-XXXXXX";
	int fd = mkstemp(in_path);
	struct buf out = BUF_INIT;
	char *command;
	FILE *f;
	size_t n;
	struct str s;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, in.p, in.n), in.n);
	close(fd);
	command = arena_printf(a, "cd %s && " PROTOC " -I. -I/tmp --%s=%s proto/*.proto %s < %s", src, what, type, more, in_path);
	f = popen(command, "r");
	assert_non_null(f);
	while ((n = fread(buf_reserve(&out, 65536), 1, 65536, f)) > 0)
		buf_advance(&out, n);
	if (pclose(f) != 0)
		fail_msg("failed: %s", command);
	unlink(in_path);
	s = arena_str(a, buf_str(&out));
	buf_fini(&out);
	return s;
}

static struct str protoc(struct arena *a, const char *src, const char *what, const char *type, struct str in)
{
	return protoc_with(a, src, "", what, type, in);
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

		text = protoc(&a, source_dir(), "decode", t->full_name, wire);
		assert_null(strstr(text.p, "\n1: "));
		back = protoc(&a, source_dir(), "encode", t->full_name, text);
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

/* --- Random objects ---------------------------------------------------------------------------------------------- */

static uint64_t seed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static struct json *random_object(struct arena *a, const struct schema_type *t, unsigned depth);

static struct json *random_string(struct arena *a)
{
	static const char *const pieces[] = {"", "a", "<b>", "\"q\\", "\n", "\xc3\xa9", "\xe2\x80\xa8", "\x01", "long text "};
	struct buf b = BUF_INIT;
	struct json *j;

	for (unsigned n = pick(4); n > 0; n--)
		buf_addc(&b, pieces[pick(ARRAY_LEN(pieces))]);
	j = json_new_str(a, buf_str(&b));
	buf_fini(&b);
	return j;
}

static struct json *random_scalar(struct arena *a, const struct schema_field *f, unsigned depth)
{
	static const char *const base64[] = {"", "AA==", "AAE=", "AAEC", "/+8="};

	switch ((enum schema_kind)f->kind) {
	case SCHEMA_STRING:
		return random_string(a);
	case SCHEMA_BYTES:
		return json_newc(a, base64[pick(ARRAY_LEN(base64))]);
	case SCHEMA_BOOL:
		return json_new_bool(a, pick(2));
	case SCHEMA_INT32:
		return json_new_int(a, (int32_t)(pick(2) ? pick(1000) : pick(UINT32_MAX) * 2 + 1));
	case SCHEMA_INT64:
		return json_new_int(a, pick(2) ? (int64_t)pick(5) : INT64_MIN + (int64_t)pick(3));
	case SCHEMA_DOUBLE:
		return json_new_double(a, (double)pick(100) / 8);
	case SCHEMA_MESSAGE:
		return random_object(a, f->type, depth);
	}
	return NULL;
}

static void random_members(struct arena *a, const struct schema_type *t, struct json *obj, unsigned depth)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct schema_field *f = &t->fields[i];
		unsigned n = pick(3);
		struct json *v;

		if (schema_is(f, SCHEMA_INLINE)) {
			random_members(a, f->type, obj, depth);
			continue;
		}
		if (pick(depth + 2) != 0)
			continue;
		if (schema_is(f, SCHEMA_REPEATED)) {
			v = json_new_array(a);
			while (n-- > 0)
				json_push(a, v, random_scalar(a, f, depth + 1));
		} else if (schema_is(f, SCHEMA_MAP)) {
			v = json_new_object(a);
			while (n-- > 0)
				json_set(a, v, json_str(random_string(a)), random_scalar(a, f, depth + 1));
		} else {
			v = random_scalar(a, f, depth + 1);
		}
		json_setc(a, obj, f->json, v);
	}
}

static struct json *random_object(struct arena *a, const struct schema_type *t, unsigned depth)
{
	struct json *j;

	switch ((enum schema_json)t->json) {
	case SCHEMA_TIME:
		return json_newc(a, "2024-02-29T12:34:56Z");
	case SCHEMA_MICRO_TIME:
		return json_newc(a, "1999-12-31T12:34:56.000789Z");
	case SCHEMA_DURATION:
		return json_newc(a, "1h0m2.5s");
	case SCHEMA_QUANTITY:
		return json_newc(a, pick(2) ? "100m" : "3Gi");
	case SCHEMA_INT_OR_STRING:
		return pick(2) ? json_new_int(a, (int64_t)pick(100) - 50) : random_string(a);
	case SCHEMA_RAW_JSON:
		j = json_new_object(a);
		json_setc(a, j, "raw", random_string(a));
		return j;
	case SCHEMA_ITEMS:
		j = json_new_array(a);
		json_push(a, j, random_string(a));
		return j;
	case SCHEMA_SCHEMA_OR_BOOL:
		return json_new_bool(a, pick(2));
	case SCHEMA_SCHEMA_OR_ARRAY:
	case SCHEMA_SCHEMA_OR_STRINGS:
	case SCHEMA_PLAIN:
	case SCHEMA_CUSTOM:
	case SCHEMA_ANY:
		break;
	}
	j = json_new_object(a);
	if (t->json == SCHEMA_PLAIN && depth < 12)
		random_members(a, t, j, depth);
	return j;
}

/*
 * For random objects of every type: what was encoded decodes to something that encodes to the same bytes, text and DOM
 * agree, and the decoded object holds every value that was not a zero of a plain field.
 */
static void random_objects(void **state)
{
	uint64_t first_seed = 1;

	for (unsigned run = 0; run < 3; run++)
		for (size_t i = 0; i < n_schema_types; i++) {
			const struct schema_type *t = &schema_types[i];
			struct arena a;
			struct json *in, *out;
			struct str wire, text;
			struct err e = ERR_INIT;

			seed = first_seed++;
			arena_init(&a);
			in = random_object(&a, t, 0);
			wire = encode(&a, t, in);
			text = to_json(&a, t, wire, NULL);
			if (codec_wire_to_dom(&a, t, wire, NULL, &out, &e) < 0)
				fail_msg("seed %llu %s: %s", (unsigned long long)(first_seed - 1), t->name, e.text);
			if (!str_eq(json_text(&a, out), text) || !str_eq(encode(&a, t, out), wire) ||
			    !str_eq(encode(&a, t, json_must(&a, text)), wire))
				fail_msg("seed %llu %s: %s", (unsigned long long)(first_seed - 1), t->name, text.p);
			arena_fini(&a);
		}
}

/* Every prefix and many corruptions of a real message end in success or a clean error. */
static void broken_wire(void **state)
{
	const struct schema_type *t = schema_type_find("core.v1.Pod");
	struct arena a;
	struct str wire;
	char *copy;

	arena_init(&a);
	wire = encode(&a, t, json_must(&a, STR("{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\",\"c\":\"d\"}},\"spec\":{"
					   "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80}],"
					   "\"resources\":{\"limits\":{\"cpu\":\"1\"}}}],\"priority\":7}}")));
	copy = arena_alloc(&a, wire.n);
	for (size_t i = 0; i < wire.n * 8 + wire.n; i++) {
		struct arena scratch;
		struct buf out = BUF_INIT;
		struct json *dom;
		struct err e = ERR_INIT;
		size_t n = wire.n;

		memcpy(copy, wire.p, wire.n);
		if (i < wire.n)
			n = i;
		else
			copy[(i - wire.n) / 8] = (char)(copy[(i - wire.n) / 8] ^ 1 << (i % 8));
		arena_init(&scratch);
		codec_wire_to_json(&out, t, str_of(copy, n), NULL, &e);
		codec_wire_to_dom(&scratch, t, str_of(copy, n), NULL, &dom, &e);
		pb_unpack(&scratch, &core__pod__descriptor, str_of(copy, n));
		buf_fini(&out);
		arena_fini(&scratch);
	}
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

/* A message with one field of each kind, so that one run of protoc sees them all. */
static void write_all_kinds(FILE *f)
{
	static const char *const files[] = {"core", "apps", "batch", "autoscaling_v1", "autoscaling_v2", "networking",
					    "policy", "rbac", "storage", "scheduling", "node", "coordination",
					    "discovery", "events", "certificates", "authentication", "authorization",
					    "admissionregistration", "apiextensions", "apiregistration",
					    "flowcontrol", "dra", "metrics"};

	fprintf(f, "syntax = \"proto2\";\n");
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		fprintf(f, "import \"proto/%s.proto\";\n", files[i]);
	fprintf(f, "message AllKinds {\n");
	RESOURCE_FOR_EACH (r)
		fprintf(f, "  optional .%s kind%zu = %zu;\n", resource_type(r)->full_name, (size_t)(r - resources),
			(size_t)(r - resources) + 1);
	fprintf(f, "}\n");
}

/* A random object of every kind: an independent decoder reads it, an independent encoder writes it, nothing is lost. */
static void kinds_against_protoc(void **state)
{
	char path[] = "/tmp/kt-codec-all-XXXXXX.proto";
	int fd = mkstemps(path, (int)strlen(".proto"));
	FILE *f = fdopen(fd, "w");
	struct buf all = BUF_INIT;
	struct str text, back;
	struct wire_reader r;
	struct wire_item it = {0};
	struct arena a;
	size_t n = 0;

	assert_non_null(f);
	write_all_kinds(f);
	fclose(f);
	arena_init(&a);
	seed = 4711;
	RESOURCE_FOR_EACH (res)
		wire_add_bytes(&all, (unsigned)(res - resources) + 1,
			       encode(&a, resource_type(res), random_object(&a, resource_type(res), 0)));
	text = protoc_with(&a, source_dir(), path, "decode", "AllKinds", buf_str(&all));
	/* A field that protoc does not know is told by its number. */
	for (const char *line = text.p; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (line[strspn(line, " ")] >= '0' && line[strspn(line, " ")] <= '9')
			fail_msg("unknown to protoc: %.80s", line);
	back = protoc_with(&a, source_dir(), path, "encode", "AllKinds", text);
	unlink(path);
	r = wire_reader(back);
	while (wire_next(&r, &it)) {
		const struct schema_type *t = resource_type(&resources[it.number - 1]);
		struct wire_reader ours = wire_reader(buf_str(&all));
		struct wire_item own = {0};

		while (wire_next(&ours, &own) && own.number != it.number)
			;
		if (!str_eq(to_json(&a, t, it.bytes, NULL), to_json(&a, t, own.bytes, NULL)))
			fail_msg("%s:\n%s\nbecame\n%s", t->name, to_json(&a, t, own.bytes, NULL).p, to_json(&a, t, it.bytes, NULL).p);
		/* And what the other encoder wrote becomes our canonical bytes. */
		assert_true(str_eq(encode(&a, t, json_must(&a, to_json(&a, t, it.bytes, NULL))), own.bytes));
		n++;
	}
	assert_int_equal(n, n_resources);
	buf_fini(&all);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_against_protoc),
		cmocka_unit_test(golden_objects),   cmocka_unit_test(emission),
		cmocka_unit_test(special_types),    cmocka_unit_test(errors),
		cmocka_unit_test(merged_fragments), cmocka_unit_test(envelopes_and_lists),
		cmocka_unit_test(random_objects),   cmocka_unit_test(broken_wire),
		cmocka_unit_test(deep_wire),	    cmocka_unit_test(base64),
		cmocka_unit_test(against_protoc),   cmocka_unit_test(too_many_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

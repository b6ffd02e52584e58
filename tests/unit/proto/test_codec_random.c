/* Objects that nobody would write: random ones of every kind go there and back, by our codec and by protoc's; and bytes that are none. */
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
#include "tests/unit/proto/codec_rig.h"

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
	text = protoc(&a, "decode", "AllKinds", path, buf_str(&all));
	/* A field that protoc does not know is told by its number. */
	for (const char *line = text.p; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (line[strspn(line, " ")] >= '0' && line[strspn(line, " ")] <= '9')
			fail_msg("unknown to protoc: %.80s", line);
	back = protoc(&a, "encode", "AllKinds", path, text);
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
		cmocka_unit_test(random_objects),
		cmocka_unit_test(broken_wire),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

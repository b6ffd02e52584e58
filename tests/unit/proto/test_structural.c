/* proto/structural.h: schemas of custom resources: what is refused, pruned, defaulted, valid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/structural.h"
#include "tests/lib/json_words.h"

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static const char *print_errs(const struct field_errs *errs)
{
	struct buf b = BUF_INIT;
	const char *r;

	field_errs_print(&b, errs);
	r = arena_cstr(&arena, buf_str(&b));
	buf_fini(&b);
	return r;
}

static struct structural *compile(const char *text)
{
	struct field_errs errs;
	struct structural *s;

	field_errs_init(&errs, &arena);
	s = structural_compile(&arena, parse(text), NULL, &errs);
	if (s == NULL)
		fail_msg("%s", print_errs(&errs));
	return s;
}

/* The definition's schema is refused with this text. */
static void test_refused(void **state)
{
	static const struct {
		const char *schema, *error;
	} rows[] = {
		{"{}", "type: Required value: must not be empty at the root"},
		{"{\"type\":\"string\"}", "type: Invalid value: \"string\": must be object at the root"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{}}}",
		 "properties[a].type: Required value: must not be empty for specified object fields"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"}}}",
		 "properties[a].items: Required value: must be specified"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{}}}}",
		 "properties[a].items.type: Required value: must not be empty for specified array items"},
		{"{\"type\":\"object\",\"nullable\":true}", "nullable: Forbidden: nullable cannot be true at the root"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"widget\"}}}",
		 "properties[a].type: Unsupported value: \"widget\": supported values: \"array\", \"boolean\", \"integer\", \"number\", "
		 "\"object\", \"string\""},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/x\",\"type\":\"string\"}}}",
		 "properties[a].$ref: Forbidden: $ref is not supported"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"string\"}}}}",
		 "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes "
		 "quadratic"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},"
		 "\"additionalProperties\":true}}}",
		 "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"anyOf\":[{\"properties\":{\"a\":{\"type\":"
		 "\"string\"}}}]}",
		 "anyOf[0].properties[a].type: Forbidden: must be empty to be structural"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"not\":{\"properties\":{\"b\":{\"minLength\":1}}}}",
		 "not.properties[b]: Required value: because it is defined in a nested value validation"},
		{"{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":false}",
		 "x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"a(?=b)\"}}}",
		 "properties[a].pattern: Invalid value: \"a(?=b)\": must be a valid regular expression, but isn't: invalid or unsupported "
		 "Perl syntax"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":3,\"default\":1}}}",
		 "properties[a].default: Invalid value: 1: properties[a].default in body should be greater than or equal to 3"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},"
		 "\"default\":{\"c\":1}}}}",
		 "properties[a].default: Invalid value: {\"c\":1}: must not have unknown fields"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"items\":{\"type\":"
		 "\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}}}}",
		 "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"},
		{"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
		 "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}}}}",
		 "properties[a].items.properties[k]: Required value: this property is in x-kubernetes-list-map-keys, so it must have a "
		 "default or be a required property"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct field_errs errs;
		struct structural *s;

		field_errs_init(&errs, &arena);
		s = structural_compile(&arena, parse(rows[i].schema), NULL, &errs);
		if (strstr(print_errs(&errs), rows[i].error) == NULL)
			fail_msg("row %zu\n got: %s\nwant: %s", i, print_errs(&errs), rows[i].error);
		assert_null(s);
	}
	arena_fini(&arena);
}

#define CRON                                                                                                           \
	"{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"image\"],\"properties\":{"         \
	"\"cronSpec\":{\"type\":\"string\",\"pattern\":\"^(\\\\d+|\\\\*)(/\\\\d+)?(\\\\s+(\\\\d+|\\\\*)(/\\\\d+)?){4}$\"},"         \
	"\"image\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":8},"                                                       \
	"\"replicas\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10,\"default\":1},"                                         \
	"\"mode\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"]},"                                                                \
	"\"port\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]},"               \
	"\"maybe\":{\"type\":\"string\",\"nullable\":true},"                                                                    \
	"\"labels\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"                                        \
	"\"free\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"                                          \
	"\"ip\":{\"type\":\"string\",\"format\":\"ipv4\"},"                                                                     \
	"\"tags\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"maxItems\":3,\"items\":{\"type\":\"string\"}},"         \
	"\"ports\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"name\"],\"items\":{"  \
	"\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"},\"proto\":{\"type\":"          \
	"\"string\",\"default\":\"TCP\"}}}}"                                                                                    \
	"},\"oneOf\":[{\"required\":[\"mode\"]},{\"required\":[\"port\"]}]}}}"

static void test_validate(void **state)
{
	static const struct {
		const char *spec, *errors; /* "": valid */
	} rows[] = {
		{"{\"image\":\"x\",\"mode\":\"a\"}", ""},
		{"{\"image\":\"x\",\"port\":80}", ""},
		{"{\"image\":\"x\",\"port\":\"http\",\"maybe\":null,\"free\":{\"x\":[1]},\"labels\":{\"a\":\"b\"}}", ""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"replicas\":2.0}", ""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"replicas\":15}",
		 "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"replicas\":\"two\"}",
		 "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"replicas\":1.5}",
		 "spec.replicas: Invalid value: \"number\": spec.replicas in body must be of type integer: \"number\""},
		{"{\"mode\":\"a\"}", "spec.image: Required value"},
		{"{\"image\":\"x\",\"mode\":\"c\"}", "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\""},
		{"{\"image\":\"\",\"mode\":\"a\"}",
		 "spec.image: Invalid value: \"\": spec.image in body should be at least 1 chars long"},
		{"{\"image\":\"123456789\",\"mode\":\"a\"}", "spec.image: Too long: may not be more than 8 bytes"},
		{"{\"image\":\"ä23456ü8\",\"mode\":\"a\"}", ""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"cronSpec\":\"* * *\"}",
		 "spec.cronSpec: Invalid value: \"* * *\": spec.cronSpec in body should match "
		 "'^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"cronSpec\":\"* * * * */5\"}", ""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"port\":true}",
		 "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\""},
		{"{\"image\":\"x\"}", "must validate one and only one schema (oneOf). Found none valid"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"port\":1}", "\"spec\" must validate one and only one schema (oneOf). Found 2 valid"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"ip\":\"1.2.3.4\"}", ""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"ip\":\"1.2.3\"}",
		 "spec.ip: Invalid value: \"1.2.3\": spec.ip in body must be of type ipv4: \"1.2.3\""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"tags\":[\"a\",\"b\",\"a\"]}", "spec.tags[2]: Duplicate value: \"a\""},
		{"{\"image\":\"x\",\"mode\":\"a\",\"tags\":[\"a\",\"b\",\"c\",\"d\"]}",
		 "spec.tags: Too many: 4: must have at most 3 items"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"ports\":[{\"name\":\"p\",\"proto\":\"TCP\"},{\"name\":\"p\",\"proto\":\"UDP\"}]}",
		 "spec.ports[1]: Duplicate value: {\"name\":\"p\"}"},
		{"{\"image\":\"x\",\"mode\":\"a\",\"labels\":{\"a\":1}}",
		 "spec.labels.a: Invalid value: \"integer\": spec.labels.a in body must be of type string: \"integer\""},
		{"{\"image\":null,\"mode\":\"a\"}",
		 "spec.image: Invalid value: \"null\": spec.image in body must be of type string: \"null\""},
	};
	struct structural *s = compile(CRON);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *obj = json_new_object(&arena);
		struct field_errs errs;

		field_errs_init(&errs, &arena);
		json_setc(&arena, obj, "spec", parse(rows[i].spec));
		structural_validate(s, obj, NULL, NULL, &errs);
		if (rows[i].errors[0] == 0 ? errs.n != 0 : strstr(print_errs(&errs), rows[i].errors) == NULL)
			fail_msg("%s\n got: %s\nwant: %s", rows[i].spec, print_errs(&errs), rows[i].errors);
	}
	arena_fini(&arena);
}

static void note_dropped(void *arg, struct str path)
{
	buf_printf(arg, "%.*s ", STR_FMT(path));
}

static void assert_json(const struct json *got, const char *want)
{
	if (!json_equal(got, parse(want)))
		fail_msg("got:  %.*s\nwant: %s", STR_FMT(json_text(&arena, got)), want);
}

static void test_shape(void **state)
{
	struct structural *s = compile(CRON);
	struct buf dropped = BUF_INIT;
	struct json *j = parse("{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"extra\":1,\"spec\":{\"image\":\"x\","
			       "\"bogus\":{\"a\":1},\"free\":{\"any\":{\"thing\":1}},\"labels\":{\"k\":\"v\"},\"maybe\":null,\"mode\":null,"
			       "\"replicas\":null,\"ports\":[{\"name\":\"a\",\"oops\":1}]}}");

	structural_prune(&arena, s, j, note_dropped, &dropped);
	assert_string_equal(dropped.p, "extra spec.bogus spec.ports[0].oops ");
	structural_default(&arena, s, j);
	assert_json(j, "{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"image\":\"x\","
		       "\"free\":{\"any\":{\"thing\":1}},\"labels\":{\"k\":\"v\"},\"maybe\":null,"
		       "\"replicas\":1,\"ports\":[{\"name\":\"a\",\"proto\":\"TCP\"}]}}");
	buf_fini(&dropped);
	arena_fini(&arena);
}

static void test_embedded(void **state)
{
	struct structural *s = compile("{\"type\":\"object\",\"properties\":{\"tpl\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,"
				       "\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}}}");
	struct json *j = parse("{\"tpl\":{\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"a\":\"1\",\"b\":\"2\"}}}");
	struct field_errs errs;

	structural_prune(&arena, s, j, NULL, NULL);
	assert_json(j, "{\"tpl\":{\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"x\":\"y\"}},\"spec\":{\"a\":\"1\"}}}");
	field_errs_init(&errs, &arena);
	structural_validate(s, j, NULL, NULL, &errs);
	assert_string_equal(print_errs(&errs), "tpl.kind: Required value: must not be empty");
	arena_fini(&arena);
}

static void test_hostile(void **state)
{
	struct structural *s = compile("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^(a+)+$\"}}}");
	struct json *obj = json_new_object(&arena), *deep;
	struct field_errs errs;
	struct buf b = BUF_INIT;

	/* A pattern that would run for ever on this value is given up. */
	json_setc(&arena, obj, "a", json_newc(&arena, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"));
	field_errs_init(&errs, &arena);
	structural_validate(s, obj, NULL, NULL, &errs);
	assert_int_equal(errs.n, 1);
	/* A schema nested without end is refused. */
	for (int i = 0; i < 150; i++)
		buf_addc(&b, "{\"type\":\"object\",\"properties\":{\"a\":");
	buf_addc(&b, "{\"type\":\"string\"}");
	for (int i = 0; i < 150; i++)
		buf_addc(&b, "}}");
	deep = parse(b.p);
	field_errs_init(&errs, &arena);
	assert_null(structural_compile(&arena, deep, NULL, &errs));
	buf_fini(&b);
	arena_fini(&arena);
}

static void test_formats(void **state)
{
	static const struct {
		const char *format, *good, *bad;
	} rows[] = {
		{"date-time", "2026-01-02T03:04:05Z", "2026-01-02"},
		{"date", "2026-12-31", "2026-13-01"},
		{"duration", "1h30m", "1 hour"},
		{"email", "a@example.com", "a.example.com"},
		{"hostname", "db-1.example.com", "-x.example.com"},
		{"ipv6", "2001:db8::1", "2001:::1"},
		{"cidr", "10.0.0.0/8", "10.0.0.0/33"},
		{"mac", "00:1a:2b:3c:4d:5e", "00:1a:2b"},
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"},
		{"uuid4", "123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"byte", "aGVsbG8=", "a=b"},
		{"uri", "https://example.com/x", "not a uri"},
		{"hexcolor", "#00ff00", "#00ff0"},
		{"k8s-short-name", "web-1", "Web"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!structural_format_ok(str_from(rows[i].format), str_from(rows[i].good)))
			fail_msg("%s: %s is right", rows[i].format, rows[i].good);
		if (structural_format_ok(str_from(rows[i].format), str_from(rows[i].bad)))
			fail_msg("%s: %s is wrong", rows[i].format, rows[i].bad);
	}
	assert_true(structural_format_ok(STR("of-our-own"), STR("anything")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),  cmocka_unit_test(test_validate), cmocka_unit_test(test_shape),
		cmocka_unit_test(test_embedded), cmocka_unit_test(test_hostile),  cmocka_unit_test(test_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

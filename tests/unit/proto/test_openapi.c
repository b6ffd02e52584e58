/* proto/openapi.h: the documents parse, and hold what kubectl looks for. */
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
#include "proto/openapi.h"
#include "proto/wire.h"

static struct json *get2(const struct json *j, const char *a, const char *b)
{
	return json_getc(json_getc(j, a), b);
}

/* Every $ref leads somewhere. (A schema's schema has a property of that name, too.) */
static void check_refs(const struct json *j, const struct json *definitions, const char *prefix)
{
	JSON_ITEMS (it, j)
		check_refs(it, definitions, prefix);
	JSON_MEMBERS (m, j) {
		if (str_eqc(m->key, "$ref") && json_is(m->value, JSON_STRING)) {
			assert_true(str_has_prefix(json_str(m->value), str_from(prefix)));
			assert_non_null(json_get(
				definitions, str_skip(json_str(m->value), strlen(prefix))));
		} else {
			check_refs(m->value, definitions, prefix);
		}
	}
}

static void test_v2(void **state)
{
	struct buf b = BUF_INIT;
	struct json *doc, *defs, *ports, *op;
	struct arena a;

	arena_init(&a);
	openapi_v2_json(&b, "v1.2.3", NULL);
	assert_int_equal(json_parse(&a, buf_str(&b), NULL, &doc, NULL), 0);
	defs = json_getc(doc, "definitions");
	check_refs(doc, defs, "#/definitions/");
	assert_string_equal(json_text(&a, get2(defs, "io.k8s.api.apps.v1.Deployment",
						  "x-kubernetes-group-version-kind"))
				    .p,
		"[{\"group\":\"apps\",\"kind\":\"Deployment\",\"version\":\"v1\"}]");
	ports = json_getc(
		json_getp(json_getc(defs, "io.k8s.api.core.v1.ServiceSpec"), "properties"),
		"ports");
	assert_true(json_eqc(json_getc(ports, "x-kubernetes-patch-merge-key"), "port"));
	assert_true(json_eqc(json_getc(ports, "x-kubernetes-list-type"), "map"));
	assert_string_equal(
		json_text(&a, get2(defs, "io.k8s.api.core.v1.ServicePort", "required")).p,
		"[\"port\"]");
	assert_true(
		json_eqc(get2(defs, "io.k8s.apimachinery.pkg.util.intstr.IntOrString", "format"),
			"int-or-string"));
	op = get2(json_getc(doc, "paths"),
		"/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "patch");
	assert_true(json_eqc(json_getc(op, "x-kubernetes-action"), "patch"));
	assert_true(json_eqc(get2(op, "x-kubernetes-group-version-kind", "kind"), "Deployment"));
	buf_fini(&b);
	arena_fini(&a);
}

/* The bytes of the first field `number`. */
static struct str field(struct str msg, uint32_t number)
{
	struct wire_reader r = wire_reader(msg);
	struct wire_item it;

	while (wire_next(&r, &it))
		if (it.number == number)
			return it.bytes;
	return STR_NULL;
}

/* Of others: a second message of the same number goes on with the first. */
static void add_others(struct buf *b)
{
	struct json *paths, *definitions;
	size_t before = b->n;
	struct arena a;
	struct str path, op;

	arena_init(&a);
	assert_int_equal(json_parse(&a, STR("{\"/x\":{\"head\":{\"operationId\":\"h\",\"parameters\":[{\"in\":\"header\",\"name\":\"n\",\"type\":\"string\"},"
					    "{\"$ref\":\"#/parameters/p\"}]}}}"), NULL, &paths, NULL), 0);
	assert_int_equal(json_parse(&a, STR("{\"X\":{\"type\":\"object\"}}"), NULL, &definitions, NULL), 0);
	openapi_v2_proto_add(b, paths, definitions);
	path = field(field(str_skip(buf_str(b), before), 8), 2);
	assert_true(str_eqc(field(path, 1), "/x"));
	op = field(field(path, 2), 7);
	assert_true(str_eqc(field(op, 5), "h"));
	assert_true(str_eqc(field(field(field(field(field(op, 8), 1), 2), 1), 4), "n"));
	assert_true(str_eqc(field(field(field(str_skip(buf_str(b), before), 9), 1), 1), "X"));
	arena_fini(&a);
}

static void test_v2_proto(void **state)
{
	struct buf b = BUF_INIT;
	struct wire_reader r;
	struct wire_item it;
	struct str pod = STR_NULL;

	openapi_v2_proto(&b, "v1.2.3", NULL);
	assert_true(str_eqc(field(buf_str(&b), 1), "2.0"));
	assert_true(str_eqc(field(field(buf_str(&b), 2), 2), "v1.2.3"));
	r = wire_reader(field(buf_str(&b), 9));
	while (wire_next(&r, &it))
		if (str_eqc(field(it.bytes, 1), "io.k8s.api.core.v1.Pod"))
			pod = field(it.bytes, 2);
	assert_false(r.failed);
	assert_true(str_eqc(field(field(pod, 22), 1), "object"));
	/* properties > apiVersion > type */
	assert_true(str_eqc(field(field(field(pod, 25), 1), 1), "apiVersion"));
	/* extension > value > yaml */
	assert_true(str_eqc(field(field(field(pod, 31), 2), 2),
		"[{\"group\":\"\",\"kind\":\"Pod\",\"version\":\"v1\"}]"));
	add_others(&b);
	buf_fini(&b);
}

static void test_v3(void **state)
{
	struct buf b = BUF_INIT;
	struct json *doc;
	struct arena a;

	arena_init(&a);
	openapi_v3_index(&b, "v1", NULL);
	assert_int_equal(json_parse(&a, buf_str(&b), NULL, &doc, NULL), 0);
	assert_non_null(get2(json_getc(doc, "paths"), "apis/apps/v1", "serverRelativeURL"));
	buf_clear(&b);
	assert_false(openapi_v3_json(&b, STR("apis/none/v1"), "v1", NULL));
	assert_false(openapi_v3_json(&b, STR("apis"), "v1", NULL));
	assert_true(openapi_v3_json(&b, STR("api/v1"), "v1", NULL));
	assert_int_equal(json_parse(&a, buf_str(&b), NULL, &doc, NULL), 0);
	check_refs(doc, json_getp(doc, "components.schemas"), "#/components/schemas/");
	assert_non_null(
		get2(json_getc(doc, "paths"), "/api/v1/namespaces/{namespace}/pods", "post"));
	buf_fini(&b);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_v2_proto),
		cmocka_unit_test(test_v3),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

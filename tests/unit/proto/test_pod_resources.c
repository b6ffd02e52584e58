/* proto/pod_resources.h and what depends on it: defaults, quality of service and validation of a pod's own resources. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/pod_resources.h"
#include "proto/resource.h"
#include "proto/validate.h"

static struct arena arena;

/* With ' for ". */
static struct json *parse(const char *text)
{
	char *plain = arena_strdup(&arena, text);
	struct err e = ERR_INIT;
	struct json *dom;

	for (char *p = plain; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_parse(&arena, str_from(plain), NULL, &dom, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return dom;
}

#define LIST(name, what, amounts) "{'name':'" name "','image':'i','resources':{'" what "':{" amounts "}}}"

static void test_defaults(void **state)
{
	static const struct {
		const char *resources, *containers, *want;
	} rows[] = {
		{"null", LIST("a", "requests", "'cpu':'1'"), "null"},
		{"{}", LIST("a", "requests", "'cpu':'1'"), "{}"},
		/* No limits: nothing is filled in. */
		{"{'requests':{'cpu':'2'}}", LIST("a", "requests", "'cpu':'1','memory':'1Gi'"), "{'requests':{'cpu':'2'}}"},
		/* From the limits, where no container says anything. */
		{"{'limits':{'cpu':'2','memory':'1Gi'}}", "{'name':'a'}", "{'limits':{'cpu':'2','memory':'1Gi'},'requests':{'cpu':'2','memory':'1Gi'}}"},
		/* From the containers together, where they do: also of what the pod has no limit of. */
		{"{'limits':{'cpu':'2'}}", LIST("a", "requests", "'cpu':'100m','memory':'64Mi'") "," LIST("b", "requests", "'cpu':'0.4'"),
				"{'limits':{'cpu':'2'},'requests':{'cpu':'500m','memory':'64Mi'}}"},
		{"{'limits':{'cpu':'2'},'requests':{'cpu':'1'}}", LIST("a", "requests", "'cpu':'100m'"), "{'limits':{'cpu':'2'},'requests':{'cpu':'1'}}"},
		/* Only what a pod as a whole can have. */
		{"{'limits':{'cpu':'2'}}", LIST("a", "requests", "'x.y/gpu':'1','ephemeral-storage':'1Gi'"), "{'limits':{'cpu':'2'},'requests':{'cpu':'2'}}"},
		/* Huge pages: the limit from the containers', and the request from it. */
		{"{'requests':{'cpu':'2'}}", LIST("a", "limits", "'hugepages-2Mi':'4Mi'") "," LIST("b", "limits", "'hugepages-2Mi':'2Mi','cpu':'1'"),
				"{'requests':{'cpu':'2','hugepages-2Mi':'6Mi'},'limits':{'hugepages-2Mi':'6Mi'}}"},
	};

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *spec = parse(arena_printf(&arena, "{'resources':%s,'containers':[%s]}", rows[i].resources, rows[i].containers));
		struct json *want = parse(rows[i].want), *got;

		pod_resources_default(&arena, spec);
		got = json_getc(spec, "resources");
		if (!json_equal(got, want))
			fail_msg("%zu: %s", i, arena_cstr(&arena, json_text(&arena, got)));
	}
	arena_fini(&arena);
}

static void test_qos(void **state)
{
	static const struct {
		const char *resources, *container, *want;
	} rows[] = {
		{"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'1','memory':'1Gi'}}", "{'name':'a'}", "Guaranteed"},
		{"{'limits':{'cpu':'1','memory':'1Gi'},'requests':{'cpu':'500m','memory':'1Gi'}}", LIST("a", "requests", "'cpu':'1'"), "Burstable"},
		{"{'limits':{'cpu':'1'},'requests':{'cpu':'1'}}", "{'name':'a'}", "Burstable"},
		/* Containers are not asked. */
		{"{}", LIST("a", "requests", "'cpu':'1'"), "BestEffort"},
		{"null", LIST("a", "requests", "'cpu':'1'"), "Burstable"},
	};

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(validate_qos_class(parse(arena_printf(&arena, "{'spec':{'resources':%s,'containers':[%s]}}", rows[i].resources,
						    rows[i].container))),
				rows[i].want);
	arena_fini(&arena);
}

static void test_validate(void **state)
{
	static const struct {
		const char *more, *resources, *containers, *want;
	} rows[] = {
		{"", "{'requests':{'cpu':'2','memory':'1Gi'},'limits':{'cpu':'4'}}", LIST("a", "requests", "'cpu':'1'"), ""},
		{"'os':{'name':'windows'},", "{'requests':{'cpu':'2'}}", "{'name':'a','image':'i'}",
				"spec.resources: Forbidden: may not be set for a windows pod"},
		{"", "{'requests':{'cpu':'2'},'claims':[{'name':'x'}]}", "{'name':'a','image':'i'}",
				"spec.resources.claims: Forbidden: may not be set for Resources at pod-level"},
		{"", "{'requests':{'ephemeral-storage':'1Gi'}}", "{'name':'a','image':'i'}",
				"spec.resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", "
				"\"hugepages-\", \"memory\""},
		{"", "{'requests':{'cpus':'1'}}", "{'name':'a','image':'i'}",
				"spec.resources.requests[cpus]: Invalid value: \"cpus\": must be a standard resource type or fully qualified"},
		{"", "{'requests':{'cpu':'2'},'limits':{'cpu':'1'}}", "{'name':'a','image':'i'}",
				"spec.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
		{"", "{'requests':{'cpu':'1'}}", LIST("a", "requests", "'cpu':'900m'") "," LIST("b", "requests", "'cpu':'0.2'"),
				"spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1100m"},
		{"", "{'limits':{'memory':'1Gi'}}", LIST("a", "limits", "'memory':'512Mi'") "," LIST("b", "limits", "'memory':'2Gi'"),
				"spec.resources.containers[1][memory].limits: Invalid value: \"2Gi\": must be less than or equal to pod limits of 1Gi"},
		/* Limits of containers may be more than the pod's together. */
		{"", "{'limits':{'memory':'1Gi'}}", LIST("a", "limits", "'memory':'1Gi'") "," LIST("b", "limits", "'memory':'1Gi'"), ""},
	};
	const struct resource *res = resource_find("", "v1", "pods");

	(void)state;
	arena_init(&arena);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(buf_fini) struct buf b = BUF_INIT;
		struct field_errs errs;
		struct json *pod = parse(arena_printf(&arena,
				"{'metadata':{'name':'p','namespace':'d'},'spec':{%s'restartPolicy':'Always','dnsPolicy':'Default','resources':%s,'containers':[%s]}}",
				rows[i].more, rows[i].resources, rows[i].containers));

		JSON_ITEMS (c, json_getp(pod, "spec.containers")) {
			json_setc(&arena, c, "imagePullPolicy", json_newc(&arena, "Always"));
			json_setc(&arena, c, "terminationMessagePolicy", json_newc(&arena, "File"));
		}
		field_errs_init(&errs, &arena);
		validate_object(res, "", pod, NULL, &errs);
		field_errs_print(&b, &errs);
		assert_string_equal(b.p ? b.p : "", rows[i].want);
	}
	arena_fini(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_qos), cmocka_unit_test(test_validate)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

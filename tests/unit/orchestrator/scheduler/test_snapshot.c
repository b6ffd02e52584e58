/* What a pod counts with on its node: init containers, sidecars, and on its way to other amounts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/scheduler/snapshot.h"
#include "proto/codec.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/schema.h"

static struct arena a;

static const Core__Pod *pod_of(const char *text)
{
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	struct codec_errs errs;
	struct json *dom;
	void *pod;
	char *plain = arena_strdup(&a, text);

	for (char *p = plain; *p; p++)
		if (*p == '\'')
			*p = '"';
	assert_int_equal(json_parse(&a, str_from(plain), NULL, &dom, &e), 0);
	codec_errs_init(&errs, &a);
	codec_to_wire(&b, schema_type_find("core.v1.Pod"), dom, &errs);
	assert_int_equal(errs.n, 0);
	pod = pb_unpack(&a, &core__pod__descriptor, buf_str(&b));
	buf_fini(&b);
	assert_non_null(pod);
	return pod;
}

#define R(name, cpu) "{'name':'" name "','resources':{'requests':{'cpu':'" cpu "'}}}"
#define SPEC(list) "{'metadata':{},'spec':{'containers':[" list "]}"

#define WHOLE(cpu, list) "{'metadata':{},'spec':{'resources':{'requests':{'cpu':'" cpu "'}},'containers':[" list "]}"

static void test_requests(void **state)
{
	static const struct {
		const char *pod;
		int64_t milli;
	} rows[] = {
		{SPEC(R("a", "1") "," R("b", "250m")) "}", 1250},
		{"{'metadata':{},'spec':{'containers':[" R("a", "1") "],'initContainers':[" R("i", "3") "]}}", 3000},
		{"{'metadata':{},'spec':{'containers':[" R("a", "1") "],'initContainers':[{'name':'s','restartPolicy':'Always',"
		 "'resources':{'requests':{'cpu':'2'}}}]}}", 3000},
		/* Given more than it wants now; wants more than it has; runs with more than either. */
		{SPEC(R("a", "1") "," R("b", "1")) ",'status':{'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'2'}},"
		 "{'name':'b','allocatedResources':{'cpu':'500m'},'resources':{'requests':{'cpu':'500m'}}}]}}", 3000},
		{SPEC(R("a", "1")) ",'status':{'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'1'},"
		 "'resources':{'requests':{'cpu':'4'}}}]}}", 4000},
		/* What its node can never give it does not count. */
		{SPEC(R("a", "100")) ",'status':{'conditions':[{'type':'PodResizePending','status':'True','reason':'Infeasible'}],"
		 "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'1'}}]}}", 1000},
		/* What the pod says as a whole counts instead; on its way to other amounts the largest of all. */
		{WHOLE("2", R("a", "1") "," R("b", "250m")) "}", 2000},
		{WHOLE("2", R("a", "1")) ",'status':{'allocatedResources':{'cpu':'3'},'resources':{'requests':{'cpu':'2500m'}}}}", 3000},
		{WHOLE("9", R("a", "1")) ",'status':{'conditions':[{'type':'PodResizePending','status':'True','reason':'Infeasible'}],"
		 "'allocatedResources':{'cpu':'3'},'resources':{'requests':{'cpu':'3'}}}}", 3000},
		{"{'metadata':{},'spec':{'overhead':{'cpu':'100m'},'resources':{'requests':{'memory':'1Gi'}},'containers':[" R("a", "1") "]}}", 1100},
		{SPEC(R("a", "100")) ",'status':{'conditions':[{'type':'PodResizePending','status':'True','reason':'Deferred'}],"
		 "'containerStatuses':[{'name':'a','allocatedResources':{'cpu':'1'}}]}}", 100000},
	};

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(pod_requests(pod_of(rows[i].pod)).milli_cpu, rows[i].milli);
	arena_fini(&a);
}

static void test_extended(void **state)
{
	struct resources r;

	(void)state;
	arena_init(&a);
	r = pod_requests(pod_of("{'metadata':{},'spec':{'containers':[{'name':'a','resources':{'requests':{'x.y/gpu':'2'}}},{'name':'b',"
				"'resources':{'requests':{'x.y/gpu':'1'}}}]},'status':{'containerStatuses':[{'name':'a',"
				"'allocatedResources':{'x.y/gpu':'2'}}]}}"));
	assert_int_equal(resources_extra(&r, "x.y/gpu"), 3);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests), cmocka_unit_test(test_extended)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

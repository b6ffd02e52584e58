/* proto/table.h: rows of each kind as kubectl shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/table.h"
#include "tests/lib/json_words.h"

#define META                                                                                       \
	"\"metadata\":{\"name\":\"x\",\"namespace\":\"d\",\"creationTimestamp\":\"2024-01-01T00:"  \
	"00:00Z\"}"
/* Two minutes later. */
#define NOW 1704067320

static struct arena arena;

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static const struct {
	const char *api_version, *kind, *obj, *cells;
} rows[] = {
	{"v1", "Pod",
		"{" META
		",\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"nodeName\":\"n\"},"
		"\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\","
		"\"containerStatuses\":[{\"ready\":true,\"restartCount\":2,\"state\":{\"running\":{"
		"}},\"lastState\":{\"terminated\":{\"finishedAt\":\"2024-01-01T00:01:55Z\"}}},"
		"{\"ready\":false,\"restartCount\":1,\"state\":{\"waiting\":{\"reason\":"
		"\"CrashLoopBackOff\"}}}]}}",
		"[\"x\",\"1/2\",\"CrashLoopBackOff\",\"3 (5s "
		"ago)\",\"2m\",\"10.0.0.1\",\"n\",\"<none>\",\"<none>\"]"},
	{"v1", "Pod",
		"{" META ",\"spec\":{\"containers\":[{}],\"initContainers\":[{\"name\":\"i\"},{"
			 "\"name\":\"j\"}]},\"status\":{\"phase\":\"Pending\","
		"\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{\"terminated\":{"
		"\"exitCode\":0}}},{\"name\":\"j\",\"state\":{\"running\":{}}}]}}",
		"[\"x\",\"0/1\",\"Init:1/"
		"2\",\"0\",\"2m\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
	{"v1", "Pod",
		"{" META ",\"spec\":{\"containers\":[{}],\"initContainers\":[{\"name\":\"i\"}]},"
			 "\"status\":{\"phase\":\"Pending\","
		"\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{\"terminated\":{"
		"\"exitCode\":7}}}]}}",
		"[\"x\",\"0/"
		"1\",\"Init:ExitCode:7\",\"0\",\"2m\",\"<none>\",\"<none>\",\"<none>\",\"<none>"
		"\"]"},
	{"v1", "Pod",
		"{" META
		",\"spec\":{\"containers\":[{}]},\"status\":{\"phase\":\"Succeeded\","
		"\"containerStatuses\":[{\"state\":{\"terminated\":{\"reason\":\"Completed\"}}}]}}",
		"[\"x\",\"0/"
		"1\",\"Completed\",\"0\",\"2m\",\"<none>\",\"<none>\",\"<none>\",\"<none>\"]"},
	{"v1", "Pod",
		"{\"metadata\":{\"name\":\"y\",\"deletionTimestamp\":\"2024-01-01T00:00:00Z\"},"
		"\"spec\":{\"containers\":[{}]},\"status\":{\"phase\":\"Running\"}}",
		"[\"y\",\"0/"
		"1\",\"Terminating\",\"0\",\"<unknown>\",\"<none>\",\"<none>\",\"<none>\",\"<none>"
		"\"]"},
	{"apps/v1", "Deployment",
		"{" META ",\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"b\":\"2\","
			 "\"a\":\"1\"}},\"template\":{\"spec\":{\"containers\":["
		"{\"name\":\"c\",\"image\":\"i:1\"},{\"name\":\"d\",\"image\":\"j\"}]}}},"
		"\"status\":{\"readyReplicas\":1,\"updatedReplicas\":2}}",
		"[\"x\",\"1/3\",2,0,\"2m\",\"c,d\",\"i:1,j\",\"a=1,b=2\"]"},
	{"apps/v1", "ReplicaSet",
		"{" META
		",\"spec\":{\"replicas\":2},\"status\":{\"replicas\":2,\"readyReplicas\":1}}",
		"[\"x\",2,2,1,\"2m\",\"\",\"\",\"<none>\"]"},
	{"v1", "Service",
		"{" META ",\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.9\",\"ports\":[{"
			 "\"port\":80,\"nodePort\":30001,\"protocol\":\"TCP\"},"
		"{\"port\":53,\"protocol\":\"UDP\"}],\"selector\":{\"a\":\"b\"}}}",
		"[\"x\",\"NodePort\",\"10.96.0.9\",\"<none>\",\"80:30001/TCP,53/"
		"UDP\",\"2m\",\"a=b\"]"},
	{"v1", "Service",
		"{" META ",\"spec\":{\"type\":\"LoadBalancer\",\"clusterIP\":\"10.96.0.9\"}}",
		"[\"x\",\"LoadBalancer\",\"10.96.0.9\",\"<pending>\",\"<none>\",\"2m\",\"<none>"
		"\"]"},
	{"v1", "Service",
		"{" META ",\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"e.com\"}}",
		"[\"x\",\"ExternalName\",\"<none>\",\"e.com\",\"<none>\",\"2m\",\"<none>\"]"},
	{"v1", "Node",
		"{\"metadata\":{\"name\":\"n\",\"labels\":{\"node-role.kubernetes.io/"
		"control-plane\":\"\",\"node-role.kubernetes.io/a\":\"\"},"
		"\"creationTimestamp\":\"2024-01-01T00:00:00Z\"},\"spec\":{\"unschedulable\":true},"
		"\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],"
		"\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.0.0.1\"}],\"nodeInfo\":{"
		"\"kubeletVersion\":\"v1\",\"osImage\":\"Debian\"}}}",
		"[\"n\",\"Ready,SchedulingDisabled\",\"a,control-plane\",\"2m\",\"v1\",\"10.0.0."
		"1\",\"<none>\",\"Debian\",\"<unknown>\",\"<unknown>\"]"},
	{"v1", "Namespace", "{" META ",\"status\":{\"phase\":\"Active\"}}",
		"[\"x\",\"Active\",\"2m\"]"},
	{"v1", "Endpoints",
		"{" META ",\"subsets\":[{\"addresses\":[{\"ip\":\"1.1.1.1\"},{\"ip\":\"1.1.1.2\"}],"
			 "\"ports\":[{\"port\":80},{\"port\":81}]}]}",
		"[\"x\",\"1.1.1.1:80,1.1.1.1:81,1.1.1.2:80 + 1 more...\",\"2m\"]"},
	{"discovery.k8s.io/v1", "EndpointSlice",
		"{" META ",\"addressType\":\"IPv4\",\"ports\":[{\"port\":80}],\"endpoints\":[{"
			 "\"addresses\":[\"1.1.1.1\"]}]}",
		"[\"x\",\"IPv4\",\"80\",\"1.1.1.1\",\"2m\"]"},
	{"discovery.k8s.io/v1", "EndpointSlice", "{" META ",\"addressType\":\"IPv4\"}",
		"[\"x\",\"IPv4\",\"<unset>\",\"<unset>\",\"2m\"]"},
	{"v1", "ConfigMap",
		"{" META ",\"data\":{\"a\":\"\",\"b\":\"\"},\"binaryData\":{\"c\":\"\"}}",
		"[\"x\",3,\"2m\"]"},
	{"v1", "Secret", "{" META ",\"type\":\"Opaque\",\"data\":{\"a\":\"\"}}",
		"[\"x\",\"Opaque\",1,\"2m\"]"},
	{"v1", "ServiceAccount", "{" META "}", "[\"x\",0,\"2m\"]"},
	{"v1", "Event",
		"{" META ",\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\",\"fieldPath\":"
			 "\"spec.containers{c}\"},\"type\":\"Normal\",\"reason\":\"R\","
		"\"message\":\"m\\n\",\"source\":{\"component\":\"kubelet\",\"host\":\"n\"},"
		"\"firstTimestamp\":\"2024-01-01T00:00:00Z\","
		"\"lastTimestamp\":\"2024-01-01T00:01:30Z\",\"count\":4}",
		"[\"30s\",\"Normal\",\"R\",\"pod/p\",\"spec.containers{c}\",\"kubelet, "
		"n\",\"m\",\"2m\",4,\"x\"]"},
	{"coordination.k8s.io/v1", "Lease", "{" META ",\"spec\":{\"holderIdentity\":\"me\"}}",
		"[\"x\",\"me\",\"2m\"]"},
	{"rbac.authorization.k8s.io/v1", "Role", "{" META "}", "[\"x\",\"2024-01-01T00:00:00Z\"]"},
};

static void test_cells(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct resource *res = resource_find_kind(rows[i].api_version, rows[i].kind);
		struct json *cells;

		assert_non_null(res);
		cells = table_cells(&arena, res, parse(rows[i].obj), NOW);
		assert_string_equal(
			json_text(&arena, cells).p, json_text(&arena, parse(rows[i].cells)).p);
		assert_int_equal(json_len(cells),
			json_len(json_getc(table_new(&arena, res, NULL), "columnDefinitions")));
	}
}

static void test_print(void **state)
{
	const struct resource *res = resource_find_kind("v1", "ConfigMap");
	struct json *t = table_new(&arena, res, parse("{\"resourceVersion\":\"7\"}"));
	const char *label = "example.com/tier";
	size_t widths[8] = {0};
	struct table_print all = {.with_namespace = true,
		.show_labels = true,
		.label_columns = &label,
		.n_label_columns = 1,
		.show_kind = true,
		.kind_prefix = "configmap"};
	struct buf b = BUF_INIT;
	enum table_include inc;

	assert_true(table_include_parse(STR("Object"), &inc) && inc == TABLE_OBJECT);
	assert_false(table_include_parse(STR("object"), &inc));
	table_add(&arena, t, res, parse("{" META ",\"data\":{\"a\":\"1\"}}"), TABLE_METADATA, NOW);
	table_add(&arena, t, res,
		parse("{\"metadata\":{\"name\":\"longer-na\\u001bme\",\"namespace\":\"default\","
		      "\"labels\":{\"b\":\"2\",\"example.com/tier\":\"1\"}}}"),
		TABLE_OBJECT, NOW);
	assert_string_equal(json_cstr(json_getp(json_at(json_getc(t, "rows"), 0), "object.kind")),
		"PartialObjectMetadata");
	table_print(&b, t, &(struct table_print){0});
	assert_string_equal(b.p, "NAME            DATA   AGE\nx               1      "
				 "2m\nlonger-na^[me   0      <unknown>\n");
	buf_clear(&b);
	table_print(&b, t, &all);
	assert_string_equal(b.p,
		"NAMESPACE   NAME                      DATA   AGE         TIER   LABELS\n"
		"d           configmap/x               1      2m                 <none>\n"
		"default     configmap/longer-na^[me   0      <unknown>   1      "
		"b=2,example.com/tier=1\n");
	buf_clear(&b);
	/* A watch: the second table is as wide as the first. */
	table_print(&b, t, &(struct table_print){.widths = widths, .n_widths = ARRAY_LEN(widths)});
	buf_clear(&b);
	json_del_at(json_getc(t, "rows"), 1);
	table_print(&b, t,
		&(struct table_print){
			.no_headers = true, .widths = widths, .n_widths = ARRAY_LEN(widths)});
	assert_string_equal(b.p, "x               1      2m\n");
	buf_fini(&b);
}

static int setup(void **state)
{
	arena_init(&arena);
	return 0;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cells, setup, teardown),
		cmocka_unit_test_setup_teardown(test_print, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

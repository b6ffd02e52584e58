/* proto/defaults.h: the stored form of small objects, as a running API server gave it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/util.h"
#include "proto/defaults.h"
#include "proto/json.h"
#include "proto/schema.h"

#define CONTAINER_DEFAULTS                                                                         \
	"\"terminationMessagePath\":\"/dev/"                                                       \
	"termination-log\",\"terminationMessagePolicy\":\"File\""
#define POD_SPEC_DEFAULTS                                                                          \
	"\"restartPolicy\":\"Always\",\"dnsPolicy\":\"ClusterFirst\",\"schedulerName\":\"default-" \
	"scheduler\","                                                                             \
	"\"terminationGracePeriodSeconds\":30,\"securityContext\":{}"

static const struct {
	const char *type, *in, *out;
} rows[] = {
	{"core.v1.Volume", "{\"name\":\"v\"}", "{\"name\":\"v\",\"emptyDir\":{}}"},
	{"core.v1.Pod",
		"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\",\"resources\":{"
		"\"limits\":{\"cpu\":\"1\"}}}]}}",
		"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\","
		"\"imagePullPolicy\":\"Always\"," CONTAINER_DEFAULTS
		",\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"cpu\":\"1\"}}}]"
		"," POD_SPEC_DEFAULTS ",\"enableServiceLinks\":true}}"},
	{"core.v1.Pod",
		"{\"spec\":{\"hostNetwork\":true,\"restartPolicy\":\"Never\",\"containers\":[{"
		"\"name\":\"c\",\"image\":\"r:5000/a:1\",\"ports\":[{\"containerPort\":80}],"
		"\"livenessProbe\":{\"httpGet\":{\"port\":80},\"periodSeconds\":0,"
		"\"timeoutSeconds\":7}}],"
		"\"volumes\":[{\"name\":\"v\",\"secret\":{}},{\"name\":\"w\",\"downwardAPI\":{"
		"\"items\":[{\"path\":\"p\",\"fieldRef\":{\"fieldPath\":\"f\"}}]}}]}}",
		"{\"spec\":{\"hostNetwork\":true,\"restartPolicy\":\"Never\",\"dnsPolicy\":"
		"\"ClusterFirst\",\"schedulerName\":\"default-scheduler\","
		"\"terminationGracePeriodSeconds\":30,\"securityContext\":{},"
		"\"enableServiceLinks\":true,"
		"\"containers\":[{\"name\":\"c\",\"image\":\"r:5000/"
		"a:1\",\"imagePullPolicy\":\"IfNotPresent\"," CONTAINER_DEFAULTS ","
		"\"ports\":[{\"containerPort\":80,\"hostPort\":80,\"protocol\":\"TCP\"}],"
		"\"livenessProbe\":{\"httpGet\":{\"port\":80,\"path\":\"/\",\"scheme\":\"HTTP\"},"
		"\"periodSeconds\":10,\"timeoutSeconds\":7,\"successThreshold\":1,"
		"\"failureThreshold\":3}}],"
		"\"volumes\":[{\"name\":\"v\",\"secret\":{\"defaultMode\":420}},{\"name\":\"w\","
		"\"downwardAPI\":{\"defaultMode\":420,"
		"\"items\":[{\"path\":\"p\",\"fieldRef\":{\"fieldPath\":\"f\",\"apiVersion\":"
		"\"v1\"}}]}}]}}"},
	{"apps.v1.Deployment",
		"{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"a@sha256:00\"}]}}}"
		"}",
		"{\"spec\":{\"replicas\":1,\"revisionHistoryLimit\":10,\"progressDeadlineSeconds\":"
		"600,\"strategy\":{\"type\":\"RollingUpdate\","
		"\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":\"25%\"}},\"template\":"
		"{\"spec\":{\"containers\":[{\"image\":\"a@sha256:00\","
		"\"imagePullPolicy\":\"IfNotPresent\"," CONTAINER_DEFAULTS "}]," POD_SPEC_DEFAULTS
		"}}}}"},
	{"apps.v1.Deployment", "{\"spec\":{\"replicas\":0,\"strategy\":{\"type\":\"Recreate\"}}}",
		"{\"spec\":{\"replicas\":0,\"strategy\":{\"type\":\"Recreate\"},"
		"\"revisionHistoryLimit\":10,\"progressDeadlineSeconds\":600}}"},
	{"core.v1.Service",
		"{\"spec\":{\"type\":\"NodePort\",\"sessionAffinity\":\"ClientIP\",\"ports\":[{"
		"\"port\":80},{\"port\":53,\"protocol\":\"UDP\",\"targetPort\":\"dns\"}]}}",
		"{\"spec\":{\"type\":\"NodePort\",\"sessionAffinity\":\"ClientIP\","
		"\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10800}},"
		"\"externalTrafficPolicy\":\"Cluster\",\"internalTrafficPolicy\":\"Cluster\","
		"\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":80},"
		"{\"port\":53,\"protocol\":\"UDP\",\"targetPort\":\"dns\"}]}}"},
	{"core.v1.Service", "{\"spec\":{\"type\":\"ExternalName\"}}",
		"{\"spec\":{\"type\":\"ExternalName\",\"sessionAffinity\":\"None\"}}"},
	{"core.v1.Secret",
		"{\"data\":{\"a\":\"eA==\"},\"stringData\":{\"a\":\"hello\",\"b\":\"yz\",\"c\":"
		"\"\"}}",
		"{\"type\":\"Opaque\",\"data\":{\"a\":\"aGVsbG8=\",\"b\":\"eXo=\",\"c\":\"\"}}"},
	{"core.v1.Namespace", "{\"metadata\":{\"name\":\"n\"}}",
		"{\"metadata\":{\"name\":\"n\",\"labels\":{\"kubernetes.io/"
		"metadata.name\":\"n\"}},\"status\":{\"phase\":\"Active\"}}"},
	{"discovery.v1.EndpointSlice", "{\"ports\":[{\"port\":80}]}",
		"{\"ports\":[{\"port\":80,\"name\":\"\",\"protocol\":\"TCP\"}]}"},
	{"core.v1.ConfigMap", "{\"data\":{\"a\":\"b\"}}", "{\"data\":{\"a\":\"b\"}}"},
};

static void test_rows(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct schema_type *t = schema_type_find(rows[i].type);
		struct json *in, *want;
		struct arena a;

		arena_init(&a);
		assert_int_equal(json_parse(&a, str_from(rows[i].in), NULL, &in, NULL), 0);
		assert_int_equal(json_parse(&a, str_from(rows[i].out), NULL, &want, NULL), 0);
		defaults_apply(&a, t, in);
		if (!json_equal(in, want))
			fail_msg("got  %s\nwant %s", json_text(&a, in).p, rows[i].out);
		defaults_apply(&a, t, in);
		assert_true(json_equal(in, want));
		arena_fini(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Horizontal autoscalers against a whole API server (world.h). What measures is played by a custom resource: its list has the form in which
 * external.metrics.k8s.io answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define HPA "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
#define CRD "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define QUEUE "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue"
#define SHOP "/apis/shop.example.com/v1/namespaces/default/shops"

static const char *subject, *wanted_type, *wanted_reason;
static int64_t wanted_n;

static void deployment(const char *name, int n)
{
	post(APPS "/deployments", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":\"%s\"}},"
				      "\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}",
			name, n, name, name));
}

static void autoscaler(const char *name, const char *api_version, const char *kind, const char *target, const char *more)
{
	post(HPA, fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"scaleTargetRef\":{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"name\":\"%s\"},"
		      "\"maxReplicas\":6%s}}", name, api_version, kind, target, more));
	subject = name;
}

static struct json *condition(const char *name, const char *type)
{
	JSON_ITEMS (c, json_getp(get(fmt(HPA "/%s", name)), "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return c;
	return NULL;
}

static bool has_condition(void)
{
	return strcmp(str(condition(subject, wanted_type), "reason"), wanted_reason) == 0;
}

static struct json *wait_condition(const char *name, const char *type, const char *reason)
{
	subject = name;
	wanted_type = type;
	wanted_reason = reason;
	WAIT(has_condition);
	return condition(name, type);
}

static bool has_replicas(void)
{
	return num(get(subject), "spec.replicas") == wanted_n;
}

static void wait_replicas(const char *path, int64_t n)
{
	subject = path;
	wanted_n = n;
	WAIT(has_replicas);
}

static size_t events(const char *about, const char *reason, const char *message)
{
	size_t n = 0;

	JSON_ITEMS (e, json_getc(get(NS "/events"), "items"))
		if (strcmp(str(e, "involvedObject.name"), about) == 0 && strcmp(str(e, "reason"), reason) == 0 && strstr(str(e, "message"), message)) {
			assert_string_equal(str(e, "source.component"), "horizontal-pod-autoscaler");
			assert_string_equal(str(e, "involvedObject.apiVersion"), "autoscaling/v2");
			n++;
		}
	return n;
}

static const char *about, *of_reason, *saying;

static bool event_is_there(void)
{
	return events(about, of_reason, saying) > 0;
}

static void wait_event(const char *name, const char *reason, const char *message)
{
	about = name;
	of_reason = reason;
	saying = message;
	WAIT(event_is_there);
}

static void definition(const char *group, const char *version, const char *plural, const char *kind, const char *more)
{
	post(CRD, fmt("{\"metadata\":{\"name\":\"%s.%s\",\"annotations\":{\"api-approved.kubernetes.io\":\"unapproved, for a test\"}},\"spec\":{"
		      "\"group\":\"%s\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"%s\",\"kind\":\"%s\"},\"versions\":[{\"name\":\"%s\",\"served\":true,"
		      "\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}%s}]}}",
			plural, group, group, plural, kind, version, more));
}

static bool is_served(void)
{
	return json_getc(rig_call("GET", subject, NULL, 0), "items") != NULL;
}

static void measure(const char *value)
{
	merge(QUEUE "/length", fmt("{\"value\":\"%s\"}", value));
}

#define TARGET "\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}]"
#define AT_ONCE "\"behavior\":{\"scaleDown\":{\"stabilizationWindowSeconds\":0},\"scaleUp\":{\"policies\":[" \
	"{\"type\":\"Pods\",\"value\":100,\"periodSeconds\":15}]}}"

/* Up and down with a metric; the bounds hold. */
static void test_external(void **state)
{
	struct json *h;

	(void)state;
	add_node("n1", "40");
	definition("external.metrics.k8s.io", "v1beta1", "queue", "Queue", "");
	subject = QUEUE;
	WAIT(is_served);
	post(QUEUE, "{\"apiVersion\":\"external.metrics.k8s.io/v1beta1\",\"kind\":\"Queue\",\"metadata\":{\"name\":\"length\"},\"value\":\"30\"}");
	deployment("web", 1);
	autoscaler("web", "apps/v1", "Deployment", "web", ",\"minReplicas\":2," TARGET "," AT_ONCE);
	/* First to the least that is allowed, then to what is asked for. */
	wait_replicas(APPS "/deployments/web", 3);
	wait_event("web", "SuccessfulRescale", "New size: 2; reason: Current number of replicas below Spec.MinReplicas");
	wait_event("web", "SuccessfulRescale", "New size: 3; reason: external metric queue(nil) above target");
	wait_condition("web", "AbleToScale", "ReadyForNewScale");
	wait_condition("web", "ScalingLimited", "DesiredWithinRange");
	h = get(HPA "/web");
	assert_string_equal(str(condition("web", "ScalingActive"), "message"),
			"the HPA was able to successfully calculate a replica count from external metric queue(nil)");
	assert_string_equal(str(json_at(json_getp(h, "status.currentMetrics"), 0), "external.metric.name"), "queue");
	assert_true(str(h, "status.lastScaleTime")[0] != '\0');
	/* The most, and back to the least. */
	measure("500");
	wait_replicas(APPS "/deployments/web", 6);
	wait_condition("web", "ScalingLimited", "TooManyReplicas");
	measure("1");
	wait_replicas(APPS "/deployments/web", 2);
	wait_event("web", "SuccessfulRescale", "New size: 2; reason: All metrics below target");
	/* A change of the bounds is seen at once. */
	merge(HPA "/web", "{\"spec\":{\"minReplicas\":4}}");
	wait_replicas(APPS "/deployments/web", 4);
	/* Somebody switches it off, and on again. */
	merge(APPS "/deployments/web", "{\"spec\":{\"replicas\":0}}");
	wait_condition("web", "ScalingActive", "ScalingDisabled");
	assert_int_equal(num(get(APPS "/deployments/web"), "spec.replicas"), 0);
	merge(APPS "/deployments/web", "{\"spec\":{\"replicas\":9}}");
	wait_replicas(APPS "/deployments/web", 6);
}

static bool both_ambiguous(void)
{
	return strcmp(str(condition("one", "ScalingActive"), "reason"), "AmbiguousSelector") == 0 &&
	       strcmp(str(condition("other", "ScalingActive"), "reason"), "AmbiguousSelector") == 0;
}

static bool web_runs(void)
{
	return count_pods("app=two", is_ready) == 2;
}

static void test_two_for_one(void **state)
{
	(void)state;
	deployment("two", 2);
	WAIT(web_runs);
	autoscaler("one", "apps/v1", "Deployment", "two", "," TARGET);
	autoscaler("other", "apps/v1", "Deployment", "two", "," TARGET);
	WAIT(both_ambiguous);
	assert_string_equal(str(condition("one", "ScalingActive"), "message"),
			"pods by selector app=two are controlled by multiple HPAs: [default/one default/other]");
	/* When one goes, the other works. */
	rig_call("DELETE", HPA "/one", NULL, 200);
	wait_condition("other", "ScalingActive", "ValidMetricFound");
}

/* What cannot be, and what it says then. */
static void test_failures(void **state)
{
	static const struct {
		const char *name, *api_version, *kind, *target, *metrics, *type, *reason, *message;
	} rows[] = {
		{"no-target", "apps/v1", "Deployment", "gone", TARGET, "AbleToScale", "FailedGetScale", "not found"},
		{"no-kind", "x.example.com/v1", "Thing", "x", TARGET, "AbleToScale", "FailedGetScale",
			"no matches for kind \"Thing\" in group \"x.example.com\""},
		{"no-scale", "v1", "ConfigMap", "kube-root-ca.crt", TARGET, "AbleToScale", "FailedGetScale",
			"the server could not find the requested resource"},
		{"no-cpu", "apps/v1", "Deployment", "cpu", "\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{"
			"\"type\":\"Utilization\",\"averageUtilization\":50}}}]", "ScalingActive", "FailedGetResourceMetric",
			"the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: no "
			"metrics returned from resource metrics API"},
		{"no-pods", "apps/v1", "Deployment", "pods", "\"metrics\":[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"m\"},\"target\":{"
			"\"type\":\"AverageValue\",\"averageValue\":\"1\"}}}]", "ScalingActive", "FailedGetPodsMetric",
			"the HPA was unable to compute the replica count: unable to get metric m: unable to fetch metrics from custom metrics API: no "
			"custom metrics API (custom.metrics.k8s.io) registered"},
		{"no-object", "apps/v1", "Deployment", "object", "\"metrics\":[{\"type\":\"Object\",\"object\":{\"metric\":{\"name\":\"m\"},\"target\":{"
			"\"type\":\"Value\",\"value\":\"1\"},\"describedObject\":{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"name\":\"s\"}}}]",
			"ScalingActive", "FailedGetObjectMetric", "unable to get metric m: Service on default s/unable to fetch metrics from custom "
			"metrics API: no custom metrics API (custom.metrics.k8s.io) registered"},
		{"no-external", "apps/v1", "Deployment", "external", "\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"none\"},"
			"\"target\":{\"type\":\"Value\",\"value\":\"1\"}}}]", "ScalingActive", "FailedGetExternalMetric",
			"unable to get external metric default/none/nil: unable to fetch metrics from external metrics API: the server could not find "
			"the requested resource"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *c;

		if (i > 2)
			deployment(rows[i].target, 1);
		autoscaler(rows[i].name, rows[i].api_version, rows[i].kind, rows[i].target, fmt(",%s", rows[i].metrics));
		c = wait_condition(rows[i].name, rows[i].type, rows[i].reason);
		if (!strstr(str(c, "message"), rows[i].message))
			fail_msg("%s: %s", rows[i].name, str(c, "message"));
		assert_string_equal(str(c, "status"), "False");
		wait_event(rows[i].name, rows[i].reason, "");
	}
	/* The same again and again is one event. */
	wait_event("no-pods", "FailedComputeMetricsReplicas", "invalid metrics (1 invalid out of 1), first error is: failed to get pods metric value: ");
	assert_int_equal(events("no-pods", "FailedGetPodsMetric", ""), 1);
}

/* Kinds that somebody else made. */
static void test_custom_kind(void **state)
{
	(void)state;
	definition("shop.example.com", "v1", "shops", "Shop",
			",\"subresources\":{\"scale\":{\"specReplicasPath\":\".spec.count\",\"statusReplicasPath\":\".status.count\","
			"\"labelSelectorPath\":\".spec.selector\"}}");
	subject = SHOP;
	WAIT(is_served);
	measure("40");
	post(SHOP, "{\"apiVersion\":\"shop.example.com/v1\",\"kind\":\"Shop\",\"metadata\":{\"name\":\"s\"},\"spec\":{\"count\":1,\"selector\":\"a=shop\"},"
		   "\"status\":{\"count\":1}}");
	autoscaler("shop", "shop.example.com/v1", "Shop", "s", "," TARGET);
	wait_event("shop", "SuccessfulRescale", "New size: 4");
	assert_int_equal(num(get(SHOP "/s"), "spec.count"), 4);
	rig_call("DELETE", HPA "/shop", NULL, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_two_for_one),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_custom_kind),
	};

	return cmocka_run_group_tests(tests, world_start, world_stop);
}

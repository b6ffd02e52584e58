/* What horizontal autoscalers decide: from metrics to a number, from that to what may be written, and what answers of metrics servers say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/controllers/hpa_count.h"
#include "orchestrator/controllers/hpa_limits.h"
#include "orchestrator/controllers/hpa_metrics.h"
#include "orchestrator/controllers/hpa_propose.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "proto/quantity.pb-c.h"

#define NOW_S 1000000
#define UNKNOWN (-1) /* no sample */

/* --- Pods: each letter is one: r ready, u unready, p pending, f failed, d being deleted, y young and ready since its last sample -------- */

static struct hpa_pod pod_of(char c, const char *name, int64_t request)
{
	struct hpa_pod p = {.name = name, .phase = HPA_OTHER, .running = true, .ready = HPA_READY, .started_s = NOW_S - 3600,
			.ready_since_s = NOW_S - 3500, .request_milli = request};

	if (c == 'u') {
		p.ready = HPA_NOT_READY;
		p.ready_since_s = p.started_s;
	} else if (c == 'U') { /* was ready before */
		p.ready = HPA_NOT_READY;
	} else if (c == 'p') {
		p.phase = HPA_PENDING;
	} else if (c == 'f') {
		p.phase = HPA_FAILED;
	} else if (c == 'd') {
		p.leaving = true;
	} else if (c == 'y') {
		p.started_s = NOW_S - 100;
		p.ready_since_s = NOW_S - 20;
	}
	return p;
}

struct pods_case {
	const char *pods;
	int64_t used[12];
	int64_t request; /* 0: a plain average is the target */
	int64_t target;
	int32_t current, want;
	int64_t now; /* percent or average */
	bool not_cpu;
};

static const struct pods_case pods_cases[] = {
	/* All ready: ceil(ratio * pods), or as it is when it is within a tenth. */
	{"rrr", {300, 500, 700}, 1000, 30, 3, 5, 50, false},
	{"rrr", {300, 300, 300}, 1000, 30, 3, 3, 30, false},
	{"rrr", {330, 330, 330}, 1000, 30, 3, 3, 33, false},
	{"rrr", {340, 340, 340}, 1000, 30, 3, 4, 34, false},
	{"rrrrr", {100, 300, 500, 250, 250}, 1000, 50, 5, 3, 28, false},
	{"rrr", {100, 300, 500}, 0, 200, 3, 5, 300, false},
	/* Unready ones use nothing when it grows, and are left out when it shrinks. */
	{"urr", {300, 500, 700}, 1000, 30, 3, 4, 60, false},
	{"ruu", {400, 500, 700}, 1000, 30, 3, 3, 40, false},
	{"rrrru", {100, 300, 500, 250, 250}, 1000, 50, 5, 3, 28, false},
	{"prr", {UNKNOWN, 500, 700}, 1000, 30, 3, 4, 60, false},
	/* Who was ready once and is not any more counts, unless young. */
	{"Urr", {300, 500, 700}, 1000, 30, 3, 5, 50, false},
	/* Measured before it was ready for a whole window: not counted yet. */
	{"yrr", {900, 500, 700}, 1000, 30, 3, 4, 60, false},
	/* Readiness is for CPU alone. */
	{"urr", {300, 500, 700}, 1000, 30, 3, 5, 50, true},
	/* Unknown ones use nothing when it grows, all when it shrinks. */
	{"rrr", {UNKNOWN, 500, 700}, 1000, 30, 3, 4, 60, false},
	{"rrrrr", {100, 300, 500, 250, UNKNOWN}, 1000, 50, 5, 5, 28, false},
	{"rrrrrr", {50, 100, 50, 100, 50, UNKNOWN}, 1000, 50, 6, 3, 7, false},
	{"rrrr", {2200, 2200, 2200, UNKNOWN}, 1000, 300, 4, 4, 220, false},
	{"rr", {UNKNOWN, 500}, 1000, 50, 2, 2, 50, false},
	/* Both at once. */
	{"urr", {UNKNOWN, UNKNOWN, 900}, 1000, 30, 3, 3, 90, false},
	/* The dead and the leaving are not there. */
	{"frr", {UNKNOWN, 500, 700}, 1000, 30, 3, 4, 60, false},
	{"drr", {300, 500, 700}, 1000, 30, 3, 4, 60, false},
	/* Never the other way: more replicas than pods that are there. */
	{"rr", {250, 250}, 1000, 30, 6, 2, 25, false},
};

static int count(const struct pods_case *c, struct hpa_answer *ret, struct err *e)
{
	static char names[12][8];
	struct hpa_pod pods[12];
	struct hpa_sample samples[12];
	size_t n = strlen(c->pods), n_samples = 0;
	struct hpa_pods_ask ask = {.cpu = !c->not_cpu, .percent = c->request > 0, .target = c->target, .current = c->current,
			.tolerance = {HPA_TOLERANCE, HPA_TOLERANCE}, .pods = pods, .n_pods = n, .samples = samples, .now_s = NOW_S};

	for (size_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "p%zu", i);
		pods[i] = pod_of(c->pods[i], names[i], c->request);
		if (c->used[i] != UNKNOWN)
			samples[n_samples++] = (struct hpa_sample){names[i], c->used[i], (NOW_S - 5) * 1000ll, 30000};
	}
	ask.n_samples = n_samples;
	return hpa_count_pods(&ask, ret, e);
}

static void test_counts_pods(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pods_cases); i++) {
		const struct pods_case *c = &pods_cases[i];
		struct hpa_answer a;
		struct err e = ERR_INIT;

		if (count(c, &a, &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		if (a.replicas != c->want || (c->request ? a.percent : a.milli) != c->now)
			fail_msg("case %zu (%s): %d replicas, now %lld", i, c->pods, a.replicas, (long long)(c->request ? a.percent : a.milli));
	}
}

static void test_counts_nothing(void **state)
{
	static const struct {
		struct pods_case c;
		const char *text;
	} rows[] = {
		{{"", {0}, 1000, 30, 3, 0, 0, false}, "no pods returned by selector while calculating replica count"},
		{{"rr", {UNKNOWN, UNKNOWN}, 1000, 30, 2, 0, 0, false}, "did not receive metrics for targeted pods (pods might be unready)"},
		{{"uu", {100, 100}, 1000, 30, 2, 0, 0, false}, "did not receive metrics for targeted pods (pods might be unready)"},
	};
	struct hpa_pod pod = {.name = "a", .phase = HPA_OTHER, .ready = HPA_READY, .started_s = 1, .no_request = "missing"};
	struct hpa_sample strange = {"b", 100, 0, 0}, own = {"a", 100, 0, 0};
	struct hpa_pods_ask ask = {.percent = true, .target = 50, .current = 1, .pods = &pod, .n_pods = 1, .samples = &own, .n_samples = 1};
	struct hpa_answer a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		e = (struct err)ERR_INIT;
		assert_true(count(&rows[i].c, &a, &e) < 0);
		assert_string_equal(e.text, rows[i].text);
	}
	e = (struct err)ERR_INIT;
	assert_true(hpa_count_pods(&ask, &a, &e) < 0);
	assert_string_equal(e.text, "missing");
	/* Requests of nothing, and measurements of pods that nobody knows, are no ratio. */
	pod.no_request = NULL;
	assert_true(hpa_count_pods(&ask, &a, &e) < 0);
	pod.request_milli = 10;
	ask.samples = &strange;
	assert_true(hpa_count_pods(&ask, &a, &e) < 0);
	assert_string_equal(e.text, "no metrics returned matched known pods");
}

/* Each way has its own tolerance. */
static void test_tolerance(void **state)
{
	static const struct {
		int64_t used;
		struct hpa_tolerance t;
		int32_t want;
	} rows[] = {{105, {0.1, 0.1}, 10}, {105, {0, 0.1}, 11}, {95, {0, 0.1}, 10}, {95, {0.1, 0}, 10}, {89, {0.1, 0.2}, 10}, {85, {0.1, 0.1}, 9},
			{130, {0.5, 0.1}, 10}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct hpa_pod pods[10];
		struct hpa_answer a;

		for (size_t k = 0; k < ARRAY_LEN(pods); k++)
			pods[k] = pod_of('r', "x", 0);
		assert_int_equal(hpa_count_value(rows[i].used, 100, 10, rows[i].t, pods, 10, &a, NULL), 0);
		if (a.replicas != rows[i].want)
			fail_msg("case %zu: %d", i, a.replicas);
	}
}

static void test_counts_values(void **state)
{
	static const struct hpa_tolerance t = {0.1, 0.1};
	struct hpa_pod pods[3] = {pod_of('r', "a", 0), pod_of('r', "b", 0), pod_of('U', "c", 0)};
	struct hpa_answer a;
	struct err e = ERR_INIT;

	(void)state;
	/* Of those that are ready. */
	assert_int_equal(hpa_count_value(20000, 10000, 3, t, pods, 3, &a, &e), 0);
	assert_int_equal(a.replicas, 4);
	assert_int_equal(a.milli, 20000);
	/* From none at all, and to none. */
	assert_int_equal(hpa_count_value(45000, 10000, 0, t, NULL, 0, &a, &e), 0);
	assert_int_equal(a.replicas, 5);
	assert_int_equal(hpa_count_value(0, 10000, 3, t, pods, 3, &a, &e), 0);
	assert_int_equal(a.replicas, 0);
	assert_true(hpa_count_value(45000, 10000, 3, t, NULL, 0, &a, &e) < 0);
	assert_int_equal(hpa_count_value(INT64_MAX, 1, 3, t, pods, 3, &a, &e), 0);
	assert_int_equal(a.replicas, INT32_MAX);
	/* So much for each. */
	hpa_count_average(95000, 10000, 3, t, &a);
	assert_int_equal(a.replicas, 10);
	assert_int_equal(a.milli, 31667);
	hpa_count_average(31000, 10000, 3, t, &a);
	assert_int_equal(a.replicas, 3);
	hpa_count_average(31000, 10000, 0, t, &a);
	assert_int_equal(a.replicas, 4);
	hpa_count_average(0, 10000, 0, t, &a);
	assert_int_equal(a.replicas, 0);
	hpa_count_average(INT64_MAX, 1, 1, t, &a);
	assert_int_equal(a.replicas, INT32_MAX);
	hpa_count_average(INT64_MAX - 1, 1, 1, t, &a);
	assert_true(a.milli == INT64_MAX - 1);
	hpa_count_average(-31000, 10000, 3, t, &a);
	assert_int_equal(a.milli, -10333);
}

/* --- Limits ------------------------------------------------------------------------------------------------------------ */

static void test_without_behavior(void **state)
{
	static const struct {
		int32_t current, wanted, min, max, want;
		const char *reason;
	} rows[] = {
		{3, 5, 1, 10, 5, "DesiredWithinRange"}, {3, 10, 1, 20, 6, "ScaleUpLimit"}, {1, 10, 1, 20, 4, "ScaleUpLimit"},
		{3, 10, 1, 5, 5, "TooManyReplicas"}, {3, 6, 1, 6, 6, "DesiredWithinRange"}, {5, 1, 2, 10, 2, "TooFewReplicas"},
		{5, 2, 2, 10, 2, "DesiredWithinRange"}, {5, 5, 1, 10, 5, "DesiredWithinRange"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct hpa_history h = {.begun = true};
		struct hpa_bounds b = {.min = rows[i].min, .max = rows[i].max};
		struct hpa_limited v = hpa_limit(&h, &b, rows[i].current, rows[i].wanted, 1000000);

		if (v.replicas != rows[i].want || strcmp(v.limit_reason, rows[i].reason) != 0 ||
				v.limited != (strcmp(rows[i].reason, "DesiredWithinRange") != 0))
			fail_msg("case %zu: %d, %s", i, v.replicas, v.limit_reason);
		hpa_history_fini(&h);
	}
}

/* It shrinks to the highest that was wanted in five minutes. */
static void test_window(void **state)
{
	struct hpa_history h = {.begun = false};
	struct hpa_bounds b = {.min = 1, .max = 20};
	uint64_t t = 1000000;
	struct hpa_limited v;

	(void)state;
	hpa_history_begin(&h, 8, t);
	hpa_history_begin(&h, 99, t); /* only once */
	v = hpa_limit(&h, &b, 8, 3, t);
	assert_int_equal(v.replicas, 8);
	assert_string_equal(v.able_reason, "ScaleDownStabilized");
	v = hpa_limit(&h, &b, 8, 5, t + 100000);
	assert_int_equal(v.replicas, 8);
	v = hpa_limit(&h, &b, 8, 3, t + 300001);
	assert_int_equal(v.replicas, 5);
	v = hpa_limit(&h, &b, 5, 5, t + 300002);
	assert_string_equal(v.able_reason, "ReadyForNewScale");
	v = hpa_limit(&h, &b, 5, 1, t + 600003 + 100000);
	assert_int_equal(v.replicas, 1);
	/* What is too old is not kept. */
	assert_true(h.wanted.n <= 2);
	hpa_history_fini(&h);
}

static void test_windows_both_ways(void **state)
{
	static const struct hpa_policy all = {true, 10000, 1};
	struct hpa_history h = {.begun = true};
	struct hpa_bounds b = {.min = 1, .max = 100, .has_behavior = true, .up = {.window_s = 60, .policies = &all, .n_policies = 1},
			.down = {.window_s = 120, .policies = &all, .n_policies = 1}};
	uint64_t t = 1000000;
	struct hpa_limited v;

	(void)state;
	assert_int_equal(hpa_limit(&h, &b, 10, 12, t).replicas, 12);
	/* Up: the lowest of the last minute; down: the highest of the last two. */
	v = hpa_limit(&h, &b, 12, 30, t + 30000);
	assert_int_equal(v.replicas, 12);
	assert_string_equal(v.able_reason, "ScaleUpStabilized");
	assert_int_equal(hpa_limit(&h, &b, 12, 30, t + 60000).replicas, 30);
	v = hpa_limit(&h, &b, 30, 5, t + 90000);
	assert_int_equal(v.replicas, 30);
	assert_string_equal(v.able_reason, "ScaleDownStabilized");
	assert_int_equal(hpa_limit(&h, &b, 30, 5, t + 181000).replicas, 5);
	hpa_history_fini(&h);
}

struct step {
	unsigned at_s;
	int32_t wanted, want;
	const char *reason;
};

static void steps(struct hpa_bounds b, int32_t current, const struct step *s, size_t n)
{
	struct hpa_history h = {.begun = true};

	b.has_behavior = true;
	for (size_t i = 0; i < n; i++) {
		uint64_t now = 1000000 + s[i].at_s * 1000ull;
		struct hpa_limited v = hpa_limit(&h, &b, current, s[i].wanted, now);

		if (v.replicas != s[i].want || strcmp(v.limit_reason, s[i].reason) != 0)
			fail_msg("step %zu: %d, %s", i, v.replicas, v.limit_reason);
		hpa_scaled(&h, &b, current, v.replicas, now);
		current = v.replicas;
	}
	hpa_history_fini(&h);
}
#define STEPS(b, current, ...) steps(b, current, (struct step[]){__VA_ARGS__}, ARRAY_LEN(((struct step[]){__VA_ARGS__})))
#define IN_RANGE "DesiredWithinRange"

static void test_policies(void **state)
{
	static const struct hpa_policy ten_times = {true, 900, 60}, one = {false, 1, 60}, four_or_tenth[] = {{false, 4, 60}, {true, 10, 60}},
			whole = {true, 100, 15}, tiny = {true, 1, 60};
	struct hpa_rules off = {.select = HPA_NONE}, free_down = {.policies = &whole, .n_policies = 1}, free_up = {.policies = &ten_times, .n_policies = 1};
	struct hpa_rules least = {.select = HPA_LEAST, .policies = four_or_tenth, .n_policies = 2},
			 most = {.policies = four_or_tenth, .n_policies = 2}, slow = {.policies = &one, .n_policies = 1};

	(void)state;
	/* Fast up: 1, 10, 100, 1000; not again within the period. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 1000, .up = free_up, .down = free_down}), 1, {0, 5000, 10, "ScaleUpLimit"},
			{15, 5000, 10, "ScaleUpLimit"}, {60, 5000, 100, "ScaleUpLimit"}, {120, 5000, 1000, "TooManyReplicas"});
	/* One a minute. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 10, .up = slow, .down = free_down}), 1, {0, 9, 2, "ScaleUpLimit"}, {30, 9, 2, "ScaleUpLimit"},
			{61, 9, 3, "ScaleUpLimit"}, {62, 2, 2, IN_RANGE});
	/* Four or a tenth of all, whichever is more: at 80 it is 8, and from 40 on always 4. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = free_up, .down = most}), 80, {0, 10, 72, "ScaleDownLimit"},
			{30, 10, 72, "ScaleDownLimit"}, {60, 10, 64, "ScaleDownLimit"}, {120, 10, 57, "ScaleDownLimit"});
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = free_up, .down = most}), 39, {0, 10, 35, "ScaleDownLimit"});
	/* Whichever is less. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = free_up, .down = least}), 80, {0, 10, 76, "ScaleDownLimit"});
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = least, .down = free_down}), 20, {0, 90, 22, "ScaleUpLimit"});
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = {.policies = &tiny, .n_policies = 1}, .down = free_down}), 5,
			{0, 90, 6, "ScaleUpLimit"});
	/* Not at all. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = free_up, .down = off}), 8, {0, 2, 8, "ScaleDownLimit"}, {60, 9, 9, IN_RANGE});
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = off, .down = free_down}), 8, {0, 20, 8, "ScaleUpLimit"}, {60, 2, 2, IN_RANGE});
	/* What was taken away within the period may come back at once. */
	STEPS(((struct hpa_bounds){.min = 1, .max = 100, .up = slow, .down = free_down}), 10, {0, 4, 4, IN_RANGE}, {5, 20, 11, "ScaleUpLimit"});
	STEPS(((struct hpa_bounds){.min = 3, .max = 9, .up = free_up, .down = free_down}), 5, {0, 1, 3, "TooFewReplicas"},
			{15, 20, 9, "TooManyReplicas"});
}

static void test_ceil(void **state)
{
	(void)state;
	assert_int_equal(hpa_ceil(1.01), 2);
	assert_int_equal(hpa_ceil(1e300), INT32_MAX);
	assert_int_equal(hpa_ceil(-1e300), INT32_MIN);
	assert_int_equal(hpa_ceil(0.0 / 0.0), 0);
}

/* --- Answers ------------------------------------------------------------------------------------------------------------ */

static struct arena arena;

static void test_reads(void **state)
{
	static const char list[] = "{\"items\":[{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"timestamp\":\"1970-01-01T00:00:10Z\","
				   "\"window\":\"15.5s\",\"containers\":[{\"name\":\"x\",\"usage\":{\"cpu\":\"1500000n\",\"memory\":\"1Ki\"}},"
				   "{\"name\":\"y\",\"usage\":{\"cpu\":\"250m\"}}]},{\"metadata\":{\"name\":\"b\",\"namespace\":\"n\"},\"containers\":[]}]}";
	static const char pods[] = "{\"items\":[{\"describedObject\":{\"name\":\"a\"},\"timestamp\":\"1970-01-01T00:00:10Z\",\"value\":\"500m\"},"
				   "{\"describedObject\":{\"name\":\"b\"},\"windowSeconds\":10,\"value\":\"2k\"}]}";
	struct hpa_sample *s;
	struct err e = ERR_INIT;
	int64_t v;
	size_t n;

	(void)state;
	assert_int_equal(hpa_read_resource(&arena, str_from(list), "cpu", "", &s, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(s[0].pod, "a");
	assert_int_equal(s[0].milli, 252);
	assert_int_equal(s[0].at_ms, 10000);
	assert_int_equal(s[0].window_ms, 15500);
	/* One container's memory is not known: the pod's is not either. */
	assert_int_equal(hpa_read_resource(&arena, str_from(list), "memory", "", &s, &n, &e), 0);
	assert_int_equal(n, 0);
	assert_true(hpa_read_resource(&arena, str_from(list), "cpu", "y", &s, &n, &e) < 0);
	assert_string_equal(e.text, "failed to get container metrics: container y not present in metrics for pod n/b");
	assert_true(hpa_read_resource(&arena, STR("{\"items\":[]}"), "cpu", "", &s, &n, &e) < 0);
	assert_string_equal(e.text, "no metrics returned from resource metrics API");
	assert_true(hpa_read_resource(&arena, STR("nothing"), "cpu", "", &s, &n, &e) < 0);
	assert_int_equal(hpa_read_pods(&arena, str_from(pods), &s, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(s[0].milli, 500);
	assert_int_equal(s[0].window_ms, 60000);
	assert_int_equal(s[1].milli, 2000000);
	assert_int_equal(s[1].window_ms, 10000);
	assert_true(hpa_read_object(&arena, str_from(pods), &v, &e) < 0);
	assert_int_equal(hpa_read_external(&arena, str_from(pods), &v, &e), 0);
	assert_int_equal(v, 2000500);
	assert_int_equal(hpa_read_object(&arena, STR("{\"items\":[{\"value\":\"7\"}]}"), &v, &e), 0);
	assert_int_equal(v, 7000);
	assert_true(hpa_read_external(&arena, STR("[]"), &v, &e) < 0);
	assert_string_equal(e.text, "no metrics returned from external metrics API");
}

/* --- Rounds ------------------------------------------------------------------------------------------------------------ */

static Autoscalingv2__HorizontalPodAutoscaler *hpa_new(void)
{
	Autoscalingv2__HorizontalPodAutoscaler *h = pb_new_of(&arena, autoscalingv2__horizontal_pod_autoscaler, Autoscalingv2__HorizontalPodAutoscaler);
	Meta__ObjectMeta *meta = pb_sub(&arena, h, "metadata");
	Autoscalingv2__HorizontalPodAutoscalerSpec *s = pb_sub(&arena, h, "spec");

	meta->name = "h";
	meta->namespace_ = "n";
	s->has_min_replicas = s->has_max_replicas = true;
	s->min_replicas = 1;
	s->max_replicas = 5;
	return h;
}

static Resource__Quantity *amount(void *target, const char *field, const char *text)
{
	Resource__Quantity *q = pb_sub(&arena, target, field);

	q->string = text;
	return q;
}

/* A metric "queue" of which each replica should have 10. */
static void add_external(Autoscalingv2__HorizontalPodAutoscaler *h)
{
	Autoscalingv2__MetricSpec *m = pb_add(&arena, h->spec, "metrics");
	Autoscalingv2__ExternalMetricSource *x = pb_sub(&arena, m, "external");
	Autoscalingv2__MetricIdentifier *id = pb_sub(&arena, x, "metric");

	m->type = "External";
	id->name = "queue";
	pb_map_set(&arena, pb_sub(&arena, id, "selector"), "match_labels", "of", "shop");
	amount(pb_sub(&arena, x, "target"), "average_value", "10");
}

static const Autoscalingv2__HorizontalPodAutoscalerCondition *condition(const struct hpa_round *r, const char *type)
{
	const Autoscalingv2__HorizontalPodAutoscalerStatus *s = r->copy->status;

	for (size_t i = 0; i < s->n_conditions; i++)
		if (pb_streq(s->conditions[i]->type, type))
			return s->conditions[i];
	fail_msg("no condition %s", type);
	return NULL;
}

static void is_condition(const struct hpa_round *r, const char *type, const char *status, const char *reason)
{
	const Autoscalingv2__HorizontalPodAutoscalerCondition *c = condition(r, type);

	assert_string_equal(c->reason, reason);
	assert_string_equal(c->status, status);
}

static bool said(const struct hpa_round *r, const char *reason, const char *part)
{
	for (const struct hpa_event *ev = r->events; ev; ev = ev->next)
		if (strcmp(ev->reason, reason) == 0 && strstr(ev->message, part))
			return true;
	return false;
}

static struct hpa_history history;

static struct hpa_round begin(const Autoscalingv2__HorizontalPodAutoscaler *h)
{
	struct hpa_round r = {.arena = &arena, .hpa = h, .history = &history, .now_s = NOW_S, .now_ms = 1000000};

	hpa_history_fini(&history);
	hpa_round_begin(&r);
	return r;
}

static bool scale(struct hpa_round *r, int spec, const char *selector)
{
	struct err e = ERR_INIT;
	bool ask;

	assert_int_equal(hpa_round_scale(r, arena_sprintf(&arena,
			"{\"kind\":\"Scale\",\"metadata\":{\"name\":\"t\"},\"spec\":{\"replicas\":%d},\"status\":{\"replicas\":%d,\"selector\":\"%s\"}}",
			spec, spec, selector), &ask, &e), 0);
	return ask;
}

static void test_round_bounds(void **state)
{
	Autoscalingv2__HorizontalPodAutoscaler *h = hpa_new();
	struct hpa_round r = begin(h);

	(void)state;
	add_external(h);
	assert_false(scale(&r, 0, "a=b"));
	assert_false(r.rescale);
	is_condition(&r, "ScalingActive", "False", "ScalingDisabled");
	is_condition(&r, "AbleToScale", "True", "SucceededGetScale");
	r = begin(h);
	assert_false(scale(&r, 9, "a=b"));
	assert_true(r.rescale);
	assert_int_equal(r.replicas, 5);
	assert_string_equal(r.why, "Current number of replicas above Spec.MaxReplicas");
	hpa_round_rescaled(&r, NULL);
	is_condition(&r, "AbleToScale", "True", "SucceededRescale");
	assert_true(said(&r, "SuccessfulRescale", "New size: 5; reason: Current number of replicas above Spec.MaxReplicas"));
	assert_int_equal(r.copy->status->desired_replicas, 5);
	assert_int_equal(r.copy->status->current_replicas, 9);
	assert_int_equal(r.copy->status->last_scale_time->seconds, NOW_S);
	h->spec->min_replicas = 3;
	r = begin(h);
	assert_false(scale(&r, 2, "a=b"));
	assert_int_equal(r.replicas, 3);
	hpa_round_rescaled(&r, "no");
	is_condition(&r, "AbleToScale", "False", "FailedUpdateScale");
	assert_true(said(&r, "FailedRescale", "error: no"));
	assert_null(r.copy->status->last_scale_time);
	r = begin(h);
	hpa_round_no_scale(&r, "it is gone");
	is_condition(&r, "AbleToScale", "False", "FailedGetScale");
	assert_string_equal(condition(&r, "AbleToScale")->message, "the HPA controller was unable to get the target's current scale: it is gone");
}

static const Core__Pod *labelled(const char *name, const char *value)
{
	Core__Pod *p = pb_new_of(&arena, core__pod, Core__Pod);
	Meta__ObjectMeta *meta = pb_sub(&arena, p, "metadata");

	meta->name = name;
	pb_sub(&arena, p, "spec");
	pb_map_set(&arena, meta, "labels", "app", value);
	return p;
}

static void test_round_selectors(void **state)
{
	static const struct hpa_rival others[] = {{"elsewhere", "app=other"}, {"b", "app in (x,y)"}};
	Autoscalingv2__HorizontalPodAutoscaler *h = hpa_new();
	const Core__Pod *all[] = {labelled("p", "x"), labelled("q", "other")}, *pods[2];
	struct hpa_round r = begin(h);

	(void)state;
	assert_false(scale(&r, 1, ""));
	is_condition(&r, "ScalingActive", "False", "InvalidSelector");
	assert_true(said(&r, "SelectorRequired", "selector is required"));
	r = begin(h);
	assert_false(scale(&r, 1, "=="));
	is_condition(&r, "ScalingActive", "False", "InvalidSelector");
	memcpy(pods, all, sizeof(pods));
	r = begin(h);
	r.pods = pods;
	r.n_pods = 2;
	r.rivals = others;
	r.n_rivals = 1;
	assert_true(scale(&r, 1, "app=x"));
	assert_int_equal(r.n_pods, 1);
	memcpy(pods, all, sizeof(pods));
	r = begin(h);
	r.pods = pods;
	r.n_pods = r.n_rivals = 2;
	r.rivals = others;
	assert_false(scale(&r, 1, "app=x"));
	is_condition(&r, "ScalingActive", "False", "AmbiguousSelector");
	assert_true(said(&r, "AmbiguousSelector", "pods by selector app=x are controlled by multiple HPAs: [n/b n/h]"));
}

#define QUEUE(n) {.text = STR_INIT("{\"items\":[{\"value\":\"" #n "\"}]}")}

static void test_round_metrics(void **state)
{
	static const struct hpa_learnt good[] = {QUEUE(25), QUEUE(45)}, one_bad[] = {{.err = {ERR_NOT_FOUND, "no such thing"}}, QUEUE(45)},
			one_less[] = {{.err = {ERR_NOT_FOUND, "no such thing"}}, QUEUE(5)},
			both_bad[] = {{.err = {ERR_NOT_FOUND, "no such thing"}}, {.text = STR_INIT("{}")}};
	Autoscalingv2__HorizontalPodAutoscaler *h = hpa_new();
	struct hpa_round r;
	static const char name[] = "external metric queue(&LabelSelector{MatchLabels:map[string]string{of: shop,},"
				   "MatchExpressions:[]LabelSelectorRequirement{},})";

	(void)state;
	add_external(h);
	add_external(h);
	/* The largest. */
	r = begin(h);
	assert_true(scale(&r, 2, "a=b"));
	hpa_round_decide(&r, good);
	assert_int_equal(r.replicas, 4); /* of 5, for it doubles at most */
	is_condition(&r, "ScalingLimited", "True", "ScaleUpLimit");
	is_condition(&r, "ScalingActive", "True", "ValidMetricFound");
	assert_string_equal(r.why, arena_printf(&arena, "%s above target", name));
	assert_int_equal(r.copy->status->n_current_metrics, 2);
	assert_string_equal(r.copy->status->current_metrics[1]->external->current->average_value->string, "22500m");
	assert_string_equal(json_cstr(json_newc(&arena, arena_cstr(&arena, hpa_round_wanted(&r)))),
			"{\"kind\":\"Scale\",\"metadata\":{\"name\":\"t\"},\"spec\":{\"replicas\":4},\"status\":{\"replicas\":2,\"selector\":\"a=b\"}}");
	/* One unknown: it still grows. */
	r = begin(h);
	assert_true(scale(&r, 2, "a=b"));
	hpa_round_decide(&r, one_bad);
	assert_true(r.rescale);
	is_condition(&r, "ScalingActive", "True", "ValidMetricFound");
	assert_true(said(&r, "FailedGetExternalMetric", "unable to get external metric n/queue/&LabelSelector{"));
	assert_string_equal(pb_s(r.copy->status->current_metrics[0]->type), "");
	/* But it does not shrink. */
	r = begin(h);
	assert_true(scale(&r, 2, "a=b"));
	hpa_round_decide(&r, one_less);
	assert_false(r.rescale);
	is_condition(&r, "ScalingActive", "False", "FailedGetExternalMetric");
	assert_true(said(&r, "FailedComputeMetricsReplicas", "invalid metrics (1 invalid out of 2), first error is: failed to get queue external "
							     "metric value: failed to get queue external metric: unable to get external"));
	r = begin(h);
	assert_true(scale(&r, 2, "a=b"));
	hpa_round_decide(&r, both_bad);
	assert_false(r.rescale);
	assert_non_null(strstr(condition(&r, "ScalingActive")->message,
			"unable to fetch metrics from external metrics API: no such thing"));
}

/* A condition's time is that of its last change of status. */
static void test_round_conditions(void **state)
{
	Autoscalingv2__HorizontalPodAutoscaler *h = hpa_new();
	struct hpa_round r = begin(h);

	(void)state;
	hpa_round_no_scale(&r, "x");
	assert_true(hpa_round_changed(&r));
	h = r.copy;
	r = begin(h);
	r.now_s = NOW_S + 60;
	hpa_round_no_scale(&r, "x");
	assert_false(hpa_round_changed(&r));
	hpa_round_no_scale(&r, "y");
	assert_true(hpa_round_changed(&r));
	assert_int_equal(condition(&r, "AbleToScale")->last_transition_time->seconds, NOW_S);
	r = begin(h);
	r.now_s = NOW_S + 60;
	assert_false(scale(&r, 0, ""));
	assert_int_equal(condition(&r, "AbleToScale")->last_transition_time->seconds, NOW_S + 60);
}

static int arena_start(void **state)
{
	(void)state;
	arena_init(&arena);
	return 0;
}

static int arena_stop(void **state)
{
	(void)state;
	hpa_history_fini(&history);
	arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_pods),
		cmocka_unit_test(test_counts_nothing),
		cmocka_unit_test(test_tolerance),
		cmocka_unit_test(test_counts_values),
		cmocka_unit_test(test_without_behavior),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_windows_both_ways),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_ceil),
		cmocka_unit_test(test_reads),
		cmocka_unit_test(test_round_bounds),
		cmocka_unit_test(test_round_selectors),
		cmocka_unit_test(test_round_metrics),
		cmocka_unit_test(test_round_conditions),
	};

	return cmocka_run_group_tests(tests, arena_start, arena_stop);
}

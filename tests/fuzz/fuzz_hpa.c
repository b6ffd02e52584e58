/* What metrics servers answer, and what autoscalers make of it: any bytes give an error or numbers within their limits. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/controllers/hpa_count.h"
#include "orchestrator/controllers/hpa_limits.h"
#include "orchestrator/controllers/hpa_metrics.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static const struct hpa_tolerance tolerance = {HPA_TOLERANCE, HPA_TOLERANCE};

static void check_limits(int32_t current, int32_t wanted)
{
	static const struct hpa_policy policies[] = {{false, 4, 15}, {true, 100, 15}};
	struct hpa_bounds b = {.min = 1, .max = 50, .has_behavior = true, .up = {.policies = policies, .n_policies = 2},
			.down = {.window_s = 300, .policies = policies, .n_policies = 2}};
	struct hpa_history h = {.begun = false};
	struct hpa_limited v = hpa_limit(&h, &b, current, wanted, 1000);

	ASSERT(v.replicas >= b.min && v.replicas <= b.max);
	hpa_scaled(&h, &b, current, v.replicas, 1000);
	hpa_limit(&h, &b, v.replicas, wanted, 2000);
	hpa_history_fini(&h);
	b.has_behavior = false;
	h = (struct hpa_history){.begun = false};
	v = hpa_limit(&h, &b, current, wanted, 1000);
	ASSERT(v.replicas >= b.min && v.replicas <= b.max);
	hpa_history_fini(&h);
}

static void count(const struct hpa_sample *samples, size_t n, bool percent)
{
	struct hpa_pod pods[] = {{.name = "a", .phase = HPA_OTHER, .running = true, .ready = HPA_READY, .ready_since_s = 100, .started_s = 50,
					 .request_milli = 100},
			{.name = "b", .phase = HPA_OTHER, .ready = HPA_NOT_READY, .started_s = 999990, .request_milli = 100},
			{.name = "c", .phase = HPA_OTHER, .ready = HPA_READY, .started_s = 50, .request_milli = 100}};
	struct hpa_pods_ask ask = {.cpu = percent, .percent = percent, .target = 50, .current = 3, .tolerance = tolerance, .pods = pods,
			.n_pods = ARRAY_LEN(pods), .samples = samples, .n_samples = n, .now_s = 1000000};
	struct hpa_answer answer;
	struct err e = ERR_INIT;

	if (hpa_count_pods(&ask, &answer, &e) == 0)
		check_limits(3, answer.replicas);
	else
		ASSERT(e.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str text = str_of(p, size);
	struct hpa_answer answer;
	struct hpa_sample *s;
	struct arena a;
	int64_t v;
	size_t n;

	arena_init(&a);
	if (hpa_read_resource(&a, text, "cpu", "", &s, &n, NULL) == 0)
		count(s, n, true);
	if (hpa_read_resource(&a, text, "memory", "x", &s, &n, NULL) == 0)
		count(s, n, false);
	if (hpa_read_pods(&a, text, &s, &n, NULL) == 0)
		count(s, n, false);
	if (hpa_read_object(&a, text, &v, NULL) == 0 && hpa_count_value(v, 1000, 3, tolerance, NULL, 0, &answer, NULL) == 0)
		check_limits(3, answer.replicas);
	if (hpa_read_external(&a, text, &v, NULL) == 0) {
		hpa_count_average(v, 1000, 3, tolerance, &answer);
		check_limits(3, answer.replicas);
	}
	arena_fini(&a);
	return 0;
}

/*
 * Disruption: what a budget allows, as a pure function and with a whole API server; who ends a pod says so at the pod, and a Job whose policy
 * looks at that goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/disruption.h"
#include "orchestrator/controllers/pods.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define PDBS "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
#define STRATEGIC "application/strategic-merge-patch+json"

/* --- Budgets: the pure part ------------------------------------------------------------------------------------------- */

static Policy__PodDisruptionBudget *budget(const char *min, const char *max)
{
	Policy__PodDisruptionBudget *b = pb_new_of(&rig_arena, policy__pod_disruption_budget, Policy__PodDisruptionBudget);
	Policy__PodDisruptionBudgetSpec *spec = pb_sub(&rig_arena, b, "spec");
	Meta__ObjectMeta *meta = pb_sub(&rig_arena, b, "metadata");
	const char *text = min ? min : max;
	Intstr__IntOrString *v = pb_sub(&rig_arena, spec, min ? "min_available" : "max_unavailable");

	meta->namespace_ = "default";
	meta->has_generation = true;
	meta->generation = 2;
	v->has_type = true;
	v->type = strchr(text, '%') != NULL;
	v->str_val = v->type ? text : NULL;
	v->has_int_val = !v->type;
	v->int_val = v->type ? 0 : text[0] - '0';
	return b;
}

/* 'r' ready, 'n' not, 't' ready and on its way out. Named by their places. */
static const struct informer_obj **pods_of(const char *states)
{
	static const char *const names[] = {"p0", "p1", "p2", "p3", "p4", "p5"};
	const struct informer_obj **v = arena_new_array(&rig_arena, const struct informer_obj *, strlen(states) + 1);

	for (size_t i = 0; states[i]; i++) {
		Core__Pod *p = pb_new_of(&rig_arena, core__pod, Core__Pod);
		Core__PodCondition *c = pb_add(&rig_arena, pb_sub(&rig_arena, p, "status"), "conditions");
		struct informer_obj *o = arena_new_of(&rig_arena, struct informer_obj);

		pb_sub(&rig_arena, p, "metadata");
		p->metadata->name = names[i];
		c->type = "Ready";
		c->status = states[i] == 'n' ? "False" : "True";
		if (states[i] == 't')
			pb_sub(&rig_arena, p->metadata, "deletion_timestamp");
		o->meta = p->metadata;
		o->msg = p;
		v[i] = o;
	}
	return v;
}

static struct disruption count(const Policy__PodDisruptionBudget *b, const char *states, int32_t expected, const char *error)
{
	struct disruption_scale scale = {.expected = expected, .error = error};

	return disruption_count(&rig_arena, b, pods_of(states), strlen(states), &scale, 1000);
}

static void test_count(void **state)
{
	static const struct {
		const char *min, *max, *pods;
		int32_t scale, expected, desired, healthy, allowed;
	} rows[] = {
		{"2", NULL, "rrr", 0, 3, 2, 3, 1},
		{"2", NULL, "rrn", 0, 3, 2, 2, 0},
		{"2", NULL, "rrrt", 0, 4, 2, 3, 1},
		{"0", NULL, "", 0, 0, 0, 0, 0},
		{"50%", NULL, "rrr", 5, 5, 3, 3, 0},
		{"50%", NULL, "rrrr", 5, 5, 3, 4, 1},
		{NULL, "1", "rrr", 3, 3, 2, 3, 1},
		/* Pods that are still to be made count as missing. */
		{NULL, "1", "rrr", 4, 4, 3, 3, 0},
		{NULL, "1", "rnr", 3, 3, 2, 2, 0},
		{NULL, "9", "rr", 2, 2, 0, 2, 2},
		{NULL, "30%", "rrrr", 4, 4, 2, 4, 2},
		{NULL, "1", "rr", 0, 0, 0, 2, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct disruption d = count(budget(rows[i].min, rows[i].max), rows[i].pods, rows[i].scale, NULL);

		assert_int_equal(d.status->expected_pods, rows[i].expected);
		assert_int_equal(d.status->desired_healthy, rows[i].desired);
		assert_int_equal(d.status->current_healthy, rows[i].healthy);
		assert_int_equal(d.status->disruptions_allowed, rows[i].allowed);
		assert_int_equal(d.status->observed_generation, 2);
		assert_string_equal(d.status->conditions[0]->status, rows[i].allowed ? "True" : "False");
		assert_string_equal(d.status->conditions[0]->reason, rows[i].allowed ? "SufficientPods" : "InsufficientPods");
		assert_int_equal(d.again_s, 0);
	}
}

static void note(Policy__PodDisruptionBudget *b, const char *pod, int64_t at)
{
	Policy__PodDisruptionBudgetStatus__DisruptedPodsEntry *e = pb_add(&rig_arena, pb_sub(&rig_arena, b, "status"), "disrupted_pods");

	e->key = pod;
	e->value = pb_new_of(&rig_arena, meta__time, Meta__Time);
	e->value->has_seconds = true;
	e->value->seconds = at;
}

/* Noted by an eviction that the pods do not show yet; two minutes later it counts again; on its way out it is confirmed. */
static void test_noted(void **state)
{
	Policy__PodDisruptionBudget *b = budget("1", NULL);
	struct disruption d;

	note(b, "p0", 950);
	note(b, "p1", 1000 - DISRUPTION_TIMEOUT_S);
	note(b, "p2", 990);
	note(b, "gone", 990);
	d = count(b, "rrtr", 0, NULL);
	assert_int_equal(d.status->current_healthy, 2);
	assert_int_equal(d.status->n_disrupted_pods, 1);
	assert_string_equal(d.status->disrupted_pods[0]->key, "p0");
	assert_int_equal(d.again_s, 70);
	assert_string_equal(d.late, "p1");
	assert_false(disruption_same(b, d.status));
	b->status = d.status;
	d = count(b, "rrtr", 0, NULL);
	assert_true(disruption_same(b, d.status));
	assert_null(d.late);
}

/* Whose pods belong to what has no scale allows nothing, and says so; what was counted stays. */
static void test_unknown_scale(void **state)
{
	Policy__PodDisruptionBudget *b = budget(NULL, "1");
	struct disruption d = count(b, "rrr", 3, NULL);

	b->status = d.status;
	d = count(b, "rrr", 0, "found no controllers for pod \"p0\"");
	assert_int_equal(d.status->disruptions_allowed, 0);
	assert_int_equal(d.status->current_healthy, 3);
	assert_int_equal(d.status->n_conditions, 1);
	assert_string_equal(d.status->conditions[0]->reason, "SyncFailed");
	assert_string_equal(d.status->conditions[0]->message, "found no controllers for pod \"p0\"");
	/* A number of pods that must be there needs no scale. */
	assert_int_equal(count(budget("2", NULL), "rrr", 0, "unknown").status->disruptions_allowed, 1);
}

static void test_stale(void **state)
{
	static const struct {
		const char *status, *reason, *phase;
		int64_t since, want;
	} rows[] = {
		{"True", "PreemptionByScheduler", "Running", 990, 110}, {"True", "PreemptionByScheduler", "Running", 880, 0},
		{"False", "PreemptionByScheduler", "Running", 880, -1}, {"True", "TerminationByKubelet", "Running", 0, -1},
		{"True", "DeletionByPodGC", "Failed", 0, -1},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		Core__Pod *p = (Core__Pod *)pods_of("r")[0]->msg;
		Core__PodCondition *c = pb_add(&rig_arena, p->status, "conditions");

		p->status->phase = rows[i].phase;
		c->type = "DisruptionTarget";
		c->status = rows[i].status;
		c->reason = rows[i].reason;
		c->last_transition_time = pb_new_of(&rig_arena, meta__time, Meta__Time);
		c->last_transition_time->has_seconds = true;
		c->last_transition_time->seconds = rows[i].since;
		assert_int_equal(disruption_stale_s(p, 1000), rows[i].want);
	}
}

/* --- In the world --------------------------------------------------------------------------------------------------------- */

static struct json *pdb(void)
{
	return get(PDBS "/web");
}

static bool allows_one(void)
{
	return num(pdb(), "status.disruptionsAllowed") == 1 && num(pdb(), "status.expectedPods") == 3 &&
	       json_len(json_getp(pdb(), "status.disruptedPods")) == 0;
}

static const char *name_of(const char *selector, size_t i)
{
	return str(json_at(json_getc(get(fmt(NS "/pods?labelSelector=%s", selector)), "items"), i), "metadata.name");
}

static struct json *evict(const char *name, int want)
{
	rig_type("application/json");
	return rig_call("POST", fmt(NS "/pods/%s/eviction", name),
			fmt("{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"%s\"}}", name), want);
}

static void deploy(const char *name, int n)
{
	post(APPS "/deployments",
			fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":\"%s\"}},"
			    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"one\"}]}}}}",
					name, n, name, name));
}

static void test_budget(void **state)
{
	const char *first, *second;

	world_renews = true;
	add_node("n1", "4");
	post(PDBS, "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"maxUnavailable\":1,\"selector\":{\"matchLabels\":{\"app\":\"web\"}}}}");
	deploy("web", 3);
	WAIT(allows_one);
	assert_string_equal(str(json_at(json_getp(pdb(), "status.conditions"), 0), "reason"), "SufficientPods");
	/* Nothing that takes its place can be ready before the kubelet is played, in WAIT: the next one is told to wait. */
	first = name_of("app=web", 0);
	second = name_of("app=web", 1);
	evict(first, 201);
	assert_int_equal(num(pdb(), "status.disruptionsAllowed"), 0);
	evict(second, 429);
	/* Replaced, and the note has gone. */
	WAIT(allows_one);
	evict(second, 201);
	WAIT(allows_one);
	rig_call("DELETE", PDBS "/web", NULL, 200);
}

static const char *kept;

static const struct json *target(void)
{
	JSON_ITEMS (c, json_getp(get(fmt(NS "/pods/%s", kept)), "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "DisruptionTarget"))
			return c;
	return NULL;
}

static bool is_target(void)
{
	struct json *pod = get(fmt(NS "/pods/%s", kept));

	return target() && json_getp(pod, "metadata.deletionTimestamp");
}

static bool kept_runs(void)
{
	return str(get(fmt(NS "/pods/%s", kept)), "status.phase")[0] == 'R';
}

static void lone_pod(const char *name, const char *node, const char *more)
{
	post(NS "/pods", fmt("{\"metadata\":{\"name\":\"%s\",\"finalizers\":[\"test/kept\"]},\"spec\":{\"nodeName\":\"%s\",%s\"containers\":"
			     "[{\"name\":\"c\",\"image\":\"one\"}]}}", name, node, more));
	kept = name;
	WAIT(kept_runs);
}

static void assert_target(const char *reason, const char *message)
{
	assert_string_equal(str(target(), "status"), "True");
	assert_string_equal(str(target(), "reason"), reason);
	assert_string_equal(str(target(), "message"), message);
	assert_int_equal(json_strp(target(), "lastTransitionTime").n, 20);
	assert_true(num(target(), "observedGeneration") >= 1);
}

static void let_go(void)
{
	merge(fmt(NS "/pods/%s", kept), "{\"metadata\":{\"finalizers\":null}}");
}

static void test_evicted(void **state)
{
	lone_pod("evicted", "n1", "");
	evict(kept, 201);
	assert_true(is_target());
	assert_target("EvictionByEvictionAPI", "Eviction API: evicting");
	let_go();
	/* One that is on its way out already says so as well. */
	lone_pod("going", "n1", "");
	rig_call("DELETE", NS "/pods/going", NULL, 200);
	assert_null(target());
	evict(kept, 201);
	assert_target("EvictionByEvictionAPI", "Eviction API: evicting");
	evict(kept, 201);
	let_go();
}

static bool is_there(void)
{
	return target() == NULL && !json_getp(get(fmt(NS "/pods/%s", kept)), "metadata.deletionTimestamp");
}

static bool taint_has_time(void)
{
	return str(json_at(json_getp(get("/api/v1/nodes/n1"), "spec.taints"), 0), "timeAdded")[0] != '\0';
}

static void test_tainted(void **state)
{
	lone_pod("patient", "n1", "\"tolerations\":[{\"key\":\"broken\",\"operator\":\"Exists\",\"effect\":\"NoExecute\",\"tolerationSeconds\":3600}],");
	lone_pod("tainted", "n1", "");
	/* As kubectl taint writes it: without a time. */
	merge("/api/v1/nodes/n1", "{\"spec\":{\"taints\":[{\"key\":\"broken\",\"value\":\"yes\",\"effect\":\"NoExecute\"}]}}");
	WAIT(is_target);
	assert_target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
	let_go();
	kept = "patient";
	WAIT(taint_has_time);
	assert_true(is_there());
	let_go();
	rig_call("DELETE", NS "/pods/patient", "{\"gracePeriodSeconds\":0}", 200);
	merge("/api/v1/nodes/n1", "{\"spec\":{\"taints\":null}}");
}

static void test_collected(void **state)
{
	add_node("n2", "4");
	lone_pod("orphan", "n2", "");
	rig_call("DELETE", "/api/v1/nodes/n2", NULL, 200);
	WAIT(is_target);
	assert_target("DeletionByPodGC", "PodGC: node no longer exists");
	assert_string_equal(str(get(NS "/pods/orphan"), "status.phase"), "Failed");
	let_go();
}

static bool stranded_has_failed(void)
{
	return strcmp(str(get(NS "/pods/stranded"), "status.phase"), "Failed") == 0;
}

/* Nobody there ends its pods any more, and its operator says so. */
static void test_out_of_service(void **state)
{
	add_node("n4", "4");
	lone_pod("stranded", "n4", "\"terminationGracePeriodSeconds\":3600,\"tolerations\":[{\"operator\":\"Exists\"}],");
	rig_call("DELETE", NS "/pods/stranded", NULL, 200);
	merge("/api/v1/nodes/n4/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}");
	assert_false(stranded_has_failed());
	merge("/api/v1/nodes/n4", "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"value\":\"nodeshutdown\",\"effect\":\"NoExecute\"}]}}");
	WAIT(stranded_has_failed);
	assert_null(target());
	let_go();
	rig_call("DELETE", "/api/v1/nodes/n4", NULL, 200);
}

static bool is_spared(void)
{
	return str(target(), "status")[0] == 'F';
}

/* Somebody meant to end it and never did. */
static void test_spared(void **state)
{
	lone_pod("spared", "n1", "");
	rig_type(STRATEGIC);
	rig_call("PATCH", NS "/pods/spared/status",
			"{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"PreemptionByScheduler\",\"message\":\"m\","
			"\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"}]}}", 200);
	WAIT(is_spared);
	assert_string_equal(str(target(), "reason"), "");
	let_go();
	rig_call("DELETE", NS "/pods/spared", "{\"gracePeriodSeconds\":0}", 200);
}

/* --- Preemption ------------------------------------------------------------------------------------------------------------------ */

static const char *nominated(const char *name)
{
	return str(get(fmt(NS "/pods/%s", name)), "status.nominatedNodeName");
}

static bool middle_waits(void)
{
	return strcmp(nominated("middle"), "n3") == 0;
}

static bool urgent_waits(void)
{
	return strcmp(nominated("urgent"), "n3") == 0 && nominated("middle")[0] == '\0' && is_target();
}

static bool urgent_runs(void)
{
	return str(get(NS "/pods/urgent"), "status.phase")[0] == 'R';
}

static void preemptor(const char *name, const char *policy)
{
	post(NS "/pods", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"priorityClassName\":\"%s\",\"nodeSelector\":{\"kubernetes.io/hostname\":\"n3\"},"
			     "\"containers\":[{\"name\":\"c\",\"image\":\"one\",\"resources\":{\"requests\":{\"cpu\":\"3\"}}}]}}", name, policy));
}

static void test_preempted(void **state)
{
	add_node("n3", "4");
	post("/apis/scheduling.k8s.io/v1/priorityclasses", "{\"metadata\":{\"name\":\"high\"},\"value\":1000}");
	post("/apis/scheduling.k8s.io/v1/priorityclasses", "{\"metadata\":{\"name\":\"middle\"},\"value\":500}");
	post(NS "/pods", "{\"metadata\":{\"name\":\"lazy\",\"finalizers\":[\"test/kept\"]},\"spec\":{\"nodeSelector\":{\"kubernetes.io/hostname\":\"n3\"},"
			 "\"containers\":[{\"name\":\"c\",\"image\":\"one\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}");
	kept = "lazy";
	WAIT(kept_runs);
	preemptor("middle", "middle");
	WAIT(middle_waits);
	/* What comes first takes the room that is being made for another. */
	preemptor("urgent", "high");
	WAIT(urgent_waits);
	assert_target("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod");
	let_go();
	WAIT(urgent_runs);
	assert_string_equal(str(get(NS "/pods/urgent"), "spec.nodeName"), "n3");
	assert_string_equal(nominated("urgent"), "");
	rig_call("DELETE", NS "/pods/middle", NULL, 200);
	rig_call("DELETE", NS "/pods/urgent", "{\"gracePeriodSeconds\":0}", 200);
}

/* --- Jobs ---------------------------------------------------------------------------------------------------------------------- */

static const char *job_name;

static struct json *the_job(void)
{
	return get(fmt(BATCH "/jobs/%s", job_name));
}

static bool job_runs(void)
{
	return num(the_job(), "status.ready") == 1;
}

static bool job_has_failed(void)
{
	JSON_ITEMS (c, json_getp(the_job(), "status.conditions"))
		if (json_eqc(json_getc(c, "type"), "Failed"))
			return json_eqc(json_getc(c, "status"), "True");
	return false;
}

static bool job_goes_on(void)
{
	assert_false(job_has_failed());
	return job_runs() && strcmp(name_of(fmt("job-name=%s", job_name), 0), kept) != 0;
}

/* A job that may not fail once, and whose pod is evicted, whereupon its kubelet says that it has failed. */
static void evict_job(const char *name, const char *more)
{
	job_name = name;
	post(BATCH "/jobs", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"backoffLimit\":0,%s\"template\":{\"spec\":{\"restartPolicy\":\"Never\","
				"\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}", name, more));
	WAIT(job_runs);
	kept = name_of(fmt("job-name=%s", name), 0);
	evict(kept, 201);
	rig_type(STRATEGIC);
	rig_call("PATCH", fmt(NS "/pods/%s/status", kept), "{\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}", 0);
}

static void test_jobs(void **state)
{
	evict_job("careful", "\"podFailurePolicy\":{\"rules\":[{\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}]},");
	WAIT(job_goes_on);
	assert_int_equal(num(the_job(), "status.failed"), 0);
	evict_job("careless", "");
	WAIT(job_has_failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_noted),
		cmocka_unit_test(test_unknown_scale),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_evicted),
		cmocka_unit_test(test_tainted),
		cmocka_unit_test(test_collected),
		cmocka_unit_test(test_out_of_service),
		cmocka_unit_test(test_spared),
		cmocka_unit_test(test_preempted),
		cmocka_unit_test(test_jobs),
	};
	return cmocka_run_group_tests_name("disruption", tests, world_start, world_stop);
}

/* What Jobs say of failures and successes, against a whole API server; the test ends their pods by index (world.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/util.h"
#include "orchestrator/controllers/job-priv.h"
#include "proto/pb.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define INDEXED "\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":3,"

static const char *subject;
static const char *codes[3]; /* by index, how its pods end; NULL: they run */

static void job(const char *name, const char *exit_code, const char *more)
{
	post(BATCH "/jobs", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"template\":{\"metadata\":{\"annotations\":{\"test/exit\":\"%s\"}},"
				"\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}", name, more, exit_code));
	subject = name;
	memset(codes, 0, sizeof(codes));
}

static struct json *subject_job(void)
{
	return get(fmt(BATCH "/jobs/%s", subject));
}

static struct json *job_pods(void)
{
	return json_getc(get(fmt(NS "/pods?labelSelector=job-name=%s", subject)), "items");
}

static const struct json *condition(const char *type)
{
	JSON_ITEMS (c, json_getp(subject_job(), "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type) && json_eqc(json_getc(c, "status"), "True"))
			return c;
	return NULL;
}

static const char *label(const struct json *pod, const char *where, const char *key)
{
	return arena_cstr(&rig_arena, json_str(json_getc(json_getp(pod, where), key)));
}

static int index_of(const struct json *pod)
{
	const char *text = label(pod, "metadata.labels", JOB_INDEX);

	return text[0] >= '0' && text[0] <= '2' && text[1] == '\0' ? text[0] - '0' : -1;
}

static void end_pods(void)
{
	JSON_ITEMS (p, job_pods()) {
		int i = index_of(p);

		if (i >= 0 && codes[i] && label(p, "metadata.annotations", "test/exit")[0] == '\0')
			merge(fmt(NS "/pods/%s", str(p, "metadata.name")), fmt("{\"metadata\":{\"annotations\":{\"test/exit\":\"%s\"}}}", codes[i]));
	}
}

static size_t pods_of_index(int index)
{
	size_t n = 0;

	JSON_ITEMS (p, job_pods())
		n += index_of(p) == index;
	return n;
}

static bool has_failed(void)
{
	end_pods();
	assert_null(condition("Complete"));
	return condition("Failed") != NULL;
}

static bool has_completed(void)
{
	end_pods();
	assert_null(condition("Failed"));
	return condition("Complete") != NULL;
}

static bool three_run(void)
{
	return num(subject_job(), "status.ready") == 3;
}

static bool is_replaced(void)
{
	assert_null(condition("Failed"));
	return json_len(job_pods()) >= 3;
}

static void assert_ended(const char *type, const char *target, const char *reason)
{
	assert_string_equal(str(condition(type), "reason"), reason);
	assert_string_equal(str(condition(target), "reason"), reason);
	JSON_ITEMS (p, job_pods())
		assert_int_equal(json_len(json_getp(p, "metadata.finalizers")), 0);
}

/* --- podFailurePolicy ------------------------------------------------------------------------------------------------- */

static enum job_action act(const char *action, const char *container, const char *op, int32_t value, const char *type)
{
	Batch__JobSpec *spec = pb_new_of(&rig_arena, batch__job_spec, Batch__JobSpec);
	Batch__PodFailurePolicyRule *rule = pb_add(&rig_arena, pb_sub(&rig_arena, spec, "pod_failure_policy"), "rules");
	Core__Pod *pod = pb_new_of(&rig_arena, core__pod, Core__Pod);
	Core__PodStatus *st = pb_sub(&rig_arena, pod, "status");
	static const char *const names[] = {"good", "bad"};
	const char *message;

	pb_sub(&rig_arena, pod, "metadata");
	rule->action = action;
	if (op) {
		Batch__PodFailurePolicyOnExitCodesRequirement *q = pb_sub(&rig_arena, rule, "on_exit_codes");

		q->container_name = container;
		q->operator_ = op;
		q->n_values = 1;
		q->values = arena_memdup(&rig_arena, &value, sizeof(value));
	} else {
		Batch__PodFailurePolicyOnPodConditionsPattern *q = pb_add(&rig_arena, rule, "on_pod_conditions");

		q->type = type;
		q->status = "True";
	}
	for (int i = 0; i < 2; i++) {
		Core__ContainerStatus *c = pb_add(&rig_arena, st, "container_statuses");
		Core__ContainerStateTerminated *t = pb_sub(&rig_arena, pb_sub(&rig_arena, c, "state"), "terminated");

		c->name = names[i];
		t->has_exit_code = true;
		t->exit_code = i ? 7 : 0;
	}
	Core__PodCondition *c = pb_add(&rig_arena, st, "conditions");
	c->type = "DisruptionTarget";
	c->status = "True";
	return job_pod_action(&rig_arena, spec, pod, &message);
}

static void test_matches(void **state)
{
	static const struct {
		const char *action, *container, *op;
		int32_t value;
		const char *type;
		enum job_action want;
	} rows[] = {
		{"FailJob", NULL, "In", 7, NULL, JOB_FAIL_JOB},
		{"FailIndex", NULL, "In", 7, NULL, JOB_FAIL_INDEX},
		{"Ignore", "bad", "In", 7, NULL, JOB_IGNORE},
		{"Ignore", "good", "In", 7, NULL, JOB_COUNT},
		{"FailJob", NULL, "In", 8, NULL, JOB_COUNT},
		{"FailJob", NULL, "NotIn", 8, NULL, JOB_FAIL_JOB},
		{"FailJob", NULL, "NotIn", 7, NULL, JOB_COUNT},
		/* Containers that ended well are not asked. */
		{"FailJob", "good", "NotIn", 7, NULL, JOB_COUNT},
		{"Ignore", NULL, NULL, 0, "DisruptionTarget", JOB_IGNORE},
		{"Ignore", NULL, NULL, 0, "Ready", JOB_COUNT},
		{"Unheard", NULL, "In", 7, NULL, JOB_COUNT},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(act(rows[i].action, rows[i].container, rows[i].op, rows[i].value, rows[i].type), rows[i].want);
}

static void test_fail_job(void **state)
{
	add_node("n1", "4");
	job("fatal", "3", "\"podFailurePolicy\":{\"rules\":[{\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[3]}}]},");
	WAIT(has_failed);
	assert_ended("Failed", "FailureTarget", "PodFailurePolicy");
	assert_string_equal(str(condition("Failed"), "message"),
			fmt("Container c for pod default/%s failed with exit code 3 matching FailJob rule at index 0",
					str(json_at(job_pods(), 0), "metadata.name")));
	assert_int_equal(json_len(job_pods()), 1);
	assert_int_equal(num(subject_job(), "status.failed"), 1);
}

/* Failures that are ignored do not count, and their pods are replaced. */
static void test_ignore(void **state)
{
	job("ignores", "3", "\"backoffLimit\":0,\"podFailurePolicy\":{\"rules\":[{\"action\":\"Ignore\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[3]}}]},");
	WAIT(is_replaced);
	assert_int_equal(num(subject_job(), "status.failed"), 0);
	rig_call("DELETE", BATCH "/jobs/ignores", "{\"propagationPolicy\":\"Background\"}", 200);
}

/* --- Indexes ------------------------------------------------------------------------------------------------------------ */

static void test_per_index(void **state)
{
	bool zero = false, one = false;

	job("each", "", INDEXED "\"backoffLimitPerIndex\":1,");
	WAIT(three_run);
	const char *rv = str(subject_job(), "metadata.resourceVersion");
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, 20);
	assert_string_equal(str(subject_job(), "metadata.resourceVersion"), rv);
	codes[0] = codes[2] = "0";
	codes[1] = "1";
	WAIT(has_failed);
	assert_ended("Failed", "FailureTarget", "FailedIndexes");
	assert_string_equal(str(subject_job(), "status.completedIndexes"), "0,2");
	assert_string_equal(str(subject_job(), "status.failedIndexes"), "1");
	assert_int_equal(num(subject_job(), "status.failed"), 2);
	assert_int_equal(num(subject_job(), "status.succeeded"), 2);
	/* The second pod of the index knows of the first. */
	assert_int_equal(pods_of_index(1), 2);
	JSON_ITEMS (p, job_pods()) {
		const char *n = label(p, "metadata.annotations", "batch.kubernetes.io/job-index-failure-count");

		assert_true(n[0] == '0' || (n[0] == '1' && index_of(p) == 1));
		zero |= index_of(p) == 1 && n[0] == '0';
		one |= n[0] == '1';
	}
	assert_true(zero && one);
}

static void test_max_failed_indexes(void **state)
{
	job("most", "", INDEXED "\"backoffLimitPerIndex\":0,\"maxFailedIndexes\":1,");
	codes[0] = codes[1] = "1";
	WAIT(has_failed);
	assert_ended("Failed", "FailureTarget", "MaxFailedIndexesExceeded");
	assert_string_equal(str(subject_job(), "status.failedIndexes"), "0,1");
}

static void test_fail_index(void **state)
{
	job("hopeless", "", INDEXED "\"backoffLimitPerIndex\":5,\"podFailurePolicy\":{\"rules\":[{\"action\":\"FailIndex\",\"onExitCodes\":{"
			    "\"operator\":\"In\",\"values\":[9]}}]},");
	codes[0] = codes[1] = "0";
	codes[2] = "9";
	WAIT(has_failed);
	assert_ended("Failed", "FailureTarget", "FailedIndexes");
	assert_int_equal(pods_of_index(2), 1);
}

/* Enough is enough: the pods that still run are neither successes nor failures. */
static void test_success_policy(void **state)
{
	job("leader", "", INDEXED "\"podReplacementPolicy\":\"Failed\",\"successPolicy\":{\"rules\":[{\"succeededIndexes\":\"2\"},"
			  "{\"succeededIndexes\":\"0-1\",\"succeededCount\":1}]},");
	WAIT(three_run);
	codes[1] = "0";
	WAIT(has_completed);
	assert_ended("Complete", "SuccessCriteriaMet", "SuccessPolicy");
	assert_string_equal(str(condition("Complete"), "message"), "Matched rules at index 1");
	assert_string_equal(str(subject_job(), "status.completedIndexes"), "1");
	assert_int_equal(num(subject_job(), "status.failed"), 0);
}

static void test_common(void **state)
{
	static const struct {
		const char *a, *b;
		int32_t n;
	} rows[] = {{"", "1", 0}, {"1-3", "2-9", 2}, {"1,3,5-7", "0-9", 5}, {"0-1,4-5", "1-4", 2}, {"1-3", "4-6", 0}, {"0-9", "0-9", 10}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct index_set a, b;

		index_set_parse(&a, &rig_arena, str_from(rows[i].a), 20);
		index_set_parse(&b, &rig_arena, str_from(rows[i].b), 20);
		assert_int_equal(index_set_common(&a, &b), rows[i].n);
		assert_int_equal(index_set_common(&b, &a), rows[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_fail_job),
		cmocka_unit_test(test_ignore),
		cmocka_unit_test(test_per_index),
		cmocka_unit_test(test_max_failed_indexes),
		cmocka_unit_test(test_fail_index),
		cmocka_unit_test(test_success_policy),
	};
	return cmocka_run_group_tests_name("jobs", tests, world_start, world_stop);
}

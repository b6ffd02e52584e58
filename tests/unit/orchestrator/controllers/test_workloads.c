/* Jobs and the other workloads against a whole API server, with kubelets that the test plays (world.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/util.h"
#include "orchestrator/controllers/job_index.h"
#include "tests/unit/orchestrator/controllers/world.h"

static const char *subject;

/* --- Jobs ------------------------------------------------------------------------------------------------------------ */

static void job(const char *name, const char *exit_code, const char *more)
{
	post(BATCH "/jobs", fmt("{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"template\":{\"metadata\":{\"annotations\":{\"test/exit\":\"%s\"}},"
				"\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}", name, more, exit_code));
	subject = name;
}

static struct json *subject_job(void)
{
	return get(fmt(BATCH "/jobs/%s", subject));
}

static bool job_has(const char *type, const char *reason)
{
	JSON_ITEMS (c, json_getp(subject_job(), "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type) && json_eqc(json_getc(c, "status"), "True"))
			return reason == NULL || json_eqc(json_getc(c, "reason"), reason);
	return false;
}

static bool job_is_complete(void)
{
	assert_false(job_has("Failed", NULL));
	return job_has("Complete", "CompletionsReached");
}

static bool job_failed(void)
{
	assert_false(job_has("Complete", NULL));
	return job_has("Failed", NULL);
}

static struct json *job_pods(void)
{
	return json_getc(get(fmt(NS "/pods?labelSelector=job-name=%s", subject)), "items");
}

static void assert_no_finalizers(void)
{
	JSON_ITEMS (p, job_pods())
		assert_int_equal(json_len(json_getp(p, "metadata.finalizers")), 0);
}

static void test_job(void **state)
{
	struct json *j;

	add_node("n1", "4");
	add_node("n2", "4");
	add_node("n3", "4");
	job("three", "0", "\"completions\":3,\"parallelism\":2,");
	WAIT(job_is_complete);
	j = subject_job();
	assert_int_equal(num(j, "status.succeeded"), 3);
	assert_int_equal(num(j, "status.failed"), 0);
	assert_int_equal(num(j, "status.active"), 0);
	assert_true(str(j, "status.startTime")[0] && str(j, "status.completionTime")[0]);
	assert_true(job_has("SuccessCriteriaMet", "CompletionsReached"));
	assert_int_equal(json_len(job_pods()), 3);
	assert_no_finalizers();
}

static void test_job_failure(void **state)
{
	job("fails", "1", "\"backoffLimit\":1,");
	WAIT(job_failed);
	assert_true(job_has("FailureTarget", "BackoffLimitExceeded"));
	assert_true(job_has("Failed", "BackoffLimitExceeded"));
	assert_int_equal(num(subject_job(), "status.failed"), 2);
	assert_int_equal(json_len(job_pods()), 2);
	assert_no_finalizers();
}

static void test_job_indexed(void **state)
{
	bool seen[3] = {false};

	job("indexed", "0", "\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":2,");
	WAIT(job_is_complete);
	assert_string_equal(str(subject_job(), "status.completedIndexes"), "0-2");
	assert_int_equal(num(subject_job(), "status.succeeded"), 3);
	JSON_ITEMS (p, job_pods()) {
		const char *index = arena_cstr(&rig_arena, json_str(json_getc(json_getp(p, "metadata.labels"), "batch.kubernetes.io/job-completion-index")));

		assert_true(strlen(index) == 1 && index[0] >= '0' && index[0] <= '2' && !seen[index[0] - '0']);
		seen[index[0] - '0'] = true;
		assert_string_equal(str(p, "spec.hostname"), fmt("indexed-%s", index));
		assert_string_equal(str(json_at(json_getc(json_at(json_getp(p, "spec.containers"), 0), "env"), 0), "name"), "JOB_COMPLETION_INDEX");
	}
	assert_true(seen[0] && seen[1] && seen[2]);
}

static bool is_suspended(void)
{
	return job_has("Suspended", "JobSuspended");
}

static bool two_run(void)
{
	return num(subject_job(), "status.ready") == 2;
}

static bool none_left(void)
{
	return json_len(job_pods()) == 0 && num(subject_job(), "status.terminating") == 0;
}

static void test_job_suspend(void **state)
{
	job("sleeps", "", "\"completions\":2,\"parallelism\":2,\"suspend\":true,");
	WAIT(is_suspended);
	assert_int_equal(json_len(job_pods()), 0);
	assert_string_equal(str(subject_job(), "status.startTime"), "");
	merge(BATCH "/jobs/sleeps", "{\"spec\":{\"suspend\":false}}");
	WAIT(two_run);
	assert_false(is_suspended());
	merge(BATCH "/jobs/sleeps", "{\"spec\":{\"suspend\":true}}");
	WAIT(none_left);
	/* Pods that were taken back are no failures. */
	assert_int_equal(num(subject_job(), "status.failed"), 0);
	/* A job that goes away while its pods run leaves none that waits to be counted. */
	merge(BATCH "/jobs/sleeps", "{\"spec\":{\"suspend\":false}}");
	WAIT(two_run);
	rig_call("DELETE", BATCH "/jobs/sleeps", "{\"propagationPolicy\":\"Background\"}", 200);
}

static bool subject_is_gone(void)
{
	JSON_ITEMS (j, json_getc(get(BATCH "/jobs"), "items"))
		if (strcmp(str(j, "metadata.name"), subject) == 0)
			return false;
	return json_len(job_pods()) == 0;
}

static void test_job_goes(void **state)
{
	WAIT(subject_is_gone);
	job("brief", "0", "\"ttlSecondsAfterFinished\":0,");
	WAIT(subject_is_gone);
}

static void test_job_limits(void **state)
{
	job("late", "", "\"activeDeadlineSeconds\":1,");
	WAIT(job_failed);
	assert_true(job_has("Failed", "DeadlineExceeded"));
	assert_int_equal(num(subject_job(), "status.active"), 0);
	job("policy", "0", "\"podFailurePolicy\":{\"rules\":[{\"action\":\"FailJob\",\"onExitCodes\":{\"operator\":\"In\",\"values\":[3]}}]},");
	WAIT(job_failed);
	assert_true(job_has("Failed", "UnsupportedField"));
	assert_int_equal(json_len(job_pods()), 0);
}

static const char *indexes(const char *text, int add, int limit)
{
	struct index_set s;

	index_set_parse(&s, &rig_arena, str_from(text), limit);
	if (add >= 0)
		index_set_add(&s, add);
	return fmt("%s (%d, %d)", index_set_text(&s), index_set_count(&s), index_set_next_free(&s, 0));
}

static void test_index_sets(void **state)
{
	assert_string_equal(indexes("", -1, 9), " (0, 0)");
	assert_string_equal(indexes("", 3, 9), "3 (1, 0)");
	assert_string_equal(indexes("0-2,4", 3, 9), "0-4 (5, 5)");
	assert_string_equal(indexes("0,2", 3, 9), "0,2,3 (3, 1)");
	assert_string_equal(indexes("2,5-7", 1, 9), "1,2,5-7 (5, 0)");
	assert_string_equal(indexes("0,1,2,5,6", 7, 9), "0-2,5-7 (6, 3)");
	assert_string_equal(indexes("2,5-7", 6, 9), "2,5-7 (4, 0)");
	assert_string_equal(indexes("0,5-70", -1, 9), "0,5-8 (5, 1)");
	assert_string_equal(indexes("x,3-1,-4,2", -1, 9), "2 (1, 0)");
	assert_string_equal(indexes("99999999999", -1, 9), " (0, 0)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job),
		cmocka_unit_test(test_job_failure),
		cmocka_unit_test(test_job_indexed),
		cmocka_unit_test(test_job_suspend),
		cmocka_unit_test(test_job_goes),
		cmocka_unit_test(test_job_limits),
		cmocka_unit_test(test_index_sets),
	};
	return cmocka_run_group_tests_name("workloads", tests, world_start, world_stop);
}

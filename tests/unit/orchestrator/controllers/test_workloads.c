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
#include "proto/cron.h"
#include "tests/unit/orchestrator/controllers/world.h"

static const char *subject;

/* Nothing goes on changing when nothing happens. */
static void assert_quiet(const char *path)
{
	const char *rv = str(get(path), "metadata.resourceVersion");

	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, 20);
	assert_string_equal(str(get(path), "metadata.resourceVersion"), rv);
}

/* --- Replication controllers ----------------------------------------------------------------------------------------- */

static struct json *old_controller(void)
{
	return get(NS "/replicationcontrollers/old");
}

static int64_t old_wants;

static bool old_is_complete(void)
{
	struct json *rc = old_controller();

	return num(rc, "status.observedGeneration") == num(rc, "metadata.generation") && num(rc, "status.replicas") == old_wants &&
	       num(rc, "status.readyReplicas") == old_wants && num(rc, "status.availableReplicas") == old_wants &&
	       count_pods("app=old", is_ready) == (size_t)old_wants;
}

static const char *condition_message(const struct json *o, const char *type)
{
	JSON_ITEMS (c, json_getp(o, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type) && json_eqc(json_getc(c, "status"), "True"))
			return str(c, "message");
	return "";
}

static bool old_is_refused(void)
{
	return strstr(condition_message(old_controller(), "ReplicaFailure"), "exceeded quota") != NULL;
}

static bool old_is_allowed(void)
{
	return condition_message(old_controller(), "ReplicaFailure")[0] == '\0' && old_is_complete();
}

static bool quota_counts(void)
{
	return strcmp(str(get(NS "/resourcequotas/few"), "status.used.pods"), "1") == 0;
}

static bool old_is_gone(void)
{
	return count_pods("app=old", NULL) == 0;
}

static void test_replication_controller(void **state)
{
	struct json *lonely;

	add_node("n1", "4");
	add_node("n2", "4");
	add_node("n3", "4");
	post(NS "/pods", "{\"metadata\":{\"name\":\"lonely\",\"labels\":{\"app\":\"old\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
	post(NS "/replicationcontrollers", "{\"metadata\":{\"name\":\"old\"},\"spec\":{\"replicas\":2,\"template\":{\"metadata\":{\"labels\":{"
					   "\"app\":\"old\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}");
	old_wants = 2;
	WAIT(old_is_complete);
	/* A pod that fits is taken in, and one more is made. */
	lonely = get(NS "/pods/lonely");
	assert_string_equal(str(json_at(json_getp(lonely, "metadata.ownerReferences"), 0), "kind"), "ReplicationController");
	assert_string_equal(str(json_at(json_getp(lonely, "metadata.ownerReferences"), 0), "apiVersion"), "v1");
	merge(NS "/replicationcontrollers/old/scale", "{\"spec\":{\"replicas\":3}}");
	old_wants = 3;
	WAIT(old_is_complete);
	assert_int_equal(num(old_controller(), "status.fullyLabeledReplicas"), 3);
	/* One that fits no longer is let go, and replaced. */
	merge(NS "/pods/lonely", "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
	WAIT(old_is_complete);
	assert_int_equal(json_len(json_getp(get(NS "/pods/lonely"), "metadata.ownerReferences")), 0);
	rig_call("DELETE", NS "/pods/lonely", NULL, 200);
	assert_quiet(NS "/replicationcontrollers/old");
	merge(NS "/replicationcontrollers/old/scale", "{\"spec\":{\"replicas\":1}}");
	old_wants = 1;
	WAIT(old_is_complete);
}

/* What the API refuses is a condition, and an event, until it is allowed. */
static void test_replica_failure(void **state)
{
	post(NS "/resourcequotas", "{\"metadata\":{\"name\":\"few\"},\"spec\":{\"hard\":{\"pods\":\"1\"}}}");
	WAIT(quota_counts);
	merge(NS "/replicationcontrollers/old/scale", "{\"spec\":{\"replicas\":2}}");
	old_wants = 2;
	WAIT(old_is_refused);
	assert_int_equal(num(old_controller(), "status.replicas"), 1);
	merge(NS "/resourcequotas/few", "{\"spec\":{\"hard\":{\"pods\":\"5\"}}}");
	WAIT(old_is_allowed);
	rig_call("DELETE", NS "/resourcequotas/few", NULL, 200);
	rig_call("DELETE", NS "/replicationcontrollers/old", NULL, 200);
	WAIT(old_is_gone);
}

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
	const struct json *all = json_getp(subject_job(), "status.conditions");

	JSON_ITEMS (c, all)
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
	assert_quiet(BATCH "/jobs/sleeps");
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
	const struct json *all = json_getc(get(BATCH "/jobs"), "items");

	JSON_ITEMS (j, all)
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

/* --- DaemonSets ------------------------------------------------------------------------------------------------------ */

static struct json *daemon_status(void)
{
	return get(APPS "/daemonsets/agent");
}

static bool daemons_are_complete(void)
{
	struct json *d = daemon_status();

	return num(d, "status.observedGeneration") == num(d, "metadata.generation") && num(d, "status.desiredNumberScheduled") == 3 &&
	       num(d, "status.updatedNumberScheduled") == 3 && num(d, "status.numberAvailable") == 3 && count_pods("app=agent", NULL) == 3;
}

static void assert_one_on_each(void)
{
	char nodes[64] = "";

	const struct json *all = json_getc(get(NS "/pods?labelSelector=app=agent"), "items");

	JSON_ITEMS (p, all) {
		if (json_getp(p, "metadata.deletionTimestamp"))
			continue;
		assert_null(strstr(nodes, str(p, "spec.nodeName")));
		strcat(nodes, str(p, "spec.nodeName"));
	}
}

static void test_daemonset(void **state)
{
	merge("/api/v1/nodes/n2", "{\"spec\":{\"unschedulable\":true}}");
	post(APPS "/daemonsets", "{\"metadata\":{\"name\":\"agent\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"agent\"}},\"template\":{"
				 "\"metadata\":{\"labels\":{\"app\":\"agent\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"one\"}]}}}}");
	/* Cordoned nodes have daemons, too. */
	WAIT(daemons_are_complete);
	assert_one_on_each();
	assert_quiet(APPS "/daemonsets/agent");
	assert_int_equal(json_len(json_getc(get(APPS "/controllerrevisions"), "items")), 1);
	merge("/api/v1/nodes/n2", "{\"spec\":{\"unschedulable\":false}}");
}

static const char *wanted_image;

/* With maxUnavailable 1 two daemons are there at any time. */
static bool daemons_rolled(void)
{
	size_t n_new = 0, n = count_pods("app=agent", is_ready);

	assert_true(n >= 2);
	const struct json *all = json_getc(get(NS "/pods?labelSelector=app=agent"), "items");

	JSON_ITEMS (p, all)
		n_new += strcmp(str(json_at(json_getp(p, "spec.containers"), 0), "image"), wanted_image) == 0;
	return n_new == 3 && daemons_are_complete();
}

static void test_daemonset_rolls(void **state)
{
	struct json *first = json_at(json_getc(get(APPS "/controllerrevisions"), "items"), 0);

	wanted_image = "two";
	merge(APPS "/daemonsets/agent", "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"two\"}]}}}}");
	WAIT(daemons_rolled);
	assert_one_on_each();
	assert_int_equal(json_len(json_getc(get(APPS "/controllerrevisions"), "items")), 2);
	/* Undo, as kubectl does it: the first revision's data is a patch. It becomes the newest revision again. */
	wanted_image = "one";
	rig_type("application/strategic-merge-patch+json");
	rig_call("PATCH", APPS "/daemonsets/agent", arena_cstr(&rig_arena, json_text(&rig_arena, json_getc(first, "data"))), 200);
	WAIT(daemons_rolled);
	assert_int_equal(json_len(json_getc(get(APPS "/controllerrevisions"), "items")), 2);
	assert_int_equal(num(get(fmt(APPS "/controllerrevisions/%s", str(first, "metadata.name"))), "revision"), 3);
}

/* With maxSurge 1 none is ever missing. */
static bool daemons_surged(void)
{
	assert_true(count_pods("app=agent", is_ready) >= 3);
	return daemons_rolled();
}

static bool daemons_left_n3(void)
{
	const struct json *all = json_getc(get(NS "/pods?labelSelector=app=agent"), "items");

	JSON_ITEMS (p, all)
		if (strcmp(str(p, "spec.nodeName"), "n3") == 0)
			return false;
	return num(daemon_status(), "status.desiredNumberScheduled") == 2;
}

static bool daemons_are_gone(void)
{
	return json_len(json_getc(get(NS "/pods?labelSelector=app=agent"), "items")) == 0 && json_len(json_getc(get(APPS "/controllerrevisions"), "items")) == 0;
}

static void test_daemonset_surge_and_taints(void **state)
{
	wanted_image = "three";
	merge(APPS "/daemonsets/agent", "{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"maxUnavailable\":0,\"maxSurge\":1}},"
					"\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"three\"}]}}}}");
	WAIT(daemons_surged);
	assert_one_on_each();
	merge("/api/v1/nodes/n3", "{\"spec\":{\"taints\":[{\"key\":\"mine\",\"effect\":\"NoExecute\"}]}}");
	WAIT(daemons_left_n3);
	merge("/api/v1/nodes/n3", "{\"spec\":{\"taints\":null}}");
	WAIT(daemons_are_complete);
	rig_call("DELETE", APPS "/daemonsets/agent", "{\"propagationPolicy\":\"Foreground\"}", 200);
	WAIT(daemons_are_gone);
}

/* --- StatefulSets ---------------------------------------------------------------------------------------------------- */

static struct json *stateful(void)
{
	return get(APPS "/statefulsets/db");
}

static struct json *pod_named(const char *name)
{
	const struct json *all = json_getc(get(NS "/pods?labelSelector=app=db"), "items");

	JSON_ITEMS (p, all)
		if (strcmp(str(p, "metadata.name"), name) == 0)
			return p;
	return NULL;
}

static const char *image_of(const char *name)
{
	return str(json_at(json_getp(pod_named(name), "spec.containers"), 0), "image");
}

/* In order: none is there before the one below it is ready. */
static bool db_is_complete(void)
{
	struct json *s = stateful();

	return num(s, "status.observedGeneration") == num(s, "metadata.generation") && num(s, "status.availableReplicas") == num(s, "spec.replicas") &&
	       num(s, "status.replicas") == num(s, "spec.replicas") && strcmp(str(s, "status.currentRevision"), str(s, "status.updateRevision")) == 0;
}

static bool db_comes_in_order(void)
{
	if (pod_named("db-1"))
		assert_true(is_ready(pod_named("db-0")));
	if (pod_named("db-2"))
		assert_true(is_ready(pod_named("db-1")));
	return db_is_complete();
}

static void test_statefulset(void **state)
{
	struct json *claim;

	post(APPS "/statefulsets", "{\"metadata\":{\"name\":\"db\"},\"spec\":{\"replicas\":3,\"serviceName\":\"db\",\"selector\":{\"matchLabels\":{\"app\":\"db\"}},"
				   "\"persistentVolumeClaimRetentionPolicy\":{\"whenDeleted\":\"Delete\",\"whenScaled\":\"Retain\"},"
				   "\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}],"
				   "\"template\":{\"metadata\":{\"labels\":{\"app\":\"db\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"one\"}]}}}}");
	WAIT(db_comes_in_order);
	assert_string_equal(str(pod_named("db-1"), "spec.hostname"), "db-1");
	assert_string_equal(str(pod_named("db-1"), "spec.subdomain"), "db");
	claim = get(NS "/persistentvolumeclaims/data-db-1");
	assert_string_equal(str(json_at(json_getp(claim, "metadata.ownerReferences"), 0), "kind"), "StatefulSet");
	assert_quiet(APPS "/statefulsets/db");
	/* A name comes back. */
	rig_call("DELETE", NS "/pods/db-1", NULL, 200);
	WAIT(db_is_complete);
	assert_non_null(pod_named("db-1"));
}

static bool top_is_new(void)
{
	/* At most one is missing. */
	assert_true(count_pods("app=db", is_ready) >= 2);
	return strcmp(image_of("db-2"), "two") == 0 && count_pods("app=db", is_ready) == 3 && num(stateful(), "status.updatedReplicas") == 1;
}

static bool all_are_new(void)
{
	assert_true(count_pods("app=db", is_ready) >= 2);
	/* From the top. */
	if (strcmp(image_of("db-0"), "two") == 0)
		assert_string_equal(image_of("db-1"), "two");
	return db_is_complete() && strcmp(image_of("db-0"), "two") == 0;
}

static bool zero_is_back(void)
{
	return pod_named("db-0") && is_ready(pod_named("db-0")) && count_pods("app=db", is_ready) == 3;
}

static void test_statefulset_rolls(void **state)
{
	merge(APPS "/statefulsets/db", "{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":2}},\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"two\"}]}}}}");
	WAIT(top_is_new);
	/* Below the partition a pod comes back as it was. */
	rig_call("DELETE", NS "/pods/db-0", NULL, 200);
	WAIT(zero_is_back);
	assert_string_equal(image_of("db-0"), "one");
	assert_string_equal(image_of("db-1"), "one");
	merge(APPS "/statefulsets/db", "{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}}");
	WAIT(all_are_new);
}

static bool db_is_gone(void)
{
	return count_pods("app=db", NULL) == 0 && json_len(json_getc(get(NS "/persistentvolumeclaims"), "items")) == 0;
}

static void test_statefulset_shrinks(void **state)
{
	merge(APPS "/statefulsets/db", "{\"spec\":{\"replicas\":1}}");
	WAIT(db_is_complete);
	assert_int_equal(count_pods("app=db", NULL), 1);
	assert_non_null(pod_named("db-0"));
	/* Scaling keeps the claims; deletion takes those along whose policy says so. */
	assert_int_equal(json_len(json_getc(get(NS "/persistentvolumeclaims"), "items")), 3);
	rig_call("DELETE", APPS "/statefulsets/db", "{\"propagationPolicy\":\"Background\"}", 200);
	WAIT(db_is_gone);
}

/* --- CronJobs -------------------------------------------------------------------------------------------------------- */

/* Times after 2026-01-30 (a Friday) 12:30:00 UTC, as days, hours and minutes from its midnight. */
static const char *next_time(const char *schedule, int n)
{
	const int64_t midnight = 1769731200;
	int64_t t = midnight + 12 * 3600 + 30 * 60;
	struct err e = ERR_INIT;
	struct cron c;

	assert_int_equal(cron_parse(str_from(schedule), &c, &e), 0);
	while (n-- > 0 && t > 0)
		t = cron_next(&c, NULL, t);
	return t == 0 ? "never" : fmt("%d %02d:%02d", (int)((t - midnight) / 86400), (int)((t - midnight) % 86400 / 3600), (int)(t % 3600 / 60));
}

static int64_t last_time(const char *schedule, int64_t after, int64_t until)
{
	struct err e = ERR_INIT;
	struct cron c;

	assert_int_equal(cron_parse(str_from(schedule), &c, &e), 0);
	return cron_last(&c, NULL, after, until);
}

static void test_schedules(void **state)
{
	assert_string_equal(next_time("* * * * *", 1), "0 12:31");
	assert_string_equal(next_time("30 12 * * *", 1), "1 12:30");
	assert_string_equal(next_time("*/20 13-14 * * *", 3), "0 13:40");
	assert_string_equal(next_time("0 0 31 * *", 1), "1 00:00");
	assert_string_equal(next_time("0 0 31 * *", 2), "60 00:00");
	assert_string_equal(next_time("0 0 29 2 *", 1), "760 00:00");
	assert_string_equal(next_time("0 0 30 2 *", 1), "never");
	/* One of both days suffices when both are said: Sunday is in two days. */
	assert_string_equal(next_time("0 0 15 * 0", 1), "2 00:00");
	assert_string_equal(next_time("@every 90m", 2), "0 15:30");
	assert_int_equal(last_time("* * * * *", 0, 1769776230), 1769776200);
	assert_int_equal(last_time("0 0 29 2 *", 0, 1769776230), 1709164800);
	assert_int_equal(last_time("0 0 29 2 *", 1709164800, 1769776230), 0);
	assert_int_equal(last_time("@every 1h", 1000, 1000 + 9000), 1000 + 7200);
	assert_int_equal(last_time("@every 1h", 1000, 1000 + 3599), 0);
}

static bool cron_started(void)
{
	return json_len(json_getc(get(BATCH "/jobs?labelSelector=from=tick"), "items")) > 0 && str(get(BATCH "/cronjobs/tick"), "status.lastScheduleTime")[0] != '\0';
}

static bool cron_succeeded(void)
{
	return str(get(BATCH "/cronjobs/tick"), "status.lastSuccessfulTime")[0] != '\0';
}

static bool zoned_started(void)
{
	return str(get(BATCH "/cronjobs/zoned"), "status.lastScheduleTime")[0] != '\0';
}

static void test_cronjob(void **state)
{
	const char *spec = "\"schedule\":\"@every 1s\",\"concurrencyPolicy\":\"Forbid\",\"jobTemplate\":{\"metadata\":{\"labels\":{\"from\":\"tick\"}},\"spec\":{\"template\":{"
			   "\"metadata\":{\"annotations\":{\"test/exit\":\"0\"}},\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}";
	struct json *first;

	post(BATCH "/cronjobs", fmt("{\"metadata\":{\"name\":\"tick\"},\"spec\":{%s}}", spec));
	WAIT(cron_started);
	first = json_at(json_getc(get(BATCH "/jobs?labelSelector=from=tick"), "items"), 0);
	assert_string_equal(str(json_at(json_getp(first, "metadata.ownerReferences"), 0), "kind"), "CronJob");
	WAIT(cron_succeeded);
	rig_call("DELETE", BATCH "/cronjobs/tick", "{\"propagationPolicy\":\"Background\"}", 200);
	post(BATCH "/cronjobs", fmt("{\"metadata\":{\"name\":\"zoned\"},\"spec\":{\"timeZone\":\"Europe/Paris\",%s}}", spec));
	WAIT(zoned_started);
	rig_call("DELETE", BATCH "/cronjobs/zoned", "{\"propagationPolicy\":\"Background\"}", 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replication_controller),
		cmocka_unit_test(test_replica_failure),
		cmocka_unit_test(test_job),
		cmocka_unit_test(test_job_failure),
		cmocka_unit_test(test_job_indexed),
		cmocka_unit_test(test_job_suspend),
		cmocka_unit_test(test_job_goes),
		cmocka_unit_test(test_job_limits),
		cmocka_unit_test(test_index_sets),
		cmocka_unit_test(test_daemonset),
		cmocka_unit_test(test_daemonset_rolls),
		cmocka_unit_test(test_daemonset_surge_and_taints),
		cmocka_unit_test(test_statefulset),
		cmocka_unit_test(test_statefulset_rolls),
		cmocka_unit_test(test_statefulset_shrinks),
		cmocka_unit_test(test_schedules),
		cmocka_unit_test(test_cronjob),
	};
	return cmocka_run_group_tests_name("workloads", tests, world_start, world_stop);
}

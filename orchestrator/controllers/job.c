/*
 * Job: pods that run until enough of them have succeeded.
 *
 * The end has two steps: first the decision (FailureTarget, SuccessCriteriaMet), upon which the pods that still run are deleted;
 * when the last one has ended and is counted, Failed or Complete follows. How pods are counted: job_status.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/controllers/job-priv.h"
#include "orchestrator/controllers/pods.h"
#include "proto/pb.h"

/* At most so many pods are made or removed in one round; the next round follows when they show. */
#define BURST 100

/* --- Making pods --------------------------------------------------------------------------------------- */

static void set_index_env(struct arena *a, Core__Container **containers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool there = false;
		Core__EnvVar *v;
		Core__ObjectFieldSelector *f;

		for (size_t k = 0; k < containers[i]->n_env; k++)
			there = there || pb_streq(containers[i]->env[k]->name, "JOB_COMPLETION_INDEX");
		if (there)
			continue;
		v = pb_add(a, containers[i], "env");
		v->name = "JOB_COMPLETION_INDEX";
		f = pb_sub(a, pb_sub(a, v, "value_from"), "field_ref");
		f->api_version = "v1";
		f->field_path = "metadata.labels['" JOB_INDEX "']";
	}
}

/* index -1: the job has none. */
static void create_pod(struct job *j, int32_t index)
{
	struct arena *a = j->r->arena;
	Core__Pod *pod = pb_new_of(a, core__pod, Core__Pod);
	const Core__PodTemplateSpec *t = j->spec->template_;
	const char *base = j->o->meta->name, *n = index >= 0 ? arena_printf(a, "%d", index) : NULL;
	char suffix[6];

	pod->metadata = t->metadata ? pb_copy(a, t->metadata) : pb_new_of(a, meta__object_meta, Meta__ObjectMeta);
	pod->spec = pb_copy(a, t->spec);
	random_suffix(suffix, 5);
	if (n) {
		base = arena_printf(a, "%.*s-%s", 56 - (int)strlen(n), base, n);
		pb_map_set(a, pod->metadata, "annotations", JOB_INDEX, n);
		pb_map_set(a, pod->metadata, "labels", JOB_INDEX, n);
		if (pb_s(pod->spec->hostname)[0] == '\0')
			pod->spec->hostname = base;
		set_index_env(a, pod->spec->init_containers, pod->spec->n_init_containers);
		set_index_env(a, pod->spec->containers, pod->spec->n_containers);
		if (j->per_index)
			job_mark_failures(j, index, pod);
	}
	/* As the API server does with generateName; here, so that the event can tell the name. */
	pod->metadata->generate_name = arena_printf(a, "%.57s-", base);
	pod->metadata->name = arena_printf(a, "%.57s-%s", base, suffix);
	pod->metadata->namespace_ = arena_strdup(a, j->r->ns);
	pb_add_str(a, pod->metadata, "finalizers", JOB_TRACKING);
	owner_set(a, pod, j->o, "batch/v1", "Job");
	plan_create(j->r, VIEW_PODS, j->r->ns, pod);
	plan_event(j->r, VIEW_JOBS, j->o, "Normal", "SuccessfulCreate", "Created pod: %s", pod->metadata->name);
}

/* The smallest indexes that have not ended and have no pod. One that has to wait after a failure does not hold the others up. */
static void create_indexed(struct job *j, int32_t n)
{
	struct index_set taken;
	int32_t index = 0;

	index_set_parse(&taken, j->r->arena, str_from(index_set_text(&j->completed)), j->spec->completions);
	for (size_t i = 0; i < j->pods.n; i++) {
		const Core__Pod *p = j->pods.v[i]->msg;
		bool waits = pb_streq(j->spec->pod_replacement_policy, "Failed") && p->metadata->deletion_timestamp != NULL &&
			     job_tracks(p->metadata) && pb_streq(p->status ? p->status->phase : NULL, "Running");
		int32_t have = job_index_of(j, p->metadata);

		if (have >= 0 && (pod_is_active(p) || waits))
			index_set_add(&taken, have);
	}
	for (size_t i = 0; i < j->failed_indexes.n; i++)
		for (int32_t k = j->failed_indexes.ranges[i].from; k <= j->failed_indexes.ranges[i].to; k++)
			index_set_add(&taken, k);
	for (; n > 0; index++) {
		int64_t until;

		index = index_set_next_free(&taken, index);
		if (index >= j->spec->completions)
			return;
		until = j->per_index ? job_index_backoff_until(j, index) : 0;
		if (until > j->r->now_s) {
			plan_again(j->r, (uint64_t)(until - j->r->now_s) * 1000);
			continue;
		}
		create_pod(j, index);
		n--;
	}
}

/* --- Keeping as many as are wanted --------------------------------------------------------------------- */

/* Pods that we take back are not failures: they lose the finalizer before they are deleted. */
static void remove_pods(struct job *j, const struct informer_obj **v, size_t n)
{
	n = MIN(n, (size_t)BURST);
	for (size_t i = 0; i < n; i++)
		if (job_tracks(v[i]->meta))
			job_untrack(j->r, v[i]);
	plan_stage(j->r);
	for (size_t i = 0; i < n; i++) {
		plan_delete(j->r, VIEW_PODS, v[i], -1, NULL);
		plan_event(j->r, VIEW_JOBS, j->o, "Normal", "SuccessfulDelete", "Deleted pod: %s", v[i]->meta->name);
	}
}

/* Two pods of one index, or pods of an index that is done or not the job's any more, stand last afterwards. How many. */
static size_t sort_out_surplus(struct job *j)
{
	struct index_set seen = {.arena = j->r->arena};
	const struct informer_obj **bad = arena_new_array(j->r->arena, const struct informer_obj *, j->n_active + 1);
	size_t n_bad = 0, kept = 0;

	for (size_t i = 0; i < j->n_active; i++) {
		int32_t index = job_index_of(j, j->active[i]->meta);

		if (index < 0 || index_set_has(&j->completed, index) || index_set_has(&seen, index)) {
			bad[n_bad++] = j->active[i];
			continue;
		}
		index_set_add(&seen, index);
		j->active[kept++] = j->active[i];
	}
	for (size_t i = 0; i < n_bad; i++)
		j->active[kept + i] = bad[i];
	return n_bad;
}

static int32_t wanted(const struct job *j)
{
	int32_t parallel = MAX(pb_or(j->spec, parallelism, 1), 0);

	if (j->spec->has_completions)
		return MIN(parallel, MAX(j->spec->completions - j->succeeded - index_set_count(&j->failed_indexes), 0));
	/* A queue of work that has one success takes on nobody new. */
	return j->succeeded > 0 ? MIN(parallel, (int32_t)j->n_active) : parallel;
}

static void keep_running(struct job *j)
{
	int32_t want = wanted(j), have, missing;
	int64_t until;
	size_t surplus = j->indexed ? sort_out_surplus(j) : 0;

	if (surplus > 0) {
		remove_pods(j, j->active + (j->n_active - surplus), surplus);
		return;
	}
	have = (int32_t)j->n_active;
	if (have > want) {
		pods_sort_for_deletion(j->active, j->n_active, j->r->now_s);
		remove_pods(j, j->active, (size_t)(have - want));
		return;
	}
	missing = want - have;
	if (pb_streq(j->spec->pod_replacement_policy, "Failed"))
		missing -= (int32_t)j->n_terminating;
	if (missing <= 0)
		return;
	until = j->per_index ? 0 : job_backoff_until(j);
	if (until > j->r->now_s) {
		plan_again(j->r, (uint64_t)(until - j->r->now_s) * 1000);
		return;
	}
	missing = MIN(missing, BURST);
	if (j->indexed)
		create_indexed(j, missing);
	else
		while (missing-- > 0)
			create_pod(j, -1);
}

/* --- From start to end --------------------------------------------------------------------------------- */

static bool decide_end(struct job *j)
{
	const char *message, *reason;

	if (job_condition_is_true(j->st, "FailureTarget", NULL) || job_condition_is_true(j->st, "SuccessCriteriaMet", NULL))
		return true;
	reason = job_failure(j, &message);
	if (reason)
		return job_set_condition(j, "FailureTarget", true, reason, message);
	message = job_success(j->r->arena, j->spec, &j->completed);
	if (message)
		return job_set_condition(j, "SuccessCriteriaMet", true, "SuccessPolicy", message);
	if (!job_is_complete(j))
		return false;
	return job_set_condition(j, "SuccessCriteriaMet", true, "CompletionsReached", "Reached expected number of succeeded pods");
}

/* Every pod has ended and is counted: the last condition. */
static void end(struct job *j)
{
	const Batch__UncountedTerminatedPods *un = j->st->uncounted_terminated_pods;
	const Batch__JobCondition *why;

	if (j->n_active > 0 || j->n_delayed > 0 || j->n_terminating > 0 || j->n_counted > 0 || un->n_succeeded > 0 || un->n_failed > 0)
		return;
	if (job_condition_is_true(j->st, "FailureTarget", &why)) {
		job_set_condition(j, "Failed", true, why->reason, why->message);
		plan_event(j->r, VIEW_JOBS, j->o, "Warning", why->reason, "%s", why->message);
	} else if (job_condition_is_true(j->st, "SuccessCriteriaMet", &why)) {
		job_set_condition(j, "Complete", true, why->reason, why->message);
		j->st->completion_time = time_now(j->r->arena, j->r->now_s);
		plan_event(j->r, VIEW_JOBS, j->o, "Normal", "Completed", "Job completed");
	}
}

static void suspend_or_resume(struct job *j)
{
	if (pb_or(j->spec, suspend, false)) {
		if (job_set_condition(j, "Suspended", true, "JobSuspended", "Job suspended"))
			plan_event(j->r, VIEW_JOBS, j->o, "Normal", "Suspended", "Job suspended");
		j->st->start_time = NULL;
		return;
	}
	if (job_set_condition(j, "Suspended", false, "JobResumed", "Job resumed")) {
		plan_event(j->r, VIEW_JOBS, j->o, "Normal", "Resumed", "Job resumed");
		j->st->start_time = NULL;
	}
	if (j->st->start_time == NULL)
		j->st->start_time = time_now(j->r->arena, j->r->now_s);
}

/* The status is written before finalizers go, and both before anything new begins: see job_status.c. */
static void write_status(struct job *j)
{
	if (!pb_equal(j->job->status, j->st))
		plan_update_status(j->r, VIEW_JOBS, j->copy);
	plan_stage(j->r);
	for (size_t i = 0; i < j->n_counted; i++)
		job_untrack(j->r, j->counted[i]);
	plan_stage(j->r);
}

static void expire(struct job *j, const Batch__JobCondition *ended)
{
	int64_t left;

	if (!j->spec->has_ttl_seconds_after_finished)
		return;
	left = time_s(ended->last_transition_time) + j->spec->ttl_seconds_after_finished - j->r->now_s;
	if (left > 0) {
		plan_again(j->r, (uint64_t)MIN(left, (int64_t)86400) * 1000);
		return;
	}
	plan_delete(j->r, VIEW_JOBS, j->o, -1, "Foreground");
	plan_as(j->r, "ttl-after-finished-controller");
}

static void run(struct job *j)
{
	bool suspended = pb_or(j->spec, suspend, false);

	j->stopping = job_condition_is_true(j->st, "FailureTarget", NULL) || job_condition_is_true(j->st, "SuccessCriteriaMet", NULL);
	job_account(j);
	if (j->o->meta->deletion_timestamp != NULL) {
		write_status(j);
		return;
	}
	if (!j->stopping)
		suspend_or_resume(j);
	j->stopping = decide_end(j);
	if (j->stopping)
		end(j);
	write_status(j);
	if (j->stopping)
		for (size_t i = 0; i < j->n_active; i++)
			plan_delete(j->r, VIEW_PODS, j->active[i], -1, NULL);
	else if (suspended)
		remove_pods(j, j->active, j->n_active);
	else
		keep_running(j);
}

/* Pods of a job that is gone have nobody to count them. */
static void release_orphans(struct reconcile *r, const char *uid)
{
	struct informer_objs all = informer_index_get(r->view->pods_by_namespace, str_from(r->ns));
	bool asked = false;

	for (size_t i = 0; i < all.n; i++) {
		const Meta__OwnerReference *ref = owner_of(all.v[i]->meta);

		if (!job_tracks(all.v[i]->meta) || (ref && (!pb_streq(ref->kind, "Job") || !pb_streq(ref->name, r->name) || pb_streq(ref->uid, uid))))
			continue;
		/* The cache of jobs may be behind that of pods. */
		if (ref && !asked) {
			plan_expect_absent(r, VIEW_JOBS, r->ns, r->name, arena_strdup(r->arena, pb_s(ref->uid)));
			plan_stage(r);
			asked = true;
		}
		job_untrack(r, all.v[i]);
	}
}

static void reconcile_job(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_JOBS, r->ns, r->name);
	struct job j = {.r = r, .o = o, .job = informer_msg(o)};
	const Batch__JobCondition *ended;

	if (j.job == NULL || j.job->spec == NULL || j.job->spec->template_ == NULL || j.job->spec->template_->spec == NULL) {
		release_orphans(r, "");
		return;
	}
	j.spec = j.job->spec;
	release_orphans(r, pb_s(o->meta->uid));
	/* Another controller's. */
	if (pb_s(j.spec->managed_by)[0] != '\0' && !pb_streq(j.spec->managed_by, "kubernetes.io/job-controller"))
		return;
	if (job_condition_is_true(j.job->status, "Complete", &ended) || job_condition_is_true(j.job->status, "Failed", &ended)) {
		if (o->meta->deletion_timestamp == NULL)
			expire(&j, ended);
		return;
	}
	j.copy = pb_copy(r->arena, j.job);
	j.st = pb_sub(r->arena, j.copy, "status");
	j.indexed = pb_streq(j.spec->completion_mode, "Indexed");
	j.per_index = j.indexed && j.spec->has_backoff_limit_per_index;
	j.pods = informer_index_get(r->view->pods_by_owner, str_from(pb_s(o->meta->uid)));
	run(&j);
}

static void map_pod(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	const char *name = pb_map_get(o->meta->labels, o->meta->n_labels, "batch.kubernetes.io/job-name");

	if (owner_of(o->meta) != NULL)
		map_owner(q, o, "Job");
	else if (name && job_tracks(o->meta))
		enqueue_name(q, o->meta->namespace_, name);
}

const struct controller_row controller_job = {
	.name = "job-controller",
	.account = "job-controller",
	.watches = {{VIEW_JOBS, map_self}, {VIEW_PODS, map_pod}},
	.reconcile = reconcile_job,
};

/*
 * What a Job has come to.
 *
 * A pod is counted exactly once, although it may be deleted at any time and its end and the job's status are two objects: it has
 * a finalizer until it is counted. Round one writes its uid to status.uncountedTerminatedPods and then takes the
 * finalizer off; a later round that sees the pod without it (or no pod) moves the uid into the number. A round that is cut off
 * between two writes, by an error or by a new leader, is simply done again. The successes of Indexed jobs need no uids: an
 * index that is in completedIndexes twice is there once.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/job-priv.h"
#include "orchestrator/controllers/pods.h"
#include "proto/json.h"
#include "proto/pb.h"

#define BACKOFF_FIRST_S 10
#define BACKOFF_MAX_S 600

/* --- Pods ---------------------------------------------------------------------------------------------- */

bool job_tracks(const Meta__ObjectMeta *m)
{
	return pb_has_str((const char *const *)m->finalizers, m->n_finalizers, JOB_TRACKING);
}

int32_t job_index_of(const struct job *j, const Meta__ObjectMeta *m)
{
	const char *text = pb_map_get(m->annotations, m->n_annotations, JOB_INDEX);
	int64_t n;

	return text && str_to_i64(str_from(text), &n) && n >= 0 && n < pb_or(j->spec, completions, 0) ? (int32_t)n : -1;
}

static bool phase_is(const Core__Pod *p, const char *phase)
{
	return p->status && pb_streq(p->status->phase, phase);
}

/* A pod that is being deleted has failed, at once or, with podReplacementPolicy Failed, when it has ended. */
enum job_outcome job_outcome(const struct job *j, const Core__Pod *p)
{
	if (phase_is(p, "Succeeded"))
		return JOB_POD_SUCCEEDED;
	if (phase_is(p, "Failed"))
		return JOB_POD_FAILED;
	if (p->metadata->deletion_timestamp == NULL)
		return JOB_POD_GOES_ON;
	if (!pb_streq(j->spec->pod_replacement_policy, "Failed") && j->spec->pod_failure_policy == NULL)
		return JOB_POD_FAILED;
	if (j->stopping && job_condition_is_true(j->st, "SuccessCriteriaMet", NULL))
		return JOB_POD_LET_GO;
	return j->stopping || j->o->meta->deletion_timestamp ? JOB_POD_FAILED : JOB_POD_GOES_ON;
}

static const struct informer_obj *find(const struct job *j, const char *uid)
{
	for (size_t i = 0; i < j->pods.n; i++)
		if (pb_streq(j->pods.v[i]->meta->uid, uid))
			return j->pods.v[i];
	return NULL;
}

/* Those whose finalizer is off go from the list into the number. How many those were. */
static int32_t settle(struct job *j, const char **uids, size_t *n)
{
	size_t left = 0, all = *n;

	for (size_t i = 0; i < all; i++) {
		const struct informer_obj *pod = find(j, uids[i]);

		if (pod && job_tracks(pod->meta))
			uids[left++] = uids[i];
	}
	*n = left;
	return (int32_t)(all - left);
}

static void count(struct job *j, const struct informer_obj *pod, enum job_outcome how)
{
	Batch__UncountedTerminatedPods *un = j->st->uncounted_terminated_pods;
	int32_t index = j->indexed ? job_index_of(j, pod->meta) : -1;
	const char *uid = pb_s(pod->meta->uid), *message;

	j->counted[j->n_counted++] = pod;
	if (how == JOB_POD_LET_GO)
		return;
	if (how == JOB_POD_FAILED) {
		if ((j->indexed && index < 0) || job_pod_action(j->r->arena, j->spec, pod->msg, &message) == JOB_IGNORE)
			return;
		if (!pb_has_str(un->failed, un->n_failed, uid))
			pb_add_str(j->r->arena, un, "failed", uid);
	} else if (!j->indexed) {
		if (!pb_has_str(un->succeeded, un->n_succeeded, uid))
			pb_add_str(j->r->arena, un, "succeeded", uid);
	} else if (index >= 0) {
		index_set_add(&j->completed, index);
	}
}

static void take(struct job *j, const struct informer_obj *pod)
{
	const Core__Pod *p = pod->msg;

	if (pod_is_active(p)) {
		j->active[j->n_active++] = pod;
		j->n_ready += pod_is_ready(p);
	} else if (!phase_is(p, "Succeeded") && !phase_is(p, "Failed")) {
		j->n_terminating++;
	}
	/* First the successes, because an index that has one fails no more. */
	if (job_tracks(pod->meta) && phase_is(p, "Succeeded"))
		count(j, pod, JOB_POD_SUCCEEDED);
}

static void take_ended(struct job *j, const struct informer_obj *pod)
{
	enum job_outcome how = job_outcome(j, pod->msg);

	if (job_tracks(pod->meta) && how != JOB_POD_GOES_ON && how != JOB_POD_SUCCEEDED && !job_is_delayed(j, pod))
		count(j, pod, how);
}

void job_account(struct job *j)
{
	struct arena *a = j->r->arena;
	Batch__UncountedTerminatedPods *un = pb_sub(a, j->st, "uncounted_terminated_pods");
	int32_t succeeded = pb_or(j->st, succeeded, 0), failed = pb_or(j->st, failed, 0);

	j->active = arena_new_array(a, const struct informer_obj *, j->pods.n + 1);
	j->counted = arena_new_array(a, const struct informer_obj *, j->pods.n + 1);
	if (j->indexed)
		index_set_parse(&j->completed, a, str_from(pb_s(j->st->completed_indexes)), pb_or(j->spec, completions, 0));
	succeeded += settle(j, un->succeeded, &un->n_succeeded);
	failed += settle(j, un->failed, &un->n_failed);
	for (size_t i = 0; i < j->pods.n; i++)
		take(j, j->pods.v[i]);
	if (j->per_index) {
		index_set_parse(&j->failed_indexes, a, str_from(pb_s(j->st->failed_indexes)), pb_or(j->spec, completions, 0));
		job_failed_indexes(j);
		j->st->failed_indexes = index_set_text(&j->failed_indexes);
	}
	for (size_t i = 0; i < j->pods.n; i++)
		take_ended(j, j->pods.v[i]);
	if (j->indexed) {
		succeeded = index_set_count(&j->completed);
		j->st->completed_indexes = j->completed.n > 0 ? index_set_text(&j->completed) : NULL;
	}
	j->succeeded = succeeded + (int32_t)un->n_succeeded;
	j->failed = failed + (int32_t)un->n_failed;
	for (size_t i = 0; i < j->n_delayed; i++) {
		const char *message;

		j->failed += job_pod_action(a, j->spec, j->delayed[i]->msg, &message) != JOB_IGNORE;
	}
	/* Zero is left out where it is in what is stored, so that equal means equal. */
#define SET(field, value) (j->st->field = (value), j->st->has_##field = j->st->field != 0)
	SET(succeeded, succeeded);
	SET(failed, failed);
	SET(active, (int32_t)j->n_active);
#undef SET
	j->st->has_ready = j->st->has_terminating = true;
	j->st->ready = (int32_t)j->n_ready;
	j->st->terminating = (int32_t)j->n_terminating;
}

void job_untrack(struct reconcile *r, const struct informer_obj *pod)
{
	struct json *left = json_new_array(r->arena);

	for (size_t i = 0; i < pod->meta->n_finalizers; i++)
		if (!pb_streq(pod->meta->finalizers[i], JOB_TRACKING))
			json_push(r->arena, left, json_newc(r->arena, pod->meta->finalizers[i]));
	plan_patch_list(r, VIEW_PODS, NULL, pod, "finalizers", left);
}

/* --- Conditions ---------------------------------------------------------------------------------------- */

static Batch__JobCondition *condition(const Batch__JobStatus *st, const char *type)
{
	for (size_t i = 0; st && i < st->n_conditions; i++)
		if (pb_streq(st->conditions[i]->type, type))
			return st->conditions[i];
	return NULL;
}

bool job_condition_is_true(const Batch__JobStatus *st, const char *type, const Batch__JobCondition **ret)
{
	const Batch__JobCondition *c = condition(st, type);

	if (ret)
		*ret = c;
	return c && pb_streq(c->status, "True");
}

bool job_set_condition(struct job *j, const char *type, bool is_true, const char *reason, const char *message)
{
	struct arena *a = j->r->arena;
	Batch__JobCondition *c = condition(j->st, type);

	if (c == NULL ? !is_true : pb_streq(c->status, is_true ? "True" : "False"))
		return false;
	if (c == NULL)
		c = pb_add(a, j->st, "conditions");
	c->type = type;
	c->status = is_true ? "True" : "False";
	c->reason = arena_strdup(a, reason);
	c->message = arena_strdup(a, message);
	c->last_probe_time = c->last_transition_time = time_now(a, j->r->now_s);
	return true;
}

/* --- The end ------------------------------------------------------------------------------------------- */

/* Containers that are started again in their pods count as failures, too. */
static bool restarts_exceed(const struct job *j, int32_t limit)
{
	int64_t n = 0;

	if (!pb_streq(j->spec->template_->spec->restart_policy, "OnFailure"))
		return false;
	for (size_t i = 0; i < j->n_active; i++) {
		const Core__PodStatus *st = ((const Core__Pod *)j->active[i]->msg)->status;

		for (size_t k = 0; st && k < st->n_init_container_statuses; k++)
			n += pb_or(st->init_container_statuses[k], restart_count, 0);
		for (size_t k = 0; st && k < st->n_container_statuses; k++)
			n += pb_or(st->container_statuses[k], restart_count, 0);
	}
	return limit == 0 ? n > 0 : n >= limit;
}

static const char *index_failure(const struct job *j, const char **ret_message)
{
	int32_t n = index_set_count(&j->failed_indexes);

	if (j->spec->has_max_failed_indexes && n > j->spec->max_failed_indexes) {
		*ret_message = "Job has exceeded the specified maximal number of failed indexes";
		return "MaxFailedIndexesExceeded";
	}
	if (n > 0 && n + j->succeeded >= pb_or(j->spec, completions, 0)) {
		*ret_message = "Job has failed indexes";
		return "FailedIndexes";
	}
	return NULL;
}

const char *job_failure(struct job *j, const char **ret_message)
{
	int32_t limit = pb_or(j->spec, backoff_limit, 6);

	*ret_message = job_policy_failure(j);
	if (*ret_message)
		return "PodFailurePolicy";
	if (j->failed > limit || restarts_exceed(j, limit)) {
		*ret_message = "Job has reached the specified backoff limit";
		return "BackoffLimitExceeded";
	}
	if (j->spec->has_active_deadline_seconds && j->st->start_time && !pb_or(j->spec, suspend, false)) {
		int64_t left = time_s(j->st->start_time) + j->spec->active_deadline_seconds - j->r->now_s;

		if (left <= 0) {
			*ret_message = "Job was active longer than specified deadline";
			return "DeadlineExceeded";
		}
		plan_again(j->r, (uint64_t)MIN(left, (int64_t)86400) * 1000);
	}
	return j->per_index ? index_failure(j, ret_message) : NULL;
}

/* Without completions the job is a queue of work: it is done when one pod says so by success and the others have ended. */
bool job_is_complete(const struct job *j)
{
	if (!j->spec->has_completions)
		return j->succeeded > 0 && j->n_active == 0 && j->n_terminating == 0;
	return j->succeeded >= j->spec->completions;
}

int64_t job_ended_at(const Core__Pod *p)
{
	int64_t last = 0;

	for (size_t i = 0; p->status && i < p->status->n_container_statuses; i++) {
		const Core__ContainerState *s = p->status->container_statuses[i]->state;

		if (s && s->terminated)
			last = MAX(last, time_s(s->terminated->finished_at));
	}
	if (last == 0)
		last = time_s(p->metadata->deletion_timestamp);
	return last ? last : time_s(p->metadata->creation_timestamp);
}

int64_t job_backoff(int64_t n, int64_t last_s)
{
	int64_t delay = BACKOFF_FIRST_S;

	for (int64_t i = 1; i < n && delay < BACKOFF_MAX_S; i++)
		delay *= 2;
	return last_s + MIN(delay, (int64_t)BACKOFF_MAX_S);
}

int64_t job_backoff_until(const struct job *j)
{
	int64_t success = 0, last = 0, n = 0;

	for (size_t i = 0; i < j->pods.n; i++)
		if (phase_is(j->pods.v[i]->msg, "Succeeded"))
			success = MAX(success, job_ended_at(j->pods.v[i]->msg));
	for (size_t i = 0; i < j->pods.n; i++) {
		const Core__Pod *p = j->pods.v[i]->msg;

		if (!phase_is(p, "Failed") || job_ended_at(p) <= success)
			continue;
		last = MAX(last, job_ended_at(p));
		n++;
	}
	return n == 0 ? 0 : job_backoff(n, last);
}

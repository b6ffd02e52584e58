/*
 * What a Job says of failures and successes: podFailurePolicy, backoffLimitPerIndex, successPolicy.
 *
 * How often an index has failed is written on its pods: each pod that takes the place of a failed one carries the number of its
 * predecessors that failed. So the last failed pod of an index is kept, uncounted and with its finalizer, until the pod that follows it
 * is there, or until nothing follows: otherwise it could go, and its number with it.
 */
#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/controllers/job-priv.h"
#include "orchestrator/controllers/pods.h"
#include "proto/pb.h"

#define FAILURES "batch.kubernetes.io/job-index-failure-count"
#define IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"

/* --- podFailurePolicy ------------------------------------------------------------------------------------ */

static bool code_matches(const Batch__PodFailurePolicyOnExitCodesRequirement *q, int32_t code)
{
	bool in = false;

	for (size_t i = 0; i < q->n_values; i++)
		in = in || q->values[i] == code;
	return pb_streq(q->operator_, "In") ? in : pb_streq(q->operator_, "NotIn") && !in;
}

static const Core__ContainerStatus *find_exit(const Batch__PodFailurePolicyOnExitCodesRequirement *q, Core__ContainerStatus **v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Core__ContainerStateTerminated *end = v[i]->state ? v[i]->state->terminated : NULL;

		if (end && pb_or(end, exit_code, 0) != 0 && (q->container_name == NULL || pb_streq(q->container_name, v[i]->name)) &&
				code_matches(q, end->exit_code))
			return v[i];
	}
	return NULL;
}

static const char *exit_message(struct arena *a, const Core__Pod *p, const Batch__PodFailurePolicyRule *rule, size_t at)
{
	const Core__ContainerStatus *c = find_exit(rule->on_exit_codes, p->status->container_statuses, p->status->n_container_statuses);

	if (c == NULL)
		c = find_exit(rule->on_exit_codes, p->status->init_container_statuses, p->status->n_init_container_statuses);
	return c ? arena_printf(a, "Container %s for pod %s/%s failed with exit code %d matching %s rule at index %zu", pb_s(c->name),
				   pb_s(p->metadata->namespace_), pb_s(p->metadata->name), c->state->terminated->exit_code, pb_s(rule->action), at)
		 : NULL;
}

static const char *condition_message(struct arena *a, const Core__Pod *p, const Batch__PodFailurePolicyRule *rule, size_t at)
{
	for (size_t i = 0; i < p->status->n_conditions; i++)
		for (size_t k = 0; k < rule->n_on_pod_conditions; k++)
			if (pb_streq(p->status->conditions[i]->type, rule->on_pod_conditions[k]->type) &&
					pb_streq(p->status->conditions[i]->status, rule->on_pod_conditions[k]->status))
				return arena_printf(a, "Pod %s/%s has condition %s matching %s rule at index %zu", pb_s(p->metadata->namespace_),
						pb_s(p->metadata->name), pb_s(p->status->conditions[i]->type), pb_s(rule->action), at);
	return NULL;
}

enum job_action job_pod_action(struct arena *a, const Batch__JobSpec *spec, const Core__Pod *p, const char **ret_message)
{
	static const struct {
		const char *name;
		enum job_action action;
	} actions[] = {{"Ignore", JOB_IGNORE}, {"Count", JOB_COUNT}, {"FailJob", JOB_FAIL_JOB}, {"FailIndex", JOB_FAIL_INDEX}};
	const Batch__PodFailurePolicy *policy = spec->pod_failure_policy;

	for (size_t i = 0; policy && p->status && i < policy->n_rules; i++) {
		const Batch__PodFailurePolicyRule *rule = policy->rules[i];
		const char *message = rule->on_exit_codes ? exit_message(a, p, rule, i) : condition_message(a, p, rule, i);

		/* A rule whose action is not known here is passed over. */
		for (size_t k = 0; message && k < ARRAY_LEN(actions); k++) {
			if (pb_streq(rule->action, actions[k].name)) {
				*ret_message = message;
				return actions[k].action;
			}
		}
	}
	return JOB_COUNT;
}

const char *job_policy_failure(struct job *j)
{
	const char *message;

	for (size_t i = 0; j->spec->pod_failure_policy && i < j->pods.n; i++)
		if (job_outcome(j, j->pods.v[i]->msg) == JOB_POD_FAILED &&
				job_pod_action(j->r->arena, j->spec, j->pods.v[i]->msg, &message) == JOB_FAIL_JOB)
			return message;
	return NULL;
}

/* --- backoffLimitPerIndex -------------------------------------------------------------------------------- */

static int32_t number_on(const Meta__ObjectMeta *m, const char *key)
{
	const char *text = pb_map_get(m->annotations, m->n_annotations, key);
	int64_t n;

	return text && str_to_i64(str_from(text), &n) && n >= 0 && n < INT32_MAX ? (int32_t)n : 0;
}

/* All failures up to this pod's own, those that do not count too. */
static int32_t all_failures(const Meta__ObjectMeta *m)
{
	return number_on(m, FAILURES) + number_on(m, IGNORED);
}

static bool fails_index(struct job *j, const struct informer_obj *pod)
{
	const char *message;
	enum job_action action = job_pod_action(j->r->arena, j->spec, pod->msg, &message);

	return action == JOB_FAIL_INDEX || (action != JOB_IGNORE && number_on(pod->meta, FAILURES) >= j->spec->backoff_limit_per_index);
}

/* The pod of that index that is kept, or NULL. */
static const struct informer_obj **kept(struct job *j, int32_t index)
{
	for (size_t i = 0; i < j->n_delayed; i++)
		if (job_index_of(j, j->delayed[i]->meta) == index)
			return &j->delayed[i];
	return NULL;
}

static void keep_last(struct job *j, const struct informer_obj *pod)
{
	const struct informer_obj **have = kept(j, job_index_of(j, pod->meta));
	int32_t mine = all_failures(pod->meta), its = have ? all_failures((*have)->meta) : 0;

	if (have == NULL)
		j->delayed[j->n_delayed++] = pod;
	else if (mine > its || (mine == its && job_ended_at(pod->msg) >= job_ended_at((*have)->msg)))
		*have = pod;
}

void job_failed_indexes(struct job *j)
{
	struct index_set active = {.arena = j->r->arena};

	j->delayed = arena_new_array(j->r->arena, const struct informer_obj *, j->pods.n + 1);
	for (size_t i = 0; i < j->n_active; i++)
		if (job_index_of(j, j->active[i]->meta) >= 0)
			index_set_add(&active, job_index_of(j, j->active[i]->meta));
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < j->pods.n; i++) {
			const struct informer_obj *pod = j->pods.v[i];
			int32_t index = job_index_of(j, pod->meta);

			/* Who is deleted because the job ends says nothing of its index. */
			if (j->stopping && pod->meta->deletion_timestamp)
				continue;
			if (index < 0 || !job_tracks(pod->meta) || job_outcome(j, pod->msg) != JOB_POD_FAILED ||
					index_set_has(&j->completed, index) || index_set_has(&j->failed_indexes, index))
				continue;
			if (pass == 0 && fails_index(j, pod))
				index_set_add(&j->failed_indexes, index);
			else if (pass == 1 && !j->stopping && !j->o->meta->deletion_timestamp && !index_set_has(&active, index))
				keep_last(j, pod);
		}
	}
}

bool job_is_delayed(const struct job *j, const struct informer_obj *pod)
{
	for (size_t i = 0; i < j->n_delayed; i++)
		if (j->delayed[i] == pod)
			return true;
	return false;
}

int64_t job_index_backoff_until(struct job *j, int32_t index)
{
	const struct informer_obj **last = kept(j, index);

	return last ? job_backoff(all_failures((*last)->meta) + 1, job_ended_at((*last)->msg)) : 0;
}

void job_mark_failures(struct job *j, int32_t index, Core__Pod *pod)
{
	const struct informer_obj **last = kept(j, index);
	int32_t failures = 0, ignored = 0;
	const char *message;

	if (last) {
		bool ignore = job_pod_action(j->r->arena, j->spec, (*last)->msg, &message) == JOB_IGNORE;

		failures = number_on((*last)->meta, FAILURES) + !ignore;
		ignored = number_on((*last)->meta, IGNORED) + ignore;
	}
	pb_map_set(j->r->arena, pod->metadata, "annotations", FAILURES, arena_printf(j->r->arena, "%" PRId32, failures));
	if (ignored > 0)
		pb_map_set(j->r->arena, pod->metadata, "annotations", IGNORED, arena_printf(j->r->arena, "%" PRId32, ignored));
}

/* --- successPolicy --------------------------------------------------------------------------------------- */

const char *job_success(struct arena *a, const Batch__JobSpec *spec, const struct index_set *completed)
{
	for (size_t i = 0; spec->success_policy && completed->n > 0 && i < spec->success_policy->n_rules; i++) {
		const Batch__SuccessPolicyRule *rule = spec->success_policy->rules[i];
		bool met;

		if (rule->succeeded_indexes) {
			struct index_set wanted;
			int32_t have;

			index_set_parse(&wanted, a, str_from(rule->succeeded_indexes), pb_or(spec, completions, 0));
			have = index_set_common(&wanted, completed);
			met = wanted.n > 0 && (have == index_set_count(&wanted) || (rule->has_succeeded_count && have >= rule->succeeded_count));
		} else {
			met = rule->has_succeeded_count && index_set_count(completed) >= rule->succeeded_count;
		}
		if (met)
			return arena_printf(a, "Matched rules at index %zu", i);
	}
	return NULL;
}

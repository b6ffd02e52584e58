/* A Job as one round sees it; shared by job.c, job_policy.c and job_status.c. */
#ifndef ORCHESTRATOR_CONTROLLERS_JOB_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_JOB_PRIV_H

#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/job_index.h"
#include "proto/batch.pb-c.h"
#include "proto/core.pb-c.h"

#define JOB_TRACKING "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

/* JOB_POD_LET_GO: deleted because the job has succeeded without it: neither a success nor a failure. */
enum job_outcome { JOB_POD_GOES_ON, JOB_POD_SUCCEEDED, JOB_POD_FAILED, JOB_POD_LET_GO };
/* What podFailurePolicy makes of a failed pod. */
enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL_INDEX, JOB_FAIL_JOB };

struct job {
	struct reconcile *r;
	const struct informer_obj *o;
	const Batch__Job *job;
	const Batch__JobSpec *spec;
	Batch__Job *copy;                  /* with the status that this round makes */
	Batch__JobStatus *st;
	bool indexed, stopping;            /* stopping: the end is decided, its pods are going */
	bool per_index;                    /* each index has a limit of its own */
	struct informer_objs pods;         /* all that we own */
	const struct informer_obj **active, **counted; /* counted: may lose their finalizer once the status is written */
	size_t n_active, n_counted, n_ready, n_terminating;
	struct index_set completed, failed_indexes; /* Indexed only; the latter per_index only */
	const struct informer_obj **delayed; /* the failed pods that are kept until one follows them, one an index: job_policy.c */
	size_t n_delayed;
	int32_t succeeded, failed;         /* with those that status.uncountedTerminatedPods names */
};

/* Whether the pod still waits to be counted. */
bool job_tracks(const Meta__ObjectMeta *);
/* The pod's completion index, -1 when it has none that is one of the job. */
int32_t job_index_of(const struct job *, const Meta__ObjectMeta *);
enum job_outcome job_outcome(const struct job *, const Core__Pod *);
/* Unix seconds. */
int64_t job_ended_at(const Core__Pod *);
/* Unix seconds at which the wait after the n-th failure in a row, which was then, is over. */
int64_t job_backoff(int64_t n, int64_t last_s);
/* Sorts the pods, and counts those that ended. */
void job_account(struct job *);
bool job_condition_is_true(const Batch__JobStatus *, const char *type, const Batch__JobCondition **ret);
/* True when that changed something. */
bool job_set_condition(struct job *, const char *type, bool is_true, const char *reason, const char *message);
/* The reason why the job has failed, NULL when it has not. */
const char *job_failure(struct job *, const char **ret_message);
bool job_is_complete(const struct job *);
/* Unix seconds before which no failed pod is replaced; 0: now. */
int64_t job_backoff_until(const struct job *);
/* A pod without the finalizer by which we count it; plans the update. */
void job_untrack(struct reconcile *, const struct informer_obj *pod);

/* --- job_policy.c --- */
/* ret_message is set unless the answer is the default, JOB_COUNT. */
enum job_action job_pod_action(struct arena *, const Batch__JobSpec *, const Core__Pod *failed, const char **ret_message);
/* Which pod fails the job by a rule, as a message; NULL: none. */
const char *job_policy_failure(struct job *);
/* Of a job with a limit for each index: finds those that have failed now, and the pods to keep. */
void job_failed_indexes(struct job *);
bool job_is_delayed(const struct job *, const struct informer_obj *pod);
/* Unix seconds before which the index gets no further pod; 0: now. */
int64_t job_index_backoff_until(struct job *, int32_t index);
/* Writes on the pod how often its index has failed. */
void job_mark_failures(struct job *, int32_t index, Core__Pod *);
/* Which rule of successPolicy is met, as a message; NULL: none. */
const char *job_success(struct arena *, const Batch__JobSpec *, const struct index_set *completed);

#endif

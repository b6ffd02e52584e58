/* A Job as one round sees it; shared by job.c and job_status.c. */
#ifndef ORCHESTRATOR_CONTROLLERS_JOB_PRIV_H
#define ORCHESTRATOR_CONTROLLERS_JOB_PRIV_H

#include "orchestrator/controllers/controller.h"
#include "orchestrator/controllers/job_index.h"
#include "proto/batch.pb-c.h"
#include "proto/core.pb-c.h"

#define JOB_TRACKING "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

enum job_outcome { JOB_POD_GOES_ON, JOB_POD_SUCCEEDED, JOB_POD_FAILED };

struct job {
	struct reconcile *r;
	const struct informer_obj *o;
	const Batch__Job *job;
	const Batch__JobSpec *spec;
	Batch__Job *copy;                  /* with the status that this round makes */
	Batch__JobStatus *st;
	bool indexed, stopping;            /* stopping: the end is decided, its pods are going */
	struct informer_objs pods;         /* all that we own */
	const struct informer_obj **active, **counted; /* counted: may lose their finalizer once the status is written */
	size_t n_active, n_counted, n_ready, n_terminating;
	struct index_set completed;        /* Indexed only */
	int32_t succeeded, failed;         /* with those that status.uncountedTerminatedPods names */
};

/* Whether the pod still waits to be counted. */
bool job_tracks(const Meta__ObjectMeta *);
/* The pod's completion index, -1 when it has none that is one of the job. */
int32_t job_index_of(const struct job *, const Meta__ObjectMeta *);
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

#endif

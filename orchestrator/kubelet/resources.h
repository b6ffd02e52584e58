/* Resource requests and limits as the kernel wants them: shares, quotas, limits, OOM scores, control group paths. */
#ifndef KUBELET_RESOURCES_H
#define KUBELET_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "proto/core.pb-c.h"

struct res {
	int64_t cpu_request, cpu_limit;       /* millicores; 0: not given */
	int64_t memory_request, memory_limit; /* bytes; 0: not given */
	int64_t storage_request, storage_limit; /* of a container's ephemeral storage, the same */
};

/* In thousandths, rounded up; 0 for NULL, for text that is no quantity, and for negative ones. */
int64_t res_milli(const char *quantity);
/* Whole units, rounded up. */
int64_t res_units(const char *quantity);
void res_of(const Core__ResourceRequirements *, struct res *ret); /* NULL: nothing */
void res_of_container(const Core__Container *, struct res *ret);
/* What the container runs with: its own, and where it has no limit of cpu or memory the pod's. Borrows from both; NULL: nothing. */
const Core__ResourceRequirements *res_given(struct arena *, const Core__Pod *, const Core__Container *);
/* What the pod says as a whole, and of the rest the sum over containers, or the largest init container, whichever is more; a limit only when
 * all have one. */
void res_of_pod(const Core__Pod *, struct res *ret);

/* The same sum of ephemeral storage: what the pod requests, or its limit, to which those count that have one; *ret_any (may be NULL): one has. */
int64_t res_storage_of_pod(const Core__Pod *, bool limits, bool *ret_any);

int64_t res_cpu_shares(int64_t milli);
/* Microseconds in each 100 ms; 0: no limit. */
int64_t res_cpu_quota(int64_t milli);
int64_t res_oom_score_adj(const Core__Pod *, const Core__Container *, int64_t memory_capacity);
/* ROOT/burstable/podUID and the like. */
char *res_cgroup_path(struct arena *, const char *root, const Core__Pod *);
/* "10s", "2m40s", "5m0s": as Go prints a duration. */
char *backoff_text(struct arena *, int64_t ms);

#endif

/*
 * Control groups as the kubelet needs them: the group of a pod with its shares and limits, and the end of everything
 * below a group. Works on cgroup v1 (a hierarchy a controller) and v2; a path such as "/kubepods/burstable/podX"
 * means the same place in each hierarchy. runc makes what is below.
 */
#ifndef KUBELET_CGROUP_H
#define KUBELET_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* True when /sys/fs/cgroup is a unified (v2) hierarchy. */
bool cgroup_is_v2(void);

struct cgroup_limits {
	int64_t cpu_shares;   /* v1 units, 0: leave */
	int64_t cpu_quota_us; /* per 100 ms, 0: none */
	int64_t memory_bytes; /* 0: none */
};
/* Make the group and set the limits; a controller that is missing is left out. */
int cgroup_setup(const char *path, const struct cgroup_limits *, struct err *e);
/* Bytes in use that cannot simply be given back, without the cache of files; 0: not known. */
int64_t cgroup_memory_in_use(const char *path);
/* Processes and threads at and below it; 0: not known. */
int64_t cgroup_processes(const char *path);
/* Whether memory and swap together are limited there. */
bool cgroup_counts_swap(const char *path);
/* SIGKILL every process at or below the path; returns how many there were. */
int cgroup_kill_below(const char *path);
/* Remove the group and all below it in every hierarchy. Absent: success. Busy: ERR_UNAVAILABLE (try later). */
int cgroup_remove(const char *path, struct err *e);

/* Times out of cpu shares: v1 shares 2..262144 to v2 weight 1..10000. */
uint64_t cgroup_shares_to_weight(int64_t shares);

#endif

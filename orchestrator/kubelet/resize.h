/*
 * Resizing a pod that runs: pure functions between three sets of resources of its containers.
 *
 * A pod may have resources as a whole, too; they are told apart in the same way, and containers without a limit share the pod's.
 *
 *	wanted      what the API says
 *	allocated   what this node has given it: the kubelet works with a pod whose containers have these
 *	actual      what a container that runs was made with, or was given last
 *
 * resize_decide says whether what is wanted may become what is allocated; resize_way how a container comes from actual to
 * allocated; resize_plan in which order control groups and containers are changed for it. Messages are those of upstream.
 *
 * The record (resize_record) is what an agent that starts anew has to know: a Core__Pod with names and allocated resources
 * in its spec, container ids and actual resources in its status.
 */
#ifndef KUBELET_RESIZE_H
#define KUBELET_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "proto/core.pb-c.h"

struct resize_node {
	int64_t cpu_milli, memory;           /* allocatable */
	int64_t cpu_milli_used, memory_used; /* what the other pods were given, by their requests */
};

enum resize_verdict {
	RESIZE_SAME,       /* what is wanted is allocated */
	RESIZE_FITS,
	RESIZE_DEFERRED,   /* there is no room now */
	RESIZE_INFEASIBLE, /* this node never has the room */
};
enum resize_verdict resize_decide(struct arena *, const Core__Pod *wanted, const Core__Pod *allocated,
		const struct resize_node *, const char **ret_message);

enum resize_way { RESIZE_DONE, RESIZE_IN_PLACE, RESIZE_RESTART };
/* `given`: what it is to run with, its own or the pod's (res_given). */
enum resize_way resize_way(const Core__Container *allocated, const Core__ResourceRequirements *given,
		const Core__ResourceRequirements *actual);

/* Whether the sets have the same amounts; NULL is empty. */
bool resize_equal(const Core__ResourceRequirements *, const Core__ResourceRequirements *);
/* `pod` with its own resources and those of the containers of the same names as in `from`. Borrows from both. */
Core__Pod *resize_with(struct arena *, const Core__Pod *pod, const Core__Pod *from);
/* `actual` with what `allocated` says about one resource, requests and limits. */
Core__ResourceRequirements *resize_mix(struct arena *, const Core__ResourceRequirements *actual,
		const Core__ResourceRequirements *allocated, const char *resource);

/* A container that runs, and what it runs with. */
struct resize_container {
	const Core__Container *spec; /* allocated */
	const char *id;
	const Core__ResourceRequirements *given; /* its own, or the pod's */
	const Core__ResourceRequirements *actual;
	enum resize_way way;
};

struct resize_step {
	int container;        /* index into what was given; -1: the pod's control group */
	bool memory;          /* else cpu */
	bool shrinks;         /* the memory limit gets lower: look first whether that is possible */
	bool tell;            /* false: nothing for the kernel to know, a request of memory */
	int64_t memory_limit; /* 0: none */
	int64_t cpu_shares, cpu_quota_us;
};
/*
 * Memory first, then cpu; the pod's group grows before its containers and shrinks after them; containers that shrink come
 * before those that grow. `was`: the pod with actual resources, `is`: with allocated ones. In the arena.
 */
size_t resize_plan(struct arena *, const Core__Pod *was, const Core__Pod *is, const struct resize_container *, size_t n,
		struct resize_step **ret);

struct resize_actual {
	const char *name, *id;
	const Core__ResourceRequirements *actual;
};
/* `whole`: what the pod's control group was given last as the pod's own; NULL: nothing. */
Core__Pod *resize_record(struct arena *, const Core__Pod *allocated, const Core__ResourceRequirements *whole, const struct resize_actual *,
		size_t n);
/* The pod with what it and its containers run with. */
Core__Pod *resize_was(struct arena *, const Core__Pod *allocated, const Core__ResourceRequirements *whole, const struct resize_actual *,
		size_t n);
/* What a container runs with, but for the limits that are the pod's: for its status. */
const Core__ResourceRequirements *resize_own(struct arena *, const Core__ResourceRequirements *actual,
		const Core__ResourceRequirements *own);
/* {"containers":[{"name":"c","resources":{...}}],"generation":2}, with an error unless it is NULL: for events. */
const char *resize_text(struct arena *, const Core__Pod *, const char *error);

#endif

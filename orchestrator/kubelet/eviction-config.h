/*
 * When a node is under pressure, as its flags say: signals (how much there is of something) and thresholds (how little is too little).
 *
 *	memory.available<100Mi,nodefs.available<10%
 *
 * A hard threshold acts at once; a soft one when it was met for its grace period, and then pods get time to end. Syntax, names and
 * defaults are upstream's. Giving --eviction-hard replaces all defaults; a threshold of 0% or 100% is none.
 */
#ifndef KUBELET_EVICTION_CONFIG_H
#define KUBELET_EVICTION_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* In the order in which pressure is acted on: memory before everything else. */
enum signal {
	SIG_MEMORY,
	SIG_NODEFS,
	SIG_NODEFS_INODES,
	SIG_IMAGEFS,
	SIG_IMAGEFS_INODES,
	SIG_PID,
	N_SIGNALS,
};

struct amount {
	float fraction; /* of the capacity, when it is not 0 */
	int64_t value;  /* else bytes, inodes, processes */
};

struct threshold {
	enum signal signal;
	bool soft;
	int64_t grace_ms;      /* of a soft one */
	struct amount value;   /* less than this is too little */
	struct amount reclaim; /* so much more than it has to be there again */
};

struct eviction_cfg {
	struct threshold t[2 * N_SIGNALS];
	size_t n;
	int64_t transition_ms;   /* a condition stays so long after it was met last */
	int64_t max_pod_grace_s; /* the most that a pod gets to end because of a soft threshold */
};

/* The flags' texts. NULL: not given. */
struct eviction_flags {
	const char *hard, *soft, *soft_grace, *minimum_reclaim, *transition;
	int64_t max_pod_grace_s;
};

/* ERR_BAD_REQUEST names the flag and says what is wrong with it. */
int eviction_config(const struct eviction_flags *, struct eviction_cfg *ret, struct err *e);
void eviction_defaults(struct eviction_cfg *);

const char *signal_name(enum signal);
/* In the units of the signal; as upstream rounds it. */
int64_t amount_of(const struct amount *, int64_t capacity);
/* The amount of the hard threshold for the signal; 0: there is none. What of the capacity is not allocatable. */
int64_t eviction_reserve(const struct eviction_cfg *, enum signal, int64_t capacity);

#endif

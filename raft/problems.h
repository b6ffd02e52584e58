/*
 * What is wrong with a cluster, in words, from one member's status: for people who look at it. Pure.
 */
#ifndef RAFT_PROBLEMS_H
#define RAFT_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "raft/kv.h"

#define KV_MAX_PROBLEMS 24

struct kv_problem {
	bool warning; /* it works, but should not stay like this */
	char text[320];
};

size_t kv_problems(const struct kv_status *, struct kv_problem out[KV_MAX_PROBLEMS]);

#endif

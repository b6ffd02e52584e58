/*
 * struct flow_drops: how long somebody who was turned away from a priority level is told to stay away. One second, twice that when
 * many were turned away in as many seconds as they are told, at most 32; and a second less when there were few. Pure; as upstream's.
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_DROPS_H
#define ORCHESTRATOR_APISERVER_FLOW_DROPS_H

#include <stddef.h>
#include <stdint.h>

#define FLOW_DROPS_MAX_S 32

struct flow_drops {
	int64_t now_s; /* of the last one */
	unsigned count; /* in that second */
	struct {
		int64_t at_s;
		unsigned count;
	} history[FLOW_DROPS_MAX_S]; /* seconds before, the oldest first */
	size_t n;
	int64_t retry_s, raised_s; /* 0: one second; when it was last raised */
};

/* Somebody is turned away now; gives what he is told. */
unsigned flow_drops_add(struct flow_drops *, int64_t now_s);

#endif

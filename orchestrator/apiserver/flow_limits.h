/*
 * How many seats a priority level has: pure arithmetic. "API Priority and Fairness" of the Kubernetes documentation has the
 * terms (nominal shares, lendable and borrowing percent).
 *
 *	flow_bounds    all seats of the server divided by shares: what each level has (nominal), keeps (lower) and may reach (upper)
 *	flow_divide    seats by demand: who needs little lends, who needs more borrows
 *	flow_split     one level's seats among the serve loops
 */
#ifndef ORCHESTRATOR_APISERVER_FLOW_LIMITS_H
#define ORCHESTRATOR_APISERVER_FLOW_LIMITS_H

#include <stddef.h>

/* Levels, or loops, at most. */
#define FLOW_MAX_PARTS 256

struct flow_share {
	unsigned shares;
	unsigned lendable_percent;
	int borrowing_percent; /* of the nominal limit; -1: no bound */
};

struct flow_bounds {
	unsigned nominal, lower, upper;
};

/* A level with shares has at least one seat. */
void flow_bounds(unsigned total, const struct flow_share *, size_t n, struct flow_bounds *ret);
/*
 * A level gets what it asks for up to its nominal seats, whoever has borrowed them. What the levels that ask for less can lend goes to
 * those that ask for more, by their nominal seats; what nobody asks for goes back to its owners.
 */
void flow_divide(const struct flow_bounds *, const unsigned *demand, size_t n, unsigned *ret);
/* Each part has at least one seat, even when the limit is smaller than n. demand NULL: equal parts. */
void flow_split(unsigned limit, const unsigned *demand, size_t n, unsigned *ret);

#endif

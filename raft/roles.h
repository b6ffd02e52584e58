/*
 * Who should vote: one step at a time, decided from what the leader sees. No clock, no I/O.
 *
 * The aim is `voters` voting members, alive and spread over zones; whoever is left is stand-by: it has the whole log and
 * can vote the moment it is asked to. Witnesses count as voters like any other. Explicit learners are never touched. A step
 * changes one member's vote, so the majorities before and after always overlap; the next step is decided when this one is
 * committed.
 */
#ifndef RAFT_ROLES_H
#define RAFT_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct role_member {
	uint64_t id;
	const char *zone;   /* "" or NULL: unknown, as good as a zone of its own */
	bool voter, witness;
	bool learner;       /* explicit: stays one */
	bool able;          /* its vote can be had: it answers, its disk works, it has not forgotten what it acknowledged */
	bool ready;         /* reachable, and lags so little that its vote costs nothing */
	uint64_t silent_ms; /* since it was last heard */
};

struct role_view {
	const struct role_member *members;
	size_t n;
	uint64_t leader;  /* never loses its vote */
	unsigned voters;  /* wanted */
	uint64_t dead_ms; /* silent for longer: dead */
};

struct role_change {
	enum { ROLE_NOTHING, ROLE_PROMOTE, ROLE_DEMOTE } kind;
	uint64_t id;
	const char *why; /* for the log */
};

struct role_change role_plan(const struct role_view *);

#endif

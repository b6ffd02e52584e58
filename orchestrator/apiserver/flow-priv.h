/* What the files of flow*.c share. */
#ifndef ORCHESTRATOR_APISERVER_FLOW_PRIV_H
#define ORCHESTRATOR_APISERVER_FLOW_PRIV_H

#include "base/arena.h"
#include "base/list.h"
#include "orchestrator/apiserver/flow.h"
#include "orchestrator/apiserver/flow_drops.h"
#include "orchestrator/apiserver/flow_config.h"
#include "store/watch.h"

/* Upstream's limit for waiting: a quarter of a request's time. */
#define FLOW_WAIT_MS 15000

#define FLOW_REASONS(X)                                                                                                \
	X(QUEUE_FULL, "queue-full")                                                                                    \
	X(LIMIT, "concurrency-limit")                                                                                  \
	X(TIMEOUT, "time-out")                                                                                         \
	X(CANCELLED, "cancelled")

enum flow_reason {
#define X(id, text) FLOW_##id,
	FLOW_REASONS(X)
#undef X
	FLOW_N_REASONS
};

/* Upper bounds in seconds; the last bucket has none. */
#define FLOW_N_BUCKETS 13
extern const double flow_buckets[FLOW_N_BUCKETS];
struct flow_histogram {
	uint64_t n[FLOW_N_BUCKETS + 1];
	double sum;
};

/* What one loop counted of one schema in one level; stays while the schema does, and its requests. */
struct flow_stat {
	struct list link; /* in flow_state.stats */
	char *schema, *level;
	char uid[64];
	unsigned refs; /* tickets, and the configuration */
	uint64_t dispatched, rejected[FLOW_N_REASONS];
	unsigned waiting, executing, seats; /* now */
	struct flow_histogram wait, execution;
};

/* A priority level on one loop. */
struct flow_level {
	struct list link; /* in flow_state.levels */
	struct flow_state *state;
	char *name;
	char uid[64];
	unsigned refs; /* tickets and holds, and the configuration */
	bool gone;     /* configured no more: what waits is served, then it is freed */
	bool exempt, queues;
	struct flow_bounds bounds; /* of the whole server */
	unsigned limit;            /* of this loop */
	unsigned in_use, running;
	unsigned peak;             /* seats in use or waited for, at most since flow_balance asked */
	struct fair fair;
	struct flow_drops drops;
};

/* What a list of that kind and namespace was last. */
#define FLOW_SIZES 256
struct flow_size {
	uint64_t key;
	size_t bytes;
};
/* Watches by resource; two that share a place are counted together. */
#define FLOW_WATCHED 64

struct flow_source {
	struct watcher watcher;
	struct flow_state *state;
	const struct resource *res;
};

struct flow_state {
	struct api_loop *al;
	unsigned index;
	struct flow_config *config;
	uint64_t changes;
	unsigned wait_ms; /* FLOW_WAIT_MS */
	struct flow_level **by_level; /* of config->levels */
	struct flow_stat **by_schema; /* of config->schemas */
	struct list levels, stats;
	struct flow_source source[2];
	struct arena arena; /* the watchers' keys */
	struct loop_timer reload, kick;
	struct list lingers;
	struct flow_size sizes[FLOW_SIZES];
	unsigned watched[FLOW_WATCHED];
	/* flow_balance.c */
	struct loop_msg press;
	bool pressed;
	struct flow_round *round; /* of the first loop */
};

/* flow.c */
void flow__lingers_end(struct flow_state *);

/* flow_state.c */
struct flow_level *flow__level_find(struct flow_state *, struct str name);
void flow__level_unref(struct flow_level *);
void flow__stat_unref(struct flow_stat *);
/* Seats came free, or the limit rose: who waits is looked at in the loop's next turn. */
void flow__kick(struct flow_state *);
void flow__observe(struct flow_histogram *, uint64_t ns);
/* This loop's part of a level's nominal seats. */
unsigned flow__part(const struct flow_state *, unsigned nominal);

/* flow_balance.c: something had to wait here. */
void flow__press(struct flow_state *);
void flow__balance_init(struct flow_state *);
void flow__balance_fini(struct flow_state *);

/*
 * A message that visits every serve loop, one after the other, and comes home. It belongs to nobody else on the way, so what it
 * carries needs no lock.
 */
struct flow_trip {
	struct loop_msg msg;
	struct apiserver *srv;
	struct loop *home;
	unsigned at;
	void (*visit)(struct flow_trip *, struct flow_state *);
	void (*back)(struct flow_trip *);
};
void flow__trip_start(struct flow_trip *);

#endif

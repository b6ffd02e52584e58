/*
 * The simulated world: members (struct member over a virtual disk and a real store in a temporary directory), a network,
 * clients, faults, and the checks. One thread, virtual time in microseconds, one seed.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdio.h>

#include "base/heap.h"
#include "base/list.h"
#include "raft/member.h"
#include "raft/stable.h"
#include "store/store.h"
#include "tests/sim/rng.h"
#include "tests/sim/simdisk.h"

#define SIM_NODES 5    /* three at first, two that may join */
#define SIM_CLIENTS 6
#define SIM_KEYS 4
#define MS 1000u

struct world;
struct node;

/* One thing that happens at a time. */
struct event {
	struct heap_node heap;
	struct list link; /* of its node, or of the world */
	struct node *node;
	uint64_t epoch; /* void when the node has crashed since */
	void (*fn)(struct event *);
	/* what fn needs */
	uint64_t from;
	bool flag;
	char *bytes;
	size_t size;
	struct member_work *work;
	struct wal_batch *batch;
	struct client *client;
};

struct node {
	struct world *w;
	int index;
	uint64_t id; /* 0: never was a member */
	char name[8], addr[16];
	char *store_dir;
	struct simdisk disk;
	struct stable stable;
	struct store *store;
	struct member *member; /* NULL: down */
	uint64_t epoch;
	uint64_t paused_until;
	bool rotten; /* a bit of its log has been flipped */
	struct event *retry; /* its disk failed: tried again then */
	bool flush_due, gone; /* gone: removed from the cluster, or stopped for good */
	struct event *timer;
	struct list works; /* events of work that is out */
	struct event *write;
	uint64_t last_index, last_hash;
	unsigned fsync_us;
};

enum op_kind { OP_WRITE, OP_READ };

/* One operation of a client, as the checker sees it. */
struct op {
	enum op_kind kind;
	int client, key;
	uint64_t value;    /* written or read; unique for writes; 0: absent */
	uint64_t revision; /* of the value */
	uint64_t invoked, returned; /* microseconds; UINT64_MAX: outcome unknown */
	enum { OP_OK, OP_FAILED, OP_UNKNOWN } outcome;
};

struct client {
	struct world *w;
	int index;
	struct node *node;
	struct kv_req req;
	struct kv_barrier barrier;
	bool busy;
	size_t op; /* index in the history */
	struct buf command;
};

struct sim_cfg {
	uint64_t seed;
	bool trace;
	bool no_checkpoints; /* logs only grow: no snapshots either */
	unsigned seconds; /* of faults */
	const char *dir;  /* for the stores */
};

struct world {
	struct sim_cfg cfg;
	struct rng rng;
	uint64_t now; /* microseconds */
	struct heap heap;
	struct list events;
	struct node nodes[SIM_NODES];
	struct client clients[SIM_CLIENTS];
	bool cut[SIM_NODES][SIM_NODES]; /* from, to */
	unsigned loss, dup, reorder; /* percent */
	unsigned latency_us, jitter_us;
	bool rot_done; /* one member at most loses its log */
	bool calm;    /* the liveness phase: no new faults */
	bool stopped; /* no new operations */
	uint64_t cluster_id;
	struct op *history;
	size_t n_history, cap_history;
	uint64_t next_value;
	unsigned value_size; /* large ones make snapshots of many chunks */
	unsigned voters, dead_ms; /* as in member_cfg */
	unsigned compact_ms; /* UINT_MAX: history is kept whole */
	struct kv_peer initial[3];
	uint64_t initial_ids[3];
	/* term -> the node that led in it; index -> rolling hash */
	struct {
		uint64_t key, value;
	} *leaders, *hashes;
	size_t n_leaders, n_hashes, cap_leaders, cap_hashes;
	struct kv_admin admin;
	bool admin_busy;
	int joining; /* node that waits for its id, -1 */
	char failure[512];
	/* figures */
	uint64_t n_events, n_ok, n_crashes, n_snapshots, n_elections, n_changes, n_disk_faults, n_repairs;
};

void world_init(struct world *, const struct sim_cfg *);
void world_fini(struct world *);
/* Run one simulation; false with w->failure set. */
bool world_run(struct world *);

__attribute__((format(printf, 2, 3))) void sim_trace(struct world *, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void sim_fail(struct world *, const char *fmt, ...);

/* world.c */
struct event *event_add(struct world *, struct node *, uint64_t delay_us, void (*fn)(struct event *));
void event_free(struct world *, struct event *);

/* node.c */
void node_start(struct node *, bool join);
/* power: what was not synced may be lost; else only the process dies. */
void node_crash(struct node *, bool power);
void node_flush_soon(struct node *);
bool node_serves(const struct node *);
void node_check(struct node *);

/* client.c */
void clients_start(struct world *);
void clients_fini(struct world *);
void client_kick(struct client *);
bool check_history(struct world *);
size_t history_acked(const struct world *);

#endif

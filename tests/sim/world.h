/*
 * The simulated world: members (struct member over a virtual disk and a real store in a temporary directory), a network,
 * clients, watchers, faults, and the checks. One thread, virtual time in microseconds, one seed.
 *
 *	world.c     events, a run from start to verdict
 *	node.c      one member: its machine and its crashes; node_start.c how it starts, node_ops.c what it asks of the world,
 *	            node_check.c what must hold after each of its events
 *	faults.c    the table of random faults, and the faults as verbs
 *	scenario.c  named courses of events, for what random ones seldom meet
 *	client.c    clients: reads, writes, transactions, leases, compaction
 *	watcher.c   watches that move from member to member and resume
 *
 * What clients and watchers saw goes to verify/, which says whether an etcd could have shown it.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdio.h>

#include "base/heap.h"
#include "base/list.h"
#include "io/loop.h"
#include "raft/member.h"
#include "raft/stable.h"
#include "store/store.h"
#include "store/watch.h"
#include "tests/lib/rng.h"
#include "tests/sim/simdisk.h"
#include "verify/history.h"

#define SIM_NODES 7 /* some at first, the others may join */
#define SIM_CLIENTS 7
#define SIM_WATCHERS 5
#define SIM_KEYS 8
#define MS 1000u
/* More events a virtual second than any load makes. */
#define SIM_MAX_EVENTS 60000
/* Leases last at most so many seconds. */
#define SIM_MAX_TTL 4

struct world;
struct node;
struct client;

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
	struct wal_batch *batch;
	struct client *client;
	struct watching *watching;
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
	bool rotten;          /* one of its files has been damaged, and it has not got over that yet */
	uint64_t whole_at;    /* its store was found whole again at this index, which it may not have in a checkpoint yet; 0: it has */
	bool may_refuse;      /* what is wrong with its files may be for a person to decide: it may refuse to start */
	bool rejoins;         /* its vote or identity was damaged: it asks to be let in again under a new id */
	bool store_full;      /* commits of its store fail */
	bool forgets;         /* a sync has failed: it may have lost what it acknowledged, for good or for a while */
	struct event *retry;  /* its disk failed: tried again then */
	bool admitted;        /* a committed configuration had it */
	bool flush_due, gone; /* gone: removed from the cluster, or stopped for good */
	struct event *timer;
	struct list works; /* events of work that is out */
	struct event *write;
	uint64_t last_index;
	int64_t last_revision;
	unsigned fsync_us;
	int64_t wall_offset_ms;
	struct kv_admin defrag; /* its store is being copied */
	bool defrags;
	/* What serves its watches. */
	struct loop *loop;
	struct watch_hub *hub;
	bool hub_due;
};

struct client {
	struct world *w;
	unsigned index;
	struct node *node;
	struct kv_req req;
	struct kv_barrier barrier;
	struct kv_lease renewal;
	struct event *sending; /* the request has not reached the node */
	enum { VIA_LOG, VIA_BARRIER, VIA_VIEW, VIA_RENEW } via;
	struct hist_call *call;
	const struct client_op *op;
	struct buf request; /* encoded: a Command, or a RangeRequest or TxnRequest */
	uint64_t epoch;     /* of the node that was asked */
	/* What it knows of the keys. */
	int64_t mod[SIM_KEYS + SIM_CLIENTS];
	int64_t revision; /* the newest it has seen */
	int64_t lease, ttl;
	bool last_renewal;
	uint64_t next_lease;
};

/* A watch, for as long as it is at one member; then the next one goes on where it stopped. */
struct watching {
	struct world *w;
	unsigned index;
	struct node *node; /* NULL: nowhere */
	struct watcher watcher;
	struct hist_watch *stream;
	int64_t next;    /* to resume from; 0: from now */
	bool whole;      /* all keys; else a few */
	bool is_final;   /* the last one on a member, from the oldest revision there is */
	bool done;
};

/* Who voted for whom: ids. */
struct sim_vote {
	uint64_t voter, term, candidate;
};

struct scenario {
	const char *name, *what;
	/* Before anything is made: sizes. May be NULL. */
	void (*prepare)(struct world *);
	/* The faults. The world is well again afterwards by itself. */
	void (*drive)(struct world *);
};
/* scenario_disk.c */
void prepare_files(struct world *);
void drive_files(struct world *);
void prepare_pair(struct world *);
void drive_pair(struct world *);
void prepare_third(struct world *);
void drive_third(struct world *);
const struct scenario *scenario_find(const char *name);
void scenario_list(FILE *);

struct sim_cfg {
	uint64_t seed;
	bool trace;
	bool no_checkpoints; /* logs only grow: no snapshots either */
	unsigned seconds; /* of faults */
	const char *dir;  /* for the stores */
	const struct scenario *scenario;
};

struct world {
	struct sim_cfg cfg;
	struct rng rng;
	uint64_t now; /* microseconds */
	struct heap heap;
	struct list events;
	struct node nodes[SIM_NODES];
	struct client clients[SIM_CLIENTS];
	struct watching watchings[SIM_WATCHERS + SIM_NODES];
	int n_initial;
	bool cut[SIM_NODES][SIM_NODES]; /* from, to */
	bool no_entries[SIM_NODES][SIM_NODES]; /* appends that carry entries get lost, heartbeats arrive */
	unsigned loss, dup, reorder; /* percent */
	unsigned latency_us, jitter_us, hub_us;
	int flapping; /* the node whose links come and go until flap_until; -1 */
	uint64_t flap_until;
	bool no_rot;
	bool calm;    /* the liveness phase: no new faults, no new leases */
	bool stopped; /* no new operations */
	bool quiet;   /* the same, for a while */
	uint64_t calm_at, elected_at, awake_at;
	uint64_t cluster_id;
	struct history *history;
	uint64_t n_acked; /* writes */
	uint64_t next_value;
	int64_t max_revision;
	unsigned value_size; /* large ones make snapshots of many chunks */
	unsigned voters, dead_ms, replace_ms, scrub_ms, lease_checkpoint_ms; /* as in member_cfg */
	unsigned compact_ms; /* UINT_MAX: history is compacted only when clients ask */
	unsigned log_scale;  /* how much larger the log's files are than the smallest */
	struct node *asleep; /* clients renew their leases there, though it sleeps, and leave them to their end then; or NULL */
	unsigned think_ms;   /* between two operations of a client */
	struct kv_peer initial[SIM_NODES];
	uint64_t initial_ids[SIM_NODES];
	/* term -> the node that led in it; index -> rolling hash */
	struct {
		uint64_t key, value;
	} *leaders, *hashes;
	size_t n_leaders, n_hashes, cap_leaders, cap_hashes;
	struct sim_vote *votes; /* that were given, the newest last */
	size_t n_votes, cap_votes;
	struct kv_admin admin;
	bool admin_busy;
	int joining; /* node that waits for its id, -1 */
	struct verdict verdict;
	char failure[1200];
	/* figures */
	uint64_t n_events, n_ok, n_crashes, n_snapshots, n_installs, n_elections, n_changes, n_transfers, n_disk_faults, n_repairs, n_defrags, n_rots, n_rejoins;
};

void world_init(struct world *, const struct sim_cfg *);
void world_fini(struct world *);
/* Run one simulation; false with w->failure set. */
bool world_run(struct world *);
/* For scenarios: let time pass; false when something has failed, or the time for faults is over. */
bool world_pass(struct world *, uint64_t us);

__attribute__((format(printf, 2, 3))) void sim_trace(struct world *, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void sim_fail(struct world *, const char *fmt, ...);

/* world.c */
struct event *event_add(struct world *, struct node *, uint64_t delay_us, void (*fn)(struct event *));
void event_free(struct world *, struct event *);

/* node.c */
void node_init(struct node *, struct world *, int index);
void node_fini(struct node *);
void node_start(struct node *, bool join);
/* power: what was not synced may be lost; else only the process dies. */
void node_crash(struct node *, bool power);
/* An empty machine under the same name and address: it is no member any more. Only when it is down. */
void node_wipe(struct node *);
/* The whole directory of its store is gone. Only when it is down. */
void node_lose_store(struct node *);
void node_flush_soon(struct node *);
/* A view of its store is about to be opened, as if by another thread: the member commits what lingers, if it can. */
void node_view_wanted(struct node *);
void node_hub_soon(struct node *);
bool node_serves(const struct node *);
void node_check(struct node *);
/* It has got over the damage to its files: takes part and votes. */
bool node_mended(struct node *);
/* And no power loss takes it back to what was damaged. */
bool node_sound(struct node *);
struct node *node_by_id(struct world *, uint64_t id); /* NULL: nobody has it now */
struct node *node_leader(struct world *); /* one that believes to lead, of the highest term; or NULL */

/* faults.c */
void fault_draw(struct world *);
void fault_heal(struct world *);
void fault_weather(struct world *);
void fault_restart(struct world *, bool all);
void fault_crash(struct node *, bool power);
void fault_pause(struct node *, uint64_t us);
/* Nobody hears it and it hears nobody. */
/* What a test of processes would ask for with KONTIKI_FAULTS (base/fault.h). */
extern volatile int64_t *sim_faults;

void fault_isolate(struct world *, int node);
void fault_admin(struct node *through, int op, uint64_t target);
void fault_add(struct node *through, struct node *what);
struct node *fault_pick(struct world *); /* one that is up; or NULL */
/* Damage to some file of some member, if the cluster can bear it now. */
void fault_rot(struct world *);
/* Damage to the store of a member that is down. */
void fault_rot_store(struct node *);
/* A bit of some value in the store of a member that runs. */
void fault_rot_value(struct node *);
/* Stopped, its vote unreadable, started again at once; false when the cluster cannot bear that now. */
bool fault_ruin_vote(struct node *);

/* client.c */
void clients_start(struct world *);
void clients_fini(struct world *);
void clients_crashed(struct node *);
/* Of member_ops. */
void client_req_done(struct member *, struct kv_req *);
void client_barrier_done(struct member *, struct kv_barrier *);
void client_lease_done(struct member *, struct kv_lease *);

/* watcher.c */
void watchers_start(struct world *);
/* The node is about to go down. */
void watchers_crashed(struct node *);
/* Does its hub owe a watch something? */
bool watchers_lag(const struct node *);
/* On each member that is up one more, from the oldest revision there is; and nothing moves any more. */
void watchers_finish(struct world *);
bool watchers_done(struct world *);

#endif

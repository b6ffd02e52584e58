/*
 * struct kv: one member of the replicated store, as everything above raft/ sees it.
 *
 * A member is a thread with a loop of its own (raft, write-ahead log, apply) and the local MVCC store. A write
 * is a proposal: an encoded raftpb.Command that the leader appends, a majority makes durable and every member
 * applies in the same order; its answer is the encoded etcd response. A read is local (store_view on kv_store());
 * for a linearizable one pass a barrier first.
 *
 *	kv_start(&cfg, &kv, &e);
 *	req->command = bytes; req->done = on_done; kv_propose(kv, req);      any loop; done runs on that loop
 *	b->done = on_read; kv_barrier(kv, b);                                 then open a view and read
 *	kv_stop(kv);
 *
 * What an error of a proposal means. Definite, it did not and will not happen: ERR_TOO_LARGE, ERR_TOO_MANY (queue
 * full), ERR_INVALID, ERR_BAD_REQUEST, ERR_NOT_LEADER, and every error that the store itself answered. Unknown, it
 * may have happened or may still happen: ERR_UNAVAILABLE, ERR_TIMEOUT. A caller never retries an unknown one blindly.
 *
 * Threads: every function here may be called from any thread unless it says otherwise. A request and the bytes it
 * borrows belong to kv from the call until its done has run; done runs exactly once, never inside the call, on the
 * loop that was current at the call (on the raft loop if there was none: then it must be short).
 */
#ifndef RAFT_KV_H
#define RAFT_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/str.h"
#include "io/loop.h"

struct kv;
struct store;
struct tls_ctx;

#define KV_MAX_MEMBERS 16
#define KV_NAME_MAX 64
#define KV_ADDR_MAX 256
/* One command may be this large; larger ones answer ERR_TOO_LARGE. */
#define KV_MAX_COMMAND (3u << 20)

/* --- A member's start ------------------------------------------------------------------------------ */

struct kv_peer {
	const char *name; /* unique in the cluster, a DNS label */
	const char *addr; /* "ip:port" or "[ip6]:port" where the peers reach it (several: with commas; they are tried in turn) */
	const char *url;  /* where clients reach its API, "https://ip:6443" (several: with commas); may be NULL */
	const char *zone; /* its failure domain, any word; may be NULL */
	bool learner;     /* stays a learner until kv_member_promote; else it becomes a voter or stand-by by itself */
	bool witness;     /* a voter that serves no API and hands leadership on */
};

struct kv_cfg {
	const char *data_dir; /* uses <data_dir>/raft and <data_dir>/store; made when missing */
	const char *name;

	/* The peers' side. listen NULL: no transport, which only a cluster of one member may have. */
	const char *listen;    /* "ip:port", several with commas; port 0 lets the kernel choose (tests) */
	const char *advertise; /* as kv_peer's addr; NULL: same as listen */
	bool keeps_address;    /* `advertise` is for one that begins: a member does not tell the others that it is there now */
	const char *url;       /* this member's API URL, told to the others; may be NULL */
	const char *zone;      /* its failure domain; may be NULL */
	bool witness;
	struct tls_ctx *tls_server, *tls_client; /* must outlive the kv; NULL: plain connections */
	/*
	 * Over TLS a peer's certificate names the organization kontiki:peers. With foreign_peers it is what the TLS contexts
	 * let through; peer_cns (NULL-terminated, must outlive the kv; NULL: any) are the common names it may have then.
	 */
	bool foreign_peers;
	const char *const *peer_cns;
	/* A joiner needs a place that kv_member_add has made; else everybody who reaches the peer address may join. */
	bool places_only;

	/*
	 * On a fresh data directory exactly one of: `initial` (the whole first cluster, this member among them, the
	 * same list on every one of them; NULL: a cluster of this member alone), or `join` (peer addresses of a running
	 * cluster). A directory that already has a member ignores both; if its address, URL or zone are others than the
	 * cluster knows, it tells the cluster.
	 *
	 * A joiner with the peer address of a member that was added and never started becomes that member. One with the name
	 * or address of a member that has been silent for `replace_ms` replaces it.
	 */
	const struct kv_peer *initial;
	size_t n_initial; /* 0, and `initial` not NULL: there is no list, so the directory must have a member */
	const char *cluster_token; /* any text: clusters that begin with the same list and others are not the same; may be NULL */
	const char *const *join;
	size_t n_join;

	/* 0 takes the default. */
	unsigned election_ms;     /* 300 */
	unsigned heartbeat_ms;    /* 50 */
	unsigned request_ms;      /* 10000: a proposal or barrier without an own deadline */
	unsigned join_ms;         /* 30000: how long a join looks for a member that answers */
	unsigned compact_keep_ms; /* 300000: history that is kept; UINT_MAX: no automatic compaction */
	int64_t compact_keep_revisions; /* 0: no matter how many; else history of this many is kept, looked at every 5 min */
	/*
	 * How often the log is told what time leases have left, so that another leader does not give them all of it again; 0: never.
	 * One that has less than this left gets no checkpoint.
	 */
	unsigned lease_checkpoint_ms;
	unsigned scrub_ms;         /* a pass through the store that looks for damage takes about so long; 0: a day; UINT_MAX: never */
	uint64_t checkpoint_bytes; /* 32 MiB: log bytes between two checkpoints */
	uint64_t store_quota;      /* bytes; 0: the store's default */
	/*
	 * Roles. The leader keeps this many voters (further members are stand-by), takes the vote from one that has been
	 * silent for dead_ms when a stand-by can have it, and prefers voters in different zones. raft/roles.h has the rules.
	 */
	unsigned voters;     /* 5 */
	unsigned dead_ms;    /* 30000 */
	unsigned replace_ms; /* 5000 */
	bool nosync;               /* tests only: no fdatasync, so a power loss may lose acknowledged writes */

	/*
	 * The member cannot go on (disk error, corrupt file, removed from the cluster). Runs once, on the raft loop; from
	 * then on every request answers ERR_UNAVAILABLE. NULL: log the error and abort the process.
	 */
	void (*on_fatal)(void *arg, const struct err *);
	void *on_fatal_arg;
};

/*
 * Opens the files, starts the thread, returns when the member takes part (not: when there is a leader). A join waits
 * until the cluster has admitted this member, or fails with the reason. Errors name the file or address and the cure.
 */
int kv_start(const struct kv_cfg *, struct kv **ret, struct err *);
/* Hand leadership over if this is the leader (at most one election timeout), answer what is pending, stop, free.
 * Not from the raft loop. No done runs after it has returned (those for other loops have been posted before). */
void kv_stop(struct kv *);

/* The local state, for views and watch hubs. The same pointer for the whole life of the kv. */
struct store *kv_store(struct kv *);

/* --- Requests ----------------------------------------------------------------------------------------- */

struct kv_req {
	/* in */
	struct str command;         /* encoded raftpb.Command; borrowed until done */
	uint32_t timeout_ms;        /* 0: cfg.request_ms */
	void (*done)(struct kv_req *);
	/* out: err.code == ERR_OK, or why not */
	struct err err;
	char *response;             /* encoded response, heap; the caller frees it (free) */
	size_t response_size;
	uint64_t revision;          /* store revision after the batch it was applied in; its own is in the response's header */
	/* private */
	struct loop *loop;
	struct loop_msg msg;
	struct list link;
	uint64_t deadline, id;
	struct kv *kv;
};

void kv_propose(struct kv *, struct kv_req *);

struct kv_barrier {
	uint32_t timeout_ms; /* 0: cfg.request_ms */
	void (*done)(struct kv_barrier *);
	/* out: ERR_OK: a view opened now sees every write that was acknowledged before the call */
	struct err err;
	/* out: what that view has applied at least. A member that went back to its checkpoint meanwhile has less. */
	uint64_t index;
	/* private */
	struct loop *loop;
	struct loop_msg msg;
	struct list link;
	uint64_t deadline;
	struct kv *kv;
};

void kv_barrier(struct kv *, struct kv_barrier *);

/*
 * A lease's time, which only the leader knows: it proves that it leads before it answers or renews. From any member. The
 * answer is as of the moment of the proof, behind all that was acknowledged before the call.
 */
struct kv_lease {
	/* in */
	int64_t lease;
	bool renew;          /* let its time begin anew */
	uint32_t timeout_ms; /* 0: cfg.request_ms */
	void (*done)(struct kv_lease *);
	/* out: seconds; left -1 and granted 0: there is no such lease, or its time is over */
	struct err err;
	int64_t left, granted;
	/* private */
	struct loop *loop;
	struct loop_msg msg;
	uint64_t deadline;
	struct kv *kv;
};

void kv_lease(struct kv *, struct kv_lease *);

/* --- Leadership and status ----------------------------------------------------------------------------- */

struct kv_role {
	bool leader;        /* this member leads and has applied an entry of its term */
	uint64_t term;
	uint64_t leader_id; /* 0: unknown at the moment */
	char leader_name[KV_NAME_MAX];
	char leader_url[KV_ADDR_MAX];
};

struct kv_role_watch {
	/* in */
	void (*changed)(struct kv_role_watch *, const struct kv_role *);
	/* private */
	struct loop *loop;
	struct list link;
	struct kv *kv;
};

/*
 * `changed` runs on the current loop: soon after the call with the role as it is, then at every change, in order.
 * kv_role_unwatch (same loop) is immediate: nothing fires after it.
 */
void kv_role_watch(struct kv *, struct kv_role_watch *);
void kv_role_unwatch(struct kv_role_watch *);

/* KV_LEARNER also for stand-by members: both have the whole log and no vote. */
enum kv_member_role { KV_VOTER, KV_LEARNER, KV_SPARE };

/* Bits of kv_member.alarms. */
enum kv_alarm {
	KV_ALARM_NOSPACE = 1, /* the store is over its quota: writes are refused (replicated) */
	KV_ALARM_CORRUPT = 2, /* members differ: reads and writes are refused (replicated) */
	KV_ALARM_DAMAGED = 8, /* something in the member's store does not match its checksum: it is not served, and mended from the others */
	KV_ALARM_LOG = 16,    /* a closed segment of the member's log does not match its checksums: a checkpoint of the store takes its place */
	KV_ALARM_DISK = 4,    /* the member's disk fails, is full, or hangs: it does not take part until that is over */
};

struct kv_member {
	uint64_t id;
	char name[KV_NAME_MAX];
	char addr[KV_ADDR_MAX];
	char url[KV_ADDR_MAX];
	char zone[KV_NAME_MAX];
	enum kv_member_role role;
	bool self, leader;
	bool started;         /* false: added, and nobody has come for the place yet; then its name is empty */
	bool learner;         /* a learner until somebody promotes it */
	bool witness;
	uint64_t claim;       /* private: the joiner that has taken the place */
	bool reachable;       /* heard from within the last election timeouts (leader and self: always) */
	uint64_t match_index; /* what the leader knows it to have; known on the leader only */
	/* As it said itself within the last seconds; 0: not known. */
	unsigned alarms;
	uint64_t applied_index;
	uint64_t store_bytes, store_used, wal_bytes;
};

struct kv_status {
	uint64_t cluster_id, member_id;
	char name[KV_NAME_MAX];
	char addr[KV_ADDR_MAX]; /* where this member listens for peers, with the real port */
	struct kv_role role;
	const char *state;      /* "leader", "follower", "candidate", "joining", "stopped" */
	uint64_t commit_index, applied_index, last_index, first_index;
	uint64_t revision;
	uint64_t wal_bytes;
	/* Of this member's store, at most a second old: file, pages that hold data, quota. */
	uint64_t store_bytes, store_used, store_quota;
	unsigned alarms;        /* of the cluster (replicated) and of this member */
	char damage[256];       /* with KV_ALARM_DAMAGED or KV_ALARM_LOG: what was found first */
	/* Passes through this member's store that look for damage: milliseconds since 1970, 0: none yet; 4 KiB pages of the present one. */
	uint64_t scrubbed_at, scrub_began_at, scrub_pages;
	char disk_error[256];   /* with KV_ALARM_DISK: cause and cure */
	size_t n_members;
	struct kv_member members[KV_MAX_MEMBERS];
};

/* A copy of the latest published status; never blocks on the raft loop. */
void kv_status(struct kv *, struct kv_status *);

/* --- Figures for whoever watches a member ------------------------------------------------------------------ */

/* What goes to and comes from another member. */
struct kv_peer_figures {
	uint64_t id;
	bool active; /* connected now */
	uint64_t sent, received; /* bytes */
	uint64_t failures; /* messages that could not be sent: there was no connection, or it was full */
	struct histogram round_trips; /* as the kernel measures them on the connection, looked at every second */
};

struct kv_figures {
	size_t n_peers;
	struct kv_peer_figures peers[KV_MAX_MEMBERS];
};

/* A copy, at most a second old. */
void kv_figures(struct kv *, struct kv_figures *);
/* How long it took to write and sync batches of the log. */
const struct histogram *kv_log_writes(struct kv *);

/* --- Membership ------------------------------------------------------------------------------------------ */

/* Why a membership request was refused, finer than the error's code. */
enum kv_why {
	KV_WHY_NONE,            /* it was not, or the code says all */
	KV_WHY_NOT_FOUND,       /* no member with this id */
	KV_WHY_ADDR_EXISTS,     /* another member has the peer address */
	KV_WHY_NAME_EXISTS,     /* another member has the name, and is not dead */
	KV_WHY_BAD_ADDR,        /* name, address or URL cannot be used */
	KV_WHY_TOO_MANY,        /* the cluster has KV_MAX_MEMBERS */
	KV_WHY_NOT_LEARNER,     /* only a learner can be promoted */
	KV_WHY_LEARNER_LAGS,    /* it is not started, or behind the leader by too much */
	KV_WHY_LAST_VOTER,      /* without it nobody could vote */
	KV_WHY_UNHEALTHY,       /* too few of the voters that would be left answer */
	KV_WHY_BAD_TRANSFEREE,  /* leadership cannot go there: no voter, or none reachable */
	KV_WHY_LOST_LEADER,     /* unknown outcome: leadership moved meanwhile */
};

struct kv_admin {
	/* in */
	uint32_t timeout_ms; /* 0: 60 s */
	void (*done)(struct kv_admin *);
	/* out */
	struct err err;
	enum kv_why why;
	uint64_t id; /* add: the new member's id; else the member concerned */
	/* private */
	int op;
	struct kv_peer peer;
	uint64_t target;
	struct loop *loop;
	struct loop_msg msg;
	struct list link;
	uint64_t deadline, req_id;
	struct kv *kv;
};

/*
 * Reserve a place for a new member: it begins as a learner and, unless peer->learner, becomes a voter (or stand-by) by
 * itself when it has caught up. peer->addr is needed. Without a name (NULL or "") it counts as not started, until a
 * member that starts with `join` and this address takes the place. A member that starts with `join` needs no such
 * reservation; the call is for operators. `peer` and its strings are borrowed until done.
 */
void kv_member_add(struct kv *, struct kv_admin *, const struct kv_peer *peer);
/* A learner becomes a voter now: done when that is committed. ERR_FAILED_PRECONDITION with KV_WHY_NOT_LEARNER or
 * KV_WHY_LEARNER_LAGS. */
void kv_member_promote(struct kv *, struct kv_admin *, uint64_t id);
/* Another address, URL or zone; what is NULL in peer stays. The name and the flags stay. */
void kv_member_update(struct kv *, struct kv_admin *, uint64_t id, const struct kv_peer *peer);
/* Done when the removal is committed. The removed member stops with ERR_FAILED_PRECONDITION. Refused with
 * KV_WHY_UNHEALTHY when the voters that would be left could not commit it. */
void kv_member_remove(struct kv *, struct kv_admin *, uint64_t id);
/* Hand leadership to member `id` (0: the best one). Done when another leader is known, or with an error. */
void kv_transfer(struct kv *, struct kv_admin *, uint64_t id);
/* Give this member's unused file space back: its store is copied into a new file beside it while everything goes on. Done
 * when the old file is gone. ERR_UNAVAILABLE: one is under way already, or a snapshot comes in. */
void kv_defragment(struct kv *, struct kv_admin *);

#endif

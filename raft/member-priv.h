/*
 * What the parts of struct member share: member.c (life), member_start.c (from the files to a running core), member_step.c (events
 * through the core), member_turn.c (ends of turns, times), member_msg.c (messages), member_apply.c (committed entries),
 * member_propose.c, member_read.c and member_lease.c (requests), member_change.c and member_change_start.c (requests about
 * members), member_conf.c (who is in), member_roles.c, member_health.c, member_snap.c, and the disk's member_disk.c,
 * member_scrub.c, member_files.c and member_defrag.c.
 */
#ifndef RAFT_MEMBER_PRIV_H
#define RAFT_MEMBER_PRIV_H

#include <raft.h>

#include "base/list.h"
#include "proto/raft.pb-c.h"
#include "raft/gather.h"
#include "raft/log.h"
#include "raft/member.h"
#include "raft/msg.h"

#define MEMBER_MAX_TAIL 1024                 /* uncommitted entries, see defect D5 */
#define MEMBER_MAX_TAIL_BYTES (16u << 20)
#define MEMBER_MAX_QUEUE_BYTES (64u << 20)   /* proposals that wait */
#define MEMBER_MAX_FORWARD_BYTES (16u << 20) /* proposals that the leader has not answered */
#define MEMBER_MAX_BARRIERS 65536
#define MEMBER_SUBMIT_MAX 512                /* entries in one step */
#define MEMBER_SCRUB_MS 86400000u            /* a pass a day */
#define MEMBER_CONF_BLOB "raft.conf"

/* A proposal on its way. Exactly one of: local (req), remote (peer and id), internal (neither). */
struct proposal {
	struct list link;
	struct kv_req *req;
	uint64_t peer, id;
	uint64_t deadline;
	uint64_t index;    /* in the log, once appended */
	uint64_t sent_to;  /* forwarded to this leader */
	char *command;
	uint32_t size;
};

/* A question about a lease on its way: local (req) or remote (peer and peer_seq). */
struct lease_ask {
	struct list link;
	struct kv_lease *req;
	uint64_t peer, peer_seq;
	uint64_t seq; /* our own name for it */
	int64_t lease;
	bool renew;
	uint64_t deadline, not_before;
	bool taken_back; /* the checkpoint of the lease, before it is renewed */
	uint64_t sent_to, sent_at;
};

/* A barrier on its way: local (barrier, or for a lease) or remote (peer and seq). */
struct read {
	struct list link;
	struct kv_barrier *barrier;
	struct lease_ask *lease;
	uint64_t peer, seq;
	uint64_t deadline;
	uint64_t index; /* wait until this is applied */
};

/* A membership request: local (admin), of a peer (peer and id), or of a joiner (conn and id). */
struct change {
	struct list link;
	struct kv_admin *admin;
	uint64_t peer, conn, id;
	uint64_t deadline;
	uint8_t op, why;  /* enum member_admin_op, enum kv_why */
	bool again;       /* JOIN: in its own place */
	bool vacated;     /* and that has been vacated for it */
	bool handed_over; /* the leader's own removal: it has tried to hand over first */
	uint64_t target;
	uint64_t index;   /* of its configuration entry */
	uint64_t sent_to;
	struct kv_member who; /* what it adds or changes: names, addresses, flags */
};

/* One step from the present configuration to the next. */
struct conf_edit {
	uint64_t id;         /* change this one, or add it; 0: none */
	const char *address; /* NULL: as it is */
	int role;            /* enum raft_role; -1: as it is */
	uint64_t without;    /* instead: leave this one out */
};

#define MEMBER_ADDRESS_MAX (2 * KV_NAME_MAX + 2 * KV_ADDR_MAX + 32)
#define MEMBER_FLAG_LEARNER 1u
#define MEMBER_FLAG_WITNESS 2u
#define MEMBER_FLAG_AGAIN 4u /* a joiner that was this member until its files were damaged */

/*
 * Which proposals of a peer have arrived: a repeated frame must not become a repeated write. Ids count up from a random
 * epoch (the high half) that a peer draws when it starts; one further back than the window counts as seen.
 */
#define SEEN_WINDOW 4096
struct seen {
	uint32_t epoch, max;
	uint64_t bits[SEEN_WINDOW / 64];
};

/* The rolling hash at every so many entries; the newest so many of them are kept, to compare with the others'. */
#define MEMBER_HASH_EVERY 64
#define MEMBER_N_HASHES 256
struct hash_mark {
	uint64_t index, hash;
};

/* What this member knows of another one, also of those that are not in the configuration (yet). */
struct peer_state {
	uint64_t id;
	uint64_t last_heard;
	bool lost; /* the connection broke, and nothing was heard since */
	bool differs; /* its state is not ours */
	bool told;    /* and the alarm that says so was seen in the store */
	struct msg_health health;
	uint64_t health_at;
	uint64_t appended; /* this term, as leader: the newest entry that was sent to it */
	bool nudged;       /* and it has not acknowledged anything since it was hurried */
	struct snap_send *snap;
	uint64_t snap_retry_at;
	struct seen seen[3]; /* newest epoch first */
};

struct committed_conf {
	struct list link;
	uint64_t index;
	struct raft_configuration conf;
};

struct member {
	void *arg;
	const struct member_ops *ops;
	struct member_cfg cfg;
	uint64_t id, cluster_id;
	struct raft raft;
	bool raft_open, stopped;
	bool halted;    /* the disk failed: member_disk.c */
	bool forgetful; /* lost entries that it had acknowledged: no vote */
	uint64_t pair;  /* but for this one: repair_pair */
	bool settled;   /* raft/settled is there */
	struct err halt_err;
	uint64_t halt_term, forget_term;
	struct stable *stable;
	struct store *store;
	struct wal wal;
	struct log log;

	/* Writing. */
	bool writing;
	struct wal_batch batch;
	uint64_t write_since, resign_after, lead_since, roles_at, announce_after;
	unsigned n_work; /* jobs out */

	/* The view after the last step. */
	int state; /* enum raft_state */
	uint64_t leader;
	bool ready;         /* leads, and has applied an entry of its term */
	bool need_barrier;  /* new leader without an entry of its term */
	bool dirty;         /* tell the shell */
	uint64_t commit, applied, applied_term;
	uint64_t last_contact; /* with the current leader */
	uint64_t hint_leader, hint_term, hint_at, hint_until; /* crash hint */
	bool stepping;

	/* The configuration as of `applied`, encoded as the core does. */
	struct buf conf;
	struct buf noted; /* what the file `peers` holds of it */
	bool apply_stuck;      /* the next entry needs something that is damaged */
	uint64_t damage_since; /* when damage to the store was noticed; 0: there is none */
	struct {
		struct store_scrub at;
		uint64_t next_at, save_at;
		uint64_t last_wall, begun_wall; /* the last whole pass, and the beginning of this one; 0: none */
		bool out, wants_checkpoint;
	} scrub;
	struct {
		uint64_t next_at, since;
		uint32_t at;      /* the closed segment that was looked at last */
		uint32_t damaged; /* the one that is damaged; 0: none */
		uint64_t cut;     /* the log goes up to this entry as soon as a checkpoint has it */
		bool out;
		char text[256];
	} files;
	uint64_t conf_index;
	bool was_member;
	struct peer_state peers[KV_MAX_MEMBERS * 2];
	size_t n_peers;

	/* Proposals. */
	struct list queue, pending, forwarded;
	size_t queue_bytes, forward_bytes;
	uint64_t forward_after; /* the supposed leader refused: ask again then */
	/* Pacing, so that what comes while others are on their way gathers: see paced() in member_propose.c. */
	uint64_t submitted[2]; /* last indexes of the two newest batches appended */
	uint64_t sent[2];      /* last ids of the two newest batches forwarded */
	uint64_t sent_at;
	struct gather gather;
	uint64_t held_until; /* the queue waits for more until then; UINT64_MAX: not */
	uint64_t next_id;
	struct proposal **submitting; /* those in the SUBMIT step under way */

	/* Read barriers. */
	struct list reads;           /* wait for the next round */
	struct list round;           /* in the round */
	struct list confirmed;       /* wait for apply */
	size_t n_reads;
	uint64_t round_seq, round_term, round_index, round_to, round_sent;
	uint64_t round_acks[KV_MAX_MEMBERS];
	size_t n_round_acks;

	/* Leases: not yet asked for, and asked of the leader. Those in a read round are in neither. */
	struct list lease_waiting, lease_sent;
	size_t n_lease_asks;

	/* Membership. */
	struct list changes;   /* wait for their turn */
	struct list forwarded_changes;
	struct change *change; /* the one under way */
	void (*join_reply)(struct member *, uint64_t conn, struct str frame);

	/* Checkpoints, snapshots, upkeep. */
	/* Batches that are applied and answered, but not committed in the store: see may_linger() in member_apply.c. */
	uint64_t settle_at;    /* the latest; UINT64_MAX: there are none */
	uint64_t linger_after; /* not before: somebody reads */
	struct checkpoint_work *checkpoint;
	uint64_t checkpoint_mark; /* WAL bytes at the last one */
	uint64_t wal_written;     /* bytes appended ever */
	struct snap_recv *install;
	struct defrag *defrag;
	uint64_t next_upkeep, lease_retry_at, lease_checkpoint_at;
	bool snap_update; /* the core asked for the snapshot to be made durable */
	struct raft_snapshot_metadata snap_meta;
	struct {
		uint64_t at;
		int64_t revision;
	} history[16];
	size_t n_history;
	uint64_t history_at, revisions_at;
	bool store_work;
	struct store_stats stats; /* at most a second old */
	unsigned alarms;          /* enum kv_alarm */
	char disk_error[256];
	uint64_t health_at;
	struct hash_mark hashes[MEMBER_N_HASHES], newest_hash;
	struct buf frame; /* scratch for encoding */
	struct raft_entry *entries; /* scratch for appends */
	size_t cap_entries;
};

/* member_start.c */
int member__load(struct member *, struct err *); /* the log, in line with the store */
int member__start_core(struct member *, struct err *);

/* member_step.c */
uint64_t member__now(struct member *);
void member__kick(struct member *);
/*
 * One event through the core, and all that it asks for, in the order the core wants it: term and vote are durable before
 * anything else happens. Returns the core's code; 0 and "cannot now" codes are for the caller, others are final.
 */
int member__step(struct member *, struct raft_event *);
/* Make the core's term and vote durable. */
void member__save_vote(struct member *);
void member__fatal(struct member *, const struct err *);
bool member__send(struct member *, uint64_t to, const struct msg *);
void member__work(struct member *, struct member_work *);

/* member_turn.c */
/* New entries were appended: send them now to who would otherwise get them with the next heartbeat, if a majority waits for that. */
void member__nudge(struct member *);
void member__arm_by(struct member *, uint64_t at);

/* member_msg.c */
void member__send_raft(struct member *, struct raft_message *);

/* member_apply.c */
void member__apply(struct member *);
/* One entry of the log into a store, in a batch of it; the answer is appended to *result unless that is NULL. */
int member__apply_to(struct member *, struct store *, uint64_t index, struct buf *result, struct err *);
int member__load_conf(struct member *, struct err *);
void member__upkeep(struct member *, uint64_t now);
void member__propose_command(struct member *, Raftpb__Command *);
void member__maybe_checkpoint(struct member *);
void member__check_ready(struct member *);
/* Commit what lingers in the store. False: it failed, and so has the member. */
bool member__settle(struct member *);
/* The same, because somebody reads. */
bool member__settle_for_read(struct member *);
/* The member does not run any more: as far as that goes. */
void member__settle_last(struct member *);

/* member_propose.c */
void member__submit(struct member *);
void member__answer(struct member *, uint64_t index, struct str result);
void member__lost_leadership(struct member *);
void member__leader_changed(struct member *);
void member__expire(struct member *, uint64_t now);
void member__fail_all(struct member *, const struct err *);
void member__forward_lost(struct member *, uint64_t peer);
void member__propose_frame(struct member *, uint64_t from, const struct msg *);
void member__propose_result(struct member *, uint64_t from, const struct msg *);
void member__propose_internal(struct member *, struct str command);

/* member_read.c */
void member__reads(struct member *);
void member__reads_applied(struct member *);
void member__reads_restart(struct member *);
void member__reads_halted(struct member *);
void member__reads_expire(struct member *, uint64_t now, const struct err *all);
void member__read_frame(struct member *, uint64_t from, const struct msg *);
void member__reads_peer_lost(struct member *, uint64_t peer);
/* Let the ask take part in the next round; it comes back by member__lease_proven, _again or _failed. */
void member__read_lease(struct member *, struct lease_ask *);

/* member_lease.c */
void member__leases(struct member *);
void member__lease_checkpoints(struct member *, uint64_t now);
void member__lease_proven(struct member *, struct lease_ask *);
void member__lease_again(struct member *, struct lease_ask *);
void member__lease_failed(struct member *, struct lease_ask *, const struct err *);
void member__lease_frame(struct member *, uint64_t from, const struct msg *);
void member__leases_expire(struct member *, uint64_t now, const struct err *all);

/* member_disk.c */
bool member__runs(const struct member *); /* neither stopped nor halted */
void member__disk_failed(struct member *, const struct err *);
/* Without the core, which hands over only what it leads for long enough: the best of the others is told to stand for election. */
void member__hand_over_now(struct member *);
void member__failed(struct member *, const struct err *); /* fatal or a failing disk, by the error's code */
void member__halted_frame(struct member *, uint64_t from, const struct msg *);
const char *member__disk_trouble(struct member *, uint64_t now);
bool member__load_forgetful(struct member *);
/* Two voters, of which this one has forgotten something: see raft/repair.h. */
int member__pair_term(struct member *, struct err *);
bool member__votes_for_pair(const struct member *, uint64_t candidate);
/* This configuration is about to come into the log, or with a snapshot. False: the disk failed. */
bool member__conf_comes(struct member *, const void *conf, size_t size);
void member__maybe_settle(struct member *);
int member__repair_log(struct member *, struct err *); /* *e: in, what is wrong */
/* Two other voters have what this member has, as far as it knows. */
bool member__others_have_it(struct member *);
/* A damaged store that others can replace is not to be opened any more. */
void member__give_up_store(struct member *);
/* Keep the file `peers` up to date; see raft/stable.h. */
void member__note_peers(struct member *);
void member__maybe_remember(struct member *);

/* member_scrub.c */
void member__scrub_load(struct member *);
void member__scrub_tick(struct member *, uint64_t now);
/* Something in the store does not match its checksum: said, and mended with what the leader sends. */
void member__look_for_damage(struct member *);
/* A state that is sent is to mend the store. */
bool member__wants_state(struct member *);
/* An entry could not be applied because of damage. True: others have the state, and this member waits for it. */
bool member__stuck(struct member *, const struct err *);
/* The store was replaced by a whole one that is at a later entry. */
int member__unstick(struct member *, struct err *);

/* member_files.c */
void member__files_load(struct member *);
void member__files_tick(struct member *, uint64_t now);
/* The log must not keep entries up to this one longer than it has to; 0: it may. */
uint64_t member__files_cut(const struct member *);

/* member_defrag.c */
void member__defrag(struct member *, struct kv_admin *);
void member__defrag_advance(struct member *);
bool member__defrag_wants_checkpoint(const struct member *);
void member__defrag_checkpointed(struct member *);
void member__defrag_give_up(struct member *);
/* A state that was sent, all of it: it catches up and takes the store's place. */
int member__defrag_adopt(struct member *, struct store_install *, struct err *);
uint64_t member__defrag_keep(const struct member *); /* the oldest entry that the copy still needs */

/* member_health.c */
void member__note_hash(struct member *, uint64_t index, uint64_t hash);
void member__forget_hashes(struct member *);
void member__health_frame(struct member *, uint64_t from, const struct msg *);
void member__health_tick(struct member *, uint64_t now);
void member__fill_health(struct member *, struct kv_member *);

/* member_roles.c */
void member__resign_for(struct member *, uint64_t peer);
void member__resign_damaged(struct member *, uint64_t now);
void member__keep_roles(struct member *);
void member__resign_if_stuck(struct member *, uint64_t now);
void member__resign_if_witness(struct member *, uint64_t now);
void member__announce_self(struct member *, uint64_t now);
/* Since it was heard, or since this member leads, whichever is shorter. */
uint64_t member__silent_ms(struct member *, uint64_t id);
/* It is certainly there: connected, and heard within some heartbeats. */
bool member__answers(struct member *, uint64_t id);

/* member_change_start.c */
int member__submit_conf(struct member *, const struct conf_edit *, struct err *);
/* The first of the queue, whose turn it is: it is answered, or under way. */
void member__change_start(struct member *, struct change *);

/* member_change.c */
struct change *member__change_new(struct member *, uint8_t op, uint64_t deadline);
/* Answer it, and forget it. `id`: the member that it was about; `e` NULL: it was done. */
void member__change_done(struct member *, struct change *, enum msg_status, uint64_t id, const struct err *e);
void member__change_failed(struct member *, struct change *, enum err_code, const char *why);
bool member__may_change(const struct member *);
/* Requests of this member's own; nobody waits for the answer. */
void member__request(struct member *, enum member_admin_op, uint64_t deadline);
void member__request_update(struct member *, const struct kv_peer *, uint64_t deadline);
void member__conf_committed(struct member *, uint64_t index, struct raft_configuration *conf);
void member__changes(struct member *);
void member__changes_lost(struct member *);
void member__changes_expire(struct member *, uint64_t now, const struct err *all);
void member__admin_frame(struct member *, uint64_t from, const struct msg *);
void member__admin_result(struct member *, uint64_t from, const struct msg *);
void member__changes_peer_lost(struct member *, uint64_t peer);

/* member_conf.c */
void member__refresh_peers(struct member *);
const struct raft_server *member__server(const struct member *, uint64_t id);
unsigned member__voters(const struct member *);
bool member__is_voter(const struct member *, uint64_t id);
void member__parse_address(const char *address, struct kv_member *ret);
void member__format_address(char out[MEMBER_ADDRESS_MAX], const struct kv_member *);
void member__copy(char *out, size_t size, struct str);
void member__fill(struct member *, const struct raft_server *, struct kv_member *out);
uint64_t member__as_id(uint64_t);
struct peer_state *member__peer(struct member *, uint64_t id);
/* True the first time. */
bool member__first_time(struct peer_state *, uint64_t id);

/* member_snap.c */
void member__snap_wanted(struct member *, uint64_t to);
void member__snap_frame(struct member *, uint64_t from, const struct msg *);
void member__snap_tick(struct member *, uint64_t now);
void member__snap_advance(struct member *); /* swap in what is complete, when nothing stands against it */
void member__snap_stop_sending(struct member *);
void member__snap_close(struct member *);
/* A state is coming in that is to mend the store. */
bool member__snap_mends(const struct member *);
uint64_t member__snap_keep(const struct member *); /* oldest index that a transfer under way still needs after it */

#endif

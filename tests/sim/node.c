/* One simulated member: its ops, its start and its crashes, its watch hub, and what is checked after each of its events. */
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "raft/member-priv.h"
#include "raft/repair.h"
#include "store/view.h"
#include "tests/sim/world.h"

static struct node *of(struct member *m)
{
	return member_arg(m);
}

struct node *node_by_id(struct world *w, uint64_t id)
{
	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].id == id)
			return &w->nodes[i];
	return NULL;
}

bool node_serves(const struct node *n)
{
	return n->member && !n->gone;
}

struct node *node_leader(struct world *w)
{
	struct node *best = NULL;

	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		if (n->member && !n->gone && member_is_leader(n->member) &&
		    (!best || raft_current_term(member_raft(n->member)) > raft_current_term(member_raft(best->member))))
			best = n;
	}
	return best;
}

/* --- Ops ----------------------------------------------------------------------------------------------------- */

static uint64_t op_now(struct member *m)
{
	/* Each has its own epoch: nobody may compare clocks. */
	return of(m)->w->now / 1000 + 1000000u * (unsigned)(of(m)->index + 1);
}

static uint64_t op_wall(struct member *m)
{
	return 1700000000000u + of(m)->w->now / 1000 + (uint64_t)of(m)->wall_offset_ms;
}

static uint32_t op_random(struct member *m)
{
	return (uint32_t)rng_next(&of(m)->w->rng);
}

static void ev_timer(struct event *e)
{
	e->node->timer = NULL;
	member_timer(e->node->member);
}

static void op_arm(struct member *m, uint64_t at)
{
	struct node *n = of(m);
	uint64_t now = op_now(m);

	if (n->timer)
		event_free(n->w, n->timer);
	n->timer = event_add(n->w, n, at > now ? (at - now) * 1000 : 1, ev_timer);
}

static void ev_flush(struct event *e)
{
	e->node->flush_due = false;
	member_flush(e->node->member);
}

void node_flush_soon(struct node *n)
{
	if (n->flush_due)
		return;
	n->flush_due = true;
	event_add(n->w, n, 0, ev_flush);
}

static void op_kick(struct member *m)
{
	node_flush_soon(of(m));
}

static void ev_frame(struct event *e)
{
	member_receive(e->node->member, e->from, str_of(e->bytes, e->size));
}

static void deliver(struct node *from, struct node *to, struct str frame)
{
	struct world *w = from->w;
	uint64_t delay = w->latency_us + rng_below(&w->rng, w->jitter_us + 1);
	struct event *e;

	if (rng_chance(&w->rng, w->reorder))
		delay += rng_below(&w->rng, 20 * MS);
	e = event_add(w, to, delay, ev_frame);
	e->from = from->id;
	e->bytes = xmalloc(frame.n);
	memcpy(e->bytes, frame.p, frame.n);
	e->size = frame.n;
}

/*
 * One vote a term under one id, whatever happens to the member in between: a candidate's own, of which its request tells, or one that is
 * granted. One that gets lost on its way counts, too.
 */
static void note_vote(struct node *n, uint64_t to_id, struct str frame)
{
	struct world *w = n->w;
	struct sim_vote v = {.voter = n->id};
	struct msg msg;

	if ((frame.p[4] != MSG_VOTE && frame.p[4] != MSG_VOTE_RESULT) || msg_decode(frame, &msg, NULL) != 0)
		return;
	if (msg.kind == MSG_VOTE ? msg.vote.pre_vote : msg.vote_result.pre_vote || !msg.vote_result.vote_granted)
		return;
	v.term = msg.kind == MSG_VOTE ? msg.vote.term : msg.vote_result.term;
	v.candidate = msg.kind == MSG_VOTE ? n->id : to_id;
	for (size_t i = w->n_votes; i-- > 0;)
		if (w->votes[i].voter == v.voter && w->votes[i].term == v.term) {
			if (w->votes[i].candidate != v.candidate)
				sim_fail(w, "%s votes twice in term %" PRIu64 ": for %016" PRIx64 " and for %016" PRIx64, n->name, v.term,
					 w->votes[i].candidate, v.candidate);
			return;
		}
	if (w->n_votes == w->cap_votes) {
		w->cap_votes = w->cap_votes ? w->cap_votes * 2 : 256;
		w->votes = xrealloc(w->votes, w->cap_votes * sizeof(*w->votes));
	}
	w->votes[w->n_votes++] = v;
}

static bool carries_entries(struct str frame)
{
	struct msg msg;

	return frame.p[4] == MSG_APPEND && msg_decode(frame, &msg, NULL) == 0 && msg.append.n > 0;
}

static bool op_send(struct member *m, uint64_t to_id, enum msg_channel channel _unused_, struct str frame)
{
	struct node *from = of(m), *to = node_by_id(from->w, to_id);
	struct world *w = from->w;

	note_vote(from, to_id, frame);
	if (!to || !to->member || w->cut[from->index][to->index])
		return to && to->member; /* a cut link swallows, a dead process refuses */
	if (w->cfg.trace && w->calm && getenv("SIM_FRAMES")) {
		struct msg msg;

		msg_decode(frame, &msg, NULL);
		if (msg.kind == MSG_APPEND)
			sim_trace(w, "%s>%s APPEND term=%" PRIu64 " prev=%" PRIu64 "/%" PRIu64 " n=%u commit=%" PRIu64, from->name,
				  to->name, msg.append.term, msg.append.prev_index, msg.append.prev_term, msg.append.n,
				  msg.append.commit);
		else if (msg.kind == MSG_APPEND_RESULT)
			sim_trace(w, "%s>%s RESULT term=%llu rejected=%llu last=%llu", from->name, to->name,
				  msg.append_result.term, msg.append_result.rejected, msg.append_result.last_log_index);
		else
			sim_trace(w, "%s>%s %s", from->name, to->name, msg_kind_name(msg.kind));
	}
	w->n_snapshots += frame.p[4] == MSG_SNAP_BEGIN;
	if (w->no_entries[from->index][to->index] && carries_entries(frame))
		return true;
	if (rng_chance(&w->rng, w->loss))
		return true;
	deliver(from, to, frame);
	if (rng_chance(&w->rng, w->dup))
		deliver(from, to, frame);
	return true;
}

static void ev_written(struct event *e)
{
	struct node *n = e->node;
	struct err err = ERR_INIT;
	struct wal_batch *batch = e->batch;
	int rc = wal_batch_write(&n->disk.disk, batch, &err);

	n->write = NULL;
	member_written(n->member, rc ? &err : NULL);
}

static void op_write(struct member *m, struct wal_batch *batch)
{
	struct node *n = of(m);
	struct event *e = event_add(n->w, n, n->fsync_us / 2 + rng_below(&n->w->rng, n->fsync_us + 1), ev_written);

	e->batch = batch;
	n->write = e;
}

/* Work is listed apart, so that a crash can end it. */
struct job {
	struct list link;
	struct member_work *work;
};

static void ev_work(struct event *e)
{
	struct job *job = (struct job *)(void *)e->bytes;
	struct member_work *work = job->work;
	struct node *n = e->node;

	list_del(&job->link);
	/* It may open a view of the store: on the thread that it has elsewhere it would not commit, but ask for it. */
	if (n->store_full)
		node_view_wanted(n);
	work->fn(work);
	work->done(work);
}

static void op_work(struct member *m, struct member_work *work)
{
	struct node *n = of(m);
	struct event *e = event_add(n->w, n, MIN(n->fsync_us, 300 * MS) + rng_below(&n->w->rng, 20 * MS), ev_work);
	struct job *job = xcalloc(1, sizeof(*job));

	job->work = work;
	list_add_tail(&n->works, &job->link);
	e->bytes = (char *)job;
}

static void op_peers(struct member *m _unused_, const struct kv_member *list _unused_, size_t n _unused_)
{
}

static void op_changed(struct member *m _unused_)
{
}

/* As a service manager does. */
static void ev_started_again(struct event *e)
{
	if (!e->node->member && !e->node->gone)
		node_start(e->node, false);
}

static void ev_die(struct event *e)
{
	if (!e->node->member)
		return;
	node_crash(e->node, false);
	if (e->node->rotten)
		event_add(e->node->w, e->node, 1000 * MS, ev_started_again);
}

static void op_fatal(struct member *m, const struct err *e)
{
	struct node *n = of(m);

	sim_trace(n->w, "%s stops: %s", n->name, e->text);
	if (e->code == ERR_FAILED_PRECONDITION) /* removed */
		n->gone = true;
	else if (!n->rotten || e->code != ERR_CORRUPT)
		sim_fail(n->w, "%s stopped: %s", n->name, e->text);
	event_add(n->w, n, 0, ev_die);
}

static void member_cfg_of(struct node *n, struct member_cfg *mc);

static void on_join_reply(struct member *m, uint64_t conn, struct str frame);

/* As the shell does: the files anew, a new member on them, and only what was known to be durable counts. */
static bool reopen(struct node *n)
{
	struct stable before = n->stable, stable;
	struct member *old = n->member, *member;
	struct member_cfg mc;
	struct err e = ERR_INIT;

	if (stable_open(&stable, &n->disk.disk, &e) != 0)
		return false;
	n->stable = stable;
	member_cfg_of(n, &mc);
	mc.distrust = true;
	mc.trust_lsn = member_durable_lsn(old);
	if (member_new(&mc, n, &member, &e) != 0) {
		stable_close(&n->stable);
		n->stable = before;
		if (e.code == ERR_CORRUPT || e.code == ERR_FAILED_PRECONDITION)
			sim_fail(n->w, "%s does not come back after its disk failed: %s", n->name, e.text);
		return false;
	}
	n->member = member;
	member_stop(old);
	member_free(old);
	stable_close(&before);
	member_on_join_reply(member, on_join_reply);
	n->last_index = 0;
	n->w->n_repairs++;
	sim_trace(n->w, "%s is back after a disk failure", n->name);
	node_flush_soon(n);
	return true;
}

static void ev_retry(struct event *ev)
{
	struct node *n = ev->node;

	n->retry = NULL;
	if (n->disk.fault != SIMDISK_FINE || n->store_full || !member_idle(n->member) || !reopen(n))
		n->retry = event_add(n->w, n, 200 * MS, ev_retry);
}

static void op_disk_failed(struct member *m, const struct err *e)
{
	struct node *n = of(m);

	sim_trace(n->w, "%s halts: %s", n->name, e->text);
	n->w->n_disk_faults++;
	n->retry = event_add(n->w, n, 200 * MS, ev_retry);
}

void client_req_done(struct member *, struct kv_req *);
void client_barrier_done(struct member *, struct kv_barrier *);
void client_lease_done(struct member *, struct kv_lease *);

static void ev_join(struct event *e)
{
	if (!e->node->member && e->node->id)
		node_start(e->node, true);
}

static void op_admin_done(struct member *m, struct kv_admin *a)
{
	struct world *w = of(m)->w;
	struct node *joiner = w->joining >= 0 ? &w->nodes[w->joining] : NULL;

	if (a == &of(m)->defrag) {
		of(m)->defrags = false;
		w->n_defrags += a->err.code == 0;
		sim_trace(w, "%s has copied its store: code=%d %s", of(m)->name, (int)a->err.code, a->err.text);
		return;
	}
	w->admin_busy = false;
	sim_trace(w, "admin op=%d code=%d %s", a->op, (int)a->err.code, a->err.text);
	if (a->err.code == 0 && a->op == MEMBER_TRANSFER)
		w->n_transfers++;
	else if (a->err.code == 0)
		w->n_changes++;
	if (a->op != MEMBER_ADD || !joiner)
		return;
	w->joining = -1;
	if (a->err.code == 0 && a->id) {
		joiner->id = a->id;
		event_add(w, joiner, 1, ev_join);
	}
}

static const struct member_ops ops = {
	.now = op_now,
	.wall = op_wall,
	.random = op_random,
	.arm = op_arm,
	.kick = op_kick,
	.send = op_send,
	.write = op_write,
	.work = op_work,
	.peers = op_peers,
	.changed = op_changed,
	.disk_failed = op_disk_failed,
	.fatal = op_fatal,
	.req_done = client_req_done,
	.barrier_done = client_barrier_done,
	.lease_done = client_lease_done,
	.admin_done = op_admin_done,
};

/* --- Watches --------------------------------------------------------------------------------------------------- */

void node_view_wanted(struct node *n)
{
	if (n->member && store_is_sealed(n->store))
		member_view_wanted(n->member);
}

/* A little at a time: what is left waits for its turn, so that hubs lag behind as real ones do. */
static void ev_hub(struct event *e)
{
	struct node *n = e->node;

	n->hub_due = false;
	if (!n->hub)
		return;
	/* A replay may not fail because of it: on a thread of its own it would not see the error. */
	if (n->store_full)
		node_view_wanted(n);
	for (int i = 0; i < 3; i++)
		loop_turn(n->loop, 0);
	if (watchers_lag(n))
		node_hub_soon(n);
}

void node_hub_soon(struct node *n)
{
	if (n->hub_due || !n->hub)
		return;
	n->hub_due = true;
	event_add(n->w, n, rng_between(&n->w->rng, 1, n->w->hub_us), ev_hub);
}

static void hub_open(struct node *n)
{
	/* A small backlog: batches are left out, and watchers catch up from the log. */
	n->hub = watch_hub_new(n->store, n->loop, rng_chance(&n->w->rng, 50) ? 0 : 2000);
	n->hub_due = false;
	n->last_revision = store_revision(n->store);
}

static void hub_close(struct node *n)
{
	if (!n->hub)
		return;
	watchers_crashed(n);
	watch_hub_free(TAKE(n->hub));
	/* Batches on their way hold references. */
	for (int i = 0; i < 3; i++)
		loop_turn(n->loop, 0);
}

/* --- Start and crash ------------------------------------------------------------------------------------------ */

void node_init(struct node *n, struct world *w, int index)
{
	n->w = w;
	n->index = index;
	snprintf(n->name, sizeof(n->name), "n%d", index + 1);
	snprintf(n->addr, sizeof(n->addr), "10.0.0.%d:1", index + 1);
	n->store_dir = xasprintf("%s/n%d", w->cfg.dir, index + 1);
	n->fsync_us = 500;
	list_init(&n->works);
	simdisk_init(&n->disk, &w->rng);
	n->loop = loop_new(n->name);
}

void node_fini(struct node *n)
{
	simdisk_fini(&n->disk);
	loop_free(n->loop);
	free(n->store_dir);
}

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_)
{
	return remove(path);
}

void node_lose_store(struct node *n)
{
	ASSERT(!n->member);
	nftw(n->store_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void node_wipe(struct node *n)
{
	node_lose_store(n);
	simdisk_fini(&n->disk);
	simdisk_init(&n->disk, &n->w->rng);
	n->id = 0;
	n->gone = n->rotten = n->rejoins = n->admitted = n->forgets = false;
}

static void member_cfg_of(struct node *n, struct member_cfg *mc)
{
	struct world *w = n->w;

	*mc = (struct member_cfg){.ops = &ops,
				  .disk = &n->disk.disk,
				  .stable = &n->stable,
				  .store = n->store,
				  .voters = w->voters,
				  .dead_ms = w->dead_ms,
				  .replace_ms = w->replace_ms,
				  .election_ms = 300,
				  .heartbeat_ms = 50,
				  .compact_keep_ms = w->compact_ms,
				  .checkpoint_bytes = (10u << 10) * w->log_scale,
				  .trailing_bytes = (2u << 10) * w->log_scale,
				  .max_log_bytes = (40u << 10) * w->log_scale,
				  .segment_size = (8u << 10) * w->log_scale,
				  .log_cache = 4u << 10};
	/* Large values: larger files, or each entry is one. */
	if (w->value_size > 1000) {
		mc->checkpoint_bytes *= 16;
		mc->trailing_bytes *= 16;
		mc->max_log_bytes *= 16;
		mc->segment_size *= 16;
	}
	/* Much lingers in the store's transaction, little, or what members decide by themselves. */
	mc->linger_always = w->cfg.seed % 3 != 0;
	mc->linger_ms = w->cfg.seed % 3 == 2 ? 2000 : 20;
	if (w->cfg.no_checkpoints)
		mc->checkpoint_bytes = UINT64_MAX;
	/* A member that died before its first entry was durable begins with the list again. */
	if (!n->stable.joined) {
		mc->initial = w->initial;
		mc->initial_ids = w->initial_ids;
		mc->n_initial = (size_t)w->n_initial;
	}
}

/* --- A start, with what raft/repair.h does about damage ------------------------------------------------------------ */

static int open_store(struct node *n, struct err *e)
{
	struct store_cfg sc = {.dir = n->store_dir, .cluster_id = n->w->cluster_id, .member_id = n->id, .no_sync = true,
			       .map_size = 256u << 20};

	return store_open(&sc, &n->store, e);
}

static int make_member(struct node *n, struct err *e)
{
	struct member_cfg mc;

	member_cfg_of(n, &mc);
	return member_new(&mc, n, &n->member, e);
}

static int open_state(struct node *n, struct err *e)
{
	int rc = open_store(n, e);

	if (rc == 0)
		rc = make_member(n, e);
	if (rc != -(int)ERR_CORRUPT)
		return rc;
	store_abandon(TAKE(n->store));
	rc = repair_state(&n->disk.disk, n->store_dir, n->id, e);
	if (rc == 0)
		sim_trace(n->w, "%s begins anew with an empty store", n->name);
	if (rc == 0)
		rc = open_store(n, e);
	return rc ? rc : make_member(n, e);
}

static void ev_ask(struct event *);

static void ask_again(struct node *n)
{
	event_add(n->w, n, 300 * MS, ev_ask);
}

static void on_join_reply(struct member *m, uint64_t conn, struct str frame)
{
	struct world *w = of(m)->w;
	struct node *n = &w->nodes[conn - 1];
	struct msg msg;

	if (!n->rejoins || n->member || msg_decode(frame, &msg, NULL) != 0)
		return;
	sim_trace(w, "%s asks %s to be let in again: status=%d code=%d %.*s", n->name, of(m)->name, msg.admin_result.status,
		  msg.admin_result.code, STR_FMT(msg.admin_result.text));
	if (msg.admin_result.code != 0 || msg.admin_result.status != MSG_DONE || msg.admin_result.member != n->id)
		return;
	w->n_rejoins++;
	node_start(n, true);
}

/* As join.c does, without its connection. */
static void ev_ask(struct event *e)
{
	struct node *n = e->node, *to = fault_pick(n->w);
	struct msg m = {.kind = MSG_ADMIN};
	struct buf b = BUF_INIT;

	if (!n->rejoins || n->member)
		return;
	ask_again(n);
	if (!to || to->paused_until > n->w->now || n->w->cut[n->index][to->index])
		return;
	m.admin.id = 1;
	m.admin.op = MEMBER_JOIN;
	m.admin.target = n->id;
	m.admin.timeout_ms = 2000;
	m.admin.name = str_from(n->name);
	m.admin.addr = str_from(n->addr);
	m.admin.flags = MEMBER_FLAG_AGAIN;
	msg_encode(&m, &b);
	member_join(to->member, buf_str(&b), (uint64_t)n->index + 1);
	buf_fini(&b);
}

/* Vote or identity are damaged: a new id, and the others decide. */
static int rejoin(struct node *n, struct err *e)
{
	int rc = repair_identity(&n->disk.disk, n->store_dir, n->name, e);

	if (rc != 0)
		return rc;
	n->id = member__as_id(rng_next(&n->w->rng));
	n->admitted = false;
	n->rejoins = true;
	sim_trace(n->w, "%s has to join again as %016" PRIx64, n->name, n->id);
	ask_again(n);
	return 0;
}

void node_start(struct node *n, bool join)
{
	struct world *w = n->w;
	struct err e = ERR_INIT;

	n->epoch++;
	n->flush_due = false;
	n->timer = NULL;
	n->write = NULL;
	n->retry = NULL;
	n->paused_until = 0;
	if (n->rejoins && !join) {
		ask_again(n);
		return;
	}
	if (stable_open(&n->stable, &n->disk.disk, &e) != 0) {
		if (e.code != ERR_CORRUPT || rejoin(n, &e) != 0)
			goto fail;
		return;
	}
	if (!n->stable.has_member && stable_save_member(&n->stable, w->cluster_id, n->id, n->name, join, &e) != 0)
		goto fail;
	if (n->rejoins && repair_rejoined(&n->disk.disk, &e) != 0)
		goto fail;
	n->rejoins = false;
	if (open_state(n, &e) != 0)
		goto fail;
	member_on_join_reply(n->member, on_join_reply);
	hub_open(n);
	return;
fail:
	if (n->store)
		store_abandon(TAKE(n->store));
	stable_close(&n->stable);
	if (n->disk.fault != SIMDISK_FINE)
		sim_trace(w, "%s cannot start: %s", n->name, e.text);
	else
		sim_fail(w, "%s does not start: %s", n->name, e.text);
}

static bool look(void *arg _unused_, const struct store_kv *kv _unused_)
{
	return true;
}

/* Read everything, so that damage that is still there is found now, not when something else is damaged. */
static bool store_is_whole(struct node *n)
{
	struct store_view *v;
	uint64_t hash;
	int64_t rev, compact;

	if (store_view_open(n->store, &v, NULL) != 0)
		return false;
	(void)view_hash(v, 0, &hash, &rev, &compact, NULL);
	(void)view_range(v, STR(""), str_of("", 1), 0, 0, look, NULL, NULL, NULL);
	store_view_close(v);
	return !store_damage(n->store, NULL);
}

bool node_mended(struct node *n)
{
	struct kv_status s;
	unsigned voters = 0;

	if (!n->rotten)
		return true;
	if (!n->member || n->rejoins || !store_is_whole(n))
		return false;
	member_status(n->member, &s);
	for (size_t i = 0; i < s.n_members; i++)
		voters += s.members[i].role == KV_VOTER;
	/* Who joined again may have to wait for its vote, when there are enough others. */
	for (size_t i = 0; i < s.n_members; i++)
		if (s.members[i].self && (s.members[i].role == KV_VOTER || voters >= n->w->voters) && !n->member->forgetful &&
		    s.role.leader_id)
			n->rotten = false;
	return !n->rotten;
}

static void lose_work(struct node *n)
{
	while (!list_empty(&n->works)) {
		struct job *job = LIST_FIRST(&n->works, struct job, link);

		list_del(&job->link);
		err_set(&job->work->err, ERR_CANCELED, "crashed");
		job->work->rc = -(int)ERR_CANCELED;
		job->work->done(job->work);
	}
}

static void ev_lost(struct event *e)
{
	if (e->node->member)
		member_peer_lost(e->node->member, e->from, e->flag);
}

void node_crash(struct node *n, bool power)
{
	struct world *w = n->w;
	struct err err;

	clients_crashed(n);
	member_stop(n->member);
	if (n->write) {
		struct wal_batch *batch = n->write->batch;

		/* The batch may be anywhere between the loop and the platter. */
		if (rng_chance(&w->rng, 60)) {
			n->disk.fail_after = (int)rng_below(&w->rng, 5);
			wal_batch_write(&n->disk.disk, batch, &err);
			n->disk.fail_after = -1;
		}
		err_set(&err, ERR_CANCELED, "crashed");
		member_written(n->member, &err);
	}
	lose_work(n);
	n->disk.fault = SIMDISK_FINE;
	n->store_full = false;
	n->retry = NULL;
	/* What it still had to say to its callers counts as unknown there already; nothing else leaves it. */
	n->epoch++;
	n->timer = NULL;
	n->flush_due = false;
	n->write = NULL;
	member_free(n->member);
	n->member = NULL;
	n->epoch++;
	n->timer = NULL;
	n->flush_due = false;
	hub_close(n);
	store_abandon(n->store);
	n->store = NULL;
	stable_close(&n->stable);
	n->last_index = 0;
	w->n_crashes++;
	if (power)
		simdisk_power_loss(&n->disk);
	for (int i = 0; i < SIM_NODES; i++)
		if (&w->nodes[i] != n && w->nodes[i].member && !power && !w->cut[n->index][i]) {
			struct event *e = event_add(w, &w->nodes[i], w->latency_us + rng_below(&w->rng, 3 * MS), ev_lost);

			e->from = n->id;
			e->flag = rng_chance(&w->rng, 80);
		}
}

/* --- Checks ------------------------------------------------------------------------------------------------------ */

/* Remember value for key; false when another value is known. */
#define REMEMBER(w, table, k, v)                                                                   \
	({                                                                                         \
		bool same_ = true, found_ = false;                                                 \
		for (size_t i_ = (w)->n_##table; i_-- > 0 && !found_;)                             \
			if ((w)->table[i_].key == (k)) {                                           \
				found_ = true;                                                     \
				same_ = (w)->table[i_].value == (v);                               \
			}                                                                          \
		if (!found_) {                                                                     \
			if ((w)->n_##table == (w)->cap_##table) {                                  \
				(w)->cap_##table = (w)->cap_##table ? (w)->cap_##table * 2 : 256;  \
				(w)->table = xrealloc((w)->table, (w)->cap_##table * sizeof(*(w)->table)); \
			}                                                                          \
			(w)->table[(w)->n_##table].key = (k);                                      \
			(w)->table[(w)->n_##table++].value = (v);                                  \
		}                                                                                  \
		same_;                                                                             \
	})

static void check_hash(struct node *n)
{
	struct store_hash h = store_rolling_hash(n->store);
	struct world *w = n->w;

	if (h.index == n->last_index)
		return;
	/* What lingered is undone when it cannot be committed, but then the member takes no part any more. */
	if (h.index < n->last_index && member__runs(n->member))
		sim_fail(w, "%s: the applied index went back from %" PRIu64 " to %" PRIu64, n->name, n->last_index, h.index);
	n->last_index = h.index;
	/* By index modulo the table: a power of two large enough for any run. */
	if (h.index >= w->cap_hashes) {
		size_t cap = MAX(w->cap_hashes * 2, 4096);

		while (cap <= h.index)
			cap *= 2;
		w->hashes = xrealloc(w->hashes, cap * sizeof(*w->hashes));
		memset(w->hashes + w->cap_hashes, 0, (cap - w->cap_hashes) * sizeof(*w->hashes));
		w->cap_hashes = cap;
	}
	if (w->hashes[h.index].key == 0) {
		w->hashes[h.index].key = h.index;
		w->hashes[h.index].value = h.hash;
	} else if (w->hashes[h.index].value != h.hash) {
		sim_fail(w, "%s: state differs from another member's at index %" PRIu64, n->name, h.index);
	}
}

static void check_revision(struct node *n)
{
	int64_t revision = store_revision(n->store);
	struct world *w = n->w;

	if (revision < n->last_revision && member__runs(n->member))
		sim_fail(w, "%s: the revision went back from %" PRId64 " to %" PRId64, n->name, n->last_revision, revision);
	if (n->hub && watch_hub_revision(n->hub) < revision && !store_is_sealed(n->store))
		node_hub_soon(n);
	n->last_revision = revision;
	if (revision > w->max_revision) {
		w->max_revision = revision;
		history_seen(w->history, revision, w->now);
	}
}

static void note_admission(struct node *n, const struct raft *r)
{
	for (unsigned i = 0; i < r->configuration.n && r->configuration_uncommitted_index == 0 && !n->admitted; i++)
		n->admitted = r->configuration.servers[i].id == n->id;
}

void node_check(struct node *n)
{
	struct raft *r = member_raft(n->member);
	struct world *w = n->w;

	if (w->failure[0])
		return;
	note_admission(n, r);
	check_hash(n);
	check_revision(n);
	if (member_is_leader(n->member)) {
		size_t before = w->n_leaders;

		if (!REMEMBER(w, leaders, raft_current_term(r), (uint64_t)n->index + 1))
			sim_fail(w, "two leaders in term %llu, one is %s", raft_current_term(r), n->name);
		w->n_elections += w->n_leaders - before;
		if (w->n_leaders > before)
			w->elected_at = w->now;
		if (w->n_leaders > before)
			sim_trace(w, "%s leads term %llu", n->name, raft_current_term(r));
	}
}

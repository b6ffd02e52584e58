/* How a simulated member starts: on what it has, after damage with what raft/repair.h does about it, and again after its disk failed. */
#include "tests/sim/node-priv.h"

#include <inttypes.h>
#include <limits.h>

#include "base/util.h"
#include "raft/member-priv.h"
#include "raft/repair.h"
#include "store/store.h"
#include "tests/sim/world.h"

static void member_cfg_of(struct node *n, struct member_cfg *mc)
{
	struct world *w = n->w;

	*mc = (struct member_cfg){.ops = &node__ops,
				  .disk = &n->disk.disk,
				  .stable = &n->stable,
				  .store = n->store,
				  .voters = w->voters,
				  .dead_ms = w->dead_ms,
				  .replace_ms = w->replace_ms,
				  .scrub_ms = w->scrub_ms,
				  .lease_checkpoint_ms = w->lease_checkpoint_ms,
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
	struct world *w = node__of(m)->w;
	struct node *n = &w->nodes[conn - 1];
	struct msg msg;

	if (!n->rejoins || n->member || msg_decode(frame, &msg, NULL) != 0)
		return;
	sim_trace(w, "%s asks %s to be let in again: status=%d code=%d %.*s", n->name, node__of(m)->name, msg.admin_result.status,
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
	node__hub_open(n);
	return;
fail:
	if (n->store)
		store_abandon(TAKE(n->store));
	stable_close(&n->stable);
	if (n->disk.fault != SIMDISK_FINE || (n->may_refuse && e.code == ERR_CORRUPT))
		sim_trace(w, "%s cannot start: %s", n->name, e.text);
	else
		sim_fail(w, "%s does not start: %s", n->name, e.text);
}

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

void node__retry(struct event *ev)
{
	struct node *n = ev->node;

	n->retry = NULL;
	if (n->disk.fault != SIMDISK_FINE || n->store_full || !member_idle(n->member) || !reopen(n))
		n->retry = event_add(n->w, n, 200 * MS, node__retry);
}

/* Read everything, history as well, so that damage that is still there is found now, not when something else is damaged. */
static bool store_is_whole(struct node *n)
{
	struct store_scrub at = {0};
	struct err e = ERR_INIT;
	bool done = false, head;

	while (!done)
		if (store_scrub(n->store, &at, 1000, &done, &head, &e) != 0)
			return false;
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
	if (!n->rotten)
		n->whole_at = store_applied(n->store).index;
	return !n->rotten;
}

bool node_sound(struct node *n)
{
	if (node_mended(n) && n->whole_at > 0 && n->member && store_checkpointed(n->store).index >= n->whole_at)
		n->whole_at = 0;
	return !n->rotten && n->whole_at == 0;
}

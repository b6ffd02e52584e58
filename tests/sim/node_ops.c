/* What a simulated member asks of its world (struct member_ops): time, network, disk, work, and whom to tell. */
#include "tests/sim/node-priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "raft/member-priv.h"
#include "tests/sim/world.h"

static uint64_t op_now(struct member *m)
{
	/* Each has its own epoch: nobody may compare clocks. */
	return node__of(m)->w->now / 1000 + 1000000u * (unsigned)(node__of(m)->index + 1);
}

static uint64_t op_wall(struct member *m)
{
	return 1700000000000u + node__of(m)->w->now / 1000 + (uint64_t)node__of(m)->wall_offset_ms;
}

static uint32_t op_random(struct member *m)
{
	return (uint32_t)rng_next(&node__of(m)->w->rng);
}

static void ev_timer(struct event *e)
{
	e->node->timer = NULL;
	member_timer(e->node->member);
}

static void op_arm(struct member *m, uint64_t at)
{
	struct node *n = node__of(m);
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
	node_flush_soon(node__of(m));
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

static bool carries_entries(struct str frame)
{
	struct msg msg;

	return frame.p[4] == MSG_APPEND && msg_decode(frame, &msg, NULL) == 0 && msg.append.n > 0;
}

static bool op_send(struct member *m, uint64_t to_id, enum msg_channel channel _unused_, struct str frame)
{
	struct node *from = node__of(m), *to = node_by_id(from->w, to_id);
	struct world *w = from->w;

	node__note_vote(from, to_id, frame);
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
	struct node *n = node__of(m);
	struct event *e = event_add(n->w, n, n->fsync_us / 2 + rng_below(&n->w->rng, n->fsync_us + 1), ev_written);

	e->batch = batch;
	n->write = e;
}

static void ev_work(struct event *e)
{
	struct node_job *job = (struct node_job *)(void *)e->bytes;
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
	struct node *n = node__of(m);
	struct event *e = event_add(n->w, n, MIN(n->fsync_us, 300 * MS) + rng_below(&n->w->rng, 20 * MS), ev_work);
	struct node_job *job = xcalloc(1, sizeof(*job));

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
	struct node *n = node__of(m);

	sim_trace(n->w, "%s stops: %s", n->name, e->text);
	if (e->code == ERR_FAILED_PRECONDITION) /* removed */
		n->gone = true;
	else if (!n->rotten || e->code != ERR_CORRUPT)
		sim_fail(n->w, "%s stopped: %s", n->name, e->text);
	event_add(n->w, n, 0, ev_die);
}

static void op_disk_failed(struct member *m, const struct err *e)
{
	struct node *n = node__of(m);

	sim_trace(n->w, "%s halts: %s", n->name, e->text);
	n->w->n_disk_faults++;
	n->retry = event_add(n->w, n, 200 * MS, node__retry);
}

static void ev_join(struct event *e)
{
	if (!e->node->member && e->node->id)
		node_start(e->node, true);
}

static void op_admin_done(struct member *m, struct kv_admin *a)
{
	struct world *w = node__of(m)->w;
	struct node *joiner = w->joining >= 0 ? &w->nodes[w->joining] : NULL;

	if (a == &node__of(m)->defrag) {
		node__of(m)->defrags = false;
		w->n_defrags += a->err.code == 0;
		sim_trace(w, "%s has copied its store: code=%d %s", node__of(m)->name, (int)a->err.code, a->err.text);
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

const struct member_ops node__ops = {
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

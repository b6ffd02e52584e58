/* One simulated member: who it is, its machine, its watch hub, and its crashes. */
#include "tests/sim/node-priv.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/util.h"
#include "raft/member-priv.h"
#include "tests/sim/world.h"

struct node *node__of(struct member *m)
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

void node__hub_open(struct node *n)
{
	/* A small backlog: batches are left out, and watchers catch up from the log. */
	n->hub = watch_hub_new(n->store, n->loop, rng_chance(&n->w->rng, 50) ? 0 : 2000);
	n->hub_due = false;
	n->last_revision = store_revision(n->store);
}

void node__hub_close(struct node *n)
{
	if (!n->hub)
		return;
	watchers_crashed(n);
	watch_hub_free(TAKE(n->hub));
	/* Batches on their way hold references. */
	for (int i = 0; i < 3; i++)
		loop_turn(n->loop, 0);
}

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
	n->whole_at = 0;
}

static void lose_work(struct node *n)
{
	while (!list_empty(&n->works)) {
		struct node_job *job = LIST_FIRST(&n->works, struct node_job, link);

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
	node__hub_close(n);
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

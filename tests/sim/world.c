#include "tests/sim/world.h"

#include <inttypes.h>
#include <limits.h>
#include <raft.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/util.h"
#include "store/view.h"

void sim_trace(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->cfg.trace)
		return;
	printf("%10.3f ", (double)w->now / 1000.0);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void sim_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failure[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->failure, sizeof(w->failure), fmt, ap);
	va_end(ap);
	sim_trace(w, "FAILURE %s", w->failure);
}

/* --- Events ----------------------------------------------------------------------------------------------- */

struct event *event_add(struct world *w, struct node *n, uint64_t delay_us, void (*fn)(struct event *))
{
	struct event *e = xcalloc(1, sizeof(*e));

	e->node = n;
	e->epoch = n ? n->epoch : 0;
	e->fn = fn;
	list_add_tail(&w->events, &e->link);
	heap_insert(&w->heap, &e->heap, w->now + delay_us);
	return e;
}

void event_free(struct world *w, struct event *e)
{
	heap_remove(&w->heap, &e->heap);
	list_del(&e->link);
	free(e->bytes);
	free(e);
}

static void run_event(struct world *w, struct event *e)
{
	struct node *n = e->node;

	w->now = MAX(w->now, e->heap.key);
	heap_remove(&w->heap, &e->heap);
	/* A paused process sees nothing until it goes on; then it sees all at once. */
	if (n && e->epoch == n->epoch && n->paused_until > w->now) {
		heap_insert(&w->heap, &e->heap, n->paused_until + rng_below(&w->rng, 50));
		return;
	}
	w->n_events++;
	sim_faults[FAULT_store_full] = n && n->store_full;
	if (!n || e->epoch == n->epoch)
		e->fn(e);
	sim_faults[FAULT_store_full] = false;
	list_del(&e->link);
	free(e->bytes);
	free(e);
	if (n && n->member)
		node_check(n);
}

static void run_until(struct world *w, uint64_t until)
{
	struct heap_node *h;

	while (!w->failure[0] && (h = heap_min(&w->heap)) != NULL && h->key <= until) {
		run_event(w, container_of(h, struct event, heap));
		/* Some thousands a virtual second are usual. */
		if (w->n_events > (w->now / 1000000 + 10) * SIM_MAX_EVENTS)
			sim_fail(w, "somebody spins: %" PRIu64 " events in %.3f s", w->n_events, (double)w->now / 1e6);
	}
	w->now = MAX(w->now, until);
}

bool world_pass(struct world *w, uint64_t us)
{
	uint64_t end = (uint64_t)w->cfg.seconds * 1000000u;

	run_until(w, MIN(w->now + us, MAX(w->now, end)));
	return !w->failure[0] && w->now < end;
}

/* --- A run ------------------------------------------------------------------------------------------------------ */

void world_init(struct world *w, const struct sim_cfg *cfg)
{
	static const int sizes[] = {3, 3, 3, 3, 3, 3, 5, 5, 1};

	memset(w, 0, sizeof(*w));
	w->cfg = *cfg;
	w->rng.state = cfg->seed * 0x2545f4914f6cdd1dULL + 1;
	w->joining = -1;
	w->flapping = -1;
	w->n_initial = sizes[rng_below(&w->rng, ARRAY_LEN(sizes))];
	w->no_rot = w->n_initial == 1;
	w->value_size = rng_chance(&w->rng, 15) ? 8000 : 48;
	w->compact_ms = rng_chance(&w->rng, 30) ? 1500 : UINT_MAX;
	w->voters = rng_chance(&w->rng, 40) ? 3 : 5;
	w->dead_ms = rng_chance(&w->rng, 40) ? 1500 : 30000;
	w->scrub_ms = cfg->seed % 4 == 0 ? 3000 : 0;
	w->log_scale = 1;
	w->think_ms = 40;
	w->latency_us = 200;
	w->jitter_us = 200;
	w->hub_us = 1000;
	if (cfg->scenario->prepare)
		cfg->scenario->prepare(w);
	w->history = history_new();
	history_auto_compaction(w->history, w->compact_ms != UINT_MAX);
	w->max_revision = 1;
	list_init(&w->events);
	for (int i = 0; i < SIM_NODES; i++) {
		node_init(&w->nodes[i], w, i);
		if (i < w->n_initial)
			w->initial[i] = (struct kv_peer){.name = w->nodes[i].name, .addr = w->nodes[i].addr};
	}
	w->cluster_id = member_cluster_id(w->initial, (size_t)w->n_initial, NULL);
	for (int i = 0; i < w->n_initial; i++) {
		w->initial_ids[i] = member_initial_id(w->cluster_id, w->initial[i].name);
		w->nodes[i].id = w->initial_ids[i];
	}
}

void world_fini(struct world *w)
{
	w->stopped = true;
	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].member)
			node_crash(&w->nodes[i], false);
	LIST_FOR_EACH_SAFE (e, next, &w->events, struct event, link)
		event_free(w, e);
	for (int i = 0; i < SIM_NODES; i++)
		node_fini(&w->nodes[i]);
	clients_fini(w);
	heap_fini(&w->heap);
	history_free(w->history);
	free(w->leaders);
	free(w->hashes);
	free(w->votes);
}

/* One that was removed, and all that it knew are gone, too, under the ids that it knew: nobody is left to tell it. */
static bool knows_nobody(const struct node *n)
{
	const struct raft *r = n->member ? member_raft(n->member) : NULL;

	for (unsigned i = 0; r && i < r->configuration.n; i++)
		for (int j = 0; j < SIM_NODES; j++)
			if (r->configuration.servers[i].id != n->id && n->w->nodes[j].id == r->configuration.servers[i].id &&
			    !n->w->nodes[j].gone)
				return false;
	return r && r->configuration.n > 0 && !member_is_leader(n->member);
}

static bool takes_part(const struct node *n)
{
	return n->id && !n->gone && !knows_nobody(n);
}

static bool converged(struct world *w)
{
	uint64_t index = 0;
	int n_up = 0, n_leaders = 0;

	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];
		struct kv_status s;

		if (!takes_part(n))
			continue;
		if (!n->member || !node_mended(n))
			return false;
		member_status(n->member, &s);
		/* One whose admission never was committed: nobody knows it, and it cannot know. */
		if (s.n_members == 0 || !n->admitted)
			continue;
		n_leaders += s.role.leader;
		if (index == 0)
			index = s.applied_index;
		if (s.applied_index != index || s.commit_index != index || s.last_index != index)
			return false;
		n_up++;
	}
	return n_up > 0 && n_leaders == 1;
}

static void trace_members(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct kv_status s;

		if (!w->nodes[i].member)
			continue;
		member_status(w->nodes[i].member, &s);
		sim_trace(w, "%s %s term=%" PRIu64 " leader=%016" PRIx64 " last=%" PRIu64 " commit=%" PRIu64 " applied=%" PRIu64
			  " members=%zu",
			  w->nodes[i].name, s.state, s.role.term, s.role.leader_id, s.last_index, s.commit_index, s.applied_index,
			  s.n_members);
		for (size_t j = 0; j < s.n_members; j++)
			sim_trace(w, "  %s role=%d match=%" PRIu64 " reachable=%d", s.members[j].name, (int)s.members[j].role,
				  s.members[j].match_index, s.members[j].reachable);
	}
}

/* What hangs in a disk comes out. */
static void writes_end(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct event *e = w->nodes[i].write;

		if (!w->nodes[i].member || !e)
			continue;
		heap_remove(&w->heap, &e->heap);
		heap_insert(&w->heap, &e->heap, w->now + 500);
	}
}

static void all_well(struct world *w)
{
	w->calm = true;
	w->calm_at = w->now;
	fault_heal(w);
	w->loss = w->dup = w->reorder = 0;
	w->latency_us = w->jitter_us = 300;
	w->hub_us = 1000;
	for (int i = 0; i < SIM_NODES; i++) {
		w->nodes[i].fsync_us = 500;
		/* What came while it slept has been put off until then, also what renews a lease. */
		w->awake_at = MAX(w->awake_at, w->nodes[i].paused_until);
		w->nodes[i].paused_until = 0;
		w->nodes[i].disk.fault = SIMDISK_FINE;
		w->nodes[i].store_full = false;
	}
	fault_restart(w, true);
	writes_end(w);
}

/* Run until fn holds, at most until then. */
static bool wait_for(struct world *w, uint64_t until, bool (*fn)(struct world *))
{
	while (!w->failure[0] && !fn(w)) {
		if (w->now >= until)
			return false;
		run_until(w, w->now + 50 * MS);
	}
	return !w->failure[0];
}

static uint64_t acked_before;
static bool progressed(struct world *w)
{
	return w->n_acked >= acked_before + 20;
}

static bool no_leases(struct world *w)
{
	struct node *leader = node_leader(w);
	struct store_stats stats;

	return leader && store_stats(leader->store, &stats, NULL) == 0 && stats.n_leases == 0;
}

/* Everything is well again: within 30 seconds all must agree, and writes must go through. */
static void liveness_phase(struct world *w)
{
	uint64_t until = w->now + 30000000u;

	all_well(w);
	acked_before = w->n_acked;
	if (!wait_for(w, until, progressed))
		trace_members(w);
	if (w->n_acked < acked_before + 20)
		sim_fail(w, "no progress within 30 s after all faults were healed");
	/* No client grants or renews a lease since calm_at: the last ends within its time after the last change of leader. */
	while (!w->failure[0] && !no_leases(w)) {
		if (w->now > MAX(MAX(w->calm_at, w->awake_at), w->elected_at) + (SIM_MAX_TTL * 1000 + 300 + 2000) * MS)
			sim_fail(w, "a lease outlives its time, an election timeout and 2 s");
		run_until(w, w->now + 50 * MS);
	}
	w->stopped = true;
	if (!w->failure[0] && !wait_for(w, w->now + 30000000u, converged)) {
		trace_members(w);
		sim_fail(w, "the members do not agree 30 s after all faults were healed");
	}
	if (w->failure[0])
		return;
	sim_trace(w, "converged");
	watchers_finish(w);
	if (!w->failure[0] && !wait_for(w, w->now + 10000000u, watchers_done))
		sim_fail(w, "a watch does not catch up within 10 s");
	/* The leader may have compacted meanwhile. */
	if (!w->failure[0] && !wait_for(w, w->now + 10000000u, converged))
		sim_fail(w, "the members do not agree any more");
}

/* What is between the compacted revision and now must be the same everywhere, byte by byte. */
static void check_hashes(struct world *w)
{
	struct node *first = NULL;
	uint64_t hash = 0;
	int64_t rev = 0, compact = 0;

	for (int i = 0; i < SIM_NODES && !w->failure[0]; i++) {
		struct node *n = &w->nodes[i];
		struct err e = ERR_INIT;
		struct store_view *v;
		struct kv_status s;
		uint64_t h;
		int64_t r, c;

		if (!takes_part(n) || !n->member || !n->admitted)
			continue;
		member_status(n->member, &s);
		if (s.n_members == 0)
			continue;
		if (store_view_open(n->store, &v, &e) != 0 || view_hash(v, 0, &h, &r, &c, &e) != 0) {
			sim_fail(w, "%s: cannot hash its state: %s", n->name, e.text);
			return;
		}
		store_view_close(v);
		if (!first) {
			first = n;
			hash = h, rev = r, compact = c;
		} else if (h != hash || r != rev || c != compact) {
			sim_fail(w, "%s and %s have different states: revision %" PRId64 " and %" PRId64 ", compacted %" PRId64
				 " and %" PRId64 ", hash %016" PRIx64 " and %016" PRIx64,
				 first->name, n->name, rev, r, compact, c, hash, h);
		}
	}
}

bool world_run(struct world *w)
{
	for (int i = 0; i < w->n_initial; i++)
		node_start(&w->nodes[i], false);
	run_until(w, 2000 * MS);
	clients_start(w);
	watchers_start(w);
	if (!w->failure[0])
		w->cfg.scenario->drive(w);
	if (!w->failure[0])
		liveness_phase(w);
	if (!w->failure[0])
		check_hashes(w);
	/* Also after a failure of another kind: what clients saw tells more. */
	if (!history_check(w->history, &w->verdict)) {
		char first[sizeof(w->failure)];

		memcpy(first, w->failure, sizeof(first));
		w->failure[0] = '\0';
		sim_fail(w, "%s%.900s%s%.200s", w->verdict.kind == VERDICT_UNDECIDED ? "undecided: " : "", w->verdict.text,
			 first[0] ? "; before: " : "", first);
	}
	return !w->failure[0];
}

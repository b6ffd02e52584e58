#include "tests/sim/world.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

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
	if (!n || e->epoch == n->epoch)
		e->fn(e);
	list_del(&e->link);
	free(e->bytes);
	free(e);
	if (n && n->member)
		node_check(n);
}

static void run_until(struct world *w, uint64_t until)
{
	struct heap_node *h;

	while (!w->failure[0] && (h = heap_min(&w->heap)) != NULL && h->key <= until)
		run_event(w, container_of(h, struct event, heap));
	w->now = MAX(w->now, until);
}

/* --- Faults ----------------------------------------------------------------------------------------------- */

static struct node *random_up(struct world *w)
{
	struct node *up[SIM_NODES];
	size_t n = 0;

	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].member && !w->nodes[i].gone)
			up[n++] = &w->nodes[i];
	return n ? up[rng_below(&w->rng, n)] : NULL;
}

static void fault_crash(struct world *w)
{
	struct node *n = random_up(w);
	bool power = rng_chance(&w->rng, 50);

	if (!n)
		return;
	sim_trace(w, "%s %s", power ? "power loss" : "kill", n->name);
	node_crash(n, power);
}

static void fault_crash_all(struct world *w)
{
	bool power = rng_chance(&w->rng, 50);

	sim_trace(w, "%s all", power ? "power loss" : "kill");
	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].member)
			node_crash(&w->nodes[i], power);
}

static void restart_some(struct world *w, bool all)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		if (!n->member && n->id && !n->gone && (all || rng_chance(&w->rng, 60))) {
			sim_trace(w, "start %s", n->name);
			node_start(n, false);
		}
	}
}

static void fault_pause(struct world *w)
{
	struct node *n = random_up(w);

	if (!n)
		return;
	n->paused_until = w->now + rng_between(&w->rng, 50, 3000) * MS;
	sim_trace(w, "pause %s until %.3f", n->name, (double)n->paused_until / 1000.0);
}

static void fault_partition(struct world *w)
{
	unsigned kind = (unsigned)rng_below(&w->rng, 4);
	int a = (int)rng_below(&w->rng, SIM_NODES), b = (int)rng_below(&w->rng, SIM_NODES);

	memset(w->cut, 0, sizeof(w->cut));
	for (int i = 0; i < SIM_NODES; i++) {
		if (i == a)
			continue;
		if (kind == 0) /* one alone */
			w->cut[a][i] = w->cut[i][a] = true;
		if (kind == 1) /* it can hear but not speak */
			w->cut[a][i] = true;
		if (kind == 2) /* it can speak but not hear */
			w->cut[i][a] = true;
	}
	if (kind == 3) /* one link */
		w->cut[a][b] = w->cut[b][a] = true;
	sim_trace(w, "partition kind=%u a=%d b=%d", kind, a, b);
}

static void fault_heal(struct world *w)
{
	memset(w->cut, 0, sizeof(w->cut));
	sim_trace(w, "heal");
}

static void fault_weather(struct world *w)
{
	w->loss = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 20);
	w->dup = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 10);
	w->reorder = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 10);
	w->latency_us = (unsigned)rng_between(&w->rng, 50, rng_chance(&w->rng, 20) ? 100 * MS : 2 * MS);
	w->jitter_us = (unsigned)rng_below(&w->rng, w->latency_us + 1);
	for (int i = 0; i < SIM_NODES; i++)
		w->nodes[i].fsync_us = (unsigned)rng_between(&w->rng, 100, rng_chance(&w->rng, 15) ? 300 * MS : 3 * MS);
	sim_trace(w, "weather loss=%u dup=%u reorder=%u latency=%u", w->loss, w->dup, w->reorder, w->latency_us);
}

/* One bit of one member's log: found at its start, or not needed any more; never served. */
static void fault_rot(struct world *w)
{
	struct node *n = random_up(w);

	if (!n || w->rot_done || n->paused_until > w->now)
		return;
	node_crash(n, false);
	w->rot_done = n->rotten = simdisk_rot(&n->disk);
	sim_trace(w, "bit rot %s", n->name);
}

static void ev_disk_well(struct event *e)
{
	e->node->disk.fault = SIMDISK_FINE;
}

/* Errors for a while, or no room, or syncs that fail: the member halts, and is back soon after. */
static void fault_disk(struct world *w)
{
	struct node *n = random_up(w);

	if (!n || n->paused_until > w->now)
		return;
	n->disk.fault = (enum simdisk_fault)rng_between(&w->rng, SIMDISK_EIO, SIMDISK_SYNC);
	event_add(w, n, rng_between(&w->rng, 5, 3000) * MS, ev_disk_well);
	sim_trace(w, "disk fault %s kind=%d", n->name, (int)n->disk.fault);
}

/* --- Membership ---------------------------------------------------------------------------------------------- */

static void admin(struct world *w, struct node *n, int op)
{
	w->admin.op = op;
	w->admin.deadline = w->now / 1000 + 1000000u * (unsigned)(n->index + 1) + (rng_chance(&w->rng, 20) ? 0 : 5000);
	w->admin_busy = true;
	member_admin(n->member, &w->admin);
	node_flush_soon(n);
}

static void fault_member(struct world *w)
{
	struct node *n = random_up(w);
	struct kv_status s;
	unsigned kind = (unsigned)rng_below(&w->rng, 3);

	if (!n || w->admin_busy || n->paused_until > w->now)
		return;
	member_status(n->member, &s);
	if (kind == 0) {
		w->admin.target = 0;
		admin(w, n, MEMBER_TRANSFER);
		sim_trace(w, "transfer");
	} else if (kind == 1) {
		for (int i = 3; i < SIM_NODES; i++)
			if (!w->nodes[i].id) {
				w->joining = i;
				w->admin.peer = (struct kv_peer){.name = w->nodes[i].name, .addr = w->nodes[i].addr};
				sim_trace(w, "add %s through %s", w->nodes[i].name, n->name);
				admin(w, n, MEMBER_ADD);
				return;
			}
	} else if (s.n_members > 3) {
		w->admin.target = s.members[rng_below(&w->rng, s.n_members)].id;
		sim_trace(w, "remove %016" PRIx64 " through %s", w->admin.target, n->name);
		admin(w, n, MEMBER_REMOVE);
	}
}

/* The fault table: one row is drawn, by weight. */
static const struct {
	unsigned weight;
	void (*fn)(struct world *);
} faults[] = {
	{20, fault_crash}, {2, fault_crash_all}, {10, fault_pause},  {12, fault_partition},
	{25, fault_heal},  {10, fault_weather},	 {10, fault_member}, {1, fault_rot},
	{8, fault_disk},
};

static void draw_fault(struct world *w)
{
	unsigned total = 0, pick;

	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		total += faults[i].weight;
	pick = (unsigned)rng_below(&w->rng, total);
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		if (pick < faults[i].weight) {
			faults[i].fn(w);
			break;
		}
		pick -= faults[i].weight;
	}
	restart_some(w, false);
}

/* --- A run ------------------------------------------------------------------------------------------------------ */

void world_init(struct world *w, const struct sim_cfg *cfg)
{
	memset(w, 0, sizeof(*w));
	w->cfg = *cfg;
	w->rng.state = cfg->seed * 0x2545f4914f6cdd1dULL + 1;
	w->joining = -1;
	w->value_size = rng_chance(&w->rng, 15) ? 8000 : 48;
	w->compact_ms = rng_chance(&w->rng, 30) ? 1500 : UINT_MAX;
	w->voters = rng_chance(&w->rng, 40) ? 3 : 5;
	w->dead_ms = rng_chance(&w->rng, 40) ? 1500 : 30000;
	w->latency_us = 200;
	w->jitter_us = 200;
	list_init(&w->events);
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		n->w = w;
		n->index = i;
		snprintf(n->name, sizeof(n->name), "n%d", i + 1);
		snprintf(n->addr, sizeof(n->addr), "10.0.0.%d:1", i + 1);
		n->store_dir = xasprintf("%s/n%d", cfg->dir, i + 1);
		n->fsync_us = 500;
		list_init(&n->works);
		simdisk_init(&n->disk, &w->rng);
		if (i < 3)
			w->initial[i] = (struct kv_peer){.name = n->name, .addr = n->addr};
	}
	w->cluster_id = member_cluster_id(w->initial, 3, NULL);
	for (int i = 0; i < 3; i++) {
		w->initial_ids[i] = member_initial_id(w->cluster_id, w->initial[i].name);
		w->nodes[i].id = w->initial_ids[i];
	}
}

void world_fini(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		if (w->nodes[i].member)
			node_crash(&w->nodes[i], false);
		simdisk_fini(&w->nodes[i].disk);
		free(w->nodes[i].store_dir);
	}
	LIST_FOR_EACH_SAFE (e, next, &w->events, struct event, link)
		event_free(w, e);
	clients_fini(w);
	heap_fini(&w->heap);
	free(w->history);
	free(w->leaders);
	free(w->hashes);
}

static bool converged(struct world *w)
{
	uint64_t index = 0;
	int n_up = 0, n_leaders = 0;

	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];
		struct kv_status s;

		if (!n->id || n->gone)
			continue;
		if (!n->member)
			return false;
		member_status(n->member, &s);
		/* One that was reserved a place whose grant got lost: nobody knows it. */
		if (s.n_members == 0)
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

/* Everything is well again: within 30 seconds all must agree, and writes must go through. */
static void liveness_phase(struct world *w)
{
	uint64_t until = w->now + 30000000u;
	size_t acked = history_acked(w);

	w->calm = true;
	fault_heal(w);
	w->loss = w->dup = w->reorder = 0;
	w->latency_us = w->jitter_us = 300;
	for (int i = 0; i < SIM_NODES; i++) {
		w->nodes[i].fsync_us = 500;
		w->nodes[i].paused_until = 0;
		w->nodes[i].disk.fault = SIMDISK_FINE;
	}
	restart_some(w, true);
	while (!w->failure[0] && w->now < until && history_acked(w) < acked + 20)
		run_until(w, w->now + 50 * MS);
	if (!w->failure[0] && history_acked(w) < acked + 20)
		sim_fail(w, "no progress within 30 s after all faults were healed");
	w->stopped = true;
	while (!w->failure[0] && w->now < until && !converged(w))
		run_until(w, w->now + 50 * MS);
	if (!w->failure[0] && !converged(w)) {
		for (int i = 0; i < SIM_NODES; i++) {
			struct kv_status s;

			if (!w->nodes[i].member)
				continue;
			member_status(w->nodes[i].member, &s);
			sim_trace(w, "%s %s term=%" PRIu64 " leader=%016" PRIx64 " last=%" PRIu64 " commit=%" PRIu64 " applied=%" PRIu64
				  " members=%zu",
				  w->nodes[i].name, s.state, s.role.term, s.role.leader_id, s.last_index, s.commit_index,
				  s.applied_index, s.n_members);
			for (size_t j = 0; j < s.n_members && s.role.leader; j++)
				sim_trace(w, "  %s role=%d match=%" PRIu64 " reachable=%d", s.members[j].name, (int)s.members[j].role,
					  s.members[j].match_index, s.members[j].reachable);
		}
		sim_fail(w, "the members do not agree 30 s after all faults were healed");
	}
	sim_trace(w, "converged");
}

bool world_run(struct world *w)
{
	uint64_t end = (uint64_t)w->cfg.seconds * 1000000u;

	for (int i = 0; i < 3; i++)
		node_start(&w->nodes[i], false);
	run_until(w, 2000 * MS);
	clients_start(w);
	while (!w->failure[0] && w->now < end) {
		run_until(w, w->now + rng_between(&w->rng, 20, 1200) * MS);
		if (!w->failure[0])
			draw_fault(w);
	}
	if (!w->failure[0])
		liveness_phase(w);
	if (!w->failure[0])
		check_history(w);
	return !w->failure[0];
}

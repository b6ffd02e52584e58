/*
 * Courses of events that random faults seldom meet. Each still has a seed: what it does not fix is drawn.
 */
#include <string.h>

#include "base/util.h"
#include "tests/sim/world.h"

static void drive_random(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 20, 1200) * MS))
		fault_draw(w);
}

static int other_than(struct world *w, int not)
{
	int i;

	do
		i = (int)rng_below(&w->rng, (uint64_t)w->n_initial);
	while (i == not);
	return i;
}

/* --- transfer: leadership changes hands all the time, under load, also to members that lag, sleep or are cut off ----------- */

static void prepare_transfer(struct world *w)
{
	w->n_initial = rng_chance(&w->rng, 70) ? 3 : 5;
	w->think_ms = 10;
	w->no_rot = true;
}

static void drive_transfer(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 5, 400) * MS)) {
		struct node *leader = node_leader(w);
		struct node *to = &w->nodes[rng_below(&w->rng, (uint64_t)w->n_initial)];

		if (leader && rng_chance(&w->rng, 25))
			fault_pause(to, rng_between(&w->rng, 20, 900) * MS);
		if (rng_chance(&w->rng, 15))
			fault_weather(w);
		if (rng_chance(&w->rng, 10))
			fault_isolate(w, to->index);
		if (leader)
			fault_admin(leader, MEMBER_TRANSFER, rng_chance(&w->rng, 40) ? 0 : to->id);
		/* The old leader or the new one dies in the middle of it. */
		if (leader && rng_chance(&w->rng, 20) && world_pass(w, rng_below(&w->rng, 20 * MS)) && leader->member)
			fault_crash(rng_chance(&w->rng, 50) && to->member ? to : leader, rng_chance(&w->rng, 50));
		if (rng_chance(&w->rng, 40))
			fault_heal(w);
		fault_restart(w, false);
	}
}

/* --- members: added, promoted, removed, replaced under the same name, while others crash ------------------------------------ */

static void prepare_members(struct world *w)
{
	w->n_initial = 3;
	w->value_size = rng_chance(&w->rng, 30) ? 8000 : 48;
	w->no_rot = true;
}

static void drive_members(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 20, 500) * MS)) {
		struct node *n = fault_pick(w), *leader = node_leader(w);
		struct kv_status s;
		int i = (int)rng_below(&w->rng, SIM_NODES);

		if (!n)
			goto again;
		if (leader && rng_chance(&w->rng, 70))
			n = leader;
		member_status(n->member, &s);
		if (w->nodes[i].gone && !w->nodes[i].member)
			node_wipe(&w->nodes[i]);
		if (w->nodes[i].id == 0)
			fault_add(n, &w->nodes[i]);
		else if (s.n_members > 3)
			fault_admin(n, MEMBER_REMOVE,
				    leader && rng_chance(&w->rng, 30) ? leader->id
								      : s.members[rng_below(&w->rng, s.n_members)].id);
		/* In the middle of the change. */
		if (rng_chance(&w->rng, 30) && world_pass(w, rng_below(&w->rng, 30 * MS))) {
			n = rng_chance(&w->rng, 50) ? fault_pick(w) : node_leader(w);
			if (n && n->member && rng_chance(&w->rng, 60))
				fault_crash(n, rng_chance(&w->rng, 50));
			else if (n)
				fault_isolate(w, n->index);
		}
		if (rng_chance(&w->rng, 10))
			fault_weather(w);
again:
		if (rng_chance(&w->rng, 40))
			fault_heal(w);
		fault_restart(w, false);
	}
}

/* --- shrink: down to two voters and to one, and up again ----------------------------------------------------------------------- */

static void prepare_shrink(struct world *w)
{
	w->n_initial = (int)rng_between(&w->rng, 2, 3);
	w->value_size = 48;
	w->no_rot = true;
}

static void drive_shrink(struct world *w)
{
	bool up = false;

	while (world_pass(w, rng_between(&w->rng, 30, 600) * MS)) {
		struct node *leader = node_leader(w), *n = leader ? leader : fault_pick(w);
		struct kv_status s;

		if (!n)
			goto again;
		member_status(n->member, &s);
		up = s.n_members <= 1 || (up && s.n_members < 4);
		for (int i = 0; i < SIM_NODES; i++)
			if (w->nodes[i].gone && !w->nodes[i].member)
				node_wipe(&w->nodes[i]);
		for (int i = 0; up && i < SIM_NODES; i++)
			if (w->nodes[i].id == 0) {
				fault_add(n, &w->nodes[i]);
				break;
			}
		if (!up && s.n_members > 1)
			fault_admin(n, MEMBER_REMOVE,
				    rng_chance(&w->rng, 50) ? n->id : s.members[rng_below(&w->rng, s.n_members)].id);
		/* In the middle of it the one that knows of the change falls silent. */
		if (rng_chance(&w->rng, 40) && world_pass(w, rng_below(&w->rng, 8 * MS)) && n->member) {
			if (rng_chance(&w->rng, 50))
				fault_crash(n, rng_chance(&w->rng, 50));
			else
				fault_isolate(w, n->index);
		}
again:
		if (rng_chance(&w->rng, 60))
			fault_heal(w);
		fault_restart(w, false);
	}
}

/* --- snapshot: one member falls so far behind that it needs the whole state, in many chunks, and things go wrong on the way -- */

static void prepare_snapshot(struct world *w)
{
	w->n_initial = rng_chance(&w->rng, 70) ? 3 : 5;
	w->value_size = 60000;
	w->log_scale = 4;
	w->think_ms = 10;
	w->compact_ms = UINT32_MAX; /* a history that grows makes large states */
	w->no_rot = true;
}

/* Let it fall behind the beginning of the others' logs. */
static bool starve(struct world *w, struct node *n)
{
	uint64_t until = w->now + 2500 * MS;

	if (rng_chance(&w->rng, 50) && n->member)
		fault_crash(n, rng_chance(&w->rng, 50));
	else
		fault_isolate(w, n->index);
	while (w->now < until)
		if (!world_pass(w, 50 * MS))
			return false;
	fault_heal(w);
	fault_restart(w, true);
	return true;
}

static void disturb_transfer(struct world *w, struct node *n)
{
	struct node *leader = node_leader(w);

	switch (rng_below(&w->rng, 7)) {
	case 0:
		if (n->member)
			fault_crash(n, rng_chance(&w->rng, 50));
		break;
	case 1:
		if (leader)
			fault_crash(leader, rng_chance(&w->rng, 50));
		break;
	case 2:
		fault_isolate(w, n->index);
		break;
	case 3:
		fault_pause(rng_chance(&w->rng, 50) && leader ? leader : n, rng_between(&w->rng, 20, 1500) * MS);
		break;
	case 4:
		w->dup = 30;
		w->reorder = 30;
		break;
	case 5:
		w->loss = 25;
		break;
	default:
		if (leader)
			fault_admin(leader, MEMBER_TRANSFER, n->id);
		break;
	}
}

static void drive_snapshot(struct world *w)
{
	do {
		struct node *n = &w->nodes[rng_below(&w->rng, (uint64_t)w->n_initial)];

		if (!starve(w, n))
			return;
		w->latency_us = (unsigned)rng_between(&w->rng, 500, 15 * MS);
		for (int i = 0; i < 4; i++) {
			if (!world_pass(w, rng_between(&w->rng, 1, 60) * MS))
				return;
			disturb_transfer(w, n);
		}
		w->dup = w->reorder = w->loss = 0;
		fault_heal(w);
		fault_restart(w, true);
	} while (world_pass(w, rng_between(&w->rng, 10, 600) * MS));
}

/*
 * unmatched: a follower must not acknowledge entries of its own that the new leader has not matched with its log.
 *
 * A leader and one follower are cut off and keep a tail that nobody else has. The others elect, and write different entries at
 * the same places; then only heartbeats of the new leader reach the old pair, and its other followers are cut off. If the pair
 * acknowledged its own tail, the new leader would take its entries for committed; then it dies, and they are lost.
 */
static void prepare_unmatched(struct world *w)
{
	w->n_initial = 5;
	w->think_ms = 5;
	w->value_size = 48;
	w->compact_ms = UINT32_MAX;
	w->no_rot = true;
}

static void split(struct world *w, const bool *side)
{
	for (int i = 0; i < SIM_NODES; i++)
		for (int j = 0; j < SIM_NODES; j++)
			w->cut[i][j] = side[i] != side[j];
}

static void drive_unmatched(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 100, 400) * MS)) {
		struct node *old = node_leader(w), *new;
		bool pair[SIM_NODES] = {false}, with_new[SIM_NODES];

		fault_heal(w);
		fault_restart(w, true);
		if (!old)
			continue;
		pair[old->index] = pair[other_than(w, old->index)] = true;
		split(w, pair);
		sim_trace(w, "%s and another one are cut off", old->name);
		/* The old leader steps down after an election timeout without a majority; until then its tail grows. */
		if (!world_pass(w, rng_between(&w->rng, 350, 1500) * MS))
			return;
		new = node_leader(w);
		if (!new || pair[new->index])
			continue;
		/* Now the new leader and the old pair, without the rest; entries of the leader do not arrive. */
		memcpy(with_new, pair, sizeof(with_new));
		with_new[new->index] = true;
		split(w, with_new);
		for (int i = 0; i < SIM_NODES; i++)
			w->no_entries[new->index][i] = pair[i];
		sim_trace(w, "%s and the pair, heartbeats only", new->name);
		if (!world_pass(w, rng_between(&w->rng, 30, 280) * MS))
			return;
		if (new->member && rng_chance(&w->rng, 80)) {
			fault_crash(new, true);
			fault_isolate(w, new->index);
		}
		for (int i = 0; i < SIM_NODES; i++)
			for (int j = 0; j < SIM_NODES; j++)
				w->cut[i][j] = i == new->index || j == new->index;
		memset(w->no_entries, 0, sizeof(w->no_entries));
		if (!world_pass(w, rng_between(&w->rng, 500, 1500) * MS))
			return;
	}
}

/* --- power: all machines lose power in the middle of writes, again and again ------------------------------------------------- */

static void prepare_power(struct world *w)
{
	w->n_initial = rng_chance(&w->rng, 60) ? 3 : 1;
	w->think_ms = 5;
	w->no_rot = true;
}

static void drive_power(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 30, 900) * MS)) {
		bool most = rng_chance(&w->rng, 30);

		for (int i = 0; i < SIM_NODES; i++)
			if (w->nodes[i].member && !(most && rng_chance(&w->rng, 40)))
				fault_crash(&w->nodes[i], true);
		for (int i = 0; i < w->n_initial; i++)
			w->nodes[i].fsync_us = (unsigned)rng_between(&w->rng, 100, 10 * MS);
		if (!world_pass(w, rng_below(&w->rng, 100 * MS)))
			return;
		fault_restart(w, true);
		world_pass(w, 500 * MS);
	}
}

/* --- rot: one file after the other is damaged, of one member at a time, while others crash and sleep --------------------------- */

static void prepare_rot(struct world *w)
{
	w->n_initial = rng_chance(&w->rng, 70) ? 3 : 5;
	w->think_ms = 10;
	w->replace_ms = 1000;
	w->voters = 5; /* who is mended votes again */
	w->value_size = 48;
}

static bool all_mended(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		/* A new identity waits for the others to give up the old one. */
		if (n->id && !n->gone && !n->rejoins && !node_mended(n))
			return false;
	}
	return true;
}

/*
 * One member's file is damaged, and nothing else happens: no crash, no election, not even a write comes to its help. With any of these
 * a leader finds out by itself that the member lost what it had acknowledged.
 */
static void rot_in_peace(struct world *w)
{
	bool time = true;

	if (!world_pass(w, rng_between(&w->rng, 500, 2000) * MS))
		return;
	w->quiet = true;
	if (world_pass(w, 500 * MS))
		fault_rot(w);
	if (world_pass(w, 300 * MS))
		fault_restart(w, true);
	for (int i = 0; i < 60 && time && !all_mended(w); i++)
		time = world_pass(w, 100 * MS);
	if (time && !all_mended(w))
		sim_fail(w, "a damaged member is not mended after 6 s in which nothing else happened");
	w->quiet = false;
}

static void drive_rot(struct world *w)
{
	if (rng_chance(&w->rng, 30))
		rot_in_peace(w);
	while (world_pass(w, rng_between(&w->rng, 20, 900) * MS)) {
		struct node *n = fault_pick(w);

		fault_rot(w);
		/* In the middle of its repair something else goes wrong. */
		if (n && n->member && rng_chance(&w->rng, 20))
			fault_crash(n, rng_chance(&w->rng, 50));
		else if (n && n->member && rng_chance(&w->rng, 15))
			fault_pause(n, rng_between(&w->rng, 20, 1500) * MS);
		if (rng_chance(&w->rng, 10))
			fault_isolate(w, (int)rng_below(&w->rng, (uint64_t)w->n_initial));
		if (rng_chance(&w->rng, 60))
			fault_heal(w);
		fault_restart(w, false);
	}
}

/* --- idle: followers are started again one after the other while nothing happens, then there is a write --------------------------- */

static void prepare_idle(struct world *w)
{
	w->n_initial = 3;
	w->no_rot = true;
	w->think_ms = 1;
}

/* One member after the other, but the leader. False: something else has happened. */
static bool restart_followers(struct world *w, struct node *leader)
{
	for (int i = 0; i < w->n_initial; i++) {
		struct node *n = &w->nodes[i];

		if (n == leader || !n->member)
			continue;
		fault_crash(n, false);
		if (!world_pass(w, 700 * MS))
			return false;
		fault_restart(w, true);
		if (!world_pass(w, 700 * MS))
			return false;
	}
	return leader->member && member_is_leader(leader->member);
}

/* The first write, from its append to its commit. Network and disk take 1 ms, heartbeats come every 50 ms. */
static void write_once(struct world *w, struct node *leader)
{
	struct kv_status s, before;
	unsigned ms = 0;

	member_status(leader->member, &before);
	w->quiet = false;
	do {
		if (!world_pass(w, 1000) || !leader->member)
			return;
		member_status(leader->member, &s);
		ms += s.last_index > before.last_index;
	} while (s.commit_index <= before.last_index && member_is_leader(leader->member));
	w->quiet = true;
	sim_trace(w, "committed after %u ms", ms);
	if (ms > 12)
		sim_fail(w, "a write into an idle cluster took %u ms to be committed", ms);
}

static void drive_idle(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++)
		w->nodes[i].fsync_us = 500;
	w->quiet = true;
	while (world_pass(w, 500 * MS)) {
		struct node *leader = node_leader(w);

		if (leader && restart_followers(w, leader))
			write_once(w, leader);
	}
	w->quiet = false;
}

/* --- scrub: values rot, and are found and mended while everybody runs, also where there are only two voters ------------------------ */

static void prepare_scrub(struct world *w)
{
	static const int sizes[] = {2, 2, 3, 3, 5};

	prepare_rot(w);
	w->n_initial = sizes[rng_below(&w->rng, ARRAY_LEN(sizes))];
	w->no_rot = true; /* but for what is done here */
	w->scrub_ms = 600;
}

static bool damage_is_known(const struct node *n)
{
	struct kv_status s;

	if (!n->member)
		return false;
	member_status(n->member, &s);
	return s.damage[0] != '\0';
}

/* Nobody reads what is damaged: the next pass but one has found it at the latest. Then the leader mends it. */
static void rot_unread(struct world *w, struct node *n)
{
	uint64_t life = n->epoch;
	bool time, known = false;

	w->quiet = true;
	time = world_pass(w, 500 * MS);
	if (time && n->member && n->epoch == life)
		fault_rot_value(n);
	for (int i = 0; i < 30 && time && !known; i++) {
		time = world_pass(w, 100 * MS);
		known = damage_is_known(n);
	}
	/* It may be that nothing had rotted but what was free already. */
	if (time && !known && n->rotten && !node_mended(n))
		sim_fail(w, "%s has not found in 3 s what had rotted", n->name);
	for (int i = 0; i < 80 && time && !node_mended(n); i++)
		time = world_pass(w, 100 * MS);
	if (time && !node_mended(n))
		sim_fail(w, "the damaged store of %s is not mended after 8 s in which nothing else happened", n->name);
	if (time && n->epoch != life)
		sim_fail(w, "%s has stopped for what could be mended while it runs", n->name);
	w->quiet = false;
}

/* Clients read and write what is damaged, or another member has trouble, of whatever kind; even two are damaged, when a third one is not. */
static void rot_under_load(struct world *w, struct node *n)
{
	struct node *other = fault_pick(w);
	bool time;

	fault_rot_value(n);
	if (other && other != n && w->n_initial > 2 && rng_chance(&w->rng, 30))
		fault_rot_value(other);
	if (!world_pass(w, rng_below(&w->rng, 600 * MS)))
		return;
	other = fault_pick(w);
	if (other && rng_chance(&w->rng, 25))
		fault_crash(other, rng_chance(&w->rng, 50));
	else if (other && rng_chance(&w->rng, 25))
		fault_pause(other, rng_between(&w->rng, 20, 1500) * MS);
	else if (other && rng_chance(&w->rng, 25))
		fault_isolate(w, other->index);
	if (!world_pass(w, rng_below(&w->rng, 1500 * MS)))
		return;
	fault_heal(w);
	fault_restart(w, true);
	time = true;
	for (int i = 0; i < 120 && time && !all_mended(w); i++)
		time = world_pass(w, 100 * MS);
	if (time && !all_mended(w))
		sim_fail(w, "a damaged store is not mended after 12 s");
}

static void drive_scrub(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 300, 1500) * MS)) {
		struct node *n = fault_pick(w);

		if (!n || n->paused_until > w->now || !all_mended(w) || !node_leader(w))
			continue;
		if (rng_chance(&w->rng, 50))
			rot_unread(w, n);
		else
			rot_under_load(w, n);
	}
}

/*
 * revote: a member's vote is damaged right after it was given, and another candidate wants one of the same term.
 *
 * A leader is cut off; of the other two the one votes for the other. That one is cut off now, and the voter, whose vote is gone, and
 * the old leader, which has not heard of the election, are together again. Both think the term has yet to come. If the voter took
 * part it would vote in it once more; so nobody leads until all three are together, and it is let in under a new id.
 */
static void prepare_revote(struct world *w)
{
	prepare_rot(w);
	w->n_initial = 3;
	w->no_rot = true; /* but for what is done here */
}

/* The next vote that one of the nodes gives to another one; NULL when there is none in time. */
static struct node *next_vote(struct world *w, uint64_t us, struct node **ret_for)
{
	uint64_t until = w->now + us;

	for (size_t seen = w->n_votes; w->now < until && world_pass(w, 100); seen = MAX(seen, w->n_votes))
		for (size_t i = seen; i < w->n_votes; i++)
			if (w->votes[i].voter != w->votes[i].candidate) {
				*ret_for = node_by_id(w, w->votes[i].candidate);
				return *ret_for ? node_by_id(w, w->votes[i].voter) : NULL;
			}
	return NULL;
}

static bool all_let_in(struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].rejoins)
			return false;
	return all_mended(w);
}

static void drive_revote(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 20, 300) * MS)) {
		struct node *old = node_leader(w), *voter, *elected;

		fault_heal(w);
		if (!old || !all_let_in(w))
			continue;
		fault_isolate(w, old->index);
		voter = next_vote(w, 1500 * MS, &elected);
		if (!voter || voter == old || elected == old || !fault_ruin_vote(voter))
			continue;
		fault_heal(w);
		fault_isolate(w, elected->index);
		if (!world_pass(w, rng_between(&w->rng, 800, 1500) * MS))
			return;
	}
}

/* --- leases: they end and are renewed while leaders change ----------------------------------------------------------------------- */

static void prepare_leases(struct world *w)
{
	w->n_initial = 3;
	w->lease_checkpoint_ms = w->cfg.seed % 2 ? 1900 : 0;
	w->no_rot = true;
}

static void drive_leases(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 200, 2500) * MS)) {
		struct node *leader = node_leader(w);

		fault_heal(w);
		fault_restart(w, true);
		if (!leader)
			continue;
		switch (rng_below(&w->rng, 4)) {
		case 0:
			fault_isolate(w, leader->index);
			break;
		case 1:
			/* It sleeps until another one leads; what clients asked it meanwhile it finds when it wakes up. */
			fault_pause(leader, rng_between(&w->rng, 2000, 3000) * MS);
			if (!world_pass(w, 1600 * MS))
				return;
			w->asleep = leader;
			world_pass(w, 1400 * MS);
			w->asleep = NULL;
			break;
		case 2:
			fault_crash(leader, false);
			break;
		default:
			fault_admin(leader, MEMBER_TRANSFER, 0);
			break;
		}
	}
}

static const struct scenario scenarios[] = {
	{"random", "faults drawn from a table", NULL, drive_random},
	{"transfer", "leadership changes hands under load", prepare_transfer, drive_transfer},
	{"members", "members are added, removed and replaced under faults", prepare_members, drive_members},
	{"shrink", "down to two voters and one, and up again", prepare_shrink, drive_shrink},
	{"snapshot", "snapshots of many chunks, interrupted and repeated", prepare_snapshot, drive_snapshot},
	{"unmatched", "followers with a tail of their own hear a new leader's heartbeats", prepare_unmatched, drive_unmatched},
	{"power", "all machines lose power", prepare_power, drive_power},
	{"rot", "files are damaged, and repaired from the others", prepare_rot, drive_rot},
	{"idle", "followers are started again, then there is a write", prepare_idle, drive_idle},
	{"scrub", "values rot, and are found and mended while everybody runs", prepare_scrub, drive_scrub},
	{"files", "files of the log, vote and identity rot while everybody runs", prepare_files, drive_files},
	{"pair", "one of two voters loses its log or store, while a third one comes and goes", prepare_pair, drive_pair},
	{"third", "one of two voters loses its log, which alone tells of a third one", prepare_third, drive_third},
	{"revote", "a vote is lost right after it was given", prepare_revote, drive_revote},
	{"leases", "leases under changes of leader", prepare_leases, drive_leases},
};

const struct scenario *scenario_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	return NULL;
}

void scenario_list(FILE *f)
{
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
		fprintf(f, "  %-10s %s\n", scenarios[i].name, scenarios[i].what);
}

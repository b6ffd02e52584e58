/* Faults: as verbs that scenarios use, and as a table that random runs draw from. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "raft/repair.h"
#include "tests/sim/world.h"

struct node *fault_pick(struct world *w)
{
	struct node *up[SIM_NODES];
	size_t n = 0;

	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].member && !w->nodes[i].gone)
			up[n++] = &w->nodes[i];
	return n ? up[rng_below(&w->rng, n)] : NULL;
}

/* --- Processes and machines --------------------------------------------------------------------------------------- */

void fault_crash(struct node *n, bool power)
{
	sim_trace(n->w, "%s %s", power ? "power loss" : "kill", n->name);
	node_crash(n, power);
}

static void crash_one(struct world *w)
{
	struct node *n = fault_pick(w);
	bool power = rng_chance(&w->rng, 50);

	if (n)
		fault_crash(n, power);
}

static void crash_all(struct world *w)
{
	bool power = rng_chance(&w->rng, 50);

	for (int i = 0; i < SIM_NODES; i++)
		if (w->nodes[i].member)
			fault_crash(&w->nodes[i], power);
}

void fault_restart(struct world *w, bool all)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *n = &w->nodes[i];

		if (!n->member && n->id && !n->gone && !n->rejoins && (all || rng_chance(&w->rng, 60))) {
			sim_trace(w, "start %s", n->name);
			node_start(n, false);
		}
	}
}

void fault_pause(struct node *n, uint64_t us)
{
	n->paused_until = n->w->now + us;
	sim_trace(n->w, "pause %s until %.3f", n->name, (double)n->paused_until / 1000.0);
}

static void pause_one(struct world *w)
{
	struct node *n = fault_pick(w);

	if (n)
		fault_pause(n, rng_between(&w->rng, 50, 3000) * MS);
}

/* Members tell times of the day to nobody but themselves; commands carry them. */
static void wall_clock(struct world *w)
{
	struct node *n = &w->nodes[rng_below(&w->rng, SIM_NODES)];

	n->wall_offset_ms = (int64_t)rng_below(&w->rng, 7200000) - 3600000;
	sim_trace(w, "clock of %s is off by %" PRId64 " ms", n->name, n->wall_offset_ms);
}

/* --- Disks ---------------------------------------------------------------------------------------------------------- */

/*
 * A member that may have lost what it acknowledged takes no part in elections until a leader has given it back. A majority
 * without it must be there, or the cluster rightly stands still: so at most one at a time, of three voters or more.
 */
static bool may_forget(const struct node *n)
{
	struct world *w = n->w;
	struct kv_status s;
	unsigned voters = 0;

	member_status(n->member, &s);
	for (size_t i = 0; i < s.n_members; i++)
		voters += s.members[i].role == KV_VOTER;
	for (int i = 0; i < SIM_NODES; i++)
		if (&w->nodes[i] != n && w->nodes[i].id && !w->nodes[i].gone && (w->nodes[i].forgets || !node_sound(&w->nodes[i])))
			return false;
	return voters >= 3;
}

/* The store's database file is a real one. */
static char *db_path(const struct node *n)
{
	DIR *dir = opendir(n->store_dir);
	char *path = NULL;

	for (struct dirent *ent; dir && (ent = readdir(dir)) != NULL;)
		if (strncmp(ent->d_name, "db.", 3) == 0 && !strstr(ent->d_name, "-lock")) {
			free(path);
			path = xasprintf("%s/%s", n->store_dir, ent->d_name);
		}
	if (dir)
		closedir(dir);
	return path;
}

/*
 * A bit of one value, in every page that has it or had it: a client's value is a number and blanks. LMDB's own pages have no
 * checksum; damage there is not what is tried.
 */
static void rot_value(struct node *n)
{
	static const char blanks[] = "                    ";
	_cleanup_(freep) char *path = db_path(n), *bytes = NULL;
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	char value[sizeof(blanks) + 5];
	struct stat st;
	size_t size;
	char *p;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		goto out;
	size = (size_t)st.st_size;
	bytes = xmalloc(size);
	if (pread(fd, bytes, size, 0) != st.st_size)
		goto out;
	p = bytes + rng_below(&n->w->rng, size);
	p = memmem(p, (size_t)(bytes + size - p), blanks, sizeof(blanks) - 1);
	if (!p || p - bytes < 5 || p[-1] < '0' || p[-1] > '9')
		goto out;
	memcpy(value, p - 5, sizeof(value));
	for (p = bytes; (p = memmem(p, (size_t)(bytes + size - p), value, sizeof(value) - 1)) != NULL; p++) {
		p[4] ^= 1;
		ASSERT(pwrite(fd, p + 4, 1, p + 4 - bytes) == 1);
	}
out:
	if (fd >= 0)
		close(fd);
}

void fault_rot_value(struct node *n)
{
	sim_trace(n->w, "bit rot %s: value", n->name);
	n->rotten = true;
	n->w->n_rots++;
	rot_value(n);
}

static void rot_checkpoint(struct node *n)
{
	_cleanup_(freep) char *path = xasprintf("%s/checkpoint", n->store_dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t b;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
		off_t at = (off_t)rng_below(&n->w->rng, (uint64_t)st.st_size);

		ASSERT(pread(fd, &b, 1, at) == 1);
		b ^= (uint8_t)(1u << rng_below(&n->w->rng, 8));
		ASSERT(pwrite(fd, &b, 1, at) == 1);
	}
	if (fd >= 0)
		close(fd);
}

static void cut_store(struct node *n)
{
	_cleanup_(freep) char *path = db_path(n);
	struct stat st;

	if (path && stat(path, &st) == 0)
		ASSERT(truncate(path, st.st_size / 2) == 0);
}

static void rot_log(struct node *n)
{
	simdisk_rot(&n->disk, ".wal");
}

static void rot_vote_slot(struct node *n)
{
	simdisk_rot(&n->disk, "vote");
}

static void rot_vote(struct node *n)
{
	simdisk_ruin(&n->disk, "vote", 4096);
}

static void rot_member(struct node *n)
{
	simdisk_rot(&n->disk, "member");
}

static void rot_peers(struct node *n)
{
	simdisk_rot(&n->disk, "peers");
}

static void rot_mark(struct node *n)
{
	simdisk_rot(&n->disk, "durable");
}

/* What can rot: found at the next start, or when it is read, or not needed any more; never served, never skipped. */
static const struct {
	const char *name;
	void (*fn)(struct node *);
	bool online; /* also while the member runs */
} rots[] = {
	{"log", rot_log, false},	{"vote", rot_vote, false},	      {"one slot of the vote", rot_vote_slot, false},
	{"member", rot_member, false},	{"peers", rot_peers, false},	      {"durable", rot_mark, false},
	{"value", rot_value, true},	{"checkpoint", rot_checkpoint, false}, {"half the store", cut_store, false},
	{"the store", node_lose_store, false},
};

/* Of a member that is down: the database, its checkpoint, or all of it. */
void fault_rot_store(struct node *n)
{
	void (*const kinds[])(struct node *) = {rot_checkpoint, cut_store, node_lose_store, rot_value};

	kinds[rng_below(&n->w->rng, ARRAY_LEN(kinds))](n);
}

/* Only then it may do something about it by itself. */
static bool knows_two_others(struct node *n)
{
	struct buf conf = BUF_INIT;
	bool knows = stable_load_peers(&n->disk.disk, &conf) && repair_other_voters(conf.p, conf.n, n->id) >= 2;

	buf_fini(&conf);
	return knows;
}

static bool can_bear_rot(struct node *n)
{
	return n->paused_until <= n->w->now && node_mended(n) && may_forget(n) && knows_two_others(n);
}

void fault_rot(struct world *w)
{
	struct node *n = fault_pick(w);
	size_t kind = rng_below(&w->rng, ARRAY_LEN(rots));

	if (!n || w->no_rot || !can_bear_rot(n))
		return;
	if (!rots[kind].online || rng_chance(&w->rng, 30))
		node_crash(n, false);
	n->rotten = true;
	w->n_rots++;
	rots[kind].fn(n);
	sim_trace(w, "bit rot %s: %s", n->name, rots[kind].name);
}

bool fault_ruin_vote(struct node *n)
{
	if (!n->member || !can_bear_rot(n))
		return false;
	sim_trace(n->w, "the vote of %s is ruined", n->name);
	node_crash(n, false);
	n->rotten = true;
	n->w->n_rots++;
	rot_vote(n);
	node_start(n, false);
	return true;
}

/* A member copies its store into a new file while it goes on. */
static void defrag(struct world *w)
{
	struct node *n = fault_pick(w);

	if (!n || n->defrags || n->paused_until > w->now)
		return;
	n->defrags = true;
	n->defrag.op = MEMBER_DEFRAG;
	sim_trace(w, "%s copies its store", n->name);
	member_admin(n->member, &n->defrag);
	node_flush_soon(n);
}

static void ev_disk_well(struct event *e)
{
	struct node *n = &((struct world *)(uintptr_t)e->from)->nodes[e->size];

	n->fsync_us = 500;
	n->disk.fault = SIMDISK_FINE;
	n->store_full = false;
	sim_trace(n->w, "disk of %s is well again", n->name);
}

static void well_later(struct node *n, uint64_t us)
{
	struct event *e = event_add(n->w, NULL, us, ev_disk_well);

	e->from = (uintptr_t)n->w;
	e->size = (size_t)n->index;
}

/* Each sync takes seconds, or hangs for longer than anybody waits. */
static void slow_disk(struct world *w)
{
	struct node *n = fault_pick(w);

	if (!n)
		return;
	n->fsync_us = (unsigned)rng_between(&w->rng, 200, rng_chance(&w->rng, 30) ? 8000 : 1500) * MS;
	sim_trace(w, "disk of %s is slow: %u us", n->name, n->fsync_us);
	well_later(n, rng_between(&w->rng, 500, 6000) * MS);
}

/* Errors for a while, or no room, or syncs that fail: the member halts, and is back soon after. */
static void broken_disk(struct world *w)
{
	struct node *n = fault_pick(w);

	if (!n || n->paused_until > w->now)
		return;
	n->disk.fault = (enum simdisk_fault)rng_between(&w->rng, SIMDISK_EIO, SIMDISK_SYNC);
	if (n->disk.fault == SIMDISK_SYNC && !may_forget(n))
		n->disk.fault = SIMDISK_FULL;
	n->forgets = n->forgets || n->disk.fault == SIMDISK_SYNC;
	sim_trace(w, "disk fault %s kind=%d", n->name, (int)n->disk.fault);
	well_later(n, rng_between(&w->rng, 5, 3000) * MS);
}

/* The log has its segments, but the store's file does not grow: what lingered is undone, and applied again when there is room. */
static void full_store(struct world *w)
{
	struct node *n = fault_pick(w);

	if (!n || n->paused_until > w->now)
		return;
	n->store_full = true;
	sim_trace(w, "no room for the store of %s", n->name);
	well_later(n, rng_between(&w->rng, 5, 3000) * MS);
}

/* --- The network ------------------------------------------------------------------------------------------------------ */

void fault_isolate(struct world *w, int a)
{
	for (int i = 0; i < SIM_NODES; i++)
		if (i != a)
			w->cut[a][i] = w->cut[i][a] = true;
	sim_trace(w, "isolate n%d", a + 1);
}

void fault_heal(struct world *w)
{
	memset(w->cut, 0, sizeof(w->cut));
	memset(w->no_entries, 0, sizeof(w->no_entries));
	w->flapping = -1;
	sim_trace(w, "heal");
}

static void one_way(struct world *w, bool may_speak)
{
	int a = (int)rng_below(&w->rng, SIM_NODES);

	for (int i = 0; i < SIM_NODES; i++)
		if (i != a)
			w->cut[may_speak ? i : a][may_speak ? a : i] = true;
	sim_trace(w, "n%d can only %s", a + 1, may_speak ? "speak" : "hear");
}

static void halves(struct world *w, bool bridge)
{
	int joint = bridge ? (int)rng_below(&w->rng, SIM_NODES) : -1;
	bool side[SIM_NODES];

	for (int i = 0; i < SIM_NODES; i++)
		side[i] = rng_chance(&w->rng, 50);
	for (int i = 0; i < SIM_NODES; i++)
		for (int j = 0; j < SIM_NODES; j++)
			w->cut[i][j] = side[i] != side[j] && i != joint && j != joint;
	sim_trace(w, "two halves, n%d sees both", joint + 1);
}

static void ev_flap(struct event *e)
{
	struct world *w = (struct world *)(uintptr_t)e->from;
	int a = w->flapping;
	bool cut;

	if (a < 0 || w->calm)
		return;
	cut = w->now < w->flap_until && !w->cut[a][(a + 1) % SIM_NODES];
	for (int i = 0; i < SIM_NODES; i++)
		if (i != a)
			w->cut[a][i] = w->cut[i][a] = cut;
	if (w->now < w->flap_until)
		event_add(w, NULL, rng_between(&w->rng, 20, 400) * MS, ev_flap)->from = (uintptr_t)w;
}

static void partition(struct world *w)
{
	int a = (int)rng_below(&w->rng, SIM_NODES), b = (int)rng_below(&w->rng, SIM_NODES);

	fault_heal(w);
	switch (rng_below(&w->rng, 7)) {
	case 0:
		fault_isolate(w, a);
		break;
	case 1:
		one_way(w, true);
		break;
	case 2:
		one_way(w, false);
		break;
	case 3:
		w->cut[a][b] = w->cut[b][a] = true;
		sim_trace(w, "no link between n%d and n%d", a + 1, b + 1);
		break;
	case 4:
		halves(w, false);
		break;
	case 5:
		halves(w, true);
		break;
	default:
		w->flapping = a;
		w->flap_until = w->now + rng_between(&w->rng, 500, 4000) * MS;
		sim_trace(w, "links of n%d come and go", a + 1);
		event_add(w, NULL, 0, ev_flap)->from = (uintptr_t)w;
		break;
	}
}

void fault_weather(struct world *w)
{
	w->loss = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 20);
	w->dup = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 10);
	w->reorder = rng_chance(&w->rng, 50) ? 0 : (unsigned)rng_below(&w->rng, 10);
	w->latency_us = (unsigned)rng_between(&w->rng, 50, rng_chance(&w->rng, 20) ? 100 * MS : 2 * MS);
	w->jitter_us = (unsigned)rng_below(&w->rng, w->latency_us + 1);
	w->hub_us = (unsigned)rng_between(&w->rng, 10, rng_chance(&w->rng, 30) ? 500 * MS : 5 * MS);
	for (int i = 0; i < SIM_NODES; i++)
		w->nodes[i].fsync_us = (unsigned)rng_between(&w->rng, 100, rng_chance(&w->rng, 15) ? 300 * MS : 3 * MS);
	sim_trace(w, "weather loss=%u dup=%u reorder=%u latency=%u", w->loss, w->dup, w->reorder, w->latency_us);
}

/* --- Membership ------------------------------------------------------------------------------------------------------- */

static void ask(struct node *n, int op)
{
	struct world *w = n->w;

	w->admin.op = op;
	w->admin.deadline = w->now / 1000 + 1000000u * (unsigned)(n->index + 1) + (rng_chance(&w->rng, 20) ? 0 : 5000);
	w->admin_busy = true;
	member_admin(n->member, &w->admin);
	node_flush_soon(n);
}

void fault_admin(struct node *n, int op, uint64_t target)
{
	if (n->w->admin_busy || n->paused_until > n->w->now)
		return;
	sim_trace(n->w, "admin op=%d target=%016" PRIx64 " through %s", op, target, n->name);
	n->w->admin.target = target;
	ask(n, op);
}

void fault_add(struct node *n, struct node *what)
{
	struct world *w = n->w;

	if (w->admin_busy || n->paused_until > w->now)
		return;
	w->joining = what->index;
	w->admin.peer = (struct kv_peer){.name = what->name, .addr = what->addr};
	sim_trace(w, "add %s through %s", what->name, n->name);
	ask(n, MEMBER_ADD);
}

static void member(struct world *w)
{
	struct node *n = fault_pick(w);
	unsigned kind = (unsigned)rng_below(&w->rng, 4);
	struct kv_status s;

	if (!n || w->admin_busy || n->paused_until > w->now)
		return;
	member_status(n->member, &s);
	if (kind == 0) {
		fault_admin(n, MEMBER_TRANSFER, 0);
	} else if (kind == 1 && s.n_members > 0) {
		fault_admin(n, MEMBER_TRANSFER, s.members[rng_below(&w->rng, s.n_members)].id);
	} else if (kind == 2) {
		for (int i = 0; i < SIM_NODES; i++) {
			/* One that was removed comes back as a new machine. */
			if (w->nodes[i].gone && !w->nodes[i].member)
				node_wipe(&w->nodes[i]);
			if (!w->nodes[i].id) {
				fault_add(n, &w->nodes[i]);
				return;
			}
		}
	} else if (s.n_members > 3) {
		fault_admin(n, MEMBER_REMOVE, s.members[rng_below(&w->rng, s.n_members)].id);
	}
}

/* The fault table: one row is drawn, by weight. */
static const struct {
	unsigned weight;
	void (*fn)(struct world *);
} faults[] = {
	{20, crash_one}, {2, crash_all}, {10, pause_one}, {12, partition}, {22, fault_heal}, {10, fault_weather},
	{12, member},	 {1, fault_rot},	 {3, slow_disk},  {8, broken_disk},  {1, wall_clock},
	{5, defrag},	 {3, full_store},
};

void fault_draw(struct world *w)
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
	fault_restart(w, false);
}

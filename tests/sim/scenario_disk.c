/* Courses of events around files that are damaged, beside those of scenario.c. */
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/member-priv.h"
#include "raft/repair.h"
#include "raft/wal-priv.h"
#include "tests/sim/world.h"

/* --- files: segments of the log, vote, identity and list of members rot while everybody runs, also where there is nobody else ------- */

void prepare_files(struct world *w)
{
	static const int sizes[] = {1, 2, 3, 3, 5};

	w->n_initial = sizes[rng_below(&w->rng, ARRAY_LEN(sizes))];
	w->think_ms = 10;
	w->replace_ms = 1000;
	w->voters = 5;
	w->value_size = 48;
	w->scrub_ms = 600;
	w->no_rot = true; /* but for what is done here */
}

static const struct simfile *file_of(const struct node *n, const char *name)
{
	for (int i = 0; i < SIMDISK_MAX_FILES; i++)
		if (n->disk.files[i].used && strcmp(n->disk.files[i].name, name) == 0)
			return &n->disk.files[i];
	return NULL;
}

static bool crc_fits(const struct node *n, const char *name, uint64_t from, size_t size)
{
	const struct simfile *f = file_of(n, name);

	return f && f->size >= from + size && get_u32(f->data + from + 4) == crc32c(0, f->data + from + 8, size - 8);
}

/* Everything that is there to be read again is whole. */
static bool files_whole(struct node *n)
{
	const struct simfile *member = file_of(n, "member"), *peers = file_of(n, "peers");
	struct wal_check c = {0};
	uint32_t at = 0;

	if (!n->member || !member__runs(n->member))
		return false;
	for (; wal_closed_after(&n->member->wal, at, &c); at = c.seq)
		if (wal_check(&n->disk.disk, &c, NULL) != 0)
			return false;
	return crc_fits(n, "vote", 0, 36) && crc_fits(n, "vote", 4096, 36) && member && crc_fits(n, "member", 0, member->size) && peers &&
	       crc_fits(n, "peers", 0, peers->size);
}

/* The oldest segment that is complete, or one after it: in what there is of records. */
static bool rot_closed(struct node *n)
{
	char name[WAL_NAME_SIZE];
	struct wal_check c = {0};
	uint32_t at = 0;

	do
		if (!wal_closed_after(&n->member->wal, at, &c))
			return false;
	while ((at = c.seq) && rng_chance(&n->w->rng, 50) && wal_closed_after(&n->member->wal, at, &(struct wal_check){0}));
	wal__segment_name(c.seq, name);
	return simdisk_flip(&n->disk, name, rng_below(&n->w->rng, c.size));
}

static bool rot_file(struct node *n)
{
	uint64_t slot = rng_chance(&n->w->rng, 50) ? 4096 : 0;

	switch (rng_below(&n->w->rng, 6)) {
	case 0:
		return simdisk_flip(&n->disk, "vote", slot + rng_below(&n->w->rng, 36));
	case 1:
		return simdisk_flip(&n->disk, "member", rng_below(&n->w->rng, 40));
	case 2:
		return simdisk_flip(&n->disk, "peers", rng_below(&n->w->rng, 20));
	default:
		return rot_closed(n);
	}
}

void drive_files(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 300, 1500) * MS)) {
		struct node *n = fault_pick(w);
		uint64_t life;
		bool time = true;

		if (!n || n->paused_until > w->now || !node_leader(w) || !files_whole(n))
			continue;
		w->quiet = rng_chance(&w->rng, 30);
		life = n->epoch;
		if ((w->quiet && !world_pass(w, 400 * MS)) || !n->member || n->epoch != life || !rot_file(n)) {
			w->quiet = false;
			continue;
		}
		w->n_rots++;
		sim_trace(w, "a file of %s rots", n->name);
		for (int i = 0; i < 60 && time && !(n->member && files_whole(n)); i++)
			time = world_pass(w, 100 * MS);
		if (time && !files_whole(n))
			sim_fail(w, "a damaged file of %s is not mended after 6 s", n->name);
		if (time && n->epoch != life)
			sim_fail(w, "%s has stopped for what could be mended while it runs", n->name);
		w->quiet = false;
	}
}

/* --- pair: one of two voters loses its log, its store or both, while a third one comes and goes -------------------------------------- */

void prepare_pair(struct world *w)
{
	w->n_initial = 2;
	w->think_ms = 10;
	w->voters = 3;
	w->value_size = 48;
	w->no_rot = true; /* but for what is done here */
}

static bool others_whole(struct node *n)
{
	for (int i = 0; i < SIM_NODES; i++) {
		struct node *o = &n->w->nodes[i];

		if (o != n && o->id && !o->gone && (o->forgets || !node_sound(o)))
			return false;
	}
	return true;
}

/* It may come back by itself only when it knows for certain who else votes: it is down, so what its files say is what it will know. */
static bool may_come_back(struct node *n)
{
	struct buf conf = BUF_INIT;
	uint64_t pair;
	bool may;

	may = repair_pair(&n->disk.disk, n->id) != 0 ||
	      (stable_load_peers(&n->disk.disk, &conf) && repair_other_voters(conf.p, conf.n, n->id) > 1);
	buf_fini(&conf);
	return may && !repair_forgetful(&n->disk.disk, &pair);
}

static void lose(struct node *n)
{
	struct world *w = n->w;
	unsigned what = (unsigned)rng_below(&w->rng, 3);

	n->rotten = true;
	w->n_rots++;
	sim_trace(w, "%s loses %s", n->name, what == 0 ? "a part of its log" : what == 1 ? "its store" : "both");
	if (what != 1)
		simdisk_rot(&n->disk, ".wal");
	if (what != 0)
		fault_rot_store(n);
}

static void change_members(struct world *w, struct node *through)
{
	struct node *third = &w->nodes[2 + rng_below(&w->rng, SIM_NODES - 2)];
	struct kv_status s;

	if (third->gone && !third->member)
		node_wipe(third);
	member_status(through->member, &s);
	if (third->id == 0 && s.n_members < 4)
		fault_add(through, third);
	/*
	 * Who has lost everything is not told that it was removed meanwhile: it waits for a leader that does not know it any more. And who has
	 * forgotten something when three voted waits for another leader, whom two do not have.
	 */
	else if (third->member && node_mended(third) && others_whole(third) && s.n_members > 2)
		fault_admin(through, MEMBER_REMOVE, third->id);
}

void drive_pair(struct world *w)
{
	bool changes = rng_chance(&w->rng, 50);

	while (world_pass(w, rng_between(&w->rng, 50, 900) * MS)) {
		struct node *n = fault_pick(w), *leader = node_leader(w);

		if (changes && leader && rng_chance(&w->rng, 30))
			change_members(w, leader);
		/* The other one falls silent, or both lose power, in the middle of whatever this one does. */
		if (n && rng_chance(&w->rng, 15))
			fault_crash(n, rng_chance(&w->rng, 50));
		else if (rng_chance(&w->rng, 15))
			fault_isolate(w, (int)rng_below(&w->rng, SIM_NODES));
		n = fault_pick(w);
		if (n && n->paused_until <= w->now && node_mended(n) && others_whole(n) && !w->admin_busy && rng_chance(&w->rng, 60)) {
			fault_crash(n, rng_chance(&w->rng, 30));
			if (may_come_back(n))
				lose(n);
			/* Back before the other one has noticed, or long after. */
			if (!world_pass(w, rng_between(&w->rng, 1, rng_chance(&w->rng, 50) ? 40 : 1200) * MS))
				return;
		}
		if (rng_chance(&w->rng, 60))
			fault_heal(w);
		fault_restart(w, rng_chance(&w->rng, 60));
	}
}

/*
 * third: of two voters one loses its log, and only the lost part told that a third one votes.
 *
 * The two add a third one. When its vote is in everybody's log the leader is cut off (A). If the third one (C) is elected then, it answers
 * writes that the other one (B) has acknowledged: those two are a majority now. Before B hears that any of it is committed its process dies,
 * and its log is damaged where the third one's vote stands; C dies as well. All that is left of B's files says: two voters, A and B. If B gave
 * its vote to A, as it may when that is certain, A would lead without those writes. So B has to be refused until a person has seen to it
 * (here: the damage is undone).
 */
void prepare_third(struct world *w)
{
	w->n_initial = 2;
	w->think_ms = 2;
	w->voters = 3;
	w->value_size = 48;
	w->compact_ms = UINT32_MAX;
	w->latency_us = 3 * MS;
	w->no_rot = true; /* but for what is done here */
}

static unsigned voters_in(const struct node *n)
{
	return n->member ? member__voters(n->member) : 0;
}

static bool alone_together(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct kv_status s;

		if (!w->nodes[i].member || !repair_is_settled(&w->nodes[i].disk.disk))
			return false;
		member_status(w->nodes[i].member, &s);
		if (s.n_members != 2 || voters_in(&w->nodes[i]) != 2)
			return false;
	}
	return true;
}

/* The third one goes, whoever leads. */
static bool part(struct world *w)
{
	for (int i = 0; i < 100 && !alone_together(w); i++) {
		struct node *leader = node_leader(w);
		struct kv_status s;

		if (!world_pass(w, 100 * MS))
			return false;
		if (leader && leader->member)
			member_status(leader->member, &s);
		for (size_t j = 0; leader && leader->member && j < s.n_members; j++) {
			const struct node *n = node_by_id(w, s.members[j].id);

			if (!n || n->index >= 2)
				fault_admin(leader, MEMBER_REMOVE, s.members[j].id);
		}
	}
	return alone_together(w);
}

/* The log's entry with the newest configuration that is not known to be committed: a byte of it on the disk. */
static uint8_t *promotion_of(struct node *n)
{
	const struct log_entry *le = log_get(&n->member->log, n->member->raft.configuration_uncommitted_index);
	char name[WAL_NAME_SIZE];

	if (!le)
		return NULL;
	wal__segment_name(le->pos.segment, name);
	return file_of(n, name) ? file_of(n, name)->data + le->pos.offset + 20 : NULL;
}

/* C leads and has answered a write, which B has acknowledged without knowing that the third one's vote is committed. */
static bool answered_unknown(struct world *w, struct node *b, struct node *c)
{
	uint64_t since = UINT64_MAX;

	for (int i = 0; i < 15000 && b->member && c->member; i++) {
		if (since == UINT64_MAX && c->member->state == RAFT_LEADER)
			since = w->n_acked;
		if (b->member->state == RAFT_LEADER || b->member->raft.configuration_uncommitted_index == 0)
			return false;
		if (w->n_acked > since)
			return true;
		if (!world_pass(w, 100))
			return false;
	}
	return false;
}

static void lose_promotion(struct world *w, struct node *a, struct node *b, struct node *c)
{
	uint8_t *byte = promotion_of(b);

	if (!byte)
		return;
	fault_crash(b, false);
	fault_crash(c, rng_chance(&w->rng, 50));
	fault_heal(w);
	sim_trace(w, "%s loses the end of its log, %s comes back, %s is gone", b->name, a->name, c->name);
	*byte ^= 1;
	w->n_rots++;
	b->rotten = b->may_refuse = true;
	node_start(b, false);
	world_pass(w, 2500 * MS);
	b->may_refuse = false;
	if (b->member)
		return;
	*byte ^= 1;
	b->rotten = false;
}

void drive_third(struct world *w)
{
	while (world_pass(w, rng_between(&w->rng, 10, 200) * MS)) {
		struct node *a, *b, *c = &w->nodes[2];

		fault_heal(w);
		fault_restart(w, true);
		if (!part(w))
			continue;
		if (c->member)
			fault_crash(c, false);
		node_wipe(c);
		a = node_leader(w);
		if (!a || a->index >= 2)
			continue;
		b = &w->nodes[1 - a->index];
		fault_add(a, c);
		for (int i = 0; i < 50000 && b->member && (voters_in(b) < 3 || voters_in(c) < 3); i++)
			if (!world_pass(w, 100))
				return;
		fault_isolate(w, a->index);
		if (b->member && c->member && answered_unknown(w, b, c))
			lose_promotion(w, a, b, c);
	}
}

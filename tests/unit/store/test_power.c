/*
 * Power loss. Between two syncs a machine may have written any page of a file, in any order, in any of the versions that
 * the page had since. The test keeps what was synced last and every version that was seen since, and at a "power loss"
 * makes a file of each page at random; then the store is opened from it and must be, byte for byte, what its checkpoint
 * said, and must go on from there to the same state as a member that never lost power.
 *
 * The file `checkpoint` is the old or the new one: it is synced, renamed and its directory synced, one atomic step.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/rng.h"
#include "tests/unit/store/common.h"

#define PAGE 4096
#define MAX_VERSIONS 8

static struct rng dice;

static uint64_t rng(void)
{
	return rng_next(&dice);
}

struct image {
	uint8_t *p;
	size_t n;
};

static struct image slurp(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_RDONLY);
	struct image im = {0};
	struct stat st;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	im.n = (size_t)st.st_size;
	im.p = xmalloc(im.n + 1);
	assert_int_equal(pread(fd, im.p, im.n, 0), (ssize_t)im.n);
	close(fd);
	free(path);
	return im;
}

static void spew(const char *dir, const char *name, struct image im)
{
	char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, im.p, im.n, 0), (ssize_t)im.n);
	close(fd);
	free(path);
}

/* What the disk may hold of the database: [0] was synced; the others were seen since. */
struct versions {
	struct image v[MAX_VERSIONS];
	int n;
};

static void versions_clear(struct versions *d)
{
	for (int i = 0; i < d->n; i++)
		free(d->v[i].p);
	d->n = 0;
}

static void versions_synced(struct versions *d, const char *dir)
{
	versions_clear(d);
	d->v[d->n++] = slurp(dir, "db.1");
}

static void versions_seen(struct versions *d, const char *dir)
{
	if (d->n < MAX_VERSIONS)
		d->v[d->n++] = slurp(dir, "db.1");
}

static struct image versions_mix(const struct versions *d)
{
	struct image out = {0};
	uint64_t bias = rng() % 4; /* some losses keep almost all, some almost nothing */

	for (int i = 0; i < d->n; i++)
		out.n = MAX(out.n, d->v[i].n);
	out.p = xcalloc(1, out.n + 1);
	for (size_t at = 0; at < out.n; at += PAGE) {
		size_t pick = bias == 0 ? (size_t)(rng() % 8 ? 0 : d->n - 1) : rng() % (uint64_t)d->n;

		if (bias == 1 && rng() % 8)
			pick = (size_t)d->n - 1;
		if (at < d->v[pick].n) /* else: the page was never written, it reads as zeros */
			memcpy(out.p + at, d->v[pick].p + at, MIN((size_t)PAGE, d->v[pick].n - at));
	}
	return out;
}

/* The log: commands by index, so that a member that went back is brought forward again as raft would. */
static struct str command(struct arena *a, uint64_t seed, uint64_t index)
{
	struct rng saved = dice;
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__PutRequest p = ETCDSERVERPB__PUT_REQUEST__INIT;
	Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
	Etcdserverpb__CompactionRequest k = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	struct str out;
	char key[32];
	size_t n;

	dice.state = seed * 1000003 + index;
	snprintf(key, sizeof(key), "k%02d", (int)(rng() % 60));
	if (rng() % 10 == 0) {
		c.op_case = RAFTPB__COMMAND__OP_DELETE_RANGE;
		c.delete_range = &d;
		d.key = bin(a, key);
	} else if (rng() % 25 == 0) {
		c.op_case = RAFTPB__COMMAND__OP_COMPACTION;
		c.compaction = &k;
		k.revision = (int64_t)(index * 3 / 4);
	} else {
		c.op_case = RAFTPB__COMMAND__OP_PUT;
		c.put = &p;
		p.key = bin(a, key);
		n = rng() % 20 == 0 ? 9000 : rng() % 600;
		p.value = (ProtobufCBinaryData){n, arena_zalloc(a, n + 1)};
		memset(p.value.data, 'a' + (int)(index % 26), n);
	}
	out = encode(a, &c.base);
	dice = saved;
	return out;
}

static void run_to(struct fixture *f, uint64_t seed, uint64_t index)
{
	OK(store_begin(f->store, &e));
	while (f->index < index) {
		f->index++;
		OK(store_apply(f->store, f->index, 1, command(&f->arena, seed, f->index), NULL, &e));
	}
	OK(store_commit(f->store, &e));
	arena_fini(&f->arena);
}

static uint64_t state_hash(struct fixture *f)
{
	struct store_view *v;
	int64_t rev, compact_rev;
	uint64_t h;

	OK(store_view_open(f->store, &v, &e));
	OK(view_hash(v, 0, &h, &rev, &compact_rev, &e));
	store_view_close(v);
	return h ^ (uint64_t)rev ^ (uint64_t)compact_rev << 20;
}

/* One life of a member with several power losses; `reference` applies the same log and loses nothing. */
static int life(uint64_t seed)
{
	static uint64_t hashes[4096];
	struct fixture f, reference;
	struct versions disk = {.n = 0};
	struct image durable;
	int losses = 0;

	dice.state = seed;
	fixture_open(&reference, NULL);
	fixture_open(&f, NULL);
	hashes[0] = state_hash(&reference);
	versions_synced(&disk, f.dir);
	durable = slurp(f.dir, "checkpoint");
	for (int step = 0; step < 60; step++) {
		struct store_checkpoint *cp;
		struct image mixed;
		bool old;

		run_to(&f, seed, f.index + 1 + rng() % 12);
		while (reference.index < f.index) {
			run_to(&reference, seed, reference.index + 1);
			hashes[reference.index] = state_hash(&reference);
		}
		if (rng() % 3 == 0)
			versions_seen(&disk, f.dir);
		if (rng() % 4 == 0) {
			OK(store_checkpoint_begin(f.store, &cp, &e));
			if (rng() % 2) /* the world goes on while the disk works */
				run_to(&f, seed, f.index + rng() % 5);
			OK(store_checkpoint_sync(cp, &e));
			versions_seen(&disk, f.dir);
			old = rng() % 4 == 0; /* the power fails before the rename is durable */
			if (!old) {
				versions_synced(&disk, f.dir);
				free(durable.p);
				durable = slurp(f.dir, "checkpoint");
			}
			store_checkpoint_end(cp, true);
			while (reference.index < f.index) {
				run_to(&reference, seed, reference.index + 1);
				hashes[reference.index] = state_hash(&reference);
			}
			if (!old)
				continue;
		} else if (rng() % 3 != 0) {
			continue;
		}
		/* The power is gone. */
		versions_seen(&disk, f.dir);
		mixed = versions_mix(&disk);
		store_abandon(f.store);
		spew(f.dir, "db.1", mixed);
		spew(f.dir, "checkpoint", durable);
		{
			struct store_cfg cfg = {.dir = f.dir, .no_sync = true, .map_size = 1 << 28};

			OK(store_open(&cfg, &f.store, &e));
		}
		f.index = store_applied(f.store).index;
		assert_true(f.index <= reference.index);
		if (state_hash(&f) != hashes[f.index])
			fail_msg("seed %" PRIu64 " step %d: the state at entry %" PRIu64 " is another one", seed, step, f.index);
		/* What the disk holds now is what was put there; nothing of it was synced again but by the loss itself. */
		versions_clear(&disk);
		disk.v[disk.n++] = mixed;
		versions_seen(&disk, f.dir);
		losses++;
	}
	free(durable.p);
	versions_clear(&disk);
	fixture_close(&f);
	fixture_close(&reference);
	return losses;
}

static void test_power_losses(void **state)
{
	const char *s = getenv("POWER_SEEDS");
	uint64_t seeds = s ? strtoull(s, NULL, 10) : 25;
	int losses = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++)
		losses += life(seed);
	print_message("%d power losses in %" PRIu64 " lives\n", losses, seeds);
	assert_true(losses > (int)seeds);
}

/* All chunks of what `from` has now. */
static struct store_install *receive(struct fixture *f, struct fixture *from)
{
	struct store_snapshot *sn;
	struct store_install *in;
	struct buf chunk = BUF_INIT;
	bool last = false;

	OK(store_snapshot_open(from->store, &sn, &e));
	OK(store_install_begin(f->store, &in, &e));
	for (uint64_t n = 0; !last; n++) {
		bool same;

		buf_clear(&chunk);
		OK(store_snapshot_chunk(sn, n, &chunk, &last, &e));
		OK(store_install_chunk(in, buf_str(&chunk), &same, &e));
	}
	buf_fini(&chunk);
	store_snapshot_close(sn);
	return in;
}

/* The power fails while a snapshot is taken in, or some time after. */
static void one_install(uint64_t seed)
{
	struct fixture f, reference;
	struct store_install *in;
	struct image durable, old_db, new_db, mixed;
	struct versions disk = {.n = 0};
	struct store_cfg cfg = {.no_sync = true, .map_size = 1 << 28};
	uint64_t before, installed;
	uint64_t hash_before, hash_installed;
	bool finished = seed % 3 != 0;

	dice.state = seed;
	fixture_open(&reference, NULL);
	fixture_open(&f, NULL);
	run_to(&f, seed, 20);
	run_to(&reference, seed, 20);
	OK(store_checkpoint(f.store, &e));
	before = f.index;
	hash_before = state_hash(&f);
	run_to(&reference, seed, 150 + rng() % 100);
	installed = reference.index;
	hash_installed = state_hash(&reference);
	old_db = slurp(f.dir, "db.1");
	in = receive(&f, &reference);
	OK(store_install_sync(in, &e));
	new_db = slurp(f.dir, "db.2");
	durable = slurp(f.dir, "checkpoint");
	disk.v[disk.n++] = new_db;
	if (finished) {
		OK(store_install_finish(in, &e));
		f.index = store_applied(f.store).index;
		assert_int_equal(f.index, installed);
		free(durable.p);
		durable = slurp(f.dir, "checkpoint");
		for (int i = 0; i < 4; i++) {
			run_to(&f, seed, f.index + 1 + rng() % 20);
			disk.v[disk.n++] = slurp(f.dir, "db.2");
		}
	} else {
		store_install_abort(in);
	}
	mixed = versions_mix(&disk);
	store_abandon(f.store);
	spew(f.dir, "db.2", mixed);
	if (rng() % 2)
		spew(f.dir, "db.1", old_db); /* its removal may have been lost, too */
	else if (!finished)
		spew(f.dir, "db.1", old_db);
	spew(f.dir, "checkpoint", durable);
	cfg.dir = f.dir;
	OK(store_open(&cfg, &f.store, &e));
	f.index = store_applied(f.store).index;
	assert_int_equal(f.index, finished ? installed : before);
	assert_int_equal(state_hash(&f), finished ? hash_installed : hash_before);
	run_to(&f, seed, 300);
	run_to(&reference, seed, 300);
	assert_int_equal(state_hash(&f), state_hash(&reference));
	free(mixed.p);
	free(durable.p);
	free(old_db.p);
	versions_clear(&disk);
	fixture_close(&f);
	fixture_close(&reference);
}

static void test_power_loss_at_install(void **state)
{
	for (uint64_t seed = 1; seed <= 24; seed++)
		one_install(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_power_losses),
			cmocka_unit_test(test_power_loss_at_install),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

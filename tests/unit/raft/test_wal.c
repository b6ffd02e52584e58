/* The write-ahead log on the machine's disk: round trips, torn tails, corruption, dropping, and the vote file. */
#include "tests/unit/raft/raftest.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/disk.h"
#include "raft/stable.h"
#include "raft/wal.h"

#define SEG 4096u

struct seen {
	struct wal_reader reader;
	uint64_t index[1000], term[1000];
	char data[1000][32];
	size_t n, resets;
};

struct fixture {
	char *dir;
	struct disk_posix disk;
	struct wal wal;
	struct seen seen;
	bool distrust;
	uint64_t trust;
};

static void on_entry(struct wal_reader *r, uint64_t index, uint64_t term, uint8_t type _unused_, struct str data,
		     struct wal_pos pos _unused_)
{
	struct seen *s = container_of(r, struct seen, reader);

	s->index[s->n] = index;
	s->term[s->n] = term;
	snprintf(s->data[s->n++], sizeof(s->data[0]), "%.*s", STR_FMT(data));
}

static void on_reset(struct wal_reader *r, uint64_t index _unused_, uint64_t term _unused_)
{
	container_of(r, struct seen, reader)->resets++;
}

static int reopen(struct fixture *f, struct err *e)
{
	memset(&f->seen, 0, sizeof(f->seen));
	f->seen.reader = (struct wal_reader){.entry = on_entry, .reset = on_reset};
	return wal_open(&f->wal, &f->disk.disk, 7, 8, SEG, f->distrust ? f->trust : WAL_TRUST_ALL, &f->seen.reader, e);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->dir = rt_dir();
	assert_int_equal(disk_posix_init(&f->disk, f->dir, false), 0);
	OK(reopen(f, &e));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wal_close(&f->wal);
	disk_posix_fini(&f->disk);
	rt_dir_free(f->dir);
	free(f);
	return 0;
}

static void flush(struct fixture *f)
{
	struct wal_batch b;

	if (!wal_take(&f->wal, &b))
		return;
	OK(wal_batch_write(&f->disk.disk, &b, &e));
	wal_batch_done(&f->wal, &b);
}

static struct wal_pos append(struct fixture *f, uint64_t index, uint64_t term)
{
	struct wal_pos pos;
	char data[32];

	snprintf(data, sizeof(data), "entry %d/%d", (int)index, (int)term);
	wal_append(&f->wal, index, term, 1, str_from(data), &pos);
	return pos;
}

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	struct wal_pos pos[301];
	struct buf out = BUF_INIT;

	for (uint64_t i = 1; i <= 300; i++) {
		pos[i] = append(f, i, 1 + i / 100);
		if (i % 7 == 0)
			flush(f);
	}
	flush(f);
	OK(wal_read(&f->wal, pos[123], 123, 2, &out, &e));
	assert_string_equal(out.p, "entry 123/2");
	assert_int_not_equal(wal_read(&f->wal, pos[123], 124, 2, &out, NULL), 0);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 300);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(f->seen.index[i], i + 1);
	/* Replacing entries, a reset, and going on in a new segment. */
	append(f, 200, 9);
	wal_append_reset(&f->wal, 1000, 9);
	append(f, 1001, 10);
	flush(f);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 302);
	assert_int_equal(f->seen.index[300], 200);
	assert_int_equal(f->seen.index[301], 1001);
	assert_int_equal(f->seen.resets, 1);
	buf_fini(&out);
}

static void test_drop(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	for (uint64_t i = 1; i <= 300; i++)
		append(f, i, 1);
	flush(f);
	before = f->wal.bytes;
	OK(wal_drop_before(&f->wal, 250, &e));
	assert_true(f->wal.bytes < before / 2);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_true(f->seen.index[0] <= 250 && f->seen.index[0] > 150);
	assert_int_equal(f->seen.index[f->seen.n - 1], 300);
}

static int open_segment(struct fixture *f, unsigned seq)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%08x.wal", f->dir, seq);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

static void flip(struct fixture *f, unsigned seq, off_t at)
{
	int fd = open_segment(f, seq);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* As a power loss may: the mark goes back to what it was before. */
static void forget_mark(struct fixture *f)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/durable", f->dir);
	assert_int_equal(truncate(path, 0), 0);
}

/* The last record of all has nothing behind it; the mark alone knows that it had been durable. */
static void test_rotten_tail(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	struct wal_pos pos;

	append(f, 1, 1);
	pos = append(f, 2, 1);
	flush(f);
	wal_close(&f->wal);
	flip(f, pos.segment, pos.offset + 60);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	flip(f, pos.segment, pos.offset + 60);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 2);
}

static void test_torn_tail(void **state)
{
	struct fixture *f = *state;
	struct wal_pos pos;

	for (uint64_t i = 1; i <= 5; i++)
		append(f, i, 1);
	flush(f);
	pos = append(f, 6, 1);
	append(f, 7, 1);
	flush(f);
	wal_close(&f->wal);
	forget_mark(f);
	/* Nothing behind entry 6 says it had been durable: as after a power loss in the middle of the last write. */
	flip(f, pos.segment, pos.offset + 60);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 5);
	append(f, 6, 2);
	flush(f);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 6);
	assert_int_equal(f->seen.term[5], 2);
}

static void test_every_cut(void **state)
{
	struct fixture *f = *state;
	struct wal_pos pos[41];

	/* Cut the only segment at each length: a prefix of the entries comes back, never an error, never a wrong entry. */
	for (uint64_t i = 1; i <= 40; i++)
		pos[i] = append(f, i, 1);
	flush(f);
	for (off_t cut = pos[40].offset + 80; cut >= 0; cut -= 13) {
		size_t want = 0;
		int fd = open_segment(f, 1);

		assert_int_equal(ftruncate(fd, cut), 0);
		close(fd);
		wal_close(&f->wal);
		forget_mark(f);
		OK(reopen(f, &e));
		while (want < 40 && f->seen.n > want)
			want++;
		assert_int_equal(want, f->seen.n);
		for (size_t i = 0; i < f->seen.n; i++)
			assert_int_equal(f->seen.index[i], i + 1);
		if (f->seen.n == 0)
			break;
		assert_true((off_t)pos[f->seen.n].offset < cut);
	}
}

static void test_corruption(void **state)
{
	struct fixture *f = *state;
	struct wal_pos pos[21];
	struct err why = ERR_INIT;

	for (uint64_t i = 1; i <= 20; i++) {
		pos[i] = append(f, i, 1);
		flush(f);
	}
	wal_close(&f->wal);
	flip(f, pos[10].segment, pos[10].offset + 58);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	assert_non_null(strstr(why.text, "raft/00000001.wal"));
	assert_non_null(strstr(why.text, "offset"));
	flip(f, pos[10].segment, pos[10].offset + 58);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 20);
}

static void test_missing_segment(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	char path[256];

	for (uint64_t i = 1; i <= 300; i++) {
		append(f, i, 1);
		flush(f);
	}
	wal_close(&f->wal);
	snprintf(path, sizeof(path), "%s/00000003.wal", f->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	/* teardown closes an open log */
	disk_posix_fini(&f->disk);
	rt_dir_free(f->dir);
	f->dir = rt_dir();
	assert_int_equal(disk_posix_init(&f->disk, f->dir, false), 0);
	OK(reopen(f, &e));
}

/* What was never reported durable does not count when the files are opened anew, though it can be read. */
static void test_distrust(void **state)
{
	struct fixture *f = *state;
	struct wal_batch b;

	for (uint64_t i = 1; i <= 10; i++) {
		append(f, i, 1);
		flush(f);
	}
	f->distrust = true;
	f->trust = f->wal.durable_lsn;
	append(f, 11, 1);
	append(f, 12, 1);
	assert_true(wal_take(&f->wal, &b));
	OK(wal_batch_write(&f->disk.disk, &b, &e));
	wal_batch_drop(&b); /* its sync failed, let us say */
	forget_mark(f);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 10);
	append(f, 11, 2);
	flush(f);
	wal_close(&f->wal);
	f->distrust = false;
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 11);
	assert_int_equal(f->seen.term[10], 2);
}

static bool is_there(const struct fixture *f, const char *name)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", f->dir, name);

	return access(path, F_OK) == 0;
}

/* The damaged end goes aside, what is before it opens, and what is written then follows it. */
static void test_repair(void **state)
{
	struct fixture *f = *state;
	struct wal_pos pos[301];
	struct err why = ERR_INIT;

	for (uint64_t i = 1; i <= 300; i++) {
		pos[i] = append(f, i, 1);
		flush(f);
	}
	wal_close(&f->wal);
	assert_true(pos[150].segment > 1 && pos[300].segment > pos[150].segment);
	flip(f, pos[150].segment, pos[150].offset + 58);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	assert_int_equal(f->wal.damaged_segment, pos[150].segment);
	assert_int_equal(f->wal.damaged_offset, pos[150].offset);
	OK(wal_repair(&f->disk.disk, f->wal.damaged_segment, f->wal.damaged_offset, &e));
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 149);
	append(f, 150, 2);
	flush(f);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 150);
	assert_int_equal(f->seen.term[149], 2);
	assert_true(is_there(f, "00000003.bad") || is_there(f, "00000002.bad"));
}

/* The next segment is there before it is needed; without one the log goes on as long as there is room. */
static void test_reserve(void **state)
{
	struct fixture *f = *state;

	append(f, 1, 1);
	flush(f);
	assert_int_equal(f->wal.reserve, 1);
	assert_true(is_there(f, "reserve.wal"));
	for (uint64_t i = 2; i <= 100; i++) {
		append(f, i, 1);
		flush(f);
		assert_int_equal(f->wal.reserve, 1);
	}
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 100);
	assert_int_equal(f->wal.reserve, 1);
}

/* Entries up to `end`, one batch each. */
static void fill(struct fixture *f, uint64_t *i, uint64_t end)
{
	for (; *i < end; ++*i) {
		append(f, *i, 1);
		flush(f);
	}
}

/* Segments are written over: what an earlier life left behind the end is neither log nor damage, wherever a power loss cuts. */
static void test_spares(void **state)
{
	struct fixture *f = *state;
	uint64_t i = 1;

	for (unsigned round = 0; round < 8; round++) {
		fill(f, &i, i + 250);
		OK(wal_drop_before(&f->wal, i - 20, &e));
	}
	assert_int_equal(f->wal.n_spares, WAL_SPARES);
	/* Now the last segment and those to come had an earlier life, each. */
	for (unsigned cut = 0; cut < WAL_SPARES; cut++) {
		struct wal_pos pos;

		fill(f, &i, i + 3);
		pos = append(f, i, 1);
		flush(f);
		wal_close(&f->wal);
		forget_mark(f);
		flip(f, pos.segment, pos.offset + (off_t)cut * 17);
		OK(reopen(f, &e));
		assert_int_equal(f->seen.index[f->seen.n - 1], i - 1);
	}
	assert_int_equal(f->wal.n_spares, 1);
	fill(f, &i, i + 250);
	wal_close(&f->wal);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.index[f->seen.n - 1], i - 1);
}

/* A log that begins anew does not use what an earlier one left: by its numbers it looks newer. */
static void test_spares_of_another_log(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	struct wal_pos pos;
	uint64_t i = 1;

	fill(f, &i, 300);
	OK(wal_drop_before(&f->wal, 290, &e));
	assert_true(f->wal.n_spares > 0);
	flip(f, LIST_FIRST(&f->wal.segments, struct wal_segment, link)->seq, 60);
	wal_close(&f->wal);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	OK(wal_repair(&f->disk.disk, f->wal.damaged_segment, f->wal.damaged_offset, &e));
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 0);
	assert_int_equal(f->wal.n_spares, 0);
	append(f, 1, 1);
	flush(f);
	pos = append(f, 2, 1);
	flush(f);
	wal_close(&f->wal);
	forget_mark(f);
	flip(f, pos.segment, pos.offset + 60);
	OK(reopen(f, &e));
	assert_int_equal(f->seen.n, 1);
}

static void test_foreign(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;

	append(f, 1, 1);
	flush(f);
	wal_close(&f->wal);
	assert_int_equal(wal_open(&f->wal, &f->disk.disk, 99, 8, SEG, f->distrust ? f->trust : WAL_TRUST_ALL, &f->seen.reader, &why),
			 -(int)ERR_FAILED_PRECONDITION);
	OK(reopen(f, &e));
}

static void test_vote(void **state)
{
	struct fixture *f = *state;
	struct stable s;
	struct err why = ERR_INIT;
	char path[256];
	uint8_t b = 0xff;
	int fd;

	OK(stable_open(&s, &f->disk.disk, &e));
	assert_false(s.has_member);
	OK(stable_save_member(&s, 7, 8, "n1", false, &e));
	OK(stable_save_vote(&s, 3, 8, &e));
	OK(stable_save_vote(&s, 4, 0, &e));
	stable_close(&s);
	/* Either slot alone is enough; both gone is not. */
	snprintf(path, sizeof(path), "%s/vote", f->dir);
	for (off_t slot = 0; slot <= 4096; slot += 4096) {
		fd = open(path, O_RDWR);
		assert_int_equal(pwrite(fd, &b, 1, slot + 20), 1);
		close(fd);
		OK(stable_open(&s, &f->disk.disk, &e));
		assert_int_equal(s.term, 4);
		assert_string_equal(s.name, "n1");
		stable_close(&s);
	}
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, &b, 1, 20), 1);
	assert_int_equal(pwrite(fd, &b, 1, 4096 + 20), 1);
	close(fd);
	assert_int_equal(stable_open(&s, &f->disk.disk, &why), -(int)ERR_CORRUPT);
}

/* Each closed segment is whole until one bit of it is not; what is still written to is nobody's affair. */
static void test_check(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	struct wal_check c, next;
	uint64_t i = 1, max = 0;
	uint32_t at = 0;
	unsigned n = 0;

	fill(f, &i, 300);
	for (; wal_closed_after(&f->wal, at, &c); at = c.seq, n++)
		OK(wal_check(&f->disk.disk, &c, &e));
	assert_true(n >= 2);
	assert_true(wal_has_segment(&f->wal, at, &max) && max > 0 && max < 300);
	assert_true(wal_has_segment(&f->wal, at + 1, &max));
	assert_false(wal_has_segment(&f->wal, at + 2, &max));
	assert_true(wal_closed_after(&f->wal, 0, &c));
	/* Up to seven zeros behind each record belong to nothing: less than an eighth of the bytes. */
	n = 0;
	for (uint32_t o = 0; o < c.size; o += 7) {
		flip(f, c.seq, o);
		n += wal_check(&f->disk.disk, &c, &why) != 0;
		flip(f, c.seq, o);
	}
	assert_true(n > c.size / 7 / 8 * 7);
	flip(f, c.seq, 100);
	assert_int_equal(wal_check(&f->disk.disk, &c, &why), -(int)ERR_CORRUPT);
	assert_non_null(strstr(why.text, "raft/00000001.wal is damaged at offset"));
	flip(f, c.seq, 100);
	OK(wal_check(&f->disk.disk, &c, &e));
	/* One that was dropped meanwhile is no damage. */
	next = c;
	next.seq = 99;
	OK(wal_check(&f->disk.disk, &next, &e));
	/* Whole records of another segment: the writes of this one were lost. */
	assert_int_equal(f->disk.disk.ops->rename(&f->disk.disk, "00000002.wal", "00000001.wal"), 0);
	assert_int_equal(wal_check(&f->disk.disk, &c, &why), -(int)ERR_CORRUPT);
}

/* A damaged segment before what is durable elsewhere: the log begins behind it. Not when something would be missing. */
static void test_begin_later(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	struct wal_check c;
	uint64_t i = 1, max;

	fill(f, &i, 300);
	assert_true(wal_closed_after(&f->wal, 0, &c));
	assert_true(wal_has_segment(&f->wal, c.seq, &max));
	flip(f, c.seq, 100);
	wal_close(&f->wal);
	assert_int_equal(reopen(f, &why), -(int)ERR_CORRUPT);
	assert_int_equal(wal_begin_later(&f->disk.disk, f->wal.damaged_segment, max - 1, &why), -(int)ERR_NOT_FOUND);
	assert_true(is_there(f, "00000001.wal"));
	OK(wal_begin_later(&f->disk.disk, f->wal.damaged_segment, max, &e));
	assert_true(is_there(f, "00000001.bad"));
	OK(reopen(f, &e));
	assert_int_equal(f->seen.index[0], max + 1);
	assert_int_equal(f->seen.index[f->seen.n - 1], i - 1);
	append(f, i, 1);
	flush(f);
}

static void flip_in(struct fixture *f, const char *name, off_t at)
{
	_cleanup_(freep) char *path = xasprintf("%s/%s", f->dir, name);
	int fd = open(path, O_RDWR);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 4;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* What rots below a running member is written anew; what is newer than it knows, or differs in its own memory, is not. */
static void test_stable_scrub(void **state)
{
	struct fixture *f = *state;
	struct err why = ERR_INIT;
	struct stable s, other;
	char text[128];

	OK(stable_open(&s, &f->disk.disk, &e));
	OK(stable_save_member(&s, 7, 8, "n1", false, &e));
	OK(stable_save_vote(&s, 3, 8, &e));
	OK(stable_scrub(&s, text, &e));
	assert_string_equal(text, "");
	flip_in(f, "vote", 4096 + 20);
	flip_in(f, "vote", 20);
	OK(stable_scrub(&s, text, &e));
	assert_non_null(strstr(text, "raft/vote on the disk"));
	flip_in(f, "member", 30);
	OK(stable_scrub(&s, text, &e));
	assert_non_null(strstr(text, "raft/member on the disk"));
	OK(stable_scrub(&s, text, &e));
	assert_string_equal(text, "");
	OK(stable_open(&other, &f->disk.disk, &e));
	assert_int_equal(other.term, 3);
	assert_int_equal(other.voted_for, 8);
	assert_string_equal(other.name, "n1");
	/* An older vote: the newest write was lost. */
	s.term++;
	OK(stable_save_vote(&s, 5, 8, &e));
	OK(stable_save_vote(&other, 4, 0, &e));
	OK(stable_save_vote(&s, 6, 8, &e));
	OK(stable_save_vote(&other, 4, 0, &e));
	s.vote_seq += 5;
	assert_int_equal(stable_scrub(&s, text, &why), -(int)ERR_CORRUPT);
	assert_non_null(strstr(why.text, "in memory"));
	OK(stable_save_vote(&s, 6, 8, &e));
	OK(stable_save_vote(&other, 4, 0, &e));
	OK(stable_scrub(&s, text, &e));
	assert_non_null(strstr(text, "raft/vote"));
	OK(stable_scrub(&s, text, &e));
	assert_string_equal(text, "");
	/* Somebody else gave a later one. */
	other.vote_seq = s.vote_seq + 1;
	OK(stable_save_vote(&other, 9, 7, &e));
	assert_int_equal(stable_scrub(&s, text, &why), -(int)ERR_CORRUPT);
	stable_close(&s);
	stable_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotten_tail, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_corruption, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_segment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_distrust, setup, teardown),
		cmocka_unit_test_setup_teardown(test_repair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spares, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spares_of_another_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vote, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_begin_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stable_scrub, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "raft/stable.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/bytes.h"

#define MEMBER_MAGIC 0x314d544bu /* "KTM1" */
#define VOTE_MAGIC 0x3156544bu   /* "KTV1" */
#define STABLE_FORMAT 1u
#define MEMBER_SIZE (4 + 4 + 4 + 8 + 8 + KV_NAME_MAX + 4) /* magic, crc, format, ids, name, joined */
#define SLOT_STRIDE 4096
#define PEERS_MAGIC 0x3150544bu /* "KTP1": magic, crc of what follows, size, bytes */
#define PEERS_MAX (64u << 10)
#define VOTE_SIZE (4 + 4 + 4 + 8 + 8 + 8) /* magic, crc, format, seq, term, vote */

static int fail(struct err *e, int rc, const char *what, const char *file)
{
	return err_set_errno(e, -rc, "cannot %s raft/%s", what, file);
}

static uint32_t seal_of(const struct stable *s)
{
	uint8_t b[8 * 5 + 1];

	put_u64(b, s->cluster_id);
	put_u64(b + 8, s->member_id);
	put_u64(b + 16, s->vote_seq);
	put_u64(b + 24, s->term);
	put_u64(b + 32, s->voted_for);
	b[40] = s->joined;
	return crc32c(crc32c(0, b, sizeof(b)), s->name, sizeof(s->name));
}

static int load_member(struct stable *s, struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[512];
	int fd = d->ops->open(d, "member", false);
	int64_t n;
	int rc;

	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fail(e, fd, "open", "member");
	n = d->ops->pread(d, fd, b, sizeof(b), 0);
	rc = n < 0 ? (int)n : d->ops->sync(d, fd);
	d->ops->close(d, fd);
	if (rc < 0)
		return fail(e, rc, "read", "member");
	/* Whatever the format: the checksum is of all behind it. */
	if (n < 12 || get_u32(b) != MEMBER_MAGIC || get_u32(b + 4) != crc32c(0, b + 8, (size_t)n - 8))
		return err_set(e, ERR_CORRUPT, "raft/member is damaged");
	if (get_u32(b + 8) != STABLE_FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION,
			       "raft/member has format %" PRIu32 ", this program knows %u: use a newer program with this data "
			       "directory",
			       get_u32(b + 8), STABLE_FORMAT);
	if (n != MEMBER_SIZE)
		return err_set(e, ERR_CORRUPT, "raft/member is damaged");
	s->has_member = true;
	s->cluster_id = get_u64(b + 12);
	s->member_id = get_u64(b + 20);
	memcpy(s->name, b + 28, KV_NAME_MAX);
	s->name[KV_NAME_MAX - 1] = '\0';
	s->joined = get_u32(b + 28 + KV_NAME_MAX) != 0;
	return 0;
}

/* In one step: the old file or the new one, whatever happens meanwhile. */
static int write_whole(struct disk *d, const char *name, const void *p, size_t n, struct err *e)
{
	char tmp[32];
	int rc, fd;

	snprintf(tmp, sizeof(tmp), "%s.tmp", name);
	fd = d->ops->open(d, tmp, true);
	if (fd < 0)
		return fail(e, fd, "create", tmp);
	rc = d->ops->truncate(d, fd, 0);
	if (rc == 0)
		rc = d->ops->pwrite(d, fd, p, n, 0);
	if (rc == 0)
		rc = d->ops->sync(d, fd);
	d->ops->close(d, fd);
	if (rc == 0)
		rc = d->ops->rename(d, tmp, name);
	if (rc == 0)
		rc = d->ops->sync_dir(d);
	return rc < 0 ? fail(e, rc, "write", name) : 0;
}

static void encode_member(uint8_t b[MEMBER_SIZE], uint64_t cluster_id, uint64_t member_id, const char *name, bool joined)
{
	memset(b, 0, MEMBER_SIZE);
	put_u32(b, MEMBER_MAGIC);
	put_u32(b + 8, STABLE_FORMAT);
	put_u64(b + 12, cluster_id);
	put_u64(b + 20, member_id);
	memcpy(b + 28, name, strlen(name));
	put_u32(b + 28 + KV_NAME_MAX, joined);
	put_u32(b + 4, crc32c(0, b + 8, MEMBER_SIZE - 8));
}

int stable_save_member(struct stable *s, uint64_t cluster_id, uint64_t member_id, const char *name, bool joined,
		       struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[MEMBER_SIZE];

	ASSERT(strlen(name) < KV_NAME_MAX);
	encode_member(b, cluster_id, member_id, name, joined);
	if (write_whole(d, "member", b, sizeof(b), e) != 0)
		return -(int)e->code;
	s->has_member = true;
	s->joined = joined;
	s->cluster_id = cluster_id;
	s->member_id = member_id;
	memset(s->name, 0, sizeof(s->name));
	memcpy(s->name, name, strlen(name));
	s->seal = seal_of(s);
	return 0;
}

static bool slot_ok(const uint8_t *b)
{
	return get_u32(b) == VOTE_MAGIC && get_u32(b + 4) == crc32c(0, b + 8, VOTE_SIZE - 8);
}

static int write_slots(struct stable *s, struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[VOTE_SIZE] = {0};

	s->seal = seal_of(s);
	put_u32(b, VOTE_MAGIC);
	put_u32(b + 8, STABLE_FORMAT);
	put_u64(b + 12, s->vote_seq);
	put_u64(b + 20, s->term);
	put_u64(b + 28, s->voted_for);
	put_u32(b + 4, crc32c(0, b + 8, VOTE_SIZE - 8));
	for (unsigned i = 0; i < 2; i++) {
		int rc = d->ops->pwrite(d, s->vote_fd, b, sizeof(b), i * SLOT_STRIDE);

		if (rc == 0)
			rc = d->ops->sync(d, s->vote_fd);
		if (rc < 0)
			return fail(e, rc, "write", "vote");
	}
	return 0;
}

static int load_vote(struct stable *s, struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[SLOT_STRIDE + VOTE_SIZE] = {0};
	bool fresh = false, any = false;
	int64_t n;

	s->vote_fd = d->ops->open(d, "vote", false);
	if (s->vote_fd == -ENOENT) {
		fresh = true;
		s->vote_fd = d->ops->open(d, "vote", true);
	}
	if (s->vote_fd < 0)
		return fail(e, s->vote_fd, "open", "vote");
	n = d->ops->pread(d, s->vote_fd, b, sizeof(b), 0);
	if (n < 0)
		return fail(e, (int)n, "read", "vote");
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *slot = b + i * SLOT_STRIDE;

		if (!slot_ok(slot))
			continue;
		if (get_u32(slot + 8) != STABLE_FORMAT)
			return err_set(e, ERR_FAILED_PRECONDITION,
				       "raft/vote has format %" PRIu32 ", this program knows %u: use a newer program with this "
				       "data directory",
				       get_u32(slot + 8), STABLE_FORMAT);
		if (!any || get_u64(slot + 12) > s->vote_seq) {
			s->vote_seq = get_u64(slot + 12);
			s->term = get_u64(slot + 20);
			s->voted_for = get_u64(slot + 28);
		}
		any = true;
	}
	/*
	 * No slot: the very first save never ended (the file is fresh, or as long as one slot at most, or `member`, which
	 * comes after it, is not there), or both have rotted, and then a vote that was given would be forgotten.
	 */
	if (!any && !fresh && s->has_member && !MUTANT(vote_guessed))
		return err_set(e, ERR_CORRUPT,
			       "raft/vote is damaged");
	if (!any) {
		int rc = d->ops->sync_dir(d);

		if (rc < 0)
			return fail(e, rc, "sync the directory of", "vote");
	}
	/* Repair a torn slot, and make durable what was read. */
	return write_slots(s, e);
}

int stable_open(struct stable *s, struct disk *d, struct err *e)
{
	int rc;

	*s = (struct stable){.disk = d, .vote_fd = -1};
	rc = load_member(s, e);
	if (rc == 0)
		rc = load_vote(s, e);
	if (rc != 0)
		stable_close(s);
	return rc;
}

void stable_close(struct stable *s)
{
	if (s->vote_fd >= 0)
		s->disk->ops->close(s->disk, s->vote_fd);
	s->vote_fd = -1;
}

int stable_save_vote(struct stable *s, uint64_t term, uint64_t voted_for, struct err *e)
{
	s->term = term;
	s->voted_for = voted_for;
	s->vote_seq++;
	return write_slots(s, e);
}

/* What a slot on the disk may be: whole and ours, damaged or older than ours (a write that was lost), or newer than anything we wrote. */
static int check_slots(struct stable *s, bool *ret_bad, struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[SLOT_STRIDE + VOTE_SIZE] = {0};
	int64_t n;

	d->ops->uncache(d, s->vote_fd);
	n = d->ops->pread(d, s->vote_fd, b, sizeof(b), 0);
	if (n < 0 && n != -EIO)
		return fail(e, (int)n, "read", "vote");
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *slot = b + i * SLOT_STRIDE;
		uint64_t seq = get_u64(slot + 12);
		bool same = seq == s->vote_seq && get_u64(slot + 20) == s->term && get_u64(slot + 28) == s->voted_for;

		if (slot_ok(slot) && seq >= s->vote_seq && !same)
			return err_set(e, ERR_CORRUPT, "raft/vote holds a vote that this process did not give: is another one at work in this directory?");
		*ret_bad = *ret_bad || !slot_ok(slot) || !same;
	}
	return 0;
}

static int check_member(struct stable *s, bool *ret_bad, struct err *e)
{
	struct disk *d = s->disk;
	uint8_t b[MEMBER_SIZE + 1], want[MEMBER_SIZE];
	int fd = d->ops->open(d, "member", false);
	int64_t n = fd;

	if (fd >= 0) {
		d->ops->uncache(d, fd);
		n = d->ops->pread(d, fd, b, sizeof(b), 0);
		d->ops->close(d, fd);
	}
	if (n < 0 && n != -ENOENT && n != -EIO)
		return fail(e, (int)n, "read", "member");
	encode_member(want, s->cluster_id, s->member_id, s->name, s->joined);
	*ret_bad = n != MEMBER_SIZE || memcmp(b, want, MEMBER_SIZE) != 0;
	if (*ret_bad && n == MEMBER_SIZE && get_u32(b) == MEMBER_MAGIC && get_u32(b + 4) == crc32c(0, b + 8, MEMBER_SIZE - 8))
		return err_set(e, ERR_CORRUPT, "raft/member is the file of another member: is another process at work in this directory?");
	return 0;
}

int stable_scrub(struct stable *s, char ret_found[128], struct err *e)
{
	bool vote = false, member = false;
	char name[KV_NAME_MAX];
	int rc;

	ret_found[0] = '\0';
	if (s->seal != seal_of(s))
		return err_set(e, ERR_CORRUPT, "term, vote and identity have changed in memory: is the machine's memory at fault?");
	rc = check_slots(s, &vote, e);
	if (rc == 0 && s->has_member)
		rc = check_member(s, &member, e);
	if (rc != 0 || !(vote || member))
		return rc;
	snprintf(ret_found, 128, "raft/%s%s on the disk %s not what was written", vote ? "vote" : "member", vote && member ? " and raft/member" : "",
		 vote && member ? "are" : "is");
	if (vote)
		rc = write_slots(s, e);
	memcpy(name, s->name, sizeof(name));
	return rc == 0 && member ? stable_save_member(s, s->cluster_id, s->member_id, name, s->joined, e) : rc;
}

int stable_save_peers(struct disk *d, struct str bytes, struct err *e)
{
	struct buf b = BUF_INIT;
	uint8_t head[12];
	int rc;

	ASSERT(bytes.n <= PEERS_MAX);
	put_u32(head, PEERS_MAGIC);
	put_u32(head + 8, (uint32_t)bytes.n);
	put_u32(head + 4, crc32c(crc32c(0, head + 8, 4), bytes.p, bytes.n));
	buf_add(&b, (char *)head, sizeof(head));
	buf_adds(&b, bytes);
	rc = write_whole(d, "peers", b.p, b.n, e);
	buf_fini(&b);
	return rc;
}

bool stable_load_peers(struct disk *d, struct buf *ret)
{
	int fd = d->ops->open(d, "peers", false);
	int64_t size = fd < 0 ? fd : d->ops->size(d, fd);
	uint8_t *p = NULL;
	bool good = size >= 12 && size <= 12 + (int64_t)PEERS_MAX;

	if (good) {
		p = xmalloc((size_t)size);
		good = d->ops->pread(d, fd, p, (size_t)size, 0) == size && get_u32(p) == PEERS_MAGIC && get_u32(p + 8) == size - 12 &&
		       get_u32(p + 4) == crc32c(0, p + 8, (size_t)size - 8);
	}
	if (good)
		buf_add(ret, (char *)p + 12, (size_t)size - 12);
	if (fd >= 0)
		d->ops->close(d, fd);
	free(p);
	return good;
}

bool stable_peers_are(struct disk *d, struct str bytes)
{
	int fd = d->ops->open(d, "peers", false);
	struct buf have = BUF_INIT;
	bool same;

	if (fd >= 0) {
		d->ops->uncache(d, fd);
		d->ops->close(d, fd);
	}
	same = stable_load_peers(d, &have) && str_eq(buf_str(&have), bytes);
	buf_fini(&have);
	return same;
}

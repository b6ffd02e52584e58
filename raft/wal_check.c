/*
 * Looking at segments that are complete: what is rarely read rots unseen. Each record must be whole, and follow the one before it: a block that
 * the disk never wrote, and that still has what a segment of an earlier life left there, breaks the chain of numbers and checksums.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/wal-priv.h"

bool wal_closed_after(const struct wal *w, uint32_t after, struct wal_check *ret)
{
	LIST_FOR_EACH (s, &w->segments, struct wal_segment, link) {
		/* Its last bytes are durable when a later one has a file. */
		if (s->link.next == &w->segments || s->fd < 0 || LIST_FIRST(&s->link, struct wal_segment, link)->fd < 0)
			return false;
		if (s->seq <= after || s->used == 0)
			continue;
		*ret = (struct wal_check){.seq = s->seq, .size = s->used, .cluster_id = w->cluster_id, .member_id = w->member_id};
		return true;
	}
	return false;
}

bool wal_has_segment(const struct wal *w, uint32_t seq, uint64_t *ret_max_index)
{
	*ret_max_index = 0;
	LIST_FOR_EACH (s, &w->segments, struct wal_segment, link) {
		*ret_max_index = MAX(*ret_max_index, s->max_index);
		if (s->seq == seq)
			return true;
	}
	return false;
}

static bool is_head_of(const struct record *r, const struct wal_check *c)
{
	return r->kind == KIND_SEGMENT && r->data.n >= SEGMENT_INFO_SIZE && get_u32(r->data.p + 4) == c->seq &&
	       get_u64(r->data.p + 8) == c->cluster_id && get_u64(r->data.p + 16) == c->member_id;
}

/* The offset of the first record that is not what was written; c->size: all are. */
static size_t first_bad(const struct wal_check *c, struct str bytes)
{
	struct record r, last = {0};
	size_t at = 0;

	while (at < bytes.n && wal__decode(str_skip(bytes, at), &r)) {
		if (at == 0 ? !is_head_of(&r, c) : r.lsn != last.lsn + 1 || r.prev_crc != last.crc || r.kind == KIND_SEGMENT)
			break;
		last = r;
		at += r.size;
	}
	return at;
}

/* The first `size` bytes of a segment as the disk has them, fewer when it is shorter or cannot be read. */
static int read_back(struct disk *d, const char *name, char *out, size_t size, size_t *ret_n)
{
	int fd = d->ops->open(d, name, false);
	int64_t n;

	if (fd < 0)
		return fd;
	d->ops->uncache(d, fd);
	n = d->ops->pread(d, fd, out, size, 0);
	d->ops->close(d, fd);
	*ret_n = n < 0 ? 0 : (size_t)n;
	return n < 0 && n != -EIO ? (int)n : 0;
}

int wal_check(struct disk *d, const struct wal_check *c, struct err *e)
{
	_cleanup_(freep) char *bytes = xmalloc(c->size);
	size_t n = 0, at = c->size;
	char name[WAL_NAME_SIZE];
	int rc = 0;

	wal__segment_name(c->seq, name);
	/* What is wrong in memory for a moment is not wrong on the disk. */
	for (int i = 0; i < 2 && (i == 0 || at < c->size); i++) {
		rc = read_back(d, name, bytes, c->size, &n);
		if (rc == -ENOENT)
			return 0;
		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot read raft/%s", name);
		at = first_bad(c, str_of(bytes, n));
	}
	return at >= c->size ? 0 : err_set(e, ERR_CORRUPT, "write-ahead log raft/%s is damaged at offset %zu", name, at);
}

/* --- A log that begins later ------------------------------------------------------------------------------------------ */

struct later {
	struct disk *disk;
	uint32_t damaged;
	uint32_t *seqs; /* all of them */
	size_t n;
};

static void on_name(void *arg, const char *name)
{
	struct later *l = arg;
	uint32_t seq = wal__segment_seq(name, ".wal");

	if (seq == 0)
		return;
	l->seqs = xrealloc(l->seqs, (l->n + 1) * sizeof(*l->seqs));
	l->seqs[l->n++] = seq;
}

static int by_seq(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Its head and first entry are whole, and the entry is one that may begin the log. */
static bool may_begin(struct disk *d, uint32_t seq, uint64_t index)
{
	int fd;
	struct record head, first;
	char name[WAL_NAME_SIZE];
	_cleanup_(freep) char *bytes = NULL;
	int64_t n;
	bool ok;

	wal__segment_name(seq, name);
	fd = d->ops->open(d, name, false);
	n = fd < 0 ? fd : d->ops->size(d, fd);
	if (n > 0 && n <= UINT32_MAX) {
		bytes = xmalloc((size_t)n);
		n = d->ops->pread(d, fd, bytes, (size_t)n, 0);
	}
	if (fd >= 0)
		d->ops->close(d, fd);
	if (n <= 0 || bytes == NULL)
		return false;
	ok = wal__decode(str_of(bytes, (size_t)n), &head) && head.kind == KIND_SEGMENT && head.size < (size_t)n &&
	     wal__decode(str_of(bytes + head.size, (size_t)n - head.size), &first) && first.lsn == head.lsn + 1 && first.prev_crc == head.crc;
	/* What was replaced or is behind it in the segments before is void by this entry; what is before it is in the store. */
	return ok && first.kind == KIND_ENTRY && first.index > 0 && first.index <= index + 1;
}

int wal_begin_later(struct disk *d, uint32_t damaged_segment, uint64_t index, struct err *e)
{
	struct later l = {.disk = d, .damaged = damaged_segment};
	char name[WAL_NAME_SIZE], bad[WAL_NAME_SIZE];
	int rc = d->ops->list(d, on_name, &l);
	size_t begin = 0;

	if (l.n)
		qsort(l.seqs, l.n, sizeof(*l.seqs), by_seq);
	while (rc >= 0 && begin < l.n && (l.seqs[begin] <= damaged_segment || !may_begin(d, l.seqs[begin], index)))
		begin++;
	if (rc >= 0 && begin == l.n) {
		free(l.seqs);
		return err_set(e, ERR_NOT_FOUND, "write-ahead log: no later segment goes on from entry %" PRIu64, index);
	}
	/* The oldest first, each for good before the next: wherever this is cut off, the same damage is found again. */
	for (size_t i = 0; rc >= 0 && i < begin; i++) {
		wal__segment_name(l.seqs[i], name);
		snprintf(bad, sizeof(bad), "%.8s.bad", name);
		rc = d->ops->rename(d, name, bad);
		if (rc >= 0)
			rc = d->ops->sync_dir(d);
	}
	if (rc >= 0)
		log_warn("wal", "the log begins with raft/%08" PRIx32 ".wal now: what was before it is in the store's checkpoint (kept as raft/*.bad)",
			 l.seqs[begin]);
	free(l.seqs);
	return rc < 0 ? err_set_errno(e, -rc, "write-ahead log: cannot put raft/%s aside", name) : 0;
}

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/wal-priv.h"

bool wal__decode(struct str bytes, struct record *ret)
{
	const char *p = bytes.p;
	size_t size;

	if (bytes.n < RECORD_SIZE || get_u32(p + OFF_MAGIC) != RECORD_MAGIC)
		return false;
	size = get_u32(p + OFF_SIZE);
	if (size < PAYLOAD_SIZE || size > WAL_RECORD_MAX + PAYLOAD_SIZE || HEADER_SIZE + size > bytes.n)
		return false;
	ret->crc = crc32c(0, p + OFF_PREV, HEADER_SIZE - OFF_PREV + size);
	if (ret->crc != get_u32(p + OFF_CRC))
		return false;
	ret->prev_crc = get_u32(p + OFF_PREV);
	ret->lsn = get_u64(p + OFF_LSN);
	ret->durable_lsn = get_u64(p + OFF_DURABLE);
	ret->kind = (uint8_t)p[OFF_KIND];
	ret->type = (uint8_t)p[OFF_TYPE];
	ret->index = get_u64(p + OFF_INDEX);
	ret->term = get_u64(p + OFF_TERM);
	ret->size = HEADER_SIZE + PAD8(size);
	ret->data = str_of(p + RECORD_SIZE, size - PAYLOAD_SIZE);
	return true;
}

struct load {
	struct wal *wal;
	struct wal_reader *reader;
	uint32_t *seqs;
	size_t n_seqs;
	size_t at;          /* the segment being read: an index of seqs */
	int fd;
	char *bytes;
	size_t size, offset;
	bool started;       /* a record has been read: lsn and crc are known */
	uint64_t last_index;
	bool have_entries;
	uint64_t durable; /* by the file `durable`; 0: unknown */
	uint64_t trust;   /* later records are left out */
};

static void on_name(void *arg, const char *name)
{
	struct load *l = arg;
	uint32_t seq = wal__segment_seq(name, ".wal");

	if (strcmp(name, RESERVE_NAME) == 0)
		l->wal->reserve = 1;
	if (wal__segment_seq(name, ".spare") && l->wal->n_spares < WAL_SPARES)
		l->wal->spares[l->wal->n_spares++] = wal__segment_seq(name, ".spare");
	if (seq == 0)
		return;
	l->seqs = xrealloc(l->seqs, (l->n_seqs + 1) * sizeof(*l->seqs));
	l->seqs[l->n_seqs++] = seq;
}

static int by_seq(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int corrupt(struct load *l, const char *what, struct err *e)
{
	l->wal->damaged_segment = l->seqs[l->at];
	l->wal->damaged_offset = l->offset;
	return err_set(e, ERR_CORRUPT,
		       "write-ahead log raft/%08" PRIx32 ".wal is damaged at offset %zu: %s", l->seqs[l->at], l->offset, what);
}

/* Read the whole segment file into memory. */
static int read_segment(struct load *l, size_t at, struct err *e)
{
	struct disk *d = l->wal->disk;
	char name[WAL_NAME_SIZE];
	int64_t size, n;

	wal__segment_name(l->seqs[at], name);
	l->fd = d->ops->open(d, name, false);
	if (l->fd < 0)
		return err_set_errno(e, -l->fd, "write-ahead log: cannot open raft/%s", name);
	size = d->ops->size(d, l->fd);
	if (size < 0 || size > UINT32_MAX) {
		d->ops->close(d, l->fd);
		return err_set(e, ERR_IO, "write-ahead log: raft/%s has a size that cannot be", name);
	}
	l->bytes = xrealloc(l->bytes, (size_t)size + 1);
	n = d->ops->pread(d, l->fd, l->bytes, (size_t)size, 0);
	if (n != size) {
		d->ops->close(d, l->fd);
		return err_set_errno(e, n < 0 ? (int)-n : EIO, "write-ahead log: cannot read raft/%s", name);
	}
	l->at = at;
	l->size = (size_t)size;
	l->offset = 0;
	return 0;
}

/* Does any intact record from here to the end of this file say that `lsn` was durable? */
static bool says_durable(const char *bytes, size_t size, size_t from, uint64_t lsn)
{
	struct record rec;

	for (size_t o = PAD8(from); o + RECORD_SIZE <= size; o += 8)
		if (get_u32(bytes + o) == RECORD_MAGIC && wal__decode(str_of(bytes + o, size - o), &rec) &&
		    rec.lsn >= lsn && rec.durable_lsn >= lsn)
			return true;
	return false;
}

/*
 * No intact next record at l->offset. Decide what that means: the end of the log, a torn tail to be cut off (both: 0),
 * or corruption. Later segments are removed on the way: only an unfinished batch can have made them.
 */
static int end_of_log(struct load *l, struct err *e)
{
	struct wal *w = l->wal;
	struct disk *d = w->disk;
	size_t at = l->at, cut = l->offset;
	uint64_t lsn = w->next_lsn;
	int fd = l->fd, rc = 0;

	if (l->durable >= lsn || says_durable(l->bytes, l->size, l->offset, lsn))
		return corrupt(l, "a record is broken that had been durable", e);
	for (size_t i = at + 1; rc == 0 && i < l->n_seqs; i++) {
		rc = read_segment(l, i, e);
		if (rc == 0) {
			d->ops->close(d, l->fd);
			if (says_durable(l->bytes, l->size, 0, lsn)) {
				l->at = at;
				l->offset = cut;
				rc = corrupt(l, "a record is broken or missing that had been durable", e);
			}
		}
	}
	l->fd = fd;
	l->at = at;
	l->offset = cut;
	if (rc != 0)
		return rc;
	for (size_t i = l->n_seqs; i-- > at + 1;) {
		char name[WAL_NAME_SIZE];

		wal__segment_name(l->seqs[i], name);
		log_warn("wal", "removing the unfinished segment raft/%s", name);
		rc = d->ops->unlink(d, name);
		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot remove raft/%s", name);
	}
	l->n_seqs = at + 1;
	/* Cut the rest off, zeros or torn: nothing is written behind it, the next record begins a new segment. */
	rc = d->ops->truncate(d, fd, cut);
	if (rc < 0)
		return err_set_errno(e, -rc, "write-ahead log: cannot truncate raft/%08" PRIx32 ".wal", l->seqs[at]);
	return 0;
}

static int check_segment_info(struct load *l, const struct record *rec, struct err *e)
{
	struct wal *w = l->wal;
	const char *p = rec->data.p;
	uint32_t format;

	if (rec->kind != KIND_SEGMENT || rec->data.n < SEGMENT_INFO_SIZE)
		return corrupt(l, "it does not begin with a segment record", e);
	format = get_u32(p);
	if (format != WAL_FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION,
			       "write-ahead log raft/%08" PRIx32 ".wal has format %" PRIu32 ", this program knows %u: use a newer "
			       "program with this data directory",
			       l->seqs[l->at], format, WAL_FORMAT);
	if (get_u32(p + 4) != l->seqs[l->at])
		return corrupt(l, "it is the file of another segment", e);
	if (get_u64(p + 8) != w->cluster_id || get_u64(p + 16) != w->member_id)
		return err_set(e, ERR_FAILED_PRECONDITION,
			       "write-ahead log raft/%08" PRIx32 ".wal belongs to member %016" PRIx64 " of cluster %016" PRIx64
			       ", not to this one",
			       l->seqs[l->at], get_u64(p + 16), get_u64(p + 8));
	return 0;
}

static int take_record(struct load *l, struct wal_segment *s, const struct record *rec, struct err *e)
{
	switch (rec->kind) {
	case KIND_SEGMENT:
		return l->offset == 0 ? 0 : corrupt(l, "a segment record in the middle", e);
	case KIND_RESET:
		l->reader->reset(l->reader, rec->index, rec->term);
		l->last_index = rec->index;
		l->have_entries = true;
		return 0;
	case KIND_ENTRY:
		if (rec->index == 0 || (l->have_entries && rec->index > l->last_index + 1))
			return corrupt(l, "an entry is missing before it", e);
		l->reader->entry(l->reader, rec->index, rec->term, rec->type, rec->data,
				 (struct wal_pos){s->seq, (uint32_t)l->offset});
		l->last_index = rec->index;
		l->have_entries = true;
		s->max_index = MAX(s->max_index, rec->index);
		return 0;
	default:
		return err_set(e, ERR_FAILED_PRECONDITION,
			       "write-ahead log raft/%08" PRIx32 ".wal has a record of kind %u at offset %zu: written by a newer "
			       "program",
			       s->seq, rec->kind, l->offset);
	}
}

static bool follows(const struct load *l, const struct record *rec)
{
	return rec->lsn <= l->trust && (!l->started || (rec->lsn == l->wal->next_lsn && rec->prev_crc == l->wal->crc));
}

/* Read one segment. *ret_end: the log ends in it. */
static int load_segment(struct load *l, size_t at, bool *ret_end, struct err *e)
{
	struct wal *w = l->wal;
	struct wal_segment *s;
	struct record rec;
	int rc = read_segment(l, at, e);

	if (rc != 0)
		return rc;
	s = wal__segment_new(l->seqs[at], l->fd);
	list_add_tail(&w->segments, &s->link);
	while (wal__decode(str_of(l->bytes + l->offset, l->size - l->offset), &rec) && follows(l, &rec)) {
		if (l->offset == 0)
			rc = check_segment_info(l, &rec, e);
		if (rc == 0)
			rc = take_record(l, s, &rec, e);
		if (rc != 0)
			return rc;
		l->started = true;
		w->crc = rec.crc;
		w->next_lsn = rec.lsn + 1;
		l->offset = MIN(l->offset + rec.size, l->size);
	}
	s->used = s->capacity = (uint32_t)l->offset;
	w->bytes += s->used;
	*ret_end = true;
	if (at + 1 < l->n_seqs && l->started) {
		/* The chain may go on in the next segment: its first record decides. */
		size_t offset = l->offset;
		int fd = l->fd;

		rc = read_segment(l, at + 1, e);
		if (rc != 0)
			return rc;
		*ret_end = !(wal__decode(str_of(l->bytes, l->size), &rec) && follows(l, &rec) &&
			     l->seqs[at + 1] == l->seqs[at] + 1);
		w->disk->ops->close(w->disk, l->fd);
		if (*ret_end) {
			rc = read_segment(l, at, e);
			if (rc != 0)
				return rc;
			w->disk->ops->close(w->disk, l->fd);
		}
		l->fd = fd;
		l->at = at;
		l->offset = offset;
	}
	return 0;
}

static int open_mark(struct load *l, struct err *e)
{
	struct disk *d = l->wal->disk;
	uint8_t mark[MARK_SIZE];
	int64_t n;

	l->wal->mark_fd = d->ops->open(d, "durable", true);
	if (l->wal->mark_fd < 0)
		return err_set_errno(e, -l->wal->mark_fd, "write-ahead log: cannot open raft/durable");
	n = d->ops->pread(d, l->wal->mark_fd, mark, sizeof(mark), 0);
	if (n < 0)
		return err_set_errno(e, (int)-n, "write-ahead log: cannot read raft/durable");
	if (n == MARK_SIZE && get_u32(mark) == MARK_MAGIC && get_u32(mark + 4) == crc32c(0, mark + 8, 8))
		l->durable = get_u64(mark + 8);
	else if (n > 0)
		log_warn("wal", "raft/durable is damaged: what had been durable is judged by the log alone");
	if (l->durable > 0 && l->n_seqs == 0)
		return err_set(e, ERR_CORRUPT,
			       "the files of the write-ahead log in raft/ are gone; this member cannot be trusted: remove it from "
			       "the cluster, move its data directory away and join it anew");
	return 0;
}

static int load_all(struct load *l, struct err *e)
{
	struct wal *w = l->wal;
	bool end = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && !end && i < l->n_seqs; i++)
		rc = load_segment(l, i, &end, e);
	if (rc != 0 || l->n_seqs == 0)
		return rc;
	if (!l->started && l->n_seqs > 1)
		return corrupt(l, "the oldest segment does not begin with an intact record", e);
	rc = end_of_log(l, e);
	if (rc != 0)
		return rc;
	LIST_FOR_EACH_SAFE (s, next, &w->segments, struct wal_segment, link) {
		rc = w->disk->ops->sync(w->disk, s->fd);
		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot sync raft/%08" PRIx32 ".wal", s->seq);
	}
	rc = w->disk->ops->sync_dir(w->disk);
	if (rc < 0)
		return err_set_errno(e, -rc, "write-ahead log: cannot sync the directory raft");
	w->durable_lsn = w->next_lsn - 1;
	return 0;
}

/* A first segment of which not even the head was written: as if it had never been made. */
static int drop_empty(struct load *l, struct err *e)
{
	struct wal *w = l->wal;
	char name[WAL_NAME_SIZE];
	int rc;

	if (l->started || list_empty(&w->segments))
		return 0;
	struct wal_segment *s = LIST_FIRST(&w->segments, struct wal_segment, link);

	wal__segment_name(s->seq, name);
	w->disk->ops->close(w->disk, s->fd);
	list_del(&s->link);
	free(s);
	rc = w->disk->ops->unlink(w->disk, name);
	return rc < 0 ? err_set_errno(e, -rc, "write-ahead log: cannot remove raft/%s", name) : 0;
}

/* A log that begins with the first lsn again must not be written over records that look newer. */
static int drop_spares(struct load *l, struct err *e)
{
	struct wal *w = l->wal;
	int rc = 0;

	while (!l->started && rc == 0 && w->n_spares > 0) {
		char name[WAL_NAME_SIZE];

		wal__spare_name(w->spares[--w->n_spares], name);
		rc = w->disk->ops->unlink(w->disk, name);
		if (rc < 0)
			rc = err_set_errno(e, -rc, "write-ahead log: cannot remove raft/%s", name);
	}
	return rc;
}

/* The damaged end of one segment, as a file of its own: somebody may want to look at it. */
static int save_end(struct disk *d, const char *name, const char *bad, uint64_t offset)
{
	int from = d->ops->open(d, name, false), to = d->ops->open(d, bad, true), rc = 0;
	int64_t size = from < 0 ? from : d->ops->size(d, from), n = 0;
	char *bytes = xmalloc(size > 0 ? (size_t)size : 1);

	if (from >= 0 && size > (int64_t)offset)
		n = d->ops->pread(d, from, bytes, (size_t)(size - (int64_t)offset), offset);
	rc = from < 0 ? from : to < 0 ? to : n < 0 ? (int)n : 0;
	if (rc == 0)
		rc = d->ops->pwrite(d, to, bytes, (size_t)n, 0);
	if (rc == 0)
		rc = d->ops->truncate(d, from, offset);
	if (rc == 0)
		rc = d->ops->sync(d, from);
	if (from >= 0)
		d->ops->close(d, from);
	if (to >= 0)
		d->ops->close(d, to);
	free(bytes);
	return rc;
}

struct names {
	struct disk *disk;
	uint32_t segment;
	char (*list)[WAL_NAME_SIZE];
	size_t n;
};

static void on_repair_name(void *arg, const char *name)
{
	struct names *names = arg;

	if (wal__segment_seq(name, ".bad") == 0 && wal__segment_seq(name, ".wal") <= names->segment)
		return;
	names->list = xrealloc(names->list, (names->n + 1) * sizeof(*names->list));
	snprintf(names->list[names->n++], WAL_NAME_SIZE, "%s", name);
}

/* Segments behind `segment` become NNNNNNNN.bad; what an earlier repair left goes. */
static int rename_behind(struct disk *d, uint32_t segment)
{
	struct names names = {.disk = d, .segment = segment};
	char bad[WAL_NAME_SIZE];
	int rc = d->ops->list(d, on_repair_name, &names);

	for (size_t i = 0; rc >= 0 && i < names.n; i++)
		if (wal__segment_seq(names.list[i], ".bad"))
			rc = d->ops->unlink(d, names.list[i]);
	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		if (wal__segment_seq(names.list[i], ".bad"))
			continue;
		snprintf(bad, sizeof(bad), "%.8s.bad", names.list[i]);
		rc = d->ops->rename(d, names.list[i], bad);
	}
	free(names.list);
	return rc;
}

/* The file `durable` tells of records that are gone now. */
static int forget_durable(struct disk *d)
{
	int rc = d->ops->unlink(d, "durable");

	return rc >= 0 || rc == -ENOENT ? d->ops->sync_dir(d) : rc;
}

int wal_repair(struct disk *d, uint32_t segment, uint64_t offset, struct err *e)
{
	char name[WAL_NAME_SIZE], bad[WAL_NAME_SIZE];
	int rc = rename_behind(d, segment);

	wal__segment_name(segment, name);
	snprintf(bad, sizeof(bad), "%.8s.bad", name);
	if (rc >= 0)
		rc = offset > 0 ? save_end(d, name, bad, offset) : d->ops->rename(d, name, bad);
	if (rc >= 0)
		rc = forget_durable(d);
	return rc < 0 ? err_set_errno(e, -rc, "write-ahead log: cannot put the damaged part of raft/%s aside", name) : 0;
}

int wal_set_aside(struct disk *d, struct err *e)
{
	int rc = rename_behind(d, 0);

	if (rc >= 0)
		rc = forget_durable(d);
	return rc < 0 ? err_set_errno(e, -rc, "write-ahead log: cannot put raft/*.wal aside") : 0;
}

int wal_open(struct wal *w, struct disk *d, uint64_t cluster_id, uint64_t member_id, uint32_t segment_size,
	     uint64_t trust_lsn, struct wal_reader *reader, struct err *e)
{
	struct load l = {.wal = w, .reader = reader, .fd = -1, .trust = trust_lsn};
	int rc;

	*w = (struct wal){.disk = d, .cluster_id = cluster_id, .member_id = member_id, .next_lsn = 1, .mark_fd = -1};
	w->segment_size = segment_size ? segment_size : WAL_SEGMENT_SIZE;
	list_init(&w->segments);
	list_init(&w->pieces);
	rc = d->ops->list(d, on_name, &l);
	if (rc < 0) {
		rc = err_set_errno(e, -rc, "write-ahead log: cannot list the directory raft");
	} else {
		if (l.n_seqs)
			qsort(l.seqs, l.n_seqs, sizeof(*l.seqs), by_seq);
		rc = open_mark(&l, e);
		if (rc == 0)
			rc = load_all(&l, e);
		if (rc == 0)
			rc = drop_empty(&l, e);
		if (rc == 0)
			rc = drop_spares(&l, e);
	}
	free(l.bytes);
	free(l.seqs);
	if (rc != 0)
		wal_close(w);
	return rc;
}

#include "raft/wal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mutant.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/wal-priv.h"

/* See write_ahead. */
#define WAL_AHEAD (256u << 10)

/* One run of bytes for one segment. */
struct piece {
	struct list link;
	struct wal_segment *segment;
	uint32_t offset;
	bool create;
	int fd; /* the segment learns it in wal_batch_done, on the loop */
	struct buf bytes;
};

void wal__segment_name(uint32_t seq, char out[WAL_NAME_SIZE])
{
	snprintf(out, WAL_NAME_SIZE, "%08" PRIx32 ".wal", seq);
}

void wal__spare_name(uint32_t seq, char out[WAL_NAME_SIZE])
{
	snprintf(out, WAL_NAME_SIZE, "%08" PRIx32 ".spare", seq);
}

uint32_t wal__segment_seq(const char *name, const char *ending)
{
	char *end;
	unsigned long seq = strtoul(name, &end, 16);

	return end == name + 8 && strcmp(end, ending) == 0 && seq <= UINT32_MAX ? (uint32_t)seq : 0;
}

struct wal_segment *wal__segment_new(uint32_t seq, int fd)
{
	struct wal_segment *s = xcalloc(1, sizeof(*s));

	list_init(&s->link);
	s->seq = seq;
	s->fd = fd;
	return s;
}

static struct wal_segment *last_segment(struct wal *w)
{
	return list_empty(&w->segments) ? NULL : container_of(w->segments.prev, struct wal_segment, link);
}

static struct piece *piece_new(struct wal *w, struct wal_segment *s, bool create)
{
	struct piece *p = xcalloc(1, sizeof(*p));

	p->segment = s;
	p->offset = s->used;
	p->create = create;
	p->fd = -1;
	buf_init(&p->bytes, BUF_NO_LIMIT);
	list_add_tail(&w->pieces, &p->link);
	return p;
}

static void piece_free(struct piece *p)
{
	list_del(&p->link);
	buf_fini(&p->bytes);
	free(p);
}

/* Add one record to the segment that the piece writes. */
static void encode(struct wal *w, struct piece *p, const struct record *rec)
{
	uint8_t head[RECORD_SIZE] = {0};
	size_t size = PAYLOAD_SIZE + rec->data.n, padded = PAD8(size), start = p->bytes.n;
	static const char zeros[8];

	put_u32(head + OFF_MAGIC, RECORD_MAGIC);
	put_u32(head + OFF_PREV, w->crc);
	put_u32(head + OFF_SIZE, (uint32_t)size);
	put_u64(head + OFF_LSN, w->next_lsn);
	put_u64(head + OFF_DURABLE, w->durable_lsn);
	head[OFF_KIND] = rec->kind;
	head[OFF_TYPE] = rec->type;
	put_u64(head + OFF_INDEX, rec->index);
	put_u64(head + OFF_TERM, rec->term);
	buf_add(&p->bytes, head, sizeof(head));
	buf_adds(&p->bytes, rec->data);
	buf_add(&p->bytes, zeros, padded - size);
	w->crc = crc32c(0, p->bytes.p + start + OFF_PREV, HEADER_SIZE - OFF_PREV + size);
	put_u32(p->bytes.p + start + OFF_CRC, w->crc);
	w->next_lsn++;
	p->segment->used += (uint32_t)(HEADER_SIZE + padded);
	w->bytes += HEADER_SIZE + padded;
}

static struct piece *roll(struct wal *w, size_t need)
{
	struct wal_segment *old = last_segment(w), *s = wal__segment_new(old ? old->seq + 1 : 1, -1);
	size_t head = HEADER_SIZE + PAD8(PAYLOAD_SIZE + SEGMENT_INFO_SIZE);
	uint8_t info[SEGMENT_INFO_SIZE];
	struct piece *p;

	s->capacity = (uint32_t)MAX(w->segment_size, head + need);
	/* An outsized entry has a segment of its own size. */
	if (s->capacity == w->segment_size && w->n_spares > 0)
		s->spare = w->spares[--w->n_spares];
	list_add_tail(&w->segments, &s->link);
	p = piece_new(w, s, true);
	put_u32(info, WAL_FORMAT);
	put_u32(info + 4, s->seq);
	put_u64(info + 8, w->cluster_id);
	put_u64(info + 16, w->member_id);
	encode(w, p, &(struct record){.kind = KIND_SEGMENT, .data = str_of(info, sizeof(info))});
	return p;
}

static void append(struct wal *w, const struct record *rec, struct wal_pos *ret)
{
	size_t need = HEADER_SIZE + PAD8(PAYLOAD_SIZE + rec->data.n);
	struct wal_segment *s = last_segment(w);
	struct piece *p = NULL;

	ASSERT(rec->data.n <= WAL_RECORD_MAX);
	if (!s || s->used + need > s->capacity)
		p = roll(w, need);
	else if (list_empty(&w->pieces) || container_of(w->pieces.prev, struct piece, link)->segment != s)
		p = piece_new(w, s, false);
	else
		p = container_of(w->pieces.prev, struct piece, link);
	if (ret)
		*ret = (struct wal_pos){p->segment->seq, p->segment->used};
	encode(w, p, rec);
	if (rec->kind == KIND_ENTRY)
		p->segment->max_index = MAX(p->segment->max_index, rec->index);
}

void wal_append(struct wal *w, uint64_t index, uint64_t term, uint8_t type, struct str data, struct wal_pos *ret)
{
	append(w, &(struct record){.kind = KIND_ENTRY, .type = type, .index = index, .term = term, .data = data}, ret);
}

void wal_append_reset(struct wal *w, uint64_t index, uint64_t term)
{
	append(w, &(struct record){.kind = KIND_RESET, .index = index, .term = term}, NULL);
}

bool wal_take(struct wal *w, struct wal_batch *b)
{
	list_init(&b->pieces);
	if (list_empty(&w->pieces))
		return false;
	list_splice(&b->pieces, &w->pieces);
	/* Only now: the batch before may have made the file. */
	LIST_FOR_EACH (p, &b->pieces, struct piece, link)
		p->fd = p->segment->fd;
	b->last_lsn = w->next_lsn - 1;
	b->mark_fd = w->mark_fd;
	b->reserve = w->reserve;
	b->segment_size = w->segment_size;
	/* One that could not be made is tried again now and then: space comes back. */
	b->want_reserve = w->reserve == 0 || (w->reserve < 0 && w->takes++ % 64 == 0);
	return true;
}

static void make_reserve(struct disk *d, struct wal_batch *b)
{
	int fd = d->ops->open(d, RESERVE_NAME, true), rc = fd;

	if (fd >= 0) {
		rc = d->ops->allocate(d, fd, b->segment_size);
		d->ops->close(d, fd);
		if (rc < 0)
			d->ops->unlink(d, RESERVE_NAME);
	}
	b->reserve = rc < 0 ? rc : 1;
}

/* A spare's own name is durable (wal_drop_before): a power loss that undoes this rename leaves a spare, whatever is in it. */
static int take_spare(struct disk *d, const struct piece *p, const char *name)
{
	char spare[WAL_NAME_SIZE];

	if (p->segment->spare == 0)
		return -ENOENT;
	wal__spare_name(p->segment->spare, spare);
	return d->ops->rename(d, spare, name);
}

static int create_segment(struct disk *d, struct wal_batch *b, struct piece *p, const char *name, const char **ret_what)
{
	struct wal_segment *s = p->segment;
	bool old = take_spare(d, p, name) == 0, reserve = false;

	if (!old && b->reserve == 1 && s->capacity == b->segment_size)
		reserve = d->ops->rename(d, RESERVE_NAME, name) == 0;
	if (reserve)
		b->reserve = 0;
	*ret_what = "create";
	p->fd = d->ops->open(d, name, true);
	if (p->fd < 0)
		return p->fd;
	b->want_reserve = true;
	if (old && d->ops->size(d, p->fd) >= s->capacity)
		s->written = s->capacity;
	*ret_what = "allocate";
	return reserve || s->written > 0 ? 0 : d->ops->allocate(d, p->fd, s->capacity);
}

/*
 * The blocks of a new file become written ones ahead of the log, a stretch at a time: the sync that follows has the file's metadata
 * to write, the many after it within the stretch have not.
 */
static int write_ahead(struct disk *d, struct piece *p, size_t end)
{
	static const char zeros[WAL_AHEAD];
	struct wal_segment *s = p->segment;
	uint32_t to;
	int rc;

	if (end <= s->written)
		return 0;
	to = (uint32_t)MIN(end / WAL_AHEAD * WAL_AHEAD + WAL_AHEAD, MAX(s->capacity, end));
	rc = to > end ? d->ops->pwrite(d, p->fd, zeros, to - end, end) : 0;
	if (rc == 0)
		s->written = to;
	return rc;
}

static int write_piece(struct disk *d, struct wal_batch *b, struct piece *p, const char **ret_what)
{
	struct wal_segment *s = p->segment;
	char name[WAL_NAME_SIZE];
	int rc;

	wal__segment_name(s->seq, name);
	if (p->create) {
		rc = create_segment(d, b, p, name, ret_what);
		if (rc < 0)
			return rc;
	}
	*ret_what = "write";
	rc = d->ops->pwrite(d, p->fd, p->bytes.p, p->bytes.n, p->offset);
	if (rc == 0)
		rc = write_ahead(d, p, p->offset + p->bytes.n);
	if (rc < 0)
		return rc;
	*ret_what = "sync";
	rc = d->ops->sync(d, p->fd);
	if (rc == 0 && p->create && !MUTANT(segment_unnamed)) {
		*ret_what = "sync the directory of";
		rc = d->ops->sync_dir(d);
	}
	return rc;
}

/* Only now, that all of it is durable. Not synced itself: an older mark only says less. */
static int write_mark(struct disk *d, const struct wal_batch *b)
{
	uint8_t mark[MARK_SIZE];

	put_u32(mark, MARK_MAGIC);
	put_u64(mark + 8, b->last_lsn);
	put_u32(mark + 4, crc32c(0, mark + 8, 8));
	return d->ops->pwrite(d, b->mark_fd, mark, sizeof(mark), 0);
}

int wal_batch_write(struct disk *d, struct wal_batch *b, struct err *e)
{
	int mark;

	LIST_FOR_EACH (p, &b->pieces, struct piece, link) {
		const char *what = "";
		int rc = write_piece(d, b, p, &what);

		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot %s raft/%08" PRIx32 ".wal", what,
					     p->segment->seq);
	}
	mark = write_mark(d, b);
	if (b->want_reserve && b->reserve != 1)
		make_reserve(d, b);
	return mark < 0 ? err_set_errno(e, -mark, "write-ahead log: cannot write raft/durable") : 0;
}

void wal_batch_drop(struct wal_batch *b)
{
	LIST_FOR_EACH_SAFE (p, next, &b->pieces, struct piece, link)
		piece_free(p);
}

void wal_batch_done(struct wal *w, struct wal_batch *b)
{
	LIST_FOR_EACH (p, &b->pieces, struct piece, link)
		p->segment->fd = p->fd;
	w->durable_lsn = b->last_lsn;
	w->reserve = b->reserve;
	wal_batch_drop(b);
}

static struct wal_segment *find_segment(struct wal *w, uint32_t seq)
{
	LIST_FOR_EACH (s, &w->segments, struct wal_segment, link)
		if (s->seq == seq)
			return s;
	return NULL;
}

int wal_read(struct wal *w, struct wal_pos pos, uint64_t index, uint64_t term, struct buf *out, struct err *e)
{
	struct wal_segment *s = find_segment(w, pos.segment);
	uint8_t head[HEADER_SIZE];
	struct buf bytes = BUF_INIT;
	struct record rec;
	int rc = -1;

	if (!s || s->fd < 0)
		return err_set(e, ERR_INTERNAL, "write-ahead log: segment %08" PRIx32 " is not there to read", pos.segment);
	if (w->disk->ops->pread(w->disk, s->fd, head, sizeof(head), pos.offset) == sizeof(head) &&
	    get_u32(head + OFF_SIZE) >= PAYLOAD_SIZE && get_u32(head + OFF_SIZE) <= WAL_RECORD_MAX + PAYLOAD_SIZE) {
		size_t size = HEADER_SIZE + get_u32(head + OFF_SIZE);
		char *p = buf_reserve(&bytes, size);

		if (w->disk->ops->pread(w->disk, s->fd, p, size, pos.offset) == (int64_t)size &&
		    wal__decode(str_of(p, size), &rec) && rec.kind == KIND_ENTRY && rec.index == index && rec.term == term) {
			buf_adds(out, rec.data);
			rc = 0;
		}
	}
	buf_fini(&bytes);
	if (rc != 0)
		return err_set(e, ERR_CORRUPT,
			       "write-ahead log raft/%08" PRIx32 ".wal is damaged at offset %" PRIu32 " (entry %" PRIu64 ")",
			       pos.segment, pos.offset, index);
	return 0;
}

/* Out of the log, and kept when there is room and it has the size of one that is to come. */
static int drop_segment(struct wal *w, const struct wal_segment *s)
{
	struct disk *d = w->disk;
	char name[WAL_NAME_SIZE], spare[WAL_NAME_SIZE];

	wal__segment_name(s->seq, name);
	if (w->n_spares == WAL_SPARES || s->capacity != w->segment_size)
		return d->ops->unlink(d, name);
	wal__spare_name(s->seq, spare);
	w->spares[w->n_spares++] = s->seq;
	return d->ops->rename(d, name, spare);
}

int wal_drop_before(struct wal *w, uint64_t index, struct err *e)
{
	while (!list_empty(&w->segments)) {
		struct wal_segment *s = LIST_FIRST(&w->segments, struct wal_segment, link);
		char name[WAL_NAME_SIZE];
		int rc;

		/* The last one is written to; one without a file is about to be made. */
		if (s == last_segment(w) || s->fd < 0 || s->max_index >= index)
			break;
		/* Its last bytes may still be on their way: a segment leaves only when a later one has a file. */
		if (LIST_FIRST(&s->link, struct wal_segment, link)->fd < 0)
			break;
		wal__segment_name(s->seq, name);
		w->disk->ops->close(w->disk, s->fd);
		rc = drop_segment(w, s);
		w->bytes -= s->used;
		list_del(&s->link);
		free(s);
		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot remove raft/%s", name);
		/* In order, and each for good before the next: a gap in the middle would read as corruption. And a spare is
		 * written over only when it has lost the name of a segment for good. */
		rc = w->disk->ops->sync_dir(w->disk);
		if (rc < 0)
			return err_set_errno(e, -rc, "write-ahead log: cannot sync the directory raft");
	}
	return 0;
}

void wal_close(struct wal *w)
{
	LIST_FOR_EACH_SAFE (p, next, &w->pieces, struct piece, link)
		piece_free(p);
	LIST_FOR_EACH_SAFE (s, snext, &w->segments, struct wal_segment, link) {
		if (s->fd >= 0)
			w->disk->ops->close(w->disk, s->fd);
		list_del(&s->link);
		free(s);
	}
	if (w->mark_fd >= 0)
		w->disk->ops->close(w->disk, w->mark_fd);
	w->mark_fd = -1;
}

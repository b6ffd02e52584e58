#include "store/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/store-priv.h"

/* Where a chunk begins: in which record, and how many of its bytes stand in chunks before. */
struct position {
	int stage;      /* -1 head, enum store_db, DB_N tail, DB_N + 1 end */
	uint8_t *key;   /* of the record, heap; NULL: the first of its database */
	size_t key_size;
	size_t offset;
	uint64_t count; /* records before this one */
	uint32_t crc;   /* of all bytes before the chunk */
};

struct store_snapshot {
	struct store_view *view;
	bool borrowed; /* the view's transaction is somebody else's */
	uint64_t size;
	struct position *at; /* at[n]: where chunk n begins, for n <= n_at - 1 */
	size_t n_at, cap;
	MDB_cursor *cursor;
	struct buf record;   /* the record at hand */
	struct err damage;   /* after MDB_CORRUPTED: which record */
};

static struct store_snapshot *snapshot_new(struct store_view *v)
{
	struct store_snapshot *sn = xcalloc(1, sizeof(*sn));

	sn->view = v;
	buf_init(&sn->record, BUF_NO_LIMIT);
	sn->cap = 8;
	sn->at = xcalloc(sn->cap, sizeof(*sn->at));
	sn->at[0].stage = -1;
	sn->n_at = 1;
	return sn;
}

int store_snapshot_open(struct store *s, struct store_snapshot **ret, struct err *e)
{
	struct store_view *v;
	uint64_t file, used;
	int rc = store_view_open(s, &v, e);

	if (rc != 0)
		return rc;
	rc = store__env_size(v->env, v->txn, &file, &used, e);
	if (rc != 0) {
		store_view_close(v);
		return rc;
	}
	*ret = snapshot_new(v);
	(*ret)->size = used;
	return 0;
}

int store__snapshot_open_txn(struct store_env *env, MDB_txn *txn, struct store_snapshot **ret, struct err *e)
{
	struct store_view *v = xcalloc(1, sizeof(*v));
	struct store_local local;
	int rc;

	v->env = env;
	v->txn = txn;
	rc = store__state_load(env, txn, &v->state, &local, e);
	if (rc != 0) {
		free(v);
		return rc;
	}
	v->member_id = local.member_id;
	*ret = snapshot_new(v);
	(*ret)->borrowed = true;
	return 0;
}

void store_snapshot_close(struct store_snapshot *sn)
{
	if (sn == NULL)
		return;
	if (sn->cursor != NULL)
		mdb_cursor_close(sn->cursor);
	if (sn->borrowed)
		free(sn->view);
	else
		store_view_close(sn->view);
	for (size_t i = 0; i < sn->n_at; i++)
		free(sn->at[i].key);
	free(sn->at);
	buf_fini(&sn->record);
	free(sn);
}

struct store_applied store_snapshot_applied(const struct store_snapshot *sn)
{
	return (struct store_applied){sn->view->state.index, sn->view->state.term};
}

int64_t store_snapshot_revision(const struct store_snapshot *sn)
{
	return sn->view->state.revision;
}

uint64_t store_snapshot_size(const struct store_snapshot *sn)
{
	return sn->size;
}

static void record(struct store_snapshot *sn, int kind, struct str key, struct str value)
{
	uint8_t p[RECORD_FIXED];

	p[0] = (uint8_t)kind;
	p[1] = (uint8_t)key.n;
	p[2] = (uint8_t)(key.n >> 8);
	put_le32(p + 3, (uint32_t)value.n);
	buf_clear(&sn->record);
	buf_add(&sn->record, p, sizeof(p));
	buf_adds(&sn->record, key);
	buf_adds(&sn->record, value);
}

static void record_head(struct store_snapshot *sn)
{
	uint8_t p[STATE_SIZE];

	store__state_encode(&sn->view->state, p);
	record(sn, RECORD_HEAD, STR_NULL, str_of(p, sizeof(p)));
}

static void record_tail(struct store_snapshot *sn, uint64_t count, uint32_t crc)
{
	uint8_t p[TAIL_SIZE];

	put_le64(p + TAIL_COUNT, count);
	put_le32(p + TAIL_CRC, crc);
	record(sn, RECORD_TAIL, STR_NULL, str_of(p, sizeof(p)));
}

/*
 * Load the record at p->stage/key (`exact`: go back to it) or the next one behind. Records of the member's own are left
 * out. MDB_NOTFOUND: the database has no more.
 */
static int load(struct store_snapshot *sn, struct position *p, bool first)
{
	MDB_val k = {p->key_size, p->key}, v;
	MDB_cursor_op op = first ? (p->key ? MDB_SET_RANGE : MDB_FIRST) : MDB_NEXT;
	int rc;

	do {
		rc = mdb_cursor_get(sn->cursor, &k, &v, op);
		op = MDB_NEXT;
	} while (rc == 0 && p->stage == DB_META && !store__meta_is_replicated(str_of(k.mv_data, k.mv_size)));
	if (rc != 0)
		return rc;
	/* What rotted here must not become the others' state. */
	if (store__record_check((enum store_db)p->stage, str_of(k.mv_data, k.mv_size), str_of(v.mv_data, v.mv_size), &sn->damage) != 0)
		return MDB_CORRUPTED;
	p->key = xrealloc(p->key, k.mv_size);
	p->key_size = k.mv_size;
	memcpy(p->key, k.mv_data, k.mv_size);
	record(sn, p->stage, str_of(k.mv_data, k.mv_size), str_of(v.mv_data, v.mv_size));
	return 0;
}

static int open_stage(struct store_snapshot *sn, int stage)
{
	if (sn->cursor != NULL)
		mdb_cursor_close(sn->cursor);
	sn->cursor = NULL;
	if (stage < 0 || stage >= DB_N)
		return 0;
	return mdb_cursor_open(sn->view->txn, sn->view->env->dbi[stage], &sn->cursor);
}

/* The record that p names into sn->record; the tail cannot be made before all else is in the chunk: `crc` so far. */
static int load_at(struct store_snapshot *sn, struct position *p, bool first, uint32_t crc)
{
	int rc;

	for (;;) {
		if (p->stage < 0) {
			record_head(sn);
			return 0;
		}
		if (p->stage == DB_N) {
			record_tail(sn, p->count, crc);
			return 0;
		}
		if (p->stage > DB_N)
			return MDB_NOTFOUND;
		rc = load(sn, p, first);
		if (rc != MDB_NOTFOUND)
			return rc;
		p->stage++;
		free(p->key);
		p->key = NULL;
		first = true;
		rc = open_stage(sn, p->stage);
		if (rc != 0)
			return rc;
	}
}

static int step(struct store_snapshot *sn, struct position *p, uint32_t crc)
{
	int rc = 0;

	p->offset = 0;
	p->count += p->stage >= 0 && p->stage < DB_N;
	if (p->stage < 0 || p->stage >= DB_N) {
		p->stage++;
		rc = open_stage(sn, p->stage);
		return rc ? rc : load_at(sn, p, true, crc);
	}
	return load_at(sn, p, false, crc);
}

/* Bytes from p on until the chunk is full; p ends where the next chunk begins. */
static int fill(struct store_snapshot *sn, struct position *p, struct buf *out, size_t room, bool *ret_last)
{
	int rc = open_stage(sn, p->stage);

	/* A tail that was begun in the chunk before has its own checksum before it: p->crc is of then, see below. */
	if (rc == 0)
		rc = load_at(sn, p, true, p->crc);
	while (rc == 0) {
		size_t n = MIN(room, sn->record.n - p->offset);

		buf_add(out, sn->record.p + p->offset, n);
		if (p->stage < DB_N)
			p->crc = crc32c(p->crc, sn->record.p + p->offset, n);
		p->offset += n;
		room -= n;
		if (p->offset < sn->record.n)
			break;
		rc = step(sn, p, p->crc);
		if (room == 0)
			break;
	}
	*ret_last = rc == MDB_NOTFOUND;
	(void)open_stage(sn, -1);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static struct position *next_position(struct store_snapshot *sn, uint64_t n)
{
	struct position *p;

	if (n + 1 == sn->n_at) {
		if (sn->n_at == sn->cap) {
			sn->cap *= 2;
			sn->at = xrealloc(sn->at, sn->cap * sizeof(*sn->at));
		}
		memset(&sn->at[sn->n_at++], 0, sizeof(*sn->at));
	}
	p = &sn->at[n + 1];
	free(p->key);
	*p = sn->at[n];
	if (p->key != NULL) {
		p->key = xmalloc(p->key_size);
		memcpy(p->key, sn->at[n].key, p->key_size);
	}
	return p;
}

int store_snapshot_chunk(struct store_snapshot *sn, uint64_t n, struct buf *out, bool *ret_last, struct err *e)
{
	size_t start = out->n, size;
	uint8_t *h;
	int rc;

	if (n >= sn->n_at)
		return err_set(e, ERR_OUT_OF_RANGE, "store: chunk %llu of a snapshot was asked for too early", (unsigned long long)n);
	if (buf_reserve(out, STORE_CHUNK_MAX) == NULL)
		return err_set(e, ERR_TOO_LARGE, "store: no room for a chunk");
	buf_advance(out, CHUNK_HEADER);
	rc = fill(sn, next_position(sn, n), out, CHUNK_PAYLOAD, ret_last);
	if (rc == MDB_CORRUPTED && sn->damage.code) {
		err_set(e, ERR_CORRUPT, "%s", sn->damage.text);
		return store__noted(sn->view, -(int)ERR_CORRUPT, e);
	}
	if (rc != 0)
		return store__noted(sn->view, store__mdb_err(e, rc, "read a snapshot"), e);
	size = out->n - start - CHUNK_HEADER;
	h = (uint8_t *)out->p + start;
	put_le32(h + CHUNK_MAGIC_AT, CHUNK_MAGIC);
	put_le32(h + CHUNK_FORMAT, STORE_FORMAT);
	put_le64(h + CHUNK_NUMBER, n);
	put_le32(h + CHUNK_FLAGS, *ret_last ? CHUNK_LAST : 0);
	put_le32(h + CHUNK_SIZE, (uint32_t)size);
	put_le32(h + CHUNK_CRC, crc32c(crc32c(0, h, CHUNK_CRC), h + CHUNK_HEADER, size));
	return 0;
}

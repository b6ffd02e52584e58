/* Taking in a snapshot: a new database file beside the one in use, then the swap. See store.h and snapshot.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/snapshot.h"
#include "store/store-priv.h"

struct store_install {
	struct store *store;
	struct store_env *env;   /* the new file */
	uint64_t next;           /* chunk */
	struct buf rest;         /* the beginning of a record whose end is in the next chunk */
	uint32_t crc;            /* of all records so far */
	uint64_t count;
	int stage;               /* kind of the last record; -1 before the head */
	bool complete, synced;
	bool copies_self;        /* an older state of this store is as good */
	bool mends;              /* this store is damaged, so nothing is taken over from it */
	bool rebase;             /* it is this store's own last checkpoint: an older state is what is wanted */
	struct store_state state; /* what it will be */
};

int store_install_begin(struct store *s, struct store_install **ret, struct err *e)
{
	/* After a failed swap the checkpoint on the disk may name that file, so it is not touched. */
	uint64_t generation = MAX(s->last_generation, s->env->generation) + 1;
	struct store_install *in;
	_cleanup_(freep) char *path = store__db_path(s->dir, generation);
	int rc;

	if (s->install != NULL)
		return err_set(e, ERR_UNAVAILABLE, "store: a snapshot is being installed already");
	(void)unlink(path);
	in = xcalloc(1, sizeof(*in));
	in->store = s;
	in->stage = -1;
	buf_init(&in->rest, RECORD_VALUE_MAX + STORE_CHUNK_MAX + RECORD_KEY_MAX + RECORD_FIXED);
	rc = store__env_open(path, generation, s->map_size, s->max_readers, true, &in->env, e);
	if (rc != 0) {
		free(in);
		return rc;
	}
	s->last_generation = generation;
	in->env->remove = true; /* until it is in force */
	s->install = in;
	*ret = in;
	return 0;
}

void store_install_abort(struct store_install *in)
{
	if (in == NULL)
		return;
	in->store->install = NULL;
	store__env_unref(in->env);
	buf_fini(&in->rest);
	free(in);
}

void store_install_mends(struct store_install *in)
{
	in->copies_self = in->mends = true;
}

uint64_t store_install_next(const struct store_install *in)
{
	return in->next;
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "store: the snapshot is damaged: %s", what);
}

static int take_head(struct store_install *in, struct str v, struct err *e)
{
	const struct store *s = in->store;
	struct store_state *st = &in->state;
	int rc;

	if (in->stage != -1)
		return malformed(e, "head");
	rc = store__state_decode(v, st, e);
	if (rc != 0)
		return rc;
	in->stage = 0;
	if (s->state.cluster_id != 0 && st->cluster_id != 0 && s->state.cluster_id != st->cluster_id)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"store: the snapshot is of cluster %016" PRIx64 ", this member belongs to %016" PRIx64, st->cluster_id,
				s->state.cluster_id);
	if (!in->rebase && !in->copies_self && st->index < s->state.index)
		return err_set(e, ERR_FAILED_PRECONDITION,
				"store: the snapshot at entry %" PRIu64 " is older than this member's state at %" PRIu64, st->index,
				s->state.index);
	return 0;
}

static int take_tail(struct store_install *in, struct str v, struct err *e)
{
	const uint8_t *p = (const uint8_t *)v.p;

	if (in->stage < 0 || v.n < TAIL_SIZE || get_le64(p + TAIL_COUNT) != in->count || get_le32(p + TAIL_CRC) != in->crc)
		return malformed(e, "count or checksum of the whole");
	in->stage = RECORD_TAIL;
	return 0;
}

static int take_record(struct store_install *in, MDB_txn *txn, int kind, struct str key, struct str value, struct err *e)
{
	MDB_val k = {key.n, (void *)key.p}, v = {value.n, (void *)value.p};
	int rc;

	if (kind == RECORD_HEAD)
		return take_head(in, value, e);
	if (kind == RECORD_TAIL)
		return take_tail(in, value, e);
	if (kind >= DB_N || in->stage < 0 || kind < in->stage || key.n == 0 ||
			(kind == DB_META && !store__meta_is_replicated(key)))
		return malformed(e, "order of records");
	rc = store__record_check((enum store_db)kind, key, value, e);
	if (rc != 0)
		return err_prefix(e, "the snapshot is damaged");
	in->stage = kind;
	in->count++;
	rc = mdb_put(txn, in->env->dbi[kind], &k, &v, MDB_APPEND);
	if (rc == MDB_KEYEXIST || rc == MDB_BAD_VALSIZE)
		return malformed(e, "order of keys");
	return rc ? store__mdb_err(e, rc, "write a snapshot") : 0;
}

/* As many whole records as there are in `rest`. */
static int take_records(struct store_install *in, MDB_txn *txn, struct err *e)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0 && in->rest.n - at >= RECORD_FIXED) {
		const uint8_t *p = (const uint8_t *)in->rest.p + at;
		size_t klen = p[1] | (size_t)p[2] << 8, vlen = get_le32(p + 3), size = RECORD_FIXED + klen + vlen;

		if (in->stage == RECORD_TAIL || klen > RECORD_KEY_MAX || vlen > RECORD_VALUE_MAX)
			return malformed(e, "size of a record");
		if (in->rest.n - at < size)
			break;
		rc = take_record(in, txn, p[0], str_of(p + RECORD_FIXED, klen), str_of(p + RECORD_FIXED + klen, vlen), e);
		in->crc = crc32c(in->crc, p, size);
		at += size;
	}
	buf_consume(&in->rest, at);
	return rc;
}

static int check_chunk(const struct store_install *in, struct str chunk, struct str *ret_payload, bool *ret_last,
		struct err *e)
{
	const uint8_t *h = (const uint8_t *)chunk.p;
	uint32_t size;

	if (chunk.n < CHUNK_HEADER || get_le32(h + CHUNK_MAGIC_AT) != CHUNK_MAGIC)
		return malformed(e, "this is no chunk");
	if (get_le32(h + CHUNK_FORMAT) > STORE_FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: the snapshot has format %u, this program knows up to %u",
				get_le32(h + CHUNK_FORMAT), STORE_FORMAT);
	size = get_le32(h + CHUNK_SIZE);
	if (size != chunk.n - CHUNK_HEADER || chunk.n > STORE_CHUNK_MAX)
		return malformed(e, "size of a chunk");
	if (crc32c(crc32c(0, h, CHUNK_CRC), h + CHUNK_HEADER, size) != get_le32(h + CHUNK_CRC))
		return malformed(e, "checksum of a chunk");
	if (get_le64(h + CHUNK_NUMBER) != in->next)
		return err_set(e, ERR_OUT_OF_RANGE, "store: chunk %" PRIu64 " came where %" PRIu64 " is expected",
				get_le64(h + CHUNK_NUMBER), in->next);
	*ret_last = (get_le32(h + CHUNK_FLAGS) & CHUNK_LAST) != 0;
	*ret_payload = str_of(h + CHUNK_HEADER, size);
	return 0;
}

/* What belongs to this member and not to the cluster comes over from the file in use. */
static int keep_local(struct store_install *in, MDB_txn *txn, struct err *e)
{
	struct store_local local = {.member_id = in->store->local.member_id, .compacted = -1};
	struct store_view *v;
	MDB_cursor *c;
	MDB_val k = {2, (void *)"l/"}, d;
	int mrc = 0, rc = store__local_save(in->env, txn, &local, e);

	/* What has been written since the checkpoint is not to be trusted; the member writes its own again. */
	if (rc == 0 && (in->rebase || in->mends))
		return 0;

	if (rc == 0)
		rc = store_view_open(in->store, &v, e);
	if (rc != 0)
		return rc;
	mrc = mdb_cursor_open(v->txn, v->env->dbi[DB_META], &c);
	if (mrc == 0) {
		for (mrc = mdb_cursor_get(c, &k, &d, MDB_SET_RANGE); mrc == 0; mrc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) {
			if (k.mv_size < 2 || memcmp(k.mv_data, "l/", 2) != 0)
				break;
			mrc = mdb_put(txn, in->env->dbi[DB_META], &k, &d, 0);
			if (mrc != 0)
				break;
		}
		mdb_cursor_close(c);
	}
	store_view_close(v);
	return mrc == 0 || mrc == MDB_NOTFOUND ? 0 : store__mdb_err(e, mrc, "write a snapshot");
}

static int complete(struct store_install *in, MDB_txn *txn, struct err *e)
{
	int rc;

	if (in->stage != RECORD_TAIL || in->rest.n != 0)
		return malformed(e, "it ends too early");
	rc = keep_local(in, txn, e);
	if (rc == 0)
		rc = store__state_save(in->env, txn, &in->state, e);
	in->complete = rc == 0;
	return rc;
}

int store_install_chunk(struct store_install *in, struct str chunk, bool *ret_last, struct err *e)
{
	struct str payload;
	MDB_txn *txn;
	bool last = false;
	int rc = check_chunk(in, chunk, &payload, &last, e);

	if (rc != 0)
		return rc;
	rc = mdb_txn_begin(in->env->env, NULL, 0, &txn);
	if (rc != 0)
		return store__mdb_err(e, rc, "write a snapshot");
	buf_adds(&in->rest, payload);
	rc = buf_ok(&in->rest) ? take_records(in, txn, e) : malformed(e, "a record is too large");
	if (rc == 0 && last)
		rc = complete(in, txn, e);
	if (rc != 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = mdb_txn_commit(txn);
	if (rc != 0)
		return store__mdb_err(e, rc, "write a snapshot");
	in->next++;
	*ret_last = last;
	return 0;
}

int store_install_sync(struct store_install *in, struct err *e)
{
	int fd;

	if (!in->complete)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: the snapshot is not complete");
	(void)mdb_env_get_fd(in->env->env, &fd);
	if (!in->store->no_sync && fdatasync(fd) != 0)
		return err_set_errno(e, errno, "store: sync %s", in->env->path);
	in->synced = true;
	return 0;
}

/* Whether it may take the store's place now. */
static int may_swap(const struct store_install *in, struct err *e)
{
	const struct store *s = in->store;

	if (!in->synced)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: the snapshot is not synced");
	if (s->checkpoint != NULL || (s->checkpoint_failed && !in->rebase))
		return err_set(e, ERR_UNAVAILABLE, "store: a checkpoint is under way");
	if (in->state.index < s->state.index && !in->rebase)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: the member has overtaken the snapshot");
	return 0;
}

/* The checkpoint file that names it could not be written. */
static void swap_failed(struct store_install *in, MDB_txn *pin)
{
	struct store *s = in->store;

	in->env->remove = false;
	if (in->rebase) {
		/* As before: it may be tried again. Should the disk have the new name, the file holds the same state. */
		mdb_txn_abort(pin);
		return;
	}
	/* Which file is in force is unknown now, so neither may change any more. */
	s->checkpoint_failed = true;
	s->failed_pin = pin;
	s->failed_env = in->env;
	ref_get(&in->env->ref);
}

/* It is the store's from here on, pinned as its checkpoint; the old one goes when its last reader has gone. */
static void swap_env(struct store_install *in, MDB_txn *pin)
{
	struct store *s = in->store;
	struct store_env *old = s->env;

	if (s->failed_env != NULL)
		s->failed_env->remove = true;
	store__pins_close(s);
	s->checkpoint_failed = false;
	s->pin = pin;
	s->pin_env = in->env;
	ref_get(&in->env->ref);
	in->env->remove = false;
	old->remove = true;
	pthread_mutex_lock(&s->lock);
	s->env = in->env;
	pthread_mutex_unlock(&s->lock);
	store__env_unref(old);
	in->env = NULL;
}

static int swap_in(struct store_install *in, struct err *e)
{
	struct store *s = in->store;
	struct checkpoint_file file = {
			.generation = in->env->generation,
			.cluster_id = in->state.cluster_id,
			.member_id = s->local.member_id,
			.applied = {in->state.index, in->state.term},
			.revision = in->state.revision,
	};
	MDB_txn *pin;
	int rc;

	ASSERT(!s->in_batch);
	rc = store_settle(s, e);
	/* Going back, what the file at hand holds does not count any more. */
	if (rc != 0 && !in->rebase)
		return rc;
	rc = may_swap(in, e);
	if (rc == 0)
		rc = store__checkpoint_pin(in->env, &pin, &file.meta, &file.page_size, e);
	if (rc != 0)
		return rc;
	rc = store__checkpoint_write(s->dir, &file, s->no_sync, e);
	free(file.meta);
	if (rc != 0) {
		swap_failed(in, pin);
		return rc;
	}
	swap_env(in, pin);
	s->durable = file.applied;
	s->pages_since_checkpoint = 0;
	rc = store__load(s, e);
	store__publish_reset(s);
	return rc;
}

int store_install_finish(struct store_install *in, struct err *e)
{
	int rc = swap_in(in, e);

	store_install_abort(in); /* what is left of it: nothing but the struct when it went well */
	return rc;
}

int store__install_copy(struct store_install *in, struct str chunk, bool *ret_last, struct err *e)
{
	/* The store has gone on meanwhile, so this is older than it. */
	in->copies_self = true;
	return store_install_chunk(in, chunk, ret_last, e);
}

struct store_env *store__install_env(struct store_install *in)
{
	return in->env;
}

void store__install_keep(struct store_install *in)
{
	in->env->remove = false;
}

/* --- Going back to the last checkpoint --------------------------------------------------------------------------- */

bool store_needs_rebase(const struct store *s)
{
	return s->checkpoint_failed;
}

int store_rebase_begin(struct store *s, struct store_install **ret, struct err *e)
{
	struct store_snapshot *from;
	struct store_install *to;
	bool last = false;
	int rc = store__snapshot_open_txn(s->pin_env, s->pin, &from, e);

	if (rc != 0)
		return rc;
	rc = store_install_begin(s, &to, e);
	if (rc != 0) {
		store_snapshot_close(from);
		return rc;
	}
	to->rebase = true;
	for (uint64_t n = 0; rc == 0 && !last; n++) {
		struct buf chunk = BUF_INIT;
		bool made_last;

		rc = store_snapshot_chunk(from, n, &chunk, &made_last, e);
		if (rc == 0)
			rc = store_install_chunk(to, buf_str(&chunk), &last, e);
		buf_fini(&chunk);
	}
	store_snapshot_close(from);
	if (rc == 0)
		rc = store_install_sync(to, e);
	if (rc != 0) {
		store_install_abort(to);
		return rc;
	}
	*ret = to;
	return 0;
}

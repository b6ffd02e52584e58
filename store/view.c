/* Reads on a view: single keys, ranges, counts, the hash. */
#include "store/view.h"

#include "base/crc32c.h"
#include "base/util.h"
#include "store/keys.h"
#include "store/store-priv.h"

int store__rev_check(const struct store_view *v, int64_t *rev)
{
	if (*rev <= 0)
		*rev = v->state.revision;
	if (*rev > v->state.revision)
		return ANSWER_FUTURE_REVISION;
	if (*rev < v->state.compact)
		return ANSWER_COMPACTED;
	return 0;
}

static int get_at(struct store_view *v, struct str key, int64_t rev, struct store_kv *ret, uint32_t *ret_crc, struct err *e)
{
	struct head h;
	int rc = store__head_get(v, key, &h, e);

	return rc ? rc : store__version_at(v, &h, rev, ret, ret_crc, e);
}

int view_get(struct store_view *v, struct str key, int64_t rev, struct store_kv *ret, struct err *e)
{
	struct store_kv kv;
	uint32_t crc;
	int rc = store__answer_err(store__rev_check(v, &rev), e);

	if (rc != 0)
		return rc;
	rc = key.n ? get_at(v, key, rev, &kv, &crc, e) : -ERR_NOT_FOUND;
	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "key \"%.*s\" not found", (int)MIN(key.n, 200u), key.n ? key.p : "");
	if (rc == 0)
		rc = value_check(key, kv.value, crc, e);
	if (rc == 0)
		*ret = kv;
	return store__noted(v, rc, e);
}

/* --- Ranges -------------------------------------------------------------------------------------------- */

enum iter_state { ITER_NEW, ITER_ON, ITER_DONE };

int view_iter_init(struct view_iter *it, struct store_view *v, struct str key, struct str end, int64_t rev, unsigned flags)
{
	*it = (struct view_iter){.view = v, .key = key, .end = end, .rev = rev, .flags = flags, .state = ITER_NEW};
	return 0;
}

void view_iter_fini(struct view_iter *it)
{
	keys_cursor_close(it->cursor);
	it->cursor = NULL;
	it->state = ITER_DONE;
}

static bool to_end(struct str end)
{
	return end.n == 1 && end.p[0] == '\0';
}

/* The single key of a range without an end. */
static int iter_single(struct view_iter *it, struct store_kv *ret, uint32_t *ret_crc, struct err *e)
{
	int rc;

	it->state = ITER_DONE;
	rc = it->key.n ? get_at(it->view, it->key, it->rev, ret, ret_crc, e) : -ERR_NOT_FOUND;
	if (rc == -ERR_NOT_FOUND)
		return 0;
	return rc ? rc : 1;
}

/* The next head in the database, or MDB_NOTFOUND. */
static int iter_step(struct view_iter *it, struct str *ret_piece, MDB_val *ret)
{
	struct keys_cursor *c;
	int rc;

	if (it->state == ITER_ON)
		return keys_cursor_next(it->cursor, ret_piece, ret);
	rc = keys_cursor_open(it->view->env, it->view->txn, &c);
	if (rc != 0)
		return rc;
	it->cursor = c;
	it->state = ITER_ON;
	return keys_cursor_seek(c, it->key, ret_piece, ret);
}

static int iter_scan(struct view_iter *it, struct store_kv *ret, uint32_t *ret_crc, struct err *e)
{
	struct head h;
	struct str piece;
	MDB_val d;
	int rc;

	for (;;) {
		rc = iter_step(it, &piece, &d);
		if (rc == MDB_NOTFOUND)
			return 0;
		if (rc != 0)
			return store__mdb_err(e, rc, "scan keys");
		rc = head_decode(piece, str_of(d.mv_data, d.mv_size), &h, e);
		if (rc != 0)
			return rc;
		if (!to_end(it->end) && str_cmp(h.key, it->end) >= 0)
			return 0;
		rc = store__version_at(it->view, &h, it->rev, ret, ret_crc, e);
		if (rc == 0)
			return 1;
		if (rc != -ERR_NOT_FOUND)
			return rc;
	}
}

int view_iter_next(struct view_iter *it, struct store_kv *ret, struct err *e)
{
	struct store_kv kv;
	uint32_t crc;
	int rc;

	if (it->state == ITER_DONE)
		return 0;
	if (it->state == ITER_NEW) {
		rc = store__answer_err(store__rev_check(it->view, &it->rev), e);
		if (rc != 0)
			return rc;
	}
	rc = it->end.n == 0 ? iter_single(it, &kv, &crc, e) : iter_scan(it, &kv, &crc, e);
	if (rc == 1) {
		if (it->flags & VIEW_KEYS_ONLY)
			kv.value = STR_NULL;
		else
			rc = value_check(kv.key, kv.value, crc, e) ? -ERR_CORRUPT : 1;
	}
	if (rc == 1)
		*ret = kv;
	else
		view_iter_fini(it);
	return store__noted(it->view, rc, e);
}

int view_range(struct store_view *v, struct str key, struct str end, int64_t rev, size_t limit,
		bool (*fn)(void *, const struct store_kv *), void *arg, bool *ret_more, struct err *e)
{
	struct view_iter it;
	struct store_kv kv;
	bool more = false;
	size_t n = 0;
	int rc;

	view_iter_init(&it, v, key, end, rev, 0);
	while ((rc = view_iter_next(&it, &kv, e)) == 1) {
		if (limit != 0 && n == limit) {
			more = true;
			break;
		}
		n++;
		if (!fn(arg, &kv))
			break;
	}
	view_iter_fini(&it);
	if (rc < 0)
		return rc;
	if (ret_more != NULL)
		*ret_more = more;
	return 0;
}

int view_count(struct store_view *v, struct str key, struct str end, int64_t rev, int64_t *ret, struct err *e)
{
	struct view_iter it;
	struct store_kv kv;
	int64_t n = 0;
	int rc;

	view_iter_init(&it, v, key, end, rev, VIEW_KEYS_ONLY);
	while ((rc = view_iter_next(&it, &kv, e)) == 1)
		n++;
	view_iter_fini(&it);
	if (rc == 0)
		*ret = n;
	return rc;
}

/* --- The hash of what can be read ------------------------------------------------------------------------ */

/* One version, independent of where in the database it stands. */
static uint64_t version_hash(struct str key, struct rev at, bool deleted, const struct store_kv *kv, uint32_t value_crc)
{
	uint8_t fixed[8 * 6];
	uint64_t h;

	put_le64(fixed, (uint64_t)at.main);
	put_le64(fixed + 8, (uint64_t)at.sub << 1 | deleted);
	put_le64(fixed + 16, deleted ? 0 : (uint64_t)kv->create_revision);
	put_le64(fixed + 24, deleted ? 0 : (uint64_t)kv->version);
	put_le64(fixed + 32, deleted ? 0 : (uint64_t)kv->lease);
	put_le64(fixed + 40, deleted ? 0 : (uint64_t)value_crc);
	h = (uint64_t)crc32c(0, fixed, sizeof(fixed)) << 32;
	h |= crc32c(crc32c(0x5bd1e995, key.p, key.n), fixed, sizeof(fixed));
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	return h;
}

static int hash_change(struct str key, const struct change *c, uint64_t *sum, struct err *e)
{
	struct store_kv kv = {.create_revision = c->create, .version = c->version, .lease = c->lease};
	int rc = value_check(key, c->value, c->value_crc, e);

	if (rc == 0)
		*sum += version_hash(key, c->at, c->deleted, &kv, c->value_crc);
	return rc;
}

/* The version before a change above the compacted revision: if it is not above, it is what was in force there. */
static int hash_in_force(struct store_view *v, const struct change *c, uint64_t *sum, struct err *e)
{
	struct change before;
	int rc;

	if (c->prev.main == 0 || c->prev.main > v->state.compact)
		return 0;
	rc = store__change_get(v, c->prev, &before, e);
	if (rc == -ERR_NOT_FOUND && c->prev.main < v->state.compact)
		return 0;
	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_CORRUPT, "store: the change at the compacted revision is missing");
	if (rc != 0 || before.deleted)
		return rc;
	return hash_change(c->key, &before, sum, e);
}

/* Versions in the log: all of (compact, rev], and below that the ones that were superseded later. */
static int hash_log(struct store_view *v, int64_t rev, uint64_t *sum, struct err *e)
{
	uint8_t key[REV_KEY_SIZE];
	struct change c;
	MDB_cursor *cur;
	MDB_val k = {sizeof(key), key}, d;
	int rc = mdb_cursor_open(v->txn, v->env->dbi[DB_LOG], &cur);

	if (rc != 0)
		return store__mdb_err(e, rc, "hash the log");
	rev_key((struct rev){MAX(v->state.compact + 1, 0), 0}, key);
	for (rc = mdb_cursor_get(cur, &k, &d, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(cur, &k, &d, MDB_NEXT)) {
		rc = change_decode(rev_from_key(k.mv_data), str_of(d.mv_data, d.mv_size), &c, e);
		if (rc == 0 && c.at.main <= rev)
			rc = hash_change(c.key, &c, sum, e);
		if (rc == 0)
			rc = hash_in_force(v, &c, sum, e);
		if (rc != 0)
			goto out;
	}
	rc = rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "hash the log");
out:
	mdb_cursor_close(cur);
	return rc;
}

/* Live heads at or below the compacted revision. */
static int hash_heads(struct store_view *v, uint64_t *sum, struct err *e)
{
	struct keys_cursor *cur;
	struct store_kv kv;
	struct str piece;
	struct head h;
	MDB_val d;
	int rc = keys_cursor_open(v->env, v->txn, &cur);

	if (rc != 0)
		return store__mdb_err(e, rc, "hash the keys");
	for (rc = keys_cursor_seek(cur, STR(""), &piece, &d); rc == 0; rc = keys_cursor_next(cur, &piece, &d)) {
		rc = head_decode(piece, str_of(d.mv_data, d.mv_size), &h, e);
		if (rc != 0)
			goto out;
		if (h.deleted || h.mod.main > v->state.compact)
			continue;
		rc = value_check(h.key, h.value, h.value_crc, e);
		if (rc != 0)
			goto out;
		kv = (struct store_kv){.create_revision = h.create, .version = h.version, .lease = h.lease};
		*sum += version_hash(h.key, h.mod, false, &kv, h.value_crc);
	}
	rc = rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "hash the keys");
out:
	keys_cursor_close(cur);
	return rc;
}

int view_hash(struct store_view *v, int64_t rev, uint64_t *ret_hash, int64_t *ret_rev, int64_t *ret_compact_rev,
		struct err *e)
{
	uint64_t sum = 0;
	int rc = store__answer_err(store__rev_check(v, &rev), e);

	if (rc == 0)
		rc = hash_log(v, rev, &sum, e);
	if (rc == 0)
		rc = hash_heads(v, &sum, e);
	if (rc != 0)
		return store__noted(v, rc, e);
	*ret_hash = sum;
	*ret_rev = rev;
	*ret_compact_rev = v->state.compact;
	return 0;
}

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/keys.h"
#include "store/store-priv.h"

/* --- Reading ------------------------------------------------------------------------------------------- */

int store__head_get(struct store_view *v, struct str key, struct head *ret, struct err *e)
{
	MDB_val d;
	int rc = keys_get(v->env, v->txn, key, &d);

	if (rc == MDB_NOTFOUND)
		return -ERR_NOT_FOUND;
	if (rc != 0)
		return store__mdb_err(e, rc, "read a key");
	return head_decode(key, str_of(d.mv_data, d.mv_size), ret, e);
}

int store__change_get(struct store_view *v, struct rev at, struct change *ret, struct err *e)
{
	uint8_t key[REV_KEY_SIZE];
	MDB_val k = {sizeof(key), key}, d;
	int rc;

	rev_key(at, key);
	rc = mdb_get(v->txn, v->env->dbi[DB_LOG], &k, &d);
	if (rc == MDB_NOTFOUND)
		return -ERR_NOT_FOUND;
	if (rc != 0)
		return store__mdb_err(e, rc, "read the log");
	return change_decode(at, str_of(d.mv_data, d.mv_size), ret, e);
}

static void kv_of_head(const struct head *h, struct store_kv *ret)
{
	*ret = (struct store_kv){
			.key = h->key,
			.value = h->value,
			.create_revision = h->create,
			.mod_revision = h->mod.main,
			.version = h->version,
			.lease = h->lease,
	};
}

static void kv_of_change(const struct change *c, struct store_kv *ret)
{
	*ret = (struct store_kv){
			.key = c->key,
			.value = c->value,
			.create_revision = c->create,
			.mod_revision = c->at.main,
			.version = c->version,
			.lease = c->lease,
	};
}

static int log_gap(struct rev at, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "store: the change at revision %" PRId64 ".%" PRIu32 " is missing from the log", at.main,
			at.sub);
}

/*
 * From the head back along the log. Compaction may have removed a version that nobody can ask for: then the key had no
 * value that counts. A gap above the compacted revision is damage.
 */
int store__version_at(struct store_view *v, const struct head *h, int64_t rev, struct store_kv *ret, uint32_t *ret_crc,
		struct err *e)
{
	struct rev at = h->mod;
	struct change c;
	int rc;

	if (at.main <= rev) {
		if (h->deleted)
			return -ERR_NOT_FOUND;
		kv_of_head(h, ret);
		*ret_crc = h->value_crc;
		return 0;
	}
	for (;;) {
		rc = store__change_get(v, at, &c, e);
		if (rc == -ERR_NOT_FOUND)
			return at.main < v->state.compact ? rc : log_gap(at, e);
		if (rc != 0)
			return rc;
		if (at.main <= rev)
			break;
		at = c.prev;
		if (at.main == 0)
			return -ERR_NOT_FOUND;
	}
	if (c.deleted)
		return -ERR_NOT_FOUND;
	kv_of_change(&c, ret);
	*ret_crc = c.value_crc;
	return 0;
}

int store__event_of(struct store_view *v, const struct change *c, struct store_kv *ret, bool *ret_has_prev,
		struct store_kv *ret_prev, struct err *e)
{
	struct change before;
	int rc = value_check(c->key, c->value, c->value_crc, e);

	*ret_has_prev = false;
	kv_of_change(c, ret);
	if (rc != 0 || c->prev.main == 0)
		return rc;
	rc = store__change_get(v, c->prev, &before, e);
	if (rc == -ERR_NOT_FOUND)
		return c->prev.main < v->state.compact ? 0 : log_gap(c->prev, e);
	if (rc != 0 || before.deleted)
		return rc;
	*ret_has_prev = true;
	kv_of_change(&before, ret_prev);
	return value_check(before.key, before.value, before.value_crc, e);
}

/* --- Writing ------------------------------------------------------------------------------------------- */

static int log_put(struct store *s, const struct change *c, unsigned flags, struct err *e)
{
	uint8_t key[REV_KEY_SIZE];
	MDB_val k = {sizeof(key), key}, d = {change_size(c), NULL};
	int rc;

	rev_key(c->at, key);
	rc = mdb_cursor_put(s->log_cursor, &k, &d, MDB_RESERVE | flags);
	if (rc != 0)
		return store__mdb_err(e, rc, "write the log");
	change_encode(c, d.mv_data);
	return 0;
}

static int head_put(struct store *s, const struct head *h, struct err *e)
{
	struct store_view *w = &s->writer;
	MDB_val k = {h->key.n, (void *)(uintptr_t)h->key.p}, d = {head_size(h), NULL};
	int rc;

	if (keys_is_long(h->key))
		rc = keys_reserve(w->env, w->txn, h->key, d.mv_size, &w->state.next_node, &d.mv_data);
	else
		rc = mdb_cursor_put(s->key_cursor, &k, &d, MDB_RESERVE);
	if (rc != 0)
		return store__mdb_err(e, rc, "write a key");
	head_encode(h, d.mv_data);
	return 0;
}

/* The head as it is; the cursor stays there for head_put. */
static int head_find(struct store *s, struct str key, struct head *ret, struct err *e)
{
	MDB_val k = {key.n, (void *)(uintptr_t)key.p}, d;
	int rc;

	if (keys_is_long(key))
		return store__head_get(&s->writer, key, ret, e);
	rc = mdb_cursor_get(s->key_cursor, &k, &d, MDB_SET);
	if (rc == MDB_NOTFOUND)
		return -ERR_NOT_FOUND;
	if (rc != 0)
		return store__mdb_err(e, rc, "read a key");
	return head_decode(key, str_of(d.mv_data, d.mv_size), ret, e);
}

static void lease_key(int64_t lease, struct rev at, uint8_t out[8 + REV_KEY_SIZE])
{
	put_be64(out, (uint64_t)lease);
	rev_key(at, out + 8);
}

static int lease_attach(struct store_view *w, int64_t lease, struct rev at, struct str key, struct err *e)
{
	uint8_t lk[8 + REV_KEY_SIZE];
	MDB_val k = {sizeof(lk), lk}, d = {key.n + 4, NULL};
	int rc;

	lease_key(lease, at, lk);
	rc = mdb_put(w->txn, w->env->dbi[DB_LEASEKEY], &k, &d, MDB_RESERVE);
	if (rc != 0)
		return store__mdb_err(e, rc, "attach a key to a lease");
	put_le32(d.mv_data, crc32c(crc32c(0, lk, sizeof(lk)), key.p, key.n));
	memcpy((uint8_t *)d.mv_data + 4, key.p, key.n);
	return 0;
}

static int lease_detach(struct store_view *w, int64_t lease, struct rev at, struct err *e)
{
	uint8_t lk[8 + REV_KEY_SIZE];
	MDB_val k = {sizeof(lk), lk};
	int rc;

	lease_key(lease, at, lk);
	rc = mdb_del(w->txn, w->env->dbi[DB_LEASEKEY], &k, NULL);
	return rc ? store__mdb_err(e, rc, "detach a key from a lease") : 0;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h ^= v + 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2);
	h ^= h >> 30;
	h *= 0xbf58476d1ce4e5b9ULL;
	h ^= h >> 27;
	h *= 0x94d049bb133111ebULL;
	return h ^ (h >> 31);
}

static void hash_change(struct store_state *st, const struct head *h)
{
	uint64_t v = st->hash;

	v = mix(v, (uint64_t)h->mod.main);
	v = mix(v, (uint64_t)h->mod.sub << 1 | h->deleted);
	v = mix(v, crc32c(0, h->key.p, h->key.n));
	v = mix(v, h->value_crc | (uint64_t)h->value.n << 32);
	st->hash = mix(v, (uint64_t)h->lease);
}

static struct rev next_rev(struct store *s)
{
	if (!s->changed) {
		s->changed = true;
		s->sub = 0;
		s->writer.state.revision++;
	}
	return (struct rev){s->writer.state.revision, s->sub++};
}

int store_bump_check(int64_t revision, int64_t by, struct err *e)
{
	/* The half of what there is: the largest one that a backup is read with. */
	if (by >= 0 && by <= INT64_MAX / 2 - revision)
		return 0;
	return err_set(e, ERR_INVALID, "revision %" PRId64 " cannot be raised by %" PRId64 ": give a number from 0 to %" PRId64, revision, by,
			INT64_MAX / 2 - revision);
}

int store_bump_revision(struct store *s, int64_t by, struct err *e)
{
	struct store_state *st = &s->writer.state;
	int rc = store_bump_check(st->revision, by, e);

	ASSERT(s->in_batch);
	if (rc != 0 || by == 0)
		return rc;
	st->revision += by;
	st->compact = st->revision;
	s->local.cursor = REV_NONE;
	/* Members that were raised by different numbers are different. */
	st->hash = mix(st->hash, (uint64_t)st->revision);
	return 0;
}

/*
 * The change of a live head goes with compaction, because its value is in the head. When that head is superseded the change
 * is made again: reads at the compacted revision need it, and it is the previous value of the event to come.
 */
static int keep_old(struct store *s, const struct head *old, struct err *e)
{
	struct change c;
	int rc;

	if (old->deleted || old->mod.main >= s->writer.state.compact)
		return 0;
	rc = store__change_get(&s->writer, old->mod, &c, e);
	if (rc != -ERR_NOT_FOUND)
		return rc;
	rc = value_check(old->key, old->value, old->value_crc, e);
	if (rc != 0)
		return rc;
	c = (struct change){
			.key = old->key,
			.at = old->mod,
			.create = old->create,
			.version = old->version,
			.lease = old->lease,
			.value = arena_str(&s->arena, old->value),
			.value_crc = old->value_crc,
	};
	return log_put(s, &c, 0, e);
}

/* A large value stands on pages of its own, in both places. */
#define INLINE_MAX 2000

static void count_write(struct store *s, const struct head *h)
{
	size_t n = h->key.n + h->value.n;

	s->batch_bytes += n * 2 + 200;
	s->batch_writes++;
	s->batch_appended += n > INLINE_MAX ? 2 * (n + 4096) : n + 100;
}

/* What the hubs will tell. Before anything is written: `old` points into the database. */
static int note_event(struct store *s, const struct head *h, const struct head *old, struct err *e)
{
	struct store_kv kv, prev;
	int rc;

	if (!s->collect)
		return 0;
	kv_of_head(h, &kv);
	if (old == NULL) {
		store__event(s, h->deleted, &kv, NULL, h->mod);
		return 0;
	}
	rc = value_check(old->key, old->value, old->value_crc, e);
	if (rc != 0)
		return rc;
	kv_of_head(old, &prev);
	store__event(s, h->deleted, &kv, &prev, h->mod);
	return 0;
}

/* `h` has key, value, lease or deleted; `old` is the head as it is, NULL if there is none. */
static int write_version(struct store *s, struct head *h, const struct head *old, struct err *e)
{
	struct store_view *w = &s->writer;
	bool was_live = old != NULL && !old->deleted;
	int64_t old_lease = was_live ? old->lease : 0;
	struct rev prev = old ? old->mod : REV_NONE;
	struct change c;
	int rc;

	h->mod = next_rev(s);
	if (!h->deleted) {
		h->create = was_live ? old->create : h->mod.main;
		h->version = was_live ? old->version + 1 : 1;
	}
	h->key_inside = keys_is_long(h->key);
	h->value_crc = value_crc_of(h->value);
	c = (struct change){
			.key = h->key,
			.deleted = h->deleted,
			.at = h->mod,
			.prev = prev,
			.create = h->create,
			.version = h->version,
			.lease = h->lease,
			.value = h->value,
			.value_crc = h->value_crc,
	};
	rc = note_event(s, h, was_live ? old : NULL, e);
	if (rc == 0 && old != NULL)
		rc = keep_old(s, old, e);
	/* From here on `old` may point nowhere. */
	if (rc == 0)
		rc = log_put(s, &c, MDB_APPEND, e);
	if (rc == 0)
		rc = head_put(s, h, e);
	if (rc == 0 && old_lease != 0)
		rc = lease_detach(w, old_lease, prev, e);
	if (rc == 0 && h->lease != 0)
		rc = lease_attach(w, h->lease, h->mod, h->key, e);
	if (rc != 0)
		return rc;
	hash_change(&w->state, h);
	count_write(s, h);
	return 0;
}

int store__put(struct store *s, struct str key, struct str value, int64_t lease, struct err *e)
{
	struct head h = {.key = key, .value = value, .lease = lease}, old;
	int rc = head_find(s, key, &old, e);

	if (rc != 0 && rc != -ERR_NOT_FOUND)
		return rc;
	old.key = key;
	return write_version(s, &h, rc == 0 ? &old : NULL, e);
}

int store__delete(struct store *s, struct str key, struct err *e)
{
	struct head h = {.key = key, .deleted = true}, old;
	int rc = store__head_get(&s->writer, key, &old, e);

	if (rc == 0 && old.deleted)
		rc = -ERR_NOT_FOUND;
	if (rc != 0)
		return rc;
	old.key = key;
	return write_version(s, &h, &old, e);
}

int store__import_version(struct store *s, struct rev at, bool tombstone, const struct store_kv *kv, struct err *e)
{
	struct store_view *w = &s->writer;
	struct head h = {.key = kv->key, .deleted = tombstone, .mod = at, .key_inside = keys_is_long(kv->key)}, old;
	int64_t ttl, remaining, old_lease;
	struct change c;
	bool had;
	int rc = store__head_get(w, kv->key, &old, e);

	if (rc != 0 && rc != -ERR_NOT_FOUND)
		return rc;
	had = rc == 0;
	old_lease = had && !old.deleted ? old.lease : 0;
	c = (struct change){.key = kv->key, .deleted = tombstone, .at = at, .prev = had ? old.mod : REV_NONE};
	if (!tombstone) {
		h.value = c.value = kv->value;
		h.create = c.create = kv->create_revision;
		h.version = c.version = kv->version;
		rc = kv->lease ? store__lease_record_get(w, kv->lease, &ttl, &remaining, e) : -ERR_NOT_FOUND;
		if (rc != 0 && rc != -ERR_NOT_FOUND)
			return rc;
		h.lease = c.lease = rc == 0 ? kv->lease : 0;
	}
	h.value_crc = c.value_crc = value_crc_of(h.value);
	/* From here on `old` may point nowhere. */
	w->state.revision = at.main;
	rc = log_put(s, &c, MDB_APPEND, e);
	if (rc == 0)
		rc = head_put(s, &h, e);
	if (rc == 0 && old_lease != 0)
		rc = lease_detach(w, old_lease, c.prev, e);
	if (rc == 0 && h.lease != 0)
		rc = lease_attach(w, h.lease, at, h.key, e);
	if (rc != 0)
		return rc;
	hash_change(&w->state, &h);
	count_write(s, &h);
	return 0;
}

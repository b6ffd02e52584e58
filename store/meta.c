/*
 * DB_MAIN: the record "state". DB_META: the record "local", alarms "a/" + type + member, blobs "r/NAME" (replicated) and "l/NAME"
 * (local), and what auth.c keeps. DB_LEASE: id -> {ttl, remaining}. Every record begins with a CRC-32C over its key and the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/store-priv.h"

#define BLOB_NAME_MAX 64
#define BLOB_MAX (1u << 20)

static MDB_val val(struct str s)
{
	return (MDB_val){s.n, (void *)s.p};
}

/* Write `body` behind its checksum. */
static int record_put(struct store_env *env, MDB_txn *txn, enum store_db db, struct str key, struct str body, struct err *e)
{
	MDB_val k = val(key), v = {body.n + 4, NULL};
	uint32_t crc = crc32c(crc32c(0, key.p, key.n), body.p, body.n);
	int rc = mdb_put(txn, env->dbi[db], &k, &v, MDB_RESERVE);

	if (rc != 0)
		return store__mdb_err(e, rc, "write a record");
	put_le32(v.mv_data, crc);
	if (body.n)
		memcpy((uint8_t *)v.mv_data + 4, body.p, body.n);
	return 0;
}

int store__body_check(struct str key, MDB_val v, struct str *ret_body, struct err *e)
{
	const uint8_t *p = v.mv_data;

	if (v.mv_size < 4 || crc32c(crc32c(0, key.p, key.n), p + 4, v.mv_size - 4) != get_le32(p))
		return err_set(e, ERR_CORRUPT, "store: a record of %zu bytes does not match its checksum", v.mv_size);
	*ret_body = str_of(p + 4, v.mv_size - 4);
	return 0;
}

/* ERR_NOT_FOUND silently. */
static int record_get(struct store_env *env, MDB_txn *txn, enum store_db db, struct str key, struct str *ret, struct err *e)
{
	MDB_val k = val(key), v;
	int rc = mdb_get(txn, env->dbi[db], &k, &v);

	if (rc == MDB_NOTFOUND)
		return -ERR_NOT_FOUND;
	if (rc != 0)
		return store__mdb_err(e, rc, "read a record");
	return store__body_check(key, v, ret, e);
}

/* --- state and local ---------------------------------------------------------------------------------- */

enum {
	S_FORMAT = 0,
	S_FLAGS = 4,
	S_CLUSTER = 8,
	S_INDEX = 16,
	S_TERM = 24,
	S_REVISION = 32,
	S_COMPACT = 40,
	S_HASH = 48,
	S_NODE = 56,
	S_SIZE = STATE_SIZE,
};
enum { S_NOSPACE = 1, S_CORRUPT = 2, S_AUTH = 4 };

enum { L_MEMBER = 0, L_COMPACTED = 8, L_CURSOR = 16, L_SIZE = 16 + REV_KEY_SIZE };

int store__state_decode(struct str b, struct store_state *ret, struct err *e)
{
	const uint8_t *p = (const uint8_t *)b.p;

	if (b.n < S_SIZE)
		return err_set(e, ERR_CORRUPT, "store: the state record has %zu bytes", b.n);
	if (get_le32(p + S_FORMAT) > STORE_FORMAT)
		return err_set(e, ERR_FAILED_PRECONDITION, "store: the data has format %u, this program knows up to %u",
				get_le32(p + S_FORMAT), STORE_FORMAT);
	*ret = (struct store_state){
			.cluster_id = get_le64(p + S_CLUSTER),
			.index = get_le64(p + S_INDEX),
			.term = get_le64(p + S_TERM),
			.revision = (int64_t)get_le64(p + S_REVISION),
			.compact = (int64_t)get_le64(p + S_COMPACT),
			.hash = get_le64(p + S_HASH),
			.next_node = get_le64(p + S_NODE),
			.nospace = (get_le32(p + S_FLAGS) & S_NOSPACE) != 0,
			.corrupt = (get_le32(p + S_FLAGS) & S_CORRUPT) != 0,
			.auth = (get_le32(p + S_FLAGS) & S_AUTH) != 0,
	};
	return 0;
}

void store__state_encode(const struct store_state *st, uint8_t p[STATE_SIZE])
{
	put_le32(p + S_FORMAT, STORE_FORMAT);
	put_le32(p + S_FLAGS, (st->nospace ? S_NOSPACE : 0) | (st->corrupt ? S_CORRUPT : 0) | (st->auth ? S_AUTH : 0));
	put_le64(p + S_CLUSTER, st->cluster_id);
	put_le64(p + S_INDEX, st->index);
	put_le64(p + S_TERM, st->term);
	put_le64(p + S_REVISION, (uint64_t)st->revision);
	put_le64(p + S_COMPACT, (uint64_t)st->compact);
	put_le64(p + S_HASH, st->hash);
	put_le64(p + S_NODE, st->next_node);
}

int store__state_load(struct store_env *env, MDB_txn *txn, struct store_state *ret, struct store_local *ret_local,
		struct err *e)
{
	const uint8_t *p;
	struct str b;
	int rc = record_get(env, txn, DB_MAIN, STR("state"), &b, e);

	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_CORRUPT, "store: the database has no state record");
	if (rc == 0)
		rc = store__state_decode(b, ret, e);
	if (rc == 0)
		rc = record_get(env, txn, DB_META, STR("local"), &b, e);
	if (rc == 0 && b.n < L_SIZE)
		rc = -ERR_NOT_FOUND;
	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_CORRUPT, "store: the database has no record of its member");
	if (rc != 0)
		return rc;
	p = (const uint8_t *)b.p;
	ret_local->member_id = get_le64(p + L_MEMBER);
	ret_local->compacted = (int64_t)get_le64(p + L_COMPACTED);
	ret_local->cursor = rev_from_key(p + L_CURSOR);
	return 0;
}

int store__state_save(struct store_env *env, MDB_txn *txn, const struct store_state *st, struct err *e)
{
	uint8_t p[STATE_SIZE];

	store__state_encode(st, p);
	return record_put(env, txn, DB_MAIN, STR("state"), str_of(p, sizeof(p)), e);
}

int store__local_save(struct store_env *env, MDB_txn *txn, const struct store_local *l, struct err *e)
{
	uint8_t p[L_SIZE];

	put_le64(p + L_MEMBER, l->member_id);
	put_le64(p + L_COMPACTED, (uint64_t)l->compacted);
	rev_key(l->cursor, p + L_CURSOR);
	return record_put(env, txn, DB_META, STR("local"), str_of(p, sizeof(p)), e);
}

bool store__meta_is_replicated(struct str key)
{
	return !str_eqc(key, "local") && !str_has_prefix(key, STR("l/"));
}

/* --- other records -------------------------------------------------------------------------------------- */

int store__meta_get(struct store_view *v, struct str key, struct str *ret, struct err *e)
{
	return record_get(v->env, v->txn, DB_META, key, ret, e);
}

int store__meta_put(struct store_view *w, struct str key, struct str body, struct err *e)
{
	return record_put(w->env, w->txn, DB_META, key, body, e);
}

int store__meta_del(struct store_view *w, struct str key, struct err *e)
{
	MDB_val k = val(key);
	int rc = mdb_del(w->txn, w->env->dbi[DB_META], &k, NULL);

	return rc ? store__mdb_err(e, rc, "delete a record") : 0;
}

int store__meta_scan(struct store_view *v, struct str prefix, bool (*fn)(void *, struct str, struct str), void *arg,
		struct err *e)
{
	MDB_val k = val(prefix), d;
	MDB_cursor *c;
	struct str key, body;
	int rc = mdb_cursor_open(v->txn, v->env->dbi[DB_META], &c);

	if (rc != 0)
		return store__mdb_err(e, rc, "read records");
	for (rc = mdb_cursor_get(c, &k, &d, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) {
		key = str_of(k.mv_data, k.mv_size);
		if (!str_has_prefix(key, prefix))
			break;
		rc = store__body_check(key, d, &body, e);
		if (rc != 0) {
			mdb_cursor_close(c);
			return rc;
		}
		if (!fn(arg, str_skip(key, prefix.n), body))
			break;
	}
	mdb_cursor_close(c);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "read records");
}

/* --- alarms --------------------------------------------------------------------------------------------- */

#define ALARM_KEY_SIZE 11

int store__alarm_set(struct store_view *w, uint64_t member, int type, bool on, bool *ret_changed, struct err *e)
{
	uint8_t key[ALARM_KEY_SIZE] = {'a', '/', (uint8_t)type};
	struct str k = str_of(key, sizeof(key)), body;
	MDB_val mk = val(k);
	int rc;

	put_be64(key + 3, member);
	rc = record_get(w->env, w->txn, DB_META, k, &body, e);
	if (rc != 0 && rc != -ERR_NOT_FOUND)
		return rc;
	*ret_changed = on == (rc != 0);
	if (!*ret_changed)
		return 0;
	if (on)
		return record_put(w->env, w->txn, DB_META, k, STR(""), e);
	rc = mdb_del(w->txn, w->env->dbi[DB_META], &mk, NULL);
	return rc ? store__mdb_err(e, rc, "delete an alarm") : 0;
}

int view_alarms(struct store_view *v, bool (*fn)(void *, uint64_t, int), void *arg, struct err *e)
{
	MDB_val k = {2, (void *)"a/"}, d;
	MDB_cursor *c;
	int rc = mdb_cursor_open(v->txn, v->env->dbi[DB_META], &c);

	if (rc != 0)
		return store__mdb_err(e, rc, "read the alarms");
	for (rc = mdb_cursor_get(c, &k, &d, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) {
		const uint8_t *p = k.mv_data;

		if (k.mv_size != ALARM_KEY_SIZE || memcmp(p, "a/", 2) != 0 || !fn(arg, get_be64(p + 3), p[2]))
			break;
	}
	mdb_cursor_close(c);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "read the alarms");
}

/* --- blobs ---------------------------------------------------------------------------------------------- */

static struct str blob_key(bool replicated, const char *name, char *out)
{
	size_t n = strlen(name);

	ASSERT(n <= BLOB_NAME_MAX);
	memcpy(out, replicated ? "r/" : "l/", 2);
	memcpy(out + 2, name, n);
	return str_of(out, n + 2);
}

int store__blob_put(struct store_view *w, bool replicated, const char *name, struct str value, struct err *e)
{
	char key[BLOB_NAME_MAX + 2];

	if (value.n > BLOB_MAX)
		return err_set(e, ERR_TOO_LARGE, "store: blob %s of %zu bytes is over the limit of %u", name, value.n, BLOB_MAX);
	return record_put(w->env, w->txn, DB_META, blob_key(replicated, name, key), value, e);
}

int store__blob_get(struct store_view *v, bool replicated, const char *name, struct buf *value, struct err *e)
{
	char key[BLOB_NAME_MAX + 2];
	struct str body;
	int rc = record_get(v->env, v->txn, DB_META, blob_key(replicated, name, key), &body, e);

	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "store: no blob %s", name);
	if (rc != 0)
		return rc;
	buf_adds(value, body);
	return 0;
}

/* --- leases --------------------------------------------------------------------------------------------- */

int store__lease_record_get(struct store_view *v, int64_t id, int64_t *ret_ttl, int64_t *ret_remaining, struct err *e)
{
	uint8_t key[8];
	struct str b;
	int rc;

	put_be64(key, (uint64_t)id);
	rc = record_get(v->env, v->txn, DB_LEASE, str_of(key, 8), &b, e);
	if (rc != 0)
		return rc;
	if (b.n < 16)
		return err_set(e, ERR_CORRUPT, "store: the record of lease %016llx is too short", (unsigned long long)id);
	*ret_ttl = (int64_t)get_le64((const uint8_t *)b.p);
	*ret_remaining = (int64_t)get_le64((const uint8_t *)b.p + 8);
	return 0;
}

int store__lease_record_put(struct store_view *w, int64_t id, int64_t ttl, int64_t remaining, struct err *e)
{
	uint8_t key[8], body[16];

	put_be64(key, (uint64_t)id);
	put_le64(body, (uint64_t)ttl);
	put_le64(body + 8, (uint64_t)remaining);
	return record_put(w->env, w->txn, DB_LEASE, str_of(key, 8), str_of(body, 16), e);
}

int store__lease_record_del(struct store_view *w, int64_t id, struct err *e)
{
	uint8_t key[8];
	MDB_val k = {8, key};
	int rc;

	put_be64(key, (uint64_t)id);
	rc = mdb_del(w->txn, w->env->dbi[DB_LEASE], &k, NULL);
	return rc ? store__mdb_err(e, rc, "delete a lease") : 0;
}

int store__lease_records(struct store_view *v, bool (*fn)(void *, int64_t, int64_t, int64_t), void *arg, struct err *e)
{
	MDB_cursor *c;
	MDB_val k, d;
	struct str b;
	int rc = mdb_cursor_open(v->txn, v->env->dbi[DB_LEASE], &c);

	if (rc != 0)
		return store__mdb_err(e, rc, "read the leases");
	while ((rc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) == 0) {
		rc = store__body_check(str_of(k.mv_data, k.mv_size), d, &b, e);
		if (rc == 0 && (k.mv_size != 8 || b.n < 16))
			rc = err_set(e, ERR_CORRUPT, "store: a lease record has %zu bytes", b.n);
		if (rc != 0) {
			mdb_cursor_close(c);
			return rc;
		}
		if (!fn(arg, (int64_t)get_be64(k.mv_data), (int64_t)get_le64((const uint8_t *)b.p),
				    (int64_t)get_le64((const uint8_t *)b.p + 8)))
			break;
	}
	mdb_cursor_close(c);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "read the leases");
}

struct lease_fn {
	bool (*fn)(void *, const struct store_lease *);
	void *arg;
};

static bool one_lease(void *arg, int64_t id, int64_t ttl, int64_t remaining)
{
	struct lease_fn *f = arg;

	return f->fn(f->arg, &(struct store_lease){id, ttl});
}

int view_leases(struct store_view *v, bool (*fn)(void *, const struct store_lease *), void *arg, struct err *e)
{
	struct lease_fn f = {fn, arg};

	return store__lease_records(v, one_lease, &f, e);
}

int view_lease_get(struct store_view *v, int64_t id, struct store_lease *ret, struct err *e)
{
	int64_t ttl, remaining;
	int rc = store__lease_record_get(v, id, &ttl, &remaining, e);

	if (rc == -ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "etcdserver: requested lease not found");
	if (rc == 0)
		*ret = (struct store_lease){id, ttl};
	return rc;
}

int view_lease_keys(struct store_view *v, int64_t id, bool (*fn)(void *, struct str), void *arg, struct err *e)
{
	uint8_t prefix[8];
	MDB_val k = {8, prefix}, d;
	MDB_cursor *c;
	struct str key;
	int rc = mdb_cursor_open(v->txn, v->env->dbi[DB_LEASEKEY], &c);

	if (rc != 0)
		return store__mdb_err(e, rc, "read the keys of a lease");
	put_be64(prefix, (uint64_t)id);
	for (rc = mdb_cursor_get(c, &k, &d, MDB_SET_RANGE); rc == 0; rc = mdb_cursor_get(c, &k, &d, MDB_NEXT)) {
		if (k.mv_size != 8 + REV_KEY_SIZE || memcmp(k.mv_data, prefix, 8) != 0)
			break;
		rc = store__body_check(str_of(k.mv_data, k.mv_size), d, &key, e);
		if (rc != 0) {
			mdb_cursor_close(c);
			return rc;
		}
		if (!fn(arg, key))
			break;
	}
	mdb_cursor_close(c);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "read the keys of a lease");
}

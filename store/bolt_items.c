/*
 * The state as the items of etcd's buckets, in the order of their keys. All but the keys are few and are made at once. The keys
 * are the log in its order, together with those live heads whose change compaction has taken out of the log.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/pb.h"
#include "store/auth-priv.h"
#include "store/bolt-priv.h"
#include "store/keys.h"
#include "store/wire.h"

const char *const bolt__buckets[BOLT_N_BUCKETS] = {
		[BOLT_ALARM] = "alarm",
		[BOLT_AUTH] = "auth",
		[BOLT_AUTH_ROLES] = "authRoles",
		[BOLT_AUTH_USERS] = "authUsers",
		[BOLT_CLUSTER] = "cluster",
		[BOLT_KEY] = "key",
		[BOLT_LEASE] = "lease",
		[BOLT_MEMBERS] = "members",
		[BOLT_MEMBERS_REMOVED] = "members_removed",
		[BOLT_METADATA] = "meta",
};

/* A head that is not in the log, by its place in the file, which does not move under a view. */
struct lone_head {
	struct rev at;
	struct str piece, bytes;
};

struct few {
	struct bolt_item *v;
	size_t n, cap;
};

struct bolt_items {
	struct store_view *view;
	struct arena arena;
	struct few few[BOLT_N_BUCKETS];
	struct lone_head *lone;
	size_t n_lone, cap_lone;
	/* Where it is. */
	enum bolt_bucket bucket;
	size_t at;
	MDB_cursor *log;
	bool log_ended;
	struct change change; /* the next one of the log */
	struct buf key, value;
};

/* --- The few ------------------------------------------------------------------------------------------------------- */

static void push(struct bolt_items *it, enum bolt_bucket bucket, struct str key, struct str value)
{
	struct few *f = &it->few[bucket];

	if (f->n == f->cap) {
		f->v = arena_grow(&it->arena, f->v, f->cap * sizeof(*f->v), (f->cap * 2 + 8) * sizeof(*f->v));
		f->cap = f->cap * 2 + 8;
	}
	f->v[f->n++] = (struct bolt_item){arena_str(&it->arena, key), arena_str(&it->arena, value)};
}

static void push_number(struct bolt_items *it, enum bolt_bucket bucket, const char *key, uint64_t v)
{
	uint8_t be[8];

	put_be64(be, v);
	push(it, bucket, str_from(key), str_of(be, sizeof(be)));
}

#define REV_BYTES 17
/* etcd's: main, '_', sub; a tombstone has a 't' behind it. */
static void rev_bytes(struct rev at, uint8_t out[REV_BYTES])
{
	put_be64(out, (uint64_t)at.main);
	out[8] = '_';
	put_be64(out + 9, at.sub);
}

static bool add_alarm(void *arg, uint64_t member, int type)
{
	struct bolt_items *it = arg;

	buf_clear(&it->key);
	wire_varint(&it->key, 1, member);
	wire_varint(&it->key, 2, (uint64_t)type);
	push(it, BOLT_ALARM, buf_str(&it->key), STR(""));
	return true;
}

static bool add_lease(void *arg, int64_t id, int64_t ttl, int64_t remaining)
{
	struct bolt_items *it = arg;
	uint8_t be[8];

	put_be64(be, (uint64_t)id);
	buf_clear(&it->value);
	wire_varint(&it->value, 1, (uint64_t)id);
	wire_varint(&it->value, 2, (uint64_t)ttl);
	wire_varint(&it->value, 3, (uint64_t)remaining);
	push(it, BOLT_LEASE, str_of(be, sizeof(be)), buf_str(&it->value));
	return true;
}

static bool add_user(void *arg, struct str name, struct str body)
{
	push(arg, BOLT_AUTH_USERS, name, body);
	return true;
}

static bool add_role(void *arg, struct str name, struct str body)
{
	push(arg, BOLT_AUTH_ROLES, name, body);
	return true;
}

static int by_key(const void *a, const void *b)
{
	return str_cmp(((const struct bolt_item *)a)->key, ((const struct bolt_item *)b)->key);
}

static int collect_few(struct bolt_items *it, struct err *e)
{
	const struct store_state *st = &it->view->state;
	struct auth_state auth;
	uint8_t rev[REV_BYTES];
	int rc = view_alarms(it->view, add_alarm, it, e);

	if (rc == 0)
		rc = store__lease_records(it->view, add_lease, it, e);
	if (rc == 0)
		rc = store__meta_scan(it->view, STR("u/"), add_user, it, e);
	if (rc == 0)
		rc = store__meta_scan(it->view, STR("o/"), add_role, it, e);
	if (rc == 0)
		rc = store__auth_state(it->view, &auth, e);
	if (rc != 0)
		return rc;
	push(it, BOLT_AUTH, STR("authEnabled"), auth.enabled ? STR("\1") : STR("\0"));
	push_number(it, BOLT_AUTH, "authRevision", auth.revision);
	push_number(it, BOLT_METADATA, "consistent_index", st->index);
	if (st->compact > 0) {
		rev_bytes((struct rev){st->compact, 0}, rev);
		push(it, BOLT_METADATA, STR("finishedCompactRev"), str_of(rev, sizeof(rev)));
		push(it, BOLT_METADATA, STR("scheduledCompactRev"), str_of(rev, sizeof(rev)));
	}
	push_number(it, BOLT_METADATA, "term", st->term);
	for (int b = 0; b < BOLT_N_BUCKETS; b++)
		if (it->few[b].n > 1)
			qsort(it->few[b].v, it->few[b].n, sizeof(*it->few[b].v), by_key);
	return 0;
}

/* --- The keys ------------------------------------------------------------------------------------------------------- */

static int push_lone(struct bolt_items *it, struct str piece, MDB_val d, struct err *e)
{
	struct change c;
	struct head h;
	int rc = head_decode(piece, str_of(d.mv_data, d.mv_size), &h, e);

	if (rc != 0 || h.deleted || h.mod.main > it->view->state.compact)
		return rc;
	rc = store__change_get(it->view, h.mod, &c, e);
	if (rc != -ERR_NOT_FOUND)
		return rc;
	if (it->n_lone == it->cap_lone) {
		it->cap_lone = it->cap_lone ? it->cap_lone * 2 : 1024;
		it->lone = xrealloc(it->lone, it->cap_lone * sizeof(*it->lone));
	}
	/* A long key's piece is not the database's memory, but its record carries the whole key. */
	it->lone[it->n_lone++] = (struct lone_head){h.mod, h.key_inside ? STR_NULL : piece, str_of(d.mv_data, d.mv_size)};
	return 0;
}

static int by_rev(const void *a, const void *b)
{
	return rev_cmp(((const struct lone_head *)a)->at, ((const struct lone_head *)b)->at);
}

static int collect_lone(struct bolt_items *it, struct err *e)
{
	struct keys_cursor *cur;
	struct str piece;
	MDB_val d;
	int rc;

	if (it->view->state.compact <= 0)
		return 0;
	rc = keys_cursor_open(it->view->env, it->view->txn, &cur);
	if (rc != 0)
		return store__mdb_err(e, rc, "read the keys");
	for (rc = keys_cursor_seek(cur, STR(""), &piece, &d); rc == 0; rc = keys_cursor_next(cur, &piece, &d)) {
		rc = push_lone(it, piece, d, e);
		if (rc != 0) {
			keys_cursor_close(cur);
			return rc;
		}
	}
	keys_cursor_close(cur);
	if (it->n_lone > 1)
		qsort(it->lone, it->n_lone, sizeof(*it->lone), by_rev);
	return rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "read the keys");
}

static int next_change(struct bolt_items *it, bool first, struct err *e)
{
	MDB_val k, d;
	int rc = mdb_cursor_get(it->log, &k, &d, first ? MDB_FIRST : MDB_NEXT);

	it->log_ended = rc == MDB_NOTFOUND;
	if (rc != 0)
		return it->log_ended ? 0 : store__mdb_err(e, rc, "read the log");
	return change_decode(rev_from_key(k.mv_data), str_of(d.mv_data, d.mv_size), &it->change, e);
}

static void make_key(struct bolt_items *it, struct rev at, bool tombstone)
{
	uint8_t key[REV_BYTES];

	rev_bytes(at, key);
	buf_clear(&it->key);
	buf_add(&it->key, key, sizeof(key));
	if (tombstone)
		buf_add1(&it->key, 't');
}

/* mvccpb.KeyValue; of a tombstone only the key. */
static void make_value(struct bolt_items *it, struct str key, struct rev at, int64_t create, int64_t version, struct str value,
		int64_t lease)
{
	buf_clear(&it->value);
	wire_bytes(&it->value, 1, key);
	wire_varint(&it->value, 2, (uint64_t)create);
	wire_varint(&it->value, 3, (uint64_t)at.main);
	wire_varint(&it->value, 4, (uint64_t)version);
	wire_bytes(&it->value, 5, value);
	wire_varint(&it->value, 6, (uint64_t)lease);
}

static int take_change(struct bolt_items *it, struct err *e)
{
	struct change *c = &it->change;
	int rc = c->deleted ? 0 : value_check(c->key, c->value, c->value_crc, e);

	if (rc != 0)
		return rc;
	make_key(it, c->at, c->deleted);
	make_value(it, c->key, c->deleted ? REV_NONE : c->at, c->create, c->version, c->value, c->lease);
	return next_change(it, false, e);
}

static int take_lone(struct bolt_items *it, struct err *e)
{
	const struct lone_head *l = &it->lone[it->at++];
	struct head h;
	int rc = head_decode(l->piece, l->bytes, &h, e);

	if (rc == 0)
		rc = value_check(h.key, h.value, h.value_crc, e);
	if (rc != 0)
		return rc;
	make_key(it, h.mod, false);
	make_value(it, h.key, h.mod, h.create, h.version, h.value, h.lease);
	return 0;
}

static int next_key(struct bolt_items *it, struct bolt_item *ret, struct err *e)
{
	bool lone = it->at < it->n_lone && (it->log_ended || rev_cmp(it->lone[it->at].at, it->change.at) < 0);
	int rc;

	if (!lone && it->log_ended)
		return 0;
	rc = lone ? take_lone(it, e) : take_change(it, e);
	if (rc != 0)
		return rc;
	*ret = (struct bolt_item){buf_str(&it->key), buf_str(&it->value)};
	return 1;
}

/* --- All ------------------------------------------------------------------------------------------------------------- */

int bolt__items_new(struct store_view *v, struct bolt_items **ret, struct err *e)
{
	struct bolt_items *it = xcalloc(1, sizeof(*it));
	int rc;

	it->view = v;
	arena_init(&it->arena);
	buf_init(&it->key, BUF_NO_LIMIT);
	buf_init(&it->value, BUF_NO_LIMIT);
	rc = mdb_cursor_open(v->txn, v->env->dbi[DB_LOG], &it->log);
	rc = rc ? store__mdb_err(e, rc, "read the log") : collect_few(it, e);
	if (rc == 0)
		rc = collect_lone(it, e);
	if (rc != 0)
		bolt__items_free(it);
	else
		*ret = it;
	return rc;
}

void bolt__items_free(struct bolt_items *it)
{
	if (it == NULL)
		return;
	if (it->log != NULL)
		mdb_cursor_close(it->log);
	arena_fini(&it->arena);
	buf_fini(&it->key);
	buf_fini(&it->value);
	free(it->lone);
	free(it);
}

int bolt__items_begin(struct bolt_items *it, enum bolt_bucket bucket, struct err *e)
{
	it->bucket = bucket;
	it->at = 0;
	return bucket == BOLT_KEY ? next_change(it, true, e) : 0;
}

int bolt__items_next(struct bolt_items *it, struct bolt_item *ret, struct err *e)
{
	const struct few *f = &it->few[it->bucket];

	if (it->bucket == BOLT_KEY)
		return next_key(it, ret, e);
	if (it->at == f->n)
		return 0;
	*ret = f->v[it->at++];
	return 1;
}

/*
 * Executing commands. Each one is decided first (form, alarms, compares, leases, revisions) and can be refused up to
 * there; once it has begun to write nothing of a client's can fail any more. A negative return is a fault of this member.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/store-priv.h"
#include "store/wire.h"

static struct str pb_str(ProtobufCBinaryData b)
{
	return str_of(b.data, b.len);
}

/* --- Writes of keys ------------------------------------------------------------------------------------- */

static void count(struct store *s, enum store_count which)
{
	atomic_fetch_add_explicit(&s->counts[which], 1, memory_order_relaxed);
}

uint64_t store_count(const struct store *s, enum store_count which)
{
	return atomic_load_explicit(&s->counts[which], memory_order_relaxed);
}

int store__put_request(struct store *s, const Etcdserverpb__PutRequest *p, bool whole_header, struct buf *out, struct err *e)
{
	struct str value = pb_str(p->value);
	int64_t lease = p->lease;
	struct store_kv prev;
	bool found = false;
	int rc;

	count(s, STORE_PUTS);
	if (p->prev_kv || p->ignore_value || p->ignore_lease) {
		rc = view_get(&s->writer, pb_str(p->key), 0, &prev, e);
		if (rc != 0 && rc != -ERR_NOT_FOUND)
			return rc;
		found = rc == 0;
	}
	if (found && p->prev_kv)
		wire_kv(out, 2, &prev);
	/* The check before saw the key; were it gone all the same, every member would write the same empty value. */
	if (found && p->ignore_value)
		value = arena_str(&s->arena, prev.value);
	if (found && p->ignore_lease)
		lease = prev.lease;
	rc = store__put(s, pb_str(p->key), value, lease, e);
	wire_header(out, &s->writer, whole_header);
	return rc;
}

/* Keys are collected before the first is deleted: a write moves what a scan stands on. */
struct key_list {
	struct arena *arena;
	struct str *p;
	size_t n, cap;
};

static bool key_push(void *arg, struct str key)
{
	struct key_list *l = arg;

	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->p = xrealloc(l->p, l->cap * sizeof(*l->p));
	}
	l->p[l->n++] = arena_str(l->arena, key);
	return true;
}

static int delete_keys(struct store *s, const struct key_list *l, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->n; i++) {
		rc = store__delete(s, l->p[i], e);
		if (rc == -ERR_NOT_FOUND)
			rc = err_set(e, ERR_CORRUPT, "store: key \"%.*s\" vanished while it was deleted",
					(int)MIN(l->p[i].n, 200u), l->p[i].p);
	}
	return rc;
}

int store__delete_request(struct store *s, const Etcdserverpb__DeleteRangeRequest *d, bool whole_header, struct buf *out,
		struct err *e)
{
	struct key_list keys = {.arena = &s->arena};
	struct view_iter it;
	struct store_kv kv;
	int rc;

	count(s, STORE_DELETES);
	view_iter_init(&it, &s->writer, pb_str(d->key), pb_str(d->range_end), 0, d->prev_kv ? 0 : VIEW_KEYS_ONLY);
	while ((rc = view_iter_next(&it, &kv, e)) == 1) {
		key_push(&keys, kv.key);
		if (d->prev_kv)
			wire_kv(out, 3, &kv);
	}
	view_iter_fini(&it);
	if (rc == 0)
		rc = delete_keys(s, &keys, e);
	wire_varint(out, 2, keys.n);
	wire_header(out, &s->writer, whole_header);
	free(keys.p);
	return rc;
}

static int apply_put(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	int rc = store__put_check(&s->writer, c->put, e);

	return rc ? rc : store__put_request(s, c->put, true, out, e);
}

static int apply_delete_range(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	return store__delete_request(s, c->delete_range, true, out, e);
}

static int apply_txn(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	struct txn_run run = {.store = s, .view = &s->writer, .want = want, .out = out};
	int rc;

	count(s, STORE_TXNS);
	buf_init(&run.path, BUF_NO_LIMIT);
	rc = store__txn_decide(&run, c->txn, e);
	if (rc == 0)
		rc = store__txn_check(&run, c->txn, e);
	run.step = 0;
	if (rc == 0)
		rc = store__txn_execute(&run, c->txn, true, e);
	ASSERT(rc <= 0 || !s->changed);
	buf_fini(&run.path);
	return rc;
}

static int apply_compaction(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	int64_t rev = c->compaction->revision;

	if (rev <= s->writer.state.compact)
		return ANSWER_COMPACTED;
	if (rev > s->writer.state.revision)
		return ANSWER_FUTURE_REVISION;
	/* From now on nothing below can be read; when it is removed from the file is this member's affair (compact.c). */
	s->writer.state.compact = rev;
	s->local.cursor = REV_NONE;
	wire_header(out, &s->writer, true);
	return 0;
}

/* --- Leases ------------------------------------------------------------------------------------------------ */

/* An id for who did not choose one: made from the entry's place in the log, so that every member makes the same. */
static int pick_lease_id(struct store *s, int64_t *ret, struct err *e)
{
	uint64_t x = s->writer.state.cluster_id ^ (s->writer.state.index * 0x9e3779b97f4a7c15ULL);
	int64_t ttl, remaining;
	int rc;

	for (;;) {
		x ^= x >> 30;
		x *= 0xbf58476d1ce4e5b9ULL;
		x ^= x >> 27;
		x += 0x632be59bd9b4e019ULL;
		*ret = (int64_t)(x & INT64_MAX);
		if (*ret == 0)
			continue;
		rc = store__lease_record_get(&s->writer, *ret, &ttl, &remaining, e);
		if (rc != 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
	}
}

static int apply_lease_grant(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	int64_t id = c->lease_grant->id, ttl = c->lease_grant->ttl, has_ttl, remaining;
	int rc;

	if (ttl > STORE_LEASE_MAX_TTL)
		return ANSWER_LEASE_TTL_TOO_LARGE;
	ttl = MAX(ttl, STORE_LEASE_MIN_TTL);
	if (id == 0) {
		rc = pick_lease_id(s, &id, e);
		if (rc != 0)
			return rc;
	} else {
		rc = store__lease_record_get(&s->writer, id, &has_ttl, &remaining, e);
		if (rc != -ERR_NOT_FOUND)
			return rc == 0 ? ANSWER_LEASE_EXISTS : rc;
	}
	rc = store__lease_record_put(&s->writer, id, ttl, 0, e);
	if (rc != 0)
		return rc;
	store__lessor_grant(s->lessor, id, ttl, 0);
	count(s, STORE_GRANTS);
	wire_header(out, &s->writer, true);
	wire_varint(out, 2, (uint64_t)id);
	wire_varint(out, 3, (uint64_t)ttl);
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int apply_lease_revoke(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	struct key_list keys = {.arena = &s->arena};
	int64_t id = c->lease_revoke->id, ttl, remaining;
	int rc = store__lease_record_get(&s->writer, id, &ttl, &remaining, e);

	if (rc != 0)
		return rc == -ERR_NOT_FOUND ? ANSWER_LEASE_NOT_FOUND : rc;
	rc = view_lease_keys(&s->writer, id, key_push, &keys, e);
	if (rc == 0 && keys.n > 1)
		qsort(keys.p, keys.n, sizeof(*keys.p), by_bytes);
	if (rc == 0)
		rc = delete_keys(s, &keys, e);
	if (rc == 0)
		rc = store__lease_record_del(&s->writer, id, e);
	free(keys.p);
	if (rc != 0)
		return rc;
	store__lessor_revoke(s->lessor, id);
	count(s, STORE_REVOKES);
	wire_header(out, &s->writer, true);
	return 0;
}

static int apply_lease_checkpoint(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	for (size_t i = 0; i < c->lease_checkpoint->n_checkpoints; i++) {
		const Etcdserverpb__LeaseCheckpoint *p = c->lease_checkpoint->checkpoints[i];
		int64_t ttl, remaining;
		int rc = store__lease_record_get(&s->writer, p->id, &ttl, &remaining, e);

		if (rc == -ERR_NOT_FOUND)
			continue;
		remaining = MAX(0, MIN(p->remaining_ttl, ttl));
		if (rc == 0)
			rc = store__lease_record_put(&s->writer, p->id, ttl, remaining, e);
		if (rc != 0)
			return rc;
		store__lessor_grant(s->lessor, p->id, ttl, remaining);
	}
	wire_header(out, &s->writer, true);
	return 0;
}

/* --- Alarms and members --------------------------------------------------------------------------------------- */

struct alarm_list {
	struct buf *out;
	int type; /* 0: all */
	bool nospace, corrupt;
};

static void wire_alarm(struct buf *out, uint64_t member, int type)
{
	size_t mark = wire_begin(out, 2);

	wire_varint(out, 1, member);
	wire_varint(out, 2, (uint64_t)type);
	wire_end(out, mark);
}

static bool note_alarm(void *arg, uint64_t member, int type)
{
	struct alarm_list *l = arg;

	l->nospace |= type == ETCDSERVERPB__ALARM_TYPE__NOSPACE;
	l->corrupt |= type == ETCDSERVERPB__ALARM_TYPE__CORRUPT;
	if (l->out != NULL && (l->type == 0 || l->type == type))
		wire_alarm(l->out, member, type);
	return true;
}

static int apply_alarm(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	const Etcdserverpb__AlarmRequest *a = c->alarm;
	struct alarm_list list = {.type = (int)a->alarm};
	bool get = a->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET, changed = false;
	int rc = 0;

	if (a->alarm < 0 || a->alarm > ETCDSERVERPB__ALARM_TYPE__CORRUPT)
		return ANSWER_MALFORMED;
	if (!get && a->alarm != ETCDSERVERPB__ALARM_TYPE__NONE) {
		bool on = a->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;

		rc = store__alarm_set(&s->writer, a->memberid, (int)a->alarm, on, &changed, e);
		/* As in etcd one that was on already is answered as well. */
		if (rc == 0 && (changed || on))
			wire_alarm(out, a->memberid, (int)a->alarm);
	}
	list.out = get ? out : NULL;
	if (rc == 0)
		rc = view_alarms(&s->writer, note_alarm, &list, e);
	if (rc != 0)
		return rc;
	s->writer.state.nospace = list.nospace;
	s->writer.state.corrupt = list.corrupt;
	wire_header(out, &s->writer, true);
	return 0;
}

/* The members stand in the blob "members" as an encoded ClusterUpdateResponse, sorted by id. */
#define MEMBERS_BLOB "members"
#define MEMBERS_MAX 1024

static int by_member_id(const void *a, const void *b)
{
	uint64_t x = (*(Raftpb__MemberInfo *const *)a)->id, y = (*(Raftpb__MemberInfo *const *)b)->id;

	return x < y ? -1 : x > y;
}

static void *arena_pb_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void arena_pb_free(void *arena, void *p)
{
}

static int load_members(struct store *s, Raftpb__ClusterUpdateResponse **ret, struct err *e)
{
	ProtobufCAllocator alloc = {arena_pb_alloc, arena_pb_free, &s->arena};
	int rc;

	buf_clear(&s->scratch);
	rc = store__blob_get(&s->writer, true, MEMBERS_BLOB, &s->scratch, e);
	if (rc != 0 && rc != -ERR_NOT_FOUND)
		return rc;
	*ret = (Raftpb__ClusterUpdateResponse *)protobuf_c_message_unpack(
			&raftpb__cluster_update_response__descriptor, &alloc, s->scratch.n, (const uint8_t *)s->scratch.p);
	return *ret ? 0 : err_set(e, ERR_CORRUPT, "store: the record of the members is damaged");
}

static int apply_cluster(struct store *s, const Raftpb__Command *c, bool want, struct buf *out, struct err *e)
{
	const Raftpb__ClusterUpdate *u = c->cluster;
	Raftpb__ClusterUpdateResponse *old, now = RAFTPB__CLUSTER_UPDATE_RESPONSE__INIT;
	size_t size;
	int rc;

	if (u->cluster_id != 0 && s->writer.state.cluster_id != 0 && u->cluster_id != s->writer.state.cluster_id)
		return ANSWER_FOREIGN_CLUSTER;
	rc = load_members(s, &old, e);
	if (rc != 0)
		return rc;
	if (old->n_members + u->n_put > MEMBERS_MAX)
		return ANSWER_MALFORMED;
	now.members = arena_alloc(&s->arena, (old->n_members + u->n_put + 1) * sizeof(*now.members));
	for (size_t i = 0; i < old->n_members; i++) {
		bool keep = true;

		for (size_t j = 0; j < u->n_put; j++)
			keep &= u->put[j]->id != old->members[i]->id;
		for (size_t j = 0; j < u->n_remove; j++)
			keep &= u->remove[j] != old->members[i]->id;
		if (keep)
			now.members[now.n_members++] = old->members[i];
	}
	for (size_t j = 0; j < u->n_put; j++)
		now.members[now.n_members++] = u->put[j];
	qsort(now.members, now.n_members, sizeof(*now.members), by_member_id);
	if (u->cluster_id != 0)
		s->writer.state.cluster_id = u->cluster_id;
	size = protobuf_c_message_get_packed_size(&now.base);
	buf_clear(&s->scratch);
	buf_reserve(&s->scratch, size + 1);
	buf_advance(&s->scratch, protobuf_c_message_pack(&now.base, (uint8_t *)s->scratch.p));
	rc = store__blob_put(&s->writer, true, MEMBERS_BLOB, buf_str(&s->scratch), e);
	buf_adds(out, buf_str(&s->scratch));
	return rc;
}

/* --- The table ------------------------------------------------------------------------------------------------- */

/* Which alarms stop a command. */
enum { STOP_NOSPACE = 1, STOP_CORRUPT = 2 };

static const struct op {
	int (*apply)(struct store *, const Raftpb__Command *, bool want, struct buf *out, struct err *);
	unsigned stops;
} ops[] = {
		[RAFTPB__COMMAND__OP_TXN] = {apply_txn, STOP_CORRUPT}, /* no space: only if it puts */
		[RAFTPB__COMMAND__OP_PUT] = {apply_put, STOP_NOSPACE | STOP_CORRUPT},
		[RAFTPB__COMMAND__OP_DELETE_RANGE] = {apply_delete_range, STOP_CORRUPT},
		[RAFTPB__COMMAND__OP_COMPACTION] = {apply_compaction, STOP_CORRUPT},
		[RAFTPB__COMMAND__OP_LEASE_GRANT] = {apply_lease_grant, STOP_NOSPACE | STOP_CORRUPT},
		[RAFTPB__COMMAND__OP_LEASE_REVOKE] = {apply_lease_revoke, STOP_CORRUPT},
		[RAFTPB__COMMAND__OP_LEASE_CHECKPOINT] = {apply_lease_checkpoint, 0},
		[RAFTPB__COMMAND__OP_ALARM] = {apply_alarm, 0},
		[RAFTPB__COMMAND__OP_CLUSTER] = {apply_cluster, 0},
		[RAFTPB__COMMAND__OP_AUTH_ENABLE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_AUTH_DISABLE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_USER_ADD] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_USER_DELETE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_USER_CHANGE_PASSWORD] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_USER_GRANT_ROLE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_USER_REVOKE_ROLE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_ROLE_ADD] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_ROLE_DELETE] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_ROLE_GRANT_PERMISSION] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_ROLE_REVOKE_PERMISSION] = {store__auth_apply, 0},
		[RAFTPB__COMMAND__OP_TOKEN_GRANT] = {store__auth_apply, 0},
};

static int alarm_check(const struct store_state *st, const Raftpb__Command *c)
{
	unsigned stops = ops[c->op_case].stops;

	if (st->corrupt && (stops & STOP_CORRUPT))
		return ANSWER_CORRUPT;
	if (st->nospace && ((stops & STOP_NOSPACE) || (c->op_case == RAFTPB__COMMAND__OP_TXN && store__txn_puts(c->txn))))
		return ANSWER_NO_SPACE;
	return 0;
}

static int execute(struct store *s, struct str command, bool want, struct buf *out, struct err *e)
{
	Raftpb__Command *c;
	size_t mark;
	int rc = store__command_unpack(&s->arena, command, &c);

	if (rc == 0)
		rc = store__auth_check(&s->writer, c, e);
	if (rc == 0)
		rc = alarm_check(&s->writer.state, c);
	if (rc != 0)
		return rc;
	ASSERT(c->op_case < ARRAY_LEN(ops) && ops[c->op_case].apply != NULL);
	mark = wire_begin(out, 3);
	rc = ops[c->op_case].apply(s, c, want, out, e);
	wire_end(out, mark);
	return rc;
}

int store_apply(struct store *s, uint64_t index, uint64_t term, struct str command, struct buf *result, struct err *e)
{
	struct buf *out = result ? result : &s->response;
	size_t mark;
	int rc;

	rc = store_skip(s, index, term, e);
	if (rc != 0)
		return rc;
	if (result == NULL)
		buf_clear(out);
	mark = out->n;
	s->changed = false;
	rc = execute(s, command, result != NULL, out, e);
	arena_fini(&s->arena);
	if (rc > 0) {
		ASSERT(!s->changed);
		out->n = mark;
		store__result_error(out, rc);
		rc = 0;
	}
	return store__noted(&s->writer, rc, e);
}

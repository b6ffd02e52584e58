/*
 * The form of requests, before any state is looked at: unpacking with limits, and etcd's checks of keys, options,
 * operation counts and duplicate keys. Pure functions.
 */
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/util.h"
#include "store/store-priv.h"
#include "store/wire.h"

/* Operations in one branch or compares of one transaction, as etcd; nested ones share what is left. */
#define MAX_OPS 128
/* Operations in all branches together: etcd has no such bound, but checking many for duplicates costs their square. */
#define MAX_OPS_TOTAL 2048
#define MAX_DEPTH 64

static const struct {
	enum err_code code;
	uint32_t grpc;
	const char *text;
} answers[ANSWER_N] = {
#define ANSWER(name, code, grpc, text) [ANSWER_##name] = {ERR_##code, grpc, text},
#include "store/answers.def"
#undef ANSWER
};

int store__answer_err(int answer, struct err *e)
{
	if (answer <= 0)
		return answer;
	return err_set(e, answers[answer].code, "%s", answers[answer].text);
}

void store__result_error(struct buf *out, int answer)
{
	wire_varint(out, 1, answers[answer].grpc);
	wire_bytes(out, 2, str_from(answers[answer].text));
}

int store_result_err(const struct store_result *r, struct err *e)
{
	if (r->grpc_code == 0)
		return 0;
	for (int i = 1; i < ANSWER_N; i++)
		if (str_eqc(r->message, answers[i].text))
			return store__answer_err(i, e);
	return err_set(e, err_from_grpc((int)r->grpc_code), "%.*s", STR_FMT(r->message));
}

/* --- Unpacking ------------------------------------------------------------------------------------------ */

static void *arena_pb_alloc(void *arena, size_t size)
{
	return arena_alloc(arena, size);
}

static void arena_pb_free(void *arena, void *p)
{
}

/* One field of a message: true, and *p is moved behind it. */
static bool wire_field(struct str *p, unsigned *ret_field, struct str *ret_bytes)
{
	uint64_t v[2] = {0, 0};
	size_t at = 0, skip;

	for (int i = 0; i < 2; i++) {
		unsigned shift = 0;

		do {
			if (at == p->n || shift > 63)
				return false;
			v[i] |= (uint64_t)((uint8_t)p->p[at] & 0x7f) << shift;
			shift += 7;
		} while ((uint8_t)p->p[at++] & 0x80);
		if (i == 0 && (v[0] & 7) != 0 && (v[0] & 7) != 2)
			break;
	}
	*ret_field = (unsigned)(v[0] >> 3);
	*ret_bytes = STR_NULL;
	switch (v[0] & 7) {
	case 0:
		skip = 0;
		break;
	case 1:
		skip = 8;
		break;
	case 2:
		skip = v[1];
		break;
	case 5:
		skip = 4;
		break;
	default:
		return false;
	}
	if (skip > p->n - at)
		return false;
	if ((v[0] & 7) == 2)
		*ret_bytes = str_of(p->p + at, skip);
	*p = str_skip(*p, at + skip);
	return true;
}

/*
 * Nesting of a TxnRequest (success 2, failure 3 > RequestOp.request_txn 4) before the unpacker, which recurses, sees it.
 * Garbage counts as shallow: the unpacker refuses it.
 */
static bool txn_depth_ok(struct str txn, int left)
{
	struct str op, inner;
	unsigned field;

	while (wire_field(&txn, &field, &op)) {
		if (field != 2 && field != 3)
			continue;
		while (wire_field(&op, &field, &inner))
			if (field == 4 && (left == 0 || !txn_depth_ok(inner, left - 1)))
				return false;
	}
	return true;
}

static void *unpack(struct arena *a, const ProtobufCMessageDescriptor *d, struct str bytes)
{
	ProtobufCAllocator alloc = {arena_pb_alloc, arena_pb_free, a};

	return protobuf_c_message_unpack(d, &alloc, bytes.n, (const uint8_t *)bytes.p);
}

/* --- Form ------------------------------------------------------------------------------------------------- */

static struct str pb_str(ProtobufCBinaryData b)
{
	return str_of(b.data, b.len);
}

static int range_form(const Etcdserverpb__RangeRequest *r)
{
	if (r->key.len == 0)
		return ANSWER_EMPTY_KEY;
	if (r->sort_order < 0 || r->sort_order > ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND || r->sort_target < 0 ||
			r->sort_target > ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
		return ANSWER_INVALID_SORT;
	return 0;
}

static int put_form(const Etcdserverpb__PutRequest *p)
{
	if (p->key.len == 0)
		return ANSWER_EMPTY_KEY;
	if (p->ignore_value && p->value.len != 0)
		return ANSWER_VALUE_PROVIDED;
	if (p->ignore_lease && p->lease != 0)
		return ANSWER_LEASE_PROVIDED;
	return 0;
}

static int delete_form(const Etcdserverpb__DeleteRangeRequest *d)
{
	return d->key.len == 0 ? ANSWER_EMPTY_KEY : 0;
}

static int ops_form(const Etcdserverpb__TxnRequest *, int max, int *total);

static int op_form(const Etcdserverpb__RequestOp *op, int max, int *total)
{
	if (++*total > MAX_OPS_TOTAL)
		return ANSWER_TOO_MANY_OPS;
	switch (op->request_case) {
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
		return range_form(op->request_range);
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
		return put_form(op->request_put);
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
		return delete_form(op->request_delete_range);
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
		return ops_form(op->request_txn, max, total);
	default:
		return ANSWER_KEY_NOT_FOUND; /* etcd's answer for an empty operation */
	}
}

static int ops_form(const Etcdserverpb__TxnRequest *t, int max, int *total)
{
	size_t n = MAX(t->n_compare, MAX(t->n_success, t->n_failure));
	int rc = 0;

	if (n > (size_t)max)
		return ANSWER_TOO_MANY_OPS;
	for (size_t i = 0; i < t->n_compare; i++)
		if (t->compare[i]->key.len == 0)
			return ANSWER_EMPTY_KEY;
	for (size_t i = 0; rc == 0 && i < t->n_success; i++)
		rc = op_form(t->success[i], max - (int)n, total);
	for (size_t i = 0; rc == 0 && i < t->n_failure; i++)
		rc = op_form(t->failure[i], max - (int)n, total);
	return rc;
}

/* --- Duplicate keys ----------------------------------------------------------------------------------------- */

/* What a branch writes: the keys it puts and the ranges it deletes. */
struct writes {
	struct map puts; /* to itself */
	const Etcdserverpb__DeleteRangeRequest **dels;
	size_t n_dels, cap;
};

static void writes_fini(struct writes *w)
{
	map_fini(&w->puts);
	free(w->dels);
}

static void writes_add_del(struct writes *w, const Etcdserverpb__DeleteRangeRequest *d)
{
	if (w->n_dels == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 8;
		w->dels = xrealloc(w->dels, w->cap * sizeof(*w->dels));
	}
	w->dels[w->n_dels++] = d;
}

static bool deleted(const struct writes *w, struct str key)
{
	for (size_t i = 0; i < w->n_dels; i++) {
		struct str from = pb_str(w->dels[i]->key), end = pb_str(w->dels[i]->range_end);

		if (end.n == 0 ? str_eq(from, key)
			       : str_cmp(from, key) <= 0 && (str_eq(end, STR("\0")) || str_cmp(key, end) < 0))
			return true;
	}
	return false;
}

/* A put of this level or of a nested branch; `also_in`: the other branch of the same nested transaction may have it. */
static int add_put(struct writes *w, struct str key, const struct map *also_in)
{
	if (map_find(&w->puts, key) != NULL && (also_in == NULL || map_find(also_in, key) == NULL))
		return ANSWER_DUPLICATE_KEY;
	if (deleted(w, key))
		return ANSWER_DUPLICATE_KEY;
	map_put(&w->puts, key, w);
	return 0;
}

static int branch_writes(Etcdserverpb__RequestOp *const *ops, size_t n, struct writes *w);

static int nested_writes(const Etcdserverpb__TxnRequest *t, struct writes *w)
{
	struct writes then = {.puts = MAP_INIT}, other = {.puts = MAP_INIT};
	int rc = branch_writes(t->success, t->n_success, &then);

	if (rc == 0)
		rc = branch_writes(t->failure, t->n_failure, &other);
	if (rc == 0) {
		MAP_FOR_EACH (p, &then.puts)
			if (rc == 0)
				rc = add_put(w, p->key, NULL);
		MAP_FOR_EACH (p, &other.puts)
			if (rc == 0)
				rc = add_put(w, p->key, &then.puts);
	}
	for (size_t i = 0; rc == 0 && i < then.n_dels; i++)
		writes_add_del(w, then.dels[i]);
	for (size_t i = 0; rc == 0 && i < other.n_dels; i++)
		writes_add_del(w, other.dels[i]);
	writes_fini(&then);
	writes_fini(&other);
	return rc;
}

/* etcd's order: deletes of this level, then nested transactions one by one, then puts of this level. */
static int branch_writes(Etcdserverpb__RequestOp *const *ops, size_t n, struct writes *w)
{
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
			writes_add_del(w, ops[i]->request_delete_range);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
			rc = nested_writes(ops[i]->request_txn, w);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
			rc = add_put(w, pb_str(ops[i]->request_put->key), NULL);
	return rc;
}

static int branch_duplicates(Etcdserverpb__RequestOp *const *ops, size_t n)
{
	struct writes w = {.puts = MAP_INIT};
	int rc;

	if (n == 1 && ops[0]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
		return 0;
	rc = branch_writes(ops, n, &w);
	writes_fini(&w);
	return rc;
}

static int txn_form(const Etcdserverpb__TxnRequest *t)
{
	int total = 0, rc = ops_form(t, MAX_OPS, &total);

	if (rc == 0)
		rc = branch_duplicates(t->success, t->n_success);
	if (rc == 0)
		rc = branch_duplicates(t->failure, t->n_failure);
	return rc;
}

/* Does any operation of either branch, nested ones too, match? */
static bool txn_any(const Etcdserverpb__TxnRequest *t, bool deletes)
{
	Etcdserverpb__RequestOp *const *branches[2] = {t->success, t->failure};
	size_t n[2] = {t->n_success, t->n_failure};

	for (int b = 0; b < 2; b++) {
		for (size_t i = 0; i < n[b]; i++) {
			const Etcdserverpb__RequestOp *op = branches[b][i];

			if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
				return true;
			if (deletes && op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
				return true;
			if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN && txn_any(op->request_txn, deletes))
				return true;
		}
	}
	return false;
}

bool store__txn_writes(const Etcdserverpb__TxnRequest *t)
{
	return txn_any(t, true);
}

bool store__txn_puts(const Etcdserverpb__TxnRequest *t)
{
	return txn_any(t, false);
}

/* --- Whole requests --------------------------------------------------------------------------------------- */

int store__range_unpack(struct arena *a, struct str bytes, Etcdserverpb__RangeRequest **ret)
{
	*ret = unpack(a, &etcdserverpb__range_request__descriptor, bytes);
	return *ret == NULL ? ANSWER_MALFORMED : range_form(*ret);
}

int store__txn_unpack(struct arena *a, struct str bytes, Etcdserverpb__TxnRequest **ret)
{
	if (!txn_depth_ok(bytes, MAX_DEPTH))
		return ANSWER_TOO_MANY_OPS;
	*ret = unpack(a, &etcdserverpb__txn_request__descriptor, bytes);
	return *ret == NULL ? ANSWER_MALFORMED : txn_form(*ret);
}

int store__command_unpack(struct arena *a, struct str bytes, Raftpb__Command **ret)
{
	struct str rest = bytes, inner;
	unsigned field;

	if (!store__plain_unpack(a, bytes, ret)) {
		while (wire_field(&rest, &field, &inner))
			if (field == RAFTPB__COMMAND__OP_TXN && !txn_depth_ok(inner, MAX_DEPTH))
				return ANSWER_TOO_MANY_OPS;
		*ret = unpack(a, &raftpb__command__descriptor, bytes);
		if (*ret == NULL)
			return ANSWER_MALFORMED;
	}
	switch ((*ret)->op_case) {
	case RAFTPB__COMMAND__OP_TXN:
		return txn_form((*ret)->txn);
	case RAFTPB__COMMAND__OP_PUT:
		return put_form((*ret)->put);
	case RAFTPB__COMMAND__OP_DELETE_RANGE:
		return delete_form((*ret)->delete_range);
	case RAFTPB__COMMAND__OP__NOT_SET:
		return ANSWER_MALFORMED;
	default:
		return 0;
	}
}

int store_command_check(struct str command, struct err *e)
{
	Raftpb__Command *c;
	struct arena a;
	int rc;

	arena_init(&a);
	rc = store__command_unpack(&a, command, &c);
	arena_fini(&a);
	return store__answer_err(rc, e);
}

bool store_txn_is_readonly(struct str request)
{
	Etcdserverpb__TxnRequest *t;
	struct arena a;
	bool readonly;

	arena_init(&a);
	readonly = store__txn_unpack(&a, request, &t) == 0 && !store__txn_writes(t);
	arena_fini(&a);
	return readonly;
}

bool store_txn_has_puts(struct str request)
{
	Etcdserverpb__TxnRequest *t;
	struct arena a;
	bool puts;

	arena_init(&a);
	puts = store__txn_unpack(&a, request, &t) == 0 && store__txn_puts(t);
	arena_fini(&a);
	return puts;
}

int store_result_parse(struct str bytes, struct store_result *ret, struct err *e)
{
	struct store_result r = {0};
	struct str rest = bytes, inner;
	unsigned field;

	while (rest.n > 0) {
		const char *at = rest.p;

		if (!wire_field(&rest, &field, &inner))
			return err_set(e, ERR_PROTOCOL, "store: a result of %zu bytes is malformed", bytes.n);
		if (field == 1) /* codes are below 128: the byte behind the tag */
			r.grpc_code = (uint8_t)at[1] & 0x7f;
		else if (field == 2)
			r.message = inner;
		else if (field == 3)
			r.response = inner;
	}
	*ret = r;
	return 0;
}

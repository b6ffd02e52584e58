/* Executing reads: RangeRequest, the compares of transactions, transactions that only read. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/store-priv.h"
#include "store/wire.h"

typedef Etcdserverpb__RangeRequest range_request;
#define TARGET(x) ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__##x
#define ORDER(x) ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__##x

static struct str pb_str(ProtobufCBinaryData b)
{
	return str_of(b.data, b.len);
}

static bool by_key_ascending(const range_request *r)
{
	return r->sort_order == ORDER(NONE) || (r->sort_target == TARGET(KEY) && r->sort_order == ORDER(ASCEND));
}

static bool has_filter(const range_request *r)
{
	return r->min_mod_revision || r->max_mod_revision || r->min_create_revision || r->max_create_revision;
}

static bool filtered_out(const range_request *r, const struct store_kv *kv)
{
	return (r->max_mod_revision != 0 && kv->mod_revision > r->max_mod_revision) ||
	       (r->min_mod_revision != 0 && kv->mod_revision < r->min_mod_revision) ||
	       (r->max_create_revision != 0 && kv->create_revision > r->max_create_revision) ||
	       (r->min_create_revision != 0 && kv->create_revision < r->min_create_revision);
}

/* --- Sorting ---------------------------------------------------------------------------------------------- */

struct kv_array {
	struct store_kv *p;
	size_t n, cap;
};

static void kv_push(struct kv_array *a, const struct store_kv *kv)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->p = xrealloc(a->p, a->cap * sizeof(*a->p));
	}
	a->p[a->n++] = *kv;
}

#define COMPARE(field)                                                                             \
	static int cmp_##field(const struct store_kv *a, const struct store_kv *b)                 \
	{                                                                                          \
		return a->field < b->field ? -1 : a->field > b->field;                             \
	}
COMPARE(version)
COMPARE(create_revision)
COMPARE(mod_revision)

static int cmp_key(const struct store_kv *a, const struct store_kv *b)
{
	return str_cmp(a->key, b->key);
}

static int cmp_value(const struct store_kv *a, const struct store_kv *b)
{
	return str_cmp(a->value, b->value);
}

static int (*const compares[])(const struct store_kv *, const struct store_kv *) = {
		[TARGET(KEY)] = cmp_key,
		[TARGET(VERSION)] = cmp_version,
		[TARGET(CREATE)] = cmp_create_revision,
		[TARGET(MOD)] = cmp_mod_revision,
		[TARGET(VALUE)] = cmp_value,
};

/* Equal ones stay in key order, also when descending. */
static int cmp_for(const void *a, const void *b, void *arg)
{
	const range_request *r = arg;
	int c = compares[r->sort_target](a, b);

	if (c == 0)
		return cmp_key(a, b);
	return r->sort_order == ORDER(DESCEND) ? -c : c;
}

/* --- Range -------------------------------------------------------------------------------------------------- */

struct range_scan {
	const range_request *r;
	int64_t fetch;          /* stop handing out after so many; 0: never */
	int64_t handed, count;
	struct kv_array kept;   /* for sorting */
	bool stream;            /* written as they come */
	bool more;
	struct buf *out;
};

static void scan_one(struct range_scan *s, struct store_kv *kv)
{
	s->count++;
	if (s->r->count_only || (s->fetch != 0 && s->handed == s->fetch))
		return;
	s->handed++;
	if (filtered_out(s->r, kv))
		return;
	if (!s->stream) {
		kv_push(&s->kept, kv);
		return;
	}
	if (s->r->limit > 0 && s->handed > s->r->limit) {
		s->more = true;
		return;
	}
	wire_kv(s->out, 2, kv);
}

static void scan_sorted(struct range_scan *s)
{
	size_t n = s->kept.n;

	if (n > 1 && (s->r->sort_order != ORDER(NONE) || s->r->sort_target != TARGET(KEY)))
		qsort_r(s->kept.p, n, sizeof(*s->kept.p), cmp_for, (void *)s->r);
	if (s->r->limit > 0 && n > (uint64_t)s->r->limit) {
		n = (size_t)s->r->limit;
		s->more = true;
	}
	for (size_t i = 0; i < n; i++) {
		if (s->r->keys_only)
			s->kept.p[i].value = STR_NULL;
		wire_kv(s->out, 2, &s->kept.p[i]);
	}
}

/*
 * etcd's rules, oddities included: `count` ignores limit and filters; a limit is applied while scanning only when the
 * order is none or by key and there is no filter (then, with a target but no order, the first keys are fetched and sorted).
 */
int store__range(struct store_view *v, const range_request *r, bool whole_header, struct buf *out, struct err *e)
{
	struct range_scan s = {.r = r, .out = out};
	struct view_iter it;
	struct store_kv kv;
	int64_t rev = r->revision;
	unsigned flags = 0;
	int rc = store__rev_check(v, &rev);

	if (rc != 0)
		return rc;
	s.stream = !has_filter(r) && by_key_ascending(r) && r->sort_target == TARGET(KEY);
	if (r->limit > 0 && !has_filter(r) && by_key_ascending(r))
		s.fetch = r->limit < INT64_MAX ? r->limit + 1 : r->limit;
	if (r->count_only || (r->keys_only && r->sort_target != TARGET(VALUE)))
		flags = VIEW_KEYS_ONLY;
	wire_header(out, v, whole_header);
	view_iter_init(&it, v, pb_str(r->key), pb_str(r->range_end), rev, flags);
	while ((rc = view_iter_next(&it, &kv, e)) == 1) {
		scan_one(&s, &kv);
		if (s.fetch != 0 && s.handed == s.fetch)
			it.flags |= VIEW_KEYS_ONLY; /* from here on they are only counted */
	}
	view_iter_fini(&it);
	if (rc == 0) {
		if (!s.stream)
			scan_sorted(&s);
		wire_varint(out, 3, s.more);
		wire_varint(out, 4, (uint64_t)s.count);
	}
	free(s.kept.p);
	return rc;
}

int view_range_request(struct store_view *v, struct str request, struct buf *response, struct err *e)
{
	Etcdserverpb__RangeRequest *r;
	struct arena a;
	int rc;

	arena_init(&a);
	rc = v->state.corrupt ? ANSWER_CORRUPT : store__range_unpack(&a, request, &r);
	if (rc == 0)
		rc = store__range(v, r, true, response, e);
	arena_fini(&a);
	return store__noted(v, store__answer_err(rc, e), e);
}

/* --- Compares ------------------------------------------------------------------------------------------------ */

static int sign(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

/* kv against what the compare asks for; an operand that is not set counts as 0 or empty. */
static bool compare_kv(const Etcdserverpb__Compare *c, const struct store_kv *kv)
{
	int d = 0;

	switch (c->target) {
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE:
		d = str_cmp(kv->value, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE ? pb_str(c->value) : STR_NULL);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
		d = sign(kv->version, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION ? c->version : 0);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
		d = sign(kv->create_revision,
				c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION ? c->create_revision : 0);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
		d = sign(kv->mod_revision,
				c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION ? c->mod_revision : 0);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
		d = sign(kv->lease, c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE ? c->lease : 0);
		break;
	default:
		break;
	}
	switch (c->result) {
	case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
		return d == 0;
	case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
		return d != 0;
	case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
		return d > 0;
	case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
		return d < 0;
	default:
		return true;
	}
}

/* Every key of the range must match; a range without keys is one that does not exist: all zero, and it has no value. */
static int compare_one(struct store_view *v, const Etcdserverpb__Compare *c, bool *ret, struct err *e)
{
	bool by_value = c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, ok = true, any = false;
	struct view_iter it;
	struct store_kv kv;
	int rc;

	view_iter_init(&it, v, pb_str(c->key), pb_str(c->range_end), 0, by_value ? 0 : VIEW_KEYS_ONLY);
	while (ok && (rc = view_iter_next(&it, &kv, e)) == 1) {
		any = true;
		ok = compare_kv(c, &kv);
	}
	view_iter_fini(&it);
	if (ok && rc < 0)
		return rc;
	if (!any)
		ok = !by_value && compare_kv(c, &(struct store_kv){.version = 0});
	*ret = ok;
	return 0;
}

int store__txn_decide(struct txn_run *run, const Etcdserverpb__TxnRequest *t, struct err *e)
{
	Etcdserverpb__RequestOp *const *ops;
	bool ok = true;
	size_t n;
	int rc = 0;

	for (size_t i = 0; ok && rc == 0 && i < t->n_compare; i++)
		rc = compare_one(run->view, t->compare[i], &ok, e);
	buf_add1(&run->path, ok);
	ops = ok ? t->success : t->failure;
	n = ok ? t->n_success : t->n_failure;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
			rc = store__txn_decide(run, ops[i]->request_txn, e);
	return rc;
}

/* --- Transactions ----------------------------------------------------------------------------------------------- */

static bool take_branch(struct txn_run *run, const Etcdserverpb__TxnRequest *t, Etcdserverpb__RequestOp *const **ret_ops,
		size_t *ret_n)
{
	bool ok;

	ASSERT(run->step < run->path.n);
	ok = run->path.p[run->step++] != 0;
	*ret_ops = ok ? t->success : t->failure;
	*ret_n = ok ? t->n_success : t->n_failure;
	return ok;
}

int store__put_check(struct store_view *v, const Etcdserverpb__PutRequest *p, struct err *e)
{
	int64_t ttl, remaining;
	struct head h;
	int rc = 0;

	if (p->lease != 0)
		rc = store__lease_record_get(v, p->lease, &ttl, &remaining, e);
	if (rc == -ERR_NOT_FOUND)
		return ANSWER_LEASE_NOT_FOUND;
	if (rc == 0 && (p->ignore_value || p->ignore_lease)) {
		rc = store__head_get(v, pb_str(p->key), &h, e);
		if (rc == -ERR_NOT_FOUND || (rc == 0 && h.deleted))
			return ANSWER_KEY_NOT_FOUND;
	}
	return rc;
}

int store__txn_check(struct txn_run *run, const Etcdserverpb__TxnRequest *t, struct err *e)
{
	Etcdserverpb__RequestOp *const *ops;
	int64_t rev;
	size_t n;
	int rc = 0;

	take_branch(run, t, &ops, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		switch (ops[i]->request_case) {
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
			rev = ops[i]->request_range->revision;
			if (rev < 0)
				rc = rev < run->view->state.compact ? ANSWER_COMPACTED : 0;
			else
				rc = store__rev_check(run->view, &rev);
			break;
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
			rc = store__put_check(run->view, ops[i]->request_put, e);
			break;
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
			rc = store__txn_check(run, ops[i]->request_txn, e);
			break;
		default:
			break;
		}
	}
	return rc;
}

static int execute_op(struct txn_run *run, const Etcdserverpb__RequestOp *op, struct err *e)
{
	size_t mark;
	int rc = 0;

	switch (op->request_case) {
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
		if (!run->want) /* a read changes nothing */
			return 0;
		mark = wire_begin(run->out, 1);
		rc = store__range(run->view, op->request_range, false, run->out, e);
		break;
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
		mark = wire_begin(run->out, 2);
		rc = store__put_request(run->store, op->request_put, false, run->out, e);
		break;
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
		mark = wire_begin(run->out, 3);
		rc = store__delete_request(run->store, op->request_delete_range, false, run->out, e);
		break;
	case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
		mark = wire_begin(run->out, 4);
		rc = store__txn_execute(run, op->request_txn, false, e);
		break;
	default:
		return 0;
	}
	wire_end(run->out, mark);
	return rc;
}

int store__txn_execute(struct txn_run *run, const Etcdserverpb__TxnRequest *t, bool whole_header, struct err *e)
{
	Etcdserverpb__RequestOp *const *ops;
	size_t n, mark;
	int rc = 0;

	wire_varint(run->out, 2, take_branch(run, t, &ops, &n));
	for (size_t i = 0; rc == 0 && i < n; i++) {
		mark = wire_begin(run->out, 3);
		rc = execute_op(run, ops[i], e);
		wire_end(run->out, mark);
	}
	/*
	 * Last, because only now the revision is known; the order of fields means nothing. A nested one has a header, and nothing in it, as
	 * etcd's.
	 */
	if (whole_header)
		wire_header(run->out, run->view, true);
	else
		wire_end(run->out, wire_begin(run->out, 1));
	return rc;
}

int view_txn_request(struct store_view *v, struct str request, struct buf *response, struct err *e)
{
	struct txn_run run = {.view = v, .want = true, .out = response};
	Etcdserverpb__TxnRequest *t;
	struct arena a;
	int rc;

	buf_init(&run.path, BUF_NO_LIMIT);
	arena_init(&a);
	rc = v->state.corrupt ? ANSWER_CORRUPT : store__txn_unpack(&a, request, &t);
	if (rc == 0 && store__txn_writes(t))
		rc = ANSWER_NOT_READONLY;
	if (rc == 0)
		rc = store__txn_decide(&run, t, e);
	if (rc == 0)
		rc = store__txn_check(&run, t, e);
	run.step = 0;
	if (rc == 0)
		rc = store__txn_execute(&run, t, true, e);
	arena_fini(&a);
	buf_fini(&run.path);
	return store__noted(v, store__answer_err(rc, e), e);
}

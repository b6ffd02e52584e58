/*
 * The store against a model: thousands of random commands and reads, every answer compared field by field with what a
 * plain in-memory model of etcd's rules says. A second store gets the same log in other batches, with other moments for
 * physical compaction, restarts and crashes, and no answers: its hashes must stay the same.
 *
 * MODEL_SEED and MODEL_STEPS make longer or other runs; a failure prints its seed and step.
 */
#include <inttypes.h>
#include <string.h>

#include "io/loop.h"
#include "store/watch.h"
#include "tests/unit/store/common.h"

#define NK 18
#define N_LEASES 6
typedef Etcdserverpb__RequestOp req_op;
typedef Etcdserverpb__TxnRequest txn_req;

static uint64_t rng_state, the_seed;
static int the_step;

static uint64_t rng(void)
{
	uint64_t z = (rng_state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static bool chance(unsigned percent)
{
	return rng() % 100 < percent;
}

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail_msg("seed %" PRIu64 " step %d: %s", the_seed, the_step, #cond);       \
	} while (0)

/* --- The model ------------------------------------------------------------------------------------------- */

struct version {
	bool live;
	int64_t create, mod, version, lease;
	char value[16];
};

struct model {
	struct {
		struct version *v; /* ascending */
		size_t n;
	} k[NK];
	int64_t rev, compact;
	bool lease[N_LEASES];
};

static char *names[NK];

static void make_names(void)
{
	static const char *plain[] = {"a", "b", "b0", "b1", "ba", "c", "c/1", "c/2", "z"};
	int n = 0;

	/* Ascending: plain ones, then families of long keys that share pieces. */
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		names[n++] = xstrdup(plain[i]);
	for (size_t len = 509; n < NK; len += n == 14 ? 490 : 1) {
		names[n] = xmalloc(len + 1);
		memset(names[n], 'z', len);
		names[n][len] = '\0';
		n++;
	}
	for (int i = 1; i < NK; i++)
		assert_true(strcmp(names[i - 1], names[i]) < 0);
}

static bool in_range(int key, ProtobufCBinaryData from, ProtobufCBinaryData end)
{
	struct str k = str_from(names[key]), f = str_of(from.data, from.len), e = str_of(end.data, end.len);

	if (e.n == 0)
		return str_eq(k, f);
	return str_cmp(f, k) <= 0 && (str_eq(e, STR("\0")) || str_cmp(k, e) < 0);
}

static int key_index(ProtobufCBinaryData key)
{
	for (int i = 0; i < NK; i++)
		if (str_eq(str_from(names[i]), str_of(key.data, key.len)))
			return i;
	return -1;
}

static const struct version *at(const struct model *m, int key, int64_t rev)
{
	const struct version *found = NULL;

	for (size_t i = 0; i < m->k[key].n && m->k[key].v[i].mod <= rev; i++)
		found = &m->k[key].v[i];
	return found && found->live ? found : NULL;
}

static void add_version(struct model *m, int key, struct version v)
{
	m->k[key].v = xrealloc(m->k[key].v, (m->k[key].n + 1) * sizeof(v));
	m->k[key].v[m->k[key].n++] = v;
}

static void check_kv(const struct version *want, int key, const Mvccpb__KeyValue *kv, bool keys_only)
{
	CHECK(kv != NULL && str_eq(str_of(kv->key.data, kv->key.len), str_from(names[key])));
	CHECK(kv->create_revision == want->create && kv->mod_revision == want->mod);
	CHECK(kv->version == want->version && kv->lease == want->lease);
	CHECK(str_eq(str_of(kv->value.data, kv->value.len), keys_only ? STR_NULL : str_from(want->value)));
}

/* --- Reads ------------------------------------------------------------------------------------------------- */

static const char *range_error(const struct model *m, int64_t rev)
{
	if (rev > m->rev)
		return "etcdserver: mvcc: required revision is a future revision";
	if (rev > 0 && rev < m->compact)
		return "etcdserver: mvcc: required revision has been compacted";
	return NULL;
}

static int64_t sort_key(const Etcdserverpb__RangeRequest *r, const struct version *v)
{
	switch (r->sort_target) {
	case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
		return v->version;
	case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
		return v->create;
	case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
		return v->mod;
	default:
		return 0;
	}
}

static bool before(const Etcdserverpb__RangeRequest *r, const struct version *a, int ka, const struct version *b, int kb)
{
	bool down = r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
	int64_t d = sort_key(r, a) - sort_key(r, b);

	if (r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE)
		d = strcmp(a->value, b->value);
	if (r->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY)
		d = ka - kb;
	if (d == 0)
		return ka < kb;
	return down ? d > 0 : d < 0;
}

static void check_range(const struct model *m, const Etcdserverpb__RangeRequest *r, const Etcdserverpb__RangeResponse *resp)
{
	const struct version *v[NK], *tv;
	int keys[NK], tk;
	int64_t rev = r->revision > 0 ? r->revision : m->rev, count = 0;
	bool filters = r->min_mod_revision || r->max_mod_revision || r->min_create_revision || r->max_create_revision;
	bool pushed = r->limit > 0 && !filters &&
		      (r->sort_order == 0 || (r->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND && r->sort_target == 0));
	size_t n = 0;
	bool more = false;

	for (int i = 0; i < NK; i++) {
		const struct version *x = in_range(i, r->key, r->range_end) ? at(m, i, rev) : NULL;

		if (x == NULL)
			continue;
		count++;
		if (pushed && count > r->limit + 1)
			continue;
		if ((r->max_mod_revision && x->mod > r->max_mod_revision) || (r->min_mod_revision && x->mod < r->min_mod_revision) ||
				(r->max_create_revision && x->create > r->max_create_revision) ||
				(r->min_create_revision && x->create < r->min_create_revision))
			continue;
		v[n] = x;
		keys[n++] = i;
	}
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && before(r, v[j], keys[j], v[j - 1], keys[j - 1]); j--) {
			tv = v[j], v[j] = v[j - 1], v[j - 1] = tv;
			tk = keys[j], keys[j] = keys[j - 1], keys[j - 1] = tk;
		}
	if (r->count_only)
		n = 0;
	if (r->limit > 0 && n > (size_t)r->limit) {
		n = (size_t)r->limit;
		more = true;
	}
	CHECK(resp->header->revision == m->rev);
	CHECK(resp->count == count);
	CHECK(resp->more == more);
	CHECK(resp->n_kvs == n);
	for (size_t i = 0; i < n; i++)
		check_kv(v[i], keys[i], resp->kvs[i], r->keys_only);
}

/* --- Writes, checked against the answer as they go --------------------------------------------------------------- */

struct apply_run {
	struct model *m;
	bool wrote;
};

static int64_t next_rev(struct apply_run *a)
{
	if (!a->wrote) {
		a->wrote = true;
		a->m->rev++;
	}
	return a->m->rev;
}

static void model_put(struct apply_run *a, const Etcdserverpb__PutRequest *p, const Etcdserverpb__PutResponse *resp)
{
	int key = key_index(p->key);
	const struct version *old = at(a->m, key, INT64_MAX);
	struct version v = {.live = true, .version = 1, .lease = p->lease}, was = {0};

	if (old != NULL)
		was = *old;
	if (p->value.len)
		memcpy(v.value, p->value.data, p->value.len);
	if (p->ignore_value)
		memcpy(v.value, was.value, sizeof(v.value));
	if (p->ignore_lease)
		v.lease = was.lease;
	v.mod = v.create = next_rev(a);
	if (old != NULL) {
		v.create = was.create;
		v.version = was.version + 1;
	}
	add_version(a->m, key, v);
	CHECK(resp->header->revision == a->m->rev);
	CHECK((resp->prev_kv != NULL) == (p->prev_kv && old != NULL));
	if (resp->prev_kv != NULL)
		check_kv(&was, key, resp->prev_kv, false);
}

static void model_delete_one(struct apply_run *a, int key)
{
	add_version(a->m, key, (struct version){.live = false, .mod = next_rev(a)});
}

static void model_delete(struct apply_run *a, const Etcdserverpb__DeleteRangeRequest *d,
		const Etcdserverpb__DeleteRangeResponse *resp)
{
	size_t n = 0;

	for (int i = 0; i < NK; i++) {
		const struct version *old = in_range(i, d->key, d->range_end) ? at(a->m, i, INT64_MAX) : NULL;

		if (old == NULL)
			continue;
		if (d->prev_kv) {
			CHECK(n < resp->n_prev_kvs);
			check_kv(old, i, resp->prev_kvs[n], false);
		}
		n++;
		model_delete_one(a, i);
	}
	CHECK(resp->deleted == (int64_t)n);
	CHECK(resp->n_prev_kvs == (d->prev_kv ? n : 0));
	CHECK(resp->header->revision == a->m->rev);
}

static bool model_compare(const struct model *m, const Etcdserverpb__Compare *c)
{
	static const struct version none;
	bool any = false;

	for (int i = 0; i <= NK; i++) {
		const struct version *v = i < NK && in_range(i, c->key, c->range_end) ? at(m, i, INT64_MAX) : NULL;
		int64_t d = 0;
		bool ok;

		if (i == NK) {
			if (any)
				break;
			if (c->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE)
				return false;
			v = &none;
		}
		if (v == NULL)
			continue;
		any = true;
		switch (c->target) {
		case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
			d = v->version - c->version;
			break;
		case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
			d = v->create - c->create_revision;
			break;
		case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
			d = v->mod - c->mod_revision;
			break;
		case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
			d = v->lease - c->lease;
			break;
		default:
			d = str_cmp(str_from(v->value), str_of(c->value.data, c->value.len));
			break;
		}
		switch (c->result) {
		case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
			ok = d == 0;
			break;
		case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
			ok = d > 0;
			break;
		case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
			ok = d < 0;
			break;
		default:
			ok = d != 0;
			break;
		}
		if (!ok)
			return false;
	}
	return true;
}

/* The branches taken, in order, all decided before anything is written. */
static void model_decide(const struct model *m, const txn_req *t, struct buf *path)
{
	bool ok = true;
	req_op **ops;
	size_t n;

	for (size_t i = 0; i < t->n_compare; i++)
		ok = ok && model_compare(m, t->compare[i]);
	buf_add1(path, ok);
	ops = ok ? t->success : t->failure;
	n = ok ? t->n_success : t->n_failure;
	for (size_t i = 0; i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
			model_decide(m, ops[i]->request_txn, path);
}

static const char *put_error(const struct model *m, const Etcdserverpb__PutRequest *p)
{
	if (p->lease != 0 && (p->lease < 0 || p->lease >= N_LEASES || !m->lease[p->lease]))
		return "etcdserver: requested lease not found";
	if ((p->ignore_value || p->ignore_lease) && at(m, key_index(p->key), INT64_MAX) == NULL)
		return "etcdserver: key not found";
	return NULL;
}

static const char *model_check(const struct model *m, const txn_req *t, const char **step)
{
	bool ok = *(*step)++ != 0;
	req_op **ops = ok ? t->success : t->failure;
	size_t n = ok ? t->n_success : t->n_failure;
	const char *err = NULL;

	for (size_t i = 0; err == NULL && i < n; i++) {
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE)
			err = range_error(m, ops[i]->request_range->revision);
		else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
			err = put_error(m, ops[i]->request_put);
		else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
			err = model_check(m, ops[i]->request_txn, step);
	}
	return err;
}

/* Keys as bits: what a branch puts and deletes; false: a duplicate. */
static bool branch_bits(req_op **ops, size_t n, uint32_t *ret_puts, uint32_t *ret_dels)
{
	uint32_t puts = 0, dels = 0, p1, d1, p2, d2;

	for (size_t i = 0; i < n; i++)
		if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE)
			for (int k = 0; k < NK; k++)
				if (in_range(k, ops[i]->request_delete_range->key, ops[i]->request_delete_range->range_end))
					dels |= 1u << k;
	for (size_t i = 0; i < n; i++) {
		if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)
			continue;
		if (!branch_bits(ops[i]->request_txn->success, ops[i]->request_txn->n_success, &p1, &d1) ||
				!branch_bits(ops[i]->request_txn->failure, ops[i]->request_txn->n_failure, &p2, &d2))
			return false;
		if (((p1 | p2) & (puts | dels)) != 0)
			return false;
		puts |= p1 | p2;
		dels |= d1 | d2;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t bit;

		if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT)
			continue;
		bit = 1u << key_index(ops[i]->request_put->key);
		if (bit & (puts | dels))
			return false;
		puts |= bit;
	}
	*ret_puts = puts;
	*ret_dels = dels;
	return true;
}

static void model_txn(struct apply_run *a, const txn_req *t, const Etcdserverpb__TxnResponse *resp, const char **step)
{
	bool ok = *(*step)++ != 0;
	req_op **ops = ok ? t->success : t->failure;
	size_t n = ok ? t->n_success : t->n_failure;

	CHECK(resp->succeeded == ok);
	CHECK(resp->n_responses == n);
	for (size_t i = 0; i < n; i++) {
		const Etcdserverpb__ResponseOp *r = resp->responses[i];

		CHECK((int)r->response_case == (int)ops[i]->request_case);
		switch (ops[i]->request_case) {
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
			check_range(a->m, ops[i]->request_range, r->response_range);
			break;
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
			model_put(a, ops[i]->request_put, r->response_put);
			break;
		case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
			model_delete(a, ops[i]->request_delete_range, r->response_delete_range);
			break;
		default:
			model_txn(a, ops[i]->request_txn, r->response_txn, step);
			break;
		}
	}
	CHECK(resp->header->revision == a->m->rev);
}

/* --- Random requests ----------------------------------------------------------------------------------------------- */

static struct arena *ra; /* of the requests */
#define NEW(type, init) ({ type *p_ = arena_new_of(ra, type); type i_ = init; *p_ = i_; p_; })

static ProtobufCBinaryData some_key(void)
{
	return bin(ra, names[rng() % NK]);
}

static void some_range(ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
	*key = chance(10) ? bin_str(STR("\0")) : some_key();
	*end = (ProtobufCBinaryData){0, NULL};
	if (chance(40))
		*end = some_key();
	else if (chance(30))
		*end = bin_str(STR("\0"));
}

static Etcdserverpb__RangeRequest *some_range_request(const struct model *m)
{
	Etcdserverpb__RangeRequest *r = NEW(Etcdserverpb__RangeRequest, ETCDSERVERPB__RANGE_REQUEST__INIT);

	some_range(&r->key, &r->range_end);
	if (chance(50))
		r->revision = (int64_t)(rng() % (uint64_t)(m->rev + 3));
	else if (m->compact > 0 && chance(20))
		r->revision = m->compact - 1 + (int64_t)(rng() % 3);
	if (chance(40))
		r->limit = (int64_t)(rng() % 6);
	if (chance(40)) {
		r->sort_order = rng() % 3;
		r->sort_target = rng() % 5;
	}
	if (chance(15))
		r->min_mod_revision = (int64_t)(rng() % (uint64_t)m->rev);
	if (chance(15))
		r->max_mod_revision = (int64_t)(rng() % (uint64_t)m->rev);
	if (chance(10))
		r->min_create_revision = (int64_t)(rng() % (uint64_t)m->rev);
	if (chance(10))
		r->max_create_revision = (int64_t)(rng() % (uint64_t)m->rev);
	r->keys_only = chance(15);
	r->count_only = chance(10);
	return r;
}

static Etcdserverpb__PutRequest *some_put(void)
{
	Etcdserverpb__PutRequest *p = NEW(Etcdserverpb__PutRequest, ETCDSERVERPB__PUT_REQUEST__INIT);
	char value[16];

	p->key = some_key();
	p->prev_kv = chance(30);
	p->ignore_value = chance(8);
	p->ignore_lease = chance(8);
	if (!p->ignore_value) {
		snprintf(value, sizeof(value), "v%d", (int)(rng() % 30));
		p->value = bin(ra, chance(5) ? "" : value);
	}
	if (!p->ignore_lease && chance(20))
		p->lease = (int64_t)(rng() % N_LEASES);
	return p;
}

static Etcdserverpb__DeleteRangeRequest *some_delete(void)
{
	Etcdserverpb__DeleteRangeRequest *d = NEW(Etcdserverpb__DeleteRangeRequest, ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT);

	some_range(&d->key, &d->range_end);
	if (chance(60))
		d->range_end.len = 0;
	d->prev_kv = chance(40);
	return d;
}

static Etcdserverpb__Compare *some_compare(const struct model *m)
{
	Etcdserverpb__Compare *c = NEW(Etcdserverpb__Compare, ETCDSERVERPB__COMPARE__INIT);
	char value[16];

	c->key = some_key();
	if (chance(30))
		some_range(&c->key, &c->range_end);
	c->result = rng() % 4;
	c->target = rng() % 5;
	switch (c->target) {
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
		c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
		c->version = (int64_t)(rng() % 3);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
		c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
		c->create_revision = (int64_t)(rng() % (uint64_t)m->rev);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
		c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
		c->mod_revision = chance(50) ? 0 : (int64_t)(rng() % (uint64_t)m->rev);
		break;
	case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
		c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
		c->lease = (int64_t)(rng() % 3);
		break;
	default:
		c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
		snprintf(value, sizeof(value), "v%d", (int)(rng() % 30));
		c->value = bin(ra, value);
		break;
	}
	return c;
}

static txn_req *some_txn(const struct model *m, int depth);

static req_op *some_op(const struct model *m, int depth)
{
	req_op *op = NEW(req_op, ETCDSERVERPB__REQUEST_OP__INIT);
	uint64_t pick = rng() % 100;

	if (pick < 30) {
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
		op->request_range = some_range_request(m);
		if (chance(80))
			op->request_range->revision = 0;
	} else if (pick < 70) {
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		op->request_put = some_put();
	} else if (pick < 85 || depth == 0) {
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		op->request_delete_range = some_delete();
	} else {
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
		op->request_txn = some_txn(m, depth - 1);
	}
	return op;
}

static txn_req *some_txn(const struct model *m, int depth)
{
	txn_req *t = NEW(txn_req, ETCDSERVERPB__TXN_REQUEST__INIT);

	t->n_compare = rng() % 3;
	t->n_success = rng() % 4;
	t->n_failure = rng() % 4;
	t->compare = arena_alloc(ra, 8 * sizeof(*t->compare));
	t->success = arena_alloc(ra, 8 * sizeof(*t->success));
	t->failure = arena_alloc(ra, 8 * sizeof(*t->failure));
	for (size_t i = 0; i < t->n_compare; i++)
		t->compare[i] = some_compare(m);
	for (size_t i = 0; i < t->n_success; i++)
		t->success[i] = some_op(m, depth);
	for (size_t i = 0; i < t->n_failure; i++)
		t->failure[i] = some_op(m, depth);
	return t;
}

/* --- The run --------------------------------------------------------------------------------------------------------- */

struct run {
	struct fixture f, second;
	struct model m;
	struct buf *log; /* encoded commands, by index - 1 */
	size_t n_log;
	struct loop *loop;
	struct watch_hub *hub;
};

static ProtobufCMessage *send(struct run *r, Raftpb__Command *c, const ProtobufCMessageDescriptor *d, const char *want_error)
{
	const char *text = NULL;
	ProtobufCMessage *resp;

	r->log = xrealloc(r->log, (r->n_log + 1) * sizeof(*r->log));
	buf_init(&r->log[r->n_log], BUF_NO_LIMIT);
	buf_adds(&r->log[r->n_log++], encode(ra, &c->base));
	resp = apply(&r->f, c, d, &text);
	if ((text == NULL) != (want_error == NULL) || (text != NULL && strcmp(text, want_error) != 0))
		fail_msg("seed %" PRIu64 " step %d: answered %s, expected %s", the_seed, the_step, text ? text : "success",
				want_error ? want_error : "success");
	CHECK(store_revision(r->f.store) >= r->m.rev);
	return resp;
}

static void step_put(struct run *r)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	struct apply_run a = {.m = &r->m};
	ProtobufCMessage *resp;

	c.op_case = RAFTPB__COMMAND__OP_PUT;
	c.put = some_put();
	resp = send(r, &c, &etcdserverpb__put_response__descriptor, put_error(&r->m, c.put));
	if (resp != NULL)
		model_put(&a, c.put, (Etcdserverpb__PutResponse *)resp);
}

static void step_delete(struct run *r)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	struct apply_run a = {.m = &r->m};

	c.op_case = RAFTPB__COMMAND__OP_DELETE_RANGE;
	c.delete_range = some_delete();
	model_delete(&a, c.delete_range,
			(Etcdserverpb__DeleteRangeResponse *)send(r, &c, &etcdserverpb__delete_range_response__descriptor, NULL));
}

static void step_txn(struct run *r)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	struct apply_run a = {.m = &r->m};
	struct buf path = BUF_INIT;
	ProtobufCMessage *resp;
	const char *step, *err = NULL;
	uint32_t puts, dels;

	c.op_case = RAFTPB__COMMAND__OP_TXN;
	c.txn = some_txn(&r->m, 2);
	if (!branch_bits(c.txn->success, c.txn->n_success, &puts, &dels) ||
			!branch_bits(c.txn->failure, c.txn->n_failure, &puts, &dels))
		err = "etcdserver: duplicate key given in txn request";
	model_decide(&r->m, c.txn, &path);
	step = path.p;
	if (err == NULL)
		err = model_check(&r->m, c.txn, &step);
	resp = send(r, &c, &etcdserverpb__txn_response__descriptor, err);
	step = path.p;
	if (resp != NULL)
		model_txn(&a, c.txn, (Etcdserverpb__TxnResponse *)resp, &step);
	buf_fini(&path);
}

static void step_lease(struct run *r)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__LeaseGrantRequest g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
	Etcdserverpb__LeaseRevokeRequest v = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
	struct apply_run a = {.m = &r->m};
	int64_t id = 1 + (int64_t)(rng() % (N_LEASES - 1));

	if (chance(70)) {
		c.op_case = RAFTPB__COMMAND__OP_LEASE_GRANT;
		c.lease_grant = &g;
		g.id = id;
		g.ttl = 100;
		(void)send(r, &c, &etcdserverpb__lease_grant_response__descriptor,
				r->m.lease[id] ? "etcdserver: lease already exists" : NULL);
		r->m.lease[id] = true;
		return;
	}
	c.op_case = RAFTPB__COMMAND__OP_LEASE_REVOKE;
	c.lease_revoke = &v;
	v.id = id;
	(void)send(r, &c, &etcdserverpb__lease_revoke_response__descriptor,
			r->m.lease[id] ? NULL : "etcdserver: requested lease not found");
	r->m.lease[id] = false;
	for (int i = 0; i < NK; i++) {
		const struct version *x = at(&r->m, i, INT64_MAX);

		if (x != NULL && x->lease == id)
			model_delete_one(&a, i);
	}
}

static void step_compact(struct run *r)
{
	Raftpb__Command c = RAFTPB__COMMAND__INIT;
	Etcdserverpb__CompactionRequest p = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
	const char *err = NULL;

	c.op_case = RAFTPB__COMMAND__OP_COMPACTION;
	c.compaction = &p;
	p.revision = r->m.rev + 2 - (int64_t)(rng() % 60);
	if (p.revision <= r->m.compact)
		err = "etcdserver: mvcc: required revision has been compacted";
	else if (p.revision > r->m.rev)
		err = "etcdserver: mvcc: required revision is a future revision";
	else
		r->m.compact = p.revision;
	(void)send(r, &c, &etcdserverpb__compaction_response__descriptor, err);
}

static void step_read(struct run *r)
{
	Etcdserverpb__RangeRequest *q = some_range_request(&r->m);
	const char *want = range_error(&r->m, q->revision);
	struct buf out = BUF_INIT;
	struct store_view *v;
	struct err bad = ERR_INIT;
	int rc;

	OK(store_view_open(r->f.store, &v, &e));
	CHECK(view_revision(v) == r->m.rev && view_compact_revision(v) == r->m.compact);
	rc = view_range_request(v, encode(ra, &q->base), &out, &bad);
	CHECK((rc != 0) == (want != NULL));
	if (want != NULL)
		CHECK(strcmp(bad.text, want) == 0);
	else
		check_range(&r->m, q, (Etcdserverpb__RangeResponse *)decode(ra, &etcdserverpb__range_response__descriptor, buf_str(&out)));
	store_view_close(v);
	buf_fini(&out);
}

/* --- Watches ------------------------------------------------------------------------------------------------------------ */

struct model_watch {
	struct watcher w;
	const struct model *m;
	uint32_t left[NK]; /* versions of each key that are still to come */
	int64_t last, gone;
};

static void watch_events(struct watcher *w, int64_t revision, const struct watch_event *const *ev, size_t n)
{
	struct model_watch *mw = container_of(w, struct model_watch, w);

	for (size_t i = 0; i < n; i++) {
		int key = key_index(bin_str(ev[i]->kv.key));
		const struct version *v, *before_it;
		size_t at_i;

		CHECK(key >= 0 && mw->left[key] > 0);
		at_i = mw->m->k[key].n - mw->left[key]--;
		v = &mw->m->k[key].v[at_i];
		before_it = at_i > 0 ? v - 1 : NULL;
		CHECK(ev[i]->kv.mod_revision == v->mod && v->mod >= mw->last);
		mw->last = v->mod;
		CHECK(ev[i]->is_delete == !v->live);
		CHECK(ev[i]->has_prev == (before_it != NULL && before_it->live));
		if (ev[i]->has_prev)
			CHECK(str_eq(ev[i]->prev.value, str_from(before_it->value)) && ev[i]->prev.mod_revision == before_it->mod &&
					ev[i]->prev.version == before_it->version && ev[i]->prev.create_revision == before_it->create);
		if (v->live)
			CHECK(str_eq(ev[i]->kv.value, str_from(v->value)) && ev[i]->kv.version == v->version &&
					ev[i]->kv.create_revision == v->create && ev[i]->kv.lease == v->lease);
	}
}

static void watch_gone(struct watcher *w, int64_t compact_revision)
{
	container_of(w, struct model_watch, w)->gone = compact_revision;
}

static void step_watch(struct run *r)
{
	struct model_watch mw = {.m = &r->m, .w = {.events = watch_events, .gone = watch_gone}};
	ProtobufCBinaryData key, end;
	int64_t start = 1 + (int64_t)(rng() % (uint64_t)r->m.rev);

	if (r->m.compact > 0 && chance(40)) /* around the compacted revision */
		start = MIN(r->m.rev, r->m.compact - 1 + (int64_t)(rng() % 3));
	some_range(&key, &end);
	mw.w.key = str_of(key.data, key.len);
	mw.w.end = str_of(end.data, end.len);
	for (int i = 0; i < NK; i++)
		for (size_t j = 0; in_range(i, key, end) && j < r->m.k[i].n; j++)
			mw.left[i] += r->m.k[i].v[j].mod >= start;
	watch_start(r->hub, &mw.w, start);
	OK(store_settle(r->f.store, &e));
	for (int i = 0; i < 100 && mw.gone == 0 && watch_progress(&mw.w) < r->m.rev; i++)
		loop_turn(r->loop, 0);
	if (start < r->m.compact) {
		CHECK(mw.gone == r->m.compact);
	} else {
		CHECK(mw.gone == 0);
		for (int i = 0; i < NK; i++)
			CHECK(mw.left[i] == 0);
		watch_stop(&mw.w);
	}
}

/* --- The second store ------------------------------------------------------------------------------------------------------ */

static void follow(struct run *r)
{
	struct store_hash h1, h2;
	struct store_view *v1, *v2;
	uint64_t a, b;
	int64_t rev1, rev2, c1, c2;

	if (chance(30)) {
		if (chance(50))
			OK(store_checkpoint(r->second.store, &e));
		fixture_reopen(&r->second, chance(30));
	}
	while (r->second.index < r->n_log) {
		size_t n = 1 + rng() % 40;

		OK(store_begin(r->second.store, &e));
		for (; n > 0 && r->second.index < r->n_log; n--) {
			struct str cmd = buf_str(&r->log[r->second.index]);

			r->second.index++;
			OK(store_apply(r->second.store, r->second.index, 1, cmd, NULL, &e));
		}
		if (chance(50))
			store_seal(r->second.store);
		else
			OK(store_commit(r->second.store, &e));
	}
	if (chance(50)) {
		bool more = true;

		while (more)
			OK(store_work(r->second.store, &more, &e));
	}
	h1 = store_rolling_hash(r->f.store);
	h2 = store_rolling_hash(r->second.store);
	CHECK(h1.index == h2.index && h1.hash == h2.hash);
	OK(store_view_open(r->f.store, &v1, &e));
	OK(store_view_open(r->second.store, &v2, &e));
	OK(view_hash(v1, 0, &a, &rev1, &c1, &e));
	OK(view_hash(v2, 0, &b, &rev2, &c2, &e));
	CHECK(a == b && rev1 == rev2 && c1 == c2);
	if (r->m.compact > 0) {
		int64_t old = r->m.compact + (int64_t)(rng() % (uint64_t)(r->m.rev - r->m.compact + 1));

		OK(view_hash(v1, old, &a, &rev1, &c1, &e));
		OK(view_hash(v2, old, &b, &rev2, &c2, &e));
		CHECK(a == b);
	}
	store_view_close(v1);
	store_view_close(v2);
}

static void one_run(uint64_t seed, int steps)
{
	struct run r = {.m = {.rev = 1, .compact = -1}};
	bool more;

	the_seed = seed;
	rng_state = seed;
	fixture_open(&r.f, NULL);
	fixture_open(&r.second, NULL);
	r.f.seal = 50;
	ra = &r.f.arena;
	r.loop = loop_new("test");
	r.hub = watch_hub_new(r.f.store, r.loop, 0);
	for (the_step = 0; the_step < steps; the_step++) {
		uint64_t pick = rng() % 100;

		if (pick < 25)
			step_put(&r);
		else if (pick < 32)
			step_delete(&r);
		else if (pick < 62)
			step_txn(&r);
		else if (pick < 67)
			step_lease(&r);
		else if (pick < 70)
			step_compact(&r);
		else if (pick < 90)
			step_read(&r);
		else if (pick < 96)
			step_watch(&r);
		else if (pick < 98)
			OK(store_work(r.f.store, &more, &e));
		else
			follow(&r);
		CHECK(store_revision(r.f.store) == r.m.rev);
		arena_fini(ra);
	}
	follow(&r);
	watch_hub_free(r.hub);
	for (int i = 0; i < 100; i++)
		loop_turn(r.loop, 0);
	loop_free(r.loop);
	for (size_t i = 0; i < r.n_log; i++)
		buf_fini(&r.log[i]);
	free(r.log);
	for (int i = 0; i < NK; i++)
		free(r.m.k[i].v);
	fixture_close(&r.second);
	fixture_close(&r.f);
}

static void test_model(void **state)
{
	const char *seed = getenv("MODEL_SEED"), *steps = getenv("MODEL_STEPS");
	int n = steps ? (int)strtol(steps, NULL, 10) : 1500;

	make_names();
	if (seed != NULL)
		one_run(strtoull(seed, NULL, 10), n);
	else
		for (uint64_t s = 1; s <= 8; s++)
			one_run(s, n);
	for (int i = 0; i < NK; i++)
		free(names[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

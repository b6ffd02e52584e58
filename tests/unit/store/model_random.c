#include "tests/unit/store/model.h"

#include "tests/unit/store/common.h"

struct arena *ra;

#define NEW(type, init) ({ type *p_ = arena_new_of(ra, type); type i_ = init; *p_ = i_; p_; })

static ProtobufCBinaryData some_key(void)
{
	return bin(ra, names[rng() % NK]);
}

void some_range(ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
	*key = chance(10) ? bin_str(STR("\0")) : some_key();
	*end = (ProtobufCBinaryData){0, NULL};
	if (chance(40))
		*end = some_key();
	else if (chance(30))
		*end = bin_str(STR("\0"));
}

Etcdserverpb__RangeRequest *some_range_request(const struct model *m)
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

Etcdserverpb__PutRequest *some_put(void)
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

Etcdserverpb__DeleteRangeRequest *some_delete(void)
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

txn_req *some_txn(const struct model *m, int depth);

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

txn_req *some_txn(const struct model *m, int depth)
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

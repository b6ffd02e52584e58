#include "tests/unit/store/model.h"

#include <string.h>

#include "tests/lib/rng.h"
#include "tests/unit/store/common.h"

uint64_t the_seed;
int the_step;

static struct rng dice;

void rng_seed(uint64_t seed)
{
	dice.state = seed;
}

uint64_t rng(void)
{
	return rng_next(&dice);
}

bool chance(unsigned percent)
{
	return rng_chance(&dice, percent);
}

char *names[NK];

void make_names(void)
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

bool in_range(int key, ProtobufCBinaryData from, ProtobufCBinaryData end)
{
	struct str k = str_from(names[key]), f = str_of(from.data, from.len), e = str_of(end.data, end.len);

	if (e.n == 0)
		return str_eq(k, f);
	return str_cmp(f, k) <= 0 && (str_eq(e, STR("\0")) || str_cmp(k, e) < 0);
}

int key_index(ProtobufCBinaryData key)
{
	for (int i = 0; i < NK; i++)
		if (str_eq(str_from(names[i]), str_of(key.data, key.len)))
			return i;
	return -1;
}

const struct version *at(const struct model *m, int key, int64_t rev)
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

const char *range_error(const struct model *m, int64_t rev)
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

void check_range(const struct model *m, const Etcdserverpb__RangeRequest *r, const Etcdserverpb__RangeResponse *resp)
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

static int64_t next_rev(struct apply_run *a)
{
	if (!a->wrote) {
		a->wrote = true;
		a->m->rev++;
	}
	return a->m->rev;
}

void model_put(struct apply_run *a, const Etcdserverpb__PutRequest *p, const Etcdserverpb__PutResponse *resp)
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

void model_delete_one(struct apply_run *a, int key)
{
	add_version(a->m, key, (struct version){.live = false, .mod = next_rev(a)});
}

void model_delete(struct apply_run *a, const Etcdserverpb__DeleteRangeRequest *d,
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
void model_decide(const struct model *m, const txn_req *t, struct buf *path)
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

const char *put_error(const struct model *m, const Etcdserverpb__PutRequest *p)
{
	if (p->lease != 0 && (p->lease < 0 || p->lease >= N_LEASES || !m->lease[p->lease]))
		return "etcdserver: requested lease not found";
	if ((p->ignore_value || p->ignore_lease) && at(m, key_index(p->key), INT64_MAX) == NULL)
		return "etcdserver: key not found";
	return NULL;
}

const char *model_check(const struct model *m, const txn_req *t, const char **step)
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
bool branch_bits(req_op **ops, size_t n, uint32_t *ret_puts, uint32_t *ret_dels)
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

static void txn(struct apply_run *a, const txn_req *t, const Etcdserverpb__TxnResponse *resp, const char **step, bool nested)
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
			txn(a, ops[i]->request_txn, r->response_txn, step, true);
			break;
		}
	}
	/* A nested one has a header with nothing in it. */
	CHECK(resp->header->revision == (nested ? 0 : a->m->rev));
}

void model_txn(struct apply_run *a, const txn_req *t, const Etcdserverpb__TxnResponse *resp, const char **step)
{
	txn(a, t, resp, step, false);
}

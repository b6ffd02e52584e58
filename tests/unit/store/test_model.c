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
#include "tests/unit/store/model.h"

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
	rng_seed(seed);
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

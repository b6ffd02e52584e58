/*
 * A plain in-memory model of etcd's rules, against which the store's answers are held, and random requests to ask it.
 * The tests of the model run one at a time: the seed, the step and the requests' arena are of the run at hand.
 */
#ifndef TESTS_UNIT_STORE_MODEL_H
#define TESTS_UNIT_STORE_MODEL_H

#include <inttypes.h>

#include "tests/unit/store/common.h"

#define NK 18
#define N_LEASES 6
typedef Etcdserverpb__RequestOp req_op;
typedef Etcdserverpb__TxnRequest txn_req;

/* The run: its seed and step, for who has to repeat a failure; random numbers that follow from the seed. */
extern uint64_t the_seed;
extern int the_step;
void rng_seed(uint64_t);
uint64_t rng(void);
bool chance(unsigned percent);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail_msg("seed %" PRIu64 " step %d: %s", the_seed, the_step, #cond);       \
	} while (0)

/* What a key was at a revision; keys are indices into `names`, ascending. */
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

extern char *names[NK];
void make_names(void);
bool in_range(int key, ProtobufCBinaryData from, ProtobufCBinaryData end);
int key_index(ProtobufCBinaryData key);
/* NULL: was not there. */
const struct version *at(const struct model *, int key, int64_t rev);

/* The error's text that a read at a revision must give; NULL: none. */
const char *range_error(const struct model *, int64_t rev);
void check_range(const struct model *, const Etcdserverpb__RangeRequest *, const Etcdserverpb__RangeResponse *);

/* One command: its writes change the model, and are checked against the answer as they go. */
struct apply_run {
	struct model *m;
	bool wrote;
};

/* The error's text; NULL: may be done. */
const char *put_error(const struct model *, const Etcdserverpb__PutRequest *);
void model_put(struct apply_run *, const Etcdserverpb__PutRequest *, const Etcdserverpb__PutResponse *);
void model_delete(struct apply_run *, const Etcdserverpb__DeleteRangeRequest *, const Etcdserverpb__DeleteRangeResponse *);
void model_delete_one(struct apply_run *, int key);

/* The branches that a transaction takes, in order, all decided before anything is written; `step` walks along them. */
void model_decide(const struct model *, const txn_req *, struct buf *path);
/* The error's text; NULL: may be done. */
const char *model_check(const struct model *, const txn_req *, const char **step);
/* Keys as bits: what a branch puts and deletes; false: a duplicate. */
bool branch_bits(req_op **ops, size_t n, uint32_t *ret_puts, uint32_t *ret_dels);
void model_txn(struct apply_run *, const txn_req *, const Etcdserverpb__TxnResponse *, const char **step);

/* Random requests, in this arena. */
extern struct arena *ra;
void some_range(ProtobufCBinaryData *key, ProtobufCBinaryData *end);
Etcdserverpb__RangeRequest *some_range_request(const struct model *);
Etcdserverpb__PutRequest *some_put(void);
Etcdserverpb__DeleteRangeRequest *some_delete(void);
/* With transactions inside, as deep. */
txn_req *some_txn(const struct model *, int depth);

#endif

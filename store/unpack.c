/*
 * The most frequent commands by far, a put and the API server's small transaction (versions compared, a few keys put or deleted), unpacked
 * in place: keys and values are borrowed from their bytes, and nothing is allocated but the messages themselves. Every member unpacks every
 * command, the leader and whoever took it twice.
 *
 * What is taken here is what protobuf-c would have made of it, to the bit: each field once at most, in its plainest encoding.
 * All else, also what is malformed, is left to protobuf-c.
 */
#include "base/util.h"
#include "store/store-priv.h"

/* Comparisons, and operations, of a transaction that is unpacked here. */
#define ITEMS_MAX 16

struct plain_command {
	Raftpb__Command command;
	Raftpb__Requester requester;
	Etcdserverpb__PutRequest put;
};

struct txn {
	Etcdserverpb__TxnRequest request;
	Etcdserverpb__Compare *compares[ITEMS_MAX];
	Etcdserverpb__RequestOp *ops[ITEMS_MAX];
};

/* One operation with its request. */
struct op {
	Etcdserverpb__RequestOp op;
	union {
		Etcdserverpb__PutRequest put;
		Etcdserverpb__DeleteRangeRequest delete;
	};
};

/* Fields with numbers up to 15, as one byte: number and wire type. */
enum {
	CMD_TIME = 3 << 3,
	CMD_REQUESTER = 4 << 3 | 2,
	CMD_TXN = 10 << 3 | 2,
	CMD_PUT = 11 << 3 | 2,
	REQUESTER_USER = 1 << 3 | 2,
	REQUESTER_AUTH_REVISION = 2 << 3,
	PUT_KEY = 1 << 3 | 2,
	PUT_VALUE = 2 << 3 | 2,
	PUT_LEASE = 3 << 3,
	PUT_PREV_KV = 4 << 3,
	PUT_IGNORE_VALUE = 5 << 3,
	PUT_IGNORE_LEASE = 6 << 3,
	DELETE_KEY = 1 << 3 | 2,
	DELETE_RANGE_END = 2 << 3 | 2,
	DELETE_PREV_KV = 3 << 3,
	TXN_COMPARE = 1 << 3 | 2,
	TXN_SUCCESS = 2 << 3 | 2,
	OP_PUT = 2 << 3 | 2,
	OP_DELETE = 3 << 3 | 2,
	COMPARE_RESULT = 1 << 3,
	COMPARE_TARGET = 2 << 3,
	COMPARE_KEY = 3 << 3 | 2,
	COMPARE_VERSION = 4 << 3,
	COMPARE_CREATE = 5 << 3,
	COMPARE_MOD = 6 << 3,
};

/* protobuf-c takes lengths of five bytes, and numbers of ten, whose last is cut: such a long one is for it. */
#define LENGTH_MAX 4
#define NUMBER_MAX 9
#define ENUM_MAX 1

static bool take_number(struct str *p, size_t max, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < max && i < p->n; i++) {
		uint8_t b = (uint8_t)p->p[i];

		v |= (uint64_t)(b & 0x7f) << 7 * i;
		if (b < 0x80) {
			*p = str_skip(*p, i + 1);
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct str *p, struct str *ret)
{
	uint64_t n;

	if (!take_number(p, LENGTH_MAX, &n) || n > p->n)
		return false;
	*ret = str_of(p->p, n);
	*p = str_skip(*p, n);
	return true;
}

/* The field's tag; each may come once. */
static bool take_tag(struct str *p, unsigned *seen, unsigned *ret)
{
	unsigned tag = (uint8_t)p->p[0];

	if (tag >= 0x80 || (*seen & 1u << (tag >> 3)) != 0)
		return false;
	*seen |= 1u << (tag >> 3);
	*ret = tag;
	*p = str_skip(*p, 1);
	return true;
}

static bool take_requester(struct arena *a, struct str p, Raftpb__Requester *r)
{
	unsigned seen = 0, tag;
	struct str user;

	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag))
			return false;
		if (tag == REQUESTER_USER) {
			if (!take_bytes(&p, &user))
				return false;
			r->user = arena_cstr(a, user);
		} else if (tag != REQUESTER_AUTH_REVISION || !take_number(&p, NUMBER_MAX, &r->auth_revision)) {
			return false;
		}
	}
	return true;
}

static ProtobufCBinaryData pb_bytes(struct str s)
{
	return (ProtobufCBinaryData){s.n, (uint8_t *)(uintptr_t)s.p};
}

static bool take_put(struct str p, Etcdserverpb__PutRequest *r)
{
	unsigned seen = 0, tag;
	struct str bytes;
	uint64_t v;

	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag))
			return false;
		if (tag == PUT_KEY || tag == PUT_VALUE) {
			if (!take_bytes(&p, &bytes))
				return false;
			*(tag == PUT_KEY ? &r->key : &r->value) = pb_bytes(bytes);
			continue;
		}
		if (!take_number(&p, NUMBER_MAX, &v))
			return false;
		switch (tag) {
		case PUT_LEASE:
			r->lease = (int64_t)v;
			break;
		case PUT_PREV_KV:
			r->prev_kv = v != 0;
			break;
		case PUT_IGNORE_VALUE:
			r->ignore_value = v != 0;
			break;
		case PUT_IGNORE_LEASE:
			r->ignore_lease = v != 0;
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool take_delete(struct str p, Etcdserverpb__DeleteRangeRequest *r)
{
	unsigned seen = 0, tag;
	struct str bytes;
	uint64_t v;

	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag))
			return false;
		if (tag == DELETE_KEY || tag == DELETE_RANGE_END) {
			if (!take_bytes(&p, &bytes))
				return false;
			*(tag == DELETE_KEY ? &r->key : &r->range_end) = pb_bytes(bytes);
			continue;
		}
		if (tag != DELETE_PREV_KV || !take_number(&p, NUMBER_MAX, &v))
			return false;
		r->prev_kv = v != 0;
	}
	return true;
}

/* What is compared is one of several: the last of two would count. */
static bool take_compare(struct str p, Etcdserverpb__Compare *c)
{
	unsigned seen = 0, tag;
	struct str bytes;
	uint64_t v;

	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag))
			return false;
		if (tag == COMPARE_KEY) {
			if (!take_bytes(&p, &bytes))
				return false;
			c->key = pb_bytes(bytes);
			continue;
		}
		if (!take_number(&p, tag == COMPARE_RESULT || tag == COMPARE_TARGET ? ENUM_MAX : NUMBER_MAX, &v))
			return false;
		switch (tag) {
		case COMPARE_RESULT:
			c->result = (Etcdserverpb__Compare__CompareResult)v;
			continue;
		case COMPARE_TARGET:
			c->target = (Etcdserverpb__Compare__CompareTarget)v;
			continue;
		case COMPARE_VERSION:
			c->version = (int64_t)v;
			break;
		case COMPARE_CREATE:
			c->create_revision = (int64_t)v;
			break;
		case COMPARE_MOD:
			c->mod_revision = (int64_t)v;
			break;
		default:
			return false;
		}
		if (c->target_union_case)
			return false;
		/* The cases are the fields' numbers. */
		c->target_union_case = (Etcdserverpb__Compare__TargetUnionCase)(tag >> 3);
	}
	return true;
}

static bool take_op(struct str p, struct op *o)
{
	unsigned seen = 0, tag;
	struct str bytes;

	etcdserverpb__request_op__init(&o->op);
	if (p.n == 0 || !take_tag(&p, &seen, &tag) || !take_bytes(&p, &bytes) || p.n > 0)
		return false;
	switch (tag) {
	case OP_PUT:
		etcdserverpb__put_request__init(&o->put);
		o->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		o->op.request_put = &o->put;
		return take_put(bytes, &o->put);
	case OP_DELETE:
		etcdserverpb__delete_range_request__init(&o->delete);
		o->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		o->op.request_delete_range = &o->delete;
		return take_delete(bytes, &o->delete);
	default:
		return false;
	}
}

static bool take_txn(struct arena *a, struct str p, struct txn *t)
{
	Etcdserverpb__TxnRequest *r = &t->request;

	etcdserverpb__txn_request__init(r);
	r->compare = t->compares;
	r->success = t->ops;
	while (p.n > 0) {
		unsigned seen = 0, tag;
		struct str bytes;

		if (!take_tag(&p, &seen, &tag) || !take_bytes(&p, &bytes))
			return false;
		if (tag == TXN_COMPARE && r->n_compare < ITEMS_MAX) {
			Etcdserverpb__Compare *c = arena_alloc(a, sizeof(*c));

			etcdserverpb__compare__init(c);
			t->compares[r->n_compare++] = c;
			if (!take_compare(bytes, c))
				return false;
		} else if (tag == TXN_SUCCESS && r->n_success < ITEMS_MAX) {
			struct op *o = arena_alloc(a, sizeof(*o));

			t->ops[r->n_success++] = &o->op;
			if (!take_op(bytes, o))
				return false;
		} else {
			return false;
		}
	}
	return true;
}

/* What the command is to do: one of several. */
static bool take_request(struct arena *a, unsigned tag, struct str bytes, struct plain_command *c)
{
	struct txn *t;

	if (c->command.op_case != RAFTPB__COMMAND__OP__NOT_SET)
		return false;
	if (tag == CMD_PUT) {
		etcdserverpb__put_request__init(&c->put);
		c->command.op_case = RAFTPB__COMMAND__OP_PUT;
		c->command.put = &c->put;
		return take_put(bytes, &c->put);
	}
	if (tag != CMD_TXN)
		return false;
	t = arena_alloc(a, sizeof(*t));
	c->command.op_case = RAFTPB__COMMAND__OP_TXN;
	c->command.txn = &t->request;
	return take_txn(a, bytes, t);
}

bool store__plain_unpack(struct arena *a, struct str p, Raftpb__Command **ret)
{
	struct plain_command *c = arena_alloc(a, sizeof(*c));
	unsigned seen = 0, tag;
	struct str bytes;

	raftpb__command__init(&c->command);
	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag))
			return false;
		if (tag == CMD_TIME) {
			if (!take_number(&p, NUMBER_MAX, &c->command.time_ms))
				return false;
			continue;
		}
		if (!take_bytes(&p, &bytes))
			return false;
		if (tag == CMD_REQUESTER) {
			raftpb__requester__init(&c->requester);
			c->command.requester = &c->requester;
			if (!take_requester(a, bytes, &c->requester))
				return false;
		} else if (!take_request(a, tag, bytes, c)) {
			return false;
		}
	}
	*ret = &c->command;
	return c->command.op_case != RAFTPB__COMMAND__OP__NOT_SET;
}

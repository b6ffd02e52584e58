/*
 * The most frequent command by far, a put, unpacked in place: key and value are borrowed from its bytes, and nothing is
 * allocated but the message itself. Every member unpacks every command, the leader and whoever took it twice.
 *
 * What is taken here is what protobuf-c would have made of it, to the bit: each field once at most, in its plainest encoding.
 * All else, also what is malformed, is left to protobuf-c.
 */
#include "base/util.h"
#include "store/store-priv.h"

struct put_command {
	Raftpb__Command command;
	Raftpb__Requester requester;
	Etcdserverpb__PutRequest put;
};

/* Fields with numbers up to 15, as one byte: number and wire type. */
enum {
	CMD_REQUESTER = 4 << 3 | 2,
	CMD_PUT = 11 << 3 | 2,
	REQUESTER_USER = 1 << 3 | 2,
	REQUESTER_AUTH_REVISION = 2 << 3,
	PUT_KEY = 1 << 3 | 2,
	PUT_VALUE = 2 << 3 | 2,
	PUT_LEASE = 3 << 3,
	PUT_PREV_KV = 4 << 3,
	PUT_IGNORE_VALUE = 5 << 3,
	PUT_IGNORE_LEASE = 6 << 3,
};

/* protobuf-c takes lengths of five bytes, and numbers of ten, whose last is cut: such a long one is for it. */
#define LENGTH_MAX 4
#define NUMBER_MAX 9

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
			*(tag == PUT_KEY ? &r->key : &r->value) = (ProtobufCBinaryData){bytes.n, (uint8_t *)(uintptr_t)bytes.p};
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

bool store__put_unpack(struct arena *a, struct str p, Raftpb__Command **ret)
{
	struct put_command *c = arena_alloc(a, sizeof(*c));
	unsigned seen = 0, tag;
	struct str bytes;

	raftpb__command__init(&c->command);
	while (p.n > 0) {
		if (!take_tag(&p, &seen, &tag) || !take_bytes(&p, &bytes))
			return false;
		if (tag == CMD_REQUESTER) {
			raftpb__requester__init(&c->requester);
			c->command.requester = &c->requester;
			if (!take_requester(a, bytes, &c->requester))
				return false;
		} else if (tag == CMD_PUT) {
			etcdserverpb__put_request__init(&c->put);
			c->command.op_case = RAFTPB__COMMAND__OP_PUT;
			c->command.put = &c->put;
			if (!take_put(bytes, &c->put))
				return false;
		} else {
			return false;
		}
	}
	*ret = &c->command;
	return c->command.op_case == RAFTPB__COMMAND__OP_PUT;
}

#include "tests/unit/verify/by_hand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"

struct history *h;

int setup(void **state _unused_)
{
	h = history_new();
	return 0;
}

int teardown(void **state _unused_)
{
	history_free(h);
	return 0;
}

void good(void)
{
	struct verdict v;

	if (!history_check(h, &v))
		fail_msg("a good history was refused: %s", v.text);
	assert_int_equal(v.kind, VERDICT_GOOD);
}

void bad(const char *why)
{
	struct verdict v;

	assert_false(history_check(h, &v));
	assert_int_equal(v.kind, VERDICT_BAD);
	if (!strstr(v.text, why))
		fail_msg("expected \"%s\", got: %s", why, v.text);
}


struct hist_call *call(enum hist_kind kind, unsigned from, unsigned to, int64_t header)
{
	struct hist_call *c = history_call(h, kind, from % 7, from * 1000u);

	if (to) {
		c->outcome = HIST_OK;
		c->returned = to * 1000u;
		c->header = header;
	}
	return c;
}

struct hist_op *one(struct hist_call *c, enum hist_op_kind kind, const char *key)
{
	c->then = arena_new_of(history_arena(h), struct hist_op);
	c->n_then = 1;
	c->then->kind = kind;
	c->then->key = str_from(key);
	return c->then;
}

struct hist_call *put(unsigned from, unsigned to, const char *key, const char *value, int64_t header)
{
	struct hist_call *c = call(HIST_TXN, from, to, header);

	one(c, HIST_PUT, key)->value = str_from(value);
	return c;
}

struct hist_call *del(unsigned from, unsigned to, const char *key, int64_t n, int64_t header)
{
	struct hist_call *c = call(HIST_TXN, from, to, header);

	one(c, HIST_DELETE, key)->count = n;
	return c;
}

struct hist_kv kv(const char *key, const char *value, int64_t create, int64_t mod, int64_t version)
{
	return (struct hist_kv){str_from(key), str_from(value), create, mod, version, 0};
}

void shows(struct hist_op *op, struct hist_kv x)
{
	struct hist_kv *kvs = arena_new_array(history_arena(h), struct hist_kv, op->n_kvs + 1);

	if (op->n_kvs)
		memcpy(kvs, op->kvs, op->n_kvs * sizeof(*kvs));
	kvs[op->n_kvs++] = x;
	op->kvs = kvs;
	op->count = (int64_t)op->n_kvs;
}

struct hist_call *get(unsigned from, unsigned to, const char *key, const char *value, int64_t create, int64_t mod,
			     int64_t version, int64_t header)
{
	struct hist_call *c = call(HIST_TXN, from, to, header);
	struct hist_op *op = one(c, HIST_RANGE, key);

	if (value)
		shows(op, kv(key, value, create, mod, version));
	return c;
}

struct hist_call *grant(unsigned from, unsigned to, int64_t ttl)
{
	struct hist_call *c = call(HIST_GRANT, from, to, 1);

	c->lease = 7;
	c->ttl = ttl;
	return c;
}

struct hist_call *both(unsigned from, unsigned to, const char *value, int64_t header)
{
	struct hist_call *c = call(HIST_TXN, from, to, header);

	c->then = arena_new_array(history_arena(h), struct hist_op, 2);
	c->n_then = 2;
	for (int i = 0; i < 2; i++)
		c->then[i] = (struct hist_op){.kind = HIST_PUT, .key = str_from(i ? "b" : "a"), .value = str_from(value)};
	return c;
}

#include "store/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/record.h"
#include "store/store-priv.h"

#define PIECE_ROOT KEYS_PLAIN_MAX
#define PIECE_INNER 502
#define NODE_SIZE 8
#define EDGE_MARK 0x01

static MDB_dbi node_dbi(const struct store_env *env, uint64_t node)
{
	return env->dbi[node == KEYS_NODE_ROOT ? DB_KEYS : DB_LONG];
}

void keys_piece_of(uint64_t node, struct str key, struct keys_piece *ret)
{
	size_t max = node == KEYS_NODE_ROOT ? PIECE_ROOT : PIECE_INNER;
	size_t take = MIN(key.n, max);

	ret->n = 0;
	if (node != KEYS_NODE_ROOT) {
		put_be64(ret->bytes, node);
		ret->n = NODE_SIZE;
	}
	memcpy(ret->bytes + ret->n, key.p, take);
	ret->n += take;
	ret->edge = key.n > max;
	ret->rest = str_skip(key, take);
	if (ret->edge)
		ret->bytes[ret->n++] = EDGE_MARK;
}

static int edge_node(const MDB_val *v, uint64_t *ret)
{
	if (v->mv_size != NODE_SIZE)
		return MDB_CORRUPTED;
	*ret = get_be64(v->mv_data);
	return *ret == KEYS_NODE_ROOT ? MDB_CORRUPTED : 0;
}

/* An edge is as long as LMDB lets a key be; nothing else is. */
bool keys_is_edge(struct str db_key)
{
	return db_key.n == KEYS_DB_MAX;
}

static bool is_edge(const MDB_val *k)
{
	return k->mv_size == KEYS_DB_MAX;
}

int keys_get(const struct store_env *env, MDB_txn *txn, struct str key, MDB_val *ret)
{
	uint64_t node = KEYS_NODE_ROOT;
	struct keys_piece p;
	MDB_val k;
	int rc;

	if (!keys_is_long(key)) {
		k = (MDB_val){key.n, (void *)key.p};
		return mdb_get(txn, env->dbi[DB_KEYS], &k, ret);
	}
	for (;;) {
		keys_piece_of(node, key, &p);
		k = (MDB_val){p.n, p.bytes};
		rc = mdb_get(txn, node_dbi(env, node), &k, ret);
		if (rc != 0 || !p.edge)
			return rc;
		rc = edge_node(ret, &node);
		if (rc != 0)
			return rc;
		key = p.rest;
	}
}

int keys_reserve(const struct store_env *env, MDB_txn *txn, struct str key, size_t size, uint64_t *next_node, void **ret)
{
	uint64_t node = KEYS_NODE_ROOT;
	uint8_t number[NODE_SIZE];
	struct keys_piece p;
	MDB_val k, v;
	int rc;

	for (;;) {
		keys_piece_of(node, key, &p);
		k = (MDB_val){p.n, p.bytes};
		if (!p.edge)
			break;
		rc = mdb_get(txn, node_dbi(env, node), &k, &v);
		if (rc == MDB_NOTFOUND) {
			put_be64(number, (*next_node)++);
			v = (MDB_val){NODE_SIZE, number};
			rc = mdb_put(txn, node_dbi(env, node), &k, &v, 0);
			if (rc == 0)
				v = (MDB_val){NODE_SIZE, number};
		}
		if (rc != 0)
			return rc;
		rc = edge_node(&v, &node);
		if (rc != 0)
			return rc;
		key = p.rest;
	}
	v = (MDB_val){size, NULL};
	rc = mdb_put(txn, node_dbi(env, node), &k, &v, MDB_RESERVE);
	if (rc == 0)
		*ret = v.mv_data;
	return rc;
}

/* Has the node no entry any more? */
static int node_empty(const struct store_env *env, MDB_txn *txn, uint64_t node, bool *ret)
{
	uint8_t prefix[NODE_SIZE];
	MDB_cursor *c;
	MDB_val k = {NODE_SIZE, prefix}, v;
	int rc;

	put_be64(prefix, node);
	rc = mdb_cursor_open(txn, env->dbi[DB_LONG], &c);
	if (rc != 0)
		return rc;
	rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
	*ret = rc == MDB_NOTFOUND || (rc == 0 && (k.mv_size < NODE_SIZE || memcmp(k.mv_data, prefix, NODE_SIZE) != 0));
	mdb_cursor_close(c);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int del_below(const struct store_env *env, MDB_txn *txn, struct str key)
{
	/* The edges passed on the way down: at most one for each 502 bytes of the key. */
	size_t depth = 0, cap = key.n / PIECE_INNER + 2;
	_cleanup_(freep) struct str *keys = xcalloc(cap, sizeof(*keys));
	_cleanup_(freep) uint64_t *nodes = xcalloc(cap, sizeof(*nodes));
	uint64_t node = KEYS_NODE_ROOT;
	struct keys_piece p;
	MDB_val k, v;
	bool empty;
	int rc;

	for (;;) {
		ASSERT(depth < cap);
		keys[depth] = key;
		nodes[depth++] = node;
		keys_piece_of(node, key, &p);
		k = (MDB_val){p.n, p.bytes};
		if (!p.edge)
			break;
		rc = mdb_get(txn, node_dbi(env, node), &k, &v);
		if (rc == 0)
			rc = edge_node(&v, &node);
		if (rc != 0)
			return rc;
		key = p.rest;
	}
	rc = mdb_del(txn, node_dbi(env, node), &k, NULL);
	while (rc == 0 && --depth > 0) {
		rc = node_empty(env, txn, nodes[depth], &empty);
		if (rc != 0 || !empty)
			return rc;
		keys_piece_of(nodes[depth - 1], keys[depth - 1], &p);
		k = (MDB_val){p.n, p.bytes};
		rc = mdb_del(txn, node_dbi(env, nodes[depth - 1]), &k, NULL);
	}
	return rc;
}

int keys_del(const struct store_env *env, MDB_txn *txn, struct str key)
{
	MDB_val k = {key.n, (void *)key.p};

	if (!keys_is_long(key))
		return mdb_del(txn, env->dbi[DB_KEYS], &k, NULL);
	return del_below(env, txn, key);
}

/* --- Cursor ------------------------------------------------------------------------------------------- */

/* A node on the way down, and the edge by which the cursor left it. */
struct frame {
	uint64_t node;
	uint8_t edge[KEYS_DB_MAX];
};

struct keys_cursor {
	const struct store_env *env;
	MDB_txn *txn;
	MDB_cursor *root, *inner; /* inner is opened when the first node is met */
	uint64_t node;            /* where the cursor is */
	struct frame *frames;     /* the nodes above it */
	size_t depth, cap;
	MDB_val k, v;
};

int keys_cursor_open(const struct store_env *env, MDB_txn *txn, struct keys_cursor **ret)
{
	struct keys_cursor *c = xcalloc(1, sizeof(*c));
	int rc;

	c->env = env;
	c->txn = txn;
	rc = mdb_cursor_open(txn, env->dbi[DB_KEYS], &c->root);
	if (rc != 0) {
		free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void keys_cursor_close(struct keys_cursor *c)
{
	if (c == NULL)
		return;
	mdb_cursor_close(c->root);
	if (c->inner != NULL)
		mdb_cursor_close(c->inner);
	free(c->frames);
	free(c);
}

/* Move within the current node; leaving it at its end is MDB_NOTFOUND. */
static int move(struct keys_cursor *c, MDB_cursor_op op)
{
	uint8_t prefix[NODE_SIZE];
	int rc;

	if (c->node == KEYS_NODE_ROOT)
		return mdb_cursor_get(c->root, &c->k, &c->v, op);
	rc = mdb_cursor_get(c->inner, &c->k, &c->v, op);
	if (rc != 0)
		return rc;
	put_be64(prefix, c->node);
	if (c->k.mv_size <= NODE_SIZE || memcmp(c->k.mv_data, prefix, NODE_SIZE) != 0)
		return MDB_NOTFOUND;
	return 0;
}

static int descend(struct keys_cursor *c)
{
	uint64_t node;
	int rc = edge_node(&c->v, &node);

	if (rc != 0)
		return rc;
	if (c->inner == NULL) {
		rc = mdb_cursor_open(c->txn, c->env->dbi[DB_LONG], &c->inner);
		if (rc != 0)
			return rc;
	}
	if (c->depth == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 4;
		c->frames = xrealloc(c->frames, c->cap * sizeof(*c->frames));
	}
	c->frames[c->depth].node = c->node;
	memcpy(c->frames[c->depth].edge, c->k.mv_data, KEYS_DB_MAX);
	c->depth++;
	c->node = node;
	return 0;
}

/* The node is done: to the entry behind the edge that led here. */
static int ascend(struct keys_cursor *c)
{
	struct frame *f;
	int rc;

	if (c->depth == 0)
		return MDB_NOTFOUND;
	f = &c->frames[--c->depth];
	c->node = f->node;
	c->k = (MDB_val){KEYS_DB_MAX, f->edge};
	rc = move(c, MDB_SET_RANGE);
	return rc == 0 ? move(c, MDB_NEXT) : rc;
}

/* The cursor stands somewhere or behind the end of its node (rc): go on to the next record. */
static int settle(struct keys_cursor *c, int rc, struct str *ret_key, MDB_val *ret)
{
	uint8_t prefix[NODE_SIZE];

	for (;;) {
		if (rc == MDB_NOTFOUND) {
			if (c->depth == 0)
				return MDB_NOTFOUND;
			rc = ascend(c);
			continue;
		}
		if (rc != 0)
			return rc;
		if (!is_edge(&c->k))
			break;
		rc = descend(c);
		if (rc != 0)
			return rc;
		put_be64(prefix, c->node);
		c->k = (MDB_val){NODE_SIZE, prefix};
		rc = move(c, MDB_SET_RANGE);
	}
	*ret_key = str_of(c->k.mv_data, c->k.mv_size);
	*ret = c->v;
	return 0;
}

int keys_cursor_seek(struct keys_cursor *c, struct str key, struct str *ret_key, MDB_val *ret)
{
	struct keys_piece p;
	int rc;

	c->node = KEYS_NODE_ROOT;
	c->depth = 0;
	for (;;) {
		keys_piece_of(c->node, key, &p);
		c->k = (MDB_val){p.n, p.bytes};
		if (p.n == 0) /* the empty key: LMDB has no such thing, but every key is behind it */
			return settle(c, move(c, MDB_FIRST), ret_key, ret);
		rc = move(c, MDB_SET_RANGE);
		if (rc != 0 || !p.edge || !is_edge(&c->k) || memcmp(c->k.mv_data, p.bytes, KEYS_DB_MAX) != 0)
			return settle(c, rc, ret_key, ret);
		rc = descend(c);
		if (rc != 0)
			return rc;
		key = p.rest;
	}
}

int keys_cursor_next(struct keys_cursor *c, struct str *ret_key, MDB_val *ret)
{
	return settle(c, move(c, MDB_NEXT), ret_key, ret);
}

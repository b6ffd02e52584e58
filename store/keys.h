/*
 * Keys of any length, in order, on LMDB, whose own keys end at 511 bytes.
 *
 * A key of up to 510 bytes is its own database key in DB_KEYS. A longer one is cut: its first 510 bytes followed by a 0x01
 * byte (511 in all, so no plain key looks like it) lead to a *node*, a number; in DB_LONG the rest of the key stands behind
 * the node's eight bytes, cut again after 502 bytes if need be: a tree whose edges are pieces of keys.
 *
 * The order is the keys' own: let P be the first piece of long keys. A plain key T other than P differs from P within its
 * bytes or is a proper prefix of P; either way T stands to P, to P+0x01 and to every key that begins with P in the same
 * order. And T = P itself is a prefix of P+0x01, and of all those keys. The same argument holds inside each node.
 *
 * The record under a piece does not know the whole key, so it carries it (head.key_inside). Nodes that have lost their
 * last key are removed.
 */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct store_env;

#define KEYS_PLAIN_MAX 510

/* LMDB codes: 0, MDB_NOTFOUND, ... */
int keys_get(const struct store_env *, MDB_txn *, struct str key, MDB_val *ret);
/* Room for `size` bytes of record, which the caller fills before the next write. *next_node is advanced when a node is
 * made. */
int keys_reserve(const struct store_env *, MDB_txn *, struct str key, size_t size, uint64_t *next_node, void **ret);
int keys_del(const struct store_env *, MDB_txn *, struct str key);
static inline bool keys_is_long(struct str key)
{
	return key.n > KEYS_PLAIN_MAX;
}

#define KEYS_DB_MAX 511
/* The first node, whose pieces stand in DB_KEYS; those of all others in DB_LONG. */
#define KEYS_NODE_ROOT 0
/* One step of a key: the database key for its next piece below a node. */
struct keys_piece {
	uint8_t bytes[KEYS_DB_MAX];
	size_t n;
	bool edge;       /* leads to a node, the eight bytes of its record; */
	struct str rest; /* this is the key behind it */
};
void keys_piece_of(uint64_t node, struct str key, struct keys_piece *ret);
/* Is this database key of DB_KEYS or DB_LONG the way to a node, not a record? */
bool keys_is_edge(struct str db_key);

struct keys_cursor;
int keys_cursor_open(const struct store_env *, MDB_txn *, struct keys_cursor **ret);
void keys_cursor_close(struct keys_cursor *);
/* To the first key at or behind `key`, and on. *ret_key is the piece as far as the database knows it (a long key's record
 * carries the whole). MDB_NOTFOUND at the end. */
int keys_cursor_seek(struct keys_cursor *, struct str key, struct str *ret_key, MDB_val *ret);
int keys_cursor_next(struct keys_cursor *, struct str *ret_key, MDB_val *ret);

#endif

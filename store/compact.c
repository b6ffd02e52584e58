/*
 * Physical removal of what compaction has made unreachable. It runs in slices inside later batches or in idle moments;
 * how far it is differs between members and no reader can tell, because nothing below the compacted revision may be read.
 *
 * Below the compacted revision C a change goes unless it holds a value that is still needed, that is: it was superseded at
 * or after C (reads at C or later, and the previous value of the event that superseded it). The change of a live head goes
 * too: its value is in the head, and it is made again when it is superseded. A tombstone goes with its change. Changes at
 * C itself stay: a watch may start there.
 */
#include <string.h>

#include "base/util.h"
#include "store/keys.h"
#include "store/store-priv.h"

/* The tombstone of a key that was deleted below C, if it still is its head. */
static int remove_tombstone(struct store *s, const struct change *c, struct err *e)
{
	struct store_view *w = &s->writer;
	struct head h;
	struct str key;
	int rc = store__head_get(w, c->key, &h, e);

	if (rc == -ERR_NOT_FOUND || (rc == 0 && (!h.deleted || rev_cmp(h.mod, c->at) != 0)))
		return err_set(e, ERR_CORRUPT, "store: the tombstone of key \"%.*s\" is missing", (int)MIN(c->key.n, 200u),
				c->key.p);
	if (rc != 0)
		return rc;
	key = arena_str(&s->arena, c->key);
	rc = keys_del(w->env, w->txn, key);
	return rc ? store__mdb_err(e, rc, "remove a tombstone") : 0;
}

static int finish(struct store *s)
{
	s->local.compacted = s->writer.state.compact;
	s->local.cursor = REV_NONE;
	arena_fini(&s->arena);
	return 0;
}

int store__compact_slice(struct store *s, size_t max, struct err *e)
{
	int64_t target = s->writer.state.compact;
	uint8_t key[REV_KEY_SIZE];
	MDB_val k = {sizeof(key), key}, d;
	struct change c;
	int rc = 0, mrc;

	rev_key(s->local.cursor, key);
	mrc = mdb_cursor_get(s->log_cursor, &k, &d, MDB_SET_RANGE);
	for (size_t n = 0; mrc == 0; n++) {
		struct rev at = rev_from_key(k.mv_data);

		if (at.main >= target)
			return finish(s);
		s->local.cursor = at;
		if (n == max)
			break;
		rc = change_decode(at, str_of(d.mv_data, d.mv_size), &c, e);
		if (rc != 0)
			break;
		if (c.superseded && !c.deleted && c.next.main >= target) {
			mrc = mdb_cursor_get(s->log_cursor, &k, &d, MDB_NEXT);
			continue;
		}
		if (c.deleted && !c.superseded)
			rc = remove_tombstone(s, &c, e);
		if (rc != 0)
			break;
		mrc = mdb_cursor_del(s->log_cursor, 0);
		if (mrc == 0) /* LMDB: the entry that has moved up */
			mrc = mdb_cursor_get(s->log_cursor, &k, &d, MDB_NEXT);
	}
	arena_fini(&s->arena);
	if (rc != 0)
		return rc;
	if (mrc == MDB_NOTFOUND)
		return finish(s);
	return mrc ? store__mdb_err(e, mrc, "remove compacted changes") : 0;
}

/*
 * Physical removal of what compaction has made unreachable. It runs in slices inside later batches or in idle moments;
 * how far it is differs between members and no reader can tell, because nothing below the compacted revision may be read.
 *
 * Below the compacted revision C a change goes when it was superseded below C (its successor names it), when it is the one
 * of a live head (the value is in the head; it is made again when that is superseded), or when it is a tombstone, which goes
 * from the heads, too. What stays was superseded at or after C: reads at C need it, and it is the previous value of an event
 * that can still be asked for. Changes at C itself stay: a watch may start there.
 */
#include <string.h>

#include "base/mutant.h"
#include "base/util.h"
#include "store/keys.h"
#include "store/store-priv.h"

static int log_del(struct store *s, struct rev at, struct err *e)
{
	struct store_view *w = &s->writer;
	uint8_t key[REV_KEY_SIZE];
	MDB_val k = {sizeof(key), key};
	int rc;

	rev_key(at, key);
	rc = mdb_del(w->txn, w->env->dbi[DB_LOG], &k, NULL);
	return rc == 0 || rc == MDB_NOTFOUND ? 0 : store__mdb_err(e, rc, "remove a change");
}

/* One change below C. `c` points into the database. */
static int compact_one(struct store *s, const struct change *c, struct err *e)
{
	struct store_view *w = &s->writer;
	struct rev at = c->at, prev = c->prev;
	bool deleted = c->deleted, is_head;
	struct str key;
	struct head h;
	int rc = store__head_get(w, c->key, &h, e);

	if (rc != 0 && rc != -ERR_NOT_FOUND)
		return rc;
	is_head = rc == 0 && rev_cmp(h.mod, at) == 0;
	rc = 0;
	if (deleted && is_head) {
		key = arena_str(&s->arena, c->key);
		rc = keys_del(w->env, w->txn, key);
		if (rc != 0)
			return store__mdb_err(e, rc, "remove a tombstone");
	}
	if (deleted || is_head)
		rc = log_del(s, at, e);
	if (rc == 0 && prev.main != 0)
		rc = log_del(s, prev, e);
	return rc;
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
	uint8_t key[REV_KEY_SIZE];
	MDB_val k, d;
	struct change c;
	int rc = 0;

	for (size_t n = 0; rc == 0 && n < max; n++) {
		rev_key(s->local.cursor, key);
		k = (MDB_val){sizeof(key), key};
		rc = mdb_cursor_get(s->log_cursor, &k, &d, MDB_SET_RANGE);
		if (rc != 0 && rc != MDB_NOTFOUND)
			return store__mdb_err(e, rc, "remove compacted changes");
		if (rc == MDB_NOTFOUND || rev_from_key(k.mv_data).main >= s->writer.state.compact + MUTANT(compacted_event))
			return finish(s);
		rc = change_decode(rev_from_key(k.mv_data), str_of(d.mv_data, d.mv_size), &c, e);
		if (rc != 0)
			break;
		s->local.cursor = (struct rev){c.at.main, c.at.sub + 1};
		rc = compact_one(s, &c, e);
	}
	arena_fini(&s->arena);
	return rc;
}

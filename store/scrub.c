/*
 * Looking for damage that nobody has met yet: what is rarely read rots unseen, until the other members' copies have rotted as well.
 *
 * A pass goes through the file in stretches, each in a transaction of its own, so that no state is kept from being given up for longer than
 * that. The first stretch looks at everything that leads somewhere: the file `checkpoint`, the branch pages of all trees (each page is
 * named once, and there are as many as there should be), and the list of free pages, which must not name one in use. Then all
 * leaves in the order of their keys: pages.c checks that each is where its keys belong, here it is the records' checksums. What is
 * found is looked for a second time before it counts, since what is wrong in memory for a moment is not wrong on the disk.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/keys.h"
#include "store/pages.h"
#include "store/store-priv.h"

/* How often a transaction may be overtaken by commits before its head could be read. */
#define TRIES 20

enum { STAGE_STRUCTURE, STAGE_MAIN, STAGE_DB, STAGE_END = STAGE_DB + DB_N };

struct stretch {
	struct store_env *env;
	MDB_txn *txn;
	struct pages pages;
	struct tree trees[DB_N];
};

/* --- The state that is looked at ------------------------------------------------------------------------------------------ */

static int note_tree(struct stretch *s, const struct walk_node *n, struct err *e)
{
	for (int i = 0; i < DB_N; i++)
		if (str_eq(n->key, str_from(store__db_name((enum store_db)i))))
			return tree_decode(n->value, &s->trees[i], e);
	return err_set(e, ERR_CORRUPT, "store: the file has a tree that nobody made");
}

/* The records of the other trees stand in the first one. */
static int read_trees(struct stretch *s, struct err *e)
{
	struct walk w = {.pages = &s->pages};
	struct walk_node n;
	unsigned found = 0;
	int rc = walk_begin(&w, &s->pages.main, STR_NULL, e);

	while (rc == 0 && w.n > 0) {
		for (unsigned i = 0; rc == 0 && i < w.n; i++) {
			rc = walk_node(&w, i, &n, e);
			if (rc == 0 && n.is_tree) {
				rc = note_tree(s, &n, e);
				found++;
			}
		}
		if (rc == 0)
			rc = walk_next(&w, e);
	}
	walk_end(&w);
	if (rc == 0 && found != DB_N)
		rc = err_set(e, ERR_CORRUPT, "store: the file has %u trees instead of %d", found, DB_N);
	return rc;
}

static void close_stretch(struct stretch *s)
{
	pages_close(&s->pages);
	if (s->txn != NULL)
		mdb_txn_abort(s->txn);
	store__env_unref(s->env);
}

static int open_once(struct stretch *s, struct err *e)
{
	int fd, rc;

	if (s->txn != NULL)
		mdb_txn_abort(TAKE(s->txn));
	/* No view: that would have LMDB read pages. What is committed is enough. */
	rc = mdb_txn_begin(s->env->env, NULL, MDB_RDONLY, &s->txn);
	if (rc != 0)
		return store__mdb_err(e, rc, "look for damage");
	ASSERT(mdb_env_get_fd(s->env->env, &fd) == 0);
	return pages_open(&s->pages, s->env->path, fd, s->txn, e);
}

static int open_stretch(struct stretch *s, struct err *e)
{
	int rc = -(int)ERR_UNAVAILABLE;

	s->pages.fd = -1;
	for (unsigned i = 0; i < TRIES && rc == -(int)ERR_UNAVAILABLE; i++) {
		err_clear(e);
		rc = open_once(s, e);
	}
	return rc;
}

/* --- Structure -------------------------------------------------------------------------------------------------------------- */

/* A record of the free list: how many, and their numbers, which must not be in use. */
static int check_free(struct stretch *s, const struct walk_node *n, const uint8_t *used, struct err *e)
{
	size_t count = 0, pgno, last = SIZE_MAX;

	if (n->value.n >= sizeof(count))
		memcpy(&count, n->value.p, sizeof(count));
	if (n->value.n < sizeof(count) || n->value.n / sizeof(pgno) - 1 < count)
		return err_set(e, ERR_CORRUPT, "store: the list of free pages is damaged");
	for (size_t i = 1; i <= count; i++) {
		memcpy(&pgno, n->value.p + i * sizeof(pgno), sizeof(pgno));
		if (pgno < 2 || pgno >= s->pages.n || pgno >= last || used[pgno / 8] & 1u << pgno % 8)
			return err_set(e, ERR_CORRUPT, "store: the list of free pages is damaged: page %zu cannot be free", pgno);
		last = pgno;
	}
	return 0;
}

static int check_free_list(struct stretch *s, const uint8_t *used, struct err *e)
{
	struct walk w = {.pages = &s->pages};
	struct walk_node n;
	int rc = walk_begin(&w, &s->pages.free, STR_NULL, e);

	while (rc == 0 && w.n > 0) {
		for (unsigned i = 0; rc == 0 && i < w.n; i++) {
			rc = walk_node(&w, i, &n, e);
			if (rc == 0)
				rc = check_free(s, &n, used, e);
		}
		if (rc == 0)
			rc = walk_next(&w, e);
	}
	walk_end(&w);
	return rc;
}

static int check_structure(struct stretch *s, struct err *e)
{
	uint8_t *used = xcalloc(1, s->pages.n / 8 + 1);
	int rc = read_trees(s, e);

	if (rc == 0)
		rc = tree_check(&s->pages, &s->pages.free, used, e);
	if (rc == 0)
		rc = tree_check(&s->pages, &s->pages.main, used, e);
	for (int i = 0; rc == 0 && i < DB_N; i++)
		rc = tree_check(&s->pages, &s->trees[i], used, e);
	if (rc == 0)
		rc = check_free_list(s, used, e);
	free(used);
	return rc;
}

/* --- Records ---------------------------------------------------------------------------------------------------------------- */

/* The edges that lead to a long key have no checksum: they must lead to where it stands. */
static int check_way(struct stretch *s, struct str db_key, struct str value, struct err *e)
{
	struct walk w = {.pages = &s->pages};
	uint64_t node = KEYS_NODE_ROOT;
	struct keys_piece p;
	struct head h;
	int rc = head_decode(db_key, value, &h, e);
	bool found = true;
	struct str key = h.key, way;

	if (rc != 0)
		return rc;
	for (keys_piece_of(node, key, &p); rc == 0 && found && p.edge; keys_piece_of(node, key, &p)) {
		rc = walk_find(&w, &s->trees[node == KEYS_NODE_ROOT ? DB_KEYS : DB_LONG], str_of(p.bytes, p.n), &found, &way, e);
		found = found && rc == 0 && way.n == 8;
		if (found)
			node = get_be64((const uint8_t *)way.p);
		key = p.rest;
	}
	walk_end(&w);
	if (rc == 0 && (!found || !str_eq(str_of(p.bytes, p.n), db_key)))
		rc = err_set(e, ERR_CORRUPT, "store: the way to a key of %zu bytes leads somewhere else", h.key.n);
	return rc;
}

static int check_record(struct stretch *s, enum store_db db, const struct walk_node *n, struct err *e)
{
	int rc = 0;

	if (n->key.n == 0 || n->key.n > KEYS_DB_MAX)
		return err_set(e, ERR_CORRUPT, "store: the file has a key of %zu bytes", n->key.n);
	if (n->is_tree)
		return db == DB_MAIN ? 0 : err_set(e, ERR_CORRUPT, "store: the file has a tree where a record should be");
	rc = store__record_check(db, n->key, n->value, e);
	return rc == 0 && db == DB_LONG && !keys_is_edge(n->key) ? check_way(s, n->key, n->value, e) : rc;
}

/* From behind sc's key to the tree's end, or until there were enough pages; then sc has the last key that was looked at. */
static int check_records(struct stretch *s, enum store_db db, struct store_scrub *sc, size_t max_pages, struct err *e)
{
	const struct tree *t = db == DB_MAIN ? &s->pages.main : &s->trees[db];
	struct str from = str_of(sc->key, sc->key_size);
	struct walk w = {.pages = &s->pages};
	struct walk_node n;
	int rc = walk_begin(&w, t, from, e);
	bool full = false;

	while (rc == 0 && w.n > 0 && !full) {
		for (unsigned i = 0; rc == 0 && i < w.n && !full; i++) {
			rc = walk_node(&w, i, &n, e);
			if (rc != 0 || (from.n > 0 && str_cmp(n.key, from) <= 0))
				continue;
			rc = check_record(s, db, &n, e);
			full = s->pages.n_read >= max_pages;
			if (rc == 0 && full) {
				sc->key_size = (uint16_t)n.key.n;
				memcpy(sc->key, n.key.p, n.key.n);
			}
		}
		if (rc == 0 && !full)
			rc = walk_next(&w, e);
	}
	walk_end(&w);
	if (rc == 0 && !full) {
		sc->stage++;
		sc->key_size = 0;
	}
	return rc;
}

/* At least one record or the structure, so that a pass ends whatever max_pages is. */
static int go_on(struct stretch *s, struct store_scrub *sc, size_t max_pages, struct err *e)
{
	int rc;

	if (sc->stage == STAGE_STRUCTURE) {
		rc = check_structure(s, e);
		sc->stage = STAGE_MAIN;
	} else {
		rc = read_trees(s, e);
		s->pages.n_read = 0;
	}
	while (rc == 0 && sc->stage < STAGE_END) {
		rc = check_records(s, sc->stage == STAGE_MAIN ? DB_MAIN : (enum store_db)(sc->stage - STAGE_DB), sc, max_pages, e);
		if (s->pages.n_read >= max_pages)
			break;
	}
	sc->pages += s->pages.n_read;
	return rc;
}

static int check_head(struct store *s, struct err *e)
{
	struct checkpoint_file c = {0};
	int rc = store__checkpoint_read(s->dir, &c, e);

	free(c.meta);
	return rc;
}

static int scrub(struct store *store, struct store_scrub *sc, size_t max_pages, bool note, struct err *e)
{
	struct stretch s = {.env = store__env_get(store)};
	struct store_scrub at = *sc;
	int rc = open_stretch(&s, e);

	if (rc == 0)
		rc = go_on(&s, &at, max_pages, e);
	if (rc == 0)
		*sc = at;
	if (rc == -(int)ERR_CORRUPT && note)
		store__note_damage(s.env, e);
	close_stretch(&s);
	return rc;
}

int store_scrub(struct store *s, struct store_scrub *sc, size_t max_pages, bool *ret_done, bool *ret_head, struct err *e)
{
	int rc = 0;

	*ret_done = *ret_head = false;
	/* Where another program left off. */
	if (sc->stage >= STAGE_END || sc->key_size > sizeof(sc->key))
		*sc = (struct store_scrub){0};
	if (sc->stage == STAGE_STRUCTURE)
		rc = check_head(s, e);
	if (rc != 0) {
		*ret_head = true;
		return rc;
	}
	rc = scrub(s, sc, max_pages, false, e);
	if (rc == -(int)ERR_CORRUPT) {
		err_clear(e);
		rc = scrub(s, sc, max_pages, true, e);
	}
	if (rc == 0 && sc->stage == STAGE_END) {
		*ret_done = true;
		sc->stage = STAGE_STRUCTURE;
	}
	return rc;
}

/*
 * LMDB's pages as bytes: read from the file, checked, and walked in the order of their keys, without LMDB. LMDB trusts its pages:
 * one of noise is a wrong answer, or a jump to anywhere. Here nothing is trusted, so a file that rotted can be looked at, and what has
 * no checksum, branch pages above all, is checked by what must be so: every page says its own number and kind; its nodes
 * fill it exactly; keys ascend, and lie between the separators above them.
 *
 * Whoever walks keeps a read transaction open: copy-on-write leaves its pages alone. Pages are read past the page cache where the
 * file system allows, because what is asked is what the disk has. The layout is that of LMDB 0.9 (MDB_DATA_VERSION 1).
 *
 *	pages_open(&p, path, fd, txn, &e);
 *	struct walk w = {.pages = &p};
 *	walk_begin(&w, &p.main, STR_NULL, &e);          at the leaf where that key would be
 *	while (w.n > 0) {
 *		for (i = 0; i < w.n; i++) walk_node(&w, i, &node, &e);
 *		walk_next(&w, &e);
 *	}
 *	walk_end(&w);
 *	pages_close(&p);
 */
#ifndef STORE_PAGES_H
#define STORE_PAGES_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* A tree as its record says it is. */
struct tree {
	uint16_t flags, depth;
	uint64_t n_branch, n_leaf, n_overflow, n_records, root;
};

struct pages {
	int fd;          /* past the page cache, or not */
	size_t size;     /* of a page */
	uint64_t n;      /* pages of the file that belong to the transaction */
	uint64_t n_read; /* by whoever counts them */
	struct tree free, main;
};

/* txn: a read transaction of the file, which `fd` has open. ERR_UNAVAILABLE: it was overtaken by two commits already; open another one. */
int pages_open(struct pages *, const char *path, int fd, MDB_txn *txn, struct err *);
void pages_close(struct pages *);

#define WALK_DEPTH 32

struct walk {
	struct pages *pages;
	const struct tree *tree;
	struct {
		uint8_t *page;
		unsigned i, n; /* the node that is gone through, of so many */
	} at[WALK_DEPTH];
	unsigned n; /* nodes of the leaf at hand; 0: the end */
	uint8_t *big; /* a value that has pages of its own */
};

struct walk_node {
	struct str key, value; /* good until the walk goes on */
	bool is_tree; /* the value is the record of a tree */
};

int walk_begin(struct walk *, const struct tree *, struct str key, struct err *);
int walk_next(struct walk *, struct err *);
int walk_node(struct walk *, unsigned i, struct walk_node *, struct err *);
/* The value of one key; *ret_found: it is there. The walk is over then. */
int walk_find(struct walk *, const struct tree *, struct str key, bool *ret_found, struct str *ret, struct err *);
void walk_end(struct walk *);

/* The value of a node with is_tree. */
int tree_decode(struct str value, struct tree *, struct err *);
/*
 * Every branch page of a tree, and that all leaves are there: `used` has a bit for each page of the file, and gets those of the tree.
 */
int tree_check(struct pages *, const struct tree *, uint8_t *used, struct err *);

#endif

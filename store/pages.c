#include "store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define PAGE_ALIGN 4096
#define PAGE_MIN 512
#define PAGE_LARGEST 65536

enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8, P_KINDS = P_BRANCH | P_LEAF | P_OVERFLOW | P_META | 0x20 | 0x40 };
enum { F_BIGDATA = 1, F_SUBDATA = 2, F_DUPDATA = 4 };

/* In the byte order and with the pointer size of the machine, as LMDB writes them. */
struct page_head {
	size_t pgno;
	uint16_t pad, flags;
	union {
		struct {
			uint16_t lower, upper;
		};
		uint32_t n_pages; /* of an overflow page */
	};
};

struct db_record {
	uint32_t pad;
	uint16_t flags, depth;
	size_t n_branch, n_leaf, n_overflow, n_records, root;
};

struct meta {
	uint32_t magic, version;
	void *address;
	size_t map_size;
	struct db_record dbs[2]; /* free pages, main */
	size_t last_page, txn_id;
};
#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1u

/* Low and high half of the size, or of the page number whose highest bits are in flags. */
struct node_head {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint16_t lo, hi;
#else
	uint16_t hi, lo;
#endif
	uint16_t flags, key_size;
};
#define NODE_HEAD sizeof(struct node_head)
#define PAGE_HEAD sizeof(struct page_head)

/* --- One page ------------------------------------------------------------------------------------------------------- */

static int damaged(struct err *e, uint64_t pgno, const char *what)
{
	return err_set(e, ERR_CORRUPT, "store: page %" PRIu64 " of the file is damaged: %s", pgno, what);
}

static uint8_t *page_new(size_t size)
{
	void *p;

	ASSERT(posix_memalign(&p, PAGE_ALIGN, size) == 0);
	return p;
}

static bool drop_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

static int read_at(struct pages *p, uint64_t pgno, void *out, size_t size, struct err *e)
{
	size_t n = 0;

	while (n < size) {
		ssize_t r = pread(p->fd, (uint8_t *)out + n, size - n, (off_t)(pgno * p->size + n));

		if (r < 0 && errno == EINTR)
			continue;
		/* A disk whose blocks are larger than our pages: then by way of the page cache. */
		if (r < 0 && errno == EINVAL && drop_direct(p->fd))
			continue;
		if (r < 0)
			return err_set(e, errno == EIO ? ERR_CORRUPT : ERR_IO, "store: page %" PRIu64 " cannot be read: %s", pgno, strerror(errno));
		if (r == 0)
			return damaged(e, pgno, "the file has been cut before it");
		n += (size_t)r;
	}
	p->n_read += size / p->size;
	return 0;
}

static int read_page(struct pages *p, uint64_t pgno, unsigned kind, uint8_t *out, struct err *e)
{
	struct page_head h;
	int rc;

	if (pgno < 2 || pgno >= p->n)
		return damaged(e, pgno, "there is no such page, and another one names it");
	rc = read_at(p, pgno, out, p->size, e);
	if (rc != 0)
		return rc;
	memcpy(&h, out, sizeof(h));
	if (h.pgno != pgno)
		return damaged(e, pgno, "it says that it is another one");
	if ((h.flags & P_KINDS) != kind)
		return damaged(e, pgno, "it is of another kind than the one above it says");
	return 0;
}

static unsigned nodes_of(const uint8_t *page)
{
	struct page_head h;

	memcpy(&h, page, sizeof(h));
	return (h.lower - (unsigned)PAGE_HEAD) / 2;
}

static const uint8_t *node_at(const uint8_t *page, unsigned i, struct node_head *ret)
{
	uint16_t at;

	memcpy(&at, page + PAGE_HEAD + 2 * (size_t)i, sizeof(at));
	memcpy(ret, page + at, sizeof(*ret));
	return page + at + NODE_HEAD;
}

static struct str key_at(const uint8_t *page, unsigned i)
{
	struct node_head h;
	const uint8_t *p = node_at(page, i, &h);

	return str_of(p, h.key_size);
}

static size_t data_size(const struct node_head *h)
{
	return (size_t)h->lo | (size_t)h->hi << 16;
}

static uint64_t child_of(const uint8_t *page, unsigned i)
{
	struct node_head h;

	node_at(page, i, &h);
	return (uint64_t)h.lo | (uint64_t)h.hi << 16 | (uint64_t)h.flags << 32;
}

static size_t node_size(const struct node_head *h, bool leaf)
{
	size_t n = NODE_HEAD + h->key_size;

	if (leaf)
		n += h->flags & F_BIGDATA ? sizeof(size_t) : data_size(h);
	return (n + 1) & ~(size_t)1;
}

static int compare(const struct tree *t, struct str a, struct str b)
{
	size_t x, y;

	if (!(t->flags & MDB_INTEGERKEY))
		return str_cmp(a, b);
	memcpy(&x, a.p, sizeof(x));
	memcpy(&y, b.p, sizeof(y));
	return x < y ? -1 : x > y;
}

/* The nodes fill what is behind them exactly, and their keys ascend. The first key of a branch stands for all that is smaller. */
static int check_nodes(const struct pages *p, const struct tree *t, const uint8_t *page, bool leaf, struct err *e)
{
	struct page_head h;
	size_t sum = 0;
	unsigned n;

	memcpy(&h, page, sizeof(h));
	if (h.lower <= PAGE_HEAD || h.lower % 2 != 0 || h.lower > h.upper || h.upper > p->size)
		return damaged(e, h.pgno, "its head");
	n = nodes_of(page);
	for (unsigned i = 0; i < n; i++) {
		struct node_head nh;
		uint16_t at;
		size_t size;

		memcpy(&at, page + PAGE_HEAD + 2 * (size_t)i, sizeof(at));
		if (at < h.upper || at + NODE_HEAD > p->size)
			return damaged(e, h.pgno, "the place of a node");
		node_at(page, i, &nh);
		size = node_size(&nh, leaf);
		if (size > p->size - at)
			return damaged(e, h.pgno, "the size of a node");
		sum += size;
		if ((t->flags & MDB_INTEGERKEY) && nh.key_size != sizeof(size_t) && (leaf || i > 0))
			return damaged(e, h.pgno, "the size of a key");
		if (i > (leaf ? 0u : 1u) && compare(t, key_at(page, i - 1), key_at(page, i)) >= 0)
			return damaged(e, h.pgno, "the order of its keys");
	}
	return sum == p->size - h.upper ? 0 : damaged(e, h.pgno, "its nodes do not fill it");
}

/* --- Opening -------------------------------------------------------------------------------------------------------- */

static struct tree tree_of(const struct db_record *d)
{
	return (struct tree){d->flags, d->depth, d->n_branch, d->n_leaf, d->n_overflow, d->n_records, d->root};
}

static int check_tree_record(const struct tree *t, struct err *e)
{
	if (t->depth > WALK_DEPTH || (t->depth == 0) != (t->root == (uint64_t)SIZE_MAX))
		return err_set(e, ERR_CORRUPT, "store: the record of a tree is damaged");
	return 0;
}

int tree_decode(struct str value, struct tree *ret, struct err *e)
{
	struct db_record d;

	if (value.n != sizeof(d))
		return err_set(e, ERR_CORRUPT, "store: the record of a tree has %zu bytes", value.n);
	memcpy(&d, value.p, sizeof(d));
	*ret = tree_of(&d);
	return check_tree_record(ret, e);
}

int pages_open(struct pages *p, const char *path, int fd, MDB_txn *txn, struct err *e)
{
	size_t id = mdb_txn_id(txn);
	struct page_head head;
	struct meta meta;
	MDB_envinfo info;
	MDB_stat stat;
	uint8_t *page;
	int rc = mdb_stat(txn, 1, &stat);

	*p = (struct pages){.fd = -1};
	if (rc == 0)
		rc = mdb_env_info(mdb_txn_env(txn), &info);
	if (rc != 0)
		return err_set(e, ERR_IO, "store: look at %s: %s", path, mdb_strerror(rc));
	ASSERT(stat.ms_psize >= PAGE_MIN && stat.ms_psize <= PAGE_LARGEST);
	p->size = stat.ms_psize;
	p->n = 2;
	/* Where the file system has no such reads, the page cache's will do. */
	p->fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	if (p->fd < 0)
		p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0)
		return err_set_errno(e, errno, "store: open %s", path);
	page = page_new(p->size);
	/* The one meta page that is written over and over: as LMDB reads it, and before the second commit from here. */
	if (pread(fd, page, p->size, (off_t)((id & 1) * p->size)) != (ssize_t)p->size)
		rc = err_set_errno(e, errno ? errno : EIO, "store: read %s", path);
	memcpy(&head, page, sizeof(head));
	memcpy(&meta, page + PAGE_HEAD, sizeof(meta));
	free(page);
	if (rc == 0 && meta.txn_id != id)
		rc = err_set(e, ERR_UNAVAILABLE, "store: the state was replaced meanwhile");
	if (rc == 0 && (meta.magic != META_MAGIC || (meta.version & 0x7fffffff) != META_VERSION || head.pgno != (id & 1) ||
			meta.last_page >= info.me_mapsize / p->size))
		rc = damaged(e, id & 1, "the state's head");
	p->free = tree_of(&meta.dbs[0]);
	p->main = tree_of(&meta.dbs[1]);
	/* There LMDB keeps its own flags and the size of a page, too. */
	p->free.flags = MDB_INTEGERKEY;
	p->main.flags = 0;
	p->n = (uint64_t)meta.last_page + 1;
	if (rc == 0)
		rc = check_tree_record(&p->free, e);
	if (rc == 0)
		rc = check_tree_record(&p->main, e);
	if (rc != 0)
		pages_close(p);
	return rc;
}

void pages_close(struct pages *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* --- Walking -------------------------------------------------------------------------------------------------------- */

/* The keys of the page at this level must lie between the separators that lead to it. */
static int check_between(const struct walk *w, unsigned level, bool leaf, struct err *e)
{
	const uint8_t *page = w->at[level].page;
	unsigned first = leaf ? 0 : 1, n = w->at[level].n;
	bool low = false, high = false;

	if (n <= first)
		return 0;
	for (unsigned up = level; up-- > 0 && !(low && high);) {
		const uint8_t *above = w->at[up].page;
		unsigned i = w->at[up].i;

		if (!low && i > 0) {
			low = true;
			if (compare(w->tree, key_at(page, first), key_at(above, i)) < 0)
				return damaged(e, child_of(above, i), "its keys are smaller than the one above it says");
		}
		if (!high && i + 1 < w->at[up].n) {
			high = true;
			if (compare(w->tree, key_at(page, n - 1), key_at(above, i + 1)) >= 0)
				return damaged(e, child_of(above, i), "its keys are larger than the one above it says");
		}
	}
	return 0;
}

/* Read the page at `level`, which the one above names. */
static int load(struct walk *w, unsigned level, struct err *e)
{
	uint64_t pgno = level == 0 ? w->tree->root : child_of(w->at[level - 1].page, w->at[level - 1].i);
	bool leaf = level + 1 == w->tree->depth;
	int rc;

	if (w->at[level].page == NULL)
		w->at[level].page = page_new(w->pages->size);
	rc = read_page(w->pages, pgno, leaf ? P_LEAF : P_BRANCH, w->at[level].page, e);
	if (rc == 0)
		rc = check_nodes(w->pages, w->tree, w->at[level].page, leaf, e);
	if (rc != 0)
		return rc;
	w->at[level].i = 0;
	w->at[level].n = nodes_of(w->at[level].page);
	return check_between(w, level, leaf, e);
}

/* The last child whose separator is not above the key. */
static unsigned child_for(const struct walk *w, unsigned level, struct str key)
{
	unsigned i = 0;

	if (key.n == 0)
		return 0;
	while (i + 1 < w->at[level].n && compare(w->tree, key_at(w->at[level].page, i + 1), key) <= 0)
		i++;
	return i;
}

static int descend(struct walk *w, unsigned level, struct str key, struct err *e)
{
	int rc = 0;

	for (; rc == 0 && level < w->tree->depth; level++) {
		rc = load(w, level, e);
		if (rc == 0 && level + 1 < w->tree->depth)
			w->at[level].i = child_for(w, level, key);
	}
	w->n = rc == 0 ? w->at[w->tree->depth - 1].n : 0;
	return rc;
}

int walk_begin(struct walk *w, const struct tree *t, struct str key, struct err *e)
{
	w->tree = t;
	w->n = 0;
	return t->depth == 0 ? 0 : descend(w, 0, key, e);
}

int walk_next(struct walk *w, struct err *e)
{
	unsigned level = w->tree->depth - 1u;

	w->n = 0;
	while (level > 0 && w->at[level - 1].i + 1 >= w->at[level - 1].n)
		level--;
	if (level == 0)
		return 0;
	w->at[level - 1].i++;
	return descend(w, level, STR_NULL, e);
}

/* The pages of one value, which follow each other. */
static int read_big(struct walk *w, size_t pgno, size_t size, struct str *ret, struct err *e)
{
	struct pages *p = w->pages;
	uint64_t n = (PAGE_HEAD - 1 + (uint64_t)size) / p->size + 1;
	struct page_head h;
	uint8_t *bytes;
	int rc = 0;

	if (pgno < 2 || pgno >= p->n || n > p->n - pgno)
		return damaged(e, pgno, "there are no such pages, and a value is said to stand there");
	bytes = page_new((size_t)n * p->size);
	rc = read_at(p, pgno, bytes, (size_t)n * p->size, e);
	memcpy(&h, bytes, sizeof(h));
	if (rc == 0 && (h.pgno != pgno || (h.flags & P_KINDS) != P_OVERFLOW || h.n_pages != n))
		rc = damaged(e, pgno, "it is not the beginning of the value that is said to stand there");
	free(w->big);
	w->big = bytes;
	*ret = str_of(bytes + PAGE_HEAD, size);
	return rc;
}

int walk_node(struct walk *w, unsigned i, struct walk_node *ret, struct err *e)
{
	const uint8_t *page = w->at[w->tree->depth - 1].page, *p;
	struct node_head h;
	struct page_head head;
	size_t pgno;

	ASSERT(i < w->n);
	p = node_at(page, i, &h);
	memcpy(&head, page, sizeof(head));
	*ret = (struct walk_node){.key = str_of(p, h.key_size), .is_tree = (h.flags & F_SUBDATA) != 0};
	if (h.flags & ~(F_BIGDATA | F_SUBDATA) || h.flags == (F_BIGDATA | F_SUBDATA))
		return damaged(e, head.pgno, "the kind of a node");
	if (!(h.flags & F_BIGDATA)) {
		ret->value = str_of(p + h.key_size, data_size(&h));
		return 0;
	}
	memcpy(&pgno, p + h.key_size, sizeof(pgno));
	return read_big(w, pgno, data_size(&h), &ret->value, e);
}

int walk_find(struct walk *w, const struct tree *t, struct str key, bool *ret_found, struct str *ret, struct err *e)
{
	struct walk_node n = {0};
	int rc = walk_begin(w, t, key, e);

	*ret_found = false;
	for (unsigned i = 0; rc == 0 && i < w->n && !*ret_found; i++) {
		*ret_found = str_eq(key_at(w->at[t->depth - 1].page, i), key);
		if (*ret_found)
			rc = walk_node(w, i, &n, e);
	}
	*ret = n.value;
	return rc;
}

void walk_end(struct walk *w)
{
	for (unsigned i = 0; i < WALK_DEPTH; i++) {
		free(w->at[i].page);
		w->at[i].page = NULL;
	}
	free(w->big);
	w->big = NULL;
}

/* --- All branches ---------------------------------------------------------------------------------------------------- */

static int mark(struct pages *p, uint8_t *used, uint64_t pgno, struct err *e)
{
	if (pgno < 2 || pgno >= p->n)
		return damaged(e, pgno, "there is no such page, and another one names it");
	if (used[pgno / 8] & 1u << pgno % 8)
		return damaged(e, pgno, "two places name it as theirs");
	used[pgno / 8] |= (uint8_t)(1u << pgno % 8);
	return 0;
}

/* All below one branch page of the lowest level: leaves, which are named there and not read. */
static int mark_leaves(struct walk *w, unsigned level, uint8_t *used, uint64_t *n, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < w->at[level].n; i++, ++*n)
		rc = mark(w->pages, used, child_of(w->at[level].page, i), e);
	return rc;
}

int tree_check(struct pages *p, const struct tree *t, uint8_t *used, struct err *e)
{
	struct walk w = {.pages = p, .tree = t};
	uint64_t n_branch = 0, n_leaf = t->depth == 1;
	unsigned level = 0;
	int rc = t->depth ? mark(p, used, t->root, e) : 0;

	/* Depth first: down to the lowest branches, up when one is done. */
	if (rc == 0 && t->depth > 1) {
		rc = load(&w, 0, e);
		n_branch++;
	}
	while (rc == 0 && t->depth > 1) {
		if (level + 2 == t->depth) {
			rc = mark_leaves(&w, level, used, &n_leaf, e);
			w.at[level].i = w.at[level].n;
		}
		while (level > 0 && w.at[level].i >= w.at[level].n)
			w.at[--level].i++;
		if (rc != 0 || w.at[level].i >= w.at[level].n)
			break;
		rc = mark(p, used, child_of(w.at[level].page, w.at[level].i), e);
		if (rc == 0)
			rc = load(&w, ++level, e);
		n_branch++;
	}
	walk_end(&w);
	if (rc == 0 && (n_branch != t->n_branch || n_leaf != t->n_leaf))
		rc = err_set(e, ERR_CORRUPT,
			     "store: a tree of the file has %" PRIu64 " branches and %" PRIu64 " leaves, its record says %" PRIu64 " and %" PRIu64,
			     n_branch, n_leaf, t->n_branch, t->n_leaf);
	return rc;
}

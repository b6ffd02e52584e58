/* The pages. The first pass fills `nodes` (every leaf and branch, in the order of the file); the second makes them. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "store/bolt-priv.h"

#define CHUNK (256u << 10)
/* An element's place within its page, and its sizes, are 32-bit numbers. */
#define ITEM_MAX (1u << 30)
#define META_PAGES 2
#define FIRST_NODE 3

struct node {
	uint64_t page;
	uint64_t pages;    /* with the overflow */
	uint32_t n;        /* items, or children */
	uint32_t first;    /* a branch: its first child, as an index into nodes */
	size_t key;        /* its first key, in `keys` */
	uint32_t key_size;
	bool leaf;
};

struct bolt_out {
	struct store_view *view;
	struct bolt_items *items;
	struct node *nodes;
	size_t n_nodes, cap_nodes;
	struct buf keys;
	size_t bucket_first[BOLT_N_BUCKETS]; /* index of the bucket's first node */
	uint64_t root[BOLT_N_BUCKETS];       /* page */
	uint64_t next_page;                  /* the layout's end */
	/* The second pass. */
	bool began;
	size_t at;
	int bucket;
};

uint64_t bolt__checksum(const uint8_t *p, size_t n)
{
	uint64_t h = 14695981039346656037ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211ULL;
	return h;
}

static void put_le16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

/* --- Layout --------------------------------------------------------------------------------------------------------- */

static struct node *add_node(struct bolt_out *b, bool leaf, struct str first_key)
{
	struct node *n;

	if (b->n_nodes == b->cap_nodes) {
		b->cap_nodes = b->cap_nodes ? b->cap_nodes * 2 : 256;
		b->nodes = xrealloc(b->nodes, b->cap_nodes * sizeof(*b->nodes));
	}
	n = &b->nodes[b->n_nodes++];
	*n = (struct node){.leaf = leaf, .key = b->keys.n, .key_size = (uint32_t)first_key.n};
	buf_adds(&b->keys, first_key);
	return n;
}

static void place(struct bolt_out *b, struct node *n, uint64_t bytes)
{
	n->page = b->next_page;
	n->pages = (bytes + BOLT_PAGE - 1) / BOLT_PAGE;
	b->next_page += n->pages;
}

/* Items fill a page until the next one does not fit; one that fits into no page has pages of its own. */
static bool fits(uint64_t used, const struct bolt_item *i)
{
	return used + BOLT_ELEMENT + i->key.n + i->value.n <= BOLT_PAGE;
}

static int lay_leaves(struct bolt_out *b, enum bolt_bucket bucket, struct err *e)
{
	struct bolt_item i;
	struct node *n = NULL;
	uint64_t used = 0;
	int rc = bolt__items_begin(b->items, bucket, e);

	while (rc == 0 && (rc = bolt__items_next(b->items, &i, e)) == 1) {
		rc = 0;
		if (i.key.n + i.value.n > ITEM_MAX)
			return err_set(e, ERR_TOO_LARGE, "store: an item of %zu bytes does not fit into etcd's file format", i.value.n);
		if (n == NULL || !fits(used, &i)) {
			if (n != NULL)
				place(b, n, used);
			n = add_node(b, true, i.key);
			used = BOLT_HEAD;
		}
		n->n++;
		used += BOLT_ELEMENT + i.key.n + i.value.n;
	}
	if (rc != 0)
		return rc;
	if (n == NULL) {
		n = add_node(b, true, STR(""));
		used = BOLT_HEAD;
	}
	place(b, n, used);
	return 0;
}

/* One level of branches above nodes[from, to). */
static void lay_branches(struct bolt_out *b, size_t from, size_t to)
{
	struct node *n = NULL;
	uint64_t used = 0;

	for (size_t i = from; i < to; i++) {
		uint32_t size = b->nodes[i].key_size;

		if (n == NULL || used + BOLT_ELEMENT + size > BOLT_PAGE) {
			size_t key = b->nodes[i].key;

			if (n != NULL)
				place(b, n, used);
			n = add_node(b, false, STR(""));
			n->key = key;
			n->key_size = size;
			n->first = (uint32_t)i;
			used = BOLT_HEAD;
		}
		n->n++;
		used += BOLT_ELEMENT + size;
	}
	place(b, n, used);
}

static int lay_bucket(struct bolt_out *b, enum bolt_bucket bucket, struct err *e)
{
	size_t from = b->n_nodes, to;
	int rc = lay_leaves(b, bucket, e);

	if (rc != 0)
		return rc;
	b->bucket_first[bucket] = from;
	for (to = b->n_nodes; to - from > 1; to = b->n_nodes) {
		lay_branches(b, from, to);
		from = to;
	}
	if (b->n_nodes > UINT32_MAX)
		return err_set(e, ERR_TOO_LARGE, "store: too much data for etcd's file format");
	b->root[bucket] = b->nodes[b->n_nodes - 1].page;
	return 0;
}

int bolt_out_new(struct store_view *v, struct bolt_out **ret, struct err *e)
{
	struct bolt_out *b = xcalloc(1, sizeof(*b));
	int rc;

	b->view = v;
	buf_init(&b->keys, BUF_NO_LIMIT);
	b->next_page = FIRST_NODE;
	rc = bolt__items_new(v, &b->items, e);
	for (int k = 0; rc == 0 && k < BOLT_N_BUCKETS; k++)
		rc = lay_bucket(b, (enum bolt_bucket)k, e);
	if (rc != 0) {
		bolt_out_free(b);
		return rc;
	}
	*ret = b;
	return 0;
}

void bolt_out_free(struct bolt_out *b)
{
	if (b == NULL)
		return;
	bolt__items_free(b->items);
	free(b->nodes);
	buf_fini(&b->keys);
	free(b);
}

uint64_t bolt_out_size(const struct bolt_out *b)
{
	return (b->next_page + 1) * BOLT_PAGE; /* and the root's leaf */
}

/* --- Pages ------------------------------------------------------------------------------------------------------------- */

/* Zeroed pages with a head; returns where they begin in *out. */
static uint8_t *new_page(struct buf *out, uint64_t id, unsigned flags, uint32_t count, uint64_t pages)
{
	size_t size = pages * BOLT_PAGE;
	uint8_t *p = (uint8_t *)buf_reserve(out, size);

	memset(p, 0, size);
	put_le64(p, id);
	put_le16(p + 8, flags);
	put_le16(p + 10, count);
	put_le32(p + 12, (uint32_t)(pages - 1));
	buf_advance(out, size);
	return p;
}

static void put_leaf_element(uint8_t *page, uint32_t i, uint32_t flags, size_t *at, struct str key, struct str value)
{
	uint8_t *el = page + BOLT_HEAD + (size_t)i * BOLT_ELEMENT;

	put_le32(el, flags);
	put_le32(el + 4, (uint32_t)(page + *at - el));
	put_le32(el + 8, (uint32_t)key.n);
	put_le32(el + 12, (uint32_t)value.n);
	if (key.n)
		memcpy(page + *at, key.p, key.n);
	if (value.n)
		memcpy(page + *at + key.n, value.p, value.n);
	*at += key.n + value.n;
}

static void put_meta(struct bolt_out *b, struct buf *out, uint64_t id)
{
	uint8_t *m = new_page(out, id, BOLT_META, 0, 1) + BOLT_HEAD;

	put_le32(m, BOLT_MAGIC);
	put_le32(m + 4, BOLT_VERSION);
	put_le32(m + 8, BOLT_PAGE);
	put_le64(m + 16, b->next_page);     /* the root bucket's page, and its sequence: 0 */
	put_le64(m + 32, META_PAGES);       /* the free list's page */
	put_le64(m + 40, b->next_page + 1); /* pages in the file */
	put_le64(m + 48, id);               /* transaction: the higher one counts */
	put_le64(m + 56, bolt__checksum(m, BOLT_META_SIZE - 8));
}

static void put_root(struct bolt_out *b, struct buf *out)
{
	uint8_t *page = new_page(out, b->next_page, BOLT_LEAF, BOLT_N_BUCKETS, 1);
	size_t at = BOLT_HEAD + BOLT_N_BUCKETS * BOLT_ELEMENT;
	uint8_t header[BOLT_BUCKET_SIZE] = {0};

	for (uint32_t i = 0; i < BOLT_N_BUCKETS; i++) {
		put_le64(header, b->root[i]);
		put_leaf_element(page, i, BOLT_IS_BUCKET, &at, str_from(bolt__buckets[i]), str_of(header, sizeof(header)));
	}
}

static void put_branch(struct bolt_out *b, struct buf *out, const struct node *n)
{
	uint8_t *page = new_page(out, n->page, BOLT_BRANCH, n->n, n->pages);
	size_t at = BOLT_HEAD + (size_t)n->n * BOLT_ELEMENT;

	for (uint32_t i = 0; i < n->n; i++) {
		const struct node *child = &b->nodes[n->first + i];
		uint8_t *el = page + BOLT_HEAD + (size_t)i * BOLT_ELEMENT;

		put_le32(el, (uint32_t)(page + at - el));
		put_le32(el + 4, child->key_size);
		put_le64(el + 8, child->page);
		memcpy(page + at, b->keys.p + child->key, child->key_size);
		at += child->key_size;
	}
}

/* The second pass must meet what the first one met: a view does not change, so anything else is damage. */
static int differs(struct err *e)
{
	return err_set(e, ERR_CORRUPT, "store: reading the data twice did not give the same");
}

static int put_leaf(struct bolt_out *b, struct buf *out, const struct node *n, struct err *e)
{
	uint8_t *page = new_page(out, n->page, BOLT_LEAF, n->n, n->pages);
	size_t at = BOLT_HEAD + (size_t)n->n * BOLT_ELEMENT;

	for (uint32_t i = 0; i < n->n; i++) {
		struct bolt_item item;
		int rc = bolt__items_next(b->items, &item, e);

		if (rc < 0)
			return rc;
		if (rc == 0 || at + item.key.n + item.value.n > n->pages * BOLT_PAGE)
			return differs(e);
		put_leaf_element(page, i, 0, &at, item.key, item.value);
	}
	return 0;
}

static int put_node(struct bolt_out *b, struct buf *out, struct err *e)
{
	const struct node *n = &b->nodes[b->at];
	int rc = 0;

	while (b->bucket < BOLT_N_BUCKETS && b->bucket_first[b->bucket] == b->at && rc == 0)
		rc = bolt__items_begin(b->items, (enum bolt_bucket)b->bucket++, e);
	if (rc != 0)
		return rc;
	b->at++;
	if (n->leaf)
		return put_leaf(b, out, n, e);
	put_branch(b, out, n);
	return 0;
}

int bolt_out_next(struct bolt_out *b, struct buf *out, bool *ret_last, struct err *e)
{
	size_t limit = out->n + CHUNK;
	int rc = 0;

	*ret_last = false;
	if (!b->began) {
		put_meta(b, out, 0);
		put_meta(b, out, 1);
		new_page(out, META_PAGES, BOLT_FREELIST, 0, 1);
		b->began = true;
	}
	while (rc == 0 && b->at < b->n_nodes && out->n < limit)
		rc = put_node(b, out, e);
	if (rc == 0 && b->at == b->n_nodes && out->n < limit) {
		put_root(b, out);
		*ret_last = true;
	}
	return rc;
}

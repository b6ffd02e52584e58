/* Reading a bbolt file: trees of pages, walked in order, with every number checked against the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "io/x509.h"
#include "store/bolt-priv.h"

#define MAX_DEPTH 32
#define SUM_SIZE 32
/* etcd's mark of a file with a checksum: whole sectors, and then it. */
#define SECTOR 512

struct bolt_in {
	char *path;
	const uint8_t *p; /* mapped */
	size_t mapped, size; /* size: without the checksum */
	uint32_t page_size;
	uint64_t n_pages, root;
	bool checked;
};

struct walk {
	const struct bolt_in *in;
	uint64_t left; /* pages that may still be looked at: a file that goes in circles ends */
	int (*fn)(void *, struct str, struct str, struct err *);
	void *arg;
	/* Looking for a bucket instead. */
	const char *bucket;
	struct str found;
};

static int damaged(const struct bolt_in *in, uint64_t page, const char *what, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "%s is damaged: page %llu: %s", in->path, (unsigned long long)page, what);
}

static uint32_t get_le16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

/* --- Pages ------------------------------------------------------------------------------------------------------------ */

/* A page's bytes: its own and its overflow. `id` is for messages when the page stands inside of a bucket's value. */
static int walk_page(struct walk *w, uint64_t id, struct str page, int depth, struct err *e);

static int walk_id(struct walk *w, uint64_t id, int depth, struct err *e)
{
	const struct bolt_in *in = w->in;
	const uint8_t *p;
	uint64_t pages;

	if (id >= in->n_pages || depth > MAX_DEPTH)
		return damaged(in, id, depth > MAX_DEPTH ? "too deep a tree" : "it is behind the end", e);
	p = in->p + id * in->page_size;
	pages = (uint64_t)get_le32(p + 12) + 1;
	if (pages > in->n_pages - id)
		return damaged(in, id, "it reaches behind the end", e);
	if (pages > w->left)
		return damaged(in, id, "it is met twice", e);
	w->left -= pages;
	return walk_page(w, id, str_of(p, pages * in->page_size), depth, e);
}

/* `size` bytes at `at`, an element's idea, within the page. */
static bool part(struct str page, uint64_t at, uint64_t size, struct str *ret)
{
	if (at > page.n || size > page.n - at)
		return false;
	*ret = str_of(page.p + at, size);
	return true;
}

static int leaf(struct walk *w, uint64_t id, struct str page, uint32_t n, struct err *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		uint64_t at = BOLT_HEAD + (uint64_t)i * BOLT_ELEMENT;
		const uint8_t *el = (const uint8_t *)page.p + at;
		uint32_t flags = get_le32(el), ksize = get_le32(el + 8);
		struct str key, value;

		if (!part(page, at + get_le32(el + 4), ksize, &key) ||
				!part(page, at + get_le32(el + 4) + ksize, get_le32(el + 12), &value))
			return damaged(w->in, id, "an item is outside", e);
		if (w->bucket != NULL) {
			if ((flags & BOLT_IS_BUCKET) && str_eqc(key, w->bucket))
				w->found = value;
		} else if (flags & BOLT_IS_BUCKET) {
			return damaged(w->in, id, "a bucket inside of etcd's buckets", e);
		} else {
			rc = w->fn(w->arg, key, value, e);
		}
	}
	return rc;
}

static int walk_page(struct walk *w, uint64_t id, struct str page, int depth, struct err *e)
{
	const uint8_t *p = (const uint8_t *)page.p;
	uint32_t flags, n;
	int rc = 0;

	if (page.n < BOLT_HEAD)
		return damaged(w->in, id, "it is too short", e);
	flags = get_le16(p + 8);
	n = get_le16(p + 10);
	if ((uint64_t)n * BOLT_ELEMENT > page.n - BOLT_HEAD)
		return damaged(w->in, id, "more items than it has room for", e);
	if (flags & BOLT_LEAF)
		return leaf(w, id, page, n, e);
	if (!(flags & BOLT_BRANCH))
		return damaged(w->in, id, "neither leaf nor branch", e);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = walk_id(w, get_le64(p + BOLT_HEAD + (size_t)i * BOLT_ELEMENT + 8), depth + 1, e);
	return rc;
}

int bolt_in_each(struct bolt_in *in, const char *bucket, int (*fn)(void *, struct str, struct str, struct err *), void *arg,
		struct err *e)
{
	struct walk find = {.in = in, .left = in->n_pages, .bucket = bucket}, all = {.in = in, .left = in->n_pages, .fn = fn, .arg = arg};
	uint64_t root;
	int rc = walk_id(&find, in->root, 0, e);

	if (rc != 0 || find.found.p == NULL)
		return rc;
	if (find.found.n < BOLT_BUCKET_SIZE)
		return damaged(in, in->root, "a bucket without a head", e);
	root = get_le64((const uint8_t *)find.found.p);
	/* A small bucket stands where it is named. */
	return root ? walk_id(&all, root, 0, e) : walk_page(&all, in->root, str_skip(find.found, BOLT_BUCKET_SIZE), 0, e);
}

/* --- The file --------------------------------------------------------------------------------------------------------- */

static bool meta_ok(const uint8_t *m)
{
	return get_le32(m) == BOLT_MAGIC && get_le32(m + 4) == BOLT_VERSION &&
	       get_le64(m + 56) == bolt__checksum(m, BOLT_META_SIZE - 8);
}

static int read_meta(struct bolt_in *in, struct err *e)
{
	const uint8_t *best = NULL;

	/* The second stands behind the first, whatever a page's size is. */
	if (in->size >= BOLT_HEAD + BOLT_META_SIZE && meta_ok(in->p + BOLT_HEAD))
		best = in->p + BOLT_HEAD;
	for (size_t size = 1024; size <= 65536; size *= 2) {
		const uint8_t *m = in->p + size + BOLT_HEAD;

		if (size + BOLT_HEAD + BOLT_META_SIZE > in->size || !meta_ok(m) || get_le32(m + 8) != size)
			continue;
		if (best == NULL || get_le64(m + 48) > get_le64(best + 48))
			best = m;
	}
	if (best == NULL)
		return err_set(e, ERR_CORRUPT, "%s is no database file of etcd 3, or both its meta pages are damaged", in->path);
	in->page_size = get_le32(best + 8);
	in->root = get_le64(best + 16);
	if (in->page_size < 1024 || in->page_size > 65536 || (in->page_size & (in->page_size - 1)) != 0)
		return err_set(e, ERR_CORRUPT, "%s is damaged: pages of %u bytes", in->path, in->page_size);
	in->n_pages = in->size / in->page_size;
	return 0;
}

static int check_sum(struct bolt_in *in, struct err *e)
{
	uint8_t sum[SUM_SIZE];

	if (in->mapped % SECTOR != SUM_SIZE)
		return 0;
	in->size = in->mapped - SUM_SIZE;
	x509_sha256(str_of(in->p, in->size), sum);
	if (memcmp(sum, in->p + in->size, SUM_SIZE) != 0)
		return err_set(e, ERR_CORRUPT, "%s is damaged: its checksum does not match", in->path);
	in->checked = true;
	return 0;
}

bool bolt_is(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t head[BOLT_HEAD + 4];

	return fd >= 0 && pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) && get_le32(head + BOLT_HEAD) == BOLT_MAGIC;
}

int bolt_in_open(const char *path, struct bolt_in **ret, struct err *e)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct bolt_in *in;
	struct stat st;
	void *p;
	int rc;

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_set_errno(e, errno, "cannot open %s", path);
	if (st.st_size <= 0)
		return err_set(e, ERR_CORRUPT, "%s is empty", path);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_set_errno(e, errno, "cannot read %s", path);
	in = xcalloc(1, sizeof(*in));
	in->path = xstrdup(path);
	in->p = p;
	in->mapped = in->size = (size_t)st.st_size;
	rc = check_sum(in, e);
	if (rc == 0)
		rc = read_meta(in, e);
	if (rc != 0) {
		bolt_in_close(in);
		return rc;
	}
	*ret = in;
	return 0;
}

void bolt_in_close(struct bolt_in *in)
{
	if (in == NULL)
		return;
	munmap((void *)(uintptr_t)in->p, in->mapped);
	free(in->path);
	free(in);
}

bool bolt_in_checked(const struct bolt_in *in)
{
	return in->checked;
}

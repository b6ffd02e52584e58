/*
 * LMDB's pages without LMDB (store/pages.h): a file that LMDB has written, with some of its bytes changed. Whatever they are, a walk ends, stays
 * within its pages, and shows keys in their order or says what is damaged. The input is a list of changes: page, place in it (2 bytes), how many
 * bytes (1 to 8), the bytes.
 */
#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "store/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

#define MAP_SIZE (1u << 20)
#define MAX_PAGES 256

static struct {
	MDB_env *env;
	MDB_txn *txn;
	char path[64];
	int fd;
	size_t page_size, n;
	uint8_t *image;
} file;

static void put(MDB_txn *txn, MDB_dbi dbi, const void *key, size_t key_size, const void *value, size_t size)
{
	MDB_val k = {key_size, (void *)(uintptr_t)key}, v = {size, (void *)(uintptr_t)value};

	ASSERT(mdb_put(txn, dbi, &k, &v, 0) == 0);
}

/* Trees of one, two and three levels, a value with pages of its own, and pages that are free again. */
static void fill(void)
{
	static char big[9000];
	MDB_dbi longs, ints, one;
	char key[400];
	MDB_txn *txn;

	ASSERT(mdb_txn_begin(file.env, NULL, 0, &txn) == 0);
	ASSERT(mdb_dbi_open(txn, "longs", MDB_CREATE, &longs) == 0 && mdb_dbi_open(txn, "ints", MDB_CREATE | MDB_INTEGERKEY, &ints) == 0 &&
	       mdb_dbi_open(txn, "one", MDB_CREATE, &one) == 0);
	memset(key, 'k', sizeof(key));
	for (int i = 0; i < 150; i++) {
		snprintf(key, 8, "%06d", i);
		put(txn, longs, key, sizeof(key), "value", 5);
	}
	put(txn, longs, "zz", 2, big, sizeof(big));
	for (size_t i = 0; i < 500; i++)
		put(txn, ints, &i, sizeof(i), "number", 6);
	put(txn, one, "alone", 5, "", 0);
	ASSERT(mdb_txn_commit(txn) == 0 && mdb_txn_begin(file.env, NULL, 0, &txn) == 0);
	for (int i = 40; i < 80; i++) {
		MDB_val k = {sizeof(key), key};

		snprintf(key, 8, "%06d", i);
		ASSERT(mdb_del(txn, longs, &k, NULL) == 0);
	}
	ASSERT(mdb_txn_commit(txn) == 0);
}

static void make(void)
{
	MDB_envinfo info;
	MDB_stat stat;

	file.fd = memfd_create("pages", MFD_CLOEXEC);
	ASSERT(file.fd >= 0);
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	ASSERT(mdb_env_create(&file.env) == 0 && mdb_env_set_maxdbs(file.env, 3) == 0 && mdb_env_set_mapsize(file.env, MAP_SIZE) == 0);
	ASSERT(mdb_env_open(file.env, file.path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600) == 0);
	fill();
	ASSERT(mdb_txn_begin(file.env, NULL, MDB_RDONLY, &file.txn) == 0 && mdb_stat(file.txn, 1, &stat) == 0);
	ASSERT(mdb_env_info(file.env, &info) == 0);
	file.page_size = stat.ms_psize;
	file.n = info.me_last_pgno + 1;
	ASSERT(file.n <= MAX_PAGES);
	file.image = xcalloc(file.n, file.page_size);
	ASSERT(pread(file.fd, file.image, file.n * file.page_size, 0) > 0);
}

/* False: damaged. */
static bool walk_all(struct pages *p, const struct tree *t, bool trees)
{
	struct walk w = {.pages = p};
	struct walk_node n;
	struct str found;
	bool there, whole = walk_begin(&w, t, STR_NULL, NULL) == 0;

	while (whole && w.n > 0) {
		struct str last = STR_NULL;

		for (unsigned i = 0; whole && i < w.n; i++) {
			struct tree below;
			unsigned sum = 0;

			whole = walk_node(&w, i, &n, NULL) == 0;
			if (!whole)
				break;
			ASSERT(i == 0 || t->flags & MDB_INTEGERKEY || str_cmp(last, n.key) < 0);
			last = n.key;
			for (size_t j = 0; j < n.value.n; j++)
				sum += (uint8_t)n.value.p[j];
			ASSERT(sum <= n.value.n * 255);
			if (trees && n.is_tree)
				whole = tree_decode(n.value, &below, NULL) == 0 && walk_all(p, &below, false);
		}
		whole = whole && walk_next(&w, NULL) == 0;
	}
	walk_end(&w);
	if (t->flags & MDB_INTEGERKEY)
		return whole;
	w = (struct walk){.pages = p};
	if (walk_find(&w, t, STR("zz"), &there, &found, NULL) == 0 && there)
		ASSERT(found.n < MAP_SIZE);
	walk_end(&w);
	return whole;
}

static bool look(void)
{
	struct pages p;
	bool whole = pages_open(&p, file.path, file.fd, file.txn, NULL) == 0;
	uint8_t *used;

	if (!whole)
		return false;
	used = xcalloc(1, p.n / 8 + 1);
	whole = tree_check(&p, &p.free, used, NULL) == 0;
	whole = tree_check(&p, &p.main, used, NULL) == 0 && whole;
	whole = walk_all(&p, &p.free, false) && whole;
	whole = walk_all(&p, &p.main, true) && whole;
	free(used);
	pages_close(&p);
	return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	bool changed[MAX_PAGES] = {false};
	const uint8_t *end = p + size;

	if (!file.env) {
		make();
		ASSERT(look());
	}
	while (end - p > 4) {
		size_t page = p[0] % file.n, at = (size_t)(p[1] | p[2] << 8) % file.page_size, n = (size_t)(p[3] & 7) + 1;

		p += 4;
		n = MIN(MIN(n, (size_t)(end - p)), file.page_size - at);
		ASSERT(pwrite(file.fd, p, n, (off_t)(page * file.page_size + at)) == (ssize_t)n);
		changed[page] = true;
		p += n;
	}
	(void)look();
	for (size_t i = 0; i < file.n; i++)
		if (changed[i])
			ASSERT(pwrite(file.fd, file.image + i * file.page_size, file.page_size, (off_t)(i * file.page_size)) ==
			       (ssize_t)file.page_size);
	return 0;
}

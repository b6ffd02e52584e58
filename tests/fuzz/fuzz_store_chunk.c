/*
 * What a peer may send as a snapshot: the input is a chunk as it is, and again as the payload of a chunk with right
 * checksums, so that the records behind them are reached. The records of the database are decoded from it, too.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "store/record.h"
#include "store/snapshot.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static char dir[64];
static struct store *store;

static void tidy(void)
{
	DIR *d;
	struct dirent *ent;

	store_abandon(store);
	d = opendir(dir);
	while (d != NULL && (ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			(void)unlinkat(dirfd(d), ent->d_name, 0);
	if (d != NULL)
		closedir(d);
	(void)rmdir(dir);
}

static void start(void)
{
	struct store_cfg cfg = {.dir = dir, .no_sync = true, .map_size = 1 << 26};

	snprintf(dir, sizeof(dir), "/tmp/kontiki-fuzz.XXXXXX");
	ASSERT(mkdtemp(dir) != NULL);
	ASSERT(store_open(&cfg, &store, NULL) == 0);
	atexit(tidy);
}

static void install(struct str chunk)
{
	struct store_install *in;
	bool last = false;

	ASSERT(store_install_begin(store, &in, NULL) == 0);
	if (store_install_chunk(in, chunk, &last, NULL) == 0 && last)
		ASSERT(store_install_sync(in, NULL) == 0);
	store_install_abort(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str in = str_of(p, size);
	struct buf chunk = BUF_INIT;
	struct change c;
	struct head h;
	uint8_t *b;

	if (store == NULL)
		start();
	(void)head_decode(STR("key"), in, &h, NULL);
	(void)change_decode((struct rev){5, 0}, in, &c, NULL);
	if (size > CHUNK_PAYLOAD)
		return 0;
	install(in);
	b = (uint8_t *)buf_reserve(&chunk, CHUNK_HEADER);
	put_le32(b + CHUNK_MAGIC_AT, CHUNK_MAGIC);
	put_le32(b + CHUNK_FORMAT, 1);
	put_le64(b + CHUNK_NUMBER, 0);
	put_le32(b + CHUNK_FLAGS, CHUNK_LAST);
	put_le32(b + CHUNK_SIZE, (uint32_t)size);
	put_le32(b + CHUNK_CRC, crc32c(crc32c(0, b, CHUNK_CRC), p, size));
	buf_advance(&chunk, CHUNK_HEADER);
	buf_add(&chunk, p, size);
	install(buf_str(&chunk));
	buf_fini(&chunk);
	return 0;
}

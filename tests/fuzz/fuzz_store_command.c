/*
 * Commands and reads as a client could make them, applied to a store that holds a little of everything. Every input is
 * rolled back. The form check that proposers use and the one inside apply must agree.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "store/store.h"
#include "store/view.h"

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

/* Command{lease_grant{TTL 9, ID 1}}, then puts of "a" and "b" with and without it, a delete, a compaction. */
static const struct str first[] = {
		STR_INIT("\x72\x04\x08\x09\x10\x01"),
		STR_INIT("\x5a\x06\x0a\x01" "a" "\x12\x01" "1"),
		STR_INIT("\x5a\x08\x0a\x01" "b" "\x12\x01" "1" "\x18\x01"),
		STR_INIT("\x5a\x06\x0a\x01" "a" "\x12\x01" "2"),
		STR_INIT("\x62\x03\x0a\x01" "a"),
		STR_INIT("\x5a\x06\x0a\x01" "a" "\x12\x01" "3"),
		STR_INIT("\x6a\x02\x08\x04"),
		/* Users root and alice, a role r for alice that may read and write "a"; authentication on. */
		STR_INIT("\x82\x02\x0a\x0a\x04" "root" "\x1a\x02\x08\x01"),
		STR_INIT("\x9a\x02\x0c\x0a\x04" "root" "\x12\x04" "root"),
		STR_INIT("\xaa\x02\x03\x0a\x01" "r"),
		STR_INIT("\xba\x02\x0a\x0a\x01" "r" "\x12\x05\x08\x02\x12\x01" "a"),
		STR_INIT("\x82\x02\x0b\x0a\x05" "alice" "\x1a\x02\x08\x01"),
		STR_INIT("\x9a\x02\x0a\x0a\x05" "alice" "\x12\x01" "r"),
		STR_INIT("\xf2\x01\x00"),
};

static void start(void)
{
	struct store_cfg cfg = {.dir = dir, .no_sync = true, .map_size = 1 << 26};
	struct store_result r;
	struct buf out = BUF_INIT;

	snprintf(dir, sizeof(dir), "/tmp/kontiki-fuzz.XXXXXX");
	ASSERT(mkdtemp(dir) != NULL);
	ASSERT(store_open(&cfg, &store, NULL) == 0);
	atexit(tidy);
	ASSERT(store_begin(store, NULL) == 0);
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		buf_clear(&out);
		ASSERT(store_apply(store, i + 1, 1, first[i], &out, NULL) == 0);
		ASSERT(store_result_parse(buf_str(&out), &r, NULL) == 0 && r.grpc_code == 0);
	}
	ASSERT(store_commit(store, NULL) == 0);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct str in = str_of(p, size);
	struct store_result r = {0};
	struct store_view *v;
	struct buf out = BUF_INIT;
	bool refused;

	if (store == NULL)
		start();
	refused = store_command_check(in, NULL) != 0;
	ASSERT(store_begin(store, NULL) == 0);
	ASSERT(store_apply(store, 100, 1, in, &out, NULL) == 0);
	ASSERT(store_result_parse(buf_str(&out), &r, NULL) == 0);
	ASSERT(!refused || r.grpc_code != 0);
	(void)store_result_err(&r, NULL);
	store_rollback(store);
	ASSERT(store_view_open(store, &v, NULL) == 0);
	buf_clear(&out);
	(void)view_range_request(v, in, &out, NULL);
	buf_clear(&out);
	(void)view_txn_request(v, in, &out, NULL);
	(void)store_txn_is_readonly(in);
	(void)store_result_parse(in, &r, NULL);
	store_view_close(v);
	buf_fini(&out);
	return 0;
}

/*
 * A member's small files: whatever bytes raft/member, raft/vote, raft/peers or the store's checkpoint have, they are taken or refused. The first
 * byte chooses the file. Half of the inputs get a checksum that fits, so that what is behind it is reached.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "raft/bytes.h"
#include "raft/repair.h"
#include "raft/stable.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static char dir[] = "/tmp/fuzz_stable.XXXXXX";
static const char *const names[] = {"member", "vote", "peers", "checkpoint"};
enum { CHECKPOINT = 3 };

static void clean(void)
{
	char path[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/lock", dir);
	unlink(path);
	rmdir(dir);
}

static void put(const char *name, const uint8_t *p, size_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ASSERT(fd >= 0 && write(fd, p, size) == (ssize_t)size);
	close(fd);
}

/* Where each of them has its checksum. */
static void make_fit(unsigned which, uint8_t *p, size_t size)
{
	if (which == CHECKPOINT && size > 4)
		put_u32(p + size - 4, crc32c(0, p, size - 4));
	else if (which == 1 && size >= 36)
		put_u32(p + 4, crc32c(0, p + 8, 28));
	else if (size > 8)
		put_u32(p + 4, crc32c(0, p + 8, size - 8));
}

static void read_small(void)
{
	char addrs[KV_MAX_MEMBERS][KV_ADDR_MAX];
	struct disk_posix disk;
	struct stable s;

	ASSERT(disk_posix_init(&disk, dir, true) == 0);
	if (stable_open(&s, &disk.disk, NULL) == 0) {
		ASSERT(memchr(s.name, '\0', sizeof(s.name)) != NULL);
		stable_close(&s);
	}
	(void)repair_addresses(&disk.disk, "n1", addrs);
	disk_posix_fini(&disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct store_cfg cfg = {.dir = dir, .no_sync = true};
	struct store *store;
	unsigned which;
	uint8_t *copy;

	if (size < 2)
		return 0;
	if (access(dir, F_OK) != 0) {
		ASSERT(mkdtemp(dir) != NULL);
		atexit(clean);
		log_set_level("none");
	}
	which = p[0] % ARRAY_LEN(names);
	copy = xmalloc(size);
	memcpy(copy, p + 1, size - 1);
	if (p[0] & 0x80)
		make_fit(which, copy, size - 1);
	put(names[which], copy, size - 1);
	free(copy);
	/* With a checkpoint that fits, the database file that it names is not there. */
	if (which != CHECKPOINT)
		read_small();
	else if (store_open(&cfg, &store, NULL) == 0)
		store_abandon(store);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return 0;
}

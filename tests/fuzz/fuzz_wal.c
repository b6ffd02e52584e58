/* A damaged write-ahead log: the input is the first segment file. It is read or refused, and what was read can be read again. */
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/util.h"
#include "raft/wal.h"
#include "tests/sim/simdisk.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

struct count {
	struct wal_reader reader;
	size_t n;
};

static void on_entry(struct wal_reader *r, uint64_t index _unused_, uint64_t term _unused_, uint8_t type _unused_,
		     struct str data, struct wal_pos pos _unused_)
{
	volatile char last = data.n ? data.p[data.n - 1] : 0;

	(void)last;
	container_of(r, struct count, reader)->n++;
}

static void on_reset(struct wal_reader *r _unused_, uint64_t index _unused_, uint64_t term _unused_)
{
}

static int open_once(struct simdisk *d, size_t *ret_n, struct wal *ret_damage)
{
	struct count c = {.reader = {.entry = on_entry, .reset = on_reset}};
	struct wal w;
	int rc = wal_open(&w, &d->disk, 7, 8, 4096, WAL_TRUST_ALL, &c.reader, NULL);

	*ret_n = c.n;
	*ret_damage = w;
	if (rc == 0)
		wal_close(&w);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct rng rng = {1};
	struct simdisk d;
	size_t first, again;
	struct wal w;
	int fd, rc;

	if (size > 1 << 16)
		return 0;
	log_threshold = LOG_ERROR;
	simdisk_init(&d, &rng);
	fd = d.disk.ops->open(&d.disk, "00000001.wal", true);
	d.disk.ops->pwrite(&d.disk, fd, p, size, 0);
	rc = open_once(&d, &first, &w);
	if (rc == 0) {
		ASSERT(open_once(&d, &again, &w) == 0);
		ASSERT(first == again);
	} else if (rc == -(int)ERR_CORRUPT && w.damaged_segment) {
		/* What is before the damage can be had. */
		ASSERT(wal_repair(&d.disk, w.damaged_segment, w.damaged_offset, NULL) == 0);
		ASSERT(open_once(&d, &again, &w) == 0);
	}
	simdisk_fini(&d);
	return 0;
}

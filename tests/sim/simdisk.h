/*
 * A disk that forgets: file contents and names are durable only when they were synced. A power loss keeps, of each
 * sector and each name that was not, the old or the new state by the toss of a coin. A killed process loses nothing, but
 * what it had not synced stays forgettable.
 */
#ifndef TESTS_SIM_SIMDISK_H
#define TESTS_SIM_SIMDISK_H

#include "raft/disk.h"
#include "tests/sim/rng.h"

#define SIMDISK_MAX_FILES 256

struct simfile {
	char name[40];    /* now; "" when removed */
	char durable[40]; /* after a power loss; "" when it would be gone */
	uint8_t *data, *synced;
	uint64_t size, synced_size, cap, synced_cap;
	bool used;
};

struct simdisk {
	struct disk disk;
	struct simfile files[SIMDISK_MAX_FILES];
	struct rng *rng;
	int fail_after; /* >= 0: so many more changing calls work, then all fail with -EIO (a crash in the middle) */
};

void simdisk_init(struct simdisk *, struct rng *);
void simdisk_fini(struct simdisk *);
void simdisk_power_loss(struct simdisk *);
/* Flip one bit of a random durable WAL byte; false when there is none. */
bool simdisk_rot(struct simdisk *);

#endif

/*
 * A disk that forgets: file contents and names are durable only when they were synced. A power loss keeps, of each
 * sector and each name that was not, the old or the new state by the toss of a coin. A killed process loses nothing, but
 * what it had not synced stays forgettable.
 */
#ifndef TESTS_SIM_SIMDISK_H
#define TESTS_SIM_SIMDISK_H

#include "raft/disk.h"
#include "tests/lib/rng.h"

#define SIMDISK_MAX_FILES 256

struct simfile {
	char name[40];    /* now; "" when removed */
	char durable[40]; /* after a power loss; "" when it would be gone */
	uint8_t *data, *synced;
	uint64_t size, synced_size, cap, synced_cap;
	/* Sectors that a failed sync gave up: they read as written, and no later sync brings them to the disk. */
	uint8_t *lost;
	uint64_t n_lost;
	bool used;
};

/* What is wrong with the disk at the moment. FULL: files do not grow. SYNC: writes are taken, syncs fail and forget. */
enum simdisk_fault { SIMDISK_FINE, SIMDISK_EIO, SIMDISK_FULL, SIMDISK_SYNC };

struct simdisk {
	struct disk disk;
	struct simfile files[SIMDISK_MAX_FILES];
	struct rng *rng;
	enum simdisk_fault fault;
	int fail_after; /* >= 0: so many more changing calls work, then all fail with -EIO (a crash in the middle) */
};

void simdisk_init(struct simdisk *, struct rng *);
void simdisk_fini(struct simdisk *);
void simdisk_power_loss(struct simdisk *);
/* Flip one bit of a random durable byte of a file with this in its name; false when there is none. */
bool simdisk_rot(struct simdisk *, const char *name);
/* One bit of the byte at this place of the file; false when it is not there. */
bool simdisk_flip(struct simdisk *, const char *name, uint64_t offset);
/* A byte in each checksummed part of this file (at `stride` bytes from each other), so that no part is left. */
void simdisk_ruin(struct simdisk *, const char *name, uint64_t stride);

#endif

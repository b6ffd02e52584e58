#include "tests/sim/simdisk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define SECTOR 512

static struct simdisk *of(struct disk *d)
{
	return container_of(d, struct simdisk, disk);
}

/* A changing call: does it still work? */
static bool dead(struct simdisk *d)
{
	if (d->fail_after < 0)
		return false;
	if (d->fail_after == 0)
		return true;
	d->fail_after--;
	return false;
}

/* The same as the error of a call that needs the disk in some way; 0: it works. */
static int fault(struct simdisk *d, bool grows, bool syncs)
{
	if (dead(d))
		return -EIO;
	if (d->fault == SIMDISK_EIO || (syncs && d->fault == SIMDISK_SYNC))
		return -EIO;
	return grows && d->fault == SIMDISK_FULL ? -ENOSPC : 0;
}

static struct simfile *find(struct simdisk *d, const char *name)
{
	for (int i = 0; i < SIMDISK_MAX_FILES; i++)
		if (d->files[i].used && strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	return NULL;
}

static int sim_open(struct disk *disk, const char *path, bool create)
{
	struct simdisk *d = of(disk);
	struct simfile *f = find(d, path);

	if (!f && !create)
		return -ENOENT;
	if (!f) {
		int rc = fault(d, true, false);

		if (rc < 0)
			return rc;
		for (int i = 0; i < SIMDISK_MAX_FILES && !f; i++)
			if (!d->files[i].used)
				f = &d->files[i];
		ASSERT(f);
		*f = (struct simfile){.used = true};
		snprintf(f->name, sizeof(f->name), "%s", path);
	}
	return (int)(f - d->files);
}

static void sim_close(struct disk *disk _unused_, int fd _unused_)
{
}

static void resize(uint8_t **p, uint64_t *cap, uint64_t old, uint64_t size)
{
	if (size > *cap) {
		*cap = MAX(size, *cap * 2);
		*p = xrealloc(*p, *cap);
	}
	if (size > old)
		memset(*p + old, 0, size - old);
}

static int64_t sim_pread(struct disk *disk, int fd, void *p, size_t size, uint64_t offset)
{
	struct simfile *f = &of(disk)->files[fd];
	size_t n = offset < f->size ? MIN(size, f->size - offset) : 0;

	if (n)
		memcpy(p, f->data + offset, n);
	return (int64_t)n;
}

static int sim_pwrite(struct disk *disk, int fd, const void *p, size_t size, uint64_t offset)
{
	struct simfile *f = &of(disk)->files[fd];
	int rc = fault(of(disk), offset + size > f->size, false);

	if (rc < 0)
		return rc;
	if (size == 0)
		return 0;
	for (uint64_t s = offset / SECTOR; s <= (offset + size - 1) / SECTOR && s < f->n_lost; s++)
		f->lost[s] = 0;
	if (offset + size > f->size) {
		resize(&f->data, &f->cap, f->size, offset + size);
		f->size = offset + size;
	}
	memcpy(f->data + offset, p, size);
	return 0;
}

/* A sync that fails writes some of what is dirty and marks all of it clean. */
static void give_up(struct simdisk *d, struct simfile *f)
{
	uint64_t n = (f->size + SECTOR - 1) / SECTOR;

	if (n > f->n_lost) {
		f->lost = xrealloc(f->lost, n);
		memset(f->lost + f->n_lost, 0, n - f->n_lost);
		f->n_lost = n;
	}
	for (uint64_t s = 0; s < n; s++) {
		uint64_t o = s * SECTOR, len = MIN(SECTOR, f->size - o);
		bool dirty = o + len > f->synced_size || memcmp(f->data + o, f->synced + o, len) != 0;

		if (dirty && rng_chance(d->rng, 70))
			f->lost[s] = 1;
	}
}

static int sim_sync(struct disk *disk, int fd)
{
	struct simfile *f = &of(disk)->files[fd];
	int rc = fault(of(disk), false, true);

	if (rc < 0) {
		if (of(disk)->fault == SIMDISK_SYNC)
			give_up(of(disk), f);
		return rc;
	}
	resize(&f->synced, &f->synced_cap, MIN(f->synced_size, f->size), f->size);
	for (uint64_t o = 0; o < f->size; o += SECTOR)
		if (o / SECTOR >= f->n_lost || !f->lost[o / SECTOR])
			memcpy(f->synced + o, f->data + o, MIN(SECTOR, f->size - o));
	f->synced_size = f->size;
	return 0;
}

static int sim_truncate(struct disk *disk, int fd, uint64_t size)
{
	struct simfile *f = &of(disk)->files[fd];
	int rc = fault(of(disk), size > f->size, false);

	if (rc < 0)
		return rc;
	/* The sector that is cut is written again. */
	if (size < f->size && size / SECTOR < f->n_lost)
		memset(f->lost + size / SECTOR, 0, f->n_lost - size / SECTOR);
	resize(&f->data, &f->cap, f->size, size);
	f->size = size;
	return 0;
}

static int64_t sim_size(struct disk *disk, int fd)
{
	return (int64_t)of(disk)->files[fd].size;
}

/* A name that nobody has any more, now or after a power loss, goes for good. */
static void reap(struct simfile *f)
{
	if (f->name[0] || f->durable[0])
		return;
	free(f->data);
	free(f->synced);
	free(f->lost);
	*f = (struct simfile){.used = false};
}

static int sim_rename(struct disk *disk, const char *from, const char *to)
{
	struct simdisk *d = of(disk);
	struct simfile *f = find(d, from), *old = find(d, to);
	int rc = fault(d, false, false);

	if (rc < 0)
		return rc;
	if (!f)
		return -ENOENT;
	if (old) {
		old->name[0] = '\0';
		reap(old);
	}
	snprintf(f->name, sizeof(f->name), "%s", to);
	return 0;
}

static int sim_unlink(struct disk *disk, const char *path)
{
	struct simfile *f = find(of(disk), path);
	int rc = fault(of(disk), false, false);

	if (rc < 0)
		return rc;
	if (!f)
		return -ENOENT;
	f->name[0] = '\0';
	reap(f);
	return 0;
}

static int sim_sync_dir(struct disk *disk)
{
	struct simdisk *d = of(disk);
	int rc = fault(d, false, true);

	if (rc < 0)
		return rc;
	for (int i = 0; i < SIMDISK_MAX_FILES; i++)
		if (d->files[i].used) {
			memcpy(d->files[i].durable, d->files[i].name, sizeof(d->files[i].name));
			reap(&d->files[i]);
		}
	return 0;
}

static int sim_list(struct disk *disk, void (*fn)(void *arg, const char *name), void *arg)
{
	struct simdisk *d = of(disk);

	for (int i = 0; i < SIMDISK_MAX_FILES; i++)
		if (d->files[i].used && d->files[i].name[0])
			fn(arg, d->files[i].name);
	return 0;
}

/* There is no cache: what is read is what would be written. */
static void sim_uncache(struct disk *d _unused_, int fd _unused_)
{
}

static const struct disk_ops ops = {
	.open = sim_open,
	.close = sim_close,
	.pread = sim_pread,
	.pwrite = sim_pwrite,
	.sync = sim_sync,
	.truncate = sim_truncate,
	.allocate = sim_truncate,
	.size = sim_size,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.uncache = sim_uncache,
	.sync_dir = sim_sync_dir,
	.list = sim_list,
};

void simdisk_init(struct simdisk *d, struct rng *rng)
{
	*d = (struct simdisk){.disk = {&ops}, .rng = rng, .fail_after = -1};
}

void simdisk_fini(struct simdisk *d)
{
	for (int i = 0; i < SIMDISK_MAX_FILES; i++) {
		free(d->files[i].data);
		free(d->files[i].synced);
		free(d->files[i].lost);
	}
}

/* Of one file's unsynced sectors: none, all, a prefix, or any. */
static void lose_sectors(struct simdisk *d, struct simfile *f)
{
	unsigned mode = (unsigned)rng_below(d->rng, 4);
	uint64_t n = MAX(f->size, f->synced_size), prefix = rng_below(d->rng, n / SECTOR + 2) * SECTOR;
	uint64_t size = mode == 0 ? f->synced_size : mode == 1 ? f->size : rng_chance(d->rng, 50) ? f->size : f->synced_size;

	resize(&f->data, &f->cap, f->size, n);
	for (uint64_t o = 0; o < n; o += SECTOR) {
		bool gone = o / SECTOR < f->n_lost && f->lost[o / SECTOR];
		bool keep_new = !gone && (mode == 1 || (mode == 2 && o < prefix) || (mode == 3 && rng_chance(d->rng, 50)));
		uint64_t len = MIN(SECTOR, n - o), old = o < f->synced_size ? MIN(len, f->synced_size - o) : 0;

		if (keep_new)
			continue;
		memset(f->data + o, 0, len);
		if (old)
			memcpy(f->data + o, f->synced + o, old);
	}
	f->size = size;
}

void simdisk_power_loss(struct simdisk *d)
{
	d->fail_after = -1;
	d->fault = SIMDISK_FINE;
	for (int i = 0; i < SIMDISK_MAX_FILES; i++) {
		struct simfile *f = &d->files[i];

		if (!f->used)
			continue;
		if (strcmp(f->name, f->durable) != 0 && rng_chance(d->rng, 50)) {
			memcpy(f->name, f->durable, sizeof(f->name));
			/* Two files may now claim one name: the one that had it durably wins. */
			for (int j = 0; j < SIMDISK_MAX_FILES && f->name[0]; j++)
				if (j != i && d->files[j].used && strcmp(d->files[j].name, f->name) == 0)
					d->files[j].name[0] = '\0';
		}
		lose_sectors(d, f);
	}
	for (int i = 0; i < SIMDISK_MAX_FILES; i++) {
		struct simfile *f = &d->files[i];

		if (!f->used)
			continue;
		memcpy(f->durable, f->name, sizeof(f->name));
		resize(&f->synced, &f->synced_cap, 0, f->size);
		if (f->size)
			memcpy(f->synced, f->data, f->size);
		f->synced_size = f->size;
		f->n_lost = 0;
		reap(f);
	}
}

void simdisk_ruin(struct simdisk *d, const char *name, uint64_t stride)
{
	for (int i = 0; i < SIMDISK_MAX_FILES; i++)
		for (uint64_t at = 4; d->files[i].used && strcmp(d->files[i].name, name) == 0 && at < d->files[i].size; at += stride) {
			d->files[i].data[at] ^= 8;
			if (at < d->files[i].synced_size)
				d->files[i].synced[at] ^= 8;
		}
}

bool simdisk_rot(struct simdisk *d, const char *name)
{
	for (int tries = 0; tries < 64; tries++) {
		struct simfile *f = &d->files[rng_below(d->rng, SIMDISK_MAX_FILES)];

		if (!f->used || !strstr(f->name, name) || f->size == 0)
			continue;
		f->data[rng_below(d->rng, f->size)] ^= (uint8_t)(1u << rng_below(d->rng, 8));
		return true;
	}
	return false;
}

bool simdisk_flip(struct simdisk *d, const char *name, uint64_t offset)
{
	for (int i = 0; i < SIMDISK_MAX_FILES; i++) {
		struct simfile *f = &d->files[i];

		if (!f->used || strcmp(f->name, name) != 0 || offset >= f->size)
			continue;
		f->data[offset] ^= (uint8_t)(1u << rng_below(d->rng, 8));
		return true;
	}
	return false;
}

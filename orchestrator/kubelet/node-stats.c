/* What the machine has left: memory, disks, processes. All kubelets of one machine see the same. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"

void machine_memory(struct observation *ret)
{
	unsigned long long total = 0, available = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "MemTotal: %llu kB", &total);
		sscanf(line, "MemAvailable: %llu kB", &available);
	}
	if (f)
		fclose(f);
	*ret = (struct observation){(int64_t)MIN(available, total) * 1024, (int64_t)total * 1024};
}

static int64_t number_in(const char *path)
{
	FILE *f = fopen(path, "re");
	long long n = 0;

	if (f && fscanf(f, "%lld", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* Process ids that are left; threads take them, too. */
static void machine_pids(struct observation *ret)
{
	int64_t max = number_in("/proc/sys/kernel/pid_max"), threads = number_in("/proc/sys/kernel/threads-max");
	FILE *f = fopen("/proc/loadavg", "re");
	long long running = 0;
	bool known = f && fscanf(f, "%*s %*s %*s %*d/%lld", &running) == 1;

	if (f)
		fclose(f);
	if (threads > 0 && threads < max)
		max = threads;
	*ret = (struct observation){0};
	if (known && max > 0)
		*ret = (struct observation){MAX(max - running, (int64_t)0), max};
}

void disk_observe(const char *path, struct observation *bytes, struct observation *inodes)
{
	struct statvfs fs;

	*bytes = *inodes = (struct observation){0};
	if (statvfs(path, &fs) < 0)
		return;
	*bytes = (struct observation){(int64_t)fs.f_bavail * (int64_t)fs.f_frsize, (int64_t)fs.f_blocks * (int64_t)fs.f_frsize};
	/* File systems that make inodes as they need them say 0: none are ever lacking. */
	*inodes = (struct observation){(int64_t)fs.f_favail, (int64_t)fs.f_files};
}

void node_observe(const struct kubelet *k, struct observation o[N_SIGNALS], bool *ret_images_apart)
{
	const char *images = image_keeper_path(k->images) ? image_keeper_path(k->images) : k->containerd_dir;
	struct stat x, y;

	machine_memory(&o[SIG_MEMORY]);
	disk_observe(k->cfg->dir, &o[SIG_NODEFS], &o[SIG_NODEFS_INODES]);
	disk_observe(images, &o[SIG_IMAGEFS], &o[SIG_IMAGEFS_INODES]);
	machine_pids(&o[SIG_PID]);
	*ret_images_apart = stat(k->cfg->dir, &x) == 0 && stat(images, &y) == 0 && x.st_dev != y.st_dev;
}

#include "orchestrator/kubelet/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"

#define ROOT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

bool cgroup_is_v2(void)
{
	struct statfs s;

	return statfs(ROOT, &s) == 0 && s.f_type == CGROUP2_MAGIC;
}

uint64_t cgroup_shares_to_weight(int64_t shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return (uint64_t)(1 + ((shares - 2) * 9999) / 262142);
}

static void put(const char *dir, const char *file, const char *fmt, int64_t value)
{
	char path[PATH_MAX], text[64];
	int fd, n;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = snprintf(text, sizeof(text), fmt, value);
	/* A limit that the kernel refuses must not keep the pod from running; the containers have their own. */
	if (write(fd, text, (size_t)n) < 0)
		n = 0;
	close(fd);
}

/* Children of a v2 group get controllers only when each group above hands them down. */
static void hand_down(const char *path)
{
	char at[PATH_MAX];

	snprintf(at, sizeof(at), ROOT "%s", path);
	for (char *slash = at + strlen(ROOT); slash; slash = strchr(slash + 1, '/')) {
		char keep = *slash;

		*slash = '\0';
		put(at, "cgroup.subtree_control", "+cpu +memory +pids", 0);
		*slash = keep;
	}
}

static int setup_v2(const char *path, const struct cgroup_limits *l, struct err *e)
{
	char dir[PATH_MAX];
	int rc;

	snprintf(dir, sizeof(dir), ROOT "%s", path);
	rc = fs_mkdir_all(dir, 0755, e);
	if (rc < 0)
		return rc;
	hand_down(path);
	if (l->cpu_shares)
		put(dir, "cpu.weight", "%" PRId64, (int64_t)cgroup_shares_to_weight(l->cpu_shares));
	if (l->cpu_quota_us)
		put(dir, "cpu.max", "%" PRId64 " 100000", l->cpu_quota_us);
	if (l->memory_bytes)
		put(dir, "memory.max", "%" PRId64, l->memory_bytes);
	return 0;
}

int cgroup_setup(const char *path, const struct cgroup_limits *l, struct err *e)
{
	static const struct {
		const char *controller, *file;
		size_t value;
	} rows[] = {
		{"cpu", "cpu.shares", offsetof(struct cgroup_limits, cpu_shares)},
		{"cpu", "cpu.cfs_quota_us", offsetof(struct cgroup_limits, cpu_quota_us)},
		{"memory", "memory.limit_in_bytes", offsetof(struct cgroup_limits, memory_bytes)},
	};

	if (cgroup_is_v2())
		return setup_v2(path, l, e);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t v = *(const int64_t *)((const char *)l + rows[i].value);
		char dir[PATH_MAX];
		struct stat st;
		int rc;

		snprintf(dir, sizeof(dir), ROOT "/%s", rows[i].controller);
		if (v == 0 || stat(dir, &st) < 0)
			continue;
		snprintf(dir, sizeof(dir), ROOT "/%s%s", rows[i].controller, path);
		rc = fs_mkdir_all(dir, 0755, e);
		if (rc < 0)
			return rc;
		put(dir, rows[i].file, "%" PRId64, v);
	}
	return 0;
}

static int64_t read_number(const char *dir, const char *file)
{
	char path[PATH_MAX], text[32];
	int64_t v = 0;
	ssize_t n;
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n > 0) {
		text[n] = '\0';
		v = strtoll(text, NULL, 10);
	}
	return v;
}

static int64_t read_stat(const char *dir, const char *key)
{
	char path[PATH_MAX], name[64];
	long long v, found = 0;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/memory.stat", dir) >= (int)sizeof(path))
		return 0;
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fscanf(f, "%63s %lld", name, &v) == 2)
		if (strcmp(name, key) == 0)
			found = v;
	fclose(f);
	return found;
}

int64_t cgroup_memory_in_use(const char *path)
{
	bool v2 = cgroup_is_v2();
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), ROOT "%s%s", v2 ? "" : "/memory", path) >= (int)sizeof(dir))
		return 0;
	return MAX(read_number(dir, v2 ? "memory.current" : "memory.usage_in_bytes") -
				   read_stat(dir, v2 ? "inactive_file" : "total_inactive_file"),
			0);
}

int64_t cgroup_processes(const char *path)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), ROOT "%s%s", cgroup_is_v2() ? "" : "/pids", path) >= (int)sizeof(dir))
		return 0;
	return read_number(dir, "pids.current");
}

bool cgroup_counts_swap(const char *path)
{
	bool v2 = cgroup_is_v2();
	char file[PATH_MAX];

	return snprintf(file, sizeof(file), ROOT "%s%s/%s", v2 ? "" : "/memory", path,
			       v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes") < (int)sizeof(file) &&
	       access(file, F_OK) == 0;
}

static int kill_procs(const char *dir)
{
	char path[PATH_MAX];
	FILE *f;
	int pid, n = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fscanf(f, "%d", &pid) == 1)
		if (pid > 1 && pid != getpid() && kill(pid, SIGKILL) == 0)
			n++;
	fclose(f);
	return n;
}

/* fn for dir and every directory below it, deepest first. */
static int walk(const char *dir, int (*fn)(const char *dir))
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int sum = 0;

	if (!d)
		return 0;
	while ((de = readdir(d)) != NULL) {
		char path[PATH_MAX];

		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, de->d_name) < (int)sizeof(path))
			sum += walk(path, fn);
	}
	closedir(d);
	return sum + fn(dir);
}

/* fn on the path in every hierarchy. */
static int each_hierarchy(const char *path, int (*fn)(const char *dir))
{
	char dir[PATH_MAX];
	struct dirent *de;
	int sum = 0;
	DIR *d;

	ASSERT(path[0] == '/' && path[1] != '\0');
	if (cgroup_is_v2()) {
		snprintf(dir, sizeof(dir), ROOT "%s", path);
		return walk(dir, fn);
	}
	d = opendir(ROOT);
	if (!d)
		return 0;
	while ((de = readdir(d)) != NULL) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		snprintf(dir, sizeof(dir), ROOT "/%s%s", de->d_name, path);
		sum += walk(dir, fn);
	}
	closedir(d);
	return sum;
}

int cgroup_kill_below(const char *path)
{
	return each_hierarchy(path, kill_procs);
}

static int remove_dir(const char *dir)
{
	return rmdir(dir) < 0 && errno != ENOENT ? 1 : 0;
}

int cgroup_remove(const char *path, struct err *e)
{
	int left = each_hierarchy(path, remove_dir);

	return left ? err_set(e, ERR_UNAVAILABLE, "%d control groups below %s are busy", left, path) : 0;
}

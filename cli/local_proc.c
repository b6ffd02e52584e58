/* The processes of a local cluster: starting them in their namespaces and control group, finding and stopping
 * them; declared in cli/local.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/local.h"
#include "net/netns.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* The hierarchy whose cgroup.procs we use to hold a node's processes: `pids` on cgroup v1, the only one on v2. */
static const char *cgroup_base(void)
{
	return access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0 ? CGROUP_ROOT : CGROUP_ROOT "/pids";
}

/* When the process started, in clock ticks since boot: with the id it names a process for good. 0: no such process. */
static uint64_t start_time(pid_t pid)
{
	char path[64], *text, *p;
	unsigned long threads = 0;
	uint64_t t = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	text = file_read(path, 4096, NULL);
	p = text ? strrchr(text, ')') : NULL;
	if (p != NULL && p[1] != '\0') {
		char state = p[2];

		/* Fields 3 to 21 follow the command name; 20 is the number of threads. */
		for (int field = 2; p != NULL && field < 22; field++) {
			p = strchr(p + 1, ' ');
			if (p != NULL && field == 19)
				threads = strtoul(p + 1, NULL, 10);
		}
		/* State Z is a process that has ended, once its last thread is gone: until then its files and locks are held. */
		if (p != NULL && (state != 'Z' || threads > 1))
			t = strtoull(p + 1, NULL, 10);
	}
	free(text);
	return t;
}

pid_t local_pid(const struct local *l, const char *node, const char *pidfile)
{
	char path[LOCAL_PATH_MAX], *text;
	uint64_t started = 0;
	int pid = 0;

	local_path(l, node, pidfile, path);
	text = file_read(path, 256, NULL);
	if (text == NULL)
		return 0;
	if (sscanf(text, "%d %" SCNu64, &pid, &started) != 2 || start_time(pid) != started)
		pid = 0;
	free(text);
	return pid;
}

/* Some process of the node, or 0: its mount namespace is the node's. */
static pid_t any_process(const char *cgroup)
{
	char path[PATH_MAX];
	FILE *f;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/node/cgroup.procs", cgroup);
	f = fopen(path, "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

/* What the child needs, prepared before fork so that it only makes system calls. */
struct child {
	int netns, mntns; /* -1: none */
	int log, cgroup_procs;
	char run_dir[LOCAL_PATH_MAX]; /* becomes /run/containerd; empty: none */
	char **argv;
};

static void child_die(const char *what)
{
	fprintf(stderr, "kontiki: start: %s: %s\n", what, strerror(errno));
	_exit(127);
}

static void child_mounts(const struct child *c)
{
	if (c->mntns >= 0) {
		if (setns(c->mntns, CLONE_NEWNS) < 0)
			child_die("enter the node's mount namespace");
		return;
	}
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		child_die("make a mount namespace");
	/* containerd's shims and runc keep sockets and state in this one global folder. */
	if (mount(c->run_dir, "/run/containerd", NULL, MS_BIND, NULL) < 0)
		child_die("bind /run/containerd");
}

static void child_run(const struct child *c)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(null, 0);
	dup2(c->log, 1);
	dup2(c->log, 2);
	if (c->cgroup_procs >= 0 && write(c->cgroup_procs, "0", 1) < 0)
		child_die("enter the node's control group");
	if (c->netns >= 0 && netns_enter(c->netns) < 0)
		child_die("enter the node's network namespace");
	if (c->run_dir[0])
		child_mounts(c);
	execv(c->argv[0], c->argv);
	child_die(c->argv[0]);
}

static int child_prepare(const struct local *l, const char *node, struct child *c, struct err *e)
{
	char cgroup[PATH_MAX], path[PATH_MAX + 64], ns[128];
	pid_t other;
	int rv;

	local_netns(l, node, ns);
	c->netns = netns_open(ns, e);
	if (c->netns < 0)
		return c->netns;
	snprintf(cgroup, sizeof(cgroup), "%s/kontiki/%s/%s", cgroup_base(), l->name, node);
	snprintf(path, sizeof(path), "%s/node", cgroup);
	rv = dir_make(path, 0755, e);
	if (rv < 0)
		return rv;
	snprintf(path, sizeof(path), "%s/node/cgroup.procs", cgroup);
	other = any_process(cgroup);
	c->cgroup_procs = open(path, O_WRONLY | O_CLOEXEC);
	if (c->cgroup_procs < 0)
		return err_set_errno(e, errno, "open %s", path);
	local_path(l, node, "run", c->run_dir);
	rv = dir_make(c->run_dir, 0711, e);
	if (rv == 0)
		rv = dir_make("/run/containerd", 0711, e);
	if (rv == 0 && other > 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)other);
		c->mntns = open(path, O_RDONLY | O_CLOEXEC);
	}
	return rv;
}

static int write_pid(const struct local *l, const char *node, const char *pidfile, pid_t pid, struct err *e)
{
	char path[LOCAL_PATH_MAX], text[64];
	int n = snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)pid, start_time(pid));

	local_path(l, node, pidfile, path);
	return file_put(path, str_of(text, (size_t)n), 0644, true, e);
}

pid_t local_spawn(const struct local *l, const char *node, const char *pidfile, const char *log, char **argv,
		struct err *e)
{
	struct child c = {-1, -1, -1, -1, "", argv};
	char path[LOCAL_PATH_MAX];
	pid_t pid = 0;
	int rv = 0;

	local_path(l, node, log, path);
	c.log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (c.log < 0)
		return err_set_errno(e, errno, "open %s", path);
	if (node)
		rv = child_prepare(l, node, &c, e);
	if (rv == 0) {
		pid = fork();
		if (pid == 0)
			child_run(&c);
		rv = pid < 0 ? err_set_errno(e, errno, "fork") : write_pid(l, node, pidfile, pid, e);
	}
	closep(&c.netns);
	closep(&c.mntns);
	closep(&c.log);
	closep(&c.cgroup_procs);
	return rv < 0 ? rv : pid;
}

int local_stop(const struct local *l, const char *node, const char *pidfile, int sig, unsigned timeout_ms, struct err *e)
{
	uint64_t deadline = clock_mono_ms() + timeout_ms;
	pid_t pid = local_pid(l, node, pidfile);

	if (pid == 0)
		return 0;
	if (kill(pid, sig) < 0 && errno != ESRCH)
		return err_set_errno(e, errno, "signal process %d", (int)pid);
	kill(pid, SIGCONT); /* A paused process cannot act on a signal. */
	while (local_pid(l, node, pidfile) == pid) {
		/* It may be our own child, which stays as a zombie until it is waited for. */
		waitpid(pid, NULL, WNOHANG);
		if (clock_mono_ms() > deadline)
			return err_set(e, ERR_TIMEOUT, "process %d did not end within %u ms", (int)pid, timeout_ms);
		usleep(5000);
	}
	return 0;
}

/* Signal every process in `path` and below; returns how many there were. */
static unsigned kill_below(const char *path)
{
	char sub[PATH_MAX];
	unsigned n = 0;
	struct dirent *d;
	FILE *f;
	DIR *dir;
	int pid;

	snprintf(sub, sizeof(sub), "%s/cgroup.procs", path);
	f = fopen(sub, "re");
	while (f != NULL && fscanf(f, "%d", &pid) == 1) {
		if (pid > 0 && kill(pid, SIGKILL) == 0)
			n++;
	}
	if (f)
		fclose(f);
	dir = opendir(path);
	while (dir != NULL && (d = readdir(dir)) != NULL) {
		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, d->d_name) < (int)sizeof(sub))
			n += kill_below(sub);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void remove_below(const char *path)
{
	char sub[PATH_MAX];
	struct dirent *d;
	DIR *dir = opendir(path);

	while (dir != NULL && (d = readdir(dir)) != NULL) {
		if (d->d_type != DT_DIR || d->d_name[0] == '.')
			continue;
		if (snprintf(sub, sizeof(sub), "%s/%s", path, d->d_name) < (int)sizeof(sub))
			remove_below(sub);
	}
	if (dir)
		closedir(dir);
	/* The kernel says EBUSY for a moment after the last process has gone. */
	for (int i = 0; i < 50 && rmdir(path) < 0 && errno == EBUSY; i++)
		usleep(10000);
}

static void remove_cgroups(const struct local *l, const char *node)
{
	static const char *const hierarchies[] = {"", "/blkio", "/cpu", "/cpuacct", "/cpu,cpuacct", "/cpuset",
			"/devices", "/freezer", "/hugetlb", "/memory", "/misc", "/net_cls", "/net_cls,net_prio",
			"/net_prio", "/perf_event", "/pids", "/rdma", "/systemd", "/unified"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(hierarchies); i++) {
		snprintf(path, sizeof(path), CGROUP_ROOT "%s/kontiki/%s/%s", hierarchies[i], l->name, node);
		remove_below(path);
		/* The parents go with their last child. */
		snprintf(path, sizeof(path), CGROUP_ROOT "%s/kontiki/%s", hierarchies[i], l->name);
		if (rmdir(path) == 0) {
			snprintf(path, sizeof(path), CGROUP_ROOT "%s/kontiki", hierarchies[i]);
			rmdir(path);
		}
	}
}

int local_kill_all(const struct local *l, const char *node, struct err *e)
{
	char path[PATH_MAX];
	unsigned left = 1;

	snprintf(path, sizeof(path), "%s/kontiki/%s/%s", cgroup_base(), l->name, node);
	for (int round = 0; round < 100 && left > 0; round++) {
		left = kill_below(path);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		if (left > 0)
			usleep(20000);
	}
	if (left > 0)
		return err_set(e, ERR_TIMEOUT, "node %s: %u processes do not end", node, left);
	remove_cgroups(l, node);
	return 0;
}

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/cgroup.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/fsutil.h"

#define ROUNDS 200
#define ROUND_MS 25

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = ROUND_MS * 1000000}, NULL);
}

/* Kills the process and, first, its descendants. */
static int kill_tree(pid_t pid)
{
	_cleanup_(freep) char *path = xasprintf("/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *f = fopen(path, "re");
	int child, n = 0;

	if (f) {
		while (fscanf(f, "%d", &child) == 1)
			n += kill_tree(child);
		fclose(f);
	}
	return n + (kill(pid, SIGKILL) == 0 ? 1 : 0);
}

/* True when the process is a shim of the containerd that listens at `socket`. */
static bool is_our_shim(const char *pid, const char *socket)
{
	_cleanup_(freep) char *path = xasprintf("/proc/%s/cmdline", pid);
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	bool shim = false, ours = false;

	if (file_get(path, 65536, &b, NULL) < 0)
		return false;
	for (size_t i = 0; i < b.n; i += strlen(b.p + i) + 1) {
		const char *arg = b.p + i;

		if (i == 0 && strstr(arg, "containerd-shim"))
			shim = true;
		if (strcmp(arg, socket) == 0)
			ours = true;
	}
	return shim && ours;
}

static int kill_shims(const char *socket)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	int n = 0;

	if (!d)
		return 0;
	while ((de = readdir(d)) != NULL)
		if (isdigit((unsigned char)de->d_name[0]) && is_our_shim(de->d_name, socket))
			n += kill_tree((pid_t)strtol(de->d_name, NULL, 10));
	closedir(d);
	return n;
}

/* What shims and runc keep outside our directory: their sockets and states in /run/containerd. */
static void remove_run_files(const char *dir)
{
	_cleanup_(freep) char *tasks = xasprintf("%s/state/io.containerd.runtime.v2.task/k8s.io", dir);
	DIR *d = opendir(tasks);
	struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d)) != NULL) {
		_cleanup_(freep) char *address = NULL, *runc = NULL;
		_cleanup_(buf_fini) struct buf b = BUF_INIT;

		if (de->d_name[0] == '.')
			continue;
		runc = xasprintf("/run/containerd/runc/k8s.io/%s", de->d_name);
		fs_remove_tree(runc, NULL);
		address = xasprintf("%s/%s/address", tasks, de->d_name);
		if (file_get(address, PATH_MAX, &b, NULL) == 0 &&
				str_has_prefix(buf_str(&b), STR("unix:///run/containerd/s/")))
			unlink(b.p + strlen("unix://"));
	}
	closedir(d);
}

int containerd_teardown(const char *dir, const char *cgroup_parent, struct err *e)
{
	_cleanup_(freep) char *socket = xasprintf("%s/containerd.sock", dir);
	_cleanup_(freep) char *state = xasprintf("%s/state", dir);
	int rc = 0;

	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = containerd__pid(dir);
		int n = 0;

		if (pid)
			n += kill(pid, SIGKILL) == 0;
		n += kill_shims(socket);
		if (cgroup_parent)
			n += cgroup_kill_below(cgroup_parent);
		if (n == 0)
			break;
		nap();
	}
	remove_run_files(dir);
	for (int round = 0; round < ROUNDS && fs_unmount_below(dir) > 0; round++)
		;
	for (int round = 0; cgroup_parent && round < ROUNDS; round++) {
		rc = cgroup_remove(cgroup_parent, e);
		if (rc == 0)
			break;
		nap();
	}
	if (rc == 0)
		rc = fs_remove_tree(state, e);
	unlink(socket);
	return rc;
}

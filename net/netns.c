#include "net/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

#define NETNS_DIR "/run/netns"

static void path_of(const char *name, char path[PATH_MAX])
{
	if (strchr(name, '/') != NULL)
		snprintf(path, PATH_MAX, "%s", name);
	else
		snprintf(path, PATH_MAX, NETNS_DIR "/%s", name);
}

/* /run/netns must be a shared mount of its own, so that the names show in every mount namespace. */
static int prepare_dir(struct err *e)
{
	if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "create " NETNS_DIR);
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL)
		return err_set_errno(e, errno, "share mount " NETNS_DIR);
	if (mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0)
		return err_set_errno(e, errno, "bind mount " NETNS_DIR);
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0)
		return err_set_errno(e, errno, "share mount " NETNS_DIR);
	return 0;
}

static int loopback_up(void)
{
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &r) < 0)
		err = -errno;
	r.ifr_flags |= IFF_UP;
	if (err == 0 && ioctl(fd, SIOCSIFFLAGS, &r) < 0)
		err = -errno;
	close(fd);
	return err;
}

static void return_to(int fd)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		assert_failed(__FILE__, __LINE__, "cannot return to the previous network namespace");
}

int netns_add(const char *name, struct err *e)
{
	_cleanup_(closep) int self = -1;
	char path[PATH_MAX];
	int fd, rv = 0;

	path_of(name, path);
	rv = prepare_dir(e);
	if (rv < 0)
		return rv;
	self = netns_open_self(e);
	if (self < 0)
		return self;
	fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return err_set_errno(e, errno, "create network namespace %s", name);
	close(fd);
	if (unshare(CLONE_NEWNET) < 0) {
		rv = err_set_errno(e, errno, "create network namespace %s (root is needed)", name);
		unlink(path);
		return rv;
	}
	if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
		rv = err_set_errno(e, errno, "bind network namespace to %s", path);
	if (rv == 0) {
		int err = loopback_up();

		if (err < 0)
			rv = err_set_errno(e, -err, "bring up lo in network namespace %s", name);
	}
	return_to(self);
	if (rv < 0)
		netns_del(name, NULL);
	return rv;
}

int netns_del(const char *name, struct err *e)
{
	char path[PATH_MAX];

	path_of(name, path);
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
		return err_set_errno(e, errno, "unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "remove %s", path);
	return 0;
}

bool netns_exists(const char *name)
{
	char path[PATH_MAX];

	path_of(name, path);
	return access(path, F_OK) == 0;
}

int netns_open(const char *name, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	path_of(name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(e, errno, "open network namespace %s", path);
	return fd;
}

int netns_open_self(struct err *e)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set_errno(e, errno, "open /proc/thread-self/ns/net");
	return fd;
}

int netns_enter(int fd)
{
	return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int netns_call(int fd, int (*fn)(void *data, struct err *e), void *data, struct err *e)
{
	_cleanup_(closep) int self = -1;
	int rv;

	if (fd < 0)
		return fn(data, e);
	self = netns_open_self(e);
	if (self < 0)
		return self;
	rv = netns_enter(fd);
	if (rv < 0)
		return err_set_errno(e, -rv, "enter network namespace");
	rv = fn(data, e);
	return_to(self);
	return rv;
}

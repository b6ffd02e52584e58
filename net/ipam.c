#include "net/ipam.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

#define OWNER_MAX 128

static int lock_dir(const char *dir, struct err *e)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		int rv = err_set_errno(e, errno, "lock %s", path);

		closep(&fd);
		return rv;
	}
	return fd;
}

static void read_small(const char *dir, const char *name, char *out, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, out, size - 1);
	out[MAX(n, 0)] = '\0';
	closep(&fd);
}

static int write_small(const char *dir, const char *name, int flags, const char *text, struct err *e)
{
	char path[PATH_MAX];
	_cleanup_(closep) int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "create %s", path);
	if (write(fd, text, strlen(text)) < 0)
		return err_set_errno(e, errno, "write %s", path);
	return 0;
}

/* Call fn for each address file of the folder until it returns non-zero. */
static int each_address(const char *dir, int (*fn)(const char *dir, uint32_t addr, const char *owner, void *data),
		void *data, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int rv = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "open folder %s", dir);
	while (rv == 0 && (de = readdir(d)) != NULL) {
		char owner[OWNER_MAX];
		uint32_t addr;

		if (!ip4_parse(str_from(de->d_name), &addr))
			continue;
		read_small(dir, de->d_name, owner, sizeof(owner));
		rv = fn(dir, addr, owner, data);
	}
	closedir(d);
	return rv;
}

struct find {
	const char *owner;
	uint32_t addr;
};

static int find_owner(const char *dir, uint32_t addr, const char *owner, void *data)
{
	struct find *f = data;

	if (strcmp(owner, f->owner) != 0)
		return 0;
	f->addr = addr;
	return 1;
}

static int take_free(const char *dir, struct ip4_net net, const char *owner, uint32_t *ret, struct err *e)
{
	uint32_t first = (net.addr & ip4_mask(net.bits)) + 2;
	uint32_t n = (uint32_t)1 << (32 - net.bits);
	char text[IP4_STR_SIZE];
	uint32_t last = 0;

	read_small(dir, "last", text, sizeof(text));
	if (!ip4_parse(str_from(text), &last) || !ip4_net_has(net, last))
		last = first - 1;
	for (uint32_t i = 1; i <= n - 3; i++) {
		uint32_t addr = first + (last - first + i) % (n - 3);
		int rv = write_small(dir, ip4_print(addr, text), O_EXCL, owner, e);

		if (rv == -(int)ERR_ALREADY_EXISTS)
			continue;
		if (rv == 0)
			rv = write_small(dir, "last", O_TRUNC, text, e);
		*ret = addr;
		return rv;
	}
	return err_set(e, ERR_NO_SPACE, "no free pod address in %s: %u are in use", ip4_net_print(net, text), n - 3);
}

int ipam_take(const char *dir, struct ip4_net net, const char *owner, uint32_t *ret, struct err *e)
{
	struct find f = {owner, 0};
	_cleanup_(closep) int lock = -1;
	int rv;

	if (net.bits > 29)
		return err_set(e, ERR_BAD_REQUEST, "pod network /%u is too small", net.bits);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "create folder %s", dir);
	lock = lock_dir(dir, e);
	if (lock < 0)
		return lock;
	rv = each_address(dir, find_owner, &f, e);
	if (rv < 0)
		return rv;
	if (f.addr != 0 && ip4_net_has(net, f.addr)) {
		*ret = f.addr;
		return 0;
	}
	return take_free(dir, net, owner, ret, e);
}

static int release_one(const char *dir, uint32_t addr, const char *owner, void *data)
{
	char path[PATH_MAX], text[IP4_STR_SIZE];

	if (strcmp(owner, data) != 0)
		return 0;
	snprintf(path, sizeof(path), "%s/%s", dir, ip4_print(addr, text));
	unlink(path);
	return 0;
}

int ipam_release(const char *dir, const char *owner, struct err *e)
{
	_cleanup_(closep) int lock = -1;

	if (access(dir, F_OK) < 0)
		return 0;
	lock = lock_dir(dir, e);
	if (lock < 0)
		return lock;
	return each_address(dir, release_one, (void *)owner, e);
}

#include "orchestrator/kubelet/fsutil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "base/map.h"
#include "base/util.h"

int fs_mkdir_all(const char *path, mode_t mode, struct err *e)
{
	_cleanup_(freep) char *copy = xstrdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return err_set_errno(e, errno, "mkdir %s", copy);
		*slash = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return err_set_errno(e, errno, "mkdir %s", copy);
	return 0;
}

static int remove_below(int fd, dev_t dev, struct err *e);

static int remove_one(int parent, const char *name, dev_t dev, struct err *e)
{
	int fd, rc;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_set_errno(e, errno, "remove %s", name);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", name);
	rc = remove_below(fd, dev, e);
	if (rc < 0)
		return rc;
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "rmdir %s", name);
	return 0;
}

/* Takes the fd. */
static int remove_below(int fd, dev_t dev, struct err *e)
{
	struct stat st;
	DIR *d;
	struct dirent *de;
	int rc = 0;

	if (fstat(fd, &st) < 0 || st.st_dev != dev) {
		close(fd);
		return err_set(e, ERR_IO, "another file system is mounted inside");
	}
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_set_errno(e, errno, "fdopendir");
	}
	while (rc == 0 && (de = readdir(d)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			rc = remove_one(dirfd(d), de->d_name, dev, e);
	closedir(d);
	return rc;
}

int fs_remove_tree(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "stat %s", path);
	return remove_one(AT_FDCWD, path, st.st_dev, e);
}

#define USE_DEPTH 200 /* each level is an open file */

struct use_walk {
	struct fs_use sum;
	struct map links; /* inodes with several names that were seen */
	dev_t dev;
	const atomic_bool *stop;
};

static void use_below(struct use_walk *u, int parent, const char *name, unsigned depth);

static void use_one(struct use_walk *u, int parent, const char *name, unsigned depth)
{
	struct stat st;
	struct str key;

	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != u->dev)
		return;
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		key = str_of((const char *)&st.st_ino, sizeof(st.st_ino));
		if (map_get(&u->links, key))
			return;
		map_put(&u->links, key, u);
	}
	u->sum.bytes += (int64_t)st.st_blocks * 512;
	u->sum.inodes++;
	if (S_ISDIR(st.st_mode) && depth < USE_DEPTH)
		use_below(u, parent, name, depth + 1);
}

static void use_below(struct use_walk *u, int parent, const char *name, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((!u->stop || !atomic_load(u->stop)) && (de = readdir(d)) != NULL)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			use_one(u, dirfd(d), de->d_name, depth);
	closedir(d);
}

struct fs_use fs_tree_use(const char *path, const atomic_bool *stop)
{
	struct use_walk u = {.stop = stop};
	struct stat st;

	if (lstat(path, &st) < 0)
		return u.sum;
	u.dev = st.st_dev;
	map_init(&u.links);
	use_one(&u, AT_FDCWD, path, 0);
	map_fini(&u.links);
	return u.sum;
}

/* Mount points in mountinfo have space, tab, newline and backslash as octal escapes. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static bool is_below(const char *mount, const char *path)
{
	size_t n = strlen(path);

	return strncmp(mount, path, n) == 0 && (mount[n] == '\0' || mount[n] == '/');
}

/* Calls fn for the mount points at or below path, in mount order. */
static void each_mount(const char *path, void (*fn)(const char *mount, void *data), void *data)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		return;
	while (getline(&line, &cap, f) > 0) {
		char *save = NULL, *field = strtok_r(line, " ", &save);

		for (int i = 0; field && i < 4; i++)
			field = strtok_r(NULL, " ", &save);
		if (!field)
			continue;
		unescape(field);
		if (is_below(field, path))
			fn(field, data);
	}
	free(line);
	fclose(f);
}

struct mounts {
	char **paths;
	size_t n;
};

static void collect(const char *mount, void *data)
{
	struct mounts *m = data;

	m->paths = xrealloc(m->paths, (m->n + 1) * sizeof(*m->paths));
	m->paths[m->n++] = xstrdup(mount);
}

int fs_unmount_below(const char *path)
{
	struct mounts m = {0};
	int done = 0;

	each_mount(path, collect, &m);
	for (size_t i = m.n; i-- > 0;) {
		if (umount2(m.paths[i], MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			done++;
		free(m.paths[i]);
	}
	free(m.paths);
	return done;
}

static void note(const char *mount, void *data)
{
	const char **want = data;

	if (*want && strcmp(mount, *want) == 0)
		*want = NULL;
}

bool fs_is_mount_point(const char *path)
{
	const char *want = path;

	each_mount(path, note, &want);
	return want == NULL;
}

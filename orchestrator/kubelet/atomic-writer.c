#include "orchestrator/kubelet/atomic-writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/kubelet/fsutil.h"

#define DATA "..data"
#define DATA_TMP "..data_tmp"

bool atomic_path_ok(const char *path)
{
	struct str rest = str_from(path), part;

	if (rest.n == 0 || rest.n > 4096 || path[0] == '/' || str_has_prefix(rest, STR("..")))
		return false;
	while (rest.n > 0) {
		str_cut(rest, '/', &part, &rest);
		if (str_eqc(part, "..") || part.n > 255)
			return false;
	}
	return true;
}

/* The first component: the name that is visible in the volume's root. */
static struct str top_name(const char *path)
{
	struct str head, tail;

	str_cut(str_from(path), '/', &head, &tail);
	return head;
}

static bool file_same(int dirfd, const struct aw_file *f, gid_t gid)
{
	_cleanup_(closep) int fd = openat(dirfd, f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_(freep) char *have = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (size_t)st.st_size != f->data.n)
		return false;
	if ((st.st_mode & 07777) != f->mode || (gid != (gid_t)-1 && st.st_gid != gid))
		return false;
	have = xmalloc(f->data.n + 1);
	return read(fd, have, f->data.n + 1) == (ssize_t)f->data.n &&
	       (f->data.n == 0 || memcmp(have, f->data.p, f->data.n) == 0);
}

/* Files below dirfd, counted through directories. */
static size_t count_files(int dirfd)
{
	DIR *d = fdopendir(dirfd);
	struct dirent *de;
	size_t n = 0;

	if (!d) {
		close(dirfd);
		return 0;
	}
	while ((de = readdir(d)) != NULL) {
		int sub;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		sub = openat(dirfd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		n += sub >= 0 ? count_files(sub) : 1;
	}
	closedir(d);
	return n;
}

static bool all_same(int rootfd, const struct aw_file *files, size_t n_files, gid_t gid)
{
	int datafd = openat(rootfd, DATA, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool same = datafd >= 0;

	for (size_t i = 0; same && i < n_files; i++)
		same = file_same(datafd, &files[i], gid);
	if (datafd >= 0 && same)
		return count_files(datafd) == n_files; /* closes datafd */
	if (datafd >= 0)
		close(datafd);
	return false;
}

static int make_parents(int dirfd, const char *path, mode_t mode, gid_t gid, struct err *e)
{
	_cleanup_(freep) char *copy = xstrdup(path);

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(dirfd, copy, mode) == 0) {
			if (fchmodat(dirfd, copy, mode, 0) < 0 ||
					(gid != (gid_t)-1 && fchownat(dirfd, copy, -1, gid, 0) < 0))
				return err_set_errno(e, errno, "set up %s", copy);
		} else if (errno != EEXIST) {
			return err_set_errno(e, errno, "mkdir %s", copy);
		}
		*slash = '/';
	}
	return 0;
}

static int write_file(int dirfd, const struct aw_file *f, gid_t gid, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	int rc = make_parents(dirfd, f->path, 0755, gid, e);

	if (rc < 0)
		return rc;
	fd = openat(dirfd, f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "create %s", f->path);
	for (size_t done = 0; done < f->data.n;) {
		ssize_t n = write(fd, f->data.p + done, f->data.n - done);

		if (n < 0)
			return err_set_errno(e, errno, "write %s", f->path);
		done += (size_t)n;
	}
	if ((gid != (gid_t)-1 || f->uid != (uid_t)-1) && fchown(fd, f->uid, gid) < 0)
		return err_set_errno(e, errno, "chown %s", f->path);
	/* The mode last: chown drops set-id bits, and the umask has no say. */
	if (fchmod(fd, f->mode) < 0)
		return err_set_errno(e, errno, "chmod %s", f->path);
	return 0;
}

/* Links for names that are new; names that went away are removed after the switch. */
static int link_names(int rootfd, const struct aw_file *files, size_t n_files, struct err *e)
{
	for (size_t i = 0; i < n_files; i++) {
		struct str top = top_name(files[i].path);
		_cleanup_(freep) char *name = str_dup(top);
		_cleanup_(freep) char *target = xasprintf(DATA "/%s", name);

		if (symlinkat(target, rootfd, name) < 0 && errno != EEXIST)
			return err_set_errno(e, errno, "symlink %s", name);
	}
	return 0;
}

static bool is_wanted(const char *name, const char *fresh, const struct aw_file *files, size_t n_files)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, DATA) == 0 ||
			strcmp(name, fresh) == 0)
		return true;
	for (size_t i = 0; i < n_files; i++)
		if (str_eqc(top_name(files[i].path), name))
			return true;
	return false;
}

static void remove_stale(const char *dir, const char *fresh, const struct aw_file *files, size_t n_files)
{
	DIR *d = opendir(dir);
	struct dirent *de;

	if (!d)
		return;
	while ((de = readdir(d)) != NULL) {
		_cleanup_(freep) char *path = NULL;

		if (is_wanted(de->d_name, fresh, files, n_files))
			continue;
		path = xasprintf("%s/%s", dir, de->d_name);
		fs_remove_tree(path, NULL);
	}
	closedir(d);
}

static char *fresh_name(void)
{
	int64_t ns = clock_wall_ns();
	time_t s = (time_t)(ns / 1000000000);
	struct tm tm;
	char day[32];

	gmtime_r(&s, &tm);
	strftime(day, sizeof(day), "%Y_%m_%d_%H_%M_%S", &tm);
	return xasprintf("..%s.%09d", day, (int)(ns % 1000000000));
}

static int write_fresh(int rootfd, const char *fresh, const struct aw_file *files, size_t n_files, gid_t gid,
		struct err *e)
{
	_cleanup_(closep) int fd = -1;

	if (mkdirat(rootfd, fresh, 0755) < 0)
		return err_set_errno(e, errno, "mkdir %s", fresh);
	fd = openat(rootfd, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0755) < 0 || (gid != (gid_t)-1 && fchown(fd, -1, gid) < 0))
		return err_set_errno(e, errno, "set up %s", fresh);
	for (size_t i = 0; i < n_files; i++) {
		int rc = write_file(fd, &files[i], gid, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int atomic_write(const char *dir, const struct aw_file *files, size_t n_files, gid_t gid, bool *ret_changed,
		struct err *e)
{
	_cleanup_(closep) int rootfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(freep) char *fresh = NULL, *path = NULL;
	int rc;

	if (rootfd < 0)
		return err_set_errno(e, errno, "open %s", dir);
	for (size_t i = 0; i < n_files; i++)
		if (!atomic_path_ok(files[i].path))
			return err_set(e, ERR_INVALID, "path \"%s\" must be relative and must not contain '..'",
					files[i].path);
	if (all_same(rootfd, files, n_files, gid)) {
		*ret_changed = false;
		return 0;
	}
	fresh = fresh_name();
	path = xasprintf("%s/%s", dir, fresh);
	rc = write_fresh(rootfd, fresh, files, n_files, gid, e);
	if (rc < 0)
		goto undo;
	unlinkat(rootfd, DATA_TMP, 0);
	if (symlinkat(fresh, rootfd, DATA_TMP) < 0 || renameat(rootfd, DATA_TMP, rootfd, DATA) < 0) {
		rc = err_set_errno(e, errno, "switch %s/" DATA, dir);
		goto undo;
	}
	rc = link_names(rootfd, files, n_files, e);
	if (rc < 0)
		return rc;
	remove_stale(dir, fresh, files, n_files);
	*ret_changed = true;
	return 0;
undo:
	fs_remove_tree(path, NULL);
	return rc;
}

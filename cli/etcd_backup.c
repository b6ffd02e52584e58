#include "cli/etcd_backup.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/util.h"
#include "cli/local.h"
#include "store/bolt.h"
#include "store/snapfile.h"
#include "store/store.h"
#include "store/view.h"

bool etcd_backup_is(const char *path)
{
	return bolt_is(path);
}

struct counted {
	uint64_t n, bytes, last;
};

static int count(void *arg, struct str key, struct str value, struct err *e _unused_)
{
	struct counted *c = arg;

	c->n++;
	c->bytes += key.n + value.n;
	c->last = 0;
	for (size_t i = 0; i < 8 && i < key.n; i++)
		c->last = c->last << 8 | (uint8_t)key.p[i];
	return 0;
}

int etcd_backup_status(const char *path, struct err *e)
{
	struct counted keys = {0}, leases = {0}, users = {0};
	struct bolt_in *in;
	int rc = bolt_in_open(path, &in, e);

	if (rc != 0)
		return rc;
	rc = bolt_in_each(in, "key", count, &keys, e);
	if (rc == 0)
		rc = bolt_in_each(in, "lease", count, &leases, e);
	if (rc == 0)
		rc = bolt_in_each(in, "authUsers", count, &users, e);
	if (rc == 0)
		printf("%s: a backup of etcd: revision %" PRIu64 ", %" PRIu64 " revisions of keys in %" PRIu64 " bytes, %" PRIu64 " leases, %" PRIu64
		       " users; %s\n",
		       path, keys.last, keys.n, keys.bytes, leases.n, users.n,
		       bolt_in_checked(in) ? "its checksum matches" : "it has no checksum, being a copy of a database");
	bolt_in_close(in);
	return rc;
}

static int fill(const char *path, struct store *s, struct err *e)
{
	struct bolt_import info;
	struct bolt_in *in;
	int rc = bolt_in_open(path, &in, e);

	if (rc != 0)
		return rc;
	rc = bolt_import(in, s, &info, e);
	if (rc == 0)
		printf("%s: %" PRIu64 " revisions of keys up to %" PRId64 ", %" PRIu64 " leases, %" PRIu64 " users and %" PRIu64 " roles came over\n", path,
		       info.n_revisions, info.revision, info.n_leases, info.n_users, info.n_roles);
	bolt_in_close(in);
	return rc;
}

/* Where API servers have their objects, unless somebody told them otherwise (--etcd-prefix). */
static int look_for_objects(struct store *s, bool *ret, struct err *e)
{
	struct store_view *v;
	int64_t n = 0;
	int rc = store_view_open(s, &v, e);

	if (rc != 0)
		return rc;
	rc = view_count(v, STR("/registry/"), STR("/registry0"), 0, &n, e);
	store_view_close(v);
	*ret = n > 0;
	return rc;
}

int etcd_backup_convert(const char *path, const char *dir, struct arena *a, const char **ret_file, bool *ret_kubernetes, struct err *e)
{
	/* Nothing here outlives the restore, so nothing need be synced. */
	struct store_cfg cfg = {.dir = arena_printf(a, "%s/store", dir), .no_sync = true};
	const char *file = arena_printf(a, "%s/backup", dir);
	struct snapfile_info info;
	struct store *s;
	int rc;

	if (access(dir, F_OK) == 0)
		return err_set(e, ERR_ALREADY_EXISTS, "%s is there, perhaps from a restore that was cut off: remove it first", dir);
	rc = dir_make(dir, 0700, e);
	if (rc == 0)
		rc = store_open(&cfg, &s, e);
	if (rc != 0)
		return rc;
	rc = fill(path, s, e);
	if (rc == 0)
		rc = look_for_objects(s, ret_kubernetes, e);
	/*
	 * A restore makes the new cluster's id from what the file's head says: so that is the same wherever this backup is converted, and
	 * another one for other data. The time would not be.
	 */
	if (rc == 0)
		rc = store_set_ids(s, MAX(store_rolling_hash(s).hash, 1), 1, e);
	if (rc == 0)
		rc = snapfile_write(s, file, 0, &info, e);
	store_abandon(s);
	if (rc == 0)
		*ret_file = file;
	return rc;
}

/*
 * Damage that is found while the store is in use, and what becomes of a store that is damaged.
 *
 * Every record carries checksums, so a read that meets a flipped bit fails and names the key; nothing wrong is served. The
 * first such finding is noted with the database file. Whoever owns the store then decides: if others have the state too, the
 * store is condemned (the file `damaged`, with the reason: it is not opened any more), put aside, and filled anew.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "store/keys.h"
#include "store/record.h"
#include "store/store-priv.h"

#define MARK "damaged"

void store__note_damage(struct store_env *env, const struct err *e)
{
	char *none = NULL, *text;

	if (atomic_load(&env->damage))
		return;
	text = xstrdup(e && e->code ? e->text : "store: a checksum does not match");
	if (atomic_compare_exchange_strong(&env->damage, &none, text))
		log_error("store", "damaged file=%s: %s", env->path, text);
	else
		free(text);
}

int store__noted(const struct store_view *v, int rc, const struct err *e)
{
	/* With the alarm on, the same code is the answer to every request. */
	if (rc == -(int)ERR_CORRUPT && !v->state.corrupt)
		store__note_damage(v->env, e);
	return rc;
}

int store__record_check(enum store_db db, struct str key, struct str value, struct err *e)
{
	struct change c;
	struct head h;
	struct str body;
	int rc;

	switch (db) {
	case DB_KEYS:
	case DB_LONG:
		if (keys_is_edge(key))
			return value.n == 8 ? 0 : err_set(e, ERR_CORRUPT, "store: a piece of a long key leads nowhere");
		rc = head_decode(key, value, &h, e);
		return rc ? rc : value_check(h.key, h.value, h.value_crc, e);
	case DB_LOG:
		if (key.n != REV_KEY_SIZE)
			return err_set(e, ERR_CORRUPT, "store: the log has a key of %zu bytes", key.n);
		rc = change_decode(rev_from_key((const uint8_t *)key.p), value, &c, e);
		return rc ? rc : value_check(c.key, c.value, c.value_crc, e);
	default:
		return store__body_check(key, (MDB_val){value.n, (void *)(uintptr_t)value.p}, &body, e);
	}
}

bool store_damage(struct store *s, struct err *e)
{
	struct store_env *env = store__env_get(s);
	const char *text = atomic_load(&env->damage);

	if (text)
		err_set(e, ERR_CORRUPT, "%s", text);
	store__env_unref(env);
	return text != NULL;
}

static int sync_dir(const char *dir)
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) != 0 ? -1 : 0;
}

int store_condemn(struct store *s, const char *why, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/" MARK, s->dir);
	_cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, why, strlen(why)) != (ssize_t)strlen(why) || (!s->no_sync && (fsync(fd) != 0 || sync_dir(s->dir) != 0)))
		return err_set_errno(e, errno ? errno : EIO, "store: write %s", path);
	return 0;
}

int store__condemned(const char *dir, struct err *e)
{
	_cleanup_(freep) char *path = xasprintf("%s/" MARK, dir);
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char why[256] = "";
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, why, sizeof(why) - 1);
	why[MAX(n, 0)] = '\0';
	return err_set(e, ERR_CORRUPT, "store: %s was found damaged: %s", dir, why[0] ? why : "(no reason is left)");
}

static int remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *ent;
	int rc = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : -1;
	/* There are only files in a store's directory. */
	while (rc == 0 && (ent = readdir(d)) != NULL)
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			rc = unlinkat(dirfd(d), ent->d_name, 0);
	closedir(d);
	return rc ? rc : rmdir(path);
}

int store_set_aside(const char *dir, struct err *e)
{
	_cleanup_(freep) char *bad = xasprintf("%s.bad", dir), *copy = xstrdup(dir);
	const char *parent = dirname(copy);

	if (remove_tree(bad) != 0)
		return err_set_errno(e, errno, "store: remove %s", bad);
	if (rename(dir, bad) != 0 && errno != ENOENT)
		return err_set_errno(e, errno, "store: rename %s to %s", dir, bad);
	if (sync_dir(parent) != 0)
		return err_set_errno(e, errno, "store: sync %s", parent);
	return 0;
}

#include "cli/backup.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/local.h"
#include "store/snapfile.h"

#define PREFIX "store-"
#define SUFFIX ".snapshot"
#define RETRY_S 60

struct backup {
	struct backup_cfg cfg;
	char *dir;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* store-20260102T030405Z-r17.snapshot: by name is by time. */
static int is_ours(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return strncmp(d->d_name, PREFIX, strlen(PREFIX)) == 0 && n > strlen(SUFFIX) && strcmp(d->d_name + n - strlen(SUFFIX), SUFFIX) == 0;
}

static int list(const char *dir, struct dirent ***ret)
{
	return scandir(dir, ret, is_ours, alphasort);
}

static void free_list(struct dirent **v, int n)
{
	for (int i = 0; i < n; i++)
		free(v[i]);
	if (n >= 0)
		free(v);
}

static void remove_oldest(struct backup *b)
{
	struct dirent **v = NULL;
	int n = list(b->dir, &v);

	for (int i = 0; i + (int)b->cfg.keep < n; i++) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", b->dir, v[i]->d_name);

		if (unlink(path) != 0)
			log_warn("backup", "cannot remove %s: %s", path, strerror(errno));
	}
	free_list(v, n);
}

/* Seconds since the newest one was made; -1: there is none. */
static int64_t age(struct backup *b)
{
	struct dirent **v = NULL;
	int n = list(b->dir, &v);
	int64_t s = -1;

	if (n > 0) {
		_cleanup_(freep) char *path = xasprintf("%s/%s", b->dir, v[n - 1]->d_name);
		struct stat st;

		if (stat(path, &st) == 0)
			s = MAX((int64_t)(clock_wall_ns() / 1000000000) - (int64_t)st.st_mtime, 0);
	}
	free_list(v, n);
	return s;
}

static bool take(struct backup *b)
{
	uint64_t now = (uint64_t)(clock_wall_ns() / 1000000);
	time_t t = (time_t)(now / 1000);
	struct snapfile_info info;
	struct err e = ERR_INIT;
	struct tm tm;
	char when[32];

	gmtime_r(&t, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	_cleanup_(freep) char *path = xasprintf("%s/" PREFIX "%s-r%" PRId64 SUFFIX, b->dir, when, store_revision(b->cfg.store));

	if (snapfile_write(b->cfg.store, path, now, &info, &e) != 0) {
		log_error("backup", "no snapshot was taken: %s", e.text);
		return false;
	}
	log_info("backup", "took %s bytes=%" PRIu64, path, info.bytes);
	remove_oldest(b);
	return true;
}

static void *run(void *arg)
{
	struct backup *b = arg;
	int64_t since = age(b), wait = since < 0 ? 0 : MAX((int64_t)b->cfg.interval_s - since, 0);

	pthread_mutex_lock(&b->lock);
	while (!b->stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += wait;
		while (!b->stop && pthread_cond_timedwait(&b->wake, &b->lock, &until) == 0)
			;
		if (b->stop)
			break;
		pthread_mutex_unlock(&b->lock);
		wait = take(b) ? b->cfg.interval_s : MIN(b->cfg.interval_s, RETRY_S);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

int backup_start(const struct backup_cfg *cfg, struct backup **ret, struct err *e)
{
	struct backup *b;
	pthread_condattr_t attr;

	if (dir_make(cfg->dir, 0700, e) < 0)
		return -(int)e->code;
	b = xcalloc(1, sizeof(*b));
	b->cfg = *cfg;
	b->cfg.keep = cfg->keep ? cfg->keep : 5;
	b->dir = xstrdup(cfg->dir);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->wake, &attr);
	pthread_condattr_destroy(&attr);
	ASSERT(pthread_create(&b->thread, NULL, run, b) == 0);
	*ret = b;
	return 0;
}

void backup_stop(struct backup *b)
{
	if (b == NULL)
		return;
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_signal(&b->wake);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->thread, NULL);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->wake);
	free(b->dir);
	free(b);
}

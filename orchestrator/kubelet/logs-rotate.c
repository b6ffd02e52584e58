/*
 * Container logs do not grow without end: a file over its limit gets another name, the runtime is told to open a new
 * one, and of the old ones only the newest stay.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/kubelet-priv.h"

#define MAX_SIZE (10 << 20)
#define MAX_OLD 4 /* beside the current one */

struct rotation {
	struct kubelet *k;
	struct cri_call call;
	char *path, *old;
};

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Old files are PATH.YYYYMMDD-HHMMSS: their names sort by age. */
static void drop_oldest(const char *path)
{
	_cleanup_(freep) char *dir = xstrdup(path);
	char *base = strrchr(dir, '/');
	struct dirent **list;
	int n, n_old = 0;

	if (!base)
		return;
	*base++ = '\0';
	n = scandir(dir, &list, NULL, by_name);
	for (int i = n - 1; i >= 0; i--) {
		size_t len = strlen(base);

		if (strncmp(list[i]->d_name, base, len) == 0 && list[i]->d_name[len] == '.' && ++n_old > MAX_OLD) {
			_cleanup_(freep) char *victim = xasprintf("%s/%s", dir, list[i]->d_name);

			unlink(victim);
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

static void reopened(struct cri_call *c)
{
	struct rotation *r = container_of(c, struct rotation, call);

	if (c->err.code) {
		/* The runtime still writes to the renamed file: give it its name back. */
		log_warn("kubelet", "log rotation of %s: %s", r->path, c->err.text);
		rename(r->old, r->path);
	} else {
		drop_oldest(r->path);
	}
	cri_call_fini(c);
	kubelet_idle(r->k);
	free(r->path);
	free(r->old);
	free(r);
}

static void rotate(struct kubelet *k, const struct rt_container *c)
{
	Runtime__ReopenContainerLogRequest req = RUNTIME__REOPEN_CONTAINER_LOG_REQUEST__INIT;
	struct rotation *r = xcalloc(1, sizeof(*r));
	time_t now = (time_t)clock_wall_s();
	struct tm tm;
	char when[32];

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
	r->k = k;
	r->path = xstrdup(c->log_path);
	r->old = xasprintf("%s.%s", c->log_path, when);
	if (rename(r->path, r->old) < 0) {
		free(r->path);
		free(r->old);
		free(r);
		return;
	}
	req.container_id = c->id;
	r->call.done = reopened;
	kubelet_busy(k);
	cri_start(k->cri, &r->call, CRI_REOPEN_CONTAINER_LOG, &req.base);
}

void logs_rotate(struct kubelet *k)
{
	MAP_FOR_EACH (e, runtime_pods(k->runtime)) {
		const struct rt_pod *pod = e->value;
		struct stat st;

		for (size_t i = 0; i < pod->n_containers; i++)
			if (pod->containers[i]->state == RT_RUNNING && *pod->containers[i]->log_path &&
					stat(pod->containers[i]->log_path, &st) == 0 && st.st_size > MAX_SIZE)
				rotate(k, pod->containers[i]);
	}
}

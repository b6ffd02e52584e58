#include "orchestrator/ingress/haproxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/loop.h"
#include "io/process.h"
#include "orchestrator/kubelet/fsutil.h"

#define PROGRAM "haproxy"
/* Ports that cannot be had end it sooner than that. */
#define SETTLE_MS 500
#define LOG_MAX (1 << 20)

struct haproxy {
	struct loop *loop;
	char *dir;
	struct haproxy_user *user;
	struct process_run check;
	const char *argv[8];
	char *config, *next_config, *log_path;
	struct supervisor *supervisor;
	struct supervisor_user process;
	struct loop_timer settle, later;
	struct err err; /* what `later` tells */
	unsigned generation;
	bool checking, serving, resting, ending, stopping; /* ending: the process was told to */
};

static char *in_dir(const struct haproxy *h, const char *name)
{
	return xasprintf("%s/%s", h->dir, name);
}

/* --- Files --------------------------------------------------------------------------------------------------------------- */

static int write_next(struct haproxy *h, const struct haproxy_files *files, struct err *e)
{
	char *next = in_dir(h, "next");
	int r = fs_remove_tree(next, e);

	if (r == 0)
		r = fs_mkdir_all(next, 0700, e);
	for (size_t i = 0; i < files->n && r == 0; i++) {
		char *path = xasprintf("%s/%s", next, files->v[i].name);

		r = file_put(path, files->v[i].text, 0600, false, e);
		free(path);
	}
	free(next);
	return r;
}

/* A crash leaves either the old or the new ones. */
static int use_next(struct haproxy *h, struct err *e)
{
	char *next = in_dir(h, "next"), *link = in_dir(h, "current"), *fresh = in_dir(h, "current.new");
	char *old = xasprintf("%s/files-%u", h->dir, h->generation), *name = xasprintf("files-%u", h->generation + 1), *to = in_dir(h, name);
	int r = fs_remove_tree(to, e);

	if (r == 0 && (rename(next, to) < 0 || (unlink(fresh) < 0 && errno != ENOENT) || symlink(name, fresh) < 0 || rename(fresh, link) < 0))
		r = err_set_errno(e, errno, "%s", to);
	if (r == 0) {
		h->generation++;
		fs_remove_tree(old, NULL);
	}
	free(next);
	free(link);
	free(fresh);
	free(old);
	free(name);
	free(to);
	return r;
}

/* --- The process ----------------------------------------------------------------------------------------------------------- */

static void set_serving(struct haproxy *h, bool serving)
{
	if (h->serving == serving)
		return;
	h->serving = serving;
	h->user->serving(h->user, serving);
}

static void settled(struct loop_timer *t)
{
	struct haproxy *h = container_of(t, struct haproxy, settle);

	if (h->supervisor && supervisor_pid(h->supervisor))
		set_serving(h, true);
}

static void process_started(struct supervisor_user *u, pid_t pid)
{
	struct haproxy *h = container_of(u, struct haproxy, process);

	log_info("ingress", "haproxy started pid=%d", (int)pid);
	loop_timer_start(&h->settle, h->loop, SETTLE_MS, settled);
}

static void process_ended(struct supervisor_user *u, struct process_exit x)
{
	struct haproxy *h = container_of(u, struct haproxy, process);

	loop_timer_stop(&h->settle);
	if (!h->resting && !h->stopping)
		log_warn("ingress", "haproxy ended code=%d signal=%d: is a port in use? see %s", x.code, x.signal, h->log_path);
	set_serving(h, false);
}

static void start(struct haproxy *h);

static void finish(struct haproxy *h)
{
	struct haproxy_user *user = h->user;

	loop_timer_stop(&h->settle);
	loop_timer_stop(&h->later);
	free(h->dir);
	free(h->config);
	free(h->next_config);
	free(h->log_path);
	free(h);
	user->stopped(user);
}

static void process_stopped(struct supervisor_user *u)
{
	struct haproxy *h = container_of(u, struct haproxy, process);

	h->supervisor = NULL;
	h->ending = false;
	set_serving(h, false);
	if (h->stopping && !h->checking)
		finish(h);
	else if (!h->resting && !h->stopping)
		start(h);
}

static void start(struct haproxy *h)
{
	const char *argv[] = {PROGRAM, "-W", "-db", "-q", "-f", h->config, NULL};
	struct supervisor_config sc = {.name = PROGRAM, .spec = {.argv = argv, .session = true, .die_with_parent = true}, .backoff_min_ms = 500,
			.backoff_max_ms = 30000};
	int fd = open(h->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);

	sc.spec.log_fd = fd;
	h->supervisor = supervisor_start(h->loop, &sc, &h->process);
	if (fd >= 0)
		close(fd);
}

static void go_on(struct haproxy *h)
{
	pid_t pid = h->supervisor ? supervisor_pid(h->supervisor) : 0;

	/* Its complaints are worth the last ones only. */
	if (access(h->log_path, F_OK) == 0 && truncate(h->log_path, 0) < 0)
		log_debug("ingress", "%s stays as it is", h->log_path);
	if (pid > 0 && !h->ending)
		kill(pid, SIGUSR2);
	else if (!h->supervisor)
		start(h);
	/* Else it comes by itself, with the new files, or when the old one has ended. */
}

/* --- Asking ------------------------------------------------------------------------------------------------------------------- */

static void tell(struct loop_timer *t)
{
	struct haproxy *h = container_of(t, struct haproxy, later);
	struct err e = h->err;

	h->checking = false;
	if (h->stopping && !h->supervisor)
		finish(h);
	else if (!h->stopping)
		h->user->done(h->user, e.code ? &e : NULL);
}

static void checked(struct process_run *run, struct process_exit x, struct str out, struct str err_out, const struct err *e)
{
	struct haproxy *h = container_of(run, struct haproxy, check);

	(void)x, (void)out;
	err_clear(&h->err);
	if (e && err_out.n > 0)
		err_set(&h->err, ERR_BAD_REQUEST, "haproxy refuses the configuration (%s/next): %.*s", h->dir, (int)MIN(err_out.n, (size_t)300),
				err_out.p);
	else if (e)
		h->err = *e;
	else if (!h->stopping && !h->resting && use_next(h, &h->err) == 0)
		go_on(h);
	loop_timer_start(&h->later, h->loop, 0, tell);
}

void haproxy_apply(struct haproxy *h, const struct haproxy_files *files)
{
	ASSERT(!h->checking && !h->stopping);
	h->checking = true;
	h->resting = false;
	err_clear(&h->err);
	if (write_next(h, files, &h->err) < 0) {
		loop_timer_start(&h->later, h->loop, 0, tell);
		return;
	}
	h->check = (struct process_run){.loop = h->loop, .spec = {.argv = h->argv, .session = true}, .timeout_ms = 20000, .done = checked};
	process_run(&h->check);
}

static void end_process(struct haproxy *h)
{
	if (!h->supervisor || h->ending)
		return;
	h->ending = true;
	supervisor_stop(h->supervisor);
}

void haproxy_rest(struct haproxy *h)
{
	h->resting = true;
	end_process(h);
}

struct haproxy *haproxy_new(struct loop *loop, const char *dir, struct haproxy_user *user, struct err *e)
{
	struct haproxy *h;

	if (fs_mkdir_all(dir, 0700, e) < 0)
		return NULL;
	h = xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->dir = xstrdup(dir);
	h->user = user;
	h->config = in_dir(h, "current/" HAPROXY_CONFIG);
	h->next_config = in_dir(h, "next/" HAPROXY_CONFIG);
	h->log_path = in_dir(h, "haproxy.log");
	h->process = (struct supervisor_user){process_started, process_ended, process_stopped};
	h->argv[0] = PROGRAM;
	h->argv[1] = "-c";
	h->argv[2] = "-q";
	h->argv[3] = "-f";
	h->argv[4] = h->next_config;
	return h;
}

void haproxy_stop(struct haproxy *h)
{
	h->stopping = true;
	end_process(h);
	/* Its end, or that of the look at the files, comes. */
	if (!h->supervisor && !h->checking) {
		h->checking = true;
		loop_timer_start(&h->later, h->loop, 0, tell);
	}
}

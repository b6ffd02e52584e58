/* Keeping a child process running; see process.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/process.h"

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000
#define GRACE_MS 5000

struct supervisor {
	struct loop *loop;
	char *name;
	struct process_spec spec; /* everything in it is ours */
	struct supervisor_user *user;
	struct process_user process_user;
	struct process *process; /* NULL while it is down */
	struct loop_timer timer; /* to the next start, or to being stopped */
	uint64_t min_ms, max_ms, grace_ms, backoff_ms, started_ms, restarts;
	bool stopping, restart_now;
};

static void start(struct supervisor *);

static char **copy_strings(const char *const *s)
{
	char **r;
	size_t n = 0;

	if (s == NULL)
		return NULL;
	while (s[n] != NULL)
		n++;
	r = xcalloc(n + 1, sizeof(*r));
	for (size_t i = 0; i < n; i++)
		r[i] = xstrdup(s[i]);
	return r;
}

static void free_strings(const char *const *s)
{
	for (size_t i = 0; s != NULL && s[i] != NULL; i++)
		free((void *)s[i]);
	free((void *)s);
}

static int copy_fd(int fd)
{
	return fd > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
}

static void supervisor_free(struct supervisor *s)
{
	int *fds[] = {&s->spec.stdin_fd, &s->spec.stdout_fd, &s->spec.stderr_fd, &s->spec.log_fd,
		&s->spec.netns_fd, &s->spec.mntns_fd};

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (*fds[i] > 0)
			close(*fds[i]);
	free_strings(s->spec.argv);
	free_strings(s->spec.env);
	free((void *)s->spec.cwd);
	free((void *)s->spec.cgroup_dir);
	free(s->name);
	free(s);
}

static void on_stopped(struct loop_timer *t)
{
	struct supervisor *s = container_of(t, struct supervisor, timer);
	struct supervisor_user *user = s->user;

	supervisor_free(s);
	if (user->on_stopped)
		user->on_stopped(user);
}

static void on_again(struct loop_timer *t)
{
	start(container_of(t, struct supervisor, timer));
}

/* It is down: start it again after the back-off. */
static void schedule(struct supervisor *s)
{
	uint64_t wait = s->backoff_ms;

	if (s->restart_now || clock_mono_ms() - s->started_ms >= 10 * s->max_ms) {
		s->backoff_ms = s->min_ms;
		wait = s->restart_now ? 0 : s->min_ms;
	}
	s->backoff_ms = MIN(MAX(s->backoff_ms, s->min_ms) * 2, s->max_ms);
	s->restart_now = false;
	loop_timer_start(&s->timer, s->loop, wait, on_again);
}

static void on_exit_(struct process_user *u, struct process *p, struct process_exit ex)
{
	struct supervisor *s = container_of(u, struct supervisor, process_user);

	s->process = NULL;
	if (!s->stopping)
		log_warn("process", "%s ended code=%d signal=%d, it is started again", s->name,
			ex.code, ex.signal);
	if (s->user->on_exit)
		s->user->on_exit(s->user, ex);
	if (s->stopping)
		loop_timer_start(&s->timer, s->loop, 0, on_stopped);
	else
		schedule(s);
}

static void start(struct supervisor *s)
{
	struct err e = ERR_INIT;

	s->started_ms = clock_mono_ms();
	if (process_spawn(s->loop, &s->spec, &s->process_user, &s->process, &e) != 0) {
		log_warn("process", "%s: %s", s->name, e.text);
		s->process = NULL;
		schedule(s);
		return;
	}
	s->restarts++;
	log_debug("process", "%s started pid=%d", s->name, (int)process_pid(s->process));
	if (s->user->on_start)
		s->user->on_start(s->user, process_pid(s->process));
}

struct supervisor *supervisor_start(
	struct loop *l, const struct supervisor_config *c, struct supervisor_user *user)
{
	struct supervisor *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->user = user;
	s->name = xstrdup(c->name ? c->name : c->spec.argv[0]);
	s->spec = c->spec;
	s->spec.argv = (const char *const *)copy_strings(c->spec.argv);
	s->spec.env = (const char *const *)copy_strings(c->spec.env);
	s->spec.cwd = c->spec.cwd ? xstrdup(c->spec.cwd) : NULL;
	s->spec.cgroup_dir = c->spec.cgroup_dir ? xstrdup(c->spec.cgroup_dir) : NULL;
	s->spec.stdin_fd = copy_fd(c->spec.stdin_fd);
	s->spec.stdout_fd = copy_fd(c->spec.stdout_fd);
	s->spec.stderr_fd = copy_fd(c->spec.stderr_fd);
	s->spec.log_fd = copy_fd(c->spec.log_fd);
	s->spec.netns_fd = copy_fd(c->spec.netns_fd);
	s->spec.mntns_fd = copy_fd(c->spec.mntns_fd);
	s->min_ms = c->backoff_min_ms ? c->backoff_min_ms : BACKOFF_MIN_MS;
	s->max_ms = c->backoff_max_ms ? c->backoff_max_ms : BACKOFF_MAX_MS;
	s->grace_ms = c->stop_grace_ms ? c->stop_grace_ms : GRACE_MS;
	s->backoff_ms = s->min_ms;
	s->process_user.on_exit = on_exit_;
	loop_timer_start(&s->timer, l, 0, on_again);
	return s;
}

pid_t supervisor_pid(const struct supervisor *s)
{
	return s->process ? process_pid(s->process) : 0;
}

uint64_t supervisor_restarts(const struct supervisor *s)
{
	return s->restarts > 0 ? s->restarts - 1 : 0;
}

void supervisor_restart(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->restart_now = true;
	if (s->process != NULL)
		process_terminate(s->process, s->grace_ms);
	else
		loop_timer_start(&s->timer, s->loop, 0, on_again);
}

void supervisor_stop(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	if (s->process != NULL)
		process_terminate(s->process, s->grace_ms);
	else
		loop_timer_start(&s->timer, s->loop, 0, on_stopped);
}

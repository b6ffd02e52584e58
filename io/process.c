#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/util.h"

struct process {
	struct loop *loop;
	uv_poll_t poll; /* on the pidfd: readable when it has exited */
	int pidfd;
	pid_t pid;
	bool session;
	bool reaped;
	struct process_user *user; /* NULL: forgotten */
	struct loop_timer kill_timer;
};

/*
 * All that the child needs, prepared before the fork. The child of a vfork shares our memory and
 * may only make system calls; it leaves its error here.
 */
struct plan {
	const char *path;
	char *const *argv, *const *env;
	const char *cwd;
	char *cgroup_procs;
	char oom[16];
	int fds[3];
	int netns_fd, mntns_fd;
	bool session, die_with_parent;
	pid_t parent;
	sigset_t old_mask;
	volatile int error;
	const char *volatile failed; /* the step */
};

static void child_fail(struct plan *p, const char *what)
{
	p->error = errno;
	p->failed = what;
	_exit(127);
}

static void child_write(struct plan *p, const char *path, const char *text, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		child_fail(p, what);
	close(fd);
}

static void child_fds(struct plan *p)
{
	int high[3];

	/* First out of the way of 0, 1 and 2, which may be among the sources. */
	for (int i = 0; i < 3; i++) {
		high[i] = p->fds[i] >= 0 ? fcntl(p->fds[i], F_DUPFD_CLOEXEC, 3)
					 : open("/dev/null", O_RDWR | O_CLOEXEC);
		if (high[i] < 0)
			child_fail(p, "duplicate file descriptors");
		if (high[i] < 3)
			high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, 3);
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], i) < 0)
			child_fail(p, "duplicate file descriptors");
	syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
}

static void child(struct plan *p)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	if (p->session && setsid() < 0)
		child_fail(p, "setsid");
	if (p->die_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
			child_fail(p, "prctl");
		if (getppid() != p->parent)
			_exit(127);
	}
	if (p->cgroup_procs)
		child_write(p, p->cgroup_procs, "0", "join the cgroup");
	if (p->oom[0])
		child_write(p, "/proc/self/oom_score_adj", p->oom, "set oom_score_adj");
	child_fds(p);
	if (p->netns_fd > 0 && setns(p->netns_fd, CLONE_NEWNET) != 0)
		child_fail(p, "enter the network namespace");
	if (p->mntns_fd > 0 && setns(p->mntns_fd, CLONE_NEWNS) != 0)
		child_fail(p, "enter the mount namespace");
	if (p->cwd && chdir(p->cwd) != 0)
		child_fail(p, "change the directory");
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(p->path, p->argv, p->env);
	child_fail(p, "exec");
}

/* In a function of its own, so that no variable of a caller lives across vfork. */
static __attribute__((noinline)) pid_t fork_child(struct plan *p)
{
	pid_t pid = vfork();

	if (pid == 0)
		child(p);
	return pid;
}

/* The program's path, looked up in our PATH; caller frees. NULL with errno. */
static char *find_program(const char *name)
{
	struct str rest = str_from(getenv("PATH")), dir;

	if (strchr(name, '/') != NULL)
		return xstrdup(name);
	if (rest.n == 0)
		rest = STR("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	while (rest.n > 0) {
		char *path;

		str_cut(rest, ':', &dir, &rest);
		path = xasprintf("%.*s/%s", STR_FMT(dir), name);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	errno = ENOENT;
	return NULL;
}

static int fork_with_plan(struct plan *p, pid_t *ret, struct err *e)
{
	sigset_t all;
	pid_t pid;

	/* A signal handler that ran in the child before exec would run on our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &p->old_mask);
	p->parent = getpid();
	pid = fork_child(p);
	pthread_sigmask(SIG_SETMASK, &p->old_mask, NULL);
	if (pid < 0)
		return err_set_errno(e, errno, "cannot start %s: fork", p->argv[0]);
	if (p->error != 0) {
		waitpid(pid, NULL, 0);
		return err_set_errno(e, p->error, "cannot start %s: %s", p->argv[0], p->failed);
	}
	*ret = pid;
	return 0;
}

static void on_closed(uv_handle_t *h)
{
	struct process *p = container_of((uv_poll_t *)h, struct process, poll);

	close(p->pidfd);
	free(p);
}

static void on_exited(uv_poll_t *poll, int status, int events)
{
	struct process *p = container_of(poll, struct process, poll);
	struct process_exit ex = {.code = -1};
	siginfo_t info = {0};

	if (waitid((idtype_t)P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) != 0 &&
		errno == EINTR)
		return;
	if (info.si_pid == 0 && errno != ECHILD)
		return;
	if (info.si_code == CLD_EXITED)
		ex.code = info.si_status;
	else
		ex.signal = info.si_status;
	p->reaped = true;
	loop_timer_stop(&p->kill_timer);
	uv_poll_stop(&p->poll);
	if (p->user != NULL)
		p->user->on_exit(p->user, p, ex);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

static int pick_fd(int fd, int fallback)
{
	return fd > 0 ? fd : fallback;
}

int process_spawn(struct loop *l, const struct process_spec *s, struct process_user *user,
	struct process **ret, struct err *e)
{
	struct plan plan = {
		.argv = (char *const *)s->argv,
		.env = s->env ? (char *const *)s->env : environ,
		.cwd = s->cwd,
		.netns_fd = s->netns_fd,
		.mntns_fd = s->mntns_fd,
		.session = s->session,
		.die_with_parent = s->die_with_parent,
		.fds = {pick_fd(s->stdin_fd, -1), pick_fd(s->stdout_fd, pick_fd(s->log_fd, 1)),
			pick_fd(s->stderr_fd, pick_fd(s->log_fd, 2))},
	};
	_cleanup_(freep) char *path = find_program(s->argv[0]);
	struct process *p;
	pid_t pid = -1;
	int pidfd, rv;

	if (path == NULL)
		return err_set_errno(e, errno, "cannot start %s", s->argv[0]);
	plan.path = path;
	if (s->oom_score_adj != 0)
		snprintf(plan.oom, sizeof(plan.oom), "%d", s->oom_score_adj);
	plan.cgroup_procs = s->cgroup_dir ? xasprintf("%s/cgroup.procs", s->cgroup_dir) : NULL;
	rv = fork_with_plan(&plan, &pid, e);
	free(plan.cgroup_procs);
	if (rv != 0)
		return rv;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		rv = err_set_errno(e, errno, "pidfd_open");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return rv;
	}
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	p = xcalloc(1, sizeof(*p));
	p->loop = l;
	p->pid = pid;
	p->pidfd = pidfd;
	p->session = s->session;
	p->user = user;
	ASSERT(uv_poll_init(loop_uv(l), &p->poll, pidfd) == 0);
	ASSERT(uv_poll_start(&p->poll, UV_READABLE, on_exited) == 0);
	*ret = p;
	return 0;
}

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

void process_signal(struct process *p, int signum)
{
	if (!p->reaped)
		kill(p->session ? -p->pid : p->pid, signum);
}

static void on_kill(struct loop_timer *t)
{
	process_signal(container_of(t, struct process, kill_timer), SIGKILL);
}

void process_terminate(struct process *p, uint64_t grace_ms)
{
	if (p->reaped)
		return;
	process_signal(p, SIGTERM);
	/* One that was stopped could not act on it. */
	process_signal(p, SIGCONT);
	loop_timer_start(&p->kill_timer, p->loop, grace_ms, on_kill);
}

void process_forget(struct process *p)
{
	loop_timer_stop(&p->kill_timer);
	p->user = NULL;
	/* Its exit status goes to who inherits it from us; a watch would keep the loop from being freed. */
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

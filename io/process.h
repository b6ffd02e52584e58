/*
 * Child processes: start one, learn of its exit; or keep one running.
 *
 * The child gets exactly the given fds 0, 1, 2 (all else is close-on-exec), default signal
 * dispositions, an empty signal mask, and, when asked, its own session, a network namespace, and
 * death with the parent's thread. Exits are seen through a pidfd, so no SIGCHLD handler is involved.
 * Both structs are opaque; each is freed by the module after its last callback.
 *
 *	struct process_spec s = {.argv = (const char *[]){"containerd", "--config", path, NULL},
 * .log_fd = fd, .session = true}; process_spawn(loop, &s, &me->user, &p, e);
 */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "io/loop.h"

struct process;
struct supervisor;

struct process_spec {
	const char *const *argv; /* argv[0] is looked up in PATH unless it has a slash */
	const char *const *env;  /* NULL: ours; else the whole environment, NULL-terminated */
	const char *cwd;         /* NULL: ours */
	/* Fds the child gets as 0, 1, 2; 0 or -1: /dev/null for stdin, log_fd for the others.
	 * Borrowed for the call. */
	int stdin_fd, stdout_fd, stderr_fd;
	int log_fd;   /* for stdout and stderr; 0 or -1: ours */
	int netns_fd; /* > 0: the child enters that network namespace */
	int mntns_fd; /* > 0: the child enters that mount namespace */
	bool session; /* setsid: signals to the group do not reach us, and process_signal reaches
			 its group */
	bool die_with_parent; /* SIGKILL when the spawning thread ends (so spawn from a long-lived
				 loop) */
	int oom_score_adj;    /* written when not 0 */
	const char *
		cgroup_dir; /* a cgroup v2 directory that the child joins before exec; NULL: ours */
};

struct process_exit {
	int code;   /* exit status, or -1 when a signal ended it */
	int signal; /* or 0 */
};

struct process_user {
	/* Once, for each successful spawn, never inside process_spawn; the process is gone
	 * afterwards. */
	void (*on_exit)(struct process_user *, struct process *, struct process_exit);
};

/* Errors of exec (no such file, ...) are reported here, not as an exit. */
int process_spawn(struct loop *, const struct process_spec *, struct process_user *,
	struct process **ret, struct err *);
pid_t process_pid(const struct process *);
/* To the process (to its group with `session`). Nothing when it is gone. */
void process_signal(struct process *, int signum);
/* SIGTERM now, SIGKILL after grace_ms; on_exit still comes. */
void process_terminate(struct process *, uint64_t grace_ms);
/* Let it run on without us: no on_exit; the struct is gone. */
void process_forget(struct process *);

/* Keep a process running: restart after it exits, with a back-off that doubles from min to max and
 * is forgotten after a run of 10 * max. */
struct supervisor_user {
	/* Optional. */
	void (*on_start)(struct supervisor_user *, pid_t);
	void (*on_exit)(struct supervisor_user *, struct process_exit);
	/* After supervisor_stop: the process is gone and so is the supervisor. */
	void (*on_stopped)(struct supervisor_user *);
};
struct supervisor_config {
	const char *name;                        /* for logs */
	struct process_spec spec;                /* copied deeply, fds duplicated */
	uint64_t backoff_min_ms, backoff_max_ms; /* 0: 200 ms, 10 s */
	uint64_t stop_grace_ms;                  /* SIGTERM to SIGKILL; 0: 5 s */
};
struct supervisor *supervisor_start(
	struct loop *, const struct supervisor_config *, struct supervisor_user *);
pid_t supervisor_pid(const struct supervisor *); /* 0 while it is down */
uint64_t supervisor_restarts(const struct supervisor *);
void supervisor_restart(
	struct supervisor *); /* stop it in good order and start it again, at once */
void supervisor_stop(struct supervisor *);

/*
 * Run to the end and collect the output: for short helper commands.
 */
struct process_run {
	struct loop *loop;
	struct process_spec spec; /* its fds for 1 and 2 are replaced; stdin comes from ->input when
				     not empty */
	struct str input;         /* borrowed until done */
	size_t max_output;        /* of stdout and of stderr each; 0: 1 MiB; more is dropped */
	uint64_t timeout_ms;      /* then SIGKILL to the group and ERR_TIMEOUT; 0: 30 s */
	/* Once. e is NULL when the command ran and exited with 0; else says why, with the end of
	 * stderr. */
	void (*done)(struct process_run *, struct process_exit, struct str out, struct str err_out,
		const struct err *e);
	void *priv; /* ours while it runs */
};
void process_run(struct process_run *);
void process_run_cancel(struct process_run *);

#endif

#include "orchestrator/kubelet/containerd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/process.h"
#include "orchestrator/kubelet/containerd-priv.h"
#include "orchestrator/kubelet/fsutil.h"

#define POLL_MS 10             /* while it starts: is the socket there? */
#define POLL_SLOW_MS 100       /* after POLL_FAST_FOR_MS */
#define POLL_FAST_FOR_MS 5000
#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 10000

/*
 *            nobody listens            socket answers          Version, Status ok
 *   PROBE ------------------> START ------------------> ASK --------------------> READY
 *     |  somebody listens       ^                        ^  | no                    | events stream ends
 *     +-------------------------|------------------------+  +--> retry              v
 *                               +------- back-off <------- exit of the process <- PROBE
 */
enum state { PROBE, START, ASK, READY, BACKOFF, STOPPED };

struct containerd {
	struct loop *loop;
	struct containerd_user *user;
	struct containerd_images *images;
	char *dir, *socket, *binary, *config_path;
	char *cgroup_dir;
	bool own;           /* we start it */
	bool stale_config;  /* the running one has an older configuration */
	enum state state;
	struct loop_timer timer;
	uint64_t backoff_ms, since_ms;
	struct process *process;
	struct process_user process_user;
	struct cri *cri;
	struct cri_call call;
	bool call_busy;
	struct grpc_call events;
	bool events_busy;
	bool told_ready;
	char version[64];
	struct err why;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void probe(struct containerd *c);
static void start_process(struct containerd *c);

struct cri *containerd_cri(struct containerd *c)
{
	return c->cri;
}

bool containerd_importing(const struct containerd *c)
{
	return c->images && !images_first_pass_done(c->images);
}

bool containerd_is_archived(const struct containerd *c, const char *name)
{
	return c->images && images_has_name(c->images, name);
}

bool containerd_can_sandbox(const struct containerd *c)
{
	return !c->images || images_have_pause(c->images) || images_first_pass_done(c->images);
}

static int make_dirs(const struct containerd_config *cfg, struct err *e)
{
	static const char *const subs[] = {"", "/root", "/state", "/opt", "/cni/bin", "/cni/net.d", "/imported"};

	for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
		_cleanup_(freep) char *path = xasprintf("%s%s", cfg->dir, subs[i]);
		int rc = fs_mkdir_all(path, 0711, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Connecting to a unix socket succeeds or fails at once. */
static bool listens(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		return false;
	memcpy(a.sun_path, path, strlen(path) + 1);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static pid_t read_pid(const char *dir)
{
	_cleanup_(freep) char *path = xasprintf("%s/containerd.pid", dir);
	_cleanup_(freep) char *cmdline_path = NULL;
	_cleanup_(buf_fini) struct buf b = BUF_INIT, cmdline = BUF_INIT;
	int64_t pid;

	if (file_get(path, 64, &b, NULL) < 0 || !str_to_i64(str_trim(buf_str(&b)), &pid) || pid <= 1)
		return 0;
	/* A zombie has no command line. */
	cmdline_path = xasprintf("/proc/%d/cmdline", (int)pid);
	if (file_get(cmdline_path, 65536, &cmdline, NULL) < 0 || str_search(buf_str(&cmdline), str_from(dir)) < 0)
		return 0;
	return (pid_t)pid;
}

pid_t containerd__pid(const char *dir)
{
	return read_pid(dir);
}

int containerd_start(struct loop *loop, const struct containerd_config *cfg, struct containerd_user *user,
		struct containerd **ret, struct err *e)
{
	struct containerd *c = xcalloc(1, sizeof(*c));
	int rc = 0;

	c->loop = loop;
	c->user = user;
	c->own = cfg->socket == NULL;
	c->dir = xstrdup(cfg->dir);
	c->socket = c->own ? xasprintf("%s/containerd.sock", cfg->dir) : xstrdup(cfg->socket);
	c->binary = xstrdup(cfg->binary ? cfg->binary : "containerd");
	c->config_path = xasprintf("%s/config.toml", cfg->dir);
	c->cgroup_dir = cfg->cgroup_dir ? xstrdup(cfg->cgroup_dir) : NULL;
	c->backoff_ms = BACKOFF_MIN_MS;
	if (strlen(c->socket) + sizeof(".ttrpc") > sizeof(((struct sockaddr_un *)0)->sun_path))
		rc = err_set(e, ERR_INVALID, "the path \"%s\" is too long for a unix socket: choose a shorter data directory",
				c->socket);
	if (rc == 0)
		rc = make_dirs(cfg, e);
	if (rc == 0 && c->own)
		rc = containerd__write_config(cfg, c->config_path, &c->stale_config, e);
	if (rc == 0)
		rc = cri_new(loop, c->socket, &c->cri, e);
	if (rc < 0) {
		free(c->dir);
		free(c->socket);
		free(c->binary);
		free(c->config_path);
		free(c->cgroup_dir);
		free(c);
		return rc;
	}
	if (cfg->images_dir)
		c->images = images_new(loop, cfg, c->socket, user);
	*ret = c;
	c->state = PROBE;
	probe(c);
	return 0;
}

static void say_lost(struct containerd *c, const struct err *why)
{
	if (!c->told_ready)
		return;
	c->told_ready = false;
	c->user->lost(c->user, why);
}

static void write_pid(struct containerd *c, pid_t pid)
{
	_cleanup_(freep) char *path = xasprintf("%s/containerd.pid", c->dir);
	char text[32];

	snprintf(text, sizeof(text), "%d\n", (int)pid);
	file_put(path, str_from(text), 0644, false, NULL);
}

static void on_backoff(struct loop_timer *t)
{
	struct containerd *c = container_of(t, struct containerd, timer);

	c->state = PROBE;
	probe(c);
}

static void wait_backoff(struct containerd *c)
{
	c->state = BACKOFF;
	loop_timer_start(&c->timer, c->loop, c->backoff_ms, on_backoff);
	c->backoff_ms = MIN(2 * c->backoff_ms, BACKOFF_MAX_MS);
}

static void on_exit_process(struct process_user *u, struct process *p, struct process_exit how)
{
	struct containerd *c = container_of(u, struct containerd, process_user);

	c->process = NULL;
	if (c->state == STOPPED)
		return;
	err_set(&c->why, ERR_UNAVAILABLE, "containerd ended with status %d signal %d; its log is %s/containerd.log",
			how.code, how.signal, c->dir);
	log_warn("kubelet", "containerd ended status=%d signal=%d log=%s/containerd.log", how.code, how.signal, c->dir);
	if (clock_mono_ms() - c->since_ms > 10 * BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MIN_MS;
	say_lost(c, &c->why);
	wait_backoff(c);
}

static void on_poll(struct loop_timer *t)
{
	struct containerd *c = container_of(t, struct containerd, timer);

	probe(c);
}

static void poll_later(struct containerd *c)
{
	bool fast = clock_mono_ms() - c->since_ms < POLL_FAST_FOR_MS;

	loop_timer_start(&c->timer, c->loop, fast ? POLL_MS : POLL_SLOW_MS, on_poll);
}

static void start_process(struct containerd *c)
{
	_cleanup_(freep) char *log_path = xasprintf("%s/containerd.log", c->dir);
	_cleanup_(closep) int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	const char *argv[] = {c->binary, "--config", c->config_path, NULL};
	struct process_spec spec = {.argv = argv, .log_fd = log, .session = true, .cgroup_dir = c->cgroup_dir};
	struct err e = ERR_INIT;

	setenv("GOGC", "50", 0); /* halves its heap at a little CPU */
	c->process_user.on_exit = on_exit_process;
	c->since_ms = clock_mono_ms();
	if (process_spawn(c->loop, &spec, &c->process_user, &c->process, &e) < 0) {
		log_error("kubelet", "containerd does not start: %s (is Debian's package containerd installed?)", e.text);
		wait_backoff(c);
		return;
	}
	log_info("kubelet", "containerd started pid=%d dir=%s", (int)process_pid(c->process), c->dir);
	write_pid(c, process_pid(c->process));
	c->state = START;
	poll_later(c);
}

static void retry_ask(struct containerd *c)
{
	c->state = START;
	poll_later(c);
}

static void on_event(struct grpc_call *g, struct str message)
{
	struct containerd *c = container_of(g, struct containerd, events);
	struct containerd_event ev;

	if (containerd__event_parse(message, &ev) && c->told_ready)
		c->user->event(c->user, &ev);
}

static void finish_stop(struct containerd *c);

static void on_events_end(struct grpc_call *g)
{
	struct containerd *c = container_of(g, struct containerd, events);
	struct err why = ERR_INIT;

	c->events_busy = false;
	grpc_call_err(g, &why);
	grpc_call_fini(g);
	if (c->state == STOPPED) {
		finish_stop(c);
		return;
	}
	say_lost(c, &why);
	if (c->state == READY) {
		c->state = PROBE;
		c->since_ms = clock_mono_ms();
		poll_later(c);
	}
}

static void subscribe(struct containerd *c)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	containerd__event_filters(&b);
	memset(&c->events, 0, sizeof(c->events));
	c->events.method = "/containerd.services.events.v1.Events/Subscribe";
	c->events.on_message = on_event;
	c->events.done = on_events_end;
	c->events_busy = true;
	grpc_start(cri_channel(c->cri), &c->events);
	grpc_send(&c->events, buf_str(&b), NULL);
	grpc_close_send(&c->events);
}

static bool runtime_ready(const Runtime__StatusResponse *r)
{
	for (size_t i = 0; r->status && i < r->status->n_conditions; i++)
		if (strcmp(r->status->conditions[i]->type, "RuntimeReady") == 0)
			return r->status->conditions[i]->status;
	return false;
}

static void status_done(struct cri_call *call)
{
	struct containerd *c = container_of(call, struct containerd, call);
	bool ok = call->err.code == ERR_OK && runtime_ready(CRI_REPLY(call, Runtime__StatusResponse));

	c->call_busy = false;
	cri_call_fini(call);
	if (c->state == STOPPED) {
		finish_stop(c);
		return;
	}
	if (!ok) {
		retry_ask(c);
		return;
	}
	c->state = READY;
	c->told_ready = true;
	c->backoff_ms = BACKOFF_MIN_MS;
	log_info("kubelet", "containerd ready version=%s ms=%d", c->version, (int)(clock_mono_ms() - c->since_ms));
	subscribe(c);
	if (c->images)
		images_scan(c->images);
	c->user->ready(c->user, c->version);
}

static void version_done(struct cri_call *call)
{
	struct containerd *c = container_of(call, struct containerd, call);
	Runtime__StatusRequest req = RUNTIME__STATUS_REQUEST__INIT;
	bool ok = call->err.code == ERR_OK;

	if (ok)
		snprintf(c->version, sizeof(c->version), "%s",
				CRI_REPLY(call, Runtime__VersionResponse)->runtime_version);
	cri_call_fini(call);
	c->call_busy = false;
	if (c->state == STOPPED) {
		finish_stop(c);
		return;
	}
	if (!ok) {
		retry_ask(c);
		return;
	}
	c->call_busy = true;
	c->call.done = status_done;
	cri_start(c->cri, &c->call, CRI_STATUS, &req.base);
}

static void ask(struct containerd *c)
{
	Runtime__VersionRequest req = RUNTIME__VERSION_REQUEST__INIT;

	if (c->call_busy)
		return;
	c->state = ASK;
	c->call_busy = true;
	c->call.done = version_done;
	c->call.wait_ready = true;
	cri_start(c->cri, &c->call, CRI_VERSION, &req.base);
}

/* A containerd of an older configuration is asked to end; its shims and containers go on. */
static bool replace_stale(struct containerd *c)
{
	pid_t pid = c->stale_config && !c->process ? read_pid(c->dir) : 0;

	if (pid == 0)
		return false;
	kill(pid, SIGTERM);
	return true;
}

static void probe(struct containerd *c)
{
	bool up = listens(c->socket);

	if (up && c->own && replace_stale(c)) {
		c->since_ms = clock_mono_ms();
		poll_later(c);
	} else if (up) {
		if (c->since_ms == 0)
			c->since_ms = clock_mono_ms();
		c->stale_config = false;
		ask(c);
	} else if (c->own && !c->process) {
		c->stale_config = false;
		start_process(c);
	} else {
		poll_later(c);
	}
}

static void cri_closed(void *arg)
{
	struct containerd *c = arg;
	void (*stopped)(void *arg) = c->stopped;
	void *stopped_arg = c->stopped_arg;

	free(c->dir);
	free(c->socket);
	free(c->binary);
	free(c->config_path);
	free(c->cgroup_dir);
	free(c);
	if (stopped)
		stopped(stopped_arg);
}

static void finish_stop(struct containerd *c)
{
	if (!c->call_busy && !c->events_busy && !c->images)
		cri_close(c->cri, cri_closed, c);
}

static void images_gone(void *arg)
{
	struct containerd *c = arg;

	c->images = NULL;
	finish_stop(c);
}

void containerd_stop(struct containerd *c, void (*stopped)(void *arg), void *arg)
{
	c->stopped = stopped;
	c->stopped_arg = arg;
	c->state = STOPPED;
	loop_timer_stop(&c->timer);
	if (c->process)
		process_forget(TAKE(c->process));
	if (c->events_busy)
		grpc_cancel(&c->events);
	if (c->call_busy)
		cri_cancel(&c->call);
	if (c->images)
		images_close(c->images, images_gone, c);
	else if (!c->events_busy && !c->call_busy)
		finish_stop(c);
}

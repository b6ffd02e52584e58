/*
 * GET /containerLogs/NS/POD/CONTAINER: a container's log file as text, followed when asked for.
 *
 * The file is read in blocks as fast as the client takes them. At its end a follower waits for the file to grow (an
 * inotify watch, and a slow timer in case one is missed), moves over to the new file after a rotation, and ends when the
 * container does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/kubelet/crilog.h"
#include "orchestrator/kubelet/pbutil.h"
#include "orchestrator/kubelet/server-priv.h"

#define BLOCK 65536
#define WINDOW (512 * 1024) /* bytes that may wait for the client */
#define POLL_MS 500

struct log_stream {
	struct kubelet *k;
	struct http_request *r; /* NULL: it is over */
	char *uid, *container_id, *path;
	int fd;
	int64_t offset;
	struct crilog_filter filter;
	struct buf in;
	bool follow, watching, wrote;
	struct http_write write;
	struct loop_timer timer;
	uv_fs_event_t watch;
};

static void pump(struct log_stream *s);

static void stream_free(uv_handle_t *h)
{
	struct log_stream *s = container_of((uv_fs_event_t *)h, struct log_stream, watch);
	struct kubelet *k = s->k;

	if (s->fd >= 0)
		close(s->fd);
	buf_fini(&s->in);
	free(s->uid);
	free(s->container_id);
	free(s->path);
	free(s);
	kubelet_idle(k);
}

static void end(struct log_stream *s)
{
	struct http_request *r = TAKE(s->r);

	loop_timer_stop(&s->timer);
	if (r)
		http_respond_end(r);
	if (!s->wrote)
		uv_close((uv_handle_t *)&s->watch, stream_free);
}

static void on_cancel(struct http_request *r)
{
	struct log_stream *s = r->user;

	s->r = NULL;
	loop_timer_stop(&s->timer);
	http_respond_abort(r);
	if (!s->wrote)
		uv_close((uv_handle_t *)&s->watch, stream_free);
}

static void written(struct http_write *w, int status)
{
	struct log_stream *s = container_of(w, struct log_stream, write);

	s->wrote = false;
	if (s->r && status == 0)
		pump(s);
	else
		end(s);
}

static bool still_runs(struct log_stream *s)
{
	const struct rt_pod *rt = runtime_pod(s->k->runtime, s->uid);

	for (size_t i = 0; rt && i < rt->n_containers; i++)
		if (strcmp(rt->containers[i]->id, s->container_id) == 0)
			return rt->containers[i]->state != RT_EXITED;
	return false;
}

static void on_change(uv_fs_event_t *w, const char *name, int events, int status)
{
	struct log_stream *s = container_of(w, struct log_stream, watch);

	if (s->r && !s->wrote)
		pump(s);
}

static void on_poll(struct loop_timer *t)
{
	pump(container_of(t, struct log_stream, timer));
}

static void watch(struct log_stream *s)
{
	uv_fs_event_stop(&s->watch);
	uv_fs_event_start(&s->watch, on_change, s->path, 0);
}

/* At the end of the old file: is there a new one under its name? */
static bool rotated(struct log_stream *s)
{
	struct stat now, mine;
	int fd;

	if (stat(s->path, &now) < 0 || fstat(s->fd, &mine) < 0 ||
			(now.st_ino == mine.st_ino && now.st_dev == mine.st_dev))
		return false;
	fd = open(s->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	close(s->fd);
	s->fd = fd;
	s->offset = 0;
	buf_clear(&s->in);
	watch(s);
	return true;
}

/* Read one block into `in`; false at the end of the file. */
static bool more(struct log_stream *s)
{
	char *p = buf_reserve(&s->in, BLOCK);
	ssize_t n = p ? pread(s->fd, p, BLOCK, s->offset) : -1;

	if (n <= 0)
		return false;
	buf_advance(&s->in, (size_t)n);
	s->offset += n;
	return true;
}

static void pump(struct log_stream *s)
{
	struct buf out = BUF_INIT;
	bool runs = still_runs(s), at_end = false;

	while (out.n < WINDOW && !s->filter.done) {
		if (!more(s) && !rotated(s)) {
			at_end = true;
			break;
		}
		buf_consume(&s->in, crilog_feed(&s->filter, buf_str(&s->in), &out));
	}
	if (out.n) {
		s->wrote = true;
		s->write.done = written;
		http_respond_write(s->r, buf_str(&out), &s->write);
		buf_fini(&out);
		if (s->filter.done || (at_end && (!s->follow || !runs)))
			end(s);
		return;
	}
	/* `runs` was read before the file's end: nothing can have come after. */
	if (s->filter.done || !s->follow || !runs)
		end(s);
	else
		loop_timer_start(&s->timer, s->k->loop, POLL_MS, on_poll);
}

static int open_log(struct log_stream *s, struct http_request *r, struct err *e)
{
	const char *tail = query_get(r, "tailLines"), *limit = query_get(r, "limitBytes");
	const char *since = query_get(r, "sinceSeconds"), *since_time = query_get(r, "sinceTime");
	int64_t n;

	s->follow = query_bool(r, "follow");
	s->filter.timestamps = query_bool(r, "timestamps");
	s->filter.limit = -1;
	if (limit && (!str_to_i64(str_from(limit), &s->filter.limit) || s->filter.limit < 1))
		return err_set(e, ERR_INVALID, "limitBytes: Invalid value: \"%s\": must be greater than 0", limit);
	if (since && (!str_to_i64(str_from(since), &n) || n < 1))
		return err_set(e, ERR_INVALID, "sinceSeconds: Invalid value: \"%s\": must be greater than 0", since);
	if (since)
		s->filter.since_ns = clock_wall_ns() - n * 1000000000;
	if (since_time && !crilog_parse_time(str_from(since_time), &s->filter.since_ns))
		return err_set(e, ERR_INVALID, "sinceTime: Invalid value: \"%s\": not a time", since_time);
	s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		return err_set_errno(e, errno, "the log of the container");
	if (tail && (!str_to_i64(str_from(tail), &n) || n < 0))
		return err_set(e, ERR_INVALID, "tailLines: Invalid value: \"%s\": must be greater than or equal to 0", tail);
	if (tail) {
		s->offset = crilog_tail_offset(s->fd, n, e);
		if (s->offset < 0)
			return (int)s->offset;
	}
	return 0;
}

/* The container whose log is asked for, or NULL after an answer. */
static const struct rt_container *log_of(struct route_args *args, struct http_request *r, struct pod_worker *w)
{
	const struct rt_container *c = rt_find(worker_rt(w), args->part[2], NULL);
	struct work_container *wc = worker_container(w, args->part[2]);

	if (query_bool(r, "previous")) {
		/* Waiting for its restart, the newest record is the previous run. */
		if (c && c->state == RT_EXITED && !rt_previous(worker_rt(w), c))
			return c;
		c = rt_previous(worker_rt(w), c);
		if (!c)
			respond_text(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found", args->part[2],
					args->part[1]);
		return c;
	}
	if (c && c->state != RT_CREATED)
		return c;
	if (wc)
		respond_text(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", args->part[2], args->part[1],
				wc->reason ? wc->reason : "ContainerCreating");
	else
		respond_text(r, 400, "container %s is not valid for pod %s", args->part[2], args->part[1]);
	return NULL;
}

void serve_logs(struct route_args *args, struct http_request *r)
{
	struct http_header h[] = {{STR("Content-Type"), STR("text/plain")}};
	struct pod_worker *w = find_pod(args, r);
	const struct rt_container *c = w ? log_of(args, r, w) : NULL;
	struct err e = ERR_INIT;
	struct log_stream *s;

	if (!c)
		return;
	s = xcalloc(1, sizeof(*s));
	s->k = args->k;
	s->fd = -1;
	s->uid = xstrdup(w->uid);
	s->container_id = xstrdup(c->id);
	s->path = xstrdup(c->log_path);
	buf_init(&s->in, CRILOG_LINE_MAX + 2 * BLOCK);
	uv_fs_event_init(loop_uv(s->k->loop), &s->watch);
	kubelet_busy(s->k);
	if (open_log(s, r, &e) < 0) {
		respond_text(r, e.code == ERR_INVALID ? 422 : 500, "%s\n", e.text);
		uv_close((uv_handle_t *)&s->watch, stream_free);
		return;
	}
	s->r = r;
	r->user = s;
	r->on_cancel = on_cancel;
	http_respond_start(r, 200, h, ARRAY_LEN(h));
	if (s->follow)
		watch(s);
	pump(s);
}

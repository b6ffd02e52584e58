/* Running a short command to its end, with its output; see process.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/process.h"

#define DEFAULT_OUTPUT (1 << 20)
#define DEFAULT_TIMEOUT_MS 30000
/* Something that the command left behind may hold its pipes open; we wait for their ends only so
 * long. */
#define LINGER_MS 500

struct running {
	struct process_run *req;
	struct loop *loop;
	struct process *process; /* NULL once it has exited, or if it never ran */
	struct process_user user;
	uv_pipe_t in, out, err;
	uv_write_t write_req;
	struct buf output[2];
	size_t max_output;
	bool open[3]; /* our ends of the pipes */
	unsigned n_handles;
	struct process_exit ex;
	bool exited;
	struct err failed; /* code 0: nothing failed on our side */
	struct loop_timer timer;
};

static void close_pipe(struct running *r, int i);
static void check(struct running *r);

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct running *r = h->data;

	*ret = uv_buf_init(loop_scratch(r->loop), LOOP_SCRATCH_SIZE);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct running *r = s->data;
	int i = s == (uv_stream_t *)&r->out ? 1 : 2;
	struct buf *out = &r->output[i - 1];

	if (n < 0) {
		close_pipe(r, i);
		check(r);
		return;
	}
	buf_add(out, b->base, MIN((size_t)n, r->max_output - out->n));
}

static void maybe_free(struct running *r)
{
	if (r->req != NULL || r->n_handles > 0)
		return;
	buf_fini(&r->output[0]);
	buf_fini(&r->output[1]);
	free(r);
}

static void on_closed(uv_handle_t *h)
{
	struct running *r = h->data;

	r->n_handles--;
	maybe_free(r);
}

static void close_pipe(struct running *r, int i)
{
	uv_pipe_t *p[] = {&r->in, &r->out, &r->err};

	if (!r->open[i])
		return;
	r->open[i] = false;
	uv_close((uv_handle_t *)p[i], on_closed);
}

static void describe(struct running *r, struct err *e)
{
	const char *name = r->req->spec.argv[0];
	struct str text = str_trim(buf_str(&r->output[1]));

	if (text.n > 300)
		text = str_skip(text, text.n - 300);
	if (r->failed.code != ERR_OK)
		*e = r->failed;
	else if (r->ex.signal != 0)
		err_set(e, ERR_INTERNAL, "%s was ended by signal %d: %.*s", name, r->ex.signal,
			STR_FMT(text));
	else if (r->ex.code != 0)
		err_set(e, ERR_INTERNAL, "%s exited with status %d: %.*s", name, r->ex.code,
			STR_FMT(text));
}

static void finish(struct running *r)
{
	struct process_run *req = r->req;
	struct err e = ERR_INIT;

	for (int i = 0; i < 3; i++)
		close_pipe(r, i);
	loop_timer_stop(&r->timer);
	describe(r, &e);
	req->priv = NULL;
	req->done(req, r->ex, buf_str(&r->output[0]), buf_str(&r->output[1]),
		e.code != ERR_OK ? &e : NULL);
	r->req = NULL;
	maybe_free(r);
}

/* Done when it has exited and its pipes have ended. */
static void check(struct running *r)
{
	if (r->req != NULL && r->exited && !r->open[1] && !r->open[2])
		finish(r);
}

static void on_linger(struct loop_timer *t)
{
	finish(container_of(t, struct running, timer));
}

static void on_exit_(struct process_user *u, struct process *p, struct process_exit ex)
{
	struct running *r = container_of(u, struct running, user);

	r->process = NULL;
	r->ex = ex;
	r->exited = true;
	loop_timer_start(&r->timer, r->loop, LINGER_MS, on_linger);
	check(r);
}

static void on_timeout(struct loop_timer *t)
{
	struct running *r = container_of(t, struct running, timer);

	err_set(&r->failed, ERR_TIMEOUT, "%s did not end in time", r->req->spec.argv[0]);
	process_signal(r->process, SIGKILL);
}

static void on_written(uv_write_t *req, int status)
{
	close_pipe(req->data, 0);
}

/* A pipe whose end `ours` (0: we read, 1: we write) becomes a uv handle. Returns the child's end.
 */
static int make_pipe(struct running *r, int i, uv_pipe_t *p, int ours)
{
	int fds[2];

	ASSERT(uv_pipe_init(loop_uv(r->loop), p, 0) == 0);
	p->data = r;
	r->open[i] = true;
	r->n_handles++;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	if (uv_pipe_open(p, fds[ours]) != 0) {
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	return fds[1 - ours];
}

static int spawn(struct running *r, struct err *e)
{
	struct process_spec spec = r->req->spec;
	int in = -1, out, err, rv;

	out = make_pipe(r, 1, &r->out, 0);
	err = make_pipe(r, 2, &r->err, 0);
	if (r->req->input.n > 0)
		in = make_pipe(r, 0, &r->in, 1);
	if (out < 0 || err < 0 || (in < 0 && r->req->input.n > 0)) {
		rv = err_set_errno(e, errno, "cannot make pipes");
	} else {
		if (in >= 0)
			spec.stdin_fd = in;
		spec.stdout_fd = out;
		spec.stderr_fd = err;
		spec.session = true;
		rv = process_spawn(r->loop, &spec, &r->user, &r->process, e);
	}
	closep(&in);
	closep(&out);
	closep(&err);
	return rv;
}

static void on_start(struct loop_timer *t)
{
	struct running *r = container_of(t, struct running, timer);
	uv_buf_t b = uv_buf_init((char *)r->req->input.p, (unsigned)r->req->input.n);

	if (spawn(r, &r->failed) != 0) {
		finish(r);
		return;
	}
	uv_read_start((uv_stream_t *)&r->out, on_alloc, on_read);
	uv_read_start((uv_stream_t *)&r->err, on_alloc, on_read);
	r->write_req.data = r;
	if (r->open[0] && uv_write(&r->write_req, (uv_stream_t *)&r->in, &b, 1, on_written) != 0)
		close_pipe(r, 0);
	loop_timer_start(&r->timer, r->loop,
		r->req->timeout_ms ? r->req->timeout_ms : DEFAULT_TIMEOUT_MS, on_timeout);
}

void process_run(struct process_run *req)
{
	struct running *r = xcalloc(1, sizeof(*r));

	r->req = req;
	r->loop = req->loop;
	r->user.on_exit = on_exit_;
	r->ex.code = -1;
	r->max_output = req->max_output ? req->max_output : DEFAULT_OUTPUT;
	buf_init(&r->output[0], r->max_output);
	buf_init(&r->output[1], r->max_output);
	req->priv = r;
	loop_timer_start(&r->timer, r->loop, 0, on_start);
}

static void on_canceled(struct loop_timer *t)
{
	finish(container_of(t, struct running, timer));
}

void process_run_cancel(struct process_run *req)
{
	struct running *r = req->priv;

	if (r == NULL)
		return;
	err_set(&r->failed, ERR_CANCELED, "%s was canceled", req->spec.argv[0]);
	if (r->process != NULL)
		process_signal(r->process, SIGKILL);
	else if (!r->exited)
		loop_timer_start(&r->timer, r->loop, 0, on_canceled);
}

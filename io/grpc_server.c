/* The server's side of gRPC, over struct http_request. */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "io/grpc.h"

bool grpc_is_call(const struct http_request *r)
{
	struct str type = http_header_get(&r->headers, "content-type");

	return r->version == 2 && str_eqc(r->method, "POST") &&
	       str_has_prefix(type, STR("application/grpc"));
}

static const struct http_header response_head[] = {
	{STR_INIT("content-type"), STR_INIT("application/grpc")}};

/* grpc-message is percent-encoded: everything but printable ASCII, and '%'. */
static struct str encode(struct arena *a, const char *text)
{
	struct buf b = BUF_INIT;
	struct str s;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c > 0x7e || c == '%')
			buf_printf(&b, "%%%02X", c);
		else
			buf_add1(&b, (char)c);
	}
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

static struct str code_text(struct arena *a, int code)
{
	return str_u64((uint64_t)(code < 0 ? GRPC_UNKNOWN : code), arena_alloc(a, STR_U64_SIZE));
}

static void end_with(struct http_request *r, bool started, int code, const char *message)
{
	struct http_header h[2];
	size_t n = 0;

	if (r->canceled) {
		http_respond_abort(r);
		return;
	}
	h[n++] = (struct http_header){STR("grpc-status"), code_text(&r->arena, code)};
	if (message != NULL && message[0] != '\0')
		h[n++] = (struct http_header){STR("grpc-message"), encode(&r->arena, message)};
	if (!started)
		http_respond_start(r, 200, response_head, 1);
	http_respond_end_trailers(r, h, n);
}

void grpc_reject(struct http_request *r, int code, const char *message)
{
	end_with(r, false, code, message);
}

/* "250m" and the like. */
static uint64_t parse_timeout(struct str s)
{
	static const struct {
		char unit;
		double ms;
	} units[] = {
		{'H', 3600000}, {'M', 60000}, {'S', 1000}, {'m', 1}, {'u', 0.001}, {'n', 0.000001}};
	uint64_t n;

	if (s.n < 2 || s.n > 9 || !str_to_u64(str_sub(s, 0, s.n - 1), &n))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].unit == s.p[s.n - 1])
			return (uint64_t)((double)n * units[i].ms) + 1;
	return 0;
}

static struct grpc_server_call *call_of(struct http_request *r)
{
	return r->user;
}

static void fail(struct grpc_server_call *c, int code)
{
	if (c->canceled)
		return;
	c->canceled = true;
	c->failed = code;
	loop_timer_stop(&c->deadline);
	http_request_read_stop(c->req);
	if (c->on_cancel)
		c->on_cancel(c);
}

static void on_cancel(struct http_request *r)
{
	fail(call_of(r), GRPC_CANCELLED);
}

static void on_deadline(struct loop_timer *t)
{
	fail(container_of(t, struct grpc_server_call, deadline), GRPC_DEADLINE_EXCEEDED);
}

static bool on_frame(void *arg, struct str message)
{
	struct grpc_server_call *c = arg;
	bool *gone = c->gone;

	c->on_message(c, message);
	return !*gone && !c->paused && !c->canceled;
}

/* Deliver messages, then the half-close. The service may end the call in any of its callbacks, and
 * the call's memory with it. */
static void deliver(struct grpc_server_call *c, struct str bytes)
{
	struct buf in = c->in;
	bool gone = false;
	int rv;

	buf_init(&c->in, BUF_NO_LIMIT);
	c->gone = &gone;
	rv = grpc_frames(&in, c->max_message, bytes, on_frame, c);
	if (gone) {
		buf_fini(&in);
		return;
	}
	c->in = in;
	if (rv != 0)
		fail(c, rv == -ERR_TOO_LARGE       ? GRPC_RESOURCE_EXHAUSTED
			: rv == -ERR_UNIMPLEMENTED ? GRPC_UNIMPLEMENTED
						   : GRPC_INTERNAL);
	else if (c->half_closed && !c->half_close_told && !c->paused && !c->canceled) {
		c->half_close_told = true;
		if (c->in.n > 0)
			fail(c, GRPC_INTERNAL);
		else if (c->on_half_close)
			c->on_half_close(c);
	}
	if (!gone)
		c->gone = NULL;
}

static void on_data(struct http_request *r, struct str bytes, bool end)
{
	struct grpc_server_call *c = call_of(r);

	c->half_closed |= end;
	if (!c->canceled)
		deliver(c, bytes);
}

void grpc_accept(struct grpc_server_call *c, struct http_request *r, size_t max_message)
{
	struct str timeout = http_header_get(&r->headers, "grpc-timeout");

	c->req = r;
	c->max_message = max_message ? max_message : GRPC_MAX_MESSAGE;
	c->started = c->half_closed = c->half_close_told = c->canceled = c->paused = false;
	c->failed = 0;
	c->gone = NULL;
	memset(&c->deadline, 0, sizeof(c->deadline));
	memset(&c->kick, 0, sizeof(c->kick));
	buf_init(&c->in, BUF_NO_LIMIT);
	r->user = c;
	r->on_cancel = on_cancel;
	c->timeout_ms = timeout.p ? parse_timeout(timeout) : 0;
	if (c->timeout_ms)
		loop_timer_start(&c->deadline, r->loop, c->timeout_ms, on_deadline);
	http_request_read_start(r, on_data);
}

void grpc_server_start(struct grpc_server_call *c)
{
	if (c->started)
		return;
	c->started = true;
	http_respond_start(c->req, 200, response_head, 1);
}

void grpc_server_send(struct grpc_server_call *c, struct str message, struct http_write *w)
{
	struct buf b = BUF_INIT;

	buf_add(&b, "\0\0\0\0", GRPC_HEAD);
	buf_adds(&b, message);
	grpc_server_send_frame(c, &b, w);
}

void grpc_server_send_frame(struct grpc_server_call *c, struct buf *frame, struct http_write *w)
{
	size_t n = frame->n - GRPC_HEAD;
	char head[GRPC_HEAD] = {0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

	ASSERT(frame->n >= GRPC_HEAD);
	memcpy(frame->p, head, sizeof(head));
	grpc_server_start(c);
	http_respond_write_take(c->req, frame, w);
}

size_t grpc_server_queued_bytes(const struct grpc_server_call *c)
{
	return http_request_queued_bytes(c->req);
}

void grpc_server_pause(struct grpc_server_call *c)
{
	c->paused = true;
	loop_timer_stop(&c->kick);
	http_request_read_stop(c->req);
}

static void on_resume(struct loop_timer *t)
{
	struct grpc_server_call *c = container_of(t, struct grpc_server_call, kick);

	deliver(c, STR(""));
}

void grpc_server_resume(struct grpc_server_call *c)
{
	if (!c->paused || c->canceled)
		return;
	c->paused = false;
	loop_timer_start(&c->kick, c->req->loop, 0, on_resume);
	http_request_read_start(c->req, on_data);
}

void grpc_finish(struct grpc_server_call *c, int code, const char *message)
{
	struct http_request *r = c->req;
	bool started = c->started;

	if (c->gone)
		*c->gone = true;
	if (c->failed) {
		code = c->failed;
		message = code == GRPC_DEADLINE_EXCEEDED    ? "deadline exceeded"
			  : code == GRPC_RESOURCE_EXHAUSTED ? "message is larger than the limit"
			  : code == GRPC_CANCELLED          ? "canceled"
							    : "malformed or compressed message";
	}
	loop_timer_stop(&c->deadline);
	loop_timer_stop(&c->kick);
	buf_fini(&c->in);
	end_with(r, started, code, message);
}

void grpc_finish_unary(struct grpc_server_call *c, struct str message)
{
	if (!c->canceled)
		grpc_server_send(c, message, NULL);
	grpc_finish(c, GRPC_OK, "");
}

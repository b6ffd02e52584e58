/* gRPC: framing, and the client. */
#include "io/grpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/http-priv.h"

#define FRAME_HEAD 5
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000

static const char *const code_names[] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

const char *grpc_code_name(int code)
{
	return code >= 0 && (size_t)code < ARRAY_LEN(code_names) ? code_names[code] : "UNKNOWN";
}

/* Frames: one byte of flags, four of length (big-endian), the message. */

static int one_frame(struct str *bytes, size_t max_message, struct str *ret)
{
	const uint8_t *p = (const uint8_t *)bytes->p;
	size_t n;

	if (bytes->n < FRAME_HEAD)
		return 0;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (p[0] != 0)
		return -(p[0] == 1 ? ERR_UNIMPLEMENTED : ERR_PROTOCOL);
	if (n > max_message)
		return -ERR_TOO_LARGE;
	if (bytes->n - FRAME_HEAD < n)
		return 0;
	*ret = str_sub(*bytes, FRAME_HEAD, FRAME_HEAD + n);
	*bytes = str_skip(*bytes, FRAME_HEAD + n);
	return 1;
}

int grpc_frames(struct buf *in, size_t max_message, struct str bytes,
	bool (*on_message)(void *arg, struct str message), void *arg)
{
	struct str rest = bytes, message;
	bool more = true, kept = in->n > 0;
	int rv = 0;

	if (kept) {
		buf_adds(in, bytes);
		rest = buf_str(in);
	}
	while (more && (rv = one_frame(&rest, max_message, &message)) > 0)
		more = on_message(arg, message);
	if (kept)
		buf_consume(in, in->n - rest.n);
	else
		buf_adds(in, rest);
	if (in->n == 0)
		buf_fini(in);
	return rv < 0 ? rv : 0;
}

static void add_frame(struct buf *b, struct str message)
{
	char head[FRAME_HEAD] = {0, (char)(message.n >> 24), (char)(message.n >> 16),
		(char)(message.n >> 8), (char)message.n};

	buf_add(b, head, sizeof(head));
	buf_adds(b, message);
}

/* The client. */

enum {
	RUNNING = 1,
	UNARY = 2,
	WAITING = 4, /* for the back-off to be over */
	HTTP_RUNNING = 8,
	HTTP_DONE = 16, /* done is due when the kept messages are delivered */
	CLOSED_SEND = 32,
	PAUSED = 64,
	FAILED = 128, /* code and status_text are set already */
	HAS_MESSAGE = 256,
};

struct grpc_channel {
	struct loop *loop;
	struct http_client *http;
	size_t max_message;
	struct list waiting;
	struct loop_timer wake;
	uint64_t backoff_ms, fail_until;
	char last_error[ERR_TEXT_MAX];
	bool closing;
};

static void begin(struct grpc_call *);
static void settle(struct grpc_call *);

int grpc_channel_new(struct loop *l, const struct grpc_channel_config *c, struct grpc_channel **ret,
	struct err *e)
{
	struct http_client_config hc = {.address = c->address,
		.netns_fd = c->netns_fd,
		.tls = c->tls,
		.server_name = c->server_name,
		.proto = HTTP_PROTO_2,
		.connect_timeout_ms = c->connect_timeout_ms,
		.idle_timeout_ms = 600000};
	struct grpc_channel *ch = xcalloc(1, sizeof(*ch));
	int rv = http_client_new(l, &hc, &ch->http, e);

	if (rv != 0) {
		free(ch);
		return rv;
	}
	ch->loop = l;
	ch->max_message = c->max_message ? c->max_message : GRPC_MAX_MESSAGE;
	list_init(&ch->waiting);
	*ret = ch;
	return 0;
}

struct closing {
	struct grpc_channel *ch;
	void (*cb)(void *arg);
	void *arg;
};

static void on_closed(void *arg)
{
	struct closing x = *(struct closing *)arg;

	free(arg);
	loop_timer_stop(&x.ch->wake);
	free(x.ch);
	if (x.cb)
		x.cb(x.arg);
}

void grpc_channel_close(struct grpc_channel *ch, void (*cb)(void *arg), void *arg)
{
	struct closing *x = xcalloc(1, sizeof(*x));

	*x = (struct closing){ch, cb, arg};
	ch->closing = true;
	LIST_FOR_EACH_SAFE (c, next, &ch->waiting, struct grpc_call, link)
		grpc_cancel(c);
	http_client_close(ch->http, on_closed, x);
}

static void set_status(struct grpc_call *c, int code, struct str text)
{
	if (c->flags & FAILED)
		return;
	c->flags |= FAILED;
	c->code = code;
	free(c->status_text);
	c->status_text = str_dup(text);
	c->status = str_from(c->status_text);
}

/* Percent-decoded, as grpc-message is sent. */
static void set_encoded_status(struct grpc_call *c, int code, struct str text)
{
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < text.n; i++) {
		unsigned v;

		if (text.p[i] == '%' && i + 2 < text.n &&
			sscanf((char[]){text.p[i + 1], text.p[i + 2], 0}, "%2x", &v) == 1) {
			buf_add1(&b, (char)v);
			i += 2;
		} else {
			buf_add1(&b, text.p[i]);
		}
	}
	set_status(c, code, buf_str(&b));
	buf_fini(&b);
}

static void on_settled(struct loop_timer *t)
{
	struct grpc_call *c = container_of(t, struct grpc_call, timer);

	c->flags &= ~(unsigned)RUNNING;
	loop_timer_stop(&c->kick);
	buf_fini(&c->in);
	buf_fini(&c->early);
	c->done(c);
}

/* Nothing more will come: tell in the next turn. */
static void settle(struct grpc_call *c)
{
	list_del(&c->link);
	c->flags &= ~(unsigned)WAITING;
	loop_timer_start(&c->timer, c->channel->loop, 0, on_settled);
}

/* Messages coming in. */

static bool on_frame(void *arg, struct str message)
{
	struct grpc_call *c = arg;

	if (c->flags & FAILED)
		return false;
	if (!(c->flags & UNARY)) {
		c->on_message(c, message);
		return !(c->flags & (PAUSED | FAILED));
	}
	if (c->flags & HAS_MESSAGE) {
		set_status(c, GRPC_INTERNAL, STR("more than one answer to a unary call"));
		return false;
	}
	c->flags |= HAS_MESSAGE;
	buf_adds(&c->message, message);
	return true;
}

static void frames(struct grpc_call *c, struct str bytes)
{
	int rv = grpc_frames(&c->in, c->channel->max_message, bytes, on_frame, c);

	if (rv == -ERR_TOO_LARGE)
		set_status(c, GRPC_RESOURCE_EXHAUSTED, STR("the answer is larger than the limit"));
	else if (rv != 0)
		set_status(c, GRPC_INTERNAL, STR("malformed or compressed message"));
	if ((c->flags & FAILED) && (c->flags & HTTP_RUNNING))
		http_call_cancel(&c->http);
}

static void on_data(struct http_call *h, struct str bytes)
{
	struct grpc_call *c = container_of(h, struct grpc_call, http);

	if (!(c->flags & FAILED))
		frames(c, bytes);
}

static int code_of_http(int status)
{
	switch (status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}

/* The status of a complete answer: in the trailers, or in the headers when there is nothing else.
 */
static void read_status(struct grpc_call *c)
{
	const struct http_headers *hs = http_header_has(&c->http.trailers, "grpc-status")
						? &c->http.trailers
						: &c->http.response;
	struct str status = http_header_get(hs, "grpc-status");
	uint64_t code;
	char text[64];

	if (status.p != NULL && str_to_u64(status, &code) && code <= 1000) {
		if (code == GRPC_OK && (c->flags & UNARY) && !(c->flags & HAS_MESSAGE))
			set_status(c, GRPC_INTERNAL, STR("no answer in the response"));
		else if (code == GRPC_OK && c->in.n > 0)
			set_status(c, GRPC_INTERNAL, STR("the last message is cut off"));
		else
			set_encoded_status(c, (int)code, http_header_get(hs, "grpc-message"));
		return;
	}
	snprintf(text, sizeof(text), "no grpc-status in the answer (HTTP status %d)",
		c->http.status);
	set_status(c, c->http.status == 200 ? GRPC_UNKNOWN : code_of_http(c->http.status),
		str_from(text));
}

static void connect_failed(struct grpc_channel *ch, const struct err *e)
{
	uint64_t now = clock_mono_ms();

	snprintf(ch->last_error, sizeof(ch->last_error), "%s", e->text);
	if (now < ch->fail_until)
		return;
	ch->backoff_ms =
		ch->backoff_ms ? MIN(ch->backoff_ms * 2, (uint64_t)BACKOFF_MAX_MS) : BACKOFF_MIN_MS;
	ch->fail_until = now + ch->backoff_ms + random_u64() % (ch->backoff_ms / 4);
}

static void wait_ready(struct grpc_call *);

static void read_error(struct grpc_call *c, const struct err *e)
{
	struct grpc_channel *ch = c->channel;
	bool expired = c->timeout_ms && clock_mono_ms() - c->started_ms >= c->timeout_ms;
	int code = GRPC_UNAVAILABLE;

	if (e->code == ERR_CANCELED)
		code = GRPC_CANCELLED;
	else if (e->code == ERR_TIMEOUT && expired)
		code = GRPC_DEADLINE_EXCEEDED;
	else if (e->code == ERR_PROTOCOL)
		code = GRPC_INTERNAL;
	if (code == GRPC_UNAVAILABLE && !c->http.sent) {
		connect_failed(ch, e);
		if (c->wait_ready && !(c->flags & FAILED) && !ch->closing) {
			wait_ready(c);
			return;
		}
	}
	set_status(c, code, str_from(e->text));
}

static void on_done(struct http_call *h, const struct err *e)
{
	struct grpc_call *c = container_of(h, struct grpc_call, http);

	c->flags &= ~(unsigned)HTTP_RUNNING;
	if (e == NULL || h->response_begun) {
		c->channel->backoff_ms = 0;
		c->channel->fail_until = 0;
	}
	if (e != NULL) {
		read_error(c, e);
		if (c->flags & WAITING)
			return;
	}
	c->flags |= HTTP_DONE;
	/* A paused reader gets what has come before it hears of the end. */
	if (e == NULL && (c->flags & PAUSED) && c->in.n > 0)
		return;
	if (e == NULL)
		read_status(c);
	http_call_fini(h);
	settle(c);
}

/* Starting. */

static void on_deadline(struct loop_timer *t)
{
	struct grpc_call *c = container_of(t, struct grpc_call, timer);

	set_status(c, GRPC_DEADLINE_EXCEEDED, str_from(c->channel->last_error));
	settle(c);
}

static void on_wake(struct loop_timer *t)
{
	struct grpc_channel *ch = container_of(t, struct grpc_channel, wake);

	LIST_FOR_EACH_SAFE (c, next, &ch->waiting, struct grpc_call, link) {
		list_del(&c->link);
		c->flags &= ~(unsigned)WAITING;
		loop_timer_stop(&c->timer);
		begin(c);
	}
}

static uint64_t left_of(const struct grpc_call *c)
{
	uint64_t past = clock_mono_ms() - c->started_ms;

	return past < c->timeout_ms ? c->timeout_ms - past : 1;
}

static void wait_ready(struct grpc_call *c)
{
	struct grpc_channel *ch = c->channel;
	uint64_t now = clock_mono_ms();

	c->flags |= WAITING;
	list_add_tail(&ch->waiting, &c->link);
	if (c->timeout_ms)
		loop_timer_start(&c->timer, ch->loop, left_of(c), on_deadline);
	if (!loop_timer_active(&ch->wake))
		loop_timer_start(&ch->wake, ch->loop,
			ch->fail_until > now ? ch->fail_until - now : 1, on_wake);
}

/* At most eight digits and a unit. */
static void set_timeout_text(struct grpc_call *c)
{
	uint64_t ms = c->timeout_ms;
	bool fits = ms < 100000000;
	char room[STR_U64_SIZE];
	struct str digits = str_u64(fits ? ms : MIN(ms / 1000, 99999999u), room);

	memcpy(c->timeout_text, digits.p, digits.n);
	memcpy(c->timeout_text + digits.n, fits ? "m" : "S", 2);
}

/* Hand the call to HTTP. */
static void begin(struct grpc_call *c)
{
	struct grpc_channel *ch = c->channel;
	size_t n = 0;

	if (c->http.headers == NULL) {
		struct http_header *h = xcalloc(c->n_metadata + 4, sizeof(*h));

		h[n++] = (struct http_header){STR("content-type"), STR("application/grpc")};
		h[n++] = (struct http_header){STR("te"), STR("trailers")};
		h[n++] = (struct http_header){STR("user-agent"), STR("kontiki-grpc")};
		if (c->timeout_ms) {
			set_timeout_text(c);
			h[n++] = (struct http_header){
				STR("grpc-timeout"), str_from(c->timeout_text)};
		}
		for (size_t i = 0; i < c->n_metadata; i++)
			h[n++] = c->metadata[i];
		c->http.headers = h;
		c->http.n_headers = n;
	}
	c->http.method = "POST";
	c->http.path = c->method;
	c->http.stream_body = !(c->flags & UNARY);
	c->http.body = c->flags & UNARY ? buf_str(&c->early) : STR_NULL;
	c->http.timeout_ms = c->timeout_ms ? left_of(c) : 0;
	c->http.on_data = on_data;
	c->http.done = on_done;
	c->flags |= HTTP_RUNNING;
	http_call_start(ch->http, &c->http);
	if (c->flags & UNARY)
		return;
	if (c->early.n > 0)
		http_call_write(&c->http, buf_str(&c->early), NULL);
	if (!c->wait_ready)
		buf_fini(&c->early);
	if (c->flags & CLOSED_SEND)
		http_call_end(&c->http);
}

static void start(struct grpc_channel *ch, struct grpc_call *c, unsigned flags)
{
	ASSERT(!(c->flags & RUNNING));
	grpc_call_fini(c);
	c->channel = ch;
	c->flags = RUNNING | flags;
	c->code = GRPC_UNKNOWN;
	c->status = STR("");
	c->started_ms = clock_mono_ms();
	list_init(&c->link);
	buf_init(&c->in, BUF_NO_LIMIT);
	buf_init(&c->early, BUF_NO_LIMIT);
	buf_init(&c->message, BUF_NO_LIMIT);
	memset(&c->http, 0, sizeof(c->http));
}

static void go(struct grpc_call *c)
{
	struct grpc_channel *ch = c->channel;

	if (clock_mono_ms() >= ch->fail_until || ch->closing) {
		begin(c);
	} else if (c->wait_ready) {
		wait_ready(c);
	} else {
		set_status(c, GRPC_UNAVAILABLE, str_from(ch->last_error));
		settle(c);
	}
}

void grpc_unary(struct grpc_channel *ch, struct grpc_call *c, struct str request)
{
	start(ch, c, UNARY | CLOSED_SEND);
	add_frame(&c->early, request);
	go(c);
}

void grpc_start(struct grpc_channel *ch, struct grpc_call *c)
{
	ASSERT(c->on_message != NULL);
	start(ch, c, 0);
	go(c);
}

void grpc_send(struct grpc_call *c, struct str message, struct http_write *w)
{
	struct buf b = BUF_INIT;

	ASSERT((c->flags & RUNNING) && !(c->flags & (UNARY | CLOSED_SEND)));
	if (c->flags & (FAILED | HTTP_DONE)) {
		http__write_later(c->channel->loop, w, -ERR_CANCELED);
		return;
	}
	/* Until the connection stands, a call that waits for it may have to begin anew. */
	if ((c->flags & WAITING) || (c->wait_ready && !c->http.sent))
		add_frame(&c->early, message);
	if (!(c->flags & HTTP_RUNNING)) {
		http__write_later(c->channel->loop, w, 0);
		return;
	}
	add_frame(&b, message);
	http_call_write(&c->http, buf_str(&b), w);
	buf_fini(&b);
}

void grpc_close_send(struct grpc_call *c)
{
	if (!(c->flags & RUNNING) || (c->flags & CLOSED_SEND))
		return;
	c->flags |= CLOSED_SEND;
	if (c->flags & HTTP_RUNNING)
		http_call_end(&c->http);
}

void grpc_pause(struct grpc_call *c)
{
	c->flags |= PAUSED;
	if (c->flags & HTTP_RUNNING)
		http_call_pause(&c->http);
}

static void on_resume(struct loop_timer *t)
{
	struct grpc_call *c = container_of(t, struct grpc_call, kick);

	if (c->flags & (PAUSED | FAILED))
		return;
	frames(c, STR(""));
	if (c->flags & PAUSED)
		return;
	if (c->flags & HTTP_RUNNING) {
		http_call_resume(&c->http);
	} else if (c->flags & HTTP_DONE) {
		read_status(c);
		http_call_fini(&c->http);
		settle(c);
	}
}

void grpc_resume(struct grpc_call *c)
{
	if (!(c->flags & RUNNING) || !(c->flags & PAUSED))
		return;
	c->flags &= ~(unsigned)PAUSED;
	loop_timer_start(&c->kick, c->channel->loop, 0, on_resume);
}

void grpc_cancel(struct grpc_call *c)
{
	bool http_running = c->flags & HTTP_RUNNING;

	if (!(c->flags & RUNNING) || (c->flags & FAILED))
		return;
	set_status(c, GRPC_CANCELLED, STR("canceled"));
	if (http_running) {
		http_call_cancel(&c->http);
		return;
	}
	if (c->flags & HTTP_DONE)
		http_call_fini(&c->http);
	settle(c);
}

void grpc_call_fini(struct grpc_call *c)
{
	ASSERT(!(c->flags & RUNNING));
	free((void *)c->http.headers);
	c->http.headers = NULL;
	c->http.n_headers = 0;
	free(TAKE(c->status_text));
	c->status = STR("");
	buf_fini(&c->message);
}

int grpc_call_err(const struct grpc_call *c, struct err *e)
{
	if (c->code == GRPC_OK)
		return 0;
	return err_set(e, err_from_grpc(c->code), "%s: %s: %.*s", c->method,
		grpc_code_name(c->code), STR_FMT(c->status));
}

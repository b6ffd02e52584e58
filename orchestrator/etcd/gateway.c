/*
 * The JSON gateway: POST /v3/..., as calls of the same handlers. A unary method answers one object or an error; streams
 * answer a line {"result":...} a message, and take several objects one behind the other.
 */
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/etcd/front.h"
#include "orchestrator/etcd/json.h"
#include "proto/json.h"

/* JSON is larger than what it stands for: base64, names. */
#define BODY_FACTOR 2

struct json_front {
	struct etcd_front front; /* first */
	bool begun;              /* the call is with its handler */
	bool head_sent;
	/* BIDI */
	struct buf in;           /* what is not understood yet */
	struct etcd_json_scan scan;
	bool in_ended;           /* and the handler was not told yet */
	bool body_ended, paused, over;
	bool unread;             /* what it said could not be read */
	struct loop_timer kick;
	/* Unary: the answer. */
	struct buf answer;
	bool answered;
};

static struct json_front *of(const struct etcd_call *c)
{
	return container_of(c, struct json_front, front.call);
}

/* --- Errors ------------------------------------------------------------------------------------------------------- */

static const struct {
	int status;
	const char *text;
} by_code[ETCD_N_CODES] = {
		[GRPC_OK] = {200, "OK"},
		[GRPC_CANCELLED] = {408, "Request Timeout"},
		[GRPC_UNKNOWN] = {500, "Internal Server Error"},
		[GRPC_INVALID_ARGUMENT] = {400, "Bad Request"},
		[GRPC_DEADLINE_EXCEEDED] = {504, "Gateway Timeout"},
		[GRPC_NOT_FOUND] = {404, "Not Found"},
		[GRPC_ALREADY_EXISTS] = {409, "Conflict"},
		[GRPC_PERMISSION_DENIED] = {403, "Forbidden"},
		[GRPC_RESOURCE_EXHAUSTED] = {429, "Too Many Requests"},
		[GRPC_FAILED_PRECONDITION] = {400, "Bad Request"},
		[GRPC_ABORTED] = {409, "Conflict"},
		[GRPC_OUT_OF_RANGE] = {400, "Bad Request"},
		[GRPC_UNIMPLEMENTED] = {501, "Not Implemented"},
		[GRPC_INTERNAL] = {500, "Internal Server Error"},
		[GRPC_UNAVAILABLE] = {503, "Service Unavailable"},
		[GRPC_DATA_LOSS] = {500, "Internal Server Error"},
		[GRPC_UNAUTHENTICATED] = {401, "Unauthorized"},
};

static int row(int code)
{
	return code >= 0 && code < ETCD_N_CODES ? code : GRPC_UNKNOWN;
}

static const struct http_header json_head[] = {{STR_INIT("content-type"), STR_INIT("application/json")}};

static void error_body(struct buf *b, int code, const char *text)
{
	buf_addc(b, "{\"error\":");
	json_print_string(b, str_from(text), JSON_RAW_HTML);
	buf_printf(b, ",\"code\":%d,\"message\":", code);
	json_print_string(b, str_from(text), JSON_RAW_HTML);
	buf_add1(b, '}');
}

static void error_line(struct buf *b, int code, const char *text)
{
	buf_printf(b, "{\"error\":{\"grpc_code\":%d,\"http_code\":%d,\"message\":", code, by_code[row(code)].status);
	json_print_string(b, str_from(text), JSON_RAW_HTML);
	buf_printf(b, ",\"http_status\":\"%s\"}}\n", by_code[row(code)].text);
}

static void refuse(struct http_request *r, int code, const char *text)
{
	struct buf b = BUF_INIT;

	if (r->canceled) {
		http_respond_abort(r);
		return;
	}
	error_body(&b, code, text);
	http_respond(r, by_code[row(code)].status, json_head, ARRAY_LEN(json_head), buf_str(&b));
	buf_fini(&b);
}

/* --- Answers ------------------------------------------------------------------------------------------------------------ */

static void send_frame(struct etcd_call *c, struct buf *frame)
{
	struct json_front *f = of(c);
	struct str message = str_skip(buf_str(frame), GRPC_HEAD);
	struct err e = ERR_INIT;
	struct buf line = BUF_INIT;

	if (c->method->kind == ETCD_UNARY) {
		/* An answer of our own that cannot be printed is told as the error it is when the call is over. */
		f->answered = etcd_json_print(&f->answer, c->method->out, message, &e) == 0;
		buf_fini(frame);
		return;
	}
	buf_addc(&line, "{\"result\":");
	if (etcd_json_print(&line, c->method->out, message, &e) == 0) {
		buf_addc(&line, "}\n");
	} else {
		buf_clear(&line);
		error_line(&line, GRPC_INTERNAL, e.text);
	}
	buf_fini(frame);
	if (!f->head_sent)
		http_respond_start(f->front.http, 200, json_head, ARRAY_LEN(json_head));
	f->head_sent = true;
	http_respond_write(f->front.http, buf_str(&line), front_drain(&f->front, line.n));
	buf_fini(&line);
}

static void finish_stream(struct json_front *f, int code, const char *text)
{
	struct http_request *r = f->front.http;
	struct buf b = BUF_INIT;

	if (r->canceled) {
		http_respond_abort(r);
		return;
	}
	/* As of one that had no stream to answer with. */
	if (f->unread && !f->head_sent) {
		refuse(r, code, text);
		return;
	}
	if (!f->head_sent)
		http_respond_start(r, by_code[row(code)].status, json_head, ARRAY_LEN(json_head));
	if (code != GRPC_OK) {
		error_line(&b, code, text);
		http_respond_write(r, buf_str(&b), NULL);
	}
	buf_fini(&b);
	http_respond_end(r);
}

static void finish(struct etcd_call *c, int code, const char *text)
{
	struct json_front *f = of(c);
	struct http_request *r = f->front.http;
	struct buf answer = f->answer;

	f->over = true;
	front_over(&f->front);
	loop_timer_stop(&f->kick);
	buf_fini(&f->in);
	if (c->method->kind != ETCD_UNARY)
		finish_stream(f, code, text);
	else if (code != GRPC_OK)
		refuse(r, code, text);
	else if (!f->answered)
		refuse(r, GRPC_INTERNAL, "the answer cannot be told as JSON");
	else if (r->canceled)
		http_respond_abort(r);
	else
		http_respond(r, 200, json_head, ARRAY_LEN(json_head), buf_str(&answer));
	buf_fini(&answer);
}

static size_t queued(const struct etcd_call *c)
{
	return http_request_queued_bytes(of(c)->front.http);
}

static struct str metadata(const struct etcd_call *c, const char *name)
{
	struct http_request *r = of(c)->front.http;

	if (str_eqc(STR("authorization"), name))
		return http_request_header(r, "authorization");
	return http_request_header(r, arena_printf(&r->arena, "grpc-metadata-%s", name));
}

static void on_body(struct http_request *, struct str bytes, bool end);
static void on_kick(struct loop_timer *);

static void pause_messages(struct etcd_call *c, bool on)
{
	struct json_front *f = of(c);

	f->paused = on;
	if (on) {
		http_request_read_stop(f->front.http);
	} else {
		loop_timer_start(&f->kick, c->el->loop, 0, on_kick);
		if (!f->body_ended)
			http_request_read_start(f->front.http, on_body);
	}
}

static const struct etcd_transport json_transport = {
		.send = send_frame,
		.finish = finish,
		.queued = queued,
		.pause = pause_messages,
		.metadata = metadata,
};

/* --- Requests --------------------------------------------------------------------------------------------------------------- */

static void on_cancel(struct http_request *r)
{
	struct json_front *f = r->user;

	if (f->begun)
		etcd__call_cancel(&f->front.call);
	else
		http_respond_abort(r);
}

static size_t max_body(const struct json_front *f)
{
	return BODY_FACTOR * f->front.call.el->srv->cfg.max_request_bytes + ETCD_MESSAGE_SLACK;
}

static void begin(struct json_front *f, struct str message)
{
	f->begun = true;
	etcd__call_begin(&f->front.call, message);
}

static void unary_body(struct http_request *r, int status, struct str body)
{
	struct json_front *f = r->user;
	struct err e = ERR_INIT;
	struct buf wire = BUF_INIT;

	if (status == -ERR_CANCELED)
		return; /* on_cancel comes too */
	if (status != 0)
		refuse(r, etcd_error_code(ETCD_ERR_REQUEST_TOO_LARGE), etcd_error_text(ETCD_ERR_REQUEST_TOO_LARGE));
	else if (etcd_json_parse(&wire, f->front.call.method->in, body, &e) < 0)
		refuse(r, GRPC_INVALID_ARGUMENT, e.text);
	else
		begin(f, buf_str(&wire));
	buf_fini(&wire);
}

/* One object of the stream; false: the call is over. */
static bool take_one(struct json_front *f, struct str text)
{
	struct etcd_call *c = &f->front.call;
	struct err e = ERR_INIT;
	struct buf wire = BUF_INIT;
	bool good = etcd_json_parse(&wire, c->method->in, text, &e) == 0;

	f->unread = !good;
	if (good)
		etcd__call_message(c, buf_str(&wire));
	else
		etcd__call_abort(c, GRPC_INVALID_ARGUMENT, e.text);
	buf_fini(&wire);
	return good;
}

/* The handler may end the call in here; the request's memory, and `over`, stay until a later callback. */
static void deliver(struct json_front *f)
{
	struct etcd_call *c = &f->front.call;
	struct http_request *r = f->front.http;

	while (!f->paused && !f->over) {
		ptrdiff_t n = etcd_json_next(&f->scan, buf_str(&f->in));
		struct str text;

		if (n < 0 || (n == 0 && f->in.n > max_body(f))) {
			f->unread = true;
			etcd__call_abort(c, GRPC_INVALID_ARGUMENT,
					n < 0 ? "the body is no stream of JSON objects" : etcd_error_text(ETCD_ERR_REQUEST_TOO_LARGE));
			return;
		}
		if (n == 0)
			break;
		text = arena_str(&r->arena, str_sub(buf_str(&f->in), 0, (size_t)n));
		buf_consume(&f->in, (size_t)n);
		if (!take_one(f, text))
			return;
	}
	if (f->in_ended && !f->paused && !f->over && f->scan.begun) {
		f->unread = true;
		etcd__call_abort(c, GRPC_INVALID_ARGUMENT, "unexpected EOF");
	} else if (f->in_ended && !f->paused && !f->over) {
		f->in_ended = false;
		etcd__call_half_close(c);
	}
}

static void on_kick(struct loop_timer *t)
{
	deliver(container_of(t, struct json_front, kick));
}

static void on_body(struct http_request *r, struct str bytes, bool end)
{
	struct json_front *f = r->user;

	buf_adds(&f->in, bytes);
	f->in_ended |= end;
	f->body_ended |= end;
	deliver(f);
}

/* The same method under a second path, as etcd has them. */
static const struct {
	const char *path, *also;
} aliases[] = {
		{"kv/lease/revoke", "lease/revoke"},
		{"kv/lease/timetolive", "lease/timetolive"},
		{"kv/lease/leases", "lease/leases"},
};

static const struct etcd_method *find(struct str path)
{
	for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
		if (str_eqc(path, aliases[i].path))
			path = str_from(aliases[i].also);
	for (size_t i = 0; i < etcd__n_methods; i++)
		if (etcd__methods[i].json_path != NULL && str_eqc(path, etcd__methods[i].json_path))
			return &etcd__methods[i];
	return NULL;
}

bool etcd__gateway(struct etcd_port *port, struct http_request *r)
{
	const struct etcd_method *m;
	struct json_front *f;

	if (!str_has_prefix(r->path, STR("/v3/")))
		return false;
	m = find(str_skip(r->path, 4));
	if (m == NULL || !str_eqc(r->method, "POST")) {
		etcd__page_text(r, m ? 405 : 404, m ? STR("Method Not Allowed\n") : STR("Not Found\n"));
		return true;
	}
	f = front_new(port, r, m, &json_transport, sizeof(*f));
	buf_init(&f->in, BUF_NO_LIMIT);
	buf_init(&f->answer, BUF_NO_LIMIT);
	r->user = f;
	r->on_cancel = on_cancel;
	if (m->kind != ETCD_BIDI) {
		http_request_body(r, max_body(f), unary_body);
		return true;
	}
	begin(f, STR(""));
	if (!f->over)
		http_request_read_start(r, on_body);
	return true;
}

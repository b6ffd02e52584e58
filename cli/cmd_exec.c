/*
 * kontiki exec: a command in a container, over a WebSocket (v5.channel.k8s.io or v4.channel.k8s.io).
 *
 * A message is a channel's number and data: 0 stdin, 1 stdout, 2 stderr, 3 the Status at the end, 4 the terminal's size. v5
 * adds 255 with a channel's number: that channel has ended. v4 cannot say that stdin has ended, which a piped input must: for
 * that only v5 is offered, and a runtime that does not know it is asked again for SPDY (io/spdy.h), as kubectl does.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "base/util.h"
#include "cli/kube.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/spdy.h"
#include "io/websocket.h"
#include "proto/json.h"
#include "proto/resource.h"

#define PROTOCOL_V5 "v5.channel.k8s.io"
#define PROTOCOL_V4 "v4.channel.k8s.io"
#define STDIN_BLOCK 32768

enum { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_STATUS, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };

struct exec_opts {
	const char *container, *pod_running_timeout;
	bool stdin, tty, quiet;
	struct opt_list files;
};
#define O(member) offsetof(struct exec_opts, member)

static const struct opt rows[] = {
	{"container", 'c', OPT_STR, O(container), "NAME", "the container", NULL, NULL},
	{"stdin", 'i', OPT_BOOL, O(stdin), "", "pass standard input on", NULL, NULL},
	{"tty", 't', OPT_BOOL, O(tty), "", "with a terminal", NULL, NULL},
	{"quiet", 'q', OPT_BOOL, O(quiet), "", "say only what the command says", NULL, NULL},
	OPT_END,
};
static const char usage[] = "usage: kontiki exec (POD | TYPE/NAME) [-c CONTAINER] [-it] -- COMMAND [ARGS...]\n"
			    "\nRun a command in a container; its exit status becomes this one's.\n";

struct session {
	struct kube k;
	struct exec_opts o;
	struct http_call call;
	struct http_client *http;
	struct websocket *ws;
	struct websocket_user user;
	struct spdy *spdy; /* instead of ws */
	struct spdy_user spdy_user;
	uint32_t ids[CHANNEL_STATUS + 1]; /* of SPDY streams, by channel; 0: none */
	struct buf status;                /* what the status stream has said so far */
	unsigned n_open;                  /* streams on which more may come */
	uv_poll_t poll;          /* standard input, when it can be waited for */
	uv_signal_t winch;
	struct loop_timer file;  /* else (a file): read when there is room */
	struct stream_write sent;
	bool polling, reading, sending, winch_open;
	bool needs_end;          /* stdin is piped: its end must reach the command */
	bool again;              /* no v5: once more with SPDY */
	unsigned n_handles;
	struct termios saved;
	bool is_raw;
	int rc;                  /* -1 until it is known */
};

static void finish(struct session *s, int rc)
{
	if (s->rc < 0)
		s->rc = rc;
	loop_stop(s->k.loop);
}

/* ---- the terminal ---- */

static void terminal_raw(struct session *s)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &s->saved) < 0)
		return;
	t = s->saved;
	cfmakeraw(&t);
	s->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static void terminal_restore(struct session *s)
{
	if (s->is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &s->saved);
	s->is_raw = false;
}

static void send_size(struct session *s)
{
	static const char channel = CHANNEL_RESIZE;
	struct winsize w;
	char text[64];

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0)
		return;
	snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", w.ws_col, w.ws_row);
	websocket_send2(s->ws, str_of(&channel, 1), str_from(text), true, NULL);
}

static void on_winch(uv_signal_t *h, int signum)
{
	send_size(container_of(h, struct session, winch));
}

/* ---- standard input ---- */

static void read_stdin(struct session *s);

static void on_readable(uv_poll_t *p, int status, int events)
{
	read_stdin(container_of(p, struct session, poll));
}

static void on_file_turn(struct loop_timer *t)
{
	read_stdin(container_of(t, struct session, file));
}

/* One block is on its way at a time, so that a slow command slows the reading down. */
static void want_stdin(struct session *s)
{
	if (!s->reading || s->sending)
		return;
	if (s->polling)
		uv_poll_start(&s->poll, UV_READABLE, on_readable);
	else
		loop_timer_start(&s->file, s->k.loop, 0, on_file_turn);
}

static void on_sent(struct stream_write *w, int status)
{
	struct session *s = container_of(w, struct session, sent);

	s->sending = false;
	if (status >= 0)
		want_stdin(s);
}

static void end_stdin(struct session *s)
{
	static const char message[2] = {(char)CHANNEL_CLOSE, CHANNEL_STDIN};

	s->reading = false;
	if (s->spdy)
		spdy_send(s->spdy, s->ids[CHANNEL_STDIN], STR_NULL, true, NULL);
	else if (strncmp(websocket_protocol(s->ws), "v5.", 3) == 0)
		websocket_send(s->ws, str_of(message, sizeof(message)), true, NULL);
}

static void read_stdin(struct session *s)
{
	static const char channel = CHANNEL_STDIN;
	char block[STDIN_BLOCK];
	ssize_t n;

	if (s->polling)
		uv_poll_stop(&s->poll);
	n = read(STDIN_FILENO, block, sizeof(block));
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		want_stdin(s);
	} else if (n <= 0) {
		end_stdin(s);
	} else {
		s->sending = true;
		if (s->spdy)
			spdy_send(s->spdy, s->ids[CHANNEL_STDIN], str_of(block, (size_t)n), false, &s->sent);
		else
			websocket_send2(s->ws, str_of(&channel, 1), str_of(block, (size_t)n), true, &s->sent);
	}
}

static void start_stdin(struct session *s)
{
	s->reading = true;
	s->sent.done = on_sent;
	s->polling = uv_poll_init(loop_uv(s->k.loop), &s->poll, STDIN_FILENO) == 0;
	s->n_handles += s->polling;
	want_stdin(s);
}

/* ---- what comes back ---- */

static void write_all(int fd, struct str bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return;
		bytes = str_skip(bytes, (size_t)n);
	}
}

static void on_status(struct session *s, struct str text)
{
	struct json *status = NULL;
	int code = CMD_FAILED;

	if (json_parse(&s->k.arena, text, NULL, &status, NULL) < 0) {
		terminal_restore(s);
		fprintf(stderr, "error: the server's last word is no Status: %.*s\n", STR_FMT(text));
		finish(s, CMD_FAILED);
		return;
	}
	if (json_eqc(json_getc(status, "status"), "Success")) {
		finish(s, CMD_OK);
		return;
	}
	terminal_restore(s);
	if (json_eqc(json_getc(status, "reason"), "NonZeroExitCode")) {
		JSON_ITEMS (c, json_getp(status, "details.causes"))
			if (json_eqc(json_getc(c, "reason"), "ExitCode"))
				code = (int)strtol(json_cstr(json_getc(c, "message")), NULL, 10);
		if (!s->o.quiet)
			fprintf(stderr, "command terminated with exit code %d\n", code);
	} else {
		fprintf(stderr, "error: %s\n", json_cstr(json_getc(status, "message")));
	}
	finish(s, code > 0 && code < 256 ? code : CMD_FAILED);
}

static void on_message(struct websocket_user *u, struct websocket *ws, struct str message, bool binary)
{
	struct session *s = container_of(u, struct session, user);
	struct str data = str_skip(message, 1);

	if (message.n == 0 || data.n == 0)
		return;
	switch ((unsigned char)message.p[0]) {
	case CHANNEL_STDOUT:
		write_all(STDOUT_FILENO, data);
		break;
	case CHANNEL_STDERR:
		write_all(STDERR_FILENO, data);
		break;
	case CHANNEL_STATUS:
		on_status(s, data);
		break;
	default:
		break;
	}
}

static void on_close(struct websocket_user *u, struct websocket *ws, int code, struct str reason)
{
	struct session *s = container_of(u, struct session, user);

	if (s->rc < 0) {
		terminal_restore(s);
		fprintf(stderr, "error: the connection ended before the command did%s%.*s\n", reason.n ? ": " : "", STR_FMT(reason));
	}
	finish(s, CMD_FAILED);
}

/* ---- the same over SPDY ---- */

static void on_spdy_end(struct session *s, unsigned channel)
{
	s->ids[channel] = 0;
	if (--s->n_open > 0)
		return;
	if (s->status.n)
		on_status(s, buf_str(&s->status));
	else
		finish(s, CMD_OK); /* before v4 success was silent */
}

static void on_spdy_data(struct spdy_user *u, uint32_t id, struct str bytes, bool end)
{
	struct session *s = container_of(u, struct session, spdy_user);

	for (unsigned c = CHANNEL_STDOUT; c <= CHANNEL_STATUS; c++) {
		if (s->ids[c] != id)
			continue;
		if (c == CHANNEL_STATUS)
			buf_adds(&s->status, bytes);
		else
			write_all(c == CHANNEL_STDOUT ? STDOUT_FILENO : STDERR_FILENO, bytes);
		if (end)
			on_spdy_end(s, c);
		return;
	}
}

static void on_spdy_close(struct spdy_user *u, const struct err *why)
{
	struct session *s = container_of(u, struct session, spdy_user);

	if (s->rc >= 0)
		return;
	if (s->status.n) {
		on_status(s, buf_str(&s->status));
		return;
	}
	fprintf(stderr, "error: the connection ended before the command did%s%s\n", why ? ": " : "", why ? why->text : "");
	finish(s, CMD_FAILED);
}

static void begin_spdy(struct session *s)
{
	static const struct {
		const char *type;
		unsigned channel;
	} streams[] = {{"error", CHANNEL_STATUS}, {"stdin", CHANNEL_STDIN}, {"stdout", CHANNEL_STDOUT}, {"stderr", CHANNEL_STDERR}};

	s->spdy_user = (struct spdy_user){on_spdy_data, on_spdy_close};
	s->spdy = spdy_new(http_call_take_stream(&s->call), &s->spdy_user);
	for (size_t i = 0; i < ARRAY_LEN(streams); i++)
		s->ids[streams[i].channel] = spdy_open(s->spdy, "streamtype", streams[i].type);
	s->n_open = 3;
	start_stdin(s);
}

static void begin(struct session *s)
{
	if (s->o.tty) {
		terminal_raw(s);
		uv_signal_init(loop_uv(s->k.loop), &s->winch);
		s->winch_open = true;
		s->n_handles++;
		uv_signal_start(&s->winch, on_winch, SIGWINCH);
		send_size(s);
	}
	if (s->o.stdin)
		start_stdin(s);
}

static void on_upgraded(struct http_call *c, const struct err *why)
{
	struct session *s = container_of(c, struct session, call);
	struct err e;

	if (!why && s->needs_end && !s->again && (c->status == 400 || c->status == 403)) {
		s->again = true;
		loop_stop(s->k.loop);
	} else if (!why && c->status == 101 && s->again) {
		begin_spdy(s);
	} else if (why || c->status != 101) {
		if (!why)
			err_set(&e, err_from_http(c->status), "the server answered %d instead of opening a stream", c->status);
		finish(s, kube_fail_answer(&s->k, c->status, buf_str(&c->body_in), why ? why : &e, NULL));
	} else if (websocket_from_call(c, &s->user, 0, &s->ws, &e) < 0) {
		finish(s, cmd_fail(&e));
	} else {
		begin(s);
	}
}

/* ---- the request ---- */

static const char *path_of(struct session *s, const char *pod, const char *container, const char *const *command, size_t n)
{
	struct buf b = BUF_INIT;
	const char *path;

	buf_printf(&b, "/api/v1/namespaces/%s/pods/%s/exec?", kube_escape(&s->k, s->k.ns), kube_escape(&s->k, pod));
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "command=%s&", kube_escape(&s->k, command[i]));
	buf_printf(&b, "container=%s%s&stdout=true%s", kube_escape(&s->k, container), s->o.stdin ? "&stdin=true" : "",
			s->o.tty ? "&tty=true" : "&stderr=true");
	path = arena_cstr(&s->k.arena, buf_str(&b));
	buf_fini(&b);
	return path;
}

static void on_handle_closed(uv_handle_t *h)
{
	struct session *s = h->data;

	if (--s->n_handles == 0)
		loop_stop(s->k.loop);
}

static void close_handles(struct session *s)
{
	loop_timer_stop(&s->file);
	if (s->polling) {
		s->poll.data = s;
		uv_close((uv_handle_t *)&s->poll, on_handle_closed);
	}
	if (s->winch_open) {
		s->winch.data = s;
		uv_close((uv_handle_t *)&s->winch, on_handle_closed);
	}
	if (s->n_handles)
		loop_run(s->k.loop);
}

static void call(struct session *s, const char *method, const char *path, const struct http_header *headers, size_t n)
{
	s->call.method = method;
	s->call.path = path;
	s->call.headers = headers;
	s->call.n_headers = n;
	s->call.upgrade = true;
	s->call.header_timeout_ms = s->k.timeout_ms ? s->k.timeout_ms : 30000;
	s->call.done = on_upgraded;
	http_call_start(s->http, &s->call);
	do
		loop_run(s->k.loop);
	while (s->rc < 0 && !(s->again && !s->spdy && !http_call_running(&s->call)));
}

static void call_websocket(struct session *s, const char *path)
{
	struct http_header headers[WEBSOCKET_N_HEADERS + 1];
	size_t n = websocket_call_headers(&s->k.arena, s->needs_end ? PROTOCOL_V5 : PROTOCOL_V5 "," PROTOCOL_V4, headers);

	n += kube_auth_header(&s->k, headers + n);
	call(s, "GET", path, headers, n);
}

static void call_spdy(struct session *s, const char *path)
{
	struct http_header headers[4] = {{STR_INIT("connection"), STR_INIT("Upgrade")}, {STR_INIT("upgrade"), STR_INIT("SPDY/3.1")},
			{STR_INIT("x-stream-protocol-version"), STR_INIT(PROTOCOL_V4)}};

	http_call_fini(&s->call);
	memset(&s->call, 0, sizeof(s->call));
	call(s, "POST", path, headers, 3 + kube_auth_header(&s->k, headers + 3));
}

static int stream(struct session *s, const char *path)
{
	struct err e;

	if (kube_http(&s->k, &s->http, &e) < 0)
		return cmd_fail(&e);
	s->rc = -1;
	s->user = (struct websocket_user){on_message, on_close};
	s->needs_end = s->o.stdin && !s->o.tty;
	buf_init(&s->status, 1 << 20);
	call_websocket(s, path);
	if (s->again)
		call_spdy(s, path);
	terminal_restore(s);
	close_handles(s);
	if (s->ws)
		websocket_close(s->ws, 1000, "");
	if (s->spdy)
		spdy_close(s->spdy);
	http_call_fini(&s->call);
	kube_http_close(&s->k, s->http);
	buf_fini(&s->status);
	return s->rc;
}

static int run(struct kube *k, const struct opt_args *args)
{
	struct session *s = container_of(k, struct session, k);
	const char *pod = kube_find_pod(&s->k, args->v[0]), *container;
	struct json *obj;
	int status;

	if (!pod)
		return CMD_FAILED;
	obj = kube_get(&s->k, resource_find("", "v1", "pods"), s->k.ns, pod, &status);
	if (!obj)
		return status == 404 ? kube_not_found("pods", pod) : CMD_FAILED;
	if (json_eqc(json_getp(obj, "status.phase"), "Succeeded") || json_eqc(json_getp(obj, "status.phase"), "Failed")) {
		fprintf(stderr, "error: cannot exec into a container in a completed pod; current phase is %s\n",
				json_cstr(json_getp(obj, "status.phase")));
		return CMD_FAILED;
	}
	container = kube_pick_container(&s->k, obj, s->o.container, s->o.quiet);
	s->o.tty = s->o.tty && s->o.stdin;
	if (s->o.tty && !isatty(STDIN_FILENO)) {
		if (!s->o.quiet)
			fprintf(stderr, "Unable to use a TTY - input is not a terminal or the right kind of file\n");
		s->o.tty = false;
	}
	return stream(s, path_of(s, pod, container, args->v + 1, args->n - 1));
}

int cmd_exec(int argc, char **argv)
{
	struct session s = {.rc = -1};
	struct kube_opts ko = {0};
	struct opt_args args = {0};
	struct err e;

	if (cmd_wants_help(argc, argv, usage, rows))
		return CMD_OK;
	if (opts_parse(rows, &s.o, kube_rows, &ko, argc, argv, &args, &e) < 0)
		return cmd_usage("exec", &e);
	if (args.n == 0 || (args.has_dash && args.n_before_dash == 0))
		err_set(&e, ERR_BAD_REQUEST, "pod, type/name or --filename must be specified");
	else if (args.n < 2)
		err_set(&e, ERR_BAD_REQUEST, "you must specify at least one command for the container");
	else
		err_clear(&e);
	if (e.code) {
		opt_args_fini(&args);
		return cmd_fail(&e);
	}
	return kube_run(&s.k, &ko, &args, run);
}

#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/util.h"
#include "io/stream-priv.h"

static void on_kick(struct loop_timer *);
static void on_linger(struct loop_timer *);

struct stream *stream__new(struct loop *l, bool tcp)
{
	struct stream *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	if (tcp)
		ASSERT(uv_tcp_init(loop_uv(l), &s->u.tcp) == 0);
	else
		ASSERT(uv_pipe_init(loop_uv(l), &s->u.pipe, 0) == 0);
	s->u.handle.data = s;
	s->out_tail = &s->out_head;
	s->w_tail = &s->w_head;
	s->failed_tail = &s->failed_head;
	buf_init(&s->wire, BUF_NO_LIMIT);
	buf_init(&s->unread, BUF_NO_LIMIT);
	return s;
}

/*
 * Small messages go at once, and a peer that vanished without a word is noticed within a minute on
 * a quiet connection. There is no TCP_USER_TIMEOUT: it would also end the session of a person who
 * holds the terminal for a while.
 */
void stream__tcp_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 15},
		{IPPROTO_TCP, TCP_KEEPINTVL, 10},
		{IPPROTO_TCP, TCP_KEEPCNT, 4},
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			sizeof(options[i].value));
}

int stream_from_fd(struct loop *l, int fd, struct stream **ret, struct err *e)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);
	struct stream *s;
	bool tcp;
	int rv;

	if (getsockname(fd, (struct sockaddr *)&ss, &n) != 0) {
		rv = err_set_errno(e, errno, "not a socket");
		closep(&fd);
		return rv;
	}
	tcp = ss.ss_family == AF_INET || ss.ss_family == AF_INET6;
	s = stream__new(l, tcp);
	rv = tcp ? uv_tcp_open(&s->u.tcp, fd) : uv_pipe_open(&s->u.pipe, fd);
	if (rv != 0) {
		stream_close(s, NULL, NULL);
		closep(&fd);
		return err_set_errno(e, -rv, "cannot use the socket");
	}
	if (tcp)
		stream__tcp_options(fd);
	*ret = s;
	return 0;
}

void stream__kick(struct stream *s)
{
	if (!s->closing && !loop_timer_active(&s->kick))
		loop_timer_start(&s->kick, s->loop, 0, on_kick);
}

static void run_done(struct stream_write *w, int status)
{
	if (w->done)
		w->done(w, status);
}

static void run_failed(struct stream *s, int status)
{
	struct stream_write *w;

	while ((w = s->failed_head) != NULL) {
		s->failed_head = w->next;
		if (s->failed_head == NULL)
			s->failed_tail = &s->failed_head;
		run_done(w, status);
	}
}

/* Tell the writers whose bytes have left. The stream's memory outlives this: it goes in a close
 * callback. */
void stream__run_writers(struct stream *s)
{
	struct stream_write *w;

	while ((w = s->w_head) != NULL && (w->mark <= s->flushed || s->broken) && !s->closing) {
		int status = w->mark <= s->flushed ? 0 : -(int)(s->why ? s->why->code : ERR_IO);

		s->w_head = w->next;
		if (s->w_head == NULL)
			s->w_tail = &s->w_head;
		run_done(w, status);
	}
	if (!s->closing)
		run_failed(s, -(int)(s->why ? s->why->code : ERR_IO));
	if (!s->closing && s->drain_due && stream_queued(s) == 0) {
		s->drain_due = false;
		if (!s->broken && s->user != NULL && s->user->on_drain != NULL)
			s->user->on_drain(s->user, s);
	}
}

static void run_end(struct stream *s)
{
	if (s->closing || s->ended)
		return;
	if (s->lingering) {
		if (!s->broken && !s->shut_done)
			return;
		stream_close(s, s->close_cb, s->close_arg);
		return;
	}
	if (s->on_handshake != NULL && s->broken) {
		void (*cb)(struct stream *, void *, const struct err *) = TAKE(s->on_handshake);

		s->ended = true;
		cb(s, s->handshake_arg, s->why);
		return;
	}
	if (s->user == NULL || s->on_handshake != NULL)
		return;
	if (s->broken) {
		s->ended = true;
		s->user->on_end(s->user, s, s->why);
	} else if (s->eof && s->reading) {
		bool clean = s->tls == NULL || s->tls->got_close_notify;
		struct err e;

		s->ended = true;
		if (!clean)
			err_set(&e, ERR_UNAVAILABLE,
				"the connection was closed without TLS close_notify");
		s->user->on_end(s->user, s, clean ? NULL : &e);
	}
}

static void on_kick(struct loop_timer *t)
{
	struct stream *s = container_of(t, struct stream, kick);

	stream__run_writers(s);
	if (s->closing)
		return;
	while (s->unread.n > 0 && s->reading && !s->closing) {
		/* The user may put bytes back while it is called. */
		struct buf now = s->unread;

		buf_init(&s->unread, BUF_NO_LIMIT);
		stream__deliver(s, buf_str(&now));
		buf_fini(&now);
	}
	if (s->closing)
		return;
	if (s->tls != NULL && !s->broken)
		stream__tls_input(s);
	if (s->closing)
		return;
	if (s->broken || s->eof)
		run_end(s);
	if (!s->closing)
		stream__update_reading(s);
}

static void drop_chunks(struct stream *s)
{
	struct chunk *c;

	while ((c = s->out_head) != NULL) {
		s->out_head = c->next;
		if (c->taken)
			free(c->p);
		free(c);
	}
	s->out_tail = &s->out_head;
}

static void broke(struct stream *s)
{
	s->broken = true;
	s->uv_reading = false;
	uv_read_stop(&s->u.stream);
	stream__kick(s);
}

void stream__break(struct stream *s, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (s->broken || s->closing)
		return;
	s->why = xcalloc(1, sizeof(*s->why));
	s->why->code = code;
	va_start(ap, fmt);
	vsnprintf(s->why->text, sizeof(s->why->text), fmt, ap);
	va_end(ap);
	broke(s);
}

void stream__break_uv(struct stream *s, int uv_code, const char *what)
{
	if (s->broken || s->closing)
		return;
	s->why = xcalloc(1, sizeof(*s->why));
	err_set_errno(s->why, -uv_code, "%s", what);
	/* For a user all of these mean that the peer is gone. */
	if (s->why->code == ERR_IO)
		s->why->code = ERR_UNAVAILABLE;
	broke(s);
}

void stream__eof(struct stream *s)
{
	if (s->eof)
		return;
	s->eof = true;
	stream__kick(s);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct stream *s = h->data;

	*ret = uv_buf_init(loop_scratch(s->loop), LOOP_SCRATCH_SIZE);
}

static void on_read(uv_stream_t *u, ssize_t n, const uv_buf_t *b)
{
	struct stream *s = u->data;

	if (n == 0 || s->closing)
		return;
	if (n < 0) {
		s->uv_reading = false;
		uv_read_stop(u);
		if (n != UV_EOF)
			stream__break_uv(s, (int)n, "read");
		else if (s->tls != NULL && !s->tls->handshaken)
			stream__break(s, ERR_UNAVAILABLE,
				"the peer closed the connection during the TLS handshake");
		else
			stream__eof(s);
		return;
	}
	if (s->tls != NULL) {
		s->tls->in = str_of(b->base, (size_t)n);
		stream__tls_input(s);
	} else if (s->reading) {
		stream__deliver(s, str_of(b->base, (size_t)n));
	} else {
		buf_add(&s->unread, b->base, (size_t)n);
	}
}

void stream__deliver(struct stream *s, struct str bytes)
{
	if (s->lingering)
		return;
	ASSERT(s->user != NULL);
	s->user->on_data(s->user, s, bytes);
}

void stream__update_reading(struct stream *s)
{
	bool want;

	if (s->closing || s->broken || s->eof)
		return;
	want = s->reading || (s->tls != NULL && !s->tls->handshaken);
	if (want == s->uv_reading)
		return;
	if (want)
		ASSERT(uv_read_start(&s->u.stream, on_alloc, on_read) == 0);
	else
		uv_read_stop(&s->u.stream);
	s->uv_reading = want;
}

void stream_start(struct stream *s, struct stream_user *user)
{
	s->user = user;
	stream_read_start(s);
}

void stream_read_start(struct stream *s)
{
	if (s->closing)
		return;
	s->reading = true;
	if (s->unread.n > 0 || s->tls != NULL || s->eof || s->broken)
		stream__kick(s);
	else
		stream__update_reading(s);
}

void stream_read_stop(struct stream *s)
{
	s->reading = false;
	stream__update_reading(s);
}

void stream_unread(struct stream *s, struct str bytes)
{
	struct buf b;

	ASSERT(!s->reading);
	buf_init(&b, BUF_NO_LIMIT);
	buf_adds(&b, bytes);
	buf_adds(&b, buf_str(&s->unread));
	buf_fini(&s->unread);
	s->unread = b;
}

static void on_closed(uv_handle_t *h)
{
	struct stream *s = h->data;
	struct stream_write *w;
	void (*cb)(void *) = s->close_cb;
	void *arg = s->close_arg;

	while ((w = s->w_head) != NULL) {
		s->w_head = w->next;
		run_done(w, -ERR_CANCELED);
	}
	run_failed(s, -ERR_CANCELED);
	drop_chunks(s);
	buf_fini(&s->wire);
	buf_fini(&s->unread);
	stream__tls_free(s->tls);
	free(s->why);
	free(s->peer_address);
	free(s);
	if (cb)
		cb(arg);
}

void stream_close(struct stream *s, void (*cb)(void *arg), void *arg)
{
	ASSERT(!s->closing);
	s->closing = true;
	s->user = NULL;
	s->on_handshake = NULL;
	s->close_cb = cb;
	s->close_arg = arg;
	loop_timer_stop(&s->kick);
	loop_timer_stop(&s->linger);
	uv_close(&s->u.handle, on_closed);
}

/*
 * Closing a socket with unread bytes makes the kernel send a reset, which can overtake what we sent
 * last. So end our direction and wait until the peer has ended its own, reading and dropping what
 * comes.
 */
void stream_close_flushed(struct stream *s, uint64_t ms)
{
	if (s->broken) {
		stream_close(s, NULL, NULL);
		return;
	}
	s->user = NULL;
	s->lingering = true;
	s->reading = true;
	s->ended = false;
	buf_fini(&s->unread);
	loop_timer_start(&s->linger, s->loop, MAX(ms, 1), on_linger);
	stream_shutdown(s);
	stream_read_start(s);
}

static void on_linger(struct loop_timer *t)
{
	stream_close(container_of(t, struct stream, linger), NULL, NULL);
}

struct loop *stream_loop(const struct stream *s)
{
	return s->loop;
}

bool stream_is_tls(const struct stream *s)
{
	return s->tls != NULL;
}

int stream_fd(const struct stream *s)
{
	uv_os_fd_t fd;

	return uv_fileno(&s->u.handle, &fd) == 0 ? fd : -1;
}

const char *stream_peer_address(struct stream *s)
{
	struct sockaddr_storage ss;
	int n = sizeof(ss);
	char ip[INET6_ADDRSTRLEN] = "";

	if (s->peer_address != NULL)
		return s->peer_address;
	if (s->u.handle.type != UV_TCP)
		return s->peer_address = xstrdup("unix:");
	if (uv_tcp_getpeername(&s->u.tcp, (struct sockaddr *)&ss, &n) != 0)
		return "";
	if (ss.ss_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
			uv_inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, sizeof(ip));
			return s->peer_address = xasprintf("%s:%u", ip, ntohs(in6->sin6_port));
		}
		uv_ip6_name(in6, ip, sizeof(ip));
		return s->peer_address = xasprintf("[%s]:%u", ip, ntohs(in6->sin6_port));
	}
	uv_ip4_name((struct sockaddr_in *)&ss, ip, sizeof(ip));
	return s->peer_address =
		       xasprintf("%s:%u", ip, ntohs(((struct sockaddr_in *)&ss)->sin_port));
}

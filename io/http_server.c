#include "io/http_server.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_server-priv.h"

#define DEFAULT_HEADER_MS 10000
#define DEFAULT_IDLE_MS 120000
#define DEFAULT_BODY_MS 60000
#define DEFAULT_WRITE_MS 300000
#define DEFAULT_CONNECTIONS 10000
#define FLUSH_MS 2000

struct str http__date(struct http_server *s)
{
	time_t now = (time_t)clock_wall_s();
	struct tm tm;

	if (s->date_at != (unsigned)now) {
		gmtime_r(&now, &tm);
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		s->date_at = (unsigned)now;
	}
	return str_from(s->date);
}

static void on_conn_kick(struct loop_timer *t)
{
	struct http_conn *c = container_of(t, struct http_conn, kick);
	struct http_server *s = c->server;

	loop_timer_stop(&c->kick);
	list_del(&c->link);
	s->n_conns--;
	s->stats.connections--;
	c->ops->free(c);
	if (c->peer != NULL)
		arena_fini(&c->peer->arena);
	free(c->peer);
	free(c->remote);
	buf_fini(&c->in);
	free(c);
	if (s->closing && s->n_conns == 0)
		loop_timer_start(&s->last, s->loop, 0, s->last.cb);
}

void http__conn_maybe_free(struct http_conn *c)
{
	if (c->stream == NULL && list_empty(&c->reqs))
		loop_timer_start(&c->kick, c->loop, 0, on_conn_kick);
}

void http__conn_close(struct http_conn *c, uint64_t flush_ms)
{
	struct stream *s = c->stream;

	if (s == NULL)
		return;
	c->stream = NULL;
	c->state = CONN_CLOSING;
	c->server->stats.bytes_out += s->flushed;
	if (flush_ms > 0)
		stream_close_flushed(s, flush_ms);
	else
		stream_close(s, NULL, NULL);
	LIST_FOR_EACH_SAFE (r, next, &c->reqs, struct http_req, link)
		c->ops->dead(r);
	http__conn_maybe_free(c);
}

static void on_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	struct http_conn *c = container_of(u, struct http_conn, user);

	c->server->stats.bytes_in += bytes.n;
	c->ops->data(c, bytes);
}

static void on_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	struct http_conn *c = container_of(u, struct http_conn, user);

	log_debug("http", "connection ended peer=%s why=\"%s\"", c->remote,
		why ? why->text : "closed");
	/* A peer that half-closes after its last request is treated as gone, as others do. Bytes
	 * queued for it are sent. */
	http__conn_close(c, why == NULL && list_empty(&c->reqs) ? FLUSH_MS : 0);
}

static void on_drain(struct stream_user *u, struct stream *s)
{
	struct http_conn *c = container_of(u, struct http_conn, user);

	c->ops->drained(c);
}

static void on_stream(struct listener_user *u, struct stream *stream)
{
	struct http_server *s = container_of(u, struct http_server, user);
	struct http_conn *c;

	if (s->n_conns >= s->config.max_connections) {
		log_warn("http", "too many connections, closing one limit=%u",
			s->config.max_connections);
		stream_close(stream, NULL, NULL);
		return;
	}
	if (s->config.admit != NULL && !s->config.admit(stream)) {
		stream_close(stream, NULL, NULL);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	c->loop = s->loop;
	c->stream = stream;
	c->user = (struct stream_user){on_data, on_end, on_drain};
	c->ops = &http__h1_ops;
	list_init(&c->reqs);
	list_add_tail(&s->conns, &c->link);
	s->n_conns++;
	s->stats.connections++;
	s->stats.connections_total++;
	c->remote = xstrdup(stream_peer_address(stream));
	c->peer_verified = stream_peer_verified(stream);
	if (stream_peer_cert(stream) != NULL)
		c->peer = TAKE(stream->tls->peer);
	c->idle_since = clock_mono_ms();
	c->head_since = c->idle_since;
	buf_init(&c->in, BUF_NO_LIMIT);
	buf_init(&c->unwanted, BUF_NO_LIMIT); /* one id a stream, and streams are limited */
	c->state = stream_is_tls(stream) ? CONN_HEAD : CONN_PREFACE;
	stream_start(stream, &c->user);
	if (strcmp(stream_alpn(stream), "h2") == 0)
		http__h2_start(c);
}

static bool since(uint64_t moment, uint64_t now, uint64_t ms)
{
	return moment != 0 && now > moment && now - moment >= ms;
}

static void sweep_requests(struct http_conn *c, uint64_t now)
{
	struct http_server *s = c->server;

	LIST_FOR_EACH_SAFE (r, next, &c->reqs, struct http_req, link) {
		bool stuck = false;

		if (c->stream == NULL)
			return;
		if (r->accepted > r->framed && r->framed == r->stuck_at) {
			if (r->stuck_since == 0)
				r->stuck_since = now;
			stuck = since(r->stuck_since, now, s->config.write_timeout_ms);
		} else {
			r->stuck_at = r->framed;
			r->stuck_since = 0;
		}
		if (r->wire_done ||
			(!stuck && !since(r->waiting_since, now, s->config.body_timeout_ms)))
			continue;
		log_debug("http", "request timed out peer=%s path=%.*s", c->remote,
			STR_FMT(r->pub.path));
		r->waiting_since = 0;
		http__req_cancel(r);
		c->ops->abort(r);
	}
}

static void sweep_conn(struct http_conn *c, uint64_t now)
{
	struct http_server *s = c->server;

	if (since(c->head_since, now, s->config.header_timeout_ms)) {
		http__conn_close(c, 0);
		return;
	}
	if (list_empty(&c->reqs) && since(c->idle_since, now, s->config.idle_timeout_ms)) {
		c->ops->drain(c);
		http__conn_close(c, FLUSH_MS);
		return;
	}
	if (stream_queued(c->stream) > 0 && c->stream->flushed == c->stuck_at) {
		if (c->stuck_since == 0)
			c->stuck_since = now;
		if (since(c->stuck_since, now, s->config.write_timeout_ms)) {
			http__conn_close(c, 0);
			return;
		}
	} else {
		c->stuck_at = c->stream->flushed;
		c->stuck_since = 0;
	}
	sweep_requests(c, now);
}

static void on_sweep(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, sweep);
	uint64_t now = clock_mono_ms();

	loop_timer_start(&s->sweep, s->loop, s->sweep_ms, on_sweep);
	LIST_FOR_EACH_SAFE (c, next, &s->conns, struct http_conn, link) {
		if (c->stream == NULL)
			continue;
		if (s->closing && now >= s->deadline)
			http__conn_close(c, 0);
		else
			sweep_conn(c, now);
	}
}

static uint64_t or_default(uint64_t v, uint64_t def)
{
	return v ? v : def;
}

int http_server_new(struct loop *l, const struct http_server_config *c, struct http_handler *h,
	struct http_server **ret, struct err *e)
{
	struct listener_config lc = {.address = c->address,
		.fd = c->fd,
		.netns_fd = c->netns_fd,
		.reuseport = c->reuseport,
		.tls = c->tls};
	struct http_server *s = xcalloc(1, sizeof(*s));
	uint64_t least;
	int rv;

	s->loop = l;
	s->handler = h;
	s->user.on_stream = on_stream;
	list_init(&s->conns);
	s->config.admit = c->admit;
	s->config.header_timeout_ms = or_default(c->header_timeout_ms, DEFAULT_HEADER_MS);
	s->config.idle_timeout_ms = or_default(c->idle_timeout_ms, DEFAULT_IDLE_MS);
	s->config.body_timeout_ms = or_default(c->body_timeout_ms, DEFAULT_BODY_MS);
	s->config.write_timeout_ms = or_default(c->write_timeout_ms, DEFAULT_WRITE_MS);
	s->config.max_connections = c->max_connections ? c->max_connections : DEFAULT_CONNECTIONS;
	s->config.once_field = c->once_field;
	s->config.max_streams = c->max_streams ? c->max_streams : HTTP_MAX_STREAMS;
	lc.handshake_timeout_ms = s->config.header_timeout_ms;
	rv = listener_open(l, &lc, &s->user, &s->listener, e);
	if (rv != 0) {
		free(s);
		return rv;
	}
	s->port = listener_port(s->listener);
	least = MIN(MIN(s->config.header_timeout_ms, s->config.idle_timeout_ms),
		MIN(s->config.body_timeout_ms, s->config.write_timeout_ms));
	s->sweep_ms = MAX(MIN(least / 4, 1000u), 1u);
	loop_timer_start(&s->sweep, l, s->sweep_ms, on_sweep);
	*ret = s;
	return 0;
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

static void on_last(struct loop_timer *t)
{
	struct http_server *s = container_of(t, struct http_server, last);
	void (*cb)(void *) = s->close_cb;
	void *arg = s->close_arg;

	if (s->listener != NULL || s->n_conns > 0)
		return;
	loop_timer_stop(&s->sweep);
	loop_timer_stop(&s->last);
	free(s);
	if (cb)
		cb(arg);
}

static void on_listener_closed(void *arg)
{
	struct http_server *s = arg;

	s->listener = NULL;
	if (s->n_conns == 0)
		loop_timer_start(&s->last, s->loop, 0, on_last);
}

void http_server_close(struct http_server *s, uint64_t drain_ms, void (*cb)(void *arg), void *arg)
{
	ASSERT(!s->closing);
	s->closing = true;
	s->deadline = clock_mono_ms() + drain_ms;
	s->close_cb = cb;
	s->close_arg = arg;
	s->last.cb = on_last;
	listener_close(s->listener, on_listener_closed, s);
	LIST_FOR_EACH_SAFE (c, next, &s->conns, struct http_conn, link) {
		if (c->stream == NULL)
			continue;
		c->ops->drain(c);
		if (c->stream != NULL && list_empty(&c->reqs))
			http__conn_close(c, MIN(FLUSH_MS, drain_ms + 1));
	}
	s->sweep_ms = MAX(MIN(s->sweep_ms, drain_ms / 4), 1u);
	loop_timer_start(&s->sweep, s->loop, drain_ms ? s->sweep_ms : 0, on_sweep);
}

void http_server_stats(const struct http_server *s, struct http_server_stats *ret)
{
	*ret = s->stats;
	LIST_FOR_EACH (c, &s->conns, struct http_conn, link)
		if (c->stream != NULL)
			ret->bytes_out += c->stream->flushed;
}

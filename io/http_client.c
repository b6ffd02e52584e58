#include "io/http_client.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client-priv.h"
#include "io/io-priv.h"
#include "io/tls.h"

#define DEFAULT_CONNECTIONS 32
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_IDLE_MS 60000
#define DEFAULT_PING_MS 30000

/* Making a connection; for one call (an upgrade) or for all that wait. */
struct dial {
	struct stream_connect connect;
	struct http_client *client;
	struct list link;
	struct http_call *call; /* NULL: for all */
	bool upgrade;
};

static void on_assign(struct loop_timer *);
static void on_last(struct loop_timer *);

static void kick_assign(struct http_client *k)
{
	if (!loop_timer_active(&k->assign))
		loop_timer_start(&k->assign, k->loop, 0, on_assign);
}

static bool is_over(const struct http_client *k)
{
	return k->closing && k->n_running == 0 && k->n_conns == 0 && k->n_dials == 0;
}

static void maybe_last(struct http_client *k)
{
	if (is_over(k))
		loop_timer_start(&k->last, k->loop, 0, on_last);
}

/* Finishing calls. */

static void on_finish(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, timer);
	struct http_client *k = c->client;
	struct err e = c->err;

	c->flags = 0;
	c->client = NULL;
	k->n_running--;
	maybe_last(k);
	c->done(c, e.code != ERR_OK ? &e : NULL);
}

void http__call_tell_writers(struct http_call *c, bool all)
{
	struct http_write *w;

	while ((w = c->w_head) != NULL && (all || w->mark <= c->framed)) {
		c->w_head = w->next;
		if (c->w_head == NULL)
			c->w_tail = &c->w_head;
		http__write_later(c->client->loop, w, w->mark <= c->framed ? 0 : -ERR_CANCELED);
	}
}

/* An upgrade has a connection of its own, which nobody else waits for. */
static void drop_dial(struct http_call *c)
{
	LIST_FOR_EACH (d, &c->client->dials, struct dial, link)
		if (d->call == c) {
			d->call = NULL;
			stream_connect_cancel(&d->connect);
		}
}

void http__call_finish(struct http_call *c, const struct err *e)
{
	struct http_client_conn *k = c->conn;

	if (c->flags & CALL_FINISHED)
		return;
	if (c->upgrade && k == NULL)
		drop_dial(c);
	c->flags |= CALL_FINISHED;
	if (e != NULL)
		c->err = *e;
	else
		err_clear(&c->err);
	list_del(&c->link);
	c->conn = NULL;
	loop_timer_stop(&c->header_timer);
	loop_timer_stop(&c->kick);
	http__call_tell_writers(c, true);
	loop_timer_start(&c->timer, c->client->loop, 0, on_finish);
	if (k != NULL) {
		k->n_calls--;
		k->ops->leave(
			k, c, (c->flags & CALL_RESPONSE_ENDED) && (c->flags & CALL_BODY_SENT));
		http__client_conn_free_slot(k);
	}
	buf_fini(&c->out);
	buf_fini(&c->held);
}

void http__call_fail(struct http_call *c, enum err_code code, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	e.code = code;
	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	http__call_finish(c, &e);
}

static bool is_idempotent(const char *method)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strcmp(method, methods[i]) == 0)
			return true;
	return false;
}

bool http__call_retry(struct http_call *c, bool untouched)
{
	struct http_client_conn *k = c->conn;

	if (c->n_tries > 0 || c->stream_body || c->response_begun || c->client->closing ||
		(c->flags & CALL_FINISHED))
		return false;
	/* A connection that served before may have been closed by the server while we were sending.
	 */
	if (!untouched && !(k != NULL && k->n_served > 0 && is_idempotent(c->method)))
		return false;
	list_del(&c->link);
	c->conn = NULL;
	c->n_tries++;
	c->out_off = 0;
	c->flags &= CALL_RUNNING | CALL_BODY_ENDED | CALL_PAUSED;
	if (k != NULL)
		k->n_calls--;
	list_add_head(&c->client->waiting, &c->link);
	kick_assign(c->client);
	return true;
}

/* Responses. */

void http__call_headers(struct http_call *c, int status, int version)
{
	c->status = status;
	c->version = version;
	c->response_begun = true;
	loop_timer_stop(&c->header_timer);
	if (c->on_headers)
		c->on_headers(c);
}

void http__call_data(struct http_call *c, struct str bytes)
{
	size_t limit = c->max_body ? c->max_body : HTTP_CALL_MAX_BODY;

	if (bytes.n == 0)
		return;
	if (c->on_data != NULL) {
		c->on_data(c, bytes);
		return;
	}
	if (c->body_in.n + bytes.n > limit) {
		http__call_fail(c, ERR_TOO_LARGE,
			"the response's body is over the limit of %zu bytes", limit);
		return;
	}
	buf_adds(&c->body_in, bytes);
}

/* Connections. */

static void on_conn_free(struct loop_timer *t)
{
	struct http_client_conn *k = container_of(t, struct http_client_conn, kick);
	struct http_client *client = k->client;

	list_del(&k->link);
	k->ops->free(k);
	loop_timer_stop(&k->timer);
	buf_fini(&k->in);
	free(k);
	client->n_conns--;
	if (!list_empty(&client->waiting))
		kick_assign(client);
	maybe_last(client);
}

void http__client_conn_free_later(struct http_client_conn *k)
{
	k->draining = true;
	loop_timer_stop(&k->timer);
	loop_timer_start(&k->kick, k->loop, 0, on_conn_free);
}

void http__client_conn_close(struct http_client_conn *k, const struct err *why)
{
	struct err gone;

	if (k->stream == NULL)
		return;
	if (why == NULL) {
		err_set(&gone, ERR_UNAVAILABLE, "the server closed the connection");
		why = &gone;
	}
	stream_close(TAKE(k->stream), NULL, NULL);
	http__client_conn_free_later(k);
	while (!list_empty(&k->calls)) {
		struct http_call *c = LIST_FIRST(&k->calls, struct http_call, link);

		if (!http__call_retry(c, false))
			http__call_finish(c, why);
	}
}

static void on_idle(struct loop_timer *t)
{
	http__client_conn_close(container_of(t, struct http_client_conn, timer), NULL);
}

void http__client_conn_free_slot(struct http_client_conn *k)
{
	if (k->stream == NULL)
		return;
	if (k->n_calls == 0) {
		k->idle_since = clock_mono_ms();
		if (k->draining) {
			http__client_conn_close(k, NULL);
			return;
		}
		if (!k->h2)
			loop_timer_start(&k->timer, k->loop, k->client->idle_timeout_ms, on_idle);
	}
	if (!list_empty(&k->client->waiting))
		kick_assign(k->client);
}

static void on_data(struct stream_user *u, struct stream *s, struct str bytes)
{
	struct http_client_conn *k = container_of(u, struct http_client_conn, user);

	k->ops->data(k, bytes);
}

static void on_end(struct stream_user *u, struct stream *s, const struct err *why)
{
	struct http_client_conn *k = container_of(u, struct http_client_conn, user);

	k->ops->ended(k, why);
	http__client_conn_close(k, why);
}

static void on_drain(struct stream_user *u, struct stream *s)
{
	struct http_client_conn *k = container_of(u, struct http_client_conn, user);

	k->ops->drained(k);
}

static struct http_client_conn *conn_new(struct http_client *client, struct stream *s, bool h2)
{
	struct http_client_conn *k = xcalloc(1, sizeof(*k));

	k->client = client;
	k->loop = client->loop;
	k->stream = s;
	k->user = (struct stream_user){on_data, on_end, on_drain};
	k->h2 = h2;
	k->ops = h2 ? &http__client_h2_ops : &http__client_h1_ops;
	k->idle_since = clock_mono_ms();
	list_init(&k->calls);
	list_add_head(&client->conns, &k->link);
	client->n_conns++;
	buf_init(&k->in, BUF_NO_LIMIT);
	stream_start(s, &k->user);
	if (h2)
		http__client_h2_start(k);
	else
		loop_timer_start(&k->timer, k->loop, client->idle_timeout_ms, on_idle);
	return k;
}

static void submit(struct http_client_conn *k, struct http_call *c)
{
	list_del(&c->link);
	list_add_tail(&k->calls, &c->link);
	c->conn = k;
	k->n_calls++;
	if (!k->h2)
		loop_timer_stop(&k->timer);
	c->sent = true;
	k->ops->submit(k, c);
}

/* Dialing. */

static void fail_waiting(struct http_client *k, const struct err *e)
{
	while (!list_empty(&k->waiting)) {
		http__call_finish(LIST_FIRST(&k->waiting, struct http_call, link), e);
		/* While other connections live, only one call pays for a failed one. */
		if (k->n_conns > 0)
			break;
	}
}

static void on_dialed(struct stream_connect *sc, struct stream *s, const struct err *e)
{
	struct dial *d = container_of(sc, struct dial, connect);
	struct http_client *k = d->client;
	struct http_call *call = d->call;
	struct http_client_conn *conn;
	bool h2;

	list_del(&d->link);
	k->n_dials--;
	if (e != NULL) {
		if (call != NULL)
			http__call_finish(call, e);
		else if (!d->upgrade)
			fail_waiting(k, e);
	} else if (k->closing || (d->upgrade && call == NULL)) {
		stream_close(s, NULL, NULL);
	} else {
		h2 = !d->upgrade &&
		     (k->proto == HTTP_PROTO_2 ||
			     (k->proto == HTTP_PROTO_AUTO && strcmp(stream_alpn(s), "h2") == 0));
		if (!d->upgrade) {
			k->known = true;
			k->is_h2 = h2;
		}
		conn = conn_new(k, s, h2);
		if (call != NULL) {
			conn->draining = true;
			submit(conn, call);
		} else {
			kick_assign(k);
		}
	}
	free(d);
	maybe_last(k);
}

static void dial(struct http_client *k, struct http_call *call)
{
	struct dial *d = xcalloc(1, sizeof(*d));

	d->client = k;
	d->call = call;
	d->upgrade = call != NULL;
	list_add_tail(&k->dials, &d->link);
	k->n_dials++;
	if (call != NULL)
		list_del(&call->link);
	d->connect = (struct stream_connect){.loop = k->loop,
		.address = k->address,
		.netns_fd = k->netns_fd,
		.tls = k->tls,
		.server_name = k->server_name,
		.timeout_ms = k->connect_timeout_ms,
		.done = on_dialed};
	if (d->upgrade || k->proto == HTTP_PROTO_1)
		d->connect.alpn = "http/1.1";
	else if (k->proto == HTTP_PROTO_2)
		d->connect.alpn = "h2";
	stream_connect(&d->connect);
}

/* A connection with room; the newest idle one, so that the others can time out. */
static struct http_client_conn *pick(struct http_client *k)
{
	struct http_client_conn *best = NULL;

	LIST_FOR_EACH (c, &k->conns, struct http_client_conn, link) {
		if (c->draining || c->stream == NULL)
			continue;
		if (c->h2 ? c->n_calls < nghttp2_session_get_remote_settings(c->session,
						 NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
			  : c->n_calls == 0)
			if (best == NULL || c->idle_since > best->idle_since)
				best = c;
	}
	return best;
}

static void on_assign(struct loop_timer *t)
{
	struct http_client *k = container_of(t, struct http_client, assign);
	bool h2 = k->known ? k->is_h2
			   : k->proto == HTTP_PROTO_2 ||
				     (k->proto == HTTP_PROTO_AUTO && k->tls != NULL);
	unsigned n_wanted = 0, limit;

	LIST_FOR_EACH_SAFE (c, next, &k->waiting, struct http_call, link) {
		struct http_client_conn *conn;

		if (c->upgrade)
			dial(k, c);
		else if (n_wanted == 0 && (conn = pick(k)) != NULL)
			submit(conn, c);
		else
			n_wanted++;
	}
	/* While the answer may be HTTP/2, one connection is tried before more are made. */
	limit = h2 ? 1 : k->max_connections;
	if (h2 && k->n_conns > 0 && n_wanted > 0 && k->n_dials == 0)
		limit = k->n_conns + 1 <= k->max_connections ? k->n_conns + 1 : 0;
	while (n_wanted > k->n_dials && k->n_conns + k->n_dials < limit && !k->closing)
		dial(k, NULL);
}

/* Calls. */

static void on_timeout(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, timer);

	http__call_fail(c, ERR_TIMEOUT, "no complete answer within %llu ms",
		(unsigned long long)c->timeout_ms);
}

static void on_header_timeout(struct loop_timer *t)
{
	struct http_call *c = container_of(t, struct http_call, header_timer);

	http__call_fail(c, ERR_TIMEOUT, "no answer within %llu ms",
		(unsigned long long)c->header_timeout_ms);
}

static bool is_clean(const char *p)
{
	for (; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return false;
	return true;
}

void http_call_start(struct http_client *k, struct http_call *c)
{
	ASSERT(!(c->flags & CALL_RUNNING));
	http_call_fini(c);
	c->client = k;
	c->flags = CALL_RUNNING | (c->stream_body ? 0 : CALL_BODY_ENDED);
	c->n_tries = 0;
	c->status = 0;
	c->stream_id = 0;
	c->response_begun = c->sent = false;
	c->out_off = 0;
	c->accepted = c->framed = 0;
	c->w_head = NULL;
	c->w_tail = &c->w_head;
	arena_init(&c->arena);
	buf_init(&c->body_in, BUF_NO_LIMIT);
	buf_init(&c->out, BUF_NO_LIMIT);
	buf_init(&c->held, BUF_NO_LIMIT);
	list_init(&c->link);
	k->n_running++;
	if (k->closing) {
		http__call_fail(c, ERR_CANCELED, "the client is closing");
		return;
	}
	if (!is_clean(c->method) || !is_clean(c->path) ||
		(c->path[0] != '/' && c->path[0] != '*')) {
		http__call_fail(c, ERR_INVALID, "malformed request: %s %s", c->method, c->path);
		return;
	}
	list_add_tail(&k->waiting, &c->link);
	if (c->timeout_ms)
		loop_timer_start(&c->timer, k->loop, c->timeout_ms, on_timeout);
	if (c->header_timeout_ms)
		loop_timer_start(
			&c->header_timer, k->loop, c->header_timeout_ms, on_header_timeout);
	kick_assign(k);
}

void http_call_cancel(struct http_call *c)
{
	if (c->flags & CALL_RUNNING)
		http__call_fail(c, ERR_CANCELED, "canceled");
}

bool http_call_running(const struct http_call *c)
{
	return (c->flags & CALL_RUNNING) != 0;
}

void http_call_write(struct http_call *c, struct str chunk, struct http_write *w)
{
	ASSERT((c->flags & CALL_RUNNING) && c->stream_body);
	if (c->flags & (CALL_FINISHED | CALL_BODY_ENDED)) {
		http__write_later(c->client->loop, w, -ERR_CANCELED);
		return;
	}
	if (c->conn != NULL) {
		c->conn->ops->write(c, chunk, w);
		return;
	}
	buf_adds(&c->out, chunk);
	c->accepted += chunk.n;
	if (w != NULL) {
		w->mark = c->accepted;
		w->next = NULL;
		*c->w_tail = w;
		c->w_tail = &w->next;
	}
}

void http_call_end(struct http_call *c)
{
	ASSERT((c->flags & CALL_RUNNING) && c->stream_body);
	if (c->flags & (CALL_FINISHED | CALL_BODY_ENDED))
		return;
	c->flags |= CALL_BODY_ENDED;
	if (c->conn != NULL)
		c->conn->ops->end(c);
}

size_t http_call_queued_bytes(const struct http_call *c)
{
	if (c->conn != NULL && !c->conn->h2)
		return stream_queued(c->conn->stream);
	return c->out.n - (c->stream_body ? c->out_off : 0);
}

void http_call_pause(struct http_call *c)
{
	c->flags |= CALL_PAUSED;
	if (c->conn != NULL)
		c->conn->ops->pause(c);
}

void http_call_resume(struct http_call *c)
{
	if (!(c->flags & CALL_PAUSED))
		return;
	c->flags &= ~(unsigned)CALL_PAUSED;
	if (c->conn != NULL)
		c->conn->ops->resume(c);
}

struct stream *http_call_take_stream(struct http_call *c)
{
	return TAKE(c->stream);
}

void http_call_fini(struct http_call *c)
{
	ASSERT(!(c->flags & CALL_RUNNING));
	if (c->stream != NULL)
		stream_close(TAKE(c->stream), NULL, NULL);
	arena_fini(&c->arena);
	buf_fini(&c->body_in);
	c->response = c->trailers = (struct http_headers){NULL, 0};
	c->header_bytes = c->n_header_cap = c->n_trailer_cap = 0;
}

bool http__call_has_header(const struct http_call *c, const char *name)
{
	for (size_t i = 0; i < c->n_headers; i++)
		if (str_ieq(c->headers[i].name, str_from(name)))
			return true;
	return false;
}

/* The client. */

int http_client_new(
	struct loop *l, const struct http_client_config *c, struct http_client **ret, struct err *e)
{
	struct io__address a;
	struct http_client *k;
	int rv = io__parse_address(c->address, &a, e);

	if (rv != 0)
		return rv;
	k = xcalloc(1, sizeof(*k));
	k->loop = l;
	k->netns_fd = -1;
	if (c->netns_fd > 0)
		k->netns_fd = fcntl(c->netns_fd, F_DUPFD_CLOEXEC, 3);
	k->address = xstrdup(c->address);
	k->server_name = c->server_name ? xstrdup(c->server_name) : NULL;
	k->host = xstrdup(c->host ? c->host : a.is_unix ? "localhost" : c->address);
	k->tls = tls_ctx_ref(c->tls);
	k->proto = c->proto;
	k->max_connections = c->max_connections ? c->max_connections : DEFAULT_CONNECTIONS;
	k->connect_timeout_ms = c->connect_timeout_ms ? c->connect_timeout_ms : DEFAULT_CONNECT_MS;
	k->idle_timeout_ms = c->idle_timeout_ms ? c->idle_timeout_ms : DEFAULT_IDLE_MS;
	k->ping_ms = c->ping_ms ? c->ping_ms : DEFAULT_PING_MS;
	list_init(&k->waiting);
	list_init(&k->conns);
	list_init(&k->dials);
	*ret = k;
	return 0;
}

void http_client_drop_connections(struct http_client *k)
{
	k->known = false;
	LIST_FOR_EACH_SAFE (c, next, &k->conns, struct http_client_conn, link) {
		c->draining = true;
		if (c->n_calls == 0)
			http__client_conn_close(c, NULL);
	}
}

static void on_last(struct loop_timer *t)
{
	struct http_client *k = container_of(t, struct http_client, last);
	void (*cb)(void *) = k->close_cb;
	void *arg = k->close_arg;

	/* The end of the last call has begun another one: its end comes here again. */
	if (!is_over(k))
		return;
	loop_timer_stop(&k->assign);
	tls_ctx_unref(k->tls);
	closep(&k->netns_fd);
	free(k->address);
	free(k->server_name);
	free(k->host);
	free(k);
	if (cb)
		cb(arg);
}

void http_client_close(struct http_client *k, void (*cb)(void *arg), void *arg)
{
	struct err e;

	ASSERT(!k->closing);
	k->closing = true;
	k->close_cb = cb;
	k->close_arg = arg;
	err_set(&e, ERR_CANCELED, "the client is closing");
	while (!list_empty(&k->waiting))
		http__call_finish(LIST_FIRST(&k->waiting, struct http_call, link), &e);
	LIST_FOR_EACH (d, &k->dials, struct dial, link) {
		if (d->call != NULL)
			http__call_finish(d->call, &e);
		stream_connect_cancel(&d->connect);
	}
	LIST_FOR_EACH_SAFE (c, next, &k->conns, struct http_client_conn, link)
		http__client_conn_close(c, &e);
	maybe_last(k);
}

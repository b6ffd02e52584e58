#include "io/http_client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
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

void http__client_kick_assign(struct http_client *k)
{
	if (!loop_timer_active(&k->assign))
		loop_timer_start(&k->assign, k->loop, 0, on_assign);
}

static bool is_over(const struct http_client *k)
{
	return k->closing && k->n_running == 0 && k->n_conns == 0 && k->n_dials == 0;
}

void http__client_maybe_last(struct http_client *k)
{
	if (is_over(k))
		loop_timer_start(&k->last, k->loop, 0, on_last);
}

/* An upgrade has a connection of its own, which nobody else waits for. */
void http__client_drop_dial(struct http_call *c)
{
	LIST_FOR_EACH (d, &c->client->dials, struct dial, link)
		if (d->call == c) {
			d->call = NULL;
			stream_connect_cancel(&d->connect);
		}
}

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
		http__client_kick_assign(client);
	http__client_maybe_last(client);
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
		http__client_kick_assign(k->client);
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
			http__client_kick_assign(k);
		}
	}
	free(d);
	http__client_maybe_last(k);
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
	http__client_maybe_last(k);
}

/*
 * A client's connection: raced to a server, then joined to it.
 *
 *	    client's bytes          +--> route --> backend          the first route on which a byte comes back
 *	    (kept until the  -------+                               is spliced to the client, the others are
 *	    race is decided)        +--> route --> backend          given up
 *
 * A route is added when one failed, or when nothing came back for HEDGE_MS. Bytes that are no TLS handshake may do
 * something when they arrive: they go to the first server that accepts, and to no other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/balancer-priv.h"
#include "io/splice.h"

#define CONNECT_TIMEOUT_MS 2000
#define HEDGE_MS 120
#define MAX_ROUTES 3 /* at one time */
#define MAX_TRIES 16
#define HELLO_MAX (64u << 10) /* more is left with the kernel until the race is decided */
#define TLS_HANDSHAKE 0x16    /* content type of a TLS record, RFC 8446, section 5.1 */

struct route {
	struct list link;    /* in backend.routes */
	struct list in_conn; /* in conn.routes */
	struct conn *conn;   /* NULL: given up, waits for its connect to end */
	struct backend *backend;
	struct stream_connect connect;
	bool connecting;
	struct stream *stream; /* the splice's, once it has won */
	struct stream_user user;
};

struct conn {
	struct list link; /* in balancer.conns */
	struct balancer *owner;
	struct stream *client;
	struct stream_user user;
	struct buf hello;   /* what the client has sent before a server answered */
	bool plain;         /* it is no TLS handshake; the bytes were put back into the client's stream */
	struct list routes; /* in the race; the winner alone when it is decided */
	struct splice *splice;
	struct loop_timer hedge;
	unsigned tried[MAX_TRIES], n_tried; /* ids of backends */
	bool closing;
};

/* --- Which server -------------------------------------------------------------------------------------------- */

static bool was_tried(const struct conn *c, const struct backend *be)
{
	for (unsigned i = 0; i < c->n_tried; i++)
		if (c->tried[i] == be->id)
			return true;
	return false;
}

static unsigned rank(const struct backend *be)
{
	return (unsigned)be->health.state * 2 + backend__in_doubt(be);
}

static struct backend *pick(const struct conn *c)
{
	struct backend *best = NULL;

	LIST_FOR_EACH (be, &c->owner->backends, struct backend, link) {
		if (be->removed || was_tried(c, be))
			continue;
		if (best == NULL || rank(be) < rank(best) || (rank(be) == rank(best) && be->n_routes < best->n_routes))
			best = be;
	}
	return best;
}

/* --- Routes -------------------------------------------------------------------------------------------------- */

static void leave(struct route *r)
{
	list_del(&r->link);
	list_del(&r->in_conn);
	r->backend->n_routes--;
	r->backend = NULL;
	r->conn = NULL;
}

static void route_closed(void *arg)
{
	free(arg);
}

static void give_up(struct route *r)
{
	leave(r);
	if (r->connecting)
		stream_connect_cancel(&r->connect);
	else
		stream_close(r->stream, route_closed, r);
}

static void decide(struct route *r);
static void next_route(struct conn *c);
static void hedge_later(struct conn *c);

static void on_route_data(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct route *r = container_of(user, struct route, user);

	backend__heard(r->backend);
	stream_read_stop(s);
	stream_unread(s, bytes);
	decide(r);
}

static void on_route_end(struct stream_user *user, struct stream *s, const struct err *why)
{
	struct route *r = container_of(user, struct route, user);
	struct conn *c = r->conn;

	give_up(r);
	if (list_empty(&c->routes))
		next_route(c);
}

static void say_hello(struct route *r, struct str bytes)
{
	if (bytes.n == 0)
		return;
	stream_write(r->stream, bytes, NULL);
	backend__asked(r->backend);
}

static void connect_done(struct stream_connect *sc, struct stream *s, const struct err *e)
{
	struct route *r = container_of(sc, struct route, connect);
	struct conn *c = r->conn;

	r->connecting = false;
	r->stream = s;
	if (c == NULL) {
		if (s)
			stream_close(s, route_closed, r);
		else
			free(r);
	} else if (s == NULL) {
		struct backend *be = r->backend;

		leave(r);
		free(r);
		/* May cut other connections, also this one's other routes; it is not freed within this call. */
		backend__refused(be);
		if (!c->closing && c->splice == NULL && list_empty(&c->routes))
			next_route(c);
	} else if (c->plain) {
		decide(r);
	} else {
		r->user = (struct stream_user){.on_data = on_route_data, .on_end = on_route_end};
		stream_start(s, &r->user);
		say_hello(r, buf_str(&c->hello));
	}
}

static void route_start(struct conn *c, struct backend *be)
{
	struct route *r = xcalloc(1, sizeof(*r));

	r->conn = c;
	r->backend = be;
	list_add_tail(&be->routes, &r->link);
	list_add_tail(&c->routes, &r->in_conn);
	be->n_routes++;
	c->tried[c->n_tried++] = be->id;
	r->connecting = true;
	r->connect = (struct stream_connect){
		.loop = c->owner->loop,
		.address = be->address,
		.netns_fd = c->owner->netns_fd,
		.timeout_ms = CONNECT_TIMEOUT_MS,
		.done = connect_done,
	};
	stream_connect(&r->connect);
	hedge_later(c);
}

/* --- The race ------------------------------------------------------------------------------------------------ */

static void conn_free(struct conn *c)
{
	struct balancer *b = c->owner;

	list_del(&c->link);
	buf_fini(&c->hello);
	free(c);
	balancer__unref(b);
}

static void client_closed(void *arg)
{
	conn_free(arg);
}

static void conn_close(struct conn *c)
{
	if (c->closing)
		return;
	c->closing = true;
	loop_timer_stop(&c->hedge);
	if (c->splice) {
		splice_close(c->splice);
		return;
	}
	LIST_FOR_EACH_SAFE (r, next, &c->routes, struct route, in_conn)
		give_up(r);
	stream_close(c->client, client_closed, c);
}

static void next_route(struct conn *c)
{
	struct backend *be = c->n_tried < MAX_TRIES ? pick(c) : NULL;

	if (be)
		route_start(c, be);
	else
		conn_close(c);
}

static void on_hedge(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, hedge);
	struct backend *be = c->n_tried < MAX_TRIES ? pick(c) : NULL;
	unsigned n = 0;

	LIST_FOR_EACH (r, &c->routes, struct route, in_conn) {
		/* Nobody waits for an answer to nothing. */
		if (!r->connecting && c->hello.n == 0)
			return;
		n++;
	}
	if (be && be->health.state != HEALTH_DEAD && n < MAX_ROUTES)
		route_start(c, be);
}

static void hedge_later(struct conn *c)
{
	loop_timer_start(&c->hedge, c->owner->loop, HEDGE_MS, on_hedge);
}

static struct route *winner(const struct conn *c)
{
	return list_empty(&c->routes) ? NULL : container_of(c->routes.next, struct route, in_conn);
}

static void splice_done(void *arg)
{
	struct conn *c = arg;
	struct route *r = winner(c);

	if (r) {
		leave(r);
		free(r);
	}
	conn_free(c);
}

static void on_moved(void *arg, bool from_client)
{
	struct route *r = winner(arg);

	if (r && from_client)
		backend__asked(r->backend);
	else if (r)
		backend__heard(r->backend);
}

static void decide(struct route *won)
{
	struct conn *c = won->conn;

	loop_timer_stop(&c->hedge);
	LIST_FOR_EACH_SAFE (r, next, &c->routes, struct route, in_conn)
		if (r != won)
			give_up(r);
	if (!c->plain)
		stream_read_stop(c->client);
	buf_fini(&c->hello);
	c->splice = stream_splice(c->client, won->stream, splice_done, c);
	splice_watch(c->splice, on_moved);
}

static struct route *first_connected(const struct conn *c)
{
	LIST_FOR_EACH (r, &c->routes, struct route, in_conn)
		if (!r->connecting)
			return r;
	return NULL;
}

static void on_client_data(struct stream_user *user, struct stream *s, struct str bytes)
{
	struct conn *c = container_of(user, struct conn, user);
	struct route *r;

	if (c->hello.n == 0 && (uint8_t)bytes.p[0] != TLS_HANDSHAKE) {
		c->plain = true;
		stream_read_stop(s);
		stream_unread(s, bytes);
		r = first_connected(c);
		if (r) {
			stream_read_stop(r->stream);
			decide(r);
		}
		return;
	}
	if (c->hello.n == 0)
		hedge_later(c);
	buf_adds(&c->hello, bytes);
	if (c->hello.n > HELLO_MAX)
		stream_read_stop(s);
	LIST_FOR_EACH (each, &c->routes, struct route, in_conn)
		if (!each->connecting)
			say_hello(each, bytes);
}

static void on_client_end(struct stream_user *user, struct stream *s, const struct err *why)
{
	conn_close(container_of(user, struct conn, user));
}

void conn__open(struct balancer *b, struct stream *client)
{
	struct conn *c = xcalloc(1, sizeof(*c));

	c->owner = b;
	c->client = client;
	c->user = (struct stream_user){.on_data = on_client_data, .on_end = on_client_end};
	buf_init(&c->hello, BUF_NO_LIMIT);
	list_init(&c->routes);
	list_add_tail(&b->conns, &c->link);
	balancer__ref(b);
	stream_start(client, &c->user);
	next_route(c);
}

void conn__cut_backend(struct backend *be)
{
	while (!list_empty(&be->routes)) {
		struct route *r = container_of(be->routes.next, struct route, link);
		struct conn *c = r->conn;

		if (c->splice) {
			/* The splice closes the stream; the route has no other memory. */
			leave(r);
			free(r);
			conn_close(c);
		} else {
			give_up(r);
			if (!c->closing && list_empty(&c->routes))
				next_route(c);
		}
	}
}

void conn__close_all(struct balancer *b)
{
	LIST_FOR_EACH_SAFE (c, next, &b->conns, struct conn, link)
		conn_close(c);
}

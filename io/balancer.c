#include "io/balancer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/list.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/splice.h"
#include "io/stream.h"
#include "io/tls.h"

#define CONNECT_TIMEOUT_MS 1000
#define FAILS_TO_DROP 2

struct backend {
	struct list link; /* in balancer.backends */
	struct balancer *owner;
	char *address;
	struct http_client *client;
	struct http_call check;
	struct loop_timer timer;
	struct list conns; /* of struct conn */
	unsigned n_conns, n_fails;
	bool healthy, checked;
	bool removed; /* waits for its check to end, then goes */
};

/* A client's connection: connecting to a backend, then joined to it. */
struct conn {
	struct list link; /* in backend.conns once joined, else in balancer.waiting */
	struct balancer *owner;
	struct stream *client;
	struct stream_connect connect;
	struct backend *backend;
	struct splice *splice;
	unsigned n_tries;
	bool closing;
};

struct balancer {
	struct loop *loop;
	struct listener *listener;
	struct listener_user user;
	struct list backends, waiting;
	int netns_fd;
	struct tls_ctx *tls;
	char *health_path;
	uint64_t interval_ms, timeout_ms;
	unsigned n_refs; /* the listener, backends with open clients, connections */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void unref(struct balancer *b)
{
	if (--b->n_refs > 0)
		return;
	if (b->netns_fd >= 0)
		close(b->netns_fd);
	tls_ctx_unref(b->tls);
	free(b->health_path);
	if (b->closed)
		b->closed(b->closed_arg);
	free(b);
}

/* --- Health
 * ------------------------------------------------------------------------------------------ */

static void check_start(struct loop_timer *t);

static void drop_conns(struct backend *be)
{
	LIST_FOR_EACH_SAFE (c, next, &be->conns, struct conn, link) {
		c->closing = true;
		splice_close(c->splice);
	}
}

static void set_health(struct backend *be, bool good)
{
	be->n_fails = good ? 0 : be->n_fails + 1;
	if (good && !be->healthy) {
		log_info("balancer", "backend is healthy address=%s", be->address);
		be->healthy = true;
	} else if (!good && be->healthy && be->n_fails >= FAILS_TO_DROP) {
		log_warn("balancer", "backend does not answer address=%s connections=%u",
			be->address, be->n_conns);
		be->healthy = false;
		drop_conns(be);
	}
	be->checked = true;
}

static void backend_gone(void *arg)
{
	struct backend *be = arg;
	struct balancer *b = be->owner;

	list_del(&be->link);
	free(be->address);
	free(be);
	unref(b);
}

static void check_done(struct http_call *c, const struct err *e)
{
	struct backend *be = container_of(c, struct backend, check);
	int status = c->status;

	http_call_fini(c);
	if (be->removed)
		return;
	set_health(be, e == NULL && status == 200);
	/* A first failure is checked again at once: a stopped machine is found out in two
	 * time-outs. */
	loop_timer_start(&be->timer, be->owner->loop,
		be->healthy && be->n_fails > 0 ? 0 : be->owner->interval_ms, check_start);
}

static void check_start(struct loop_timer *t)
{
	struct backend *be = container_of(t, struct backend, timer);

	memset(&be->check, 0, sizeof(be->check));
	be->check.method = "GET";
	be->check.path = be->owner->health_path;
	be->check.timeout_ms = be->owner->timeout_ms;
	be->check.max_body = 65536;
	be->check.done = check_done;
	http_call_start(be->client, &be->check);
}

static int backend_add(struct balancer *b, const char *address, struct err *e)
{
	struct backend *be = xcalloc(1, sizeof(*be));
	struct http_client_config cfg = {
		.address = address,
		.netns_fd = b->netns_fd,
		.tls = b->tls,
		.max_connections = 1,
		.connect_timeout_ms = b->timeout_ms,
		.proto = HTTP_PROTO_1,
	};
	int rv = http_client_new(b->loop, &cfg, &be->client, e);

	if (rv < 0) {
		free(be);
		return rv;
	}
	be->owner = b;
	be->address = xstrdup(address);
	list_init(&be->conns);
	list_add_tail(&b->backends, &be->link);
	b->n_refs++;
	loop_timer_start(&be->timer, b->loop, 0, check_start);
	return 0;
}

static void backend_remove(struct backend *be)
{
	if (be->removed)
		return;
	be->removed = true;
	be->healthy = false;
	loop_timer_stop(&be->timer);
	drop_conns(be);
	http_client_close(be->client, backend_gone, be);
}

/* --- Connections
 * -------------------------------------------------------------------------------------- */

static struct backend *pick(struct balancer *b, const struct conn *c)
{
	struct backend *best = NULL;
	unsigned skip = c->n_tries;

	LIST_FOR_EACH (be, &b->backends, struct backend, link) {
		if (be->removed || !be->healthy)
			continue;
		if (best == NULL || be->n_conns < best->n_conns)
			best = be;
	}
	if (best != NULL && c->n_tries == 0)
		return best;
	/* Nobody is known to be healthy, or the best one refused: try them in turn. */
	LIST_FOR_EACH (be, &b->backends, struct backend, link)
		if (!be->removed && skip-- == 0)
			return be;
	return NULL;
}

static void conn_free(struct conn *c)
{
	struct balancer *b = c->owner;

	list_del(&c->link);
	free(c);
	unref(b);
}

static void conn_closed(void *arg)
{
	conn_free(arg);
}

static void splice_done(void *arg)
{
	struct conn *c = arg;

	c->backend->n_conns--;
	conn_free(c);
}

static void connect_next(struct conn *c);

static void connect_done(struct stream_connect *sc, struct stream *s, const struct err *e)
{
	struct conn *c = container_of(sc, struct conn, connect);

	c->backend->n_conns--;
	if (s != NULL && (c->closing || c->backend->removed)) {
		stream_close(s, NULL, NULL);
		s = NULL;
	}
	if (s != NULL) {
		list_del(&c->link);
		list_add_tail(&c->backend->conns, &c->link);
		c->backend->n_conns++;
		c->splice = stream_splice(c->client, s, splice_done, c);
		return;
	}
	if (!c->closing && e != NULL)
		set_health(c->backend, false);
	connect_next(c);
}

static void connect_next(struct conn *c)
{
	struct backend *be = c->closing ? NULL : pick(c->owner, c);

	c->n_tries++;
	if (be == NULL) {
		stream_close(c->client, conn_closed, c);
		return;
	}
	c->backend = be;
	be->n_conns++;
	c->connect = (struct stream_connect){
		.loop = c->owner->loop,
		.address = be->address,
		.netns_fd = c->owner->netns_fd,
		.timeout_ms = CONNECT_TIMEOUT_MS,
		.done = connect_done,
	};
	stream_connect(&c->connect);
}

static void on_stream(struct listener_user *user, struct stream *s)
{
	struct balancer *b = container_of(user, struct balancer, user);
	struct conn *c = xcalloc(1, sizeof(*c));

	c->owner = b;
	c->client = s;
	b->n_refs++;
	list_add_tail(&b->waiting, &c->link);
	connect_next(c);
}

/* --- Life
 * --------------------------------------------------------------------------------------------- */

static void listener_closed(void *arg)
{
	unref(arg);
}

void balancer_close(struct balancer *b, void (*cb)(void *arg), void *arg)
{
	ASSERT(!b->closing);
	b->closing = true;
	b->closed = cb;
	b->closed_arg = arg;
	LIST_FOR_EACH (c, &b->waiting, struct conn, link) {
		c->closing = true;
		stream_connect_cancel(&c->connect);
	}
	LIST_FOR_EACH_SAFE (be, next, &b->backends, struct backend, link)
		backend_remove(be);
	if (b->listener)
		listener_close(b->listener, listener_closed, b);
	else
		unref(b);
}

int balancer_start(
	struct loop *loop, const struct balancer_config *cfg, struct balancer **ret, struct err *e)
{
	struct balancer *b = xcalloc(1, sizeof(*b));
	struct listener_config lc = {.address = cfg->listen};
	int rv = 0;

	b->loop = loop;
	b->user.on_stream = on_stream;
	list_init(&b->backends);
	list_init(&b->waiting);
	b->netns_fd = cfg->netns_fd > 0 ? fcntl(cfg->netns_fd, F_DUPFD_CLOEXEC, 3) : -1;
	b->tls = cfg->tls ? tls_ctx_ref(cfg->tls) : NULL;
	b->health_path = xstrdup(cfg->health_path ? cfg->health_path : "/readyz");
	b->interval_ms = cfg->interval_ms ? cfg->interval_ms : 500;
	b->timeout_ms = cfg->timeout_ms ? cfg->timeout_ms : 1000;
	b->n_refs = 1;
	rv = listener_open(loop, &lc, &b->user, &b->listener, e);
	for (size_t i = 0; rv == 0 && i < cfg->n_backends; i++)
		rv = backend_add(b, cfg->backends[i], e);
	if (rv < 0) {
		balancer_close(b, NULL, NULL);
		return rv;
	}
	*ret = b;
	return 0;
}

uint16_t balancer_port(const struct balancer *b)
{
	return listener_port(b->listener);
}

void balancer_set_backends(struct balancer *b, const char *const *backends, size_t n)
{
	LIST_FOR_EACH_SAFE (be, next, &b->backends, struct backend, link) {
		bool stays = false;

		for (size_t i = 0; i < n; i++)
			stays = stays || strcmp(be->address, backends[i]) == 0;
		if (!stays)
			backend_remove(be);
	}
	for (size_t i = 0; i < n; i++) {
		bool known = false;
		struct err e;

		LIST_FOR_EACH (be, &b->backends, struct backend, link)
			known = known || (!be->removed && strcmp(be->address, backends[i]) == 0);
		if (!known && backend_add(b, backends[i], &e) < 0)
			log_warn("balancer", "backend %s is left out: %s", backends[i], e.text);
	}
}

size_t balancer_n_healthy(const struct balancer *b)
{
	size_t n = 0;

	LIST_FOR_EACH (be, &b->backends, struct backend, link)
		n += be->healthy;
	return n;
}

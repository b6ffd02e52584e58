#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "io/stream.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/watch.h"
#include "store/store.h"

/* A client may be silent for as long as it likes: a watch or a keep-alive stream is a body that never ends. */
#define FOREVER_MS ((uint64_t)365 * 24 * 3600 * 1000)

/* --- Requests ----------------------------------------------------------------------------------------------------- */

/* Over TLS the certificate must name one of the groups, if there are any to name. */
static bool allowed(const struct etcd_port *port, const struct http_request *r)
{
	const char *const *group = port->el->srv->cfg.groups;

	if (group == NULL || !port->tls)
		return true;
	if (r->peer == NULL || !r->peer_verified)
		return false;
	for (; *group != NULL; group++)
		for (size_t i = 0; i < r->peer->n_orgs; i++)
			if (str_eqc(r->peer->orgs[i], *group))
				return true;
	return false;
}

void etcd__request(struct http_handler *h, struct http_request *r)
{
	struct etcd_port *port = container_of(h, struct etcd_port, handler);
	bool grpc = grpc_is_call(r) && !port->metrics_only;

	if (!allowed(port, r)) {
		if (grpc)
			grpc_reject(r, etcd_error_code(ETCD_ERR_PERMISSION_DENIED), etcd_error_text(ETCD_ERR_PERMISSION_DENIED));
		else
			http_respond(r, 403, NULL, 0, STR("the client certificate's organization may not use this\n"));
	} else if (grpc) {
		etcd__grpc(port, r);
	} else if (!etcd__page(port, r) && (port->metrics_only || !etcd__gateway(port, r))) {
		etcd__page_text(r, 404, STR("404 page not found\n"));
	}
}

/* --- Leader or none -------------------------------------------------------------------------------------------------- */

static void on_leaderless(struct loop_timer *t)
{
	struct etcd_loop *el = container_of(t, struct etcd_loop, leader_timer);

	LIST_FOR_EACH_SAFE (c, next, &el->calls, struct etcd_call, link)
		if (c->needs_leader && c->on_end != NULL && !c->canceled)
			c->on_end(c, ETCD_ERR_NO_LEADER);
}

static void on_role(struct kv_role_watch *w, const struct kv_role *role)
{
	struct etcd_loop *el = container_of(w, struct etcd_loop, role_watch);

	if (role->leader_id != 0 && el->role.leader_id != role->leader_id)
		atomic_fetch_add_explicit(&el->leader_changes, 1, memory_order_relaxed);
	el->role = *role;
	if (role->leader_id != 0)
		loop_timer_stop(&el->leader_timer);
	else if (!loop_timer_active(&el->leader_timer))
		loop_timer_start(&el->leader_timer, el->loop, 3 * (uint64_t)el->srv->cfg.election_ms, on_leaderless);
}

/* --- Loops ------------------------------------------------------------------------------------------------------------- */

static void on_start(struct loop_msg *m)
{
	struct etcd_loop *el = container_of(m, struct etcd_loop, start_msg);

	el->role_watch.changed = on_role;
	kv_role_watch(el->srv->kv, &el->role_watch);
}

static struct etcd_loop *loop_context(struct etcd_server *srv)
{
	struct etcd_loop *el = xcalloc(1, sizeof(*el));
	struct kv_status status;
	char name[16];

	snprintf(name, sizeof(name), "etcd/%u", srv->n_loops);
	el->srv = srv;
	el->loop = loop_new(name);
	el->hub = watch_hub_new(srv->store, el->loop, 0);
	el->events = xmalloc(sizeof(*el->events));
	event_cache_init(el->events);
	el->counters = xcalloc(etcd__n_methods, sizeof(*el->counters));
	for (size_t i = 0; i < etcd__n_methods; i++)
		histogram_init(&el->counters[i].took, 0.0005, 15);
	list_init(&el->calls);
	etcd__reads_init(el);
	kv_status(srv->kv, &status);
	el->role = status.role;
	srv->loops[srv->n_loops++] = el;
	return el;
}

static void loop_context_free(struct etcd_loop *el)
{
	ASSERT(list_empty(&el->calls) && el->n_ops == 0);
	event_cache_fini(el->events);
	free(el->events);
	watch_hub_free(el->hub);
	loop_free(el->loop);
	free(el->counters);
	free(el);
}

static bool is_own_user(struct stream *s)
{
	uid_t uid;
	int rv = stream_peer_uid(s, &uid);

	if (rv == 0 && (uid == 0 || uid == geteuid()))
		return true;
	if (rv == 0)
		log_warn("etcd", "closed a connection from=%s: its process belongs to user %u, and this port serves only root: use TLS "
				 "with a client certificate (--etcd-listen with another address)", stream_peer_address(s), (unsigned)uid);
	return false;
}

/* The first loop finds out which port when the kernel chooses; the others share it. */
static int port_open(struct etcd_loop *el, size_t i, struct err *e)
{
	struct etcd_server *srv = el->srv;
	const struct etcd_listen *l = &srv->listen[i];
	struct etcd_port *port = &el->ports[i];
	struct http_server_config hc = {.address = l->address,
			.netns_fd = srv->cfg.netns_fd,
			.reuseport = srv->cfg.n_loops > 1,
			.tls = l->tls,
			.admit = l->own_user ? is_own_user : NULL,
			.idle_timeout_ms = FOREVER_MS,
			.body_timeout_ms = FOREVER_MS,
			.max_streams = UINT32_MAX};
	struct listener_config probe = {.address = l->address, .netns_fd = srv->cfg.netns_fd};
	_cleanup_(freep) char *address = NULL;
	int rv;

	if (el == srv->loops[0]) {
		/* Sharing the port among our loops would let us share it with another process too. */
		rv = listener_probe(&probe, e);
		if (rv < 0)
			return rv;
	} else {
		ptrdiff_t colon = str_rfind(str_from(l->address), ':');

		address = xasprintf("%.*s:%u", (int)MAX(colon, 0), l->address, srv->port[i]);
		hc.address = address;
	}
	port->el = el;
	port->tls = l->tls != NULL;
	port->metrics_only = l->metrics_only;
	port->handler.on_request = etcd__request;
	rv = http_server_new(el->loop, &hc, &port->handler, &port->http, e);
	if (rv == 0 && el == srv->loops[0])
		srv->port[i] = http_server_port(port->http);
	if (rv == 0)
		el->n_open++;
	return rv;
}

static int open_all(struct etcd_server *srv, struct err *e)
{
	for (unsigned n = 0; n < srv->cfg.n_loops; n++) {
		struct etcd_loop *el = loop_context(srv);

		for (size_t i = 0; i < srv->cfg.n_listen; i++) {
			/* A unix socket cannot be shared: the first loop has it alone. */
			if (n > 0 && (strncmp(srv->listen[i].address, "unix:", 5) == 0 || srv->listen[i].address[0] == '/'))
				continue;
			if (port_open(el, i, e) < 0)
				return -(int)e->code;
		}
	}
	return 0;
}

/* --- Stop ---------------------------------------------------------------------------------------------------------------- */

static void maybe_stopped(struct loop_timer *t)
{
	struct etcd_loop *el = container_of(t, struct etcd_loop, leader_timer);

	/* What waits for the kv is answered in bounded time; nobody wants the answers any more. */
	if (el->n_open > 0 || el->n_ops > 0)
		loop_timer_start(&el->leader_timer, el->loop, 5, maybe_stopped);
	else
		loop_stop(el->loop);
}

static void on_port_closed(void *arg)
{
	struct etcd_port *port = arg;

	port->http = NULL;
	port->el->n_open--;
}

static void close_ports(struct etcd_loop *el)
{
	el->stopping = true;
	for (size_t i = 0; i < ETCD_MAX_LISTEN; i++)
		if (el->ports[i].http != NULL)
			http_server_close(el->ports[i].http, ETCD_DRAIN_MS, on_port_closed, &el->ports[i]);
	loop_timer_start(&el->leader_timer, el->loop, 0, maybe_stopped);
}

static void on_stop(struct loop_msg *m)
{
	struct etcd_loop *el = container_of(m, struct etcd_loop, stop_msg);

	kv_role_unwatch(&el->role_watch);
	loop_timer_stop(&el->leader_timer);
	LIST_FOR_EACH_SAFE (c, next, &el->calls, struct etcd_call, link)
		if (c->on_end != NULL && !c->canceled)
			c->on_end(c, ETCD_ERR_STOPPED);
	close_ports(el);
}

static void free_all(struct etcd_server *srv)
{
	for (size_t i = 0; i < srv->cfg.n_listen; i++)
		free((void *)(uintptr_t)srv->listen[i].address);
	etcd__worker_free(srv->passwords);
	etcd__worker_free(srv->readers);
	free(srv);
}

void etcd_server_stop(struct etcd_server *srv)
{
	if (srv == NULL)
		return;
	for (unsigned i = 0; i < srv->n_loops; i++) {
		srv->loops[i]->stop_msg.run = on_stop;
		loop_post(srv->loops[i]->loop, &srv->loops[i]->stop_msg);
	}
	for (unsigned i = 0; i < srv->n_loops; i++)
		loop_thread_join(srv->loops[i]->loop);
	for (unsigned i = 0; i < srv->n_loops; i++)
		loop_context_free(srv->loops[i]);
	free_all(srv);
}

/* --- Start ----------------------------------------------------------------------------------------------------------------- */

static void defaults(struct etcd_server *srv, const struct etcd_server_cfg *cfg)
{
	struct etcd_server_cfg *c = &srv->cfg;

	*c = *cfg;
	c->listen = NULL;
	for (size_t i = 0; i < c->n_listen; i++) {
		srv->listen[i] = cfg->listen[i];
		srv->listen[i].address = xstrdup(cfg->listen[i].address);
	}
	if (c->n_loops == 0)
		c->n_loops = (unsigned)MAX(1, MIN(4, sysconf(_SC_NPROCESSORS_ONLN) / 2));
	c->n_loops = MIN(c->n_loops, (unsigned)ARRAY_LEN(srv->loops));
	if (c->max_request_bytes == 0)
		c->max_request_bytes = ETCD_MAX_REQUEST;
	if (c->progress_ms == 0)
		c->progress_ms = 600000;
	if (c->election_ms == 0)
		c->election_ms = 300;
	if (c->max_txn_ops == 0)
		c->max_txn_ops = ETCD_MAX_TXN_OPS;
	if (c->max_learners == 0)
		c->max_learners = 1;
	if (c->bcrypt_cost == 0)
		c->bcrypt_cost = 10;
	srv->request_ms = 5000 + 2 * c->election_ms;
}

int etcd_server_start(const struct etcd_server_cfg *cfg, struct kv *kv, struct etcd_server **ret, struct err *e)
{
	struct etcd_server *srv;

	if (cfg->n_listen == 0 || cfg->n_listen > ETCD_MAX_LISTEN)
		return err_set(e, ERR_BAD_REQUEST, "the etcd API listens on 1 to %d addresses, not on %zu", ETCD_MAX_LISTEN,
				cfg->n_listen);
	srv = xcalloc(1, sizeof(*srv));
	srv->kv = kv;
	srv->store = kv_store(kv);
	srv->cluster_id = store_cluster_id(srv->store);
	srv->member_id = store_member_id(srv->store);
	srv->started_s = clock_wall_s();
	defaults(srv, cfg);
	srv->passwords = etcd__worker_new();
	srv->readers = etcd__worker_new();
	if (open_all(srv, e) < 0) {
		/* Nothing runs yet: each loop is turned until its listeners are closed. */
		for (unsigned i = 0; i < srv->n_loops; i++) {
			close_ports(srv->loops[i]);
			loop_run(srv->loops[i]->loop);
			loop_context_free(srv->loops[i]);
		}
		free_all(srv);
		return err_prefix(e, "the etcd API");
	}
	for (unsigned i = 0; i < srv->n_loops; i++) {
		srv->loops[i]->start_msg.run = on_start;
		loop_post(srv->loops[i]->loop, &srv->loops[i]->start_msg);
		loop_thread_start(srv->loops[i]->loop);
	}
	for (size_t i = 0; i < srv->cfg.n_listen; i++)
		log_info("etcd", "serving address=%s port=%u tls=%s loops=%u", srv->listen[i].address, srv->port[i],
				srv->listen[i].tls ? "yes" : "no", srv->n_loops);
	*ret = srv;
	return 0;
}

uint16_t etcd_server_port(const struct etcd_server *srv, size_t i)
{
	ASSERT(i < srv->cfg.n_listen);
	return srv->port[i];
}

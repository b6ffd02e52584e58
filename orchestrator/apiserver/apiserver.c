#include "orchestrator/apiserver/apiserver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/stream.h"
#include "io/tls.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/audit.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/authz_chain.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/authz_state.h"
#include "orchestrator/apiserver/bootstrap.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_index.h"
#include "orchestrator/apiserver/aggregator.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/flow.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "orchestrator/apiserver/params_cache.h"
#include "orchestrator/apiserver/quota_state.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/service_clients.h"
#include "orchestrator/apiserver/webhook_state.h"
#include "orchestrator/apiserver/zones.h"
#include "proto/cel/cel.h"
#include "raft/kv.h"
#include "store/watch.h"

#define DEFAULT_SERVICE_CIDR "10.96.0.0/12"
/* Requests get this long to end when the server stops. */
#define DRAIN_MS 2000

/* --- Loops ------------------------------------------------------------------------------------------------- */

static struct api_loop *loop_context(struct apiserver *srv, struct loop *loop)
{
	struct api_loop *al = xcalloc(1, sizeof(*al));

	al->srv = srv;
	al->loop = loop;
	al->hub = watch_hub_new(srv->store, loop, 0);
	al->events = api__event_cache_new();
	list_init(&al->requests);
	list_init(&al->watches);
	map_init(&al->kubelets);
	list_add_tail(&srv->loops, &al->link);
	return al;
}

/* Its requests are over and its HTTP clients closed. */
static void loop_context_free(struct api_loop *al)
{
	ASSERT(list_empty(&al->watches));
	authz_state_free(al->authz);
	quota_state_free(al->quotas);
	flow_state_free(al->flow);
	custom_index_free(al->custom);
	convert_pool_free(al->conversions);
	params_cache_free(al->params);
	webhook_state_free(al->hooks);
	service_clients_free(al->services);
	aggregate_index_free(al->aggregates);
	api__openapi_forget(al);
	watch_hub_free(al->hub);
	api__event_cache_free(al->events);
	map_fini(&al->kubelets);
	list_del(&al->link);
	free(al);
}

struct api_loop *api__loop_get(struct apiserver *srv, struct loop *loop)
{
	struct api_loop *found = NULL;

	pthread_mutex_lock(&srv->lock);
	LIST_FOR_EACH (al, &srv->loops, struct api_loop, link)
		if (al->loop == loop)
			found = al;
	if (!found)
		found = loop_context(srv, loop);
	found->n_clients++;
	pthread_mutex_unlock(&srv->lock);
	return found;
}

void api__loop_put(struct api_loop *al)
{
	struct apiserver *srv = al->srv;

	pthread_mutex_lock(&srv->lock);
	ASSERT(al->n_clients > 0);
	if (--al->n_clients == 0 && !al->serves)
		loop_context_free(al);
	pthread_mutex_unlock(&srv->lock);
}

struct service_clients *api__services(struct api_loop *al)
{
	if (!al->services)
		al->services = service_clients_new(al->loop, al->srv->cfg.netns_fd);
	return al->services;
}

/* --- Start --------------------------------------------------------------------------------------------------- */

static int cidr_parse(const char *text, uint32_t *ret_net, uint32_t *ret_mask, struct err *e)
{
	struct str ip, bits;
	char addr[INET_ADDRSTRLEN];
	struct in_addr in;
	int64_t n = 0;

	if (!str_cut(str_from(text), '/', &ip, &bits) || !str_to_i64(bits, &n) || n < 8 || n > 30 || ip.n >= sizeof(addr))
		return err_set(e, ERR_INVALID, "service CIDR %s: must be an IPv4 network such as 10.96.0.0/12", text);
	snprintf(addr, sizeof(addr), "%.*s", STR_FMT(ip));
	if (inet_pton(AF_INET, addr, &in) != 1)
		return err_set(e, ERR_INVALID, "service CIDR %s: not an IPv4 address", text);
	*ret_mask = ~(uint32_t)0 << (32 - n);
	*ret_net = ntohl(in.s_addr) & *ret_mask;
	return 0;
}

static const char *own(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

#define CFG_STRINGS(X)                                                                                                 \
	X(listen)                                                                                                      \
	X(advertise)                                                                                                   \
	X(name)                                                                                                        \
	X(cert)                                                                                                        \
	X(key)                                                                                                         \
	X(ca)                                                                                                          \
	X(sa_trusted)                                                                                                  \
	X(sa_key)                                                                                                      \
	X(kubelet_client_cert)                                                                                         \
	X(kubelet_client_key)                                                                                          \
	X(token_hook_file)                                                                                             \
	X(authn_config_file)                                                                                           \
	X(authz_config_file)                                                                                           \
	X(authz_hook_file)                                                                                             \
	X(token_file)                                                                                                  \
	X(audit_policy_file)                                                                                           \
	X(audit_log_path)                                                                                              \
	X(encryption_file)                                                                                             \
	X(sa_verify_keys)                                                                                              \
	X(front_proxy_cert)                                                                                            \
	X(front_proxy_key)                                                                                             \
	X(front_proxy_ca)                                                                                              \
	X(requestheader_ca)                                                                                            \
	X(requestheader_names)                                                                                         \
	X(oidc.issuer)                                                                                                 \
	X(oidc.client_id)                                                                                              \
	X(oidc.username_claim)                                                                                         \
	X(oidc.username_prefix)                                                                                        \
	X(oidc.groups_claim)                                                                                           \
	X(oidc.groups_prefix)                                                                                          \
	X(oidc.ca_file)                                                                                                \
	X(oidc.required_claims)                                                                                        \
	X(service_cidr)                                                                                                \
	X(issuer)

static void cfg_own(struct apiserver_cfg *to, const struct apiserver_cfg *from)
{
	*to = *from;
#define X(m) to->m = own(from->m);
	CFG_STRINGS(X)
#undef X
	if (!to->service_cidr)
		to->service_cidr = xstrdup(DEFAULT_SERVICE_CIDR);
	if (!to->node_port_min)
		to->node_port_min = 30000;
	if (!to->node_port_max)
		to->node_port_max = 32767;
	if (!to->n_loops)
		to->n_loops = (unsigned)MAX(1, MIN(4, sysconf(_SC_NPROCESSORS_ONLN)));
	to->n_loops = MIN(to->n_loops, (unsigned)ARRAY_LEN(((struct apiserver *)0)->serve));
}

static void cfg_free(struct apiserver_cfg *c)
{
#define X(m) free((void *)(uintptr_t)c->m);
	CFG_STRINGS(X)
#undef X
}

#define PEM_MAX (1 << 20)

/* The serving context; new, or reloaded. A front proxy's CA is verified too: authentication tells the two apart. */
static int serving_tls(struct apiserver *srv, struct err *e)
{
	const struct apiserver_cfg *c = &srv->cfg;
	struct tls_config server = {.server = true, .verify = TLS_VERIFY_OPTIONAL, .alpn = "h2,http/1.1"};
	struct str proxy = authn_proxy_ca(srv->authn);
	struct buf cert = BUF_INIT, key = BUF_INIT, own = BUF_INIT, ca = BUF_INIT;
	int rv = 0;

	if (proxy.n == 0)
		return srv->tls ? tls_ctx_reload_files(srv->tls, &server, c->cert, c->key, c->ca, e) :
				  tls_ctx_new_files(&server, c->cert, c->key, c->ca, &srv->tls, e);
	if (file_get(c->cert, PEM_MAX, &cert, e) < 0 || file_get(c->key, PEM_MAX, &key, e) < 0 ||
			file_get(c->ca, PEM_MAX, &own, e) < 0)
		rv = -(int)e->code;
	buf_adds(&ca, buf_str(&own));
	buf_add1(&ca, '\n');
	buf_adds(&ca, proxy);
	server.cert_pem = buf_str(&cert);
	server.key_pem = buf_str(&key);
	server.ca_pem = buf_str(&ca);
	if (rv == 0)
		rv = srv->tls ? tls_ctx_reload(srv->tls, &server, e) : tls_ctx_new(&server, &srv->tls, e);
	buf_fini(&cert);
	buf_fini(&key);
	buf_fini(&own);
	buf_fini(&ca);
	return rv;
}

static int tls_open(struct apiserver *srv, struct err *e)
{
	const struct apiserver_cfg *c = &srv->cfg;
	struct tls_config client = {.verify = TLS_VERIFY_REQUIRED, .alpn = "http/1.1"};

	if (serving_tls(srv, e) < 0)
		return err_prefix(e, "serving certificate");
	if (c->kubelet_client_cert &&
			tls_ctx_new_files(&client, c->kubelet_client_cert, c->kubelet_client_key, c->ca, &srv->kubelet_tls,
					e) < 0)
		return err_prefix(e, "kubelet client certificate");
	return c->front_proxy_cert ? front_proxy_new(c->front_proxy_cert, c->front_proxy_key, c->front_proxy_ca, &srv->front_proxy, e) : 0;
}

#define ENCRYPTION_MAX (1 << 20)

static int encryption_open(struct apiserver *srv, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct crypt *c;

	if (!srv->cfg.encryption_file)
		return 0;
	if (file_get(srv->cfg.encryption_file, ENCRYPTION_MAX, &text, e) < 0 || crypt_parse(buf_str(&text), &c, e) < 0)
		return -e->code;
	return crypt_use(c, e);
}

static int guard_open(struct apiserver *srv, struct err *e)
{
	struct audit_cfg audit = {srv->cfg.audit_policy_file, srv->cfg.audit_log_path, srv->cfg.audit_max_mb,
			srv->cfg.audit_max_backups, srv->cfg.audit_max_days};

	struct authz_chain *chain;

	if (encryption_open(srv, e) < 0 || authz_chain_open(&srv->cfg, NULL, &chain, e) < 0)
		return -e->code;
	atomic_store(&srv->authz, chain);
	return audit.log_path ? audit_open(&audit, &srv->audit, e) : 0;
}

static int serve_open(struct apiserver *srv, unsigned i, const char *address, struct err *e)
{
	char name[16];
	struct http_server_config hc = {.address = address,
			.once_field = "Audit-Id",
			.netns_fd = srv->cfg.netns_fd,
			.reuseport = srv->cfg.n_loops > 1,
			.tls = srv->tls};
	struct api_loop *al;

	snprintf(name, sizeof(name), "serve/%u", i);
	al = loop_context(srv, loop_new(name));
	al->serves = true;
	al->authz = authz_state_new(srv->store, al->hub, true);
	al->quotas = quota_state_new(srv->store, al->hub);
	api__custom(al);
	al->flow = flow_state_new(al, i);
	api__aggregates(al);
	srv->serve[srv->n_serve++] = al;
	return api__front_open(al, &hc, e);
}

/* All serve loops share one port; the first one finds out which when the kernel chooses. */
static int listen_all(struct apiserver *srv, struct err *e)
{
	struct str listen = str_from(srv->cfg.listen);
	ptrdiff_t colon = str_rfind(listen, ':');
	struct listener_config probe = {.address = srv->cfg.listen, .netns_fd = srv->cfg.netns_fd};
	_cleanup_(freep) char *address = NULL;

	/* Sharing the port among our loops would let us share it with another process too. */
	if (listener_probe(&probe, e) < 0 || serve_open(srv, 0, srv->cfg.listen, e) < 0)
		return -e->code;
	srv->port = http_server_port(srv->serve[0]->http);
	address = xasprintf("%.*s:%u", (int)MAX(colon, 0), srv->cfg.listen, srv->port);
	for (unsigned i = 1; i < srv->cfg.n_loops; i++)
		if (serve_open(srv, i, address, e) < 0)
			return -e->code;
	return 0;
}

static void free_all(struct apiserver *srv)
{
	crypt_stop();
	authn_close(srv->authn);
	authz_chain_free(atomic_load(&srv->authz));
	audit_close(srv->audit);
	tls_ctx_unref(srv->tls);
	tls_ctx_unref(srv->kubelet_tls);
	front_proxy_free(srv->front_proxy);
	aggregate_docs_unref(srv->docs);
	cfg_free(&srv->cfg);
	pthread_mutex_destroy(&srv->lock);
	free(srv);
}

static void serve_closed(void *arg)
{
	struct api_loop *al = arg;

	loop_stop(al->loop);
}

/* Who configures who may come, and what he may, changes a file; as of it. */
#define REFRESH_MS 10000

static void refresh_due(struct loop_timer *t)
{
	struct apiserver *srv = container_of(t, struct apiserver, refresh);

	authn_refresh(srv->authn);
	authz_refresh(srv);
	loop_timer_start(t, srv->serve[0]->loop, REFRESH_MS, refresh_due);
}

static void refresh_asked(struct loop_msg *m)
{
	struct apiserver *srv = container_of(m, struct apiserver, refresh_now);

	atomic_store(&srv->refresh_posted, false);
	if (!atomic_load(&srv->stopping))
		refresh_due(&srv->refresh);
}

int apiserver_start(const struct apiserver_cfg *cfg, struct kv *kv, struct apiserver **ret, struct err *e)
{
	struct apiserver *srv = xcalloc(1, sizeof(*srv));

	cel_zones_by_default(zones_of_machine);
	srv->kv = kv;
	srv->store = kv_store(kv);
	srv->started_s = clock_wall_s();
	pthread_mutex_init(&srv->lock, NULL);
	list_init(&srv->loops);
	cfg_own(&srv->cfg, cfg);
	if (cidr_parse(srv->cfg.service_cidr, &srv->service_net,
			    &srv->service_mask, e) < 0 ||
			authn_open(&srv->cfg, &srv->authn, e) < 0 || tls_open(srv, e) < 0 ||
			guard_open(srv, e) < 0) {
		free_all(srv);
		return -e->code;
	}
	if (listen_all(srv, e) < 0) {
		/* Nothing runs yet: close what was opened by turning each loop once or twice. */
		for (unsigned i = 0; i < srv->n_serve; i++) {
			struct loop *loop = srv->serve[i]->loop;

			if (srv->serve[i]->http) {
				http_server_close(srv->serve[i]->http, 0, serve_closed, srv->serve[i]);
				loop_run(loop);
			}
			loop_context_free(srv->serve[i]);
			loop_free(loop);
		}
		free_all(srv);
		return -e->code;
	}
	bootstrap_start(srv);
	aggregator_start(srv);
	authn_start(srv->authn, srv->serve[0]->loop);
	loop_timer_start(&srv->refresh, srv->serve[0]->loop, REFRESH_MS, refresh_due);
	for (unsigned i = 0; i < srv->n_serve; i++)
		loop_thread_start(srv->serve[i]->loop);
	log_info("apiserver", "serving on port %u loops=%u", srv->port, srv->n_serve);
	*ret = srv;
	return 0;
}

/* --- Stop ------------------------------------------------------------------------------------------------------ */

/* A loop turns until all are closed and no message is on its way between them: none may come to one that is gone. */
static void all_closed(struct loop_timer *t)
{
	struct api_loop *al = container_of(t, struct api_loop, timer);
	struct apiserver *srv = al->srv;

	if (atomic_load(&srv->n_trips) > 0) {
		loop_timer_start(t, al->loop, 1, all_closed);
		return;
	}
	for (unsigned i = 0; i < srv->n_serve; i++)
		loop_stop(srv->serve[i]->loop);
}

static void client_closed(void *arg)
{
	struct api_loop *al = arg;

	if (--al->closing == 0 && atomic_fetch_sub(&al->srv->n_open, 1) == 1)
		all_closed(&al->timer);
}

static void front_closed(void *arg)
{
	struct api_loop *al = arg;

	al->http = NULL;
	al->closing = 1;
	MAP_FOR_EACH (entry, &al->kubelets) {
		al->closing++;
		http_client_close(entry->value, client_closed, al);
	}
	al->closing += service_clients_close(al->services, client_closed, al);
	client_closed(al);
}

static void loop_closing(void *arg)
{
	struct api_loop *al = arg;

	api__watches_end(al);
	http_server_close(al->http, DRAIN_MS, front_closed, al);
}

static void aggregator_closing(void *arg)
{
	struct api_loop *al = arg;

	aggregator_stop(al->srv, loop_closing, al);
}

static void bootstrap_closing(void *arg)
{
	struct api_loop *al = arg;

	bootstrap_stop(al->srv, aggregator_closing, al);
}

static void stop_run(struct loop_msg *m)
{
	struct api_loop *al = container_of(m, struct api_loop, msg);

	/* Bootstrap and aggregator have clients on the first loop, the issuer's keys are fetched there: they go first. */
	if (al == al->srv->serve[0]) {
		loop_timer_stop(&al->srv->refresh);
		authn_stop(al->srv->authn, bootstrap_closing, al);
	} else {
		loop_closing(al);
	}
}

void apiserver_stop(struct apiserver *srv)
{
	if (!srv)
		return;
	atomic_store(&srv->stopping, true);
	atomic_store(&srv->n_open, (int)srv->n_serve);
	for (unsigned i = 0; i < srv->n_serve; i++) {
		srv->serve[i]->msg.run = stop_run;
		loop_post(srv->serve[i]->loop, &srv->serve[i]->msg);
	}
	for (unsigned i = 0; i < srv->n_serve; i++)
		loop_thread_join(srv->serve[i]->loop);
	for (unsigned i = 0; i < srv->n_serve; i++) {
		struct loop *loop = srv->serve[i]->loop;

		loop_context_free(srv->serve[i]);
		loop_free(loop);
	}
	ASSERT(list_empty(&srv->loops));
	free_all(srv);
}

uint16_t apiserver_port(const struct apiserver *srv)
{
	return srv->port;
}

bool apiserver_ready(const struct apiserver *srv)
{
	return atomic_load(&srv->ready);
}

int apiserver_reload(struct apiserver *srv, struct err *e)
{
	const struct apiserver_cfg *c = &srv->cfg;
	struct tls_config client = {.verify = TLS_VERIFY_REQUIRED, .alpn = "http/1.1"};

	if (authn_reload(srv->authn, c, e) < 0 || serving_tls(srv, e) < 0)
		return -e->code;
	if (srv->kubelet_tls && tls_ctx_reload_files(srv->kubelet_tls, &client, c->kubelet_client_cert,
						c->kubelet_client_key, c->ca, e) < 0)
		return -e->code;
	if (srv->front_proxy && front_proxy_load(srv->front_proxy, e) < 0)
		return -e->code;
	srv->refresh_now.run = refresh_asked;
	if (!atomic_exchange(&srv->refresh_posted, true))
		loop_post(srv->serve[0]->loop, &srv->refresh_now);
	return encryption_open(srv, e);
}

int64_t apiserver_old_use(struct apiserver *srv, enum apiserver_old what, char user[256])
{
	return authn_old_use(srv->authn, what, user);
}

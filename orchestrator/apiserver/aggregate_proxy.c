/*
 * Requests for a group version that an APIService gives to another server. We have authenticated, authorized and audited; the
 * server is told who asks in X-Remote-* headers, and believes it because of our front-proxy certificate. The rest is relay.h's.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/aggregate_index.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/client_remote.h"
#include "orchestrator/apiserver/flow.h"
#include "orchestrator/apiserver/forward.h"
#include "orchestrator/apiserver/front_proxy.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/relay.h"
#include "orchestrator/apiserver/service_clients.h"
#include "orchestrator/apiserver/strategies.h"
#include "proto/resource.h"

/* Until an answer begins; a watch may be silent for ever. */
/* Of a client in this process. */
#define TIMEOUT_MS 60000
/* A watch holds a connection of its own to a server without HTTP/2. */
#define MAX_CONNECTIONS 1000

struct remote_call {
	struct relay relay;
	struct service_client *client;
	bool watch;
};

struct aggregate_index *api__aggregates(struct api_loop *al)
{
	if (!al->aggregates) {
		bool was = crypt_hurry(false);

		al->aggregates = aggregate_index_new(al->srv->store, al->hub);
		crypt_hurry(was);
	}
	return al->aggregates;
}

/* As upstream: a line of text, no Status. */
static enum step_result say(struct api_request *req, int status, const char *text)
{
	struct buf out = BUF_INIT;

	api_fail(req, err_from_http(status), "%s", text); /* what clients in this process hear */
	buf_printf(&out, "%s\n", text);
	return api_answer_bytes(req, status, "text/plain; charset=utf-8", &out);
}

static void remote_failed(struct api_request *req, const struct err *why)
{
	if (why->code == ERR_TIMEOUT) {
		api_fail_timeout(req);
		api_request_failed(req);
		return;
	}
	say(req, 503, arena_printf(&req->arena, "error trying to reach service: %s", why->text));
}

static void remote_closed(struct relay *r)
{
	struct remote_call *c = container_of(r, struct remote_call, relay);

	service_client_put(c->client);
	if (c->watch)
		atomic_fetch_sub(&r->req->srv->n_watches, 1);
	free(c);
}

int aggregate_server(struct apiserver *srv, struct arena *a, const struct api_service *s, struct service_server *ret, struct err *e)
{
	*ret = (struct service_server){.name = arena_printf(a, "%.*s.%.*s.svc", STR_FMT(s->service), STR_FMT(s->service_ns)),
			.ca_pem = arena_str(a, s->ca_pem),
			.insecure = s->insecure,
			.max_connections = MAX_CONNECTIONS};
	if (srv->front_proxy)
		front_proxy_pair(srv->front_proxy, a, &ret->cert_pem, &ret->key_pem);
	return service_resolve(srv->store, a, s->service_ns, s->service, s->port, &ret->address, e);
}

/* A client in this process wants what it can turn into protobuf, unless it says otherwise. */
static struct http_headers with_accept(struct api_request *req)
{
	bool list = req->at.verb == API_LIST || req->at.verb == API_DELETE_COLLECTION || req->at.verb == API_WATCH;
	struct http_headers h = {arena_new_array(&req->arena, struct http_header, req->headers.n + 1), req->headers.n};

	if (!req->local || http_header_has(&req->headers, "accept"))
		return req->headers;
	if (h.n > 0)
		memcpy(h.h, req->headers.h, h.n * sizeof(h.h[0]));
	h.h[h.n++] = (struct http_header){STR("Accept"), client_remote_accept(list)};
	return h;
}

/* Clients in this process mean what is served here wherever something is. */
static bool is_ours(struct api_request *req, struct str group, struct str version)
{
	RESOURCE_FOR_EACH (r)
		if (req->local && r->served && str_eqc(group, r->group) && str_eqc(version, r->version))
			return true;
	return false;
}

static enum step_result pass_on(struct api_request *req, const struct api_service *s)
{
	struct http_headers in = with_accept(req);
	bool upgrade = http_header_has_token(&req->headers, "connection", "upgrade");
	struct http_headers headers = forward_headers(&req->arena, &in, upgrade, req->remote, req->path);
	struct service_client *client;
	struct service_server server;
	struct remote_call *c;
	struct err e = ERR_INIT;

	if (aggregate_server(req->srv, &req->arena, s, &server, &e) < 0)
		return say(req, 503, "service unavailable");
	if (forward_user(&req->arena, &req->user, &headers, &e) < 0)
		return api_fail_err(req, &e);
	server.http1 = upgrade;
	if (service_client_get(api__services(req->al), &server, &client, &e) < 0)
		return say(req, 500, e.text);
	/* How long it takes is the other server's affair. */
	flow_release(req);
	api_keep_time(req);
	c = xcalloc(1, sizeof(*c));
	c->client = client;
	c->watch = req->at.is_resource && req->at.verb == API_WATCH;
	if (c->watch)
		atomic_fetch_add(&req->srv->n_watches, 1);
	c->relay = (struct relay){.req = req,
			.client = client->http,
			.path = relay_path(req, req->path).p,
			.headers = headers,
			.upgrade = upgrade,
			.timeout_ms = upgrade || api_attrs_is_long(&req->at) ? 0 : req->local ? TIMEOUT_MS : api_time_left_ms(req),
			.failed = remote_failed,
			.closed = remote_closed};
	return relay_start(&c->relay);
}

/* NULL: it is answered here. */
static const struct api_service *server_of(struct api_request *req)
{
	const struct api_service *s;
	struct str group, version;

	if (!aggregate_path(req->path, &group, &version))
		return NULL;
	s = aggregate_index_remote(api__aggregates(req->al), group, version);
	return s && !is_ours(req, group, version) ? s : NULL;
}

bool api__is_remote(struct api_request *req)
{
	return server_of(req) != NULL;
}

enum step_result aggregate_pass_on(struct api_request *req, const struct api_service *s)
{
	if (!s->available)
		return api_refresh(req) ? STEP_WAIT : say(req, 503, "service unavailable");
	return pass_on(req, s);
}

enum step_result api__aggregate(struct api_request *req)
{
	const struct api_service *s = server_of(req);

	return s ? aggregate_pass_on(req, s) : STEP_NEXT;
}

/* What is served here needs nobody to find out. */
enum step_result strategy_api_service_create(struct api_request *req)
{
	struct aggregate_condition c;
	struct api_service s;

	api_service_parse(&req->arena, req->obj, &s);
	if (!s.remote && aggregate_judge(&req->arena, &s, &(struct aggregate_facts){.asked = false}, &c))
		req->obj = aggregate_status(&req->arena, req->obj, &c, api_now(&req->arena));
	return STEP_NEXT;
}

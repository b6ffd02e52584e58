/*
 * The proxy subresources of pods, services and nodes: a request is passed on to what the name stands for, and the answer back.
 *
 *	/api/v1/namespaces/NS/pods/[SCHEME:]NAME[:PORT]/proxy/PATH         http://POD-IP:PORT/PATH
 *	/api/v1/namespaces/NS/services/[SCHEME:]NAME[:PORT]/proxy/PATH     one of its ready endpoints
 *	/api/v1/nodes/[SCHEME:]NAME[:PORT]/proxy/PATH                      the kubelet (with our certificate), or another port
 *
 * Credentials stay here; the backend hears who was asked in X-Forwarded-*. Bodies are streamed both ways, upgrades joined (relay.h).
 * Location headers and the links of HTML pages are rewritten to lead through the proxy (proxy_html.h).
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/tls.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/apiserver/forward.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/proxy_html.h"
#include "orchestrator/apiserver/proxy_target.h"
#include "orchestrator/apiserver/relay.h"
#include "orchestrator/apiserver/strategies.h"
#include "proto/resource.h"

#define HEADER_TIMEOUT_MS 60000

/* A call under way. */
struct proxy_call {
	struct relay relay;
	struct http_client *own; /* a client for this call alone; NULL: the kubelet's */
	const char *address;
	bool begun;
	struct proxy_html *html; /* the answer is a page; else NULL */
};

/* --- Where to -------------------------------------------------------------------------------------------------------------- */

static enum step_result own_client(struct api_request *req, const struct proxy_target *t, struct proxy_call *p)
{
	struct http_client_config hc = {.address = t->address, .netns_fd = req->srv->cfg.netns_fd, .proto = HTTP_PROTO_1};
	/* Who is asked is known by its address only; as upstream, its certificate is not looked at. */
	struct tls_config tc = {.verify = TLS_VERIFY_NONE, .alpn = "http/1.1"};
	struct tls_ctx *tls = NULL;
	struct err e = ERR_INIT;
	int r;

	if (t->tls && tls_ctx_new(&tc, &tls, &e) < 0)
		return api_fail_err(req, &e);
	hc.tls = tls;
	r = http_client_new(req->al->loop, &hc, &p->own, &e);
	tls_ctx_unref(tls);
	p->address = t->address;
	return r < 0 ? api_fail_err(req, &e) : STEP_NEXT;
}

static enum step_result node_target(struct api_request *req, const struct proxy_name *n, struct proxy_call *p,
		struct http_client **ret)
{
	struct proxy_target t = {.tls = str_eqc(n->scheme, "https")};
	const char *kubelet;
	struct str host, port;
	struct json *node;
	enum step_result r = backend_object(req, "nodes", STR_NULL, n->name, &node);

	if (r == STEP_NEXT)
		r = backend_kubelet_address(req, node, &kubelet);
	if (r != STEP_NEXT)
		return r;
	str_cut(str_from(kubelet), ':', &host, &port);
	if (n->port.n == 0 || str_eq(n->port, port)) {
		p->address = kubelet;
		return backend_kubelet_client(req, kubelet, ret);
	}
	if (!proxy_address_allowed(host))
		return api_fail(req, ERR_BAD_REQUEST, "address not allowed");
	t.address = arena_printf(&req->arena, "%.*s:%.*s", STR_FMT(host), STR_FMT(n->port));
	r = own_client(req, &t, p);
	*ret = p->own;
	return r;
}

static enum step_result find_target(struct api_request *req, struct proxy_call *p, struct http_client **ret)
{
	struct proxy_target t;
	struct proxy_name n;
	struct json *obj, *endpoints;
	struct err e = ERR_INIT;
	enum step_result r;
	int rc;

	if (!proxy_name_parse(req->at.name, &n))
		return api_fail(req, ERR_BAD_REQUEST, "invalid %s request \"%.*s\"", req->res->singular, STR_FMT(req->at.name));
	if (str_eqc(req->at.resource, "nodes"))
		return node_target(req, &n, p, ret);
	r = backend_object(req, req->res->plural, req->at.ns, n.name, &obj);
	if (r != STEP_NEXT)
		return r;
	if (str_eqc(req->at.resource, "services")) {
		r = backend_object(req, "endpoints", req->at.ns, n.name, &endpoints);
		if (r == STEP_WAIT)
			return r;
		rc = proxy_service_target(&req->arena, &n, obj, r == STEP_NEXT ? endpoints : NULL, random_u64(), &t, &e);
	} else {
		rc = proxy_pod_target(&req->arena, &n, obj, &t, &e);
	}
	if (rc < 0) {
		req->fail = (struct api_failure){0};
		return api_fail(req, e.code, "%s", e.text);
	}
	r = own_client(req, &t, p);
	*ret = p->own;
	return r;
}

/* --- What is passed on ----------------------------------------------------------------------------------------------------- */

/* The proxy's own path, up to the word proxy. */
static struct str base_of(const struct api_request *req)
{
	return str_sub(req->path, 0, req->path.n - MIN(req->at.sub_path.n, req->path.n));
}

static bool answer_header(struct relay *r, struct http_header *h)
{
	struct proxy_call *p = container_of(r, struct proxy_call, relay);
	struct str v;

	if (!p->begun && proxy_html_is_page(http_header_get(&r->call.response, "content-type"),
					http_header_get(&r->call.response, "content-encoding")))
		p->html = proxy_html_new(p->address, base_of(r->req));
	p->begun = true;
	if (h->name.n > 15 && str_ieq(str_sub(h->name, 0, 15), STR("access-control-")))
		return false;
	if (str_ieq(h->name, STR("location"))) {
		v = proxy_location(&r->req->arena, h->value, p->address, base_of(r->req));
		h->value = v.p ? v : h->value;
	}
	return true;
}

static struct str answer_data(struct relay *r, struct str bytes, bool end, struct buf *out)
{
	struct proxy_call *p = container_of(r, struct proxy_call, relay);

	if (!p->html)
		return bytes;
	proxy_html_feed(p->html, bytes, out);
	if (end)
		proxy_html_end(p->html, out);
	return buf_str(out);
}

static void proxy_failed(struct api_request *req, const struct err *why)
{
	api_fail(req, ERR_UNAVAILABLE, "error trying to reach service: %s", why->text);
	req->fail.http_status = 503;
	api_request_failed(req);
}

static void proxy_closed(struct relay *r)
{
	struct proxy_call *p = container_of(r, struct proxy_call, relay);

	if (p->own)
		http_client_close(p->own, NULL, NULL);
	proxy_html_free(p->html);
	free(p);
}

/* Pages come as they are, not packed: their backends need not know who unpacks. */
static struct http_headers request_headers(struct api_request *req, bool upgrade)
{
	struct http_headers h = forward_headers(&req->arena, &req->headers, upgrade, req->remote, req->path);
	size_t n = 0;

	for (size_t i = 0; i < h.n; i++)
		if (!str_ieq(h.h[i].name, STR("accept-encoding")))
			h.h[n++] = h.h[i];
	h.n = n;
	return h;
}

/* As upstream: what has no path at all is asked again with one, so that relative links of pages lead through the proxy. */
static enum step_result redirect(struct api_request *req)
{
	struct str before, query;
	struct buf body = BUF_INIT;
	struct http_header h = {STR("Location"), STR_NULL};

	h.value = str_cut(req->target, '?', &before, &query)
			  ? arena_sprintf(&req->arena, "%.*s/?%.*s", STR_FMT(before), STR_FMT(query))
			  : arena_sprintf(&req->arena, "%.*s/", STR_FMT(before));
	req->responder->respond(req, 301, &h, 1, &body);
	api_request_finish(req);
	return STEP_DONE;
}

static enum step_result proxy_start(struct api_request *req)
{
	bool upgrade = http_header_has_token(&req->headers, "connection", "upgrade");
	struct http_client *client = NULL;
	struct proxy_call *p;
	enum step_result r;

	if (req->at.sub_path.n == 0 && !upgrade && (str_eqc(req->method, "GET") || str_eqc(req->method, "HEAD")) &&
			!str_has_suffix(req->path, STR("/")))
		return redirect(req);
	p = xcalloc(1, sizeof(*p));
	r = find_target(req, p, &client);
	if (r != STEP_NEXT) {
		free(p);
		return r;
	}
	p->relay = (struct relay){.req = req,
			.client = client,
			.path = relay_path(req, req->at.sub_path.n > 0 ? req->at.sub_path : STR("/")).p,
			.headers = request_headers(req, upgrade),
			.upgrade = upgrade,
			.header_timeout_ms = HEADER_TIMEOUT_MS,
			.header = answer_header,
			.data = answer_data,
			.failed = proxy_failed,
			.closed = proxy_closed};
	return relay_start(&p->relay);
}

const struct api_step strategy_proxy[] = {{"admit", admit_connect}, {"proxy", proxy_start}, {NULL, NULL}};

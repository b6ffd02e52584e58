/*
 * The proxy subresources of pods, services and nodes: a request is passed on to what the name stands for, and the answer back.
 *
 *	/api/v1/namespaces/NS/pods/[SCHEME:]NAME[:PORT]/proxy/PATH         http://POD-IP:PORT/PATH
 *	/api/v1/namespaces/NS/services/[SCHEME:]NAME[:PORT]/proxy/PATH     one of its ready endpoints
 *	/api/v1/nodes/[SCHEME:]NAME[:PORT]/proxy/PATH                      the kubelet (with our certificate), or another port
 *
 * Credentials stay here; the backend hears who was asked in X-Forwarded-*. The answer is streamed as fast as the client takes it.
 * An upgrade is joined to the backend's after both said 101. Location headers are rewritten to lead through the proxy; the text of
 * pages is not.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/splice.h"
#include "io/stream.h"
#include "io/tls.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/proxy_target.h"
#include "orchestrator/apiserver/strategies.h"
#include "proto/resource.h"

#define MAX_HEADERS 128
#define STREAM_HIGH (512u << 10)
#define STREAM_LOW (128u << 10)
#define HEADER_TIMEOUT_MS 60000
#define FORWARDED 4 /* headers that we add */

/* A call under way: req->stream. */
struct proxy_call {
	struct api_request *req;
	struct http_call call;
	struct http_client *own; /* a client for this call alone; NULL: the kubelet's */
	char *path;
	const char *address;
	struct http_header headers[MAX_HEADERS];
	bool streaming, paused;
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

/* Of one connection, or ours alone. */
static bool stays(const struct http_header *h, bool upgrade)
{
	static const char *const names[] = {"authorization", "keep-alive", "proxy-authenticate", "proxy-authorization",
			"proxy-connection", "te", "trailer", "transfer-encoding", "content-length", "host", "accept-encoding"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_ieq(h->name, str_from(names[i])))
			return true;
	if (!upgrade && (str_ieq(h->name, STR("connection")) || str_ieq(h->name, STR("upgrade"))))
		return true;
	if (h->name.n > 12 && str_ieq(str_sub(h->name, 0, 12), STR("impersonate-")))
		return true;
	/* A token in the list of WebSocket protocols is for us. */
	return str_ieq(h->name, STR("sec-websocket-protocol")) &&
	       str_search(h->value, STR("base64url.bearer.authorization.k8s.io.")) >= 0;
}

static size_t request_headers(struct api_request *req, struct http_header *out, bool upgrade)
{
	struct str host, rest;
	size_t n = 0;

	for (size_t i = 0; i < req->headers.n && n < MAX_HEADERS - FORWARDED; i++)
		if (!stays(&req->headers.h[i], upgrade) && req->headers.h[i].name.p[0] != ':')
			out[n++] = req->headers.h[i];
	str_cut(req->remote, ':', &host, &rest);
	out[n++] = (struct http_header){STR("X-Forwarded-For"), host};
	out[n++] = (struct http_header){STR("X-Forwarded-Host"), http_header_get(&req->headers, "host")};
	out[n++] = (struct http_header){STR("X-Forwarded-Proto"), STR("https")};
	out[n++] = (struct http_header){STR("X-Forwarded-Uri"), req->path};
	return n;
}

/* The proxy's own path, up to the word proxy. */
static struct str base_of(const struct api_request *req)
{
	return str_sub(req->path, 0, req->path.n - MIN(req->at.sub_path.n, req->path.n));
}

static size_t answer_headers(struct proxy_call *p, struct http_header *out)
{
	struct api_request *req = p->req;
	size_t n = 0;

	for (size_t i = 0; i < p->call.response.n && n < MAX_HEADERS; i++) {
		struct http_header h = p->call.response.h[i];

		/* The date is set by who answers: us. */
		if (stays(&h, false) || h.name.p[0] == ':' || str_ieq(h.name, STR("date")) || (h.name.n > 15 && str_ieq(str_sub(h.name, 0, 15), STR("access-control-"))))
			continue;
		h.name = arena_str(&req->arena, h.name);
		h.value = arena_str(&req->arena, h.value);
		if (str_ieq(h.name, STR("location"))) {
			struct str v = proxy_location(&req->arena, h.value, p->address, base_of(req));

			h.value = v.p ? v : h.value;
		}
		out[n++] = h;
	}
	return n;
}

static char *backend_path(const struct api_request *req)
{
	struct str before, query;
	struct buf b = BUF_INIT;
	size_t n;

	backend_escape(&b, req->at.sub_path.n > 0 ? req->at.sub_path : STR("/"), true);
	if (str_cut(req->target, '?', &before, &query))
		buf_printf(&b, "?%.*s", STR_FMT(query));
	return buf_take(&b, &n);
}

/* --- The call -------------------------------------------------------------------------------------------------------------- */

static void proxy_free(struct proxy_call *p)
{
	p->req->stream = NULL;
	p->req->on_cancel = NULL;
	p->req->on_drain = NULL;
	http_call_fini(&p->call);
	if (p->own)
		http_client_close(p->own, NULL, NULL);
	free(p->path);
	free(p);
}

static void proxy_canceled(struct api_request *req)
{
	struct proxy_call *p = req->stream;

	http_call_cancel(&p->call); /* done follows */
}

static void proxy_drained(struct api_request *req)
{
	struct proxy_call *p = req->stream;

	if (p && p->paused && req->responder->queued(req) < STREAM_LOW) {
		p->paused = false;
		http_call_resume(&p->call);
	}
}

static void proxy_headers(struct http_call *call)
{
	struct proxy_call *p = container_of(call, struct proxy_call, call);
	struct http_header h[MAX_HEADERS];
	struct api_request *req = p->req;

	if (req->canceled || call->status == 101)
		return;
	p->streaming = true;
	req->on_drain = proxy_drained;
	req->responder->begin(req, call->status, h, answer_headers(p, h));
}

static void proxy_data(struct http_call *call, struct str bytes)
{
	struct proxy_call *p = container_of(call, struct proxy_call, call);
	struct api_request *req = p->req;

	if (req->canceled || !p->streaming)
		return;
	req->responder->write(req, bytes);
	if (!p->paused && req->responder->queued(req) > STREAM_HIGH) {
		p->paused = true;
		http_call_pause(&p->call);
	}
}

/* Both said 101: from now on they speak for themselves. */
static bool join(struct proxy_call *p, struct err *e)
{
	struct api_request *req = p->req;
	struct http_header h[MAX_HEADERS];
	struct stream *theirs = http_call_take_stream(&p->call), *ours;
	size_t n = 0;

	if (!theirs)
		return false;
	for (size_t i = 0; i < p->call.response.n && n < MAX_HEADERS; i++)
		if (!str_ieq(p->call.response.h[i].name, STR("content-length")))
			h[n++] = (struct http_header){arena_str(&req->arena, p->call.response.h[i].name),
					arena_str(&req->arena, p->call.response.h[i].value)};
	ours = req->canceled || !req->responder->upgrade ? NULL : req->responder->upgrade(req, h, n, e);
	if (!ours) {
		stream_close(theirs, NULL, NULL);
		return false;
	}
	stream_splice(ours, theirs, NULL, NULL);
	return true;
}

static void proxy_done(struct http_call *call, const struct err *e)
{
	struct proxy_call *p = container_of(call, struct proxy_call, call);
	struct api_request *req = p->req;
	struct err why = e ? *e : (struct err)ERR_INIT;
	bool streaming = p->streaming, joined = !e && call->status == 101 && join(p, &why);

	proxy_free(p);
	if (joined) {
		api_request_finish(req);
	} else if (req->canceled || (streaming && e)) {
		req->responder->abort(req);
		api_request_finish(req);
	} else if (streaming) {
		req->responder->end(req);
		api_request_finish(req);
	} else {
		api_fail(req, ERR_UNAVAILABLE, "error trying to reach service: %s", why.text);
		req->fail.http_status = 503;
		api_request_failed(req);
	}
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
	p->req = req;
	r = find_target(req, p, &client);
	if (r != STEP_NEXT) {
		free(p);
		return r;
	}
	p->path = backend_path(req);
	p->call.method = arena_cstr(&req->arena, req->method);
	p->call.path = p->path;
	p->call.body = req->body;
	p->call.headers = p->headers;
	p->call.n_headers = request_headers(req, p->headers, upgrade);
	p->call.upgrade = upgrade;
	p->call.header_timeout_ms = HEADER_TIMEOUT_MS;
	p->call.on_headers = proxy_headers;
	p->call.on_data = proxy_data;
	p->call.done = proxy_done;
	req->stream = p;
	req->on_cancel = proxy_canceled;
	req->waiting = true;
	http_call_start(client, &p->call);
	return STEP_DONE;
}

const struct api_step strategy_proxy[] = {{"admit", admit_connect}, {"proxy", proxy_start}, {NULL, NULL}};

/*
 * log, exec, attach and portforward: the API server looks the pod's node up and speaks to its kubelet, with its own client
 * certificate.
 *
 *	log      GET /containerLogs/NS/POD/CONTAINER, the body is streamed through, as fast as the client takes it
 *	others   an HTTP/1.1 upgrade with the client's own upgrade headers (SPDY or WebSocket); when the kubelet says 101, so do
 *	         we, and from then on bytes are passed both ways unread; the newest WebSocket protocols are bridged (ws_bridge.h)
 *
 * What a kubelet refuses is passed on with its status and text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/splice.h"
#include "io/stream.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/authz.h"
#include "orchestrator/apiserver/backend.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/write.h"
#include "orchestrator/apiserver/ws_bridge.h"
#include "proto/resource.h"

#define KUBELET_PORT 10250
#define STREAM_HIGH (512u << 10)
#define STREAM_LOW (128u << 10)
#define ERROR_TEXT_MAX (64u << 10)
/* For the kubelet's first word; a log that is followed may be silent for ever after. */
#define HEADER_TIMEOUT_MS 30000

/* A call to a kubelet under way: req->stream. */
struct kubelet_call {
	struct api_request *req;
	struct http_call call;
	struct buf text; /* of a refusal */
	bool streaming, paused;
	enum ws_bridge bridge;
	char *path;
	struct http_header headers[24];
	size_t n_headers;
};

/* --- Where to ------------------------------------------------------------------------------------------------ */

enum step_result backend_object(struct api_request *req, const char *plural, struct str ns, struct str name, struct json **ret)
{
	const struct resource *res = resource_find("", "v1", plural);
	struct err e = ERR_INIT;
	struct str raw;
	uint64_t rv;
	enum step_result r = api_lookup(req, "", plural, ns, name, &raw, &rv);

	if (r != STEP_NEXT)
		return r;
	if (!raw.p)
		return api_fail_not_found(req, res, name);
	return api_dom_of(&req->arena, res, raw, ret, &e) < 0 ? api_fail_err(req, &e) : STEP_NEXT;
}

enum step_result backend_kubelet_address(struct api_request *req, const struct json *node, const char **ret)
{
	struct str ip = STR_NULL;
	int64_t port;

	JSON_ITEMS (a, json_getp(node, "status.addresses"))
		if (ip.n == 0 && json_eqc(json_getc(a, "type"), "InternalIP"))
			ip = json_str(json_getc(a, "address"));
	if (ip.n == 0)
		return api_fail(req, ERR_INTERNAL, "node %.*s has no internal address", STR_FMT(api_name(node)));
	port = json_i64_or(json_getp(node, "status.daemonEndpoints.kubeletEndpoint.Port"), 0);
	if (req->srv->cfg.kubelet_port)
		port = req->srv->cfg.kubelet_port;
	*ret = arena_printf(&req->arena, "%.*s:%lld", STR_FMT(ip), (long long)(port ? port : KUBELET_PORT));
	return STEP_NEXT;
}

static enum step_result node_address(struct api_request *req, const struct json *pod, const char **ret)
{
	struct str node = json_strp(pod, "spec.nodeName");
	struct json *doc;
	enum step_result r;

	if (node.n == 0)
		return api_fail(req, ERR_BAD_REQUEST, "pod %.*s does not have a host assigned", STR_FMT(req->at.name));
	r = backend_object(req, "nodes", STR_NULL, node, &doc);
	return r == STEP_NEXT ? backend_kubelet_address(req, doc, ret) : r;
}

enum step_result backend_kubelet_client(struct api_request *req, const char *address, struct http_client **ret)
{
	struct api_loop *al = req->al;
	struct http_client_config hc = {.address = address,
			.netns_fd = req->srv->cfg.netns_fd,
			.tls = req->srv->kubelet_tls,
			.proto = HTTP_PROTO_1};
	struct err e = ERR_INIT;

	if (!req->srv->kubelet_tls)
		return api_fail(req, ERR_UNAVAILABLE, "this server has no credentials for kubelets");
	*ret = map_get(&al->kubelets, str_from(address));
	if (*ret)
		return STEP_NEXT;
	if (http_client_new(al->loop, &hc, ret, &e) < 0)
		return api_fail_err(req, &e);
	map_put(&al->kubelets, str_from(address), *ret);
	return STEP_NEXT;
}

static bool has_container(const struct json *pod, struct str name)
{
	static const char *const lists[] = {"spec.containers", "spec.initContainers", "spec.ephemeralContainers"};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		JSON_ITEMS (c, json_getp(pod, lists[i]))
			if (str_eq(json_str(json_getc(c, "name")), name))
				return true;
	return false;
}

static enum step_result container_of_pod(struct api_request *req, const struct json *pod, struct str *ret)
{
	const struct json *list = json_getp(pod, "spec.containers");
	_cleanup_(buf_fini) struct buf names = BUF_INIT;

	*ret = api_query_get(&req->query, "container");
	if (ret->n > 0)
		return has_container(pod, *ret) ? STEP_NEXT :
						  api_fail(req, ERR_BAD_REQUEST, "container %.*s is not valid for pod %.*s",
								  STR_FMT(*ret), STR_FMT(req->at.name));
	*ret = json_str(json_getc(json_at(list, 0), "name"));
	if (json_len(list) == 1)
		return STEP_NEXT;
	*ret = json_str(json_getc(json_getp(pod, "metadata.annotations"), "kubectl.kubernetes.io/default-container"));
	if (ret->n > 0 && has_container(pod, *ret))
		return STEP_NEXT;
	JSON_ITEMS (c, list)
		buf_printf(&names, "%s%.*s", names.n ? " " : "", STR_FMT(json_str(json_getc(c, "name"))));
	return api_fail(req, ERR_BAD_REQUEST, "a container name must be specified for pod %.*s, choose one of: [%.*s]",
			STR_FMT(req->at.name), STR_FMT(buf_str(&names)));
}

/* --- The path at the kubelet ------------------------------------------------------------------------------------- */

void backend_escape(struct buf *b, struct str s, bool path)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c) ||
				(path && strchr("/:@!$&'()*+,;=", c)))
			buf_add1(b, c);
		else
			buf_printf(b, "%%%02X", (unsigned char)c);
	}
}

static void escape(struct buf *b, struct str s)
{
	backend_escape(b, s, false);
}

/* Options of the API and their names at the kubelet; truth values become 1. */
static const struct option {
	const char *ours, *theirs;
	bool truth;
} options[] = {
		{"command", "command", false},
		{"stdin", "input", true},
		{"stdout", "output", true},
		{"stderr", "error", true},
		{"tty", "tty", true},
		{"ports", "port", false},
		{"follow", "follow", false},
		{"previous", "previous", false},
		{"sinceSeconds", "sinceSeconds", false},
		{"sinceTime", "sinceTime", false},
		{"timestamps", "timestamps", false},
		{"tailLines", "tailLines", false},
		{"limitBytes", "limitBytes", false},
		{"stream", "stream", false},
};

static char *kubelet_path(struct api_request *req, const char *what, struct str container)
{
	struct buf b = BUF_INIT;
	char sep = '?';
	size_t n;

	buf_printf(&b, "/%s/", what);
	escape(&b, req->at.ns);
	buf_add1(&b, '/');
	escape(&b, req->at.name);
	if (container.n > 0) {
		buf_add1(&b, '/');
		escape(&b, container);
	}
	for (size_t i = 0; i < req->query.n; i++)
		for (size_t k = 0; k < ARRAY_LEN(options); k++) {
			const struct api_query_pair *q = &req->query.pairs[i];

			if (!str_eqc(q->key, options[k].ours))
				continue;
			if (options[k].truth && !api_query_truth(q->value))
				break;
			buf_printf(&b, "%c%s=", sep, options[k].theirs);
			escape(&b, options[k].truth ? STR("1") : q->value);
			sep = '&';
		}
	return buf_take(&b, &n);
}

/* --- A call --------------------------------------------------------------------------------------------------------- */

static void call_free(struct kubelet_call *k)
{
	http_call_fini(&k->call);
	buf_fini(&k->text);
	free(k->path);
	k->req->stream = NULL;
	k->req->on_cancel = NULL;
	k->req->on_drain = NULL;
	free(k);
}

static void call_canceled(struct api_request *req)
{
	struct kubelet_call *k = req->stream;

	http_call_cancel(&k->call); /* done follows */
}

static struct kubelet_call *call_new(struct api_request *req, char *path)
{
	struct kubelet_call *k = xcalloc(1, sizeof(*k));

	k->req = req;
	k->path = path;
	buf_init(&k->text, ERROR_TEXT_MAX);
	k->call.path = path;
	k->call.header_timeout_ms = HEADER_TIMEOUT_MS;
	req->stream = k;
	req->on_cancel = call_canceled;
	return k;
}

void backend_refused(struct api_request *req, int status, struct str text)
{
	struct str t = str_trim(text);

	api_fail(req, err_from_http(status), "%.*s", STR_FMT(t));
	req->fail.http_status = status;
	api_request_failed(req);
}

void backend_unreachable(struct api_request *req, const struct err *e)
{
	struct err copy = *e;

	log_info("apiserver", "backend: %.*s: %s", STR_FMT(req->target), copy.text);
	api_fail(req, ERR_INTERNAL, "error dialing backend: %s", copy.text);
	api_request_failed(req);
}

/* --- Logs ------------------------------------------------------------------------------------------------------------- */

static void log_drained(struct api_request *req)
{
	struct kubelet_call *k = req->stream;

	if (k && k->paused && req->responder->queued(req) < STREAM_LOW) {
		k->paused = false;
		http_call_resume(&k->call);
	}
}

static void log_headers(struct http_call *call)
{
	struct kubelet_call *k = container_of(call, struct kubelet_call, call);
	struct http_header h[API_MAX_HEADERS];
	struct api_request *req = k->req;

	if (call->status != 200 || req->canceled)
		return;
	k->streaming = true;
	req->on_drain = log_drained;
	req->responder->begin(req, 200, h, api_answer_headers(req, "text/plain", h));
}

static void log_data(struct http_call *call, struct str bytes)
{
	struct kubelet_call *k = container_of(call, struct kubelet_call, call);
	struct api_request *req = k->req;

	if (req->canceled)
		return;
	if (!k->streaming) {
		buf_adds(&k->text, str_sub(bytes, 0, MIN(bytes.n, ERROR_TEXT_MAX - k->text.n)));
		return;
	}
	req->responder->write(req, bytes);
	if (!k->paused && req->responder->queued(req) > STREAM_HIGH) {
		k->paused = true;
		http_call_pause(&k->call);
	}
}

static void log_done(struct http_call *call, const struct err *e)
{
	struct kubelet_call *k = container_of(call, struct kubelet_call, call);
	struct api_request *req = k->req;
	bool streaming = k->streaming;
	struct str text = arena_str(&req->arena, buf_str(&k->text));
	struct err why = e ? *e : (struct err)ERR_INIT;
	int status = call->status;

	call_free(k);
	if (req->canceled || (streaming && e)) {
		req->responder->abort(req);
		api_request_finish(req);
	} else if (streaming) {
		req->responder->end(req);
		api_request_finish(req);
	} else if (e) {
		backend_unreachable(req, &why);
	} else {
		backend_refused(req, status, text);
	}
}

/* Pod, container and kubelet for the request. */
static enum step_result target(struct api_request *req, bool container, struct str *ret_container,
		struct http_client **ret_client)
{
	const char *address;
	enum step_result r;

	*ret_container = STR_NULL;
	if (container && (r = container_of_pod(req, req->old, ret_container)) != STEP_NEXT)
		return r;
	r = node_address(req, req->old, &address);
	if (r != STEP_NEXT)
		return r;
	return backend_kubelet_client(req, address, ret_client);
}

static enum step_result log_start(struct api_request *req)
{
	struct http_client *client;
	struct kubelet_call *k;
	struct str container;
	enum step_result r = target(req, true, &container, &client);

	if (r != STEP_NEXT)
		return r;
	k = call_new(req, kubelet_path(req, "containerLogs", container));
	k->call.method = "GET";
	k->call.on_headers = log_headers;
	k->call.on_data = log_data;
	k->call.done = log_done;
	req->waiting = true;
	http_call_start(client, &k->call);
	return STEP_DONE;
}

/* --- Upgrades ------------------------------------------------------------------------------------------------------------ */

/* Headers of the upgrade that both sides must see as they are. */
static bool upgrade_header(struct str name)
{
	return str_ieq(name, STR("upgrade")) || str_ieq(name, STR("connection")) ||
	       str_ieq(name, STR("x-stream-protocol-version")) ||
	       (name.n > 14 && str_ieq(str_sub(name, 0, 14), STR("sec-websocket-")));
}

/* A bearer token in the WebSocket protocol list is for us, not for the kubelet. */
static bool carries_token(const struct http_header *h)
{
	return str_ieq(h->name, STR("sec-websocket-protocol")) &&
	       str_search(h->value, STR("base64url.bearer.authorization.k8s.io.")) >= 0;
}

static size_t copy_headers(struct arena *a, const struct http_headers *from, struct http_header *to, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < from->n && n < max; i++)
		if (upgrade_header(from->h[i].name) && !carries_token(&from->h[i]))
			to[n++] = (struct http_header){arena_str(a, from->h[i].name), arena_str(a, from->h[i].value)};
	return n;
}

static void exec_done(struct http_call *call, const struct err *e)
{
	struct kubelet_call *k = container_of(call, struct kubelet_call, call);
	struct api_request *req = k->req;
	struct http_header h[24];
	size_t n = copy_headers(&req->arena, &call->response, h, ARRAY_LEN(h));
	struct stream *theirs = e ? NULL : http_call_take_stream(call), *ours = NULL;
	struct str text = arena_str(&req->arena, buf_str(&call->body_in));
	struct err why = e ? *e : (struct err)ERR_INIT;
	enum ws_bridge bridge = k->bridge;
	int status = call->status;

	call_free(k);
	if (req->canceled) {
		if (theirs)
			stream_close(theirs, NULL, NULL);
		req->responder->abort(req);
		api_request_finish(req);
		return;
	}
	if (theirs && bridge != WS_BRIDGE_NONE) {
		if (ws_bridge_start(req, bridge, theirs, &why) == 0) {
			api_request_finish(req);
			return;
		}
		backend_unreachable(req, &why);
		return;
	}
	if (theirs && req->responder->upgrade)
		ours = req->responder->upgrade(req, h, n, &why);
	if (ours) {
		stream_splice(ours, theirs, NULL, NULL);
		api_request_finish(req);
		return;
	}
	if (theirs)
		stream_close(theirs, NULL, NULL);
	if (theirs || e)
		backend_unreachable(req, &why);
	else
		backend_refused(req, status, text);
}

static enum step_result exec_start(struct api_request *req)
{
	bool forward = str_eqc(req->at.sub, "portforward");
	struct http_client *client;
	struct kubelet_call *k;
	struct str container;
	enum step_result r;

	if (!http_header_has_token(&req->headers, "connection", "upgrade"))
		return api_fail(req, ERR_BAD_REQUEST, "Upgrade request required");
	r = target(req, !forward, &container, &client);
	if (r != STEP_NEXT)
		return r;
	k = call_new(req, kubelet_path(req, forward ? "portForward" : str_eqc(req->at.sub, "exec") ? "exec" : "attach",
					  container));
	k->bridge = ws_bridge_wanted(req);
	if (k->bridge != WS_BRIDGE_NONE) {
		ws_bridge_headers(k->bridge, k->headers);
		k->n_headers = WS_BRIDGE_N_HEADERS;
	} else {
		k->n_headers = copy_headers(&req->arena, &req->headers, k->headers, ARRAY_LEN(k->headers));
	}
	k->call.method = k->bridge != WS_BRIDGE_NONE ? "POST" : arena_cstr(&req->arena, req->method);
	k->call.headers = k->headers;
	k->call.n_headers = k->n_headers;
	k->call.upgrade = true;
	k->call.max_body = ERROR_TEXT_MAX;
	k->call.done = exec_done;
	req->waiting = true;
	http_call_start(client, &k->call);
	return STEP_DONE;
}

const struct api_step strategy_pod_log[] = {{"load", api__load}, {"log", log_start}, {NULL, NULL}};
/* A WebSocket begins with a GET, but who may look at a pod may not yet act in it: as upstream, it takes "create" besides. */
static enum step_result exec_may(struct api_request *req)
{
	struct authz_attrs at = authz_attrs_of(req);
	struct authz_answer answer;
	enum step_result r;

	if (req->local || str_eqc(at.verb, "create"))
		return STEP_NEXT;
	at.verb = STR("create");
	r = authz_decide(req, &req->user, &at, false, &answer);
	if (r != STEP_NEXT || answer.allowed)
		return r;
	return authz_forbid(req, &req->user, &at, answer.reason);
}

const struct api_step strategy_pod_exec[] = {{"may", exec_may}, {"admit", admit_connect}, {"load", api__load}, {"exec", exec_start}, {NULL, NULL}};

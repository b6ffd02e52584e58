#include "orchestrator/client/client_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "orchestrator/client/client.h"
#include "proto/apiruntime.pb-c.h"
#include "proto/json.h"
#include "proto/meta.pb-c.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define MAX_HEADERS 6
#define MAX_FRAME (16u << 20)
#define WATCH_TIMEOUT_S 600

struct http_backend {
	struct client base;
	struct http_client *http;
	char *token_header, *user_agent;
};

/* A request or a watch on its way. Owned by the call until its done. */
struct flight {
	struct http_call call;
	struct http_header headers[MAX_HEADERS];
	struct arena arena;
	struct http_backend *owner;
	struct client_req *req;     /* or */
	struct client_watch *watch; /* a watch */
	struct buf frame;           /* watch: bytes of an incomplete frame */
	struct err err;             /* watch: why it ends, when an event said so */
};

static struct http_backend *backend_of(struct client *c)
{
	return container_of(c, struct http_backend, base);
}

/* --- Paths --------------------------------------------------------------------------------------------- */

static void add_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_add1(b, *s);
		else
			buf_printf(b, "%%%02X", c);
	}
}

static void add_query(struct buf *b, char *sep, const char *key, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	buf_printf(b, "%c%s=", *sep, key);
	add_escaped(b, value);
	*sep = '&';
}

static void add_resource(struct buf *b, const struct resource *r, const char *ns, const char *name, const char *sub)
{
	if (r->group[0])
		buf_printf(b, "/apis/%s/%s", r->group, r->version);
	else
		buf_printf(b, "/api/%s", r->version);
	if (r->namespaced && ns && *ns) {
		buf_addc(b, "/namespaces/");
		add_escaped(b, ns);
	}
	buf_printf(b, "/%s", r->plural);
	if (name && *name) {
		buf_add1(b, '/');
		add_escaped(b, name);
	}
	if (sub && *sub)
		buf_printf(b, "/%s", sub);
}

static const char *req_path(struct arena *a, const struct client_req *req)
{
	struct buf b = BUF_INIT;
	char sep = '?', number[24] = "";
	const char *path;

	if (req->verb == CLIENT_RAW)
		return req->raw_path;
	add_resource(&b, req->resource, req->ns, req->name, req->sub);
	add_query(&b, &sep, "labelSelector", req->label_selector);
	add_query(&b, &sep, "fieldSelector", req->field_selector);
	add_query(&b, &sep, "resourceVersion", req->resource_version);
	add_query(&b, &sep, "resourceVersionMatch", req->resource_version_match);
	add_query(&b, &sep, "continue", req->continue_token);
	if (req->limit > 0)
		snprintf(number, sizeof(number), "%" PRId64, req->limit);
	add_query(&b, &sep, "limit", number);
	add_query(&b, &sep, "fieldManager", req->field_manager);
	add_query(&b, &sep, "dryRun", req->dry_run ? "All" : NULL);
	if (req->query && *req->query)
		buf_printf(&b, "%c%s", sep, req->query);
	path = arena_strdup(a, b.p);
	buf_fini(&b);
	return path;
}

static const char *watch_path(struct arena *a, const struct client_watch *w)
{
	struct buf b = BUF_INIT;
	char sep = '?', number[24];
	const char *path;

	add_resource(&b, w->resource, w->ns, NULL, NULL);
	add_query(&b, &sep, "watch", "true");
	add_query(&b, &sep, "labelSelector", w->label_selector);
	add_query(&b, &sep, "fieldSelector", w->field_selector);
	add_query(&b, &sep, "resourceVersion", w->resource_version);
	add_query(&b, &sep, "allowWatchBookmarks", w->bookmarks ? "true" : NULL);
	snprintf(number, sizeof(number), "%d", WATCH_TIMEOUT_S);
	add_query(&b, &sep, "timeoutSeconds", number);
	path = arena_strdup(a, b.p);
	buf_fini(&b);
	return path;
}

/* --- The envelope: "k8s\0" and runtime.Unknown ---------------------------------------------------------- */

static struct str wrap(struct arena *a, const char *api_version, const char *kind, struct str raw)
{
	K8s__TypeMeta tm = K8S__TYPE_META__INIT;
	K8s__Unknown u = K8S__UNKNOWN__INIT;
	struct str packed;
	char *out;

	tm.api_version = (char *)api_version;
	tm.kind = (char *)kind;
	u.type_meta = &tm;
	u.has__ = true;
	u._ = (ProtobufCBinaryData){raw.n, (uint8_t *)raw.p};
	packed = pb_pack_arena(&u, a);
	out = arena_alloc(a, packed.n + 4);
	memcpy(out, "k8s", 4);
	memcpy(out + 4, packed.p, packed.n);
	return str_of(out, packed.n + 4);
}

/* The plain message inside; false when it is no envelope. The result lives in the arena. */
static bool unwrap(struct arena *a, struct str bytes, struct str *ret, const char **ret_kind)
{
	K8s__Unknown *u;

	if (bytes.n < 4 || memcmp(bytes.p, "k8s", 4) != 0)
		return false;
	u = pb_unpack(a, &k8s__unknown__descriptor, str_skip(bytes, 4));
	if (u == NULL)
		return false;
	*ret = str_of(u->_.data, u->_.len);
	*ret_kind = u->type_meta ? pb_s(u->type_meta->kind) : "";
	return true;
}

/* --- Errors ------------------------------------------------------------------------------------------- */

static enum err_code code_of(const char *reason, int status)
{
	for (int c = 1; c < ERR_N_CODES; c++)
		if (err_http_status((enum err_code)c) == status && strcmp(err_reason((enum err_code)c), reason) == 0)
			return (enum err_code)c;
	for (int c = 1; *reason && c < ERR_N_CODES; c++)
		if (strcmp(err_reason((enum err_code)c), reason) == 0)
			return (enum err_code)c;
	return status == 0 ? ERR_INTERNAL : err_from_http(status);
}

static void err_from_status(struct err *e, const Meta__Status *s)
{
	err_set(e, code_of(pb_s(s->reason), pb_or(s, code, 0)), "%s", pb_s(s->message));
}

/* An answer that is not 2xx: a Status as protobuf or JSON, or whatever text there is. */
static void err_from_answer(struct err *e, struct arena *a, int status, struct str body)
{
	const char *kind;
	struct str raw;
	struct json *j = NULL;
	Meta__Status *s;

	if (unwrap(a, body, &raw, &kind) && (s = pb_unpack(a, &meta__status__descriptor, raw)) != NULL) {
		err_from_status(e, s);
		return;
	}
	if (body.n > 0 && body.p[0] == '{' && json_parse(a, body, NULL, &j, NULL) == 0 && json_getc(j, "message")) {
		err_set(e, code_of(json_cstr(json_getc(j, "reason")), status), "%.*s", STR_FMT(json_strp(j, "message")));
		return;
	}
	body = str_trim(str_sub(body, 0, 300));
	err_set(e, err_from_http(status), "the server answered %d %s%s%.*s", status, http_reason(status), body.n ? ": " : "",
			STR_FMT(body));
}

static void warnings_of(struct client_req *req, const struct http_headers *h)
{
	struct buf b = BUF_INIT;

	/* Warning: 299 - "text" */
	for (size_t i = 0; i < h->n; i++) {
		struct str v = h->h[i].value;
		ptrdiff_t from = str_find(v, '"'), to = str_rfind(v, '"');

		if (!str_ieq(h->h[i].name, STR("warning")) || from < 0 || to <= from)
			continue;
		buf_adds(&b, str_sub(v, (size_t)from + 1, (size_t)to));
		buf_add1(&b, '\n');
	}
	req->warnings = b.n ? arena_str(&req->arena, buf_str(&b)) : STR_NULL;
	buf_fini(&b);
}

/* --- Requests ------------------------------------------------------------------------------------------- */

static struct flight *flight_new(struct http_backend *hb)
{
	struct flight *f = xcalloc(1, sizeof(*f));

	f->owner = hb;
	arena_init(&f->arena);
	buf_init(&f->frame, MAX_FRAME);
	return f;
}

static void flight_free(struct flight *f)
{
	http_call_fini(&f->call);
	buf_fini(&f->frame);
	arena_fini(&f->arena);
	free(f);
}

static void add_header(struct flight *f, const char *name, const char *value)
{
	if (value == NULL)
		return;
	ASSERT(f->call.n_headers < MAX_HEADERS);
	f->headers[f->call.n_headers++] = (struct http_header){str_from(name), str_from(value)};
}

static void add_common_headers(struct flight *f, const char *accept)
{
	f->call.headers = f->headers;
	add_header(f, "accept", accept);
	add_header(f, "user-agent", f->owner->user_agent);
	add_header(f, "authorization", f->owner->token_header);
}

static struct str delete_options(struct arena *a, const struct client_req *req)
{
	Meta__DeleteOptions o = META__DELETE_OPTIONS__INIT;
	Meta__Preconditions p = META__PRECONDITIONS__INIT;

	if (req->grace_period_seconds >= 0) {
		o.has_grace_period_seconds = true;
		o.grace_period_seconds = req->grace_period_seconds;
	}
	o.propagation_policy = (char *)req->propagation_policy;
	if (req->precondition_uid || req->precondition_rv) {
		p.uid = (char *)req->precondition_uid;
		p.resource_version = (char *)req->precondition_rv;
		o.preconditions = &p;
	}
	return wrap(a, "v1", "DeleteOptions", pb_pack_arena(&o, a));
}

/* The kind of a body: the subresource's own where that differs from the object's. */
static void body_type(const struct client_req *req, const char **ret_version, const char **ret_kind)
{
	const struct resource_sub *sub = req->sub ? resource_sub_find(req->resource, req->sub) : NULL;

	*ret_kind = sub ? sub->kind : req->resource->kind;
	*ret_version = sub && sub->api_version[0] ? sub->api_version : req->resource->api_version;
}

static void set_body(struct flight *f)
{
	struct client_req *req = f->req;
	const char *type = req->msg || !req->content_type ? CLIENT_PROTOBUF : req->content_type;
	const char *version, *kind;
	struct str raw;

	if (req->verb == CLIENT_DELETE || req->verb == CLIENT_DELETE_COLLECTION) {
		f->call.body = delete_options(&f->arena, req);
		add_header(f, "content-type", CLIENT_PROTOBUF);
		return;
	}
	if (req->msg == NULL && req->body.n == 0)
		return;
	add_header(f, "content-type", type);
	f->call.body = req->body;
	if (strcmp(type, CLIENT_PROTOBUF) != 0 || req->verb == CLIENT_RAW)
		return;
	raw = req->msg ? pb_pack_arena(req->msg, &f->arena) : req->body;
	body_type(req, &version, &kind);
	f->call.body = wrap(&f->arena, version, kind, raw);
}

static void req_done(struct http_call *c, const struct err *e)
{
	struct flight *f = container_of(c, struct flight, call);
	struct client_req *req = f->req;
	const char *kind;
	uint64_t seconds;

	req->impl = NULL;
	req->http_status = c->status;
	err_clear(&req->err);
	if (e != NULL) {
		req->err = *e;
		if (e->code == ERR_IO || e->code == ERR_PROTOCOL)
			req->err.code = ERR_UNAVAILABLE;
		flight_free(f);
		req->done(req);
		return;
	}
	warnings_of(req, &c->response);
	if (str_to_u64(http_call_header(c, "retry-after"), &seconds))
		req->retry_after_s = (int)MIN(seconds, (uint64_t)3600);
	req->answer = arena_str(&req->arena, buf_str(&c->body_in));
	req->answer_type = arena_cstr(&req->arena, http_call_header(c, "content-type"));
	if (c->status < 200 || c->status > 299)
		err_from_answer(&req->err, &req->arena, c->status, req->answer);
	else if (req->accept == NULL && req->verb != CLIENT_RAW &&
			!unwrap(&req->arena, req->answer, &req->answer, &kind))
		err_set(&req->err, ERR_CORRUPT, "the server's answer is not in protobuf (%s)", req->answer_type);
	flight_free(f);
	req->done(req);
}

static const char *const methods[] = {
	[CLIENT_GET] = "GET", [CLIENT_LIST] = "GET", [CLIENT_CREATE] = "POST", [CLIENT_UPDATE] = "PUT",
	[CLIENT_PATCH] = "PATCH", [CLIENT_DELETE] = "DELETE", [CLIENT_DELETE_COLLECTION] = "DELETE",
};

static void http_start(struct client *c, struct client_req *req)
{
	struct flight *f = flight_new(backend_of(c));

	f->req = req;
	req->impl = f;
	f->call.method = req->verb == CLIENT_RAW ? req->raw_method : methods[req->verb];
	f->call.path = req_path(&f->arena, req);
	add_common_headers(f, req->accept ? req->accept : req->verb == CLIENT_RAW ? "*/*" : CLIENT_PROTOBUF);
	set_body(f);
	f->call.timeout_ms = req->timeout_ms;
	f->call.max_body = 256u << 20;
	f->call.done = req_done;
	http_call_start(f->owner->http, &f->call);
}

static void http_cancel(struct client *c, struct client_req *req)
{
	struct flight *f = req->impl;

	http_call_cancel(&f->call);
}

/* --- Watches -------------------------------------------------------------------------------------------- */

static enum client_event event_type(const char *type)
{
	static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], type) == 0)
			return (enum client_event)i;
	return CLIENT_BOOKMARK;
}

/* metadata.resourceVersion of any object: field 1 (ObjectMeta) field 6. */
static uint64_t rv_of(struct arena *a, struct str object)
{
	Meta__PartialObjectMetadata *m = pb_unpack(a, &meta__partial_object_metadata__descriptor, object);
	uint64_t rv = 0;

	if (m && m->metadata)
		str_to_u64(str_from(pb_s(m->metadata->resource_version)), &rv);
	return rv;
}

/* One frame: a WatchEvent whose object is an envelope. Returns false when the watch is over. */
static bool on_frame(struct flight *f, struct str frame)
{
	struct arena a;
	Meta__WatchEvent *ev;
	const char *kind = "";
	struct str object = STR_NULL;
	struct err e = ERR_INIT;

	arena_init(&a);
	ev = pb_unpack(&a, &meta__watch_event__descriptor, frame);
	if (ev == NULL || ev->object == NULL ||
			!unwrap(&a, str_of(ev->object->_.data, ev->object->_.len), &object, &kind)) {
		err_set(&e, ERR_CORRUPT, "watch: an event cannot be read");
	} else if (strcmp(pb_s(ev->type), "ERROR") == 0) {
		Meta__Status *s = pb_unpack(&a, &meta__status__descriptor, object);

		if (s)
			err_from_status(&e, s);
		else
			err_set(&e, ERR_INTERNAL, "watch: the server ended it with an error");
	} else {
		f->watch->event(f->watch, event_type(pb_s(ev->type)), object, rv_of(&a, object));
	}
	arena_fini(&a);
	/* The user may have stopped the watch in the callback. */
	if (e.code == ERR_OK)
		return f->err.code == ERR_OK;
	f->err = e;
	http_call_cancel(&f->call);
	return false;
}

static void watch_data(struct http_call *c, struct str bytes)
{
	struct flight *f = container_of(c, struct flight, call);
	size_t pos = 0;

	if (f->err.code != ERR_OK)
		return;
	buf_adds(&f->frame, bytes);
	if (c->status != 200)
		return; /* An error's body: kept for watch_done. */
	while (buf_ok(&f->frame) && f->frame.n - pos >= 4) {
		const unsigned char *p = (const unsigned char *)f->frame.p + pos;
		size_t size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

		if (size > MAX_FRAME - 4) {
			err_set(&f->err, ERR_PROTOCOL, "watch: a frame of %zu bytes", size);
			http_call_cancel(c);
			return;
		}
		if (f->frame.n - pos - 4 < size)
			break;
		if (!on_frame(f, str_of(f->frame.p + pos + 4, size)))
			return;
		pos += 4 + size;
	}
	buf_consume(&f->frame, pos);
}

static void watch_done(struct http_call *c, const struct err *e)
{
	struct flight *f = container_of(c, struct flight, call);
	struct client_watch *w = f->watch;
	struct err why = ERR_INIT;

	if (f->err.code != ERR_OK)
		why = f->err;
	else if (e != NULL)
		why = *e;
	else if (c->status != 200)
		err_from_answer(&why, &f->arena, c->status, buf_str(&f->frame));
	if (why.code == ERR_IO || why.code == ERR_PROTOCOL)
		why.code = ERR_UNAVAILABLE;
	flight_free(f);
	w->impl = NULL;
	w->end(w, &why);
}

static void http_watch_start(struct client *c, struct client_watch *w)
{
	struct flight *f = flight_new(backend_of(c));

	f->watch = w;
	w->impl = f;
	f->call.method = "GET";
	f->call.path = watch_path(&f->arena, w);
	add_common_headers(f, CLIENT_PROTOBUF ";stream=watch," CLIENT_PROTOBUF);
	f->call.header_timeout_ms = CLIENT_DEFAULT_TIMEOUT_MS;
	/* A server that is silent for longer than it promised is gone. */
	f->call.timeout_ms = (WATCH_TIMEOUT_S + 60) * 1000;
	f->call.on_data = watch_data;
	f->call.done = watch_done;
	http_call_start(f->owner->http, &f->call);
}

static void http_watch_stop(struct client *c, struct client_watch *w)
{
	struct flight *f = w->impl;

	if (f->err.code == ERR_OK)
		err_set(&f->err, ERR_CANCELED, "watch stopped");
	http_call_cancel(&f->call);
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static void backend_closed(void *arg)
{
	struct http_backend *hb = arg;

	if (hb->base.closed)
		hb->base.closed(hb->base.closed_data);
	free(hb->token_header);
	free(hb->user_agent);
	free(hb);
}

static void http_close(struct client *c)
{
	http_client_close(backend_of(c)->http, backend_closed, backend_of(c));
}

static const struct client_ops http_ops = {
	.name = "https",
	.start = http_start,
	.cancel = http_cancel,
	.watch_start = http_watch_start,
	.watch_stop = http_watch_stop,
	.close = http_close,
};

int client_http_new(struct loop *loop, const struct client_http_cfg *cfg, struct client **ret, struct err *e)
{
	struct http_backend *hb = xcalloc(1, sizeof(*hb));
	struct http_client_config hc = {
		.address = cfg->address, .server_name = cfg->server_name, .tls = cfg->tls, .netns_fd = cfg->netns_fd,
		.connect_timeout_ms = 5000, .ping_ms = 5000,
	};
	int rv = http_client_new(loop, &hc, &hb->http, e);

	if (rv < 0) {
		free(hb);
		return rv;
	}
	hb->base.ops = &http_ops;
	hb->base.loop = loop;
	hb->token_header = cfg->token ? xasprintf("Bearer %s", cfg->token) : NULL;
	hb->user_agent = xstrdup(cfg->user_agent ? cfg->user_agent : "kontiki/" PACKAGE_VERSION);
	*ret = &hb->base;
	return 0;
}

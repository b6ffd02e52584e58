/*
 * The in-process client: struct client over this process' own apiserver, without HTTP, TLS or JSON.
 *
 * A request becomes an api_request with plain protobuf both ways, on the caller's own loop. Nothing completes inside the
 * call: starting is put off to the loop's next turn.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/paths.h"
#include "orchestrator/apiserver/client_remote.h"
#include "orchestrator/client/client.h"
#include "proto/pb.h"
#include "proto/resource.h"

#define ACCOUNT "system:serviceaccount:kube-system:"
/* Of one answer, or one event, of an aggregated server. */
#define REMOTE_MAX (64u << 20)

struct local_client {
	struct client client;
	struct api_loop *al;
	struct api_user user;
	struct str groups[2];
	struct list calls; /* local_call.link */
	bool closing;
	struct loop_timer closer;
	char name[];
};

/* One request or watch under way. */
struct local_call {
	struct local_client *lc;
	struct client_req *creq;    /* NULL: a watch, or given up */
	struct client_watch *watch; /* NULL: a request, or given up */
	struct api_request *req;    /* NULL before the start and after the end */
	struct loop_timer timer;    /* the start, then the deadline; the stop of a watch */
	struct list link;
	struct arena arena;
	struct http_header headers[3];
	struct str method, target, body;
	size_t n_headers;
	bool silent; /* a watch that was stopped: no more events */
	/* Another server answers (client_remote.h): its status, and what has come and is not used yet. */
	int remote_status;
	struct buf remote;
	struct err remote_err;
};

static void call_free(struct local_call *c)
{
	loop_timer_stop(&c->timer);
	list_del(&c->link);
	arena_fini(&c->arena);
	buf_fini(&c->remote);
	free(c);
}

/* --- Answers --------------------------------------------------------------------------------------------- */

static void req_done(struct local_call *c, const struct err *e)
{
	struct client_req *creq = c->creq;

	if (!creq)
		return;
	c->creq = NULL;
	if (e)
		creq->err = *e;
	creq->impl = NULL;
	creq->done(creq);
}

static void watch_done(struct local_call *c, const struct err *e)
{
	struct client_watch *w = c->watch;

	if (!w)
		return;
	c->watch = NULL;
	w->impl = NULL;
	w->end(w, e);
}

static const char *kept_type(const char *t)
{
	return t ? t : CLIENT_PROTOBUF;
}

static void local_respond(struct api_request *req, int status, const struct http_header *h, size_t n, struct buf *body)
{
	struct local_call *c = req->owner;
	struct client_req *creq = c->creq;
	struct err none = ERR_INIT;

	c->req = NULL;
	req->owner = NULL;
	if (c->watch) { /* refused before it began */
		watch_done(c, &req->fail.err);
	} else if (creq) {
		creq->http_status = status;
		creq->retry_after_s = req->fail.retry_after_s;
		if (status >= 400) {
			err_set(&creq->err, req->fail.err.code ? req->fail.err.code : err_from_http(status), "%.*s",
					STR_FMT(req->fail.message));
		} else {
			creq->answer = arena_str(&creq->arena, buf_str(body));
			creq->answer_type = kept_type(n > 0 ? arena_cstr(&creq->arena, h[0].value) : NULL);
		}
		for (size_t i = 0; i < req->n_warnings; i++)
			creq->warnings = arena_sprintf(&creq->arena, "%.*s%s%.*s", STR_FMT(creq->warnings),
					i ? "\n" : "", STR_FMT(req->warnings[i]));
	}
	buf_fini(body);
	req_done(c, creq && creq->err.code ? &creq->err : &none);
	call_free(c);
}

static void local_begin(struct api_request *req, int status, const struct http_header *h, size_t n)
{
	struct local_call *c = req->owner;

	(void)h, (void)n;
	c->remote_status = status;
}

/* The complete lines that have come; a broken one ends the watch when the stream ends. */
static void watch_lines(struct local_call *c)
{
	ptrdiff_t end;

	while (c->watch && !c->silent && !c->remote_err.code && (end = str_find(buf_str(&c->remote), '\n')) >= 0) {
		enum client_event type;
		struct arena a;
		struct str raw;
		uint64_t rv;

		arena_init(&a);
		if (client_remote_event(&a, str_sub(buf_str(&c->remote), 0, (size_t)end), &type, &raw, &rv, &c->remote_err) == 0)
			c->watch->event(c->watch, type, raw, rv);
		arena_fini(&a);
		buf_consume(&c->remote, (size_t)end + 1);
	}
}

/* Streams of ours other than watches (logs) are collected by nobody here: nothing in this process asks for them. */
static void local_write(struct api_request *req, struct str chunk)
{
	struct local_call *c = req->owner;

	if (!c->remote_status || c->remote_err.code)
		return;
	if (c->remote.n + chunk.n > REMOTE_MAX) {
		err_set(&c->remote_err, ERR_TOO_LARGE, "the aggregated server's answer is larger than %u bytes", REMOTE_MAX);
		buf_clear(&c->remote);
		return;
	}
	buf_adds(&c->remote, chunk);
	if (c->watch && c->remote_status < 300)
		watch_lines(c);
}

static size_t local_queued(struct api_request *req)
{
	(void)req;
	return 0;
}

/* All of another server's answer has come. */
static void remote_over(struct local_call *c, struct err *e)
{
	struct client_req *creq = c->creq;
	struct str body = buf_str(&c->remote);

	*e = c->remote_err;
	if (!e->code && c->remote_status >= 400)
		client_remote_refusal(&c->arena, c->remote_status, body, e);
	if (!creq)
		return;
	creq->http_status = c->remote_status;
	if (e->code)
		return;
	if (creq->accept) {
		creq->answer = arena_str(&creq->arena, body);
		creq->answer_type = CLIENT_JSON;
	} else if (client_remote_answer(&creq->arena, body, &creq->answer, e) == 0) {
		creq->answer_type = CLIENT_PROTOBUF;
	}
}

static void local_end(struct api_request *req)
{
	struct local_call *c = req->owner;
	struct err e = req->fail.err;

	c->req = NULL;
	if (c->remote_status)
		remote_over(c, &e);
	watch_done(c, &e);
	req_done(c, &e);
	call_free(c);
}

static void local_abort(struct api_request *req)
{
	struct local_call *c = req->owner;
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELED, "canceled");
	c->req = NULL;
	watch_done(c, &e);
	req_done(c, &e);
	call_free(c);
}

static void local_event(struct api_request *req, const char *type, struct str object, uint64_t rv)
{
	static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
	struct local_call *c = req->owner;

	for (int i = 0; i < (int)ARRAY_LEN(names); i++)
		if (c->watch && !c->silent && strcmp(type, names[i]) == 0) {
			c->watch->event(c->watch, (enum client_event)i, object, rv);
			return;
		}
}

static const struct api_responder local_responder = {
		.respond = local_respond,
		.begin = local_begin,
		.write = local_write,
		.queued = local_queued,
		.end = local_end,
		.abort = local_abort,
		.event = local_event,
};

/* --- Requests --------------------------------------------------------------------------------------------------- */

static void escape(struct buf *b, const char *s)
{
	for (; *s; s++)
		if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
				strchr("-_.~", *s))
			buf_add1(b, *s);
		else
			buf_printf(b, "%%%02X", (unsigned char)*s);
}

static void option(struct buf *b, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	buf_add1(b, memchr(b->p, '?', b->n) ? '&' : '?');
	buf_printf(b, "%s=", key);
	escape(b, value);
}

static void path_of(struct buf *b, const struct resource *res, const char *ns, const char *name, const char *sub)
{
	buf_printf(b, "/%s%s/%s", res->group[0] ? "apis/" : "api", res->group, res->version);
	if (ns && *ns && res->namespaced) {
		buf_addc(b, "/namespaces/");
		escape(b, ns);
	}
	buf_printf(b, "/%s", res->plural);
	if (name && *name) {
		buf_add1(b, '/');
		escape(b, name);
	}
	if (sub && *sub)
		buf_printf(b, "/%s", sub);
}

static void header(struct local_call *c, const char *name, const char *value)
{
	c->headers[c->n_headers++] = (struct http_header){str_from(name), str_from(value)};
}

static void number(struct local_call *c, struct buf *b, const char *key, int64_t v)
{
	option(b, key, arena_printf(&c->arena, "%" PRId64, v));
}

static void target_of(struct local_call *c, const struct client_req *r)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	const struct resource *res = r->resource;

	path_of(&b, res, r->ns, r->name, r->sub);
	option(&b, "labelSelector", r->label_selector);
	option(&b, "fieldSelector", r->field_selector);
	option(&b, "resourceVersion", r->resource_version);
	option(&b, "resourceVersionMatch", r->resource_version_match);
	option(&b, "continue", r->continue_token);
	option(&b, "fieldManager", r->field_manager);
	if (r->limit > 0)
		number(c, &b, "limit", r->limit);
	if (r->dry_run)
		option(&b, "dryRun", "All");
	if (r->query && *r->query) {
		buf_add1(&b, memchr(b.p, '?', b.n) ? '&' : '?');
		buf_addc(&b, r->query);
	}
	c->target = arena_str(&c->arena, buf_str(&b));
}

static struct str delete_options(struct local_call *c, const struct client_req *r)
{
	struct arena *a = &c->arena;
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_addc(&b, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
	if (r->grace_period_seconds >= 0)
		buf_printf(&b, ",\"gracePeriodSeconds\":%" PRId64, r->grace_period_seconds);
	if (r->propagation_policy)
		buf_printf(&b, ",\"propagationPolicy\":\"%s\"", r->propagation_policy);
	if (r->precondition_uid || r->precondition_rv) {
		const char *sep = r->precondition_uid && r->precondition_rv ? "," : "";

		buf_addc(&b, ",\"preconditions\":{");
		if (r->precondition_uid)
			buf_printf(&b, "\"uid\":\"%s\"", r->precondition_uid);
		if (r->precondition_rv)
			buf_printf(&b, "%s\"resourceVersion\":\"%s\"", sep, r->precondition_rv);
		buf_add1(&b, '}');
	}
	buf_add1(&b, '}');
	return arena_str(a, buf_str(&b));
}

static const char *agent_name(const struct local_client *lc)
{
	const char *colon = strrchr(lc->name, ':');

	return colon ? colon + 1 : lc->name;
}

static void build(struct local_call *c, struct client_req *r)
{
	static const char *const methods[] = {
			[CLIENT_GET] = "GET",
			[CLIENT_LIST] = "GET",
			[CLIENT_CREATE] = "POST",
			[CLIENT_UPDATE] = "PUT",
			[CLIENT_PATCH] = "PATCH",
			[CLIENT_DELETE] = "DELETE",
			[CLIENT_DELETE_COLLECTION] = "DELETE",
	};
	bool removes = r->verb == CLIENT_DELETE || r->verb == CLIENT_DELETE_COLLECTION;

	if (r->verb == CLIENT_RAW) {
		c->method = str_from(r->raw_method);
		c->target = str_from(r->raw_path);
	} else {
		c->method = str_from(methods[r->verb]);
		target_of(c, r);
	}
	c->body = r->msg ? pb_pack_arena(r->msg, &c->arena) : r->body;
	if (removes && c->body.n == 0) {
		c->body = delete_options(c, r);
		header(c, "content-type", CLIENT_JSON);
	} else if (c->body.p) {
		header(c, "content-type", kept_type(r->msg ? NULL : r->content_type));
	}
	if (r->accept)
		header(c, "accept", r->accept);
	/* As upstream's controllers call themselves: its first word is the manager in managedFields. */
	header(c, "user-agent", arena_printf(&c->arena, "%s/" API_GIT_VERSION "%s%s", agent_name(c->lc), r->account ? "/" ACCOUNT : "",
				r->account ? r->account : ""));
}

/* What authentication would make of the account's token. */
static struct api_user account_user(struct arena *a, const char *account)
{
	struct api_user u = {.name = arena_sprintf(a, ACCOUNT "%s", account), .groups = arena_new_array(a, struct str, 3), .method = "local"};

	u.groups[u.n_groups++] = STR("system:serviceaccounts");
	u.groups[u.n_groups++] = STR("system:serviceaccounts:kube-system");
	u.groups[u.n_groups++] = STR("system:authenticated");
	return u;
}

static void local_start(struct local_call *c)
{
	struct api_request *req = api_request_new(c->lc->al, &local_responder, c);

	c->req = req;
	req->local = true;
	req->metadata = c->creq ? c->creq->metadata : c->watch->metadata;
	req->as_account = c->creq && c->creq->account;
	req->user = req->as_account ? account_user(&req->arena, c->creq->account) : c->lc->user;
	req->method = c->method;
	req->target = c->target;
	req->headers = (struct http_headers){c->headers, c->n_headers};
	req->body = c->body;
	req->remote = STR("local");
	apiserver_handle(req);
}

static void call_deadline(struct loop_timer *t)
{
	struct local_call *c = container_of(t, struct local_call, timer);
	struct err e = ERR_INIT;

	err_set(&e, ERR_TIMEOUT, "no answer within %u ms", c->creq->timeout_ms);
	req_done(c, &e);
	api_request_cancel(c->req);
}

static void call_start(struct loop_timer *t)
{
	struct local_call *c = container_of(t, struct local_call, timer);

	if (c->creq)
		loop_timer_start(t, c->lc->client.loop, c->creq->timeout_ms, call_deadline);
	local_start(c);
}

static struct local_call *call_new(struct local_client *lc)
{
	struct local_call *c = xcalloc(1, sizeof(*c));

	c->lc = lc;
	arena_init(&c->arena);
	buf_init(&c->remote, BUF_NO_LIMIT);
	list_add_tail(&lc->calls, &c->link);
	loop_timer_start(&c->timer, lc->client.loop, 0, call_start);
	return c;
}

static void local_do(struct client *client, struct client_req *r)
{
	struct local_call *c = call_new(container_of(client, struct local_client, client));

	c->creq = r;
	r->impl = c;
	build(c, r);
}

/* Give a call up: its owner is told now (from a timer), the request ends when it can. */
static void call_stop(struct loop_timer *t)
{
	struct local_call *c = container_of(t, struct local_call, timer);
	struct err e = ERR_INIT;

	err_set(&e, ERR_CANCELED, "canceled");
	watch_done(c, &e);
	req_done(c, &e);
	if (c->req)
		api_request_cancel(c->req);
	else
		call_free(c);
}

static void local_cancel(struct client *client, struct client_req *r)
{
	struct local_call *c = r->impl;

	loop_timer_start(&c->timer, client->loop, 0, call_stop);
}

/* --- Watches ------------------------------------------------------------------------------------------------------ */

static void local_watch_start(struct client *client, struct client_watch *w)
{
	struct local_call *c = call_new(container_of(client, struct local_client, client));
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	c->watch = w;
	w->impl = c;
	path_of(&b, w->resource, w->ns, NULL, NULL);
	option(&b, "watch", "true");
	option(&b, "labelSelector", w->label_selector);
	option(&b, "fieldSelector", w->field_selector);
	option(&b, "resourceVersion", w->resource_version);
	if (w->bookmarks)
		option(&b, "allowWatchBookmarks", "true");
	c->method = STR("GET");
	c->target = arena_str(&c->arena, buf_str(&b));
}

static void local_watch_stop(struct client *client, struct client_watch *w)
{
	struct local_call *c = w->impl;

	c->silent = true;
	loop_timer_start(&c->timer, client->loop, 0, call_stop);
}

/* --- The client ------------------------------------------------------------------------------------------------------ */

static void client_closed(struct loop_timer *t)
{
	struct local_client *lc = container_of(t, struct local_client, closer);
	struct api_loop *al = lc->al;
	void (*closed)(void *) = lc->client.closed;
	void *data = lc->client.closed_data;

	if (!list_empty(&lc->calls)) {
		loop_timer_start(t, lc->client.loop, 1, client_closed);
		return;
	}
	free(lc);
	api__loop_put(al);
	if (closed)
		closed(data);
}

static void local_close(struct client *client)
{
	struct local_client *lc = container_of(client, struct local_client, client);

	lc->closing = true;
	LIST_FOR_EACH (c, &lc->calls, struct local_call, link)
		loop_timer_start(&c->timer, client->loop, 0, call_stop);
	loop_timer_start(&lc->closer, client->loop, 0, client_closed);
}

static const struct client_ops local_ops = {
		.name = "local",
		.start = local_do,
		.cancel = local_cancel,
		.watch_start = local_watch_start,
		.watch_stop = local_watch_stop,
		.close = local_close,
};

struct client *apiserver_client(struct apiserver *srv, struct loop *loop, const char *user)
{
	struct local_client *lc = xcalloc(1, sizeof(*lc) + strlen(user) + 1);

	ASSERT(loop_is_current(loop) || loop_current() == NULL);
	memcpy(lc->name, user, strlen(user) + 1);
	lc->client.ops = &local_ops;
	lc->client.loop = loop;
	lc->al = api__loop_get(srv, loop);
	lc->groups[0] = STR("system:masters");
	lc->groups[1] = STR("system:authenticated");
	lc->user = (struct api_user){.name = str_from(lc->name), .groups = lc->groups, .n_groups = 2, .method = "local"};
	list_init(&lc->calls);
	return &lc->client;
}

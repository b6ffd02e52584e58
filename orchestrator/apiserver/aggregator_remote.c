/*
 * Asking one aggregated API server about itself: a round of up to three questions, one after the other, each with a deadline.
 *
 *	/apis/GROUP/VERSION  >  /openapi/v3  >  /openapi/v2
 *
 * Whether the first one is answered decides whether the server counts as available; the others may be missing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/aggregator-priv.h"
#include "orchestrator/apiserver/forward.h"
#include "orchestrator/apiserver/service_clients.h"
#include "proto/json.h"

#define TIMEOUT_MS 5000
#define EVERY_MS 5000
#define OPENAPI_EVERY_MS 60000
#define AGAIN_FIRST_MS 500
/* Each try asks another of its endpoints, if there are several. */
#define MAX_TRIES 3

static const size_t limits[REMOTE_N_STEPS] = {1u << 20, 1u << 20, 8u << 20};

char *remote_source(const struct api_service *s)
{
	return xasprintf("%.*s/%.*s:%lld %d %.*s", STR_FMT(s->service_ns), STR_FMT(s->service), (long long)s->port, s->insecure,
			STR_FMT(s->ca_pem));
}

struct remote *remote_new(struct api_loop *al, const struct api_service *s)
{
	struct remote *r = xcalloc(1, sizeof(*r));

	r->al = al;
	r->name = str_dup(s->name);
	r->group = str_dup(s->group);
	r->version = str_dup(s->version);
	r->source = remote_source(s);
	for (int i = 0; i < REMOTE_N_STEPS; i++) {
		buf_init(&r->text[i], BUF_NO_LIMIT);
		buf_init(&r->etag[i], BUF_NO_LIMIT);
	}
	return r;
}

void remote_free(struct remote *r)
{
	for (int i = 0; i < REMOTE_N_STEPS; i++) {
		buf_fini(&r->text[i]);
		buf_fini(&r->etag[i]);
	}
	free(r->name);
	free(r->group);
	free(r->version);
	free(r->source);
	free(r->failure);
	free(r->v3_url);
	free(r);
}

static void question(struct remote *r);

static void round_over(struct remote *r)
{
	uint64_t now = clock_mono_ms();

	arena_fini(&r->arena);
	r->running = false;
	r->asked = true;
	if (r->fresh) {
		r->n_failed = 0;
		r->next_ms = now + EVERY_MS;
		if (r->with_openapi)
			r->openapi_ms = now + OPENAPI_EVERY_MS;
	} else {
		r->n_failed++;
		r->next_ms = now + MIN((uint64_t)AGAIN_FIRST_MS << MIN(r->n_failed, 8u), (uint64_t)EVERY_MS);
	}
	r->idle(r);
}

static void tell(struct remote *r)
{
	if (r->changed)
		r->changed(r);
}

static void failed(struct remote *r, const char *why)
{
	bool news = r->fresh || !r->asked || !r->failure || strcmp(r->failure, why) != 0;

	free(r->failure);
	r->failure = xstrdup(why);
	r->fresh = false;
	if (news) {
		log_debug("apiserver", "aggregated %s: %s", r->name, why);
		tell(r);
	}
}

static void keep(struct buf *b, struct str text)
{
	buf_clear(b);
	buf_adds(b, text);
}

/* "apis/GROUP/VERSION" of its index: {"paths": {"apis/g/v": {"serverRelativeURL": "/openapi/v3/apis/g/v?hash=..."}}} */
static char *v3_url_of(struct remote *r, struct str index)
{
	struct json *doc, *paths;
	struct str key = arena_sprintf(&r->arena, "apis/%s/%s", r->group, r->version), url;

	if (json_parse(&r->arena, index, NULL, &doc, NULL) < 0)
		return NULL;
	paths = json_getc(doc, "paths");
	url = json_str(json_getc(json_get(paths, key), "serverRelativeURL"));
	return str_has_prefix(url, STR("/openapi/v3/")) ? str_dup(url) : NULL;
}

static bool is_discovery(struct remote *r, struct str text)
{
	struct json *doc;

	return json_parse(&r->arena, text, NULL, &doc, NULL) == 0 && json_eqc(json_getc(doc, "kind"), "APIResourceList") &&
	       json_is(json_getc(doc, "resources"), JSON_ARRAY);
}

static bool is_openapi(struct remote *r, struct str text)
{
	struct json *doc;

	return json_parse(&r->arena, text, NULL, &doc, NULL) == 0 && json_is(json_getc(doc, "paths"), JSON_OBJECT);
}

/* An answer with 2xx. False: it is not what was asked for. */
static bool take(struct remote *r, struct str text)
{
	bool (*const checks[REMOTE_N_STEPS])(struct remote *, struct str) = {is_discovery, is_openapi, is_openapi};
	struct str old = buf_str(&r->text[r->step]);

	if (!checks[r->step](r, text))
		return false;
	keep(&r->etag[r->step], http_call_header(&r->call, "etag"));
	if (r->step == REMOTE_V3) {
		free(r->v3_url);
		r->v3_url = v3_url_of(r, text);
	}
	if (r->step == REMOTE_DISCOVERY) {
		free(TAKE(r->failure));
		if (r->fresh && str_eq(old, text))
			return true;
		r->fresh = true;
	} else if (str_eq(old, text)) {
		return true;
	}
	keep(&r->text[r->step], text);
	tell(r);
	return true;
}

/* A document that is optional is not there (any more). */
static void drop(struct remote *r)
{
	if (r->step == REMOTE_V3)
		free(TAKE(r->v3_url));
	buf_clear(&r->etag[r->step]);
	if (r->text[r->step].n == 0)
		return;
	buf_clear(&r->text[r->step]);
	tell(r);
}

static void next_question(struct remote *r)
{
	if (!r->fresh || !r->with_openapi || ++r->step == REMOTE_N_STEPS || r->gone)
		round_over(r);
	else
		question(r);
}

/* Another endpoint may do better. */
static bool may_retry(struct remote *r, const struct err *e)
{
	return e && e->code != ERR_CANCELED && r->step == REMOTE_DISCOVERY && !r->gone && ++r->n_tries < MAX_TRIES;
}

static void answered(struct http_call *call, const struct err *e)
{
	struct remote *r = container_of(call, struct remote, call);
	const char *why = NULL;
	bool good = !e && call->status >= 200 && call->status < 300, same = !e && call->status == 304;

	if (e)
		why = e->text;
	else if (!good && !same)
		why = arena_printf(&r->arena, "bad status from %s: %d", r->url, call->status);
	else if (good && !take(r, buf_str(&call->body_in)))
		why = "the answer is not what was asked for";
	http_call_fini(call);
	service_client_put(TAKE(r->client));
	if (why && may_retry(r, e)) {
		question(r);
		return;
	}
	if (why && r->step == REMOTE_DISCOVERY)
		failed(r, arena_printf(&r->arena, "failing or missing response from %s: %s", r->url, why));
	else if (why)
		drop(r);
	next_question(r);
}

static const char *path_of(struct remote *r)
{
	static const char *const paths[REMOTE_N_STEPS] = {NULL, "/openapi/v3", "/openapi/v2"};

	return r->step == REMOTE_DISCOVERY ? arena_printf(&r->arena, "/apis/%s/%s", r->group, r->version) : paths[r->step];
}

/* As upstream's aggregator: an identity that may look at everything. */
static struct http_headers headers_of(struct remote *r)
{
	static struct str groups[] = {STR_INIT("system:masters")};
	static const struct api_user user = {.name = STR_INIT("system:kube-aggregator"), .groups = groups, .n_groups = 1};
	struct http_header *h = arena_new_array(&r->arena, struct http_header, 2);
	struct http_headers out = {h, 1};

	h[0] = (struct http_header){STR("Accept"), STR("application/json")};
	if (r->etag[r->step].n > 0 && r->text[r->step].n > 0 && r->step != REMOTE_DISCOVERY)
		h[out.n++] = (struct http_header){STR("If-None-Match"), buf_str(&r->etag[r->step])};
	forward_user(&r->arena, &user, &out, NULL);
	return out;
}

/* It could not be asked: told in the loop's next turn. */
static void not_asked(struct loop_timer *t)
{
	next_question(container_of(t, struct remote, timer));
}

static void question(struct remote *r)
{
	struct http_headers headers = headers_of(r);
	struct service_server server;
	struct err e = ERR_INIT;

	r->nowhere = aggregate_server(r->al->srv, &r->arena, &r->service, &server, &e) < 0;
	if (r->nowhere ||
			service_client_get(api__services(r->al), &server, &r->client, &e) < 0) {
		failed(r, e.text);
		loop_timer_start(&r->timer, r->al->loop, 0, not_asked);
		return;
	}
	r->url = arena_printf(&r->arena, "https://%s%s", server.address, path_of(r));
	r->call = (struct http_call){.method = "GET",
			.path = path_of(r),
			.headers = headers.h,
			.n_headers = headers.n,
			.timeout_ms = TIMEOUT_MS,
			.max_body = limits[r->step],
			.done = answered};
	http_call_start(r->client->http, &r->call);
}

void remote_ask(struct remote *r, const struct api_service *s)
{
	ASSERT(!r->running);
	r->running = true;
	r->step = REMOTE_DISCOVERY;
	r->n_tries = 0;
	r->with_openapi = clock_mono_ms() >= r->openapi_ms;
	arena_init(&r->arena);
	r->service = (struct api_service){.name = arena_str(&r->arena, s->name),
			.service_ns = arena_str(&r->arena, s->service_ns),
			.service = arena_str(&r->arena, s->service),
			.ca_pem = arena_str(&r->arena, s->ca_pem),
			.port = s->port,
			.insecure = s->insecure,
			.remote = true};
	question(r);
}

void remote_cancel(struct remote *r)
{
	r->gone = true;
	if (r->client)
		http_call_cancel(&r->call);
}

#include "orchestrator/apiserver/oidc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/jwt_issuer.h"
#include "orchestrator/apiserver/keyset.h"
#include "proto/json.h"

#define REFRESH_MS (10 * 60 * 1000)
#define RETRY_MS 10000
#define LOOK_MS 200
#define MAX_ANSWER (1 << 20)

struct oidc {
	struct jwt_issuer issuer;
	struct tls_ctx *tls;
	struct loop *loop;
	struct loop_timer timer;
	struct http_client *client;
	struct http_call call;
	char *address, *path;
	bool in_discovery, busy, closing, stopping;
	uint64_t next_ms, last_ms;
	void (*stopped)(void *);
	void *stopped_arg;
	_Atomic(struct keyset *) keys;
	atomic_bool wanted; /* a token named a key that is not there */
	struct keyset *old[16]; /* others may be using them; freed at the end */
	unsigned n_old;
};

bool oidc_issued(const struct oidc *o, const struct json *claims)
{
	return o && json_eqc(json_getc(claims, "iss"), o->issuer.url);
}

enum oidc_answer oidc_check(struct oidc *o, struct arena *a, const struct jwt *t, int64_t now, struct api_user *ret, struct err *e)
{
	const struct keyset *keys = atomic_load(&o->keys);

	if (!keys || keyset_check(keys, t, e) < 0) {
		bool first = !atomic_exchange(&o->wanted, true);

		if (!keys)
			err_set(e, ERR_UNAUTHORIZED, "the issuer's keys could not be fetched yet");
		return first || !keys ? OIDC_LATER : OIDC_NO;
	}
	return jwt_issuer_user(&o->issuer, a, t->claims, now, ret, e) < 0 ? OIDC_NO : OIDC_YES;
}

/* --- Fetching --------------------------------------------------------------------------------------------------- */

static void look(struct loop_timer *t);
static void fetch(struct oidc *o, struct str url);

/* https://HOST[:PORT]/PATH */
static bool split_url(struct str url, char **ret_address, char **ret_path)
{
	struct str scheme = STR("https://"), host;
	ptrdiff_t slash;

	if (!str_has_prefix(url, scheme))
		return false;
	url = str_skip(url, scheme.n);
	slash = str_find(url, '/');
	host = slash < 0 ? url : str_sub(url, 0, (size_t)slash);
	if (host.n == 0)
		return false;
	*ret_address = str_find(host, ':') >= 0 ? str_dup(host) : xasprintf("%.*s:443", STR_FMT(host));
	*ret_path = slash < 0 ? xstrdup("/") : str_dup(str_skip(url, (size_t)slash));
	return true;
}

static void rest(struct oidc *o, uint64_t ms)
{
	o->busy = false;
	o->last_ms = clock_mono_ms();
	o->next_ms = o->last_ms + ms;
}

static void failed(struct oidc *o, const char *why)
{
	log_warn("apiserver", "keys of the OIDC issuer %s cannot be fetched: %s", o->issuer.url, why);
	rest(o, RETRY_MS);
}

static void take_keys(struct oidc *o, const struct json *doc)
{
	struct keyset *ks = keyset_new(), *before;
	struct err e = ERR_INIT;

	if (keyset_add_jwks(ks, doc, &e) < 0) {
		keyset_free(ks);
		failed(o, e.text);
		return;
	}
	before = atomic_exchange(&o->keys, ks);
	/* Kept for as many rounds as make sure that nobody uses it any more. */
	keyset_free(o->old[o->n_old % ARRAY_LEN(o->old)]);
	o->old[o->n_old++ % ARRAY_LEN(o->old)] = before;
	atomic_store(&o->wanted, false);
	rest(o, REFRESH_MS);
}

static void client_gone(void *arg)
{
	struct oidc *o = arg;
	struct json *doc = NULL;
	struct str text = buf_str(&o->call.body_in), uri;
	struct arena a;

	o->client = NULL;
	o->closing = false;
	arena_init(&a);
	if (o->stopping)
		rest(o, 0);
	else if (o->call.status != 200 || json_parse(&a, text, NULL, &doc, NULL) < 0)
		failed(o, o->call.status ? "the answer is not what was asked for" : o->call.err.text);
	else if (!o->in_discovery)
		take_keys(o, doc);
	else if (!json_eqc(json_getc(doc, "issuer"), o->issuer.url) || (uri = json_str(json_getc(doc, "jwks_uri"))).n == 0)
		failed(o, "the discovery document is another issuer's, or has no jwks_uri");
	else {
		o->in_discovery = false;
		uri = arena_str(&a, uri);
		http_call_fini(&o->call);
		fetch(o, uri);
		arena_fini(&a);
		return;
	}
	http_call_fini(&o->call);
	arena_fini(&a);
	if (o->stopping && o->stopped)
		o->stopped(o->stopped_arg);
}

static void fetched(struct http_call *c, const struct err *e)
{
	struct oidc *o = container_of(c, struct oidc, call);

	if (e)
		c->err = *e;
	if (!o->closing) {
		o->closing = true;
		http_client_close(o->client, client_gone, o);
	}
}

static void fetch(struct oidc *o, struct str url)
{
	struct http_client_config hc = {.tls = o->tls, .proto = HTTP_PROTO_1};
	struct err e = ERR_INIT;

	free(TAKE(o->address));
	free(TAKE(o->path));
	o->busy = true;
	if (!split_url(url, &o->address, &o->path)) {
		failed(o, "its URLs must begin with https://");
		return;
	}
	hc.address = o->address;
	if (http_client_new(o->loop, &hc, &o->client, &e) < 0) {
		failed(o, e.text);
		return;
	}
	o->call = (struct http_call){.method = "GET", .path = o->path, .max_body = MAX_ANSWER, .timeout_ms = 10000, .done = fetched};
	http_call_start(o->client, &o->call);
}

static void look(struct loop_timer *t)
{
	struct oidc *o = container_of(t, struct oidc, timer);
	uint64_t now = clock_mono_ms();
	bool asked = atomic_load(&o->wanted) && now - o->last_ms >= RETRY_MS;
	struct arena a;

	if (!o->busy && (now >= o->next_ms || asked)) {
		arena_init(&a);
		o->in_discovery = true;
		fetch(o, o->issuer.discovery_url ? str_from(o->issuer.discovery_url) :
						   arena_sprintf(&a, "%s/.well-known/openid-configuration", o->issuer.url));
		arena_fini(&a);
	}
	loop_timer_start(&o->timer, o->loop, LOOK_MS, look);
}

/* --- Life ------------------------------------------------------------------------------------------------------------ */

int oidc_of_flags(struct arena *a, const struct oidc_cfg *cfg, struct jwt_issuer *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf ca = BUF_INIT;

	if (!str_has_prefix(str_from(cfg->issuer), STR("https://")) || !cfg->client_id)
		return err_set(e, ERR_INVALID, "an OIDC issuer needs a URL that begins with https:// and a client id");
	if (cfg->ca_file && file_get(cfg->ca_file, MAX_ANSWER, &ca, e) < 0)
		return -(int)e->code;
	jwt_issuer_of_flags(a, cfg, ret);
	ret->ca_pem = arena_str(a, buf_str(&ca));
	return 0;
}

int oidc_new(const struct jwt_issuer *is, struct oidc **ret, struct err *e)
{
	struct tls_config tc = {.server = false, .alpn = "http/1.1", .ca_pem = is->ca_pem};
	struct oidc *o = xcalloc(1, sizeof(*o));

	o->issuer = *is;
	if (tls_ctx_new(&tc, &o->tls, e) < 0) {
		oidc_free(o);
		return -(int)e->code;
	}
	*ret = o;
	return 0;
}

void oidc_start(struct oidc *o, struct loop *loop)
{
	o->loop = loop;
	loop_timer_start(&o->timer, loop, 0, look);
}

void oidc_stop(struct oidc *o, void (*stopped)(void *arg), void *arg)
{
	loop_timer_stop(&o->timer);
	o->stopping = true;
	o->stopped = stopped;
	o->stopped_arg = arg;
	/* A call under way ends with its client, and then we are told. */
	if (!o->client) {
		stopped(arg);
	} else if (!o->closing) {
		o->closing = true;
		http_client_close(o->client, client_gone, o);
	}
}

void oidc_free(struct oidc *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < ARRAY_LEN(o->old); i++)
		keyset_free(o->old[i]);
	keyset_free(atomic_load(&o->keys));
	tls_ctx_unref(o->tls);
	free(o->address);
	free(o->path);
	free(o);
}

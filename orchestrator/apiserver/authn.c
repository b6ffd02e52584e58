#include "orchestrator/apiserver/authn-priv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/keyset.h"
#include "orchestrator/apiserver/oidc.h"

#define DEFAULT_ISSUER "https://kubernetes.default.svc.cluster.local"
#define TOKEN_FILE_MAX (1 << 20)

/* While an issuer's keys are fetched. */
#define KEYS_NAP_MS 100
#define KEYS_NAPS 30

/* As upstream. */
#define HOOK_TTL_MS 120000

static int token_file_load(struct api_authn *an, const char *path, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	char chunk[4096];
	size_t n;
	struct str rest, line;
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_IO, "cannot open the token file %s", path);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0 && text.n < TOKEN_FILE_MAX)
		buf_add(&text, chunk, n);
	fclose(f);
	for (rest = arena_str(&an->arena, buf_str(&text)); rest.n > 0;) {
		struct api_user *u = arena_new_of(&an->arena, struct api_user);
		struct str token, group;

		str_cut(rest, '\n', &line, &rest);
		line = str_trim(line);
		if (line.n == 0 || line.p[0] == '#')
			continue;
		str_cut(line, ',', &token, &line);
		str_cut(line, ',', &u->name, &line);
		str_cut(line, ',', &u->uid, &line);
		u->groups = arena_new_array(&an->arena, struct str, 17);
		while (line.n > 0 && u->n_groups < 16) {
			str_cut(line, '|', &group, &line);
			u->groups[u->n_groups++] = str_trim(group);
		}
		u->groups[u->n_groups++] = STR("system:authenticated");
		u->method = "token";
		if (token.n == 0 || u->name.n == 0)
			return err_set(e, ERR_INVALID, "%s: a line must be token,user,uid[,group|group]", path);
		map_put(&an->tokens, token, u);
	}
	return 0;
}

/* A file's text in the arena. */
static int text_of(struct arena *a, const char *path, struct str *ret, struct err *e)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	if (file_get(path, TOKEN_FILE_MAX, &text, e) < 0)
		return -(int)e->code;
	*ret = arena_str(a, buf_str(&text));
	return 0;
}

static void material_free(struct material *m)
{
	if (!m)
		return;
	x509_key_free(m->key);
	keyset_free(m->keys);
	keyset_free(m->replaced);
	arena_fini(&m->arena);
	free(m);
}

/* The signing key, and those in further files ("a,b"): an old key goes on being good until it is taken out. */
static int keys_load(struct material *m, const struct apiserver_cfg *cfg, struct err *e)
{
	struct str path, text, rest = str_from(cfg->sa_verify_keys);

	if (cfg->sa_key && (x509_key_load(cfg->sa_key, &m->key, e) < 0 || text_of(&m->arena, cfg->sa_key, &text, e) < 0 ||
				   keyset_add_pem(m->keys, text, e) < 0 || jwt_kid(&m->arena, m->key, &m->kid, e) < 0))
		return err_prefix(e, "service account key %s", cfg->sa_key);
	while (rest.n > 0) {
		str_cut(rest, ',', &path, &rest);
		if (text_of(&m->arena, arena_cstr(&m->arena, path), &text, e) < 0 || keyset_add_pem(m->keys, text, e) < 0)
			return err_prefix(e, "service account key %.*s", STR_FMT(path));
	}
	/* There while the key is being replaced. */
	if (!cfg->sa_trusted || access(cfg->sa_trusted, F_OK) < 0)
		return 0;
	m->replaced = keyset_new();
	if (text_of(&m->arena, cfg->sa_trusted, &text, e) < 0 || keyset_add_pem(m->keys, text, e) < 0 || keyset_add_pem(m->replaced, text, e) < 0)
		return err_prefix(e, "service account keys %s", cfg->sa_trusted);
	return 0;
}

static int ca_load(struct material *m, const struct apiserver_cfg *cfg, struct err *e)
{
	struct x509_info info;
	struct str rest, first, second;

	if (!cfg->ca)
		return 0;
	if (text_of(&m->arena, cfg->ca, &m->ca_pem, e) < 0)
		return -(int)e->code;
	rest = m->ca_pem;
	if (!x509_pem_next(&rest, &first))
		return err_set(e, ERR_INVALID, "%s: no certificate in it", cfg->ca);
	if (!x509_pem_next(&rest, &second))
		return 0;
	if (x509_info_from_pem(first, &m->arena, &info, e) < 0)
		return err_prefix(e, "%s", cfg->ca);
	m->signer = info.subject;
	return 0;
}

int authn_reload(struct api_authn *an, const struct apiserver_cfg *cfg, struct err *e)
{
	struct material *m = xcalloc(1, sizeof(*m));

	arena_init(&m->arena);
	m->keys = keyset_new();
	if (keys_load(m, cfg, e) < 0 || ca_load(m, cfg, e) < 0) {
		material_free(m);
		return -(int)e->code;
	}
	m->before = atomic_load(&an->now);
	atomic_store(&an->now, m);
	return 0;
}

void authn__note_old(struct api_authn *an, enum apiserver_old what, struct str user)
{
	pthread_mutex_lock(&an->lock);
	snprintf(an->old[what].user, sizeof(an->old[what].user), "%.*s", STR_FMT(user));
	an->old[what].at_s = clock_wall_s();
	pthread_mutex_unlock(&an->lock);
}

int64_t authn_old_use(struct api_authn *an, enum apiserver_old what, char user[256])
{
	int64_t at;

	pthread_mutex_lock(&an->lock);
	memcpy(user, an->old[what].user, sizeof(an->old[what].user));
	at = an->old[what].at_s;
	pthread_mutex_unlock(&an->lock);
	return at;
}

static int proxy_load(struct api_authn *an, const struct apiserver_cfg *cfg, struct err *e)
{
	if (!cfg->requestheader_ca)
		return 0;
	an->proxy_names = cfg->requestheader_names;
	if (text_of(&an->arena, cfg->requestheader_ca, &an->proxy_ca_pem, e) < 0)
		return err_prefix(e, "front proxy");
	return 0;
}

/* --- Issuers ------------------------------------------------------------------------------------------------ */

static void issuers_free(struct issuers *is)
{
	if (!is)
		return;
	for (size_t i = 0; is->v && i < is->conf.n_issuers; i++)
		oidc_free(is->v[i]);
	arena_fini(&is->arena);
	free(is);
}

static int issuers_read(struct api_authn *an, struct issuers *is, const struct oidc_cfg *flags, struct err *e)
{
	if (an->config_file && (text_of(&is->arena, an->config_file, &is->text, e) < 0 ||
					       authn_config_parse(&is->arena, is->text, an->issuer, &is->conf, e) < 0))
		return err_prefix(e, "authentication configuration %s", an->config_file);
	if (!an->config_file && flags->issuer) {
		is->conf.issuers = arena_new_array(&is->arena, struct jwt_issuer, 1);
		if (oidc_of_flags(&is->arena, flags, &is->conf.issuers[0], e) < 0)
			return -(int)e->code;
		is->conf.n_issuers = 1;
	}
	is->v = arena_new_array(&is->arena, struct oidc *, is->conf.n_issuers + 1);
	for (size_t i = 0; i < is->conf.n_issuers; i++)
		if (oidc_new(&is->conf.issuers[i], &is->v[i], e) < 0)
			return err_prefix(e, "issuer %s", is->conf.issuers[i].url);
	return 0;
}

static int issuers_load(struct api_authn *an, const struct oidc_cfg *flags, struct err *e)
{
	struct issuers *is = xcalloc(1, sizeof(*is));

	arena_init(&is->arena);
	if (issuers_read(an, is, flags, e) < 0) {
		issuers_free(is);
		return -(int)e->code;
	}
	is->before = atomic_load(&an->issuers);
	atomic_store(&an->issuers, is);
	return 0;
}

static void issuers_start(struct api_authn *an)
{
	struct issuers *is = atomic_load(&an->issuers);

	for (size_t i = 0; i < is->conf.n_issuers; i++)
		oidc_start(is->v[i], an->loop);
}

static void issuer_stopped(void *arg)
{
	struct api_authn *an = arg;

	if (--an->n_stopping == 0 && an->stopped)
		an->stopped(an->stopped_arg);
}

static void issuers_stop(struct api_authn *an, struct issuers *is)
{
	/* One more, so that none of them is the last before all have been told. */
	an->n_stopping += (unsigned)is->conf.n_issuers + 1;
	for (size_t i = 0; i < is->conf.n_issuers; i++)
		oidc_stop(is->v[i], issuer_stopped, an);
	issuer_stopped(an);
}

void authn_start(struct api_authn *an, struct loop *loop)
{
	an->loop = loop;
	issuers_start(an);
}

void authn_stop(struct api_authn *an, void (*stopped)(void *arg), void *arg)
{
	an->stopped = stopped;
	an->stopped_arg = arg;
	issuers_stop(an, atomic_load(&an->issuers));
}

static bool file_changed(const struct api_authn *an)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	return an->config_file && file_get(an->config_file, TOKEN_FILE_MAX, &text, NULL) == 0 &&
	       !str_eq(buf_str(&text), atomic_load(&an->issuers)->text);
}

/* What was there before holds on while it is wrong; that is said once. */
void authn_refresh(struct api_authn *an)
{
	struct issuers *before = atomic_load(&an->issuers);
	struct err e = ERR_INIT;
	bool changed = false;

	if (file_changed(an) && issuers_load(an, NULL, &e) == 0) {
		issuers_stop(an, before);
		issuers_start(an);
		log_info("apiserver", "the authentication configuration has changed: %zu issuers", atomic_load(&an->issuers)->conf.n_issuers);
	}
	if (!e.code && an->hook)
		auth_hook_reload(an->hook, &changed, &e);
	if (changed)
		log_info("apiserver", "the webhook that knows tokens is configured anew");
	if (e.code && strcmp(an->last_error, e.text) != 0)
		log_warn("apiserver", "who comes is still judged as before: %s", e.text);
	snprintf(an->last_error, sizeof(an->last_error), "%s", e.code ? e.text : "");
}

static int hook_load(struct api_authn *an, const struct apiserver_cfg *cfg, struct err *e)
{
	an->hook_keep_ms = cfg->token_hook_ttl_ms ? cfg->token_hook_ttl_ms : HOOK_TTL_MS;
	return cfg->token_hook_file ? auth_hook_open(cfg->token_hook_file, 0, &an->hook, e) : 0;
}

int authn_open(const struct apiserver_cfg *cfg, struct api_authn **ret, struct err *e)
{
	struct api_authn *an = xcalloc(1, sizeof(*an));

	arena_init(&an->arena);
	map_init(&an->tokens);
	pthread_mutex_init(&an->lock, NULL);
	an->issuer = str_from(cfg->issuer ? cfg->issuer : DEFAULT_ISSUER);
	an->config_file = cfg->authn_config_file;
	if (an->config_file && cfg->oidc.issuer) {
		authn_close(an);
		return err_set(e, ERR_INVALID, "an authentication configuration and the flags of an OIDC issuer exclude each other: name the issuer in the file");
	}
	if (authn_reload(an, cfg, e) < 0 || proxy_load(an, cfg, e) < 0 || issuers_load(an, &cfg->oidc, e) < 0 || hook_load(an, cfg, e) < 0 ||
			(cfg->token_file && token_file_load(an, cfg->token_file, e) < 0)) {
		authn_close(an);
		return -e->code;
	}
	*ret = an;
	return 0;
}

void authn_close(struct api_authn *an)
{
	if (!an)
		return;
	for (struct material *m = atomic_load(&an->now), *before; m; m = before) {
		before = m->before;
		material_free(m);
	}
	for (struct issuers *is = atomic_load(&an->issuers), *before; is; is = before) {
		before = is->before;
		issuers_free(is);
	}
	auth_hook_free(an->hook);
	pthread_mutex_destroy(&an->lock);
	map_fini(&an->tokens);
	arena_fini(&an->arena);
	free(an);
}

const struct x509_key *authn_key(const struct api_authn *an)
{
	return atomic_load(&an->now)->key;
}

const struct keyset *authn_keys(const struct api_authn *an)
{
	return atomic_load(&an->now)->keys;
}

struct str authn_proxy_ca(const struct api_authn *an)
{
	return an->proxy_ca_pem;
}

struct str authn_issuer(const struct api_authn *an)
{
	return an->issuer;
}

bool api_user_in_group(const struct api_user *u, const char *group)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (str_eqc(u->groups[i], group))
			return true;
	return false;
}

void authn_extra(struct arena *a, struct api_user *u, const char *key, struct str value)
{
	if (value.n == 0)
		return;
	u->extra = arena_grow(a, u->extra, u->n_extra * sizeof(u->extra[0]), (u->n_extra + 1) * sizeof(u->extra[0]));
	u->extra[u->n_extra++] = (struct api_extra){str_from(key), arena_str(a, value)};
}

void authn__groups(struct arena *a, struct api_user *u, const struct str *groups, size_t n)
{
	u->groups = arena_new_array(a, struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		u->groups[i] = arena_str(a, groups[i]);
	u->groups[n] = STR("system:authenticated");
	u->n_groups = n + 1;
}

/* --- The step --------------------------------------------------------------------------------------------- */

static void from_cert(struct api_request *req)
{
	const struct material *m = atomic_load(&req->srv->authn->now);
	const struct x509_info *c = req->peer;

	req->user.name = arena_str(&req->arena, c->cn);
	req->user.method = "cert";
	authn__groups(&req->arena, &req->user, c->orgs, c->n_orgs);
	authn_extra(&req->arena, &req->user, AUTHN_CREDENTIAL, arena_sprintf(&req->arena, "X509SHA256=%.*s", STR_FMT(c->sha256)));
	/* Nodes say themselves what they have; their connections outlive their certificates. */
	if (m->signer.n > 0 && !str_eq(c->issuer, m->signer) && !str_has_prefix(c->cn, STR("system:node:")))
		authn__note_old(req->srv->authn, APISERVER_OLD_CA, c->cn);
}

static bool issued_by(const struct x509_info *peer, struct str ca_pem)
{
	struct x509_cert *cert = NULL;
	bool ok = x509_cert_from_der(peer->der, &cert, NULL) == 0 && x509_verify(cert, ca_pem, NULL) == 0;

	x509_cert_free(cert);
	return ok;
}

bool authn_is_ours(const struct api_authn *an, const struct x509_info *peer)
{
	return an->proxy_ca_pem.n == 0 || issued_by(peer, atomic_load(&an->now)->ca_pem);
}

static bool is_named(const char *list, struct str name)
{
	struct str one, rest = str_from(list);

	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		if (str_eq(str_trim(one), name))
			return true;
	}
	return false;
}

#define PROXY_EXTRA "x-remote-extra-"

/*
 * A proxy in front of us has found out who asks, and says so in headers. It is believed if its certificate is of the CA for such
 * proxies, which signs nothing else; from anybody else these headers mean nothing.
 */
static bool from_front_proxy(struct api_request *req, const struct api_authn *an)
{
	struct str name = http_header_get(&req->headers, "x-remote-user"), key;
	struct api_user *u = &req->user;
	size_t n = 0;

	if (name.n == 0 || !req->peer || (an->proxy_names && !is_named(an->proxy_names, req->peer->cn)) || !issued_by(req->peer, an->proxy_ca_pem))
		return false;
	*u = (struct api_user){.name = name, .method = "front-proxy", .uid = http_header_get(&req->headers, "x-remote-uid")};
	u->groups = arena_new_array(&req->arena, struct str, req->headers.n + 1);
	u->extra = arena_new_array(&req->arena, struct api_extra, req->headers.n + 1);
	for (size_t i = 0; i < req->headers.n; i++) {
		const struct http_header *h = &req->headers.h[i];

		if (str_ieq(h->name, STR("x-remote-group")))
			u->groups[u->n_groups++] = h->value;
		else if (h->name.n > strlen(PROXY_EXTRA) && str_ieq(str_sub(h->name, 0, strlen(PROXY_EXTRA)), STR(PROXY_EXTRA)) &&
				api_unescape(&req->arena, str_skip(h->name, strlen(PROXY_EXTRA)), &key))
			u->extra[n++] = (struct api_extra){key, h->value};
	}
	u->n_extra = n;
	if (!api_user_in_group(u, "system:unauthenticated") && !api_user_in_group(u, "system:authenticated"))
		u->groups[u->n_groups++] = STR("system:authenticated");
	return true;
}

static void anonymous(struct api_request *req)
{
	static struct str groups[] = {STR_INIT("system:unauthenticated")};

	req->user.name = STR("system:anonymous");
	req->user.groups = groups;
	req->user.n_groups = 1;
	req->user.method = "anonymous";
}

enum step_result authn_busy(struct api_request *req)
{
	api_fail(req, ERR_UNAVAILABLE, "the webhook that knows tokens is being asked about %u others", AUTH_HOOK_CALLS);
	req->fail.retry_after_s = 1;
	return STEP_FAIL;
}

/* The token of "Bearer TOKEN", and as upstream nothing of what is behind it; none: the header says nothing that we would look at. */
static struct str bearer_token(struct api_request *req)
{
	struct str header = str_trim(http_header_get(&req->headers, "authorization")), scheme, token, rest;

	if (!str_cut(header, ' ', &scheme, &token) || !str_ieq(scheme, STR("bearer")))
		return STR_NULL;
	if (token.p[0] == ' ')
		api_warn(req, "the provided Authorization header contains extra space before the bearer token, and is ignored");
	str_cut(token, ' ', &token, &rest);
	return token;
}

enum step_result api__authenticate(struct api_request *req)
{
	struct str token;
	const struct api_authn *an = req->srv->authn;
	struct err e = ERR_INIT;

	if (req->local)
		return STEP_NEXT;
	if (an->proxy_ca_pem.n > 0 && from_front_proxy(req, an))
		return STEP_NEXT;
	if (req->peer && req->peer->cn.n > 0 && authn_is_ours(an, req->peer)) {
		from_cert(req);
		return STEP_NEXT;
	}
	token = bearer_token(req);
	if (token.n == 0 && !req->bad_peer) {
		if (!authn_config_anonymous(&atomic_load(&an->issuers)->conf, req->path))
			return api_fail(req, ERR_UNAUTHORIZED, "Unauthorized");
		anonymous(req);
		return STEP_NEXT;
	}
	if (token.n > 0)
		switch (authn_token(req, token, NULL, 0, &req->user, &e)) {
		case AUTHN_YES:
			req->fresh = false;
			return STEP_NEXT;
		case AUTHN_ABSENT:
			if (api_refresh(req))
				return STEP_WAIT;
			break;
		case AUTHN_LATER:
			if (api_nap(req, KEYS_NAP_MS, KEYS_NAPS))
				return STEP_WAIT;
			break;
		case AUTHN_WAIT:
			return STEP_WAIT;
		case AUTHN_BUSY:
			return authn_busy(req);
		case AUTHN_NO:
			break;
		}
	api_count(req->srv, COUNT_authn_failures);
	log_info("apiserver", "rejected credentials from %.*s: %s", STR_FMT(req->remote),
			e.code ? e.text : req->bad_peer ? "client certificate does not verify" : "no usable token");
	return api_fail(req, ERR_UNAUTHORIZED, "Unauthorized");
}

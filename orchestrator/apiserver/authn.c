#include "orchestrator/apiserver/authn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/keyset.h"
#include "orchestrator/apiserver/oidc.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/token_hook.h"
#include "proto/json.h"
#include "proto/resource.h"

#define DEFAULT_ISSUER "https://kubernetes.default.svc.cluster.local"
#define TOKEN_FILE_MAX (1 << 20)

/* While an issuer's keys are fetched. */
#define KEYS_NAP_MS 100
#define KEYS_NAPS 30

/* As upstream. */
#define HOOK_TTL_MS 120000

#define EXTRA_CREDENTIAL "authentication.kubernetes.io/credential-id"
#define EXTRA_POD_NAME "authentication.kubernetes.io/pod-name"
#define EXTRA_POD_UID "authentication.kubernetes.io/pod-uid"
#define EXTRA_NODE_NAME "authentication.kubernetes.io/node-name"
#define EXTRA_NODE_UID "authentication.kubernetes.io/node-uid"

/* What is read from files that may change under us. Immutable; the ones before are kept, since loops may be reading them. */
struct material {
	struct x509_key *key;     /* signs; NULL: this server makes no tokens */
	struct keyset *keys;      /* all that may have signed, `key` among them */
	struct keyset *replaced;  /* while the signing key is being replaced: the old and the new one */
	struct str kid;           /* of `key` */
	struct str ca_pem, signer; /* signer: the subject of the CA that signs now, while there are two; else empty */
	struct material *before;
	struct arena arena;
};

/* Who came last with what an old key signed. */
struct old_use {
	char user[256];
	int64_t at_s;
};

struct api_authn {
	_Atomic(struct material *) now;
	pthread_mutex_t lock; /* guards `old` */
	struct old_use old[APISERVER_OLD_N];
	struct oidc *oidc;     /* NULL: none */
	struct auth_hook *hook; /* NULL: none */
	uint64_t hook_keep_ms;
	struct str proxy_ca_pem; /* empty without a front proxy */
	const char *proxy_names;         /* its certificates' names, by commas; NULL: any of that CA */
	struct str issuer;
	struct map tokens; /* token -> struct api_user, in the arena */
	struct arena arena;
};

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

	if (api_file_read(path, TOKEN_FILE_MAX, &text, e) < 0)
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

static void note_old(struct api_authn *an, enum apiserver_old what, struct str user)
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

static int oidc_load(struct api_authn *an, const struct apiserver_cfg *cfg, struct err *e)
{
	return cfg->oidc.issuer ? oidc_new(&cfg->oidc, &an->oidc, e) : 0;
}

static int hook_load(struct api_authn *an, const struct apiserver_cfg *cfg, struct err *e)
{
	an->hook_keep_ms = cfg->token_hook_ttl_ms ? cfg->token_hook_ttl_ms : HOOK_TTL_MS;
	return cfg->token_hook_file ? auth_hook_open(cfg->token_hook_file, &an->hook, e) : 0;
}

int authn_open(const struct apiserver_cfg *cfg, struct api_authn **ret, struct err *e)
{
	struct api_authn *an = xcalloc(1, sizeof(*an));

	arena_init(&an->arena);
	map_init(&an->tokens);
	pthread_mutex_init(&an->lock, NULL);
	an->issuer = str_from(cfg->issuer ? cfg->issuer : DEFAULT_ISSUER);
	if (authn_reload(an, cfg, e) < 0 || proxy_load(an, cfg, e) < 0 || oidc_load(an, cfg, e) < 0 || hook_load(an, cfg, e) < 0 ||
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
	oidc_free(an->oidc);
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

struct oidc *authn_oidc(const struct api_authn *an)
{
	return an->oidc;
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

static void user_groups(struct arena *a, struct api_user *u, const struct str *groups, size_t n)
{
	u->groups = arena_new_array(a, struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		u->groups[i] = arena_str(a, groups[i]);
	u->groups[n] = STR("system:authenticated");
	u->n_groups = n + 1;
}

/* --- Service-account tokens ---------------------------------------------------------------------------- */

static bool audience_matches(const struct json *aud, const struct str *wanted, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(json_str(aud), wanted[i]) && wanted[i].n > 0)
			return true;
		JSON_ITEMS (it, aud)
			if (str_eq(json_str(it), wanted[i]))
				return true;
	}
	return false;
}

/* The object must still be the one that the token was bound to. */
static enum authn_verdict bound_object(struct api_request *req, const char *plural, struct str ns, const struct json *ref,
		struct err *e)
{
	const struct resource *res = resource_find("", "v1", plural);
	struct str name = json_str(json_getc(ref, "name")), uid = json_str(json_getc(ref, "uid")), raw;
	struct storage_meta m;
	uint64_t rv;

	if (!res || name.n == 0)
		return AUTHN_NO;
	if (storage_load(req->srv->store, &req->arena, storage_key(&req->arena, res, ns, name), &raw, &rv, e) < 0)
		return e->code == ERR_NOT_FOUND ? AUTHN_ABSENT : AUTHN_NO;
	if (!storage_meta(raw, &m) || (uid.n > 0 && !str_eq(m.uid, uid))) {
		err_set(e, ERR_UNAUTHORIZED, "the %s of the token was replaced", plural);
		return AUTHN_ABSENT;
	}
	return AUTHN_YES;
}

static struct str secret_data(struct api_request *req, struct json *secret, const char *key)
{
	struct str out;

	if (!api_base64_decode(&req->arena, json_str(json_getc(json_getc(secret, "data"), key)), &out))
		return STR_NULL;
	return out;
}

static void account_groups(struct api_request *req, struct api_user *u, struct str ns, struct str name)
{
	struct str groups[2] = {STR("system:serviceaccounts"), arena_sprintf(&req->arena, "system:serviceaccounts:%.*s", STR_FMT(ns))};

	u->name = arena_sprintf(&req->arena, "system:serviceaccount:%.*s:%.*s", STR_FMT(ns), STR_FMT(name));
	user_groups(&req->arena, u, groups, 2);
	u->method = "serviceaccount";
}

static enum authn_verdict service_account(struct api_request *req, struct json *claims, const struct str *audiences,
		size_t n, struct api_user *u, struct err *e)
{
	struct json *kube = json_getc(claims, "kubernetes.io"), *sa = json_getc(kube, "serviceaccount");
	struct str ns = json_str(json_getc(kube, "namespace")), name = json_str(json_getc(sa, "name"));
	const struct api_authn *an = req->srv->authn;
	int64_t now = clock_wall_s();
	enum authn_verdict v;

	if (!str_eq(json_strp(claims, "iss"), an->issuer) || ns.n == 0 || name.n == 0) {
		err_set(e, ERR_UNAUTHORIZED, "the token is of another issuer");
		return AUTHN_NO;
	}
	if (now >= json_i64_or(json_getc(claims, "exp"), 0) || now + 60 < json_i64_or(json_getc(claims, "nbf"), 0)) {
		err_set(e, ERR_UNAUTHORIZED, "the token has expired");
		return AUTHN_NO;
	}
	if (!audience_matches(json_getc(claims, "aud"), n ? audiences : &an->issuer, n ? n : 1)) {
		err_set(e, ERR_UNAUTHORIZED, "the token is for another audience");
		return AUTHN_NO;
	}
	v = bound_object(req, "serviceaccounts", ns, sa, e);
	if (v == AUTHN_YES && json_getc(kube, "pod")) {
		v = bound_object(req, "pods", ns, json_getc(kube, "pod"), e);
		authn_extra(&req->arena, u, EXTRA_POD_NAME, json_strp(kube, "pod.name"));
		authn_extra(&req->arena, u, EXTRA_POD_UID, json_strp(kube, "pod.uid"));
	}
	/* A node comes with the pod for information; alone it is what the token is bound to. */
	if (v == AUTHN_YES && json_getc(kube, "node") && !json_getc(kube, "pod"))
		v = bound_object(req, "nodes", STR_NULL, json_getc(kube, "node"), e);
	if (v == AUTHN_YES && json_getc(kube, "secret"))
		v = bound_object(req, "secrets", ns, json_getc(kube, "secret"), e);
	if (v != AUTHN_YES)
		return v;
	account_groups(req, u, ns, name);
	u->uid = json_str(json_getc(sa, "uid"));
	if (now > json_i64_or(json_getc(kube, "warnafter"), INT64_MAX))
		api_audit_note(req, "authentication.k8s.io/stale-token",
				arena_sprintf(&req->arena, "subject: %.*s, seconds after warning threshold: %lld", STR_FMT(u->name),
						(long long)(now - json_i64_or(json_getc(kube, "warnafter"), 0))));
	authn_extra(&req->arena, u, EXTRA_NODE_NAME, json_strp(kube, "node.name"));
	authn_extra(&req->arena, u, EXTRA_NODE_UID, json_strp(kube, "node.uid"));
	if (json_str(json_getc(claims, "jti")).n > 0)
		authn_extra(&req->arena, u, EXTRA_CREDENTIAL,
				arena_sprintf(&req->arena, "JTI=%.*s", STR_FMT(json_str(json_getc(claims, "jti")))));
	return AUTHN_YES;
}

/* --- Tokens in Secrets of type kubernetes.io/service-account-token: good as long as the Secret holds them -------------- */

#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_CLAIM "kubernetes.io/serviceaccount/"

static struct json *ref_of(struct arena *a, struct str name, struct str uid)
{
	struct json *o = json_new_object(a);

	json_setc(a, o, "name", json_new_str(a, name));
	json_setc(a, o, "uid", json_new_str(a, uid));
	return o;
}

static enum authn_verdict secret_holds(struct api_request *req, struct str ns, struct str name, struct str token, struct err *e)
{
	const struct resource *res = resource_find("", "v1", "secrets");
	struct json *secret;
	struct str raw;
	uint64_t rv;

	if (storage_load(req->srv->store, &req->arena, storage_key(&req->arena, res, ns, name), &raw, &rv, e) < 0)
		return e->code == ERR_NOT_FOUND ? AUTHN_ABSENT : AUTHN_NO;
	if (api_dom_of(&req->arena, res, raw, &secret, e) < 0)
		return AUTHN_NO;
	if (json_getp(secret, "metadata.deletionTimestamp") || !x509_equal(secret_data(req, secret, "token"), token)) {
		err_set(e, ERR_UNAUTHORIZED, "the token's secret is going, or holds another token");
		return AUTHN_ABSENT;
	}
	return AUTHN_YES;
}

static enum authn_verdict legacy_account(struct api_request *req, const struct json *claims, struct str token, const struct str *audiences,
		size_t n, struct api_user *u, struct err *e)
{
	struct str ns = json_str(json_getc(claims, LEGACY_CLAIM "namespace")), secret = json_str(json_getc(claims, LEGACY_CLAIM "secret.name"));
	struct str name = json_str(json_getc(claims, LEGACY_CLAIM "service-account.name"));
	struct str uid = json_str(json_getc(claims, LEGACY_CLAIM "service-account.uid"));
	bool ours = n == 0;
	enum authn_verdict v;

	for (size_t i = 0; i < n; i++)
		ours = ours || str_eq(audiences[i], req->srv->authn->issuer);
	if (!ours || ns.n == 0 || secret.n == 0 || name.n == 0 || uid.n == 0) {
		err_set(e, ERR_UNAUTHORIZED, "%s", ours ? "the token lacks claims" : "the token is for another audience");
		return AUTHN_NO;
	}
	v = secret_holds(req, ns, secret, token, e);
	if (v == AUTHN_YES)
		v = bound_object(req, "serviceaccounts", ns, ref_of(&req->arena, name, uid), e);
	if (v != AUTHN_YES)
		return v;
	account_groups(req, u, ns, name);
	u->uid = uid;
	return AUTHN_YES;
}

/* --- Bootstrap tokens: "abcdef.0123456789abcdef", kept as Secrets in kube-system ---------------------------- */

static bool bootstrap_form(struct str t)
{
	if (t.n != 23 || t.p[6] != '.')
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (i != 6 && !((t.p[i] >= 'a' && t.p[i] <= 'z') || (t.p[i] >= '0' && t.p[i] <= '9')))
			return false;
	return true;
}

static enum authn_verdict bootstrap_token(struct api_request *req, struct str token, struct api_user *u, struct err *e)
{
	const struct resource *res = resource_find("", "v1", "secrets");
	struct str id = str_sub(token, 0, 6), raw, expiry, extra, group, groups[17];
	struct json *secret;
	size_t n = 0;
	uint64_t rv;
	struct str key = storage_key(&req->arena, res, STR("kube-system"),
			arena_sprintf(&req->arena, "bootstrap-token-%.*s", STR_FMT(id)));

	if (storage_load(req->srv->store, &req->arena, key, &raw, &rv, e) < 0)
		return e->code == ERR_NOT_FOUND ? AUTHN_ABSENT : AUTHN_NO;
	if (api_dom_of(&req->arena, res, raw, &secret, e) < 0)
		return AUTHN_NO;
	err_set(e, ERR_UNAUTHORIZED, "the bootstrap token is not valid");
	if (!json_eqc(json_getc(secret, "type"), "bootstrap.kubernetes.io/token") ||
			!str_eq(secret_data(req, secret, "token-id"), id) ||
			!x509_equal(secret_data(req, secret, "token-secret"), str_skip(token, 7)) ||
			!str_eqc(secret_data(req, secret, "usage-bootstrap-authentication"), "true"))
		return AUTHN_NO;
	expiry = secret_data(req, secret, "expiration");
	if (expiry.n > 0) {
		char now[CLOCK_RFC3339_SIZE];

		clock_rfc3339(clock_wall_s(), now);
		if (str_cmp(expiry, str_from(now)) <= 0)
			return AUTHN_NO;
	}
	groups[n++] = STR("system:bootstrappers");
	for (extra = secret_data(req, secret, "auth-extra-groups"); extra.n > 0 && n < ARRAY_LEN(groups);) {
		str_cut(extra, ',', &group, &extra);
		group = str_trim(group);
		if (str_has_prefix(group, STR("system:bootstrappers:")))
			groups[n++] = group;
	}
	u->name = arena_sprintf(&req->arena, "system:bootstrap:%.*s", STR_FMT(id));
	u->method = "bootstrap";
	user_groups(&req->arena, u, groups, n);
	err_clear(e);
	return AUTHN_YES;
}

static enum authn_verdict our_token(struct api_request *req, struct str token, const struct jwt *t, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	const struct material *m = atomic_load(&req->srv->authn->now);
	enum authn_verdict v = AUTHN_NO;
	struct err ignored;

	if (keyset_check(m->keys, t, e) == 0)
		v = json_eqc(json_getc(t->claims, "iss"), LEGACY_ISSUER) ? legacy_account(req, t->claims, token, audiences, n, ret, e) :
									  service_account(req, t->claims, audiences, n, ret, e);

	if (v == AUTHN_YES && m->replaced && !str_eq(t->kid, m->kid) && keyset_check(m->replaced, t, &ignored) == 0)
		note_old(req->srv->authn, APISERVER_OLD_TOKEN, ret->name);
	return v;
}

static enum authn_verdict known_token(struct api_request *req, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	const struct api_authn *an = req->srv->authn;
	const struct api_user *fixed = map_get(&an->tokens, token);
	struct jwt t;

	memset(ret, 0, sizeof(*ret));
	err_clear(e);
	if (fixed) {
		*ret = *fixed;
		return AUTHN_YES;
	}
	if (bootstrap_form(token))
		return bootstrap_token(req, token, ret, e);
	if (jwt_parse(&req->arena, token, &t, e) < 0)
		return AUTHN_NO;
	if (oidc_issued(an->oidc, t.claims))
		switch (oidc_check(an->oidc, &req->arena, &t, clock_wall_s(), ret, e)) {
		case OIDC_YES:
			return AUTHN_YES;
		case OIDC_LATER:
			return AUTHN_LATER;
		case OIDC_NO:
			return AUTHN_NO;
		}
	return our_token(req, token, &t, audiences, n, ret, e);
}

static uint64_t keep_ms(struct api_request *req, struct str body)
{
	return token_hook_is_answer(body) ? req->srv->authn->hook_keep_ms : 0;
}

static enum authn_verdict hook_token(struct api_request *req, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	const struct api_authn *an = req->srv->authn;
	struct str key = token_hook_key(&req->arena, token, audiences, n);
	struct auth_answer answer;

	if (!auth_hook_find(an->hook, key, &req->arena, &answer)) {
		auth_hook_ask(an->hook, req, key, token_hook_question(&req->arena, token, audiences, n), keep_ms);
		return AUTHN_WAIT;
	}
	err_clear(e);
	if (answer.failure.n > 0)
		err_set(e, ERR_UNAUTHORIZED, "%.*s", STR_FMT(answer.failure));
	else if (token_hook_answer(&req->arena, answer.body, n ? audiences : &an->issuer, n ? n : 1, ret, e) == 0)
		return AUTHN_YES;
	return AUTHN_NO;
}

enum authn_verdict authn_token(struct api_request *req, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	enum authn_verdict v = known_token(req, token, audiences, n, ret, e);

	/* Only serve loops have connections to webhooks. */
	return v == AUTHN_NO && req->srv->authn->hook && req->al->serves ? hook_token(req, token, audiences, n, ret, e) : v;
}

/* --- The step --------------------------------------------------------------------------------------------- */

static void from_cert(struct api_request *req)
{
	const struct material *m = atomic_load(&req->srv->authn->now);
	const struct x509_info *c = req->peer;

	req->user.name = arena_str(&req->arena, c->cn);
	req->user.method = "cert";
	user_groups(&req->arena, &req->user, c->orgs, c->n_orgs);
	/* Nodes say themselves what they have; their connections outlive their certificates. */
	if (m->signer.n > 0 && !str_eq(c->issuer, m->signer) && !str_has_prefix(c->cn, STR("system:node:")))
		note_old(req->srv->authn, APISERVER_OLD_CA, c->cn);
}

static bool issued_by(const struct x509_info *peer, struct str ca_pem)
{
	struct x509_cert *cert = NULL;
	bool ok = x509_cert_from_der(peer->der, &cert, NULL) == 0 && x509_verify(cert, ca_pem, NULL) == 0;

	x509_cert_free(cert);
	return ok;
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

enum step_result api__authenticate(struct api_request *req)
{
	struct str header = http_header_get(&req->headers, "authorization"), scheme, token;
	const struct api_authn *an = req->srv->authn;
	struct err e = ERR_INIT;

	if (req->local)
		return STEP_NEXT;
	if (an->proxy_ca_pem.n > 0 && from_front_proxy(req, an))
		return STEP_NEXT;
	if (req->peer && req->peer->cn.n > 0 && (an->proxy_ca_pem.n == 0 || issued_by(req->peer, atomic_load(&an->now)->ca_pem))) {
		from_cert(req);
		return STEP_NEXT;
	}
	if (str_trim(header).n == 0 && !req->bad_peer) {
		anonymous(req);
		return STEP_NEXT;
	}
	str_cut(str_trim(header), ' ', &scheme, &token);
	token = str_trim(token);
	if (str_ieq(scheme, STR("bearer")) && token.n > 0)
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
		case AUTHN_NO:
			break;
		}
	api_count(req->srv, COUNT_authn_failures);
	log_info("apiserver", "rejected credentials from %.*s: %s", STR_FMT(req->remote),
			e.code ? e.text : req->bad_peer ? "client certificate does not verify" : "no usable token");
	return api_fail(req, ERR_UNAUTHORIZED, "Unauthorized");
}

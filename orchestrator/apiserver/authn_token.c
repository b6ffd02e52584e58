/* What a bearer token says, and whether it still holds: authn_token. */
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/authn-priv.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/keyset.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/oidc.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/token_hook.h"
#include "proto/json.h"
#include "proto/resource.h"

#define EXTRA_POD_NAME "authentication.kubernetes.io/pod-name"
#define EXTRA_POD_UID "authentication.kubernetes.io/pod-uid"
#define EXTRA_NODE_NAME "authentication.kubernetes.io/node-name"
#define EXTRA_NODE_UID "authentication.kubernetes.io/node-uid"

bool authn_audiences(struct arena *a, struct api_user *u, const struct str *said, size_t n_said, const struct str *wanted, size_t n)
{
	u->audiences = arena_new_array(a, struct str, n);
	u->n_audiences = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_said; k++)
			if (wanted[i].n > 0 && str_eq(wanted[i], said[k])) {
				u->audiences[u->n_audiences++] = wanted[i];
				break;
			}
	return u->n_audiences > 0;
}

/* --- Service-account tokens ---------------------------------------------------------------------------- */

/* A claim: one, or a list. */
static bool is_for(struct arena *a, struct api_user *u, const struct json *aud, const struct str *wanted, size_t n)
{
	struct str *said = arena_new_array(a, struct str, json_len(aud) + 1);
	size_t n_said = 0;

	if (json_is(aud, JSON_STRING))
		said[n_said++] = json_str(aud);
	JSON_ITEMS (it, aud)
		said[n_said++] = json_str(it);
	return authn_audiences(a, u, said, n_said, wanted, n);
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
	authn__groups(&req->arena, u, groups, 2);
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
	if (!is_for(&req->arena, u, json_getc(claims, "aud"), audiences, n)) {
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
		authn_extra(&req->arena, u, AUTHN_CREDENTIAL,
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
	bool ours = authn_audiences(&req->arena, u, &req->srv->authn->issuer, 1, audiences, n);
	enum authn_verdict v;

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
	authn__groups(&req->arena, u, groups, n);
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
		authn__note_old(req->srv->authn, APISERVER_OLD_TOKEN, ret->name);
	return v;
}

/* What says nothing of audiences is for the API alone. */
static enum authn_verdict for_us(struct api_request *req, enum authn_verdict v, const struct str *audiences, size_t n, struct api_user *u,
		struct err *e)
{
	if (v != AUTHN_YES || authn_audiences(&req->arena, u, &req->srv->authn->issuer, 1, audiences, n))
		return v;
	err_set(e, ERR_UNAUTHORIZED, "the token is for another audience");
	return AUTHN_NO;
}

static struct oidc *issuer_of(const struct issuers *is, const struct json *claims)
{
	for (size_t i = 0; i < is->conf.n_issuers; i++)
		if (oidc_issued(is->v[i], claims))
			return is->v[i];
	return NULL;
}

static enum authn_verdict known_token(struct api_request *req, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	const struct api_authn *an = req->srv->authn;
	const struct api_user *fixed = map_get(&an->tokens, token);
	struct oidc *oidc;
	struct jwt t;

	memset(ret, 0, sizeof(*ret));
	err_clear(e);
	if (fixed) {
		*ret = *fixed;
		return for_us(req, AUTHN_YES, audiences, n, ret, e);
	}
	if (bootstrap_form(token))
		return for_us(req, bootstrap_token(req, token, ret, e), audiences, n, ret, e);
	if (jwt_parse(&req->arena, token, &t, e) < 0)
		return AUTHN_NO;
	oidc = issuer_of(atomic_load(&an->issuers), t.claims);
	if (oidc)
		switch (oidc_check(oidc, &req->arena, &t, clock_wall_s(), ret, e)) {
		case OIDC_YES:
			return for_us(req, AUTHN_YES, audiences, n, ret, e);
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

	if (!auth_hook_find(an->hook, req, key, &answer))
		return auth_hook_ask(an->hook, req, key, token_hook_question(&req->arena, token, audiences, n), keep_ms) ? AUTHN_WAIT : AUTHN_BUSY;
	err_clear(e);
	if (answer.failure.n > 0)
		err_set(e, ERR_UNAUTHORIZED, "%.*s", STR_FMT(answer.failure));
	else if (token_hook_answer(&req->arena, answer.body, an->issuer, audiences, n, ret, e) == 0)
		return AUTHN_YES;
	return AUTHN_NO;
}

enum authn_verdict authn_token(struct api_request *req, struct str token, const struct str *audiences, size_t n,
		struct api_user *ret, struct err *e)
{
	enum authn_verdict v;

	audiences = n ? audiences : &req->srv->authn->issuer;
	v = known_token(req, token, audiences, MAX(n, (size_t)1), ret, e);
	/* Only serve loops have connections to webhooks. */
	return v == AUTHN_NO && req->srv->authn->hook && req->al->serves ? hook_token(req, token, audiences, MAX(n, (size_t)1), ret, e) : v;
}

/*
 * Requests that are questions: tokens for service accounts, whose a token is, who I am. Nothing is stored.
 */
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/admission.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/strategies.h"
#include "orchestrator/apiserver/write.h"
#include "proto/field_errs.h"
#include "proto/resource.h"
#include "proto/schema.h"

#define TOKEN_SECONDS_DEFAULT 3600
#define TOKEN_SECONDS_MIN 600
#define TOKEN_SECONDS_MAX (1ll << 32)
/* Of the token that admission mounts into pods, and how long it is really good; the answer says the former, so that it is renewed. */
#define TOKEN_SECONDS_MOUNTED 3607
#define TOKEN_SECONDS_EXTENDED (365ll * 24 * 3600)

/* --- TokenRequest -------------------------------------------------------------------------------------------- */

static enum step_result token_decode(struct api_request *req)
{
	return api_decode_body(req, "authentication.v1.TokenRequest", false);
}

/* {name, uid} of an object, as claims have it. */
static struct json *ref_claim(struct arena *a, const struct json *obj)
{
	struct json *o = json_new_object(a);

	json_setc(a, o, "name", json_getp(obj, "metadata.name"));
	json_setc(a, o, "uid", json_getp(obj, "metadata.uid"));
	return o;
}

static const struct {
	const char *kind, *plural, *claim;
} bindable[] = {{"Pod", "pods", "pod"}, {"Secret", "secrets", "secret"}, {"Node", "nodes", "node"}};

/* Where the pod runs, for information. */
static enum step_result node_claim(struct api_request *req, struct str name, struct json *kube)
{
	const struct resource *nodes = resource_find("", "v1", "nodes");
	struct json *claim = json_new_object(&req->arena), *doc;
	struct err e = ERR_INIT;
	struct str raw;
	uint64_t rv;

	json_setc(&req->arena, claim, "name", json_new_str(&req->arena, name));
	if (storage_load(req->srv->store, &req->arena, storage_key(&req->arena, nodes, STR_NULL, name), &raw, &rv, &e) == 0 &&
			api_dom_of(&req->arena, nodes, raw, &doc, &e) == 0)
		claim = ref_claim(&req->arena, doc);
	json_setc(&req->arena, kube, "node", claim);
	return STEP_NEXT;
}

/* The object that the token is to die with. */
static enum step_result token_binding(struct api_request *req, struct json *kube)
{
	const struct json *ref = json_getp(req->sent, "spec.boundObjectRef");
	struct str kind = json_str(json_getc(ref, "kind")), name = json_str(json_getc(ref, "name"));
	struct str uid = json_str(json_getc(ref, "uid")), version = json_str(json_getc(ref, "apiVersion")), raw;
	struct err e = ERR_INIT;
	struct json *doc;
	enum step_result r;
	uint64_t rv;
	size_t i = 0;

	if (json_is_null(ref))
		return admit_node_token(req, NULL);
	while (i < ARRAY_LEN(bindable) && !str_eqc(kind, bindable[i].kind))
		i++;
	/* All of them are of the group without a name. */
	if (i == ARRAY_LEN(bindable) || str_find(version, '/') >= 0)
		return api_fail(req, ERR_BAD_REQUEST, "cannot bind token for object of type %.*s, Kind=%.*s", STR_FMT(version.n > 0 ? version : STR("/")),
				STR_FMT(kind));
	r = api_lookup(req, "", bindable[i].plural, req->at.ns, name, &raw, &rv);
	if (r != STEP_NEXT)
		return r;
	if (!raw.p)
		return api_fail_not_found(req, resource_find("", "v1", bindable[i].plural), name);
	if (api_dom_of(&req->arena, resource_find("", "v1", bindable[i].plural), raw, &doc, &e) < 0)
		return api_fail_err(req, &e);
	if (uid.n > 0 && !str_eq(uid, json_strp(doc, "metadata.uid")))
		return api_refresh(req) ? STEP_WAIT :
					  api_fail_conflict(req, req->res, req->at.name,
							  "the UID in the bound object reference does not match the UID in record. "
							  "The object might have been deleted and then recreated");
	json_setc(&req->arena, kube, bindable[i].claim, ref_claim(&req->arena, doc));
	r = admit_node_token(req, str_eqc(kind, "Pod") ? doc : NULL);
	if (r != STEP_NEXT)
		return r;
	if (str_eqc(kind, "Pod")) {
		struct str node = json_strp(doc, "spec.nodeName");

		if (!str_eq(json_strp(doc, "spec.serviceAccountName"), req->at.name))
			return api_fail(req, ERR_BAD_REQUEST, "cannot bind token for serviceaccount \"%.*s\" to pod running "
							      "with different serviceaccount name.",
					STR_FMT(req->at.name));
		return node.n > 0 ? node_claim(req, node, kube) : STEP_NEXT;
	}
	return STEP_NEXT;
}

static enum step_result token_admit(struct api_request *req)
{
	return admission_special(req, ADMIT_CREATE, schema_type_find("authentication.v1.TokenRequest"));
}

/* Whom the body names, if it names somebody, is whom the path names. */
static bool token_is_for_another(struct api_request *req)
{
	static const char *const keys[] = {"name", "namespace"};
	const struct str at[] = {req->at.name, req->at.ns};
	struct field_path meta = field_child(NULL, "metadata");

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct field_path f = field_child(&meta, keys[i]);
		struct str said = json_str(json_getc(json_getc(req->sent, "metadata"), keys[i]));
		struct field_errs errs;

		if (said.n == 0 || str_eq(said, at[i]))
			continue;
		field_errs_init(&errs, &req->arena);
		field_invalid_str(&errs, &f, said, "must match the service account %s if specified", keys[i]);
		req->obj = json_copy(&req->arena, req->sent);
		json_setp(&req->arena, req->obj, "metadata.name", json_new_str(&req->arena, req->at.name));
		api_fail_invalid_as(req, "authentication.k8s.io", "TokenRequest", &errs);
		return true;
	}
	return false;
}

static enum step_result token_issue(struct api_request *req)
{
	struct arena *a = &req->arena;
	const struct api_authn *an = req->srv->authn;
	struct json *claims = json_new_object(a), *kube = json_new_object(a), *aud = json_getp(req->sent, "spec.audiences");
	int64_t now = clock_wall_s(), seconds = TOKEN_SECONDS_DEFAULT, expires = 0;
	struct json *asked = json_getp(req->sent, "spec.expirationSeconds");
	char text[CLOCK_RFC3339_SIZE], jti[37];
	struct err e = ERR_INIT;
	struct str token;
	enum step_result r;

	if (token_is_for_another(req))
		return STEP_FAIL;
	if (!authn_key(an))
		return api_fail(req, ERR_UNAVAILABLE, "this server has no key for service-account tokens");
	if (!json_is_null(asked))
		seconds = json_i64_or(asked, 0);
	if (seconds < TOKEN_SECONDS_MIN || seconds > TOKEN_SECONDS_MAX) {
		struct field_errs errs;
		struct field_path spec = field_child(NULL, "spec"), f = field_child(&spec, "expirationSeconds");

		field_errs_init(&errs, a);
		field_invalid(&errs, &f, asked, "%s",
				seconds < TOKEN_SECONDS_MIN ? "may not specify a duration less than 10 minutes" :
							      "may not specify a duration larger than 2^32 seconds");
		req->obj = req->sent;
		return api_fail_invalid_as(req, "authentication.k8s.io", "TokenRequest", &errs);
	}
	json_setc(a, kube, "namespace", json_new_str(a, req->at.ns));
	json_setc(a, kube, "serviceaccount", ref_claim(a, req->old));
	r = token_binding(req, kube);
	if (r != STEP_NEXT)
		return r;
	if (json_len(aud) == 0) {
		aud = json_new_array(a);
		json_push(a, aud, json_new_str(a, authn_issuer(an)));
		json_setp(a, req->sent, "spec.audiences", aud);
	}
	random_uuid(jti);
	json_setc(a, claims, "aud", aud);
	/* What a kubelet mounts is asked for with this duration; programs from before tokens expired read it once and keep it. */
	if (seconds == TOKEN_SECONDS_MOUNTED && json_getc(kube, "pod") && json_len(aud) == 1 && str_eq(json_str(json_at(aud, 0)), authn_issuer(an))) {
		json_setc(a, kube, "warnafter", json_new_int(a, now + seconds));
		expires = now + TOKEN_SECONDS_EXTENDED;
	}
	json_setc(a, claims, "exp", json_new_int(a, expires ? expires : now + seconds));
	json_setc(a, claims, "iat", json_new_int(a, now));
	json_setc(a, claims, "iss", json_new_str(a, authn_issuer(an)));
	json_setc(a, claims, "jti", json_newc(a, jti));
	json_setc(a, claims, "kubernetes.io", kube);
	json_setc(a, claims, "nbf", json_new_int(a, now));
	json_setc(a, claims, "sub",
			json_newf(a, "system:serviceaccount:%.*s:%.*s", STR_FMT(req->at.ns), STR_FMT(req->at.name)));
	if (jwt_sign(a, authn_key(an), claims, &token, &e) < 0)
		return api_fail_err(req, &e);
	clock_rfc3339(now + seconds, text);
	json_setp(a, req->sent, "metadata.name", json_new_str(a, req->at.name));
	json_setp(a, req->sent, "metadata.namespace", json_new_str(a, req->at.ns));
	json_setp(a, req->sent, "metadata.creationTimestamp", api_now(a));
	json_setp(a, req->sent, "spec.expirationSeconds", json_new_int(a, seconds));
	json_setp(a, req->sent, "status.token", json_new_str(a, token));
	json_setp(a, req->sent, "status.expirationTimestamp", json_newc(a, text));
	return api_answer_dom(req, 201, schema_type_find("authentication.v1.TokenRequest"), req->sent);
}

const struct api_step strategy_token_request[] = {{"decode", token_decode}, {"admit", token_admit}, {"load", api__load}, {"issue", token_issue},
		{NULL, NULL}};

/* --- TokenReview, SelfSubjectReview --------------------------------------------------------------------------------- */

static struct json *strings(struct arena *a, const struct str *s, size_t n)
{
	struct json *list = json_new_array(a);

	for (size_t i = 0; i < n; i++)
		json_push(a, list, json_new_str(a, s[i]));
	return list;
}

struct json *api_user_dom(struct arena *a, const struct api_user *u)
{
	struct json *o = json_new_object(a), *x = json_new_object(a);

	json_setc(a, o, "username", json_new_str(a, u->name));
	if (u->uid.n > 0)
		json_setc(a, o, "uid", json_new_str(a, u->uid));
	json_setc(a, o, "groups", strings(a, u->groups, u->n_groups));
	for (size_t i = 0; i < u->n_extra; i++) {
		struct json *list = json_get(x, u->extra[i].key);

		if (!list) {
			list = json_new_array(a);
			json_set(a, x, u->extra[i].key, list);
		}
		json_push(a, list, json_new_str(a, u->extra[i].value));
	}
	if (json_len(x) > 0)
		json_setc(a, o, "extra", x);
	return o;
}

static enum step_result token_review(struct api_request *req)
{
	const struct json *list;
	struct arena *a = &req->arena;
	struct str *audiences, token;
	struct json *status = json_new_object(a);
	struct api_user u;
	struct err e = ERR_INIT;
	size_t n = 0;

	token = json_strp(req->sent, "spec.token");
	list = json_getp(req->sent, "spec.audiences");
	audiences = arena_new_array(a, struct str, json_len(list));
	JSON_ITEMS (it, list)
		audiences[n++] = json_str(it);
	switch (authn_token(req, token, audiences, n, &u, &e)) {
	case AUTHN_YES:
		json_setc(a, status, "authenticated", json_new_bool(a, true));
		json_setc(a, status, "user", api_user_dom(a, &u));
		json_setc(a, status, "audiences", strings(a, u.audiences, u.n_audiences));
		break;
	case AUTHN_WAIT:
		return STEP_WAIT;
	case AUTHN_BUSY:
		return authn_busy(req);
	case AUTHN_LATER:
		if (api_nap(req, 100, 30))
			return STEP_WAIT;
		/* fall through */
	case AUTHN_ABSENT:
		if (api_refresh(req))
			return STEP_WAIT;
		/* fall through */
	case AUTHN_NO:
		json_setc(a, status, "error", json_newf(a, "[invalid bearer token, %s]", e.text));
		break;
	}
	json_setc(a, req->sent, "status", status);
	return api_answer_dom(req, 201, schema_type_find("authentication.v1.TokenReview"), req->sent);
}

static enum step_result self_review(struct api_request *req)
{
	json_setp(&req->arena, req->sent, "metadata.creationTimestamp", api_now(&req->arena));
	json_setp(&req->arena, req->sent, "status.userInfo", api_user_dom(&req->arena, &req->user));
	return api_answer_dom(req, 201, schema_type_find("authentication.v1.SelfSubjectReview"), req->sent);
}

const struct api_step strategy_token_review[] = {{"admit", admit_review}, {"review", token_review}, {NULL, NULL}};
const struct api_step strategy_self_review[] = {{"admit", admit_review}, {"review", self_review}, {NULL, NULL}};

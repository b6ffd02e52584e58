/*
 * Secrets that are tokens: those of service accounts are filled in and die with their account; bootstrap and join tokens go when their
 * time is over; and the public cluster-info is signed for each bootstrap token, so that who has one can believe it.
 */
#include <string.h>

#include "base/util.h"
#include "io/x509.h"
#include "io/jws.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/controllers/controller.h"
#include "proto/core.pb-c.h"
#include "proto/duration.h"
#include "proto/json.h"
#include "proto/pb.h"

#define ACCOUNT_NAME "kubernetes.io/service-account.name"
#define ACCOUNT_UID "kubernetes.io/service-account.uid"
#define LEGACY_ISSUER "kubernetes/serviceaccount"
#define LEGACY_CLAIM "kubernetes.io/serviceaccount/"

#define TOKENS_NS "kube-system"
#define INFO_NS "kube-public"
#define INFO_NAME "cluster-info"
#define INFO_DATA "kubeconfig"
#define INFO_SIGNATURE "jws-kubeconfig-"

static struct str datum(const Core__Secret *s, const char *key)
{
	for (size_t i = 0; i < s->n_data; i++)
		if (pb_streq(s->data[i]->key, key))
			return str_of(s->data[i]->value.data, s->data[i]->value.len);
	return STR_NULL;
}

static void set_datum(struct arena *a, Core__Secret *s, const char *key, struct str value)
{
	Core__Secret__DataEntry *entry = NULL;

	for (size_t i = 0; i < s->n_data; i++)
		if (pb_streq(s->data[i]->key, key))
			entry = s->data[i];
	if (!entry)
		entry = pb_add(a, s, "data");
	entry->key = arena_strdup(a, key);
	value = arena_str(a, value);
	entry->value = (ProtobufCBinaryData){value.n, (uint8_t *)(uintptr_t)value.p};
}

static const char *annotation(const Meta__ObjectMeta *m, const char *key)
{
	return pb_s(pb_map_get(m->annotations, m->n_annotations, key));
}

/* --- Service accounts' tokens ------------------------------------------------------------------------------------------ */

static void claim(struct arena *a, struct json *claims, const char *name, const char *value)
{
	json_setc(a, claims, arena_printf(a, LEGACY_CLAIM "%s", name), json_newc(a, value));
}

/* A token without an end: it is good as long as the Secret holds it. */
static int mint(struct arena *a, const struct x509_key *key, const Meta__ObjectMeta *secret, const Meta__ObjectMeta *account, struct str *ret)
{
	struct json *claims = json_new_object(a);
	struct err e = ERR_INIT;

	json_setc(a, claims, "iss", json_newc(a, LEGACY_ISSUER));
	claim(a, claims, "namespace", pb_s(secret->namespace_));
	claim(a, claims, "secret.name", pb_s(secret->name));
	claim(a, claims, "service-account.name", pb_s(account->name));
	claim(a, claims, "service-account.uid", pb_s(account->uid));
	json_setc(a, claims, "sub", json_newf(a, "system:serviceaccount:%s:%s", pb_s(account->namespace_), pb_s(account->name)));
	return jwt_sign(a, key, claims, ret, &e);
}

/* Signed by the key that signs now. */
static bool is_current(struct arena *a, const struct x509_key *key, struct str token)
{
	struct err e = ERR_INIT;
	struct str kid;
	struct jwt t;

	return token.n > 0 && jwt_parse(a, token, &t, &e) == 0 && jwt_kid(a, key, &kid, &e) == 0 && str_eq(t.kid, kid);
}

static void fill(struct reconcile *r, const struct informer_obj *o, const struct informer_obj *account)
{
	const struct controllers_cfg *cfg = r->arg;
	const Core__Secret *s = informer_msg(o);
	bool fresh = is_current(r->arena, cfg->sa_key, datum(s, "token"));
	struct str token = datum(s, "token");
	Core__Secret *copy;

	if (fresh && str_eq(datum(s, "ca.crt"), cfg->root_ca_pem) && str_eqc(datum(s, "namespace"), r->ns) &&
			pb_streq(annotation(o->meta, ACCOUNT_UID), account->meta->uid))
		return;
	if (!fresh && mint(r->arena, cfg->sa_key, o->meta, account->meta, &token) < 0)
		return;
	copy = pb_copy(r->arena, s);
	set_datum(r->arena, copy, "token", token);
	set_datum(r->arena, copy, "ca.crt", cfg->root_ca_pem);
	set_datum(r->arena, copy, "namespace", str_from(r->ns));
	pb_map_set(r->arena, copy->metadata, "annotations", ACCOUNT_UID, account->meta->uid);
	plan_update(r, VIEW_ACCOUNT_TOKENS, copy);
}

static void reconcile_account_token(struct reconcile *r)
{
	const struct controllers_cfg *cfg = r->arg;
	const struct informer_obj *o = view_get(r->view, VIEW_ACCOUNT_TOKENS, r->ns, r->name), *account;
	const char *name, *uid;

	if (!o || o->meta->deletion_timestamp || !cfg->sa_key)
		return;
	name = annotation(o->meta, ACCOUNT_NAME);
	uid = annotation(o->meta, ACCOUNT_UID);
	if (!*name)
		return;
	account = view_get(r->view, VIEW_SERVICEACCOUNTS, r->ns, name);
	if (account && (!*uid || strcmp(uid, account->meta->uid) == 0)) {
		fill(r, o, account);
		return;
	}
	plan_expect_absent(r, VIEW_SERVICEACCOUNTS, r->ns, name, uid);
	plan_stage(r);
	plan_delete(r, VIEW_ACCOUNT_TOKENS, o, -1, NULL);
}

static void map_account_to_tokens(struct enqueue *q, const struct view *v, const struct informer_obj *account)
{
	const struct informer_obj *o;
	size_t pos = 0;

	while ((o = informer_next(v->inf[VIEW_ACCOUNT_TOKENS], &pos)))
		if (pb_streq(o->meta->namespace_, account->meta->namespace_) && pb_streq(annotation(o->meta, ACCOUNT_NAME), account->meta->name))
			enqueue_name(q, pb_s(o->meta->namespace_), o->meta->name);
}

/* --- Tokens whose time is over ------------------------------------------------------------------------------------------- */

static void expire(struct reconcile *r, enum view_id view)
{
	const struct informer_obj *o = view_get(r->view, view, r->ns, r->name);
	struct str until;
	int64_t at;
	int32_t ns;

	if (!o || o->meta->deletion_timestamp || strcmp(r->ns, TOKENS_NS) != 0)
		return;
	until = datum(informer_msg(o), "expiration");
	if (until.n == 0 || !time_parse(until, &at, &ns))
		return;
	if (at <= r->now_s)
		plan_delete(r, view, o, -1, NULL);
	else
		plan_again(r, (uint64_t)MIN(at - r->now_s, 3600) * 1000 + 100);
}

static void reconcile_bootstrap_token(struct reconcile *r)
{
	expire(r, VIEW_BOOTSTRAP_TOKENS);
}

static void reconcile_join_token(struct reconcile *r)
{
	expire(r, VIEW_JOIN_TOKENS);
}

/* --- cluster-info, signed ---------------------------------------------------------------------------------------------------- */

static bool is_usable(const struct reconcile *r, const struct informer_obj *o)
{
	const Core__Secret *s = informer_msg(o);
	struct str id = datum(s, "token-id"), until = datum(s, "expiration");
	int64_t at;
	int32_t ns;

	return pb_streq(o->meta->namespace_, TOKENS_NS) && !o->meta->deletion_timestamp && id.n == 6 && datum(s, "token-secret").n == 16 &&
	       str_eqc(datum(s, "usage-bootstrap-signing"), "true") &&
	       (until.n == 0 || (time_parse(until, &at, &ns) && at > r->now_s));
}

/* RFC 7515, appendix F: the payload is left out, the reader has it. */
static struct str detached(struct arena *a, struct str content, struct str id, struct str secret)
{
	struct str head = jws_base64url(a, arena_sprintf(a, "{\"alg\":\"HS256\",\"kid\":\"%.*s\"}", STR_FMT(id)));
	struct str signing = arena_sprintf(a, "%.*s.%.*s", STR_FMT(head), STR_FMT(jws_base64url(a, content)));
	uint8_t mac[32];

	x509_hmac_sha256(secret, signing, mac);
	return arena_sprintf(a, "%.*s..%.*s", STR_FMT(head), STR_FMT(jws_base64url(a, str_of(mac, sizeof(mac)))));
}

/* In whatever order. */
static bool same_data(const Core__ConfigMap *x, const Core__ConfigMap *y)
{
	if (x->n_data != y->n_data)
		return false;
	for (size_t i = 0; i < x->n_data; i++) {
		const char *other = pb_map_get(y->data, y->n_data, x->data[i]->key);

		if (!other || !pb_streq(x->data[i]->value, other))
			return false;
	}
	return true;
}

static void reconcile_info(struct reconcile *r)
{
	const struct informer_obj *o = view_get(r->view, VIEW_CONFIGMAPS, INFO_NS, INFO_NAME), *token;
	Core__ConfigMap *copy = o ? pb_copy(r->arena, informer_msg(o)) : NULL;
	const char *content = copy ? pb_map_get(copy->data, copy->n_data, INFO_DATA) : NULL;
	size_t pos = 0, kept = 0;

	if (!content || o->meta->deletion_timestamp)
		return;
	for (size_t i = 0; i < copy->n_data; i++)
		if (strncmp(pb_s(copy->data[i]->key), INFO_SIGNATURE, strlen(INFO_SIGNATURE)) != 0)
			copy->data[kept++] = copy->data[i];
	copy->n_data = kept;
	while ((token = informer_next(r->view->inf[VIEW_BOOTSTRAP_TOKENS], &pos)))
		if (is_usable(r, token)) {
			struct str id = datum(informer_msg(token), "token-id");

			pb_map_set(r->arena, copy, "data", arena_printf(r->arena, INFO_SIGNATURE "%.*s", STR_FMT(id)),
					arena_cstr(r->arena, detached(r->arena, str_from(content), id, datum(informer_msg(token), "token-secret"))));
		}
	if (!same_data(informer_msg(o), copy))
		plan_update(r, VIEW_CONFIGMAPS, copy);
}

static void map_info(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	if (pb_streq(o->meta->namespace_, INFO_NS) && pb_streq(o->meta->name, INFO_NAME))
		enqueue_name(q, INFO_NS, INFO_NAME);
}

static void map_token_to_info(struct enqueue *q, const struct view *v, const struct informer_obj *o)
{
	enqueue_name(q, INFO_NS, INFO_NAME);
}

const struct controller_row controller_account_token = {
	.name = "serviceaccount-token-controller",
	.watches = {{VIEW_ACCOUNT_TOKENS, map_self}, {VIEW_SERVICEACCOUNTS, map_account_to_tokens}},
	.reconcile = reconcile_account_token,
};

const struct controller_row controller_token_cleaner = {
	.name = "token-cleaner-controller",
	.account = "token-cleaner",
	.watches = {{VIEW_BOOTSTRAP_TOKENS, map_self}},
	.reconcile = reconcile_bootstrap_token,
};

const struct controller_row controller_join_token = {
	.name = "join-token-cleaner",
	.account = "token-cleaner",
	.watches = {{VIEW_JOIN_TOKENS, map_self}},
	.reconcile = reconcile_join_token,
};

const struct controller_row controller_bootstrap_signer = {
	.name = "bootstrap-signer-controller",
	.account = "bootstrap-signer",
	.watches = {{VIEW_CONFIGMAPS, map_info}, {VIEW_BOOTSTRAP_TOKENS, map_token_to_info}},
	.reconcile = reconcile_info,
};

/* Who asks: a webhook that knows tokens, an OIDC issuer's tokens with keys fetched over TLS, a front proxy's headers, service-account keys that change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/util.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/jws.h"
#include "io/tls.h"
#include "io/x509.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/auth_hook.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/keyset.h"
#include "orchestrator/apiserver/jwt_issuer.h"
#include "orchestrator/apiserver/oidc.h"
#include "orchestrator/apiserver/request.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define WHO "/apis/authentication.k8s.io/v1/selfsubjectreviews"

static struct http_server *issuer;
static struct http_handler handler;
static struct tls_ctx *issuer_tls;
static struct keyset *published;
static struct x509_key *first, *second;
static char url[64], ca[128], proxy_ca[128], old_key[128], trusted_keys[128], hook_file[128], access_file[128];

static void must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static void write_text(const char *path, struct str text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
	fclose(f);
}

/* --- The pure part ------------------------------------------------------------------------------------------ */

static void test_user(void **state)
{
	static const struct {
		const char *claims, *name, *group; /* name NULL: refused */
	} rows[] = {
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100,\"sub\":\"u\"}", "https://i#u", NULL},
			{"{\"iss\":\"https://i\",\"aud\":[\"x\",\"me\"],\"exp\":100,\"sub\":\"u\",\"groups\":[\"g\",\"h\"]}", "https://i#u", "oidc:g"},
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100,\"sub\":\"u\",\"groups\":\"g\"}", "https://i#u", "oidc:g"},
			{"{\"iss\":\"https://j\",\"aud\":\"me\",\"exp\":100,\"sub\":\"u\"}", NULL, NULL},
			{"{\"iss\":\"https://i\",\"aud\":\"you\",\"exp\":100,\"sub\":\"u\"}", NULL, NULL},
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":10,\"sub\":\"u\"}", NULL, NULL},
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100,\"nbf\":99,\"sub\":\"u\"}", "https://i#u", NULL},
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":1000,\"nbf\":500,\"sub\":\"u\"}", NULL, NULL},
			{"{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100}", NULL, NULL},
	};
	struct oidc_cfg flags = {.issuer = "https://i", .client_id = "me", .groups_claim = "groups", .groups_prefix = "oidc:"};
	struct jwt_issuer by;
	struct arena a;
	struct api_user u;

	(void)state;
	arena_init(&a);
	jwt_issuer_of_flags(&a, &flags, &by);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err e = ERR_INIT;
		struct json *claims;
		int r;

		assert_int_equal(json_parse(&a, str_from(rows[i].claims), NULL, &claims, NULL), 0);
		r = jwt_issuer_user(&by, &a, claims, 50, &u, &e);
		if ((r == 0) != (rows[i].name != NULL))
			fail_msg("row %zu: %s", i, e.text);
		if (rows[i].name)
			assert_string_equal(arena_cstr(&a, u.name), rows[i].name);
		if (rows[i].group)
			assert_string_equal(arena_cstr(&a, u.groups[0]), rows[i].group);
	}
	/* An issuer cannot make somebody a component of the cluster. */
	flags.username_prefix = "-";
	flags.groups_prefix = NULL;
	jwt_issuer_of_flags(&a, &flags, &by);
	for (int i = 0; i < 2; i++) {
		struct err e = ERR_INIT;
		struct json *claims;

		json_parse(&a, i ? STR("{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100,\"sub\":\"u\",\"groups\":[\"system:masters\"]}") :
				   STR("{\"iss\":\"https://i\",\"aud\":\"me\",\"exp\":100,\"sub\":\"system:admin\"}"),
				NULL, &claims, NULL);
		assert_true(jwt_issuer_user(&by, &a, claims, 50, &u, &e) < 0);
	}
	arena_fini(&a);
}

static void test_jwks(void **state)
{
	struct keyset *ks = keyset_new(), *read = keyset_new();
	struct x509_key *ec, *rsa;
	struct err e = ERR_INIT;
	struct arena a;
	struct jwt t;
	struct str token;
	struct json *claims;

	(void)state;
	arena_init(&a);
	must(x509_key_new(&ec, &e), &e);
	must(x509_key_new_rsa(2048, &rsa, &e), &e);
	must(keyset_add(ks, NULL, ec, &e), &e);
	must(keyset_add(ks, NULL, rsa, &e), &e);
	must(keyset_add_jwks(read, keyset_jwks(ks, &a), &e), &e);
	assert_int_equal(keyset_len(read), 2);
	claims = json_new_object(&a);
	for (int i = 0; i < 2; i++) {
		must(jwt_sign(&a, i ? rsa : ec, claims, &token, &e), &e);
		must(jwt_parse(&a, token, &t, &e), &e);
		must(keyset_check(read, &t, &e), &e);
		t.kid = STR("another");
		assert_true(keyset_check(read, &t, &e) < 0);
		t.kid = STR_NULL;
		assert_int_equal(keyset_check(read, &t, &e), 0);
		((char *)(uintptr_t)t.signature.p)[5] ^= 1;
		assert_true(keyset_check(read, &t, &e) < 0);
	}
	keyset_free(ks);
	keyset_free(read);
	arena_fini(&a);
}

/* What a header calls critical is not understood, so the token is not taken; nor is one whose header is no object. */
static void test_critical(void **state)
{
	static const struct {
		const char *head;
		bool good;
	} rows[] = {{"{\"alg\":\"ES256\"}", true}, {"{\"alg\":\"ES256\",\"typ\":\"JWT\",\"x\":1}", true},
			{"{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", false}, {"{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", false},
			{"{\"alg\":\"ES256\",\"crit\":[]}", false}, {"{\"alg\":\"none\",\"alg\":\"ES256\"}", true}, {"{\"alg\":\"ES256\",\"alg\":\"none\"}", false}, {"[]", false}, {"{\"alg\":[\"ES256\"]}", false},
			{"{\"alg\":\"none\"}", false}, {"{\"alg\":\"HS256\"}", false}, {"{}", false}};
	struct x509_key *key;
	struct err e = ERR_INIT;
	struct arena a;

	(void)state;
	arena_init(&a);
	must(x509_key_new(&key, &e), &e);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_(buf_fini) struct buf sig = BUF_INIT;
		struct str both = arena_sprintf(&a, "%.*s.%.*s", STR_FMT(jws_base64url(&a, str_from(rows[i].head))), STR_FMT(jws_base64url(&a, STR("{}"))));
		struct json *claims;

		must(x509_jws_sign(key, both, &sig, &e), &e);
		both = arena_sprintf(&a, "%.*s.%.*s", STR_FMT(both), STR_FMT(jws_base64url(&a, buf_str(&sig))));
		if ((jwt_verify(&a, key, both, &claims, &e) == 0) != rows[i].good)
			fail_msg("the header %s is %s", rows[i].head, rows[i].good ? "refused" : "taken");
	}
	x509_key_free(key);
	arena_fini(&a);
}

/* --- A server ------------------------------------------------------------------------------------------------- */

static void publish(struct x509_key *key)
{
	_cleanup_(buf_fini) struct buf pem = BUF_INIT;
	struct err e = ERR_INIT;

	keyset_free(TAKE(published));
	published = keyset_new();
	must(x509_key_public_pem(key, &pem, &e), &e);
	must(keyset_add_pem(published, buf_str(&pem), &e), &e);
}

/* --- A webhook that knows tokens -------------------------------------------------------------------------- */

static unsigned n_reviews;

#define REVIEW "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"status\":"

static const struct {
	const char *token, *answer; /* answer NULL: an error of the server */
} reviews[] = {
	{"good", REVIEW "{\"authenticated\":true,\"user\":{\"username\":\"wanda\",\"uid\":\"7\",\"groups\":[\"ops\"],\"extra\":{\"team\":[\"a\",\"b\"]}}}}"},
	{"for-others", REVIEW "{\"authenticated\":true,\"audiences\":[\"others\"],\"user\":{\"username\":\"wanda\"}}}"},
	{"nameless", REVIEW "{\"authenticated\":true,\"user\":{}}}"},
	{"old", "{\"apiVersion\":\"authentication.k8s.io/v1beta1\",\"kind\":\"TokenReview\",\"status\":{\"authenticated\":true,\"user\":{\"username\":\"x\"}}}"},
	{"slow", REVIEW "{\"authenticated\":true,\"user\":{\"username\":\"sloth\"}}}"},
	{"bad", REVIEW "{\"authenticated\":false}}"},
	{"broken", "{\"status\":"},
	{"down", NULL},
};

/* The first question about the token "slow" is not answered. */
static int slow_asked, slow_left;

/* Those about tokens that begin with "held-" are answered when they are let go. */
static struct http_request *held[AUTH_HOOK_CALLS + 8];
static size_t n_held;

static void on_left(struct http_request *r)
{
	slow_left = 1;
	http_respond_abort(r);
}

static void on_review(struct http_request *r, int status, struct str body)
{
	struct http_header type = {STR("content-type"), STR("application/json")};
	struct str token;
	struct json *doc;

	if (status < 0) {
		http_respond_abort(r);
		return;
	}
	n_reviews++;
	assert_int_equal(json_parse(&r->arena, body, NULL, &doc, NULL), 0);
	assert_true(json_eqc(json_getc(doc, "kind"), "TokenReview") && json_eqc(json_getc(doc, "apiVersion"), "authentication.k8s.io/v1"));
	assert_true(str_eqc(http_request_header(r, "authorization"), "Bearer let-me-ask"));
	token = json_strp(doc, "spec.token");
	if (str_eqc(token, "slow") && !slow_asked) {
		slow_asked = 1;
		r->on_cancel = on_left;
		return;
	}
	if (str_has_prefix(token, STR("held-"))) {
		assert_true(n_held < ARRAY_LEN(held));
		held[n_held++] = r;
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(reviews); i++)
		if (str_eqc(token, reviews[i].token) && reviews[i].answer) {
			http_respond(r, 200, &type, 1, str_from(reviews[i].answer));
			return;
		}
	http_respond(r, 500, &type, 1, STR("not today"));
}

/* --- And one that knows who may what: it lets wanda read ConfigMaps of the namespace hers, and see /secret-path ---------------- */

static unsigned n_access;
static bool access_broken;
static char last_asked[2048]; /* the spec of the last question */

static void on_access(struct http_request *r, int status, struct str body)
{
	struct http_header type = {STR("content-type"), STR("application/json")};
	const struct json *spec, *what;
	struct json *doc;
	bool yes, never;

	if (status < 0) {
		http_respond_abort(r);
		return;
	}
	n_access++;
	assert_int_equal(json_parse(&r->arena, body, NULL, &doc, NULL), 0);
	assert_true(json_eqc(json_getc(doc, "kind"), "SubjectAccessReview") && json_eqc(json_getc(doc, "apiVersion"), "authorization.k8s.io/v1"));
	spec = json_getc(doc, "spec");
	snprintf(last_asked, sizeof(last_asked), "%.*s", STR_FMT(json_text(&r->arena, spec)));
	what = json_getc(spec, "resourceAttributes");
	yes = json_eqc(json_getc(spec, "user"), "wanda") && json_eqc(json_at(json_getc(spec, "groups"), 0), "ops") &&
	      json_eqc(json_at(json_getp(spec, "extra.team"), 1), "b") &&
	      (what ? json_eqc(json_getc(what, "resource"), "configmaps") && json_eqc(json_getc(what, "namespace"), "hers") &&
							      (json_eqc(json_getc(what, "version"), "v1") || json_eqc(json_getc(what, "version"), "*")) && !json_eqc(json_getc(what, "verb"), "create") :
		      json_eqc(json_getp(spec, "nonResourceAttributes.path"), "/metrics"));
	never = json_eqc(json_getc(spec, "user"), "ext:mallory");
	http_respond(r, access_broken ? 500 : 200, &type, 1, str_from(arena_printf(&r->arena,
			"{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SubjectAccessReview\",\"status\":{\"allowed\":%s,\"denied\":%s,\"reason\":\"the book says so\"}}",
			yes ? "true" : "false", never ? "true" : "false")));
}

static void on_request(struct http_handler *h, struct http_request *r)
{
	struct http_header type = {STR("content-type"), STR("application/json")};
	struct json *doc = json_new_object(&r->arena);

	(void)h;
	if (str_eqc(r->path, "/access")) {
		http_request_body(r, 65536, on_access);
		return;
	}
	if (str_eqc(r->path, "/review")) {
		http_request_body(r, 65536, on_review);
		return;
	}
	if (str_eqc(r->path, "/keys")) {
		doc = keyset_jwks(published, &r->arena);
	} else {
		json_setc(&r->arena, doc, "issuer", json_newc(&r->arena, url));
		json_setc(&r->arena, doc, "jwks_uri", json_newf(&r->arena, "%s/keys", url));
	}
	http_respond(r, 200, &type, 1, json_text(&r->arena, doc));
}

static void make_proxy_ca(const char *dir, struct err *e)
{
	struct x509_spec spec = {.cn = "proxy", .days = 1, .client = true}, other = {.cn = "liar", .days = 1, .client = true};
	struct x509_key *ca_key, *key;
	struct x509_cert *cert, *leaf;
	char path[160];

	must(x509_key_new(&ca_key, e), e);
	must(x509_ca_new("proxy-ca", 1, ca_key, &cert, e), e);
	must(x509_cert_save(cert, proxy_ca, e), e);
	must(x509_key_new(&key, e), e);
	for (int i = 0; i < 2; i++) {
		must(x509_sign(i ? &other : &spec, key, cert, ca_key, &leaf, e), e);
		snprintf(path, sizeof(path), "%s/%s.crt", dir, i ? "liar" : "proxy");
		must(x509_cert_save(leaf, path, e), e);
		snprintf(path, sizeof(path), "%s/%s.key", dir, i ? "liar" : "proxy");
		must(x509_key_save(key, path, e), e);
		x509_cert_free(leaf);
	}
	x509_key_free(ca_key);
	x509_key_free(key);
	x509_cert_free(cert);
}

/* A path beside the API's own, for those who have a certificate. */
static bool beside(void *arg, struct http_request *r)
{
	(void)arg;
	if (!str_eqc(r->path, "/beside"))
		return false;
	http_respond(r, r->peer_verified ? 200 : 403, NULL, 0, STR("{}"));
	return true;
}

static void configure(const char *dir, struct apiserver_cfg *cfg)
{
	struct http_server_config hc = {.address = "127.0.0.1:0"};
	struct tls_config tc = {.server = true, .alpn = "http/1.1"};
	char crt[128], key[128];
	struct x509_key *old;
	struct err e = ERR_INIT;

	snprintf(crt, sizeof(crt), "%s/server.crt", dir);
	snprintf(key, sizeof(key), "%s/server.key", dir);
	snprintf(ca, sizeof(ca), "%s/ca.crt", dir);
	snprintf(proxy_ca, sizeof(proxy_ca), "%s/proxy-ca.crt", dir);
	snprintf(old_key, sizeof(old_key), "%s/old.key", dir);
	must(tls_ctx_new_files(&tc, crt, key, NULL, &issuer_tls, &e), &e);
	hc.tls = issuer_tls;
	handler.on_request = on_request;
	must(http_server_new(rig_loop, &hc, &handler, &issuer, &e), &e);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", http_server_port(issuer));
	must(x509_key_new(&first, &e), &e);
	must(x509_key_new(&second, &e), &e);
	publish(first);
	make_proxy_ca(dir, &e);
	must(x509_key_new(&old, &e), &e);
	must(x509_key_save(old, old_key, &e), &e);
	x509_key_free(old);
	cfg->oidc = (struct oidc_cfg){.issuer = url, .client_id = "kontiki", .groups_claim = "groups", .ca_file = ca};
	cfg->requestheader_ca = proxy_ca;
	cfg->requestheader_names = "proxy";
	cfg->extra = beside;
	cfg->sa_verify_keys = old_key;
	snprintf(trusted_keys, sizeof(trusted_keys), "%s/sa-trusted.pem", dir);
	cfg->sa_trusted = trusted_keys;
	snprintf(hook_file, sizeof(hook_file), "%s/hook.yaml", dir);
	write_text(hook_file, str_from(arena_printf(&rig_arena,
			"apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: '%s/review', certificate-authority: ca.crt}\n"
			"users:\n- name: u\n  user: {token: let-me-ask}\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\n", url)));
	cfg->token_hook_file = hook_file;
	snprintf(access_file, sizeof(access_file), "%s/access.yaml", dir);
	write_text(access_file, str_from(arena_printf(&rig_arena,
			"clusters:\n- name: c\n  cluster: {server: '%s/access', certificate-authority: ca.crt}\n"
			"contexts:\n- name: x\n  context: {cluster: c}\ncurrent-context: x\n", url)));
	cfg->authz_hook_file = access_file;
}

static int start(void **state)
{
	(void)state;
	rig_configure = configure;
	rig_start();
	return 0;
}

static void closed(void *arg)
{
	*(int *)arg = 1;
}

static int stop(void **state)
{
	int done = 0;

	(void)state;
	http_server_close(issuer, 0, closed, &done);
	rig_until(&done);
	rig_stop();
	tls_ctx_unref(issuer_tls);
	keyset_free(TAKE(published));
	x509_key_free(first);
	x509_key_free(second);
	return 0;
}

static void bearer(struct x509_key *key, const char *claims)
{
	struct json *doc;
	struct str token;
	struct err e = ERR_INIT;

	assert_int_equal(json_parse(&rig_arena, str_from(claims), NULL, &doc, NULL), 0);
	json_setc(&rig_arena, doc, "exp", json_new_int(&rig_arena, clock_wall_s() + 600));
	must(jwt_sign(&rig_arena, key, doc, &token, &e), &e);
	rig_header("Authorization", arena_printf(&rig_arena, "Bearer %.*s", STR_FMT(token)));
}

static void test_oidc(void **state)
{
	const char *claims = arena_printf(&rig_arena, "{\"iss\":\"%s\",\"aud\":\"kontiki\",\"sub\":\"ann\",\"groups\":[\"staff\"]}", url);
	struct json *o;

	(void)state;
	rig_as(NULL);
	bearer(first, claims);
	o = rig_call("POST", WHO, "{}", 201);
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.username")), arena_printf(&rig_arena, "%s#ann", url));
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 0)), "staff");
	/* Signed by somebody else. */
	bearer(second, claims);
	rig_call("POST", WHO, "{}", 401);
	rig_as("admin");
}

/* Upstream's reading of the header: of other schemes and of no token at all it takes no notice, and behind a token it does not look. */
static void test_schemes(void **state)
{
	static const struct {
		const char *header;
		int version, pods; /* 403: a stranger, 401: somebody who is not believed */
	} rows[] = {{"Basic dXNlcjpwYXNz", 200, 403}, {"Digest x", 200, 403}, {"Bearer", 200, 403}, {"bearer ", 200, 403}, {"Bearer  good", 200, 403},
			{"Bearer\tgood", 200, 403}, {"good", 200, 403}, {"Bearer bad", 401, 401}, {"BEARER bad", 401, 401}, {"Bearer bad good", 401, 401}};

	(void)state;
	rig_as(NULL);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rig_header("Authorization", rows[i].header);
		rig_call("GET", "/version", NULL, rows[i].version);
		rig_header("Authorization", rows[i].header);
		rig_call("GET", "/api/v1/pods", NULL, rows[i].pods);
	}
	rig_header("Authorization", "bearer good and more");
	assert_string_equal(json_cstr(json_getp(rig_call("POST", WHO, "{}", 201), "status.userInfo.username")), "wanda");
	rig_as("admin");
}

static void test_proxy(void **state)
{
	struct json *o;

	(void)state;
	rig_as("proxy");
	rig_header("X-Remote-User", "pat");
	rig_header("X-Remote-Group", "team");
	rig_header("X-Remote-Extra-Scope", "s");
	o = rig_call("POST", WHO, "{}", 201);
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.username")), "pat");
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 0)), "team");
	/* The proxy's certificate alone says nothing: its CA is for proxies. */
	rig_call("POST", WHO, "{}", 403);
	/* Of that CA, but not by a name that is believed. */
	rig_as("liar");
	rig_header("X-Remote-User", "pat");
	rig_call("POST", WHO, "{}", 403);
	/* Nor is it believed where nobody knows of proxies. */
	rig_call("GET", "/beside", NULL, 403);
	/* The headers mean nothing from a client. */
	rig_as("jane");
	rig_call("GET", "/beside", NULL, 200);
	rig_header("X-Remote-User", "pat");
	o = rig_call("POST", WHO, "{}", 201);
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.username")), "jane");
	rig_as("admin");
}

static void test_old_key(void **state)
{
	struct x509_key *old;
	struct err e = ERR_INIT;
	struct json *o;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"sa\"}}", 201);
	must(x509_key_load(old_key, &old, &e), &e);
	rig_as(NULL);
	bearer(old, "{\"iss\":\"https://kubernetes.default.svc.cluster.local\",\"aud\":\"https://kubernetes.default.svc.cluster.local\","
		    "\"kubernetes.io\":{\"namespace\":\"default\",\"serviceaccount\":{\"name\":\"sa\"}}}");
	o = rig_call("POST", WHO, "{}", 201);
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.username")), "system:serviceaccount:default:sa");
	x509_key_free(old);
	rig_as("admin");
	o = rig_call("GET", "/openid/v1/jwks", NULL, 200);
	assert_int_equal(json_len(json_getc(o, "keys")), 2);
	o = rig_call("GET", "/.well-known/openid-configuration", NULL, 200);
	assert_non_null(json_getc(o, "jwks_uri"));
}

static struct json *with_token(const char *token, int want)
{
	rig_header("Authorization", arena_printf(&rig_arena, "Bearer %s", token));
	return rig_call("POST", WHO, "{}", want);
}

static void test_hook(void **state)
{
	struct json *o;
	unsigned before;

	(void)state;
	rig_as(NULL);
	n_reviews = 0;
	o = with_token("good", 201);
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.username")), "wanda");
	assert_string_equal(json_cstr(json_getp(o, "status.userInfo.uid")), "7");
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 0)), "ops");
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 1)), "system:authenticated");
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.extra.team"), 1)), "b");
	/* It is asked once, whatever it says: yes, no; but not when it says nothing. */
	with_token("good", 201);
	with_token("bad", 401);
	with_token("bad", 401);
	assert_int_equal(n_reviews, 2);
	with_token("for-others", 401);
	with_token("nameless", 401);
	with_token("old", 401);
	with_token("broken", 401);
	before = n_reviews;
	with_token("down", 401);
	usleep(150000);
	with_token("down", 401);
	assert_int_equal(n_reviews, before + 2);
	/* Who goes away while it is asked leaves no answer to others. */
	rig_header("Authorization", "Bearer slow");
	rig_leave("/version", &slow_asked);
	rig_until(&slow_left);
	with_token("slow", 201);
	before = n_reviews - 2;
	/* What we know ourselves is not asked. */
	bearer(first, arena_printf(&rig_arena, "{\"iss\":\"%s\",\"aud\":\"kontiki\",\"sub\":\"ann\"}", url));
	rig_call("POST", WHO, "{}", 201);
	assert_int_equal(n_reviews, before + 2);
	/* A TokenReview of ours may be answered by it, for the audience that is asked for. */
	rig_as("admin");
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"for-others\",\"audiences\":[\"others\"]}}", 201);
	assert_true(json_true(json_getp(o, "status.authenticated")));
	assert_string_equal(json_cstr(json_getp(o, "status.user.username")), "wanda");
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"for-others\",\"audiences\":[\"x\",\"others\"]}}", 201);
	assert_int_equal(json_len(json_getp(o, "status.audiences")), 1);
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.audiences"), 0)), "others");
	/* Of whose audience it says nothing is for the API alone. */
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"good\",\"audiences\":[\"others\"]}}", 201);
	assert_false(json_true(json_getp(o, "status.authenticated")));
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"good\"}}", 201);
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.audiences"), 0)), "https://kubernetes.default.svc.cluster.local");
	o = rig_call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{\"spec\":{\"token\":\"bad\"}}", 201);
	assert_false(json_true(json_getp(o, "status.authenticated")));
}

struct asked {
	struct http_call call;
	struct http_header header;
	int over;
};

static void over(struct http_call *c, const struct err *e)
{
	assert_null(e);
	container_of(c, struct asked, call)->over = 1;
}

/* With as many connections as there are calls. */
static struct http_client *many_client(struct tls_ctx **ret_tls)
{
	struct tls_config tc = {.alpn = "http/1.1"};
	struct http_client_config hc = {.proto = HTTP_PROTO_1, .max_connections = 2 * AUTH_HOOK_CALLS,
			.address = arena_printf(&rig_arena, "127.0.0.1:%u", apiserver_port(rig_server))};
	struct http_client *client;
	struct err e = ERR_INIT;

	must(tls_ctx_new_files(&tc, NULL, NULL, ca, ret_tls, &e), &e);
	hc.tls = *ret_tls;
	must(http_client_new(rig_loop, &hc, &client, &e), &e);
	return client;
}

static void ask(struct http_client *client, struct asked *a, const char *token)
{
	*a = (struct asked){.header = {STR("authorization"), arena_sprintf(&rig_arena, "Bearer %s", token)}};
	a->call = (struct http_call){.method = "GET", .path = "/version", .headers = &a->header, .n_headers = 1, .max_body = 65536, .timeout_ms = 60000,
			.done = over};
	http_call_start(client, &a->call);
}

static void let_go(void)
{
	struct http_header type = {STR("content-type"), STR("application/json")};

	for (size_t i = 0; i < n_held; i++)
		http_respond(held[i], 200, &type, 1, STR(REVIEW "{\"authenticated\":true,\"user\":{\"username\":\"patience\"}}}"));
	n_held = 0;
}

/* What several want to know is asked once; what is too much is refused at once, and what can be known without the webhook is not. */
static void test_many(void **state)
{
	static struct asked same[5], each[AUTH_HOOK_CALLS + 3];
	struct tls_ctx *tls;
	struct http_client *client = many_client(&tls);
	unsigned n_busy = 0;
	size_t left = ARRAY_LEN(each);
	int done = 0;

	(void)state;
	rig_as(NULL);
	n_reviews = 0;
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		ask(client, &same[i], "held-same");
	while (n_held == 0)
		loop_turn(rig_loop, 5);
	with_token("good", 201);
	assert_int_equal(n_held, 1);
	let_go();
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		rig_until(&same[i].over);
		assert_int_equal(same[i].call.status, 200);
		http_call_fini(&same[i].call);
	}
	for (size_t i = 0; i < ARRAY_LEN(each); i++)
		ask(client, &each[i], arena_printf(&rig_arena, "held-%zu", i));
	/* The webhook's server is asked over fewer connections than that; what waits for one counts. */
	for (int turns = 0; turns < 10000 && n_busy < 3; turns++) {
		loop_turn(rig_loop, 5);
		n_busy = 0;
		for (size_t i = 0; i < ARRAY_LEN(each); i++)
			n_busy += each[i].over;
	}
	assert_int_equal(n_busy, 3);
	with_token("good", 201);
	for (size_t i = 0; i < ARRAY_LEN(each); i++)
		if (each[i].over) {
			assert_int_equal(each[i].call.status, 503);
			assert_true(str_eqc(http_header_get(&each[i].call.response, "retry-after"), "1"));
		}
	while (left > 0) {
		let_go();
		loop_turn(rig_loop, 5);
		left = 0;
		for (size_t i = 0; i < ARRAY_LEN(each); i++)
			left += !each[i].over;
	}
	for (size_t i = 0; i < ARRAY_LEN(each); i++)
		http_call_fini(&each[i].call);
	http_client_close(client, closed, &done);
	rig_until(&done);
	tls_ctx_unref(tls);
	rig_as("admin");
}

static struct json *as_wanda(const char *method, const char *path, const char *body, int want)
{
	rig_header("Authorization", "Bearer good");
	return rig_call(method, path, body, want);
}

static void test_access_hook(void **state)
{
	struct json *o;
	unsigned before;

	(void)state;
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"hers\"}}", 201);
	rig_as(NULL);
	n_access = 0;
	as_wanda("GET", "/api/v1/namespaces/hers/configmaps", NULL, 200);
	as_wanda("GET", "/api/v1/namespaces/hers/configmaps", NULL, 200);
	assert_int_equal(n_access, 1);
	o = as_wanda("POST", "/api/v1/namespaces/hers/configmaps", "{\"metadata\":{\"name\":\"x\"}}", 403);
	assert_true(str_search(json_strp(o, "message"), STR("the book says so")) >= 0);
	as_wanda("GET", "/api/v1/namespaces/default/configmaps", NULL, 403);
	as_wanda("GET", "/metrics", NULL, 200);
	/* What roles allow is not asked. */
	before = n_access;
	as_wanda("GET", "/version", NULL, 200);
	assert_int_equal(n_access, before);
	/* Nobody may be somebody else because the webhook is silent; without an answer nothing is allowed, and it is asked again. */
	rig_header("Impersonate-User", "jane");
	as_wanda("GET", "/version", NULL, 403);
	access_broken = true;
	before = n_access;
	o = as_wanda("GET", "/api/v1/namespaces/hers/secrets", NULL, 403);
	usleep(150000);
	as_wanda("GET", "/api/v1/namespaces/hers/secrets", NULL, 403);
	assert_int_equal(n_access, before + 2);
	access_broken = false;
	/* Those who ask about others hear of it, too. */
	rig_as("admin");
	o = rig_call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{\"spec\":{\"user\":\"wanda\",\"groups\":[\"ops\"],"
			"\"extra\":{\"team\":[\"a\",\"b\"]},\"resourceAttributes\":{\"verb\":\"watch\",\"resource\":\"configmaps\",\"version\":\"v1\",\"namespace\":\"hers\"}}}", 201);
	assert_true(json_true(json_getp(o, "status.allowed")));
	assert_string_equal(json_cstr(json_getp(o, "status.reason")), "the book says so");
}

#define POLICIES "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define HERS "/api/v1/namespaces/hers/configmaps"

static void asked(const char *text)
{
	if (!strstr(last_asked, text))
		fail_msg("%s is not in %s", text, last_asked);
}

/* Expressions of policies ask whom requests ask, webhooks as well; so do those who want to hand out roles. */
static void test_access_hook_of_policies(void **state)
{
	struct json *o;
	unsigned before;

	(void)state;
	rig_as("admin");
	rig_call("POST", RBAC "namespaces/hers/roles", quoted("{'metadata':{'name':'writer'},'rules':[{'apiGroups':['','rbac.authorization.k8s.io'],"
			"'resources':['configmaps','roles'],'verbs':['create']}]}"), 201);
	rig_call("POST", RBAC "namespaces/hers/rolebindings", quoted("{'metadata':{'name':'writer'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io',"
			"'kind':'Role','name':'writer'},'subjects':[{'kind':'User','name':'wanda','apiGroup':'rbac.authorization.k8s.io'}]}"), 201);
	rig_call("POST", POLICIES, quoted("{'metadata':{'name':'ask'},'spec':{'matchConstraints':{'resourceRules':[{'operations':['CREATE'],'apiGroups':[''],"
			"'apiVersions':['v1'],'resources':['configmaps']}]},'variables':[{'name':'maps','expression':'authorizer.group(``).resource(`configmaps`)."
			"namespace(`hers`)'},{'name':'yes','expression':'variables.maps.name(object.metadata.name).check(`get`)'}],'validations':[{'expression':"
			"'!variables.yes.errored()','messageExpression':'variables.yes.error()'},{'expression':'variables.yes.allowed() && variables.yes."
			"reason() == `the book says so`','message':'not in the book'},{'expression':'!variables.maps.check(`create`).reason().contains(`book`)'},"
			"{'expression':'!authorizer.serviceAccount(`hers`,`sa`).group(``).resource(`secrets`).fieldSelector(`metadata.name=x`).labelSelector("
			"`a in (b,c),!d`).check(`list`).allowed()'}]}}"), 201);
	rig_call("POST", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
			quoted("{'metadata':{'name':'ask'},'spec':{'policyName':'ask','validationActions':['Deny']}}"), 201);
	rig_as(NULL);
	before = n_access;
	as_wanda("POST", HERS, "{\"metadata\":{\"generateName\":\"g-\"}}", 201);
	/* What roles allow is not asked: the name and the account are. */
	assert_int_equal(n_access, before + 2);
	asked("\"user\":\"system:serviceaccount:hers:sa\"");
	asked("\"groups\":[\"system:serviceaccounts\",\"system:serviceaccounts:hers\"]");
	asked("\"fieldSelector\":{\"requirements\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"x\"]}]}");
	asked("\"labelSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"b\",\"c\"]},{\"key\":\"d\",\"operator\":\"DoesNotExist\"}]}");
	asked("\"version\":\"*\"");
	/* A webhook that is silent is an error for them. */
	access_broken = true;
	o = as_wanda("POST", HERS, "{\"metadata\":{\"name\":\"n\"}}", 422);
	assert_true(str_search(json_strp(o, "message"), STR("with binding 'ask' denied request: ")) >= 0);
	if (str_search(json_strp(o, "message"), STR("denied request: an error on the server")) < 0)
		fail_msg("%s", json_cstr(json_getc(o, "message")));
	access_broken = false;
	/* May she hand out what she does not have? That is asked, too. */
	before = n_access;
	as_wanda("POST", RBAC "namespaces/hers/roles", "{\"metadata\":{\"name\":\"more\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],"
			"\"verbs\":[\"get\"]}]}", 403);
	assert_int_equal(n_access, before + 1);
	asked("\"verb\":\"escalate\"");
	/* Selectors of requests narrow what is asked for. */
	usleep(150000);
	as_wanda("GET", HERS "?labelSelector=app&fieldSelector=metadata.name!%3Dx", NULL, 200);
	asked("\"fieldSelector\":{\"requirements\":[{\"key\":\"metadata.name\",\"operator\":\"NotIn\",\"values\":[\"x\"]}]}");
	asked("\"labelSelector\":{\"requirements\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}");
	rig_as("admin");
	rig_call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/ask", NULL, 200);
	rig_call("DELETE", POLICIES "/ask", NULL, 200);
}

/* What is wrong with a webhook's file is said at the start. */
static void test_hook_file(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"", "names no cluster"},
		{"clusters: [{name: c, cluster: {server: 'https://h'}}]", "names no cluster"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'http://h'}}]", "must begin with https"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://h'}}]\n"
		 "users: [{name: u, user: {exec: {command: x}}}]", "are not supported"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://h', certificate-authority: none}}]", "none"},
		{"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://h'}}]\n"
		 "users: [{name: u, user: {client-key-data: eA==}}]", "belong together"},
	};
	char path[] = "/tmp/kt-hook-XXXXXX";
	struct auth_hook *h;
	struct err e = ERR_INIT;

	(void)state;
	assert_true(mkstemp(path) >= 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_text(path, str_from(rows[i].text));
		assert_true(auth_hook_open(path, 0, &h, &e) < 0);
		if (!strstr(e.text, rows[i].why))
			fail_msg("row %zu: %s", i, e.text);
	}
	unlink(path);
	assert_true(auth_hook_open(path, 0, &h, &e) < 0);
}

#define OURS "{\"iss\":\"https://kubernetes.default.svc.cluster.local\",\"aud\":\"https://kubernetes.default.svc.cluster.local\"," \
	"\"kubernetes.io\":{\"namespace\":\"default\",\"serviceaccount\":{\"name\":\"sa\"}}}"

/* What changes on disk is taken up: keys that are trusted too for a while, and two CAs. Who comes with something old is noted. */
static void test_rotation(void **state)
{
	struct x509_key *key, *ca_key;
	struct x509_cert *other;
	struct buf pem = BUF_INIT, two = BUF_INIT, one = BUF_INIT;
	struct err e = ERR_INIT;
	char user[256];

	(void)state;
	must(x509_key_new(&key, &e), &e);
	must(x509_key_public_pem(key, &pem, &e), &e);
	rig_as(NULL);
	bearer(key, OURS);
	rig_call("POST", WHO, "{}", 401);
	write_text(trusted_keys, buf_str(&pem));
	must(apiserver_reload(rig_server, &e), &e);
	assert_int_equal(apiserver_old_use(rig_server, APISERVER_OLD_TOKEN, user), 0);
	bearer(key, OURS);
	rig_call("POST", WHO, "{}", 201);
	assert_true(apiserver_old_use(rig_server, APISERVER_OLD_TOKEN, user) > 0);
	assert_string_equal(user, "system:serviceaccount:default:sa");
	unlink(trusted_keys);
	must(apiserver_reload(rig_server, &e), &e);
	bearer(key, OURS);
	rig_call("POST", WHO, "{}", 401);

	/* Another CA signs now; that of our certificates is still trusted. */
	must(file_get(ca, 65536, &one, &e), &e);
	must(x509_key_new(&ca_key, &e), &e);
	must(x509_ca_new("kontiki-ca-2", 1, ca_key, &other, &e), &e);
	must(x509_cert_to_pem(other, &two, &e), &e);
	buf_adds(&two, buf_str(&one));
	write_text(ca, buf_str(&two));
	must(apiserver_reload(rig_server, &e), &e);
	rig_as("jane");
	rig_call("POST", WHO, "{}", 201);
	assert_true(apiserver_old_use(rig_server, APISERVER_OLD_CA, user) > 0);
	assert_string_equal(user, "jane");
	/* Nodes say themselves what they have. */
	rig_as("node1");
	rig_call("POST", WHO, "{}", 201);
	apiserver_old_use(rig_server, APISERVER_OLD_CA, user);
	assert_string_equal(user, "jane");
	/* A file that is no CA changes nothing. */
	rig_as("admin");
	write_text(ca, STR("nonsense"));
	assert_true(apiserver_reload(rig_server, &e) < 0);
	rig_call("POST", WHO, "{}", 201);
	write_text(ca, buf_str(&one));
	must(apiserver_reload(rig_server, &e), &e);
	buf_fini(&pem);
	buf_fini(&one);
	buf_fini(&two);
	x509_key_free(key);
	x509_key_free(ca_key);
	x509_cert_free(other);
}

/* --- The same by files, which change while it runs ---------------------------------------------------------------------------- */

static char authn_file[128], authz_file[128], ca_text[8192];

static void write_authn(const char *prefix)
{
	struct json *doc = json_new_object(&rig_arena), *jwt = json_new_array(&rig_arena), *one;

	json_setc(&rig_arena, doc, "apiVersion", json_newc(&rig_arena, "apiserver.config.k8s.io/v1"));
	json_setc(&rig_arena, doc, "kind", json_newc(&rig_arena, "AuthenticationConfiguration"));
	one = parse(arena_printf(&rig_arena,
			"{'issuer':{'url':'%s','audiences':['other','kontiki'],'audienceMatchPolicy':'MatchAny'},'claimMappings':{'username':{"
			"'expression':'\\\"%s\\\" + claims.sub'},'groups':{'claim':'groups','prefix':''}},'userValidationRules':[{"
			"'expression':'user.username != \\\"ext:nobody\\\"','message':'no such user'}]}", url, prefix));
	json_setp(&rig_arena, one, "issuer.certificateAuthority", json_newc(&rig_arena, ca_text));
	json_push(&rig_arena, jwt, one);
	json_setc(&rig_arena, doc, "jwt", jwt);
	json_setc(&rig_arena, doc, "anonymous", parse("{'enabled':true,'conditions':[{'path':'/livez'}]}"));
	write_text(authn_file, json_text(&rig_arena, doc));
}

static void write_authz(const char *user, const char *policy)
{
	write_text(authz_file, str_from(arena_printf(&rig_arena,
			"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- type: Webhook\n  name: book\n  webhook:\n"
			"    {timeout: 3s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, failurePolicy: %s,\n"
			"     connectionInfo: {type: KubeConfigFile, kubeConfigFile: '%s'}, matchConditions: [{expression: \"request.user == '%s'\"}]}\n"
			"- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n", policy, access_file, user)));
}

static void configure_files(const char *dir, struct apiserver_cfg *cfg)
{
	FILE *f;

	configure(dir, cfg);
	f = fopen(ca, "re");
	assert_non_null(f);
	assert_true(fread(ca_text, 1, sizeof(ca_text) - 1, f) > 0);
	fclose(f);
	cfg->oidc.issuer = NULL;
	cfg->authz_hook_file = NULL;
	snprintf(authn_file, sizeof(authn_file), "%s/authn.yaml", dir);
	snprintf(authz_file, sizeof(authz_file), "%s/authz.yaml", dir);
	write_authn("ext:");
	write_authz("ext:mallory", "Deny");
	cfg->authn_config_file = authn_file;
	cfg->authz_config_file = authz_file;
}

static int start_files(void **state)
{
	(void)state;
	access_broken = false;
	rig_configure = configure_files;
	rig_start();
	return 0;
}

static const char *whoami(const char *sub, int want)
{
	struct json *o;

	bearer(first, arena_printf(&rig_arena, "{\"iss\":\"%s\",\"aud\":\"kontiki\",\"sub\":\"%s\",\"groups\":[\"system:masters-not\"]}", url, sub));
	o = rig_call("POST", WHO, "{}", want);
	return json_cstr(json_getp(o, "status.userInfo.username"));
}

static int maps_of(const char *sub)
{
	struct json *o;

	bearer(first, arena_printf(&rig_arena, "{\"iss\":\"%s\",\"aud\":\"kontiki\",\"sub\":\"%s\"}", url, sub));
	o = rig_call("GET", "/api/v1/namespaces/default/configmaps", NULL, 0);
	return (int)json_i64_or(json_getc(o, "code"), 200);
}

static void reload(void)
{
	struct err e = ERR_INIT;

	must(apiserver_reload(rig_server, &e), &e);
}

static void test_files(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		rig_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
				quoted(arena_printf(&rig_arena, "{'metadata':{'name':'b%d'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':'ClusterRole',"
								"'name':'cluster-admin'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io','kind':'User','name':'ext:%s'}]}",
						i, i ? "mallory" : "ann")), 201);
	rig_as(NULL);
	assert_string_equal(whoami("ann", 201), "ext:ann");
	whoami("nobody", 401);
	/* Nobody comes without a name, but to see whether it lives. */
	rig_raw("GET", "/livez", STR_NULL, 200);
	rig_call("GET", "/version", NULL, 401);
	rig_call("GET", "/livez/ping", NULL, 401);
	/* Whom the webhook denies no role helps; whom it does not concern it is not asked about. */
	n_access = 0;
	assert_int_equal(maps_of("ann"), 200);
	assert_int_equal(n_access, 0);
	assert_int_equal(maps_of("mallory"), 403);
	assert_int_equal(n_access, 1);
	rig_as("admin");
	for (int i = 0; i < 2; i++) {
		const struct json *o = rig_call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", quoted(arena_printf(&rig_arena,
				"{'spec':{'user':'ext:%s','resourceAttributes':{'verb':'get','resource':'pods'}}}", i ? "mallory" : "stranger")), 201);

		assert_false(json_true(json_getp(o, "status.allowed")));
		assert_int_equal(json_true(json_getp(o, "status.denied")), i);
	}
	rig_as(NULL);
	/* Without an answer it is as the policy says. */
	access_broken = true;
	write_authz("ext:ann", "Deny");
	reload();
	for (int i = 0; i < 2000 && maps_of("ann") == 200; i++)
		loop_turn(rig_loop, 1);
	assert_int_equal(maps_of("ann"), 403);
	assert_int_equal(maps_of("mallory"), 200);
	write_authz("ext:ann", "NoOpinion");
	reload();
	for (int i = 0; i < 2000 && maps_of("ann") != 200; i++)
		loop_turn(rig_loop, 1);
	assert_int_equal(maps_of("ann"), 200);
	access_broken = false;
	/* What is wrong changes nothing. */
	write_text(authn_file, STR("kind: Nonsense\n"));
	write_text(authz_file, STR("kind: Nonsense\n"));
	reload();
	assert_string_equal(whoami("ann", 201), "ext:ann");
	assert_int_equal(maps_of("ann"), 200);
	write_authn("new:");
	reload();
	for (int i = 0; i < 2000 && strcmp(whoami("ann", 0), "new:ann") != 0; i++)
		loop_turn(rig_loop, 1);
	assert_string_equal(whoami("ann", 201), "new:ann");
	rig_as("admin");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_user),
			cmocka_unit_test(test_jwks),
			cmocka_unit_test(test_critical),
			cmocka_unit_test_setup(test_oidc, start),
			cmocka_unit_test(test_hook),
			cmocka_unit_test(test_many),
			cmocka_unit_test(test_access_hook), cmocka_unit_test(test_access_hook_of_policies),
			cmocka_unit_test(test_hook_file),
			cmocka_unit_test(test_schemes),
			cmocka_unit_test(test_proxy),
			cmocka_unit_test(test_old_key),
			cmocka_unit_test_teardown(test_rotation, stop),
			cmocka_unit_test_setup_teardown(test_files, start_files, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

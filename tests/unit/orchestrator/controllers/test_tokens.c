/* Secrets that are tokens, against a whole API server (world.h): filled in, believed, signed with, and gone in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "io/x509.h"
#include "io/jws.h"
#include "orchestrator/apiserver/jwt.h"
#include "orchestrator/apiserver/objects.h"
#include "tests/unit/orchestrator/controllers/world.h"

#define SECRETS NS "/secrets"
#define SYSTEM "/api/v1/namespaces/kube-system/secrets"
#define INFO "/api/v1/namespaces/kube-public/configmaps"
#define WHO "/apis/authentication.k8s.io/v1/selfsubjectreviews"

static const char *path;

static bool is_filled(void)
{
	return *str(get(path), "data.token") != '\0';
}

static bool is_gone(void)
{
	return num(rig_call("GET", path, NULL, 0), "code") == 404;
}

static struct str datum(const struct json *o, const char *key)
{
	struct str out;

	assert_true(api_base64_decode(&rig_arena, json_str(json_getc(json_getc(o, "data"), key)), &out));
	return out;
}

static struct json *who(struct str token, int want)
{
	struct json *o;

	rig_as(NULL);
	rig_header("Authorization", fmt("Bearer %.*s", STR_FMT(token)));
	o = rig_call("POST", WHO, "{}", want);
	rig_as("admin");
	return o;
}

static void make_secret(const char *name, const char *account)
{
	post(SECRETS, fmt("{\"metadata\":{\"name\":\"%s\",\"annotations\":{\"kubernetes.io/service-account.name\":\"%s\"}},"
			  "\"type\":\"kubernetes.io/service-account-token\"}", name, account));
	path = fmt(SECRETS "/%s", name);
}

static void test_account_tokens(void **state)
{
	struct json *o, *secret;
	struct str token;

	(void)state;
	post(NS "/serviceaccounts", "{\"metadata\":{\"name\":\"bot\"}}");
	make_secret("bot-token", "bot");
	WAIT(is_filled);
	secret = get(path);
	assert_true(str_eqc(datum(secret, "ca.crt"), "a certificate"));
	assert_true(str_eqc(datum(secret, "namespace"), "default"));
	assert_string_equal(json_cstr(json_getc(json_getp(secret, "metadata.annotations"), "kubernetes.io/service-account.uid")),
			str(get(NS "/serviceaccounts/bot"), "metadata.uid"));
	token = datum(secret, "token");
	o = who(token, 201);
	assert_string_equal(str(o, "status.userInfo.username"), "system:serviceaccount:default:bot");
	assert_string_equal(json_cstr(json_at(json_getp(o, "status.userInfo.groups"), 1)), "system:serviceaccounts:default");
	/* For the API, and for nobody else. */
	o = post("/apis/authentication.k8s.io/v1/tokenreviews", fmt("{\"spec\":{\"token\":\"%.*s\"}}", STR_FMT(token)));
	assert_true(json_true(json_getp(o, "status.authenticated")));
	o = post("/apis/authentication.k8s.io/v1/tokenreviews", fmt("{\"spec\":{\"token\":\"%.*s\",\"audiences\":[\"x\"]}}", STR_FMT(token)));
	assert_false(json_true(json_getp(o, "status.authenticated")));
	/* What the Secret does not hold any more is worth nothing; another is made. */
	merge(path, "{\"data\":{\"token\":null}}");
	WAIT(is_filled);
	assert_false(str_eq(token, datum(get(path), "token")));
	who(token, 401);
	token = datum(get(path), "token");
	who(token, 201);
	/* With the account it goes. */
	rig_call("DELETE", NS "/serviceaccounts/bot", NULL, 200);
	who(token, 401);
	WAIT(is_gone);
	/* An account of the same name is another one. */
	post(NS "/serviceaccounts", "{\"metadata\":{\"name\":\"bot\"}}");
	who(token, 401);
	/* Of nobody. */
	make_secret("orphan", "none");
	WAIT(is_gone);
}

/* Signed with an old key: another one is put in its place. */
static void test_key_changed(void **state)
{
	struct x509_key *old;
	struct json *claims = json_new_object(&rig_arena);
	struct str token;
	struct err e = ERR_INIT;

	(void)state;
	post(NS "/serviceaccounts", "{\"metadata\":{\"name\":\"keyed\"}}");
	assert_int_equal(x509_key_new(&old, &e), 0);
	assert_int_equal(jwt_sign(&rig_arena, old, claims, &token, &e), 0);
	x509_key_free(old);
	post(SECRETS, fmt("{\"metadata\":{\"name\":\"keyed\",\"annotations\":{\"kubernetes.io/service-account.name\":\"keyed\"}},"
			  "\"type\":\"kubernetes.io/service-account-token\",\"stringData\":{\"token\":\"%.*s\"}}", STR_FMT(token)));
	path = SECRETS "/keyed";
	WAIT(is_filled);
	for (int i = 0; i < 500 && str_eq(datum(get(path), "token"), token); i++)
		loop_turn(rig_loop, 10);
	who(datum(get(path), "token"), 201);
}

static const struct json *claims_of(const char *body)
{
	struct err e = ERR_INIT;
	struct jwt t;

	assert_int_equal(jwt_parse(&rig_arena, json_strp(post(NS "/serviceaccounts/mounter/token", body), "status.token"), &t, &e), 0);
	return t.claims;
}

/* What is mounted into pods is good for longer than is said, so that programs which read it once go on; everything else is not. */
static void test_mounted(void **state)
{
	static const struct {
		const char *spec;
		bool bound;
		int64_t seconds, warn;
	} rows[] = {
		{"\"expirationSeconds\":3607,", true, 365 * 24 * 3600, 3607},
		{"\"expirationSeconds\":3607,", false, 3607, 0},
		{"\"expirationSeconds\":3600,", true, 3600, 0},
		{"\"expirationSeconds\":3607,\"audiences\":[\"x\"],", true, 3607, 0},
	};
	const char *bound = "\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"mounted\"}";
	const struct json *claims;

	(void)state;
	add_node("home", "4");
	post(NS "/serviceaccounts", "{\"metadata\":{\"name\":\"mounter\"}}");
	post(NS "/pods", "{\"metadata\":{\"name\":\"mounted\"},\"spec\":{\"serviceAccountName\":\"mounter\",\"nodeName\":\"home\","
			 "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		claims = claims_of(fmt("{\"spec\":{%s%s}}", rows[i].spec, rows[i].bound ? bound : "\"boundObjectRef\":null"));
		assert_int_equal(num(claims, "exp") - num(claims, "iat"), rows[i].seconds);
		assert_int_equal(json_i64_or(json_getc(json_getc(claims, "kubernetes.io"), "warnafter"), num(claims, "iat")) - num(claims, "iat"),
				rows[i].warn);
	}
	claims = json_getc(claims_of(fmt("{\"spec\":{%s}}", bound)), "kubernetes.io");
	assert_string_equal(str(claims, "node.name"), "home");
	assert_string_equal(str(claims, "node.uid"), str(get("/api/v1/nodes/home"), "metadata.uid"));
}

static void bootstrap(const char *id, int64_t until, const char *more)
{
	char text[CLOCK_RFC3339_SIZE];

	clock_rfc3339(until, text);
	post(SYSTEM, fmt("{\"metadata\":{\"name\":\"bootstrap-token-%s\"},\"type\":\"bootstrap.kubernetes.io/token\",\"stringData\":{"
			 "\"token-id\":\"%s\",\"token-secret\":\"0123456789abcdef\",\"expiration\":\"%s\"%s}}", id, id, text, more));
	path = fmt(SYSTEM "/bootstrap-token-%s", id);
}

static void test_expired(void **state)
{
	char text[CLOCK_RFC3339_SIZE];
	int64_t at;

	(void)state;
	bootstrap("aaaaaa", clock_wall_s() + 3600, "");
	/* It goes when its second has come. */
	at = clock_wall_s() + 2;
	bootstrap("bbbbbb", at, "");
	WAIT(is_gone);
	assert_true(clock_wall_s() >= at);
	get(SYSTEM "/bootstrap-token-aaaaaa");
	clock_rfc3339(clock_wall_s() - 10, text);
	post(SYSTEM, fmt("{\"metadata\":{\"name\":\"join-token-x\"},\"type\":\"kontiki.io/join-token\",\"stringData\":{\"hash\":\"x\",\"expiration\":\"%s\"}}", text));
	path = SYSTEM "/join-token-x";
	WAIT(is_gone);
}

static bool is_signed(void)
{
	return *str(get(INFO "/cluster-info"), "data.jws-kubeconfig-cccccc") != '\0';
}

static bool is_unsigned(void)
{
	return !is_signed();
}

static void test_signed_info(void **state)
{
	struct str jws, head, rest, mac, signing;
	uint8_t want[32];

	(void)state;
	post(INFO, "{\"metadata\":{\"name\":\"cluster-info\"},\"data\":{\"kubeconfig\":\"apiVersion: v1\",\"jws-kubeconfig-zzzzzz\":\"stale\"}}");
	bootstrap("cccccc", clock_wall_s() + 3600, ",\"usage-bootstrap-signing\":\"true\"");
	WAIT(is_signed);
	assert_null(json_getc(json_getc(get(INFO "/cluster-info"), "data"), "jws-kubeconfig-zzzzzz"));
	/* The token's secret signs the text, which is left out. */
	jws = json_strp(get(INFO "/cluster-info"), "data.jws-kubeconfig-cccccc");
	assert_true(str_cut(jws, '.', &head, &rest) && rest.p[0] == '.');
	signing = str_from(fmt("%.*s.%.*s", STR_FMT(head), STR_FMT(jws_base64url(&rig_arena, STR("apiVersion: v1")))));
	x509_hmac_sha256(STR("0123456789abcdef"), signing, want);
	assert_true(jws_base64url_decode(&rig_arena, str_skip(rest, 1), &mac) && str_eq(mac, str_of(want, 32)));
	assert_true(jws_base64url_decode(&rig_arena, head, &head) && str_eqc(head, "{\"alg\":\"HS256\",\"kid\":\"cccccc\"}"));
	/* Nothing is written when nothing changes. */
	const char *rv = str(get(INFO "/cluster-info"), "metadata.resourceVersion");
	for (int i = 0; i < 20; i++)
		loop_turn(rig_loop, 10);
	assert_string_equal(str(get(INFO "/cluster-info"), "metadata.resourceVersion"), rv);
	merge(SYSTEM "/bootstrap-token-cccccc", "{\"stringData\":{\"usage-bootstrap-signing\":\"false\"}}");
	WAIT(is_unsigned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account_tokens),
		cmocka_unit_test(test_key_changed),
		cmocka_unit_test(test_mounted),
		cmocka_unit_test(test_expired),
		cmocka_unit_test(test_signed_info),
	};
	return cmocka_run_group_tests_name("tokens", tests, world_start, world_stop);
}

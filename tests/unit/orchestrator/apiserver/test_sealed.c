/* Values that are stored encrypted, and the audit log: the pure parts, and a server with both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "io/aead.h"
#include "orchestrator/apiserver/apiserver.h"
#include "orchestrator/apiserver/audit_policy.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/request.h"
#include "proto/resource.h"
#include "store/view.h"
#include "tests/unit/orchestrator/apiserver/words.h"

#define KEY1 "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" /* 0123456789abcdef twice */
#define KEY2 "ZmVkY2JhOTg3NjU0MzIxMA=="                         /* fedcba9876543210 */
#define CONFIG(providers)                                                                                              \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n"   \
	"  providers:\n" providers
#define AES(name, secret) "  - aesgcm: {keys: [{name: " name ", secret: " secret "}]}\n"
#define PLAIN "  - identity: {}\n"

static char folder[128], audit_log[160], encryption[160];

static void test_aead(void **state)
{
	struct str key = STR("0123456789abcdef"), other = STR("0123456789abcdeg");
	struct buf sealed = BUF_INIT, plain = BUF_INIT;

	(void)state;
	aead_seal(key, STR("where"), STR("text"), &sealed);
	assert_int_equal(sealed.n, 4 + AEAD_OVERHEAD);
	assert_true(aead_open(key, STR("where"), buf_str(&sealed), &plain));
	assert_true(str_eqc(buf_str(&plain), "text"));
	assert_false(aead_open(other, STR("where"), buf_str(&sealed), &plain));
	assert_false(aead_open(key, STR("elsewhere"), buf_str(&sealed), &plain));
	assert_false(aead_open(key, STR("where"), str_sub(buf_str(&sealed), 0, sealed.n - 1), &plain));
	for (size_t i = 0; i < sealed.n; i++) {
		sealed.p[i] ^= 1;
		assert_false(aead_open(key, STR("where"), buf_str(&sealed), &plain));
		sealed.p[i] ^= 1;
	}
	assert_int_equal(plain.n, 4);
	buf_fini(&sealed);
	buf_fini(&plain);
}

static void use(const char *text)
{
	struct crypt *c;
	struct err e = ERR_INIT;

	if (crypt_parse(str_from(text), &c, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(crypt_use(c, &e), 0);
}

static void test_crypt(void **state)
{
	const struct resource *secrets = resource_find("", "v1", "secrets"), *maps = resource_find("", "v1", "configmaps");
	static const char *const bad[] = {"", "kind: Pod", CONFIG(""), CONFIG(AES("k", "c2hvcnQ=")), CONFIG(AES("'a:b'", KEY1)),
			CONFIG("  - kms: {name: x}\n")};
	struct buf v = BUF_INIT;
	struct arena a;
	struct crypt *c;
	struct err e = ERR_INIT;
	struct str out;

	(void)state;
	arena_init(&a);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_true(crypt_parse(str_from(bad[i]), &c, &e) < 0);
	use(CONFIG(AES("k1", KEY1) PLAIN));
	assert_string_equal(arena_cstr(&a, crypt_describe(&a)), "secrets: aesgcm key k1");
	buf_addc(&v, "k8s value");
	assert_int_equal(crypt_seal(maps, STR("/m"), &v, &e), 0);
	assert_true(str_eqc(buf_str(&v), "k8s value"));
	assert_true(crypt_is_stale(secrets, buf_str(&v)));
	assert_int_equal(crypt_seal(secrets, STR("/s"), &v, &e), 0);
	assert_true(str_has_prefix(buf_str(&v), STR("k8s:enc:aesgcm:v1:k1:")));
	assert_false(crypt_is_stale(secrets, buf_str(&v)));
	assert_true(crypt_open(&a, STR("/s"), buf_str(&v), &out));
	assert_true(str_eqc(out, "k8s value"));
	assert_false(crypt_open(&a, STR("/t"), buf_str(&v), &out));
	/* A new key in front: the old one still reads, and what it wrote is stale. */
	use(CONFIG(AES("k2", KEY2) AES("k1", KEY1)));
	assert_true(crypt_open(&a, STR("/s"), buf_str(&v), &out));
	assert_true(crypt_is_stale(secrets, buf_str(&v)));
	use(CONFIG(AES("k2", KEY2)));
	assert_false(crypt_open(&a, STR("/s"), buf_str(&v), &out));
	crypt_use(NULL, &e);
	buf_fini(&v);
	arena_fini(&a);
}

static void test_policy(void **state)
{
	static const char text[] =
			"apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
			"- level: None\n  users: [system:kube-proxy]\n  verbs: [watch]\n  resources: [{group: '', resources: [endpoints]}]\n"
			"- level: None\n  nonResourceURLs: ['/healthz*', /version]\n"
			"- level: Request\n  resources: [{group: '', resources: [pods/status]}]\n"
			"- level: RequestResponse\n  namespaces: [kube-system]\n  resources: [{group: '', resources: [configmaps]}]\n"
			"- level: Metadata\n  userGroups: [system:authenticated]\n";
	static const struct {
		const char *user, *group, *verb, *resource, *sub, *ns, *path;
		enum audit_level want;
	} rows[] = {
			{"system:kube-proxy", "system:authenticated", "watch", "endpoints", "", "", NULL, AUDIT_NONE},
			{"system:kube-proxy", "system:authenticated", "list", "endpoints", "", "", NULL, AUDIT_METADATA},
			{"jane", "system:authenticated", "get", "", "", "", "/healthz/x", AUDIT_NONE},
			{"jane", "system:authenticated", "get", "", "", "", "/api", AUDIT_METADATA},
			{"jane", "system:authenticated", "update", "pods", "status", "d", NULL, AUDIT_REQUEST},
			{"jane", "system:authenticated", "update", "pods", "", "d", NULL, AUDIT_METADATA},
			{"jane", "system:authenticated", "get", "configmaps", "", "kube-system", NULL, AUDIT_REQUEST_RESPONSE},
			{"x", "system:unauthenticated", "get", "configmaps", "", "d", NULL, AUDIT_NONE},
	};
	struct audit_policy *p;
	struct err e = ERR_INIT;
	unsigned stages;

	(void)state;
	assert_int_equal(audit_policy_parse(str_from(text), &p, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str groups[] = {str_from(rows[i].group)};
		struct api_user u = {.name = str_from(rows[i].user), .groups = groups, .n_groups = 1};
		struct authz_attrs at = {.is_resource = !rows[i].path, .verb = str_from(rows[i].verb),
				.resource = str_from(rows[i].resource), .sub = str_from(rows[i].sub), .ns = str_from(rows[i].ns),
				.path = str_from(rows[i].path)};

		if (audit_policy_level(p, &u, &at, &stages) != rows[i].want)
			fail_msg("row %zu", i);
	}
	assert_false(stages & 1u << AUDIT_REQUEST_RECEIVED);
	audit_policy_free(p);
	assert_true(audit_policy_parse(STR("kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: Some}]"), &p, &e) < 0);
	assert_true(audit_policy_parse(STR("kind: Policy\napiVersion: audit.k8s.io/v1\nrules: []"), &p, &e) < 0);
}

/* --- A server --------------------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void configure(const char *dir, struct apiserver_cfg *cfg)
{
	static char policy[160];

	snprintf(folder, sizeof(folder), "%s", dir);
	snprintf(audit_log, sizeof(audit_log), "%s/audit.log", dir);
	snprintf(policy, sizeof(policy), "%s/policy.yaml", dir);
	snprintf(encryption, sizeof(encryption), "%s/encryption.yaml", dir);
	write_file(policy, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  users: [system:apiserver]\n"
			   "- level: RequestResponse\n  resources: [{group: '', resources: [configmaps]}]\n- level: Metadata\n");
	write_file(encryption, CONFIG(AES("k1", KEY1)));
	cfg->audit_policy_file = policy;
	cfg->audit_log_path = audit_log;
	cfg->encryption_file = encryption;
}

static int start(void **state)
{
	(void)state;
	rig_configure = configure;
	rig_start();
	return 0;
}

#define SECRET "/api/v1/namespaces/default/secrets"

static struct str stored(const char *key)
{
	struct store_view *v;
	struct store_kv kv;
	struct err e = ERR_INIT;
	struct str out;

	assert_int_equal(store_view_open(rig_store(), &v, &e), 0);
	assert_int_equal(view_get(v, str_from(key), 0, &kv, &e), 0);
	out = arena_str(&rig_arena, kv.value);
	store_view_close(v);
	return out;
}

static void test_secrets(void **state)
{
	struct err e = ERR_INIT;
	struct rig_watch *w;
	struct json *o;

	(void)state;
	w = rig_watch(SECRET "?watch=1&timeoutSeconds=300");
	o = rig_call("POST", SECRET, "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"word\":\"sesame\"}}", 201);
	assert_string_equal(json_cstr(json_getp(o, "data.word")), "c2VzYW1l");
	assert_string_equal(json_cstr(json_getp(json_getc(rig_event(w, 0), "object"), "data.word")), "c2VzYW1l");
	o = rig_call("GET", SECRET, NULL, 200);
	assert_string_equal(json_cstr(json_getp(json_at(json_getc(o, "items"), 0), "data.word")), "c2VzYW1l");
	assert_true(str_has_prefix(stored("/registry/secrets/default/s"), STR("k8s:enc:aesgcm:v1:k1:")));
	assert_true(str_search(stored("/registry/secrets/default/s"), STR("sesame")) < 0);
	/* Another key, taken up while running; a write of the same moves the object to it. */
	write_file(encryption, CONFIG(AES("k2", KEY2) AES("k1", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	o = rig_call("GET", SECRET "/s", NULL, 200);
	rig_call("PUT", SECRET "/s", json_text(&rig_arena, o).p, 200);
	assert_true(str_has_prefix(stored("/registry/secrets/default/s"), STR("k8s:enc:aesgcm:v1:k2:")));
	rig_call("GET", SECRET "/s", NULL, 200);
	rig_call("DELETE", SECRET "/s", NULL, 200);
	rig_watch_stop(w);
}

/* Megabytes of them: lists and watches that leave in slices unseal each object, too. */
static void test_many_secrets(void **state)
{
	size_t n = 120000;
	char *word = arena_alloc(&rig_arena, n + 1);
	struct err e = ERR_INIT;
	struct rig_watch *w;
	const char *before;
	struct json *o;

	(void)state;
	memset(word, 'w', n);
	word[n] = '\0';
	for (int i = 0; i < 10; i++)
		rig_call("POST", SECRET, arena_printf(&rig_arena, "{\"metadata\":{\"name\":\"many%d\"},\"stringData\":{\"word\":\"%s\"}}", i, word), 201);
	o = rig_call("GET", SECRET, NULL, 200);
	assert_int_equal(json_len(json_getc(o, "items")), 10);
	JSON_ITEMS (it, json_getc(o, "items"))
		assert_int_equal(json_strp(it, "data.word").n, n / 3 * 4);
	w = rig_watch(SECRET "?watch=1&timeoutSeconds=300");
	assert_int_equal(json_strp(json_getc(rig_event(w, 9), "object"), "data.word").n, n / 3 * 4);
	assert_int_equal(rig_watch_stop(w), 10);
	/* One whose key is gone is not left out: a list without it would be taken for all there are. */
	write_file(encryption, CONFIG(AES("k3", KEY1) AES("k2", KEY2) AES("k1", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	before = json_cstr(json_getp(rig_call("GET", SECRET "?limit=1", NULL, 200), "metadata.resourceVersion"));
	rig_call("POST", SECRET, "{\"metadata\":{\"name\":\"more\"}}", 201);
	write_file(encryption, CONFIG(AES("k2", KEY2) AES("k1", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	assert_true(rig_breaks_off(SECRET));
	/* Nor does a watch go on without it. */
	w = rig_watch(arena_printf(&rig_arena, SECRET "?watch=1&timeoutSeconds=300&resourceVersion=%s", before));
	assert_string_equal(json_cstr(json_getc(rig_event(w, 0), "type")), "ERROR");
	assert_int_equal(rig_watch_end(w), 1);
	w = rig_watch(SECRET "?watch=1&timeoutSeconds=300&fieldSelector=metadata.name%3Dmore");
	assert_string_equal(json_cstr(json_getc(rig_event(w, 0), "type")), "ERROR");
	assert_int_equal(rig_watch_end(w), 1);
	write_file(encryption, CONFIG(AES("k2", KEY2) AES("k1", KEY1) AES("k3", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	assert_false(rig_breaks_off(SECRET));
	rig_call("DELETE", SECRET, NULL, 200);
}

#define HOOKS "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
#define SEALED_HOOKS(keys)                                                                                             \
	"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"                          \
	"- resources: [validatingwebhookconfigurations.admissionregistration.k8s.io]\n  providers:\n" keys

/* A webhook that cannot be read is one that cannot be asked: nothing goes past it. */
static void test_sealed_hook(void **state)
{
	static const char hook[] = "{\"metadata\":{\"name\":\"h\"},\"webhooks\":[{\"name\":\"h.e.com\",\"sideEffects\":\"None\","
				   "\"admissionReviewVersions\":[\"v1\"],\"clientConfig\":{\"url\":\"https://127.0.0.1:1/\"},\"rules\":[]}]}";
	struct err e = ERR_INIT;

	(void)state;
	write_file(encryption, SEALED_HOOKS(AES("k3", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	rig_call("POST", HOOKS, hook, 201);
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"before\"}}", 201);
	write_file(encryption, SEALED_HOOKS(AES("k2", KEY2)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	rig_call("PUT", HOOKS "/h", hook, 500);
	rig_call("POST", HOOKS, "{\"metadata\":{\"name\":\"other\"}}", 201);
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}", 503);
	rig_call("DELETE", "/api/v1/namespaces/before", NULL, 503);
	write_file(encryption, SEALED_HOOKS(AES("k2", KEY2) AES("k3", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
	rig_call("POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}", 201);
	rig_call("DELETE", HOOKS "/h", NULL, 200);
	rig_call("DELETE", HOOKS "/other", NULL, 200);
	write_file(encryption, CONFIG(AES("k2", KEY2) AES("k1", KEY1)));
	assert_int_equal(apiserver_reload(rig_server, &e), 0);
}

static struct json *audited(const char *verb, const char *name, const char *stage)
{
	char line[65536];
	struct json *ev, *found = NULL;
	FILE *f = fopen(audit_log, "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		assert_int_equal(json_parse(&rig_arena, str_trim(str_from(line)), NULL, &ev, NULL), 0);
		if (json_eqc(json_getc(ev, "verb"), verb) && json_eqc(json_getp(ev, "objectRef.name"), name) &&
				json_eqc(json_getc(ev, "stage"), stage))
			found = ev;
	}
	fclose(f);
	return found;
}

static void test_audit(void **state)
{
	struct json *ev;

	(void)state;
	rig_call("POST", "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"cm\"},\"data\":{\"a\":\"b\"}}", 201);
	ev = audited("create", "cm", "ResponseComplete");
	assert_non_null(ev);
	assert_string_equal(json_cstr(json_getp(ev, "requestObject.data.a")), "b");
	assert_string_equal(json_cstr(json_getp(ev, "responseObject.metadata.name")), "cm");
	assert_string_equal(json_cstr(json_getp(ev, "user.username")), "kubernetes-admin");
	assert_int_equal(json_i64_or(json_getp(ev, "responseStatus.code"), 0), 201);
	rig_call("POST", SECRET, "{\"metadata\":{\"name\":\"quiet\"},\"stringData\":{\"word\":\"sesame\"}}", 201);
	ev = audited("create", "quiet", "ResponseComplete");
	assert_non_null(ev);
	assert_null(json_getc(ev, "requestObject"));
	rig_as("jane");
	rig_call("GET", SECRET "/quiet", NULL, 403);
	rig_as("admin");
	ev = audited("get", "quiet", "ResponseComplete");
	assert_string_equal(json_cstr(json_getc(json_getc(ev, "annotations"), "authorization.k8s.io/decision")), "forbid");
	assert_string_equal(json_cstr(json_getp(ev, "responseStatus.reason")), "Forbidden");
	assert_non_null(audited("get", "quiet", "RequestReceived"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			cmocka_unit_test(test_aead),
			cmocka_unit_test(test_crypt),
			cmocka_unit_test(test_policy),
			cmocka_unit_test_setup_teardown(test_secrets, start, without_server),
			cmocka_unit_test_setup_teardown(test_many_secrets, start, without_server),
			cmocka_unit_test_setup_teardown(test_sealed_hook, start, without_server),
			cmocka_unit_test_setup_teardown(test_audit, start, without_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

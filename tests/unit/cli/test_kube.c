/* Kubeconfigs, arguments, manifests, apply's patches, labels, waits and error texts of the kubectl-like commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/util.h"
#include "cli/kube.h"
#include "cli/kube_apply.h"
#include "cli/kube_error.h"
#include "cli/kube_meta.h"
#include "cli/kube_wait.h"
#include "cli/local.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "tests/lib/json_words.h"

static struct arena arena;
static char dir[64];

static int setup(void **state)
{
	arena_init(&arena);
	snprintf(dir, sizeof(dir), "/tmp/kontiki-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	arena_fini(&arena);
	return dir_remove(dir, NULL);
}

static const char *put_file(const char *name, const char *text)
{
	const char *path = arena_printf(&arena, "%s/%s", dir, name);

	assert_int_equal(file_put(path, str_from(text), 0600, true, NULL), 0);
	return path;
}

static struct json *parse(const char *text)
{
	return json_must(&arena, str_from(text));
}

static void assert_json(const struct json *j, const char *text)
{
	assert_string_equal(json_text(&arena, j).p, text);
}

/* ---- kubeconfig ---- */

#define CONFIG                                                                                                        \
	"apiVersion: v1\nkind: Config\ncurrent-context: one\n"                                                          \
	"contexts:\n- name: one\n  context: {cluster: c1, user: u1, namespace: demo}\n"                                 \
	"- name: two\n  context: {cluster: c2, user: u2}\n- name: broken\n  context: {cluster: nope, user: u1}\n"        \
	"clusters:\n- name: c1\n  cluster: {server: 'https://10.0.0.1:6443', certificate-authority: ca.pem}\n"          \
	"- name: c2\n  cluster: {server: 'https://[fd00::1]', insecure-skip-tls-verify: true, tls-server-name: api}\n"   \
	"users:\n- name: u1\n  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n"                      \
	"- name: u2\n  user: {tokenFile: token}\n"

static void test_config(void **state)
{
	struct kube_opts o = {.kubeconfig = put_file("config", CONFIG)};
	struct kube_config c = {0};
	struct err e;

	put_file("ca.pem", "CA");
	put_file("token", "secret\n");
	assert_int_equal(kube_config_read(&arena, &o, &c, &e), 0);
	assert_string_equal(c.address, "10.0.0.1:6443");
	assert_string_equal(c.server_name, "10.0.0.1");
	assert_string_equal(c.ns, "demo");
	assert_false(c.ns_given);
	assert_true(str_eqc(c.ca, "CA") && str_eqc(c.cert, "CERT") && str_eqc(c.key, "KEY"));

	c = (struct kube_config){0};
	o.context = "two";
	assert_int_equal(kube_config_read(&arena, &o, &c, &e), 0);
	assert_string_equal(c.address, "[fd00::1]:443");
	assert_string_equal(c.server_name, "api");
	assert_string_equal(c.token, "secret");
	assert_string_equal(c.ns, "default");
	assert_true(c.insecure);

	/* Options win. */
	c = (struct kube_config){0};
	o = (struct kube_opts){.kubeconfig = o.kubeconfig, .server = "example.com:1234", .token = "t", .ns = "x", .ca = put_file("other", "OTHER"),
			.cluster = "c2", .tls_server_name = "n"};
	assert_int_equal(kube_config_read(&arena, &o, &c, &e), 0);
	assert_string_equal(c.address, "example.com:1234");
	assert_string_equal(c.server_name, "n");
	assert_string_equal(c.token, "t");
	assert_string_equal(c.ns, "x");
	assert_true(c.ns_given);
	assert_true(str_eqc(c.ca, "OTHER"));
}

static void test_config_errors(void **state)
{
	struct kube_opts o = {.kubeconfig = put_file("config", CONFIG), .context = "nope"};
	struct kube_config c = {0};
	struct err e;

	assert_true(kube_config_read(&arena, &o, &c, &e) < 0);
	assert_string_equal(e.text, "context \"nope\" does not exist");
	o.context = "broken";
	assert_true(kube_config_read(&arena, &o, &c, &e) < 0);
	assert_string_equal(e.text, "cluster \"nope\" does not exist");
	o = (struct kube_opts){.kubeconfig = put_file("bad", "a: [")};
	assert_true(kube_config_read(&arena, &o, &c, &e) < 0);
	o = (struct kube_opts){.kubeconfig = "/nonexistent/config"};
	assert_true(kube_config_read(&arena, &o, &c, &e) < 0);
	o = (struct kube_opts){.kubeconfig = put_file("ftp", CONFIG), .server = "ftp://x"};
	assert_true(kube_config_read(&arena, &o, &c, &e) < 0);
}

/* Of several files the first that has an entry counts. */
static void test_config_merged(void **state)
{
	const char *first = put_file("first", "current-context: two\nclusters:\n- name: c2\n  cluster: {server: 'https://first:1'}\n");
	const char *second = put_file("second", CONFIG);
	struct kube_opts o = {0};
	struct kube_config c = {0};
	struct err e;

	put_file("token", "secret");
	setenv("KUBECONFIG", arena_printf(&arena, "%s:%s/missing:%s", first, dir, second), 1);
	assert_int_equal(kube_config_read(&arena, &o, &c, &e), 0);
	assert_string_equal(c.address, "first:1");
	assert_string_equal(c.token, "secret");
	unsetenv("KUBECONFIG");
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {{"10s", 10000}, {"1m30s", 90000}, {"2h", 7200000}, {"300ms", 300}, {"0", 0}, {"1.5s", 1500}, {"", -1}, {"x", -1}, {"5d", -1}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ms = -1;

		assert_int_equal(kube_duration_ms(rows[i].text, &ms), rows[i].ms >= 0);
		assert_int_equal(ms, rows[i].ms);
	}
}

/* ---- arguments ---- */

static const char *targets(const char *words)
{
	struct kube k = {.arena = arena, .ns = "default"};
	const char *args[8], *out = "";
	struct str word, rest = str_from(words);
	struct kube_targets t;
	struct err e;
	size_t n = 0;

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		args[n++] = arena_cstr(&k.arena, word);
	}
	if (kube_targets_parse(&k, args, n, &t, &e) < 0) {
		out = arena_strdup(&k.arena, e.text);
	} else {
		for (size_t i = 0; i < t.n; i++)
			out = arena_printf(&k.arena, "%s%s%s%s%s", out, i ? " " : "", t.v[i].resource->plural, t.v[i].name ? "/" : "",
					t.v[i].name ? t.v[i].name : "");
	}
	arena = k.arena;
	return out;
}

static void test_targets(void **state)
{
	assert_string_equal(targets("pods"), "pods");
	assert_string_equal(targets("po,svc"), "pods services");
	assert_string_equal(targets("Deployment web"), "deployments/web");
	assert_string_equal(targets("pod a b"), "pods/a pods/b");
	assert_string_equal(targets("pod,svc a"), "pods/a services/a");
	assert_string_equal(targets("pod/a deploy.apps/b"), "pods/a deployments/b");
	assert_string_equal(targets("deployments.v1.apps"), "deployments");
	assert_non_null(strstr(targets("all"), "deployments"));
	assert_string_equal(targets("foo"), "the server doesn't have a resource type \"foo\"");
	assert_string_equal(targets("pod/a/b"), "arguments in resource/name form may not have more than one slash");
	assert_string_equal(targets("pod/"), "arguments in resource/name form must have a single resource and name");
	assert_non_null(strstr(targets("pod a/b"), "there is no need to specify a resource type"));
	assert_non_null(strstr(targets(""), "You must provide one or more resources"));
}

static void test_manifests(void **state)
{
	struct kube k = {.arena = arena, .ns = "default"};
	const char *folder[] = {arena_printf(&arena, "%s/m", dir)}, *one[] = {NULL};
	struct opt_list files = {folder, 1}, single = {one, 1};
	struct kube_docs d;
	struct err e;
	const struct resource *r;
	const char *ns, *name;

	assert_int_equal(dir_make(arena_printf(&arena, "%s/m/sub", dir), 0700, NULL), 0);
	put_file("m/b.yaml", "kind: Pod\napiVersion: v1\nmetadata: {name: b}\n---\n---\nkind: Node\napiVersion: v1\nmetadata: {name: node1}\n");
	put_file("m/a.json", "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"x\"}}]}");
	put_file("m/notes.txt", "not a manifest: [");
	put_file("m/sub/c.yml", "kind: Nope\napiVersion: v1\n");
	k.arena = arena;
	if (kube_read_manifests(&k, &files, false, &d, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(d.n, 3);
	assert_int_equal(kube_doc_target(&k, d.v[0], true, &r, &ns, &name, &e), 0);
	assert_string_equal(ns, "x");
	assert_int_equal(kube_doc_target(&k, d.v[1], true, &r, &ns, &name, &e), 0);
	assert_string_equal(ns, "default");
	assert_string_equal(name, "b");
	assert_int_equal(kube_doc_target(&k, d.v[2], true, &r, &ns, &name, &e), 0);
	assert_null(ns);
	assert_int_equal(kube_read_manifests(&k, &files, true, &d, &e), 0);
	assert_int_equal(d.n, 4);
	assert_true(kube_doc_target(&k, d.v[3], true, &r, &ns, &name, &e) < 0);
	assert_string_equal(e.text, "no matches for kind \"Nope\" in version \"v1\"");
	k.ns = "other";
	k.ns_given = true;
	assert_true(kube_doc_target(&k, d.v[0], true, &r, &ns, &name, &e) < 0);
	one[0] = "/nonexistent.yaml";
	assert_true(kube_read_manifests(&k, &single, false, &d, &e) < 0);
	assert_string_equal(e.text, "the path \"/nonexistent.yaml\" does not exist");
	arena = k.arena;
}

/* ---- apply ---- */

#define DEPLOYMENT(image, extra)                                                                                     \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"" extra "},\"spec\":{\"template\":{\"spec\":"     \
	"{\"containers\":[{\"name\":\"c\",\"image\":\"" image "\"}]}}}}"

static void test_apply(void **state)
{
	const struct schema_type *type = resource_type(resource_find("apps", "v1", "deployments"));
	struct json *modified = apply_modified(&arena, parse(DEPLOYMENT("a", "")), "default", NULL), *live, *patch;
	struct err e;

	/* The text that kubectl keeps for the same object. */
	assert_string_equal(json_cstr(json_getc(json_getp(modified, "metadata.annotations"), APPLY_LAST)),
			"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"annotations\":{},\"name\":\"d\",\"namespace\":\"default\"},"
			"\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"image\":\"a\",\"name\":\"c\"}]}}}}\n");
	/* What the server and others added stays and needs no patch. */
	live = json_copy(&arena, modified);
	json_setp(&arena, live, "spec.replicas", json_new_int(&arena, 3));
	json_setp(&arena, live, "metadata.uid", json_newc(&arena, "u"));
	assert_true(apply_has_last(live));
	assert_int_equal(apply_patch(&arena, type, modified, live, &patch, &e), 0);
	assert_json(patch, "{}");
	/* A changed image: the annotation and the container, by its name. */
	modified = apply_modified(&arena, parse(DEPLOYMENT("b", "")), "default", NULL);
	assert_int_equal(apply_patch(&arena, type, modified, live, &patch, &e), 0);
	json_delp(patch, "metadata");
	assert_json(patch, "{\"spec\":{\"template\":{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"}],\"containers\":[{\"image\":\"b\","
			   "\"name\":\"c\"}]}}}}");
}

static void test_apply_removes(void **state)
{
	const struct schema_type *type = resource_type(resource_find("apps", "v1", "deployments"));
	struct json *live = apply_modified(&arena, parse(DEPLOYMENT("a", ",\"labels\":{\"x\":\"y\"}")), NULL, NULL);
	struct json *modified = apply_modified(&arena, parse(DEPLOYMENT("a", "")), NULL, "because"), *patch;
	struct err e;

	json_setp(&arena, live, "metadata.labels.other", json_newc(&arena, "stays"));
	assert_int_equal(apply_patch(&arena, type, modified, live, &patch, &e), 0);
	assert_json(json_getp(patch, "metadata.labels"), "null");
	assert_string_equal(json_cstr(json_getc(json_getp(patch, "metadata.annotations"), "kubernetes.io/change-cause")), "because");
	/* Not made by apply: nothing is removed. */
	json_delp(live, "metadata.annotations");
	assert_false(apply_has_last(live));
	assert_int_equal(apply_patch(&arena, type, modified, live, &patch, &e), 0);
	assert_null(json_getp(patch, "metadata.labels"));
	json_setp(&arena, live, "metadata.annotations", parse("{\"" APPLY_LAST "\":\"{\"}"));
	assert_true(apply_patch(&arena, type, modified, live, &patch, &e) < 0);
}

/* ---- labels, waits, errors ---- */

static const char *labeled(const char *obj, const char *const *args, size_t n, bool overwrite)
{
	struct meta_change *v;
	struct json *patch;
	struct err e;

	if (meta_parse(&arena, "labels", args, n, &v, &e) < 0 || meta_patch(&arena, "labels", parse(obj), v, n, overwrite, &patch, &e) < 0)
		return arena_strdup(&arena, e.text);
	return json_text(&arena, patch).p;
}
#define LABELED(obj, overwrite, ...) labeled(obj, (const char *[]){__VA_ARGS__}, ARRAY_LEN(((const char *[]){__VA_ARGS__})), overwrite)

static void test_labels(void **state)
{
	const char *args[] = {"pod", "x", "a=b", "c-"};
	const char *obj = "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}";

	assert_int_equal(meta_count_changes(args, 4), 2);
	assert_int_equal(meta_count_changes(args, 2), 0);
	assert_string_equal(LABELED(obj, false, "c=3", "b-"), "{\"metadata\":{\"labels\":{\"c\":\"3\",\"b\":null}}}");
	assert_string_equal(LABELED(obj, false, "a=1", "z-"), "{}");
	assert_string_equal(LABELED(obj, true, "a=2"), "{\"metadata\":{\"labels\":{\"a\":\"2\"}}}");
	assert_string_equal(LABELED(obj, false, "a=2"), "'a' already has a value (1), and --overwrite is false");
	assert_string_equal(LABELED(obj, false, "a=2", "a-"), "cannot modify and remove the same label: a");
	assert_non_null(strstr(LABELED(obj, false, "a=@"), "invalid label value"));
}

static int met(const char *condition, const char *obj)
{
	struct kube_condition c;
	struct err e;

	if (kube_condition_parse(&arena, condition, &c, &e) < 0)
		return -2;
	return kube_condition_met(&arena, &c, obj ? parse(obj) : NULL, &e);
}

static void test_wait(void **state)
{
	const char *ready = "{\"status\":{\"phase\":\"Running\",\"n\":3,\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}";

	assert_int_equal(met("condition=Ready", ready), 1);
	assert_int_equal(met("condition=ready=true", ready), 1);
	assert_int_equal(met("condition=Ready=false", ready), 0);
	assert_int_equal(met("condition=Other", ready), 0);
	assert_int_equal(met("condition=Ready", NULL), 0);
	assert_int_equal(met("condition=Ready", "{\"metadata\":{\"generation\":2},\"status\":{\"observedGeneration\":1,"
						  "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"), 0);
	assert_int_equal(met("jsonpath={.status.phase}=Running", ready), 1);
	assert_int_equal(met("jsonpath={.status.phase}=Failed", ready), 0);
	assert_int_equal(met("jsonpath={.status.n}=3", ready), 1);
	assert_int_equal(met("jsonpath={.status.phase}", ready), 1);
	assert_int_equal(met("jsonpath={.status.nope}", ready), 0);
	assert_int_equal(met("delete", NULL), 1);
	assert_int_equal(met("delete", ready), 0);
	assert_int_equal(met("create", ready), 1);
	assert_int_equal(met("sunshine", ready), -2);
	assert_int_equal(met("jsonpath={.a}=", ready), -2);
}

static void test_errors(void **state)
{
	static const struct {
		const char *status, *when, *text;
	} rows[] = {
		{"{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"pods \\\"x\\\" not found\"}", NULL,
				"Error from server (NotFound): pods \"x\" not found\n"},
		{"{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"message\":\"there\"}", "error when creating \"f\"",
				"Error from server (AlreadyExists): error when creating \"f\": there\n"},
		{"{\"kind\":\"Status\",\"message\":\"odd\"}", NULL, "Error from server: odd\n"},
		{"{\"kind\":\"Status\",\"reason\":\"Unauthorized\",\"message\":\"Unauthorized\"}", NULL,
				"error: You must be logged in to the server (Unauthorized)\n"},
		{"{\"kind\":\"Status\",\"reason\":\"Invalid\",\"details\":{\"kind\":\"Pod\",\"name\":\"x\",\"causes\":[{\"field\":\"a\",\"message\":\"m\"}]}}",
				"when", "The Pod \"x\" is invalid: a: m\n"},
		{"{\"kind\":\"Status\",\"reason\":\"Invalid\",\"details\":{\"kind\":\"Pod\",\"name\":\"x\",\"causes\":[{\"field\":\"a\",\"message\":\"m\"},"
		 "{\"field\":\"a\",\"message\":\"m\"},{\"field\":\"b\",\"message\":\"n\"}]}}",
				NULL, "The Pod \"x\" is invalid: \n* a: m\n* b: n\n"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf b = BUF_INIT;

		assert_true(kube_status_text(&b, parse(rows[i].status), rows[i].when));
		assert_string_equal(b.p, rows[i].text);
		buf_fini(&b);
	}
	assert_false(kube_status_text(NULL, parse("{}"), NULL));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_config), TEST(test_config_errors), TEST(test_config_merged), TEST(test_durations), TEST(test_targets),
		TEST(test_manifests), TEST(test_apply), TEST(test_apply_removes), TEST(test_labels), TEST(test_wait), TEST(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

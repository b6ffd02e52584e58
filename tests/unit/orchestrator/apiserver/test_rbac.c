/* Roles without a server: what rules allow, who is bound to what, escalation, the default objects, what nodes need. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/util.h"
#include "orchestrator/apiserver/node_graph.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/rbac.h"
#include "orchestrator/apiserver/rbac_default.h"
#include "orchestrator/apiserver/rbac_index.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"
#include "proto/schema.h"
#include "tests/lib/json_words.h"
#include "tests/lib/test_arena.h"

static struct json *parse(const char *text)
{
	return json_must(&a, str_from(text));
}

static struct str encode(const char *type, const struct json *doc)
{
	struct err e = ERR_INIT;
	struct str raw;

	if (api_dom_encode(&a, schema_type_find(type), doc, &raw, &e) < 0)
		fail_msg("%s", e.text);
	return raw;
}

static void put(struct rbac_index *ix, enum rbac_kind kind, const char *ns, const char *name, const char *text)
{
	static const char *const types[] = {"rbac.v1.Role", "rbac.v1.ClusterRole", "rbac.v1.RoleBinding",
			"rbac.v1.ClusterRoleBinding"};

	rbac_index_put(ix, kind, str_from(ns), str_from(name), encode(types[kind], parse(text)));
}

static void test_rules(void **state)
{
	static const struct {
		const char *rule, *verb, *group, *resource, *sub, *name;
		bool allowed;
	} rows[] = {
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get']}", "get", "", "pods", "", "x", true},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get']}", "list", "", "pods", "", "", false},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get']}", "get", "apps", "pods", "", "x", false},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get']}", "get", "", "pods", "log", "x", false},
			{"{'apiGroups':[''],'resources':['pods/log'],'verbs':['get']}", "get", "", "pods", "log", "x", true},
			{"{'apiGroups':[''],'resources':['pods/log'],'verbs':['get']}", "get", "", "pods", "", "x", false},
			{"{'apiGroups':[''],'resources':['*/log'],'verbs':['get']}", "get", "", "pods", "log", "x", true},
			{"{'apiGroups':[''],'resources':['*/log'],'verbs':['get']}", "get", "", "pods", "exec", "x", false},
			{"{'apiGroups':['*'],'resources':['*'],'verbs':['*']}", "escalate", "q", "r", "s", "x", true},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get'],'resourceNames':['a']}", "get", "", "pods", "",
					"a", true},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['get'],'resourceNames':['a']}", "get", "", "pods", "",
					"b", false},
			{"{'apiGroups':[''],'resources':['pods'],'verbs':['list'],'resourceNames':['a']}", "list", "", "pods",
					"", "", false},
			{"{'nonResourceURLs':['*'],'verbs':['*']}", "get", "", "pods", "", "x", false},
			{"{'apiGroups':[''],'resources':['pod'],'verbs':['get']}", "get", "", "pods", "", "x", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = arena_printf(&a, "{\"rules\":[%s]}", rows[i].rule);
		struct authz_attrs at = {.is_resource = true, .verb = str_from(rows[i].verb), .group = str_from(rows[i].group),
				.resource = str_from(rows[i].resource), .sub = str_from(rows[i].sub),
				.name = str_from(rows[i].name)};

		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		if (rbac_rules_allow(encode("rbac.v1.ClusterRole", parse(text)), &at) != rows[i].allowed)
			fail_msg("row %zu: %s", i, text);
	}
}

static void test_urls(void **state)
{
	struct str role = encode("rbac.v1.ClusterRole",
			parse("{\"rules\":[{\"nonResourceURLs\":[\"/healthz\",\"/api/*\"],\"verbs\":[\"get\"]}]}"));
	struct authz_attrs at = {.verb = STR("get")};
	static const struct {
		const char *path;
		bool allowed;
	} rows[] = {{"/healthz", true}, {"/healthz/etcd", false}, {"/api/", true}, {"/api/v1", true}, {"/api", false},
			{"/apis", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		at.path = str_from(rows[i].path);
		assert_int_equal(rbac_rules_allow(role, &at), rows[i].allowed);
	}
	at.path = STR("/healthz");
	at.verb = STR("post");
	assert_false(rbac_rules_allow(role, &at));
}

static bool asks(const struct rbac_index *ix, const char *user, const char *group, const char *verb, const char *resource,
		const char *ns, const char **ret_why)
{
	struct str groups[] = {str_from(group)};
	struct api_user u = {.name = str_from(user), .groups = groups, .n_groups = group ? 1 : 0};
	struct authz_attrs at = {.is_resource = true, .verb = str_from(verb), .resource = str_from(resource),
			.ns = str_from(ns)};
	struct rbac_reason why = {.arena = &a};
	bool ok = rbac_authorize(ix, &u, &at, &why);

	if (ret_why)
		*ret_why = arena_cstr(&a, why.text);
	return ok;
}

#define READ_PODS "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[\"get\",\"list\"]}]}"

static void test_bindings(void **state)
{
	struct rbac_index *ix = rbac_index_new();
	const char *why;

	(void)state;
	put(ix, RBAC_ROLE, "d", "reader", READ_PODS);
	put(ix, RBAC_CLUSTER_ROLE, "", "reader", READ_PODS);
	put(ix, RBAC_ROLE_BINDING, "d", "b",
			"{\"subjects\":[{\"kind\":\"User\",\"name\":\"jane\"},{\"kind\":\"ServiceAccount\",\"name\":\"bot\"}],"
			"\"roleRef\":{\"kind\":\"Role\",\"name\":\"reader\"}}");
	put(ix, RBAC_CLUSTER_ROLE_BINDING, "", "c",
			"{\"subjects\":[{\"kind\":\"Group\",\"name\":\"staff\"}],\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":"
			"\"reader\"}}");
	put(ix, RBAC_CLUSTER_ROLE_BINDING, "", "lost",
			"{\"subjects\":[{\"kind\":\"User\",\"name\":\"eve\"}],\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":"
			"\"none\"}}");
	assert_true(asks(ix, "jane", NULL, "get", "pods", "d", &why));
	assert_string_equal(why, "RBAC: allowed by RoleBinding \"b/d\" of Role \"reader\" to User \"jane\"");
	assert_false(asks(ix, "jane", NULL, "get", "pods", "e", &why));
	assert_string_equal(why, "");
	assert_false(asks(ix, "jane", NULL, "get", "pods", "", NULL));
	assert_false(asks(ix, "jane", NULL, "watch", "pods", "d", NULL));
	assert_true(asks(ix, "system:serviceaccount:d:bot", NULL, "get", "pods", "d", &why));
	assert_string_equal(why, "RBAC: allowed by RoleBinding \"b/d\" of Role \"reader\" to ServiceAccount \"bot/d\"");
	assert_false(asks(ix, "system:serviceaccount:e:bot", NULL, "get", "pods", "d", NULL));
	assert_true(asks(ix, "x", "staff", "get", "pods", "e", &why));
	assert_string_equal(why, "RBAC: allowed by ClusterRoleBinding \"c\" of ClusterRole \"reader\" to Group \"staff\"");
	assert_true(asks(ix, "x", "staff", "list", "pods", "", NULL));
	/* A group is not a user of that name, nor the other way round. */
	assert_false(asks(ix, "staff", NULL, "get", "pods", "d", NULL));
	assert_false(asks(ix, "x", "jane", "get", "pods", "d", NULL));
	assert_false(asks(ix, "eve", NULL, "get", "pods", "d", &why));
	assert_string_equal(why, "RBAC: clusterrole.rbac.authorization.k8s.io \"none\" not found");
	/* Changed subjects: who is left out has no more. */
	put(ix, RBAC_ROLE_BINDING, "d", "b",
			"{\"subjects\":[{\"kind\":\"User\",\"name\":\"joe\"}],\"roleRef\":{\"kind\":\"Role\",\"name\":\"reader\"}}");
	assert_false(asks(ix, "jane", NULL, "get", "pods", "d", NULL));
	assert_true(asks(ix, "joe", NULL, "get", "pods", "d", NULL));
	rbac_index_del(ix, RBAC_ROLE, STR("d"), STR("reader"));
	assert_false(asks(ix, "joe", NULL, "get", "pods", "d", NULL));
	rbac_index_del(ix, RBAC_CLUSTER_ROLE_BINDING, STR(""), STR("c"));
	assert_false(asks(ix, "x", "staff", "get", "pods", "e", NULL));
	/* A cluster's binding cannot name a Role. */
	put(ix, RBAC_CLUSTER_ROLE_BINDING, "", "odd",
			"{\"subjects\":[{\"kind\":\"User\",\"name\":\"odd\"}],\"roleRef\":{\"kind\":\"Role\",\"name\":\"reader\"}}");
	assert_false(asks(ix, "odd", NULL, "get", "pods", "d", NULL));
	assert_int_equal(rbac_index_len(ix, RBAC_CLUSTER_ROLE_BINDING), 2);
	rbac_index_free(ix);
}

static const char *missing(const char *held, const char *wanted)
{
	struct rbac_rules h = {0}, w = {0};

	rbac_rules_add_role(&a, &h, encode("rbac.v1.Role", parse(held)));
	rbac_rules_add_role(&a, &w, encode("rbac.v1.Role", parse(wanted)));
	return arena_cstr(&a, rbac_missing(&a, h.v, h.n, w.v, w.n));
}

#define RULES(...) "{\"rules\":[" #__VA_ARGS__ "]}"

static void test_escalation(void **state)
{
	(void)state;
	assert_string_equal(missing(READ_PODS, READ_PODS), "");
	assert_string_equal(missing(READ_PODS, RULES({"apiGroups":["", "apps"], "resources":["pods"], "verbs":["list", "delete"]})),
			"{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}\n"
			"{APIGroups:[\"apps\"], Resources:[\"pods\"], Verbs:[\"list\" \"delete\"]}");
	assert_string_equal(missing(READ_PODS, RULES({"apiGroups":["*"], "resources":["*"], "verbs":["*"]})),
			"{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}");
	assert_string_equal(missing(RULES({"apiGroups":["*"], "resources":["*"], "verbs":["*"]}), READ_PODS), "");
	/* A permission for one name does not cover all names; the other way round it does. */
	assert_string_equal(missing(RULES({"apiGroups":[""], "resources":["pods"], "verbs":["get"], "resourceNames":["x"]}),
					    RULES({"apiGroups":[""], "resources":["pods"], "verbs":["get"]})),
			"{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}");
	assert_string_equal(missing(READ_PODS, RULES({"apiGroups":[""], "resources":["pods"], "verbs":["get"], "resourceNames":["x"]})),
			"");
	assert_string_equal(missing(RULES({"apiGroups":[""], "resources":["*/log"], "verbs":["get"]}),
					    RULES({"apiGroups":[""], "resources":["pods/log", "pods"], "verbs":["get"]})),
			"{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}");
	assert_string_equal(missing(RULES({"nonResourceURLs":["/a/*"], "verbs":["get"]}),
					    RULES({"nonResourceURLs":["/a/b", "/c"], "verbs":["get"]})),
			"{NonResourceURLs:[\"/c\"], Verbs:[\"get\"]}");
}

static void test_defaults(void **state)
{
	struct rbac_default d;
	struct json *have, *out;
	size_t n = 0;
	bool replace;

	(void)state;
	for (size_t pos = 0; rbac_default_next(&a, &pos, &d); n++) {
		const char *type = arena_printf(&a, "rbac.v1.%s", json_cstr(json_getc(d.doc, "kind")));

		assert_true(encode(type, d.doc).n > 0);
		/* What is as it shall be stays untouched. */
		assert_null(rbac_default_merge(&a, &d, json_copy(&a, d.doc), &replace));
		assert_non_null(rbac_default_merge(&a, &d, NULL, &replace));
		if (str_eqc(str_from(d.name), "system:node-proxier") && str_eqc(str_from(d.plural), "clusterroles")) {
			have = json_copy(&a, d.doc);
			json_del_at(json_getc(have, "rules"), 0);
			json_push(&a, json_getc(have, "rules"),
					parse("{\"apiGroups\":[\"x\"],\"resources\":[\"y\"],\"verbs\":[\"get\"]}"));
			out = rbac_default_merge(&a, &d, have, &replace);
			assert_non_null(out);
			assert_int_equal(json_len(json_getc(out, "rules")), json_len(json_getc(d.doc, "rules")) + 1);
			json_set(&a, json_getp(have, "metadata.annotations"),
					STR("rbac.authorization.kubernetes.io/autoupdate"), json_newc(&a, "false"));
			assert_null(rbac_default_merge(&a, &d, have, &replace));
		}
		if (str_eqc(str_from(d.name), "system:discovery") && json_getc(d.doc, "roleRef")) {
			have = json_copy(&a, d.doc);
			json_setc(&a, have, "subjects", parse("[{\"kind\":\"User\",\"name\":\"own\"}]"));
			out = rbac_default_merge(&a, &d, have, &replace);
			assert_int_equal(json_len(json_getc(out, "subjects")), 2);
			json_setp(&a, have, "roleRef.name", json_newc(&a, "other"));
			assert_non_null(rbac_default_merge(&a, &d, have, &replace));
			assert_true(replace);
		}
	}
	assert_true(n > 125);
}

static bool needs(const struct node_graph *g, const char *node, enum node_edge kind, const char *name)
{
	return node_graph_has(g, str_from(node), kind, STR("d"), str_from(name));
}

static void test_node_graph(void **state)
{
	static const char text[] =
			"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"serviceAccountName\":\"sa\","
			"\"imagePullSecrets\":[{\"name\":\"pull\"}],\"volumes\":[{\"name\":\"a\",\"secret\":{\"secretName\":\"vs\"}},"
			"{\"name\":\"b\",\"configMap\":{\"name\":\"vc\"}},{\"name\":\"c\",\"projected\":{\"sources\":[{\"secret\":{"
			"\"name\":\"ps\"}},{\"configMap\":{\"name\":\"pc\"}}]}},{\"name\":\"d\",\"persistentVolumeClaim\":{"
			"\"claimName\":\"claim\"}},{\"name\":\"e\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{}}}}],"
			"\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"es\","
			"\"key\":\"k\"}}},{\"name\":\"B\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"ec\",\"key\":\"k\"}}}],"
			"\"envFrom\":[{\"secretRef\":{\"name\":\"fs\"}},{\"configMapRef\":{\"name\":\"fc\"}}]}],"
			"\"initContainers\":[{\"name\":\"i\",\"envFrom\":[{\"secretRef\":{\"name\":\"is\"}}]}]}}";
	static const struct {
		enum node_edge kind;
		const char *name;
	} edges[] = {{EDGE_POD, "p"}, {EDGE_ACCOUNT, "sa"}, {EDGE_SECRET, "pull"}, {EDGE_SECRET, "vs"}, {EDGE_CONFIGMAP, "vc"},
			{EDGE_SECRET, "ps"}, {EDGE_CONFIGMAP, "pc"}, {EDGE_CLAIM, "claim"}, {EDGE_CLAIM, "p-e"},
			{EDGE_SECRET, "es"}, {EDGE_CONFIGMAP, "ec"}, {EDGE_SECRET, "fs"}, {EDGE_CONFIGMAP, "fc"},
			{EDGE_SECRET, "is"}};
	struct node_graph *g = node_graph_new();
	struct str pod = encode("core.v1.Pod", parse(text)), moved, status;
	struct json *doc = parse(text);

	(void)state;
	node_graph_pod(g, STR("d"), STR("p"), STR_NULL, pod);
	assert_int_equal(node_graph_edges(g), ARRAY_LEN(edges));
	for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
		assert_true(needs(g, "n1", edges[i].kind, edges[i].name));
		assert_false(needs(g, "n2", edges[i].kind, edges[i].name));
	}
	assert_false(needs(g, "n1", EDGE_CONFIGMAP, "vs"));
	/* A second pod needs one of them too: it stays when the first goes. */
	node_graph_pod(g, STR("d"), STR("q"), STR_NULL, pod);
	node_graph_pod(g, STR("d"), STR("p"), pod, STR_NULL);
	assert_true(needs(g, "n1", EDGE_SECRET, "vs"));
	assert_false(needs(g, "n1", EDGE_POD, "p"));
	json_setp(&a, doc, "status.phase", json_newc(&a, "Running"));
	status = encode("core.v1.Pod", doc);
	node_graph_pod(g, STR("d"), STR("q"), pod, status);
	assert_int_equal(node_graph_edges(g), ARRAY_LEN(edges));
	json_setp(&a, doc, "spec.nodeName", json_newc(&a, "n2"));
	moved = encode("core.v1.Pod", doc);
	node_graph_pod(g, STR("d"), STR("q"), status, moved);
	assert_false(needs(g, "n1", EDGE_SECRET, "vs"));
	assert_true(needs(g, "n2", EDGE_SECRET, "vs"));
	node_graph_pod(g, STR("d"), STR("q"), moved, STR_NULL);
	assert_int_equal(node_graph_edges(g), 0);
	node_graph_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
			with_arena(test_rules),
			with_arena(test_urls),
			with_arena(test_bindings),
			with_arena(test_escalation),
			with_arena(test_defaults),
			with_arena(test_node_graph),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

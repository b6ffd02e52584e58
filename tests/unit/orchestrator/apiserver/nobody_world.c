#include "tests/unit/orchestrator/apiserver/nobody_world.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/util.h"
#include "tests/lib/rng.h"
#include "tests/unit/orchestrator/apiserver/rig.h"

#define MAX_WORDS 4

struct rng dice;

unsigned rnd(unsigned below)
{
	return (unsigned)rng_below(&dice, below);
}

const struct kind kinds[N_KINDS] = {
		{"", "/api/v1", "configmaps", true, "{\"metadata\":%s,\"data\":{\"k\":\"v\"}}", {NULL}},
		{"", "/api/v1", "secrets", true, "{\"metadata\":%s,\"stringData\":{\"k\":\"v\"}}", {NULL}},
		{"", "/api/v1", "pods", true, "{\"metadata\":%s,\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", {"status", NULL}},
		{"", "/api/v1", "serviceaccounts", true, "{\"metadata\":%s}", {NULL}},
		{"apps", "/apis/apps/v1", "deployments", true,
				"{\"metadata\":%s,\"spec\":{\"selector\":{\"matchLabels\":{\"odd\":\"x\"}},\"template\":{\"metadata\":{\"labels\":"
				"{\"odd\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
				{"status", "scale", NULL}},
		{"", "/api/v1", "nodes", false, "{\"metadata\":%s}", {"status", NULL}},
		{"", "/api/v1", "namespaces", false, "{\"metadata\":%s}", {"status", NULL}},
};

/* Names of objects are the same in all kinds and namespaces. */
const char *name_of(unsigned i)
{
	static const char *const names[] = {"n0", "n1", "n2", "n3", "n4", "missing"};

	return names[i];
}

const char *ns_of(unsigned i)
{
	static const char *const names[] = {"ns0", "ns1", "ns2", "ns3", "nowhere"};

	return names[i];
}

bool is_namespaces(const struct kind *k)
{
	return strcmp(k->plural, "namespaces") == 0;
}

const char *metadata(const struct kind *k, const char *ns, const char *name, unsigned odd)
{
	return arena_printf(&rig_arena,
			"{\"name\":\"%s\",\"labels\":{\"odd\":\"%u\",\"ours\":\"yes\"},\"annotations\":{\"bird\":\"canary:%s:%s:%s:\"}}", name, odd, k->plural,
			k->namespaced ? ns : "", name);
}

void make_world(void)
{
	for (unsigned n = 0; n < N_NAMESPACES; n++)
		rig_call("POST", "/api/v1/namespaces", arena_printf(&rig_arena, kinds[6].body, metadata(&kinds[6], "", ns_of(n), n % 2)), 201);
	for (unsigned n = 0; n < N_NAMESPACES; n++)
		rig_call("POST", arena_printf(&rig_arena, "/api/v1/namespaces/%s/serviceaccounts", ns_of(n)), "{\"metadata\":{\"name\":\"default\"}}", 201);
	for (size_t k = 0; k < N_KINDS; k++)
		for (unsigned n = 0; n < (kinds[k].namespaced ? N_NAMESPACES : 1) && !is_namespaces(&kinds[k]); n++)
			for (unsigned i = 0; i < N_NAMES; i++)
				rig_call("POST",
						kinds[k].namespaced ? arena_printf(&rig_arena, "%s/namespaces/%s/%s", kinds[k].api, ns_of(n),
										       kinds[k].plural) :
								      arena_printf(&rig_arena, "%s/%s", kinds[k].api, kinds[k].plural),
						arena_printf(&rig_arena, kinds[k].body, metadata(&kinds[k], ns_of(n), name_of(i), i % 2)), 201);
}

struct rule {
	const char *verbs[MAX_WORDS], *groups[MAX_WORDS], *resources[MAX_WORDS], *names[MAX_WORDS], *urls[MAX_WORDS];
};

struct role {
	int ns; /* -1: a ClusterRole */
	struct rule rules[3];
	unsigned n;
};

struct binding {
	int ns; /* -1: a ClusterRoleBinding */
	unsigned role;
	enum { USER, GROUP, ACCOUNT } kind;
	char subject[64];
	int account_ns;
};

static struct role roles[N_ROLES];
static struct binding bindings[N_BINDINGS];

static void words(const char *out[MAX_WORDS], const char *const *from, unsigned n_from, unsigned n)
{
	memset(out, 0, MAX_WORDS * sizeof(*out));
	for (unsigned i = 0; i < n; i++)
		out[i] = from[rnd(n_from)];
}

static void random_rule(struct rule *r, bool cluster)
{
	static const char *const verbs[] = {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"},
				 *const groups[] = {"", "", "apps", "*", "none"},
				 *const resources[] = {"configmaps", "secrets", "pods", "pods/status", "deployments", "deployments/scale", "nodes",
						 "namespaces", "*/status", "*", "serviceaccounts"},
				 *const names[] = {"n0", "n1", "n2", "ns0", "ns1"}, *const urls[] = {"/metrics", "/x/*", "/x/y", "/debug/*", "*"};

	memset(r, 0, sizeof(*r));
	words(r->verbs, verbs, ARRAY_LEN(verbs), 1 + rnd(3));
	if (cluster && rnd(5) == 0) {
		words(r->urls, urls, ARRAY_LEN(urls), 1 + rnd(2));
		return;
	}
	words(r->groups, groups, ARRAY_LEN(groups), 1 + rnd(2));
	words(r->resources, resources, ARRAY_LEN(resources), 1 + rnd(3));
	if (rnd(3) == 0)
		words(r->names, names, ARRAY_LEN(names), 1 + rnd(2));
}

static void list_json(struct buf *b, const char *key, const char *const w[MAX_WORDS])
{
	if (!w[0])
		return;
	buf_printf(b, ",\"%s\":[", key);
	for (unsigned i = 0; i < MAX_WORDS && w[i]; i++)
		buf_printf(b, "%s\"%s\"", i ? "," : "", w[i]);
	buf_addc(b, "]");
}

#define RBAC "/apis/rbac.authorization.k8s.io/v1"

static const char *rbac_path(int ns, const char *what)
{
	return ns < 0 ? arena_printf(&rig_arena, RBAC "/cluster%s", what) :
			arena_printf(&rig_arena, RBAC "/namespaces/%s/%s", ns_of((unsigned)ns), what);
}

void random_role(unsigned i)
{
	struct buf b = BUF_INIT;
	struct role *r = &roles[i];

	r->ns = rnd(2) ? -1 : (int)rnd(N_NAMESPACES);
	r->n = 1 + rnd(3);
	buf_printf(&b, "{\"metadata\":{\"name\":\"random-%u\"},\"rules\":[", i);
	for (unsigned k = 0; k < r->n; k++) {
		random_rule(&r->rules[k], r->ns < 0);
		/* One that is always there first: no question of commas. */
		buf_printf(&b, "%s{\"verbs\":[\"%s\"]", k ? "," : "", r->rules[k].verbs[0]);
		b.n--;
		for (unsigned v = 1; v < MAX_WORDS && r->rules[k].verbs[v]; v++)
			buf_printf(&b, ",\"%s\"", r->rules[k].verbs[v]);
		buf_addc(&b, "]");
		list_json(&b, "apiGroups", r->rules[k].groups);
		list_json(&b, "resources", r->rules[k].resources);
		list_json(&b, "resourceNames", r->rules[k].names);
		list_json(&b, "nonResourceURLs", r->rules[k].urls);
		buf_addc(&b, "}");
	}
	buf_addc(&b, "]}");
	rig_call("POST", rbac_path(r->ns, "roles"), arena_cstr(&rig_arena, buf_str(&b)), 201);
	buf_fini(&b);
}

void random_binding(unsigned i)
{
	static const char *const subject_kinds[] = {"User", "Group", "ServiceAccount"};
	struct binding *b = &bindings[i];
	struct role *r;

	b->role = rnd(N_ROLES);
	r = &roles[b->role];
	b->ns = r->ns >= 0 ? r->ns : rnd(2) ? -1 : (int)rnd(N_NAMESPACES);
	b->kind = rnd(3);
	b->account_ns = (int)rnd(N_NAMESPACES);
	if (b->kind == USER)
		snprintf(b->subject, sizeof(b->subject), "u%u", rnd(N_USERS));
	else if (b->kind == GROUP)
		snprintf(b->subject, sizeof(b->subject), rnd(8) ? "g%u" : "system:serviceaccounts:ns%u", rnd(N_GROUPS));
	else
		snprintf(b->subject, sizeof(b->subject), "sa%u", rnd(2));
	rig_call("POST", rbac_path(b->ns, "rolebindings"),
			arena_printf(&rig_arena,
					"{\"metadata\":{\"name\":\"random-%u\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"%s\","
					"\"name\":\"random-%u\"},\"subjects\":[{\"kind\":\"%s\",\"name\":\"%s\"%s}]}",
					i, r->ns < 0 ? "ClusterRole" : "Role", b->role, subject_kinds[b->kind], b->subject,
					b->kind == ACCOUNT ? arena_printf(&rig_arena, ",\"namespace\":\"%s\"", ns_of((unsigned)b->account_ns)) : ""),
			201);
}

void forget_roles(void)
{
	for (unsigned i = 0; i < N_BINDINGS; i++)
		rig_call("DELETE", arena_printf(&rig_arena, "%s/random-%u", rbac_path(bindings[i].ns, "rolebindings"), i), NULL, 200);
	for (unsigned i = 0; i < N_ROLES; i++)
		rig_call("DELETE", arena_printf(&rig_arena, "%s/random-%u", rbac_path(roles[i].ns, "roles"), i), NULL, 200);
}

static bool has_word(const char *const w[MAX_WORDS], const char *s)
{
	for (unsigned i = 0; i < MAX_WORDS && w[i]; i++)
		if (strcmp(w[i], "*") == 0 || strcmp(w[i], s) == 0)
			return true;
	return false;
}

static bool has_url(const char *const w[MAX_WORDS], const char *path)
{
	for (unsigned i = 0; i < MAX_WORDS && w[i]; i++) {
		size_t n = strlen(w[i]);

		if (strcmp(w[i], path) == 0 || (w[i][n - 1] == '*' && strncmp(w[i], path, n - 1) == 0))
			return true;
	}
	return false;
}

static bool rule_grants(const struct rule *r, const struct what *q)
{
	char full[64], any[64];

	if (!has_word(r->verbs, q->verb))
		return false;
	if (!q->kind)
		return has_url(r->urls, q->path);
	if (!has_word(r->groups, q->group))
		return false;
	snprintf(full, sizeof(full), "%s%s%s", q->resource, q->sub[0] ? "/" : "", q->sub);
	snprintf(any, sizeof(any), "*/%s", q->sub);
	if (!has_word(r->resources, full) && !(q->sub[0] && has_word(r->resources, any)))
		return false;
	if (!r->names[0])
		return true;
	for (unsigned i = 0; i < MAX_WORDS && r->names[i]; i++)
		if (strcmp(r->names[i], q->name) == 0)
			return true;
	return false;
}

static bool is_subject(const struct binding *b, const struct who *w)
{
	char account[96];

	if (b->kind == USER)
		return strcmp(b->subject, w->name) == 0;
	if (b->kind == ACCOUNT) {
		snprintf(account, sizeof(account), "system:serviceaccount:%s:%s", ns_of((unsigned)b->account_ns), b->subject);
		return strcmp(account, w->name) == 0;
	}
	for (unsigned i = 0; i < w->n_groups; i++)
		if (strcmp(b->subject, w->groups[i]) == 0)
			return true;
	return false;
}

/* What everybody may, by the roles that a cluster has from its start. */
static bool everybody_may(const struct who *w, const struct what *q)
{
	static const char *const open[] = {"/healthz", "/livez", "/readyz", "/version"}, *const known[] = {"/api", "/apis", "/openapi/v2", "/api/v1"};

	if (q->kind || strcmp(q->verb, "get") != 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		if (strcmp(q->path, open[i]) == 0)
			return true;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(q->path, known[i]) == 0)
			return !w->stranger;
	return false;
}

bool is_granted(const struct who *w, const struct what *q)
{
	for (unsigned i = 0; i < N_BINDINGS; i++) {
		const struct binding *b = &bindings[i];
		const struct role *r = &roles[b->role];

		if (!is_subject(b, w) || (b->ns >= 0 && (!q->kind || strcmp(ns_of((unsigned)b->ns), q->ns) != 0)))
			continue;
		for (unsigned k = 0; k < r->n; k++)
			if (rule_grants(&r->rules[k], q))
				return true;
	}
	return everybody_may(w, q);
}

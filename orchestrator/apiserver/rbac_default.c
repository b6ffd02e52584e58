#include "orchestrator/apiserver/rbac_default.h"

#include "base/util.h"
#include "orchestrator/apiserver/rbac.h"
#include "proto/json.h"

#define AGGREGATE "rbac.authorization.k8s.io/aggregate-to-"
#define AUTOUPDATE "rbac.authorization.kubernetes.io/autoupdate"

enum fact { FACT_CLUSTER_ROLE, FACT_ROLE, FACT_CLUSTER_BINDING, FACT_BINDING, FACT_RULE, FACT_URLS, FACT_SUBJECT };

static const struct {
	enum fact fact;
	const char *a, *b, *c, *d;
} facts[] = {
#define CLUSTER_ROLE(name, into, from) {FACT_CLUSTER_ROLE, name, into, from, NULL},
#define ROLE(ns, name) {FACT_ROLE, name, ns, NULL, NULL},
#define CLUSTER_BINDING(name, role) {FACT_CLUSTER_BINDING, name, NULL, role, NULL},
#define BINDING(ns, name, role) {FACT_BINDING, name, ns, role, NULL},
#define RULE(groups, resources, names, verbs) {FACT_RULE, groups, resources, names, verbs},
#define URLS(urls, verbs) {FACT_URLS, urls, NULL, NULL, verbs},
#define USER(name) {FACT_SUBJECT, "User", name, NULL, NULL},
#define GROUP(name) {FACT_SUBJECT, "Group", name, NULL, NULL},
#define ACCOUNT(name) {FACT_SUBJECT, "ServiceAccount", name, "kube-system", NULL},
#include "orchestrator/apiserver/rbac_default.def"
};

static const struct {
	const char *kind, *plural;
} kinds[] = {
		[FACT_CLUSTER_ROLE] = {"ClusterRole", "clusterroles"},
		[FACT_ROLE] = {"Role", "roles"},
		[FACT_CLUSTER_BINDING] = {"ClusterRoleBinding", "clusterrolebindings"},
		[FACT_BINDING] = {"RoleBinding", "rolebindings"},
};

/* --- Facts as objects ----------------------------------------------------------------------------------------- */

static void set_words(struct arena *a, struct json *o, const char *key, const char *words)
{
	struct json *list = json_new_array(a);
	struct str word, rest = str_from(words);

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		json_push(a, list, json_new_str(a, str_eqc(word, "core") ? STR_NULL : word));
	}
	if (json_len(list) > 0)
		json_setc(a, o, key, list);
}

static void add_rule(struct arena *a, struct json *doc, size_t i)
{
	struct json *r = json_new_object(a), *rules = json_getc(doc, "rules");

	if (facts[i].fact == FACT_URLS) {
		set_words(a, r, "nonResourceURLs", facts[i].a);
	} else {
		set_words(a, r, "apiGroups", facts[i].a);
		set_words(a, r, "resources", facts[i].b);
		set_words(a, r, "resourceNames", facts[i].c);
	}
	set_words(a, r, "verbs", facts[i].d);
	json_push(a, rules, r);
}

static void add_subject(struct arena *a, struct json *doc, size_t i)
{
	struct json *s = json_new_object(a), *list = json_getc(doc, "subjects");

	json_setc(a, s, "kind", json_newc(a, facts[i].a));
	if (facts[i].c)
		json_setc(a, s, "namespace", json_newc(a, facts[i].c));
	else
		json_setc(a, s, "apiGroup", json_newc(a, "rbac.authorization.k8s.io"));
	json_setc(a, s, "name", json_newc(a, facts[i].b));
	json_push(a, list, s);
}

static void label(struct arena *a, struct json *meta, const char *key, const char *value)
{
	json_setc(a, json_object_at(a, meta, "labels"), key, json_newc(a, value));
}

static void aggregation(struct arena *a, struct json *doc, const char *into, const char *from)
{
	struct str word, rest = str_from(into);

	while (rest.n > 0) {
		str_cut(rest, ' ', &word, &rest);
		label(a, json_getc(doc, "metadata"), arena_printf(a, AGGREGATE "%.*s", STR_FMT(word)), "true");
	}
	if (from[0]) {
		struct json *rule = json_new_object(a), *list = json_new_array(a), *sel = json_new_object(a),
			    *labels = json_new_object(a);

		json_setc(a, labels, arena_printf(a, AGGREGATE "%s", from), json_newc(a, "true"));
		json_setc(a, sel, "matchLabels", labels);
		json_push(a, list, sel);
		json_setc(a, rule, "clusterRoleSelectors", list);
		json_setc(a, doc, "aggregationRule", rule);
	}
}

static struct json *begin(struct arena *a, size_t i)
{
	enum fact f = facts[i].fact;
	struct json *doc = json_new_object(a), *meta = json_new_object(a), *notes = json_new_object(a), *ref;

	json_setc(a, doc, "apiVersion", json_newc(a, "rbac.authorization.k8s.io/v1"));
	json_setc(a, doc, "kind", json_newc(a, kinds[f].kind));
	json_setc(a, doc, "metadata", meta);
	json_setc(a, meta, "name", json_newc(a, facts[i].a));
	if (f == FACT_ROLE || f == FACT_BINDING)
		json_setc(a, meta, "namespace", json_newc(a, facts[i].b));
	label(a, meta, "kubernetes.io/bootstrapping", "rbac-defaults");
	json_setc(a, notes, AUTOUPDATE, json_newc(a, "true"));
	json_setc(a, meta, "annotations", notes);
	if (f == FACT_CLUSTER_ROLE)
		aggregation(a, doc, facts[i].b, facts[i].c);
	if (f == FACT_CLUSTER_ROLE || f == FACT_ROLE) {
		json_setc(a, doc, "rules", json_new_array(a));
		return doc;
	}
	ref = json_new_object(a);
	json_setc(a, ref, "apiGroup", json_newc(a, "rbac.authorization.k8s.io"));
	json_setc(a, ref, "kind", json_newc(a, f == FACT_BINDING ? "Role" : "ClusterRole"));
	json_setc(a, ref, "name", json_newc(a, facts[i].c));
	json_setc(a, doc, "roleRef", ref);
	json_setc(a, doc, "subjects", json_new_array(a));
	return doc;
}

bool rbac_default_next(struct arena *a, size_t *pos, struct rbac_default *ret)
{
	size_t i = *pos;
	enum fact f;

	if (i >= ARRAY_LEN(facts))
		return false;
	f = facts[i].fact;
	ASSERT(f < FACT_RULE);
	*ret = (struct rbac_default){.plural = kinds[f].plural, .name = facts[i].a,
			.ns = f == FACT_ROLE || f == FACT_BINDING ? facts[i].b : NULL, .doc = begin(a, i)};
	for (i++; i < ARRAY_LEN(facts) && facts[i].fact >= FACT_RULE; i++)
		if (facts[i].fact == FACT_SUBJECT)
			add_subject(a, ret->doc, i);
		else
			add_rule(a, ret->doc, i);
	*pos = i;
	return true;
}

/* --- Putting right ------------------------------------------------------------------------------------------------ */

static struct str *words_of(struct arena *a, const struct json *list, size_t *ret_n)
{
	struct str *out = arena_new_array(a, struct str, json_len(list) + 1);

	*ret_n = 0;
	JSON_ITEMS (it, list)
		out[(*ret_n)++] = json_str(it);
	return out;
}

static void rule_of(struct arena *a, const struct json *o, struct rbac_rule *r)
{
	r->verbs = words_of(a, json_getc(o, "verbs"), &r->n_verbs);
	r->groups = words_of(a, json_getc(o, "apiGroups"), &r->n_groups);
	r->resources = words_of(a, json_getc(o, "resources"), &r->n_resources);
	r->names = words_of(a, json_getc(o, "resourceNames"), &r->n_names);
	r->urls = words_of(a, json_getc(o, "nonResourceURLs"), &r->n_urls);
}

/* Members of `want` (labels or annotations) that `have` lacks; what is there wins. */
static bool merge_members(struct arena *a, struct json *meta, const char *key, const struct json *want)
{
	struct json *have = json_object_at(a, meta, key);
	bool changed = false;

	JSON_MEMBERS (m, want)
		if (have && !json_get(have, m->key)) {
			json_set(a, have, m->key, json_copy(a, m->value));
			changed = true;
		}
	if (json_len(have) == 0)
		json_delc(meta, key);
	return changed;
}

static bool merge_rules(struct arena *a, struct json *out, const struct json *want)
{
	struct json *list = json_getc(out, "rules");
	struct rbac_rules held = {0};
	bool changed = false;

	/* An aggregated role's rules are its controller's. */
	if (json_getc(want, "aggregationRule"))
		return false;
	JSON_ITEMS (it, list) {
		struct rbac_rule r;

		rule_of(a, it, &r);
		rbac_rules_add(a, &held, &r);
	}
	if (!json_is(list, JSON_ARRAY)) {
		list = json_new_array(a);
		json_setc(a, out, "rules", list);
	}
	JSON_ITEMS (it, json_getc(want, "rules")) {
		struct rbac_rule r;

		rule_of(a, it, &r);
		if (rbac_missing(a, held.v, held.n, &r, 1).n == 0)
			continue;
		json_push(a, list, json_copy(a, it));
		changed = true;
	}
	return changed;
}

static bool same_subject(const struct json *x, const struct json *y)
{
	static const char *const keys[] = {"kind", "namespace", "name"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!str_eq(json_str(json_getc(x, keys[i])), json_str(json_getc(y, keys[i]))))
			return false;
	return true;
}

static bool merge_subjects(struct arena *a, struct json *out, const struct json *want)
{
	struct json *list = json_getc(out, "subjects");
	bool changed = false;

	JSON_ITEMS (w, json_getc(want, "subjects")) {
		bool found = false;

		JSON_ITEMS (h, list)
			found = found || same_subject(w, h);
		if (found)
			continue;
		if (!json_is(list, JSON_ARRAY)) {
			list = json_new_array(a);
			json_setc(a, out, "subjects", list);
		}
		json_push(a, list, json_copy(a, w));
		changed = true;
	}
	return changed;
}

struct json *rbac_default_merge(struct arena *a, const struct rbac_default *d, const struct json *have, bool *ret_replace)
{
	const struct json *want = d->doc;
	struct json *out, *meta;
	bool changed;

	*ret_replace = false;
	if (!have)
		return json_copy(a, want);
	if (json_eqc(json_getc(json_getp(have, "metadata.annotations"), AUTOUPDATE), "false"))
		return NULL;
	if (json_getc(want, "roleRef") && !(json_eqc(json_getp(have, "roleRef.kind"), json_cstr(json_getp(want, "roleRef.kind"))) &&
			str_eq(json_strp(have, "roleRef.name"), json_strp(want, "roleRef.name")))) {
		*ret_replace = true;
		return json_copy(a, want);
	}
	out = json_copy(a, have);
	meta = json_getc(out, "metadata");
	changed = merge_members(a, meta, "labels", json_getp(want, "metadata.labels"));
	changed |= merge_members(a, meta, "annotations", json_getp(want, "metadata.annotations"));
	if (json_getc(want, "roleRef")) {
		changed |= merge_subjects(a, out, want);
	} else {
		changed |= merge_rules(a, out, want);
		if (json_getc(want, "aggregationRule") && !json_getc(out, "aggregationRule")) {
			json_setc(a, out, "aggregationRule", json_copy(a, json_getc(want, "aggregationRule")));
			changed = true;
		}
	}
	return changed ? out : NULL;
}

#include "orchestrator/apiserver/audit_policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/authn.h"
#include "orchestrator/apiserver/request.h"
#include "proto/json.h"
#include "proto/yaml.h"

const char *const audit_level_names[] = {"None", "Metadata", "Request", "RequestResponse", NULL};
const char *const audit_stage_names[AUDIT_N_STAGES] = {"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"};

struct audit_rule {
	enum audit_level level;
	const struct json *doc; /* its lists are read from the document */
	unsigned omit;
};

struct audit_policy {
	struct arena arena;
	struct audit_rule *rules;
	size_t n;
};

/* --- The file ------------------------------------------------------------------------------------------------- */

static int read_stages(const struct json *list, unsigned *ret, struct err *e)
{
	JSON_ITEMS (it, list) {
		unsigned i = 0;

		while (i < AUDIT_N_STAGES && !json_eqc(it, audit_stage_names[i]))
			i++;
		if (i == AUDIT_N_STAGES)
			return err_set(e, ERR_INVALID, "audit policy: no such stage: %s", json_cstr(it));
		*ret |= 1u << i;
	}
	return 0;
}

static int read_rule(struct audit_rule *r, const struct json *doc, unsigned omit, struct err *e)
{
	struct str level = json_str(json_getc(doc, "level"));
	unsigned i = 0;

	while (audit_level_names[i] && !str_eqc(level, audit_level_names[i]))
		i++;
	if (!audit_level_names[i])
		return err_set(e, ERR_INVALID, "audit policy: a rule's level must be None, Metadata, Request or RequestResponse, not \"%.*s\"",
				STR_FMT(level));
	if (json_len(json_getc(doc, "nonResourceURLs")) > 0 &&
			(json_len(json_getc(doc, "resources")) > 0 || json_len(json_getc(doc, "namespaces")) > 0))
		return err_set(e, ERR_INVALID, "audit policy: a rule cannot have nonResourceURLs and resources or namespaces");
	r->level = (enum audit_level)i;
	r->doc = doc;
	r->omit = omit;
	return read_stages(json_getc(doc, "omitStages"), &r->omit, e);
}

static int read_policy(struct audit_policy *p, const struct json *doc, struct err *e)
{
	const struct json *list = json_getc(doc, "rules");
	unsigned omit = 0;

	if (!json_eqc(json_getc(doc, "kind"), "Policy") || !json_eqc(json_getc(doc, "apiVersion"), "audit.k8s.io/v1"))
		return err_set(e, ERR_INVALID, "audit policy: this is no Policy of audit.k8s.io/v1");
	if (json_len(list) == 0)
		return err_set(e, ERR_INVALID, "audit policy: there are no rules");
	if (read_stages(json_getc(doc, "omitStages"), &omit, e) < 0)
		return -e->code;
	p->rules = arena_new_array(&p->arena, struct audit_rule, json_len(list));
	JSON_ITEMS (r, list)
		if (read_rule(&p->rules[p->n++], r, omit, e) < 0)
			return -e->code;
	return 0;
}

int audit_policy_parse(struct str text, struct audit_policy **ret, struct err *e)
{
	struct audit_policy *p = xcalloc(1, sizeof(*p));
	struct json *doc;

	arena_init(&p->arena);
	if (yaml_parse(&p->arena, text, &doc, e) < 0 || read_policy(p, doc, e) < 0) {
		audit_policy_free(p);
		return -e->code;
	}
	*ret = p;
	return 0;
}

void audit_policy_free(struct audit_policy *p)
{
	if (!p)
		return;
	arena_fini(&p->arena);
	free(p);
}

/* --- The question ------------------------------------------------------------------------------------------------ */

static bool lists(const struct json *list, struct str word)
{
	JSON_ITEMS (it, list)
		if (str_eq(json_str(it), word))
			return true;
	return false;
}

/* "pods", "pods/log", "pods" followed by a star for all its subresources, a star before "/status" for those of all, or a star. */
static bool resource_listed(const struct json *list, const struct authz_attrs *at)
{
	JSON_ITEMS (it, list) {
		struct str name, sub, word = json_str(it);

		if (str_eqc(word, "*"))
			return true;
		str_cut(word, '/', &name, &sub);
		if (!str_eqc(name, "*") && !str_eq(name, at->resource))
			continue;
		if (str_eq(sub, at->sub) || (str_eqc(sub, "*") && at->sub.n > 0))
			return true;
	}
	return false;
}

static bool resources_match(const struct json *rule, const struct authz_attrs *at)
{
	const struct json *namespaces = json_getc(rule, "namespaces"), *groups = json_getc(rule, "resources");

	if (!at->is_resource || (json_len(namespaces) > 0 && !lists(namespaces, at->ns)))
		return false;
	if (json_len(groups) == 0)
		return true;
	JSON_ITEMS (g, groups) {
		const struct json *names = json_getc(g, "resourceNames");

		if (!str_eq(json_str(json_getc(g, "group")), at->group))
			continue;
		if (json_len(json_getc(g, "resources")) > 0 && !resource_listed(json_getc(g, "resources"), at))
			continue;
		if (json_len(names) == 0 || lists(names, at->name))
			return true;
	}
	return false;
}

static bool url_matches(const struct json *list, struct str path)
{
	JSON_ITEMS (it, list) {
		struct str u = json_str(it);

		if (str_eq(u, path) || str_eqc(u, "*"))
			return true;
		if (u.n > 0 && u.p[u.n - 1] == '*' && str_has_prefix(path, str_sub(u, 0, u.n - 1)))
			return true;
	}
	return false;
}

static bool rule_matches(const struct json *r, const struct api_user *u, const struct authz_attrs *at)
{
	const struct json *users = json_getc(r, "users"), *groups = json_getc(r, "userGroups"), *verbs = json_getc(r, "verbs");
	bool in_group = json_len(groups) == 0;

	if (json_len(users) > 0 && !lists(users, u->name))
		return false;
	for (size_t i = 0; i < u->n_groups; i++)
		in_group = in_group || lists(groups, u->groups[i]);
	if (!in_group || (json_len(verbs) > 0 && !lists(verbs, at->verb)))
		return false;
	if (json_len(json_getc(r, "namespaces")) > 0 || json_len(json_getc(r, "resources")) > 0)
		return resources_match(r, at);
	if (json_len(json_getc(r, "nonResourceURLs")) > 0)
		return !at->is_resource && url_matches(json_getc(r, "nonResourceURLs"), at->path);
	return true;
}

enum audit_level audit_policy_level(const struct audit_policy *p, const struct api_user *u, const struct authz_attrs *at,
		unsigned *ret_stages)
{
	for (size_t i = 0; i < p->n; i++)
		if (rule_matches(p->rules[i].doc, u, at)) {
			*ret_stages = ~p->rules[i].omit;
			return p->rules[i].level;
		}
	*ret_stages = 0;
	return AUDIT_NONE;
}

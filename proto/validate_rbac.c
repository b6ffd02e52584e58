#include <string.h>

#include "base/util.h"
#include "proto/validate-priv.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* A rule is about resources or about other paths; only cluster roles have the latter. */
static void rule(struct field_errs *e, const struct field_path *at, const struct json *r, bool namespaced)
{
	bool paths = json_len(json_getc(r, "nonResourceURLs")) > 0;

	if (json_len(json_getc(r, "verbs")) == 0)
		validate__missing(e, at, "verbs", "verbs must contain at least one value");
	if (paths && namespaced)
		validate__bad(e, at, r, "nonResourceURLs",
			"namespaced rules cannot apply to non-resource URLs");
	if (paths && json_len(json_getc(r, "apiGroups")) + json_len(json_getc(r, "resources")) +
				     json_len(json_getc(r, "resourceNames")) >
			     0)
		validate__bad(e, at, r, "nonResourceURLs",
			"rules cannot apply to both regular resources and non-resource URLs");
	if (paths)
		return;
	if (json_len(json_getc(r, "apiGroups")) == 0)
		validate__missing(
			e, at, "apiGroups", "resource rules must supply at least one api group");
	if (json_len(json_getc(r, "resources")) == 0)
		validate__missing(
			e, at, "resources", "resource rules must supply at least one resource");
}

static void role_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	rule(e, at, r, true);
}

static void cluster_rule(struct field_errs *e, const struct field_path *at, const struct json *r)
{
	rule(e, at, r, false);
}

void validate__role(const struct validate__ctx *c)
{
	validate__each(c->errs, NULL, c->obj, "rules", role_rule);
}

void validate__cluster_role(const struct validate__ctx *c)
{
	struct field_path path = field_child(NULL, "aggregationRule");
	const struct json *aggregation = json_getc(c->obj, "aggregationRule");

	validate__each(c->errs, NULL, c->obj, "rules", cluster_rule);
	if (json_is_null(aggregation))
		return;
	if (json_len(json_getc(aggregation, "clusterRoleSelectors")) == 0)
		validate__missing(c->errs, &path, "clusterRoleSelectors",
			"at least one clusterRoleSelector required if aggregationRule is non-nil");
	validate__each(
		c->errs, &path, aggregation, "clusterRoleSelectors", validate__label_selector);
}

/* ---- bindings ---- */

static void subject_group(struct field_errs *e, const struct field_path *at, const struct json *s,
	const char *want)
{
	const char *const groups[] = {want, NULL};
	struct field_path path = field_child(at, "apiGroup");

	if (!str_eqc(json_str(json_getc(s, "apiGroup")), want))
		field_not_supported(e, &path, json_str(json_getc(s, "apiGroup")), groups);
}

static void subject(struct field_errs *e, const struct field_path *at, const struct json *s, bool namespaced)
{
	static const char *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
	struct field_path path = field_child(at, "kind");
	struct json *kind = json_getc(s, "kind");

	validate__required(e, at, s, "name");
	if (json_eqc(kind, "ServiceAccount")) {
		validate__name_opt(e, at, s, "name", validate_dns1123_subdomain);
		subject_group(e, at, s, "");
		if (!namespaced)
			validate__required(e, at, s, "namespace");
	} else if (json_eqc(kind, "User") || json_eqc(kind, "Group")) {
		subject_group(e, at, s, RBAC_GROUP);
	} else {
		field_not_supported(e, &path, json_str(kind), kinds);
	}
}

static void role_subject(struct field_errs *e, const struct field_path *at, const struct json *s)
{
	subject(e, at, s, true);
}

static void cluster_subject(struct field_errs *e, const struct field_path *at, const struct json *s)
{
	subject(e, at, s, false);
}

static void binding(const struct validate__ctx *c, const char *const *kinds)
{
	static const char *const groups[] = {RBAC_GROUP, NULL};
	struct field_path path = field_child(NULL, "roleRef"), group = field_child(&path, "apiGroup"),
			  kind = field_child(&path, "kind");
	const struct json *ref = json_getc(c->obj, "roleRef");
	size_t i = 0;

	if (!json_eqc(json_getc(ref, "apiGroup"), RBAC_GROUP))
		field_not_supported(c->errs, &group, json_str(json_getc(ref, "apiGroup")), groups);
	while (kinds[i] && !json_eqc(json_getc(ref, "kind"), kinds[i]))
		i++;
	if (!kinds[i])
		field_not_supported(c->errs, &kind, json_str(json_getc(ref, "kind")), kinds);
	if (validate__required(c->errs, &path, ref, "name"))
		validate__name(c->errs, &path, ref, "name", validate_path_segment);
	validate__each(c->errs, NULL, c->obj, "subjects", kinds[1] ? role_subject : cluster_subject);
	if (c->old && !json_equal(ref, json_getc(c->old, "roleRef")))
		field_err_add(c->errs, &path, FIELD_INVALID,
			"Invalid value: rbac.RoleRef{APIGroup:\"%s\", Kind:\"%s\", Name:\"%s\"}: cannot change "
			"roleRef",
			json_cstr(json_getc(ref, "apiGroup")), json_cstr(json_getc(ref, "kind")),
			json_cstr(json_getc(ref, "name")));
}

void validate__role_binding(const struct validate__ctx *c)
{
	static const char *const kinds[] = {"Role", "ClusterRole", NULL};

	binding(c, kinds);
}

void validate__cluster_role_binding(const struct validate__ctx *c)
{
	static const char *const kinds[] = {"ClusterRole", NULL};

	binding(c, kinds);
}

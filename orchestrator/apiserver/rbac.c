#include "orchestrator/apiserver/rbac.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/util.h"
#include "proto/wire.h"

/* Role and ClusterRole: {2 rules}; PolicyRule: {1 verbs, 2 apiGroups, 3 resources, 4 resourceNames, 5 nonResourceURLs}. */
enum { ROLE_RULES = 2 };
enum { RULE_VERBS = 1, RULE_GROUPS, RULE_RESOURCES, RULE_NAMES, RULE_URLS };

/* --- Does a rule allow it? --------------------------------------------------------------------------------- */

/* "pods", "pods/log", "*", or "*" followed by "/log": the subresource of anything. */
static bool resource_matches(struct str rule, const struct authz_attrs *at)
{
	if (str_eqc(rule, "*"))
		return true;
	if (at->sub.n == 0)
		return str_eq(rule, at->resource);
	if (str_has_prefix(rule, STR("*/")))
		return str_eq(str_skip(rule, 2), at->sub);
	return rule.n == at->resource.n + 1 + at->sub.n && str_has_prefix(rule, at->resource) &&
	       rule.p[at->resource.n] == '/' && str_eq(str_skip(rule, at->resource.n + 1), at->sub);
}

static struct str without_stars(struct str s)
{
	while (s.n > 0 && s.p[s.n - 1] == '*')
		s.n--;
	return s;
}

static bool url_covers(struct str rule, struct str url)
{
	if (str_eqc(rule, "*") || str_eq(rule, url))
		return true;
	return rule.n > 0 && rule.p[rule.n - 1] == '*' && str_has_prefix(url, without_stars(rule));
}

bool rbac_rule_allows(struct str rule, const struct authz_attrs *at)
{
	struct wire_reader r = wire_reader(rule);
	struct wire_item it = {0};
	bool verb = false, group = false, resource = false, url = false, named = false, name = false;

	while (wire_next(&r, &it)) {
		if (it.type != WIRE_BYTES)
			continue;
		switch (it.number) {
		case RULE_VERBS:
			verb = verb || str_eqc(it.bytes, "*") || str_eq(it.bytes, at->verb);
			break;
		case RULE_GROUPS:
			group = group || str_eqc(it.bytes, "*") || str_eq(it.bytes, at->group);
			break;
		case RULE_RESOURCES:
			resource = resource || resource_matches(it.bytes, at);
			break;
		case RULE_NAMES:
			named = true;
			name = name || str_eq(it.bytes, at->name);
			break;
		case RULE_URLS:
			url = url || url_covers(it.bytes, at->path);
			break;
		default:
			break;
		}
	}
	if (r.failed || !verb)
		return false;
	return at->is_resource ? group && resource && (!named || name) : url;
}

bool rbac_next_rule(struct str role, size_t *pos, struct str *ret_rule)
{
	struct wire_reader r = wire_reader(str_skip(role, *pos));
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == ROLE_RULES && it.type == WIRE_BYTES) {
			*pos = (size_t)((const char *)r.p - role.p);
			*ret_rule = it.bytes;
			return true;
		}
	*pos = role.n;
	return false;
}

bool rbac_rules_allow(struct str role, const struct authz_attrs *at)
{
	size_t pos = 0;
	struct str rule;

	while (rbac_next_rule(role, &pos, &rule))
		if (rbac_rule_allows(rule, at))
			return true;
	return false;
}

/* --- Rules as lists ------------------------------------------------------------------------------------------ */

static size_t count_field(struct str rule, uint32_t number)
{
	struct wire_reader r = wire_reader(rule);
	struct wire_item it = {0};
	size_t n = 0;

	while (wire_next(&r, &it))
		n += it.number == number && it.type == WIRE_BYTES;
	return n;
}

static struct str *read_field(struct arena *a, struct str rule, uint32_t number, size_t *ret_n)
{
	struct str *list = arena_new_array(a, struct str, count_field(rule, number) + 1);
	struct wire_reader r = wire_reader(rule);
	struct wire_item it = {0};
	size_t n = 0;

	while (wire_next(&r, &it))
		if (it.number == number && it.type == WIRE_BYTES)
			list[n++] = it.bytes;
	*ret_n = n;
	return list;
}

void rbac_rule_read(struct arena *a, struct str rule, struct rbac_rule *ret)
{
	ret->verbs = read_field(a, rule, RULE_VERBS, &ret->n_verbs);
	ret->groups = read_field(a, rule, RULE_GROUPS, &ret->n_groups);
	ret->resources = read_field(a, rule, RULE_RESOURCES, &ret->n_resources);
	ret->names = read_field(a, rule, RULE_NAMES, &ret->n_names);
	ret->urls = read_field(a, rule, RULE_URLS, &ret->n_urls);
}

void rbac_rules_add(struct arena *a, struct rbac_rules *list, const struct rbac_rule *rule)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 16;

		list->v = arena_grow(a, list->v, list->cap * sizeof(list->v[0]), cap * sizeof(list->v[0]));
		list->cap = cap;
	}
	list->v[list->n++] = *rule;
}

void rbac_rules_add_role(struct arena *a, struct rbac_rules *list, struct str role)
{
	struct rbac_rule rule;
	struct str bytes;
	size_t pos = 0;

	while (rbac_next_rule(role, &pos, &bytes)) {
		rbac_rule_read(a, bytes, &rule);
		rbac_rules_add(a, list, &rule);
	}
}

/* --- Escalation ------------------------------------------------------------------------------------------------ */

static bool has(const struct str *list, size_t n, struct str s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i], s))
			return true;
	return false;
}

static bool has_or_all(const struct str *list, size_t n, struct str s)
{
	return has(list, n, STR("*")) || has(list, n, s);
}

static bool resources_cover(const struct rbac_rule *held, struct str resource)
{
	ptrdiff_t slash = str_find(resource, '/');

	if (has_or_all(held->resources, held->n_resources, resource))
		return true;
	for (size_t i = 0; slash >= 0 && i < held->n_resources; i++)
		if (str_has_prefix(held->resources[i], STR("*/")) &&
				str_eq(str_skip(held->resources[i], 2), str_skip(resource, (size_t)slash + 1)))
			return true;
	return false;
}

/* One permission: a resource with a verb and perhaps a name, or a URL with a verb. */
struct permission {
	struct str group, resource, name, url, verb;
	bool is_url, named;
};

static bool covers(const struct rbac_rule *held, const struct permission *p)
{
	if (!has_or_all(held->verbs, held->n_verbs, p->verb))
		return false;
	if (p->is_url) {
		for (size_t i = 0; i < held->n_urls; i++)
			if (url_covers(held->urls[i], p->url))
				return true;
		return false;
	}
	return has_or_all(held->groups, held->n_groups, p->group) && resources_cover(held, p->resource) &&
	       (held->n_names == 0 || (p->named && has(held->names, held->n_names, p->name)));
}

/* A line of the answer: permissions that differ in the verb only. */
struct missing {
	struct permission first;
	struct str *verbs;
	size_t n, cap;
};

struct missing_list {
	struct arena *arena;
	struct missing *v;
	size_t n, cap;
};

static bool same_target(const struct permission *a, const struct permission *b)
{
	return !a->is_url && !b->is_url && a->named == b->named && str_eq(a->name, b->name) && str_eq(a->group, b->group) &&
	       str_eq(a->resource, b->resource);
}

static void missing_add(struct missing_list *list, const struct permission *p)
{
	struct missing *m = NULL;

	for (size_t i = 0; i < list->n && !m; i++)
		if (same_target(&list->v[i].first, p))
			m = &list->v[i];
	if (!m) {
		if (list->n == list->cap) {
			size_t cap = list->cap ? list->cap * 2 : 16;

			list->v = arena_grow(list->arena, list->v, list->cap * sizeof(*m), cap * sizeof(*m));
			list->cap = cap;
		}
		m = &list->v[list->n++];
		*m = (struct missing){.first = *p};
	}
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 8;

		m->verbs = arena_grow(list->arena, m->verbs, m->cap * sizeof(struct str), cap * sizeof(struct str));
		m->cap = cap;
	}
	m->verbs[m->n++] = p->verb;
}

static void check_permission(struct missing_list *list, const struct rbac_rule *held, size_t n_held,
		const struct permission *p)
{
	for (size_t i = 0; i < n_held; i++)
		if (covers(&held[i], p))
			return;
	missing_add(list, p);
}

static void check_rule(struct missing_list *list, const struct rbac_rule *held, size_t n_held, const struct rbac_rule *w)
{
	for (size_t g = 0; g < w->n_groups; g++)
		for (size_t r = 0; r < w->n_resources; r++)
			for (size_t v = 0; v < w->n_verbs; v++)
				for (size_t k = 0; k < MAX(w->n_names, 1); k++) {
					struct permission p = {.group = w->groups[g], .resource = w->resources[r],
							.verb = w->verbs[v], .named = w->n_names > 0};

					if (p.named)
						p.name = w->names[k];
					check_permission(list, held, n_held, &p);
				}
	for (size_t u = 0; u < w->n_urls; u++)
		for (size_t v = 0; v < w->n_verbs; v++) {
			struct permission p = {.is_url = true, .url = w->urls[u], .verb = w->verbs[v]};

			check_permission(list, held, n_held, &p);
		}
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static struct str missing_text(struct arena *a, const struct missing *m)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const struct permission *p = &m->first;

	if (p->is_url)
		buf_printf(&out, "{NonResourceURLs:[\"%.*s\"]", STR_FMT(p->url));
	else
		buf_printf(&out, "{APIGroups:[\"%.*s\"], Resources:[\"%.*s\"]", STR_FMT(p->group), STR_FMT(p->resource));
	if (p->named)
		buf_printf(&out, ", ResourceNames:[\"%.*s\"]", STR_FMT(p->name));
	buf_addc(&out, ", Verbs:[");
	for (size_t i = 0; i < m->n; i++)
		buf_printf(&out, "%s\"%.*s\"", i ? " " : "", STR_FMT(m->verbs[i]));
	buf_addc(&out, "]}");
	return arena_str(a, buf_str(&out));
}

struct str rbac_missing(struct arena *a, const struct rbac_rule *held, size_t n_held, const struct rbac_rule *wanted,
		size_t n_wanted)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct missing_list list = {.arena = a};
	struct str *lines;

	for (size_t i = 0; i < n_wanted; i++)
		check_rule(&list, held, n_held, &wanted[i]);
	if (list.n == 0)
		return STR_NULL;
	lines = arena_new_array(a, struct str, list.n);
	for (size_t i = 0; i < list.n; i++)
		lines[i] = missing_text(a, &list.v[i]);
	qsort(lines, list.n, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < list.n; i++)
		if (i == 0 || !str_eq(lines[i], lines[i - 1]))
			buf_printf(&out, "%s%.*s", i ? "\n" : "", STR_FMT(lines[i]));
	return arena_str(a, buf_str(&out));
}

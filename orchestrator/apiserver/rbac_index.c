#include "orchestrator/apiserver/rbac_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/request.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/wire.h"

/* RoleBinding and ClusterRoleBinding: {2 subjects, 3 roleRef}; Subject: {1 kind, 3 name, 4 namespace}; RoleRef: {2 kind, 3 name}. */
enum { BINDING_SUBJECTS = 2, BINDING_ROLE_REF = 3 };

struct role {
	size_t n;
	char raw[];
};

struct binding {
	struct str ns, name; /* ns empty: cluster-wide */
	bool cluster_role;
	struct str role;
	struct str raw; /* the subjects are read from it */
	char bytes[];   /* what all of these point into */
};

/* The bindings that name one subject. */
struct bound {
	struct binding **v;
	size_t n, cap;
};

struct rbac_index {
	struct map roles[2];    /* by RBAC_ROLE, RBAC_CLUSTER_ROLE: "ns/name" or "name" -> struct role */
	struct map bindings[2]; /* likewise -> struct binding */
	struct map users, groups; /* name -> struct bound */
};

static void bound_free(void *p)
{
	struct bound *b = p;

	free(b->v);
	free(b);
}

struct rbac_index *rbac_index_new(void)
{
	struct rbac_index *ix = xcalloc(1, sizeof(*ix));

	for (int i = 0; i < 2; i++) {
		map_init(&ix->roles[i]);
		map_init(&ix->bindings[i]);
	}
	map_init(&ix->users);
	map_init(&ix->groups);
	return ix;
}

void rbac_index_free(struct rbac_index *ix)
{
	if (!ix)
		return;
	for (int i = 0; i < 2; i++) {
		map_fini_with(&ix->roles[i], free);
		map_fini_with(&ix->bindings[i], free);
	}
	map_fini_with(&ix->users, bound_free);
	map_fini_with(&ix->groups, bound_free);
	free(ix);
}

static struct str key_of(struct arena *a, struct str ns, struct str name)
{
	return ns.n ? arena_sprintf(a, "%.*s/%.*s", STR_FMT(ns), STR_FMT(name)) : name;
}

/* --- Subjects ---------------------------------------------------------------------------------------------- */

struct subject {
	struct str kind, name, ns;
	bool group;
	struct str user; /* the name under which it is found */
};

/* The next subject that can be anybody; *r stands behind it. */
static bool subject_next(struct wire_reader *r, struct arena *a, struct str binding_ns, struct subject *ret)
{
	struct wire_item it = {0};

	while (wire_next(r, &it)) {
		if (it.number != BINDING_SUBJECTS || it.type != WIRE_BYTES)
			continue;
		*ret = (struct subject){.kind = storage_field(it.bytes, 1), .name = storage_field(it.bytes, 3),
				.ns = storage_field(it.bytes, 4)};
		ret->user = ret->name;
		ret->group = str_eqc(ret->kind, "Group");
		if (str_eqc(ret->kind, "ServiceAccount")) {
			struct str ns = ret->ns.n ? ret->ns : binding_ns;

			if (ns.n == 0)
				continue;
			ret->user = arena_sprintf(a, "system:serviceaccount:%.*s:%.*s", STR_FMT(ns), STR_FMT(ret->name));
		} else if (!ret->group && !str_eqc(ret->kind, "User")) {
			continue;
		}
		return true;
	}
	return false;
}

static void bound_add(struct map *m, struct str who, struct binding *b)
{
	struct bound *list = map_get(m, who);

	if (!list) {
		list = xcalloc(1, sizeof(*list));
		map_put(m, who, list);
	}
	if (list->n == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 2;
		list->v = xrealloc(list->v, list->cap * sizeof(list->v[0]));
	}
	list->v[list->n++] = b;
}

static void bound_del(struct map *m, struct str who, const struct binding *b)
{
	struct bound *list = map_get(m, who);

	for (size_t i = 0; list && i < list->n; i++)
		if (list->v[i] == b) {
			list->v[i] = list->v[--list->n];
			break;
		}
	if (list && list->n == 0)
		bound_free(map_del(m, who));
}

static void each_subject(struct rbac_index *ix, struct binding *b, bool add)
{
	struct wire_reader r = wire_reader(b->raw);
	struct subject s;
	struct arena a;

	arena_init(&a);
	while (subject_next(&r, &a, b->ns, &s)) {
		struct map *m = s.group ? &ix->groups : &ix->users;

		if (add)
			bound_add(m, s.user, b);
		else
			bound_del(m, s.user, b);
	}
	arena_fini(&a);
}

/* --- Changes ------------------------------------------------------------------------------------------------- */

static void binding_drop(struct rbac_index *ix, struct binding *b)
{
	if (!b)
		return;
	each_subject(ix, b, false);
	free(b);
}

static struct binding *binding_new(struct str ns, struct str name, struct str raw)
{
	struct binding *b = xcalloc(1, sizeof(*b) + ns.n + name.n + raw.n + 1);
	struct str ref;
	char *p = b->bytes;

	memcpy(p, raw.p, raw.n);
	b->raw = str_of(p, raw.n);
	p += raw.n;
	memcpy(p, name.p, name.n);
	b->name = str_of(p, name.n);
	p += name.n;
	if (ns.n > 0)
		memcpy(p, ns.p, ns.n);
	b->ns = str_of(p, ns.n);
	ref = storage_field(b->raw, BINDING_ROLE_REF);
	b->cluster_role = str_eqc(storage_field(ref, 2), "ClusterRole");
	b->role = storage_field(ref, 3);
	return b;
}

void rbac_index_put(struct rbac_index *ix, enum rbac_kind kind, struct str ns, struct str name, struct str raw)
{
	struct arena a;

	arena_init(&a);
	if (kind == RBAC_ROLE || kind == RBAC_CLUSTER_ROLE) {
		struct role *role = xmalloc(sizeof(*role) + raw.n);

		role->n = raw.n;
		memcpy(role->raw, raw.p, raw.n);
		free(map_put(&ix->roles[kind == RBAC_CLUSTER_ROLE], key_of(&a, ns, name), role));
	} else {
		struct binding *b = binding_new(ns, name, raw);

		binding_drop(ix, map_put(&ix->bindings[kind == RBAC_CLUSTER_ROLE_BINDING], key_of(&a, ns, name), b));
		each_subject(ix, b, true);
	}
	arena_fini(&a);
}

void rbac_index_del(struct rbac_index *ix, enum rbac_kind kind, struct str ns, struct str name)
{
	struct arena a;

	arena_init(&a);
	if (kind == RBAC_ROLE || kind == RBAC_CLUSTER_ROLE)
		free(map_del(&ix->roles[kind == RBAC_CLUSTER_ROLE], key_of(&a, ns, name)));
	else
		binding_drop(ix, map_del(&ix->bindings[kind == RBAC_CLUSTER_ROLE_BINDING], key_of(&a, ns, name)));
	arena_fini(&a);
}

size_t rbac_index_len(const struct rbac_index *ix, enum rbac_kind kind)
{
	if (kind == RBAC_ROLE || kind == RBAC_CLUSTER_ROLE)
		return map_len(&ix->roles[kind == RBAC_CLUSTER_ROLE]);
	return map_len(&ix->bindings[kind == RBAC_CLUSTER_ROLE_BINDING]);
}

bool rbac_index_role(const struct rbac_index *ix, struct str ns, struct str name, struct str *ret_raw)
{
	const struct role *role;
	struct arena a;

	if (ns.n == 0) {
		role = map_get(&ix->roles[1], name);
	} else {
		arena_init(&a);
		role = map_get(&ix->roles[0], key_of(&a, ns, name));
		arena_fini(&a);
	}
	if (!role)
		return false;
	*ret_raw = str_of(role->raw, role->n);
	return true;
}

/* --- Questions -------------------------------------------------------------------------------------------------- */

static bool binding_role(const struct rbac_index *ix, const struct binding *b, struct str *ret_raw)
{
	/* Only a namespace has Roles. */
	if (!b->cluster_role && b->ns.n == 0)
		return false;
	return rbac_index_role(ix, b->cluster_role ? STR_NULL : b->ns, b->role, ret_raw);
}

/* `RoleBinding "readers/default" of Role "reader" to User "jane"`, after "RBAC: allowed by". */
static struct str allowed_text(struct arena *a, const struct binding *b, struct str who, bool group)
{
	struct wire_reader r = wire_reader(b->raw);
	struct subject s = {0};

	while (subject_next(&r, a, b->ns, &s))
		if (s.group == group && str_eq(s.user, who))
			break;
	return arena_sprintf(a, "RBAC: allowed by %s \"%.*s%s%.*s\" of %s \"%.*s\" to %.*s \"%.*s%s%.*s\"",
			b->ns.n ? "RoleBinding" : "ClusterRoleBinding", STR_FMT(b->name), b->ns.n ? "/" : "", STR_FMT(b->ns),
			b->cluster_role ? "ClusterRole" : "Role", STR_FMT(b->role), STR_FMT(s.kind), STR_FMT(s.name),
			str_eqc(s.kind, "ServiceAccount") ? "/" : "",
			STR_FMT(str_eqc(s.kind, "ServiceAccount") ? (s.ns.n ? s.ns : b->ns) : STR_NULL));
}

static void note_missing(struct rbac_reason *why, const struct binding *b)
{
	if (!why->arena)
		return;
	why->text = arena_sprintf(why->arena, "%.*s%s%s.rbac.authorization.k8s.io \"%.*s\" not found", STR_FMT(why->text),
			why->text.n ? ", " : "", b->cluster_role ? "clusterrole" : "role", STR_FMT(b->role));
}

/* A binding of a namespace speaks of resources in it only; URLs are granted cluster-wide. */
static bool binding_applies(const struct binding *b, const struct authz_attrs *at)
{
	return b->ns.n == 0 || (at->is_resource && str_eq(b->ns, at->ns));
}

static bool allowed_by(const struct rbac_index *ix, const struct map *m, struct str who, bool group,
		const struct authz_attrs *at, struct rbac_reason *why)
{
	const struct bound *list = map_get(m, who);
	struct str raw;

	for (size_t i = 0; list && i < list->n; i++) {
		const struct binding *b = list->v[i];

		if (!binding_applies(b, at))
			continue;
		if (!binding_role(ix, b, &raw)) {
			note_missing(why, b);
			continue;
		}
		if (!rbac_rules_allow(raw, at))
			continue;
		if (why->arena)
			why->text = allowed_text(why->arena, b, who, group);
		return true;
	}
	return false;
}

bool rbac_authorize(const struct rbac_index *ix, const struct api_user *u, const struct authz_attrs *at,
		struct rbac_reason *why)
{
	why->text = STR_NULL;
	if (allowed_by(ix, &ix->users, u->name, false, at, why))
		return true;
	for (size_t i = 0; i < u->n_groups; i++)
		if (allowed_by(ix, &ix->groups, u->groups[i], true, at, why))
			return true;
	if (why->text.n > 0 && why->arena)
		why->text = arena_sprintf(why->arena, "RBAC: %.*s", STR_FMT(why->text));
	return false;
}

static void rules_of(const struct rbac_index *ix, const struct map *m, struct str who, struct str ns, struct arena *a,
		struct rbac_rules *ret)
{
	const struct bound *list = map_get(m, who);
	struct str raw;

	for (size_t i = 0; list && i < list->n; i++)
		if ((list->v[i]->ns.n == 0 || str_eq(list->v[i]->ns, ns)) && binding_role(ix, list->v[i], &raw))
			rbac_rules_add_role(a, ret, raw);
}

void rbac_rules_of_user(const struct rbac_index *ix, const struct api_user *u, struct str ns, struct arena *a,
		struct rbac_rules *ret)
{
	rules_of(ix, &ix->users, u->name, ns, a, ret);
	for (size_t i = 0; i < u->n_groups; i++)
		rules_of(ix, &ix->groups, u->groups[i], ns, a, ret);
}

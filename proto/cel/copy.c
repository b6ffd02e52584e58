/*
 * The result of a run, taken out of the memory that the run used: what it holds is copied, the JSON that it shows is not. Small values may
 * stand for huge trees, so the copy has a limit.
 */
#include <string.h>

#include "proto/cel/opaque-priv.h"

static bool copy(struct arena *, struct cel_value *, size_t *left);

static bool take(size_t *left, size_t size)
{
	if (*left < size)
		return false;
	*left -= size;
	return true;
}

static bool copy_text(struct arena *a, struct str *s, size_t *left)
{
	if (!take(left, s->n))
		return false;
	*s = arena_str(a, *s);
	return true;
}

static bool copy_list(struct arena *a, struct cel_value *v, size_t *left)
{
	struct cel_list *l = arena_memdup(a, v->list, sizeof(*l));
	struct cel_value *items;
	const struct cel_type *type = l->type;

	if (l->json == NULL) {
		if (!take(left, l->n * sizeof(*items)))
			return false;
		items = arena_alloc(a, l->n * sizeof(*items));
		for (size_t i = 0; i < l->n; i++) {
			items[i] = v->list->store->items[i];
			if (!copy(a, &items[i], left))
				return false;
		}
		l = (struct cel_list *)cel__list_new(a, items, l->n).list;
		l->type = type;
	}
	v->list = l;
	return true;
}

static bool copy_map(struct arena *a, struct cel_value *v, size_t *left)
{
	const struct cel_map *from = v->map;
	struct cel_value m;

	if (from->lazy != NULL)
		return true;
	if (from->json != NULL) {
		v->map = arena_memdup(a, from, sizeof(*from));
		return true;
	}
	m = cel__map_new(a);
	for (size_t i = 0; i < from->n; i++) {
		struct cel__entry e = from->table->entries[i];

		if (!take(left, 2 * sizeof(e)) || !copy(a, &e.key, left) || !copy(a, &e.value, left))
			return false;
		m = cel__map_add(a, m.map, e.key, e.value);
	}
	v->map = arena_memdup(a, m.map, sizeof(*m.map));
	((struct cel_map *)(uintptr_t)v->map)->type = from->type;
	return true;
}

static void copy_query(struct arena *a, struct cel__authz *z)
{
	struct str *const texts[] = {&z->query.service_account_namespace, &z->query.service_account, &z->query.path, &z->query.group,
		&z->query.resource, &z->query.subresource, &z->query.namespace, &z->query.name, &z->query.field_selector,
		&z->query.label_selector, &z->query.verb, &z->decision.reason, &z->decision.error};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		*texts[i] = arena_str(a, *texts[i]);
}

static const struct cel_opaque *copy_opaque(struct arena *a, const struct cel_opaque *o)
{
	struct cel__url *url;
	struct cel__semver *semver;
	struct cel__authz *authz;

	switch (o->kind) {
	case OPAQUE_QUANTITY:
		return arena_memdup(a, o, sizeof(struct cel__quantity));
	case OPAQUE_IP:
	case OPAQUE_CIDR:
		return arena_memdup(a, o, sizeof(struct cel__ip));
	case OPAQUE_URL:
		url = arena_memdup(a, o, sizeof(*url));
		cel__url_parse(a, arena_str(a, url->text), url);
		return &url->o;
	case OPAQUE_SEMVER:
		semver = arena_memdup(a, o, sizeof(*semver));
		semver->pre = arena_str(a, semver->pre);
		semver->build = arena_str(a, semver->build);
		return &semver->o;
	case OPAQUE_FORMAT:
		return o;
	default:
		authz = arena_memdup(a, o, sizeof(*authz));
		copy_query(a, authz);
		return &authz->o;
	}
}

static bool copy(struct arena *a, struct cel_value *v, size_t *left)
{
	struct cel_value inner;

	if (!take(left, sizeof(*v)))
		return false;
	switch (v->kind) {
	case CEL_STRING:
	case CEL_BYTES:
	case CEL_ERROR:
		return copy_text(a, &v->s, left);
	case CEL_LIST:
		return copy_list(a, v, left);
	case CEL_MAP:
		return copy_map(a, v, left);
	case CEL_OPTIONAL:
		if (v->optional == NULL)
			return true;
		inner = *v->optional;
		if (!copy(a, &inner, left))
			return false;
		*v = cel_some(a, inner);
		return true;
	case CEL_OPAQUE:
		v->opaque = copy_opaque(a, v->opaque);
		return true;
	default:
		/* Types are the program's. */
		return true;
	}
}

struct cel_value cel__copy(struct arena *a, struct cel_value v)
{
	size_t left = CEL_MAX_RESULT;

	if (!copy(a, &v, &left))
		return cel__text_error(a, "the result of the expression takes more memory than it may");
	return v;
}

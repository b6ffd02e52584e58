/* What a schema does to an object before it is checked: unknown members go, defaults come. */
#include <stdlib.h>

#include "proto/field_errs.h"
#include "proto/structural-priv.h"
#include "proto/structural.h"

int structural__by_name(const void *a, const void *b)
{
	return str_cmp(((const struct structural_property *)a)->name, ((const struct structural_property *)b)->name);
}

const struct structural *structural_property(const struct structural *s, struct str name)
{
	struct structural_property key = {name, NULL}, *found;

	if (s == NULL)
		return NULL;
	found = s->n_properties ? bsearch(&key, s->properties, s->n_properties, sizeof(key), structural__by_name) : NULL;
	return found ? found->schema : s->additional;
}

struct pruner {
	struct arena *arena;
	void (*dropped)(void *arg, struct str path);
	void *arg;
};

/* Not the schema's to describe, at the root and in embedded resources. */
static bool is_meta_key(struct str key)
{
	return str_eqc(key, "apiVersion") || str_eqc(key, "kind") || str_eqc(key, "metadata");
}

static void tell(struct pruner *p, const struct field_path *up, struct str key)
{
	struct field_path at = {.up = up, .name = key};
	struct buf b = BUF_INIT;

	if (p->dropped == NULL)
		return;
	field_path_print(&b, &at);
	p->dropped(p->arg, arena_str(p->arena, buf_str(&b)));
	buf_fini(&b);
}

static void prune(struct pruner *p, const struct structural *s, struct json *j, const struct field_path *path, bool resource)
{
	if (s == NULL)
		return;
	if (json_is(j, JSON_ARRAY)) {
		for (size_t i = 0; s->items != NULL && i < j->n; i++) {
			struct field_path at = field_index(path, i);

			prune(p, s->items, j->items[i], &at, s->items->embedded);
		}
		return;
	}
	if (!json_is(j, JSON_OBJECT) || s->additional_any)
		return;
	for (size_t i = 0; i < j->n; i++) {
		const struct structural *of = structural_property(s, j->members[i].key);
		struct field_path at = {.up = path, .name = j->members[i].key};

		if (resource && is_meta_key(j->members[i].key))
			continue;
		if (of != NULL)
			prune(p, of, j->members[i].value, &at, of->embedded);
		else if (!s->preserve_unknown)
			tell(p, path, j->members[i].key);
	}
	/* Backwards: a deletion may move the last member into the hole. */
	for (size_t i = s->preserve_unknown ? 0 : j->n; i-- > 0;) {
		struct str key = j->members[i].key;

		if (!(resource && is_meta_key(key)) && structural_property(s, key) == NULL)
			json_del(j, key);
	}
}

void structural_prune(struct arena *a, const struct structural *s, struct json *obj,
		      void (*dropped)(void *arg, struct str path), void *arg)
{
	struct pruner p = {a, dropped, arg};

	prune(&p, s, obj, NULL, true);
}

void structural_default(struct arena *a, const struct structural *s, struct json *j)
{
	if (s == NULL)
		return;
	if (json_is(j, JSON_ARRAY)) {
		for (size_t i = 0; s->items != NULL && i < j->n; i++) {
			if (json_is_null(j->items[i]) && !s->items->nullable && s->items->dflt != NULL)
				j->items[i] = json_copy(a, s->items->dflt);
			structural_default(a, s->items, j->items[i]);
		}
		return;
	}
	if (!json_is(j, JSON_OBJECT))
		return;
	for (size_t i = 0; i < s->n_properties; i++) {
		const struct structural *of = s->properties[i].schema;
		struct json *v = json_get(j, s->properties[i].name);

		if (of->dflt != NULL && (v == NULL || (v->type == JSON_NULL && !of->nullable))) {
			v = json_copy(a, of->dflt);
			json_set(a, j, s->properties[i].name, v);
		} else if (v != NULL && v->type == JSON_NULL && !of->nullable && of->type != STRUCTURAL_NONE) {
			/* Null is no value where it is not allowed: as if it had been left out. */
			json_del(j, s->properties[i].name);
			continue;
		}
		structural_default(a, of, v);
	}
	for (size_t i = 0; s->additional != NULL && i < j->n; i++) {
		struct json_member *m = &j->members[i];

		if (json_is_null(m->value) && !s->additional->nullable && s->additional->dflt != NULL)
			m->value = json_copy(a, s->additional->dflt);
		structural_default(a, s->additional, m->value);
	}
}

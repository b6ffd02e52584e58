/*
 * Schema types from a structural schema, as far as apply and field ownership need them: which members there are, and which
 * lists are sets or keyed. Values in values (a map of maps, a list of lists) have no form in schema_field: they are SCHEMA_ANY, maps by
 * key and lists as one value, which is also what a schema without list types says of them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/custom-priv.h"
#include "proto/custom.h"
#include "proto/structural.h"

static const struct schema_more nothing = {0};
static const struct schema_type any_type = {.name = "any", .full_name = "any", .kind = "any", .api_version = "", .json = SCHEMA_ANY};
static const struct schema_type leaf_type = {.name = "leaf", .full_name = "leaf", .kind = "leaf", .api_version = "", .json = SCHEMA_RAW_JSON};
static const struct schema_field any_field = {.json = "", .name = "", .type = &any_type, .more = &nothing, .kind = SCHEMA_MESSAGE};

static const struct schema_type *struct_type(struct arena *, const struct structural *);

static int key_cmp(const void *a, const void *b)
{
	const struct schema_key *x = a, *y = b;

	return str_cmp(str_of(x->json, x->field->json_len), str_of(y->json, y->field->json_len));
}

static void index_keys(struct arena *a, struct schema_type *t)
{
	struct schema_key *keys = arena_new_array(a, struct schema_key, t->n_fields + 1);

	for (size_t i = 0; i < t->n_fields; i++)
		keys[i] = (struct schema_key){t->fields[i].json, &t->fields[i]};
	if (t->n_fields > 1)
		qsort(keys, t->n_fields, sizeof(*keys), key_cmp);
	t->keys = keys;
	t->n_keys = t->n_fields;
}

static bool is_map(const struct structural *s)
{
	return s->type == STRUCTURAL_OBJECT && (s->additional || s->additional_any || (s->preserve_unknown && s->n_properties == 0));
}

/* Of a value that is neither a list nor a map: kind and type. */
static void one_value(struct arena *a, const struct structural *s, struct schema_field *f)
{
	static const uint8_t kinds[] = {[STRUCTURAL_STRING] = SCHEMA_STRING, [STRUCTURAL_INTEGER] = SCHEMA_INT64,
			[STRUCTURAL_NUMBER] = SCHEMA_DOUBLE, [STRUCTURAL_BOOLEAN] = SCHEMA_BOOL};

	f->kind = SCHEMA_MESSAGE;
	if (s->int_or_string) {
		f->type = &leaf_type;
	} else if (s->type >= STRUCTURAL_STRING) {
		f->kind = kinds[s->type];
	} else if (s->type == STRUCTURAL_OBJECT && !is_map(s)) {
		f->type = struct_type(a, s);
		if (s->map_atomic)
			f->flags |= SCHEMA_STRUCT_ATOMIC;
	} else {
		f->type = s->type == STRUCTURAL_ARRAY || s->map_atomic ? &leaf_type : &any_type;
	}
}

static const struct schema_more *more_of(struct arena *a, const struct structural *s)
{
	struct schema_more *m = arena_new_of(a, struct schema_more);
	const char **keys = arena_new_array(a, const char *, json_len(s->map_keys) + 1);

	if (s->dflt)
		m->default_json = arena_cstr(a, json_text(a, s->dflt));
	for (size_t i = 0; s->list == STRUCTURAL_LIST_MAP && i < json_len(s->map_keys); i++)
		keys[m->n_map_keys++] = json_cstr(json_at(s->map_keys, i));
	m->map_keys = keys;
	return m;
}

static struct schema_field field_of(struct arena *a, struct str name, const struct structural *s)
{
	static const uint16_t lists[] = {[STRUCTURAL_LIST_ATOMIC] = SCHEMA_LIST_ATOMIC, [STRUCTURAL_LIST_SET] = SCHEMA_LIST_SET,
			[STRUCTURAL_LIST_MAP] = SCHEMA_LIST_MAP};
	struct schema_field f = {.json = arena_cstr(a, name), .json_len = (uint32_t)name.n, .flags = SCHEMA_OPTIONAL, .more = more_of(a, s)};

	f.name = f.json;
	if (s->type == STRUCTURAL_ARRAY && s->items) {
		f.flags |= SCHEMA_REPEATED | lists[s->list];
		one_value(a, s->items, &f);
		f.flags &= (uint16_t)~SCHEMA_STRUCT_ATOMIC;
	} else if (s->type == STRUCTURAL_OBJECT && s->additional && !s->map_atomic) {
		f.flags |= SCHEMA_MAP;
		one_value(a, s->additional, &f);
		f.flags &= (uint16_t)~SCHEMA_STRUCT_ATOMIC;
	} else {
		one_value(a, s, &f);
	}
	return f;
}

static struct schema_field plain_field(const char *name, const char *type)
{
	return (struct schema_field){.json = name, .name = name, .json_len = (uint32_t)strlen(name), .more = &nothing, .flags = SCHEMA_OPTIONAL,
			.kind = type ? SCHEMA_MESSAGE : SCHEMA_STRING, .type = type ? schema_type_find(type) : NULL};
}

/* Members that an object has without its schema's doing. */
static bool is_frame(struct str name)
{
	return str_eqc(name, "apiVersion") || str_eqc(name, "kind") || str_eqc(name, "metadata");
}

static void fill(struct arena *a, struct schema_type *t, const struct structural *s, bool object)
{
	struct schema_field *f = arena_new_array(a, struct schema_field, s->n_properties + 3);
	size_t n = 0;

	for (size_t i = 0; i < s->n_properties; i++)
		if (!object || !is_frame(s->properties[i].name))
			f[n++] = field_of(a, s->properties[i].name, s->properties[i].schema);
	if (object) {
		f[n] = plain_field("metadata", "meta.v1.ObjectMeta");
		f[n++].number = 1;
	}
	if (object && t->json != SCHEMA_CUSTOM) {
		f[n++] = plain_field("apiVersion", NULL);
		f[n++] = plain_field("kind", NULL);
	}
	t->fields = f;
	t->n_fields = (uint32_t)n;
	if (s->preserve_unknown)
		t->other = &any_field;
	index_keys(a, t);
}

static const struct schema_type *struct_type(struct arena *a, const struct structural *s)
{
	struct schema_type *t = arena_new_of(a, struct schema_type);

	t->name = t->full_name = t->kind = "object";
	t->api_version = "";
	t->atomic = s->map_atomic;
	fill(a, t, s, s->embedded);
	return t;
}

/* "stable.example.com" "v1" "CronTab" -> "com.example.stable.v1.CronTab" */
static const char *full_name(struct arena *a, const struct resource *r, const char *kind)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;
	struct str rest = str_from(r->group);

	while (rest.n > 0) {
		ptrdiff_t dot = str_rfind(rest, '.');

		buf_adds(&b, str_skip(rest, (size_t)(dot + 1)));
		buf_add1(&b, '.');
		rest.n = dot < 0 ? 0 : (size_t)dot;
	}
	buf_printf(&b, "%s.%s", r->version, kind);
	return arena_cstr(a, buf_str(&b));
}

void custom__types(struct arena *a, struct custom *c)
{
	struct schema_field *list = arena_new_array(a, struct schema_field, 2);

	c->type = (struct schema_type){.name = c->res.type, .full_name = full_name(a, &c->res, c->res.kind), .kind = c->res.kind,
			.api_version = c->res.api_version, .json = SCHEMA_CUSTOM, .root = true, .custom = c->schema};
	fill(a, &c->type, c->schema, true);
	c->list_type = (struct schema_type){.name = c->res.list_type, .full_name = full_name(a, &c->res, c->res.list_kind),
			.kind = c->res.list_kind, .api_version = c->res.api_version, .root = true, .is_list = true};
	list[0] = plain_field("metadata", "meta.v1.ListMeta");
	list[1] = (struct schema_field){.json = "items", .name = "items", .json_len = 5, .more = &nothing, .kind = SCHEMA_MESSAGE,
			.type = &c->type, .flags = SCHEMA_REPEATED | SCHEMA_ALWAYS, .number = 2};
	list[0].number = 1;
	c->list_type.fields = list;
	c->list_type.n_fields = 2;
	index_keys(a, &c->list_type);
}

/*
 * Types out of schemas: of custom resources, with the sizes that estimates need, and of built-in kinds.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"
#include "proto/schema.h"
#include "proto/structural.h"

/* The shortest and longest texts in JSON, quotes among them: "0"; dates. */
#define MIN_STRING 2
#define MIN_DURATION 3
#define MAX_DURATION 32
#define DATE 12
#define MIN_DATETIME 21
#define MAX_DATETIME 32

static struct cel_type *copy(struct arena *a, const struct cel_type *t, uint64_t max, uint64_t min_size)
{
	struct cel_type *c = arena_memdup(a, t, sizeof(*t));

	c->max_elements = max;
	c->min_size = min_size;
	return c;
}

static uint64_t at_least_0(int64_t n)
{
	return n < 0 ? 0 : (uint64_t)n;
}

static const struct cel_type *from_structural(struct arena *, const struct structural *, bool root, const char *name);

/* Bytes, as upstream: a character may take four. */
static uint64_t characters(const struct structural *s)
{
	return s->max_length >= 0 ? (uint64_t)s->max_length * 4 : CEL_MAX_REQUEST_SIZE - 2;
}

static uint64_t longest_value(const struct structural *s)
{
	uint64_t longest = 0;

	JSON_ITEMS (it, s->values)
		if (it->type == JSON_STRING)
			longest = MAX(longest, (uint64_t)it->s.n);
	return longest;
}

static const struct cel_type *string_type(struct arena *a, const struct structural *s)
{
	if (str_eqc(s->format, "byte"))
		return copy(a, &cel_bytes, s->max_length >= 0 ? (uint64_t)s->max_length : CEL_MAX_REQUEST_SIZE - 2, MIN_STRING);
	if (str_eqc(s->format, "duration"))
		return copy(a, &cel_duration, MAX_DURATION, MIN_DURATION);
	if (str_eqc(s->format, "date"))
		return copy(a, &cel_timestamp, DATE, DATE);
	if (str_eqc(s->format, "date-time"))
		return copy(a, &cel_timestamp, MAX_DATETIME, MIN_DATETIME);
	if (s->max_length < 0 && json_len(s->values) > 0)
		return copy(a, &cel_string, longest_value(s), MIN_STRING);
	return copy(a, &cel_string, characters(s), MIN_STRING);
}

static const struct cel_type *array_type(struct arena *a, const struct structural *s, const char *name)
{
	const struct cel_type *item;
	struct cel_type *t;

	if (s->items == NULL)
		return NULL;
	item = from_structural(a, s->items, s->items->embedded, arena_printf(a, "%s.@idx", name));
	if (item == NULL)
		return NULL;
	t = copy(a, cel_type_list(a, item), 0, 2);
	t->max_elements = s->max_items >= 0 ? at_least_0(s->max_items) : (CEL_MAX_REQUEST_SIZE - 2) / (item->min_size + 1);
	return t;
}

static const struct cel_type *map_type(struct arena *a, const struct structural *s, const char *name)
{
	const struct cel_type *value =
		from_structural(a, s->additional, s->additional->embedded, arena_printf(a, "%s.@elem", name));
	uint64_t max;

	if (value == NULL)
		return NULL;
	max = s->max_properties >= 0 ? at_least_0(s->max_properties) : (CEL_MAX_REQUEST_SIZE - 2) / (value->min_size + 6);
	return copy(a, cel_type_map(a, &cel_string, value), max, 2);
}

static bool is_required(const struct structural *s, struct str name)
{
	JSON_ITEMS (it, s->required)
		if (str_eq(json_str(it), name))
			return true;
	return false;
}

/* What every object has, whatever its schema says. */
static size_t root_fields(struct arena *a, struct cel_field *fields, const char *name)
{
	const struct cel_type *text = copy(a, &cel_string, CEL_MAX_REQUEST_SIZE - 2, MIN_STRING);
	const struct cel_field meta[] = {{"name", text, NULL}, {"generateName", text, NULL}};

	fields[0] = (struct cel_field){"apiVersion", text, NULL};
	fields[1] = (struct cel_field){"kind", text, NULL};
	fields[2] = (struct cel_field){
		"metadata", cel_type_object(a, arena_printf(a, "%s.metadata", name), meta, ARRAY_LEN(meta)), NULL};
	return 3;
}

static const struct cel_type *object_type(struct arena *a, const struct structural *s, bool root, const char *name)
{
	struct cel_field *fields = arena_new_array(a, struct cel_field, s->n_properties + 3);
	size_t n = root ? root_fields(a, fields, name) : 0;
	uint64_t min_size = 2;

	for (size_t i = 0; i < s->n_properties; i++) {
		const struct structural_property *p = &s->properties[i];
		const struct cel_type *t;
		struct str escaped;

		if (root && (str_eqc(p->name, "apiVersion") || str_eqc(p->name, "kind") || str_eqc(p->name, "metadata")))
			continue;
		if (!cel_escape(a, p->name, &escaped))
			escaped = STR_NULL;
		t = from_structural(a, p->schema, p->schema->embedded, arena_printf(a, "%s.%.*s", name, STR_FMT(escaped)));
		if (t == NULL)
			continue;
		if (escaped.n > 0)
			fields[n++] = (struct cel_field){escaped.p, t, arena_cstr(a, p->name)};
		if (is_required(s, p->name) && p->schema->dflt == NULL)
			min_size += p->name.n + t->min_size + 4;
	}
	return copy(a, cel_type_object(a, name, fields, n), 0, min_size);
}

static const struct cel_type *place_type(struct arena *a, const struct structural *s, bool root, const char *name)
{
	if (s->int_or_string)
		return copy(a, &cel_dyn, characters(s), 1);
	switch (s->type) {
	case STRUCTURAL_OBJECT:
		return s->additional != NULL && !root ? map_type(a, s, name) : object_type(a, s, root, name);
	case STRUCTURAL_ARRAY:
		return array_type(a, s, name);
	case STRUCTURAL_STRING:
		return string_type(a, s);
	case STRUCTURAL_BOOLEAN:
		return &cel_bool;
	case STRUCTURAL_INTEGER:
		return &cel_int;
	case STRUCTURAL_NUMBER:
		return &cel_double;
	default:
		return NULL;
	}
}

static const struct cel_type *from_structural(struct arena *a, const struct structural *s, bool root, const char *name)
{
	const struct cel_type *t = place_type(a, s, root, name);
	struct cel_type *marked;

	if (t == NULL)
		return NULL;
	/* The mark that says that sizes are known from here on. */
	marked = copy(a, t, t->max_elements, t->min_size);
	marked->schema = s;
	return marked;
}

const struct cel_type *cel_type_structural(struct arena *a, const struct structural *s, bool root)
{
	return from_structural(a, s, root, "selfType");
}

/* ---- built-in kinds ---- */

struct built {
	struct built *next;
	const struct schema_type *from;
	struct cel_type *to;
};

static const struct cel_type *from_schema(struct arena *, struct built **, const struct schema_type *);

static const struct cel_type *scalar(uint8_t kind)
{
	switch (kind) {
	case SCHEMA_STRING:
		return &cel_string;
	case SCHEMA_BYTES:
		return &cel_bytes;
	case SCHEMA_BOOL:
		return &cel_bool;
	case SCHEMA_DOUBLE:
		return &cel_double;
	default:
		return &cel_int;
	}
}

static const struct cel_type *field_type(struct arena *a, struct built **done, const struct schema_field *f)
{
	const struct cel_type *t = f->kind == SCHEMA_MESSAGE && f->type != NULL ? from_schema(a, done, f->type) : scalar(f->kind);

	if (schema_is(f, SCHEMA_MAP))
		return cel_type_map(a, &cel_string, t);
	return schema_is(f, SCHEMA_REPEATED) ? cel_type_list(a, t) : t;
}

static const struct cel_type *from_schema(struct arena *a, struct built **done, const struct schema_type *s)
{
	struct built *b;
	struct cel_field *fields;
	const struct cel_type *made;
	size_t n = 0;

	switch (s->json) {
	case SCHEMA_PLAIN:
		break;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return &cel_timestamp;
	case SCHEMA_DURATION:
		return &cel_duration;
	default:
		return &cel_dyn;
	}
	for (b = *done; b != NULL; b = b->next)
		if (b->from == s)
			return b->to;
	b = arena_new_of(a, struct built);
	b->from = s;
	b->to = arena_new_of(a, struct cel_type);
	b->to->kind = CEL_OBJECT;
	b->to->name = s->name;
	b->next = *done;
	*done = b;
	fields = arena_new_array(a, struct cel_field, s->n_keys * 2 + 2);
	for (uint32_t i = 0; i < s->n_keys; i++) {
		const struct cel_type *t = field_type(a, done, s->keys[i].field);
		struct str escaped;

		if (s->keys[i].json[0] == '\0')
			continue;
		/* Both spellings: "namespace" as such is allowed for built-in kinds. */
		fields[n++] = (struct cel_field){s->keys[i].json, t, s->keys[i].json};
		if (cel_escape(a, str_from(s->keys[i].json), &escaped) && !str_eqc(escaped, s->keys[i].json))
			fields[n++] = (struct cel_field){escaped.p, t, s->keys[i].json};
	}
	if (s->root) {
		fields[n++] = (struct cel_field){"apiVersion", &cel_string, NULL};
		fields[n++] = (struct cel_field){"kind", &cel_string, NULL};
	}
	made = cel_type_object(a, s->name, fields, n);
	*b->to = *made;
	return b->to;
}

const struct cel_type *cel_type_schema(struct arena *a, const struct schema_type *s)
{
	struct built *done = NULL;

	return from_schema(a, &done, s);
}

/* ---- what admission expressions see ---- */

#define FIELD(name, type) {name, type, NULL}
#define OBJECT(a, name, fields) cel_type_object(a, name, fields, ARRAY_LEN(fields))

const struct cel_type *cel_type_admission_request(struct arena *a)
{
	const struct cel_field gvk[] = {FIELD("group", &cel_string), FIELD("version", &cel_string), FIELD("kind", &cel_string)};
	const struct cel_field gvr[] = {FIELD("group", &cel_string), FIELD("version", &cel_string), FIELD("resource", &cel_string)};
	const struct cel_field user[] = {
		FIELD("username", &cel_string),
		FIELD("uid", &cel_string),
		FIELD("groups", cel_type_list(a, &cel_string)),
		FIELD("extra", cel_type_map(a, &cel_string, cel_type_list(a, &cel_string))),
	};
	const struct cel_type *kind = OBJECT(a, "kubernetes.GroupVersionKind", gvk);
	const struct cel_type *resource = OBJECT(a, "kubernetes.GroupVersionResource", gvr);
	const struct cel_field request[] = {
		FIELD("kind", kind),
		FIELD("resource", resource),
		FIELD("subResource", &cel_string),
		FIELD("requestKind", kind),
		FIELD("requestResource", resource),
		FIELD("requestSubResource", &cel_string),
		FIELD("name", &cel_string),
		FIELD("namespace", &cel_string),
		FIELD("operation", &cel_string),
		FIELD("userInfo", OBJECT(a, "kubernetes.UserInfo", user)),
		FIELD("dryRun", &cel_bool),
		FIELD("options", &cel_dyn),
	};

	return OBJECT(a, "kubernetes.AdmissionRequest", request);
}

const struct cel_type *cel_type_namespace(struct arena *a)
{
	const struct cel_type *strings = cel_type_map(a, &cel_string, &cel_string);
	const struct cel_field spec[] = {FIELD("finalizers", cel_type_list(a, &cel_string))};
	const struct cel_field condition[] = {
		FIELD("status", &cel_string),
		FIELD("type", &cel_string),
		FIELD("lastTransitionTime", &cel_timestamp),
		FIELD("message", &cel_string),
		FIELD("reason", &cel_string),
	};
	const struct cel_field status[] = {
		FIELD("conditions", cel_type_list(a, OBJECT(a, "kubernetes.NamespaceCondition", condition))),
		FIELD("phase", &cel_string),
	};
	const struct cel_field meta[] = {
		FIELD("name", &cel_string),
		FIELD("generateName", &cel_string),
		FIELD("namespace", &cel_string),
		FIELD("labels", strings),
		FIELD("annotations", strings),
		FIELD("UID", &cel_string),
		FIELD("creationTimestamp", &cel_timestamp),
		FIELD("deletionGracePeriodSeconds", &cel_int),
		FIELD("deletionTimestamp", &cel_timestamp),
		FIELD("generation", &cel_int),
		FIELD("resourceVersion", &cel_string),
		FIELD("finalizers", cel_type_list(a, &cel_string)),
	};
	const struct cel_field namespace[] = {
		FIELD("metadata", OBJECT(a, "kubernetes.NamespaceMetadata", meta)),
		FIELD("spec", OBJECT(a, "kubernetes.NamespaceSpec", spec)),
		FIELD("status", OBJECT(a, "kubernetes.NamespaceStatus", status)),
	};

	return OBJECT(a, "kubernetes.Namespace", namespace);
}

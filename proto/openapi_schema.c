#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/openapi-priv.h"
#include "proto/schema.h"

struct maker {
	struct arena *a;
	bool v3;
	void (*uses)(void *, const struct schema_type *);
	void *ctx;
};

static void set(struct maker *m, struct json *o, const char *key, const char *value)
{
	json_setc(m->a, o, key, json_newc(m->a, value));
}

/* The API's names begin with the domain turned round, and Go's package paths have '-' where
 * protobuf has '_'. */
struct str openapi__name(struct arena *a, const struct schema_type *t)
{
	struct str name = str_from(t->full_name);
	char *s;

	if (!str_has_prefix(name, STR("k8s.io.")))
		return name;
	s = arena_printf(a, "io.k8s.%s", t->full_name + 7);
	for (char *c = s; *c; c++)
		*c = *c == '_' ? '-' : *c;
	return str_from(s);
}

struct json *openapi__ref(struct arena *a, const struct schema_type *t, bool v3)
{
	struct json *j = json_new_object(a);

	json_setc(a, j, "$ref",
		json_newf(a, "%s%.*s", v3 ? "#/components/schemas/" : "#/definitions/",
			STR_FMT(openapi__name(a, t))));
	return j;
}

struct json *openapi__gvk(struct arena *a, const char *api_version, const char *kind)
{
	struct json *list = json_new_array(a), *j = json_new_object(a);
	const char *slash = strchr(api_version, '/');

	json_setc(a, j, "group",
		json_new_str(
			a, slash ? str_of(api_version, (size_t)(slash - api_version)) : STR("")));
	json_setc(a, j, "kind", json_newc(a, kind));
	json_setc(a, j, "version", json_newc(a, slash ? slash + 1 : api_version));
	json_push(a, list, j);
	return list;
}

/* A type with a JSON form of its own; NULL: it is an object of its fields. */
static struct json *special(struct maker *m, const struct schema_type *type)
{
	enum schema_json how = type->json;
	struct json *j = json_new_object(m->a), *one_of;

	switch (how) {
	case SCHEMA_PLAIN:
		return NULL;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		set(m, j, "type", "string");
		set(m, j, "format", "date-time");
		break;
	case SCHEMA_DURATION:
		set(m, j, "type", "string");
		break;
	case SCHEMA_QUANTITY:
	case SCHEMA_INT_OR_STRING:
		if (!m->v3) {
			set(m, j, "type", "string");
		} else {
			one_of = json_new_array(m->a);
			for (int i = 0; i < 2; i++) {
				struct json *t = json_new_object(m->a);

				set(m, t, "type",
					i == 0                   ? "string"
					: how == SCHEMA_QUANTITY ? "number"
								 : "integer");
				json_push(m->a, one_of, t);
			}
			json_setc(m->a, j, "oneOf", one_of);
		}
		if (how == SCHEMA_INT_OR_STRING)
			set(m, j, "format", "int-or-string");
		break;
	case SCHEMA_RAW_JSON:
		/* Any value, where the others are objects. */
		if (strcmp(type->name, "apiextensions.v1.JSON") != 0)
			set(m, j, "type", "object");
		break;
	case SCHEMA_ITEMS:
		set(m, j, "type", "array");
		json_setp(m->a, j, "items.type", json_newc(m->a, "string"));
		break;
	default:
		/* Any JSON. */
		break;
	}
	return j;
}

static int str_ptr_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Types that name some values and allow any other, or whose values the public schema does not list. */
static bool is_open(const struct schema_enum *e)
{
	static const char *const open[] = {"SecretType", "ResourceName", "StatusReason", "CauseType", "StorageMedium",
		"NodeAddressType", "ConditionStatus", "ScopeType", "ParameterNotFoundActionType",
		"PersistentVolumeClaimRetentionPolicyType", "HPAScalingPolicyType", "ScalingPolicySelect",
		"MetricSourceType", "MetricTargetType", "ContainerRestartPolicy", "ResourceResizeRestartPolicy",
		"LimitType", "LoadBalancerIPMode", "OSName", "PodSELinuxChangePolicy", "PodResizeStatus",
		"ResourceHealthStatus", "RecursiveReadOnlyMode", "FlowDistinguisherMethodType", "LimitResponseType",
		"PriorityLevelEnablement", "SubjectKind", "FSGroupPolicy", "VolumeLifecycleMode",
		"ConversionStrategyType", "ResourceScope", "DeletionPropagation", "FieldSelectorOperator",
		"LabelSelectorOperator", "ManagedFieldsOperationType"};
	const char *dot = strrchr(e->name, '.'), *name = dot ? dot + 1 : e->name;

	for (size_t i = 0; i < ARRAY_LEN(open); i++)
		if (strcmp(name, open[i]) == 0)
			return true;
	return str_has_suffix(str_from(name), STR("ConditionType"));
}

static void enum_values(struct maker *m, const struct schema_enum *e, struct json *j)
{
	struct json *list = json_new_array(m->a);
	const char **sorted;

	if (e == NULL || e->n_values == 0 || is_open(e))
		return;
	sorted = arena_memdup(m->a, e->values, e->n_values * sizeof(*sorted));
	qsort(sorted, e->n_values, sizeof(*sorted), str_ptr_cmp);
	for (size_t i = 0; i < e->n_values; i++)
		json_push(m->a, list, json_newc(m->a, sorted[i]));
	json_setc(m->a, j, "enum", list);
}

/* One value of a field: an element of a list or map, or the field itself. */
static struct json *element(struct maker *m, const struct schema_field *f)
{
	static const char *const names[][2] = {
		[SCHEMA_STRING] = {"string", NULL},
		[SCHEMA_BYTES] = {"string", "byte"},
		[SCHEMA_BOOL] = {"boolean", NULL},
		[SCHEMA_INT32] = {"integer", "int32"},
		[SCHEMA_INT64] = {"integer", "int64"},
		[SCHEMA_DOUBLE] = {"number", "double"},
	};
	struct json *j;

	if (f->kind == SCHEMA_MESSAGE) {
		if (f->type->json == SCHEMA_ITEMS || f->type->json == SCHEMA_DURATION)
			return special(m, f->type);
		m->uses(m->ctx, f->type);
		return openapi__ref(m->a, f->type, m->v3);
	}
	j = json_new_object(m->a);
	set(m, j, "type", names[f->kind][0]);
	if (names[f->kind][1])
		set(m, j, "format", names[f->kind][1]);
	enum_values(m, f->more->enum_type, j);
	return j;
}

/* x-kubernetes-*: how lists and maps are merged. */
static void extensions(struct maker *m, const struct schema_field *f, struct json *j)
{
	static const struct {
		unsigned flag;
		const char *key, *value;
	} rows[] = {
		{SCHEMA_LIST_ATOMIC, "x-kubernetes-list-type", "atomic"},
		{SCHEMA_LIST_SET, "x-kubernetes-list-type", "set"},
		{SCHEMA_LIST_MAP, "x-kubernetes-list-type", "map"},
		{SCHEMA_STRUCT_ATOMIC, "x-kubernetes-map-type", "atomic"},
		{SCHEMA_STRUCT_GRANULAR, "x-kubernetes-map-type", "granular"},
	};
	struct json *keys = json_new_array(m->a);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (schema_is(f, rows[i].flag))
			set(m, j, rows[i].key, rows[i].value);
	for (size_t i = 0; i < f->more->n_map_keys; i++)
		json_push(m->a, keys, json_newc(m->a, f->more->map_keys[i]));
	if (keys->n > 0)
		json_setc(m->a, j, "x-kubernetes-list-map-keys", keys);
	if (f->more->patch_merge_key)
		set(m, j, "x-kubernetes-patch-merge-key", f->more->patch_merge_key);
	if (f->more->patch_strategy)
		set(m, j, "x-kubernetes-patch-strategy", f->more->patch_strategy);
}

static struct json *field_schema(struct maker *m, const struct schema_field *f)
{
	struct json *j = element(m, f), *outer, *dflt;

	if (schema_is(f, SCHEMA_REPEATED | SCHEMA_MAP)) {
		outer = json_new_object(m->a);
		set(m, outer, "type", schema_is(f, SCHEMA_MAP) ? "object" : "array");
		json_setc(m->a, outer, schema_is(f, SCHEMA_MAP) ? "additionalProperties" : "items",
			j);
		j = outer;
	} else if (m->v3 && json_getc(j, "$ref")) {
		/* In v3 nothing may stand beside a $ref. */
		outer = json_new_object(m->a);
		json_setc(m->a, outer, "allOf", json_new_array(m->a));
		json_push(m->a, json_getc(outer, "allOf"), j);
		j = outer;
	}
	if (f->more->doc)
		set(m, j, "description", f->more->doc);
	/* The old document has no defaults. */
	if (m->v3 && f->more->default_json &&
		json_parse(m->a, str_from(f->more->default_json), NULL, &dflt, NULL) == 0)
		json_setc(m->a, j, "default", dflt);
	extensions(m, f, j);
	return j;
}

static void properties(
	struct maker *m, const struct schema_type *t, struct json *props, struct json *required)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct schema_field *f = &t->fields[i];

		if (schema_is(f, SCHEMA_INLINE)) {
			properties(m, f->type, props, required);
			continue;
		}
		json_setc(m->a, props, f->json, field_schema(m, f));
		/* As upstream's generator decides: always shown and not said to be optional. */
		if (schema_is(f, SCHEMA_REQUIRED) ||
			(schema_is(f, SCHEMA_ALWAYS) && !schema_is(f, SCHEMA_OPTIONAL)))
			json_push(m->a, required, json_newc(m->a, f->json));
	}
}

/* Structs of which one member is set, as another one says. */
static const struct {
	const char *type, *discriminator;
	struct {
		const char *field, *value;
	} members[3];
} unions[] = {
	{"core.v1.AppArmorProfile", "type", {{"localhostProfile", "LocalhostProfile"}}},
	{"core.v1.SeccompProfile", "type", {{"localhostProfile", "LocalhostProfile"}}},
	{"flowcontrol.v1.LimitResponse", "type", {{"queuing", "Queuing"}}},
	{"flowcontrol.v1.PriorityLevelConfigurationSpec", "type", {{"exempt", "Exempt"}, {"limited", "Limited"}}},
	{"flowcontrol.v1.Subject", "kind",
		{{"group", "Group"}, {"serviceAccount", "ServiceAccount"}, {"user", "User"}}},
};

static void union_of(struct maker *m, const struct schema_type *t, struct json *j)
{
	for (size_t i = 0; i < ARRAY_LEN(unions); i++) {
		struct json *list, *u, *members;

		if (strcmp(unions[i].type, t->name) != 0)
			continue;
		list = json_new_array(m->a);
		u = json_new_object(m->a);
		members = json_new_object(m->a);
		set(m, u, "discriminator", unions[i].discriminator);
		for (size_t k = 0; k < ARRAY_LEN(unions[i].members) && unions[i].members[k].field; k++)
			set(m, members, unions[i].members[k].field, unions[i].members[k].value);
		json_setc(m->a, u, "fields-to-discriminateBy", members);
		json_push(m->a, list, u);
		json_setc(m->a, j, "x-kubernetes-unions", list);
	}
}

static void type_meta(struct maker *m, struct json *props)
{
	static const char *const rows[][2] = {
		{"apiVersion", "The version of the schema that this object follows."},
		{"kind", "What this object is; the server may infer it from the path."},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json *j = json_new_object(m->a);

		set(m, j, "type", "string");
		set(m, j, "description", rows[i][1]);
		json_setc(m->a, props, rows[i][0], j);
	}
}

struct json *openapi__schema(struct arena *a, const struct schema_type *t, bool v3,
	void (*uses)(void *, const struct schema_type *), void *ctx)
{
	struct maker m = {a, v3, uses, ctx};
	struct json *j = special(&m, t), *props, *required;

	if (j == NULL) {
		j = json_new_object(a);
		props = json_new_object(a);
		required = json_new_array(a);
		set(&m, j, "type", "object");
		if (t->root)
			type_meta(&m, props);
		properties(&m, t, props, required);
		if (props->n > 0)
			json_setc(a, j, "properties", props);
		if (required->n > 0)
			json_setc(a, j, "required", required);
		if (t->root)
			json_setc(a, j, "x-kubernetes-group-version-kind",
				openapi__gvk(a, t->api_version, t->kind));
		union_of(&m, t, j);
		if (t->atomic)
			set(&m, j, "x-kubernetes-map-type", "atomic");
	}
	if (t->doc)
		set(&m, j, "description", t->doc);
	return j;
}

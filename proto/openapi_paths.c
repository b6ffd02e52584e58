#include <ctype.h>
#include <string.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/openapi-priv.h"
#include "proto/resource.h"
#include "proto/schema.h"

/* One operation of a path: the verb, the HTTP method, and what kubectl looks for. */
static const struct op {
	unsigned verb;
	bool item; /* on one object */
	const char *method, *action, *id;
	const char *params; /* query parameters, separated by spaces */
	bool body, list;
} ops[] = {
	{V_LIST, false, "get", "list", "list",
		"allowWatchBookmarks continue fieldSelector labelSelector limit resourceVersion "
		"resourceVersionMatch sendInitialEvents"
		" timeoutSeconds watch",
		false, true},
	{V_CREATE, false, "post", "post", "create", "dryRun fieldManager fieldValidation", true,
		false},
	{V_DELETECOLLECTION, false, "delete", "deletecollection", "deleteCollection",
		"dryRun fieldSelector gracePeriodSeconds labelSelector limit propagationPolicy "
		"resourceVersion timeoutSeconds",
		false, false},
	{V_GET, true, "get", "get", "read", "", false, false},
	{V_UPDATE, true, "put", "put", "replace", "dryRun fieldManager fieldValidation", true,
		false},
	{V_PATCH, true, "patch", "patch", "patch", "dryRun fieldManager fieldValidation force",
		true, false},
	{V_DELETE, true, "delete", "delete", "delete",
		"dryRun gracePeriodSeconds orphanDependents propagationPolicy", false, false},
};

struct maker {
	struct arena *a;
	bool v3;
	const struct resource *res;
};

static void set(struct maker *m, struct json *o, const char *key, const char *value)
{
	json_setc(m->a, o, key, json_newc(m->a, value));
}

static struct json *parameter(
	struct maker *m, const char *name, size_t n, const char *in, const char *type)
{
	struct json *j = json_new_object(m->a);

	json_setc(m->a, j, "name", json_new_str(m->a, str_of(name, n)));
	set(m, j, "in", in);
	if (strcmp(in, "path") == 0)
		json_setc(m->a, j, "required", json_new_bool(m->a, true));
	json_setp(m->a, j, m->v3 ? "schema.type" : "type", json_newc(m->a, type));
	json_setp(m->a, j, m->v3 ? "schema.uniqueItems" : "uniqueItems", json_new_bool(m->a, true));
	return j;
}

static const char *param_type(struct str name)
{
	static const struct {
		const char *name, *type;
	} rows[] = {
		{"allowWatchBookmarks", "boolean"},
		{"watch", "boolean"},
		{"sendInitialEvents", "boolean"},
		{"force", "boolean"},
		{"orphanDependents", "boolean"},
		{"limit", "integer"},
		{"timeoutSeconds", "integer"},
		{"gracePeriodSeconds", "integer"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eqc(name, rows[i].name))
			return rows[i].type;
	return "string";
}

static struct json *query_params(struct maker *m, const char *names)
{
	struct json *list = json_new_array(m->a);
	struct str rest = str_from(names), one;
	bool more = names[0] != '\0';

	while (more) {
		more = str_cut(rest, ' ', &one, &rest);
		json_push(m->a, list, parameter(m, one.p, one.n, "query", param_type(one)));
	}
	return list;
}

static struct json *content(struct maker *m, const struct schema_type *t)
{
	struct json *j = json_new_object(m->a), *media = json_new_object(m->a);

	json_setc(m->a, j, "schema", openapi__ref(m->a, t, true));
	json_setc(m->a, media, "application/json", j);
	return media;
}

static void body(struct maker *m, struct json *op, struct json *params, const struct schema_type *t)
{
	struct json *j = json_new_object(m->a);

	if (m->v3) {
		json_setc(m->a, j, "content", content(m, t));
		json_setc(m->a, j, "required", json_new_bool(m->a, true));
		json_setc(m->a, op, "requestBody", j);
		return;
	}
	set(m, j, "name", "body");
	set(m, j, "in", "body");
	json_setc(m->a, j, "required", json_new_bool(m->a, true));
	json_setc(m->a, j, "schema", openapi__ref(m->a, t, false));
	json_push(m->a, params, j);
}

static struct json *operation(struct maker *m, const struct op *o, const char *id,
	const struct schema_type *t, const char *api_version, const char *kind)
{
	struct json *j = json_new_object(m->a), *params = query_params(m, o->params),
		    *ok = json_new_object(m->a), *responses = json_new_object(m->a);
	const struct schema_type *gives = o->list ? resource_list_type(m->res) : t;

	set(m, j, "operationId", id);
	if (o->body && t)
		body(m, j, params, t);
	if (params->n > 0)
		json_setc(m->a, j, "parameters", params);
	set(m, ok, "description", "OK");
	if (gives && m->v3)
		json_setc(m->a, ok, "content", content(m, gives));
	else if (gives)
		json_setc(m->a, ok, "schema", openapi__ref(m->a, gives, false));
	json_setc(m->a, responses, "200", ok);
	json_setc(m->a, j, "responses", responses);
	set(m, j, "x-kubernetes-action", o->action);
	json_setc(m->a, j, "x-kubernetes-group-version-kind",
		json_at(openapi__gvk(m->a, api_version, kind), 0));
	return j;
}

/* "AppsV1": for operation ids. */
static const char *camel(struct arena *a, const char *api_version)
{
	char *s = arena_strdup(a, strchr(api_version, '/')
					  ? api_version
					  : arena_printf(a, "core/%s", api_version)),
	     *to = s;
	bool up = true;

	for (const char *c = s; *c; c++) {
		if (!isalnum((unsigned char)*c)) {
			/* Only the first part of a dotted group. */
			while (*c == '.' && c[1] && c[1] != '/')
				for (c++; c[1] && c[1] != '.' && c[1] != '/'; c++)
					;
			up = true;
			continue;
		}
		*to++ = (char)(up ? toupper((unsigned char)*c) : *c);
		up = false;
	}
	*to = '\0';
	return s;
}

static void path_params(struct maker *m, struct json *item, bool name, bool ns)
{
	struct json *list = json_new_array(m->a);

	if (name)
		json_push(m->a, list, parameter(m, "name", 4, "path", "string"));
	if (ns)
		json_push(m->a, list, parameter(m, "namespace", 9, "path", "string"));
	if (list->n > 0)
		json_setc(m->a, item, "parameters", list);
}

/* One path with those operations of `verbs` that belong to it. */
static void add_path(struct maker *m, struct json *paths, const char *path, bool is_item, bool ns,
	unsigned verbs, const struct resource_sub *sub)
{
	const char *api_version =
		sub && sub->api_version[0] ? sub->api_version : m->res->api_version;
	const char *kind = sub ? sub->kind : m->res->kind;
	const struct schema_type *t = m->res->custom && !(sub && sub->api_version[0])
					      ? resource_type(m->res)
					      : codec_type(str_from(api_version), str_from(kind));
	struct json *item = json_new_object(m->a);

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		/* A subresource is created on an item: .../pods/x/binding. */
		bool here = ops[i].item == is_item || (sub && ops[i].verb == V_CREATE);
		const char *id;

		if (!here || !(verbs & ops[i].verb))
			continue;
		id = arena_printf(m->a, "%s%s%s%s%s", ops[i].id, camel(m->a, m->res->api_version),
			ns ? "Namespaced" : "", m->res->kind,
			sub ? camel(m->a, arena_printf(m->a, "%s/", sub->name))
			: !is_item && !ns && m->res->namespaced ? "ForAllNamespaces"
								: "");
		json_setc(
			m->a, item, ops[i].method, operation(m, &ops[i], id, t, api_version, kind));
	}
	if (item->n == 0)
		return;
	path_params(m, item, is_item, ns);
	json_setc(m->a, paths, path, item);
}

void openapi__paths(struct arena *a, const struct resource *res, bool v3, struct json *paths)
{
	struct maker m = {a, v3, res};
	const char *base =
		arena_printf(a, "/%s/%s", res->group[0] ? "apis" : "api", res->api_version);
	const char *coll = arena_printf(
		a, "%s%s/%s", base, res->namespaced ? "/namespaces/{namespace}" : "", res->plural);
	const struct resource_sub *subs;
	size_t n;

	if (res->namespaced)
		add_path(&m, paths, arena_printf(a, "%s/%s", base, res->plural), false, false,
			res->verbs & V_LIST, NULL);
	add_path(&m, paths, coll, false, res->namespaced, res->verbs, NULL);
	add_path(&m, paths, arena_printf(a, "%s/{name}", coll), true, res->namespaced, res->verbs,
		NULL);
	subs = resource_subs(res, &n);
	for (size_t i = 0; i < n; i++)
		if (subs[i].served)
			add_path(&m, paths, arena_printf(a, "%s/{name}/%s", coll, subs[i].name),
				true, res->namespaced, subs[i].verbs, &subs[i]);
}

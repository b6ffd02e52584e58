/*
 * Discovery: /api, /apis and below, plain (one document a group or version) and aggregated (everything in one). All of it is
 * made from the rows of proto/resource.def and the custom resources that the loop knows; see "Kubernetes API Concepts", API discovery.
 */
#include "orchestrator/apiserver/paths.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/custom_index.h"
#include "orchestrator/apiserver/strategy.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"

static void set(struct arena *a, struct json *o, const char *key, const char *value)
{
	json_setc(a, o, key, json_newc(a, value));
}

static struct json *array_at(struct arena *a, struct json *o, const char *key)
{
	struct json *v = json_getc(o, key);

	if (!v) {
		v = json_new_array(a);
		json_setc(a, o, key, v);
	}
	return v;
}

/* All that is served: the rows of the table, then custom resources. */
struct served {
	struct arena *a;
	const struct resource **v;
	size_t n;
};
#define SERVED_FOR_EACH(r, all)                                                                                        \
	for (size_t r##_i = 0; r##_i < (all)->n; r##_i++)                                                              \
		for (const struct resource *r = (all)->v[r##_i]; r; r = NULL)

static struct served *all_served(struct api_request *req)
{
	struct served *all = arena_new_of(&req->arena, struct served);
	const struct resource *const *custom;
	size_t n;

	custom = custom_index_all(api__custom(req->al), &n);
	all->a = &req->arena;
	all->v = arena_new_array(all->a, const struct resource *, n_resources + n);
	RESOURCE_FOR_EACH (r)
		if (r->served)
			all->v[all->n++] = r;
	for (size_t i = 0; i < n; i++)
		all->v[all->n++] = custom[i];
	return all;
}

/* Is `r` the first of its group (or of its group and version)? Those of one group stand together or not. */
static bool first_of(const struct served *all, const struct resource *r, bool version)
{
	for (size_t i = 0; all->v[i] != r; i++)
		if (strcmp(all->v[i]->group, r->group) == 0 && (!version || strcmp(all->v[i]->version, r->version) == 0))
			return false;
	return true;
}

static void verbs(struct arena *a, struct json *o, unsigned bits)
{
	struct json *list = array_at(a, o, "verbs");

	for (unsigned i = 0; i < RESOURCE_N_VERBS; i++)
		if (bits & (1u << i))
			json_push(a, list, json_newc(a, resource_verb_names[i]));
}

static void words(struct arena *a, struct json *o, const char *key, const char *csv)
{
	struct str word, rest = str_from(csv);

	while (rest.n > 0) {
		str_cut(rest, ',', &word, &rest);
		json_push(a, array_at(a, o, key), json_new_str(a, word));
	}
}

static void group_version_of(const char *api_version, struct str *ret_group, struct str *ret_version)
{
	if (!str_cut(str_from(api_version), '/', ret_group, ret_version)) {
		*ret_version = *ret_group;
		*ret_group = STR_NULL;
	}
}

/* --- Plain ------------------------------------------------------------------------------------------------ */

static struct json *version_entry(struct arena *a, const struct resource *r)
{
	struct json *v = json_new_object(a);

	set(a, v, "groupVersion", r->api_version);
	set(a, v, "version", r->version);
	return v;
}

static struct json *group_doc(const struct served *all, const char *group)
{
	struct arena *a = all->a;
	struct json *g = json_new_object(a);

	set(a, g, "name", group);
	SERVED_FOR_EACH (r, all) {
		if (strcmp(r->group, group) != 0 || !first_of(all, r, true))
			continue;
		json_push(a, array_at(a, g, "versions"), version_entry(a, r));
		if (!json_getc(g, "preferredVersion"))
			json_setc(a, g, "preferredVersion", version_entry(a, r));
	}
	return g;
}

static struct json *resource_entry(struct arena *a, const struct resource *r)
{
	struct json *o = json_new_object(a);

	set(a, o, "name", r->plural);
	set(a, o, "singularName", r->singular);
	json_setc(a, o, "namespaced", json_new_bool(a, r->namespaced));
	set(a, o, "kind", r->kind);
	verbs(a, o, r->verbs);
	words(a, o, "shortNames", r->short_names);
	words(a, o, "categories", r->categories);
	return o;
}

static struct json *sub_entry(struct arena *a, const struct resource *r, const struct resource_sub *s)
{
	struct json *o = json_new_object(a);
	struct str group, version;

	json_setc(a, o, "name", json_newf(a, "%s/%s", r->plural, s->name));
	set(a, o, "singularName", "");
	json_setc(a, o, "namespaced", json_new_bool(a, r->namespaced));
	if (s->api_version[0]) {
		group_version_of(s->api_version, &group, &version);
		json_setc(a, o, "group", json_new_str(a, group));
		json_setc(a, o, "version", json_new_str(a, version));
	}
	set(a, o, "kind", s->kind);
	verbs(a, o, s->verbs);
	return o;
}

static struct json *resource_list(const struct served *all, const char *group, const char *version)
{
	struct arena *a = all->a;
	struct json *doc = json_new_object(a), *list = json_new_array(a);
	bool found = false;

	set(a, doc, "kind", "APIResourceList");
	set(a, doc, "apiVersion", "v1");
	SERVED_FOR_EACH (r, all) {
		const struct resource_sub *subs;
		size_t n;

		if (strcmp(r->group, group) != 0 || strcmp(r->version, version) != 0)
			continue;
		if (!found)
			set(a, doc, "groupVersion", r->api_version);
		found = true;
		json_push(a, list, resource_entry(a, r));
		subs = resource_subs(r, &n);
		for (size_t i = 0; i < n; i++)
			if (subs[i].served)
				json_push(a, list, sub_entry(a, r, &subs[i]));
	}
	json_setc(a, doc, "resources", list);
	return found ? doc : NULL;
}

/* --- Aggregated --------------------------------------------------------------------------------------------- */

static struct json *response_kind(struct arena *a, const char *api_version, const char *kind)
{
	struct json *o = json_new_object(a);
	struct str group, version;

	group_version_of(api_version, &group, &version);
	json_setc(a, o, "group", json_new_str(a, group));
	json_setc(a, o, "version", json_new_str(a, version));
	set(a, o, "kind", kind);
	return o;
}

static struct json *resource_discovery(struct arena *a, const struct resource *r)
{
	struct json *o = json_new_object(a);
	const struct resource_sub *subs;
	size_t n;

	set(a, o, "resource", r->plural);
	json_setc(a, o, "responseKind", response_kind(a, r->api_version, r->kind));
	set(a, o, "scope", r->namespaced ? "Namespaced" : "Cluster");
	set(a, o, "singularResource", r->singular);
	verbs(a, o, r->verbs);
	words(a, o, "shortNames", r->short_names);
	words(a, o, "categories", r->categories);
	subs = resource_subs(r, &n);
	for (size_t i = 0; i < n; i++) {
		struct json *s;

		if (!subs[i].served)
			continue;
		s = json_new_object(a);
		set(a, s, "subresource", subs[i].name);
		json_setc(a, s, "responseKind",
				response_kind(a, subs[i].api_version[0] ? subs[i].api_version : r->api_version,
						subs[i].kind));
		verbs(a, s, subs[i].verbs);
		json_push(a, array_at(a, o, "subresources"), s);
	}
	return o;
}

static struct json *version_discovery(const struct served *all, const struct resource *first)
{
	struct arena *a = all->a;
	struct json *v = json_new_object(a), *list = json_new_array(a);

	set(a, v, "version", first->version);
	SERVED_FOR_EACH (r, all)
		if (strcmp(r->api_version, first->api_version) == 0)
			json_push(a, list, resource_discovery(a, r));
	json_setc(a, v, "resources", list);
	set(a, v, "freshness", "Current");
	return v;
}

static struct json *aggregated(const struct served *all, const char *api_version, bool core)
{
	struct arena *a = all->a;
	struct json *doc = json_new_object(a), *items = json_new_array(a);

	set(a, doc, "kind", "APIGroupDiscoveryList");
	json_setc(a, doc, "apiVersion", json_newf(a, "apidiscovery.k8s.io/%s", api_version));
	json_setc(a, doc, "metadata", json_new_object(a));
	json_setc(a, doc, "items", items);
	SERVED_FOR_EACH (r, all) {
		struct json *g, *meta;

		if (!first_of(all, r, false) || core != (r->group[0] == '\0'))
			continue;
		g = json_new_object(a);
		meta = json_new_object(a);
		if (!core)
			set(a, meta, "name", r->group);
		json_setc(a, meta, "creationTimestamp", json_new_null(a));
		json_setc(a, g, "metadata", meta);
		SERVED_FOR_EACH (v, all)
			if (strcmp(v->group, r->group) == 0 && first_of(all, v, true))
				json_push(a, array_at(a, g, "versions"), version_discovery(all, v));
		json_push(a, items, g);
	}
	return doc;
}

static enum step_result answer_aggregated(struct api_request *req, bool core)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const char *v = req->accept.discovery_version;

	json_print(&out, aggregated(all_served(req), v, core), req->accept.pretty ? JSON_PRETTY : JSON_COMPACT);
	return api_answer_bytes(req, 200,
			arena_printf(&req->arena, "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", v),
			&out);
}

void api_discovery_paths(struct api_request *req, struct json *paths)
{
	const struct served *all = all_served(req);
	struct arena *a = all->a;

	SERVED_FOR_EACH (r, all) {
		const char *root = r->group[0] ? "/apis" : "/api";

		if (r->group[0] && first_of(all, r, false))
			json_push(a, paths, json_newf(a, "%s/%s", root, r->group));
		if (first_of(all, r, true))
			json_push(a, paths, json_newf(a, "%s/%s", root, r->api_version));
	}
}

/* --- The paths ------------------------------------------------------------------------------------------------ */

enum step_result api_path_api(struct api_request *req, struct str rest)
{
	struct arena *a = &req->arena;
	struct json *doc = json_new_object(a), *cidr;

	if (str_eqc(rest, "/v1")) {
		doc = resource_list(all_served(req), "", "v1");
		json_delc(doc, "apiVersion");
		return api_answer_dom(req, 200, schema_type_find("meta.v1.APIResourceList"), doc);
	}
	if (rest.n > 0 && !str_eqc(rest, "/"))
		return api_path_unknown(req);
	if (req->accept.discovery_v2)
		return answer_aggregated(req, true);
	set(a, doc, "kind", "APIVersions");
	json_push(a, array_at(a, doc, "versions"), json_newc(a, "v1"));
	cidr = json_new_object(a);
	set(a, cidr, "clientCIDR", "0.0.0.0/0");
	set(a, cidr, "serverAddress", req->srv->cfg.advertise ? arena_printf(a, "%s:%u", req->srv->cfg.advertise,
						req->srv->cfg.advertise_port ? req->srv->cfg.advertise_port : req->srv->port) : "");
	json_push(a, array_at(a, doc, "serverAddressByClientCIDRs"), cidr);
	return api_answer_dom(req, 200, schema_type_find("meta.v1.APIVersions"), doc);
}

enum step_result api_path_apis(struct api_request *req, struct str rest)
{
	struct arena *a = &req->arena;
	struct json *doc, *groups = json_new_array(a);
	const struct served *all;
	struct str group, version;

	while (rest.n > 0 && rest.p[rest.n - 1] == '/')
		rest.n--;
	if (rest.n == 0 && req->accept.discovery_v2)
		return answer_aggregated(req, false);
	all = all_served(req);
	if (rest.n == 0) {
		doc = json_new_object(a);
		set(a, doc, "kind", "APIGroupList");
		set(a, doc, "apiVersion", "v1");
		SERVED_FOR_EACH (r, all)
			if (r->group[0] && first_of(all, r, false))
				json_push(a, groups, group_doc(all, r->group));
		json_setc(a, doc, "groups", groups);
		return api_answer_dom(req, 200, schema_type_find("meta.v1.APIGroupList"), doc);
	}
	if (str_cut(str_skip(rest, 1), '/', &group, &version)) {
		doc = group.n ? resource_list(all, arena_cstr(a, group), arena_cstr(a, version)) : NULL;
		if (!doc)
			return api_path_unknown(req);
		return api_answer_dom(req, 200, schema_type_find("meta.v1.APIResourceList"), doc);
	}
	doc = group_doc(all, arena_cstr(a, group));
	if (!json_getc(doc, "versions"))
		return api_path_unknown(req);
	set(a, doc, "kind", "APIGroup");
	set(a, doc, "apiVersion", "v1");
	return api_answer_dom(req, 200, schema_type_find("meta.v1.APIGroup"), doc);
}

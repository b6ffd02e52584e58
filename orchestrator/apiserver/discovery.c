/*
 * Discovery: /api, /apis and below, plain (one document a group or version) and aggregated (everything in one). All of it is
 * made from the rows of proto/resource.def, the custom resources that the loop knows, and what other servers say about the group
 * versions that APIServices give to them; see "Kubernetes API Concepts", API discovery.
 */
#include "orchestrator/apiserver/paths.h"

#include <inttypes.h>
#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "orchestrator/apiserver/aggregate_index.h"
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

/* A group version: resources of ours, or those that another server says it has. */
struct group_version {
	const char *api_version;
	const struct resource **v;
	size_t n;
	bool remote;
	const struct json *list; /* of a remote one; NULL: it cannot say now */
};

/* All that is served, in the order in which it is shown. */
struct served {
	struct api_request *req;
	struct arena *a;
	struct aggregate_gv *v; /* `what`: struct group_version */
	size_t n;
};

static struct group_version *of(const struct aggregate_gv *gv)
{
	return (struct group_version *)(uintptr_t)gv->what;
}

static struct group_version *find(const struct served *all, const char *group, const char *version)
{
	/* Most often it is the one that was added last. */
	for (size_t i = all->n; i-- > 0;)
		if (strcmp(all->v[i].group, group) == 0 && strcmp(all->v[i].version, version) == 0)
			return of(&all->v[i]);
	return NULL;
}

static struct group_version *add(struct served *all, const char *group, const char *version, bool custom)
{
	const struct api_service *s = aggregate_index_find(api__aggregates(all->req->al), str_from(group), str_from(version));
	struct aggregate_gv *gv;

	all->v = arena_grow(all->a, all->v, all->n * sizeof(all->v[0]), (all->n + 1) * sizeof(all->v[0]));
	gv = &all->v[all->n++];
	*gv = (struct aggregate_gv){.group = group, .version = version, .what = arena_new_of(all->a, struct group_version)};
	of(gv)->api_version = group[0] ? arena_printf(all->a, "%s/%s", group, version) : version;
	aggregate_priorities(str_from(group), str_from(version), custom, &gv->group_priority, &gv->version_priority);
	if (s) {
		gv->group_priority = s->group_priority;
		gv->version_priority = s->version_priority;
	}
	return of(gv);
}

static void add_resource(struct served *all, const struct resource *r)
{
	struct group_version *g = find(all, r->group, r->version);

	if (!g)
		g = add(all, r->group, r->version, r->custom != NULL);
	g->v = arena_grow(all->a, g->v, g->n * sizeof(g->v[0]), (g->n + 1) * sizeof(g->v[0]));
	g->v[g->n++] = r;
}

/* What another server has takes the place of what we have of the same name. */
static void add_remote(void *arg, const struct api_service *s)
{
	struct served *all = arg;
	const char *group = arena_cstr(all->a, s->group), *version = arena_cstr(all->a, s->version);
	struct group_version *g = find(all, group, version);
	struct aggregate_docs *docs;
	const struct aggregate_doc *d;
	struct json *list;

	if (!s->remote || aggregate_is_ours(s->group))
		return;
	if (!g)
		g = add(all, group, version, false);
	g->remote = true;
	g->n = 0;
	docs = aggregate_docs_get(all->req->srv);
	d = aggregate_docs_find(docs, s->group, s->version);
	if (d && d->fresh && s->available && json_parse(all->a, arena_str(all->a, d->discovery), NULL, &list, NULL) == 0)
		g->list = list;
	aggregate_docs_unref(docs);
}

static struct served *all_served(struct api_request *req)
{
	struct served *all = arena_new_of(&req->arena, struct served);
	const struct resource *const *custom;
	size_t n;

	all->req = req;
	all->a = &req->arena;
	RESOURCE_FOR_EACH (r)
		if (r->served)
			add_resource(all, r);
	custom = custom_index_all(api__custom(req->al), &n);
	for (size_t i = 0; i < n; i++)
		add_resource(all, custom[i]);
	if (aggregate_index_n_remote(api__aggregates(req->al)) > 0)
		aggregate_index_each(api__aggregates(req->al), add_remote, all);
	aggregate_sort(all->v, all->n);
	return all;
}

/* Those of one group stand together. */
static bool is_first_of_group(const struct served *all, size_t i)
{
	return i == 0 || strcmp(all->v[i - 1].group, all->v[i].group) != 0;
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

static struct json *version_entry(struct arena *a, const struct aggregate_gv *gv)
{
	struct json *v = json_new_object(a);

	set(a, v, "groupVersion", of(gv)->api_version);
	set(a, v, "version", gv->version);
	return v;
}

static struct json *group_doc(const struct served *all, const char *group)
{
	struct arena *a = all->a;
	struct json *g = json_new_object(a);

	set(a, g, "name", group);
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->v[i].group, group) != 0)
			continue;
		json_push(a, array_at(a, g, "versions"), version_entry(a, &all->v[i]));
		if (!json_getc(g, "preferredVersion"))
			json_setc(a, g, "preferredVersion", version_entry(a, &all->v[i]));
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
	const struct group_version *g = find(all, group, version);
	struct arena *a = all->a;
	struct json *doc = json_new_object(a), *list = json_new_array(a);

	/* What is another server's has been passed on to it. */
	if (!g || g->remote)
		return NULL;
	set(a, doc, "kind", "APIResourceList");
	set(a, doc, "apiVersion", "v1");
	set(a, doc, "groupVersion", g->api_version);
	for (size_t i = 0; i < g->n; i++) {
		const struct resource_sub *subs;
		size_t n;

		json_push(a, list, resource_entry(a, g->v[i]));
		subs = resource_subs(g->v[i], &n);
		for (size_t k = 0; k < n; k++)
			if (subs[k].served)
				json_push(a, list, sub_entry(a, g->v[i], &subs[k]));
	}
	json_setc(a, doc, "resources", list);
	return doc;
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

static struct json *version_discovery(const struct served *all, const struct aggregate_gv *gv)
{
	const struct group_version *g = of(gv);
	struct arena *a = all->a;
	struct json *v, *list;

	if (g->remote)
		return aggregate_version(a, gv->group, gv->version, g->list);
	v = json_new_object(a);
	list = json_new_array(a);
	set(a, v, "version", gv->version);
	for (size_t i = 0; i < g->n; i++)
		json_push(a, list, resource_discovery(a, g->v[i]));
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
	for (size_t i = 0; i < all->n; i++) {
		struct json *g, *meta;

		if (!is_first_of_group(all, i) || core != (all->v[i].group[0] == '\0'))
			continue;
		g = json_new_object(a);
		meta = json_new_object(a);
		if (!core)
			set(a, meta, "name", all->v[i].group);
		json_setc(a, meta, "creationTimestamp", json_new_null(a));
		json_setc(a, g, "metadata", meta);
		for (size_t k = i; k < all->n && strcmp(all->v[k].group, all->v[i].group) == 0; k++)
			json_push(a, array_at(a, g, "versions"), version_discovery(all, &all->v[k]));
		json_push(a, items, g);
	}
	return doc;
}

static enum step_result answer_aggregated(struct api_request *req, bool core)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	const char *v = req->accept.discovery_version;

	json_print(&out, aggregated(all_served(req), v, core), req->accept.pretty ? JSON_PRETTY2 : JSON_COMPACT);
	req->cache_control = STR("public");
	return api_answer_tagged(req,
			arena_printf(&req->arena, "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList", v),
			arena_sprintf(&req->arena, "%016" PRIX64, str_hash(buf_str(&out))), &out);
}

void api_discovery_paths(struct api_request *req, struct json *paths)
{
	const struct served *all = all_served(req);
	struct arena *a = all->a;

	for (size_t i = 0; i < all->n; i++) {
		const char *group = all->v[i].group, *root = group[0] ? "/apis" : "/api";

		if (group[0] && is_first_of_group(all, i))
			json_push(a, paths, json_newf(a, "%s/%s", root, group));
		json_push(a, paths, json_newf(a, "%s/%s", root, of(&all->v[i])->api_version));
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
		for (size_t i = 0; i < all->n; i++)
			if (all->v[i].group[0] && is_first_of_group(all, i))
				json_push(a, groups, group_doc(all, all->v[i].group));
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

/* Discovery of remote servers in the newer form; see "Kubernetes API Concepts", aggregated discovery. */
#include <string.h>

#include "orchestrator/apiserver/aggregate.h"
#include "proto/json.h"

static void copy(struct arena *a, struct json *to, const char *key, const struct json *from, const char *their_key)
{
	struct json *v = json_getc(from, their_key);

	if (v)
		json_setc(a, to, key, v);
}

/* An entry names its group and version only where they are others than the list's. */
static struct json *kind_of(struct arena *a, const char *group, const char *version, const struct json *entry)
{
	struct json *o = json_new_object(a), *g = json_getc(entry, "group"), *v = json_getc(entry, "version");

	json_setc(a, o, "group", g ? g : json_newc(a, json_str(v).n > 0 ? "" : group));
	json_setc(a, o, "version", json_str(v).n > 0 ? v : json_newc(a, version));
	copy(a, o, "kind", entry, "kind");
	return o;
}

static struct json *resource_named(struct arena *a, struct json *list, struct str name)
{
	struct json *o;

	JSON_ITEMS (r, list)
		if (str_eq(json_str(json_getc(r, "resource")), name))
			return r;
	o = json_new_object(a);
	json_setc(a, o, "resource", json_new_str(a, name));
	json_push(a, list, o);
	return o;
}

static void add_entry(struct arena *a, struct json *list, const char *group, const char *version, const struct json *entry)
{
	struct str name, sub;
	bool is_sub = str_cut(json_str(json_getc(entry, "name")), '/', &name, &sub);
	struct json *to, *subs;

	if (name.n == 0)
		return;
	to = resource_named(a, list, name);
	json_setc(a, to, "scope", json_newc(a, json_true(json_getc(entry, "namespaced")) ? "Namespaced" : "Cluster"));
	if (is_sub) {
		subs = json_getc(to, "subresources");
		if (!subs) {
			subs = json_new_array(a);
			json_setc(a, to, "subresources", subs);
		}
		to = json_new_object(a);
		json_setc(a, to, "subresource", json_new_str(a, sub));
		json_push(a, subs, to);
	} else {
		copy(a, to, "singularResource", entry, "singularName");
		copy(a, to, "shortNames", entry, "shortNames");
		copy(a, to, "categories", entry, "categories");
	}
	json_setc(a, to, "responseKind", kind_of(a, group, version, entry));
	copy(a, to, "verbs", entry, "verbs");
}

struct json *aggregate_version(struct arena *a, const char *group, const char *version, const struct json *list)
{
	struct json *v = json_new_object(a), *resources = json_new_array(a);

	json_setc(a, v, "version", json_newc(a, version));
	JSON_ITEMS (entry, json_getc(list, "resources"))
		add_entry(a, resources, group, version, entry);
	if (list)
		json_setc(a, v, "resources", resources);
	json_setc(a, v, "freshness", json_newc(a, list ? "Current" : "Stale"));
	return v;
}

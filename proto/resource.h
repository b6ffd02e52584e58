/*
 * The table of API resources (proto/resource.def): what exists, under which names, with which verbs, subresources and
 * columns, and where it is stored. Const data, for any thread.
 *
 *	const struct resource *r = resource_find("apps", "v1", "deployments");
 *	r = resource_find_kind("v1", "Pod");
 *	r = resource_by_name("deploy.apps");           any name that a user types
 *	resource_key(&buf, r, "default", "web");       /registry/deployments/default/web
 *
 * Custom resources are no rows, but have a struct resource all the same; all but the look-ups work on theirs too.
 *
 * Rows that are not `served` are known (their objects can be decoded) but have no behaviour yet: the API server does
 * not offer them.
 */
#ifndef PROTO_RESOURCE_H
#define PROTO_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct custom;
struct schema_type;

/* In the alphabetical order in which discovery lists them. */
enum resource_verb {
	V_CREATE = 1 << 0,
	V_DELETE = 1 << 1,
	V_DELETECOLLECTION = 1 << 2,
	V_GET = 1 << 3,
	V_LIST = 1 << 4,
	V_PATCH = 1 << 5,
	V_UPDATE = 1 << 6,
	V_WATCH = 1 << 7,
	V_ALL = (1 << 8) - 1,
	V_STATUS = V_GET | V_PATCH | V_UPDATE,
};
#define RESOURCE_N_VERBS 8
/* The name of verb 1 << i. */
extern const char *const resource_verb_names[RESOURCE_N_VERBS];

struct resource_sub {
	const char *name;        /* "status" */
	const char *kind;        /* what it takes and gives */
	const char *api_version; /* of that kind; "" for the resource's own */
	unsigned verbs;
	bool served;
};

struct resource_column {
	const char *name; /* "Ready" */
	const char *type; /* "string", "integer", "boolean", "date" */
	const char *format; /* "name" or "" */
	int priority;       /* 0: always; 1: only with -o wide */
};

struct resource {
	const char *group;       /* "" for core */
	const char *version;
	const char *api_version; /* "v1", "apps/v1" */
	const char *plural;
	const char *singular;
	const char *kind;
	const char *type;      /* schema type: "core.v1.Pod" */
	const char *list_type; /* "core.v1.PodList" */
	const char *list_kind; /* "PodList" */
	bool namespaced;
	unsigned verbs;
	const char *short_names; /* comma separated, or "" */
	const char *categories;
	const char *prefix; /* storage: behind /registry/ */
	bool served;
	const struct custom *custom; /* of a custom resource (proto/custom.h); NULL: a row of the table */
};

extern const struct resource resources[];
extern const size_t n_resources;
#define RESOURCE_FOR_EACH(r) for (const struct resource *r = resources; r < resources + n_resources; r++)

/* All return NULL when there is none. */
const struct resource *resource_find(const char *group, const char *version, const char *plural);
const struct resource *resource_find_kind(const char *api_version, const char *kind);
/*
 * Any name: plural, singular, kind or short name in any case, with an optional ".group" or ".version.group" behind it.
 * Served resources win over others, then the first row.
 */
const struct resource *resource_by_name(const char *name);
const struct schema_type *resource_type(const struct resource *);
const struct schema_type *resource_list_type(const struct resource *);

const struct resource_sub *resource_subs(const struct resource *, size_t *ret_n);
const struct resource_sub *resource_sub_find(const struct resource *, const char *name);
const struct resource_column *resource_columns(const struct resource *, size_t *ret_n);
/* Whether `list` ("po,pods") holds `name`. */
bool resource_list_has(const char *list, struct str name);

/*
 * The version that is stored: rows with one storage prefix are versions of one kind, and the first one is it. Most are
 * their own. See proto/convert.h.
 */
const struct resource *resource_storage(const struct resource *);
/*
 * Storage keys. With ns NULL (or a cluster-scoped resource) and name NULL the key is a prefix that ends in "/"; with ns
 * and no name likewise, of that namespace.
 */
void resource_key(struct buf *, const struct resource *, const char *ns, const char *name);
/* The other way round: false when the key is none of this resource's. The parts are borrowed from the key. */
bool resource_parse_key(const struct resource *, struct str key, struct str *ret_ns, struct str *ret_name);

#endif

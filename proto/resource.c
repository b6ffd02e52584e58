#include "proto/resource.h"

#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include "base/util.h"
#include "proto/custom.h"
#include "proto/schema.h"

const char *const resource_verb_names[RESOURCE_N_VERBS] = {
	"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
};

/* "" "v1" -> "v1"; "apps" "v1" -> "apps/v1". Both are literals, so the first byte of the group decides at compile time. */
#define API_VERSION(group, version) (sizeof(group) > 1 ? group "/" version : version)

const struct resource resources[] = {
#define RESOURCE(g, v, plural_, singular_, kind_, package, ns, verbs_, shorts, cats, prefix_, served_)                    \
	{.group = g, .version = v, .api_version = API_VERSION(g, v), .plural = plural_, .singular = singular_,            \
	 .kind = kind_, .type = package "." kind_, .list_type = package "." kind_ "List", .list_kind = kind_ "List",      \
	 .namespaced = ns, .verbs = verbs_, .short_names = shorts, .categories = cats, .prefix = prefix_,                 \
	 .served = served_},
#define SUB(...)
#define COLUMN(...)
#include "proto/resource.def"
#undef RESOURCE
#undef SUB
#undef COLUMN
};
const size_t n_resources = ARRAY_LEN(resources);

/* Rows of all resources in one array: an empty row starts each resource's part, and one ends the last. */
static const struct resource_sub subs[] = {
#define RESOURCE(...) {.name = NULL},
#define SUB(name_, kind_, api_version_, verbs_, served_) {name_, kind_, api_version_, verbs_, served_},
#define COLUMN(...)
#include "proto/resource.def"
#undef RESOURCE
#undef SUB
#undef COLUMN
	{.name = NULL},
};

static const struct resource_column columns[] = {
#define RESOURCE(...) {.name = NULL},
#define SUB(...)
#define COLUMN(name_, type_, format_, priority_) {name_, type_, format_, priority_},
#include "proto/resource.def"
#undef RESOURCE
#undef SUB
#undef COLUMN
	{.name = NULL},
};

const struct resource *resource_find(const char *group, const char *version, const char *plural)
{
	RESOURCE_FOR_EACH (r)
		if (strcmp(r->plural, plural) == 0 && strcmp(r->group, group) == 0 && strcmp(r->version, version) == 0)
			return r;
	return NULL;
}

const struct resource *resource_find_kind(const char *api_version, const char *kind)
{
	RESOURCE_FOR_EACH (r)
		if (strcmp(r->kind, kind) == 0 && strcmp(r->api_version, api_version) == 0)
			return r;
	return NULL;
}

bool resource_list_has(const char *list, struct str name)
{
	struct str rest = str_from(list), one;

	while (rest.n > 0) {
		str_cut(rest, ',', &one, &rest);
		if (str_ieq(one, name))
			return true;
	}
	return false;
}

static bool answers_to(const struct resource *r, struct str name, struct str group)
{
	struct str version, rest;

	if (!str_ieq(str_from(r->plural), name) && !str_ieq(str_from(r->singular), name) &&
	    !str_ieq(str_from(r->kind), name) && !resource_list_has(r->short_names, name))
		return false;
	if (group.n == 0 || str_eqc(group, r->group))
		return true;
	str_cut(group, '.', &version, &rest);
	return str_eqc(version, r->version) && str_eqc(rest, r->group);
}

const struct resource *resource_by_name(const char *name)
{
	const struct resource *known = NULL;
	struct str head, group;

	str_cut(str_from(name), '.', &head, &group);
	if (head.n == 0)
		return NULL;
	RESOURCE_FOR_EACH (r) {
		if (!answers_to(r, head, group))
			continue;
		if (r->served)
			return r;
		if (!known)
			known = r;
	}
	return known;
}

static const struct schema_type *types[ARRAY_LEN(resources)];
static pthread_once_t types_once = PTHREAD_ONCE_INIT;

static void find_types(void)
{
	for (size_t i = 0; i < n_resources; i++)
		types[i] = schema_type_find(resources[i].type);
}

/* Asked for by every step of a request. */
const struct schema_type *resource_type(const struct resource *r)
{
	if (r->custom)
		return &r->custom->type;
	pthread_once(&types_once, find_types);
	return types[r - resources];
}

const struct schema_type *resource_list_type(const struct resource *r)
{
	return r->custom ? &r->custom->list_type : schema_type_find(r->list_type);
}

const struct resource_sub *resource_subs(const struct resource *r, size_t *ret_n)
{
	size_t part, i = 0, n = 0;

	if (r->custom) {
		*ret_n = r->custom->n_subs;
		return r->custom->subs;
	}
	part = (size_t)(r - resources);
	for (size_t seen = 0; seen <= part; i++)
		seen += subs[i].name == NULL;
	while (subs[i + n].name)
		n++;
	*ret_n = n;
	return &subs[i];
}

const struct resource_sub *resource_sub_find(const struct resource *r, const char *name)
{
	size_t n;
	const struct resource_sub *s = resource_subs(r, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(s[i].name, name) == 0)
			return &s[i];
	return NULL;
}

const struct resource_column *resource_columns(const struct resource *r, size_t *ret_n)
{
	size_t part, i = 0, n = 0;

	if (r->custom) {
		*ret_n = r->custom->n_columns;
		return r->custom->columns;
	}
	part = (size_t)(r - resources);
	for (size_t seen = 0; seen <= part; i++)
		seen += columns[i].name == NULL;
	while (columns[i + n].name)
		n++;
	*ret_n = n;
	return &columns[i];
}

static const struct resource *stored[ARRAY_LEN(resources)];
static pthread_once_t stored_once = PTHREAD_ONCE_INIT;

static void find_stored(void)
{
	for (size_t i = 0; i < n_resources; i++) {
		size_t k = 0;

		while (strcmp(resources[k].prefix, resources[i].prefix) != 0)
			k++;
		stored[i] = &resources[k];
	}
}

const struct resource *resource_storage(const struct resource *r)
{
	if (r->custom)
		return r;
	pthread_once(&stored_once, find_stored);
	return stored[r - resources];
}

void resource_key(struct buf *b, const struct resource *r, const char *ns, const char *name)
{
	buf_addc(b, "/registry/");
	buf_addc(b, r->prefix);
	buf_add1(b, '/');
	if (r->namespaced && ns && *ns) {
		buf_addc(b, ns);
		buf_add1(b, '/');
	}
	if (name)
		buf_addc(b, name);
}

bool resource_parse_key(const struct resource *r, struct str key, struct str *ret_ns, struct str *ret_name)
{
	struct str ns = STR_NULL, name;

	if (!str_has_prefix(key, STR("/registry/")))
		return false;
	key = str_skip(key, strlen("/registry/"));
	if (!str_has_prefix(key, str_from(r->prefix)))
		return false;
	key = str_skip(key, strlen(r->prefix));
	if (key.n == 0 || key.p[0] != '/')
		return false;
	name = str_skip(key, 1);
	if (r->namespaced && !str_cut(name, '/', &ns, &name))
		return false;
	if (name.n == 0 || str_find(name, '/') >= 0 || (r->namespaced && ns.n == 0))
		return false;
	*ret_ns = ns;
	*ret_name = name;
	return true;
}

#include "proto/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/custom.h"
#include "proto/openapi-priv.h"
#include "proto/openapi_sources.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"

/*
 * A document is written piece by piece: paths of one resource, then the definition of one type,
 * each from an arena that is gone before the next. Definitions are those of the types that the
 * paths name, and of what these refer to.
 */
enum state {
	UNSEEN,
	WANTED,
	WRITTEN,
};

struct doc {
	struct buf *b;
	bool v3, proto;
	struct str gv;  /* v3: "api/v1" */
	uint8_t *types; /* enum state, n_schema_types */
	bool first;     /* no comma yet */
	const struct openapi_more *more;
};

static void want(void *ctx, const struct schema_type *t)
{
	struct doc *d = ctx;
	/* Types of custom resources are written with their resource. */
	uint8_t *state = t && t >= schema_types && t < schema_types + n_schema_types ? &d->types[t - schema_types] : NULL;

	if (state && *state == UNSEEN)
		*state = WANTED;
}

static void want_named(struct doc *d, const char *name)
{
	want(d, schema_type_find(name));
}

static bool in_doc(const struct doc *d, const struct resource *r)
{
	struct str gv = d->gv, first, rest;

	if (!r->served)
		return false;
	if (!d->v3)
		return true;
	return str_cut(gv, '/', &first, &rest) && str_eqc(first, r->group[0] ? "apis" : "api") &&
	       str_eqc(rest, r->api_version);
}

static void want_resource(struct doc *d, const struct resource *r)
{
	const struct resource_sub *subs;
	size_t n;

	want(d, resource_type(r));
	if (r->verbs & V_LIST)
		want(d, resource_list_type(r));
	subs = resource_subs(r, &n);
	for (size_t i = 0; i < n; i++)
		if (subs[i].served)
			want(d, codec_type(str_from(subs[i].api_version[0] ? subs[i].api_version
									   : r->api_version),
					str_from(subs[i].kind)));
}

/* ---- the pieces ---- */

static void member(struct doc *d, struct str key, const struct json *v)
{
	if (!d->first)
		buf_add1(d->b, ',');
	d->first = false;
	json_print_string(d->b, key, JSON_RAW_HTML);
	buf_add1(d->b, ':');
	json_print(d->b, v, JSON_RAW_HTML);
}

static void paths_of(struct doc *d, const struct resource *r)
{
	struct arena a;
	struct json *paths;

	arena_init(&a);
	paths = json_new_object(&a);
	openapi__paths(&a, r, d->v3, paths);
	JSON_MEMBERS (m, paths) {
		if (d->proto)
			openapi__proto_path(d->b, 2, m->key, m->value);
		else
			member(d, m->key, m->value);
	}
	arena_fini(&a);
}

static void write_definition(struct doc *d, struct str name, const struct json *j)
{
	if (d->proto)
		openapi__proto_schema(d->b, 1, name, j);
	else
		member(d, name, j);
}

static void definition_of(struct doc *d, const struct schema_type *t)
{
	struct arena a;
	struct json *j;

	arena_init(&a);
	j = openapi__schema(&a, t, d->v3, want, d);
	write_definition(d, openapi__name(&a, t), j);
	arena_fini(&a);
}

static bool all_paths(struct doc *d)
{
	bool any = false;

	d->first = true;
	RESOURCE_FOR_EACH (r) {
		if (!in_doc(d, r))
			continue;
		any = true;
		want_resource(d, r);
		paths_of(d, r);
	}
	for (size_t i = 0; d->more && i < d->more->n; i++) {
		if (!in_doc(d, d->more->v[i]))
			continue;
		any = true;
		want_resource(d, d->more->v[i]);
		paths_of(d, d->more->v[i]);
	}
	return any;
}

static void custom_definitions(struct doc *d, const struct custom *c)
{
	struct arena a;

	arena_init(&a);
	want_named(d, "meta.v1.ObjectMeta");
	write_definition(d, openapi__name(&a, &c->type), custom_openapi(&a, c, d->v3));
	write_definition(d, openapi__name(&a, &c->list_type), openapi__schema(&a, &c->list_type, d->v3, want, d));
	arena_fini(&a);
}

static void all_definitions(struct doc *d)
{
	bool more = true;

	want_named(d, "meta.v1.DeleteOptions");
	want_named(d, "meta.v1.Status");
	d->first = true;
	for (size_t i = 0; d->more && i < d->more->n; i++)
		if (in_doc(d, d->more->v[i]))
			custom_definitions(d, d->more->v[i]->custom);
	/* A definition may want types before its own place in the table. */
	while (more) {
		more = false;
		for (size_t i = 0; i < n_schema_types; i++) {
			if (d->types[i] != WANTED)
				continue;
			d->types[i] = WRITTEN;
			definition_of(d, &schema_types[i]);
			more = true;
		}
	}
}

/* ---- the documents ---- */

void openapi_v2_json(struct buf *b, const char *version, const struct openapi_more *more)
{
	struct doc d = {.b = b, .more = more, .types = xcalloc(n_schema_types, 1)};

	buf_printf(b,
		"{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"%s\"},"
		"\"paths\":{",
		version);
	all_paths(&d);
	buf_addc(b, "},\"definitions\":{");
	all_definitions(&d);
	buf_addc(b, "}}");
	free(d.types);
}

void openapi_v2_proto(struct buf *b, const char *version, const struct openapi_more *more)
{
	struct doc d = {.b = b, .more = more, .proto = true, .types = xcalloc(n_schema_types, 1)};
	size_t at;

	wire_add_bytes(b, 1, STR("2.0"));
	at = wire_open(b, 2);
	wire_add_bytes(b, 1, STR("Kubernetes"));
	wire_add_bytes(b, 2, str_from(version));
	wire_close(b, at);
	at = wire_open(b, 8);
	all_paths(&d);
	wire_close(b, at);
	at = wire_open(b, 9);
	all_definitions(&d);
	wire_close(b, at);
	free(d.types);
}

void openapi_v2_proto_add(struct buf *b, const struct json *paths, const struct json *definitions)
{
	size_t at = wire_open(b, 8);

	JSON_MEMBERS (m, paths)
		openapi__proto_path(b, 2, m->key, m->value);
	wire_close(b, at);
	at = wire_open(b, 9);
	JSON_MEMBERS (m, definitions)
		openapi__proto_schema(b, 1, m->key, m->value);
	wire_close(b, at);
}

bool openapi_v3_json(struct buf *b, struct str gv, const char *version, const struct openapi_more *more)
{
	struct doc d = {.b = b, .more = more, .v3 = true, .gv = gv, .types = xcalloc(n_schema_types, 1)};
	bool found;

	buf_printf(b,
		"{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"%s\"},"
		"\"paths\":{",
		version);
	found = all_paths(&d);
	buf_addc(b, "},\"components\":{\"schemas\":{");
	if (found)
		all_definitions(&d);
	buf_addc(b, "}}}");
	free(d.types);
	if (!found)
		buf_clear(b);
	return found;
}

static bool listed_before(const struct resource *r)
{
	for (const struct resource *q = resources; q < r; q++)
		if (q->served && strcmp(q->api_version, r->api_version) == 0)
			return true;
	return false;
}

/* The hash is of everything that a document is made from: clients keep it for as long as the hash stays. */
uint64_t openapi_v3_hash(struct str group_version, const char *version, const struct openapi_more *more)
{
	struct str api_version = str_skip(group_version, str_has_prefix(group_version, STR("apis/")) ? 5 : 4);
	struct buf text = BUF_INIT;
	uint64_t hash;

	buf_printf(&text, "%s %s %.*s", OPENAPI_SOURCES, version, STR_FMT(group_version));
	for (size_t k = 0; more && k < more->n; k++) {
		const struct resource *r = more->v[k];
		const struct resource_sub *subs;
		size_t n;

		if (!str_eqc(api_version, r->api_version))
			continue;
		json_print(&text, r->custom->openapi, JSON_COMPACT);
		buf_printf(&text, " %s %s %s %s %d", r->plural, r->singular, r->short_names, r->kind, r->namespaced);
		subs = resource_subs(r, &n);
		for (size_t i = 0; i < n; i++)
			buf_printf(&text, " %s %d", subs[i].name, subs[i].served);
	}
	hash = str_hash(buf_str(&text));
	buf_fini(&text);
	return hash;
}

static void index_custom(struct buf *b, const char *version, const struct openapi_more *more, size_t i)
{
	const char *api_version = more->v[i]->api_version;
	char name[300];

	for (size_t k = 0; k < i; k++)
		if (strcmp(more->v[k]->api_version, api_version) == 0)
			return;
	snprintf(name, sizeof(name), "apis/%s", api_version);
	buf_printf(b, ",\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%016llX\"}", name, name,
		(unsigned long long)openapi_v3_hash(str_from(name), version, more));
}

void openapi_v3_index(struct buf *b, const char *version, const struct openapi_more *more)
{
	bool first = true;
	char name[300];

	buf_addc(b, "{\"paths\":{");
	RESOURCE_FOR_EACH (r) {
		if (!r->served || listed_before(r))
			continue;
		snprintf(name, sizeof(name), "%s/%s", r->group[0] ? "apis" : "api", r->api_version);
		buf_printf(b, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%016llX\"}", first ? "" : ",", name, name,
			(unsigned long long)openapi_v3_hash(str_from(name), version, NULL));
		first = false;
	}
	for (size_t i = 0; more && i < more->n; i++)
		index_custom(b, version, more, i);
	buf_addc(b, "}}");
}

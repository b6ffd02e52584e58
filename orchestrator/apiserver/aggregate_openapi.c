#include "orchestrator/apiserver/aggregate_openapi.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/apiserver/aggregate_docs.h"
#include "proto/json.h"
#include "proto/openapi.h"

#define REF "#/definitions/"
/* Between the two parts of our own document. */
#define SEAM "},\"definitions\":{"

struct merge {
	struct arena *arena;
	struct map paths, definitions; /* ours: name -> struct str, its text */
	struct buf new_paths, new_definitions;
	struct map added, added_paths; /* name -> struct str: its text */
	struct map renamed;            /* of this document: name -> struct str */
};

static void remember(struct merge *m, struct map *map, struct str name, struct str text)
{
	struct str *p = arena_new_of(m->arena, struct str);

	*p = text;
	map_put(map, name, p);
}

/* How long the object is that s begins with; 0: it does not end. */
static size_t object_size(struct str s)
{
	size_t depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (!quoted && s.p[i] == '{')
			depth++;
		else if (!quoted && s.p[i] == '}' && --depth == 0)
			return i + 1;
	}
	return 0;
}

/* The members of one of our two objects. Our names need no escapes, and every value is an object. */
static void index_members(struct merge *m, struct str object, struct map *map)
{
	while (object.n > 1) {
		ptrdiff_t colon = str_search(object, STR("\":{"));
		struct str name, value;
		size_t n;

		if (colon < 1)
			return;
		name = str_sub(object, 1, (size_t)colon);
		value = str_skip(object, (size_t)colon + 2);
		n = object_size(value);
		if (n == 0)
			return;
		remember(m, map, name, str_sub(value, 0, n));
		object = str_skip(value, MIN(n + 1, value.n));
	}
}

/* What is behind the head of the document: "...,"paths":{ MEMBERS". */
static struct str paths_of(struct str head)
{
	static const struct str key = STR_INIT("\"paths\":{");
	ptrdiff_t at = str_search(head, key);

	return at < 0 ? STR_NULL : str_skip(head, (size_t)at + key.n);
}

static struct str taken(struct merge *m, struct str name)
{
	const struct str *text = map_get(&m->added, name);

	text = text ? text : map_get(&m->definitions, name);
	return text ? *text : STR_NULL;
}

/* Under what name a definition goes in: its own, if nobody has it or its content is the same. */
static struct str name_for(struct merge *m, struct str name, struct str text)
{
	struct str as = name, there = taken(m, as);

	for (unsigned v = 2; there.p && !str_eq(there, text); v++) {
		as = arena_sprintf(m->arena, "%.*s_v%u", STR_FMT(name), v);
		there = taken(m, as);
	}
	return as;
}

static void rename_refs(struct merge *m, struct json *j)
{
	struct str ref = json_str(json_getc(j, "$ref"));
	const struct str *as = str_has_prefix(ref, STR(REF)) ? map_get(&m->renamed, str_skip(ref, strlen(REF))) : NULL;

	if (as)
		json_setc(m->arena, j, "$ref", json_newf(m->arena, REF "%.*s", STR_FMT(*as)));
	JSON_ITEMS (it, j)
		rename_refs(m, it);
	JSON_MEMBERS (e, j)
		rename_refs(m, e->value);
}

static void put(struct buf *b, struct str name, struct str text)
{
	if (b->n > 0)
		buf_add1(b, ',');
	json_print_string(b, name, 0);
	buf_add1(b, ':');
	buf_adds(b, text);
}

static void add_definitions(struct merge *m, struct json *definitions)
{
	/* All new names first: definitions refer to each other. */
	JSON_MEMBERS (d, definitions) {
		struct str as = name_for(m, d->key, json_text(m->arena, d->value));

		if (!str_eq(as, d->key))
			remember(m, &m->renamed, d->key, as);
	}
	JSON_MEMBERS (d, definitions) {
		const struct str *as = map_get(&m->renamed, d->key);
		struct str name = as ? *as : d->key, text;

		rename_refs(m, d->value);
		text = json_text(m->arena, d->value);
		if (taken(m, name).p)
			continue;
		remember(m, &m->added, name, text);
		put(&m->new_definitions, name, text);
	}
}

static bool is_below(struct str path, const struct aggregate_doc *d)
{
	struct str group, version, rest;

	return str_has_prefix(path, STR("/apis/")) && str_cut(str_skip(path, 6), '/', &group, &rest) && str_eq(group, d->group) &&
	       (str_cut(rest, '/', &version, &rest), str_eq(version, d->version));
}

/* A server of several versions says the same for each: that is one document, of all of them. */
static bool is_of(struct str path, const bool *same, const struct aggregate_doc *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (same[i] && is_below(path, &v[i]))
			return true;
	return false;
}

static void add_document(struct merge *m, const struct aggregate_doc *d, const struct aggregate_doc *v, size_t n)
{
	bool *same = arena_new_array(m->arena, bool, n);
	struct json *doc;
	struct err e = ERR_INIT;

	if (m->new_paths.n + m->new_definitions.n + d->v2.n > AGGREGATE_V2_MAX || json_parse(m->arena, d->v2, NULL, &doc, &e) < 0) {
		log_warn("apiserver", "the OpenAPI document of %.*s/%.*s is left out: %s", STR_FMT(d->group), STR_FMT(d->version),
				e.code ? e.text : "there is too much of them");
		return;
	}
	for (size_t i = 0; i < n; i++)
		same[i] = str_eq(v[i].v2, d->v2);
	map_clear(&m->renamed);
	add_definitions(m, json_getc(doc, "definitions"));
	JSON_MEMBERS (p, json_getc(doc, "paths")) {
		if (!is_of(p->key, same, v, n) || map_get(&m->added_paths, p->key) || map_get(&m->paths, p->key))
			continue;
		rename_refs(m, p->value);
		remember(m, &m->added_paths, p->key, STR(""));
		put(&m->new_paths, p->key, json_text(m->arena, p->value));
	}
}

static bool is_first(const struct aggregate_doc *v, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (str_eq(v[i].v2, v[at].v2))
			return false;
	return v[at].v2.n > 0;
}

/* What comes from others, into m->new_*; *paths and *definitions are ours, without the braces. */
static void merge_all(struct merge *m, struct arena *a, struct str ours, const struct aggregate_doc *v, size_t n, struct str *paths, struct str *definitions)
{
	ptrdiff_t seam = str_search(ours, STR(SEAM));

	ASSERT(seam > 0 && str_has_suffix(ours, STR("}}")));
	*m = (struct merge){.arena = a, .new_paths = BUF_INIT, .new_definitions = BUF_INIT};
	buf_init(&m->new_paths, BUF_NO_LIMIT);
	buf_init(&m->new_definitions, BUF_NO_LIMIT);
	map_init(&m->added);
	map_init(&m->added_paths);
	map_init(&m->renamed);
	map_init(&m->paths);
	map_init(&m->definitions);
	*paths = str_sub(ours, 0, (size_t)seam);
	*definitions = str_sub(ours, (size_t)seam + strlen(SEAM), ours.n - 2);
	index_members(m, paths_of(*paths), &m->paths);
	index_members(m, *definitions, &m->definitions);
	for (size_t i = 0; i < n; i++)
		if (is_first(v, i))
			add_document(m, &v[i], v, n);
}

static void merge_fini(struct merge *m)
{
	buf_fini(&m->new_paths);
	buf_fini(&m->new_definitions);
	map_fini(&m->paths);
	map_fini(&m->definitions);
	map_fini(&m->added);
	map_fini(&m->added_paths);
	map_fini(&m->renamed);
}

void aggregate_openapi_v2(struct arena *a, struct buf *out, struct str ours, const struct aggregate_doc *v, size_t n)
{
	struct str paths, definitions;
	struct merge m;

	merge_all(&m, a, ours, v, n, &paths, &definitions);
	buf_adds(out, paths);
	buf_printf(out, "%s", m.new_paths.n > 0 ? "," : "");
	buf_adds(out, buf_str(&m.new_paths));
	buf_addc(out, SEAM);
	buf_adds(out, definitions);
	buf_printf(out, "%s", m.new_definitions.n > 0 ? "," : "");
	buf_adds(out, buf_str(&m.new_definitions));
	buf_addc(out, "}}");
	merge_fini(&m);
}

static struct json *members(struct arena *a, const struct buf *text)
{
	struct json *doc;

	return json_parse(a, arena_sprintf(a, "{%.*s}", STR_FMT(buf_str(text))), NULL, &doc, NULL) == 0 ? doc : json_new_object(a);
}

void aggregate_openapi_v2_proto(struct arena *a, struct buf *out, struct str ours, struct str proto, const struct aggregate_doc *v, size_t n)
{
	struct str paths, definitions;
	struct merge m;

	merge_all(&m, a, ours, v, n, &paths, &definitions);
	buf_adds(out, proto);
	openapi_v2_proto_add(out, members(a, &m.new_paths), members(a, &m.new_definitions));
	merge_fini(&m);
}

void aggregate_openapi_v3_index(struct arena *a, struct buf *out, struct str ours, const struct aggregate_doc *v, size_t n)
{
	struct json *doc, *paths;

	if (json_parse(a, ours, NULL, &doc, NULL) < 0)
		doc = json_new_object(a);
	paths = json_object_at(a, doc, "paths");
	for (size_t i = 0; i < n; i++) {
		struct json *entry = json_new_object(a);

		json_setc(a, entry, "serverRelativeURL", json_new_str(a, v[i].v3_url));
		if (v[i].v3_url.n > 0)
			json_set(a, paths, arena_sprintf(a, "apis/%.*s/%.*s", STR_FMT(v[i].group), STR_FMT(v[i].version)), entry);
	}
	json_print(out, doc, JSON_COMPACT);
}

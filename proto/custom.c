#include "proto/custom.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/custom-priv.h"
#include "proto/field_errs.h"
#include "proto/structural.h"

/* --- The order of versions -------------------------------------------------------------------------------------------- */

struct version {
	unsigned stage; /* 2: v1; 1: v1beta1; 0: v1alpha1 */
	uint64_t major, minor;
};

static bool number(const char **p, uint64_t *ret)
{
	const char *from = *p;

	*ret = 0;
	while (isdigit((unsigned char)**p) && *p - from < 18)
		*ret = *ret * 10 + (uint64_t)(*(*p)++ - '0');
	return *p > from && *from != '0';
}

static bool version_parse(const char *s, struct version *v)
{
	*v = (struct version){2, 0, 0};
	if (*s++ != 'v' || !number(&s, &v->major))
		return false;
	if (*s == '\0')
		return true;
	v->stage = strncmp(s, "beta", 4) == 0 ? 1 : 0;
	if (v->stage == 0 && strncmp(s, "alpha", 5) != 0)
		return false;
	s += v->stage ? 4 : 5;
	return number(&s, &v->minor) && *s == '\0';
}

int custom_version_cmp(const char *a, const char *b)
{
	struct version x, y;
	bool is_x = version_parse(a, &x), is_y = version_parse(b, &y);

	if (!is_x || !is_y)
		return is_x != is_y ? (int)is_y - (int)is_x : strcmp(a, b);
	if (x.stage != y.stage)
		return x.stage > y.stage ? -1 : 1;
	if (x.major != y.major)
		return x.major > y.major ? -1 : 1;
	return x.minor == y.minor ? 0 : x.minor > y.minor ? -1 : 1;
}

static int by_priority(const void *a, const void *b)
{
	return custom_version_cmp(((const struct custom *)a)->res.version, ((const struct custom *)b)->res.version);
}

/* --- One version ------------------------------------------------------------------------------------------------------- */

static const char *words(struct arena *a, const struct json *list)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	JSON_ITEMS (w, list)
		buf_printf(&b, "%s%.*s", b.n ? "," : "", STR_FMT(json_str(w)));
	return arena_cstr(a, buf_str(&b));
}

/* A simple path: ".spec.replicas" -> "spec.replicas". NULL when there is none. */
static const char *dotted(struct arena *a, const struct json *path)
{
	struct str s = json_str(path);

	return s.n > 1 && s.p[0] == '.' ? arena_cstr(a, str_skip(s, 1)) : NULL;
}

static void read_subs(struct arena *a, struct custom *c, const struct json *subs)
{
	const struct json *scale = json_getc(subs, "scale");
	struct resource_sub *list = arena_new_array(a, struct resource_sub, 2);

	c->has_status = !json_is_null(json_getc(subs, "status"));
	if (!json_is_null(scale)) {
		c->spec_replicas = dotted(a, json_getc(scale, "specReplicasPath"));
		c->status_replicas = dotted(a, json_getc(scale, "statusReplicasPath"));
		c->label_selector = dotted(a, json_getc(scale, "labelSelectorPath"));
	}
	if (c->has_status)
		list[c->n_subs++] = (struct resource_sub){"status", c->res.kind, "", V_STATUS, true};
	if (c->spec_replicas && c->status_replicas)
		list[c->n_subs++] = (struct resource_sub){"scale", "Scale", "autoscaling/v1", V_STATUS, true};
	c->subs = list;
}

static void read_columns(struct arena *a, struct custom *c, const struct json *list)
{
	size_t n = 1, max = json_len(list) + 2;
	struct resource_column *columns = arena_new_array(a, struct resource_column, max);
	struct custom_column *paths = arena_new_array(a, struct custom_column, max);

	columns[0] = (struct resource_column){"Name", "string", "name", 0};
	paths[0] = (struct custom_column){NULL, "Name of the object, unique within its namespace"};
	JSON_ITEMS (col, list) {
		columns[n] = (struct resource_column){json_cstr(json_getc(col, "name")), json_cstr(json_getc(col, "type")),
				json_cstr(json_getc(col, "format")), (int)json_i64_or(json_getc(col, "priority"), 0)};
		paths[n++] = (struct custom_column){json_cstr(json_getc(col, "jsonPath")), json_cstr(json_getc(col, "description"))};
	}
	if (n == 1) {
		columns[n] = (struct resource_column){"Age", "date", "", 0};
		paths[n++] = (struct custom_column){".metadata.creationTimestamp", "Time at which the server made the object"};
	}
	c->columns = columns;
	c->column_paths = paths;
	c->n_columns = n;
}

static void read_names(struct arena *a, struct custom *c, const struct custom_def *d, const struct json *spec, const char *version)
{
	const struct json *names = json_getc(spec, "names");
	struct str singular = json_str(json_getc(names, "singular"));
	const char *kind = json_cstr(json_getc(names, "kind"));

	c->res = (struct resource){
			.group = d->group,
			.version = version,
			.api_version = arena_printf(a, "%s/%s", d->group, version),
			.plural = d->plural,
			.singular = arena_cstr(a, singular),
			.kind = kind,
			.type = kind,
			.list_type = json_cstr(json_getc(names, "listKind")),
			.list_kind = json_cstr(json_getc(names, "listKind")),
			.namespaced = json_eqc(json_getc(spec, "scope"), "Namespaced"),
			.verbs = V_ALL,
			.short_names = words(a, json_getc(names, "shortNames")),
			.categories = words(a, json_getc(names, "categories")),
			.prefix = arena_printf(a, "%s/%s", d->group, d->plural),
			.served = true,
			.custom = c,
	};
}

static int read_version(struct custom_def *d, struct custom *c, const struct json *spec, const struct json *v, struct err *e)
{
	struct arena *a = &d->arena;
	struct field_errs errs;

	field_errs_init(&errs, a);
	c->def = d;
	read_names(a, c, d, spec, json_cstr(json_getc(v, "name")));
	c->openapi = json_getp(v, "schema.openAPIV3Schema");
	c->schema = structural_compile(a, c->openapi, NULL, &errs);
	if (!c->schema)
		return err_set(e, ERR_INVALID, "version %s: %.*s: %.*s", c->res.version, STR_FMT(errs.items[0].field),
				STR_FMT(errs.items[0].message));
	read_subs(a, c, json_getc(v, "subresources"));
	read_columns(a, c, json_getc(v, "additionalPrinterColumns"));
	c->selectable = json_getc(v, "selectableFields");
	if (json_true(json_getc(v, "deprecated"))) {
		struct str text = json_str(json_getc(v, "deprecationWarning"));

		c->deprecated = text.n ? arena_cstr(a, text)
				       : arena_printf(a, "%s %s is deprecated", c->res.api_version, c->res.kind);
	}
	return 0;
}

/* --- The definition ---------------------------------------------------------------------------------------------------- */

static bool condition(const struct json *crd, const char *type)
{
	JSON_ITEMS (c, json_getp(crd, "status.conditions"))
		if (json_eqc(json_getc(c, "type"), type))
			return json_eqc(json_getc(c, "status"), "True");
	return false;
}

int custom_def_new(const struct json *crd, struct custom_def **ret, struct err *e)
{
	struct custom_def *d = xcalloc(1, sizeof(*d));
	const struct json *own, *spec, *versions;
	int r = 0;

	arena_init(&d->arena);
	d->refs = 1;
	own = json_copy(&d->arena, crd);
	spec = json_getc(own, "spec");
	versions = json_getc(spec, "versions");
	d->spec = spec;
	d->name = json_cstr(json_getp(own, "metadata.name"));
	d->group = json_cstr(json_getc(spec, "group"));
	d->plural = json_cstr(json_getp(spec, "names.plural"));
	d->established = condition(own, "Established");
	if (json_eqc(json_getp(spec, "conversion.strategy"), "Webhook"))
		d->webhook = json_getp(spec, "conversion.webhook");
	d->terminating = !json_is_null(json_getp(own, "metadata.deletionTimestamp"));
	d->versions = arena_new_array(&d->arena, struct custom, json_len(versions) + 1);
	JSON_ITEMS (v, versions) {
		if (json_true(json_getc(v, "storage")))
			d->stored_api_version = arena_printf(&d->arena, "%s/%s", d->group, json_cstr(json_getc(v, "name")));
		if (json_true(json_getc(v, "served")) && r == 0)
			r = read_version(d, &d->versions[d->n_versions++], spec, v, e);
	}
	d->n_known = d->n_versions;
	/* Those that are not served are met all the same: in the store, and in the rules of webhooks. A broken one hurts nobody else. */
	JSON_ITEMS (v, versions)
		if (!json_true(json_getc(v, "served")) && r == 0 && read_version(d, &d->versions[d->n_known], spec, v, NULL) == 0)
			d->n_known++;
	if (r == 0 && !d->stored_api_version)
		r = err_set(e, ERR_INVALID, "no version is marked as the stored one");
	if (r < 0) {
		custom_def_unref(d);
		return r;
	}
	if (d->n_versions > 1)
		qsort(d->versions, d->n_versions, sizeof(d->versions[0]), by_priority);
	/* They have moved. */
	for (size_t i = 0; i < d->n_known; i++) {
		d->versions[i].res.served = i < d->n_versions;
		d->versions[i].res.custom = &d->versions[i];
		custom__types(&d->arena, &d->versions[i]);
	}
	*ret = d;
	return 0;
}

bool custom_def_same(const struct custom_def *a, const struct custom_def *b)
{
	return a->established == b->established && json_equal(a->spec, b->spec);
}

const struct custom *custom_def_version(const struct custom_def *d, struct str api_version)
{
	for (size_t i = 0; i < d->n_known; i++)
		if (str_eqc(api_version, d->versions[i].res.api_version))
			return &d->versions[i];
	return NULL;
}

struct custom_def *custom_def_ref(struct custom_def *d)
{
	d->refs++;
	return d;
}

void custom_def_unref(struct custom_def *d)
{
	if (!d || --d->refs > 0)
		return;
	arena_fini(&d->arena);
	free(d);
}

struct custom_conversions custom_as_it_lies;

/* --- The stored form ----------------------------------------------------------------------------------------------------- */

/* Canonical JSON under that version's name. */
static struct str text_as(struct arena *a, const struct custom *c, const struct json *obj, const char *api_version)
{
	_cleanup_(buf_fini) struct buf out = BUF_INIT;
	struct json *doc = json_new_object(a);

	JSON_MEMBERS (m, obj)
		json_set(a, doc, m->key, m->value);
	json_setc(a, doc, "apiVersion", json_newc(a, api_version));
	json_setc(a, doc, "kind", json_newc(a, c->res.kind));
	json_print(&out, doc, JSON_COMPACT | JSON_SORTED);
	return arena_str(a, buf_str(&out));
}

static int pending(struct err *e, const char *to)
{
	return err_set(e, ERR_PENDING, "the object is to be converted to %s first", to);
}

int custom_store(struct arena *a, const struct custom *c, const struct json *obj, struct custom_conversions *conv, struct str *ret,
		struct err *e)
{
	const char *to = c->def->stored_api_version;
	bool other = conv && c->def->webhook && strcmp(to, c->res.api_version) != 0;

	*ret = text_as(a, c, obj, other ? c->res.api_version : to);
	return !other || conv == &custom_as_it_lies || conv->find(conv, c->def, *ret, to, ret) ? 0 : pending(e, to);
}

int custom_load(struct arena *a, const struct custom *c, struct str stored, struct custom_conversions *conv, struct json **ret,
		struct err *e)
{
	const char *to = c->res.api_version;
	struct json *doc;

	if (json_parse(a, stored, NULL, &doc, e) < 0)
		return -e->code;
	if (!json_is(doc, JSON_OBJECT))
		return err_set(e, ERR_CORRUPT, "the stored value is no object");
	if (conv && conv != &custom_as_it_lies && c->def->webhook && !json_eqc(json_getc(doc, "apiVersion"), to)) {
		if (!conv->find(conv, c->def, stored, to, &stored))
			return pending(e, to);
		if (json_parse(a, stored, NULL, &doc, e) < 0)
			return -e->code;
	}
	structural_default(a, c->schema, doc);
	*ret = doc;
	return 0;
}

int custom_convert(struct arena *a, const struct custom *from, const struct custom *to, const struct json *obj, struct custom_conversions *conv,
		struct json **ret, struct err *e)
{
	bool asked = from->def->webhook && from != to;
	struct str text = text_as(a, from, obj, asked ? from->res.api_version : to->res.api_version);
	struct json *doc;

	if (asked && !conv->find(conv, from->def, text, to->res.api_version, &text))
		return pending(e, to->res.api_version);
	if (json_parse(a, text, NULL, &doc, e) < 0)
		return -e->code;
	structural_prune(a, to->schema, doc, NULL, NULL);
	*ret = doc;
	return 0;
}

static struct str version_of(struct arena *a, struct str stored)
{
	struct json *doc;

	return json_parse(a, stored, NULL, &doc, NULL) == 0 ? json_str(json_getc(doc, "apiVersion")) : STR_NULL;
}

const struct custom *custom_lies_as(const struct custom_def *d, struct str stored)
{
	const struct custom *c;
	struct arena a;

	arena_init(&a);
	c = custom_def_version(d, version_of(&a, stored));
	arena_fini(&a);
	return c;
}

bool custom_is_stale(const struct custom *c, struct str stored)
{
	struct arena a;
	struct str is;
	bool stale;

	arena_init(&a);
	is = version_of(&a, stored);
	stale = is.n > 0 && !str_eqc(is, c->def->stored_api_version);
	arena_fini(&a);
	return stale;
}

/*
 * Which objects are meant: label and field selectors, and the keys that a path covers.
 *
 * Objects are looked at as they are stored. Labels, names and the fields that selectors may name are found in the bytes of a message without
 * decoding the rest, because a list or a watch asks this of every object it passes. Only a custom resource's fields need its
 * document. What is not selectable is refused when the selectors are parsed, so that matching cannot fail: bytes that cannot be
 * read match nothing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"

static int check_fields(const struct field_selector *fs, const struct resource *res, struct err *e)
{
	for (size_t i = 0; res->custom && i < fs->n_terms; i++) {
		struct str f = fs->terms[i].field;

		if (!str_eqc(f, "metadata.name") && !(res->namespaced && str_eqc(f, "metadata.namespace")) &&
				!custom_selectable(res->custom, f))
			return err_set(e, ERR_BAD_REQUEST, "field label not supported: %.*s", STR_FMT(f));
	}
	return res->custom ? 0 : field_selector_check(fs, res->api_version, res->kind, res->namespaced, e);
}

enum step_result api_selection_parse(struct api_request *req, struct api_selection *sel)
{
	struct err e = ERR_INIT;

	sel->res = req->res;
	sel->labels = SELECTOR_EVERYTHING;
	sel->fields = (struct field_selector){NULL, 0};
	sel->all = req->opt.label_selector.n == 0 && req->opt.field_selector.n == 0;
	if (selector_parse(&req->arena, req->opt.label_selector, &sel->labels, &e) < 0 ||
			field_selector_parse(&req->arena, req->opt.field_selector, &sel->fields, &e) < 0 ||
			check_fields(&sel->fields, req->res, &e) < 0)
		return api_fail(req, ERR_BAD_REQUEST, "%s", e.text);
	return STEP_NEXT;
}

static bool label_of(const void *ctx, struct str key, struct str *ret)
{
	return storage_label(*(const struct str *)ctx, key, ret);
}

struct raw_object {
	const struct schema_type *type;
	struct str raw;
	const struct storage_meta *meta;
	char *scratch; /* for the text of a number */
	struct arena *a;        /* of a custom object */
	const struct json *doc; /* likewise */
};
#define FIELD_TEXT 24

/* The text of a scalar field at a dotted path, straight from the bytes. */
static struct str raw_field(const struct schema_type *t, struct str msg, struct str path, char scratch[FIELD_TEXT])
{
	struct str head, rest;
	const struct schema_field *f;
	struct wire_reader r;
	struct wire_item it = {0};
	uint64_t value = 0;

	str_cut(path, '.', &head, &rest);
	f = schema_field_find(t, head);
	if (!f)
		return STR_NULL;
	if (rest.n > 0)
		return f->type ? raw_field(f->type, storage_field(msg, f->number), rest, scratch) : STR_NULL;
	if (f->kind == SCHEMA_STRING)
		return storage_field(msg, f->number);
	r = wire_reader(msg);
	while (wire_next(&r, &it))
		if (it.number == f->number && it.type == WIRE_VARINT)
			value = it.v;
	if (f->kind == SCHEMA_BOOL)
		return value ? STR("true") : STR("false");
	if (f->kind != SCHEMA_INT32 && f->kind != SCHEMA_INT64)
		return STR_NULL;
	return str_of(scratch, (size_t)snprintf(scratch, FIELD_TEXT, "%" PRId64, (int64_t)value));
}

static struct str field_of(const void *ctx, struct str field)
{
	const struct raw_object *o = ctx;

	if (str_eqc(field, "metadata.name"))
		return o->meta->name;
	if (str_eqc(field, "metadata.namespace"))
		return o->meta->ns;
	if (o->doc)
		return custom_field(o->a, o->doc, field);
	if (str_eqc(field, "source")) /* Events: the component */
		return raw_field(o->type, o->raw, STR("source.component"), o->scratch);
	if (str_eqc(field, "status.successful")) /* Jobs: what the field is called in selectors */
		field = STR("status.succeeded");
	return raw_field(o->type, o->raw, field, o->scratch);
}

static bool custom_matches(const struct api_selection *sel, struct raw_object *o)
{
	struct arena a;
	struct json *doc;
	struct err e = ERR_INIT;
	bool is;

	arena_init(&a);
	is = api_dom_of(&a, sel->res, o->raw, &doc, &e) == 0;
	o->a = &a;
	o->doc = is ? doc : NULL;
	is = is && field_selector_matches(&sel->fields, field_of, o);
	arena_fini(&a);
	return is;
}

bool api_selection_matches(const struct api_selection *sel, struct str raw)
{
	struct storage_meta m;
	char scratch[FIELD_TEXT];
	struct raw_object o = {.raw = raw, .meta = &m, .scratch = scratch};

	if (sel->all)
		return true;
	if (!storage_meta(raw, &m) || !selector_matches(&sel->labels, label_of, &m.bytes))
		return false;
	if (sel->res->custom && sel->fields.n_terms > 0)
		return custom_matches(sel, &o);
	o.type = resource_type(sel->res);
	return field_selector_matches(&sel->fields, field_of, &o);
}

void api_key_range(struct api_request *req, struct str *ret_key, struct str *ret_end)
{
	struct arena *a = &req->arena;

	/* A fixed name and namespace make it one key (the name is a selector's or the path's). */
	if (req->at.name.n > 0 && (req->at.ns.n > 0 || !req->res->namespaced)) {
		*ret_key = storage_key(a, req->res, req->at.ns, req->at.name);
		*ret_end = STR_NULL;
		return;
	}
	*ret_key = storage_prefix(a, req->res, req->at.ns);
	*ret_end = storage_end(a, *ret_key);
}

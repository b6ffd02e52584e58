/* The wire form of custom objects (proto/custom.h), and back. */
#include <string.h>

#include "base/util.h"
#include "proto/codec-priv.h"
#include "proto/structural.h"

enum { CUSTOM_METADATA = 1, CUSTOM_REST };

/* Something with the metadata in the same place, and nothing else. */
static const struct schema_type *head_type(void)
{
	return schema_type_find("meta.v1.PartialObjectMetadata");
}

static bool is_head(struct str key)
{
	return str_eqc(key, "kind") || str_eqc(key, "apiVersion") || str_eqc(key, "metadata");
}

int codec__custom_to_dom(struct arena *a, const struct schema_type *t, struct str wire, const struct codec_opts *opts,
			 struct json **ret, struct err *e)
{
	struct codec_opts head = {.api_version = t->api_version, .kind = t->kind};
	struct wire_reader r = wire_reader(wire);
	struct wire_item it = {0};
	struct str rest = STR_NULL;
	struct json *members;
	int rc;

	if (opts)
		head.resource_version = opts->resource_version;
	rc = codec_wire_to_dom(a, head_type(), wire, &head, ret, e);
	if (rc < 0)
		return rc;
	json_setc(a, *ret, "kind", json_newc(a, opts && opts->kind ? opts->kind : t->kind));
	json_setc(a, *ret, "apiVersion", json_newc(a, opts && opts->api_version ? opts->api_version : t->api_version));
	while (wire_next(&r, &it))
		if (it.number == CUSTOM_REST && it.type == WIRE_BYTES)
			rest = it.bytes;
	if (rest.n == 0)
		return 0;
	rc = json_parse(a, rest, NULL, &members, e);
	if (rc < 0)
		return rc;
	JSON_MEMBERS (m, members)
		if (!is_head(m->key))
			json_set(a, *ret, m->key, m->value);
	return 0;
}

int codec__custom_to_json(struct buf *out, const struct schema_type *t, struct str wire, const struct codec_opts *opts, struct err *e)
{
	struct arena a;
	struct json *doc, *meta;
	int rc;

	arena_init(&a);
	rc = codec__custom_to_dom(&a, t, wire, opts, &doc, e);
	if (rc == 0) {
		meta = json_getc(doc, "metadata");
		/* Nobody's time is no time at all in an object without a Go type. */
		if (json_is(json_getc(meta, "creationTimestamp"), JSON_NULL))
			json_delc(meta, "creationTimestamp");
		json_print(out, doc, JSON_COMPACT | JSON_SORTED);
	}
	arena_fini(&a);
	return rc;
}

static void unknown(void *arg, struct str path)
{
	struct codec_errs *errs = arg;

	if (errs->n == CODEC_MAX_ERRS) {
		errs->more = true;
		return;
	}
	errs->items[errs->n++] = (struct codec_err){CODEC_UNKNOWN_FIELD, arena_cstr(errs->arena, path),
			arena_printf(errs->arena, "unknown field \"%.*s\"", STR_FMT(path))};
}

void codec__custom_to_wire(struct buf *out, const struct schema_type *t, const struct json *dom, struct codec_errs *errs)
{
	struct json *head = json_new_object(errs->arena), *rest = json_new_object(errs->arena);
	struct buf text = BUF_INIT;

	if (json_getc(dom, "metadata"))
		json_setc(errs->arena, head, "metadata", json_getc(dom, "metadata"));
	codec_to_wire(out, head_type(), head, errs);
	JSON_MEMBERS (m, dom)
		if (!is_head(m->key))
			json_set(errs->arena, rest, m->key, json_copy(errs->arena, m->value));
	structural_prune(errs->arena, t->custom, rest, unknown, errs);
	json_print(&text, rest, JSON_COMPACT | JSON_SORTED | JSON_RAW_HTML);
	wire_add_bytes(out, CUSTOM_REST, buf_str(&text));
	buf_fini(&text);
}

/*
 * A definition of a custom resource and an object of it: {"schema": ..., "object": ..., "other": ...}. What a schema
 * accepts goes through all that the registry does: pruning, defaults, the wire form and back, apply, rows, OpenAPI.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/util.h"
#include "proto/codec.h"
#include "proto/custom.h"
#include "proto/defaults.h"
#include "proto/field_errs.h"
#include "proto/structural.h"
#include "proto/table.h"
#include "proto/typed.h"
#include "proto/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static struct json *definition(struct arena *a, struct json *schema)
{
	static const char text[] =
		"{\"metadata\":{\"name\":\"things.example.com\"},\"spec\":{\"group\":\"example.com\",\"scope\":\"Namespaced\",\"names\":"
		"{\"plural\":\"things\",\"singular\":\"thing\",\"kind\":\"Thing\",\"listKind\":\"ThingList\"},\"versions\":[{\"name\":\"v1\","
		"\"served\":true,\"storage\":true,\"schema\":{},\"subresources\":{\"status\":{},\"scale\":{\"specReplicasPath\":"
		"\".spec.replicas\",\"statusReplicasPath\":\".status.replicas\"}},\"additionalPrinterColumns\":[{\"name\":\"A\",\"type\":"
		"\"string\",\"jsonPath\":\".spec.a\"},{\"name\":\"B\",\"type\":\"date\",\"jsonPath\":\".spec.b\"}],\"selectableFields\":"
		"[{\"jsonPath\":\".spec.a\"}]}]}}";
	struct json *d;

	if (json_parse(a, str_from(text), NULL, &d, NULL) < 0)
		abort();
	json_setc(a, json_getc(json_at(json_getp(d, "spec.versions"), 0), "schema"), "openAPIV3Schema", schema);
	return d;
}

/* The form that is kept gives the same form again. */
static void round_trip(struct arena *a, const struct custom *c, const struct json *obj)
{
	struct codec_errs *errs = arena_new_of(a, struct codec_errs);
	struct buf wire = BUF_INIT, again = BUF_INIT, text = BUF_INIT;
	struct json *doc, *loaded;
	struct str stored;

	codec_errs_init(errs, a);
	codec_to_wire(&wire, &c->type, obj, errs);
	if (codec_errs_hard(errs))
		goto out;
	if (codec_wire_to_dom(a, &c->type, arena_str(a, buf_str(&wire)), NULL, &doc, NULL) < 0)
		goto out; /* what a protobuf message may not hold */
	codec_wire_to_json(&text, &c->type, buf_str(&wire), NULL, NULL);
	structural_default(a, c->schema, doc);
	custom_store(a, c, doc, NULL, &stored, NULL);
	if (custom_load(a, c, stored, NULL, &loaded, NULL) < 0)
		abort();
	buf_clear(&wire);
	codec_to_wire(&wire, &c->type, doc, errs);
	codec_to_wire(&again, &c->type, loaded, errs);
	if (!str_eq(buf_str(&wire), buf_str(&again)))
		abort();
out:
	buf_fini(&wire);
	buf_fini(&again);
	buf_fini(&text);
}

static void shown(struct arena *a, const struct custom *c, const struct json *obj)
{
	struct json *table = table_new(a, &c->res, NULL);

	table_add(a, table, &c->res, obj, TABLE_NONE, 1700000000);
	custom_openapi(a, c, false);
	custom_openapi(a, c, true);
	custom_field(a, obj, STR("spec.a"));
}

static void applied(struct arena *a, const struct custom *c, struct json *obj, struct json *other)
{
	struct typed_diff diff;

	if (typed_check(a, &c->type, obj).n > 0 || typed_check(a, &c->type, other).n > 0)
		return;
	typed_compare(a, &c->type, obj, other, &diff);
	typed_remove(a, &c->type, typed_merge(a, &c->type, obj, other), typed_fieldset(a, &c->type, obj));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size)
{
	struct json_opts opts = {.max_nodes = 2000};
	struct json *in, *obj, *other;
	struct custom_def *d = NULL;
	struct field_errs errs;
	struct err e = ERR_INIT;
	struct arena a;

	arena_init(&a);
	if (json_parse(&a, str_of(p, size), &opts, &in, NULL) < 0 || !json_is(json_getc(in, "schema"), JSON_OBJECT) ||
		custom_def_new(definition(&a, json_getc(in, "schema")), &d, &e) < 0)
		goto out;
	obj = json_getc(in, "object");
	other = json_getc(in, "other");
	if (!json_is(obj, JSON_OBJECT) || !json_is(other, JSON_OBJECT))
		goto out;
	round_trip(&a, &d->versions[0], obj);
	applied(&a, &d->versions[0], json_copy(&a, obj), json_copy(&a, other));
	defaults_apply(&a, &d->versions[0].type, obj);
	field_errs_init(&errs, &a);
	validate_object(&d->versions[0].res, "", obj, other, &errs);
	shown(&a, &d->versions[0], obj);
out:
	custom_def_unref(d);
	arena_fini(&a);
	return 0;
}

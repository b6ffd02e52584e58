#include "orchestrator/apiserver/conversion.h"

#include "base/util.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/field_errs.h"
#include "proto/json.h"
#include "proto/validate.h"

#define REVIEW_GROUP "apiextensions.k8s.io"

bool conversion_is_v1beta1(const struct json *versions)
{
	JSON_ITEMS (v, versions)
		if (json_eqc(v, "v1") || json_eqc(v, "v1beta1"))
			return json_eqc(v, "v1beta1");
	return false;
}

void conversion_question(struct buf *out, const struct conversion *c)
{
	buf_printf(out, "{\"kind\":\"ConversionReview\",\"apiVersion\":\"" REVIEW_GROUP "/%s\",\"request\":{\"uid\":\"%s\","
			"\"desiredAPIVersion\":\"%s\",\"objects\":[", c->v1beta1 ? "v1beta1" : "v1", c->uid, c->to);
	for (size_t i = 0; i < c->n; i++) {
		if (i > 0)
			buf_add1(out, ',');
		buf_adds(out, c->objects[i]);
	}
	buf_adds(out, STR("]},\"response\":null}"));
}

const char *conversion_kind(struct arena *a, const struct json *obj)
{
	return arena_printf(a, "%.*s, Kind=%.*s", STR_FMT(json_str(json_getc(obj, "apiVersion"))), STR_FMT(json_str(json_getc(obj, "kind"))));
}

static const char *go_type(const struct json *v)
{
	switch (json_type(v)) {
	case JSON_BOOL:
		return "bool";
	case JSON_NUMBER:
		return "int64";
	case JSON_STRING:
		return "string";
	case JSON_ARRAY:
		return "[]interface {}";
	case JSON_OBJECT:
		return "map[string]interface {}";
	default:
		return "<nil>";
	}
}

/* --- One object ---------------------------------------------------------------------------------------------------------------- */

/* What says whose object it is must be as it was. */
static const char *identity(struct arena *a, const struct json *in, const struct json *out)
{
	static const struct {
		const char *path, *words;
	} rows[] = {{"metadata.name", "name"}, {"metadata.namespace", "namespace"}, {"metadata.uid", "UID"}};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str was = json_strp(in, rows[i].path), is = json_strp(out, rows[i].path);

		if (!str_eq(was, is))
			return arena_printf(a, "must have the same %s: %.*s != %.*s", rows[i].words, STR_FMT(was), STR_FMT(is));
	}
	return NULL;
}

/* Labels or annotations of an answer, which become the object's. */
static const char *take_map(struct arena *a, const struct json *from, struct json *meta, const char *key)
{
	struct json *map = json_getc(from, key);
	struct field_path top = field_child(NULL, "metadata"), path = field_child(&top, key);
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct field_errs errs;

	if (json_is_null(map)) {
		json_delc(meta, key);
		return NULL;
	}
	if (!json_is(map, JSON_OBJECT))
		return arena_printf(a, "invalid metadata.%s of type %s in converted object", key, go_type(map));
	JSON_MEMBERS (m, map)
		if (!json_is(m->value, JSON_STRING))
			return arena_printf(a, "metadata.%s[%.*s] must be a string, but is %s in converted object", key, STR_FMT(m->key),
					go_type(m->value));
	field_errs_init(&errs, a);
	if (json_equal(map, json_getc(meta, key)))
		return NULL;
	if (key[0] == 'l')
		validate_labels(map, &path, &errs);
	else
		validate_annotations(map, &path, &errs);
	if (errs.n > 0) {
		field_errs_print(&text, &errs);
		return arena_cstr(a, buf_str(&text));
	}
	json_setc(a, meta, key, map);
	return NULL;
}

static const char *take_metadata(struct arena *a, const struct json *in, struct json *out)
{
	struct json *from = json_getc(out, "metadata"), *meta = json_copy(a, json_getc(in, "metadata"));
	const char *why;

	if (!from)
		return "missing metadata in converted object";
	if (!json_is(from, JSON_OBJECT))
		return arena_printf(a, "invalid metadata of type %s in converted object", go_type(from));
	if (!json_is(meta, JSON_OBJECT))
		meta = json_new_object(a);
	why = take_map(a, from, meta, "labels");
	if (!why)
		why = take_map(a, from, meta, "annotations");
	json_setc(a, out, "metadata", meta);
	return why;
}

static const char *one(struct arena *a, const struct conversion *c, size_t i, struct json *out, struct str *ret)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;
	struct err e = ERR_INIT;
	struct json *in;
	const char *why, *kind;

	if (json_parse(a, c->objects[i], NULL, &in, &e) < 0)
		return arena_printf(a, "the stored object cannot be read: %s", e.text);
	kind = conversion_kind(a, in);
	if (!json_is(out, JSON_OBJECT))
		return arena_printf(a, "conversion webhook for %s returned invalid converted object at index %zu: an object expected", kind, i);
	if (!json_eqc(json_getc(out, "apiVersion"), c->to))
		return arena_printf(a, "conversion webhook for %s returned invalid converted object at index %zu: invalid groupVersion "
				       "(expected %s, received %.*s)",
				kind, i, c->to, STR_FMT(json_str(json_getc(out, "apiVersion"))));
	if (!json_equal(json_getc(in, "kind"), json_getc(out, "kind")))
		return arena_printf(a, "conversion webhook for %s returned invalid converted object at index %zu: invalid kind "
				       "(expected %.*s, received %.*s)",
				kind, i, STR_FMT(json_str(json_getc(in, "kind"))), STR_FMT(json_str(json_getc(out, "kind"))));
	why = identity(a, in, out);
	if (why)
		return arena_printf(a, "conversion webhook for %s returned invalid converted object at index %zu: %s", kind, i, why);
	why = take_metadata(a, in, out);
	if (why)
		return arena_printf(a, "conversion webhook for %s returned invalid metadata in object at index %zu: %s", kind, i, why);
	json_print(&text, out, JSON_COMPACT | JSON_SORTED);
	*ret = arena_str(a, buf_str(&text));
	return NULL;
}

/* --- The whole ------------------------------------------------------------------------------------------------------------------- */

static const char *response_of(struct arena *a, const struct conversion *c, struct str body, const struct json **ret)
{
	struct str version, kind, message, status;
	const struct json *response;
	struct err e = ERR_INIT;
	struct json *doc;
	const char *want = c->v1beta1 ? REVIEW_GROUP "/v1beta1" : REVIEW_GROUP "/v1";

	if (json_parse(a, body, NULL, &doc, &e) < 0)
		return arena_printf(a, "%s", e.text);
	version = json_str(json_getc(doc, "apiVersion"));
	kind = json_str(json_getc(doc, "kind"));
	if (!str_eqc(version, want) || !str_eqc(kind, "ConversionReview"))
		return arena_printf(a, "expected webhook response of %s, Kind=ConversionReview, got %.*s, Kind=%.*s", want, STR_FMT(version),
				STR_FMT(kind));
	response = json_getc(doc, "response");
	if (!json_is(response, JSON_OBJECT))
		return "no response provided";
	if (!c->v1beta1 && !json_eqc(json_getc(response, "uid"), c->uid))
		return arena_printf(a, "expected response.uid=\"%s\", got \"%.*s\"", c->uid, STR_FMT(json_str(json_getc(response, "uid"))));
	status = json_strp(response, "result.status");
	message = json_strp(response, "result.message");
	if (!str_eqc(status, "Success"))
		return message.n > 0 ? arena_cstr(a, message) :
				       arena_printf(a, "response.result.status was '%.*s', not 'Success'", STR_FMT(status));
	*ret = json_getc(response, "convertedObjects");
	return NULL;
}

/* Upstream names the first object's version and kind, as all of a call have the same. */
static const char *subject(struct arena *a, const struct conversion *c)
{
	struct json *first;

	return c->n > 0 && json_parse(a, c->objects[0], NULL, &first, NULL) == 0 ? conversion_kind(a, first) : "objects";
}

int conversion_answer(struct arena *a, const struct conversion *c, struct str body, struct str *ret, const char **ret_why)
{
	const struct json *list = NULL;
	const char *why = response_of(a, c, body, &list);

	if (why) {
		*ret_why = arena_printf(a, "conversion webhook for %s failed: %s", subject(a, c), why);
		return -1;
	}
	if (!json_is(list, JSON_ARRAY) || json_len(list) != c->n) {
		*ret_why = arena_printf(a, "conversion webhook for %s returned %zu objects, expected %zu", subject(a, c), json_len(list), c->n);
		return -1;
	}
	for (size_t i = 0; i < c->n; i++) {
		*ret_why = one(a, c, i, json_at(list, i), &ret[i]);
		if (*ret_why)
			return -1;
	}
	return 0;
}

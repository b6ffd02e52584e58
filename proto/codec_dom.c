/* Wire -> DOM. The same shape as codec_text.c, with the checks that input from clients needs. */
#include "proto/codec-priv.h"

#include "base/clock.h"
#include "base/util.h"
#include "proto/duration.h"

/* A two-byte empty message becomes some hundred bytes of tree: so many values are enough for every honest object. */
#define MAX_NODES ((size_t)1 << 20)

struct dom {
	struct arena *arena;
	struct err *err;
	unsigned depth;
	size_t *nodes; /* values made so far, embedded objects among them */
};

static int read_value(struct dom *, const struct schema_type *, struct str bytes, struct json **ret);
static int read_members(struct dom *, const struct codec__msg *, struct json *obj);
static int to_dom_at(struct arena *, const struct schema_type *, struct str wire, const struct codec_opts *, unsigned depth,
		     size_t *nodes, struct json **ret, struct err *);

static int bad(struct dom *d, const struct schema_type *type, const char *what)
{
	return err_set(d->err, ERR_BAD_REQUEST, "cannot decode a protobuf %s: %s", type->name, what);
}

static int read_string(struct dom *d, const struct schema_type *type, const char *field, struct str s, struct json **ret)
{
	if (!json_utf8_valid(s))
		return err_set(d->err, ERR_BAD_REQUEST, "cannot decode a protobuf %s: %s is not valid UTF-8", type->name,
			       field);
	*ret = json_new_str(d->arena, s);
	return 0;
}

static struct json *new_from_buf(struct dom *d, struct buf *b)
{
	struct json *j = json_new_str(d->arena, buf_str(b));

	buf_fini(b);
	return j;
}

static int read_scalar(struct dom *d, const struct schema_type *type, const struct schema_field *f, uint64_t v,
		       struct str bytes, struct json **ret)
{
	struct buf b = BUF_INIT;
	double number;

	if (++*d->nodes > MAX_NODES)
		return err_set(d->err, ERR_TOO_LARGE, "a protobuf %s has more than %zu values", type->name, MAX_NODES);
	switch ((enum schema_kind)f->kind) {
	case SCHEMA_STRING:
		return read_string(d, type, f->json, bytes, ret);
	case SCHEMA_BYTES:
		codec_base64(&b, bytes);
		*ret = new_from_buf(d, &b);
		return 0;
	case SCHEMA_BOOL:
		*ret = json_new_bool(d->arena, v != 0);
		return 0;
	case SCHEMA_INT32:
		*ret = json_new_int(d->arena, (int32_t)v);
		return 0;
	case SCHEMA_INT64:
		*ret = json_new_int(d->arena, (int64_t)v);
		return 0;
	case SCHEMA_DOUBLE:
		memcpy(&number, &v, sizeof(number));
		*ret = json_new_double(d->arena, number);
		return 0;
	case SCHEMA_MESSAGE:
		return schema_is(f, SCHEMA_TYPED) ? to_dom_at(d->arena, f->type, bytes, NULL, d->depth, d->nodes, ret, d->err)
						  : read_value(d, f->type, bytes, ret);
	}
	UNREACHABLE();
}

static int read_list(struct dom *d, const struct codec__msg *m, size_t i, struct json **ret)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__elements e = codec__elements(m, i);
	struct json *array = json_new_array(d->arena), *element;
	struct wire_item it = {0};
	int rc;

	while (codec__next(&e, f, &it)) {
		rc = read_scalar(d, m->type, f, it.v, it.bytes, &element);
		if (rc < 0)
			return rc;
		json_push(d->arena, array, element);
	}
	*ret = array;
	return e.r.failed ? bad(d, m->type, f->json) : 0;
}

static int read_map(struct dom *d, const struct codec__msg *m, size_t i, struct json **ret)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__entry *entries;
	struct json *obj = json_new_object(d->arena), *value;
	size_t n;
	int rc;

	if (!codec__entries(m, i, d->arena, &entries, &n))
		return bad(d, m->type, f->json);
	for (size_t k = 0; k < n; k++) {
		if (!json_utf8_valid(entries[k].key))
			return bad(d, m->type, "a map key is not valid UTF-8");
		rc = read_scalar(d, m->type, f, entries[k].value.v, entries[k].value.bytes, &value);
		if (rc < 0)
			return rc;
		json_set(d->arena, obj, entries[k].key, value);
	}
	*ret = obj;
	return 0;
}

static int read_field(struct dom *d, const struct codec__msg *m, size_t i, struct json *obj)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__msg inner;
	struct json *value = NULL;
	int rc = 0;

	if (schema_is(f, SCHEMA_INLINE)) {
		if (++d->depth > CODEC_MAX_DEPTH || !codec__scan(&inner, f->type, codec__payload(m, i, d->arena)))
			return bad(d, f->type, "broken message");
		d->depth--;
		return read_members(d, &inner, obj);
	}
	switch (codec__show(m, i)) {
	case CODEC_SKIP:
		return 0;
	case CODEC_NULL:
		value = json_new_null(d->arena);
		break;
	case CODEC_ZERO:
		if (schema_is(f, SCHEMA_REPEATED))
			value = json_new_array(d->arena);
		else
			rc = read_scalar(d, m->type, f, 0, STR_NULL, &value);
		break;
	case CODEC_VALUE:
		if (schema_is(f, SCHEMA_REPEATED))
			rc = read_list(d, m, i, &value);
		else if (schema_is(f, SCHEMA_MAP))
			rc = read_map(d, m, i, &value);
		else if (f->kind == SCHEMA_STRING || f->kind == SCHEMA_BYTES || f->kind == SCHEMA_MESSAGE)
			rc = read_scalar(d, m->type, f, 0, codec__payload(m, i, d->arena), &value);
		else
			rc = read_scalar(d, m->type, f, m->slots[i].v, STR_NULL, &value);
		break;
	}
	if (rc == 0)
		json_addc(d->arena, obj, f->json, value);
	return rc;
}

static int read_members(struct dom *d, const struct codec__msg *m, struct json *obj)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->type->n_fields; i++)
		rc = read_field(d, m, i, obj);
	return rc;
}

static int read_time(struct dom *d, const struct schema_type *type, struct str bytes, struct json **ret)
{
	struct codec__triple v;
	char text[CLOCK_RFC3339_SIZE];

	if (!codec__triple(bytes, &v) || !codec__time_in_range((int64_t)v.v[1]))
		return bad(d, type, "broken time");
	if (bytes.n == 0) {
		*ret = json_new_null(d->arena);
		return 0;
	}
	if (type->json == SCHEMA_MICRO_TIME)
		clock_rfc3339_micro((int64_t)v.v[1], codec__clip_ns((int32_t)v.v[2]), text);
	else
		clock_rfc3339((int64_t)v.v[1], text);
	*ret = json_newc(d->arena, text);
	return 0;
}

static int read_raw(struct dom *d, const struct schema_type *type, struct str bytes, struct json **ret)
{
	struct codec__triple v;

	if (!codec__triple(bytes, &v))
		return bad(d, type, "broken message");
	if (v.bytes[1].n == 0) {
		*ret = json_new_null(d->arena);
		return 0;
	}
	if (codec_is_wrapped(v.bytes[1])) {
		int rc;

		/* An embedded object may embed objects; each round counts as depth. */
		if (d->depth + 8 > CODEC_MAX_DEPTH)
			return bad(d, type, "nested too deep");
		d->depth += 8;
		rc = codec__stored_to_dom_at(d->arena, v.bytes[1], NULL, d->depth, d->nodes, ret, d->err);
		d->depth -= 8;
		return rc;
	}
	return json_parse(d->arena, v.bytes[1], NULL, ret, d->err);
}

static int read_either(struct dom *d, const struct schema_type *type, struct str bytes, struct json **ret)
{
	struct codec__msg m;
	bool schema_first = type->json != SCHEMA_SCHEMA_OR_BOOL;
	size_t schema = schema_first ? 0 : 1, other = schema_first ? 1 : 0;

	if (!codec__scan(&m, type, bytes))
		return bad(d, type, "broken message");
	if (m.seen & 1ULL << schema)
		return read_value(d, type->fields[schema].type, codec__payload(&m, schema, d->arena), ret);
	if (!schema_first)
		*ret = json_new_bool(d->arena, (m.seen & 1) && m.slots[0].v);
	else if (m.seen & 1ULL << other)
		return read_list(d, &m, other, ret);
	else
		*ret = json_new_null(d->arena);
	return 0;
}

static int read_special(struct dom *d, const struct schema_type *type, struct str bytes, struct json **ret)
{
	struct codec__triple v;
	struct codec__msg m;
	char duration[DURATION_SIZE];

	switch ((enum schema_json)type->json) {
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return read_time(d, type, bytes, ret);
	case SCHEMA_RAW_JSON:
		return read_raw(d, type, bytes, ret);
	case SCHEMA_ITEMS:
		if (!codec__scan(&m, type, bytes))
			return bad(d, type, "broken message");
		return read_list(d, &m, 0, ret);
	case SCHEMA_SCHEMA_OR_ARRAY:
	case SCHEMA_SCHEMA_OR_BOOL:
	case SCHEMA_SCHEMA_OR_STRINGS:
		return read_either(d, type, bytes, ret);
	default:
		break;
	}
	if (!codec__triple(bytes, &v))
		return bad(d, type, "broken message");
	switch ((enum schema_json)type->json) {
	case SCHEMA_DURATION:
		duration_print((int64_t)v.v[1], duration);
		*ret = json_newc(d->arena, duration);
		return 0;
	case SCHEMA_QUANTITY:
		return read_string(d, type, "a quantity", v.bytes[1].n ? v.bytes[1] : STR("0"), ret);
	case SCHEMA_INT_OR_STRING:
		if (v.v[1] == 1)
			return read_string(d, type, "a string", v.bytes[3], ret);
		*ret = json_new_int(d->arena, (int32_t)v.v[2]);
		return 0;
	default:
		UNREACHABLE();
	}
}

static int read_value(struct dom *d, const struct schema_type *type, struct str bytes, struct json **ret)
{
	struct codec__msg m;
	int rc;

	if (++d->depth > CODEC_MAX_DEPTH)
		return bad(d, type, "nested too deep");
	if (type->json != SCHEMA_PLAIN) {
		rc = read_special(d, type, bytes, ret);
	} else if (!codec__scan(&m, type, bytes)) {
		rc = bad(d, type, "broken message");
	} else {
		*ret = json_new_object(d->arena);
		rc = read_members(d, &m, *ret);
	}
	d->depth--;
	return rc;
}

static int to_dom_at(struct arena *a, const struct schema_type *type, struct str wire, const struct codec_opts *opts,
		     unsigned depth, size_t *nodes, struct json **ret, struct err *e)
{
	struct dom d = {.arena = a, .err = e, .depth = depth, .nodes = nodes};
	struct codec__msg m;
	struct json *obj, *metadata;
	int rc;

	if (type->json != SCHEMA_PLAIN)
		return read_value(&d, type, wire, ret);
	if (!codec__scan(&m, type, wire))
		return bad(&d, type, "broken message");
	obj = json_new_object(a);
	if (type->root && !(opts && opts->bare)) {
		json_addc(a, obj, "kind", json_newc(a, opts && opts->kind ? opts->kind : type->kind));
		json_addc(a, obj, "apiVersion",
			  json_newc(a, opts && opts->api_version ? opts->api_version : type->api_version));
	}
	rc = read_members(&d, &m, obj);
	if (rc < 0)
		return rc;
	if (opts && opts->resource_version.n > 0) {
		metadata = json_object_at(a, obj, "metadata");
		if (metadata)
			json_setc(a, metadata, "resourceVersion", json_new_str(a, opts->resource_version));
	}
	*ret = obj;
	return 0;
}

int codec_wire_to_dom(struct arena *a, const struct schema_type *type, struct str wire, const struct codec_opts *opts,
		      struct json **ret, struct err *e)
{
	size_t nodes = 0;

	if (type->json == SCHEMA_CUSTOM)
		return codec__custom_to_dom(a, type, wire, opts, ret, e);
	return to_dom_at(a, type, wire, opts, 0, &nodes, ret, e);
}

int codec__stored_to_dom_at(struct arena *a, struct str stored, const struct codec_opts *opts, unsigned depth,
			    size_t *nodes, struct json **ret, struct err *e)
{
	struct codec_envelope env;
	const struct schema_type *type;
	int rc = codec_unwrap(stored, &env, e);

	if (rc < 0)
		return rc;
	type = codec_type(env.api_version, env.kind);
	if (!type)
		return err_set(e, ERR_BAD_REQUEST, "no kind \"%.*s\" is known in version \"%.*s\"", STR_FMT(env.kind),
			       STR_FMT(env.api_version));
	rc = to_dom_at(a, type, env.wire, opts, depth, nodes, ret, e);
	if (rc == 0 && !(opts && opts->bare)) {
		json_setc(a, *ret, "kind", json_new_str(a, env.kind));
		json_setc(a, *ret, "apiVersion", json_new_str(a, env.api_version));
	}
	return rc;
}

int codec_stored_to_dom(struct arena *a, struct str stored, const struct codec_opts *opts, struct json **ret,
			struct err *e)
{
	size_t nodes = 0;

	return codec__stored_to_dom_at(a, stored, opts, 0, &nodes, ret, e);
}

#include "orchestrator/etcd/json.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/arena.h"
#include "base/util.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/wire.h"

/* A transaction in a transaction in ...; the store allows less. */
#define MAX_DEPTH 80

/* --- Out ---------------------------------------------------------------------------------------------------------- */

static int print_message(struct buf *out, const ProtobufCMessageDescriptor *d, struct str wire, int depth, struct err *e);

static int print_enum(struct buf *out, const ProtobufCEnumDescriptor *d, uint64_t v)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(d, (int)(int64_t)v);

	if (value != NULL)
		buf_printf(out, "\"%s\"", value->name);
	else
		buf_printf(out, "%d", (int)(int64_t)v);
	return 0;
}

static bool is_text(ProtobufCType t)
{
	return t == PROTOBUF_C_TYPE_STRING || t == PROTOBUF_C_TYPE_BYTES || t == PROTOBUF_C_TYPE_MESSAGE;
}

static int print_value(struct buf *out, const ProtobufCFieldDescriptor *f, const struct wire_item *it, int depth,
		struct err *e)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
		buf_printf(out, "\"%" PRId64 "\"", (int64_t)it->v);
		return 0;
	case PROTOBUF_C_TYPE_UINT64:
		buf_printf(out, "\"%" PRIu64 "\"", it->v);
		return 0;
	case PROTOBUF_C_TYPE_INT32:
		buf_printf(out, "%d", (int)(int64_t)it->v);
		return 0;
	case PROTOBUF_C_TYPE_UINT32:
		buf_printf(out, "%u", (unsigned)it->v);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		buf_addc(out, it->v ? "true" : "false");
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return print_enum(out, f->descriptor, it->v);
	case PROTOBUF_C_TYPE_STRING:
		json_print_string(out, it->bytes, JSON_COMPACT);
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		buf_add1(out, '"');
		codec_base64(out, it->bytes);
		buf_add1(out, '"');
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return print_message(out, f->descriptor, it->bytes, depth + 1, e);
	default:
		return err_set(e, ERR_CORRUPT, "field %s has a type that no message of etcd has", f->name);
	}
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const struct wire_item *it)
{
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF || f->type == PROTOBUF_C_TYPE_MESSAGE)
		return false;
	return is_text(f->type) ? it->bytes.n == 0 : it->v == 0;
}

static void name_out(struct buf *out, const ProtobufCFieldDescriptor *f, bool *first)
{
	buf_printf(out, "%s\"%s\":", *first ? "" : ",", f->name);
	*first = false;
}

static int print_repeated(struct buf *out, const ProtobufCFieldDescriptor *f, struct str wire, int depth, bool *first,
		struct err *e)
{
	struct wire_reader r = wire_reader(wire);
	struct wire_item it = {0};
	bool any = false;
	int rc = 0;

	while (rc == 0 && wire_next(&r, &it)) {
		if (it.number != f->id)
			continue;
		if ((it.type == WIRE_BYTES) != is_text(f->type))
			return err_set(e, ERR_CORRUPT, "field %s is malformed", f->name);
		if (!any) {
			name_out(out, f, first);
			buf_add1(out, '[');
		} else {
			buf_add1(out, ',');
		}
		any = true;
		rc = print_value(out, f, &it, depth, e);
	}
	if (any)
		buf_add1(out, ']');
	return rc;
}

/* The last one counts. */
static bool find_last(struct str wire, uint32_t number, struct wire_item *ret)
{
	struct wire_reader r = wire_reader(wire);
	struct wire_item it = {0};
	bool found = false;

	while (wire_next(&r, &it))
		if (it.number == number) {
			*ret = it;
			found = true;
		}
	return found;
}

static bool well_formed(struct str wire)
{
	struct wire_reader r = wire_reader(wire);
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		;
	return !r.failed;
}

static int print_message(struct buf *out, const ProtobufCMessageDescriptor *d, struct str wire, int depth, struct err *e)
{
	struct wire_item it = {0};
	bool first = true;
	int rc = 0;

	if (depth > MAX_DEPTH || !well_formed(wire))
		return err_set(e, ERR_CORRUPT, "the bytes are no %s", d->name);
	buf_add1(out, '{');
	for (unsigned i = 0; rc == 0 && i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			rc = print_repeated(out, f, wire, depth, &first, e);
		} else if (find_last(wire, f->id, &it) && (it.type == WIRE_BYTES) == is_text(f->type) && !is_zero(f, &it)) {
			name_out(out, f, &first);
			rc = print_value(out, f, &it, depth, e);
		}
	}
	buf_add1(out, '}');
	return rc;
}

int etcd_json_print(struct buf *out, const ProtobufCMessageDescriptor *d, struct str wire, struct err *e)
{
	return print_message(out, d, wire, 0, e);
}

/* --- In ------------------------------------------------------------------------------------------------------------- */

/* "range_end" is called "range_end" or "rangeEnd". */
static bool is_name_of(const char *name, struct str key)
{
	size_t i = 0;

	if (str_eqc(key, name))
		return true;
	for (; *name; name++) {
		bool upper = *name == '_';

		if (upper && *++name == '\0')
			return false;
		if (i == key.n || key.p[i] != (upper ? (char)toupper((unsigned char)*name) : *name))
			return false;
		i++;
	}
	return i == key.n;
}

static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *d, struct str key)
{
	for (unsigned i = 0; i < d->n_fields; i++)
		if (is_name_of(d->fields[i].name, key))
			return &d->fields[i];
	return NULL;
}

static int wrong(const ProtobufCFieldDescriptor *f, const char *what, struct err *e)
{
	return err_set(e, ERR_BAD_REQUEST, "field %s: %s", f->name, what);
}

static bool number_text(const struct json *v, struct str *ret)
{
	if (v->type != JSON_NUMBER && v->type != JSON_STRING)
		return false;
	*ret = v->s;
	return true;
}

static int parse_integer(struct buf *wire, const ProtobufCFieldDescriptor *f, const struct json *v, struct err *e)
{
	bool is_unsigned = f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_UINT32;
	bool small = f->type == PROTOBUF_C_TYPE_INT32 || f->type == PROTOBUF_C_TYPE_UINT32;
	struct str text;
	uint64_t u = 0;
	int64_t n = 0;

	if (!number_text(v, &text) || (is_unsigned ? !str_to_u64(text, &u) : !str_to_i64(text, &n)))
		return wrong(f, "must be an integer", e);
	if (small && (is_unsigned ? u > UINT32_MAX : n < INT32_MIN || n > INT32_MAX))
		return wrong(f, "is out of range", e);
	wire_add_uint(wire, f->id, is_unsigned ? u : (uint64_t)n);
	return 0;
}

static int parse_enum(struct buf *wire, const ProtobufCFieldDescriptor *f, const struct json *v, struct err *e)
{
	const ProtobufCEnumDescriptor *d = f->descriptor;
	int64_t n;

	if (v->type == JSON_STRING) {
		for (unsigned i = 0; i < d->n_values; i++)
			if (str_eqc(v->s, d->values[i].name)) {
				wire_add_uint(wire, f->id, (uint64_t)(int64_t)d->values[i].value);
				return 0;
			}
		return err_set(e, ERR_BAD_REQUEST, "field %s: unknown value \"%.*s\"", f->name, (int)MIN(v->s.n, 100u), v->s.p);
	}
	if (v->type != JSON_NUMBER || !str_to_i64(v->s, &n) || n < INT32_MIN || n > INT32_MAX)
		return wrong(f, "must be a name or a number", e);
	wire_add_uint(wire, f->id, (uint64_t)n);
	return 0;
}

static int parse_bytes(struct buf *wire, const ProtobufCFieldDescriptor *f, const struct json *v, struct err *e)
{
	struct buf bytes = BUF_INIT;
	ptrdiff_t bad = v->type == JSON_STRING ? codec_base64_parse(v->s, &bytes) : 0;

	if (v->type == JSON_STRING && bad < 0)
		wire_add_bytes(wire, f->id, buf_str(&bytes));
	buf_fini(&bytes);
	if (v->type != JSON_STRING)
		return wrong(f, "must be a string of base64", e);
	return bad >= 0 ? err_set(e, ERR_BAD_REQUEST, "field %s: illegal base64 data at input byte %td", f->name, bad) : 0;
}

static int parse_message(struct buf *wire, const ProtobufCMessageDescriptor *d, const struct json *v, int depth,
		struct err *e);

static int parse_value(struct buf *wire, const ProtobufCFieldDescriptor *f, const struct json *v, int depth, struct err *e)
{
	size_t mark;
	int rc;

	switch (f->type) {
	case PROTOBUF_C_TYPE_BOOL:
		if (v->type != JSON_BOOL)
			return wrong(f, "must be true or false", e);
		wire_add_uint(wire, f->id, v->b);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return parse_enum(wire, f, v, e);
	case PROTOBUF_C_TYPE_STRING:
		if (v->type != JSON_STRING)
			return wrong(f, "must be a string", e);
		wire_add_bytes(wire, f->id, v->s);
		return 0;
	case PROTOBUF_C_TYPE_BYTES:
		return parse_bytes(wire, f, v, e);
	case PROTOBUF_C_TYPE_MESSAGE:
		mark = wire_open(wire, f->id);
		rc = parse_message(wire, f->descriptor, v, depth + 1, e);
		wire_close(wire, mark);
		return rc;
	default:
		return parse_integer(wire, f, v, e);
	}
}

static int parse_message(struct buf *wire, const ProtobufCMessageDescriptor *d, const struct json *v, int depth,
		struct err *e)
{
	int rc = 0;

	if (v->type != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%s: must be an object", d->name);
	if (depth > MAX_DEPTH)
		return err_set(e, ERR_BAD_REQUEST, "%s: is nested too deep", d->name);
	for (uint32_t i = 0; rc == 0 && i < v->n; i++) {
		const struct json_member *m = &v->members[i];
		const ProtobufCFieldDescriptor *f = field_of(d, m->key);

		/* What is not known is not looked at, as in etcd: clients may be newer. */
		if (f == NULL || m->value->type == JSON_NULL)
			continue;
		if (f->label != PROTOBUF_C_LABEL_REPEATED) {
			rc = parse_value(wire, f, m->value, depth, e);
			continue;
		}
		if (m->value->type != JSON_ARRAY)
			return wrong(f, "must be a list", e);
		for (uint32_t k = 0; rc == 0 && k < m->value->n; k++)
			rc = parse_value(wire, f, m->value->items[k], depth, e);
	}
	return rc;
}

int etcd_json_parse(struct buf *wire, const ProtobufCMessageDescriptor *d, struct str text, struct err *e)
{
	struct json *dom;
	struct arena a;
	int rc;

	if (str_trim(text).n == 0)
		return 0;
	arena_init(&a);
	rc = json_parse(&a, text, NULL, &dom, e);
	if (rc == 0 && dom->type != JSON_NULL)
		rc = parse_message(wire, d, dom, 0, e);
	arena_fini(&a);
	return rc;
}

/* --- A stream of objects ------------------------------------------------------------------------------------------------ */

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

ptrdiff_t etcd_json_next(struct etcd_json_scan *s, struct str bytes)
{
	for (; s->at < bytes.n; s->at++) {
		char c = bytes.p[s->at];

		if (!s->begun) {
			if (is_space(c))
				continue;
			if (c != '{')
				return -1;
			s->begun = true;
			s->depth = 1;
		} else if (s->in_string) {
			if (s->escaped)
				s->escaped = false;
			else if (c == '\\')
				s->escaped = true;
			else if (c == '"')
				s->in_string = false;
		} else if (c == '"') {
			s->in_string = true;
		} else if (c == '{' || c == '[') {
			s->depth++;
		} else if ((c == '}' || c == ']') && --s->depth == 0) {
			ptrdiff_t size = (ptrdiff_t)s->at + 1;

			*s = (struct etcd_json_scan){0};
			return size;
		}
	}
	return 0;
}

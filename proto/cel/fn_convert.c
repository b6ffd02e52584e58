/* Conversions: int(), string(), type() and so on. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"
#include "proto/duration.h"

static struct cel_value same(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return a[0];
}

static struct cel_value range(struct cel__eval *v, const char *what)
{
	return cel_error(v->a, "%s overflow", what);
}

static struct cel_value bad(struct cel__eval *v, struct cel_value s, const char *to)
{
	return cel_error(v->a, "type conversion error from '%s' to '%s'", cel__type_name(cel__value_type(v->a, s)), to);
}

static struct cel_value to_int(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t i;

	(void)n;
	switch (a[0].kind) {
	case CEL_UINT:
		return a[0].u > INT64_MAX ? range(v, "integer") : cel__int((int64_t)a[0].u);
	case CEL_DOUBLE:
		/* The ends are not exact as doubles: upstream leaves them out. */
		if (!(a[0].d > -0x1p63 && a[0].d < 0x1p63))
			return range(v, "integer");
		return cel__int((int64_t)a[0].d);
	case CEL_STRING:
		if (a[0].s.n > 0 && a[0].s.p[0] == '+' && str_to_i64(str_skip(a[0].s, 1), &i) && i >= 0)
			return cel__int(i);
		return str_to_i64(a[0].s, &i) ? cel__int(i) : bad(v, a[0], "int");
	case CEL_TIMESTAMP:
		return cel__int(a[0].seconds);
	default: /* a duration's nanoseconds */
		return cel__int(a[0].i);
	}
}

static struct cel_value to_uint(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	uint64_t u;

	(void)n;
	switch (a[0].kind) {
	case CEL_INT:
		return a[0].i < 0 ? range(v, "unsigned integer") : cel__uint((uint64_t)a[0].i);
	case CEL_DOUBLE:
		if (!(a[0].d >= 0 && a[0].d < 0x1p64))
			return range(v, "unsigned integer");
		return cel__uint((uint64_t)a[0].d);
	default:
		return str_to_u64(a[0].s, &u) ? cel__uint(u) : bad(v, a[0], "uint");
	}
}

/* The texts of Go's ParseFloat, without hexadecimal and underscores. */
static bool parse_double(struct cel__eval *v, struct str s, double *ret)
{
	const char *text = arena_cstr(v->a, s);
	char *end;

	if (s.n == 0 || memchr(s.p, 0, s.n) != NULL || strchr(" \t\n\v\f\r", text[0]) != NULL || strpbrk(text, "xX(") != NULL)
		return false;
	errno = 0;
	*ret = strtod(text, &end);
	return *end == '\0' && !(errno == ERANGE && isinf(*ret));
}

static struct cel_value to_double(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	double d;

	(void)n;
	switch (a[0].kind) {
	case CEL_INT:
		return cel__double((double)a[0].i);
	case CEL_UINT:
		return cel__double((double)a[0].u);
	default:
		return parse_double(v, a[0].s, &d) ? cel__double(d) : bad(v, a[0], "double");
	}
}

static struct cel_value to_bool(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

	(void)n;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
		if (str_eqc(a[0].s, yes[i]))
			return cel_value_bool(true);
		if (str_eqc(a[0].s, no[i]))
			return cel_value_bool(false);
	}
	return bad(v, a[0], "bool");
}

static struct cel_value to_bytes(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__bytes(a[0].s);
}

static bool plain_text(struct arena *a, struct cel_value v, struct str *ret)
{
	switch (v.kind) {
	case CEL_STRING:
		*ret = v.s;
		return true;
	case CEL_BOOL:
		*ret = v.b ? STR("true") : STR("false");
		return true;
	case CEL_INT:
		*ret = arena_sprintf(a, "%lld", (long long)v.i);
		return true;
	case CEL_UINT:
		*ret = arena_sprintf(a, "%llu", (unsigned long long)v.u);
		return true;
	case CEL_DOUBLE:
		*ret = cel__double_text(a, v.d);
		return true;
	case CEL_TIMESTAMP:
		*ret = cel__timestamp_text(a, v);
		return true;
	case CEL_DURATION:
		*ret = cel__duration_text(a, v.i);
		return true;
	default:
		return false;
	}
}

static struct cel_value to_string(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct str s;

	(void)n;
	if (a[0].kind == CEL_BYTES)
		return json_utf8_valid(a[0].s) ? cel_value_str(a[0].s)
					       : cel_error(v->a, "invalid UTF-8 in bytes, cannot convert to string");
	if (a[0].kind == CEL_OPAQUE)
		return cel_value_str(cel__opaque_text(v->a, a[0].opaque));
	return plain_text(v->a, a[0], &s) ? cel_value_str(s) : bad(v, a[0], "string");
}

static struct cel_value to_timestamp(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value t = {.kind = CEL_TIMESTAMP};

	(void)n;
	if (a[0].kind == CEL_STRING)
		return cel__timestamp_parse(a[0].s, &t) ? t : bad(v, a[0], "google.protobuf.Timestamp");
	if (!cel__timestamp_ok(a[0].i))
		return range(v, "timestamp");
	t.seconds = a[0].i;
	return t;
}

static struct cel_value to_duration(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t ns;

	(void)n;
	if (a[0].kind == CEL_INT)
		return cel__duration(a[0].i);
	return duration_parse(a[0].s, &ns) ? cel__duration(ns) : bad(v, a[0], "google.protobuf.Duration");
}

static struct cel_value to_type(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return cel__type_value(cel__value_type(v->a, a[0]));
}

static void print(struct arena *a, struct buf *out, struct cel_value v, unsigned depth)
{
	struct str s;

	if (out->n > 4096 || depth > 8) {
		buf_addc(out, "...");
	} else if (plain_text(a, v, &s) || (v.kind == CEL_BYTES && (s = v.s, true))) {
		buf_adds(out, s);
	} else if (v.kind == CEL_LIST) {
		buf_add1(out, '[');
		for (size_t i = 0; i < v.list->n && out->n <= 4096; i++) {
			buf_addc(out, i > 0 ? ", " : "");
			print(a, out, cel__list_at(a, v.list, i), depth + 1);
		}
		buf_add1(out, ']');
	} else if (v.kind == CEL_MAP && v.map->lazy == NULL) {
		buf_add1(out, '{');
		for (size_t i = 0; i < v.map->n && out->n <= 4096; i++) {
			struct cel_value key, value;

			cel__map_entry(a, v.map, i, &key, &value);
			buf_addc(out, i > 0 ? ", " : "");
			print(a, out, key, depth + 1);
			buf_addc(out, ": ");
			print(a, out, value, depth + 1);
		}
		buf_add1(out, '}');
	} else if (v.kind == CEL_OPAQUE) {
		buf_adds(out, cel__opaque_text(a, v.opaque));
	} else if (v.kind == CEL_ERROR) {
		buf_adds(out, v.s);
	} else if (v.kind == CEL_TYPE) {
		buf_addc(out, cel__type_name(v.type));
	} else if (v.kind == CEL_OPTIONAL && v.optional != NULL) {
		buf_addc(out, "optional(");
		print(a, out, *v.optional, depth + 1);
		buf_add1(out, ')');
	} else {
		buf_addc(out, v.kind == CEL_NULL ? "null" : v.kind == CEL_OPTIONAL ? "optional.none()" : "object");
	}
}

struct str cel_value_text(struct arena *a, struct cel_value v)
{
	struct buf out = BUF_INIT;
	struct str s;

	print(a, &out, v, 0);
	s = arena_str(a, buf_str(&out));
	buf_fini(&out);
	return s;
}

static const struct cel__overload overloads[] = {
	{"type", "type", "A:TA", false, to_type},
	{"dyn", "to_dyn", "A:*", false, same},
	{"bool", "bool_to_bool", "b:b", false, same},
	{"bool", "string_to_bool", "s:b", false, to_bool},
	{"bytes", "bytes_to_bytes", "y:y", false, same},
	{"bytes", "string_to_bytes", "s:y", false, to_bytes},
	{"double", "double_to_double", "d:d", false, same},
	{"double", "int64_to_double", "i:d", false, to_double},
	{"double", "string_to_double", "s:d", false, to_double},
	{"double", "uint64_to_double", "u:d", false, to_double},
	{"duration", "duration_to_duration", "p:p", false, same},
	{"duration", "int64_to_duration", "i:p", false, to_duration},
	{"duration", "string_to_duration", "s:p", false, to_duration},
	{"int", "int64_to_int64", "i:i", false, same},
	{"int", "double_to_int64", "d:i", false, to_int},
	{"int", "duration_to_int64", "p:i", false, to_int},
	{"int", "string_to_int64", "s:i", false, to_int},
	{"int", "timestamp_to_int64", "t:i", false, to_int},
	{"int", "uint64_to_int64", "u:i", false, to_int},
	{"string", "string_to_string", "s:s", false, same},
	{"string", "bool_to_string", "b:s", false, to_string},
	{"string", "bytes_to_string", "y:s", false, to_string},
	{"string", "double_to_string", "d:s", false, to_string},
	{"string", "duration_to_string", "p:s", false, to_string},
	{"string", "int64_to_string", "i:s", false, to_string},
	{"string", "timestamp_to_string", "t:s", false, to_string},
	{"string", "uint64_to_string", "u:s", false, to_string},
	{"timestamp", "timestamp_to_timestamp", "t:t", false, same},
	{"timestamp", "int64_to_timestamp", "i:t", false, to_timestamp},
	{"timestamp", "string_to_timestamp", "s:t", false, to_timestamp},
	{"uint", "uint64_to_uint64", "u:u", false, same},
	{"uint", "double_to_uint64", "d:u", false, to_uint},
	{"uint", "int64_to_uint64", "i:u", false, to_uint},
	{"uint", "string_to_uint64", "s:u", false, to_uint},
};

extern const struct cel__library cel__lib_convert;
const struct cel__library cel__lib_convert = {0, overloads, ARRAY_LEN(overloads)};

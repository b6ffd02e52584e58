/* Libraries that only some expressions of Kubernetes have: math, base64, jsonpatch. */
#include <math.h>
#include <string.h>

#include "proto/cel/cel-priv.h"
#include "proto/codec.h"

/* ---- math: greatest and least ---- */

static struct cel_value extreme(struct cel__eval *v, const struct cel_value *items, size_t n, bool greatest)
{
	struct cel_value best;

	if (n == 0)
		return cel_error(v->a, "math.@%s(list) argument must not be empty", greatest ? "max" : "min");
	best = items[0];
	for (size_t i = 0; i < n; i++) {
		enum cel_kind k = items[i].kind;
		int c;

		if (k != CEL_INT && k != CEL_UINT && k != CEL_DOUBLE)
			return CEL__NO_OVERLOAD(v->a);
		c = cel__compare(items[i], best);
		if (c < 2 && (greatest ? c > 0 : c < 0))
			best = items[i];
	}
	return best;
}

static struct cel_value extreme_of(struct cel__eval *v, const struct cel_value *a, unsigned n, bool greatest)
{
	struct cel_value *items;
	size_t len;

	if (n > 1 || a[0].kind != CEL_LIST)
		return extreme(v, a, n, greatest);
	len = a[0].list->n;
	items = arena_alloc(v->a, MAX(len, (size_t)1) * sizeof(*items));
	for (size_t i = 0; i < len; i++)
		items[i] = cel__list_at(v->a, a[0].list, i);
	return extreme(v, items, len, greatest);
}

static struct cel_value greatest(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	return extreme_of(v, a, n, true);
}

static struct cel_value least(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	return extreme_of(v, a, n, false);
}

static struct cel_value absolute(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	if (a[0].kind == CEL_DOUBLE)
		return cel__double(fabs(a[0].d));
	if (a[0].kind == CEL_UINT)
		return a[0];
	if (a[0].i == INT64_MIN)
		return cel_error(v->a, "integer overflow");
	return cel__int(a[0].i < 0 ? -a[0].i : a[0].i);
}

static struct cel_value math_ceil(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(ceil(a[0].d));
}

static struct cel_value math_floor(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(floor(a[0].d));
}

static struct cel_value math_round(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(round(a[0].d));
}

static struct cel_value math_trunc(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__double(trunc(a[0].d));
}

static struct cel_value is_nan(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(isnan(a[0].d));
}

static struct cel_value is_inf(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(isinf(a[0].d));
}

static struct cel_value is_finite(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(isfinite(a[0].d));
}

static struct cel_value math_sign(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	if (a[0].kind == CEL_DOUBLE)
		return isnan(a[0].d) ? a[0] : cel__double(a[0].d < 0 ? -1 : a[0].d > 0);
	if (a[0].kind == CEL_UINT)
		return cel__uint(a[0].u > 0);
	return cel__int(a[0].i < 0 ? -1 : a[0].i > 0);
}

#define EXTREME(function, fn)                                                                                                   \
	{function, function "_dyn", "*:*", false, fn}, {function, function "_dyn_dyn", "**:*", false, fn},                       \
		{function, function "_dyn_dyn_dyn", "***:*", false, fn}, {function, function "_4", "****:*", false, fn},        \
		{function, function "_5", "*****:*", false, fn}, {function, function "_6", "******:*", false, fn}

static const struct cel__overload math[] = {
	EXTREME("math.greatest", greatest),
	EXTREME("math.least", least),
	{"math.abs", "math_abs_double", "d:d", false, absolute},
	{"math.abs", "math_abs_int", "i:i", false, absolute},
	{"math.abs", "math_abs_uint", "u:u", false, absolute},
	{"math.ceil", "math_ceil_double", "d:d", false, math_ceil},
	{"math.floor", "math_floor_double", "d:d", false, math_floor},
	{"math.round", "math_round_double", "d:d", false, math_round},
	{"math.trunc", "math_trunc_double", "d:d", false, math_trunc},
	{"math.isNaN", "math_isNaN_double", "d:b", false, is_nan},
	{"math.isInf", "math_isInf_double", "d:b", false, is_inf},
	{"math.isFinite", "math_isFinite_double", "d:b", false, is_finite},
	{"math.sign", "math_sign_double", "d:d", false, math_sign},
	{"math.sign", "math_sign_int", "i:i", false, math_sign},
	{"math.sign", "math_sign_uint", "u:u", false, math_sign},
};

extern const struct cel__library cel__lib_math;
const struct cel__library cel__lib_math = {CEL_LIB_MATH, math, ARRAY_LEN(math)};

/* ---- base64 ---- */

static struct cel_value encode(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);

	(void)n;
	codec_base64(&b, a[0].s);
	return cel__buf_string(v, &b);
}

static struct cel_value decode(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);
	struct str s = a[0].s;
	struct cel_value r;

	(void)n;
	/* Padding may be left out. */
	if (s.n % 4 != 0 && str_find(s, '=') < 0)
		s = arena_sprintf(v->a, "%.*s%s", STR_FMT(s), s.n % 4 == 3 ? "=" : "==");
	if (codec_base64_parse(s, &b) >= 0) {
		buf_fini(&b);
		return cel_error(v->a, "illegal base64 data");
	}
	r = cel__buf_string(v, &b);
	if (!cel__is_error(r))
		r.kind = CEL_BYTES;
	return r;
}

static const struct cel__overload encoders[] = {
	{"base64.encode", "base64_encode_bytes", "y:s", false, encode},
	{"base64.decode", "base64_decode_string", "s:y", false, decode},
};

extern const struct cel__library cel__lib_encoders;
const struct cel__library cel__lib_encoders = {CEL_LIB_ENCODERS, encoders, ARRAY_LEN(encoders)};

/* ---- JSON pointers ---- */

static struct cel_value escape_key(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);

	(void)n;
	for (size_t i = 0; i < a[0].s.n; i++)
		if (a[0].s.p[i] == '~')
			buf_addc(&b, "~0");
		else if (a[0].s.p[i] == '/')
			buf_addc(&b, "~1");
		else
			buf_add1(&b, a[0].s.p[i]);
	return cel__buf_string(v, &b);
}

static const struct cel__overload jsonpatch[] = {
	{"jsonpatch.escapeKey", "string_jsonpatch_escapeKey_string", "s:s", false, escape_key},
};

extern const struct cel__library cel__lib_jsonpatch;
const struct cel__library cel__lib_jsonpatch = {CEL_LIB_JSONPATCH, jsonpatch, ARRAY_LEN(jsonpatch)};

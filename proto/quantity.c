#include "proto/quantity.h"

#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "proto/json.h"

#define NANO ((__int128)1000000000)
/* 2^63-1 whole units: larger amounts become this. */
#define MAX_NANO ((__int128)INT64_MAX * NANO)
/* Longer text is no amount. */
#define TEXT_MAX 4096u
/* Sums stop here, so that they can never overflow. */
#define SUM_MAX (MAX_NANO * 1000000000)

static const struct suffix {
	char text[3];
	enum quantity_format format;
	int exp; /* of ten, or of 1024 */
} suffixes[] = {
	{"", QUANTITY_DECIMAL_SI, 0},
	{"n", QUANTITY_DECIMAL_SI, -9},
	{"u", QUANTITY_DECIMAL_SI, -6},
	{"m", QUANTITY_DECIMAL_SI, -3},
	{"k", QUANTITY_DECIMAL_SI, 3},
	{"M", QUANTITY_DECIMAL_SI, 6},
	{"G", QUANTITY_DECIMAL_SI, 9},
	{"T", QUANTITY_DECIMAL_SI, 12},
	{"P", QUANTITY_DECIMAL_SI, 15},
	{"E", QUANTITY_DECIMAL_SI, 18},
	{"Ki", QUANTITY_BINARY_SI, 1},
	{"Mi", QUANTITY_BINARY_SI, 2},
	{"Gi", QUANTITY_BINARY_SI, 3},
	{"Ti", QUANTITY_BINARY_SI, 4},
	{"Pi", QUANTITY_BINARY_SI, 5},
	{"Ei", QUANTITY_BINARY_SI, 6},
};

static const char *suffix_text(enum quantity_format format, int exp)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (suffixes[i].exp == exp && (exp == 0 || suffixes[i].format == format))
			return suffixes[i].text;
	return NULL;
}

/* ---- parsing ---- */

/* "e3", "E-2": the exponent, capped where nothing but its sign matters. */
static bool exponent(struct str s, int *ret)
{
	int64_t v;

	if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
		return false;
	s = str_skip(s, 1);
	if (s.p[0] == '+')
		s = str_skip(s, 1);
	if (!str_to_i64(s, &v) || v > INT32_MAX || v < INT32_MIN)
		return false;
	*ret = (int)MAX(MIN(v, 1000), -1000);
	return true;
}

static bool parse_suffix(struct str s, enum quantity_format *ret_format, int *ret_exp)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (str_eqc(s, suffixes[i].text)) {
			*ret_format = suffixes[i].format;
			*ret_exp = suffixes[i].exp;
			return true;
		}
	}
	*ret_format = QUANTITY_DECIMAL_EXP;
	return exponent(s, ret_exp);
}

static int digit_at(struct str whole, struct str frac, size_t i)
{
	if (i < whole.n)
		return whole.p[i] - '0';
	i -= whole.n;
	return i < frac.n ? frac.p[i] - '0' : 0;
}

/* whole.frac * 10^exp in nanos: the digits before a moved point, plus one when any behind it is not
 * zero. */
static __int128 scale_decimal(struct str whole, struct str frac, int exp)
{
	int64_t point = (int64_t)whole.n + exp + 9;
	size_t n = whole.n + frac.n;
	__int128 v = 0;

	for (int64_t i = 0; i < point; i++) {
		if (v == 0 && i >= (int64_t)n)
			break;
		v = v * 10 + digit_at(whole, frac, (size_t)i);
		if (v > MAX_NANO)
			return MAX_NANO;
	}
	for (size_t i = point > 0 ? (size_t)point : 0; i < n; i++)
		if (digit_at(whole, frac, i) != 0)
			return v + 1;
	return v;
}

/* whole.frac * 1024^exp in nanos, rounded up. */
static __int128 scale_binary(struct str whole, struct str frac, int exp)
{
	__int128 unit = NANO << (10 * exp), v = 0, part = 0;
	bool rest = false;

	for (size_t i = 0; i < whole.n; i++) {
		v = v * 10 + (whole.p[i] - '0');
		if (v > MAX_NANO / unit)
			return MAX_NANO;
	}
	for (size_t i = frac.n; i-- > 0;) {
		part += (frac.p[i] - '0') * unit;
		rest |= part % 10 != 0;
		part /= 10;
	}
	v = v * unit + part + rest;
	return MIN(v, MAX_NANO);
}

static size_t span(struct str s, const char *set)
{
	size_t n = 0;

	while (n < s.n && s.p[n] != '\0' && strchr(set, s.p[n]))
		n++;
	return n;
}

/* Sign, digits, point and digits off the front of *s; false when there are no digits. */
static bool parse_number(struct str *s, bool *ret_neg, struct str *ret_whole, struct str *ret_frac)
{
	*ret_neg = s->n > 0 && s->p[0] == '-';
	*ret_frac = STR("");
	if (s->n > 0 && (s->p[0] == '-' || s->p[0] == '+'))
		*s = str_skip(*s, 1);
	*ret_whole = str_sub(*s, 0, span(*s, "0123456789"));
	*s = str_skip(*s, ret_whole->n);
	if (s->n > 0 && s->p[0] == '.') {
		*s = str_skip(*s, 1);
		*ret_frac = str_sub(*s, 0, span(*s, "0123456789"));
		*s = str_skip(*s, ret_frac->n);
	}
	return ret_whole->n + ret_frac->n > 0;
}

static bool suffix_well_formed(struct str s)
{
	s = str_skip(s, span(s, "eEinumkKMGTP"));
	if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+'))
		s = str_skip(s, 1);
	return span(s, "0123456789") == s.n;
}

int quantity_parse(struct str text, struct quantity *ret, struct err *e)
{
	struct str s = text, whole, frac;
	enum quantity_format format;
	int exp;
	bool neg;
	__int128 v;

	if (text.n > TEXT_MAX || !parse_number(&s, &neg, &whole, &frac) || !suffix_well_formed(s))
		return err_set(e, ERR_BAD_REQUEST,
			"quantities must match the regular expression "
			"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	if (!parse_suffix(s, &format, &exp))
		return err_set(e, ERR_BAD_REQUEST, "unable to parse quantity's suffix");
	v = format == QUANTITY_BINARY_SI ? scale_binary(whole, frac, exp)
					 : scale_decimal(whole, frac, exp);
	*ret = (struct quantity){neg ? -v : v, format};
	return 0;
}

struct quantity quantity_of(const char *text)
{
	struct quantity q;

	if (text == NULL || quantity_parse(str_from(text), &q, NULL) < 0)
		return QUANTITY_ZERO;
	return q;
}

struct quantity quantity_of_json(const struct json *j)
{
	struct quantity q;

	return quantity_parse(json_is(j, JSON_NUMBER) ? j->s : json_str(j), &q, NULL) < 0 ? QUANTITY_ZERO : q;
}

struct quantity quantity_from_i64(int64_t value, enum quantity_format format)
{
	return (struct quantity){value * NANO, format};
}

struct quantity quantity_from_milli(int64_t milli)
{
	return (struct quantity){milli * (NANO / 1000), QUANTITY_DECIMAL_SI};
}

/* ---- printing ---- */

static size_t print_number(char *out, bool neg, unsigned __int128 v, const char *suffix)
{
	char digits[QUANTITY_SIZE];
	size_t n = sizeof(digits);

	digits[--n] = '\0';
	do {
		digits[--n] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v > 0 && n > 8);
	return (size_t)snprintf(
		out, QUANTITY_SIZE, "%s%.40s%.6s", neg ? "-" : "", digits + n, suffix);
}

size_t quantity_print(struct quantity q, char out[QUANTITY_SIZE])
{
	bool neg = q.nano < 0;
	unsigned __int128 v = (unsigned __int128)(neg ? -q.nano : q.nano);
	enum quantity_format format = q.format;
	char suffix[8];
	int exp = 0;

	if (v == 0)
		return print_number(out, false, 0, "");
	/* Small or broken amounts would lose digits in Ki. */
	if (format == QUANTITY_BINARY_SI && (v < 1024 * NANO || v % NANO != 0))
		format = QUANTITY_DECIMAL_SI;
	if (format == QUANTITY_BINARY_SI) {
		for (v /= NANO; v % 1024 == 0 && exp < 6; exp++)
			v /= 1024;
		return print_number(out, neg, v, suffix_text(format, exp));
	}
	for (exp = -9; v % 1000 == 0 && (exp < 18 || format == QUANTITY_DECIMAL_EXP); exp += 3)
		v /= 1000;
	if (format == QUANTITY_DECIMAL_SI)
		return print_number(out, neg, v, suffix_text(format, exp));
	suffix[0] = '\0';
	if (exp != 0)
		snprintf(suffix, sizeof(suffix), "e%d", exp);
	return print_number(out, neg, v, suffix);
}

/* ---- arithmetic ---- */

int quantity_cmp(struct quantity a, struct quantity b)
{
	return a.nano < b.nano ? -1 : a.nano > b.nano;
}

struct quantity quantity_max(struct quantity a, struct quantity b)
{
	return quantity_cmp(a, b) >= 0 ? a : b;
}

static __int128 saturate(__int128 v)
{
	return v > SUM_MAX ? SUM_MAX : v < -SUM_MAX ? -SUM_MAX : v;
}

struct quantity quantity_add(struct quantity a, struct quantity b)
{
	return (struct quantity){saturate(a.nano + b.nano), a.nano == 0 ? b.format : a.format};
}

struct quantity quantity_sub(struct quantity a, struct quantity b)
{
	return (struct quantity){saturate(a.nano - b.nano), a.nano == 0 ? b.format : a.format};
}

static int64_t round_up(__int128 nano, __int128 unit)
{
	__int128 v = nano / unit;

	if (nano % unit != 0)
		v += nano > 0 ? 1 : -1;
	return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

int64_t quantity_value(struct quantity q)
{
	return round_up(q.nano, NANO);
}

int64_t quantity_milli(struct quantity q)
{
	return round_up(q.nano, NANO / 1000);
}

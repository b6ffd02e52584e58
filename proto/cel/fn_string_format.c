/* "...".format([...]): the clauses %s %d %f %e %b %x %X %o %%, as the strings extension's second version prints them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

#define MAX_PRECISION 1000

struct format {
	struct cel__eval *v;
	struct buf out;
	const char *error;
};

static void print(struct format *, struct cel_value, bool quoted, unsigned depth);

static const char *name_of(struct format *f, struct cel_value x)
{
	return cel__type_name(cel__value_type(f->v->a, x));
}

/* As a literal with Go's escapes. */
static void print_quoted(struct format *f, struct str s)
{
	json_print_string(&f->out, s, JSON_RAW_HTML);
}

static int by_text(const void *a, const void *b)
{
	return str_cmp(((const struct str *)a)[0], ((const struct str *)b)[0]);
}

static struct str text_of(struct format *f, struct cel_value x, unsigned depth)
{
	struct format inner = {.v = f->v, .out = cel__buf(f->v)};
	struct str s;

	print(&inner, x, true, depth);
	s = arena_str(f->v->a, buf_str(&inner.out));
	buf_fini(&inner.out);
	if (inner.error != NULL)
		f->error = inner.error;
	return s;
}

/* Entries by the text of their keys. */
static void print_map(struct format *f, const struct cel_map *m, unsigned depth)
{
	struct str(*texts)[2] = arena_alloc(f->v->a, MAX(m->n, (size_t)1) * sizeof(*texts));
	size_t n = 0;

	for (; n < m->n && f->error == NULL && cel__step(f->v); n++) {
		struct cel_value key, value;

		cel__map_entry(f->v->a, m, n, &key, &value);
		texts[n][0] = text_of(f, key, depth);
		texts[n][1] = text_of(f, value, depth);
	}
	qsort(texts, n, sizeof(*texts), by_text);
	buf_add1(&f->out, '{');
	for (size_t i = 0; i < n; i++) {
		buf_addc(&f->out, i > 0 ? ", " : "");
		buf_adds(&f->out, texts[i][0]);
		buf_add1(&f->out, ':');
		buf_adds(&f->out, texts[i][1]);
	}
	buf_add1(&f->out, '}');
}

static void print_list(struct format *f, const struct cel_list *l, unsigned depth)
{
	buf_add1(&f->out, '[');
	for (size_t i = 0; i < l->n && f->error == NULL && buf_ok(&f->out) && cel__step(f->v); i++) {
		buf_addc(&f->out, i > 0 ? ", " : "");
		print(f, cel__list_at(f->v->a, l, i), true, depth);
	}
	buf_add1(&f->out, ']');
}

/* quoted: within a list or map, where texts stand as literals and numbers with six digits. */
static void print(struct format *f, struct cel_value x, bool quoted, unsigned depth)
{
	struct str s;

	if (depth > 200) {
		f->error = "values are nested too deeply";
		return;
	}
	switch (x.kind) {
	case CEL_LIST:
		print_list(f, x.list, depth + 1);
		return;
	case CEL_MAP:
		if (x.map->lazy == NULL) {
			print_map(f, x.map, depth + 1);
			return;
		}
		break;
	case CEL_STRING:
		if (quoted)
			print_quoted(f, x.s);
		else
			buf_adds(&f->out, x.s);
		return;
	case CEL_BYTES:
		if (quoted) {
			buf_add1(&f->out, 'b');
			print_quoted(f, x.s);
		} else {
			buf_adds(&f->out, x.s);
		}
		return;
	case CEL_DOUBLE:
		if (!quoted || isnan(x.d) || isinf(x.d))
			break;
		buf_printf(&f->out, "%.6f", x.d);
		return;
	case CEL_TIMESTAMP:
	case CEL_DURATION:
		s = cel_value_text(f->v->a, x);
		if (quoted)
			buf_printf(&f->out, "%s(\"%.*s\")", x.kind == CEL_DURATION ? "duration" : "timestamp", STR_FMT(s));
		else
			buf_adds(&f->out, s);
		return;
	case CEL_NULL:
	case CEL_BOOL:
	case CEL_INT:
	case CEL_UINT:
	case CEL_TYPE:
		break;
	default:
		f->error = arena_printf(f->v->a,
			"error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, "
			"types, durations, and timestamps, was given %s",
			name_of(f, x));
		return;
	}
	buf_adds(&f->out, cel_value_text(f->v->a, x));
}

static void wrong(struct format *f, const char *clause, const char *types, struct cel_value x)
{
	f->error = arena_printf(f->v->a, "error during formatting: %s clause can only be used on %s, was given %s", clause, types,
		name_of(f, x));
}

static void print_decimal(struct format *f, struct cel_value x)
{
	if (x.kind == CEL_INT || x.kind == CEL_UINT)
		buf_adds(&f->out, cel_value_text(f->v->a, x));
	else
		wrong(f, "decimal", "integers", x);
}

/* The number of a double clause; texts may say what numbers cannot be written. */
static bool double_of(struct format *f, struct cel_value x, const char *clause, double *ret)
{
	if (x.kind == CEL_DOUBLE)
		*ret = x.d;
	else if (x.kind == CEL_STRING && str_eqc(x.s, "NaN"))
		*ret = (double)NAN;
	else if (x.kind == CEL_STRING && (str_eqc(x.s, "Infinity") || str_eqc(x.s, "-Infinity")))
		*ret = x.s.p[0] == '-' ? -(double)INFINITY : (double)INFINITY;
	else
		wrong(f, clause, "doubles", x);
	return f->error == NULL;
}

/* What a number that is none is written as in English: true when it was. */
static bool print_special(struct format *f, double d)
{
	if (!isnan(d) && !isinf(d))
		return false;
	buf_addc(&f->out, isnan(d) ? "NaN" : d > 0 ? "\u221e" : "-\u221e");
	return true;
}

/* In English: with commas between thousands. */
static void print_fixed(struct format *f, struct cel_value x, int precision)
{
	char text[MAX_PRECISION + 400];
	double d = 0;
	size_t n, whole;

	if (!double_of(f, x, "fixed-point", &d) || print_special(f, d))
		return;
	n = (size_t)snprintf(text, sizeof(text), "%.*f", precision, d);
	whole = strcspn(text, ".");
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && i < whole && (whole - i) % 3 == 0 && text[i - 1] != '-')
			buf_add1(&f->out, ',');
		buf_add1(&f->out, text[i]);
	}
}

/* In English: a mantissa of six digits, a sign for "times", and ten with an exponent above. */
static void print_scientific(struct format *f, struct cel_value x)
{
	static const char *const digits[] = {"\u2070", "\u00b9", "\u00b2", "\u00b3", "\u2074", "\u2075", "\u2076", "\u2077", "\u2078", "\u2079"};
	char text[64], *e;
	double d = 0;

	if (!double_of(f, x, "scientific", &d) || print_special(f, d))
		return;
	snprintf(text, sizeof(text), "%.6e", d);
	e = strchr(text, 'e');
	*e = '\0';
	buf_addc(&f->out, text);
	buf_addc(&f->out, "\u202f\u00d7\u202f10");
	if (e[1] == '-')
		buf_addc(&f->out, "\u207b");
	for (e += 2; *e != '\0'; e++)
		buf_addc(&f->out, digits[*e - '0']);
}

static void print_base(struct format *f, uint64_t n, unsigned bits, bool upper)
{
	char text[65], *p = text + 64;

	*p = '\0';
	do {
		*--p = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[n & ((1u << bits) - 1)];
		n >>= bits;
	} while (n > 0);
	buf_addc(&f->out, p);
}

static bool print_integer(struct format *f, struct cel_value x, unsigned bits, bool upper)
{
	if (x.kind == CEL_INT && x.i < 0) {
		buf_add1(&f->out, '-');
		print_base(f, -(uint64_t)x.i, bits, upper);
	} else if (x.kind == CEL_INT || x.kind == CEL_UINT) {
		print_base(f, x.u, bits, upper);
	} else {
		return false;
	}
	return true;
}

static void print_hex(struct format *f, struct cel_value x, bool upper)
{
	if (print_integer(f, x, 4, upper))
		return;
	if (x.kind != CEL_STRING && x.kind != CEL_BYTES) {
		wrong(f, "hex", "integers, byte buffers, and strings", x);
		return;
	}
	for (size_t i = 0; i < x.s.n; i++)
		buf_printf(&f->out, upper ? "%02X" : "%02x", (unsigned char)x.s.p[i]);
}

static void clause(struct format *f, char c, int precision, struct cel_value x)
{
	switch (c) {
	case 's':
		print(f, x, false, 0);
		break;
	case 'd':
		print_decimal(f, x);
		break;
	case 'f':
		print_fixed(f, x, precision < 0 ? 6 : precision);
		break;
	case 'e':
		print_scientific(f, x);
		break;
	case 'b':
		if (x.kind == CEL_BOOL)
			buf_add1(&f->out, x.b ? '1' : '0');
		else if (!print_integer(f, x, 1, false))
			wrong(f, "binary", "integers and bools", x);
		break;
	case 'o':
		if (!print_integer(f, x, 3, false))
			wrong(f, "octal", "integers", x);
		break;
	case 'x':
	case 'X':
		print_hex(f, x, c == 'X');
		break;
	default:
		f->error = arena_printf(f->v->a, "could not parse formatting clause: unrecognized formatting clause \"%c\"", c);
	}
}

/* Digits of ".6" at s[*at]; -1: there are none. */
static int precision_at(struct format *f, struct str s, size_t *at)
{
	int p = 0;

	if (*at >= s.n || s.p[*at] != '.')
		return -1;
	for (++*at; *at < s.n && s.p[*at] >= '0' && s.p[*at] <= '9'; ++*at)
		if ((p = p * 10 + s.p[*at] - '0') > MAX_PRECISION) {
			f->error = "error while parsing precision: precision is too large";
			return 0;
		}
	return p;
}

static struct cel_value format(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct format f = {.v = v, .out = cel__buf(v)};
	struct str s = a[0].s;
	size_t used = 0;

	(void)n;
	for (size_t i = 0; i < s.n && f.error == NULL && !v->stopped; i++) {
		int precision;

		if (s.p[i] != '%') {
			buf_add1(&f.out, s.p[i]);
			continue;
		}
		if (++i < s.n && s.p[i] == '%') {
			buf_add1(&f.out, '%');
			continue;
		}
		precision = precision_at(&f, s, &i);
		if (f.error != NULL)
			break;
		if (i >= s.n)
			f.error = "unexpected end of string";
		else if (used >= a[1].list->n)
			f.error = arena_printf(v->a, "index %zu out of range", used);
		else
			clause(&f, s.p[i], precision, cel__list_at(v->a, a[1].list, used++));
	}
	if (f.error != NULL) {
		buf_fini(&f.out);
		return cel__text_error(v->a, f.error);
	}
	return cel__buf_string(v, &f.out);
}

static const struct cel__overload overloads[] = {
	{"format", "string_format", "sL*:s", true, format},
};

extern const struct cel__library cel__lib_string_format;
const struct cel__library cel__lib_string_format = {CEL_LIB_STRINGS, overloads, ARRAY_LEN(overloads)};

/* The strings extension as Kubernetes pins it (version 2: no reverse()). Positions count characters. */
#include <string.h>

#include "proto/cel/cel-priv.h"

/* ---- characters ---- */

static size_t char_size(char c)
{
	unsigned char u = (unsigned char)c;

	return u < 0x80 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

/* Bytes before character i; SIZE_MAX: there are fewer than i. */
static size_t offset_of(struct str s, uint64_t i)
{
	size_t at = 0;

	for (; i > 0; i--) {
		if (at >= s.n)
			return SIZE_MAX;
		at += char_size(s.p[at]);
	}
	return MIN(at, s.n);
}

static struct cel_value out_of_range(struct cel__eval *v, int64_t i)
{
	return cel_error(v->a, "index out of range: %lld", (long long)i);
}

static struct cel_value char_at(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	size_t at = a[1].i < 0 ? SIZE_MAX : offset_of(a[0].s, (uint64_t)a[1].i);

	(void)n;
	if (at == SIZE_MAX)
		return out_of_range(v, a[1].i);
	if (at == a[0].s.n)
		return cel_value_str(STR(""));
	return cel_value_str(str_sub(a[0].s, at, at + char_size(a[0].s.p[at])));
}

/* ---- searching ---- */

static struct cel_value position(struct str s, ptrdiff_t at)
{
	return cel__int(at < 0 ? -1 : (int64_t)cel__characters(str_sub(s, 0, (size_t)at)));
}

/* Naive search is quadratic: it is paid for as steps. */
static bool pay_search(struct cel__eval *v, const struct cel_value *a)
{
	return cel__steps(v, a[0].s.n / 32 * (a[1].s.n / 32 + 1));
}

static struct cel_value index_of(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t from = n > 2 ? a[2].i : 0;
	size_t at;
	ptrdiff_t found;

	if (!pay_search(v, a))
		return out_of_range(v, from);
	if (a[1].s.n == 0)
		return cel__int(from);
	if (from < 0)
		return out_of_range(v, from);
	at = offset_of(a[0].s, (uint64_t)from);
	if (at == SIZE_MAX || at >= a[0].s.n)
		return cel__int(-1);
	found = str_search(str_skip(a[0].s, at), a[1].s);
	return position(a[0].s, found < 0 ? -1 : found + (ptrdiff_t)at);
}

static struct cel_value last_index_of(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	size_t most = a[0].s.n, at;

	if (!pay_search(v, a))
		return out_of_range(v, 0);
	if (n > 2) {
		if (a[1].s.n == 0)
			return cel__int(a[2].i);
		most = a[2].i < 0 ? SIZE_MAX : offset_of(a[0].s, (uint64_t)a[2].i);
		if (most == SIZE_MAX || most >= a[0].s.n)
			return out_of_range(v, a[2].i);
	} else if (a[1].s.n == 0) {
		return cel__int((int64_t)cel__characters(a[0].s));
	}
	if (a[0].s.n < a[1].s.n)
		return cel__int(-1);
	for (at = MIN(most, a[0].s.n - a[1].s.n) + 1; at-- > 0;)
		if (memcmp(a[0].s.p + at, a[1].s.p, a[1].s.n) == 0)
			return position(a[0].s, (ptrdiff_t)at);
	return cel__int(-1);
}

static struct cel_value substring(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	size_t from = a[1].i < 0 ? SIZE_MAX : offset_of(a[0].s, (uint64_t)a[1].i), to = a[0].s.n;

	if (n > 2 && a[1].i > a[2].i)
		return cel_error(v->a, "invalid substring range. start: %lld, end: %lld", (long long)a[1].i, (long long)a[2].i);
	if (from == SIZE_MAX)
		return out_of_range(v, a[1].i);
	if (n > 2 && (to = offset_of(a[0].s, (uint64_t)a[2].i)) == SIZE_MAX)
		return out_of_range(v, a[2].i);
	return cel_value_str(str_sub(a[0].s, from, to));
}

/* ---- rewriting ---- */

static struct cel_value replace(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);
	struct str s = a[0].s;
	int64_t left = n > 3 ? a[3].i : -1;

	if (!pay_search(v, a))
		left = 0;
	while (left != 0 && buf_ok(&b)) {
		ptrdiff_t at = str_search(s, a[1].s);
		size_t next;

		if (at < 0)
			break;
		/* Nothing is found before each character, and behind the last. */
		next = a[1].s.n > 0 ? a[1].s.n : s.n > 0 ? char_size(s.p[0]) : 0;
		buf_adds(&b, str_sub(s, 0, (size_t)at));
		buf_adds(&b, a[2].s);
		if (a[1].s.n == 0)
			buf_adds(&b, str_sub(s, 0, next));
		if (left > 0)
			left--;
		if (a[1].s.n == 0 && s.n == 0)
			break;
		s = str_skip(s, (size_t)at + next);
	}
	buf_adds(&b, s);
	return cel__buf_string(v, &b);
}

struct parts {
	struct cel_value *p;
	size_t n, cap;
};

static bool add_part(struct cel__eval *v, struct parts *parts, struct str s)
{
	if (parts->n == parts->cap) {
		size_t cap = MAX(parts->cap * 2, (size_t)8);

		if (!cel__memory_ok(v))
			return false;
		parts->p = arena_grow(v->a, parts->p, parts->cap * sizeof(*parts->p), cap * sizeof(*parts->p));
		parts->cap = cap;
	}
	parts->p[parts->n++] = cel_value_str(s);
	return true;
}

static struct cel_value split(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct parts parts = {0};
	struct str s = a[0].s, sep = a[1].s;
	int64_t most = n > 2 ? a[2].i : -1;
	ptrdiff_t at;

	if (most == 0 || !pay_search(v, a))
		return cel__list_new(v->a, NULL, 0);
	if (sep.n == 0) {
		while (s.n > 0 && (most < 0 || (int64_t)parts.n + 1 < most)) {
			size_t next = MIN(char_size(s.p[0]), s.n);

			if (!add_part(v, &parts, str_sub(s, 0, next)))
				break;
			s = str_skip(s, next);
		}
		if (s.n > 0)
			add_part(v, &parts, s);
		return cel__list_new(v->a, parts.p, parts.n);
	}
	while ((most < 0 || (int64_t)parts.n + 1 < most) && (at = str_search(s, sep)) >= 0) {
		if (!add_part(v, &parts, str_sub(s, 0, (size_t)at)))
			break;
		s = str_skip(s, (size_t)at + sep.n);
	}
	add_part(v, &parts, s);
	return cel__list_new(v->a, parts.p, parts.n);
}

static struct cel_value join(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct buf b = cel__buf(v);

	for (size_t i = 0; i < a[0].list->n && buf_ok(&b) && cel__step(v); i++) {
		struct cel_value item = cel__list_at(v->a, a[0].list, i);

		if (item.kind != CEL_STRING) {
			buf_fini(&b);
			return cel__is_error(item) ? item : CEL__NO_OVERLOAD(v->a);
		}
		if (i > 0 && n > 1)
			buf_adds(&b, a[1].s);
		buf_adds(&b, item.s);
	}
	return cel__buf_string(v, &b);
}

static struct cel_value change_case(struct cel__eval *v, struct str s, char first, char last)
{
	char *p = arena_memdup(v->a, s.p, s.n);

	for (size_t i = 0; i < s.n; i++)
		if (p[i] >= first && p[i] <= last)
			p[i] ^= 0x20;
	return cel_value_str(str_of(p, s.n));
}

static struct cel_value lower(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return change_case(v, a[0].s, 'A', 'Z');
}

static struct cel_value upper(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)n;
	return change_case(v, a[0].s, 'a', 'z');
}

/* Bytes of a character of Unicode's White_Space at p; 0: it is none. */
static size_t space_size(struct str s)
{
	static const char *const wide[] = {"\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",
		"\u2007", "\u2008", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};

	if (s.n == 0)
		return 0;
	if (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r'))
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(wide); i++)
		if (str_has_prefix(s, str_from(wide[i])))
			return strlen(wide[i]);
	return 0;
}

static struct cel_value trim(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct str s = a[0].s;
	size_t k, size;

	(void)v;
	(void)n;
	while ((size = space_size(s)) > 0)
		s = str_skip(s, size);
	for (;;) {
		for (k = 1; k <= 3 && k <= s.n && space_size(str_skip(s, s.n - k)) != k; k++)
			;
		if (k > 3 || k > s.n)
			return cel_value_str(s);
		s.n -= k;
	}
}

static struct cel_value quote(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
	struct buf b = cel__buf(v);

	(void)n;
	buf_add1(&b, '"');
	for (size_t i = 0; i < a[0].s.n; i++) {
		const char *e = escapes;

		while (*e != '\0' && *e != a[0].s.p[i])
			e += 2;
		if (*e != '\0') {
			buf_add1(&b, '\\');
			buf_add1(&b, e[1]);
		} else {
			buf_add1(&b, a[0].s.p[i]);
		}
	}
	buf_add1(&b, '"');
	return cel__buf_string(v, &b);
}

static const struct cel__overload overloads[] = {
	{"charAt", "string_char_at_int", "si:s", true, char_at},
	{"indexOf", "string_index_of_string", "ss:i", true, index_of},
	{"indexOf", "string_index_of_string_int", "ssi:i", true, index_of},
	{"lastIndexOf", "string_last_index_of_string", "ss:i", true, last_index_of},
	{"lastIndexOf", "string_last_index_of_string_int", "ssi:i", true, last_index_of},
	{"lowerAscii", "string_lower_ascii", "s:s", true, lower},
	{"upperAscii", "string_upper_ascii", "s:s", true, upper},
	{"replace", "string_replace_string_string", "sss:s", true, replace},
	{"replace", "string_replace_string_string_int", "sssi:s", true, replace},
	{"split", "string_split_string", "ss:Ls", true, split},
	{"split", "string_split_string_int", "ssi:Ls", true, split},
	{"substring", "string_substring_int", "si:s", true, substring},
	{"substring", "string_substring_int_int", "sii:s", true, substring},
	{"trim", "string_trim", "s:s", true, trim},
	{"join", "list_join", "Ls:s", true, join},
	{"join", "list_join_string", "Lss:s", true, join},
	{"strings.quote", "strings_quote", "s:s", false, quote},
};

extern const struct cel__library cel__lib_strings;
const struct cel__library cel__lib_strings = {CEL_LIB_STRINGS, overloads, ARRAY_LEN(overloads)};

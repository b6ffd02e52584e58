/* find and findAll. */
#include "proto/cel/cel-priv.h"

static struct cel_value find(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value error;
	const struct cel__regex *r = cel__pattern(v, a[1].s, &error);
	size_t from, to;
	int found;

	(void)n;
	if (r == NULL)
		return error;
	found = cel__regex_find(v, r, a[0].s, 0, &from, &to, &error);
	if (found < 0)
		return error;
	return cel_value_str(found > 0 ? str_sub(a[0].s, from, to) : STR(""));
}

/* Past the character at `at`: an empty match must not be found again. */
static size_t next(struct str s, size_t at)
{
	for (at++; at < s.n && ((unsigned char)s.p[at] & 0xc0) == 0x80; at++)
		;
	return at;
}

static struct cel_value find_all(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value list = cel__list_new(v->a, NULL, 0), error;
	const struct cel__regex *r = cel__pattern(v, a[1].s, &error);
	int64_t left = n > 2 ? a[2].i : -1;
	size_t at = 0, from, to, last = SIZE_MAX;

	if (r == NULL)
		return error;
	while (left != 0 && at <= a[0].s.n) {
		int found = cel__regex_find(v, r, a[0].s, at, &from, &to, &error);

		if (found < 0)
			return error;
		if (found == 0)
			break;
		/* As in Go, an empty match right behind the one before does not count. */
		if (to > from || from != last) {
			list = cel__list_append(v->a, list.list, cel_value_str(str_sub(a[0].s, from, to)));
			left -= left > 0;
		}
		last = to;
		at = to > from ? to : next(a[0].s, to);
	}
	return list;
}

static const struct cel__overload overloads[] = {
	{"find", "string_find_string", "ss:s", true, find},
	{"findAll", "string_find_all_string", "ss:Ls", true, find_all},
	{"findAll", "string_find_all_string_int", "ssi:Ls", true, find_all},
};

extern const struct cel__library cel__lib_regex;
const struct cel__library cel__lib_regex = {CEL_LIB_REGEX, overloads, ARRAY_LEN(overloads)};

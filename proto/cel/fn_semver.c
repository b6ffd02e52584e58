/* Semantic versions (semver.org), as blang/semver reads them. */
#include <string.h>

#include "proto/cel/opaque-priv.h"

#define OF(x) ((const struct cel__semver *)(x).opaque)

static bool digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n > 0;
}

static bool identifier(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= 'A' && s.p[i] <= 'Z') ||
			    s.p[i] == '-'))
			return false;
	return s.n > 0;
}

/* Identifiers with dots between; numbers among them must not begin with a zero when `strict`. */
static const char *identifiers(struct str s, bool strict)
{
	struct str part;
	bool more = true;

	while (more) {
		more = str_cut(s, '.', &part, &s);
		if (!identifier(part))
			return strict ? "Prerelease is empty or has invalid characters" : "Build meta data is empty or has invalid characters";
		if (strict && digits(part) && part.n > 1 && part.p[0] == '0')
			return "Numeric PreRelease version must not contain leading zeroes";
	}
	return NULL;
}

static const char *parse(struct str s, struct cel__semver *ret)
{
	struct str rest = s, part;
	bool has_build, has_pre;
	const char *why;

	*ret = (struct cel__semver){.o = {OPAQUE_SEMVER}};
	if (s.n == 0)
		return "Version string empty";
	has_build = str_cut(rest, '+', &rest, &ret->build);
	has_pre = str_cut(rest, '-', &rest, &ret->pre);
	for (unsigned i = 0; i < 3; i++) {
		bool more = str_cut(rest, '.', &part, &rest);

		if (more != (i < 2))
			return "No Major.Minor.Patch elements found";
		if (!digits(part))
			return "Invalid character(s) found in a version number";
		if (part.n > 1 && part.p[0] == '0')
			return "version number must not contain leading zeroes";
		if (!str_to_u64(part, &ret->part[i]))
			return "version number is out of range";
	}
	if (has_pre && (why = identifiers(ret->pre, true)) != NULL)
		return why;
	return has_build ? identifiers(ret->build, false) : NULL;
}

/* "v1.02" becomes "1.2.0"; what follows the third number stays. */
static const char *normalize(struct arena *a, struct str s, struct str *ret)
{
	struct str part[3] = {STR("0"), STR("0"), STR("0")};
	unsigned n = 0;

	if (s.n > 0 && s.p[0] == 'v')
		s = str_skip(s, 1);
	for (bool more = true; more && n < 3; n++) {
		if (n < 2)
			more = str_cut(s, '.', &part[n], &s);
		else
			part[n] = s;
		while (part[n].n > 1 && part[n].p[0] == '0' && part[n].p[1] >= '0' && part[n].p[1] <= '9')
			part[n] = str_skip(part[n], 1);
	}
	if (n < 3 && (str_find(part[n - 1], '+') >= 0 || str_find(part[n - 1], '-') >= 0))
		return "short version cannot contain PreRelease/Build meta data";
	*ret = arena_sprintf(a, "%.*s.%.*s.%.*s", STR_FMT(part[0]), STR_FMT(part[1]), STR_FMT(part[2]));
	return NULL;
}

static const char *read_version(struct cel__eval *v, const struct cel_value *a, unsigned n, struct cel__semver *ret)
{
	struct str s = a[0].s;
	const char *why = n > 1 && a[1].b ? normalize(v->a, s, &s) : NULL;

	return why != NULL ? why : parse(s, ret);
}

static int compare_part(struct str x, struct str y)
{
	bool number = digits(x), other = digits(y);

	if (number != other)
		return number ? -1 : 1;
	if (number && x.n != y.n)
		return x.n < y.n ? -1 : 1;
	return str_cmp(x, y);
}

/* Without a pre-release is newer; build data does not count. */
static int compare_pre(struct str x, struct str y)
{
	bool more_x = x.n > 0, more_y = y.n > 0;

	if (!more_x || !more_y)
		return more_x ? -1 : more_y;
	while (more_x && more_y) {
		struct str part_x, part_y;
		int c;

		more_x = str_cut(x, '.', &part_x, &x);
		more_y = str_cut(y, '.', &part_y, &y);
		c = compare_part(part_x, part_y);
		if (c != 0)
			return c < 0 ? -1 : 1;
	}
	return (int)more_x - (int)more_y;
}

int cel__semver_cmp(const struct cel__semver *x, const struct cel__semver *y)
{
	for (unsigned i = 0; i < 3; i++)
		if (x->part[i] != y->part[i])
			return x->part[i] < y->part[i] ? -1 : 1;
	return compare_pre(x->pre, y->pre);
}

struct str cel__semver_text(struct arena *a, const struct cel__semver *s)
{
	return arena_sprintf(a, "%llu.%llu.%llu%s%.*s%s%.*s", (unsigned long long)s->part[0], (unsigned long long)s->part[1],
		(unsigned long long)s->part[2], s->pre.n > 0 ? "-" : "", STR_FMT(s->pre), s->build.n > 0 ? "+" : "", STR_FMT(s->build));
}

static struct cel_value semver(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__semver *s = arena_new_of(v->a, struct cel__semver);
	const char *why = read_version(v, a, n, s);

	return why != NULL ? cel__text_error(v->a, why) : cel__opaque(&s->o);
}

static struct cel_value is_semver(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel__semver s;

	return cel_value_bool(read_version(v, a, n, &s) == NULL);
}

static struct cel_value compare_to(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(cel__semver_cmp(OF(a[0]), OF(a[1])));
}

static struct cel_value is_less(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(cel__semver_cmp(OF(a[0]), OF(a[1])) < 0);
}

static struct cel_value is_greater(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(cel__semver_cmp(OF(a[0]), OF(a[1])) > 0);
}

static struct cel_value major(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int((int64_t)OF(a[0])->part[0]);
}

static struct cel_value minor(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int((int64_t)OF(a[0])->part[1]);
}

static struct cel_value patch(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int((int64_t)OF(a[0])->part[2]);
}

static const struct cel__overload overloads[] = {
	{"semver", "string_to_semver", "s:V", false, semver},
	{"semver", "string_bool_to_semver", "sb:V", false, semver},
	{"isSemver", "is_semver_string", "s:b", false, is_semver},
	{"isSemver", "is_semver_string_bool", "sb:b", false, is_semver},
	{"isGreaterThan", "semver_is_greater_than", "VV:b", true, is_greater},
	{"isLessThan", "semver_is_less_than", "VV:b", true, is_less},
	{"compareTo", "semver_compare_to", "VV:i", true, compare_to},
	{"major", "semver_major", "V:i", true, major},
	{"minor", "semver_minor", "V:i", true, minor},
	{"patch", "semver_patch", "V:i", true, patch},
};

extern const struct cel__library cel__lib_semver;
const struct cel__library cel__lib_semver = {CEL_LIB_SEMVER, overloads, ARRAY_LEN(overloads)};

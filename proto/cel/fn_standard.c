/* The functions that are always there: size, texts, times. */
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"

static struct cel_value size(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	uint64_t s = 0;

	(void)v;
	(void)n;
	cel__size(a[0], &s);
	return cel__int((int64_t)s);
}

/* ---- texts ---- */

static struct cel_value contains(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(str_search(a[0].s, a[1].s) >= 0);
}

static struct cel_value starts_with(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(str_has_prefix(a[0].s, a[1].s));
}

static struct cel_value ends_with(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel_value_bool(str_has_suffix(a[0].s, a[1].s));
}

static struct cel_value matches(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	struct cel_value error;
	const struct cel__regex *r = cel__pattern(v, a[1].s, &error);
	size_t from, to;
	int found;

	(void)n;
	if (r == NULL)
		return error;
	found = cel__regex_find(v, r, a[0].s, 0, &from, &to, &error);
	return found < 0 ? error : cel_value_bool(found > 0);
}

/* ---- times ---- */

static struct cel_value get_full_year(const struct cel__civil *c)
{
	return cel__int(c->year);
}

static struct cel_value get_month(const struct cel__civil *c)
{
	return cel__int(c->month - 1);
}

static struct cel_value get_day_of_year(const struct cel__civil *c)
{
	return cel__int(c->yearday);
}

static struct cel_value get_day_of_month(const struct cel__civil *c)
{
	return cel__int(c->day - 1);
}

static struct cel_value get_date(const struct cel__civil *c)
{
	return cel__int(c->day);
}

static struct cel_value get_day_of_week(const struct cel__civil *c)
{
	return cel__int(c->weekday);
}

static struct cel_value get_hours(const struct cel__civil *c)
{
	return cel__int(c->hour);
}

static struct cel_value get_minutes(const struct cel__civil *c)
{
	return cel__int(c->minute);
}

static struct cel_value get_seconds(const struct cel__civil *c)
{
	return cel__int(c->second);
}

/* "+hh:mm", "-hh:mm", "hh:mm". */
static bool parse_offset(struct str zone, int64_t *ret)
{
	struct str hours, minutes;
	int64_t h, m;
	bool minus;

	if (!str_cut(zone, ':', &hours, &minutes) || hours.n == 0)
		return false;
	minus = hours.p[0] == '-';
	if (hours.p[0] == '+' || hours.p[0] == '-')
		hours = str_skip(hours, 1);
	if (hours.n == 0 || hours.n > 2 || minutes.n != 2 || !str_to_i64(hours, &h) || !str_to_i64(minutes, &m) || h < 0 || m < 0 ||
		h > 23 || m > 59)
		return false;
	*ret = (h * 60 + m) * (minus ? -60 : 60);
	return true;
}

static struct str (*_Atomic default_zone)(struct str name);

void cel_zones_by_default(struct str (*zone)(struct str name))
{
	default_zone = zone;
}

static struct str zone_data(const struct cel_run *run, struct str name)
{
	struct str (*by_default)(struct str) = default_zone;

	if (run->zone != NULL)
		return run->zone(run->zone_arg, name);
	return by_default != NULL ? by_default(name) : STR_NULL;
}

/* Seconds east of UTC at that moment in a zone. */
static bool zone_offset(struct cel__eval *v, struct cel_value t, struct str zone, int64_t *ret)
{
	struct str data;

	*ret = 0;
	if (zone.n == 0 || str_eqc(zone, "UTC") || parse_offset(zone, ret))
		return true;
	if (memchr(zone.p, 0, zone.n) != NULL)
		return false;
	data = zone_data(v->run, zone);
	return data.n > 0 && cel__zone_offset(data, t.seconds, ret);
}

static struct cel_value part(struct cel__eval *v, const struct cel_value *a, unsigned n,
			     struct cel_value (*get)(const struct cel__civil *))
{
	struct cel__civil c;
	int64_t offset = 0;

	if (n > 1 && !zone_offset(v, a[0], a[1].s, &offset))
		return cel_error(v->a, "unknown time zone %.*s", STR_FMT(a[1].s));
	cel__civil(a[0].seconds + offset, &c);
	return get(&c);
}

#define PART(name)                                                                                                              \
	static struct cel_value time_##name(struct cel__eval *v, const struct cel_value *a, unsigned n)                         \
	{                                                                                                                       \
		return part(v, a, n, get_##name);                                                                               \
	}
PART(full_year)
PART(month)
PART(day_of_year)
PART(day_of_month)
PART(date)
PART(day_of_week)
PART(hours)
PART(minutes)
PART(seconds)

static struct cel_value time_milliseconds(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	int64_t offset;

	if (n > 1 && !zone_offset(v, a[0], a[1].s, &offset))
		return cel_error(v->a, "unknown time zone %.*s", STR_FMT(a[1].s));
	return cel__int(a[0].nanos / 1000000);
}

static struct cel_value duration_hours(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(a[0].i / 3600000000000);
}

static struct cel_value duration_minutes(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(a[0].i / 60000000000);
}

static struct cel_value duration_seconds(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(a[0].i / 1000000000);
}

static struct cel_value duration_milliseconds(struct cel__eval *v, const struct cel_value *a, unsigned n)
{
	(void)v;
	(void)n;
	return cel__int(a[0].i / 1000000);
}

#define TIME(function, word, fn)                                                                                               \
	{function, "timestamp_to_" word, "t:i", true, fn}, {function, "timestamp_to_" word "_with_tz", "ts:i", true, fn}

static const struct cel__overload overloads[] = {
	{"size", "size_bytes", "y:i", false, size},
	{"size", "bytes_size", "y:i", true, size},
	{"size", "size_list", "LA:i", false, size},
	{"size", "list_size", "LA:i", true, size},
	{"size", "size_map", "MAB:i", false, size},
	{"size", "map_size", "MAB:i", true, size},
	{"size", "size_string", "s:i", false, size},
	{"size", "string_size", "s:i", true, size},
	{"contains", "contains_string", "ss:b", true, contains},
	{"startsWith", "starts_with_string", "ss:b", true, starts_with},
	{"endsWith", "ends_with_string", "ss:b", true, ends_with},
	{"matches", "matches", "ss:b", false, matches},
	{"matches", "matches_string", "ss:b", true, matches},
	TIME("getFullYear", "year", time_full_year),
	TIME("getMonth", "month", time_month),
	TIME("getDayOfYear", "day_of_year", time_day_of_year),
	TIME("getDayOfMonth", "day_of_month", time_day_of_month),
	TIME("getDate", "day_of_month_1_based", time_date),
	TIME("getDayOfWeek", "day_of_week", time_day_of_week),
	TIME("getHours", "hours", time_hours),
	TIME("getMinutes", "minutes", time_minutes),
	TIME("getSeconds", "seconds", time_seconds),
	TIME("getMilliseconds", "milliseconds", time_milliseconds),
	{"getHours", "duration_to_hours", "p:i", true, duration_hours},
	{"getMinutes", "duration_to_minutes", "p:i", true, duration_minutes},
	{"getSeconds", "duration_to_seconds", "p:i", true, duration_seconds},
	{"getMilliseconds", "duration_to_milliseconds", "p:i", true, duration_milliseconds},
};

extern const struct cel__library cel__lib_standard;
const struct cel__library cel__lib_standard = {0, overloads, ARRAY_LEN(overloads)};

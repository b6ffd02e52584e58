#include "proto/tz.h"

#include <string.h>

#include "base/util.h"

#define HEADER 44
#define RULE_YEARS_END 2200
#define CHANGES_MAX 10000
#define DAY_S 86400
/* No clock of a real place is further from UTC (RFC 9636, 3.2). */
#define OFFSET_MIN (-89999)
#define OFFSET_MAX 93599

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_BAD_REQUEST, "no usable time zone file: %s", what);
}

static int64_t number(const char *p, size_t n)
{
	uint64_t v = (unsigned char)*p & 0x80 ? ~(uint64_t)0 : 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | (unsigned char)p[i];
	return (int64_t)v;
}

/* --- The footer: a rule as POSIX's TZ has it ------------------------------------------------------------- */

struct day_rule {
	char kind; /* 'M': month, week, weekday; 'J': day 1 to 365 without leap days; '0': day from 0 */
	int64_t month, week, day, time_s;
};

static bool digits(struct str *s, int64_t max, int64_t *ret)
{
	size_t n = 0;

	*ret = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9' && *ret <= max)
		*ret = *ret * 10 + (s->p[n++] - '0');
	*s = str_skip(*s, n);
	return n > 0 && *ret <= max;
}

static bool take(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

static bool name(struct str *s)
{
	size_t n = 0;
	bool quoted = take(s, '<');

	while (n < s->n && (quoted ? s->p[n] != '>' : (s->p[n] | 32) >= 'a' && (s->p[n] | 32) <= 'z'))
		n++;
	*s = str_skip(*s, n);
	return n > 0 && (!quoted || take(s, '>'));
}

/* [+-]h[:m[:s]] in seconds. */
static bool clock_time(struct str *s, int64_t *ret)
{
	bool minus = take(s, '-');
	int64_t h, m = 0, sec = 0;

	if (!minus)
		take(s, '+');
	if (!digits(s, 167, &h) || (take(s, ':') && (!digits(s, 59, &m) || (take(s, ':') && !digits(s, 59, &sec)))))
		return false;
	*ret = (h * 3600 + m * 60 + sec) * (minus ? -1 : 1);
	return true;
}

static bool day_rule(struct str *s, struct day_rule *d)
{
	*d = (struct day_rule){.kind = '0', .time_s = 7200};
	if (!take(s, ','))
		return false;
	if (take(s, 'M')) {
		d->kind = 'M';
		if (!digits(s, 12, &d->month) || d->month == 0 || !take(s, '.') || !digits(s, 5, &d->week) || d->week == 0 || !take(s, '.') ||
				!digits(s, 6, &d->day))
			return false;
	} else {
		if (take(s, 'J'))
			d->kind = 'J';
		if (!digits(s, 365, &d->day))
			return false;
	}
	return !take(s, '/') || clock_time(s, &d->time_s);
}

static bool is_leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Days from 1970 to the first of January, for years from 1970 on. */
static int64_t year_start(int64_t y)
{
	int64_t n = y - 1;

	return (y - 1970) * 365 + (n / 4 - 1969 / 4) - (n / 100 - 1969 / 100) + (n / 400 - 1969 / 400);
}

/* Seconds of the year's local clock, as if it were UTC. */
static int64_t rule_time(const struct day_rule *d, int64_t year)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t day = year_start(year), weekday;

	if (d->kind == '0')
		return (day + d->day) * DAY_S + d->time_s;
	if (d->kind == 'J')
		return (day + d->day - 1 + (is_leap(year) && d->day >= 60)) * DAY_S + d->time_s;
	for (int m = 1; m < d->month; m++)
		day += lengths[m - 1] + (m == 2 && is_leap(year));
	weekday = (day + 4) % 7;
	weekday = (d->day - weekday + 7) % 7 + (d->week - 1) * 7;
	if (weekday >= lengths[d->month - 1] + (d->month == 2 && is_leap(year)))
		weekday -= 7;
	return (day + weekday) * DAY_S + d->time_s;
}

static void add(struct tz *z, int64_t at, int64_t offset)
{
	if (z->n == 0 || z->changes[z->n - 1].at < at)
		z->changes[z->n++] = (struct tz_change){at, (int32_t)offset};
}

/* Room for two changes a year is there. */
static bool footer(struct tz *z, struct str s)
{
	struct day_rule start, end;
	int64_t west, dst_west, after = z->n > 0 ? z->changes[z->n - 1].at : INT64_MIN;

	if (s.n == 0)
		return true;
	if (!name(&s) || !clock_time(&s, &west))
		return false;
	if (s.n == 0) {
		if (z->n == 0)
			z->first = (int32_t)-west;
		return true;
	}
	if (!name(&s))
		return false;
	dst_west = west - 3600;
	if (s.n > 0 && s.p[0] != ',' && !clock_time(&s, &dst_west))
		return false;
	if (!day_rule(&s, &start) || !day_rule(&s, &end) || s.n != 0)
		return false;
	for (int64_t y = 1970; y < RULE_YEARS_END; y++) {
		int64_t on = rule_time(&start, y) + west, off = rule_time(&end, y) + dst_west;

		if (MIN(on, off) > after)
			add(z, MIN(on, off), on < off ? -dst_west : -west);
		if (MAX(on, off) > after)
			add(z, MAX(on, off), on < off ? -west : -dst_west);
	}
	return true;
}

/* --- The file -------------------------------------------------------------------------------------------- */

struct counts {
	size_t isut, isstd, leap, times, types, chars;
};

static bool header(struct str s, struct counts *c)
{
	size_t *const to[] = {&c->isut, &c->isstd, &c->leap, &c->times, &c->types, &c->chars};

	if (s.n < HEADER || memcmp(s.p, "TZif", 4) != 0 || s.p[4] < '2')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(to); i++) {
		int64_t v = number(s.p + 20 + 4 * i, 4);

		if (v < 0 || v > CHANGES_MAX)
			return false;
		*to[i] = (size_t)v;
	}
	return c->types > 0;
}

static size_t body(const struct counts *c, size_t width)
{
	return c->times * (width + 1) + c->types * 6 + c->chars + c->leap * (width + 4) + c->isstd + c->isut;
}

static bool offsets_ok(const struct tz *z)
{
	bool ok = z->first >= OFFSET_MIN && z->first <= OFFSET_MAX;

	for (size_t i = 0; ok && i < z->n; i++)
		ok = z->changes[i].offset >= OFFSET_MIN && z->changes[i].offset <= OFFSET_MAX;
	return ok;
}

int tz_parse(struct tz *z, struct arena *a, struct str s, struct err *e)
{
	struct counts c;
	const char *times, *which, *types;
	struct str rule;

	*z = (struct tz){0};
	/* The first part is for readers of 32 bits: what counts stands behind it. */
	if (!header(s, &c) || s.n < HEADER + body(&c, 4))
		return bad(e, "it does not begin as one of version 2 does");
	s = str_skip(s, HEADER + body(&c, 4));
	if (!header(s, &c) || s.n < HEADER + body(&c, 8) + 2)
		return bad(e, "its second part is cut off");
	times = s.p + HEADER;
	which = times + c.times * 8;
	types = which + c.times;
	z->changes = arena_new_array(a, struct tz_change, c.times + 2 * (RULE_YEARS_END - 1970) + 1);
	z->first = (int32_t)number(types, 4);
	for (size_t i = 0; i < c.times; i++) {
		size_t type = (unsigned char)which[i];

		if (type >= c.types)
			return bad(e, "a change names a kind of time that it does not have");
		add(z, number(times + 8 * i, 8), number(types + 6 * type, 4));
	}
	rule = str_skip(s, HEADER + body(&c, 8));
	if (rule.p[0] != '\n' || rule.p[rule.n - 1] != '\n')
		return bad(e, "its last line is cut off");
	if (!footer(z, str_sub(rule, 1, rule.n - 1)))
		return bad(e, "the rule in its last line cannot be read");
	return offsets_ok(z) ? 0 : bad(e, "its clocks are more than a day ahead of UTC, or behind it");
}

/* How many changes are not after that time. */
static size_t position(const struct tz *z, int64_t at)
{
	size_t low = 0, high = z->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (z->changes[mid].at <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int32_t tz_offset(const struct tz *z, int64_t at)
{
	size_t i = position(z, at);

	return i > 0 ? z->changes[i - 1].offset : z->first;
}

int64_t tz_next_change(const struct tz *z, int64_t after)
{
	size_t i = position(z, after);

	return i < z->n ? z->changes[i].at : INT64_MAX;
}

/* The time zone database's files (RFC 9636): what is the offset from UTC at a moment? */
#include <string.h>

#include "proto/cel/cel-priv.h"

#define HEADER 44
#define MAX_COUNT 100000u

struct tzif {
	unsigned version;
	uint32_t isutcnt, isstdcnt, leapcnt, timecnt, typecnt, charcnt;
};

static uint32_t be32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static int64_t be64(const char *p)
{
	return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static bool read_header(struct str s, struct tzif *h)
{
	if (s.n < HEADER || memcmp(s.p, "TZif", 4) != 0)
		return false;
	h->version = s.p[4] == '\0' ? 1 : (unsigned)(s.p[4] - '0');
	h->isutcnt = be32(s.p + 20);
	h->isstdcnt = be32(s.p + 24);
	h->leapcnt = be32(s.p + 28);
	h->timecnt = be32(s.p + 32);
	h->typecnt = be32(s.p + 36);
	h->charcnt = be32(s.p + 40);
	return h->isutcnt < MAX_COUNT && h->isstdcnt < MAX_COUNT && h->leapcnt < MAX_COUNT && h->timecnt < MAX_COUNT &&
	       h->typecnt > 0 && h->typecnt < 256 && h->charcnt < MAX_COUNT;
}

static size_t body_size(const struct tzif *h, size_t time_size)
{
	return h->timecnt * (time_size + 1) + h->typecnt * 6 + h->charcnt + h->leapcnt * (time_size + 4) + h->isstdcnt + h->isutcnt;
}

/* ---- the footer: POSIX TZ, for moments behind the last transition ---- */

struct reader {
	const char *p, *end;
};

static bool read_name(struct reader *r)
{
	if (r->p < r->end && *r->p == '<') {
		while (r->p < r->end && *r->p != '>')
			r->p++;
		return r->p++ < r->end;
	}
	for (const char *from = r->p;; r->p++)
		if (r->p >= r->end || !((*r->p >= 'a' && *r->p <= 'z') || (*r->p >= 'A' && *r->p <= 'Z')))
			return r->p > from;
}

static bool read_number(struct reader *r, int64_t *ret)
{
	const char *from = r->p;

	for (*ret = 0; r->p < r->end && *r->p >= '0' && *r->p <= '9' && r->p - from < 6; r->p++)
		*ret = *ret * 10 + *r->p - '0';
	return r->p > from;
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(struct reader *r, int64_t *ret)
{
	int64_t sign = 1, part, unit = 3600;

	if (r->p < r->end && (*r->p == '-' || *r->p == '+'))
		sign = *r->p++ == '-' ? -1 : 1;
	*ret = 0;
	for (;;) {
		if (!read_number(r, &part))
			return false;
		*ret += sign * part * unit;
		if (unit == 1 || r->p >= r->end || *r->p != ':')
			return true;
		r->p++;
		unit /= 60;
	}
}

struct rule {
	char kind; /* M: month, week, day; J and 0: day of the year, without and with leap days */
	int64_t month, week, day, time;
};

static bool take(struct reader *r, char c)
{
	if (r->p >= r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

static bool read_rule(struct reader *r, struct rule *ret)
{
	*ret = (struct rule){.kind = '0', .time = 7200};
	if (take(r, 'M')) {
		ret->kind = 'M';
		if (!read_number(r, &ret->month) || !take(r, '.') || !read_number(r, &ret->week) || !take(r, '.') ||
			!read_number(r, &ret->day) || ret->month < 1 || ret->month > 12 || ret->week < 1 || ret->week > 5 || ret->day > 6)
			return false;
	} else {
		if (take(r, 'J'))
			ret->kind = 'J';
		if (!read_number(r, &ret->day) || ret->day > 365)
			return false;
	}
	return !take(r, '/') || read_time(r, &ret->time);
}

static bool is_leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t year_start(int64_t y)
{
	/* Days from 1970-01-01 to the first of January. */
	int64_t past = y - 1;

	return 365 * (y - 1970) + (past / 4 - 1969 / 4) - (past / 100 - 1969 / 100) + (past / 400 - 1969 / 400);
}

/* Seconds from the start of the year, local time. */
static int64_t rule_time(const struct rule *r, int64_t year)
{
	static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t day = r->day, first = 0, length, weekday;

	if (r->kind == 'J')
		return ((day > 59 && is_leap(year) ? day : day - 1) * 86400) + r->time;
	if (r->kind == '0')
		return day * 86400 + r->time;
	for (int64_t m = 0; m < r->month - 1; m++)
		first += days[m] + (m == 1 && is_leap(year));
	length = days[r->month - 1] + (r->month == 2 && is_leap(year));
	weekday = (year_start(year) + first + 4) % 7;
	if (weekday < 0)
		weekday += 7;
	day = (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
	if (day >= length)
		day -= 7;
	return (first + day) * 86400 + r->time;
}

static bool posix_offset(struct str tz, int64_t at, int64_t *ret)
{
	struct reader r = {tz.p, tz.p + tz.n};
	struct cel__civil c;
	struct rule begins, ends;
	int64_t standard, summer, from, to, in_year;

	if (!read_name(&r) || !read_time(&r, &standard))
		return false;
	standard = -standard;
	*ret = standard;
	if (r.p >= r.end)
		return true;
	summer = standard + 3600;
	if (!read_name(&r))
		return false;
	if (r.p < r.end && *r.p != ',') {
		if (!read_time(&r, &summer))
			return false;
		summer = -summer;
	}
	if (!take(&r, ',') || !read_rule(&r, &begins) || !take(&r, ',') || !read_rule(&r, &ends))
		return false;
	cel__civil(at + standard, &c);
	in_year = at - year_start(c.year) * 86400;
	from = rule_time(&begins, c.year) - standard;
	to = rule_time(&ends, c.year) - summer;
	if (from < to ? in_year >= from && in_year < to : in_year < to || in_year >= from)
		*ret = summer;
	return true;
}

/* ---- the body ---- */

bool cel__zone_offset(struct str s, int64_t at, int64_t *ret)
{
	struct tzif h;
	size_t size = 4;
	const char *times, *indexes, *types;
	uint32_t lo = 0, hi, type = 0;

	if (!read_header(s, &h))
		return false;
	if (h.version >= 2) {
		/* The same again with 64 bits. */
		size = 8;
		s = str_skip(s, HEADER + body_size(&h, 4));
		if (!read_header(s, &h))
			return false;
	}
	s = str_skip(s, HEADER);
	if (s.n < body_size(&h, size))
		return false;
	times = s.p;
	indexes = times + h.timecnt * size;
	types = indexes + h.timecnt;
	for (hi = h.timecnt; lo < hi;) {
		uint32_t mid = (lo + hi) / 2;
		int64_t t = size == 8 ? be64(times + mid * 8) : (int64_t)(int32_t)be32(times + mid * 4);

		if (at < t)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == h.timecnt && size == 8) {
		struct str footer = str_skip(s, body_size(&h, size)), tz, rest;

		if (footer.n > 2 && footer.p[0] == '\n' && str_cut(str_skip(footer, 1), '\n', &tz, &rest) && tz.n > 0)
			return posix_offset(tz, at, ret);
	}
	if (lo > 0)
		type = (unsigned char)indexes[lo - 1];
	if (type >= h.typecnt)
		return false;
	*ret = (int32_t)be32(types + type * 6);
	return true;
}

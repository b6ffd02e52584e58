#include "proto/go_time.h"

#include <stdint.h>

#include "base/buf.h"
#include "base/util.h"

enum part { LITERAL, YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, FRACTION, ZONE };

static const struct element {
	enum part part;
	const char *text; /* as the layout has it */
	bool micro_only;
} layout[] = {
	{YEAR, "2006", false}, {LITERAL, "-", false}, {MONTH, "01", false}, {LITERAL, "-", false}, {DAY, "02", false},
	{LITERAL, "T", false}, {HOUR, "15", false}, {LITERAL, ":", false}, {MINUTE, "04", false}, {LITERAL, ":", false},
	{SECOND, "05", false}, {FRACTION, ".000000", true}, {ZONE, "Z07:00", false},
};

/* What has been read. */
struct reading {
	struct str rest;
	const char *out_of_range;
	unsigned year, month, day;
};

static bool digit_at(struct str s, size_t i)
{
	return i < s.n && s.p[i] >= '0' && s.p[i] <= '9';
}

static bool digits(struct str s, size_t n, unsigned *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		if (!digit_at(s, i))
			return false;
		*ret = *ret * 10 + (unsigned)(s.p[i] - '0');
	}
	return true;
}

/* Two digits of at most `max`, or one where the layout lets it. */
static bool number(struct reading *r, bool one_will_do, unsigned min, unsigned max, const char *what, unsigned *ret)
{
	size_t n = one_will_do && digit_at(r->rest, 0) && !digit_at(r->rest, 1) ? 1 : 2;

	if (!digits(r->rest, n, ret))
		return false;
	r->rest = str_skip(r->rest, n);
	if (*ret < min || *ret > max)
		r->out_of_range = what;
	return true;
}

/* A fraction may follow the seconds though the layout has none. */
static bool second(struct reading *r, bool fraction_follows)
{
	unsigned v;

	if (!number(r, false, 0, 59, "second", &v))
		return false;
	if (fraction_follows || r->rest.n < 2 || (r->rest.p[0] != '.' && r->rest.p[0] != ',') || !digit_at(r->rest, 1))
		return true;
	do
		r->rest = str_skip(r->rest, 1);
	while (digit_at(r->rest, 0));
	return true;
}

static bool zone(struct reading *r)
{
	unsigned hour, minute;

	if (r->rest.n > 0 && r->rest.p[0] == 'Z') {
		r->rest = str_skip(r->rest, 1);
		return true;
	}
	if (r->rest.n < 6 || r->rest.p[3] != ':' || (r->rest.p[0] != '+' && r->rest.p[0] != '-') ||
			!digits(str_skip(r->rest, 1), 2, &hour) || !digits(str_skip(r->rest, 4), 2, &minute))
		return false;
	if (hour > 24)
		r->out_of_range = "time zone offset hour";
	if (minute > 60)
		r->out_of_range = "time zone offset minute";
	r->rest = str_skip(r->rest, 6);
	return true;
}

static bool element(struct reading *r, const struct element *e, bool micro)
{
	unsigned v;

	switch (e->part) {
	case LITERAL:
		if (r->rest.n == 0 || r->rest.p[0] != e->text[0])
			return false;
		r->rest = str_skip(r->rest, 1);
		return true;
	case YEAR:
		if (!digits(r->rest, 4, &r->year))
			return false;
		r->rest = str_skip(r->rest, 4);
		return true;
	case MONTH:
		return number(r, false, 1, 12, "month", &r->month);
	case DAY:
		return number(r, false, 0, UINT32_MAX, "day", &r->day);
	case HOUR:
		return number(r, true, 0, 23, "hour", &v);
	case MINUTE:
		return number(r, false, 0, 59, "minute", &v);
	case SECOND:
		return second(r, micro);
	case FRACTION:
		if (r->rest.n < 7 || (r->rest.p[0] != '.' && r->rest.p[0] != ',') || !digits(str_skip(r->rest, 1), 6, &v))
			return false;
		r->rest = str_skip(r->rest, 7);
		return true;
	case ZONE:
		return zone(r);
	}
	UNREACHABLE();
}

static bool day_fits(const struct reading *r)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = r->year % 4 == 0 && (r->year % 100 != 0 || r->year % 400 == 0);

	return r->day >= 1 && r->day <= days[r->month - 1] + (r->month == 2 && leap ? 1u : 0u);
}

static struct str quoted(struct arena *a, struct str s)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	buf_add1(&b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			buf_printf(&b, "\\%c", c);
		else if (c < ' ' || c >= 0x80)
			buf_printf(&b, "\\x%02x", c);
		else
			buf_add1(&b, (char)c);
	}
	buf_add1(&b, '"');
	return arena_str(a, buf_str(&b));
}

const char *go_time_problem(struct arena *a, struct str text, bool micro)
{
	struct reading r = {.rest = text};
	struct str value = quoted(a, text);

	for (size_t i = 0; i < ARRAY_LEN(layout); i++) {
		struct str hold = r.rest;

		if (layout[i].micro_only && !micro)
			continue;
		if (!element(&r, &layout[i], micro))
			return arena_printf(a, "parsing time %.*s as \"2006-01-02T15:04:05%sZ07:00\": cannot parse %.*s as \"%s\"",
					STR_FMT(value), micro ? ".000000" : "", STR_FMT(quoted(a, hold)), layout[i].text);
		if (r.out_of_range)
			return arena_printf(a, "parsing time %.*s: %s out of range", STR_FMT(value), r.out_of_range);
	}
	if (r.rest.n > 0)
		return arena_printf(a, "parsing time %.*s: extra text: %.*s", STR_FMT(value), STR_FMT(quoted(a, r.rest)));
	if (!day_fits(&r))
		return arena_printf(a, "parsing time %.*s: day out of range", STR_FMT(value));
	return arena_printf(a, "time %.*s is out of range", STR_FMT(value));
}

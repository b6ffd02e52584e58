#include "proto/cron.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/util.h"
#include "proto/duration.h"
#include "proto/tz.h"

struct bounds {
	uint64_t min, max;
	const char *const *names; /* of min, min + 1 ...; NULL: numbers alone */
};

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct bounds fields[] = {
	{0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, month_names}, {0, 6, day_names}};

static const struct {
	const char *word, *text;
} words[] = {
	{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

static int number(struct str s, const struct bounds *b, uint64_t *ret, struct err *e)
{
	int64_t n;

	for (size_t i = 0; b->names && b->names[i]; i++) {
		if (str_ieq(s, str_from(b->names[i]))) {
			*ret = b->min + i;
			return 0;
		}
	}
	if (!str_to_i64(s, &n))
		return err_set(e, ERR_BAD_REQUEST,
			"failed to parse int from %.*s: strconv.Atoi: parsing \"%.*s\": invalid syntax", STR_FMT(s),
			STR_FMT(s));
	if (n < 0)
		return err_set(e, ERR_BAD_REQUEST, "negative number (%lld) not allowed: %.*s", (long long)n, STR_FMT(s));
	*ret = (uint64_t)n;
	return 0;
}

/* "*", "a" or "a-b", each with an optional "/step". */
static int range(struct str s, const struct bounds *b, uint64_t *bits, bool *star, struct err *e)
{
	struct str what, step_text, from_text, to_text;
	bool stepped = str_cut(s, '/', &what, &step_text), span = str_cut(what, '-', &from_text, &to_text);
	uint64_t from, to, step = 1;
	int r;

	if (str_eqc(from_text, "*") || str_eqc(from_text, "?")) {
		from = b->min;
		to = b->max;
		*star = true;
	} else {
		r = number(from_text, b, &from, e);
		if (r < 0)
			return r;
		if (span && str_find(to_text, '-') >= 0)
			return err_set(e, ERR_BAD_REQUEST, "too many hyphens: %.*s", STR_FMT(s));
		to = from;
		if (span && (r = number(to_text, b, &to, e)) < 0)
			return r;
	}
	if (stepped) {
		if (str_find(step_text, '/') >= 0)
			return err_set(e, ERR_BAD_REQUEST, "too many slashes: %.*s", STR_FMT(s));
		r = number(step_text, &(struct bounds){0, UINT64_MAX, NULL}, &step, e);
		if (r < 0)
			return r;
		/* "5/15" is from five on. */
		if (!span && !*star)
			to = b->max;
		if (step > 1)
			*star = false;
	}
	if (from < b->min)
		return err_set(e, ERR_BAD_REQUEST, "beginning of range (%llu) below minimum (%llu): %.*s",
			(unsigned long long)from, (unsigned long long)b->min, STR_FMT(s));
	if (to > b->max)
		return err_set(e, ERR_BAD_REQUEST, "end of range (%llu) above maximum (%llu): %.*s", (unsigned long long)to,
			(unsigned long long)b->max, STR_FMT(s));
	if (from > to)
		return err_set(e, ERR_BAD_REQUEST, "beginning of range (%llu) beyond end of range (%llu): %.*s",
			(unsigned long long)from, (unsigned long long)to, STR_FMT(s));
	if (step == 0)
		return err_set(e, ERR_BAD_REQUEST, "step of range should be a positive number: %.*s", STR_FMT(s));
	for (uint64_t n = from; n <= to; n += MIN(step, b->max + 1))
		*bits |= (uint64_t)1 << n;
	return 0;
}

static int field(struct str s, const struct bounds *b, uint64_t *ret, bool *any, struct err *e)
{
	struct str one;
	bool more = true;
	int r;

	*ret = 0;
	*any = false;
	while (more) {
		bool star = false;

		more = str_cut(s, ',', &one, &s);
		r = range(one, b, ret, &star, e);
		if (r < 0)
			return r;
		*any |= star;
	}
	return 0;
}

static int every(struct str text, struct str all, struct cron *ret, struct err *e)
{
	int64_t ns;

	if (!duration_parse(text, &ns))
		return err_set(e, ERR_BAD_REQUEST, "failed to parse duration %.*s: time: invalid duration \"%.*s\"",
			STR_FMT(all), STR_FMT(text));
	*ret = (struct cron){.every_s = MAX(ns / 1000000000, (int64_t)1)};
	return 0;
}

int cron_parse(struct str text, struct cron *ret, struct err *e)
{
	struct str rest = text, parts[5];
	struct cron c = {0};
	uint64_t *const to[] = {&c.minutes, &c.hours, &c.days, &c.months, &c.weekdays};
	size_t n = 0;
	bool any[5];

	if (text.n > 0 && text.p[0] == '@') {
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (str_eqc(text, words[i].word))
				return cron_parse(str_from(words[i].text), ret, e);
		if (str_has_prefix(text, STR("@every ")))
			return every(str_skip(text, strlen("@every ")), text, ret, e);
		return err_set(e, ERR_BAD_REQUEST, "unrecognized descriptor: %.*s", STR_FMT(text));
	}
	while (rest.n > 0) {
		struct str word;
		size_t end = 0;

		rest = str_trim(rest);
		while (end < rest.n && !strchr(" \t\n\r\v\f", rest.p[end]))
			end++;
		word = str_sub(rest, 0, end);
		rest = str_trim(str_skip(rest, end));
		if (word.n == 0)
			break;
		if (n < 5)
			parts[n] = word;
		n++;
	}
	if (n != 5)
		return err_set(e, ERR_BAD_REQUEST, "expected exactly 5 fields, found %zu: [%.*s]", n, STR_FMT(str_trim(text)));
	for (size_t i = 0; i < 5; i++) {
		int r = field(parts[i], &fields[i], to[i], &any[i], e);

		if (r < 0)
			return r;
	}
	c.any_day = any[2];
	c.any_weekday = any[4];
	*ret = c;
	return 0;
}

/* --- Times --------------------------------------------------------------------------------------- */

#define DAY_S 86400
/* February 29th on a weekday comes within 28 years, but for 2100; what does not come within so long never does. */
#define YEARS 40

static bool day_matches(const struct cron *c, int64_t day)
{
	time_t t = (time_t)(day * DAY_S);
	struct tm tm;
	bool by_day, by_weekday;

	gmtime_r(&t, &tm);
	if (!(c->months >> (tm.tm_mon + 1) & 1))
		return false;
	by_day = c->days >> tm.tm_mday & 1;
	by_weekday = c->weekdays >> tm.tm_wday & 1;
	return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* By a clock that never jumps. */
static int64_t next_even(const struct cron *c, int64_t after)
{
	int64_t from = after / 60 + 1, first = from / (24 * 60);

	for (int64_t day = first; day < first + YEARS * 366; day++) {
		if (!day_matches(c, day))
			continue;
		for (int64_t m = day == first ? from % (24 * 60) : 0; m < 24 * 60; m++)
			if ((c->hours >> (m / 60) & 1) && (c->minutes >> (m % 60) & 1))
				return day * DAY_S + m * 60;
	}
	return 0;
}

int64_t cron_next(const struct cron *c, const struct tz *z, int64_t after)
{
	if (c->every_s > 0)
		return after + c->every_s;
	/* Between two changes a zone's clocks are UTC's, but for the offset. */
	for (;;) {
		int64_t offset = z ? tz_offset(z, after + 1) : 0, end = z ? tz_next_change(z, after + 1) : INT64_MAX;
		int64_t at = next_even(c, after + offset);

		if (at == 0)
			return 0;
		if (at - offset < end)
			return at - offset;
		after = end - 1;
	}
}

int64_t cron_last(const struct cron *c, const struct tz *z, int64_t after, int64_t until)
{
	static const int64_t windows[] = {3600, DAY_S, 32 * DAY_S, 366 * DAY_S, INT64_MAX};
	int64_t last = 0;

	if (until <= after)
		return 0;
	if (c->every_s > 0)
		return until - after < c->every_s ? 0 : after + (until - after) / c->every_s * c->every_s;
	/* Short windows first: a schedule that is dense is found in one, and one that is not has few times in a long one. */
	for (size_t i = 0; i < ARRAY_LEN(windows) && last == 0; i++) {
		int64_t t = until - after > windows[i] ? until - windows[i] : after;

		while ((t = cron_next(c, z, t)) != 0 && t <= until)
			last = t;
	}
	return last;
}

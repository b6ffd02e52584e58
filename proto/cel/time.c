#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cel/cel-priv.h"
#include "proto/duration.h"

/* 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z. */
#define FIRST_SECOND (-62135596800)
#define LAST_SECOND 253402300799

bool cel__timestamp_ok(int64_t seconds)
{
	return seconds >= FIRST_SECOND && seconds <= LAST_SECOND;
}

/* Seconds of "+hh:mm" at the end; 0 of "Z". */
static int32_t offset_of(struct str s)
{
	const char *p;
	int32_t at;

	if (s.n < 6)
		return 0;
	p = s.p + s.n - 6;
	if ((p[0] != '+' && p[0] != '-') || p[3] != ':')
		return 0;
	at = ((p[1] - '0') * 10 + p[2] - '0') * 3600 + ((p[4] - '0') * 10 + p[5] - '0') * 60;
	return p[0] == '-' ? -at : at;
}

bool cel__timestamp_parse(struct str s, struct cel_value *ret)
{
	struct cel_value v = {.kind = CEL_TIMESTAMP};

	if (!time_parse(s, &v.seconds, &v.nanos) || !cel__timestamp_ok(v.seconds))
		return false;
	v.offset = offset_of(s);
	*ret = v;
	return true;
}

void cel__civil(int64_t seconds, struct cel__civil *ret)
{
	int64_t days = seconds >= 0 ? seconds / 86400 : -((86399 - seconds) / 86400);
	int64_t second = seconds - days * 86400, era, doe, yoe, doy, mp;

	/* Days since 0000-03-01 in eras of 400 years. */
	days += 719468;
	era = (days >= 0 ? days : days - 146096) / 146097;
	doe = days - era * 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	ret->day = (int)(doy - (153 * mp + 2) / 5 + 1);
	ret->month = (int)(mp < 10 ? mp + 3 : mp - 9);
	ret->year = yoe + era * 400 + (ret->month <= 2);
	ret->weekday = (int)((days + 3) % 7);
	if (ret->weekday < 0)
		ret->weekday += 7;
	ret->hour = (int)(second / 3600);
	ret->minute = (int)(second / 60 % 60);
	ret->second = (int)(second % 60);
	{
		static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
		bool leap = (ret->year % 4 == 0 && ret->year % 100 != 0) || ret->year % 400 == 0;

		ret->yearday = before[ret->month - 1] + ret->day - 1 + (leap && ret->month > 2);
	}
}

struct str cel__timestamp_text(struct arena *a, struct cel_value v)
{
	struct cel__civil c;
	char fraction[16] = "", zone[16] = "Z";

	cel__civil(v.seconds + v.offset, &c);
	if (v.nanos != 0) {
		snprintf(fraction, sizeof(fraction), ".%09d", (int)v.nanos);
		for (size_t n = strlen(fraction); fraction[n - 1] == '0'; n--)
			fraction[n - 1] = '\0';
	}
	if (v.offset != 0)
		snprintf(zone, sizeof(zone), "%c%02d:%02d", v.offset < 0 ? '-' : '+', abs(v.offset) / 3600, abs(v.offset) / 60 % 60);
	return arena_sprintf(a, "%04lld-%02d-%02dT%02d:%02d:%02d%s%s", (long long)c.year, c.month, c.day, c.hour, c.minute, c.second,
		fraction, zone);
}

/* Seconds with as many digits as are needed: "3600s", "0.5s". */
struct str cel__duration_text(struct arena *a, int64_t ns)
{
	uint64_t n = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	char fraction[16] = "";

	if (n % 1000000000 != 0) {
		snprintf(fraction, sizeof(fraction), ".%09d", (int)(n % 1000000000));
		for (size_t i = strlen(fraction); fraction[i - 1] == '0'; i--)
			fraction[i - 1] = '\0';
	}
	return arena_sprintf(a, "%s%llu%ss", ns < 0 ? "-" : "", (unsigned long long)(n / 1000000000), fraction);
}

/* The fewest digits that read back the same, in Go's %g: an exponent below -4 and from 6 on. */
struct str cel__double_text(struct arena *a, double d)
{
	char text[64], digits[32];
	int precision = 1, exponent;
	size_t n = 0;
	const char *e;

	if (isnan(d))
		return STR("NaN");
	if (isinf(d))
		return d > 0 ? STR("+Inf") : STR("-Inf");
	for (; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision - 1, d);
		if (strtod(text, NULL) == d)
			break;
	}
	snprintf(text, sizeof(text), "%.*e", precision - 1, d);
	e = strchr(text, 'e');
	exponent = (int)strtol(e + 1, NULL, 10);
	if (exponent < -4 || exponent >= 6) {
		snprintf(digits, sizeof(digits), "%.*se%c%02d", (int)(e - text), text, exponent < 0 ? '-' : '+', abs(exponent));
		return str_from(arena_strdup(a, digits));
	}
	n = (size_t)MAX(precision - 1 - exponent, 0);
	return arena_sprintf(a, "%.*f", (int)n, d);
}

#include "proto/duration.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static bool two(struct str *s, int lo, int hi, int *ret)
{
	if (s->n < 2 || !isdigit((unsigned char)s->p[0]) || !isdigit((unsigned char)s->p[1]))
		return false;
	*ret = (s->p[0] - '0') * 10 + s->p[1] - '0';
	*s = str_skip(*s, 2);
	return *ret >= lo && *ret <= hi;
}

static bool eat(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

/* Days from 1970-01-01 of a Gregorian date. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
	int64_t era, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	doe = (y - era * 400) * 365 + (y - era * 400) / 4 - (y - era * 400) / 100 +
	      (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + doe - 719468;
}

static int days_in(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static bool fraction(struct str *s, int32_t *ret_ns)
{
	int32_t unit = 100000000;

	if (!eat(s, '.'))
		return true;
	if (s->n == 0 || !isdigit((unsigned char)s->p[0]))
		return false;
	while (s->n > 0 && isdigit((unsigned char)s->p[0])) {
		*ret_ns += (s->p[0] - '0') * unit;
		unit /= 10;
		*s = str_skip(*s, 1);
	}
	return true;
}

static bool zone(struct str *s, int *ret_s)
{
	int h, m, sign;

	if (eat(s, 'Z') || eat(s, 'z'))
		return true;
	sign = s->n > 0 && s->p[0] == '-' ? -1 : 1;
	if (!eat(s, '+') && !eat(s, '-'))
		return false;
	if (!two(s, 0, 23, &h) || !eat(s, ':') || !two(s, 0, 59, &m))
		return false;
	*ret_s = sign * (h * 3600 + m * 60);
	return true;
}

bool time_parse(struct str s, int64_t *ret_s, int32_t *ret_ns)
{
	int hi, lo, month, day, h, m, sec, offset = 0;
	int32_t ns = 0;

	if (!two(&s, 0, 99, &hi) || !two(&s, 0, 99, &lo) || !eat(&s, '-') ||
		!two(&s, 1, 12, &month) || !eat(&s, '-') ||
		!two(&s, 1, days_in(hi * 100 + lo, month), &day))
		return false;
	if (!eat(&s, 'T') && !eat(&s, 't'))
		return false;
	if (!two(&s, 0, 23, &h) || !eat(&s, ':') || !two(&s, 0, 59, &m) || !eat(&s, ':') ||
		!two(&s, 0, 59, &sec))
		return false;
	if (!fraction(&s, &ns) || !zone(&s, &offset) || s.n > 0)
		return false;
	*ret_s = days_from_civil(hi * 100 + lo, month, day) * 86400 + h * 3600 + m * 60 + sec -
		 offset;
	if (ret_ns)
		*ret_ns = ns;
	return true;
}

static const struct unit {
	const char *name;
	int64_t ns;
} units[] = {
	{"ns", 1},
	{"us", 1000},
	{"\xc2\xb5s", 1000},
	{"\xce\xbcs", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", 60000000000},
	{"h", 3600000000000},
};

static const struct unit *unit_eat(struct str *s)
{
	size_t n = 0;

	while (n < s->n && s->p[n] != '.' && !isdigit((unsigned char)s->p[n]))
		n++;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (str_eqc(str_sub(*s, 0, n), units[i].name)) {
			*s = str_skip(*s, n);
			return &units[i];
		}
	}
	return NULL;
}

/* One number with its unit, added to *sum. */
static bool duration_part(struct str *s, __int128 *sum)
{
	const struct unit *u;
	__int128 whole = 0, part = 0, scale = 1;
	size_t n = 0;

	for (; s->n > 0 && isdigit((unsigned char)s->p[0]); *s = str_skip(*s, 1), n++) {
		whole = whole * 10 + s->p[0] - '0';
		if (whole > INT64_MAX)
			return false;
	}
	if (eat(s, '.')) {
		for (; s->n > 0 && isdigit((unsigned char)s->p[0]); *s = str_skip(*s, 1), n++) {
			if (scale < 1000000000000000)
				part = part * 10 + s->p[0] - '0', scale *= 10;
		}
	}
	u = n > 0 ? unit_eat(s) : NULL;
	if (u == NULL)
		return false;
	*sum += whole * u->ns + part * u->ns / scale;
	return *sum <= INT64_MAX;
}

bool duration_parse(struct str s, int64_t *ret)
{
	bool neg = s.n > 0 && s.p[0] == '-';
	__int128 sum = 0;

	if (neg || (s.n > 0 && s.p[0] == '+'))
		s = str_skip(s, 1);
	if (str_eqc(s, "0")) {
		*ret = 0;
		return true;
	}
	if (s.n == 0)
		return false;
	while (s.n > 0)
		if (!duration_part(&s, &sum))
			return false;
	*ret = (int64_t)(neg ? -sum : sum);
	return true;
}

/* whole + frac/10^width with the zeros at the end cut off. */
static void print_fraction(
	char *out, size_t size, uint64_t whole, uint64_t frac, int width, const char *unit)
{
	char digits[16];
	int n = width;

	snprintf(digits, sizeof(digits), "%0*llu", width, (unsigned long long)frac);
	while (n > 0 && digits[n - 1] == '0')
		n--;
	digits[n] = '\0';
	snprintf(
		out, size, "%llu%s%s%s", (unsigned long long)whole, n > 0 ? "." : "", digits, unit);
}

void duration_print(int64_t ns, char out[DURATION_SIZE])
{
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns, s = u / 1000000000;
	char sec[DURATION_SIZE];
	const char *sign = ns < 0 ? "-" : "";

	if (u == 0)
		snprintf(sec, sizeof(sec), "0s");
	else if (u < 1000)
		snprintf(sec, sizeof(sec), "%lluns", (unsigned long long)u);
	else if (u < 1000000)
		print_fraction(sec, sizeof(sec), u / 1000, u % 1000, 3, "\xc2\xb5s");
	else if (u < 1000000000)
		print_fraction(sec, sizeof(sec), u / 1000000, u % 1000000, 6, "ms");
	else
		print_fraction(sec, sizeof(sec), s % 60, u % 1000000000, 9, "s");
	sec[24] = '\0'; /* never that long; bounds the print below for the compiler */
	if (s >= 3600)
		snprintf(out, DURATION_SIZE, "%s%uh%um%.16s", sign, (unsigned)(s / 3600),
			(unsigned)(s / 60 % 60), sec);
	else if (s >= 60)
		snprintf(out, DURATION_SIZE, "%s%um%.16s", sign, (unsigned)(s / 60), sec);
	else
		snprintf(out, DURATION_SIZE, "%s%.24s", sign, sec);
}

/* "3h15m": the smaller unit is left out when it is zero. */
static void print_two(char *out, int64_t big, char big_unit, int64_t small, char small_unit)
{
	if (small == 0)
		snprintf(out, DURATION_SIZE, "%lld%c", (long long)big, big_unit);
	else
		snprintf(out, DURATION_SIZE, "%lld%c%lld%c", (long long)big, big_unit,
			(long long)small, small_unit);
}

void duration_human(int64_t s, char out[DURATION_SIZE])
{
	int64_t m = s / 60, h = m / 60, d = h / 24, y = d / 365;

	if (s < -1)
		snprintf(out, DURATION_SIZE, "<invalid>");
	else if (s < 0)
		snprintf(out, DURATION_SIZE, "0s");
	else if (s < 120)
		snprintf(out, DURATION_SIZE, "%llds", (long long)s);
	else if (m < 10)
		print_two(out, m, 'm', s % 60, 's');
	else if (h < 3)
		snprintf(out, DURATION_SIZE, "%lldm", (long long)m);
	else if (h < 8)
		print_two(out, h, 'h', m % 60, 'm');
	else if (h < 48)
		snprintf(out, DURATION_SIZE, "%lldh", (long long)h);
	else if (h < 192)
		print_two(out, d, 'd', h % 24, 'h');
	else if (d < 365 * 2)
		snprintf(out, DURATION_SIZE, "%lldd", (long long)d);
	else if (d < 365 * 8)
		print_two(out, y, 'y', d % 365, 'd');
	else
		snprintf(out, DURATION_SIZE, "%lldy", (long long)y);
}

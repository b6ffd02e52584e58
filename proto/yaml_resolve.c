#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/yaml-priv.h"

/* Longer text is no number that anybody means. */
#define NUMBER_MAX 400

static const struct word {
	const char *text;
	enum yaml__kind kind;
	double f;
} words[] = {
	{"", YAML__NULL, 0},
	{"~", YAML__NULL, 0},
	{"null", YAML__NULL, 0},
	{"Null", YAML__NULL, 0},
	{"NULL", YAML__NULL, 0},
	{"y", YAML__TRUE, 0},
	{"Y", YAML__TRUE, 0},
	{"yes", YAML__TRUE, 0},
	{"Yes", YAML__TRUE, 0},
	{"YES", YAML__TRUE, 0},
	{"true", YAML__TRUE, 0},
	{"True", YAML__TRUE, 0},
	{"TRUE", YAML__TRUE, 0},
	{"on", YAML__TRUE, 0},
	{"On", YAML__TRUE, 0},
	{"ON", YAML__TRUE, 0},
	{"n", YAML__FALSE, 0},
	{"N", YAML__FALSE, 0},
	{"no", YAML__FALSE, 0},
	{"No", YAML__FALSE, 0},
	{"NO", YAML__FALSE, 0},
	{"false", YAML__FALSE, 0},
	{"False", YAML__FALSE, 0},
	{"FALSE", YAML__FALSE, 0},
	{"off", YAML__FALSE, 0},
	{"Off", YAML__FALSE, 0},
	{"OFF", YAML__FALSE, 0},
	{"<<", YAML__MERGE, 0},
	{".nan", YAML__FLOAT, NAN},
	{".NaN", YAML__FLOAT, NAN},
	{".NAN", YAML__FLOAT, NAN},
	{".inf", YAML__FLOAT, INFINITY},
	{".Inf", YAML__FLOAT, INFINITY},
	{".INF", YAML__FLOAT, INFINITY},
	{"+.inf", YAML__FLOAT, INFINITY},
	{"+.Inf", YAML__FLOAT, INFINITY},
	{"+.INF", YAML__FLOAT, INFINITY},
	{"-.inf", YAML__FLOAT, -INFINITY},
	{"-.Inf", YAML__FLOAT, -INFINITY},
	{"-.INF", YAML__FLOAT, -INFINITY},
};

static bool eat(struct str *s, const char *set)
{
	if (s->n == 0 || strchr(set, s->p[0]) == NULL || s->p[0] == '\0')
		return false;
	*s = str_skip(*s, 1);
	return true;
}

static size_t eat_digits(struct str *s)
{
	size_t n = 0;

	while (eat(s, "0123456789"))
		n++;
	return n;
}

/* Digits in the base that the prefix names, without sign; 0: no such number, 1: fits. */
static bool whole(const char *s, uint64_t *ret)
{
	int base = 10;
	char *end;

	if (s[0] == '0' && s[1] != '\0') {
		int c = tolower((unsigned char)s[1]);

		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		s += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (!isxdigit((unsigned char)s[0]))
		return false;
	errno = 0;
	*ret = strtoull(s, &end, base);
	return errno == 0 && *end == '\0';
}

static bool is_float(struct str s)
{
	size_t before, after = 0;

	eat(&s, "+-");
	before = eat_digits(&s);
	if (eat(&s, "."))
		after = eat_digits(&s);
	if (before + after == 0)
		return false;
	if (eat(&s, "eE")) {
		eat(&s, "+-");
		if (eat_digits(&s) == 0)
			return false;
	}
	return s.n == 0;
}

static struct yaml__scalar number(struct str s)
{
	struct yaml__scalar v = {.kind = YAML__STRING};
	char plain[NUMBER_MAX + 1];
	size_t n = 0;
	uint64_t u;
	bool neg;

	if (s.n > NUMBER_MAX)
		return v;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '_')
			plain[n++] = s.p[i];
	plain[n] = '\0';
	neg = plain[0] == '-';
	if (whole(plain + (neg || plain[0] == '+'), &u)) {
		if (u <= INT64_MAX || (neg && u == (uint64_t)INT64_MAX + 1))
			return (struct yaml__scalar){
				.kind = YAML__INT, .i = neg ? (int64_t)(0 - u) : (int64_t)u};
		if (!neg)
			return (struct yaml__scalar){.kind = YAML__INT, .is_big = true, .u = u};
	}
	if (is_float(str_of(plain, n)))
		return (struct yaml__scalar){.kind = YAML__FLOAT, .f = strtod(plain, NULL)};
	return v;
}

struct yaml__scalar yaml__resolve(struct str s)
{
	if (s.n <= 5)
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (str_eqc(s, words[i].text))
				return (struct yaml__scalar){
					.kind = words[i].kind, .f = words[i].f};
	if (isdigit((unsigned char)s.p[0]) || strchr("+-.", s.p[0]))
		return number(s);
	return (struct yaml__scalar){.kind = YAML__STRING};
}

static bool eat_number(struct str *s, size_t min, size_t max)
{
	size_t n = 0;

	while (n < max && eat(s, "0123456789"))
		n++;
	return n >= min;
}

/* 2006-1-2, and the same with a time of day behind T or spaces, with or without a zone. */
bool yaml__is_timestamp(struct str s)
{
	if (!eat_number(&s, 4, 4) || !eat(&s, "-") || !eat_number(&s, 1, 2) || !eat(&s, "-") ||
		!eat_number(&s, 1, 2))
		return false;
	if (s.n == 0)
		return true;
	if (!eat(&s, "Tt "))
		return false;
	if (!eat_number(&s, 1, 2) || !eat(&s, ":") || !eat_number(&s, 1, 2) || !eat(&s, ":") ||
		!eat_number(&s, 1, 2))
		return false;
	if (eat(&s, "."))
		eat_digits(&s);
	if (s.n == 0 || str_eqc(s, "Z"))
		return true;
	return eat(&s, "+-") && eat_number(&s, 2, 2) && eat(&s, ":") && eat_number(&s, 2, 2) &&
	       s.n == 0;
}

#include "proto/structural-priv.h"

#include <arpa/inet.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/util.h"
#include "proto/structural.h"

/* Steps and memory that one match may take: enough for honest patterns on megabytes, too little to stall a server. */
#define MATCH_LIMIT 1000000
#define HEAP_LIMIT_KIB 4096
#define MAX_PATTERN 65536

struct structural_pattern {
	pcre2_code *code;
};

/* What PCRE2 has and RE2 has not, and would be taken for something else or refused by upstream. */
static const char *not_re2(struct str t)
{
	bool in_class = false;

	for (size_t i = 0; i < t.n; i++) {
		const char *p = t.p + i;
		size_t left = t.n - i;

		if (*p == '\\' && left > 1) {
			char c = p[1];

			if (c >= '1' && c <= '9')
				return "invalid escape sequence: backreferences are not supported";
			if (strchr("GKNRXZghk", c))
				return "invalid escape sequence";
			i++;
		} else if (in_class) {
			in_class = *p != ']';
		} else if (*p == '[') {
			in_class = true;
			/* A ']' that comes first is a member. */
			if (left > 1 && p[1] == '^')
				i++;
			if (i + 1 < t.n && t.p[i + 1] == ']')
				i++;
		} else if (left > 2 && p[0] == '(' && p[1] == '?' && strchr("=!>|(#&+R0123456789", p[2])) {
			return "invalid or unsupported Perl syntax";
		} else if (left > 3 && memcmp(p, "(?<", 3) == 0 && (p[3] == '=' || p[3] == '!')) {
			return "invalid or unsupported Perl syntax";
		} else if (left > 1 && p[0] == '(' && p[1] == '*') {
			return "missing argument to repetition operator: `*`";
		} else if (left > 1 && strchr("*+?}", p[0]) && p[1] == '+') {
			return "invalid nested repetition operator";
		}
	}
	return NULL;
}

static void free_code(void *code)
{
	pcre2_code_free(code);
}

const struct structural_pattern *structural__pattern(struct arena *a, struct str text, const char **ret_why)
{
	struct structural_pattern *r;
	PCRE2_SIZE at;
	int error;

	*ret_why = text.n > MAX_PATTERN ? "too long" : not_re2(text);
	if (*ret_why != NULL)
		return NULL;
	r = arena_new_of(a, struct structural_pattern);
	r->code = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &error,
				&at, NULL);
	if (r->code == NULL) {
		char why[160];

		pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof(why));
		*ret_why = arena_printf(a, "%s at offset %zu", why, (size_t)at);
		return NULL;
	}
	arena_on_free(a, free_code, r->code);
	return r;
}

enum structural_match structural__match(const struct structural_pattern *p, struct str value)
{
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	int rc;

	ASSERT(context != NULL && data != NULL);
	pcre2_set_match_limit(context, MATCH_LIMIT);
	pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
	rc = pcre2_match(p->code, (PCRE2_SPTR)(value.p ? value.p : ""), value.n, 0, 0, data, context);
	pcre2_match_data_free(data);
	pcre2_match_context_free(context);
	if (rc >= 0)
		return STRUCTURAL_MATCH;
	return rc == PCRE2_ERROR_NOMATCH ? STRUCTURAL_NO_MATCH : STRUCTURAL_TOO_COSTLY;
}

/* --- Formats ------------------------------------------------------------------------------------------------- */

/* The formats that upstream checks, as expressions. Formats that are not here are not checked, there neither. */
static const struct format {
	const char *name, *pattern;
} formats[] = {
	{"bsonobjectid", "^[0-9a-fA-F]{24}$"},
	{"byte", "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"},
	{"creditcard", "^(?:4\\d{12}(?:\\d{3})?|5[1-5]\\d{14}|6(?:011|5\\d\\d)\\d{12}|3[47]\\d{13}|3(?:0[0-5]|[68]\\d)\\d{11}|"
		       "(?:2131|1800|35\\d{3})\\d{11})$"},
	{"date", "^\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])$"},
	{"date-time", "^\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])[Tt](?:[01]\\d|2[0-3]):[0-5]\\d:(?:[0-5]\\d|60)(?:\\.\\d+)?"
		      "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)$"},
	{"datetime", "^\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])[Tt](?:[01]\\d|2[0-3]):[0-5]\\d:(?:[0-5]\\d|60)(?:\\.\\d+)?"
		     "(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)$"},
	{"duration", "^[+-]?(?:\\d+(?:\\.\\d*)?|\\.\\d+)(?:ns|us|µs|μs|ms|s|m|h|d|w)(?:(?:\\d+(?:\\.\\d*)?|\\.\\d+)"
		     "(?:ns|us|µs|μs|ms|s|m|h|d|w))*$|^0$"},
	{"email", "^[^\\s@<>\"(),:;\\[\\\\\\]]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}"
		  "[A-Za-z0-9])?$"},
	{"hexcolor", "^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"},
	{"hostname", "^(?=.{1,253}$)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}"
		     "[A-Za-z0-9])?)*\\.?$"},
	{"isbn", "^(?:\\d{9}[\\dX]|\\d{13})$"},
	{"isbn10", "^\\d{9}[\\dX]$"},
	{"isbn13", "^\\d{13}$"},
	{"k8s-long-name", "^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$"},
	{"k8s-short-name", "^(?=.{1,63}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$"},
	{"mac", "^(?:[0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}\\1){4,6}[0-9a-fA-F]{2}$|^(?:[0-9a-fA-F]{4}\\.){2,3}[0-9a-fA-F]{4}$"},
	{"rgbcolor", "^rgb\\(\\s*(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)\\s*,\\s*(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)\\s*,\\s*"
		     "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)\\s*\\)$"},
	{"ssn", "^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$"},
	{"uri", "^(?:[A-Za-z][A-Za-z0-9+.-]*:[^\\s]+|/[^\\s]*)$"},
	{"uuid", "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"},
	{"uuid3", "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?3[0-9a-fA-F]{3}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"},
	{"uuid4", "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?4[0-9a-fA-F]{3}-?[89abAB][0-9a-fA-F]{3}-?[0-9a-fA-F]{12}$"},
	{"uuid5", "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?5[0-9a-fA-F]{3}-?[89abAB][0-9a-fA-F]{3}-?[0-9a-fA-F]{12}$"},
};

static bool is_ip(int family, struct str s)
{
	char text[INET6_ADDRSTRLEN], bytes[16];

	if (s.n >= sizeof(text) || memchr(s.p ? s.p : "", 0, s.n) != NULL)
		return false;
	memcpy(text, s.p ? s.p : "", s.n);
	text[s.n] = 0;
	return inet_pton(family, text, bytes) == 1;
}

static bool is_cidr(struct str s)
{
	struct str ip, bits;
	uint64_t n;

	if (!str_cut(s, '/', &ip, &bits) || bits.n > 3 || !str_to_u64(bits, &n))
		return false;
	return (n <= 32 && is_ip(AF_INET, ip)) || (n <= 128 && is_ip(AF_INET6, ip));
}

bool structural_format_ok(struct str format, struct str value)
{
	if (str_eqc(format, "ipv4") || str_eqc(format, "ipv6"))
		return is_ip(format.p[3] == '4' ? AF_INET : AF_INET6, value);
	if (str_eqc(format, "cidr"))
		return is_cidr(value);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		struct structural_pattern p;
		PCRE2_SIZE at;
		int error;
		bool ok;

		if (!str_eqc(format, formats[i].name))
			continue;
		/* Few objects have formats; compiling takes microseconds and shares nothing between threads. */
		p.code = pcre2_compile((PCRE2_SPTR)formats[i].pattern, PCRE2_ZERO_TERMINATED,
				       PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &error, &at, NULL);
		ASSERT(p.code != NULL);
		ok = structural__match(&p, value) == STRUCTURAL_MATCH;
		pcre2_code_free(p.code);
		return ok;
	}
	return true;
}

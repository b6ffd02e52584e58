/*
 * Regular expressions: RE2's syntax, carried out by PCRE2 within limits. What PCRE2 knows and RE2 does not (backreferences,
 * lookaround, possessive quantifiers, ...) is refused, so that a pattern means the same as upstream. Classes that differ are written
 * in full: in RE2 \s has no vertical tab.
 */
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "proto/cel/cel-priv.h"

/*
 * PCRE2 backtracks, which may take long. Matches get few tries first and more when these do not do; each round is charged to the run's
 * steps, so that many hard matches end it.
 */
static const struct {
	uint32_t tries, steps;
} rounds[] = {{200, 8}, {5000, 400}, {1000000, 200000}};
#define COMPILE_STEPS 2000
#define HEAP_LIMIT_KIB 8192
#define MAX_PATTERN 65536
/* RE2's limit on counted repetition. */
#define MAX_REPEAT 1000

struct cel__regex {
	pcre2_code *code;
};

struct cel__matcher {
	pcre2_match_context *context;
	pcre2_match_data *data;
};

struct scan {
	struct arena *a;
	struct str in;
	size_t at;
	struct buf out;
	const char *why;
};

static bool starts(const struct scan *s, const char *text)
{
	return str_has_prefix(str_skip(s->in, s->at), str_from(text));
}

static void take(struct scan *s, size_t n)
{
	buf_adds(&s->out, str_sub(s->in, s->at, s->at + n));
	s->at += n;
}

static size_t name_length(struct str s, const char *more)
{
	size_t n = 0;

	while (n < s.n && ((s.p[n] >= 'a' && s.p[n] <= 'z') || (s.p[n] >= 'A' && s.p[n] <= 'Z') || (s.p[n] >= '0' && s.p[n] <= '9') ||
				  (s.p[n] != '\0' && strchr(more, s.p[n]) != NULL)))
		n++;
	return n;
}

/* At a backslash. */
static void escape(struct scan *s, bool in_class)
{
	char c = s->at + 1 < s->in.n ? s->in.p[s->at + 1] : '\0';

	if (c == '\0') {
		s->why = "trailing backslash at end of expression";
	} else if (c == 's') {
		buf_addc(&s->out, in_class ? "\\t\\n\\f\\r " : "[\\t\\n\\f\\r ]");
		s->at += 2;
	} else if (c == 'S') {
		buf_addc(&s->out, in_class ? "\\S\\x0b" : "[^\\t\\n\\f\\r ]");
		s->at += 2;
	} else if (c == 'v') {
		/* A vertical tab; PCRE2 takes it for a class. */
		buf_addc(&s->out, "\\x0b");
		s->at += 2;
	} else if (c == 'z' && !in_class) {
		take(s, 2);
	} else if (c == 'Q') {
		ptrdiff_t end = str_search(str_skip(s->in, s->at + 2), STR("\\E"));
		size_t stop = end < 0 ? s->in.n : s->at + 2 + (size_t)end;

		for (s->at += 2; s->at < stop;) {
			if ((unsigned char)s->in.p[s->at] < 0x80 && name_length(str_sub(s->in, s->at, s->at + 1), "_") == 0)
				buf_add1(&s->out, '\\');
			take(s, 1);
		}
		s->at = end < 0 ? s->in.n : stop + 2;
	} else if (strchr("AbBaftnrdDwWpP", c) != NULL && !(in_class && strchr("AbB", c) != NULL)) {
		take(s, 2);
	} else if (c == 'x') {
		take(s, 2);
	} else if (c == '0') {
		take(s, 2);
		while (s->at < s->in.n && s->in.p[s->at] >= '0' && s->in.p[s->at] <= '7')
			take(s, 1);
	} else if ((unsigned char)c < 0x80 && name_length(str_sub(s->in, s->at + 1, s->at + 2), "_") == 0) {
		take(s, 2);
	} else {
		s->why = arena_printf(s->a, "invalid escape sequence: `\\%.*s`", (int)MIN(s->in.n - s->at - 1, (size_t)1),
			s->in.p + s->at + 1);
	}
}

static void class(struct scan *s)
{
	take(s, 1);
	if (s->at < s->in.n && s->in.p[s->at] == '^')
		take(s, 1);
	if (s->at < s->in.n && s->in.p[s->at] == ']') {
		buf_add1(&s->out, '\\');
		take(s, 1);
	}
	while (s->at < s->in.n && s->in.p[s->at] != ']' && s->why == NULL) {
		if (s->in.p[s->at] == '\\') {
			escape(s, true);
		} else if (starts(s, "[:")) {
			ptrdiff_t end = str_search(str_skip(s->in, s->at), STR(":]"));

			if (end > 0)
				take(s, (size_t)end + 2);
			else
				s->why = "missing closing ]";
		} else if (s->in.p[s->at] == '[') {
			/* PCRE2 knows [. and [=; for RE2 a bracket is a bracket. */
			buf_add1(&s->out, '\\');
			take(s, 1);
		} else {
			take(s, 1);
		}
	}
	if (s->why == NULL && s->at >= s->in.n)
		s->why = arena_printf(s->a, "missing closing ]");
	if (s->why == NULL)
		take(s, 1);
}

/* At a parenthesis: of the forms with "(?", only flags, (?:...) and names are RE2's. */
static void group(struct scan *s)
{
	struct str rest = str_skip(s->in, s->at);
	size_t n;

	if (rest.n > 1 && rest.p[1] == '*') {
		s->why = "missing argument to repetition operator: `*`";
		return;
	}
	if (rest.n < 2 || rest.p[1] != '?') {
		take(s, 1);
		return;
	}
	if (starts(s, "(?P<") || (starts(s, "(?<") && !starts(s, "(?<=") && !starts(s, "(?<!"))) {
		size_t from = rest.p[2] == 'P' ? 4 : 3;

		n = name_length(str_skip(rest, from), "_");
		if (n > 0 && from + n < rest.n && rest.p[from + n] == '>') {
			take(s, from + n + 1);
			return;
		}
		s->why = "invalid named capture";
		return;
	}
	for (n = 2; n < rest.n && strchr("imsU-", rest.p[n]) != NULL && rest.p[n] != '\0'; n++)
		;
	if (n < rest.n && (rest.p[n] == ':' || (rest.p[n] == ')' && n > 2))) {
		/* U swaps greediness, which PCRE2 spells the same. */
		take(s, n + 1);
		return;
	}
	s->why = arena_printf(s->a, "invalid or unsupported Perl syntax: `%.*s`", (int)MIN(rest.n, (size_t)3), rest.p);
}

/* The length of "n}", "n,}" or "n,m}" at the start; 0: the brace before it is a character. */
static size_t repeat(struct str s, uint64_t *ret_low, uint64_t *ret_high, struct str *ret_tail)
{
	size_t n = name_length(s, ",");
	struct str head;

	if (n == 0 || n >= s.n || s.p[n] != '}')
		return 0;
	str_cut(str_sub(s, 0, n), ',', &head, ret_tail);
	if (!str_to_u64(head, ret_low) || (ret_tail->n > 0 && !str_to_u64(*ret_tail, ret_high)))
		return 0;
	return n;
}

/* A quantifier, with '?' behind it at most. */
static void quantifier(struct scan *s)
{
	uint64_t low = 0, high = 0;
	struct str tail = STR("");

	if (s->in.p[s->at] == '{') {
		struct str rest = str_skip(s->in, s->at + 1);
		size_t n = repeat(rest, &low, &high, &tail);

		if (n == 0) {
			buf_addc(&s->out, "\\{");
			s->at++;
			return;
		}
		if (low > MAX_REPEAT || high > MAX_REPEAT || (tail.n > 0 && high < low)) {
			s->why = arena_printf(s->a, "invalid repeat count: `{%.*s}`", (int)n, rest.p);
			return;
		}
		take(s, n + 2);
	} else {
		take(s, 1);
	}
	if (s->at < s->in.n && s->in.p[s->at] == '?')
		take(s, 1);
	if (s->at < s->in.n && (strchr("*+?", s->in.p[s->at]) != NULL ||
				(s->in.p[s->at] == '{' && repeat(str_skip(s->in, s->at + 1), &low, &high, &tail) > 0)))
		s->why = arena_printf(s->a, "invalid nested repetition operator: `%c`", s->in.p[s->at]);
}

static const char *translate(struct scan *s)
{
	while (s->at < s->in.n && s->why == NULL) {
		switch (s->in.p[s->at]) {
		case '\0':
			buf_addc(&s->out, "\\x00");
			s->at++;
			break;
		case '\\':
			escape(s, false);
			break;
		case '[':
			class(s);
			break;
		case '(':
			group(s);
			break;
		case '*':
		case '+':
		case '?':
		case '{':
			quantifier(s);
			break;
		default:
			take(s, 1);
		}
	}
	return s->why;
}

static void free_regex(void *p)
{
	pcre2_code_free(((struct cel__regex *)p)->code);
}

static void free_matcher(void *p)
{
	struct cel__matcher *m = p;

	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->context);
}

static struct cel__matcher *matcher(struct cel__eval *v)
{
	struct cel__matcher *m = v->matcher;

	if (m != NULL)
		return m;
	m = arena_new_of(v->a, struct cel__matcher);
	m->context = pcre2_match_context_create(NULL);
	m->data = pcre2_match_data_create(1, NULL);
	ASSERT(m->context != NULL && m->data != NULL);
	pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
	arena_on_free(v->a, free_matcher, m);
	v->matcher = m;
	return m;
}

const struct cel__regex *cel__regex(struct arena *a, struct str pattern, const char **ret_why)
{
	struct scan s = {.a = a, .in = pattern, .out = BUF_INIT};
	struct cel__regex *r;
	PCRE2_SIZE at;
	int error;

	*ret_why = pattern.n > MAX_PATTERN ? "expression is too long" : translate(&s);
	if (*ret_why != NULL) {
		buf_fini(&s.out);
		return NULL;
	}
	r = arena_new_of(a, struct cel__regex);
	r->code = pcre2_compile((PCRE2_SPTR)(s.out.p ? s.out.p : ""), s.out.n,
		PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
	buf_fini(&s.out);
	if (r->code == NULL) {
		char why[160];

		pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof(why));
		*ret_why = arena_strdup(a, why);
		return NULL;
	}
	arena_on_free(a, free_regex, r);
	return r;
}

size_t cel__regex_size(const struct cel__regex *r)
{
	size_t size = 0;

	pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &size);
	return size;
}

const struct cel__regex *cel__pattern(struct cel__eval *v, struct str pattern, struct cel_value *ret_error)
{
	const struct cel__regex *r;
	const char *why;
	unsigned at;

	for (size_t i = 0; v->program != NULL && i < v->program->n_patterns; i++)
		if (v->program->patterns[i].text.p == pattern.p && v->program->patterns[i].text.n == pattern.n)
			return v->program->patterns[i].regex;
	for (size_t i = 0; i < ARRAY_LEN(v->patterns); i++)
		if (v->patterns[i].regex != NULL && str_eq(v->patterns[i].pattern, pattern))
			return v->patterns[i].regex;
	if (!cel__steps(v, COMPILE_STEPS + pattern.n)) {
		*ret_error = cel__text_error(v->a, "too many regular expressions");
		return NULL;
	}
	r = cel__regex(v->a, pattern, &why);
	if (r == NULL) {
		*ret_error = cel_error(v->a, "error parsing regexp: %s", why);
		return NULL;
	}
	if (!cel__steps(v, cel__regex_size(r) / 16)) {
		*ret_error = cel__text_error(v->a, "too many regular expressions");
		return NULL;
	}
	at = v->next_pattern++ % ARRAY_LEN(v->patterns);
	v->patterns[at].pattern = pattern;
	v->patterns[at].regex = r;
	return r;
}

int cel__regex_find(struct cel__eval *v, const struct cel__regex *r, struct str text, size_t from, size_t *ret_from, size_t *ret_to,
		    struct cel_value *ret_error)
{
	struct cel__matcher *m = matcher(v);
	int rc = PCRE2_ERROR_MATCHLIMIT;
	PCRE2_SIZE *ends;

	for (size_t i = 0; i < ARRAY_LEN(rounds) && rc == PCRE2_ERROR_MATCHLIMIT; i++) {
		if (!cel__steps(v, rounds[i].steps + (text.n - from) / 32))
			break;
		pcre2_set_match_limit(m->context, rounds[i].tries);

		rc = pcre2_match(r->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, from, 0, m->data, m->context);
	}
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0) {
		*ret_error = cel__text_error(v->a, "the regular expression takes too many steps");
		return -1;
	}
	ends = pcre2_get_ovector_pointer(m->data);
	*ret_from = ends[0];
	*ret_to = ends[1];
	return 1;
}

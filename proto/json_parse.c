#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "proto/json-priv.h"
#include "proto/scan.h"

/* Where a value stands, for the paths of duplicate keys. */
struct place {
	const struct place *up;
	struct str key; /* p == NULL: an element */
	size_t i;
};

struct parser {
	struct arena *a;
	struct str text;
	size_t at;
	size_t nodes_left;
	unsigned max_depth;
	struct json_opts *opts;
	struct err *e;
};

/* ---- errors ---- */

static int fail_at(struct parser *p, size_t at)
{
	p->opts->error_offset = at;
	p->opts->error_line = 1;
	p->opts->error_column = 1;
	for (size_t i = 0; i < at && i < p->text.n; i++) {
		if (p->text.p[i] == '\n') {
			p->opts->error_line++;
			p->opts->error_column = 1;
		} else {
			p->opts->error_column++;
		}
	}
	return -1;
}

static int fail_end(struct parser *p)
{
	err_set(p->e, ERR_BAD_REQUEST, "unexpected end of JSON input");
	return fail_at(p, p->text.n);
}

/* "invalid character 'x' CONTEXT" as Go words it; a control or high byte is shown as Go's quoting
 * does. */
static int fail_char(struct parser *p, const char *context)
{
	unsigned char c;
	char shown[16];

	if (p->at >= p->text.n)
		return fail_end(p);
	c = (unsigned char)p->text.p[p->at];
	if (c == '\'')
		snprintf(shown, sizeof(shown), "'\\''");
	else if (c == '"')
		snprintf(shown, sizeof(shown), "'\"'");
	else if (c == '\n' || c == '\r' || c == '\t')
		snprintf(shown, sizeof(shown), "'\\%c'", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
	else if (c < 0x20 || c == 0x7f)
		snprintf(shown, sizeof(shown), "'\\x%02x'", c);
	else if (c >= 0x80)
		/* Go makes a character of the byte alone. */
		snprintf(shown, sizeof(shown), c < 0xa0 ? "'\\u%04x'" : "'%c%c'",
			c < 0xa0 ? c : 0xc0 | (c >> 6), 0x80 | (c & 0x3f));
	else
		snprintf(shown, sizeof(shown), "'%c'", c);
	err_set(p->e, ERR_BAD_REQUEST, "invalid character %s %s", shown, context);
	return fail_at(p, p->at);
}

static void note_dup(struct parser *p, const struct place *at)
{
	const struct place *chain[JSON_MAX_DEPTH + 1];
	struct buf b = BUF_INIT;
	size_t n = 0;

	p->opts->n_dups++;
	if (p->opts->n_dups > JSON_MAX_DUPS) {
		p->opts->n_dups = JSON_MAX_DUPS;
		return;
	}
	for (; at != NULL && n < ARRAY_LEN(chain); at = at->up)
		chain[n++] = at;
	while (n-- > 0) {
		if (chain[n]->key.p == NULL) {
			buf_printf(&b, "[%zu]", chain[n]->i);
			continue;
		}
		if (b.n > 0)
			buf_add1(&b, '.');
		buf_adds(&b, chain[n]->key);
	}
	if (p->opts->dups == NULL)
		p->opts->dups = arena_new_array(p->a, struct str, JSON_MAX_DUPS);
	p->opts->dups[p->opts->n_dups - 1] = arena_str(p->a, buf_str(&b));
	buf_fini(&b);
}

/* ---- scanning ---- */

static int peek(const struct parser *p)
{
	return p->at < p->text.n ? (unsigned char)p->text.p[p->at] : -1;
}

static int skip_space(struct parser *p)
{
	while (p->at < p->text.n) {
		char c = p->text.p[p->at];

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			break;
		p->at++;
	}
	return peek(p);
}

/* Length of the UTF-8 sequence at s, or 0 when it is none. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	unsigned c = s[0];
	size_t len;

	if (c < 0x80)
		return 1;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) ||
		(c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

bool json_utf8_valid(struct str s)
{
	size_t i = 0;

	while ((i += scan(s.p + i, s.n - i, SCAN_HIGH)) < s.n) {
		size_t len = utf8_len((const unsigned char *)s.p + i, s.n - i);

		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

struct json *json_new_lossy(struct arena *a, struct str s)
{
	static const char replacement[] = "\xef\xbf\xbd";
	char *to;
	size_t n = 0;

	if (json_utf8_valid(s))
		return json_new_str(a, s);
	to = arena_alloc(a, s.n * 3);
	for (size_t i = 0; i < s.n;) {
		size_t len = utf8_len((const unsigned char *)s.p + i, s.n - i);

		memcpy(to + n, len > 0 ? s.p + i : replacement, len > 0 ? len : 3);
		n += len > 0 ? len : 3;
		i += len > 0 ? len : 1;
	}
	return json_new_str(a, str_of(to, n));
}

static size_t utf8_put(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | (c >> 6));
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | (c >> 12));
		to[1] = (char)(0x80 | ((c >> 6) & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | (c >> 18));
	to[1] = (char)(0x80 | ((c >> 12) & 0x3f));
	to[2] = (char)(0x80 | ((c >> 6) & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static int hex4(struct parser *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++, p->at++) {
		int c = peek(p);

		if (c < 0 || !isxdigit(c))
			return fail_char(p, "in \\u hexadecimal character escape");
		v = v * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	*ret = v;
	return 0;
}

/* p->at stands behind "\u". */
static int unicode_escape(struct parser *p, char *to, size_t *n)
{
	uint32_t c, low;
	size_t back;

	if (hex4(p, &c) < 0)
		return -1;
	if (c >= 0xd800 && c < 0xdc00 && p->at + 1 < p->text.n && p->text.p[p->at] == '\\' &&
		p->text.p[p->at + 1] == 'u') {
		back = p->at;
		p->at += 2;
		if (hex4(p, &low) < 0)
			return -1;
		if (low >= 0xdc00 && low < 0xe000) {
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		} else {
			p->at = back;
			c = 0xfffd;
		}
	}
	if (c >= 0xd800 && c < 0xe000)
		c = 0xfffd;
	*n += utf8_put(to + *n, c);
	return 0;
}

static int escape(struct parser *p, char *to, size_t *n)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	int c = peek(p);
	const char *q = c > 0 ? strchr(from, c) : NULL;

	if (c == 'u') {
		p->at++;
		return unicode_escape(p, to, n);
	}
	if (q == NULL)
		return fail_char(p, "in string escape code");
	p->at++;
	to[(*n)++] = into[q - from];
	return 0;
}

/* p->at stands on the opening quote. The text with escapes is never shorter than without. */
static int string(struct parser *p, struct str *ret)
{
	size_t end = ++p->at, n = 0, len;
	char *to;

	while (end < p->text.n && (end += scan(p->text.p + end, p->text.n - end, SCAN_LITERAL)) < p->text.n && p->text.p[end] != '"')
		end += p->text.p[end] == '\\' ? 2 : 1;
	if (end >= p->text.n)
		end = p->text.n;
	to = arena_alloc(p->a, end - p->at + 1);
	for (;;) {
		int c;

		len = scan(p->text.p + p->at, end - p->at, SCAN_LITERAL);
		memcpy(to + n, p->text.p + p->at, len);
		n += len;
		p->at += len;
		c = peek(p);
		if (c < 0)
			return fail_end(p);
		if (c == '"')
			break;
		if (c < 0x20)
			return fail_char(p, "in string literal");
		if (c == '\\') {
			p->at++;
			if (escape(p, to, &n) < 0)
				return -1;
			continue;
		}
		len = utf8_len((const unsigned char *)p->text.p + p->at, p->text.n - p->at);
		if (len == 0) {
			err_set(p->e, ERR_BAD_REQUEST, "invalid UTF-8 in string literal");
			return fail_at(p, p->at);
		}
		memcpy(to + n, p->text.p + p->at, len);
		n += len;
		p->at += len;
	}
	p->at++;
	to[n] = '\0';
	*ret = str_of(to, n);
	return 0;
}

static int digits(struct parser *p, const char *context)
{
	if (peek(p) < '0' || peek(p) > '9')
		return fail_char(p, context);
	while (peek(p) >= '0' && peek(p) <= '9')
		p->at++;
	return 0;
}

static int number(struct parser *p, struct json **ret)
{
	size_t start = p->at;

	if (peek(p) == '-')
		p->at++;
	if (peek(p) == '0')
		p->at++;
	else if (digits(p, "in numeric literal") < 0)
		return -1;
	if (peek(p) == '.') {
		p->at++;
		if (digits(p, "after decimal point in numeric literal") < 0)
			return -1;
	}
	if (peek(p) == 'e' || peek(p) == 'E') {
		p->at++;
		if (peek(p) == '+' || peek(p) == '-')
			p->at++;
		if (digits(p, "in exponent of numeric literal") < 0)
			return -1;
	}
	*ret = json_new_number(p->a, str_sub(p->text, start, p->at));
	return 0;
}

static int literal(struct parser *p, const char *word)
{
	char context[64];

	for (size_t i = 0; word[i] != '\0'; i++, p->at++) {
		if (peek(p) != word[i]) {
			snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word,
				word[i]);
			return fail_char(p, context);
		}
	}
	return 0;
}

/* ---- values ---- */

static int value(struct parser *p, const struct place *up, unsigned depth, struct json **ret);

static int array(struct parser *p, const struct place *up, unsigned depth, struct json **ret)
{
	struct place here = {up, STR_NULL, 0};
	struct json *j = json_new_array(p->a), *v;

	p->at++;
	if (skip_space(p) == ']') {
		p->at++;
		*ret = j;
		return 0;
	}
	for (;; here.i++) {
		int c;

		if (value(p, &here, depth, &v) < 0)
			return -1;
		json_push(p->a, j, v);
		c = skip_space(p);
		if (c != ',' && c != ']')
			return fail_char(p, "after array element");
		p->at++;
		if (c == ']')
			break;
	}
	*ret = j;
	return 0;
}

static int member(struct parser *p, struct json *o, const struct place *up, unsigned depth)
{
	struct place here = {up, STR_NULL, 0};
	struct json *v;

	if (string(p, &here.key) < 0)
		return -1;
	if (skip_space(p) != ':')
		return fail_char(p, "after object key");
	p->at++;
	if (value(p, &here, depth, &v) < 0)
		return -1;
	if (json_get(o, here.key)) {
		note_dup(p, &here);
		json_set(p->a, o, here.key, v);
	} else {
		json_add(p->a, o, here.key, v);
	}
	return 0;
}

static int object(struct parser *p, const struct place *up, unsigned depth, struct json **ret)
{
	struct json *j = json_new_object(p->a);
	int c;

	p->at++;
	if (skip_space(p) == '}') {
		p->at++;
		*ret = j;
		return 0;
	}
	do {
		if (skip_space(p) != '"')
			return fail_char(p, "looking for beginning of object key string");
		if (member(p, j, up, depth) < 0)
			return -1;
		c = skip_space(p);
		if (c != ',' && c != '}')
			return fail_char(p, "after object key:value pair");
		p->at++;
	} while (c == ',');
	*ret = j;
	return 0;
}

static int value(struct parser *p, const struct place *up, unsigned depth, struct json **ret)
{
	int c = skip_space(p);
	struct str s;

	if (p->nodes_left-- == 0) {
		err_set(p->e, ERR_TOO_LARGE, "JSON has too many values");
		return fail_at(p, p->at);
	}
	if ((c == '{' || c == '[') && depth >= p->max_depth) {
		err_set(p->e, ERR_BAD_REQUEST, "exceeded max depth");
		return fail_at(p, p->at);
	}
	switch (c) {
	case '{':
		return object(p, up, depth + 1, ret);
	case '[':
		return array(p, up, depth + 1, ret);
	case '"':
		if (string(p, &s) < 0)
			return -1;
		*ret = json_new_null(p->a);
		(*ret)->type = JSON_STRING;
		(*ret)->s = s;
		return 0;
	case 't':
	case 'f':
		*ret = json_new_bool(p->a, c == 't');
		return literal(p, c == 't' ? "true" : "false");
	case 'n':
		*ret = json_new_null(p->a);
		return literal(p, "null");
	default:
		if (c == '-' || (c >= '0' && c <= '9'))
			return number(p, ret);
		return fail_char(p, "looking for beginning of value");
	}
}

static int parse(struct arena *a, struct str text, struct json_opts *opts, bool whole,
	struct json **ret, struct err *e)
{
	struct err own = ERR_INIT;
	struct parser p = {
		.a = a,
		.text = text,
		.nodes_left = opts->max_nodes ? opts->max_nodes : JSON_MAX_NODES,
		.max_depth =
			opts->max_depth ? MIN(opts->max_depth, JSON_MAX_DEPTH) : JSON_MAX_DEPTH,
		.opts = opts,
		.e = e ? e : &own,
	};
	size_t max_size = opts->max_size ? opts->max_size : JSON_MAX_SIZE;
	struct json *j;

	opts->dups = NULL;
	opts->n_dups = 0;
	if (text.n > max_size)
		return err_set(e, ERR_TOO_LARGE, "JSON of %zu bytes is over the limit of %zu",
			text.n, max_size);
	if (value(&p, NULL, 0, &j) < 0)
		return -(int)p.e->code;
	if (skip_space(&p) >= 0 && whole) {
		fail_char(&p, "after top-level value");
		return -(int)p.e->code;
	}
	opts->used = p.at;
	*ret = j;
	return 0;
}

int json_parse(
	struct arena *a, struct str text, struct json_opts *opts, struct json **ret, struct err *e)
{
	struct json_opts own = {0};

	return parse(a, text, opts ? opts : &own, true, ret, e);
}

int json_parse_prefix(
	struct arena *a, struct str text, struct json_opts *opts, struct json **ret, struct err *e)
{
	return parse(a, text, opts, false, ret, e);
}

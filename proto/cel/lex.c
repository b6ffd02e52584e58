#include <string.h>

#include "proto/cel/cel-priv.h"

static char peek(const struct cel__lexer *l, uint32_t ahead)
{
	return l->at + ahead < l->text.n ? l->text.p[l->at + ahead] : '\0';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static void skip_space(struct cel__lexer *l)
{
	for (;;) {
		char c = peek(l, 0);

		if (l->at >= l->text.n)
			return;
		if (c == '/' && peek(l, 1) == '/') {
			while (l->at < l->text.n && peek(l, 0) != '\n')
				l->at++;
		} else if (strchr(" \t\r\n\f", c) != NULL && c != '\0') {
			l->at++;
		} else {
			return;
		}
	}
}

static void number(struct cel__lexer *l, struct cel__token *t)
{
	t->type = TOK_INT;
	if (peek(l, 0) == '0' && peek(l, 1) == 'x' && is_hex(peek(l, 2))) {
		l->at += 2;
		while (is_hex(peek(l, 0)))
			l->at++;
	} else {
		while (is_digit(peek(l, 0)))
			l->at++;
		if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
			t->type = TOK_FLOAT;
			l->at++;
			while (is_digit(peek(l, 0)))
				l->at++;
		}
		if (peek(l, 0) == 'e' || peek(l, 0) == 'E') {
			uint32_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';

			if (is_digit(peek(l, 1 + sign))) {
				t->type = TOK_FLOAT;
				l->at += 1 + sign;
				while (is_digit(peek(l, 0)))
					l->at++;
			}
		}
	}
	if (t->type == TOK_INT && (peek(l, 0) == 'u' || peek(l, 0) == 'U')) {
		l->at++;
		t->type = TOK_UINT;
	}
}

static void bad(struct cel__lexer *l, struct cel__token *t)
{
	t->type = TOK_BAD;
	cel__complain(l->report, t->pos, "Syntax error: token recognition error at: '%.*s'", (int)MIN(l->at - t->pos, 64u),
		l->text.p + t->pos);
}

/* From the first quote on; the prefix was read. */
static void quoted(struct cel__lexer *l, struct cel__token *t, bool raw)
{
	char q = peek(l, 0);
	bool triple = peek(l, 1) == q && peek(l, 2) == q;

	l->at += triple ? 3 : 1;
	for (;;) {
		char c = peek(l, 0);

		if (l->at >= l->text.n || (!triple && (c == '\n' || c == '\r'))) {
			bad(l, t);
			return;
		}
		if (c == '\\' && !raw) {
			l->at += l->at + 1 < l->text.n ? 2 : 1;
			continue;
		}
		if (c == q && (!triple || (peek(l, 1) == q && peek(l, 2) == q))) {
			l->at += triple ? 3 : 1;
			return;
		}
		l->at++;
	}
}

static bool string(struct cel__lexer *l, struct cel__token *t)
{
	uint32_t n = 0;
	bool bytes = false, raw = false;
	char c = peek(l, 0);

	if (c == 'b' || c == 'B') {
		bytes = true;
		c = peek(l, ++n);
	}
	if (c == 'r' || c == 'R') {
		raw = true;
		c = peek(l, ++n);
	}
	if (c != '"' && c != '\'')
		return false;
	l->at += n;
	t->type = bytes ? TOK_BYTES : TOK_STRING;
	quoted(l, t, raw);
	return true;
}

static void word(struct cel__lexer *l, struct cel__token *t)
{
	static const struct {
		const char *text;
		enum cel__token_type type;
	} words[] = {{"true", TOK_TRUE}, {"false", TOK_FALSE}, {"null", TOK_NULL}, {"in", TOK_OP}};

	while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)))
		l->at++;
	t->type = TOK_IDENT;
	t->text = str_sub(l->text, t->pos, l->at);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (str_eqc(t->text, words[i].text))
			t->type = words[i].type;
	if (t->type == TOK_OP)
		t->op = CEL__OP('i', 'n');
}

static void punctuation(struct cel__lexer *l, struct cel__token *t)
{
	static const char *const twos[] = {"==", "!=", "<=", ">=", "&&", "||"};
	char c = peek(l, 0);

	t->type = TOK_OP;
	for (size_t i = 0; i < ARRAY_LEN(twos); i++)
		if (c == twos[i][0] && peek(l, 1) == twos[i][1]) {
			l->at += 2;
			t->op = CEL__OP(twos[i][0], twos[i][1]);
			return;
		}
	l->at++;
	t->op = (unsigned char)c;
	if (c == '\0' || strchr("<>()[]{}.,-+*/%!?:", c) == NULL) {
		while (l->at < l->text.n && ((unsigned char)l->text.p[l->at] & 0xc0) == 0x80)
			l->at++;
		bad(l, t);
	}
}

void cel__lex(struct cel__lexer *l, struct cel__token *t)
{
	char c;

	skip_space(l);
	c = peek(l, 0);
	*t = (struct cel__token){.type = TOK_EOF, .pos = l->at};
	if (l->at >= l->text.n)
		return;
	if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
		if (c == '.') {
			/* ".5": as if a zero stood before it. */
			t->type = TOK_FLOAT;
			l->at++;
			number(l, t);
			t->type = TOK_FLOAT;
		} else {
			number(l, t);
		}
	} else if (!string(l, t)) {
		if (is_letter(c))
			word(l, t);
		else
			punctuation(l, t);
	}
	t->text = str_sub(l->text, t->pos, l->at);
}

/* ---- what a literal stands for ---- */

static void add_utf8(struct buf *out, uint32_t c)
{
	if (c < 0x80) {
		buf_add1(out, (char)c);
	} else if (c < 0x800) {
		buf_add1(out, (char)(0xc0 | c >> 6));
		buf_add1(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		buf_add1(out, (char)(0xe0 | c >> 12));
		buf_add1(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add1(out, (char)(0x80 | (c & 0x3f)));
	} else {
		buf_add1(out, (char)(0xf0 | c >> 18));
		buf_add1(out, (char)(0x80 | (c >> 12 & 0x3f)));
		buf_add1(out, (char)(0x80 | (c >> 6 & 0x3f)));
		buf_add1(out, (char)(0x80 | (c & 0x3f)));
	}
}

static unsigned hex_value(char c)
{
	return is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

/* n digits of a base; false: there are not so many. */
static bool digits(struct str s, size_t at, size_t n, unsigned base, uint32_t *ret)
{
	*ret = 0;
	if (at + n > s.n)
		return false;
	for (size_t i = at; i < at + n; i++) {
		if (!is_hex(s.p[i]) || hex_value(s.p[i]) >= base)
			return false;
		*ret = *ret * base + hex_value(s.p[i]);
	}
	return true;
}

/* s.p[at] is what stands behind the backslash; returns how much of it was used, 0: no such escape. */
static size_t escape(struct buf *out, struct str s, size_t at, bool bytes)
{
	static const char plain[] = "a\ab\bf\fn\nr\rt\tv\v\\\\??\"\"''``";
	uint32_t c;
	size_t n;

	for (const char *p = plain; *p; p += 2)
		if (s.p[at] == p[0]) {
			buf_add1(out, p[1]);
			return 1;
		}
	switch (s.p[at]) {
	case 'x':
	case 'X':
		n = 2;
		break;
	case 'u':
		n = 4;
		break;
	case 'U':
		n = 8;
		break;
	case '0':
	case '1':
	case '2':
	case '3':
		if (!digits(s, at, 3, 8, &c))
			return 0;
		if (bytes)
			buf_add1(out, (char)c);
		else
			add_utf8(out, c);
		return 3;
	default:
		return 0;
	}
	if ((bytes && n != 2) || !digits(s, at + 1, n, 16, &c) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	if (bytes)
		buf_add1(out, (char)c);
	else
		add_utf8(out, c);
	return n + 1;
}

bool cel__unquote(struct cel__report *r, const struct cel__token *t, struct str *ret)
{
	struct str s = t->text;
	struct buf out = BUF_INIT;
	bool raw = false, bytes = t->type == TOK_BYTES, ok = true;
	size_t quotes;

	while (*s.p != '"' && *s.p != '\'') {
		raw = raw || *s.p == 'r' || *s.p == 'R';
		s = str_skip(s, 1);
	}
	quotes = s.n >= 6 && s.p[1] == s.p[0] && s.p[2] == s.p[0] ? 3 : 1;
	s = str_sub(s, quotes, s.n - quotes);
	if (raw || str_find(s, '\\') < 0) {
		*ret = arena_str(r->a, s);
		return true;
	}
	for (size_t i = 0; i < s.n && ok;) {
		if (s.p[i] != '\\') {
			buf_add1(&out, s.p[i++]);
		} else {
			size_t n = i + 1 < s.n ? escape(&out, s, i + 1, bytes) : 0;

			ok = n > 0;
			i += 1 + n;
		}
	}
	if (ok)
		*ret = arena_str(r->a, buf_str(&out));
	else
		cel__complain(r, t->pos, "%s: unable to unescape string",
			bytes ? "invalid bytes literal" : "invalid string literal");
	buf_fini(&out);
	return ok;
}

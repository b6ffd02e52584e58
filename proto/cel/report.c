#include <stdio.h>
#include <stdlib.h>

#include "proto/cel/cel-priv.h"

/* As many as upstream shows. */
#define MAX_ISSUES 100
#define MAX_SNIPPET 16384

void *cel__complain(struct cel__report *r, uint32_t pos, const char *fmt, ...)
{
	struct cel__issue *issue;
	va_list ap;

	if (r->n > MAX_ISSUES)
		return NULL;
	if (r->n == r->cap) {
		size_t cap = MAX(r->cap * 2, (size_t)4);

		r->issues = arena_grow(r->a, r->issues, r->n * sizeof(*issue), cap * sizeof(*issue));
		r->cap = cap;
	}
	issue = &r->issues[r->n++];
	issue->pos = pos;
	va_start(ap, fmt);
	issue->text = arena_vprintf(r->a, fmt, ap);
	va_end(ap);
	return NULL;
}

static size_t char_size(const char *p, size_t left)
{
	unsigned char c = (unsigned char)*p;
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	return MIN(n, left);
}

static void add_issue(struct buf *out, const struct cel__report *r, const struct cel__issue *issue)
{
	size_t begin = issue->pos, end = issue->pos, line = 1, column = 0;

	while (begin > 0 && r->text.p[begin - 1] != '\n')
		begin--;
	while (end < r->text.n && r->text.p[end] != '\n')
		end++;
	for (size_t i = 0; i < begin; i++)
		line += r->text.p[i] == '\n';
	for (size_t i = begin; i < issue->pos; i += char_size(r->text.p + i, r->text.n - i))
		column++;
	buf_printf(out, "ERROR: <input>:%zu:%zu: %s", line, column + 1, issue->text);
	if (end == begin || end - begin > MAX_SNIPPET)
		return;
	buf_addc(out, "\n | ");
	for (size_t i = begin; i < end; i++)
		buf_add1(out, r->text.p[i] == '\t' ? ' ' : r->text.p[i]);
	buf_addc(out, "\n | ");
	for (size_t i = begin; i < issue->pos;) {
		size_t n = char_size(r->text.p + i, r->text.n - i);

		/* Wide characters get a wide dot, as upstream has it. */
		buf_addc(out, n > 1 ? "\uff0e" : ".");
		i += n;
	}
	buf_addc(out, issue->pos < end && (unsigned char)r->text.p[issue->pos] >= 0x80 ? "\uff3e" : "^");
}

static int by_pos(const void *va, const void *vb)
{
	const struct cel__issue *a = va, *b = vb;

	if (a->pos != b->pos)
		return a->pos < b->pos ? -1 : 1;
	return 0;
}

/* Insertion: few, and the order of equals is kept. */
static void sort(struct cel__issue *v, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && by_pos(&v[j - 1], &v[j]) > 0; j--) {
			struct cel__issue t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
}

struct str cel__report_text(struct cel__report *r)
{
	struct buf out = BUF_INIT;
	struct str s;

	sort(r->issues, r->n);
	for (size_t i = 0; i < MIN(r->n, (size_t)MAX_ISSUES); i++) {
		if (i > 0)
			buf_add1(&out, '\n');
		add_issue(&out, r, &r->issues[i]);
	}
	if (r->n > MAX_ISSUES)
		buf_printf(&out, "\n %zu more errors were truncated", r->n - MAX_ISSUES);
	s = arena_str(r->a, buf_str(&out));
	buf_fini(&out);
	return s;
}

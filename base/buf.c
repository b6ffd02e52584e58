#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Up to here a block at hand and a copy are less than malloc's search for a larger one. */
#define MOVE_SIZE 1024u

void buf_init(struct buf *b, size_t limit)
{
	*b = (struct buf)BUF_INIT;
	b->limit = MIN(limit, BUF_NO_LIMIT);
}

void buf_fini(struct buf *b)
{
	size_t limit = b->limit;

	xfree(b->p);
	buf_init(b, limit);
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
	if (b->p)
		b->p[0] = '\0';
}

char *buf__grow(struct buf *b, size_t size)
{
	size_t cap;

	if (b->failed || size > b->limit || b->n > b->limit - size) {
		b->failed = true;
		return NULL;
	}
	/* Fast to a size at which moving costs more than a few bytes too many. */
	cap = b->cap == 0 ? 64 : b->cap < 1024 ? b->cap * 4 : b->cap * 2;
	cap = MAX(cap, b->n + size + 1);
	if (cap < MOVE_SIZE) {
		char *p = xmalloc(cap);

		if (b->p != NULL)
			memcpy(p, b->p, b->n + 1);
		xfree(b->p);
		b->p = p;
	} else {
		b->p = xrealloc(b->p, cap);
	}
	b->cap = cap;
	return b->p + b->n;
}

void buf_advance(struct buf *b, size_t size)
{
	ASSERT(b->cap - b->n > size);
	b->n += size;
	b->p[b->n] = '\0';
}

void buf_add(struct buf *b, const void *p, size_t size)
{
	char *to = buf_reserve(b, size);

	if (to == NULL)
		return;
	if (size > 0)
		memcpy(to, p, size);
	buf_advance(b, size);
}

void buf_adds(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void buf_addc(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_add1(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	char brief[256], *to;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(brief, sizeof(brief), fmt, again);
	va_end(again);
	ASSERT(n >= 0);
	to = buf_reserve(b, (size_t)n);
	if (to == NULL)
		return;
	if ((size_t)n < sizeof(brief))
		memcpy(to, brief, (size_t)n);
	else
		vsnprintf(to, (size_t)n + 1, fmt, ap);
	buf_advance(b, (size_t)n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_consume(struct buf *b, size_t size)
{
	ASSERT(size <= b->n);
	if (size == 0)
		return;
	memmove(b->p, b->p + size, b->n - size + 1);
	b->n -= size;
}

char *buf_take(struct buf *b, size_t *ret_size)
{
	char *p = b->p ? b->p : xstrdup("");
	size_t limit = b->limit;

	if (ret_size)
		*ret_size = b->n;
	buf_init(b, limit);
	return p;
}

/*
 * struct buf: a growable run of bytes with a hard limit.
 *
 * Appending past the limit sets `failed` and drops that append; later appends are dropped too, so that a
 * writer checks once at the end (buf_ok). Out of memory aborts. The bytes stay NUL-terminated behind n.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
	char *p;      /* n bytes, then a NUL; NULL while empty */
	size_t n;     /* bytes in use */
	size_t cap;   /* bytes allocated */
	size_t limit; /* n never grows past this */
	bool failed;  /* an append was dropped */
};

/* No limit but memory (2^48). Static initialiser and function. */
#define BUF_NO_LIMIT ((size_t)1 << 48)
#define BUF_INIT {NULL, 0, 0, BUF_NO_LIMIT, false}
void buf_init(struct buf *, size_t limit);
void buf_fini(struct buf *);
/* Forget the bytes, keep the memory. */
void buf_clear(struct buf *);
static inline bool buf_ok(const struct buf *b)
{
	return !b->failed;
}
static inline struct str buf_str(const struct buf *b)
{
	return (struct str){b->p, b->n};
}
char *buf__grow(struct buf *, size_t size);
/* Room for `size` more bytes; returns where they go (then buf_advance), or NULL past the limit. */
static inline char *buf_reserve(struct buf *b, size_t size)
{
	/* `cap` may lie beyond the limit by what growth takes in advance: the limit is what counts. */
	if (size < b->cap - b->n && !b->failed && size <= b->limit - b->n)
		return b->p + b->n;
	return buf__grow(b, size);
}
void buf_advance(struct buf *, size_t size);
void buf_add(struct buf *, const void *p, size_t size);
void buf_adds(struct buf *, struct str s);
void buf_addc(struct buf *, const char *s);
void buf_add1(struct buf *, char c);
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *, const char *fmt, va_list ap);
/* Drop the first `size` bytes (moves the rest down). */
void buf_consume(struct buf *, size_t size);
/* The bytes, NUL-terminated, to be freed with free(); the buf is empty again. */
char *buf_take(struct buf *, size_t *ret_size);

#endif

/*
 * struct str: a borrowed, length-counted run of bytes. It owns nothing and need not end in NUL; whoever
 * made the bytes says how long they live. The empty string is {NULL or anything, 0}.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

/* From a string literal, in expressions and in static initialisers. */
#define STR(lit) ((struct str){("" lit), sizeof(lit) - 1})
#define STR_INIT(lit) {("" lit), sizeof(lit) - 1}
#define STR_NULL ((struct str){NULL, 0})
/* For printf("%.*s", STR_FMT(s)). */
#define STR_FMT(s) (int)(s).n, ((s).p ? (s).p : "")

static inline struct str str_from(const char *c)
{
	return (struct str){c, c ? strlen(c) : 0};
}
static inline struct str str_of(const void *p, size_t n)
{
	return (struct str){(const char *)p, n};
}
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_eqc(struct str a, const char *b)
{
	return str_eq(a, str_from(b));
}
static inline bool str_empty(struct str s)
{
	return s.n == 0;
}
/* Bytewise order, as memcmp; a prefix sorts first. Returns <0, 0, >0. */
int str_cmp(struct str a, struct str b);
bool str_has_prefix(struct str s, struct str prefix);
bool str_has_suffix(struct str s, struct str suffix);
/* s without its first n bytes (n is capped at s.n). */
struct str str_skip(struct str s, size_t n);
struct str str_sub(struct str s, size_t from, size_t to);
/* Index of c, or -1. */
ptrdiff_t str_find(struct str s, char c);
ptrdiff_t str_rfind(struct str s, char c);
/* Index of needle, or -1. */
ptrdiff_t str_search(struct str s, struct str needle);
/* Split at the first c: true, head and tail set when found; else head = s, tail = empty, false. */
bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail);
/* Remove ASCII white space at both ends. */
struct str str_trim(struct str s);
bool str_ieq(struct str a, struct str b);
/* Decimal integers over the whole string; false on anything else or on overflow. */
bool str_to_i64(struct str s, int64_t *ret);
bool str_to_u64(struct str s, uint64_t *ret);
/* In decimal, into room for STR_U64_SIZE bytes (no NUL); it lies at their end. */
#define STR_U64_SIZE 20
struct str str_u64(uint64_t v, char room[STR_U64_SIZE]);
/* FNV-1a with a finaliser, for hash tables (not against hostile input without a seed). */
uint64_t str_hash(struct str s);
/* A heap copy ending in NUL; caller frees. */
char *str_dup(struct str s);

#endif

/*
 * How far a text goes on without anything that JSON has to look at: sixteen bytes at a time where the processor can (every
 * x86-64), else eight. Most bytes that come and go are such.
 */
#ifndef PROTO_SCAN_H
#define PROTO_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum scan_stop {
	SCAN_HIGH = 1,     /* bytes beyond ASCII */
	SCAN_LITERAL = 2,  /* those, controls, quotes and backslashes: what does not stand for itself in a string */
	SCAN_HTML = 4,     /* those, and < > &, which Go escapes */
};

static inline bool scan__stops(unsigned char c, enum scan_stop stop)
{
	if (c >= 0x80)
		return true;
	if (stop == SCAN_HIGH)
		return false;
	if (c < 0x20 || c == '"' || c == '\\')
		return true;
	return stop == SCAN_HTML && (c == '<' || c == '>' || c == '&');
}

#ifdef __SSE2__
#define SCAN_STEP sizeof(__m128i)

/* A bit for each of the sixteen bytes at which it stops. */
static inline unsigned scan__block(const char *s, enum scan_stop stop)
{
	__m128i w = _mm_loadu_si128((const __m128i *)(const void *)s), bad;

	if (stop == SCAN_HIGH)
		return (unsigned)_mm_movemask_epi8(w);
	/* Signed: bytes beyond ASCII are below the space, too. */
	bad = _mm_or_si128(_mm_cmplt_epi8(w, _mm_set1_epi8(0x20)),
			_mm_or_si128(_mm_cmpeq_epi8(w, _mm_set1_epi8('"')), _mm_cmpeq_epi8(w, _mm_set1_epi8('\\'))));
	/* Without the bit in which < and > differ both are <. */
	if (stop == SCAN_HTML)
		bad = _mm_or_si128(bad, _mm_or_si128(_mm_cmpeq_epi8(_mm_and_si128(w, _mm_set1_epi8((char)0xfd)), _mm_set1_epi8('<')),
						_mm_cmpeq_epi8(w, _mm_set1_epi8('&'))));
	return (unsigned)_mm_movemask_epi8(bad);
}
#else
#define SCAN_STEP sizeof(uint64_t)
#define SCAN__EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Not 0 where any byte is 0 (or, behind such a one, 1). */
static inline uint64_t scan__zeros(uint64_t w)
{
	return (w - SCAN__EACH(1)) & ~w & SCAN__EACH(0x80);
}

/* Not 0: it stops at one of the eight bytes. */
static inline bool scan__block(const char *s, enum scan_stop stop)
{
	uint64_t w;

	memcpy(&w, s, sizeof(w));
	if (w & SCAN__EACH(0x80))
		return true;
	if (stop == SCAN_HIGH)
		return false;
	if (((w - SCAN__EACH(0x20)) & SCAN__EACH(0x80)) || scan__zeros(w ^ SCAN__EACH('"')) || scan__zeros(w ^ SCAN__EACH('\\')))
		return true;
	return stop == SCAN_HTML && (scan__zeros((w & SCAN__EACH(0xfd)) ^ SCAN__EACH('<')) || scan__zeros(w ^ SCAN__EACH('&')));
}
#endif

/* The number of bytes before the first at which it stops. */
static inline size_t scan(const char *s, size_t n, enum scan_stop stop)
{
	size_t i = 0;

	for (; n - i >= SCAN_STEP; i += SCAN_STEP)
		if (scan__block(s + i, stop))
			break;
	while (i < n && !scan__stops((unsigned char)s[i], stop))
		i++;
	return i;
}

#endif

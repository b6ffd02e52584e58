#include "base/str.h"

#include <limits.h>
#include <stdlib.h>
#include <strings.h>

#include "base/util.h"

int str_cmp(struct str a, struct str b)
{
	size_t n = MIN(a.n, b.n);
	int c = n ? memcmp(a.p, b.p, n) : 0;

	if (c != 0)
		return c;
	return a.n < b.n ? -1 : a.n > b.n;
}

bool str_has_prefix(struct str s, struct str prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool str_has_suffix(struct str s, struct str suffix)
{
	return s.n >= suffix.n &&
	       (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

struct str str_skip(struct str s, size_t n)
{
	n = MIN(n, s.n);
	return (struct str){s.p ? s.p + n : NULL, s.n - n};
}

struct str str_sub(struct str s, size_t from, size_t to)
{
	to = MIN(to, s.n);
	from = MIN(from, to);
	return (struct str){s.p ? s.p + from : NULL, to - from};
}

ptrdiff_t str_find(struct str s, char c)
{
	const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

	return q ? q - s.p : -1;
}

ptrdiff_t str_rfind(struct str s, char c)
{
	const char *q = s.n ? memrchr(s.p, c, s.n) : NULL;

	return q ? q - s.p : -1;
}

ptrdiff_t str_search(struct str s, struct str needle)
{
	const char *q;

	if (needle.n == 0)
		return 0;
	q = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
	return q ? q - s.p : -1;
}

bool str_cut(struct str s, char c, struct str *ret_head, struct str *ret_tail)
{
	ptrdiff_t i = str_find(s, c);

	*ret_head = i < 0 ? s : str_sub(s, 0, (size_t)i);
	*ret_tail = i < 0 ? STR_NULL : str_skip(s, (size_t)i + 1);
	return i >= 0;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.n > 0 && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_ieq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - (unsigned)'0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*ret = v;
	return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
	bool neg = s.n > 0 && s.p[0] == '-';
	uint64_t v;

	if (!str_to_u64(neg ? str_skip(s, 1) : s, &v))
		return false;
	if (neg) {
		if (v > (uint64_t)INT64_MAX + 1)
			return false;
		*ret = v == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)v;
		return true;
	}
	if (v > INT64_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

struct str str_u64(uint64_t v, char room[STR_U64_SIZE])
{
	char *p = room + STR_U64_SIZE;

	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	return str_of(p, (size_t)(room + STR_U64_SIZE - p));
}

uint64_t str_hash(struct str s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ (h >> 32);
}

char *str_dup(struct str s)
{
	return xstrndup(s.p ? s.p : "", s.n);
}

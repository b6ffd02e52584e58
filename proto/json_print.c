/*
 * Printing the tree of json.h, as Go's encoder does it: the same escapes (what HTML and JavaScript could take for something else
 * too, unless JSON_RAW_HTML), and numbers as their text. Runs of characters that stand for themselves are found sixteen bytes at
 * a time (scan.h) and copied whole.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/json-priv.h"
#include "proto/scan.h"

/* How the character at s.p[i] is written, in `room`; NULL: as it is. *n: its bytes. */
static const char *escape(struct str s, size_t i, unsigned flags, char room[8], size_t *n)
{
	static const char hex[] = "0123456789abcdef", from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
	unsigned char c = (unsigned char)s.p[i];
	const char *known = c ? strchr(from, c) : NULL;

	*n = 1;
	if (known) {
		memcpy(room, (const char[]){'\\', to[known - from], '\0'}, 3);
		return room;
	}
	if (c < 0x20 || (!(flags & JSON_RAW_HTML) && (c == '<' || c == '>' || c == '&'))) {
		memcpy(room, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0'}, 7);
		return room;
	}
	/* U+2028 and U+2029 end a line in JavaScript. */
	if (c != 0xe2 || s.n - i < 3 || (unsigned char)s.p[i + 1] != 0x80 || ((unsigned char)s.p[i + 2] & 0xfe) != 0xa8)
		return NULL;
	*n = 3;
	return (unsigned char)s.p[i + 2] == 0xa8 ? "\\u2028" : "\\u2029";
}

void json_print_string(struct buf *b, struct str s, unsigned flags)
{
	enum scan_stop stop = flags & JSON_RAW_HTML ? SCAN_LITERAL : SCAN_HTML;
	size_t start = 0, i = 0, n;
	char room[8];

	buf_add1(b, '"');
	while ((i += scan(s.p + i, s.n - i, stop)) < s.n) {
		const char *esc = escape(s, i, flags, room, &n);

		if (esc) {
			buf_add(b, s.p + start, i - start);
			buf_addc(b, esc);
			start = i + n;
		}
		i += n;
	}
	buf_add(b, s.p + start, s.n - start);
	buf_add1(b, '"');
}

static void newline(struct buf *b, unsigned flags, unsigned depth)
{
	if (!(flags & (JSON_PRETTY | JSON_PRETTY2)))
		return;
	buf_add1(b, '\n');
	for (unsigned i = 0; i < depth; i++)
		buf_addc(b, flags & JSON_PRETTY2 ? "  " : "    ");
}

static void print(struct buf *, const struct json *, unsigned flags, unsigned depth);

static void print_member(
	struct buf *b, const struct json_member *m, bool first, unsigned flags, unsigned depth)
{
	if (!first)
		buf_add1(b, ',');
	newline(b, flags, depth);
	json_print_string(b, m->key, flags);
	buf_addc(b, flags & (JSON_PRETTY | JSON_PRETTY2) ? ": " : ":");
	print(b, m->value, flags, depth);
}

static void print_object(struct buf *b, const struct json *j, unsigned flags, unsigned depth)
{
	const struct json_member *members = j->members;
	struct json_member *sorted = NULL;

	if ((flags & JSON_SORTED) && j->n > 1) {
		sorted = xmalloc(j->n * sizeof(*sorted));
		memcpy(sorted, j->members, j->n * sizeof(*sorted));
		qsort(sorted, j->n, sizeof(*sorted), json__member_cmp);
		members = sorted;
	}
	buf_add1(b, '{');
	for (uint32_t i = 0; i < j->n; i++)
		print_member(b, &members[i], i == 0, flags, depth + 1);
	free(sorted);
	if (j->n > 0)
		newline(b, flags, depth);
	buf_add1(b, '}');
}

static void print(struct buf *b, const struct json *j, unsigned flags, unsigned depth)
{
	switch (json_type(j)) {
	case JSON_NULL:
		buf_addc(b, "null");
		break;
	case JSON_BOOL:
		buf_addc(b, j->b ? "true" : "false");
		break;
	case JSON_NUMBER:
		buf_adds(b, j->s);
		break;
	case JSON_STRING:
		json_print_string(b, j->s, flags);
		break;
	case JSON_ARRAY:
		buf_add1(b, '[');
		for (uint32_t i = 0; i < j->n; i++) {
			if (i > 0)
				buf_add1(b, ',');
			newline(b, flags, depth + 1);
			print(b, j->items[i], flags, depth + 1);
		}
		if (j->n > 0)
			newline(b, flags, depth);
		buf_add1(b, ']');
		break;
	case JSON_OBJECT:
		print_object(b, j, flags, depth);
		break;
	}
}

void json_print(struct buf *b, const struct json *j, unsigned flags)
{
	print(b, j, flags, 0);
}

struct str json_text(struct arena *a, const struct json *j)
{
	struct buf b = BUF_INIT;
	struct str s;

	json_print(&b, j, JSON_COMPACT);
	s = arena_str(a, buf_str(&b));
	buf_fini(&b);
	return s;
}

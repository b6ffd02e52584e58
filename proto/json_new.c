/*
 * Making values of json.h: new ones, and copies of whole trees. Whatever text comes in is copied into the arena, so that a
 * tree never borrows from anything but its arena. A double becomes the text that Go prints for it.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "proto/json.h"

static struct json *node(struct arena *a, enum json_type type)
{
	struct json *j = arena_zalloc(a, sizeof(*j));

	j->type = type;
	return j;
}

struct json *json_new_null(struct arena *a)
{
	return node(a, JSON_NULL);
}

struct json *json_new_bool(struct arena *a, bool b)
{
	struct json *j = node(a, JSON_BOOL);

	j->b = b;
	return j;
}

struct json *json_new_number(struct arena *a, struct str text)
{
	struct json *j = node(a, JSON_NUMBER);

	j->s = arena_str(a, text);
	return j;
}

struct json *json_new_int(struct arena *a, int64_t i)
{
	char room[STR_U64_SIZE];

	if (i < 0)
		return json_new_number(a, ARENA_JOIN(a, STR("-"), str_u64(-(uint64_t)i, room)));
	return json_new_number(a, str_u64((uint64_t)i, room));
}

/* As Go: plain digits between 1e-6 and 1e21, else an exponent without leading zeros. */
struct json *json_new_double(struct arena *a, double d)
{
	char sci[40], text[64];
	int prec, exp;

	if (!isfinite(d))
		return json_new_null(a);
	for (prec = 0; prec < 17; prec++) {
		snprintf(sci, sizeof(sci), "%.*e", prec, d);
		if (strtod(sci, NULL) == d)
			break;
	}
	exp = atoi(strchr(sci, 'e') + 1);
	if (d == 0)
		snprintf(text, sizeof(text), "%s", signbit(d) ? "-0" : "0");
	else if (exp >= -6 && exp < 21)
		snprintf(text, sizeof(text), "%.*f", MAX(prec - exp, 0), d);
	else
		snprintf(text, sizeof(text), "%.*se%c%02d", (int)(strchr(sci, 'e') - sci), sci,
			exp < 0 ? '-' : '+', abs(exp));
	return json_new_number(a, str_from(text));
}

struct json *json_new_str(struct arena *a, struct str s)
{
	struct json *j = node(a, JSON_STRING);

	j->s = arena_str(a, s);
	return j;
}

struct json *json_newc(struct arena *a, const char *s)
{
	return json_new_str(a, str_from(s));
}

struct json *json_newf(struct arena *a, const char *fmt, ...)
{
	struct json *j = node(a, JSON_STRING);
	va_list ap;

	va_start(ap, fmt);
	j->s = str_from(arena_vprintf(a, fmt, ap));
	va_end(ap);
	return j;
}

struct json *json_new_array(struct arena *a)
{
	return node(a, JSON_ARRAY);
}

struct json *json_new_object(struct arena *a)
{
	return node(a, JSON_OBJECT);
}

struct json *json_copy(struct arena *a, const struct json *from)
{
	struct json *j;

	if (from == NULL)
		return NULL;
	j = node(a, from->type);
	switch (from->type) {
	case JSON_NULL:
		break;
	case JSON_BOOL:
		j->b = from->b;
		break;
	case JSON_NUMBER:
	case JSON_STRING:
		j->s = arena_str(a, from->s);
		break;
	case JSON_ARRAY:
		j->items = arena_alloc(a, from->n * sizeof(*j->items));
		j->items_cap = j->n = from->n;
		for (uint32_t i = 0; i < from->n; i++)
			j->items[i] = json_copy(a, from->items[i]);
		break;
	case JSON_OBJECT:
		j->members = arena_alloc(a, from->n * sizeof(*j->members));
		j->members_cap = j->n = from->n;
		for (uint32_t i = 0; i < from->n; i++) {
			j->members[i].key = arena_str(a, from->members[i].key);
			j->members[i].value = json_copy(a, from->members[i].value);
		}
		break;
	}
	return j;
}

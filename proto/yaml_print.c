#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/util.h"
#include "proto/yaml-priv.h"
#include "proto/yaml.h"

/*
 * libyaml's emitter is what Go's yaml.v2 was made from, so feeding it the same events with the same
 * style hints gives kubectl's text.
 */

static int write_out(void *data, unsigned char *p, size_t n)
{
	buf_add(data, p, n);
	return 1;
}

static void emit(yaml_emitter_t *em, yaml_event_t *ev)
{
	/* Fails only when memory runs out or our events are out of order. */
	ASSERT(yaml_emitter_emit(em, ev));
}

/* "1:20" is 80 in YAML 1.1. */
static bool is_base60(struct str s)
{
	size_t i = 0, colons = 0;

	if (s.n > 0 && (s.p[0] == '+' || s.p[0] == '-'))
		i = 1;
	if (i >= s.n || !isdigit((unsigned char)s.p[i]))
		return false;
	for (; i < s.n && s.p[i] != '.'; i++) {
		if (s.p[i] == ':')
			colons++;
		else if (!isdigit((unsigned char)s.p[i]) && s.p[i] != '_')
			return false;
	}
	return colons > 0;
}

static yaml_scalar_style_t style_of(struct str s)
{
	if (str_find(s, '\n') >= 0)
		return YAML_LITERAL_SCALAR_STYLE;
	if (yaml__resolve(s).kind == YAML__STRING && !is_base60(s) && !yaml__is_timestamp(s))
		return YAML_PLAIN_SCALAR_STYLE;
	return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
}

static void emit_scalar(yaml_emitter_t *em, struct str s, yaml_scalar_style_t style)
{
	yaml_event_t ev;

	ASSERT(yaml_scalar_event_initialize(
		&ev, NULL, NULL, (const yaml_char_t *)(s.p ? s.p : ""), (int)s.n, 1, 1, style));
	emit(em, &ev);
}

/* Go's order of keys: letters after other characters, runs of digits by value. */
static int natural_cmp(struct str a, struct str b)
{
	size_t i = 0, ai, bi;
	uint64_t an = 0, bn = 0;

	while (i < a.n && i < b.n && a.p[i] == b.p[i])
		i++;
	if (i == a.n || i == b.n)
		return a.n < b.n ? -1 : a.n > b.n;
	if (isalpha((unsigned char)a.p[i]) || isalpha((unsigned char)b.p[i])) {
		if (isalpha((unsigned char)a.p[i]) && isalpha((unsigned char)b.p[i]))
			return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
		return isalpha((unsigned char)b.p[i]) ? -1 : 1;
	}
	/* Inside a number the zero counts; leading zeros do not. */
	if (a.p[i] == '0' || b.p[i] == '0')
		for (size_t j = i; j > 0 && isdigit((unsigned char)a.p[j - 1]); j--)
			if (a.p[j - 1] != '0') {
				an = bn = 1;
				break;
			}
	for (ai = i; ai < a.n && isdigit((unsigned char)a.p[ai]); ai++)
		an = an * 10 + (uint64_t)(a.p[ai] - '0');
	for (bi = i; bi < b.n && isdigit((unsigned char)b.p[bi]); bi++)
		bn = bn * 10 + (uint64_t)(b.p[bi] - '0');
	if (an != bn)
		return an < bn ? -1 : 1;
	if (ai != bi)
		return ai < bi ? -1 : 1;
	return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
}

static int member_cmp(const void *a, const void *b)
{
	return natural_cmp(
		((const struct json_member *)a)->key, ((const struct json_member *)b)->key);
}

static void print(yaml_emitter_t *em, const struct json *j);

static void print_object(yaml_emitter_t *em, const struct json *j)
{
	struct json_member *sorted = xmalloc(j->n * sizeof(*sorted) + 1);
	yaml_event_t ev;

	if (j->n > 0)
		memcpy(sorted, j->members, j->n * sizeof(*sorted));
	qsort(sorted, j->n, sizeof(*sorted), member_cmp);
	ASSERT(yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
	emit(em, &ev);
	for (uint32_t i = 0; i < j->n; i++) {
		emit_scalar(em, sorted[i].key, style_of(sorted[i].key));
		print(em, sorted[i].value);
	}
	ASSERT(yaml_mapping_end_event_initialize(&ev));
	emit(em, &ev);
	free(sorted);
}

static void print(yaml_emitter_t *em, const struct json *j)
{
	yaml_event_t ev;

	switch (json_type(j)) {
	case JSON_NULL:
		emit_scalar(em, STR("null"), YAML_PLAIN_SCALAR_STYLE);
		break;
	case JSON_BOOL:
		emit_scalar(em, j->b ? STR("true") : STR("false"), YAML_PLAIN_SCALAR_STYLE);
		break;
	case JSON_NUMBER:
		emit_scalar(em, j->s, YAML_PLAIN_SCALAR_STYLE);
		break;
	case JSON_STRING:
		emit_scalar(em, j->s, style_of(j->s));
		break;
	case JSON_ARRAY:
		ASSERT(yaml_sequence_start_event_initialize(
			&ev, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
		emit(em, &ev);
		JSON_ITEMS (it, j)
			print(em, it);
		ASSERT(yaml_sequence_end_event_initialize(&ev));
		emit(em, &ev);
		break;
	case JSON_OBJECT:
		print_object(em, j);
		break;
	}
}

void yaml_print(struct buf *b, const struct json *j)
{
	yaml_emitter_t em;
	yaml_event_t ev;

	ASSERT(yaml_emitter_initialize(&em));
	yaml_emitter_set_output(&em, write_out, b);
	yaml_emitter_set_encoding(&em, YAML_UTF8_ENCODING);
	yaml_emitter_set_unicode(&em, 1);
	ASSERT(yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING));
	emit(&em, &ev);
	ASSERT(yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1));
	emit(&em, &ev);
	print(&em, j);
	ASSERT(yaml_document_end_event_initialize(&ev, 1));
	emit(&em, &ev);
	ASSERT(yaml_stream_end_event_initialize(&ev));
	emit(&em, &ev);
	yaml_emitter_delete(&em);
}

#include "proto/yaml.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/map.h"
#include "base/util.h"
#include "proto/yaml-priv.h"

/* Values of one stream, copies by aliases among them. */
#define MAX_NODES ((size_t)1 << 20)

struct yaml_stream {
	struct arena *a;
	struct str rest; /* of a stream of JSON values */
	bool is_json;
	bool done;
	yaml_parser_t parser;
	struct map anchors; /* name -> struct json, of one document */
	size_t nodes_left;
	struct str *dups;
	size_t n_dups;
	struct err *e;
};

/* Where a value stands, for the paths of duplicate keys. */
struct place {
	const struct place *up;
	struct str key; /* p == NULL: an element */
	size_t i;
};

static void stream_free(void *data)
{
	struct yaml_stream *ys = data;

	yaml_parser_delete(&ys->parser);
	map_fini(&ys->anchors);
}

/* A file of JSON is read as JSON: faster, and its errors are JSON's. Where keys come twice the lines are asked for. */
static bool looks_like_json(struct arena *a, struct str text)
{
	struct json_opts opts = {.max_nodes = MAX_NODES};
	struct json *j;

	text = str_trim(text);
	if (text.n == 0 || text.p[0] != '{')
		return false;
	return json_parse_prefix(a, text, &opts, &j, NULL) == 0 && opts.n_dups == 0;
}

struct yaml_stream *yaml_open(struct arena *a, struct str text)
{
	struct yaml_stream *ys = arena_new_of(a, struct yaml_stream);

	ys->a = a;
	ys->rest = text;
	ys->is_json = looks_like_json(a, text);
	ys->nodes_left = MAX_NODES;
	map_init(&ys->anchors);
	ASSERT(yaml_parser_initialize(&ys->parser));
	yaml_parser_set_encoding(&ys->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&ys->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	arena_on_free(a, stream_free, ys);
	return ys;
}

size_t yaml_dups(const struct yaml_stream *ys, struct str **ret)
{
	*ret = ys->dups;
	return ys->n_dups;
}

/* ---- errors ---- */

static int fail_line(struct yaml_stream *ys, size_t line, const char *what)
{
	ys->done = true;
	return err_set(ys->e, ERR_BAD_REQUEST, "yaml: line %zu: %s", line + 1, what);
}

static int next_event(struct yaml_stream *ys, yaml_event_t *ev)
{
	if (yaml_parser_parse(&ys->parser, ev))
		return 0;
	if (ys->parser.error == YAML_READER_ERROR) {
		ys->done = true;
		return err_set(ys->e, ERR_BAD_REQUEST, "yaml: %s at offset %zu", ys->parser.problem,
			ys->parser.problem_offset);
	}
	return fail_line(ys, ys->parser.problem_mark.line,
		ys->parser.problem ? ys->parser.problem : "syntax error");
}

static int spend(struct yaml_stream *ys, size_t n, size_t line)
{
	if (n > ys->nodes_left)
		return fail_line(
			ys, line, "document contains excessive aliasing or too many values");
	ys->nodes_left -= n;
	return 0;
}

/* The line is that of the value, and the key is shown as what it was, not as the string that it becomes. */
static void note_dup(struct yaml_stream *ys, const struct json *key, size_t line)
{
	_cleanup_(buf_fini) struct buf b = BUF_INIT;

	if (ys->n_dups >= JSON_MAX_DUPS)
		return;
	buf_printf(&b, "line %zu: key ", line + 1);
	json_print(&b, key, JSON_COMPACT);
	buf_printf(&b, " already set in map");
	if (ys->dups == NULL)
		ys->dups = arena_new_array(ys->a, struct str, JSON_MAX_DUPS);
	ys->dups[ys->n_dups++] = arena_str(ys->a, buf_str(&b));
}

/* ---- scalars ---- */

static size_t count(const struct json *j, size_t enough)
{
	size_t n = 1;

	JSON_ITEMS (it, j) {
		if (n > enough)
			break;
		n += count(it, enough - n);
	}
	JSON_MEMBERS (m, j) {
		if (n > enough)
			break;
		n += count(m->value, enough - n);
	}
	return n;
}

static int base64_value(int c)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *q = c ? strchr(alphabet, c) : NULL;

	return q ? (int)(q - alphabet) : -1;
}

/* !!binary: the decoded bytes, as long as they are text. */
static int binary(struct yaml_stream *ys, struct str s, size_t line, struct json **ret)
{
	char *to = arena_alloc(ys->a, s.n + 1);
	unsigned acc = 0, bits = 0;
	size_t n = 0;

	for (size_t i = 0; i < s.n && s.p[i] != '='; i++) {
		int v = base64_value((unsigned char)s.p[i]);

		if (v < 0 && strchr(" \n\t\r", s.p[i]))
			continue;
		if (v < 0)
			return fail_line(ys, line, "!!binary value contains invalid base64 data");
		acc = (acc << 6 | (unsigned)v) & 0xffff;
		bits += 6;
		if (bits >= 8)
			to[n++] = (char)(acc >> (bits -= 8));
	}
	if (!json_utf8_valid(str_of(to, n)))
		return fail_line(ys, line, "!!binary value is not text");
	*ret = json_new_str(ys->a, str_of(to, n));
	return 0;
}

static int scalar(struct yaml_stream *ys, const yaml_event_t *ev, struct json **ret)
{
	struct str s = str_of(ev->data.scalar.value, ev->data.scalar.length);
	const char *tag = (const char *)ev->data.scalar.tag;
	bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	struct yaml__scalar v = {.kind = YAML__STRING};
	char text[24];

	if (tag && strcmp(tag, "tag:yaml.org,2002:binary") == 0)
		return binary(ys, s, ev->start_mark.line, ret);
	if (tag && (strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0))
		plain = false;
	else if (tag && str_has_prefix(str_from(tag), STR("tag:yaml.org,2002:")))
		plain = true;
	if (plain)
		v = yaml__resolve(s);
	switch (v.kind) {
	case YAML__STRING:
	case YAML__MERGE:
		*ret = json_new_str(ys->a, s);
		return 0;
	case YAML__NULL:
		*ret = json_new_null(ys->a);
		return 0;
	case YAML__TRUE:
	case YAML__FALSE:
		*ret = json_new_bool(ys->a, v.kind == YAML__TRUE);
		return 0;
	case YAML__INT:
		snprintf(text, sizeof(text), "%llu", (unsigned long long)v.u);
		*ret = v.is_big ? json_new_number(ys->a, str_from(text)) : json_new_int(ys->a, v.i);
		return 0;
	case YAML__FLOAT:
		if (!isfinite(v.f))
			return fail_line(
				ys, ev->start_mark.line, "JSON has no value for NaN and infinity");
		*ret = json_new_double(ys->a, v.f);
		return 0;
	}
	UNREACHABLE();
}

/* ---- values ---- */

static int value(struct yaml_stream *ys, yaml_event_t *ev, const struct place *up, unsigned depth,
	struct json **ret);

static int sequence(struct yaml_stream *ys, const struct place *up, unsigned depth, struct json *j)
{
	struct place here = {up, STR_NULL, 0};
	yaml_event_t ev;
	struct json *v;
	int rc;

	for (;; here.i++) {
		rc = next_event(ys, &ev);
		if (rc < 0)
			return rc;
		if (ev.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&ev);
			return 0;
		}
		rc = value(ys, &ev, &here, depth, &v);
		yaml_event_delete(&ev);
		if (rc < 0)
			return rc;
		json_push(ys->a, j, v);
	}
}

/* A key becomes a string: 1 -> "1", yes -> "true". */
static int key_text(struct yaml_stream *ys, const struct json *k, size_t line, struct str *ret)
{
	switch (k->type) {
	case JSON_STRING:
	case JSON_NUMBER:
		*ret = k->s;
		return 0;
	case JSON_BOOL:
		*ret = k->b ? STR("true") : STR("false");
		return 0;
	default:
		return fail_line(ys, line, "a mapping key must be a string, number or boolean");
	}
}

/* Members that << brings count only where the mapping has none of its own; earlier ones win over
 * later ones. */
static int merge_one(
	struct yaml_stream *ys, const struct json *from, size_t line, struct json *merged)
{
	if (!json_is(from, JSON_OBJECT))
		return fail_line(
			ys, line, "map merge requires map or sequence of maps as the value");
	JSON_MEMBERS (m, from)
		if (json_get(merged, m->key) == NULL)
			json_set(ys->a, merged, m->key, m->value);
	return 0;
}

static int merge(struct yaml_stream *ys, const struct json *v, size_t line, struct json *merged)
{
	if (!json_is(v, JSON_ARRAY))
		return merge_one(ys, v, line, merged);
	JSON_ITEMS (it, v) {
		int rc = merge_one(ys, it, line, merged);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool is_merge_key(const yaml_event_t *ev)
{
	return ev->type == YAML_SCALAR_EVENT && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       ev->data.scalar.length == 2 && memcmp(ev->data.scalar.value, "<<", 2) == 0;
}

static int pair(struct yaml_stream *ys, yaml_event_t *key_ev, const struct place *up,
	unsigned depth, struct json *j, struct json *merged)
{
	struct place here = {up, STR_NULL, 0};
	size_t line = key_ev->start_mark.line;
	bool is_merge = is_merge_key(key_ev);
	size_t value_line;
	yaml_event_t ev;
	struct json *k, *v;
	int rc;

	rc = value(ys, key_ev, &here, depth, &k);
	if (rc < 0)
		return rc;
	rc = key_text(ys, k, line, &here.key);
	if (rc < 0)
		return rc;
	rc = next_event(ys, &ev);
	if (rc < 0)
		return rc;
	value_line = ev.start_mark.line;
	rc = value(ys, &ev, &here, depth, &v);
	yaml_event_delete(&ev);
	if (rc < 0)
		return rc;
	if (is_merge)
		return merge(ys, v, line, merged);
	if (json_get(j, here.key))
		note_dup(ys, k, value_line);
	json_set(ys->a, j, here.key, v);
	return 0;
}

static int mapping(struct yaml_stream *ys, const struct place *up, unsigned depth, struct json *j)
{
	struct json *merged = json_new_object(ys->a);
	yaml_event_t ev;
	int rc;

	for (;;) {
		rc = next_event(ys, &ev);
		if (rc < 0)
			return rc;
		if (ev.type == YAML_MAPPING_END_EVENT)
			break;
		rc = pair(ys, &ev, up, depth, j, merged);
		yaml_event_delete(&ev);
		if (rc < 0)
			return rc;
	}
	yaml_event_delete(&ev);
	return merge_one(ys, merged, 0, j);
}

static int alias(struct yaml_stream *ys, const yaml_event_t *ev, struct json **ret)
{
	const struct json *from =
		map_get(&ys->anchors, str_from((const char *)ev->data.alias.anchor));
	char what[ERR_TEXT_MAX / 2];
	int rc;

	if (from == NULL) {
		snprintf(what, sizeof(what),
			"unknown anchor '%.100s' referenced, or one that contains itself",
			(const char *)ev->data.alias.anchor);
		return fail_line(ys, ev->start_mark.line, what);
	}
	rc = spend(ys, count(from, ys->nodes_left), ev->start_mark.line);
	if (rc < 0)
		return rc;
	*ret = json_copy(ys->a, from);
	return 0;
}

static int value(struct yaml_stream *ys, yaml_event_t *ev, const struct place *up, unsigned depth,
	struct json **ret)
{
	const char *anchor = NULL;
	struct json *j = NULL;
	int rc = spend(ys, 1, ev->start_mark.line);

	if (rc < 0)
		return rc;
	if (depth >= JSON_MAX_DEPTH)
		return fail_line(ys, ev->start_mark.line, "exceeded max depth");
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		anchor = (const char *)ev->data.scalar.anchor;
		rc = scalar(ys, ev, &j);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = (const char *)ev->data.sequence_start.anchor;
		j = json_new_array(ys->a);
		rc = sequence(ys, up, depth + 1, j);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = (const char *)ev->data.mapping_start.anchor;
		j = json_new_object(ys->a);
		rc = mapping(ys, up, depth + 1, j);
		break;
	case YAML_ALIAS_EVENT:
		/* The depth of what the alias brings counts as well. */
		rc = alias(ys, ev, &j);
		if (rc == 0 && depth + json_depth(j) > JSON_MAX_DEPTH)
			rc = fail_line(ys, ev->start_mark.line, "exceeded max depth");
		break;
	default:
		return fail_line(ys, ev->start_mark.line, "unexpected event");
	}
	if (rc < 0)
		return rc;
	if (anchor)
		map_put(&ys->anchors, str_from(anchor), j);
	*ret = j;
	return 0;
}

/* ---- documents ---- */

static int next_json(struct yaml_stream *ys, struct json **ret)
{
	struct json_opts opts = {.max_nodes = MAX_NODES};
	int rc;

	ys->rest = str_trim(ys->rest);
	if (ys->rest.n == 0)
		return 0;
	rc = json_parse_prefix(ys->a, ys->rest, &opts, ret, ys->e);
	if (rc < 0) {
		ys->done = true;
		return rc;
	}
	ys->rest = str_skip(ys->rest, opts.used);
	return 1;
}

static bool is_empty(const yaml_event_t *ev)
{
	return ev->type == YAML_SCALAR_EVENT && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       yaml__resolve(str_of(ev->data.scalar.value, ev->data.scalar.length)).kind ==
		       YAML__NULL;
}

/* 1: a document, 0: the end of the stream, 2: something between. */
static int step(struct yaml_stream *ys, struct json **ret)
{
	yaml_event_t ev;
	int rc = next_event(ys, &ev);

	if (rc < 0)
		return rc;
	switch (ev.type) {
	case YAML_STREAM_END_EVENT:
	case YAML_NO_EVENT:
		ys->done = true;
		rc = 0;
		break;
	case YAML_DOCUMENT_START_EVENT:
		map_clear(&ys->anchors);
		ys->dups = NULL;
		ys->n_dups = 0;
		rc = 2;
		break;
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		rc = 2;
		break;
	default:
		if (is_empty(&ev)) {
			rc = 2;
			break;
		}
		rc = value(ys, &ev, NULL, 0, ret);
		rc = rc < 0 ? rc : 1;
	}
	yaml_event_delete(&ev);
	return rc;
}

int yaml_next(struct yaml_stream *ys, struct json **ret, struct err *e)
{
	int rc = 2;

	ys->e = e;
	if (ys->is_json && !ys->done)
		return next_json(ys, ret);
	while (rc == 2 && !ys->done)
		rc = step(ys, ret);
	return rc == 2 ? 0 : rc;
}

int yaml_parse(struct arena *a, struct str text, struct json **ret, struct err *e)
{
	struct yaml_stream *ys = yaml_open(a, text);
	struct json *j, *more;
	int rc = yaml_next(ys, &j, e);

	if (rc < 0)
		return rc;
	if (rc == 0) {
		*ret = json_new_null(a);
		return 0;
	}
	rc = yaml_next(ys, &more, e);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return err_set(e, ERR_BAD_REQUEST, "yaml: more than one document");
	*ret = j;
	return 0;
}

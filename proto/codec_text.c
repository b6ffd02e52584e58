/* Wire -> JSON text, straight into a buffer. */
#include "proto/codec-priv.h"

#include "base/clock.h"
#include "base/util.h"
#include "proto/duration.h"
#include "proto/scan.h"

struct text {
	struct buf *out;
	struct arena *arena; /* for maps and joined messages */
	struct err *err;
	unsigned depth;
	struct str resource_version; /* to show in the outermost metadata; p NULL otherwise */
};

static int write_value(struct text *, const struct schema_type *, struct str bytes);
static int write_typed(struct text *, const struct schema_type *, struct str kind, struct str api_version, struct str bytes);
static int write_members(struct text *, const struct codec__msg *, bool *first);

/* Does it stand for itself in a JSON string? 0xe2 may begin U+2028, which does not. */
static bool is_plain(struct str s)
{
	size_t i = 0;

	while ((i += scan(s.p + i, s.n - i, SCAN_HTML)) < s.n && (uint8_t)s.p[i] >= 0x80 && (uint8_t)s.p[i] != 0xe2)
		i++;
	return i >= s.n;
}

static void write_string(struct buf *out, struct str s)
{
	char *p;

	if (!is_plain(s)) {
		json_print_string(out, s, JSON_COMPACT);
		return;
	}
	p = buf_reserve(out, s.n + 2);
	if (!p)
		return;
	p[0] = '"';
	if (s.n)
		memcpy(p + 1, s.p, s.n);
	p[s.n + 1] = '"';
	buf_advance(out, s.n + 2);
}

static void write_key(struct buf *out, const struct schema_field *f, bool *first)
{
	size_t n = f->json_len;
	char *p = buf_reserve(out, n + 4);

	if (!p)
		return;
	if (!*first)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, f->json, n);
	p[n] = '"';
	p[n + 1] = ':';
	buf_advance(out, n + 3 + !*first);
	*first = false;
}

static void write_int(struct buf *out, int64_t v)
{
	char room[STR_U64_SIZE];

	if (v < 0)
		buf_add1(out, '-');
	buf_adds(out, str_u64(v < 0 ? -(uint64_t)v : (uint64_t)v, room));
}

static void write_double(struct text *t, uint64_t bits)
{
	double d;

	memcpy(&d, &bits, sizeof(d));
	json_print(t->out, json_new_double(t->arena, d), JSON_COMPACT);
}

static void write_base64(struct buf *out, struct str bytes)
{
	buf_add1(out, '"');
	codec_base64(out, bytes);
	buf_add1(out, '"');
}

static int write_scalar(struct text *t, const struct schema_field *f, uint64_t v, struct str bytes)
{
	switch ((enum schema_kind)f->kind) {
	case SCHEMA_STRING:
		write_string(t->out, bytes);
		return 0;
	case SCHEMA_BYTES:
		write_base64(t->out, bytes);
		return 0;
	case SCHEMA_BOOL:
		buf_addc(t->out, v ? "true" : "false");
		return 0;
	case SCHEMA_INT32:
		write_int(t->out, (int32_t)v);
		return 0;
	case SCHEMA_INT64:
		write_int(t->out, (int64_t)v);
		return 0;
	case SCHEMA_DOUBLE:
		write_double(t, v);
		return 0;
	case SCHEMA_MESSAGE:
		if (schema_is(f, SCHEMA_TYPED))
			return write_typed(t, f->type, str_from(f->type->kind), str_from(f->type->api_version), bytes);
		return write_value(t, f->type, bytes);
	}
	UNREACHABLE();
}

static int write_list(struct text *t, const struct codec__msg *m, size_t i)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__elements e = codec__elements(m, i);
	struct wire_item it = {0};
	bool first = true;
	int rc = 0;

	buf_add1(t->out, '[');
	while (rc == 0 && codec__next(&e, f, &it)) {
		if (!first)
			buf_add1(t->out, ',');
		first = false;
		rc = write_scalar(t, f, it.v, it.bytes);
	}
	buf_add1(t->out, ']');
	return rc < 0 ? rc : e.r.failed ? codec__corrupt(t->err, m->type, f->json) : 0;
}

static int write_map(struct text *t, const struct codec__msg *m, size_t i)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__entry *entries;
	size_t n;
	int rc = 0;

	if (!codec__entries(m, i, t->arena, &entries, &n))
		return codec__corrupt(t->err, m->type, f->json);
	buf_add1(t->out, '{');
	for (size_t k = 0; rc == 0 && k < n; k++) {
		if (k > 0)
			buf_add1(t->out, ',');
		write_string(t->out, entries[k].key);
		buf_add1(t->out, ':');
		rc = write_scalar(t, f, entries[k].value.v, entries[k].value.bytes);
	}
	buf_add1(t->out, '}');
	return rc;
}

/* Members of the outermost metadata, with another resource version than the bytes hold. */
static int write_metadata(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__msg m;
	struct str rv = t->resource_version;
	const struct schema_field *f = schema_field_find(type, STR("resourceVersion"));
	bool first = true;
	int rc;

	t->resource_version = STR_NULL;
	if (!f || !codec__scan(&m, type, bytes))
		return codec__corrupt(t->err, type, "broken message");
	m.seen |= 1ULL << (f - type->fields);
	m.slots[f - type->fields] = (struct codec__slot){
		.p = (const uint8_t *)rv.p, .end = (const uint8_t *)rv.p + rv.n, .count = 1};
	buf_add1(t->out, '{');
	rc = write_members(t, &m, &first);
	buf_add1(t->out, '}');
	return rc;
}

static int write_field(struct text *t, const struct codec__msg *m, size_t i, bool *first)
{
	const struct schema_field *f = &m->type->fields[i];
	struct codec__msg inner;

	if (schema_is(f, SCHEMA_INLINE)) {
		if (++t->depth > CODEC_MAX_DEPTH || !codec__scan(&inner, f->type, codec__payload(m, i, t->arena)))
			return codec__corrupt(t->err, f->type, "broken message");
		t->depth--;
		return write_members(t, &inner, first);
	}
	switch (codec__show(m, i)) {
	case CODEC_SKIP:
		return 0;
	case CODEC_NULL:
		write_key(t->out, f, first);
		buf_addc(t->out, "null");
		return 0;
	case CODEC_ZERO:
		write_key(t->out, f, first);
		if (schema_is(f, SCHEMA_REPEATED)) {
			buf_addc(t->out, "[]");
			return 0;
		}
		if (t->resource_version.p && t->depth == 1 && strcmp(f->json, "metadata") == 0)
			return write_metadata(t, f->type, STR_NULL);
		return write_scalar(t, f, 0, STR_NULL);
	case CODEC_VALUE:
		write_key(t->out, f, first);
		if (schema_is(f, SCHEMA_REPEATED))
			return write_list(t, m, i);
		if (schema_is(f, SCHEMA_MAP))
			return write_map(t, m, i);
		if (f->kind == SCHEMA_MESSAGE && t->resource_version.p && t->depth == 1 && strcmp(f->json, "metadata") == 0)
			return write_metadata(t, f->type, codec__payload(m, i, t->arena));
		if (f->kind == SCHEMA_STRING || f->kind == SCHEMA_BYTES || f->kind == SCHEMA_MESSAGE)
			return write_scalar(t, f, 0, codec__payload(m, i, t->arena));
		return write_scalar(t, f, m->slots[i].v, STR_NULL);
	}
	UNREACHABLE();
}

static int write_members(struct text *t, const struct codec__msg *m, bool *first)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->type->n_fields; i++)
		rc = write_field(t, m, i, first);
	return rc;
}

static int write_plain(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__msg m;
	bool first = true;
	int rc;

	if (!codec__scan(&m, type, bytes))
		return codec__corrupt(t->err, type, "broken message");
	buf_add1(t->out, '{');
	rc = write_members(t, &m, &first);
	buf_add1(t->out, '}');
	return rc;
}

/* An object inside an object that says what it is. */
static int write_typed(struct text *t, const struct schema_type *type, struct str kind, struct str api_version,
		       struct str bytes)
{
	struct codec__msg m;
	bool first = false;
	int rc;

	if (++t->depth > CODEC_MAX_DEPTH || !codec__scan(&m, type, bytes))
		return codec__corrupt(t->err, type, "broken message");
	buf_addc(t->out, "{\"kind\":");
	write_string(t->out, kind);
	buf_addc(t->out, ",\"apiVersion\":");
	write_string(t->out, api_version);
	rc = write_members(t, &m, &first);
	buf_add1(t->out, '}');
	t->depth--;
	return rc;
}

static int write_time(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__triple v;
	char text[CLOCK_RFC3339_SIZE];

	if (!codec__triple(bytes, &v))
		return codec__corrupt(t->err, type, "broken time");
	if (bytes.n == 0) {
		buf_addc(t->out, "null");
		return 0;
	}
	if (!codec__time_in_range((int64_t)v.v[1]))
		return codec__corrupt(t->err, type, "a year beyond 9999");
	if (type->json == SCHEMA_MICRO_TIME)
		clock_rfc3339_micro((int64_t)v.v[1], codec__clip_ns((int32_t)v.v[2]), text);
	else
		clock_rfc3339((int64_t)v.v[1], text);
	write_string(t->out, str_from(text));
	return 0;
}

/* Embedded raw JSON, or an enveloped object from a protobuf client, shown as the JSON it stands for. */
static int write_raw(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__triple v;
	struct codec_envelope env;
	const struct schema_type *inner;
	int rc;

	if (!codec__triple(bytes, &v))
		return codec__corrupt(t->err, type, "broken message");
	if (v.bytes[1].n == 0) {
		buf_addc(t->out, "null");
		return 0;
	}
	if (!codec_is_wrapped(v.bytes[1])) {
		buf_adds(t->out, v.bytes[1]);
		return 0;
	}
	rc = codec_unwrap(v.bytes[1], &env, t->err);
	if (rc < 0)
		return rc;
	inner = codec_type(env.api_version, env.kind);
	if (!inner)
		return codec__corrupt(t->err, type, "an embedded object of an unknown kind");
	return write_typed(t, inner, env.kind, env.api_version, env.wire);
}

static int write_int_or_string(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__triple v;

	if (!codec__triple(bytes, &v))
		return codec__corrupt(t->err, type, "broken message");
	if (v.v[1] == 1)
		write_string(t->out, v.bytes[3]);
	else
		write_int(t->out, (int32_t)v.v[2]);
	return 0;
}

/* One of two forms (schema or something else): what is there is written bare. */
static int write_either(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__msg m;
	bool schema_first = type->json != SCHEMA_SCHEMA_OR_BOOL;
	size_t schema = schema_first ? 0 : 1, other = schema_first ? 1 : 0;

	if (!codec__scan(&m, type, bytes))
		return codec__corrupt(t->err, type, "broken message");
	if (m.seen & 1ULL << schema)
		return write_value(t, type->fields[schema].type, codec__payload(&m, schema, t->arena));
	if (!schema_first) {
		buf_addc(t->out, m.seen & 1 && m.slots[0].v ? "true" : "false");
		return 0;
	}
	if (m.seen & 1ULL << other)
		return write_list(t, &m, other);
	buf_addc(t->out, "null");
	return 0;
}

static int write_special(struct text *t, const struct schema_type *type, struct str bytes)
{
	struct codec__triple v;
	struct codec__msg m;
	char duration[DURATION_SIZE];

	switch ((enum schema_json)type->json) {
	case SCHEMA_PLAIN:
	case SCHEMA_CUSTOM:
	case SCHEMA_ANY:
		break;
	case SCHEMA_TIME:
	case SCHEMA_MICRO_TIME:
		return write_time(t, type, bytes);
	case SCHEMA_DURATION:
		if (!codec__triple(bytes, &v))
			return codec__corrupt(t->err, type, "broken message");
		duration_print((int64_t)v.v[1], duration);
		write_string(t->out, str_from(duration));
		return 0;
	case SCHEMA_QUANTITY:
		if (!codec__triple(bytes, &v))
			return codec__corrupt(t->err, type, "broken message");
		write_string(t->out, v.bytes[1].n ? v.bytes[1] : STR("0"));
		return 0;
	case SCHEMA_INT_OR_STRING:
		return write_int_or_string(t, type, bytes);
	case SCHEMA_RAW_JSON:
		return write_raw(t, type, bytes);
	case SCHEMA_ITEMS:
		if (!codec__scan(&m, type, bytes))
			return codec__corrupt(t->err, type, "broken message");
		return write_list(t, &m, 0);
	case SCHEMA_SCHEMA_OR_ARRAY:
	case SCHEMA_SCHEMA_OR_BOOL:
	case SCHEMA_SCHEMA_OR_STRINGS:
		return write_either(t, type, bytes);
	}
	UNREACHABLE();
}

static int write_value(struct text *t, const struct schema_type *type, struct str bytes)
{
	int rc;

	if (++t->depth > CODEC_MAX_DEPTH)
		return codec__corrupt(t->err, type, "nested too deep");
	rc = type->json == SCHEMA_PLAIN ? write_plain(t, type, bytes) : write_special(t, type, bytes);
	t->depth--;
	return rc;
}

int codec_wire_to_json(struct buf *out, const struct schema_type *type, struct str wire, const struct codec_opts *opts,
		       struct err *e)
{
	struct arena arena;
	struct text t = {.out = out, .arena = &arena, .err = e, .depth = 1};
	struct codec__msg m;
	bool first = true;
	int rc = 0;

	if (type->json == SCHEMA_CUSTOM)
		return codec__custom_to_json(out, type, wire, opts, e);
	if (type->json != SCHEMA_PLAIN) {
		arena_init(&arena);
		t.depth = 0;
		rc = write_value(&t, type, wire);
		arena_fini(&arena);
		return rc;
	}
	if (!codec__scan(&m, type, wire))
		return codec__corrupt(e, type, "broken message");
	arena_init(&arena);
	if (opts && opts->resource_version.n > 0)
		t.resource_version = opts->resource_version;
	buf_add1(out, '{');
	if (type->root && !(opts && opts->bare)) {
		buf_addc(out, "\"kind\":");
		write_string(out, str_from(opts && opts->kind ? opts->kind : type->kind));
		buf_addc(out, ",\"apiVersion\":");
		write_string(out, str_from(opts && opts->api_version ? opts->api_version : type->api_version));
		first = false;
	}
	rc = write_members(&t, &m, &first);
	buf_add1(out, '}');
	arena_fini(&arena);
	return rc;
}

int codec_stored_to_json(struct buf *out, struct str stored, const struct codec_opts *opts, struct err *e)
{
	struct codec_envelope env;
	const struct schema_type *type;
	int rc = codec_unwrap(stored, &env, e);

	if (rc < 0)
		return rc;
	type = codec_type(env.api_version, env.kind);
	if (!type)
		return err_set(e, ERR_BAD_REQUEST, "no kind \"%.*s\" is known in version \"%.*s\"", STR_FMT(env.kind),
			       STR_FMT(env.api_version));
	return codec_wire_to_json(out, type, env.wire, opts, e);
}

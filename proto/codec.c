#include "proto/codec.h"

#include "base/util.h"
#include "proto/wire.h"

/* --- The envelope ---------------------------------------------------------------------------------------------- */

static const char magic[4] = {'k', '8', 's', 0};

/* Field numbers of runtime.Unknown and its TypeMeta. */
enum { UNKNOWN_TYPE_META = 1, UNKNOWN_RAW, UNKNOWN_CONTENT_ENCODING, UNKNOWN_CONTENT_TYPE };
enum { TYPE_META_API_VERSION = 1, TYPE_META_KIND };

bool codec_is_wrapped(struct str bytes)
{
	return bytes.n >= sizeof(magic) && memcmp(bytes.p, magic, sizeof(magic)) == 0;
}

int codec_unwrap(struct str stored, struct codec_envelope *ret, struct err *e)
{
	struct wire_reader r, meta;
	struct wire_item it = {0}, in = {0};
	struct codec_envelope env = {STR_NULL, STR_NULL, STR_NULL};
	struct str encoding = STR_NULL, content_type = STR_NULL;

	if (!codec_is_wrapped(stored))
		return err_set(e, ERR_BAD_REQUEST,
			       "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	for (r = wire_reader(str_skip(stored, sizeof(magic))); wire_next(&r, &it);) {
		if (it.number <= UNKNOWN_CONTENT_TYPE && it.type != WIRE_BYTES)
			return err_set(e, ERR_BAD_REQUEST, "broken protobuf envelope");
		if (it.number == UNKNOWN_TYPE_META) {
			for (meta = wire_reader(it.bytes); wire_next(&meta, &in);)
				if (in.number == TYPE_META_API_VERSION && in.type == WIRE_BYTES)
					env.api_version = in.bytes;
				else if (in.number == TYPE_META_KIND && in.type == WIRE_BYTES)
					env.kind = in.bytes;
			if (meta.failed)
				return err_set(e, ERR_BAD_REQUEST, "broken protobuf envelope");
		} else if (it.number == UNKNOWN_RAW) {
			env.wire = it.bytes;
		} else if (it.number == UNKNOWN_CONTENT_ENCODING) {
			encoding = it.bytes;
		} else if (it.number == UNKNOWN_CONTENT_TYPE) {
			content_type = it.bytes;
		}
	}
	if (r.failed)
		return err_set(e, ERR_BAD_REQUEST, "broken protobuf envelope");
	if (encoding.n > 0 || (content_type.n > 0 && !str_eqc(content_type, "application/vnd.kubernetes.protobuf")))
		return err_set(e, ERR_BAD_REQUEST, "an envelope with content of type \"%.*s\" is not supported",
			       STR_FMT(content_type));
	*ret = env;
	return 0;
}

void codec_wrap(struct buf *out, const char *api_version, const char *kind, struct str wire)
{
	size_t mark;

	buf_add(out, magic, sizeof(magic));
	mark = wire_open(out, UNKNOWN_TYPE_META);
	wire_add_bytes(out, TYPE_META_API_VERSION, str_from(api_version));
	wire_add_bytes(out, TYPE_META_KIND, str_from(kind));
	wire_close(out, mark);
	wire_add_bytes(out, UNKNOWN_RAW, wire);
	/* Upstream writes both also when they are empty. */
	wire_add_bytes(out, UNKNOWN_CONTENT_ENCODING, STR(""));
	wire_add_bytes(out, UNKNOWN_CONTENT_TYPE, STR(""));
}

const struct schema_type *codec_type(struct str api_version, struct str kind)
{
	const struct schema_type *meta = NULL;

	for (size_t i = 0; i < n_schema_types; i++) {
		const struct schema_type *t = &schema_types[i];

		if (!t->root || !str_eqc(kind, t->kind))
			continue;
		/* Status, DeleteOptions and their like are spoken of in every group's version. */
		if (str_has_prefix(str_from(t->name), STR("meta.")))
			meta = t;
		else if (str_eqc(api_version, t->api_version))
			return t;
	}
	return meta;
}

/* --- Lists ------------------------------------------------------------------------------------------------------- */

void codec_json_list_begin(struct buf *out, const char *list_kind, const char *api_version,
			   const struct codec_list_meta *meta)
{
	const char *comma = "";

	buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{", list_kind, api_version);
	if (meta->resource_version.n > 0) {
		buf_addc(out, "\"resourceVersion\":");
		json_print_string(out, meta->resource_version, JSON_COMPACT);
		comma = ",";
	}
	if (meta->continue_token.n > 0) {
		buf_printf(out, "%s\"continue\":", comma);
		json_print_string(out, meta->continue_token, JSON_COMPACT);
		comma = ",";
	}
	if (meta->remaining >= 0)
		buf_printf(out, "%s\"remainingItemCount\":%lld", comma, (long long)meta->remaining);
	buf_addc(out, "},\"items\":[");
}

int codec_json_list_item(struct buf *out, const struct schema_type *t, struct str wire, struct str resource_version,
			 bool *first, struct err *e)
{
	struct codec_opts opts = {.resource_version = resource_version, .bare = true};

	if (!*first)
		buf_add1(out, ',');
	*first = false;
	return codec_wire_to_json(out, t, wire, &opts, e);
}

void codec_json_list_end(struct buf *out)
{
	buf_addc(out, "]}");
}

enum { LIST_METADATA = 1, LIST_ITEMS };
enum { LIST_META_RESOURCE_VERSION = 2, LIST_META_CONTINUE, LIST_META_REMAINING };
enum { OBJECT_METADATA = 1, OBJECT_META_RESOURCE_VERSION = 6 };

void codec_wire_list_begin(struct buf *out, const struct codec_list_meta *meta)
{
	size_t mark = wire_open(out, LIST_METADATA);

	if (meta->resource_version.n > 0)
		wire_add_bytes(out, LIST_META_RESOURCE_VERSION, meta->resource_version);
	if (meta->continue_token.n > 0)
		wire_add_bytes(out, LIST_META_CONTINUE, meta->continue_token);
	if (meta->remaining >= 0)
		wire_add_uint(out, LIST_META_REMAINING, (uint64_t)meta->remaining);
	wire_close(out, mark);
}

/* Encoded size of a bytes field with a number below 16. */
static size_t field_size(size_t n)
{
	return 1 + wire_varint_size(n) + n;
}

void codec_wire_list_item(struct buf *out, struct str wire, struct str resource_version)
{
	size_t fragment = resource_version.n ? field_size(field_size(resource_version.n)) : 0;

	wire_add_tag(out, LIST_ITEMS, WIRE_BYTES);
	wire_add_varint(out, wire.n + fragment);
	buf_adds(out, wire);
	codec_wire_resource_version(out, resource_version);
}

void codec_wire_resource_version(struct buf *out, struct str resource_version)
{
	if (resource_version.n == 0)
		return;
	wire_add_tag(out, OBJECT_METADATA, WIRE_BYTES);
	wire_add_varint(out, field_size(resource_version.n));
	wire_add_bytes(out, OBJECT_META_RESOURCE_VERSION, resource_version);
}

/* --- Watches ------------------------------------------------------------------------------------------------------- */

enum { WATCH_EVENT_TYPE = 1, WATCH_EVENT_OBJECT };
enum { RAW_EXTENSION_RAW = 1 };

void codec_json_watch_event(struct buf *out, const char *type, struct str object)
{
	buf_printf(out, "{\"type\":\"%s\",\"object\":", type);
	buf_adds(out, object);
	buf_addc(out, "}\n");
}

void codec_wire_watch_event(struct buf *out, const char *type, struct str object)
{
	size_t raw = 1 + wire_varint_size(object.n) + object.n;
	size_t size = 1 + wire_varint_size(strlen(type)) + strlen(type) + 1 + wire_varint_size(raw) + raw;
	char length[4] = {(char)(size >> 24), (char)(size >> 16), (char)(size >> 8), (char)size};

	buf_add(out, length, sizeof(length));
	wire_add_bytes(out, WATCH_EVENT_TYPE, str_from(type));
	wire_add_tag(out, WATCH_EVENT_OBJECT, WIRE_BYTES);
	wire_add_varint(out, raw);
	wire_add_bytes(out, RAW_EXTENSION_RAW, object);
}

int codec_wire_watch_next(struct str *in, size_t limit, struct str *ret_type, struct str *ret_object, struct err *e)
{
	const uint8_t *p = (const uint8_t *)in->p;
	struct wire_reader r, raw;
	struct wire_item it = {0}, inner = {0};
	struct str type = STR_NULL, object = STR_NULL;
	size_t n;

	if (in->n < 4)
		return 0;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (n > limit)
		return err_set(e, ERR_TOO_LARGE, "a watch frame of %zu bytes is over the limit of %zu", n, limit);
	if (in->n - 4 < n)
		return 0;
	for (r = wire_reader(str_of(p + 4, n)); wire_next(&r, &it);) {
		if (it.type != WIRE_BYTES)
			continue;
		if (it.number == WATCH_EVENT_TYPE)
			type = it.bytes;
		else if (it.number == WATCH_EVENT_OBJECT)
			for (raw = wire_reader(it.bytes); wire_next(&raw, &inner);)
				if (inner.number == RAW_EXTENSION_RAW && inner.type == WIRE_BYTES)
					object = inner.bytes;
	}
	if (r.failed)
		return err_set(e, ERR_PROTOCOL, "broken watch frame");
	*in = str_skip(*in, 4 + n);
	*ret_type = type;
	*ret_object = object;
	return 1;
}

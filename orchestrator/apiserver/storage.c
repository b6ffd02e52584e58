#include "orchestrator/apiserver/storage.h"

#include <string.h>

#include "base/util.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/objects.h"
#include "proto/wire.h"
#include "proto/codec.h"
#include "proto/convert.h"
#include "proto/custom.h"
#include "proto/resource.h"
#include "store/view.h"

static struct str join_key(struct arena *a, const struct resource *res, struct str ns, struct str name)
{
	struct str prefix = str_from(res->prefix);

	if (!res->namespaced || ns.n == 0)
		return ARENA_JOIN(a, STR("/registry/"), prefix, STR("/"), name);
	return ARENA_JOIN(a, STR("/registry/"), prefix, STR("/"), ns, STR("/"), name);
}

struct str storage_prefix(struct arena *a, const struct resource *res, struct str ns)
{
	return join_key(a, res, ns, STR(""));
}

struct str storage_key(struct arena *a, const struct resource *res, struct str ns, struct str name)
{
	return join_key(a, res, ns, name);
}

struct str storage_end(struct arena *a, struct str prefix)
{
	struct str end = arena_str(a, prefix);

	((char *)end.p)[end.n - 1]++; /* '/' becomes '0' */
	return end;
}

struct str storage_field(struct str msg, unsigned number)
{
	struct wire_reader r = wire_reader(msg);
	struct str found = STR_NULL;
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == number && it.type == WIRE_BYTES)
			found = it.bytes;
	return found;
}

bool storage_unwrap(struct str value, struct str *ret_raw)
{
	struct codec_envelope env;

	if (codec_unwrap(value, &env, NULL) < 0)
		return false;
	*ret_raw = env.wire;
	return true;
}

void storage_with_rv(struct buf *out, struct str raw, uint64_t rv)
{
	char room[STR_U64_SIZE];
	struct str version = str_u64(rv, room);
	size_t mark;
	struct wire_reader r = wire_reader(raw);
	const uint8_t *from = r.p;
	struct wire_item it = {0};

	if (rv == 0) {
		buf_adds(out, raw);
		return;
	}
	/* Metadata is the first field of what we wrote; whatever stands before it is copied. */
	while (wire_next(&r, &it)) {
		if (it.number == 1 && it.type == WIRE_BYTES) {
			mark = wire_open(out, 1);
			buf_adds(out, it.bytes);
			wire_add_bytes(out, 6, version);
			wire_close(out, mark);
			buf_add(out, r.p, (size_t)(r.end - r.p));
			return;
		}
		buf_add(out, from, (size_t)(r.p - from));
		from = r.p;
	}
	mark = wire_open(out, 1);
	wire_add_bytes(out, 6, version);
	wire_close(out, mark);
}

size_t storage_with_rv_size(struct str raw, uint64_t rv)
{
	char room[STR_U64_SIZE];
	size_t field = 2 + str_u64(rv, room).n;
	struct wire_reader r = wire_reader(raw);
	struct wire_item it = {0};

	if (rv == 0)
		return raw.n;
	while (wire_next(&r, &it))
		if (it.number == 1 && it.type == WIRE_BYTES)
			return raw.n + field + wire_varint_size(it.bytes.n + field) - wire_varint_size(it.bytes.n);
	return raw.n + 1 + wire_varint_size(field) + field;
}

bool storage_meta(struct str raw, struct storage_meta *m)
{
	struct wire_reader r;
	struct wire_item it = {0};

	memset(m, 0, sizeof(*m));
	m->bytes = storage_field(raw, 1);
	r = wire_reader(m->bytes);
	while (wire_next(&r, &it))
		switch (it.number) {
		case 1:
			m->name = it.bytes;
			break;
		case 3:
			m->ns = it.bytes;
			break;
		case 5:
			m->uid = it.bytes;
			break;
		case 7:
			m->generation = it.type == WIRE_VARINT ? (int64_t)it.v : 0;
			break;
		case 9:
			m->deleting = true;
			break;
		case 14:
			m->finalizers = true;
			break;
		default:
			break;
		}
	return m->bytes.p != NULL && !r.failed;
}

bool storage_label(struct str meta, struct str key, struct str *ret_value)
{
	struct wire_reader r = wire_reader(meta);
	struct wire_item it = {0};

	while (wire_next(&r, &it))
		if (it.number == 11 && it.type == WIRE_BYTES && str_eq(storage_field(it.bytes, 1), key)) {
			*ret_value = storage_field(it.bytes, 2);
			return true;
		}
	return false;
}

/* Custom objects are stored as JSON, in whichever version; what this one does not know is left out. */
static int unwrap_custom(struct arena *a, const struct custom *c, struct str key, struct str value, struct custom_conversions *conv,
		struct str *ret_raw, struct err *e)
{
	struct json *doc;
	int r;

	if (!crypt_open(a, key, value, &value))
		return err_set(e, ERR_CORRUPT, "the value of %.*s is sealed with a key that we do not have", STR_FMT(key));
	r = custom_load(a, c, value, conv, &doc, e);
	return r < 0 ? r : api_dom_encode(a, &c->type, doc, ret_raw, e);
}

static int unwrap(struct arena *a, struct str key, struct str value, struct str *ret_raw, struct err *e)
{
	if (storage_unwrap_key(a, key, value, ret_raw))
		return 0;
	return err_set(e, ERR_CORRUPT, "the value of %.*s is not an object, or is sealed with a key that we do not have", STR_FMT(key));
}

int storage_load(struct store *store, struct arena *a, struct str key, struct str *ret_raw, uint64_t *ret_rv, struct err *e)
{
	return storage_load_as(store, 0, a, NULL, key, NULL, ret_raw, ret_rv, e);
}

static bool raw_as(struct arena *a, const struct resource *res, struct str *raw)
{
	struct err e = ERR_INIT;
	struct json *doc;

	return resource_storage(res) == res ||
	       (api_dom_of(a, resource_storage(res), *raw, &doc, &e) == 0 &&
			       api_dom_encode(a, resource_type(res), convert_from_storage(a, res, doc), raw, &e) == 0);
}

bool storage_unwrap_key(struct arena *a, struct str key, struct str value, struct str *ret_raw)
{
	return crypt_open(a, key, value, &value) && storage_unwrap(value, ret_raw);
}

int storage_unwrap_as(struct arena *a, const struct resource *res, struct str key, struct str value, struct custom_conversions *conv,
		struct str *ret_raw, struct err *e)
{
	int r;

	if (res && res->custom)
		return unwrap_custom(a, res->custom, key, value, conv, ret_raw, e);
	r = unwrap(a, key, value, ret_raw, e);
	if (r == 0 && res && !raw_as(a, res, ret_raw))
		return err_set(e, ERR_CORRUPT, "the value of %.*s cannot be read as %s", STR_FMT(key), res->api_version);
	return r;
}

int storage_load_as(struct store *store, uint64_t index, struct arena *a, const struct resource *res, struct str key,
		struct custom_conversions *conv, struct str *ret_raw, uint64_t *ret_rv, struct err *e)
{
	struct store_view *v;
	struct store_kv kv;
	struct str raw;
	int r = store_view_open_at(store, index, &v, e);

	if (r < 0)
		return r;
	r = view_get(v, key, 0, &kv, e);
	if (r == 0)
		r = storage_unwrap_as(a, res, key, kv.value, conv, &raw, e);
	if (r == 0) {
		*ret_raw = arena_str(a, raw);
		*ret_rv = (uint64_t)kv.mod_revision;
	}
	store_view_close(v);
	return r;
}

int storage_exists(struct store *store, struct str key, bool *ret, struct err *e)
{
	struct store_view *v;
	struct store_kv kv;
	int r = store_view_open(store, &v, e);

	if (r < 0)
		return r;
	/* Mostly it does not, and nobody wants to read that in words. */
	r = view_get(v, key, 0, &kv, NULL);
	*ret = r == 0;
	if (r < 0 && r != -ERR_NOT_FOUND)
		view_get(v, key, 0, &kv, e);
	store_view_close(v);
	return r == -ERR_NOT_FOUND ? 0 : r;
}

/* A custom object is answered as it will be read: through the stored form where that is another version's. */
static int encode_custom(struct arena *a, const struct custom *c, struct custom_conversions *conv, struct json **doc, struct str *ret_raw,
		struct str *ret_stored, struct err *e)
{
	int r = custom_store(a, c, *doc, conv, ret_stored, e);

	if (r == 0 && conv)
		r = custom_load(a, c, *ret_stored, conv, doc, e);
	return r < 0 ? r : api_dom_encode(a, &c->type, *doc, ret_raw, e);
}

int storage_encode(struct arena *a, const struct resource *res, struct custom_conversions *conv, struct json **doc, struct str *ret_raw,
		struct str *ret_stored, struct err *e)
{
	const struct resource *as = resource_storage(res);
	struct json *stored;
	int r;

	if (res->custom)
		return encode_custom(a, res->custom, conv, doc, ret_raw, ret_stored, e);
	if (as == res) {
		r = api_dom_encode(a, resource_type(res), *doc, ret_raw, e);
		*ret_stored = *ret_raw;
		return r;
	}
	stored = convert_to_storage(a, res, *doc);
	*doc = convert_from_storage(a, res, stored);
	r = api_dom_encode(a, resource_type(as), stored, ret_stored, e);
	/* What the client put into annotations was not checked before. */
	if (r < 0)
		return err_set(e, ERR_BAD_REQUEST, "the object cannot be kept as %s: %.300s", as->api_version,
				arena_cstr(a, str_from(e->text)));
	return api_dom_encode(a, resource_type(res), *doc, ret_raw, e);
}

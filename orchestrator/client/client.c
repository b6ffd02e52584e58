#include "orchestrator/client/client.h"

#include <string.h>

#include "base/util.h"

void client_req_init(struct client_req *req, enum client_verb verb, const struct resource *resource)
{
	memset(req, 0, sizeof(*req));
	req->verb = verb;
	req->resource = resource;
	req->grace_period_seconds = -1;
	arena_init(&req->arena);
	list_init(&req->link);
}

void client_req_fini(struct client_req *req)
{
	if (!req)
		return;
	ASSERT(!req->impl);
	arena_fini(&req->arena);
	req->answer = STR_NULL;
	req->warnings = STR_NULL;
}

void client_do(struct client *c, struct client_req *req)
{
	ASSERT(req->done && !req->impl);
	ASSERT(req->resource || req->verb == CLIENT_RAW);
	ASSERT(req->verb != CLIENT_RAW || (req->raw_method && req->raw_path));
	req->client = c;
	if (req->timeout_ms == 0)
		req->timeout_ms = CLIENT_DEFAULT_TIMEOUT_MS;
	c->ops->start(c, req);
}

void client_cancel(struct client_req *req)
{
	if (req->impl)
		req->client->ops->cancel(req->client, req);
}

/* protobuf-c allocates through these; memory comes from the request's arena and is never given back alone. */
static void *req_alloc(void *data, size_t size)
{
	return arena_alloc(data, size);
}

static void req_free(void *data, void *p)
{
	(void)data, (void)p;
}

void *client_req_unpack(struct client_req *req, const ProtobufCMessageDescriptor *desc)
{
	ProtobufCAllocator in_arena = {req_alloc, req_free, &req->arena};
	void *msg;

	if (req->err.code)
		return NULL;
	msg = protobuf_c_message_unpack(desc, &in_arena, req->answer.n, (const uint8_t *)req->answer.p);
	if (!msg)
		err_set(&req->err, ERR_CORRUPT, "the answer is not a %s", desc->name);
	return msg;
}

void client_watch_init(struct client_watch *w, const struct resource *resource)
{
	memset(w, 0, sizeof(*w));
	w->resource = resource;
	list_init(&w->link);
}

void client_watch_start(struct client *c, struct client_watch *w)
{
	ASSERT(w->event && w->end && w->resource && !w->impl);
	w->client = c;
	c->ops->watch_start(c, w);
}

void client_watch_stop(struct client_watch *w)
{
	if (w->impl)
		w->client->ops->watch_stop(w->client, w);
}

void client_close(struct client *c, void (*closed)(void *data), void *data)
{
	c->closed = closed;
	c->closed_data = data;
	c->ops->close(c);
}

static bool varint(struct str s, size_t *pos, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && *pos < s.n; shift += 7) {
		uint8_t b = (uint8_t)s.p[(*pos)++];

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The next field of a message: 1, 0 at the end, -1 when malformed. Only varints and runs of bytes occur in lists. */
static int field_next(struct str s, size_t *pos, unsigned *ret_number, uint64_t *ret_value, struct str *ret_bytes)
{
	uint64_t key, v;

	if (*pos >= s.n)
		return 0;
	if (!varint(s, pos, &key) || !varint(s, pos, &v))
		return -1;
	*ret_number = (unsigned)(key >> 3);
	*ret_value = v;
	*ret_bytes = STR_NULL;
	switch (key & 7) {
	case 0:
		return 1;
	case 2:
		if (v > s.n - *pos)
			return -1;
		*ret_bytes = str_of(s.p + *pos, (size_t)v);
		*pos += (size_t)v;
		return 1;
	default:
		return -1;
	}
}

/* Every list message is {1: ListMeta metadata, 2: repeated items}; ListMeta is {2: resourceVersion, 3: continue,
 * 4: remainingItemCount}. */
int client_list_meta(struct str list, struct client_list_meta *ret, struct err *e)
{
	size_t pos = 0;
	unsigned number;
	uint64_t v;
	struct str bytes, meta = STR_NULL;
	int r;

	*ret = (struct client_list_meta){STR_NULL, STR_NULL, -1};
	while ((r = field_next(list, &pos, &number, &v, &bytes)) > 0)
		if (number == 1)
			meta = bytes;
	for (pos = 0; r == 0 && (r = field_next(meta, &pos, &number, &v, &bytes)) > 0; r = 0) {
		if (number == 2)
			ret->resource_version = bytes;
		else if (number == 3)
			ret->continue_token = bytes;
		else if (number == 4)
			ret->remaining = (int64_t)v;
	}
	return r < 0 ? err_set(e, ERR_CORRUPT, "malformed list") : 0;
}

bool client_list_next(struct str list, size_t *pos, struct str *ret_item)
{
	unsigned number;
	uint64_t v;
	struct str bytes;

	while (field_next(list, pos, &number, &v, &bytes) > 0)
		if (number == 2) {
			*ret_item = bytes;
			return true;
		}
	return false;
}

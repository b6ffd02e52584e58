/*
 * How a watch's events are written: one frame each, in the client's form (JSON, protobuf, a table, only the metadata), or the bare bytes for
 * a client in this process.
 *
 * Making a frame is most of what an event costs, and a thousand watchers of pods want the same one. So the loop keeps the last frames it
 * made, by revision and form (struct api_event_cache); a watcher that asks for one that is there copies it. It is a cache and nothing
 * else: a slot is taken by whoever comes next, and a miss makes the frame anew. Tables are not shared, because what they tell depends
 * on what the client has been told before; neither are custom resources.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/tables.h"
#include "orchestrator/apiserver/watch-priv.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"

/* Encoded events, direct-mapped by revision. Only plain objects; tables differ by client. */
#define CACHE_SLOTS 256
#define CACHE_MAX_EVENT (64u << 10)
struct cached_event {
	int64_t revision;
	uint32_t sub;
	const struct resource *res; /* an event of one kind may be told in two versions */
	enum api_media media;
	char type; /* first letter of ADDED, MODIFIED, DELETED */
	struct buf frame;
};
struct api_event_cache {
	struct cached_event slots[CACHE_SLOTS];
};

struct api_event_cache *api__event_cache_new(void)
{
	return xcalloc(1, sizeof(struct api_event_cache));
}

void api__event_cache_free(struct api_event_cache *c)
{
	for (size_t i = 0; c && i < CACHE_SLOTS; i++)
		buf_fini(&c->slots[i].frame);
	free(c);
}

void api__watch_frame_doc(struct api_watch *aw, struct buf *out, const char *type, const struct json *doc)
{
	_cleanup_(buf_fini) struct buf text = BUF_INIT;

	json_print(&text, doc, JSON_COMPACT);
	(void)aw;
	codec_json_watch_event(out, type, buf_str(&text));
}

/* raw with its resourceVersion as one event of type t. */
static int frame_object(struct api_watch *aw, struct buf *out, const char *type, const struct schema_type *t,
		const char *version, const char *kind, struct str raw, uint64_t rv, struct err *e)
{
	_cleanup_(buf_fini) struct buf body = BUF_INIT, with_rv = BUF_INIT;
	char text[24];
	struct codec_opts opts = {.resource_version = str_of(text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, rv)),
			.api_version = version, .kind = kind};

	if (aw->req->accept.media >= MEDIA_PROTOBUF) {
		storage_with_rv(&with_rv, raw, rv);
		codec_wrap(&body, version, kind, buf_str(&with_rv));
		codec_wire_watch_event(out, type, buf_str(&body));
		return 0;
	}
	if (codec_wire_to_json(&body, t, raw, &opts, e) < 0)
		return -e->code;
	codec_json_watch_event(out, type, buf_str(&body));
	return 0;
}

static int frame_table(struct api_watch *aw, struct buf *out, const char *type, struct str raw, uint64_t rv, struct err *e)
{
	struct arena a;
	struct json *table;

	arena_init(&a);
	table = api_table_of(&a, aw->req, raw, rv, !aw->columns_sent, e);
	if (table) {
		api__watch_frame_doc(aw, out, type, table);
		aw->columns_sent = true;
	}
	arena_fini(&a);
	return table ? 0 : -e->code;
}

int api__watch_frame(struct api_watch *aw, struct buf *out, const char *type, struct str raw, uint64_t rv, struct err *e)
{
	struct api_request *req = aw->req;
	const struct resource *res = req->res;
	struct arena a;
	int r;

	if (req->accept.as == AS_TABLE)
		return frame_table(aw, out, type, raw, rv, e);
	if (req->accept.as == AS_OBJECT)
		return frame_object(aw, out, type, resource_type(res), res->api_version, res->kind, raw, rv, e);
	arena_init(&a);
	r = frame_object(aw, out, type, schema_type_find("meta.v1.PartialObjectMetadata"),
			req->accept.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1", "PartialObjectMetadata",
			api_partial_of(&a, raw), rv, e);
	arena_fini(&a);
	return r;
}

static bool shareable(const struct api_watch *aw)
{
	/* A definition that comes after another may stand where it stood: custom resources are not told apart by their address. */
	return aw->req->accept.as == AS_OBJECT && !aw->req->responder->event && !aw->req->res->custom;
}

int api__watch_emit(struct api_watch *aw, const struct watch_event *ev, const char *type, struct str raw, struct err *e)
{
	struct api_request *req = aw->req;
	struct cached_event *slot;
	int64_t rev = ev->kv.mod_revision;
	int r;

	api_count(req->srv, COUNT_events);
	if (req->responder->event) {
		_cleanup_(buf_fini) struct buf with_rv = BUF_INIT;

		storage_with_rv(&with_rv, raw, (uint64_t)rev);
		req->responder->event(req, type, buf_str(&with_rv), (uint64_t)rev);
		return 0;
	}
	if (!shareable(aw))
		return api__watch_frame(aw, &aw->out, type, raw, (uint64_t)rev, e);
	slot = &req->al->events->slots[((uint64_t)rev * 31 + ev->sub) % CACHE_SLOTS];
	if (slot->frame.n > 0 && slot->revision == rev && slot->sub == ev->sub && slot->res == req->res && slot->type == type[0] &&
			slot->media == req->accept.media) {
		api_count(req->srv, COUNT_event_hits);
		buf_adds(&aw->out, buf_str(&slot->frame));
		return 0;
	}
	buf_fini(&slot->frame);
	buf_init(&slot->frame, BUF_NO_LIMIT);
	r = api__watch_frame(aw, &slot->frame, type, raw, (uint64_t)rev, e);
	buf_adds(&aw->out, buf_str(&slot->frame));
	slot->revision = rev;
	slot->sub = ev->sub;
	slot->res = req->res;
	slot->type = type[0];
	slot->media = req->accept.media;
	if (r < 0 || slot->frame.n > CACHE_MAX_EVENT) {
		buf_fini(&slot->frame);
		buf_init(&slot->frame, BUF_NO_LIMIT);
	}
	return r;
}

/* An object with nothing but a version (and the mark that ends the initial events). */
void api__watch_bookmark(struct api_watch *aw, int64_t rv, bool initial_end)
{
	struct api_request *req = aw->req;
	_cleanup_(buf_fini) struct buf raw = BUF_INIT, with_rv = BUF_INIT;
	const struct resource *res = req->res;
	struct err e = ERR_INIT;
	size_t meta, entry;

	meta = wire_open(&raw, 1);
	if (initial_end) {
		entry = wire_open(&raw, 12);
		wire_add_bytes(&raw, 1, STR("k8s.io/initial-events-end"));
		wire_add_bytes(&raw, 2, STR("true"));
		wire_close(&raw, entry);
	}
	wire_close(&raw, meta);
	if (req->responder->event) {
		storage_with_rv(&with_rv, buf_str(&raw), (uint64_t)rv);
		req->responder->event(req, "BOOKMARK", buf_str(&with_rv), (uint64_t)rv);
		return;
	}
	if (req->accept.as == AS_TABLE) {
		/* A table without rows; clients take the version from its metadata. */
		struct arena a;
		struct json *m, *table;

		arena_init(&a);
		m = json_new_object(&a);
		json_setc(&a, m, "resourceVersion", json_newf(&a, "%" PRId64, rv));
		table = table_new(&a, res, m);
		if (aw->columns_sent)
			json_setc(&a, table, "columnDefinitions", json_new_null(&a));
		api__watch_frame_doc(aw, &aw->out, "BOOKMARK", table);
		arena_fini(&a);
	} else {
		api__watch_frame(aw, &aw->out, "BOOKMARK", buf_str(&raw), (uint64_t)rv, &e);
	}
	api__watch_flush(aw);
}

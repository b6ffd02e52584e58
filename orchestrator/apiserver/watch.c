/*
 * Watching: a stream of what happens to the selected objects.
 *
 *	api__watch:  read point > initial state as ADDED (unless a version was given) > store watcher > events until
 *	             the timeout, the client's or the server's end
 *
 * An object that comes to match the selector is ADDED, one that ceases to is DELETED, whatever it was in the store.
 * The encoding of an event is shared by all watchers of the loop that want the same form (struct api_event_cache).
 * A slow client's watcher is paused while more than its share of WATCH_BUDGET waits; the store feeds it again from its log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/decode.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/tables.h"
#include "proto/codec.h"
#include "proto/json.h"
#include "proto/resource.h"
#include "proto/schema.h"
#include "proto/wire.h"
#include "store/store.h"
#include "store/view.h"
#include "store/watch.h"

/* What may wait for slow clients: so much for all watchers together, divided among them, within these bounds for one. */
#define WATCH_BUDGET (64u << 20)
#define WATCH_HIGH (1u << 20)
#define WATCH_HIGH_MIN (32u << 10)
/* Without timeoutSeconds a watch ends after half an hour to an hour, so that clients spread over servers again. */
#define WATCH_MIN_S 1800
/* A bookmark this often, and one before the end. */
#define BOOKMARK_MS 30000
/* So much of the initial state is made in one turn of the loop. */
#define SLICE (256u << 10)

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

struct api_watch {
	struct api_request *req;
	struct watcher w;
	struct api_selection sel;
	struct loop_timer timeout, bookmark;
	struct list link; /* in al->watches */
	struct buf out;   /* frames of one callback */
	int64_t sent_rv;
	bool columns_sent;
	/* The initial state, in slices: the next key, of that revision; then the watcher starts. */
	struct buf next;
	struct loop_timer slice;
	bool started, slice_waits, sealed;
	/* A webhook is asked, or a plugin that unseals; of events, the revision to go on at. */
	bool converting;
	int64_t resume_at;
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

/* --- Frames ------------------------------------------------------------------------------------------------ */

static void frame_doc(struct api_watch *aw, struct buf *out, const char *type, const struct json *doc)
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
		frame_doc(aw, out, type, table);
		aw->columns_sent = true;
	}
	arena_fini(&a);
	return table ? 0 : -e->code;
}

static int frame(struct api_watch *aw, struct buf *out, const char *type, struct str raw, uint64_t rv, struct err *e)
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

/* --- The end ----------------------------------------------------------------------------------------------- */

static void watch_release(struct api_watch *aw)
{
	watch_stop(&aw->w);
	convert_abandon(aw->req);
	loop_timer_stop(&aw->timeout);
	loop_timer_stop(&aw->bookmark);
	loop_timer_stop(&aw->slice);
	list_del(&aw->link);
	flow_watching(aw->req, -1);
	atomic_fetch_sub(&aw->req->srv->n_watches, 1);
	buf_fini(&aw->out);
	buf_fini(&aw->next);
	aw->req->stream = NULL;
	aw->req->on_cancel = NULL;
	aw->req->on_drain = NULL;
	free(aw);
}

static void watch_end(struct api_watch *aw)
{
	struct api_request *req = aw->req;

	watch_release(aw);
	req->responder->end(req);
	api_request_finish(req);
}

static void watch_canceled(struct api_request *req)
{
	watch_release(req->stream);
	req->responder->abort(req);
	api_request_finish(req);
}

static size_t high_mark(const struct api_request *req)
{
	size_t share = WATCH_BUDGET / (size_t)MAX(atomic_load(&req->srv->n_watches), 1);

	return MAX(MIN(share, (size_t)WATCH_HIGH), (size_t)WATCH_HIGH_MIN);
}

static void flush(struct api_watch *aw)
{
	struct api_request *req = aw->req;

	if (aw->out.n > 0)
		req->responder->write(req, buf_str(&aw->out));
	buf_clear(&aw->out);
	if (aw->started && req->responder->queued && req->responder->queued(req) > high_mark(req))
		watch_pause(&aw->w);
}

static void slice_due(struct loop_timer *);

static void watch_drained(struct api_request *req)
{
	struct api_watch *aw = req->stream;

	if (!aw || aw->converting || req->responder->queued(req) >= high_mark(req) / 4)
		return;
	if (aw->slice_waits) {
		aw->slice_waits = false;
		loop_timer_start(&aw->slice, req->al->loop, 0, slice_due);
	} else if (aw->started && aw->w.paused) {
		watch_resume(&aw->w);
	}
}

/* An ERROR event with a Status, then the end: the client has to list again. */
static void watch_fail(struct api_watch *aw, const struct api_failure *f)
{
	struct api_request *req = aw->req;
	struct json *status = api_status_dom(req, f);
	const struct schema_type *t = schema_type_find("meta.v1.Status");
	_cleanup_(buf_fini) struct buf body = BUF_INIT;
	struct err e = ERR_INIT;
	struct str raw;

	if (req->responder->event) {
		req->fail = *f;
		req->responder->event(req, "ERROR", STR_NULL, 0);
	} else if (req->accept.media < MEDIA_PROTOBUF) {
		frame_doc(aw, &aw->out, "ERROR", status);
	} else if (api_dom_encode(&req->arena, t, status, &raw, &e) == 0) {
		codec_wrap(&body, "v1", "Status", raw);
		codec_wire_watch_event(&aw->out, "ERROR", buf_str(&body));
	}
	flush(aw);
	watch_end(aw);
}

static void watch_gone(struct watcher *w, int64_t compact_revision)
{
	struct api_watch *aw = container_of(w, struct api_watch, w);
	struct api_failure f = {0};

	if (compact_revision == 0)
		err_set(&f.err, ERR_INTERNAL, "the watch's history cannot be read");
	else
		err_set(&f.err, ERR_EXPIRED, "too old resource version: %" PRId64 " (%" PRId64 ")", aw->sent_rv,
				compact_revision);
	watch_fail(aw, &f);
}

/* --- Events ---------------------------------------------------------------------------------------------------- */

static bool shareable(const struct api_watch *aw)
{
	/* A definition that comes after another may stand where it stood: custom resources are not told apart by their address. */
	return aw->req->accept.as == AS_OBJECT && !aw->req->responder->event && !aw->req->res->custom;
}

static int emit(struct api_watch *aw, const struct watch_event *ev, const char *type, struct str raw, struct err *e)
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
		return frame(aw, &aw->out, type, raw, (uint64_t)rev, e);
	slot = &req->al->events->slots[((uint64_t)rev * 31 + ev->sub) % CACHE_SLOTS];
	if (slot->frame.n > 0 && slot->revision == rev && slot->sub == ev->sub && slot->res == req->res && slot->type == type[0] &&
			slot->media == req->accept.media) {
		api_count(req->srv, COUNT_event_hits);
		buf_adds(&aw->out, buf_str(&slot->frame));
		return 0;
	}
	buf_fini(&slot->frame);
	buf_init(&slot->frame, BUF_NO_LIMIT);
	r = frame(aw, &slot->frame, type, raw, (uint64_t)rev, e);
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

static bool selected(struct api_watch *aw, struct arena *a, struct str key, struct str value, struct str *ret_raw, struct err *e)
{
	struct api_request *req = aw->req;

	return storage_unwrap_as(a, req->res, key, value, convert_conversions(req), ret_raw, e) == 0 &&
	       api_selection_matches(&aw->sel, *ret_raw);
}

/* What cannot be read is not left out: who watches would take it for deleted, or never hear of it. The watch ends with an error. */
static bool is_unread(const struct err *e)
{
	return e->code && e->code != ERR_PENDING;
}

static int one_event(struct api_watch *aw, const struct watch_event *ev, struct err *e)
{
	struct str now = STR_NULL, before = STR_NULL;
	bool is = false, was = false;
	struct err unread = ERR_INIT;
	struct arena a;
	int r = 0;

	arena_init(&a);
	if (!ev->is_delete)
		is = selected(aw, &a, ev->kv.key, ev->kv.value, &now, &unread);
	/* Where everything is selected, only a deleted object is looked at as it was. */
	if (ev->has_prev && aw->sel.all && is)
		was = true;
	else if (ev->has_prev)
		was = selected(aw, &a, ev->kv.key, ev->prev.value, &before, &unread);
	else if (!ev->is_delete && ev->kv.version > 1)
		was = is;
	if (convert_wants(aw->req->conv))
		r = err_set(e, ERR_PENDING, "an object is to be converted first");
	else if (is_unread(&unread))
		r = err_set(e, unread.code, "%s", unread.text);
	else if (is)
		r = emit(aw, ev, was ? "MODIFIED" : "ADDED", now, e);
	else if (was && before.p)
		r = emit(aw, ev, "DELETED", before, e);
	arena_fini(&a);
	return r;
}

static void converted(struct api_request *, const char *why);

static void unsealed(struct loop_timer *t)
{
	converted(container_of(t, struct api_watch, slice)->req, NULL);
}

/* Out of the store's log until what these events need is there. */
static void events_put_off(struct api_watch *aw, const struct watch_event *first)
{
	flush(aw);
	aw->resume_at = first->kv.mod_revision;
	aw->converting = true;
	watch_stop(&aw->w);
}

/* The same for what a plugin is being asked for (crypt.h). */
static bool events_sealed(struct api_watch *aw, const struct watch_event *const *events, size_t n)
{
	bool ready = true;

	for (size_t i = 0; i < n; i++) {
		ready &= events[i]->is_delete || crypt_ready(events[i]->kv.value);
		ready &= !events[i]->has_prev || crypt_ready(events[i]->prev.value);
	}
	if (ready)
		return false;
	events_put_off(aw, events[0]);
	loop_timer_start(&aw->slice, aw->req->al->loop, CRYPT_AGAIN_MS, unsealed);
	return true;
}

/*
 * A webhook is asked about all that these events need, in one call; then they are told anew from the first one on, out of the store's log.
 * True: nothing is to be told now.
 */
static bool events_wait(struct api_watch *aw, const struct watch_event *const *events, size_t n)
{
	struct api_request *req = aw->req;
	struct arena a;
	struct err e = ERR_INIT;
	struct str raw;

	arena_init(&a);
	for (size_t i = 0; req->conv && i < n; i++) {
		const struct watch_event *ev = events[i];

		if (!ev->is_delete)
			selected(aw, &a, ev->kv.key, ev->kv.value, &raw, &e);
		if (ev->has_prev && (ev->is_delete || !aw->sel.all))
			selected(aw, &a, ev->kv.key, ev->prev.value, &raw, &e);
	}
	arena_fini(&a);
	if (!convert_wants(req->conv))
		return false;
	events_put_off(aw, events[0]);
	convert_start(req, converted);
	return true;
}

static void watch_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct api_watch *aw = container_of(w, struct api_watch, w);
	struct api_request *req = aw->req;
	struct api_failure f = {0};

	if (events_sealed(aw, events, n) || events_wait(aw, events, n))
		return;
	for (size_t i = 0; i < n; i++) {
		if (one_event(aw, events[i], &f.err) < 0) {
			watch_fail(aw, &f);
			return;
		}
		/* An in-process client may have stopped its watch in the callback. */
		if (req->canceled)
			return;
	}
	aw->sent_rv = revision;
	convert_forget(req->conv);
	flush(aw);
}

/* An object with nothing but a version (and the mark that ends the initial events). */
static void bookmark(struct api_watch *aw, int64_t rv, bool initial_end)
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
		frame_doc(aw, &aw->out, "BOOKMARK", table);
		arena_fini(&a);
	} else {
		frame(aw, &aw->out, "BOOKMARK", buf_str(&raw), (uint64_t)rv, &e);
	}
	flush(aw);
}

static void bookmark_now(struct api_watch *aw)
{
	int64_t rv = aw->started && !aw->converting ? watch_progress(&aw->w) : 0;

	if (rv > aw->sent_rv && !aw->w.paused) {
		aw->sent_rv = rv;
		bookmark(aw, rv, false);
	}
}

static void bookmark_due(struct loop_timer *t)
{
	struct api_watch *aw = container_of(t, struct api_watch, bookmark);
	struct api_request *req = aw->req;

	loop_timer_start(t, req->al->loop, BOOKMARK_MS, bookmark_due);
	bookmark_now(aw);
}

static void timeout_due(struct loop_timer *t)
{
	struct api_watch *aw = container_of(t, struct api_watch, timeout);

	if (aw->req->opt.bookmarks)
		bookmark_now(aw);
	watch_end(aw);
}

/* --- The start --------------------------------------------------------------------------------------------------- */

static int initial_event(struct api_watch *aw, struct str raw, uint64_t rv, struct err *e)
{
	_cleanup_(buf_fini) struct buf with_rv = BUF_INIT;

	if (!aw->req->responder->event)
		return frame(aw, &aw->out, "ADDED", raw, rv, e);
	storage_with_rv(&with_rv, raw, rv);
	aw->req->responder->event(aw->req, "ADDED", buf_str(&with_rv), rv);
	return 0;
}

/*
 * What is selected at sent_rv, as ADDED, from aw->next on, until a slice is full. 1: there is more. An in-process client, who takes
 * objects as they come, gets all at once.
 */
static int initial_slice(struct api_watch *aw, struct err *e)
{
	struct api_request *req = aw->req;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct arena a; /* of one object */
	struct str raw;
	size_t wanted = 0; /* bytes */
	bool full = false;
	int r;

	if (store_view_open_at(req->srv->store, req->barrier.index, &v, e) < 0)
		return -e->code;
	if (aw->next.n == 0) {
		aw->sent_rv = view_revision(v);
		buf_adds(&aw->next, aw->w.key);
	}
	arena_init(&a);
	view_iter_init(&it, v, buf_str(&aw->next), aw->w.end, aw->sent_rv, 0);
	while (!full && (r = view_iter_next(&it, &kv, e)) > 0 && !req->canceled) {
		arena_fini(&a);
		err_clear(e);
		if (!crypt_ready(kv.value)) {
			buf_clear(&aw->next);
			buf_adds(&aw->next, kv.key);
			full = aw->sealed = true;
			break;
		}
		/* Once something is to be converted first, this slice is told when it is; what else it will need is collected. */
		if (!selected(aw, &a, kv.key, kv.value, &raw, e) || convert_wants(req->conv)) {
			if (is_unread(e)) {
				r = -(int)e->code;
				break;
			}
			wanted += convert_wants(req->conv) ? kv.value.n : 0;
			full = wanted >= SLICE;
			continue;
		}
		r = initial_event(aw, raw, (uint64_t)kv.mod_revision, e);
		if (r < 0)
			break;
		full = aw->out.n >= SLICE;
		if (full || req->conv) {
			buf_clear(&aw->next);
			buf_adds(&aw->next, kv.key);
			buf_add1(&aw->next, '\0'); /* the first key behind it */
		}
	}
	view_iter_fini(&it);
	arena_fini(&a);
	store_view_close(v);
	return full ? 1 : MIN(r, 0);
}

/* The state is told: from here on, what changes it. */
static void watch_live(struct api_watch *aw, bool initial)
{
	struct api_request *req = aw->req;

	aw->started = true;
	flow_release(req);
	watch_start(req->al->hub, &aw->w, aw->sent_rv + 1);
	if (initial && req->opt.send_initial_events && req->opt.bookmarks)
		bookmark(aw, aw->sent_rv, true);
	else
		flush(aw);
}

static void slice_due(struct loop_timer *t)
{
	struct api_watch *aw = container_of(t, struct api_watch, slice);
	struct api_request *req = aw->req;
	struct api_failure f = {0};
	int r;

	/* An in-process client may stop its watch while it is told: that is looked at when all of the slice is. */
	req->on_cancel = NULL;
	req->waiting = false;
	r = initial_slice(aw, &f.err);
	req->on_cancel = watch_canceled;
	req->waiting = true;
	if (req->canceled) {
		watch_canceled(req);
	} else if (r < 0) {
		watch_fail(aw, &f);
	} else if (convert_wants(req->conv)) {
		flush(aw);
		aw->converting = true;
		convert_start(req, converted);
	} else if (r == 0) {
		convert_forget(req->conv);
		watch_live(aw, true);
	} else {
		convert_forget(req->conv);
		flush(aw);
		aw->slice_waits = req->responder->queued && req->responder->queued(req) > high_mark(req);
		/* A client that is slow to take what there is must not sit on seats. */
		if (aw->slice_waits)
			flow_release(req);
		else
			loop_timer_start(t, req->al->loop, aw->sealed ? CRYPT_AGAIN_MS : 0, slice_due);
		aw->sealed = false;
	}
}

/* What was asked for is there: go on where it was missed. */
static void converted(struct api_request *req, const char *why)
{
	struct api_watch *aw = req->stream;
	struct api_failure f = {0};

	aw->converting = false;
	req->on_cancel = watch_canceled;
	if (why) {
		err_set(&f.err, ERR_INTERNAL, "%s", why);
		f.message = arena_str(&req->arena, str_from(why));
		watch_fail(aw, &f);
	} else if (aw->started) {
		api_key_range(req, &aw->w.key, &aw->w.end);
		watch_start(req->al->hub, &aw->w, aw->resume_at);
		if (req->responder->queued && req->responder->queued(req) > high_mark(req))
			watch_pause(&aw->w);
	} else {
		loop_timer_start(&aw->slice, req->al->loop, 0, slice_due);
	}
}

static int watch_begin(struct api_request *req, struct err *e)
{
	struct http_header h[API_MAX_HEADERS];
	const char *type = req->accept.media >= MEDIA_PROTOBUF ? "application/vnd.kubernetes.protobuf;stream=watch" :
								 "application/json";

	if (req->accept.media == MEDIA_YAML)
		req->accept.media = MEDIA_JSON;
	if (api__ws_wanted(req) && api__ws_watch(req, e) < 0)
		return -e->code;
	if (req->responder->begin)
		req->responder->begin(req, 200, h, api_answer_headers(req, type, h));
	api_count(req->srv, COUNT_watches);
	return 0;
}

/* What the state before the first event is: a version given by the client, or the present, sent first. */
static enum step_result watch_point(struct api_request *req, bool *ret_initial, int64_t *ret_rv)
{
	struct str rv = req->opt.resource_version;
	uint64_t n = 0;

	*ret_initial = req->opt.send_initial_events_set ? req->opt.send_initial_events : rv.n == 0 || str_eqc(rv, "0");
	if (api_list_options_check(req) != STEP_NEXT)
		return STEP_FAIL;
	if (rv.n > 0 && !str_to_u64(rv, &n))
		return api_fail(req, ERR_BAD_REQUEST, "resourceVersion: Invalid value: \"%.*s\": strconv.ParseUint: parsing \"%.*s\": invalid syntax",
				STR_FMT(rv), STR_FMT(rv));
	*ret_rv = (int64_t)n;
	if ((*ret_initial || n == 0) && !str_eqc(rv, "0") && (n == 0 || (uint64_t)store_revision(req->srv->store) < n) &&
			api_refresh(req))
		return STEP_WAIT;
	if (*ret_initial && n > 0 && (uint64_t)store_revision(req->srv->store) < n)
		return api_fail_too_new(req, n);
	/* Without a version and without the initial state: from now on. */
	if (!*ret_initial && n == 0)
		*ret_rv = store_revision(req->srv->store);
	return STEP_NEXT;
}

enum step_result api__watch(struct api_request *req)
{
	struct api_watch *aw;
	struct api_selection sel;
	struct api_failure f = {0};
	bool initial;
	int64_t rv = 0, timeout_s = req->opt.timeout_s;
	enum step_result r = watch_point(req, &initial, &rv);

	if (r != STEP_NEXT)
		return r;
	if (api_selection_parse(req, &sel) != STEP_NEXT)
		return STEP_FAIL;
	if (atomic_load(&req->srv->stopping))
		return api_fail(req, ERR_UNAVAILABLE, "the server is shutting down");
	if (watch_begin(req, &f.err) < 0)
		return api_fail_err(req, &f.err);
	aw = xcalloc(1, sizeof(*aw));
	aw->req = req;
	aw->sel = sel;
	aw->sent_rv = rv;
	buf_init(&aw->out, BUF_NO_LIMIT);
	buf_init(&aw->next, BUF_NO_LIMIT);
	list_add_tail(&req->al->watches, &aw->link);
	atomic_fetch_add(&req->srv->n_watches, 1);
	flow_watching(req, 1);
	req->stream = aw;
	req->on_drain = watch_drained;
	api_key_range(req, &aw->w.key, &aw->w.end);
	aw->w.events = watch_events;
	aw->w.gone = watch_gone;
	req->on_cancel = watch_canceled;
	req->waiting = true;
	if (timeout_s <= 0)
		timeout_s = WATCH_MIN_S + (int64_t)(random_u64() % WATCH_MIN_S);
	loop_timer_start(&aw->timeout, req->al->loop, (uint64_t)timeout_s * 1000, timeout_due);
	if (req->opt.bookmarks)
		loop_timer_start(&aw->bookmark, req->al->loop, BOOKMARK_MS, bookmark_due);
	if (initial)
		slice_due(&aw->slice);
	else
		watch_live(aw, false);
	return STEP_DONE;
}

void api__watches_end_of(struct api_loop *al, const struct custom_def *d)
{
	struct api_watch *found;

	/* Whoever is told of an end may end others: look from the front each time. */
	do {
		found = NULL;
		LIST_FOR_EACH (aw, &al->watches, struct api_watch, link)
			if (!found && aw->req->custom_def == d)
				found = aw;
		if (found)
			watch_end(found);
	} while (found);
}

void api__watches_end(struct api_loop *al)
{
	while (!list_empty(&al->watches))
		watch_end(LIST_FIRST(&al->watches, struct api_watch, link));
}

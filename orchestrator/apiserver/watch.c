/*
 * Watching: a stream of what happens to the selected objects.
 *
 *	api__watch:  read point > initial state as ADDED (unless a version was given) > store watcher > events until
 *	             the timeout, the client's or the server's end
 *
 *	watch.c           begin, pace and end
 *	watch_initial.c   the state before the first event
 *	watch_events.c    what is told of what happened
 *	watch_frame.c     how it is written
 *
 * An object that comes to match the selector is ADDED, one that ceases to is DELETED, whatever it was in the store.
 * The encoding of an event is shared by all watchers of the loop that want the same form (struct api_event_cache).
 * A slow client's watcher is paused while more than its share of WATCH_BUDGET waits; the store feeds it again from its log.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/objects.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/watch-priv.h"
#include "proto/codec.h"
#include "proto/schema.h"
#include "store/store.h"

/* What may wait for slow clients: so much for all watchers together, divided among them, within these bounds for one. */
#define WATCH_BUDGET (64u << 20)
#define WATCH_HIGH (1u << 20)
#define WATCH_HIGH_MIN (32u << 10)
/* Without timeoutSeconds a watch ends after half an hour to an hour, so that clients spread over servers again. */
#define WATCH_MIN_S 1800
/* A bookmark this often, and one before the end. */
#define BOOKMARK_MS 30000

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

void api__watch_canceled(struct api_request *req)
{
	watch_release(req->stream);
	req->responder->abort(req);
	api_request_finish(req);
}

size_t api__watch_high_mark(const struct api_request *req)
{
	size_t share = WATCH_BUDGET / (size_t)MAX(atomic_load(&req->srv->n_watches), 1);

	return MAX(MIN(share, (size_t)WATCH_HIGH), (size_t)WATCH_HIGH_MIN);
}

void api__watch_flush(struct api_watch *aw)
{
	struct api_request *req = aw->req;

	if (aw->out.n > 0)
		req->responder->write(req, buf_str(&aw->out));
	buf_clear(&aw->out);
	if (aw->started && req->responder->queued && req->responder->queued(req) > api__watch_high_mark(req))
		watch_pause(&aw->w);
}

static void watch_drained(struct api_request *req)
{
	struct api_watch *aw = req->stream;

	if (!aw || aw->converting || req->responder->queued(req) >= api__watch_high_mark(req) / 4)
		return;
	if (aw->slice_waits) {
		aw->slice_waits = false;
		loop_timer_start(&aw->slice, req->al->loop, 0, api__watch_slice);
	} else if (aw->started && aw->w.paused) {
		watch_resume(&aw->w);
	}
}

/* An ERROR event with a Status, then the end: the client has to list again. */
void api__watch_fail(struct api_watch *aw, const struct api_failure *f)
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
		api__watch_frame_doc(aw, &aw->out, "ERROR", status);
	} else if (api_dom_encode(&req->arena, t, status, &raw, &e) == 0) {
		codec_wrap(&body, "v1", "Status", raw);
		codec_wire_watch_event(&aw->out, "ERROR", buf_str(&body));
	}
	api__watch_flush(aw);
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
	api__watch_fail(aw, &f);
}

/* --- Timers ------------------------------------------------------------------------------------------------- */

static void bookmark_now(struct api_watch *aw)
{
	int64_t rv = aw->started && !aw->converting ? watch_progress(&aw->w) : 0;

	if (rv > aw->sent_rv && !aw->w.paused) {
		aw->sent_rv = rv;
		api__watch_bookmark(aw, rv, false);
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

/* The state is told: from here on, what changes it. */
void api__watch_live(struct api_watch *aw, bool initial)
{
	struct api_request *req = aw->req;

	aw->started = true;
	flow_release(req);
	watch_start(req->al->hub, &aw->w, aw->sent_rv + 1);
	if (initial && req->opt.send_initial_events && req->opt.bookmarks)
		api__watch_bookmark(aw, aw->sent_rv, true);
	else
		api__watch_flush(aw);
}

/* What was asked for is there: go on where it was missed. */
void api__watch_converted(struct api_request *req, const char *why)
{
	struct api_watch *aw = req->stream;
	struct api_failure f = {0};

	aw->converting = false;
	req->on_cancel = api__watch_canceled;
	if (why) {
		err_set(&f.err, ERR_INTERNAL, "%s", why);
		f.message = arena_str(&req->arena, str_from(why));
		api__watch_fail(aw, &f);
	} else if (aw->started) {
		api_key_range(req, &aw->w.key, &aw->w.end);
		watch_start(req->al->hub, &aw->w, aw->resume_at);
		if (req->responder->queued && req->responder->queued(req) > api__watch_high_mark(req))
			watch_pause(&aw->w);
	} else {
		loop_timer_start(&aw->slice, req->al->loop, 0, api__watch_slice);
	}
}

/*
 * No member has come to the version that the client has seen: the store was restored from a backup. What would come is older to the
 * client than what it has; so it is told to list again. (Upstream says nothing until the version is reached.)
 */
static void watch_ahead(struct api_watch *aw)
{
	struct api_failure f = {0};

	err_set(&f.err, ERR_EXPIRED, "too large resource version: %" PRIu64 " (%" PRId64 ")", (uint64_t)aw->sent_rv,
			store_revision(aw->req->srv->store));
	api__watch_fail(aw, &f);
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
		return api_fail_no_version(req);
	*ret_rv = (int64_t)n;
	/* A version from ahead: this member may lag behind the one that gave it. */
	if (!str_eqc(rv, "0") && (n == 0 || (uint64_t)store_revision(req->srv->store) < n) && api_refresh(req))
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
	aw->w.events = api__watch_events;
	aw->w.gone = watch_gone;
	req->on_cancel = api__watch_canceled;
	req->waiting = true;
	if (timeout_s <= 0)
		timeout_s = WATCH_MIN_S + (int64_t)(random_u64() % WATCH_MIN_S);
	loop_timer_start(&aw->timeout, req->al->loop, (uint64_t)timeout_s * 1000, timeout_due);
	if (req->opt.bookmarks)
		loop_timer_start(&aw->bookmark, req->al->loop, BOOKMARK_MS, bookmark_due);
	if (initial)
		api__watch_slice(&aw->slice);
	else if ((uint64_t)rv > (uint64_t)store_revision(req->srv->store))
		watch_ahead(aw);
	else
		api__watch_live(aw, false);
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

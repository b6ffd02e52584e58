/*
 * What happened in the store, as what it means to this client: an object that comes to match the selector is ADDED, one that ceases to is
 * DELETED, whatever it was in the store.
 *
 * An event that cannot be told yet, because a webhook has to convert the object or a plugin to unseal it, holds up all behind it:
 * order is the promise. The watcher is stopped, what is missing is asked for, and then the watcher starts again at that
 * event, out of the store's log; nothing is kept here meanwhile, however long it takes. One that can never be told ends the watch.
 */
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/watch-priv.h"

bool api__watch_selects(struct api_watch *aw, struct arena *a, struct str key, struct str value, struct str *ret_raw, struct err *e)
{
	struct api_request *req = aw->req;

	return storage_unwrap_as(a, req->res, key, value, convert_conversions(req), ret_raw, e) == 0 &&
	       api_selection_matches(&aw->sel, *ret_raw);
}

/* What cannot be read is not left out: who watches would take it for deleted, or never hear of it. The watch ends with an error. */
bool api__watch_is_unread(const struct err *e)
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
		is = api__watch_selects(aw, &a, ev->kv.key, ev->kv.value, &now, &unread);
	/* Where everything is selected, only a deleted object is looked at as it was. */
	if (ev->has_prev && aw->sel.all && is)
		was = true;
	else if (ev->has_prev)
		was = api__watch_selects(aw, &a, ev->kv.key, ev->prev.value, &before, &unread);
	else if (!ev->is_delete && ev->kv.version > 1)
		was = is;
	if (convert_wants(aw->req->conv))
		r = err_set(e, ERR_PENDING, "an object is to be converted first");
	else if (api__watch_is_unread(&unread))
		r = err_set(e, unread.code, "%s", unread.text);
	else if (is)
		r = api__watch_emit(aw, ev, was ? "MODIFIED" : "ADDED", now, e);
	else if (was && before.p)
		r = api__watch_emit(aw, ev, "DELETED", before, e);
	arena_fini(&a);
	return r;
}

static void unsealed(struct loop_timer *t)
{
	api__watch_converted(container_of(t, struct api_watch, slice)->req, NULL);
}

/* Out of the store's log until what these events need is there. */
static void events_put_off(struct api_watch *aw, const struct watch_event *first)
{
	api__watch_flush(aw);
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
			api__watch_selects(aw, &a, ev->kv.key, ev->kv.value, &raw, &e);
		if (ev->has_prev && (ev->is_delete || !aw->sel.all))
			api__watch_selects(aw, &a, ev->kv.key, ev->prev.value, &raw, &e);
	}
	arena_fini(&a);
	if (!convert_wants(req->conv))
		return false;
	events_put_off(aw, events[0]);
	convert_start(req, api__watch_converted);
	return true;
}

void api__watch_events(struct watcher *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct api_watch *aw = container_of(w, struct api_watch, w);
	struct api_request *req = aw->req;
	struct api_failure f = {0};

	if (events_sealed(aw, events, n) || events_wait(aw, events, n))
		return;
	for (size_t i = 0; i < n; i++) {
		if (one_event(aw, events[i], &f.err) < 0) {
			api__watch_fail(aw, &f);
			return;
		}
		/* An in-process client may have stopped its watch in the callback. */
		if (req->canceled)
			return;
	}
	aw->sent_rv = revision;
	convert_forget(req->conv);
	api__watch_flush(aw);
}

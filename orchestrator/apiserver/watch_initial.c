/*
 * The initial state of a watch: what is selected at one revision, as ADDED events, before the watcher starts behind that revision.
 *
 *	slice > slice > ... > api__watch_live        between two of them: the loop's other work, a slow client, a webhook or plugin that is asked
 *
 * Every slice opens the store anew and goes on at `next`, at the revision of the first (sent_rv); a revision that is compacted
 * meanwhile ends the watch with an error, and the client begins again.
 */
#include "base/util.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/storage.h"
#include "orchestrator/apiserver/watch-priv.h"
#include "store/view.h"

/* So much of the initial state is made in one turn of the loop. */
#define SLICE (256u << 10)

static int initial_event(struct api_watch *aw, struct str raw, uint64_t rv, struct err *e)
{
	_cleanup_(buf_fini) struct buf with_rv = BUF_INIT;

	if (!aw->req->responder->event)
		return api__watch_frame(aw, &aw->out, "ADDED", raw, rv, e);
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
		if (!api__watch_selects(aw, &a, kv.key, kv.value, &raw, e) || convert_wants(req->conv)) {
			if (api__watch_is_unread(e)) {
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

void api__watch_slice(struct loop_timer *t)
{
	struct api_watch *aw = container_of(t, struct api_watch, slice);
	struct api_request *req = aw->req;
	struct api_failure f = {0};
	int r;

	/* An in-process client may stop its watch while it is told: that is looked at when all of the slice is. */
	req->on_cancel = NULL;
	req->waiting = false;
	r = initial_slice(aw, &f.err);
	req->on_cancel = api__watch_canceled;
	req->waiting = true;
	if (req->canceled) {
		api__watch_canceled(req);
	} else if (r < 0) {
		api__watch_fail(aw, &f);
	} else if (convert_wants(req->conv)) {
		api__watch_flush(aw);
		aw->converting = true;
		convert_start(req, api__watch_converted);
	} else if (r == 0) {
		convert_forget(req->conv);
		api__watch_live(aw, true);
	} else {
		convert_forget(req->conv);
		api__watch_flush(aw);
		aw->slice_waits = req->responder->queued && req->responder->queued(req) > api__watch_high_mark(req);
		/* A client that is slow to take what there is must not sit on seats. */
		if (aw->slice_waits)
			flow_release(req);
		else
			loop_timer_start(t, req->al->loop, aw->sealed ? CRYPT_AGAIN_MS : 0, api__watch_slice);
		aw->sealed = false;
	}
}

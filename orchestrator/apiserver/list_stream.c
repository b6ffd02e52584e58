/* Large lists in pieces; see api_list_stream in read.h. */
#include <stdlib.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/convert.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/list_count.h"
#include "orchestrator/apiserver/list_form.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/codec.h"
#include "store/store.h"
#include "store/view.h"

/* Stored bytes from which on a list is streamed. */
#define STREAM_MIN (1u << 20)
/* A list has seats while it leaves (flow.h): who does not take it within the request's time is cut off; a client in this process within this. */
#define LOCAL_MS 60000
/* What may wait for a slow client. */
#define HIGH (1u << 20)
#define LOW (256u << 10)

/*
 *	counting --> filling the first slice --> slice, slice ... --> end
 *	                  ^   |  (what a webhook is to convert is waited for, in each of them)
 *	                  +---+
 *
 * Nothing is said before the first slice is there: what is wrong until then is told with a status, what is wrong later breaks the
 * answer off.
 */
struct list_stream {
	struct api_request *req;
	struct api_selection sel;
	struct api_list_scan scan;
	struct list_form form;
	struct list_count count;
	struct buf next;   /* the key to go on at */
	size_t left;       /* objects to come; of an open list as many as there are */
	uint64_t until_ms;
	bool open;         /* not counted before: how large it was is known at the end */
	bool counting, begun, packed, waiting;
	size_t stored;
	struct buf tail;   /* what follows the last object */
	struct buf out;
	z_stream z;
	struct loop_timer timer;
};

static void slice_due(struct loop_timer *);

/* --- The end ---------------------------------------------------------------------------------------------------------------- */

static void stream_gone(struct list_stream *ls)
{
	loop_timer_stop(&ls->timer);
	if (ls->packed)
		deflateEnd(&ls->z);
	list_count_fini(&ls->count);
	buf_fini(&ls->next);
	buf_fini(&ls->tail);
	buf_fini(&ls->out);
	free(ls);
}

/* The same of one that had the request. */
static void stream_free(struct list_stream *ls)
{
	struct api_request *req = ls->req;

	convert_abandon(req);
	req->stream = NULL;
	req->on_cancel = NULL;
	req->on_drain = NULL;
	stream_gone(ls);
}

static void stream_canceled(struct api_request *req)
{
	stream_free(req->stream);
	req->responder->abort(req);
	api_request_finish(req);
}

/* Once something has been said the client sees a broken answer, not a short list. */
static void stream_broken(struct list_stream *ls, const struct err *e)
{
	struct api_request *req = ls->req;
	struct str start = ls->scan.start;
	bool begun = ls->begun;

	stream_free(ls);
	if (!begun) {
		api_fail_list(req, e, store_revision(req->srv->store), start);
		api_request_failed(req);
		return;
	}
	log_warn("apiserver", "a list broke off: %.*s: %s", STR_FMT(req->target), e->text);
	req->responder->abort(req);
	api_request_finish(req);
}

/* --- Slices ------------------------------------------------------------------------------------------------------------------- */

static void emit(struct list_stream *ls, bool end)
{
	struct buf packed = BUF_INIT;
	char block[16384];

	if (!ls->packed) {
		ls->req->responder->write(ls->req, buf_str(&ls->out));
		return;
	}
	ls->z.next_in = (Bytef *)ls->out.p;
	ls->z.avail_in = (uInt)ls->out.n;
	do {
		ls->z.next_out = (Bytef *)block;
		ls->z.avail_out = sizeof(block);
		ASSERT(deflate(&ls->z, end ? Z_FINISH : Z_NO_FLUSH) != Z_STREAM_ERROR);
		buf_add(&packed, block, sizeof(block) - ls->z.avail_out);
	} while (ls->z.avail_out == 0);
	if (packed.n > 0)
		ls->req->responder->write(ls->req, buf_str(&packed));
	buf_fini(&packed);
}

/* One object into `out`, if it is meant. 1, or -ERR_PENDING: it, or one before it, is to be converted first. */
static int fill_one(struct list_stream *ls, const struct store_kv *kv, struct arena *a, struct err *e)
{
	struct api_request *req = ls->req;
	struct str raw;
	int r = storage_unwrap_as(a, req->res, kv->key, kv->value, convert_conversions(req), &raw, e);

	if (convert_wants(req->conv)) {
		err_clear(e);
		return -ERR_PENDING;
	}
	if (r < 0)
		return -1;
	if (!api_selection_matches(&ls->sel, raw))
		return 1;
	ls->left--;
	ls->stored += raw.n;
	return list_form_add(&ls->form, a, raw, (uint64_t)kv->mod_revision, &ls->out, e) < 0 ? -1 : 1;
}

/*
 * Objects into `out` until the slice is full, a turn's worth has been looked at, or all have come. 1: the next one is being unsealed
 * (crypt.h), so it goes on a little later.
 */
static int fill(struct list_stream *ls, struct err *e)
{
	size_t looked = 0, bytes = 0, wanted = 0;
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct arena a;
	bool late = false;
	int r = 1;

	if (store_view_open(ls->req->srv->store, &v, e) < 0)
		return -e->code;
	arena_init(&a);
	view_iter_init(&it, v, buf_str(&ls->next), ls->scan.end, ls->scan.rev, 0);
	while (r > 0 && ls->left > 0 && ls->out.n < ls->form.slice && looked < LIST_LOOK_OBJECTS && bytes < LIST_LOOK_BYTES) {
		r = view_iter_next(&it, &kv, e);
		if (r == 0 && (ls->open || convert_wants(ls->req->conv)))
			ls->left = convert_wants(ls->req->conv) ? ls->left : 0;
		else if (r == 0)
			r = err_set(e, ERR_INTERNAL, "%zu objects of a revision are gone", ls->left);
		late = r > 0 && !crypt_ready(kv.value);
		if (r <= 0 || late)
			break;
		arena_fini(&a);
		looked++;
		bytes += kv.value.n;
		r = fill_one(ls, &kv, &a, e);
		if (r == -ERR_PENDING) {
			/* What else a slice is going to need is asked for with it. */
			wanted += kv.value.n;
			r = wanted < ls->form.slice;
			continue;
		}
		buf_clear(&ls->next);
		buf_adds(&ls->next, kv.key);
		buf_add1(&ls->next, '\0'); /* the first key behind it */
		if (ls->scan.end.n == 0)
			ls->left = 0; /* the range is one key */
	}
	view_iter_fini(&it);
	arena_fini(&a);
	store_view_close(v);
	return late ? 1 : MIN(r, 0);
}

static uint64_t time_left(const struct list_stream *ls)
{
	uint64_t now = clock_mono_ms();

	return ls->until_ms > now ? ls->until_ms - now : 0;
}

static void begin(struct list_stream *ls)
{
	struct api_request *req = ls->req;
	struct http_header h[API_MAX_HEADERS];
	size_t n = api_answer_headers(req, api_media_type(req->accept.media), h);

	ls->packed = req->accept.gzip && deflateInit2(&ls->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	if (ls->packed)
		h[n++] = (struct http_header){STR("Content-Encoding"), STR("gzip")};
	if (!ls->open)
		flow_list_size(req, ls->count.stored, true);
	ls->begun = true;
	req->http_status = 200;
	req->responder->begin(req, 200, h, n);
}

static void converted(struct api_request *req, const char *why)
{
	struct list_stream *ls = req->stream;
	struct err e = ERR_INIT;

	/* Nothing waits any more, and the request was not canceled: on_cancel is ours again. */
	req->on_cancel = stream_canceled;
	if (why) {
		req->fail.reason = "";
		err_set(&e, ERR_INTERNAL, "%s", why);
		stream_broken(ls, &e);
		return;
	}
	loop_timer_start(&ls->timer, req->al->loop, 0, slice_due);
}

/* What there is leaves. */
static void send(struct list_stream *ls)
{
	struct api_request *req = ls->req;
	bool end = ls->left == 0;

	if (!ls->begun)
		begin(ls);
	if (end) {
		list_form_end(&ls->form, &ls->tail);
		buf_adds(&ls->out, buf_str(&ls->tail));
	}
	if (end && ls->open)
		flow_list_size(req, ls->stored, true);
	if (ls->out.n > 0 || end)
		emit(ls, end);
	buf_clear(&ls->out);
	if (end) {
		stream_free(ls);
		req->responder->end(req);
		api_request_finish(req);
		return;
	}
	if (convert_wants(req->conv)) {
		convert_forget_told(req->conv);
		convert_start(req, converted);
		return;
	}
	ls->waiting = req->responder->queued(req) > HIGH;
	loop_timer_start(&ls->timer, req->al->loop, ls->waiting ? time_left(ls) : 0, slice_due);
}

/* The list is known as far as it has to be. */
static void counted(struct list_stream *ls, struct store_view *v)
{
	struct api_request *req = ls->req;
	const struct list_count *c = &ls->count;
	struct codec_list_meta meta;

	ls->open = !c->done;
	ls->left = ls->open ? SIZE_MAX : c->n;
	if (req->conv) {
		ls->open = true;
		ls->left = SIZE_MAX;
	}
	ls->counting = false;
	api_list_counted(req, &ls->scan, c);
	api_list_meta(req, &ls->scan, v, ls->sel.all, &meta);
	list_form_frame(&ls->form, &meta, c->items, &ls->out, &ls->tail);
}

/* Protobuf lists and pages are counted to their end; where nobody has to know, it is enough that the list is a large one. */
static size_t enough(const struct list_stream *ls)
{
	return ls->form.kind == FORM_PROTOBUF || ls->req->opt.limit > 0 ? SIZE_MAX : STREAM_MIN;
}

static int count_on(struct list_stream *ls, struct err *e)
{
	struct store_view *v;
	int r;

	if (store_view_open(ls->req->srv->store, &v, e) < 0)
		return -1;
	r = list_count_turn(&ls->count, &ls->form, &ls->sel, v, enough(ls), e);
	if (r == 0 && ls->count.done)
		counted(ls, v);
	store_view_close(v);
	return r;
}

static void slice_due(struct loop_timer *t)
{
	struct list_stream *ls = container_of(t, struct list_stream, timer);
	struct api_request *req = ls->req;
	struct err e = ERR_INIT;
	int r = 0;

	if (clock_mono_ms() >= ls->until_ms)
		err_set(&e, ERR_TIMEOUT, "the client did not take it in the request's time");
	else
		r = ls->counting ? count_on(ls, &e) : ls->left > 0 ? fill(ls, &e) : 0;
	if (e.code || r < 0) {
		stream_broken(ls, &e);
		return;
	}
	if (r > 0) {
		loop_timer_start(t, req->al->loop, CRYPT_AGAIN_MS, slice_due);
		return;
	}
	/* Of a list that has not begun the first slice is made full. */
	if (ls->counting || (!ls->begun && ls->left > 0 && ls->out.n < ls->form.slice && !convert_wants(req->conv)))
		loop_timer_start(&ls->timer, req->al->loop, 0, slice_due);
	else if (!ls->begun && convert_wants(req->conv)) {
		convert_forget_told(req->conv);
		convert_start(req, converted);
	} else {
		send(ls);
	}
}

static void stream_drained(struct api_request *req)
{
	struct list_stream *ls = req->stream;

	if (ls && ls->waiting && req->responder->queued(req) < LOW) {
		ls->waiting = false;
		loop_timer_start(&ls->timer, req->al->loop, 0, slice_due);
	}
}

/* --- The start ---------------------------------------------------------------------------------------------------------------- */

/* What a webhook converts has to be converted before it is known whether it is one of a page's: pages are made whole. */
static bool streamable(const struct api_request *req)
{
	return !(req->conv && req->opt.limit > 0) && req->responder->begin && req->responder->queued && !req->local;
}

/* How much there is, as far as a first look tells. False: it is a small one, or its form, or something that is wrong, wants it whole. */
static bool is_large(struct list_stream *ls, struct store_view *v)
{
	struct err e = ERR_INIT;

	return list_form_init(&ls->form, ls->req) && list_count_turn(&ls->count, &ls->form, &ls->sel, v, enough(ls), &e) == 0 &&
	       (ls->count.stored >= STREAM_MIN || !ls->count.done);
}

enum step_result api_list_stream(struct api_request *req, struct api_list_scan *s, struct store_view *v, const struct api_selection *sel)
{
	struct list_stream *ls;

	if (!streamable(req))
		return STEP_NEXT;
	ls = xcalloc(1, sizeof(*ls));
	ls->req = req;
	ls->sel = *sel;
	ls->scan = *s;
	buf_init(&ls->next, BUF_NO_LIMIT);
	buf_init(&ls->tail, BUF_NO_LIMIT);
	buf_init(&ls->out, BUF_NO_LIMIT);
	list_count_init(&ls->count, s);
	if (!is_large(ls, v)) {
		if (ls->count.done && !req->conv)
			api_list_counted(req, s, &ls->count);
		stream_gone(ls);
		return STEP_NEXT;
	}
	/* A client in this process keeps its own time. */
	ls->until_ms = clock_mono_ms() + (req->local ? LOCAL_MS : api_time_left_ms(req));
	api_keep_time(req);
	buf_adds(&ls->next, s->key);
	ls->counting = !ls->count.done && enough(ls) == SIZE_MAX;
	if (!ls->counting)
		counted(ls, v);
	req->stream = ls;
	req->on_cancel = stream_canceled;
	req->on_drain = stream_drained;
	req->waiting = true;
	loop_timer_start(&ls->timer, req->al->loop, 0, slice_due);
	return STEP_DONE;
}

/* Large lists in pieces; see api_list_stream in read.h. */
#include <stdlib.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "orchestrator/apiserver/answer.h"
#include "orchestrator/apiserver/apiserver-priv.h"
#include "orchestrator/apiserver/crypt.h"
#include "orchestrator/apiserver/list_form.h"
#include "orchestrator/apiserver/read.h"
#include "orchestrator/apiserver/storage.h"
#include "proto/codec.h"
#include "store/store.h"
#include "store/view.h"

/* Stored bytes from which on a list is streamed. */
#define STREAM_MIN (1u << 20)
/* A list has seats while it leaves (flow.h): who does not take it within this time is cut off. */
#define TAKEN_MS 60000
/* What may wait for a slow client. */
#define HIGH (1u << 20)
#define LOW (256u << 10)

struct list_stream {
	struct api_request *req;
	struct api_selection sel;
	struct list_form form;
	struct buf next;   /* the key to go on at */
	struct str end;
	int64_t rev;
	size_t left;       /* objects to come; of an open list as many as there are */
	uint64_t until_ms;
	bool open;         /* not counted before: how large it was is known at the end */
	size_t stored;
	bool packed, waiting;
	struct buf tail;   /* what follows the last object */
	struct buf out;
	z_stream z;
	struct loop_timer timer;
};

/* --- The first look ------------------------------------------------------------------------------------------------------- */

struct sizes {
	size_t n, stored, items; /* objects; their stored bytes; a protobuf list's bytes for them */
	bool open;               /* large enough, and nobody has to know how large: not counted to the end */
};

/* Counts what the list will hold; s->more and s->last are set. */
static int measure(struct list_form *f, struct api_list_scan *s, struct store_view *v, const struct api_selection *sel,
		struct sizes *ret, struct err *e)
{
	struct api_request *req = f->req;
	_cleanup_(buf_fini) struct buf last = BUF_INIT;
	struct view_iter it;
	struct store_kv kv;
	struct arena a; /* of one object: it may have to be decrypted or converted */
	struct str raw;
	int r;

	*ret = (struct sizes){0};
	arena_init(&a);
	s->more = false;
	view_iter_init(&it, v, s->key, s->end, s->rev, 0);
	while ((r = view_iter_next(&it, &kv, e)) > 0) {
		arena_fini(&a);
		r = storage_unwrap_as(&a, req->res, kv.key, kv.value, NULL, &raw, e);
		if (r < 0)
			break;
		if (!api_selection_matches(sel, raw))
			continue;
		if (req->opt.limit > 0 && ret->n >= (size_t)req->opt.limit) {
			s->more = true;
			r = 0;
			break;
		}
		ret->n++;
		ret->stored += raw.n;
		ret->open = req->opt.limit <= 0 && f->kind != FORM_PROTOBUF && ret->stored >= STREAM_MIN;
		if (ret->open) {
			r = 0;
			break;
		}
		buf_clear(&last);
		buf_adds(&last, kv.key);
		ret->items += list_form_size(f, &a, raw, (uint64_t)kv.mod_revision);
	}
	view_iter_fini(&it);
	arena_fini(&a);
	s->last = arena_str(&req->arena, buf_str(&last));
	return r;
}

/* --- The end ---------------------------------------------------------------------------------------------------------------- */

static void stream_free(struct list_stream *ls)
{
	struct api_request *req = ls->req;

	loop_timer_stop(&ls->timer);
	if (ls->packed)
		deflateEnd(&ls->z);
	buf_fini(&ls->next);
	buf_fini(&ls->tail);
	buf_fini(&ls->out);
	req->stream = NULL;
	req->on_cancel = NULL;
	req->on_drain = NULL;
	free(ls);
}

static void stream_canceled(struct api_request *req)
{
	stream_free(req->stream);
	req->responder->abort(req);
	api_request_finish(req);
}

/* The client sees a broken answer, not a short list. */
static void stream_broken(struct list_stream *ls, const struct err *e)
{
	struct api_request *req = ls->req;

	log_warn("apiserver", "a list broke off: %.*s: %s", STR_FMT(req->target), e->text);
	stream_free(ls);
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

/* Objects into `out` until the slice is full or all have come. 1: the next one is being unsealed (crypt.h), so it goes on a little later. */
static int fill(struct list_stream *ls, struct err *e)
{
	struct store_view *v;
	struct view_iter it;
	struct store_kv kv;
	struct arena a;
	struct str raw;
	bool late = false;
	int r = 1;

	if (store_view_open(ls->req->srv->store, &v, e) < 0)
		return -e->code;
	arena_init(&a);
	view_iter_init(&it, v, buf_str(&ls->next), ls->end, ls->rev, 0);
	while (r > 0 && ls->left > 0 && ls->out.n < ls->form.slice) {
		r = view_iter_next(&it, &kv, e);
		if (r == 0 && ls->open)
			ls->left = 0;
		else if (r == 0)
			r = err_set(e, ERR_INTERNAL, "%zu objects of a revision are gone", ls->left);
		arena_fini(&a);
		if (r > 0 && !crypt_ready(kv.value)) {
			buf_clear(&ls->next);
			buf_adds(&ls->next, kv.key);
			late = true;
			break;
		}
		if (r > 0 && storage_unwrap_as(&a, ls->req->res, kv.key, kv.value, NULL, &raw, e) < 0)
			r = -1;
		if (r <= 0 || !api_selection_matches(&ls->sel, raw))
			continue;
		if (list_form_add(&ls->form, &a, raw, (uint64_t)kv.mod_revision, &ls->out, e) < 0)
			r = -1;
		ls->left--;
		ls->stored += raw.n;
		if (ls->out.n < ls->form.slice)
			continue;
		buf_clear(&ls->next);
		buf_adds(&ls->next, kv.key);
		buf_add1(&ls->next, '\0'); /* the first key behind it */
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

static void slice(struct loop_timer *t)
{
	struct list_stream *ls = container_of(t, struct list_stream, timer);
	struct api_request *req = ls->req;
	struct err e = ERR_INIT;
	bool end;
	int r = 0;

	if (clock_mono_ms() >= ls->until_ms)
		err_set(&e, ERR_TIMEOUT, "the client did not take it within %d s", TAKEN_MS / 1000);
	if (!e.code && ls->left > 0)
		r = fill(ls, &e);
	if (e.code || r < 0) {
		stream_broken(ls, &e);
		return;
	}
	if (r > 0) {
		loop_timer_start(t, req->al->loop, CRYPT_AGAIN_MS, slice);
		return;
	}
	end = ls->left == 0;
	if (end)
		buf_adds(&ls->out, buf_str(&ls->tail));
	if (end && ls->open)
		flow_list_size(req, ls->stored, true);
	emit(ls, end);
	buf_clear(&ls->out);
	if (end) {
		stream_free(ls);
		req->responder->end(req);
		api_request_finish(req);
		return;
	}
	ls->waiting = req->responder->queued(req) > HIGH;
	loop_timer_start(&ls->timer, req->al->loop, ls->waiting ? time_left(ls) : 0, slice);
}

static void stream_drained(struct api_request *req)
{
	struct list_stream *ls = req->stream;

	if (ls && ls->waiting && req->responder->queued(req) < LOW) {
		ls->waiting = false;
		loop_timer_start(&ls->timer, req->al->loop, 0, slice);
	}
}

/* --- The start ---------------------------------------------------------------------------------------------------------------- */

/* What a webhook converts is converted, and thus held, as a whole. */
static bool streamable(const struct api_request *req)
{
	return !req->conv && req->responder->begin && req->responder->queued && !req->local;
}

enum step_result api_list_stream(struct api_request *req, const struct api_list_scan *scan, struct store_view *v,
		const struct api_selection *sel)
{
	struct api_list_scan s = *scan;
	struct http_header h[API_MAX_HEADERS];
	struct codec_list_meta meta;
	struct list_stream *ls;
	struct list_form form;
	struct sizes sizes;
	struct err e = ERR_INIT;
	size_t n;

	/* An error is met, and told, by who lists it whole. */
	if (!streamable(req) || !list_form_init(&form, req) || measure(&form, &s, v, sel, &sizes, &e) < 0 ||
			sizes.stored < STREAM_MIN)
		return STEP_NEXT;
	api_list_meta(req, &s, v, sel->all, &meta);
	ls = xcalloc(1, sizeof(*ls));
	ls->req = req;
	ls->sel = *sel;
	ls->form = form;
	ls->end = s.end;
	ls->rev = s.rev;
	ls->until_ms = clock_mono_ms() + TAKEN_MS;
	ls->left = sizes.open ? SIZE_MAX : sizes.n;
	ls->open = sizes.open;
	ls->packed = req->accept.gzip && deflateInit2(&ls->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	buf_init(&ls->next, BUF_NO_LIMIT);
	buf_init(&ls->tail, BUF_NO_LIMIT);
	buf_init(&ls->out, BUF_NO_LIMIT);
	buf_adds(&ls->next, s.key);
	list_form_frame(&ls->form, &meta, sizes.items, &ls->out, &ls->tail);
	n = api_answer_headers(req, api_media_type(req->accept.media), h);
	if (ls->packed)
		h[n++] = (struct http_header){STR("Content-Encoding"), STR("gzip")};
	if (!sizes.open)
		flow_list_size(req, sizes.stored, true);
	req->stream = ls;
	req->on_cancel = stream_canceled;
	req->on_drain = stream_drained;
	req->http_status = 200;
	req->waiting = true;
	req->responder->begin(req, 200, h, n);
	loop_timer_start(&ls->timer, req->al->loop, 0, slice);
	return STEP_DONE;
}

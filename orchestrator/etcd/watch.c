/*
 * The Watch service: many watches on one stream.
 *
 *	create   > created (before anything else of that watch) > events ...      the hub tells a watcher
 *	cancel   > canceled                                      history is gone > canceled with the compacted revision
 *	progress > one answer with id -1 once all watches of the stream have been told everything
 *
 * A client that does not read: when more than ETCD_SEND_HIGH bytes wait for it all watches of the stream are paused, and its
 * requests with them; the hub feeds them again from the store's log when the bytes have left.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/util.h"
#include "orchestrator/etcd/etcd-priv.h"
#include "orchestrator/etcd/watch.h"
#include "proto/etcd_rpc.pb-c.h"
#include "proto/pb.h"
#include "proto/wire.h"
#include "store/store.h"
#include "store/view.h"

/* The first look for the answer to a progress request that could not be given at once; each next one comes twice as late. */
#define PROGRESS_RETRY_MS 5
#define PROGRESS_RETRY_MAX_MS 500
/* The id of answers that concern no watch, or the whole stream. */
#define NO_WATCH (-1)

struct watch_stream {
	struct etcd_call *call;
	struct map by_id;            /* struct etcd_watch */
	struct list watches;
	int64_t next_id;
	bool full;                   /* paused: the client does not read */
	struct asking *asking;       /* requests wait: may it be created? NULL: none */
	bool paused;                 /* the client's requests, for either reason */
	struct loop_timer notify;    /* progress_notify; runs while a watch wants it */
	size_t n_notified;
	struct loop_timer progress;  /* runs while a progress request waits */
	unsigned progress_ms;
};

/* A watch to be created as soon as this member has caught up with who may what. */
struct asking {
	struct etcd_read read;
	struct watch_stream *s;
	struct arena arena;
	const Etcdserverpb__WatchCreateRequest *r;
	bool locally;
};

struct etcd_watch {
	struct watcher w;
	struct watch_stream *s;
	struct list link;            /* s->watches */
	int64_t id;
	bool notify, prev_kv, fragment;
	bool told;                   /* something was sent since the last notification */
};

static struct str id_key(const int64_t *id)
{
	return str_of(id, sizeof(*id));
}

/* --- Responses --------------------------------------------------------------------------------------------------- */

/* Flags and numbers of a WatchResponse; what is zero is left out. */
struct response {
	int64_t revision, id, compact_revision; /* revision 0: the newest; but who is told of a compaction is told none, as by etcd */
	bool created, canceled, fragment;
	const char *reason;
};

static void response_begin(struct watch_stream *s, struct buf *frame, const struct response *r)
{
	etcd__frame_init(frame);
	if (r->compact_revision != 0)
		etcd__header_without(s->call->el, frame);
	else
		etcd__header(s->call->el, frame, r->revision);
	if (r->id != 0)
		wire_add_uint(frame, 2, (uint64_t)r->id);
	if (r->created)
		wire_add_uint(frame, 3, 1);
	if (r->canceled)
		wire_add_uint(frame, 4, 1);
	if (r->compact_revision != 0)
		wire_add_uint(frame, 5, (uint64_t)r->compact_revision);
	if (r->reason != NULL)
		wire_add_bytes(frame, 6, str_from(r->reason));
	if (r->fragment)
		wire_add_uint(frame, 7, 1);
}

static void pause_requests(struct watch_stream *s)
{
	bool paused = s->full || s->asking != NULL;

	if (paused != s->paused)
		s->call->via->pause(s->call, paused);
	s->paused = paused;
}

static void send_frame(struct watch_stream *s, struct buf *frame)
{
	struct etcd_call *c = s->call;

	etcd__send(c, frame);
	if (s->full || c->via->queued(c) <= ETCD_SEND_HIGH)
		return;
	s->full = true;
	atomic_fetch_add_explicit(&c->el->slow_watchers, 1, memory_order_relaxed);
	pause_requests(s);
	LIST_FOR_EACH (w, &s->watches, struct etcd_watch, link)
		watch_pause(&w->w);
}

static void send_plain(struct watch_stream *s, const struct response *r)
{
	struct buf frame;

	response_begin(s, &frame, r);
	send_frame(s, &frame);
}

static void on_drain(struct etcd_call *c)
{
	struct watch_stream *s = c->state;

	if (!s->full)
		return;
	s->full = false;
	atomic_fetch_sub_explicit(&c->el->slow_watchers, 1, memory_order_relaxed);
	pause_requests(s);
	LIST_FOR_EACH (w, &s->watches, struct etcd_watch, link)
		watch_resume(&w->w);
}

/* --- Events ------------------------------------------------------------------------------------------------------- */

/* In parts that are no larger than a request may be, but with one event at least; all but the last are marked. */
static void send_fragments(struct etcd_watch *w, int64_t revision, const struct watch_event *const *events, size_t n)
{
	size_t limit = w->s->call->el->srv->cfg.max_request_bytes, i = 0;
	struct response r = {.revision = revision, .id = w->id};
	struct buf part = BUF_INIT, next = BUF_INIT;

	while (i < n || part.n > 0) {
		struct buf frame;

		for (; i < n; i++) {
			buf_clear(&next);
			event_encode(&next, events[i], w->prev_kv);
			if (part.n > 0 && part.n + next.n > limit)
				break;
			buf_adds(&part, buf_str(&next));
		}
		r.fragment = i < n;
		response_begin(w->s, &frame, &r);
		buf_adds(&frame, buf_str(&part));
		buf_clear(&part);
		send_frame(w->s, &frame);
	}
	buf_fini(&part);
	buf_fini(&next);
}

static void on_events(struct watcher *watcher, int64_t revision, const struct watch_event *const *events, size_t n)
{
	struct etcd_watch *w = container_of(watcher, struct etcd_watch, w);
	struct etcd_loop *el = w->s->call->el;
	struct str bytes = event_cache_get(el->events, el->loop, events, n, w->prev_kv);
	struct buf frame;

	w->told = true;
	atomic_fetch_add_explicit(&el->n_events, n, memory_order_relaxed);
	if (w->fragment && bytes.n > el->srv->cfg.max_request_bytes) {
		send_fragments(w, revision, events, n);
		return;
	}
	response_begin(w->s, &frame, &(struct response){.revision = revision, .id = w->id});
	buf_adds(&frame, bytes);
	send_frame(w->s, &frame);
}

/* --- Watches ---------------------------------------------------------------------------------------------------------- */

static void watch_drop(struct etcd_watch *w)
{
	struct watch_stream *s = w->s;

	watch_stop(&w->w);
	map_del(&s->by_id, id_key(&w->id));
	list_del(&w->link);
	if (w->notify && --s->n_notified == 0)
		loop_timer_stop(&s->notify);
	atomic_fetch_sub_explicit(&s->call->el->n_watchers, 1, memory_order_relaxed);
	free(w);
}

static void on_gone(struct watcher *watcher, int64_t compact_revision)
{
	struct etcd_watch *w = container_of(watcher, struct etcd_watch, w);
	struct watch_stream *s = w->s;
	struct response r = {.id = w->id, .canceled = true, .compact_revision = compact_revision};

	if (compact_revision == 0)
		r.reason = "kontiki: this member cannot read its history; the reason is in its log";
	watch_drop(w);
	send_plain(s, &r);
}

static void on_notify(struct loop_timer *t);

/* Streams do not all notify at one moment. */
static void arm_notify(struct watch_stream *s)
{
	uint64_t ms = s->call->el->srv->cfg.progress_ms;

	loop_timer_start(&s->notify, s->call->el->loop, ms + random_u64() % (ms / 10 + 1), on_notify);
}

static void on_notify(struct loop_timer *t)
{
	struct watch_stream *s = container_of(t, struct watch_stream, notify);

	arm_notify(s);
	LIST_FOR_EACH (w, &s->watches, struct etcd_watch, link) {
		int64_t upto = w->notify && !w->told ? watch_progress(&w->w) : 0;

		w->told = false;
		if (upto > 0)
			send_plain(s, &(struct response){.revision = upto, .id = w->id});
	}
}

static int64_t pick_id(struct watch_stream *s)
{
	while (map_find(&s->by_id, id_key(&s->next_id)) != NULL)
		s->next_id++;
	return s->next_id++;
}

static const char *refusal(struct watch_stream *s, const Etcdserverpb__WatchCreateRequest *r)
{
	struct str key = str_of(r->key.data, r->key.len), end = str_of(r->range_end.data, r->range_end.len);

	if (r->start_revision < 0)
		return etcd_error_text(ETCD_ERR_COMPACTED);
	if (end.n > 0 && !str_eq(end, STR("\0")) && str_cmp(key.n ? key : STR("\0"), end) >= 0)
		return "mvcc: watcher range is empty";
	if (r->watch_id != 0 && map_find(&s->by_id, id_key(&r->watch_id)) != NULL)
		return "mvcc: duplicate watch ID provided on the WatchStream";
	return NULL;
}

static void refuse(struct watch_stream *s, const char *why)
{
	send_plain(s, &(struct response){.id = NO_WATCH, .created = true, .canceled = true, .reason = why});
}

static void create(struct watch_stream *s, const Etcdserverpb__WatchCreateRequest *r)
{
	struct etcd_loop *el = s->call->el;
	const char *why = refusal(s, r);
	struct etcd_watch *w;
	int64_t now;

	if (why != NULL) {
		refuse(s, why);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->s = s;
	w->id = r->watch_id != 0 ? r->watch_id : pick_id(s);
	w->notify = r->progress_notify;
	w->prev_kv = r->prev_kv;
	w->fragment = r->fragment;
	w->w.key = str_of(r->key.data, r->key.len);
	w->w.end = str_of(r->range_end.data, r->range_end.len);
	w->w.events = on_events;
	w->w.gone = on_gone;
	for (size_t i = 0; i < r->n_filters; i++) {
		w->w.no_put |= r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
		w->w.no_delete |= r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
	}
	map_put(&s->by_id, id_key(&w->id), w);
	list_add_tail(&s->watches, &w->link);
	if (w->notify && s->n_notified++ == 0)
		arm_notify(s);
	atomic_fetch_add_explicit(&el->n_watchers, 1, memory_order_relaxed);
	/* The hub tells nothing before this callback is over, so "created" is first. */
	now = watch_start(el->hub, &w->w, r->start_revision);
	if (s->full)
		watch_pause(&w->w);
	send_plain(s, &(struct response){.revision = now, .id = w->id, .created = true});
}

static int permit(struct etcd_call *c, struct store_view *v, const Etcdserverpb__WatchCreateRequest *r, struct err *e)
{
	bool unsure;
	int rc = etcd__who(c, v, &unsure, e);

	return rc ? rc : view_auth_range(v, &c->who, str_of(r->key.data, r->key.len), str_of(r->range_end.data, r->range_end.len), STORE_READ, e);
}

static void asking_free(struct asking *a)
{
	if (a == NULL)
		return;
	etcd__read_cancel(&a->read);
	arena_fini(&a->arena);
	free(a);
}

static void ask_view(struct asking *a, bool locally)
{
	a->locally = locally;
	etcd__read(a->s->call->el, &a->read, locally);
}

/* In the words of Go's clients: they look for them, to show the password anew and to watch on. */
static void refuse_err(struct watch_stream *s, const struct err *e)
{
	enum etcd_error known = etcd_error_of(e);
	char text[ERR_TEXT_MAX + 64];

	snprintf(text, sizeof(text), "rpc error: code = %s desc = %s", etcd_code_name(known ? etcd_error_code(known) : err_grpc_code(e->code)),
			known ? etcd_error_text(known) : e->text);
	refuse(s, text);
}

static void permitted(struct etcd_read *read, struct store_view *v, const struct err *failed)
{
	struct asking *a = container_of(read, struct asking, read);
	struct watch_stream *s = a->s;
	struct err e = ERR_INIT;

	/* What is known here must do, unless that cannot be read either. */
	if (v == NULL && !a->locally) {
		ask_view(a, true);
		return;
	}
	s->asking = NULL;
	if (v == NULL)
		refuse_err(s, failed);
	else if (permit(s->call, v, a->r, &e) == 0)
		create(s, a->r);
	else
		refuse_err(s, &e);
	asking_free(a);
	pause_requests(s);
}

/* The stream may be older than the rights are; takes the arena's memory. */
static void ask(struct watch_stream *s, const Etcdserverpb__WatchCreateRequest *r, struct arena *arena)
{
	struct etcd_call *c = s->call;
	struct asking *a;

	if (!etcd__auth_matters(c)) {
		create(s, r);
		return;
	}
	a = xcalloc(1, sizeof(*a));
	a->s = s;
	a->r = r;
	a->arena = *arena;
	arena_init(arena);
	a->read.done = permitted;
	s->asking = a;
	pause_requests(s);
	ask_view(a, !etcd__has_leader(c->el));
}

static void cancel(struct watch_stream *s, int64_t id)
{
	struct etcd_watch *w = map_get(&s->by_id, id_key(&id));

	if (w == NULL)
		return;
	watch_drop(w);
	send_plain(s, &(struct response){.id = id, .canceled = true});
}

/* --- Progress on request ------------------------------------------------------------------------------------------------- */

/* What every watch of the stream has been told up to; 0: it cannot be said now. */
static int64_t told_upto(const struct watch_stream *s)
{
	int64_t upto = watch_hub_revision(s->call->el->hub);

	LIST_FOR_EACH (w, &s->watches, struct etcd_watch, link) {
		int64_t one = watch_progress(&w->w);

		if (one == 0)
			return 0;
		upto = MIN(upto, one);
	}
	return upto;
}

static void try_progress(struct watch_stream *s);

static void on_progress(struct loop_timer *t)
{
	struct watch_stream *s = container_of(t, struct watch_stream, progress);

	s->progress_ms = MIN(2 * s->progress_ms, PROGRESS_RETRY_MAX_MS);
	try_progress(s);
}

static void try_progress(struct watch_stream *s)
{
	int64_t upto = told_upto(s);

	if (upto == 0) {
		loop_timer_start(&s->progress, s->call->el->loop, s->progress_ms, on_progress);
		return;
	}
	loop_timer_stop(&s->progress);
	send_plain(s, &(struct response){.revision = upto, .id = NO_WATCH});
}

/* --- The stream ------------------------------------------------------------------------------------------------------------ */

static void stream_free(struct watch_stream *s)
{
	struct etcd_loop *el = s->call->el;

	asking_free(s->asking);
	LIST_FOR_EACH_SAFE (w, next, &s->watches, struct etcd_watch, link)
		watch_drop(w);
	loop_timer_stop(&s->notify);
	loop_timer_stop(&s->progress);
	map_fini(&s->by_id);
	if (s->full)
		atomic_fetch_sub_explicit(&el->slow_watchers, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&el->n_watch_streams, 1, memory_order_relaxed);
	free(s);
}

static void end(struct etcd_call *c, enum etcd_error error)
{
	stream_free(c->state);
	etcd__fail(c, error);
}

static void on_cancel(struct etcd_call *c)
{
	end(c, ETCD_ERR_CANCELED);
}

/* Who has no more to ask still wants to be told. */
static void on_half_close(struct etcd_call *c)
{
	(void)c;
}

static void on_message(struct etcd_call *c, struct str message)
{
	struct watch_stream *s = c->state;
	const Etcdserverpb__WatchRequest *r;
	struct arena a;

	arena_init(&a);
	r = pb_unpack(&a, &etcdserverpb__watch_request__descriptor, message);
	if (r == NULL) {
		stream_free(s);
		etcd__fail_malformed(c);
	} else if (r->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST) {
		ask(s, r->create_request, &a);
	} else if (r->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST) {
		cancel(s, r->cancel_request->watch_id);
	} else if (r->request_union_case == ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST) {
		s->progress_ms = PROGRESS_RETRY_MS;
		try_progress(s);
	}
	arena_fini(&a);
}

void etcd__watch(struct etcd_call *c, struct str request)
{
	struct watch_stream *s = xcalloc(1, sizeof(*s));

	(void)request;
	s->call = c;
	map_init(&s->by_id);
	list_init(&s->watches);
	atomic_fetch_add_explicit(&c->el->n_watch_streams, 1, memory_order_relaxed);
	c->state = s;
	c->on_message = on_message;
	c->on_half_close = on_half_close;
	c->on_cancel = on_cancel;
	c->on_drain = on_drain;
	c->on_end = end;
}
